"""Promise 1 for what can't be understood: it is kept with a reason and its bytes, settled, and stops nothing."""
import json
import random

import pytest

DEEP = 64  # as deep as a record's JSON may be

# name: (value, code, a word of the reason). key: the record's key, where it is not the workspace's.
REJECTED = {
    "empty": (b"", "bad_json", "value"),
    "space": (b" \n", "bad_json", "value"),
    "binary": (bytes(range(256)) * 8, "avro_or_protobuf", "Avro"),
    "high_bytes": (b"\xff\xfe\xfd" * 500, "bad_json", "value"),
    "half": (b'{"id":"a","payload":', "bad_json", "value"),
    "two_values": (b"{} {}", "bad_json", "value"),
    "array": (b'[{"id":1}]', "not_an_object", "array"),
    "string": (b'"text"', "not_an_object", "string"),
    "number": (b"1", "not_an_object", "number"),
    "too_deep": (b'{"payload":' + b"[" * 100000 + b"]" * 100000 + b"}", "bad_json", "value"),
    "bad_utf8": (b'{"payload":"\xc3("}', "bad_json", "value"),
    "overlong_utf8": (b'{"payload":"\xc0\xaf"}', "bad_json", "value"),
    "latin1_name": (b'{"\xe9":1}', "bad_json", "value"),
    "control": (b'{"payload":"\x01"}', "bad_json", "value"),
    "nul": (b'{"payload":"\x00"}', "bad_json", "value"),
    "nan": (b'{"payload":NaN}', "bad_json", "value"),
    "id_object": (b'{"id":{}}', "bad_field", "id"),
    "id_fraction": (b'{"id":1.5}', "bad_field", "id"),
    "id_power": (b'{"id":1e999}', "bad_field", "id"),
    "id_long": (b'{"id":"' + b"x" * 201 + b'"}', "bad_field", "id"),
    "id_digits": (b'{"id":' + b"9" * 5000 + b"}", "bad_field", "id"),
    "id_empty": (b'{"id":""}', "bad_field", "id"),
    "id_nul": (b'{"id":"a\\u0000b"}', "bad_field", "id"),
    "workspace_list": (b'{"workspace_id":["w1"]}', "bad_field", "workspace_id"),
    "workspace_true": (b'{"workspace_id":true}', "bad_field", "workspace_id"),
    "name_number": (b'{"workspace_name":5}', "bad_field", "workspace_name"),
    "type_number": (b'{"event_type":5}', "bad_field", "event_type"),
    "type_odd": (b'{"event_type":"a b"}', "bad_type", "event_type"),
    "type_other": (b'{"event_type":"message.read"}', "type_mismatch", "message.read"),
    "time_text": (b'{"occurred_at":"yesterday"}', "bad_field", "occurred_at"),
    "time_list": (b'{"occurred_at":[]}', "bad_field", "occurred_at"),
    "time_huge": (b'{"occurred_at":99999999999999999999}', "bad_field", "occurred_at"),
    "deliver_text": (b'{"deliver_at":"soon"}', "bad_field", "deliver_at"),
    "avro": (b"\x00\x00\x00\x00\x07\x02\x04abc", "avro_or_protobuf", "Avro"),
    "avro_file": (b"Obj\x01\x04\x14avro.codec", "avro_or_protobuf", "Avro"),
    "protobuf": (b"\x00\x00\x00\x00\x07\x00\x0a\x03abc", "avro_or_protobuf", "Protobuf"),
}

ACCEPTED = {
    "confluent_json": b'\x00\x00\x00\x00\x07{"id":"confluent_json"}',
    "deep": b'{"id":"deep","payload":' + b"[" * (DEEP - 1) + b"]" * (DEEP - 1) + b"}",
    "huge_numbers": b'{"id":"huge_numbers","payload":[1e400,-1e400,' + b"9" * 5000 + b",0." + b"0" * 5000 + b"1]}",
    "escapes": b'{"id":"escapes","payload":"\\ud800 \\u0000 \\/"}',
    "escaped_names": b'{"\\u0069d":"escaped_names","p\\u0061yload":1}',
    "duplicates": b'{"id":"first","id":"duplicates","payload":1,"payload":2}',
    "unknown_fields": b'{"id":"unknown_fields","surprise":{"id":"other"}}',
    "spaced": b' \r\n\t{ "id" : "spaced" , "payload" : [ ] } \n',
}


