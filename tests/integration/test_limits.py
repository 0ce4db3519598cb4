"""What an endpoint is sent at most: its rate, its cap, what it may have under way; for the whole installation, however many
processes there are and whatever becomes of them (rule S6, docs/endpoint-health.md)."""
import asyncio
import statistics
import time

import pytest
from servers import wait_until
from support.account import Account, Load
from support.receiver import Answer

RATE = 50


@pytest.fixture
def account(installation, tally):
    installation.kafka.create_topic(installation.topic(), 6)
    return Account(installation, tally)


def produce_everywhere(installation, events):
    """Over all partitions."""
    installation.kafka.produce([{"topic": installation.topic(), "key": event["id"], "value": event} for event in events])


def times_of(tally, path="/hook", since=0.0):
    return sorted(at for at, to, _, _ in list(tally.arrived) if to == path and at >= since)


def most_within(times, window_s):
    """The most arrivals in any window of that length."""
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def wait_for_full_rate(tally, deadline_s):
    """Until a second has seen nine tenths of the rate."""
    def full():
        return len(times_of(tally, since=time.monotonic() - 1)) >= 0.9 * RATE
    wait_until(full, deadline_s, 0.1, "the whole rate is used")


def holder_of(installation, processes):
    """The process that holds the only held endpoint, or None."""
    pid = installation.db.value("SELECT p.pid FROM holds h JOIN processes p ON p.id = h.owner WHERE h.lease_until > now()")
    return next((process for process in processes if process.running() and process.pid == pid), None)


class Crowd:
    """A behaviour that counts how many are with it at once, and answers as `answer` says."""

    def __init__(self, delay_s):
        self.delay_s, self.answer = delay_s, Answer()
        self.now = self.most = 0

    async def play(self, call):
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.delay_s)
            return await self.answer.play(call)
        finally:
            self.now -= 1


def test_a_rate_is_smooth_and_a_backlog_uses_it_up(installation, account, tally):
    account.subscribe("/hook", rate_limit_per_second=RATE)
    installation.dispatch()
    # An idle endpoint has nothing saved up.
    account.expect(events := installation.events(700))
    produce_everywhere(installation, events)
    tally.wait_for(1)
    began = tally.arrived[0][0]
    wait_until(lambda: time.monotonic() > began + 11, 15, 0.1, "eleven seconds are over")
    times = [at for at in times_of(tally) if at < began + 11]
    print(f"{len(times)} in 11 s; most in 1 s {most_within(times, 1)}, in 0.1 s {most_within(times, 0.1)}")
    assert most_within(times, 1.0) <= 1.05 * RATE
    assert most_within(times, 0.1) <= 10
    assert len(times) >= 0.95 * 11 * RATE
    # What is more than the endpoint takes has become a held endpoint's, and its lease is never the lane's to wait for.
    assert installation.db.count("holds") == 1
    assert installation.db.value("SELECT count(*) FROM schedule WHERE lease_until IS NOT NULL") < RATE


@pytest.mark.deadline(90)
def test_s6_a_rate_holds_for_three_processes(installation, account, tally):
    account.subscribe("/hook", rate_limit_per_second=RATE)
    processes = [installation.process("dispatch") for _ in range(3)]
    for process in processes:
        process.start(ready=False)
    for process in processes:
        process.wait_ready()
    account.expect(events := installation.events(1500))
    produce_everywhere(installation, events)
    wait_for_full_rate(tally, 30)
    settled = time.monotonic()
    wait_until(lambda: time.monotonic() > settled + 6, 10, 0.1, "six seconds are over")
    times = times_of(tally)
    average = len([at for at in times if settled <= at < settled + 6]) / 6
    print(f"{average:.1f}/s; most in 1 s {most_within(times, 1)}")
    assert most_within(times, 1.0) <= 1.1 * RATE
    assert average >= 0.9 * RATE
    account.assert_sent_once()


