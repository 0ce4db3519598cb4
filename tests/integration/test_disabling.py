"""An endpoint that says goodbye, or fails for too long, is disabled; its workspace hears of it, by webhook and by mail."""
import json
import random
import time

import pytest
from servers import wait_until
from support.mailbox import Mailbox
from support.receiver import Answer

OPS = ["hookcast.subscription.*"]
KINDS = "hookcast.subscription."


@pytest.fixture
def mailbox():
    with Mailbox() as started:
        yield started


@pytest.fixture
def ready(installation, mailbox):
    installation.kafka.create_topic(installation.topic(), 2)
    installation.env.update(HOOKCAST_SMTP_URL=mailbox.url(), HOOKCAST_MAIL_FROM="hooks@example.com")
    return installation


def told(receiver, path="/ops"):
    """What the workspace was told: [(kind, payload)], as the webhooks say it."""
    values = [json.loads(request.body)["value"] for request in receiver.requests(path)]
    assert all(value["event_source"] == "hookcast" for value in values)
    return [(value["event_type"].replace(KINDS, ""), value["payload"]) for value in values]


def kinds(receiver, subscription, path="/ops"):
    return [kind for kind, payload in told(receiver, path) if payload["subscription_id"] == str(subscription)]


def keep_producing(installation, seconds, until=lambda: False, every_s=0.2, **fields):
    """An event now and then, for so long or until the condition holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        installation.produce([installation.event(**fields)])
        time.sleep(every_s)


def test_410_disables_at_once(ready, receiver, mailbox):
    receiver.on("/gone", Answer(410))
    ready.serve()
    ready.subscribe(receiver.url("/ops"), OPS, notify_email="never@example.com")
    gone = ready.subscribe(receiver.url("/gone"), ["message.new"], notify_email="ann@example.org", name="CRM")
    ready.wait_in_force()
    ready.produce([ready.event()])
    receiver.wait_for(1, "/ops")
    (kind, payload), = told(receiver)
    assert kind == "disabled"
    assert payload == {"subscription_id": gone["id"], "name": "CRM", "webhook_url": receiver.url("/gone"), "status": "disabled",
                       "disabled_reason": "the endpoint answered 410 Gone", "failing_since": None, "last_success_at": None}
    shown = ready.api.get(ready.subscription_path(gone["id"])).json
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "the endpoint answered 410 Gone")
    mail, = mailbox.wait_for(1)
    assert (mail["to"], mail["subject"]) == ("ann@example.org", "Your webhook was disabled: CRM")
    # What comes now is kept for it, and not sent.
    ready.produce([ready.event(id="later")])
    ready.db.wait("SELECT %s::uuid = ANY (skipped) FROM events WHERE event_id = 'later'", gone["id"])
    assert receiver.count("/gone") == 1


@pytest.mark.deadline(120)
def test_nothing_but_failure_warns_then_disables(ready, receiver, mailbox):
    """Side by side: one that only fails, one that succeeds now and then, one that failed and then got nothing."""
    succeed = [0]

    def now_and_then(request):
        succeed[0] += 1
        return Answer(200 if succeed[0] % 8 == 0 else 500)
    receiver.on("/down", Answer(500))
    receiver.on("/flaky", now_and_then)
    receiver.on("/quiet", Answer(503))
    ready.env["HOOKCAST_DISABLE_AFTER"] = "10s"
    ready.serve()
    ready.insert_subscription(receiver.url("/ops"), OPS)
    down = ready.insert_subscription(receiver.url("/down"), ["message.new"], notify_email="ann@example.org",
                                     retry_schedule_ms=[3600000])
    flaky = ready.insert_subscription(receiver.url("/flaky"), ["message.new"], retry_schedule_ms=[])
    quiet = ready.insert_subscription(receiver.url("/quiet"), ["other"], retry_schedule_ms=[])
    ready.wait_in_force()
    began = time.time()
    ready.produce([ready.event("other")])
    keep_producing(ready, 40, lambda: kinds(receiver, down) == ["failing", "disabled"])
    assert kinds(receiver, down) == ["failing", "disabled"]
    warned, disabled = (request.time - began for request in receiver.requests("/ops")[:2])
    assert 5 <= warned < 9 and 10 <= disabled < 14
    row = ready.db.row("SELECT status, disabled_reason, failing_since, last_failure_at - failing_since AS failed FROM "
                       "subscriptions s JOIN health h ON h.subscription_id = s.id WHERE s.id = %s", down)
    since = row["failing_since"].strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (row["status"], row["disabled_reason"]) == ("disabled", f"every attempt since {since} failed")
    assert 10 <= row["failed"].total_seconds() < 14
    payload = told(receiver)[1][1]
    assert payload["failing_since"] == pytest.approx(row["failing_since"].timestamp() * 1000, abs=2)
    # What waited for it is cancelled, each with a row of the log.
    ready.db.wait("SELECT count(*) = 0 FROM schedule WHERE subscription_id = %s", down)
    attempts = ready.db.logs(subscription_id=down, delivery_status="failed")
    cancelled = ready.db.logs(subscription_id=down, delivery_status="cancelled")
    assert {row["event_id"] for row in cancelled} == {row["event_id"] for row in attempts}
    mails = mailbox.wait_for(2)
    assert [mail["subject"].split(":")[0] for mail in mails] == ["Your webhook is failing", "Your webhook was disabled"]
    # The others.
    states = {str(row["id"]): row["status"] for row in ready.db.rows("SELECT id, status FROM subscriptions")}
    assert states[flaky] == states[quiet] == "active"
    assert kinds(receiver, flaky) == kinds(receiver, quiet) == []
    assert ready.db.value("SELECT last_success_at IS NOT NULL FROM health WHERE subscription_id = %s", flaky)

    # Revived, it begins anew: a failure does nothing, and a success tells of the recovery.
    receiver.on("/down", lambda request: Answer(500 if request.id == "bad" else 200))
    assert ready.change(down, is_enabled=True)["status"] == "active"
    ready.wait_in_force()
    wait_until(lambda: ready.processes[0].metric("hookcast_subscriptions") == 4, 10, what="it is in force")
    ready.produce([ready.event(id="bad")])
    ready.db.wait("SELECT failing_since > now() - interval '5 seconds' FROM health WHERE subscription_id = %s", down)
    ready.produce([ready.event(id="good")])
    wait_until(lambda: kinds(receiver, down)[2:] == ["recovered"], 20, what="the recovery is told")
    assert ready.db.value("SELECT status FROM subscriptions WHERE id = %s", down) == "active"
    assert mailbox.wait_for(3)[2]["subject"] == f"Your webhook works again: {down}"
    shown = ready.api.get(ready.subscription_path(down)).json
    assert shown["failing_since"] is None and shown["last_success_at"] is not None


@pytest.mark.deadline(120)
def test_what_one_process_sees_counts_for_both(ready, receiver):
    """A process that sees nothing but failure disables nothing while another one sees successes."""
    def by_key(request):
        return Answer(500 if json.loads(request.body)["value"]["payload"]["fails"] else 200)
    receiver.on("/half", by_key)
    ready.env["HOOKCAST_DISABLE_AFTER"] = "10s"
    for _ in range(2):
        ready.dispatch()
    ready.insert_subscription(receiver.url("/ops"), OPS)
    half = ready.insert_subscription(receiver.url("/half"), ["message.new"], retry_schedule_ms=[])
    ready.wait_in_force()
    wait_until(lambda: all(process.log().rsplit("msg=reading ", 1)[-1].startswith("partitions=1\n")
                           for process in ready.processes), 20, what="each process has a partition")
    end = time.monotonic() + 14
    while time.monotonic() < end:
        ready.kafka.produce([{"topic": ready.topic(), "partition": partition, "key": "w1",
                              "value": ready.event(payload={"fails": partition == 0})} for partition in (0, 1)])
        time.sleep(0.3)
    assert ready.db.value("SELECT status FROM subscriptions WHERE id = %s", half) == "active"
    assert receiver.count("/ops") == 0


def test_operational_events_go_to_whoever_subscribes(ready, receiver):
    """At once, later, in a batch, through a filter, and not while paused."""
    ready.insert_subscription(receiver.url("/all"), ["*"])
    ready.insert_subscription(receiver.url("/type"), ["hookcast.subscription.disabled"])
    ready.insert_subscription(receiver.url("/none"), ["message.*"])
    ready.insert_subscription(receiver.url("/elsewhere"), ["*"], workspace="w2")
    ready.insert_subscription(receiver.url("/delayed"), ["hookcast.*"], delivery_mode="delayed", delay_ms=1500)
    ready.insert_subscription(receiver.url("/batched"), ["hookcast.*"], delivery_mode="batched", batch_max_wait_ms=1000)
    ready.insert_subscription(receiver.url("/filtered"), ["hookcast.*"], filter='{"payload.name": {"prefix": "CRM"}}')
    paused = ready.insert_subscription(receiver.url("/paused"), ["hookcast.*"], status="paused")
    ready.dispatch()
    ready.wait_in_force()
    began = time.time()
    ready.db.execute("INSERT INTO outbox (workspace_id, event_type, payload) SELECT 'w1', 'hookcast.subscription.disabled', "
                     "jsonb_build_object('name', name) FROM unnest(ARRAY['CRM 1', 'other']) name")
    for path, n in {"/all": 2, "/type": 2, "/delayed": 2, "/batched": 1, "/filtered": 1}.items():
        receiver.wait_for(n, path)
    assert receiver.count("/none") == receiver.count("/elsewhere") == receiver.count("/paused") == 0
    assert min(request.time for request in receiver.requests("/delayed")) - began >= 1.4
    assert [value["value"]["payload"]["name"] for value in json.loads(receiver.requests("/batched")[0].body)] == [
        "CRM 1", "other"]
    rows = ready.db.rows("SELECT * FROM events ORDER BY record_offset")
    assert [row["skipped"] for row in rows] == [[ready.db.value("SELECT id FROM subscriptions WHERE id = %s", paused)]] * 2
    assert {(row["topic"], row["part"]) for row in rows} == {(ready.topic("hookcast.subscription.disabled"), -1)}
    assert ready.db.count("outbox") == 0
    ready.db.wait("SELECT count(*) = 0 FROM schedule")
    assert {row["delivery_status"] for row in ready.db.logs()} == {"success"}


def test_operational_events_come_exactly_once_over_kill_9(ready, receiver):
    """Delayed, so that what is killed is what brings them, and not what sends them."""
    ready.insert_subscription(receiver.url("/ops"), OPS, delivery_mode="delayed", delay_ms=3600000)
    process = ready.dispatch()
    ready.wait_in_force()
    rounds, each = 8, 120
    for number in range(rounds):
        ready.db.execute("INSERT INTO outbox (workspace_id, event_type, payload) SELECT 'w1', "
                         "'hookcast.subscription.failing', jsonb_build_object('n', n) FROM generate_series(%s::int, %s) n",
                         number * each, (number + 1) * each - 1)
        wait_until(lambda: ready.db.count("outbox") < each, 20, 0.002, "some are brought")
        time.sleep(random.random() * 0.05)
        process.kill()
        process.start(ready=False)
    ready.db.wait("SELECT count(*) = 0 FROM outbox")
    for table in ("events", "schedule"):
        assert ready.db.row(f"SELECT count(*) AS n, count(DISTINCT event_key) AS keys FROM {table}") == {
            "n": rounds * each, "keys": rounds * each}
    process.wait_ready()
    ready.db.execute("UPDATE schedule SET due_at = now()")
    ready.db.wait("SELECT count(*) = 0 FROM schedule")
    numbers = [json.loads(request.body)["value"]["payload"]["n"] for request in receiver.requests("/ops")]
    assert sorted(numbers) == list(range(rounds * each))
