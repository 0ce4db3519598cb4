"""Delays: by subscription and by event, kept over kill -9, cancelled with their subscription; and filters on the way in.

Times are compared with PostgreSQL's and the receiver's clock, which are this machine's."""
import json
import os
import shutil
import struct
import subprocess
import time
from datetime import datetime, timezone

import pytest
from servers import wait_until
from support.account import Account, sample
from support.process import ROOT
from support.receiver import Answer, FailFirst
from support.signature import verify_standard

# A killed process keeps its partitions until its session has ended.
QUICK_SESSION = "session.timeout.ms=2000\nheartbeat.interval.ms=200"
# A slow machine comes later than it should, never earlier; clocks are read to the millisecond.
LATE_S = 3.0
EARLY_S = 0.005


@pytest.fixture
def ready(installation):
    installation.kafka.create_topic(installation.topic(), 2)
    return installation


@pytest.fixture
def account(installation, tally):
    return Account(installation, tally)


def in_ms(seconds):
    return int((time.time() + seconds) * 1000)


def due_times(db):
    """{(subscription, event): when it is due} of what waits."""
    rows = db.rows("SELECT subscription_id, row_key, extract(epoch FROM due_at)::float8 AS due FROM schedule")
    return {(row["subscription_id"], row["row_key"]): row["due"] for row in rows}


def assert_in_time(requests, due_s, late_s=LATE_S):
    """due_s: {webhook-id: when it was due}."""
    for request in requests:
        late = request.time - due_s[request.id]
        assert -EARLY_S <= late <= late_s, f"{request.id} came {late:.3f} s after its time"


def test_a_subscription_delays_every_event(ready, receiver):
    ready.serve()
    ready.subscribe(receiver.url("/delayed"), delivery_mode="delayed", delay_seconds=2)
    ready.subscribe(receiver.url("/now"))
    ready.wait_in_force()
    began = time.time()
    events = ready.events(20)
    ready.produce(events)
    receiver.wait_for(20, "/now")
    # Durable, with its body, before the event is settled; and settled before it is sent.
    ready.db.wait_count(20, "events")
    assert ready.db.count("schedule", "attempt = 1 AND fence = 0 AND NOT held AND octet_length(body) > 50") == 20
    ready.wait_settled()
    assert receiver.count("/delayed") == 0
    receiver.wait_for(20, "/delayed")
    arrived = {row["event_id"]: row["due"] for row in ready.db.rows(
        "SELECT event_id, extract(epoch FROM created_at)::float8 + 2 AS due FROM events")}
    assert all(request.time >= began + 2 for request in receiver.requests("/delayed"))
    assert_in_time(receiver.requests("/delayed"), arrived)
    ready.db.wait_count(40, "delivery_logs", "delivery_status = 'success' AND attempt = 1")
    ready.db.wait("SELECT count(*) = 0 FROM schedule")
    assert not receiver.duplicates()


def test_of_two_delays_the_later_one_counts(ready, receiver):
    ready.insert_subscription(receiver.url("/sub"), delivery_mode="delayed", delay_ms=2000)
    ready.insert_subscription(receiver.url("/now"))
    ready.dispatch()
    began = time.time()
    due = {"sooner": began + 0.5, "later": began + 4, "past": began - 100, "none": None}
    ready.produce([ready.event(id=name, **({"deliver_at": int(at * 1000)} if at else {})) for name, at in due.items()])
    receiver.wait_for(8)
    first = {request.id: request.time for request in receiver.requests("/sub")}
    for name in ("sooner", "past", "none"):
        assert began + 2 <= first[name] <= began + 2 + LATE_S, name
    assert due["later"] - EARLY_S <= first["later"] <= due["later"] + LATE_S
    other = {request.id: request.time for request in receiver.requests("/now")}
    assert due["sooner"] - EARLY_S <= other["sooner"] and due["later"] - EARLY_S <= other["later"]
    assert other["past"] < began + 2 and other["none"] < began + 2
    assert not receiver.duplicates()


