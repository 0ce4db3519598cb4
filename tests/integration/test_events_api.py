"""Events over the API: taken into Kafka, looked up, erased."""
import concurrent.futures
import json
import re
import time

import pytest
from support.api import Api
from support.installation import find_key
from support.receiver import Answer, FailFirst

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MADE = re.compile(r"^evt_[0-9a-f]{32}$")
ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$")


def path(event=None, workspace="w1"):
    whole = f"/api/v1/workspaces/{workspace}/events"
    return whole if event is None else f"{whole}/{event}"


def records(installation, n, event_type="message.new"):
    """The first n records of a type's topic: [(key, value, headers)]."""
    return [(message.key().decode(), message.value(), dict(message.headers() or []))
            for message in installation.kafka.read(installation.topic(event_type), n)]


def taken(answer):
    assert answer.status == 202, answer
    return [event["id"] for event in answer.json["events"]]


def assert_problem(answer, status, code):
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json["status"], answer.json["code"]) == (status, code), answer
    return answer.json


def assert_field(answer, field, says=""):
    errors = assert_problem(answer, 422, "invalid_fields")["errors"]
    found = [error["message"] for error in errors if error["field"] == field]
    assert found and says in found[0], answer


# What is taken.


def test_one_event_as_the_producer_wrote_it(installation):
    raw = (b' { "id" : 12345678901234567890123, "event_type":"message.new",\n"occurred_at": "2024-03-10T15:30:00Z", '
           b'"event_source": "shop", "event_triggered_by": "kelly", "workspace_name": "Acme", "workspace_id": "w1", '
           b'"payload": {"big": 123456789012345678901234567890.10, "e": 1E400, "text": "\\u00e9 \xc3\xa9 \\ud800 \\ud83d\\ude00", '
           b'"a": 1, "a": 2, "10": 0, "9": -0.0 } } ')
    answer = installation.api.post(path(), raw=raw)
    assert answer.status == 202 and answer.text == '{"events":[{"id":12345678901234567890123}]}'
    [(key, value, headers)] = records(installation, 1)
    assert key == "w1" and headers == {}
    assert value == (b'{"id":12345678901234567890123,"event_type":"message.new","occurred_at":"2024-03-10T15:30:00Z",'
                     b'"event_source":"shop","event_triggered_by":"kelly","workspace_name":"Acme","workspace_id":"w1",'
                     b'"payload":{"big":123456789012345678901234567890.10,"e":1E400,"text":"\\u00e9 \xc3\xa9 \\ud800 '
                     b'\\ud83d\\ude00","a":1,"a":2,"10":0,"9":-0.0}}')


def test_an_event_without_an_id_gets_one(installation):
    for event in ({"event_type": "call.new"}, {"event_type": "call.new", "id": None, "payload": None}):
        (made,) = taken(installation.api.post(path(), event))
        assert MADE.match(made)
    first, second = sorted((json.loads(value) for _, value, _ in records(installation, 2, "call.new")), key=len)
    assert MADE.match(first["id"]) and MADE.match(second["id"]) and first["id"] != second["id"]
    assert "payload" not in first and second["payload"] is None


def test_an_array_in_its_order(installation):
    events = [{"id": f"e{n}", "event_type": "contact.new", "payload": n} for n in range(1000)]
    assert taken(installation.api.post("/notify" + path(), events)) == [f"e{n}" for n in range(1000)]
    assert [json.loads(value) for _, value, _ in records(installation, 1000, "contact.new")] == events
    refused = installation.api.post(path(), events + events[:1])
    assert_field(refused, "", "1 to 1000")
    assert_field(installation.api.post(path(), []), "", "1 to 1000")


def test_several_types_go_to_their_topics(installation):
    types = ["message.new", "call.new", "message.new"]
    taken(installation.api.post(path(), [{"id": n, "event_type": name} for n, name in enumerate(types)]))
    assert [json.loads(value)["id"] for _, value, _ in records(installation, 2)] == [0, 2]
    assert [json.loads(value)["id"] for _, value, _ in records(installation, 1, "call.new")] == [1]


