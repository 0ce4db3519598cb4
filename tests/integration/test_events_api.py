"""Events over the API: taken into Kafka, looked up, erased."""
import concurrent.futures
import json
import re
import socket
import time

import pytest
from support.api import Api
from support.installation import find_key
from support.receiver import Answer, FailFirst, Gate, InTurn

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
    assert_field(api.post(path(), {**GOOD, "payload": "x" * 1000000}), "", "1,000,000 bytes")
    assert_field(api.post(path() + "?wait=1", GOOD), "wait", "no such query parameter")
    many = assert_problem(api.post(path(), [{"a": 1}] * 1000), 422, "invalid_fields")["errors"]
    assert 0 < len(many) <= 50
    answer = api.request("PUT", path(), GOOD)
    assert answer.status == 405 and answer.headers["allow"] == "POST"


def test_a_body_over_one_mebibyte_is_refused_before_it_is_read(api):
    host, port = api.url[len("http://"):].split(":")
    head = f"POST {path()} HTTP/1.1\r\nHost: x\r\nX-API-KEY: {api.key}\r\nContent-Length: {(1 << 20) + 1}\r\n\r\n"
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413 ") and '"body_too_large"' in answer


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
            assert time.monotonic() - began < 2
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


# What happened to an event.


def looked_up(installation, event, workspace="w1"):
    answer = installation.api_of(workspace).get(path(event, workspace))
    assert answer.status == 200, answer
    return answer.json


def fate(found, subscription):
    """(matched, reason, state) of a subscription in the answer."""
    [one] = [one for one in found["subscriptions"] if one["id"] == subscription["id"]]
    return one["matched"], one["reason"], one["state"]


def of(found, subscription):
    return next(one for one in found["subscriptions"] if one["id"] == subscription["id"])


def wait_stored(installation, n, wait_until):
    wait_until(lambda: installation.db.count("events") >= n, 30, 0.1, f"{n} events are written down")


@pytest.fixture
def scene(installation, receiver, wait_until):
    """One event, order-1, and a subscription for each thing that can become of it: {name: subscription}."""
    installation.serve()
    receiver.on("/down", Answer(500, "no " * 10))
    receiver.on("/never", Answer(500))

    def subscribe(where, types=("message.new",), **fields):
        return installation.subscribe(receiver.url("/" + where), types, **fields)
    made = {
        "good": subscribe("good", name="the good one"),
        "down": subscribe("down", retry_schedule=["1h"]),
        "never": subscribe("never", retry_schedule=[]),
        "delayed": subscribe("delayed", delivery_mode="delayed", delay_seconds=3600),
        "gathers": subscribe("gathers", delivery_mode="batched", batch_max_wait_seconds=3600),
        "batch": subscribe("batch", delivery_mode="batched", batch_max_events=1),
        "all": subscribe("all", ["*"]),
        "prefix": subscribe("prefix", ["message.*"]),
        "type": subscribe("type", ["call.new", "call.*"]),
        "filter": subscribe("filter", filter={"payload.amount": {"gt": 100}}),
        "takes": subscribe("takes", filter={"payload.amount": {"lt": 100}}),
        "paused": subscribe("paused", is_enabled=False),
        "disabled": {"id": installation.insert_subscription(receiver.url("/disabled"), ["message.new"], status="disabled")},
    }
    installation.wait_in_force()
    raw = b'{"id":"order-1","event_type":"message.new","occurred_at":1760000000000,"event_source":"shop",' \
          b'"payload":{"amount":12.50,"big":12345678901234567890}}'
    answer = installation.api.post(path(), raw=raw, headers={"traceparent": TRACE})
    assert answer.status == 202, answer
    wait_stored(installation, 1, wait_until)
    ended = "delivery_status = 'success'"
    wait_until(lambda: installation.db.count("delivery_logs", ended) >= 5, 30, 0.1, "what can be delivered is")
    wait_until(lambda: installation.db.count("delivery_logs", "delivery_status = 'failed'") >= 2, 30, 0.1, "the rest has failed")
    made["later"] = subscribe("later")
    return made


