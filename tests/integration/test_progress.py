"""Where reading begins and what is settled: rules P1 to P6, D1 and D2, seen from outside."""
import contextlib
import random
import time

import psycopg
import pytest
from servers import wait_until
from support.account import Account, Load
from support.kafka import KafkaClient
from support.proxy import CommitProxy


@pytest.fixture
def account(installation, tally):
    return Account(installation, tally)


class Numbered:
    """A topic of one partition, whose events are told apart by their offset."""

    def __init__(self, installation, account, event_type="message.new", create=True):
        self.installation, self.account, self.event_type = installation, account, event_type
        self.topic = installation.topic(event_type)
        self.events = []
        if create:
            installation.kafka.create_topic(self.topic, 1)

    def produce(self, n):
        """n more; returns their ids."""
        events = self.installation.events(n, self.event_type)
        self.events += events
        self.account.expect(events)
        self.installation.produce(events)
        return [event["id"] for event in events]

    def ids(self, begin, end):
        return [event["id"] for event in self.events[begin:end]]


@pytest.fixture
def numbered(installation, account):
    return Numbered(installation, account)


def arrived(tally, since=0):
    return [arrival[2] for arrival in tally.arrived[since:]]


def progress(installation, topic):
    return installation.db.row("SELECT * FROM progress WHERE topic = %s AND part = 0", topic)


def wait_committed(installation, topic, offset):
    wait_until(lambda: installation.kafka.committed(installation.group, topic).get(0) == offset, 10, 0.1,
               f"offset {offset} is committed for {topic}")


def test_p4_an_operators_reset_is_obeyed_backward_and_forward(installation, account, tally, numbered):
    account.subscribe("/a")
    numbered.produce(20)
    dispatch = installation.dispatch()
    account.wait_logged()
    dispatch.stop()
    first = progress(installation, numbered.topic)
    assert first["next_offset"] == 20

    installation.kafka.reset(installation.group, numbered.topic, {0: 5})
    mark = len(tally)
    dispatch.start()
    dispatch.wait_log("set from outside")
    tally.wait_for(mark + 15)
    wait_committed(installation, numbered.topic, 20)
    dispatch.stop()
    assert sorted(arrived(tally, mark)) == sorted(numbered.ids(5, 20))
    second = progress(installation, numbered.topic)
    assert second["next_offset"] == 20 and second["lineage"] != first["lineage"] and second["first_offset"] == 5

    numbered.produce(10)
    installation.kafka.reset(installation.group, numbered.topic, {0: 25})
    mark = len(tally)
    dispatch.start()
    tally.wait_for(mark + 5)
    wait_committed(installation, numbered.topic, 30)
    dispatch.stop()
    assert sorted(arrived(tally, mark)) == sorted(numbered.ids(25, 30))
    third = progress(installation, numbered.topic)
    assert third["next_offset"] == 30 and third["lineage"] not in (first["lineage"], second["lineage"])
    assert third["epoch"] > second["epoch"] > first["epoch"]


def test_p4_a_restart_without_a_reset_sends_nothing_again(installation, account, tally, numbered):
    account.subscribe("/a")
    dispatch = installation.dispatch()
    for _ in range(3):
        numbered.produce(10)
        account.wait_logged()
        dispatch.stop()
        dispatch.start()
    numbered.produce(1)
    account.wait_logged()
    account.assert_sent_once()
    assert progress(installation, numbered.topic)["first_offset"] == 0


@pytest.mark.parametrize("start_from", ["earliest", "latest"])
def test_p4_offsets_that_kafka_has_forgotten_are_known_from_progress(installation, account, tally, numbered, start_from):
    account.subscribe("/a")
    numbered.produce(20)
    dispatch = installation.dispatch()
    account.wait_logged()
    dispatch.stop()
    numbered.produce(10)
    installation.kafka.forget(installation.group)
    assert installation.kafka.committed(installation.group, numbered.topic) == {}
    installation.process("dispatch", START_FROM=start_from).start()
    account.wait_logged()
    account.assert_sent_once()
    wait_committed(installation, numbered.topic, 30)


