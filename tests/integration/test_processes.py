"""Several processes of one group: they join, leave, die and freeze while events come."""
import time

import pytest
from servers import wait_until
from support.account import Account, Load, sample

QUICK_SESSION = "session.timeout.ms=2000\nheartbeat.interval.ms=200"


@pytest.fixture
def account(installation, tally):
    installation.kafka.create_topic(installation.topic(), 6)
    return Account(installation, tally)


def wait_for_share(process):
    """Until the process has partitions of its own."""
    process.wait_log("msg=reading partitions=[1-9]")
    wait_until(lambda: process.metric("hookcast_attempts_total") > 0, 20, what="the process sends")


def last_share(process):
    """How many partitions it was given last."""
    return int(process.log().rsplit("msg=reading partitions=", 1)[1].split()[0])


@pytest.mark.deadline(90)
def test_p7_a_second_process_joins_and_leaves_during_load_and_everything_comes_exactly_once(installation, account, tally):
    account.subscribe("/a")
    account.subscribe("/b")
    tally.delay_s = 0.02
    first = installation.dispatch()
    with Load(account, rate=250):
        tally.wait_for(400)
        began = time.monotonic()
        second = installation.dispatch()
        wait_for_share(second)
        wait_until(lambda: last_share(first) == 3, 15, what="the first has half of the partitions")
        mark = len(tally)
        tally.wait_for(mark + 800)
        left = time.monotonic()
        second.stop()
        assert time.monotonic() - left < 8
        wait_until(lambda: last_share(first) == 6, 15, what="the first has all partitions")
        mark = len(tally)
        tally.wait_for(mark + 400)
        end = time.monotonic()
    account.wait_logged()
    account.assert_sent_once()
    gap = tally.longest_gap_s(began, end)
    print(f"longest gap {gap:.2f} s")
    assert gap < 8


@pytest.mark.deadline(90)
def test_promise_2_three_processes_killed_in_turn_lose_nothing(installation, account, tally):
    installation.env["HOOKCAST_KAFKA_CONF"] = QUICK_SESSION
    account.subscribe("/a")
    account.subscribe("/b")
    tally.delay_s = 0.02
    processes = [installation.dispatch() for _ in range(3)]
    checks = []
    with Load(account, rate=200):
        for process in processes:
            wait_for_share(process)
        for process in processes:
            mark = len(tally)
            tally.wait_for(mark + 300)
            process.kill()
            checks.append((time.monotonic(), set(account.logged())))
            process.start()
            wait_until(lambda: process.log().count("msg=reading partitions=") >= 2, 20, what="it is back")
    account.wait_logged()
    # What stood in the log at a kill was never sent after it, by nobody. (An arrival may be noted a little late.)
    for killed, written in checks:
        again = {(path, name) for at, path, name, _ in tally.arrived if at > killed + 0.5} & written
        assert not again, f"sent again although it was written {sample(again)}"


def freeze(process, db, backend, in_flush):
    """SIGSTOP in the middle of a flush, whose locks stay with the frozen process's session, or between two flushes."""
    def hit():
        process.freeze()
        time.sleep(0.03)  # what PostgreSQL was doing for it ends; then the state does not change any more
        if (db.value("SELECT state FROM pg_stat_activity WHERE pid = %s", backend) != "idle") == in_flush:
            return True
        process.thaw()
        return False
    wait_until(hit, 20, 0.013, "the process is caught at the right moment")