def test_deliver_at_in_the_past_is_now_and_out_of_reach_is_rejected(ready, receiver):
    ready.insert_subscription(receiver.url("/hook"))
    ready.dispatch()
    year_s = 366 * 24 * 3600
    ready.produce([
        ready.event(id="year", deliver_at=in_ms(year_s - 3600)), ready.event(id="far", deliver_at=in_ms(year_s + 3600)),
        ready.event(id="iso", deliver_at=datetime.fromtimestamp(time.time() - 5, timezone.utc).isoformat()),
        ready.event(id="nonsense", deliver_at="soon"), ready.event(id="seconds", deliver_at=int(time.time()) + 3600),
        ready.event(id="never", deliver_at="9999-12-31T23:59:59Z"), ready.event(id="null", deliver_at=None)])
    receiver.wait_for(3)
    ready.db.wait_count(3, "rejected_events")
    assert set(receiver.ids()) == {"iso", "seconds", "null"} and not receiver.duplicates()
    rejected = {json.loads(bytes(row["body"]))["id"]: row for row in ready.db.rows("SELECT * FROM rejected_events")}
    assert set(rejected) == {"far", "nonsense", "never"}
    assert {row["code"] for row in rejected.values()} == {"bad_field"}
    assert all("deliver_at" in row["reason"] for row in rejected.values())
    assert "366 days" in rejected["far"]["reason"] and "ISO 8601" in rejected["nonsense"]["reason"]
    ready.db.wait("SELECT count(*) = 1 FROM schedule WHERE due_at > now() + interval '365 days'")


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_restart_keeps_every_delay(ready, account, tally, end):
    """Killed or stopped while everything waits: nothing comes early, nothing is lost, each comes once."""
    ready.env["HOOKCAST_KAFKA_CONF"] = QUICK_SESSION
    for number in range(3):
        account.subscribe(f"/d{number}", delivery_mode="delayed", delay_ms=6000 + 300 * number)
    account.subscribe("/now")
    dispatch = ready.dispatch()
    events = [ready.event(deliver_at=in_ms(7 + number % 20 / 10)) for number in range(300)]
    account.expect(events)
    ready.produce(events)
    ready.db.wait_count(1200, "schedule", deadline_s=5)
    before = due_times(ready.db)
    if end == "kill":
        dispatch.kill()
    else:
        dispatch.stop()
    assert len(tally) == 0, "nothing was due yet"
    offset = time.time() - time.monotonic()
    # Without the group: what waits needs no partitions.
    dispatch.start(ready=False)
    assert due_times(ready.db) == before and len(before) == 1200
    account.wait_logged(60)
    account.assert_sent_once()
    due = {(row["path"], row["event_id"]): before[row["subscription_id"], row["event_key"]] for row in ready.db.rows(
        "SELECT '/' || split_part(webhook_url, '/', 4) AS path, event_id, subscription_id, event_key FROM delivery_logs")}
    early = [pair for at, *pair, _ in tally.arrived if at + offset < due[tuple(pair)] - EARLY_S]
    assert not early, f"came before its time: {sample(early)}"
    assert ready.db.count("schedule") == 0
    assert ready.db.count("delivery_logs", "attempt <> 1 OR delivery_status <> 'success'") == 0


