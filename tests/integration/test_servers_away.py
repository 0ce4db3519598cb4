"""PostgreSQL or Kafka go away and come back: nothing is lost, nothing is sent twice, memory stays bounded, and the log says it
in one line when it goes and one when it is back."""
import os
import re
import signal
import time

import pytest
from servers import wait_until
from support.account import Account, Load

# While PostgreSQL is away no first attempt starts: the last sign of life counts for three seconds.
STILL_AFTER_S = 3.5
LATE_S = 1.0


def make_account(installation, tally, subscriptions=3):
    installation.kafka.create_topic(installation.topic(), 4)
    made = Account(installation, tally)
    for number in range(subscriptions):
        made.subscribe(f"/s{number}")
    return made


def lines(process, level, module=None):
    """{module: how many lines of this level}"""
    found = {}
    for name in re.findall(rf"level={level} module=(\S+)", process.log()):
        found[name] = found.get(name, 0) + 1
    return found if module is None else found.get(module, 0)


def arrived_between(tally, begin, end):
    return [arrival for arrival in tally.arrived if begin <= arrival[0] < end]


@pytest.mark.deadline(120)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_stops_and_starts_during_load_nothing_is_lost_or_sent_twice(private_postgres, kafka, make_installation,
                                                                              tally, mode):
    installation = make_installation(private_postgres, kafka)
    account = make_account(installation, tally)
    dispatch = installation.dispatch()
    with Load(account, rate=150):
        tally.wait_for(600)
        before = dispatch.resident_bytes()
        installation.db.close()
        private_postgres.stop(mode)
        gone = time.monotonic()
        wait_until(lambda: time.monotonic() > gone + 8, 10, what="PostgreSQL is away for eight seconds")
        still = arrived_between(tally, gone + STILL_AFTER_S, gone + 8)
        assert not still, f"{len(still)} first attempts, the last {still[-1][0] - gone:.1f} s after PostgreSQL went"
        assert dispatch.resident_bytes() - before < 100 * 1024 * 1024
        assert not dispatch.is_ready()
        mark = len(tally)
        private_postgres.start()
        tally.wait_for(mark + 600)
        dispatch.wait_ready()
    account.wait_logged(40)
    account.assert_sent_once()
    # The group was kept: the partitions were taken once.
    assert dispatch.log().count("msg=reading") == 1
    # One line a module when it goes, one when it is back.
    assert set(lines(dispatch, "warn").values()) == {1}, lines(dispatch, "warn")
    assert lines(dispatch, "error") == {}
    assert dispatch.log().count("PostgreSQL takes rows again") == 1


@pytest.mark.deadline(120)
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_kafka_stops_and_starts_during_load_nothing_is_lost_or_sent_twice(postgres, private_kafka, make_installation, tally,
                                                                         how):
    installation = make_installation(postgres, private_kafka)
    account = make_account(installation, tally)
    dispatch = installation.dispatch()
    with Load(account, rate=150):
        tally.wait_for(600)
        before = dispatch.resident_bytes()
        getattr(private_kafka, how)()
        dispatch.wait_log("Kafka is away")
        wait_until(lambda: not dispatch.is_ready(), 5, what="it says that it is not ready")
        assert dispatch.resident_bytes() - before < 100 * 1024 * 1024
        private_kafka.start()
        mark = len(tally)
        tally.wait_for(mark + 600, 40)
        dispatch.wait_log("Kafka answers again")
    account.wait_logged(40)
    account.assert_sent_once()
    assert dispatch.log().count("Kafka is away") == dispatch.log().count("Kafka answers again") == 1


@pytest.mark.deadline(120)
def test_p7_without_postgresql_a_process_still_leaves_in_time_and_nothing_is_lost(private_postgres, kafka, make_installation,
                                                                                 tally):
    installation = make_installation(private_postgres, kafka)
    account = make_account(installation, tally)
    dispatch = installation.dispatch(DRAIN_TIMEOUT="5s")
    with Load(account, rate=150):
        tally.wait_for(300)
        installation.db.close()
        private_postgres.stop("immediate")
        began = time.monotonic()
        dispatch.terminate()
        assert dispatch.wait(15) == 0
        assert time.monotonic() - began < 5 + LATE_S + 2
        private_postgres.start()
        dispatch.start()
        mark = len(tally)
        tally.wait_for(mark + 300)
    account.wait_logged(40)
    # Only what was sent and could not be written any more came twice.
    assert account.sent_again() < 600


@pytest.mark.deadline(120)
def test_p8_while_a_flush_hangs_nothing_is_sent_and_then_all_goes_on(installation, tally):
    """PostgreSQL is not gone, it just does not answer the recorder."""
    account = make_account(installation, tally)
    dispatch = installation.dispatch()
    with Load(account, rate=150):
        tally.wait_for(300)
        backend = installation.db.value("SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                                        "AND application_name = 'hookcast recorder'")
        os.kill(backend, signal.SIGSTOP)
        try:
            frozen = time.monotonic()
            wait_until(lambda: time.monotonic() > frozen + 7, 10, what="seven seconds are over")
            still = arrived_between(tally, frozen + STILL_AFTER_S, frozen + 7)
        finally:
            os.kill(backend, signal.SIGCONT)
        assert not still, f"{len(still)} first attempts, the last {still[-1][0] - frozen:.1f} s after"
        mark = len(tally)
        tally.wait_for(mark + 300)
    account.wait_logged(40)
    account.assert_sent_once()
    assert dispatch.log().count("msg=reading") == 1


@pytest.mark.deadline(120)
def test_p7_a_flush_that_hangs_does_not_outlast_the_drain(installation, tally):
    account = make_account(installation, tally)
    dispatch = installation.dispatch(DRAIN_TIMEOUT="4s")
    with Load(account, rate=150):
        tally.wait_for(300)
        backend = installation.db.value("SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                                        "AND application_name = 'hookcast recorder'")
        os.kill(backend, signal.SIGSTOP)
        try:
            began = time.monotonic()
            dispatch.terminate()
            assert dispatch.wait(30) == 0
            assert time.monotonic() - began < 4 + LATE_S + 2
        finally:
            os.kill(backend, signal.SIGCONT)
        dispatch.start()
        mark = len(tally)
        tally.wait_for(mark + 300)
    account.wait_logged(40)
    # Only what was sent and could not be written any more came twice.
    assert account.sent_again() < 600


@pytest.mark.deadline(120)
def test_postgresql_and_kafka_away_together_nothing_is_lost(private_postgres, private_kafka, make_installation, tally):
    installation = make_installation(private_postgres, private_kafka)
    account = make_account(installation, tally)
    dispatch = installation.dispatch()
    with Load(account, rate=100):
        tally.wait_for(300)
        installation.db.close()
        private_kafka.kill()
        private_postgres.kill()
        dispatch.wait_log("Kafka is away")
        private_postgres.start()
        private_kafka.start()
        mark = len(tally)
        tally.wait_for(mark + 300, 40)
    account.wait_logged(40)
    account.assert_sent_once()