def test_what_happened_to_an_event(installation, scene):
    found = looked_up(installation, "order-1")
    assert list(found) == ["id", "event_key", "workspace_id", "event_type", "event_source", "event_triggered_by", "occurred_at",
                           "deliver_at", "received_at", "erased", "payload", "kafka", "others", "subscriptions",
                           "subscriptions_complete"]
    assert (found["id"], found["workspace_id"], found["event_type"]) == ("order-1", "w1", "message.new")
    assert (found["event_source"], found["event_triggered_by"], found["deliver_at"]) == ("shop", None, None)
    assert found["occurred_at"] == "2025-10-09T08:53:20Z" and ISO.match(found["received_at"]) and not found["erased"]
    text = installation.api.get(path("order-1")).text
    assert '"payload":{"amount":12.50,"big":12345678901234567890}' in text, "the producer's digits"
    kafka = found["kafka"]
    [message] = installation.kafka.read(installation.topic(), 1)
    assert (kafka["topic"], kafka["partition"], kafka["offset"]) == (message.topic(), message.partition(), message.offset())
    assert kafka["key"] == "w1" and kafka["headers"] == {"traceparent": TRACE} and ISO.match(kafka["timestamp"])
    assert found["others"] == [] and found["subscriptions_complete"]
    assert looked_up(installation, found["event_key"]) == found
    assert {name: fate(found, subscription) for name, subscription in scene.items()} == {
        "good": (True, None, "delivered"),
        "down": (True, None, "waiting"),
        "never": (True, None, "given_up"),
        "delayed": (True, None, "waiting"),
        "gathers": (True, None, "batched"),
        "batch": (True, None, "delivered"),
        "all": (True, None, "delivered"),
        "prefix": (True, None, "delivered"),
        "type": (False, "type", None),
        "filter": (False, "filter", None),
        "takes": (True, None, "delivered"),
        "paused": (False, "paused", "skipped"),
        "disabled": (False, "disabled", "skipped"),
        "later": (False, "created_later", None),
    }
    good = of(found, scene["good"])
    assert good["name"] == "the good one" and good["webhook_url"].endswith("/good") and good["status"] == "active"
    [attempt] = good["attempts"]
    assert (attempt["attempt"], attempt["status"], attempt["status_code"], attempt["error"]) == (1, "success", 200, None)
    assert ISO.match(attempt["at"]) and attempt["duration_ms"] >= 0 and attempt["batch_id"] is None and not attempt["replay"]
    assert good["next_attempt"] is None
    down = of(found, scene["down"])
    assert down["attempts"][0]["error_code"] == "http_status" and down["attempts"][0]["status_code"] == 500
    assert ISO.match(down["attempts"][0]["next_attempt_at"])
    assert down["next_attempt"]["attempt"] == 2 and ISO.match(down["next_attempt"]["due_at"])
    assert not down["next_attempt"]["held"] and not down["next_attempt"]["sending"]
    assert of(found, scene["delayed"])["next_attempt"]["attempt"] == 1 and of(found, scene["delayed"])["attempts"] == []
    assert ISO.match(of(found, scene["gathers"])["next_attempt"]["due_at"])
    assert of(found, scene["batch"])["attempts"][0]["batch_id"]
    assert of(found, scene["never"])["attempts"][0]["given_up"]


def test_ids_that_stand_twice_and_ids_that_stand_nowhere(installation, receiver, wait_until):
    installation.serve()
    installation.subscribe(receiver.url("/hook"))
    installation.wait_in_force()
    for n in range(3):
        taken(installation.api.post(path(), {"id": "twice", "event_type": "message.new", "payload": n}))
        wait_stored(installation, n + 1, wait_until)
    found = looked_up(installation, "twice")
    assert found["payload"] == 2 and len(found["others"]) == 2
    assert [looked_up(installation, key)["payload"] for key in found["others"]] == [1, 0]
    assert found["event_key"] in looked_up(installation, found["others"][0])["others"]
    taken(installation.api.post(path(), {"id": "a/b c\u00e9", "event_type": "message.new"}))
    wait_stored(installation, 4, wait_until)
    assert looked_up(installation, "a%2Fb%20c%C3%A9")["id"] == "a/b c\u00e9"
    taken(installation.api.post(path(), {"id": 17, "event_type": "message.new"}))
    wait_stored(installation, 5, wait_until)
    assert looked_up(installation, "17")["id"] == "17"
    for unknown in ("nothing", "00000000-0000-7000-8000-000000000000", "x" * 300):
        for answer in (installation.api.get(path(unknown)), installation.api.delete(path(unknown))):
            assert "30 days" in assert_problem(answer, 404, "not_found")["detail"]
    for unknown in ("%00", "%ff"):
        assert_problem(installation.api.get(path(unknown)), 404, "not_found")
    assert_problem(installation.api_of("w2").get(path(found["event_key"], "w2")), 404, "not_found")
    assert_problem(installation.api_of("w2").get(path("twice")), 404, "not_found")
    assert_problem(installation.api_of("w2").delete(path(found["event_key"], "w2")), 404, "not_found")
    problem = assert_problem(installation.api.delete(path("twice")), 409, "ambiguous_id")
    assert [event["event_key"] for event in problem["events"]] == [found["event_key"], *found["others"]]
    reads = find_key(installation.run("key", "create", "--workspace", "w1", "--read-only").stdout)
    assert installation.api.with_key(reads).get(path("twice")).status == 200
    assert_problem(installation.api.with_key(reads).delete(path(found["event_key"])), 403, "read_only_key")
    assert installation.api.delete(path(found["others"][1])).status == 204
    assert [looked_up(installation, key)["erased"] for key in (found["event_key"], *found["others"])] == [False, False, True]
    assert_field(installation.api.get(path("twice") + "?x=1"), "x")