@pytest.mark.parametrize("how", ["deleted", "paused", "disabled"])
def test_what_waits_ends_with_its_subscription(ready, receiver, how):
    ready.kafka.create_topic(ready.topic("message.read"), 1)
    ready.serve()
    waiting = ready.subscribe(receiver.url("/waiting"), ["message.*"], delivery_mode="delayed", delay_seconds=3600)
    other = ready.subscribe(receiver.url("/other"), ["message.*"], delivery_mode="delayed", delay_seconds=3600)
    ready.wait_in_force()
    ready.produce(ready.events(30) + [ready.event(deliver_at=in_ms(7200))])
    ready.db.wait_count(62, "schedule")
    if how == "deleted":
        ready.unsubscribe(waiting)
    elif how == "paused":
        ready.change(waiting, is_enabled=False)
    else:
        ready.db.execute("UPDATE subscriptions SET status = 'disabled', disabled_reason = 'test' WHERE id = %s",
                         waiting["id"])
    ready.db.wait("SELECT count(*) = 0 FROM schedule WHERE subscription_id = %s", waiting["id"])
    rows = ready.db.logs(subscription_id=waiting["id"])
    assert len(rows) == len({row["event_key"] for row in rows}) == 31
    for row in rows:
        assert (row["delivery_status"], row["error_code"], row["attempt"]) == ("cancelled", "cancelled", 1)
        assert row["error"].startswith("the subscription ")
        assert how == "deleted" or row["webhook_url"] == receiver.url("/waiting")
        assert row["sent_at"] is row["status_code"] is row["next_attempt_at"] is None and not row["given_up"]
    if how != "deleted":
        # Made active again it takes what comes then, and does not bring them back.
        assert ready.change(waiting, is_enabled=True)["status"] == "active"

        def takes_again():
            ready.produce([ready.event("message.read")])
            return ready.db.count("schedule", "subscription_id = %s", waiting["id"]) > 0
        wait_until(takes_again, 15, 0.1, "it takes events again")
        assert ready.db.count("schedule", "subscription_id = %s AND topic = %s", waiting["id"], ready.topic()) == 0
    assert ready.db.count("schedule", "subscription_id = %s AND topic = %s", other["id"], ready.topic()) == 31
    assert receiver.count() == 0


def test_it_is_sent_as_the_subscription_then_is(ready, receiver):
    ready.serve()
    made = ready.subscribe(receiver.url("/old"), delivery_mode="delayed", delay_seconds=4)
    ready.wait_in_force()
    began = time.time()
    ready.produce([ready.event(id="one")])
    ready.db.wait_count(1, "schedule")
    # Another mode is for events to come; what waits keeps its time.
    ready.change(made, webhook_url=receiver.url("/new"), secret="a secret of mine", payload_format="standard",
                 headers={"X-Mine": "yes"}, delivery_mode="immediate")
    ready.db.wait_count(1, "schedule", "fence = 0")
    (request,) = receiver.wait_for(1, "/new")
    assert began + 4 - EARLY_S <= request.time <= began + 4 + LATE_S
    assert request.body.startswith(b'{"type":"message.new"') and request.headers["x-mine"] == "yes"
    assert verify_standard(request, "a secret of mine") and not verify_standard(request, made["secret"])
    ready.db.wait_count(1, "delivery_logs")
    (row,) = ready.db.logs()
    assert (row["webhook_url"], row["delivery_status"]) == (receiver.url("/new"), "success")
    assert receiver.count("/old") == 0


def test_a_delayed_delivery_that_fails_is_tried_again(ready, receiver):
    receiver.on("/hook", FailFirst(2, Answer(500)))
    ready.insert_subscription(receiver.url("/hook"), delivery_mode="delayed", delay_ms=1500,
                              retry_schedule_ms=[500, 500, 500])
    ready.dispatch()
    began = time.time()
    ready.produce([ready.event(id="one")])
    requests = receiver.wait_for(3)
    ready.db.wait_count(3, "delivery_logs")
    assert [row["attempt"] for row in ready.db.logs()] == [1, 2, 3]
    assert requests[0].time >= began + 1.5
    # The delay is for the event, not for each attempt.
    for earlier, later in zip(requests, requests[1:]):
        assert 0.4 - EARLY_S <= later.time - earlier.time <= 0.6 + LATE_S
    ready.db.wait("SELECT count(*) = 0 FROM schedule")


# Filters.


FILTER = {"payload.amount": {"gte": 100}, "payload.lang": {"in": ["de", "fr"]}}


