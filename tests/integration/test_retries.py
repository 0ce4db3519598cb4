"""Failures are tried again as the schedule says, by any process, and the log tells it."""
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from support.receiver import Answer, FailFirst, Gate, InTurn, RetryAfter
from support.signature import verify_standard

# A slow machine comes later than the schedule says, never earlier.
LATE_S = 3.0


def waits_of(rows):
    """What each log row announced: seconds from the attempt's end to the next one; None: none follows."""
    return [row["next_attempt_at"] and (row["next_attempt_at"] - row["created_at"]).total_seconds() for row in rows]


@pytest.fixture
def ready(installation):
    installation.kafka.create_topic(installation.topic(), 1)
    return installation


def test_retries_follow_the_schedule_until_it_is_exhausted(ready, receiver):
    ready.serve()
    receiver.on("/down", Answer(500, b"no"))
    made = ready.subscribe(receiver.url("/down"), retry_schedule=[0.3, "600ms", "1200ms"])
    ready.wait_in_force()
    ready.produce([ready.event(id="one")])
    receiver.wait_for(4)
    ready.db.wait("SELECT count(*) = 1 FROM delivery_logs WHERE given_up")
    rows = ready.db.logs()
    assert [row["attempt"] for row in rows] == [1, 2, 3, 4]
    assert [row["given_up"] for row in rows] == [False, False, False, True]
    assert {(row["delivery_status"], row["status_code"], row["error_code"], row["response_body"]) for row in rows} == {
        ("failed", 500, "http_status", "no")}
    announced = waits_of(rows)
    assert announced[3] is None
    requests = receiver.requests()
    assert len(requests) == 4, [(request.time - requests[0].time, request.nth) for request in requests]
    for number, delay in enumerate((0.3, 0.6, 1.2)):
        assert 0.8 * delay - 0.002 <= announced[number] <= 1.2 * delay + 0.002
        waited = requests[number + 1].time - requests[number].time
        assert 0.8 * delay - 0.02 <= waited <= 1.2 * delay + LATE_S
    assert {request.id for request in requests} == {"one"}
    stamps = [int(request.headers["webhook-timestamp"]) for request in requests]
    assert stamps == sorted(stamps) and stamps[3] > stamps[0], "each attempt has its own timestamp"
    assert all(abs(stamp - request.time) < 3 for stamp, request in zip(stamps, requests))
    assert all(verify_standard(request, made["secret"]) for request in requests)
    assert requests[0].headers["webhook-signature"] != requests[3].headers["webhook-signature"]
    assert [row["sent_at"] for row in rows] == sorted(row["sent_at"] for row in rows)
    assert ready.db.count("schedule") == 0


def test_a_success_ends_the_retries(ready, receiver):
    receiver.on("/hook", FailFirst(2, Answer(502)))
    ready.insert_subscription(receiver.url("/hook"), retry_schedule_ms=[200, 200, 200, 200])
    ready.dispatch()
    ready.produce([ready.event(id="one")])
    receiver.wait_for(3)
    ready.db.wait_count(3, "delivery_logs")
    rows = ready.db.logs()
    assert [(row["attempt"], row["delivery_status"], row["status_code"]) for row in rows] == [
        (1, "failed", 502), (2, "failed", 502), (3, "success", 200)]
    assert not any(row["given_up"] for row in rows)
    assert rows[2]["error"] is rows[2]["error_code"] is rows[2]["next_attempt_at"] is None
    ready.db.wait("SELECT count(*) = 0 FROM schedule")
    assert receiver.count() == 3


def test_an_empty_schedule_means_one_attempt(ready, receiver):
    receiver.on("/down", Answer(500))
    ready.insert_subscription(receiver.url("/down"), retry_schedule_ms=[])
    ready.dispatch()
    ready.produce(ready.events(3))
    ready.db.wait_count(3, "delivery_logs", "given_up AND attempt = 1")
    assert ready.db.count("schedule") == 0
    assert receiver.count() == 3


@pytest.mark.parametrize("setting, first_s", [(None, 5), ("700ms,30m", 0.7)], ids=["default", "setting"])
def test_the_installations_schedule_counts_where_a_subscription_has_none(ready, receiver, setting, first_s):
    receiver.on("/down", Answer(500))
    ready.insert_subscription(receiver.url("/down"))
    ready.dispatch(**({"RETRY_SCHEDULE": setting} if setting else {}))
    ready.produce(ready.events(20))
    ready.db.wait_count(20, "delivery_logs", "attempt = 1")
    waits = waits_of(ready.db.logs(attempt=1))
    assert all(0.8 * first_s - 0.002 <= wait <= 1.2 * first_s + 0.002 for wait in waits)
    assert max(waits) - min(waits) > 0.05 * first_s, "what failed together comes back together"
    ready.db.wait_count(1, "delivery_logs", "attempt = 2", deadline_s=15)
    second = waits_of(ready.db.logs(attempt=2))[0]
    second_s = 30 * 60 if setting else 300
    assert 0.8 * second_s <= second <= 1.2 * second_s