@pytest.mark.parametrize("n", [12, 20, 35])
def test_p4_a_topic_that_was_made_again_is_read_from_its_beginning(installation, account, tally, numbered, n):
    """Shorter than what was read, as long, longer."""
    account.subscribe("/a")
    numbered.produce(20)
    dispatch = installation.dispatch()
    account.wait_logged()
    dispatch.stop()
    installation.kafka.delete_topic(numbered.topic)
    installation.kafka.create_topic(numbered.topic, 1)
    numbered.produce(n)
    dispatch.start()
    account.wait_logged()
    account.assert_sent_once()
    wait_committed(installation, numbered.topic, n)
    assert progress(installation, numbered.topic)["next_offset"] == n


@pytest.mark.parametrize("n", [5, 30])
def test_p4_a_topic_made_again_while_it_is_read_loses_nothing(installation, account, tally, numbered, n):
    account.subscribe("/a")
    numbered.produce(20)
    installation.dispatch()
    account.wait_logged()
    wait_committed(installation, numbered.topic, 20)
    installation.kafka.delete_topic(numbered.topic)
    installation.kafka.create_topic(numbered.topic, 1)
    numbered.produce(n)
    account.wait_logged(40)
    account.assert_sent_once()
    numbered.produce(3)
    account.wait_logged()


def test_p4_a_log_that_lost_its_head_is_read_on_from_what_is_left(installation, account, tally, numbered):
    """Retention in Kafka went past the prefix while nobody read."""
    account.subscribe("/a")
    numbered.produce(20)
    dispatch = installation.dispatch()
    account.wait_logged()
    dispatch.stop()
    lost = numbered.produce(10)[:8]
    account.events = [event for event in account.events if event["id"] not in lost]
    delete_records(installation.kafka, numbered.topic, 28)
    dispatch.start()
    numbered.produce(5)
    account.wait_logged()
    account.assert_sent_once()
    assert not set(lost) & set(arrived(tally))


def delete_records(kafka, topic, before):
    """DeleteRecords, version 0: partition 0 begins at `before` afterwards."""
    import socket
    import struct
    name = topic.encode()
    body = struct.pack(">hhih", 21, 0, 1, -1) + struct.pack(">ih", 1, len(name)) + name
    body += struct.pack(">iiqi", 1, 0, before, 10000)
    host, port = kafka.bootstrap.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        answer = connection.makefile("rb")
        (size,) = struct.unpack(">i", answer.read(4))
        assert struct.unpack(">h", answer.read(size)[-2:]) == (0,)
    wait_until(lambda: kafka.watermarks(topic)[0][0] == before, 10, what=f"{topic} begins at {before}")


def test_p4_events_of_a_log_that_is_there_again_are_settled_unsent(installation, account, tally, numbered):
    """The broker lost its tail: the same records as far as they go, then others."""
    account.subscribe("/a")
    numbered.events = installation.events(20)
    records = [{"topic": numbered.topic, "value": event, "timestamp": int(time.time() * 1000) - 60000 + number}
               for number, event in enumerate(numbered.events)]
    installation.kafka.produce(records)
    account.expect(numbered.events)
    dispatch = installation.dispatch()
    account.wait_logged()
    dispatch.stop()
    installation.kafka.delete_topic(numbered.topic)
    installation.kafka.create_topic(numbered.topic, 1)
    installation.kafka.produce(records[:12])
    numbered.produce(15)
    dispatch.start()
    account.wait_logged()
    wait_committed(installation, numbered.topic, 27)
    account.assert_sent_once()