def test_the_trace_travels_along(installation):
    sent = {"traceparent": TRACE, "tracestate": "vendor=1"}
    taken(installation.api.post(path(), {"event_type": "call.new"}, headers=sent))
    [(_, _, headers)] = records(installation, 1, "call.new")
    assert headers == {"traceparent": TRACE.encode(), "tracestate": b"vendor=1"}
    taken(installation.api.post(path(), {"event_type": "call.ended"}, headers={"tracestate": "vendor=1"}))
    [(_, _, headers)] = records(installation, 1, "call.ended")
    assert headers == {}


# What is refused. Nothing of a request that is refused reaches Kafka.

GOOD = {"id": "good", "event_type": "message.new"}
NOW_MS = int(time.time() * 1000)
WRONG = [
    ({}, "event_type", "required"),
    ({"event_type": None}, "event_type", "required"),
    ({"event_type": 5}, "event_type", "A-Z"),
    ({"event_type": ""}, "event_type", "A-Z"),
    ({"event_type": "a b"}, "event_type", "A-Z"),
    ({"event_type": "a" * 201}, "event_type", "200"),
    ({"event_type": "message.newt"}, "event_type", "did you mean message.new?"),
    ({"event_type": "nothing-like-it-at-all"}, "event_type", "no event type"),
    ({**GOOD, "id": ""}, "id", "1 to 200"),
    ({**GOOD, "id": "x" * 201}, "id", "1 to 200"),
    ({**GOOD, "id": 1.5}, "id", "integer"),
    ({**GOOD, "id": {}}, "id", "string"),
    ({**GOOD, "id": "a\0b"}, "id", "NUL"),
    ({**GOOD, "workspace_id": "w2"}, "workspace_id", "path"),
    ({**GOOD, "workspace_id": []}, "workspace_id", "string"),
    ({**GOOD, "workspace_name": 1}, "workspace_name", "string"),
    ({**GOOD, "event_source": 1}, "event_source", "string"),
    ({**GOOD, "event_triggered_by": True}, "event_triggered_by", "string"),
    ({**GOOD, "occurred_at": "yesterday"}, "occurred_at", "ISO 8601"),
    ({**GOOD, "occurred_at": 1.5}, "occurred_at", "milliseconds"),
    ({**GOOD, "deliver_at": "soon"}, "deliver_at", "ISO 8601"),
    ({**GOOD, "deliver_at": NOW_MS + 400 * 86400000}, "deliver_at", "366 days"),
    ({**GOOD, "playload": 1}, "playload", "did you mean payload?"),
    ({**GOOD, "zzz": 1}, "zzz", "no such field"),
]


@pytest.fixture
def api(database_only):
    return database_only.api


def test_wrong_fields_are_named(api):
    for event, field, says in WRONG:
        assert_field(api.post(path(), event), field, says)
        assert_field(api.post(path(), [GOOD, GOOD, GOOD, event]), f"[3].{field}", says)
    errors = assert_problem(api.post(path(), [{"id": 1.5}, GOOD, {"zzz": 1}]), 422, "invalid_fields")["errors"]
    assert [error["field"] for error in errors] == ["[0].event_type", "[2].zzz", "[2].event_type"]
    several = [{"event_type": "message.newt"}, GOOD, {"event_type": "call.nee"}, {"event_type": "message.newt"}]
    errors = assert_problem(api.post(path(), several), 422, "invalid_fields")["errors"]
    assert [error["field"] for error in errors] == ["[0].event_type", "[2].event_type"]