@pytest.mark.deadline(120)
@pytest.mark.parametrize("in_flush", [False, True])
def test_p3_p8_a_stale_owner_does_no_harm(installation, account, tally, in_flush):
    """Frozen past its session, replaced, and awake again: what it had queued is not sent, what it writes spoils nothing."""
    account.subscribe("/a")
    account.subscribe("/b")
    tally.delay_s = 0.05
    conf = "session.timeout.ms=6000"
    stale = installation.dispatch(KAFKA_CONF=conf, SOURCE_ADDRESS="127.0.0.2")
    backend = installation.db.value("SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                                    "AND application_name = 'hookcast recorder'")
    other = installation.dispatch(KAFKA_CONF=conf, SOURCE_ADDRESS="127.0.0.3")
    with Load(account, rate=200):
        wait_for_share(stale)
        wait_for_share(other)
        mark = len(tally)
        tally.wait_for(mark + 300)
        freeze(stale, installation.db, backend, in_flush)
        frozen, written = time.monotonic(), set(account.logged())
        wait_until(lambda: last_share(other) == 6, 18, what="the other has taken over")
        mark = len(tally)
        tally.wait_for(mark + 300)
        reads, mark = stale.log().count("msg=reading"), len(tally)
        stale.thaw()
        thawed = time.monotonic()
        wait_until(lambda: stale.log().count("msg=reading") > reads, 30, what="the stale one is a member again")
        after = [arrival for arrival in tally.arrived[mark:] if arrival[3] == "127.0.0.2"]
        mark = len(tally)
        wait_until(lambda: [arrival for arrival in tally.arrived[mark:] if arrival[3] == "127.0.0.2"], 15,
                   what="the stale one sends again")
    account.wait_logged(40, repeated=True)
    # Between its awakening and its return it sent nothing that somebody else had sent meanwhile, save what was under way in the
    # moment it froze and not on the wire yet: two endpoints, each with at most 64.
    done = {(path, name) for at, path, name, source in tally.arrived if source == "127.0.0.3" and at > frozen}
    again = {(path, name) for at, path, name, _ in after} & done
    assert len(again) <= 2 * 64, f"sent by the stale one {sample(again)}"
    late = {(path, name) for at, path, name, _ in after if at > thawed + 2} & done
    assert not late, f"sent by the stale one long after it awoke {sample(late)}"
    # What came twice was under way or not written when it froze.
    again = {(path, name) for at, path, name, _ in tally.arrived if at > frozen + 0.5} & written
    assert not again, f"sent again although it was written {sample(again)}"
    assert account.sent_again() < 500


@pytest.mark.deadline(90)
def test_p7_a_rebalance_does_not_wait_for_a_hanging_receiver_and_its_answer_still_counts(installation, account, tally):
    account.subscribe("/good")
    account.subscribe("/hang", max_in_flight=10)
    tally.hanging.add("/hang")
    first = installation.dispatch(TIMEOUT="30s")
    with Load(account, rate=100):
        tally.wait_for(150)
        began = time.monotonic()
        second = installation.dispatch(TIMEOUT="30s")
        wait_for_share(second)
        tally.wait_for(len(tally) + 100)
        end = time.monotonic()
    assert tally.longest_gap_s(began, end) < 8
    # Everything is settled, though one half of it has no answer: it lies in the schedule.
    wait_until(lambda: installation.db.count("events") == len(account.events), 15, 0.2, "every event is settled")
    waiting = installation.db.rows("SELECT attempt, held, lease_until > now() AS leased FROM schedule")
    assert len(waiting) == len(account.events)
    assert {row["attempt"] for row in waiting} == {1}
    assert all(row["held"] or row["leased"] is not False for row in waiting)
    # The answers that still come finish the rows of what was under way; nothing of it is sent again.
    tally.release("/hang")
    account.wait_logged(60)
    account.assert_sent_once()
    installation.db.wait("SELECT count(*) = 0 FROM schedule")
    assert first.running()


@pytest.mark.deadline(90)
def test_p7_sigterm_with_a_hanging_receiver_ends_in_time_and_leaves_rows(installation, account, tally):
    account.subscribe("/good")
    account.subscribe("/hang", max_in_flight=10)
    tally.hanging.add("/hang")
    first = installation.dispatch(TIMEOUT="30s", DRAIN_TIMEOUT="4s")
    account.expect(events := installation.events(50))
    installation.kafka.produce([{"topic": installation.topic(), "key": event["id"], "value": event} for event in events])
    wait_until(lambda: len([arrival for arrival in tally.arrived if arrival[1] == "/good"]) == 50, 20, what="the good ones came")
    began = time.monotonic()
    first.terminate()
    # The partitions are free for somebody else within about a second.
    installation.db.wait("SELECT sum(next_offset) = 50 FROM progress", deadline_s=3)
    released = time.monotonic() - began
    assert first.wait(10) == 0
    assert time.monotonic() - began < 7
    print(f"settled after {released:.2f} s")
    assert installation.db.count("events") == 50
    assert installation.db.count("delivery_logs", "delivery_status = 'success'") == 50
    rows = installation.db.rows("SELECT attempt, held, lease_until > now() AS leased FROM schedule")
    assert len(rows) == 50 and {row["attempt"] for row in rows} == {1}
    # Those under way stay leased until nobody can be sending them any more; the others are anybody's.
    leased = [row for row in rows if row["leased"]]
    assert 0 < len(leased) <= 10
    tally.release("/hang")
    installation.db.execute("UPDATE schedule SET lease_until = now() WHERE lease_until IS NOT NULL")
    installation.dispatch()
    account.wait_logged()
    counts = tally.counts()
    assert all(counts["/good", event["id"]] == 1 for event in events)
    assert account.sent_again() == len(leased)


@pytest.mark.deadline(60)
def test_p7_sigterm_under_load_drains_with_status_0_and_sends_nothing_twice(installation, account, tally):
    account.subscribe("/a")
    account.subscribe("/b")
    tally.delay_s = 0.02
    dispatch = installation.dispatch(DRAIN_TIMEOUT="10s")
    with Load(account, rate=300):
        for _ in range(3):
            mark = len(tally)
            tally.wait_for(mark + 300)
            began = time.monotonic()
            dispatch.stop(status=0)
            assert time.monotonic() - began < 10
            dispatch.start()
    account.wait_logged()
    account.assert_sent_once()