@pytest.mark.deadline(90)
def test_s6_processes_divide_a_rate_while_the_endpoint_is_not_held(installation, account, tally):
    account.subscribe("/hook", rate_limit_per_second=RATE)
    processes = [installation.process("dispatch", SOURCE_ADDRESS=f"127.0.0.{2 + number}") for number in range(3)]
    for process in processes:
        process.start(ready=False)
    for process in processes:
        process.wait_ready()
    wait_until(lambda: all(process.metric("hookcast_limit_processes") == 3 for process in processes), 20,
               what="each has its share")
    account.expect(events := installation.events(240))
    produce_everywhere(installation, events)
    tally.wait_for(100)
    times = times_of(tally)
    senders = {sender for at, _, _, sender in tally.arrived if at < times[0] + 1}
    assert len(senders) == 3
    for sender in senders:
        own = sorted(at for at, _, _, who in tally.arrived if who == sender and at < times[0] + 1.5)
        assert most_within(own, 1.0) <= 1.1 * RATE / 3 + 1
    print(f"most in 1 s {most_within(times, 1)}")
    assert most_within(times, 1.0) <= 1.1 * RATE


@pytest.mark.deadline(90)
def test_s6_the_death_of_a_holder_never_gives_more_than_the_rate(installation, account, tally):
    installation.env["HOOKCAST_KAFKA_CONF"] = "session.timeout.ms=2000\nheartbeat.interval.ms=200"
    account.subscribe("/hook", rate_limit_per_second=RATE)
    processes = [installation.dispatch(), installation.dispatch()]
    account.expect(events := installation.events(1500))
    produce_everywhere(installation, events)
    holder = wait_until(lambda: holder_of(installation, processes), 20, 0.1, "the endpoint is held")
    wait_for_full_rate(tally, 20)
    holder.kill()
    killed = time.monotonic()
    wait_until(lambda: not times_of(tally, since=time.monotonic() - 1), 10, 0.1, "nobody sends")
    wait_for_full_rate(tally, 30)
    print(f"the whole rate again after {time.monotonic() - killed:.1f} s; most in 1 s {most_within(times_of(tally), 1)}")
    assert most_within(times_of(tally), 1.0) <= 1.1 * RATE
    # Only what was under way can have come twice.
    assert account.sent_again() <= 16


@pytest.mark.deadline(90)
def test_s6_of_one_allowed_never_two_are_under_way_in_two_processes(installation, receiver):
    installation.kafka.create_topic(installation.topic(), 6)
    crowd = Crowd(0.03)
    receiver.on("/narrow", crowd)
    installation.insert_subscription(receiver.url("/narrow"), max_in_flight=1)
    installation.insert_subscription(receiver.url("/wide"))
    processes = [installation.dispatch(), installation.dispatch()]
    produce_everywhere(installation, installation.events(60))
    receiver.wait_for(60, "/wide", deadline_s=20)
    receiver.wait_for(60, "/narrow", deadline_s=30)
    assert crowd.most == 1
    wait_until(lambda: all(process.metric("hookcast_limit_processes") == 2 for process in processes), 20,
               what="neither is too young to send")
    # Now that one process has it, nothing waits for shares any more.
    holder = holder_of(installation, processes)
    assert holder
    began = time.monotonic()
    produce_everywhere(installation, installation.events(20))
    receiver.wait_for(80, "/narrow", deadline_s=10)
    print(f"20 more took {time.monotonic() - began:.1f} s")
    assert crowd.most == 1
    assert receiver.duplicates() == {}
    installation.db.wait_count(80, "delivery_logs", "webhook_url = %s", receiver.url("/narrow"))
    assert holder_of(installation, processes) == holder


def test_an_endpoint_is_held_above_its_rate_and_not_below(installation, account, tally):
    account.subscribe("/hook", rate_limit_per_second=RATE)
    installation.dispatch()
    with Load(account, rate=0.9 * RATE):
        tally.wait_for(30)
        end = time.monotonic() + 5
        seen = set()
        wait_until(lambda: seen.add(installation.db.count("holds")) or time.monotonic() > end, 10, 0.1, "five seconds are over")
    assert seen == {0}
    with Load(account, rate=2 * RATE):
        installation.db.wait_count(1, "holds", deadline_s=15)
        end = time.monotonic() + 5
        seen = set()
        mark = time.monotonic()
        wait_until(lambda: seen.add(installation.db.count("holds")) or time.monotonic() > end, 10, 0.1, "five seconds are over")
    assert seen == {1}
    times = [at for at in times_of(tally) if mark <= at < mark + 5]
    print(f"{len(times) / 5}/s while it was held")
    assert len(times) >= 0.9 * 5 * RATE
    assert most_within(times_of(tally), 1.0) <= 1.1 * RATE