def test_bodies_that_are_no_events(api):
    assert_problem(api.post(path(), raw=b"{"), 400, "bad_json")
    assert_problem(api.post(path(), raw=b""), 400, "bad_json")
    assert_problem(api.post(path(), raw=b'{"event_type":"message.new","payload":"\xff"}'), 400, "bad_json")
    assert_problem(api.post(path(), raw=b'{"event_type":"message.new"}{}'), 400, "bad_json")
    for raw in (b"1", b'"x"', b"null"):
        assert_field(api.post(path(), raw=raw), "", "1 to 1000")
    assert_field(api.post(path(), [GOOD, 1]), "[1]", "JSON object")
    assert_field(api.post(path(), raw=b'{"event_type":"call.new","id":1,"id":2}'), "id", "twice")
    assert_field(api.post(path(), raw=b'{"event_type":"call.new","\\u0069d":1,"id":2}'), "id", "twice")
    assert_problem(api.post(path(), GOOD, headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type")
    assert_problem(api.post(path(), {**GOOD, "payload": "x" * (1 << 20)}), 413, "body_too_large")
    assert_field(api.post(path(), {**GOOD, "payload": "x" * 1000000}), "", "1,000,000 bytes")
    assert_field(api.post(path() + "?wait=1", GOOD), "wait", "no such query parameter")
    many = assert_problem(api.post(path(), [{"a": 1}] * 1000), 422, "invalid_fields")["errors"]
    assert 0 < len(many) <= 50
    answer = api.request("PUT", path(), GOOD)
    assert answer.status == 405 and answer.headers["allow"] == "POST"


def test_a_large_event_passes(installation):
    payload = "x" * 999000
    taken(installation.api.post(path(), {**GOOD, "payload": payload}))
    assert json.loads(records(installation, 1)[0][1])["payload"] == payload


def test_whose_events_they_are(installation):
    """Other workspaces', revoked, read-only and admin keys."""
    api = installation.api_of("w1")
    installation.api_of("w2")
    assert_problem(Api(api.url).post(path(), GOOD), 401, "unauthorized")
    assert_problem(api.post(path(workspace="w2"), GOOD), 404, "not_found")
    reads = find_key(installation.run("key", "create", "--workspace", "w1", "--read-only").stdout)
    assert_problem(api.with_key(reads).post(path(), GOOD), 403, "read_only_key")
    admin = api.with_key(installation.key(None))
    assert taken(admin.post(path(workspace="w2"), {**GOOD, "id": "from-admin"})) == ["from-admin"]
    assert records(installation, 1)[0][0] == "w2"
    assert_problem(admin.post(path(workspace="nowhere"), GOOD), 404, "not_found")
    for name in ("expired", "revoked"):
        gone = find_key(installation.run("key", "create", "--workspace", "w1", "--expires", "1d").stdout)
        column = "expires_at" if name == "expired" else "revoked_at"
        installation.db.execute(f"UPDATE api_keys SET {column} = now() - interval '1 s' "
                                "WHERE created_at = (SELECT max(created_at) FROM api_keys)")
        assert_problem(api.with_key(gone).post(path(), GOOD), 401, "unauthorized")


# The same request twice.


def test_the_same_request_is_answered_the_same(installation):
    api = installation.api
    key = {"Idempotency-Key": "order-1"}
    first = api.post(path(), {"event_type": "message.new"}, headers=key)
    again = api.post(path(), {"event_type": "message.new"}, headers=key)
    assert (first.status, first.text) == (again.status, again.text) == (202, first.text)
    assert "idempotent-replayed" not in first.headers and again.headers["idempotent-replayed"] == "true"
    assert_problem(api.post(path(), {"event_type": "call.new"}, headers=key), 422, "idempotency_key_reused")
    other = installation.api_of("w2").post(path(workspace="w2"), {"event_type": "call.new"}, headers=key)
    assert other.status == 202 and "idempotent-replayed" not in other.headers
    installation.db.execute("UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'")
    assert api.post(path(), {"event_type": "call.ended"}, headers=key).status == 202
    assert len(records(installation, 1)) == 1 and sum(
        high for low, high in installation.kafka.watermarks(installation.topic()).values()) == 1


def test_keys_are_visible_ascii(api):
    for key in ("", "a b", "\u00e9", "x" * 256, "tab\there"):
        assert_field(api.post(path(), GOOD, headers={"Idempotency-Key": key}), "Idempotency-Key", "255")


def test_what_was_refused_is_not_remembered(installation):
    api = installation.api
    key = {"Idempotency-Key": "~" * 255}
    assert_field(api.post(path(), {"event_type": "message.newt"}, headers=key), "event_type")
    assert_problem(api.post(path(), raw=b"{", headers=key), 400, "bad_json")
    assert api.post(path(), GOOD, headers=key).status == 202


def test_twenty_at_once_are_one(installation):
    api = installation.api
    taken(api.post(path(), {"event_type": "message.new"}))

    def post(_):
        return api.post(path(), [{"event_type": "message.new"}] * 50, headers={"Idempotency-Key": "race"})
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    done = [answer for answer in answers if answer.status == 202]
    busy = [answer for answer in answers if answer.status == 409]
    assert len(done) + len(busy) == 20 and done
    assert len({answer.text for answer in done}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in done) == 1
    for answer in busy:
        assert_problem(answer, 409, "idempotency_key_in_use")
        assert int(answer.headers["retry-after"]) >= 1
    assert sum(high for low, high in installation.kafka.watermarks(installation.topic()).values()) == 51


def test_a_crash_does_not_keep_a_key(installation):
    api = installation.api
    key = {"Idempotency-Key": "crashed"}
    assert api.post(path(), GOOD, headers=key).status == 202
    installation.db.execute("UPDATE idempotency_keys SET status = NULL, answer = NULL")
    assert_problem(api.post(path(), GOOD, headers=key), 409, "idempotency_key_in_use")
    left = installation.db.rows("SELECT extract(epoch FROM lease_until - now()) AS s FROM idempotency_keys")[0]["s"]
    assert left < 60
    installation.db.execute("UPDATE idempotency_keys SET lease_until = now() - interval '1 s'")
    answer = api.post(path(), GOOD, headers=key)
    assert answer.status == 202 and "idempotent-replayed" not in answer.headers


# Kafka goes and comes.


def test_without_kafka_nothing_hangs(database_only):
    api = database_only.api
    answer = began = None
    for attempt in range(2):
        began = time.monotonic()
        answer = api.post(path(), [GOOD, GOOD], headers={"Idempotency-Key": "k"})
        assert time.monotonic() - began < 11
        problem = assert_problem(answer, 503, "kafka_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert [event["result"] for event in problem["events"]] == ["failed", "failed"]
        assert all(event["id"] == "good" and event["why"] for event in problem["events"])
    assert database_only.db.count("idempotency_keys") == 0
    # While one of them tries, the others are answered, and so is everything else.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        posts = [pool.submit(api.post, path(), GOOD) for _ in range(6)]
        for _ in range(5):
            began = time.monotonic()
            assert api.get("/api/v1/event_types").status == 200
            assert time.monotonic() - began < 5
        assert {post.result().status for post in posts} == {503}


def test_kafka_stops_and_comes_back(make_installation, postgres, private_kafka, wait_until):
    installation = make_installation(postgres, private_kafka)
    api = installation.api
    taken(api.post(path(), GOOD))
    private_kafka.stop()
    began = time.monotonic()
    assert_problem(api.post(path(), GOOD), 503, "kafka_unavailable")
    assert time.monotonic() - began < 11
    private_kafka.start()
    wait_until(lambda: api.post(path(), {**GOOD, "id": "later"}).status == 202, 40, 0.5, "Kafka takes events again")
    ids = [json.loads(value)["id"] for _, value, _ in records(installation, 2)]
    assert ids[0] == "good" and ids[-1] in ("good", "later")


# All the way.


def test_from_the_api_to_the_receiver(installation, receiver):
    installation.serve()
    subscription = installation.subscribe(receiver.url("/hook"), ["message.new"])
    installation.wait_in_force()
    sent = {"id": "order-1", "event_type": "message.new", "occurred_at": 1760000000000, "event_source": "shop",
            "payload": {"amount": 12.50}}
    taken(installation.api.post(path(), sent, headers={"traceparent": TRACE, "tracestate": "a=b"}))
    [request] = receiver.wait_for(1, "/hook", 30)
    assert request.headers["traceparent"] == TRACE and request.headers["tracestate"] == "a=b"
    assert request.id == "order-1"
    assert b'"payload":{"amount":12.5}' in request.body or b'"payload":{"amount":12.50}' in request.body
    assert json.loads(request.body)["value"]["event_source"] == "shop"
    assert subscription["id"]
