"""Rejected events over the API: whose they are, and sending them again."""
import base64

import pytest
from support.api import moment

W1 = "/api/v1/workspaces/w1/rejected_events"
ALL = "/api/v1/rejected_events"


@pytest.fixture
def running(installation):
    installation.serve()
    return installation


def reject(running, *records, **options):
    before = running.db.count("rejected_events")
    for value in records:
        running.produce_raw(value, **options)
    running.db.wait(f"SELECT count(*) = {before + len(records)} FROM rejected_events")


def one(running, path=W1, api=None):
    found, = (api or running.api).get(path).json["rejected_events"]
    return found


def test_one_record_from_its_rejection_to_its_delivery(running, receiver):
    running.subscribe(receiver.url("/"))
    running.wait_in_force()
    reject(running, b'{"id": "evt_1", "payload": {"n": 1e400, "text": "\xc3\xbc"}, "occurred_at": "soon"}', key="w1",
           headers=[("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")])
    record = one(running)
    assert list(record) == ["id", "created_at", "workspace_id", "code", "reason", "topic", "partition", "offset", "record_time",
                            "record_key", "headers", "value", "value_bytes", "truncated", "republished_at"]
    assert (record["workspace_id"], record["code"], record["topic"]) == ("w1", "bad_field", running.topic())
    assert (record["record_key"], record["offset"], record["truncated"], record["republished_at"]) == ("w1", 0, False, None)
    assert "occurred_at" in record["reason"] and "ü" in record["value"]
    path = f"{W1}/{record['id']}"
    assert running.api.get(path).json == record
    refused = running.api.post(path + "/republish")
    assert (refused.status, refused.json["code"]) == (409, "still_rejected") and "occurred_at" in refused.json["detail"], refused
    corrected = '{"id":"evt_1","occurred_at":1760000000000,"payload":{"n":1e400,"text":"ü"}}'
    answer = running.api.post(path + "/republish", {"value": corrected})
    assert (answer.status, answer.json) == (202, {"id": record["id"], "topic": running.topic()})
    request = receiver.wait_for(1)[0]
    assert b'"payload":{"n":1e400,"text":"\xc3\xbc"}' in request.body and request.headers["webhook-id"] == "evt_1"
    assert request.headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c")
    assert moment(running.api.get(path).json["republished_at"]) > moment(record["created_at"])
    told, = running.api.get("/api/v1/workspaces/w1/audit?action=rejected_event.republished").json["audit"]
    assert told["target"] == record["id"] and told["after"]["corrected"] is True


def test_every_header_is_kept(running):
    """Also what no JSON text can carry."""
    headers = [("twice", b"1"), ("twice", b"2"), ("null", None), ("empty", b""), ("", b"no name"), ("nul", b"a\0b"),
               ("bytes", bytes(range(256))), ("é", "ü".encode()), ("half", b"\xc3"), ("surrogate", b"\xed\xb3\xbf"),
               ("escape", b"\\udcff"), ("long", b"\xff" * 200000), *((f"h{n}", b"v") for n in range(40))]
    reject(running, b"[0]", key="w1", headers=headers)
    record = one(running)
    assert record["headers"]["half"] == "\ufffd" and record["headers"]["escape"] == "\\udcff" and record["headers"]["null"] is None
    assert len(record["headers"]["long"]) == 200000
    value = {"id": "e", "event_type": "message.new"}
    assert running.api.post(f"{W1}/{record['id']}/republish", {"value": value}).status == 202
    again = running.kafka.read(running.topic(), 2)[1]
    assert again.headers() == headers and again.key() == b"w1"


def test_a_value_may_be_json_itself_and_keeps_its_digits(running, receiver):
    running.subscribe(receiver.url("/"))
    running.wait_in_force()
    reject(running, b"nonsense", key="w1")
    raw = b'{"value": {"id": 12345678901234567890, "payload": {"big": 1.000000000000000000000001}}}'
    assert running.api.post(f"{W1}/{one(running)['id']}/republish", raw=raw).status == 202
    assert b'"id":12345678901234567890' in receiver.wait_for(1)[0].body
    assert b"1.000000000000000000000001" in receiver.requests()[0].body