def test_the_cap_moves_as_drawn(installation, receiver):
    installation.kafka.create_topic(installation.topic(), 4)
    crowd = Crowd(0.03)
    receiver.on("/hook", crowd)
    installation.insert_subscription(receiver.url("/hook"), max_in_flight=24, retry_schedule_ms=[200] * 30)
    installation.dispatch()
    produce_everywhere(installation, installation.events(400))
    receiver.wait_for(400)
    # It grew beyond what it begins with, and not beyond what is allowed.
    assert 8 < crowd.most <= 24
    # From then on everything fails: the cap falls to nothing, and then one probe comes at a time.
    crowd.answer = Answer(503)
    produce_everywhere(installation, installation.events(300))

    def quiet():
        requests = receiver.requests("/hook")
        return requests[-1].status == 503 and time.time() - requests[-1].time > 0.5
    wait_until(quiet, 10, 0.05, "the circuit is open")
    refused = [request for request in receiver.requests("/hook") if request.status == 503]
    # 24, 12, 6, 3, 1, and the three that open it, each with what was under way at its cut.
    assert len(refused) <= 2 * (24 + 12 + 6 + 3 + 1) + 3, len(refused)
    crowd.most = 0
    mark = receiver.count()
    receiver.wait_for(mark + 2, deadline_s=10)
    assert crowd.most == 1
    probes = receiver.requests("/hook")[mark:]
    assert probes[1].time - probes[0].time > 0.9
    # One good answer closes it, and everything comes at the full cap again.
    crowd.answer = Answer()
    wait_until(lambda: len({request.id for request in receiver.requests("/hook") if request.status == 200}) == 700, 20,
               what="everything is delivered")
    assert 8 < crowd.most <= 24
    good = sorted(request.time for request in receiver.requests("/hook") if request.status == 200)[400:]
    print(f"{len(refused)} refused; the last 300 took {good[-1] - good[0]:.2f} s")
    assert good[-1] - good[0] < 5


class Latencies:
    """When each event was produced, the first ones apart."""

    def __init__(self, installation):
        self.installation = installation
        self.produced = {}
        self.began = time.monotonic()

    def make(self):
        event = self.installation.event()
        # A new producer needs a second before its first event is away.
        if time.monotonic() - self.began > 1.5:
            self.produced[event["id"]] = time.monotonic()
        return event


@pytest.mark.deadline(90)
def test_promise_3_one_that_hangs_among_ten_changes_nothing_for_the_nine(installation, account, tally):
    nine = [f"/good{number}" for number in range(9)]
    for path in nine:
        account.subscribe(path)
    account.subscribe("/tenth", timeout_ms=3000)
    installation.dispatch()

    def run(seconds):
        latencies, mark = Latencies(installation), len(tally)
        with Load(account, rate=60, make=latencies.make):
            end = time.monotonic() + seconds
            wait_until(lambda: time.monotonic() > end, seconds + 5, 0.05, "the load is over")
        wanted = {(path, name) for path in nine for name in latencies.produced}
        wait_until(lambda: not wanted - set(tally.counts(mark)), 15, 0.1, "the nine got everything")
        taken = sorted(at - latencies.produced[name] for at, path, name, _ in tally.arrived[mark:]
                       if path in nine and name in latencies.produced)
        assert len(taken) == len(wanted)
        return statistics.median(taken), taken[int(0.95 * len(taken))]

    run(2)
    median, most = run(6)
    tally.hanging.add("/tenth")
    run(2)
    median_beside, most_beside = run(6)
    tally.release("/tenth")
    print(f"p50 {1e3 * median:.1f} → {1e3 * median_beside:.1f} ms, p95 {1e3 * most:.1f} → {1e3 * most_beside:.1f} ms")
    assert median_beside <= 1.5 * median + 0.005
    assert most_beside <= 2 * most + 0.05