def test_a_filter_lets_through_what_meets_it(ready, receiver):
    ready.serve()
    ready.subscribe(receiver.url("/some"), filter=FILTER)
    changing = ready.subscribe(receiver.url("/changing"), filter={"payload.amount": 1})
    ready.wait_in_force()

    def event(name, amount, lang="de"):
        return ready.event(id=name, payload={"amount": amount, "lang": lang})
    ready.produce([event("yes", 100), event("small", 99.9), event("text", "100"), event("english", 500, "en"),
                   event("large", 1e300, "fr"), ready.event(id="none", payload=None), event("one", 1)])
    ready.wait_settled()
    receiver.wait_for(3)
    assert (set(receiver.ids("/some")), set(receiver.ids("/changing"))) == ({"yes", "large"}, {"one"})
    ready.db.wait_count(3, "events")
    assert {row["event_id"] for row in ready.db.rows("SELECT event_id FROM events")} == {"yes", "large", "one"}
    # A change is in force within a second, also that there is none any more.
    assert ready.change(changing, filter=None)["filter"] is None

    def arrives_unfiltered():
        ready.produce([event("any", 5)])
        return receiver.count("/changing") > 1
    wait_until(arrives_unfiltered, 10, 0.1, "the filter is gone")
    assert set(receiver.ids("/some")) == {"yes", "large"}


def test_a_paused_subscription_misses_only_what_its_filter_takes(ready, receiver):
    ready.serve()
    paused = ready.subscribe(receiver.url("/paused"), filter=FILTER, is_enabled=False)
    ready.subscribe(receiver.url("/all"))
    ready.wait_in_force()
    ready.produce([ready.event(id="missed", payload={"amount": 100, "lang": "fr"}),
                   ready.event(id="other", payload={"amount": 1, "lang": "fr"})])
    receiver.wait_for(2, "/all")
    ready.db.wait_count(2, "events")
    skipped = {row["event_id"]: row["skipped"] for row in ready.db.rows("SELECT event_id, skipped::text[] FROM events")}
    assert skipped == {"missed": [paused["id"]], "other": None}
    assert receiver.count("/paused") == 0


def test_filter_and_delay_go_together(ready, receiver):
    ready.insert_subscription(receiver.url("/hook"), delivery_mode="delayed", delay_ms=1000, filter=json.dumps(FILTER))
    ready.dispatch()
    ready.produce([ready.event(id="yes", payload={"amount": 100, "lang": "de"}),
                   ready.event(id="no", payload={"amount": 1, "lang": "de"})])
    receiver.wait_for(1)
    ready.wait_settled()
    assert receiver.ids() == {"yes": 1}
    assert ready.db.count("events") == 1 and ready.db.count("schedule", "event_key NOT IN (SELECT event_key FROM events)") == 0


# Many.


@pytest.mark.deadline(170)
def test_100000_events_due_in_the_same_second_are_delivered_once_each(installation, account, tally):
    count = 100_000
    installation.kafka.create_topic(installation.topic(), 8)
    for number in range(4):
        account.subscribe(f"/s{number}", [f"kind.{number}"], max_in_flight=100)
        installation.kafka.create_topic(installation.topic(f"kind.{number}"), 4)
    installation.dispatch()
    due = time.time() + 15
    events = [installation.event(f"kind.{number % 4}", deliver_at=int(due * 1000)) for number in range(count)]
    account.expect(events)
    installation.produce(events)
    offset = time.time() - time.monotonic()

    def waiting():
        return installation.db.count("schedule")
    wait_until(lambda: waiting() == count or time.time() > due - 1, 60, 0.2, "they wait")
    waited, waited_s = waiting(), due - time.time()
    # A machine that is slow has not read all of them by then.
    assert waited > count / 4 and installation.db.value("SELECT count(DISTINCT due_at) FROM schedule") == 1
    account.wait_logged(120)
    account.assert_sent_once()
    took = tally.arrived[-1][0] + offset - due
    print(f"{waited} of {count} waited {waited_s:.1f} s before; first {tally.arrived[0][0] + offset - due:.2f} s, last {took:.1f} s after it")
    assert tally.arrived[0][0] + offset >= due - EARLY_S
    installation.db.wait("SELECT count(*) = 0 FROM schedule")
    assert installation.db.count("delivery_logs", "attempt <> 1 OR delivery_status <> 'success'") == 0