def test_whose_it_is(running):
    admin, foreign = running.api_of(None), running.api_of("w2")
    running.key()
    reject(running, b'{"workspace_id": "w2", "id": []}', b"[1]", key="w1")
    reject(running, b"[2]", key=None)
    assert one(running)["value"] == "[1]"
    assert one(running, W1.replace("w1", "w2"), foreign)["record_key"] == "w1"
    assert {row["workspace_id"] for row in admin.get(ALL).json["rejected_events"]} == {"w1", "w2", None}
    nobodys, = [row["id"] for row in admin.get(ALL).json["rejected_events"] if row["workspace_id"] is None]
    mine = one(running)["id"]
    for number, path in ((nobodys, W1), (mine, W1.replace("w1", "w2"))):
        client = running.api if path == W1 else foreign
        assert client.get(f"{path}/{number}").status == 404
        assert client.post(f"{path}/{number}/republish", {"value": "{}"}).status == 404
    assert running.api.get(ALL).status == 403 and running.api.post(f"{ALL}/{mine}/republish").status == 403
    stolen = running.api.post(f"{W1}/{mine}/republish", {"value": {"workspace_id": "w2"}})
    assert stolen.status == 422 and "another workspace" in stolen.json["detail"]
    assert admin.get(f"{ALL}/{nobodys}").json["record_key"] is None
    refused = admin.post(f"{ALL}/{nobodys}/republish", {"value": "{}"})
    assert refused.status == 422 and "workspace_id" in refused.json["detail"]
    assert admin.post(f"{ALL}/{nobodys}/republish", {"value": {"workspace_id": "w2"}}).status == 202


def test_what_is_no_text_is_base64(running):
    raw = b'{"id":"\xff\xfe"}'
    reject(running, raw, key=b"\xff\x00")
    record = one(running, ALL, running.api_of(None))
    assert base64.b64decode(record["value_base64"]) == raw and base64.b64decode(record["record_key_base64"]) == b"\xff\x00"
    assert "value" not in record and record["workspace_id"] is None


def test_a_list_cuts_what_is_long(running):
    reject(running, '"' + "ü" * 5000 + '"', key="w1")
    listed = one(running)
    assert listed["truncated"] and listed["value_bytes"] == 10002 and listed["value"] == '"' + "ü" * 2047
    whole = running.api.get(f"{W1}/{listed['id']}").json
    assert not whole["truncated"] and len(whole["value"]) == 5002


def test_filters_and_pages(running):
    for value in ("[0]", "{", "[1]", "{", "[2]"):
        reject(running, value, key="w1")
    assert len(running.api.get(W1 + "?code=bad_json").json["rejected_events"]) == 2
    assert len(running.api.get(W1 + "?since=2020-01-01&until=2099-01-01&code=not_an_object").json["rejected_events"]) == 3
    assert running.api.get(W1 + "?until=2020-01-01").json == {"rejected_events": [], "next_cursor": None}
    seen, cursor = [], ""
    while cursor is not None:
        answer = running.api.get(f"{W1}?limit=2{cursor and '&cursor=' + cursor}").json
        seen += [row["value"] for row in answer["rejected_events"]]
        cursor = answer["next_cursor"]
    assert seen == ["[2]", "{", "[1]", "{", "[0]"]
    for query in ("limit=0", "cursor=1", "cursor=1-2", "cursor=-", "since=soon", "code=%FF", "kind=x"):
        answer = running.api.get(f"{W1}?{query}")
        assert (answer.status, answer.json["code"]) == (422, "invalid_fields"), query


def test_corrections_that_are_none(running):
    reject(running, "[0]", key="w1")
    path = f"{W1}/{one(running)['id']}/republish"
    for raw, status in ((b"{", 400), (b"[]", 422), (b'{"value": null}', 422), (b'{"vlaue": 1}', 422), (b'{"value": 1, "value": 2}', 422),
                        (b'{"value": "{"}', 422), (b'{"value": []}', 422)):
        assert running.api.post(path, raw=raw).status == status, raw
    assert running.api.post(path, raw=b"{}", headers={"Content-Type": "text/plain"}).status == 415
    for wrong in ("nonsense", "0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e"):
        assert running.api.post(f"{W1}/{wrong}/republish").status == 404
    assert one(running)["republished_at"] is None


def test_without_kafka_it_is_not_marked(database_only):
    database_only.key()
    database_only.db.execute(
        "INSERT INTO rejected_events (created_at, id, workspace_id, code, reason, topic, part, record_offset, record_time, headers, body) "
        "VALUES (now(), gen_random_uuid(), 'w1', 'bad_type', 'r', %s, 0, 0, now(), '{}', '{\"workspace_id\": \"w1\"}')",
        database_only.topic())
    record = one(database_only)
    answer = database_only.api.post(f"{W1}/{record['id']}/republish")
    assert (answer.status, answer.json["code"]) == (503, "kafka_unavailable") and answer.headers["retry-after"]
    assert one(database_only)["republished_at"] is None