def test_erasing(installation, receiver, scene, wait_until):
    """The payload is nowhere any more, what waited is cancelled, and what is known of it stays."""
    before = looked_up(installation, "order-1")
    for number in ("order-2", "order-3"):
        taken(installation.api.post(path(), {"id": number, "event_type": "message.new", "payload": {"amount": 1}}))
    wait_stored(installation, 3, wait_until)
    assert installation.api.delete(path("order-1")).status == 204
    found = looked_up(installation, "order-1")
    assert found["erased"] and found["payload"] is None and found["event_source"] is None
    assert found["kafka"]["key"] is None and found["kafka"]["headers"] == {}
    assert {name: found["kafka"][name] for name in ("topic", "partition", "offset")} == \
        {name: before["kafka"][name] for name in ("topic", "partition", "offset")}
    states = {name: fate(found, subscription)[2] for name, subscription in scene.items()}
    assert states == {"good": "delivered", "down": "cancelled", "never": "given_up", "delayed": "cancelled",
                      "gathers": "cancelled", "batch": "delivered", "all": "delivered", "prefix": "delivered", "type": None,
                      "filter": None, "takes": "delivered", "paused": "skipped", "disabled": "skipped", "later": None}
    last = of(found, scene["down"])["attempts"][-1]
    assert (last["status"], last["error"], last["error_code"]) == ("cancelled", "the event was erased", "cancelled")
    assert all(one["next_attempt"] is None for one in found["subscriptions"])
    db, key = installation.db, before["event_key"]
    assert db.count("delivery_logs", f"event_id = 'order-1' AND response_body IS NOT NULL AND event_key = '{key}'") == 0
    assert db.count("schedule", f"event_key = '{key}'") == 0 and db.count("batch_members", f"event_key = '{key}'") == 0
    [closer] = db.rows("SELECT members, member_bytes FROM schedule WHERE kind = 2")
    [members] = db.rows("SELECT count(*) AS n, sum(bytes) AS bytes FROM batch_members")
    assert (closer["members"], closer["member_bytes"]) == (members["n"], members["bytes"]) and members["n"] == 2
    # Again is fine. The others are as they were.
    assert installation.api.delete(path(key)).status == 204
    [told] = installation.api.get("/api/v1/workspaces/w1/audit?action=event.erased").json["audit"]
    assert (told["target"], told["before"], told["after"]) == (key, {"event_id": "order-1", "event_type": before["event_type"]}, None)
    assert looked_up(installation, "order-1") == found
    other = looked_up(installation, "order-2")
    assert other["payload"] == {"amount": 1} and fate(other, scene["gathers"])[2] == "batched"
    for number in ("order-2", "order-3"):
        assert installation.api.delete(path(number)).status == 204
    assert db.count("schedule", "kind = 2") == 0 and db.count("batch_members") == 0


def test_erasures_that_wait_hold_up_nobody_else(installation, scene, wait_until):
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    key = looked_up(installation, "order-1")["event_key"]
    with installation.db.connect() as holding, concurrent.futures.ThreadPoolExecutor(3) as threads:
        holding.execute("SELECT 1 FROM events WHERE event_key = %s FOR UPDATE", [key])
        erasures = [threads.submit(installation.api.delete, path(key)) for _ in range(3)]
        wait_until(lambda: installation.db.value(waiting) >= 3, 10, what="the erasures wait")
        assert looked_up(installation, key)["erased"] is False
        assert not any(erasure.done() for erasure in erasures)
        holding.rollback()
        assert {erasure.result().status for erasure in erasures} <= {204, 503}
    assert installation.api.delete(path(key)).status == 204