@pytest.mark.deadline(90)
def test_two_processes_never_send_the_same_due_row(installation, account, tally):
    installation.kafka.create_topic(installation.topic(), 4)
    for number in range(24):
        account.subscribe(f"/s{number}")
    # As many due at once, and a steady stream beside it.
    both = [installation.dispatch(), installation.dispatch()]
    at_once, start = in_ms(8), time.time() + 5
    events = [installation.event(deliver_at=at_once if number % 2 else int((start + number / 50) * 1000))
              for number in range(300)]
    account.expect(events)
    installation.produce(events)
    account.wait_logged(60)
    account.assert_sent_once()
    assert len(tally) == 7200
    claims = [process.metric("hookcast_claims_total") for process in both]
    assert min(claims) > 500, f"both take part: {claims}"
    assert sum(claims) == 7200, f"no row was claimed twice: {claims}"


# A clock that jumps.


@pytest.fixture
def jumping_clock(tmp_path):
    """(settings of a process, jump(seconds)): its wall clock is off by so much from then on."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no compiler for the library that moves the clock")
    library, offset = str(tmp_path / "clock_jump.so"), str(tmp_path / "offset")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, os.path.join(ROOT, "tests", "tools", "clock_jump.c")],
                   check=True)

    def jump(seconds):
        with open(offset, "r+b" if os.path.exists(offset) else "wb") as file:
            file.write(struct.pack("q", int(seconds * 1000)))
    jump(0)
    # A sanitizer's runtime would rather be loaded first.
    options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
    return {"LD_PRELOAD": library, "CLOCK_JUMP_FILE": offset, "ASAN_OPTIONS": options}, jump


@pytest.mark.parametrize("hours", [1, -1])
def test_a_wall_clock_that_jumps_sends_nothing_early_or_twice_and_loses_nothing(ready, receiver, jumping_clock, hours):
    env, jump = jumping_clock
    receiver.on("/retried", FailFirst(1, Answer(500), per="id"))
    ready.insert_subscription(receiver.url("/delayed"), delivery_mode="delayed", delay_ms=3000)
    ready.insert_subscription(receiver.url("/retried"), retry_schedule_ms=[2000, 2000])
    dispatch = ready.process("dispatch")
    dispatch.env.update(env)
    dispatch.start()
    due = {}

    def produce(name):
        """An event, and one with a deliver_at; when each is due where."""
        now = time.time()
        due[name, "/delayed"], due[name, "/retried"] = now + 3, now
        due[name + "-at", "/delayed"], due[name + "-at", "/retried"] = now + 4, now + 4
        ready.produce([ready.event(id=name), ready.event(id=name + "-at", deliver_at=int((now + 4) * 1000))])
    produce("before")
    ready.db.wait_count(4, "schedule")
    jump(hours * 3600)
    produce("jumped")
    ready.db.wait_count(8, "schedule")
    jump(0)
    produce("back")
    receiver.wait_for(6, "/delayed")
    receiver.wait_for(12, "/retried")
    ready.db.wait_count(18, "delivery_logs")
    for request in receiver.requests("/delayed"):
        assert -EARLY_S <= request.time - due[request.id, "/delayed"] <= LATE_S, request
    for request in receiver.requests("/retried"):
        waited = request.time - due[request.id, "/retried"]
        assert -EARLY_S <= waited <= LATE_S if request.nth == 1 else 1.5 <= waited <= 2.5 + 2 * LATE_S, request
    ready.db.wait("SELECT count(*) = 0 FROM schedule")
    ready.wait_settled()
    assert (receiver.count("/delayed"), receiver.count("/retried")) == (6, 12)
    assert set(receiver.ids("/delayed").values()) == {1} and set(receiver.ids("/retried").values()) == {2}
