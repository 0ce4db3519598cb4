"""A change of a subscription is in force in every process within a second, also one that commits late (W1)."""
import json
import threading
import time

import pytest
from servers import wait_until
from support.receiver import Answer, Gate

IN_FORCE_S = 1.0
# What a slow machine may add to it before a test calls it late.
GRACE_S = 1.5


@pytest.fixture
def ready(installation):
    installation.kafka.create_topic(installation.topic(), 2)
    return installation


def drained(installation):
    """Waits until every event is settled and nothing waits for its time."""
    installation.wait_settled()
    installation.db.wait("SELECT count(*) = 0 FROM schedule")


class Flow:
    """Events that keep coming, one every few milliseconds, while a test changes something."""

    def __init__(self, installation):
        self.installation = installation
        self.log = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.stopping.is_set():
            event = self.installation.event()
            self.log.append((event["id"], time.time()))
            self.installation.kafka.produce([{"topic": self.installation.topic(), "key": "w1", "value": event}])
            self.stopping.wait(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.stopping.set()
        self.thread.join(30)

    @property
    def sent(self):
        """Ids of all that was sent."""
        return {number for number, _ in self.log}

    def after(self, moment):
        """Ids of what was sent after a moment."""
        return {number for number, sent in self.log if sent > moment}

    def wait_past(self, moment, n=20, deadline_s=15):
        """Waits until n events were sent after the moment."""
        limit = time.monotonic() + deadline_s
        while len(self.after(moment)) < n:
            assert time.monotonic() < limit
            self.stopping.wait(0.02)


def test_a_new_subscription_takes_what_comes_a_second_later(ready, receiver):
    ready.insert_subscription(receiver.url("/first"))
    ready.dispatch()
    with Flow(ready) as flow:
        receiver.wait_for(10, "/first")
        ready.insert_subscription(receiver.url("/second"))
        made = time.time()
        receiver.wait_for(1, "/second", deadline_s=10)
        assert time.time() - made < IN_FORCE_S + GRACE_S
        flow.wait_past(made + IN_FORCE_S + GRACE_S)
    due = flow.after(made + IN_FORCE_S + GRACE_S)
    receiver.wait_for(len(flow.sent), "/first")
    drained(ready)
    assert due <= set(receiver.ids("/second"))
    assert receiver.duplicates() == {}


def test_a_changed_url_and_types_are_in_force_within_a_second(ready, receiver):
    number = ready.insert_subscription(receiver.url("/old"))
    other = ready.insert_subscription(receiver.url("/typed"))
    ready.dispatch()
    with Flow(ready) as flow:
        receiver.wait_for(10, "/old")
        ready.db.execute("UPDATE subscriptions SET webhook_url = %s WHERE id = %s", receiver.url("/new"), number)
        ready.db.execute("UPDATE subscriptions SET event_types = '{message.read}' WHERE id = %s", other)
        changed = time.time()
        flow.wait_past(changed + IN_FORCE_S + GRACE_S)
    due = flow.after(changed + IN_FORCE_S + GRACE_S)
    drained(ready)
    assert due <= set(receiver.ids("/new"))
    assert not due & set(receiver.ids("/old")) and not due & set(receiver.ids("/typed"))
    assert set(receiver.ids("/old")) | set(receiver.ids("/new")) == flow.sent
    assert max(request.time for request in receiver.requests("/old")) < changed + IN_FORCE_S + GRACE_S


@pytest.mark.parametrize("status", ["paused", "disabled", "deleted"])
def test_one_that_is_not_active_any_more_gets_nothing_a_second_later(ready, receiver, status):
    number = ready.insert_subscription(receiver.url("/gone"))
    ready.insert_subscription(receiver.url("/stays"))
    ready.dispatch()
    with Flow(ready) as flow:
        receiver.wait_for(10, "/gone")
        ready.db.execute("UPDATE subscriptions SET status = %s WHERE id = %s", status, number)
        changed = time.time()
        flow.wait_past(changed + IN_FORCE_S + GRACE_S)
    due = flow.after(changed + IN_FORCE_S + GRACE_S)
    receiver.wait_for(len(flow.sent), "/stays")
    drained(ready)
    assert not due & set(receiver.ids("/gone"))
    assert all(request.time < changed + IN_FORCE_S + GRACE_S for request in receiver.requests("/gone"))
    # Not the operational event that tells of the change, which matches "*" too.
    skipped = {row["event_id"] for row in ready.db.rows(
        "SELECT event_id FROM events WHERE %s = ANY(skipped) AND event_type NOT LIKE 'hookcast.%%'", number)}
    if status == "deleted":
        assert skipped == set()
        return
    # What matched meanwhile is kept, and what it got is logged: together it is everything.
    assert due <= skipped
    logged = {row["event_id"] for row in ready.db.logs(subscription_id=number)}
    assert logged | skipped == flow.sent and not logged & skipped
    ready.db.execute("UPDATE subscriptions SET status = 'active' WHERE id = %s", number)
    changed = time.time()
    ready.db.wait("SELECT activation = 2 FROM subscriptions WHERE id = %s", number)
    before = receiver.count("/gone")
    with Flow(ready) as again:
        receiver.wait_for(before + 1, "/gone", deadline_s=10)
        assert time.time() - changed < IN_FORCE_S + GRACE_S + 1
    assert set(receiver.ids("/gone")) & again.sent
    drained(ready)


def test_what_waits_in_queues_and_in_the_schedule_is_cancelled(ready, receiver):
    gate = Gate()
    receiver.on("/slow", gate)
    receiver.on("/down", Answer(500))
    slow = ready.insert_subscription(receiver.url("/slow"), max_in_flight=2)
    down = ready.insert_subscription(receiver.url("/down"), retry_schedule_ms=[3600000])
    ready.dispatch()
    events = ready.events(50)
    ready.produce(events)
    receiver.wait_for(2, "/slow")
    receiver.wait_for(50, "/down")
    ready.db.execute("UPDATE subscriptions SET status = 'paused' WHERE id = ANY(%s::uuid[])", [slow, down])
    paused = time.time()
    gate.then = Answer(200)
    # Neither may wait for its time: what is under way may end, the rest is cancelled.
    ready.db.wait_count(48, "delivery_logs", "subscription_id = %s AND delivery_status = 'cancelled'", slow)
    gate.open()
    ready.db.wait_count(50, "delivery_logs", "subscription_id = %s", slow)
    ready.db.wait_count(50, "delivery_logs", "subscription_id = %s AND delivery_status = 'cancelled'", down)
    ready.db.wait("SELECT count(*) = 0 FROM schedule")
    rows = ready.db.logs(subscription_id=slow)
    assert sorted(row["delivery_status"] for row in rows) == ["cancelled"] * 48 + ["success"] * 2
    for row in ready.db.logs(delivery_status="cancelled"):
        assert row["error_code"] == "cancelled" and row["error"], row
        assert row["status_code"] is None and row["next_attempt_at"] is None and not row["given_up"], row
    assert receiver.count("/slow") == 2 and receiver.count("/down") == 50
    assert all(request.time < paused + IN_FORCE_S + GRACE_S for request in receiver.requests())
    drained(ready)


def test_w1_a_change_that_commits_late_is_not_missed(ready, receiver):
    early = ready.insert_subscription(receiver.url("/early"))
    ready.dispatch()
    with ready.db.connect() as late:
        # This transaction takes its id now …
        late.execute("UPDATE subscriptions SET webhook_url = %s WHERE id = %s", (receiver.url("/moved"), early))
        late.execute("INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, signature_style) "
                     "VALUES ('w1', gen_random_uuid(), %s, '{*}', 'none')", (receiver.url("/late"),))
        # … others come, commit, and are seen, so that the watcher has looked past it …
        for number in range(3):
            path = f"/meanwhile{number}"
            ready.insert_subscription(receiver.url(path))
            with Flow(ready):
                receiver.wait_for(1, path, deadline_s=10)
        assert receiver.count("/late") == receiver.count("/moved") == 0
        # … and now it commits.
        late.commit()
        committed = time.time()
    with Flow(ready) as flow:
        receiver.wait_for(1, "/late", deadline_s=10)
        receiver.wait_for(1, "/moved", deadline_s=10)
        assert time.time() - committed < IN_FORCE_S + GRACE_S
        flow.wait_past(committed + IN_FORCE_S + GRACE_S)
    due = flow.after(committed + IN_FORCE_S + GRACE_S)
    drained(ready)
    assert due <= set(receiver.ids("/late")) and due <= set(receiver.ids("/moved"))
    assert not due & set(receiver.ids("/early"))


def test_a_change_without_a_notification_is_found_all_the_same(ready, receiver):
    ready.insert_subscription(receiver.url("/first"))
    ready.dispatch()
    ready.db.execute("ALTER TABLE subscriptions DISABLE TRIGGER subscriptions_changed")
    ready.insert_subscription(receiver.url("/silent"))
    made = time.time()
    with Flow(ready):
        receiver.wait_for(1, "/silent", deadline_s=10)
        assert time.time() - made < IN_FORCE_S + GRACE_S + 0.5
    drained(ready)


def test_very_many_changes_at_once_are_read_in_pages(ready, receiver):
    known = ready.insert_subscription(receiver.url("/before"))
    dispatch = ready.dispatch()
    with ready.db.connect() as many:
        many.execute("INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types) SELECT 'many', gen_random_uuid(), "
                     "'https://example.com/', '{other.type}' FROM generate_series(1, 25000)")
        many.execute("UPDATE subscriptions SET webhook_url = %s WHERE id = %s", [receiver.url("/after"), known])
    wait_until(lambda: dispatch.metric("hookcast_subscriptions") == 25001, 30, what="all are known")
    ready.produce(ready.events(3))
    assert len(receiver.wait_for(3, "/after")) == 3 and not receiver.requests("/before")
    assert dispatch.log().count("subscriptions loaded") == 2
    # One at a time again.
    ready.db.execute("UPDATE subscriptions SET webhook_url = %s WHERE id = %s", receiver.url("/last"), known)

    def arrives():
        ready.produce(ready.events(1))
        return receiver.requests("/last")
    wait_until(arrives, 15, what="the change is in force")
    assert dispatch.log().count("subscriptions loaded") == 2


def test_every_process_takes_a_change_up(ready, receiver):
    number = ready.insert_subscription(receiver.url("/old"))
    first, second = ready.dispatch(), ready.dispatch()
    with Flow(ready) as flow:
        receiver.wait_for(10, "/old")
        ready.db.execute("UPDATE subscriptions SET webhook_url = %s WHERE id = %s", receiver.url("/new"), number)
        changed = time.time()
        flow.wait_past(changed + IN_FORCE_S + GRACE_S, n=60)
    due = flow.after(changed + IN_FORCE_S + GRACE_S)
    drained(ready)
    receiver.wait_for(len(flow.sent), distinct=True)
    assert due <= set(receiver.ids("/new")) and not due & set(receiver.ids("/old"))
    for process in (first, second):
        assert process.metric("hookcast_subscriptions") == 1


def test_a_workspaces_new_name_is_sent_within_a_second(ready, receiver):
    ready.insert_subscription(receiver.url("/hook"))
    ready.dispatch()
    ready.db.execute("INSERT INTO workspaces (id, name) VALUES ('w1', 'Old')")
    ready.db.execute("UPDATE workspaces SET name = 'New' WHERE id = 'w1'")
    changed = time.time()
    with Flow(ready) as flow:
        flow.wait_past(changed + IN_FORCE_S + GRACE_S)
    due = flow.after(changed + IN_FORCE_S + GRACE_S)
    drained(ready)
    receiver.wait_for(len(flow.sent))
    names = {json.loads(request.body)["workspace_name"] for request in receiver.requests() if request.id in due}
    assert names == {"New"}


def test_a_change_over_the_api_is_in_force_within_a_second(ready, receiver):
    ready.serve()
    made = ready.subscribe(receiver.url("/old"))
    with Flow(ready) as flow:
        receiver.wait_for(5, "/old")
        ready.change(made, webhook_url=receiver.url("/new"), payload_format="raw")
        changed = time.time()
        receiver.wait_for(1, "/new", deadline_s=10)
        assert time.time() - changed < IN_FORCE_S + GRACE_S
        ready.change(made, is_enabled=False)
        paused = time.time()
        flow.wait_past(paused + IN_FORCE_S + GRACE_S)
        due = flow.after(paused + IN_FORCE_S + GRACE_S)
        ready.unsubscribe(made)
    drained(ready)
    assert not due & set(receiver.ids())
    assert all(request.body.startswith(b'{"number":') for request in receiver.requests("/new"))