def test_erasing_out_of_a_batch_that_waits(installation, receiver, wait_until):
    installation.serve()
    receiver.on("/batch", FailFirst(1, Answer(500)))
    subscription = installation.subscribe(receiver.url("/batch"), delivery_mode="batched", batch_max_events=3,
                                          retry_schedule=["2s"], payload_format="raw")
    lone = installation.subscribe(receiver.url("/down"), ["call.new"], delivery_mode="batched", batch_max_events=1,
                                  retry_schedule=["1h"])
    receiver.on("/down", Answer(500))
    installation.wait_in_force()
    taken(installation.api.post(path(), [{"id": f"e{n}", "event_type": "message.new", "payload": n} for n in range(3)]))
    wait_until(lambda: installation.db.count("schedule", "kind = 1 AND attempt = 2") == 1, 20, 0.02, "the batch has failed once")
    assert fate(looked_up(installation, "e1"), subscription) == (True, None, "waiting")
    assert installation.api.delete(path("e1")).status == 204
    requests = receiver.wait_for(2, "/batch", 20)
    assert sorted(json.loads(requests[0].body)) == [0, 1, 2] and sorted(json.loads(requests[1].body)) == [0, 2]
    assert requests[0].id == requests[1].id
    taken(installation.api.post(path(), {"id": "lone", "event_type": "call.new"}))
    wait_until(lambda: installation.db.count("schedule", "kind = 1 AND attempt = 2") == 1, 20, 0.02, "the lone one has failed")
    assert installation.api.delete(path("lone")).status == 204
    assert installation.db.count("schedule", "kind = 1") == 0
    assert fate(looked_up(installation, "lone"), lone) == (True, None, "cancelled")


def test_what_is_answered_after_the_erasure_goes_minutes_later(installation, receiver, wait_until):
    gate, db = Gate(Answer(500, "you said: secret")), installation.db
    receiver.on("/hook", InTurn(Answer(500, "you said: secret"), gate))
    installation.serve()
    subscription = installation.subscribe(receiver.url("/hook"), retry_schedule=["1s", "1h"])
    installation.wait_in_force()
    taken(installation.api.post(path(), {"id": "gone", "event_type": "message.new", "payload": "secret"}))
    try:
        receiver.wait_for(2, "/hook", 30)
        assert db.count("delivery_logs", "response_body IS NOT NULL") == 1
        assert installation.api.delete(path("gone")).status == 204
        assert db.count("delivery_logs", "response_body IS NOT NULL") == 0
    finally:
        gate.open()
    late = "response_body = 'you said: secret' AND attempt = 2"
    wait_until(lambda: db.count("delivery_logs", late) == 1, 20, 0.05, "the second attempt is logged")
    assert db.count("erasures") == 1
    db.execute("UPDATE erasures SET erased_at = erased_at - interval '5 minutes'")
    wait_until(lambda: db.count("erasures") == 0, 20, 0.05, "the erasure is finished")
    assert db.count("delivery_logs", "response_body IS NOT NULL") == 0
    assert len(of(looked_up(installation, "gone"), subscription)["attempts"]) == 3  # the cancelled one too


def test_what_was_erased_is_not_sent_again(installation, receiver, wait_until):
    installation.serve()
    subscription = installation.subscribe(receiver.url("/hook"))
    installation.wait_in_force()
    taken(installation.api.post(path(), {"id": "gone", "event_type": "message.new"}))
    receiver.wait_for(1, "/hook", 30)
    wait_until(lambda: installation.db.count("delivery_logs") == 1, 20, 0.1, "the delivery is logged")
    assert installation.api.delete(path("gone")).status == 204
    log = of(looked_up(installation, "gone"), subscription)["attempts"][0]["log_id"]
    row = installation.api.get(f"/api/v1/workspaces/w1/logs/{subscription['id']}").json["data"][0]
    assert row["delivered_event_obj"] is None and row["event_id"] == "gone"
    job = installation.api.post(f"/api/v1/workspaces/w1/logs/{log}/replay")
    assert job.status == 202, job
    jobs = f"/api/v1/workspaces/w1/jobs/{job.json['id']}"
    wait_until(lambda: installation.api.get(jobs).json["state"] == "done", 30, 0.2, "the replay is done")
    assert installation.api.get(jobs).json["failed"] == 1
    assert len(receiver.wait_for(1, "/hook")) == 1
