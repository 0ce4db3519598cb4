"""Promise 3, no endpoint slows another; promise 4, the log tells the truth; promise 6, a receiver can't hurt us."""
import asyncio
import hashlib
import time
import uuid

import pytest
from support import lookups
from support.receiver import Answer, Flood, Gate, Hang, Raw, Redirect, Reset, Trickle, refused_url


class EndlessHeaders:
    """An answer whose headers never end."""

    async def play(self, call):
        call.request.status = None
        call.send(b"HTTP/1.1 200 OK\r\n")
        while not call.raw.transport.is_closing():
            call.send(b"X-More: " + b"y" * 1000 + b"\r\n")
            await asyncio.sleep(0.001)
        await asyncio.sleep(3600)


class NeverFinished:
    """Begins its answer, and says nothing more."""

    async def play(self, call):
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await asyncio.sleep(3600)


# What a receiver does: (error_code, status_code, a word of the error).
MISBEHAVIOURS = {
    "hangs": (Hang(), "timeout", None, ""),
    "trickles_a_body": (Trickle(0.05), "timeout", None, ""),
    "trickles_headers": (Trickle(0.05, in_headers=True), "timeout", None, ""),
    "never_finishes": (NeverFinished(), "timeout", None, ""),
    "resets": (Reset(), "reset", None, ""),
    "resets_in_the_headers": (Reset(b"HTTP/1.1 200 OK\r\nX-A: "), "reset", None, ""),
    "resets_in_the_body": (Reset(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "reset", None, ""),
    "closes_without_an_answer": (Raw(b""), "reset", None, ""),
    "closes_in_the_headers": (Raw(b"HTTP/1.1 200 OK\r\nX-A: b"), "reset", None, ""),
    "closes_in_the_body": (Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "reset", None, ""),
    "answers_garbage": (Raw(b"\x00\x01garbage \xff\xfe\r\n\r\n"), "bad_response", None, ""),
    "answers_old_http": (Raw(b"ok\n"), "bad_response", None, ""),
    "endless_headers": (EndlessHeaders(), "bad_response", None, "headers"),
    "redirects": (Redirect("/elsewhere"), "http_status", 302, "302"),
    "not_modified": (Raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "http_status", 304, "304"),
    "answers_500": (Answer(500, b"no"), "http_status", 500, "500"),
    "answers_404": (Answer(404), "http_status", 404, "404"),
    "odd_status": (Raw(b"HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n"), None, 299, None),
    "floods": (Flood(), None, 200, None),
    "floods_with_an_error": (Flood(status=503), "http_status", 503, "503"),
}


def test_each_misbehaviour_is_logged_as_what_it_was(installation, receiver, tmp_path):
    installation.kafka.create_topic(installation.topic(), 1)
    never = {"retry_schedule_ms": [], "timeout_ms": 1000}
    ids = {"refuses": installation.insert_subscription(refused_url("/x"), **never),
           "unknown_name": installation.insert_subscription("http://nowhere.unknown.test/x", **never)}
    for name, (behaviour, *_) in MISBEHAVIOURS.items():
        receiver.on("/" + name, behaviour)
        ids[name] = installation.insert_subscription(receiver.url("/" + name), **never)
    dispatching = installation.process("dispatch")
    dispatching.env.update(lookups.environment(tmp_path))
    dispatching.start()
    installation.produce([installation.event(id="one")])
    installation.db.wait_count(len(ids), "delivery_logs")
    expected = {name: rest for name, (_, *rest) in MISBEHAVIOURS.items()}
    expected["refuses"] = ("connect", None, "")
    expected["unknown_name"] = ("dns", None, "")
    for name, (code, status, word) in expected.items():
        (row,) = installation.db.logs(subscription_id=ids[name])
        assert (row["error_code"], row["status_code"]) == (code, status), (name, row)
        assert row["delivery_status"] == ("failed" if code else "success"), (name, row)
        assert (row["attempt"], row["next_attempt_at"], row["event_id"]) == (1, None, "one"), (name, row)
        assert row["given_up"] == (code is not None), (name, row)
        if code:
            assert row["error"] and word in row["error"] and "\n" not in row["error"], (name, row)
        else:
            assert row["error"] is None, (name, row)
        if code == "timeout":
            assert 900 <= row["duration_ms"] < 4000, (name, row)
    assert receiver.requests("/elsewhere") == [], "a redirect was followed"
    assert installation.db.count("schedule") == 0


def test_good_endpoints_keep_their_pace_beside_bad_ones(installation, receiver, make_receiver):
    installation.kafka.create_topic(installation.topic(), 4)
    bad = make_receiver()
    installation.insert_subscription(refused_url("/x"), timeout_ms=2000)
    for name in ("hangs", "trickles_a_body", "trickles_headers", "resets", "closes_in_the_body", "answers_garbage",
                 "endless_headers", "redirects", "floods", "answers_500"):
        bad.on("/" + name, MISBEHAVIOURS[name][0])
        installation.insert_subscription(bad.url("/" + name), timeout_ms=2000)
    good = ["/good1", "/good2", "/good3"]
    for path in good:
        installation.insert_subscription(receiver.url(path))
    installation.dispatch()
    first = installation.events(100)
    installation.produce(first)
    for path in good:
        receiver.wait_for(100, path, deadline_s=10)
    # Now that the bad ones have shown themselves, it is no slower.
    bad.wait_for(20)
    more = installation.events(200)
    installation.produce(more)
    for path in good:
        receiver.wait_for(300, path, deadline_s=10)
        assert set(receiver.ids(path)) == {event["id"] for event in first + more}
    assert receiver.duplicates() == {}
    assert bad.requests("/elsewhere") == []
    # What the bad ones did not take is in the schedule, and nothing of it keeps Kafka's partitions waiting.
    installation.wait_settled()
    assert installation.db.value("SELECT count(DISTINCT event_id) FROM delivery_logs WHERE webhook_url = %s",
                                 receiver.url("/good1")) == 300


def test_answers_are_kept_up_to_the_limit_and_made_safe(installation, receiver):
    installation.kafka.create_topic(installation.topic(), 1)
    answers = {"/short": (Answer(200, b"fine"), "fine"), "/empty": (Answer(204), None),
               "/long": (Answer(500, b"0123456789" * 100), "0123456789" * 10),
               "/bytes": (Answer(400, b"a\x00b\xff\xfec\xc3"), "a\ufffdb\ufffd\ufffdc\ufffd"),
               "/cut": (Answer(400, b"x" * 99 + "é".encode()), "x" * 99 + "\ufffd"),
               "/text": (Answer(200, 'é "\U0001f600" \\ \t\n'), 'é "\U0001f600" \\ \t\n')}
    ids = {}
    for path, (answer, _) in answers.items():
        receiver.on(path, answer)
        ids[path] = installation.insert_subscription(receiver.url(path), retry_schedule_ms=[])
    installation.dispatch(RESPONSE_BODY_LIMIT="100")
    installation.produce(installation.events(1))
    installation.db.wait_count(len(answers), "delivery_logs")
    for path, (_, kept) in answers.items():
        assert installation.db.logs(subscription_id=ids[path])[0]["response_body"] == kept, path


@pytest.mark.parametrize("keep, kept", [("failed", {"/bad"}), ("none", set())])
def test_bodies_of_answers_are_kept_as_the_setting_says(installation, receiver, keep, kept):
    installation.kafka.create_topic(installation.topic(), 1)
    receiver.on("/good", Answer(200, b"fine"))
    receiver.on("/bad", Answer(500, b"broken"))
    for path in ("/good", "/bad"):
        installation.insert_subscription(receiver.url(path))
    installation.dispatch(RESPONSE_BODY_KEEP=keep)
    installation.produce(installation.events(1))
    installation.db.wait_count(2, "delivery_logs")
    rows = installation.db.logs()
    assert {row["webhook_url"][len(receiver.url("")):] for row in rows if row["response_body"]} == kept


def test_a_connection_is_kept_from_one_webhook_to_the_next(installation, receiver):
    installation.kafka.create_topic(installation.topic(), 1)
    receiver.on("/floods", Flood(200 * 1024))
    installation.insert_subscription(receiver.url("/hook"), max_in_flight=1)
    installation.insert_subscription(receiver.url("/floods"), max_in_flight=1)
    installation.dispatch()
    installation.produce(installation.events(30))
    receiver.wait_for(60)
    # What is within the limit that is read and thrown away costs no connection; the two lanes may have one each.
    assert receiver.connections <= 4


def bucket(workspace, subscription):
    return hashlib.sha256(workspace.encode() + b"\0" + subscription.encode()).digest()[0] % 16


INSERT_DUE = """
INSERT INTO schedule (workspace_id, subscription_id, row_key, event_key, bucket, attempt, activation, due_at, topic,
                      part, record_offset, record_time, record_key, headers, body)
SELECT 'w1', %s, key, key, %s, 2, 1, now() - interval '1 hour' + n * interval '1 millisecond', %s, 0, n, now(), 'w1',
       '{}', convert_to('{"id":"row_' || n || '","workspace_id":"w1","payload":{}}', 'UTF8')
FROM (SELECT gen_random_uuid() AS key, n FROM generate_series(1, %s) n) made"""


@pytest.mark.parametrize("dead", ["refuses", "hangs"])
def test_a_healthy_row_does_not_wait_behind_100000_of_a_dead_endpoint(installation, receiver, dead):
    installation.kafka.create_topic(installation.topic(), 1)
    receiver.on("/hangs", Hang())
    url = refused_url("/x") if dead == "refuses" else receiver.url("/hangs")
    gone, healthy = str(uuid.uuid4()), str(uuid.uuid4())
    # In one bucket, so that one scan of the index meets both.
    while bucket("w1", healthy) != bucket("w1", gone):
        healthy = str(uuid.uuid4())
    installation.insert_subscription(url, ["none"], id=gone, timeout_ms=1000, retry_schedule_ms=[3600000, 3600000])
    installation.insert_subscription(receiver.url("/healthy"), ["none"], id=healthy)
    topic = installation.topic()
    installation.db.execute(INSERT_DUE, gone, bucket("w1", gone), topic, 100000)
    installation.db.execute(INSERT_DUE, healthy, bucket("w1", healthy), topic, 1)
    installation.db.execute("UPDATE schedule SET due_at = now() WHERE subscription_id = %s", healthy)
    installation.dispatch()
    began = time.monotonic()
    receiver.wait_for(1, "/healthy", deadline_s=20)
    assert time.monotonic() - began < 10
    installation.db.wait_count(1, "delivery_logs", "subscription_id = %s AND delivery_status = 'success'", healthy)
    # And those of the dead one are all there still.
    assert installation.db.count("schedule", "subscription_id = %s", gone) == 100000
    # The next one of the healthy one is as quick.
    receiver.forget()
    installation.db.execute(INSERT_DUE, healthy, bucket("w1", healthy), topic, 1)
    receiver.wait_for(1, "/healthy", deadline_s=10)


def test_a_look_up_that_hangs_blocks_nobody(installation, receiver, tmp_path):
    installation.kafka.create_topic(installation.topic(), 2)
    for number in range(12):
        installation.insert_subscription(f"http://h{number}.hang.test:{receiver.port}/x", timeout_ms=1000)
    for _ in range(5):
        installation.insert_subscription(f"http://same.hang.test:{receiver.port}/x", timeout_ms=1000)
    installation.insert_subscription(receiver.url("/good"))
    installation.insert_subscription(f"http://good.inside.test:{receiver.port}/named")
    process = installation.process("dispatch")
    process.env.update(lookups.environment(tmp_path))
    process.start()
    for round_number in range(1, 4):
        installation.produce(installation.events(20))
        receiver.wait_for(20 * round_number, "/good", deadline_s=10)
        installation.db.wait_count(round_number, "delivery_logs", "error_code = 'timeout'")
        receiver.wait_for(20 * round_number, "/named", deadline_s=10)
    codes = {row["error_code"] for row in installation.db.rows(
        "SELECT DISTINCT error_code FROM delivery_logs WHERE webhook_url LIKE '%%hang.test%%'")}
    assert codes == {"timeout"}
    assert receiver.duplicates() == {}


def test_names_that_take_every_look_up_leave_the_others_alone(installation, receiver, tmp_path):
    installation.kafka.create_topic(installation.topic(), 2)
    for number in range(100):
        installation.insert_subscription(f"http://h{number}.hang.test:{receiver.port}/x", timeout_ms=1000)
    installation.insert_subscription(receiver.url("/good"))
    process = installation.process("dispatch")
    process.env.update(lookups.environment(tmp_path))
    process.start()
    for round_number in range(1, 4):
        installation.produce(installation.events(20))
        receiver.wait_for(20 * round_number, "/good", deadline_s=10)
    # What finds no place waits in the schedule: neither a partition nor the log waits for it.
    installation.db.wait_count(60, "delivery_logs", "webhook_url = %s", receiver.url("/good"), deadline_s=20)
    installation.wait_settled(deadline_s=20)
    assert installation.db.count("delivery_logs", "error_code = 'too_many_lookups'") == 0
    assert receiver.duplicates() == {}


def test_no_more_are_under_way_than_a_subscription_allows(installation, receiver):
    installation.kafka.create_topic(installation.topic(), 2)
    gate = Gate()
    receiver.on("/narrow", gate)
    installation.insert_subscription(receiver.url("/narrow"), max_in_flight=3)
    installation.insert_subscription(receiver.url("/wide"))
    installation.dispatch()
    installation.produce(installation.events(30))
    receiver.wait_for(30, "/wide")
    receiver.wait_for(3, "/narrow")
    # As long as none is answered, no fourth one comes; what waits is parked meanwhile.
    installation.db.wait_count(1, "schedule")
    assert receiver.count("/narrow") == 3
    gate.open()
    receiver.wait_for(30, "/narrow")
    assert receiver.duplicates() == {}
    installation.db.wait_count(30, "delivery_logs", "webhook_url = %s AND delivery_status = 'success'",
                               receiver.url("/narrow"))
    installation.db.wait("SELECT count(*) = 0 FROM schedule")