def test_every_bad_record_is_kept_with_its_reason_and_good_ones_go_on(installation, receiver):
    installation.kafka.create_topic(installation.topic(), 2)
    installation.insert_subscription(receiver.url("/hook"))
    installation.dispatch()
    placed = dict(zip(REJECTED, installation.kafka.produce(
        [{"topic": installation.topic(), "key": "w1", "value": value} for value, _, _ in REJECTED.values()])))
    installation.kafka.produce([{"topic": installation.topic(), "key": "w1", "value": value}
                                for value in ACCEPTED.values()])
    installation.produce([installation.event(id="after")])
    receiver.wait_for(len(ACCEPTED) + 1)
    assert set(receiver.ids()) == {*ACCEPTED, "after"}
    installation.db.wait_count(len(REJECTED), "rejected_events")
    installation.wait_settled()
    rows = {(row["part"], row["record_offset"]): row for row in installation.db.rows("SELECT * FROM rejected_events")}
    assert len(rows) == len(REJECTED) == installation.db.count("rejected_events")
    for name, (value, code, word) in REJECTED.items():
        _, partition, offset = placed[name]
        row = rows[partition, offset]
        assert row["code"] == code and word in row["reason"], (name, row["code"], row["reason"])
        assert "\n" not in row["reason"] and len(row["reason"]) < 400, name
        assert bytes(row["body"]) == value and bytes(row["record_key"]) == b"w1", name
        assert row["topic"] == installation.topic()
    assert installation.db.count("events") == len(ACCEPTED) + 1
    bodies = {request.id: request.body for request in receiver.requests()}
    assert json.loads(bodies["duplicates"])["value"]["payload"] == 2
    assert b'"payload":[1e400,-1e400,' + b"9" * 5000 + b",0." in bodies["huge_numbers"]
    assert b'"payload":"\\ud800 \\u0000 \\/"' in bodies["escapes"]


def test_a_null_value_is_passed_over(installation, receiver):
    installation.kafka.create_topic(installation.topic(), 1)
    installation.insert_subscription(receiver.url("/hook"))
    process = installation.dispatch()
    installation.produce_raw(None)
    installation.produce_raw(None, key=None)
    installation.produce([installation.event(id="after")])
    receiver.wait_for(1)
    installation.wait_settled()
    assert installation.db.count("rejected_events") == 0 and installation.db.count("events") == 1
    assert sum(value for name, value in process.metrics().items() if "record" in name and "skip" in name) == 2


def test_without_a_workspace_an_event_has_nowhere_to_go(installation, receiver):
    installation.kafka.create_topic(installation.topic(), 1)
    installation.insert_subscription(receiver.url("/hook"))
    installation.dispatch()
    records = [{"key": None}, {"key": b""}, {"key": b"\xff\xfe"}, {"key": b"a\x00b"}, {"key": b"k" * 201}]
    for record in records:
        installation.kafka.produce([{"topic": installation.topic(), "value": b'{"id":"x"}', **record}])
    installation.kafka.produce([{"topic": installation.topic(), "value": b'{"id":"given","workspace_id":"w1"}'}])
    receiver.wait_for(1)
    installation.db.wait_count(len(records), "rejected_events")
    rows = installation.db.rows("SELECT * FROM rejected_events ORDER BY record_offset")
    assert {row["code"] for row in rows} == {"no_workspace"}
    kept = [row["record_key"] if row["record_key"] is None else bytes(row["record_key"]) for row in rows]
    # Kafka's own client makes no difference between an empty key and none.
    assert kept[2:] == [b"\xff\xfe", b"a\x00b", b"k" * 201] and kept[0] is None and not kept[1]