def test_410_disables_the_subscription_with_a_reason(ready, receiver):
    receiver.on("/gone", InTurn(Answer(500), Answer(410, b"no longer")))
    number = ready.insert_subscription(receiver.url("/gone"), retry_schedule_ms=[60000])
    other = ready.insert_subscription(receiver.url("/other"))
    ready.dispatch()
    ready.produce([ready.event(id="waits")])
    ready.db.wait_count(1, "delivery_logs", "subscription_id = %s AND next_attempt_at IS NOT NULL", number)
    ready.produce([ready.event(id="gone")])
    ready.db.wait("SELECT status = 'disabled' FROM subscriptions WHERE id = %s", number)
    row = ready.db.row("SELECT * FROM subscriptions WHERE id = %s", number)
    assert "410" in row["disabled_reason"]
    (last,) = ready.db.logs(subscription_id=number, event_id="gone")
    assert (last["status_code"], last["given_up"], last["next_attempt_at"], last["response_body"]) == (
        410, True, None, "no longer")
    # What waited for it is cancelled, with a row in the log.
    ready.db.wait("SELECT count(*) = 0 FROM schedule")
    ready.db.wait_count(1, "delivery_logs",
                        "subscription_id = %s AND delivery_status = 'cancelled' AND event_id = 'waits'", number)
    time_of_change = time.monotonic()

    def later_ones_are_skipped():
        ready.produce([ready.event()])
        return ready.db.value("SELECT count(*) > 0 FROM events WHERE %s = ANY(skipped)", number)

    while not later_ones_are_skipped():
        assert time.monotonic() - time_of_change < 10
    assert receiver.count("/gone") == 2
    assert ready.db.value("SELECT status FROM subscriptions WHERE id = %s", other) == "active"


@pytest.mark.parametrize("status", [429, 503, 500])
def test_retry_after_in_seconds_is_honoured(ready, receiver, status):
    receiver.on("/busy", InTurn(RetryAfter(2, status), Answer()))
    ready.insert_subscription(receiver.url("/busy"), retry_schedule_ms=[100, 100])
    ready.dispatch()
    ready.produce(ready.events(1))
    first, second = receiver.wait_for(2)
    assert 1.95 <= second.time - first.time <= 2.4 + LATE_S
    ready.db.wait_count(2, "delivery_logs")
    (row,) = ready.db.logs(attempt=1)
    assert row["status_code"] == status
    assert 1.95 <= waits_of([row])[0] <= 2.5


def test_retry_after_as_a_date_is_honoured_and_bounded(ready, receiver):
    soon = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=2)
    answers = {"/date": (RetryAfter(format_datetime(soon, usegmt=True)), 7190, 7202),
               "/far": (RetryAfter(10_000_000), 86399, 86401),
               "/far_date": (RetryAfter("Fri, 31 Dec 2100 23:59:59 GMT"), 86399, 86401),
               "/past_date": (RetryAfter("Wed, 21 Oct 2015 07:28:00 GMT"), 48, 72),
               "/shorter": (RetryAfter(1), 48, 72),
               "/nonsense": (RetryAfter("soon"), 48, 72),
               "/negative": (RetryAfter(-5), 48, 72),
               "/success": (RetryAfter(100, 200), None, None)}
    ids = {}
    for path, (answer, *_) in answers.items():
        receiver.on(path, answer)
        ids[path] = ready.insert_subscription(receiver.url(path), retry_schedule_ms=[60000])
    ready.dispatch()
    ready.produce(ready.events(1))
    ready.db.wait_count(len(answers), "delivery_logs")
    for path, (_, least, most) in answers.items():
        (wait,) = waits_of(ready.db.logs(subscription_id=ids[path]))
        assert wait is None if least is None else least <= wait <= most, (path, wait)


def test_another_process_takes_up_the_retries_of_one_that_was_killed(ready, receiver):
    # 500: it answers, so its queue moves on.
    receiver.on("/hook", FailFirst(1, Answer(500), per="id"))
    ready.insert_subscription(receiver.url("/hook"), retry_schedule_ms=[3000, 3000, 3000])
    first = ready.dispatch()
    events = ready.events(50)
    ready.produce(events)
    ready.db.wait_count(50, "delivery_logs", "attempt = 1")
    first.kill()
    # Without the group: a process that just came waits for its turn there, not for the schedule.
    ready.process("dispatch").start(ready=False)
    receiver.wait_for(100, deadline_s=15)
    ready.db.wait_count(50, "delivery_logs", "delivery_status = 'success' AND attempt = 2")
    assert receiver.ids() == {event["id"]: 2 for event in events}
    assert ready.db.count("schedule") == 0


def test_a_row_that_was_leased_when_its_process_died_is_sent_when_the_lease_ends(ready, receiver):
    gate = Gate()
    receiver.on("/hook", InTurn(Answer(500), gate, Answer()))
    ready.insert_subscription(receiver.url("/hook"), retry_schedule_ms=[200, 200], timeout_ms=1000)
    first = ready.dispatch()
    ready.produce([ready.event(id="one")])
    receiver.wait_for(2)
    first.kill()
    # The lease is longer than a test wants to wait: it ends here by hand.
    ready.db.wait("SELECT count(*) = 1 FROM schedule WHERE lease_until > now()")
    ready.db.execute("UPDATE schedule SET lease_until = now() - interval '1 s', due_at = now() - interval '1 s'")
    ready.process("dispatch").start(ready=False)
    receiver.wait_for(3, deadline_s=15)
    ready.db.wait_count(1, "delivery_logs", "delivery_status = 'success' AND attempt = 2")
    gate.open()
    assert receiver.ids() == {"one": 3}


def test_retries_use_what_the_subscription_is_now(ready, receiver):
    ready.serve()
    receiver.on("/old", Answer(500))
    made = ready.subscribe(receiver.url("/old"), retry_schedule=[4, 4])
    ready.wait_in_force()
    ready.produce([ready.event(id="one")])
    ready.db.wait_count(1, "delivery_logs")
    ready.change(made, webhook_url=receiver.url("/new"), payload_format="standard", secret="a secret of mine")
    (request,) = receiver.wait_for(1, "/new")
    assert request.body.startswith(b'{"type":"message.new"')
    assert verify_standard(request, "a secret of mine")
    assert receiver.count("/old") == 1