def test_p4_a_fresh_group_begins_where_it_is_told(installation, account, tally, numbered):
    account.subscribe("/a")
    old = numbered.produce(10)
    dispatch = installation.dispatch(START_FROM="latest")
    new = numbered.produce(10)
    tally.wait_for(10)
    # A later topic, and a later partition, begin at the earliest.
    later = Numbered(installation, account, "contact.added")
    late = later.produce(10)
    installation.kafka.add_partitions(numbered.topic, 2)
    event = installation.event()
    KafkaClient(installation.kafka.bootstrap).produce([{"topic": numbered.topic, "partition": 1, "value": event}])
    tally.wait_for(21)
    dispatch.stop()
    assert sorted(arrived(tally)) == sorted(new + late + [event["id"]])
    assert not set(old) & set(arrived(tally))


def test_p4_with_latest_a_topic_that_is_made_after_the_first_start_begins_at_the_earliest(installation, account, tally):
    account.subscribe("/a")
    dispatch = installation.process("dispatch", START_FROM="latest").start(ready=False)
    dispatch.wait_log("subscriptions loaded")
    topic = Numbered(installation, account)
    topic.produce(10)
    account.wait_logged()
    account.assert_sent_once()


def test_p4_a_database_that_does_not_know_the_lineage_begins_at_its_first_offset(installation, account, tally, numbered):
    """Progress was lost, Kafka's offset was not: loudly, from where the lineage began. What the database has among its events
    is not sent again, what it lacks is."""
    account.subscribe("/a")
    numbered.produce(20)
    dispatch = installation.dispatch()
    account.wait_logged()
    wait_committed(installation, numbered.topic, 20)
    dispatch.stop()
    installation.kafka.reset(installation.group, numbered.topic, {0: 8})
    dispatch.start()
    tally.wait_for(32)
    wait_committed(installation, numbered.topic, 20)
    dispatch.stop()
    installation.db.execute("TRUNCATE progress")
    installation.db.execute("DELETE FROM events WHERE record_offset >= 12 OR record_offset < 4")
    mark = len(tally)
    dispatch.start()
    dispatch.wait_log("(?i)warn.*the database does not know")
    tally.wait_for(mark + 8)
    wait_committed(installation, numbered.topic, 20)
    wait_until(lambda: progress(installation, numbered.topic)["next_offset"] == 20, 10, what="everything is settled")
    assert sorted(arrived(tally, mark)) == sorted(numbered.ids(12, 20))


def test_p1_what_is_settled_beyond_the_prefix_is_not_sent_again(installation, account, tally, numbered):
    """The first record hangs, the others are done: after a kill only the first comes again."""
    installation.env["HOOKCAST_KAFKA_CONF"] = "session.timeout.ms=2000\nheartbeat.interval.ms=200"
    account.subscribe("/hang", ["contact.added"])
    account.subscribe("/good", ["message.new"])
    tally.hanging.add("/hang")
    # Both types lie on one partition.
    dispatch = installation.process("dispatch", TOPICS=installation.group)
    installation.kafka.create_topic(installation.group, 1)
    events = [installation.event("contact.added")] + installation.events(50)
    account.expect(events)
    dispatch.start()
    installation.kafka.produce([{"topic": installation.group, "value": event} for event in events])
    installation.db.wait_count(50, "delivery_logs", deadline_s=10)
    dispatch.kill()
    row = progress(installation, installation.group)
    if installation.db.count("schedule") == 0:
        assert row["next_offset"] == 0 and len(bytes(row["done"])) > 0
    tally.wait_closed()
    mark = len(tally)
    tally.release("/hang")
    installation.db.execute("UPDATE schedule SET lease_until = now()")
    dispatch.start()
    account.wait_logged()
    assert arrived(tally, mark) == [events[0]["id"]]
    wait_until(lambda: progress(installation, installation.group)["next_offset"] == 51, 10, what="the prefix moved on")


# The database goes, comes back as it was, or as it was before.