def test_cloudevents_that_are_none_are_rejected(installation, receiver):
    installation.kafka.create_topic(installation.topic(), 1)
    installation.insert_subscription(receiver.url("/hook"))
    installation.dispatch()
    whole = [("ce_specversion", b"1.0"), ("ce_id", b"a"), ("ce_type", b"message.new"), ("ce_source", b"/s")]
    records = [
        (b"{}", [pair for pair in whole if pair[0] != "ce_id"], "bad_field"),
        (b"{}", [pair for pair in whole if pair[0] != "ce_source"], "bad_field"),
        (b"{}", [("ce_specversion", b"0.3"), *whole[1:]], "bad_field"),
        (b"{}", [*whole[:2], ("ce_type", b"other"), whole[3]], "type_mismatch"),
        (b"{}", [*whole, ("ce_time", b"never")], "bad_field"),
        (b"{}", [("ce_specversion", b"1.0"), ("ce_id", b"\xff\xfe"), *whole[2:]], None),
        (b'{"specversion":"1.0"}', [("content-type", b"application/cloudevents+json")], "bad_field"),
        (b"not json", [("content-type", b"application/cloudevents+json")], "bad_json"),
        (b"\x00\x01", [*whole, ("content-type", b"application/avro")], "avro_or_protobuf"),
        (b"[]", [("content-type", b"application/cloudevents-batch+json")], None),
    ]
    for value, headers, _ in records:
        installation.produce_raw(value, headers=headers)
    installation.produce([installation.event(id="after")])
    receiver.wait_for(1)
    installation.db.wait_count(len(records), "rejected_events")
    rows = installation.db.rows("SELECT * FROM rejected_events ORDER BY record_offset")
    for (value, headers, code), row in zip(records, rows):
        assert code in (None, row["code"]), (headers, row["code"], row["reason"])
        assert bytes(row["body"]) == value
        assert set(json.loads(row["headers"])) == {name for name, _ in headers}


def test_a_record_of_one_mebibyte_is_delivered_or_rejected(installation, receiver):
    installation.kafka.create_topic(installation.topic(), 1, **{"max.message.bytes": "4000000"})
    installation.insert_subscription(receiver.url("/hook"))
    installation.dispatch()
    size = 1000 * 1000 - 200
    texts = b'{"id":"text","payload":"' + b"x" * size + b'"}'
    many = b'{"id":"many","payload":[' + b"1," * (size // 2) + b"1]}"
    escapes = b'{"id":"escapes","payload":"' + b"\\u0001" * (size // 6) + b'"}'
    for value in (texts, many, escapes, b"\xfe" * size, b"{" * size, b'{"a":' * (size // 5), b'"' * size):
        installation.produce_raw(value)
    installation.produce([installation.event(id="after")])
    receiver.wait_for(4)
    installation.db.wait_count(4, "rejected_events")
    assert receiver.ids() == {"text": 1, "many": 1, "escapes": 1, "after": 1}
    assert b"x" * size in next(request.body for request in receiver.requests() if request.id == "text")
    installation.wait_settled()


@pytest.mark.parametrize("seed", range(2))
def test_any_bytes_at_all_are_settled(installation, receiver, seed):
    rng = random.Random(seed)
    installation.kafka.create_topic(installation.topic(), 4)
    installation.insert_subscription(receiver.url("/hook"), ["*"])
    installation.dispatch()
    event = {**installation.event(), "event_source": "é", "deliver_at": 5, "payload": {"a": [1, None, "\n"]}}
    whole = json.dumps(event, ensure_ascii=False).encode()

    def mangled():
        kind = rng.randrange(4)
        if kind == 0:
            return rng.randbytes(rng.randrange(2000))
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            if kind == 1:
                data[at] = rng.randrange(256)
            elif kind == 2:
                del data[at:at + rng.randrange(1, 9)]
            else:
                data[at:at] = rng.choice([b"{", b"}", b'"', b"\\u", b"[[[[", b",", b"\xf0\x9f", b"\0", b":", b"1e9"])
        return bytes(data)

    installation.kafka.produce([{"topic": installation.topic(), "key": rng.choice([b"w1", rng.randbytes(5)]),
                                 "value": mangled(), "headers": [("ce_" + rng.choice("xyz"), rng.randbytes(9))]}
                                for _ in range(1500)])
    installation.produce([installation.event(id="after")])
    installation.wait_settled(deadline_s=30)
    receiver.wait_for(1)
    rejected = installation.db.count("rejected_events")
    assert rejected > 300
    for row in installation.db.rows("SELECT event_id FROM events"):
        assert row["event_id"]
    matched = installation.db.count("events")
    installation.db.wait_count(matched, "delivery_logs")
    assert receiver.count() == matched
    if seed == 0:
        assert "after" in receiver.ids()
