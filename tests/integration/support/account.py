"""The account of a test under load: what was to be delivered, what arrived, what the log says. Everything is told apart by
(path, event id), so each subscription has a path of its own."""
import collections
import json
import threading
import time

from confluent_kafka import Producer

from servers import wait_until

from .installation import WORKSPACE


def matches(pattern, event_type):
    return pattern in ("*", event_type) or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))


def sample(pairs, n=5):
    return f"{len(pairs)}: {sorted(pairs)[:n]}"


class Account:
    """installation and receiver (a Tally) of the test; events are added by expect()."""

    def __init__(self, installation, receiver):
        self.installation, self.receiver = installation, receiver
        self.subscriptions = []
        self.events = []

    def subscribe(self, path, types=("*",), workspace=WORKSPACE, **columns):
        """A subscription straight into the table; returns its id."""
        self.subscriptions.append((path, tuple(types), workspace))
        return self.installation.insert_subscription(self.receiver.url(path), types, workspace, **columns)

    def expect(self, events):
        self.events.extend(events)

    def expected(self):
        """{(path, event id)}"""
        return {(path, event["id"]) for event in list(self.events) for path, types, workspace in self.subscriptions
                if workspace == event["workspace_id"] and any(matches(pattern, event["event_type"]) for pattern in types)}

    def logged(self, where="delivery_status = 'success'"):
        """{(path, event id): how many log rows}"""
        start = len(self.receiver.url(""))
        rows = self.installation.db.rows("SELECT webhook_url, event_id, count(*) AS n FROM delivery_logs "
                                         f"WHERE {where} GROUP BY webhook_url, event_id")
        return collections.Counter({(row["webhook_url"][start:], row["event_id"]): row["n"] for row in rows})

    def wait_logged(self, deadline_s=30, repeated=False):
        """Waits until every delivery has its row of success, then asserts that it has one only (repeated: no more than it was
        received), and that each event was received and stands once in `events`."""
        expected = self.expected()
        try:
            wait_until(lambda: self.installation.db.count("delivery_logs", "delivery_status = 'success'") >= len(expected),
                       deadline_s, 0.2, "every delivery is logged")
            wait_until(lambda: not expected - set(self.logged()), 10, 0.5, "every delivery is logged")
        except TimeoutError as late:
            logged = set(self.logged())
            received = set(self.receiver.counts())
            schedule = self.installation.db.count("schedule")
            raise AssertionError(f"{late}; not logged {sample(expected - logged)}; not received "
                                 f"{sample(expected - received)}; rows in schedule: {schedule}") from late
        self.assert_log_is_exact(expected, repeated)

    def assert_log_is_exact(self, expected=None, repeated=False):
        expected = self.expected() if expected is None else expected
        logged, counts = self.logged(), self.receiver.counts()
        twice = {pair for pair, n in logged.items() if n > (counts[pair] if repeated else 1)}
        assert not twice, f"logged as delivered too often {sample(twice)}"
        assert not set(logged) - expected, f"logged, but not expected {sample(set(logged) - expected)}"
        lost = expected - set(counts)
        assert not lost, f"logged, but never received {sample(lost)}"
        ids = {event for _, event in expected}
        rows = self.installation.db.rows("SELECT event_id, count(*) AS n FROM events GROUP BY event_id")
        stored = {row["event_id"]: row["n"] for row in rows}
        assert not ids - set(stored), f"not in events {sample(ids - set(stored))}"
        assert not [name for name, n in stored.items() if n > 1], "an event stands in events more than once"

    def assert_sent_once(self):
        twice = {pair for pair, n in self.receiver.counts().items() if n > 1}
        assert not twice, f"received more than once {sample(twice)}"

    def sent_again(self):
        """How many requests were repetitions."""
        return sum(n - 1 for n in self.receiver.counts().values())


class Load:
    """Events at a steady rate, produced by a thread of its own and added to the account, while the test does other things:

        with Load(account, rate=500) as load:
            …
        account.wait_logged()

    The end waits until Kafka has acknowledged all. make: makes the next event; default: message.new of one workspace."""

    def __init__(self, account, rate, make=None):
        self.account, self.rate = account, rate
        self.make = make or account.installation.event
        self.produced = 0
        self._stop = threading.Event()
        self._failures = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._producer = Producer({"bootstrap.servers": account.installation.kafka.bootstrap, "acks": "all",
                                   "enable.idempotence": True, "linger.ms": 2, "message.timeout.ms": 120000,
                                   "reconnect.backoff.max.ms": 500})

    def _acknowledged(self, error, _):
        if error:
            self._failures.append(str(error))

    def _run(self):
        began = time.monotonic()
        while not self._stop.wait(0.01):
            due = int((time.monotonic() - began) * self.rate)
            events = [self.make() for _ in range(due - self.produced)]
            self.account.expect(events)
            for event in events:
                self._producer.produce(self.account.installation.topic(event["event_type"]),
                                       json.dumps(event, separators=(",", ":")), str(event["workspace_id"]) + event["id"],
                                       on_delivery=self._acknowledged)
            self.produced = due
            self._producer.poll(0)

    def start(self):
        self._thread.start()
        return self

    def stop(self, deadline_s=60):
        self._stop.set()
        self._thread.join(10)
        left = self._producer.flush(deadline_s)
        assert left == 0 and not self._failures, f"{left} events not acknowledged; {self._failures[:3]}"

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *unused):
        self._stop.set()
        if kind is None:
            self.stop()