def disconnect(server, name):
    """Ends every session of the database and lets no new one in."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")

        def alone():
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            return not connection.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s", (name,)).fetchone()
        wait_until(alone, 10, what=f"{name} has no session")


def database_of(installation):
    return installation.db.url.split("?")[0].rsplit("/", 1)[1]


def back_up(server, installation):
    """A copy of the database at this moment, under another name. Returns when the process has written something after it: a
    copy that lacks nothing of what it wrote is, to the process, the same database."""
    name = database_of(installation)
    written = installation.db.value("SELECT flush_no FROM processes")
    disconnect(server, name)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}_backup TEMPLATE {name}")
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    installation.db.wait("SELECT flush_no > %s + 2 FROM processes", written)


def restore(server, installation):
    """The copy takes the database's place, under the feet of what is running."""
    name = database_of(installation)
    disconnect(server, name)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} RENAME TO {name}_gone")
        connection.execute(f"ALTER DATABASE {name}_backup RENAME TO {name}")
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        connection.execute(f"DROP DATABASE {name}_gone")


@pytest.mark.deadline(120)
def test_p6_a_database_restored_under_load_is_read_again_from_progress(installation, postgres, account, tally):
    installation.kafka.create_topic(installation.topic(), 2)
    account.subscribe("/a")
    account.subscribe("/b")
    dispatch = installation.dispatch()
    with Load(account, rate=150):
        tally.wait_for(400)
        back_up(postgres, installation)
        tally.wait_for(len(tally) + 600)
        mark = len(tally)
        restore(postgres, installation)
        dispatch.wait_log("not the database as it was left")
        wait_until(lambda: len(tally) > mark + 300, 20, what="deliveries go on")
    # What was sent between the copy and its return is sent again, and nothing else; the log may tell of both.
    account.wait_logged(40, repeated=True)
    assert account.sent_again() > 0
    assert max(tally.counts().values()) == 2


def test_p6_a_restored_database_brings_its_subscriptions(installation, postgres, account, tally):
    installation.kafka.create_topic(installation.topic(), 1)
    account.subscribe("/a")
    dispatch = installation.dispatch()
    account.expect(first := installation.events(5))
    installation.produce(first)
    account.wait_logged()
    back_up(postgres, installation)
    installation.insert_subscription(tally.url("/never"))
    wait_until(lambda: dispatch.metric("hookcast_subscriptions") == 2, 15, what="the new subscription is known")
    restore(postgres, installation)
    dispatch.wait_log("not the database as it was left")
    wait_until(lambda: dispatch.metric("hookcast_subscriptions") == 1, 15, what="the subscriptions are those of before")
    account.expect(second := installation.events(5))
    installation.produce(second)
    account.wait_logged()
    assert not [arrival for arrival in tally.arrived if arrival[1] == "/never"]


@pytest.mark.deadline(120)
def test_p5_a_commit_without_an_answer_is_neither_lost_nor_written_twice(installation, postgres, account, tally):
    installation.kafka.create_topic(installation.topic(), 4)
    for path in "abc":
        account.subscribe("/" + path)
    with CommitProxy(postgres, every=4) as proxy:
        installation.dispatch(DATABASE_URL=proxy.url(installation.db.url))
        with Load(account, rate=200):
            wait_until(lambda: proxy.swallowed >= 8 and proxy.dropped >= 8, 40, what="sixteen connections were cut")
        proxy.active = False
        account.wait_logged(30)
        account.assert_sent_once()


@pytest.mark.deadline(120)
def test_p5_a_recorder_whose_sessions_are_ended_again_and_again_loses_nothing(installation, account, tally):
    installation.kafka.create_topic(installation.topic(), 4)
    for path in "abc":
        account.subscribe("/" + path)
    installation.dispatch()
    ended = 0
    with Load(account, rate=200):
        # A session is caught at work only now and then: enough of them, within a deadline.
        deadline = time.monotonic() + 40
        while ended < 8 and time.monotonic() < deadline:
            ended += installation.db.value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'hookcast recorder' AND state <> 'idle'")
            time.sleep(random.uniform(0.01, 0.05))
    assert ended >= 5
    account.wait_logged(30)
    account.assert_sent_once()


# Days.

def days(installation, table="delivery_logs"):
    rows = installation.db.rows("SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
                                "WHERE i.inhparent = %s::regclass", table)
    return sorted(row["name"] for row in rows)


def test_d1_a_day_that_nobody_made_beforehand_is_made_before_the_first_flush(installation, account):
    for table in ("delivery_logs", "events", "rejected_events"):
        for day in days(installation, table):
            installation.db.execute(f"DROP TABLE {day}")
    installation.kafka.create_topic(installation.topic(), 1)
    account.subscribe("/a")
    installation.dispatch()
    account.expect(events := installation.events(20))
    installation.produce(events)
    installation.produce_raw(b"not JSON")
    account.wait_logged()
    account.assert_sent_once()
    installation.db.wait_count(1, "rejected_events")
    # Yesterday, today, seven days ahead.
    assert len(days(installation)) >= 8


def test_d1_days_that_are_lost_while_hookcast_runs_are_made_again(installation, account):
    installation.kafka.create_topic(installation.topic(), 1)
    account.subscribe("/a")
    installation.dispatch()
    account.expect(events := installation.events(5))
    installation.produce(events)
    account.wait_logged()
    for day in days(installation):
        installation.db.execute(f"DROP TABLE {day}")
    account.events.clear()
    account.expect(events := installation.events(20))
    installation.produce(events)
    account.wait_logged()


@pytest.mark.deadline(90)
def test_d1_old_days_go_while_rows_come_and_a_reader_holds_nothing_up(installation, account, tally):
    installation.kafka.create_topic(installation.topic(), 2)
    account.subscribe("/a")
    for table in ("delivery_logs", "events"):
        for back in range(3, 8):
            installation.db.execute(f"CREATE TABLE {table}_old_{back} PARTITION OF {table} FOR VALUES FROM "
                                    f"(date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '{back} days') TO "
                                    f"(date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '{back - 1} days')")
    reader = installation.db.connect()
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM delivery_logs")
    began = time.monotonic()
    with Load(account, rate=100):
        installation.dispatch(RETENTION="2d")
        # A reader keeps the first of them pending; what comes is written all the same.
        installation.db.wait("SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)", deadline_s=15)
        mark = len(tally)
        tally.wait_for(mark + 200)
        installation.db.wait_count(mark + 50, "delivery_logs", deadline_s=10)
        reader.rollback()
        reader.close()
        wait_until(lambda: not [day for table in ("delivery_logs", "events") for day in days(installation, table)
                                if "_old_" in day], 20, what="the old days are gone")
        installation.db.wait("SELECT NOT EXISTS (SELECT FROM pg_class WHERE relname LIKE '%%\\_old\\_%%')", deadline_s=10)
    account.wait_logged()
    account.assert_sent_once()
    assert time.monotonic() - began < 80


def test_d1_a_detach_that_was_interrupted_is_completed_at_the_next_start(installation, account):
    installation.kafka.create_topic(installation.topic(), 1)
    account.subscribe("/a")
    installation.db.execute(
        "CREATE TABLE delivery_logs_cut PARTITION OF delivery_logs FOR VALUES FROM "
        "(date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '5 days') TO "
        "(date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '4 days')")
    with installation.db.connect() as reader:
        reader.execute("SELECT count(*) FROM delivery_logs")
        with installation.db.connect(autocommit=True) as impatient, contextlib.suppress(psycopg.Error):
            impatient.execute("SET lock_timeout = '200ms'")
            impatient.execute("ALTER TABLE delivery_logs DETACH PARTITION delivery_logs_cut CONCURRENTLY")
        assert installation.db.value("SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)")
    installation.dispatch(RETENTION="2d")
    account.expect(events := installation.events(10))
    installation.produce(events)
    account.wait_logged()
    installation.db.wait("SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)", deadline_s=20)
    assert "delivery_logs_cut" not in days(installation)
