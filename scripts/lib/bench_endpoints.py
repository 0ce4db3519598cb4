"""What scripts/bench measures of many endpoints: what they cost, and that those which hang or refuse don't harm the others."""
import json
import subprocess
import time

import measure
import servers
from bench_schedule import Cpu, Receiver, logged, wait_written

MANY = 5000
ISOLATED = 1000
GONE_BAD = 0.1  # so many hang, and as many refuse
SLOW_MS = 250   # of a flow that an endpoint takes with time to spare nothing waits so long, as a rule
LEAST_FLOW = 500


def host(number):
    """As tests/bench/latency_receiver listens."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


def subscribe(installation, first, count, port):
    """One endpoint each for the workspaces w<first>, …: unsigned, on a host of its own."""
    with installation.db.connect() as connection:
        for number in range(first, first + count):
            connection.execute("INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, signature_style) "
                               "VALUES (%s, gen_random_uuid(), %s, '{message.new}', 'none')",
                               (f"w{number}", f"http://{host(number)}:{port}/hook"))


class Producer:
    """tests/bench/paced_producer, in the background."""

    def __init__(self, bench, installation, workspaces, events, rate=0, partitions=8):
        topic = installation.topic("message.new")
        if topic not in installation.kafka.topics():
            installation.kafka.create_topic(topic, partitions)
        self.process = subprocess.Popen([bench.program("paced_producer"), bench.kafka().bootstrap, topic, str(partitions),
                                         str(workspaces), str(events), str(rate)], stdout=subprocess.PIPE, text=True)

    def wait(self, deadline_s):
        try:
            output, _ = self.process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired as late:
            self.process.kill()
            raise measure.Failed("Kafka does not take the events in time") from late
        if self.process.returncode:
            raise measure.Failed(f"Kafka did not take the events: {output}")
        return json.loads(output)["seconds"]


def backlog(bench, name, endpoints, events):
    """Deliveries a second of the second half of a backlog, when all connections are made, and their processor time."""
    installation, receiver, cpu = bench.installation(name), Receiver(bench, str(endpoints)), None
    try:
        subscribe(installation, 0, endpoints, receiver.port)
        measure.say(f"producing {events:,} events …")
        Producer(bench, installation, endpoints, events).wait(60)
        measure.say(f"delivering to {endpoints:,} endpoint" + ("s …" if endpoints > 1 else " …"))
        dispatch = installation.dispatch()
        cpu = Cpu(bench, dispatch.pid)
        perf = bench.perf(dispatch.pid, name)
        wait_written(bench, installation, dispatch, events, 100)
        bench.perf_report(perf, name)
        time.sleep(0.5)
        first, last = installation.db.row("""
            SELECT extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY created_at))::float8 AS first,
                   extract(epoch FROM max(created_at))::float8 AS last FROM delivery_logs""").values()
        rows = logged(installation, first, last)
        if rows == 0 or last - first < 0.3:
            raise measure.Failed("over too soon to be measured; give more with --events")
        return {"rate": rows / (last - first), "own": cpu.between(first, last, 1) * 1e6 / rows,
                "postgres": cpu.between(first, last, 2) * 1e6 / rows, "rss": measure.status_bytes(dispatch.pid, "VmHWM")}
    finally:
        if cpu:
            cpu.close()
        installation.close()
        receiver.close()


def endpoints(bench):
    many = 500 if bench.options.quick else MANY
    one = backlog(bench, "endpoints_one", 1, bench.options.events)
    all_of_them = backlog(bench, "endpoints_many", many, bench.options.events)
    bench.rows["endpoints_one"] = {"what": "hookcast, 1 endpoint, unsigned", **one}
    bench.rows["endpoints_many"] = {"what": f"hookcast, {many:,} endpoints, a host each", **all_of_them}
    ratio = all_of_them["own"] / one["own"]
    bench.goal(f"CPU per delivery to {many:,} endpoints, of that to one", f"{ratio:.2f}×", "<= 1.70×", ratio <= 1.7)


def steady(bench, installation, dispatch, receiver, healthy, workspaces, rate, seconds):
    """What the healthy endpoints, the first of the workspaces, got of a steady flow to all of them. It begins when what came
    before, to make the connections, has arrived; and what is late is waited for, so that the next flow finds nothing of it."""
    warm = 2 if bench.options.quick else 5

    def for_healthy(events):
        return events // workspaces * healthy + min(events % workspaces, healthy)

    def wait_arrived(requests, what):
        arrived = 0

        def all_arrived():
            nonlocal arrived
            if not dispatch.running():
                raise measure.Failed("hookcast ended:\n" + dispatch.log_tail())
            arrived += receiver.report()["requests"]
            return arrived >= requests
        servers.wait_until(all_arrived, 90, 0.2, what)

    Producer(bench, installation, workspaces, rate * warm, rate).wait(warm + 30)
    wait_arrived(for_healthy(rate * warm), "the healthy endpoints have what came before")
    Producer(bench, installation, workspaces, rate * seconds, rate).wait(seconds + 30)
    time.sleep(0.5)
    found = receiver.report()
    wait_arrived(for_healthy(rate * seconds) - found["requests"], "the healthy endpoints have what was late")
    return {"rate": found["measured"] / seconds, "kept": found["measured"] / for_healthy(rate * seconds),
            "p50": found["p50_us"] / 1000, "p99": found["p99_us"] / 1000}


def flow_alone(bench, installation, dispatch, receiver, healthy, count, rate, seconds):
    """A flow that the healthy endpoints take with time to spare, and what they got of it. Half of what they reach from a
    backlog should be one; but whoever produces a flow, and Kafka with small batches, take from the same processors."""
    while True:
        measure.say(f"{rate:,} events a second, all endpoints well …")
        alone = steady(bench, installation, dispatch, receiver, healthy, healthy, rate * healthy // count, seconds)
        if (alone["kept"] >= 0.98 and alone["p50"] <= SLOW_MS) or rate < 2 * LEAST_FLOW:
            return rate, alone
        bench.notes.append(f"isolation: {rate:,}/s was more than this machine takes just now (p50 {alone['p50']:,.0f} ms)")
        rate //= 2


def isolation(bench):
    quick = bench.options.quick
    count, seconds = (100, 3) if quick else (ISOLATED, 10)
    bad = int(count * GONE_BAD)
    highest = backlog(bench, "isolation_most", count, bench.options.events // 2)["rate"]
    installation, receiver = bench.installation("isolation"), Receiver(bench, str(count))
    hanging, closed = Receiver(bench, str(count), "hang"), servers.free_port()
    try:
        # The last fifth is sent to nobody in the first run, so that the healthy ones' share of the flow stays the same.
        healthy = count - 2 * bad
        subscribe(installation, 0, healthy, receiver.port)
        dispatch = installation.dispatch()
        installation.wait_in_force()
        rate, alone = flow_alone(bench, installation, dispatch, receiver, healthy, count, int(highest / 2), seconds)
        subscribe(installation, healthy, bad, hanging.port)
        subscribe(installation, healthy + bad, bad, closed)
        installation.wait_in_force()
        measure.say(f"{rate:,} events a second, {bad} hang and {bad} refuse …")
        beside = steady(bench, installation, dispatch, receiver, healthy, count, rate, seconds)
        memory = measure.status_bytes(dispatch.pid, "VmHWM")
        flow = f"{rate:,}/s of at most {highest:,.0f} to {count:,}"
        bench.rows["isolation_alone"] = {"what": f"hookcast, {healthy} healthy endpoints, {flow}", **alone, "rss": memory,
                                         "steady": True}
        bench.rows["isolation_beside"] = {"what": f"hookcast, beside {bad} that hang, {bad} that refuse", **beside,
                                          "rss": memory, "steady": True}
        kept, slower = beside["kept"] / alone["kept"], beside["p99"] / alone["p99"]
        bench.goal("healthy endpoints' rate beside bad ones", f"{kept:.2f}×", ">= 0.95×", kept >= 0.95)
        bench.goal("healthy endpoints' p99 beside bad ones", f"{slower:.2f}×", "<= 1.50×", slower <= 1.5)
    finally:
        installation.close()
        hanging.close()
        receiver.close()


def batch(bench):
    events = bench.options.events * 5 // 2
    installation = bench.installation("batch")
    try:
        installation.subscribe(bench.nginx().url() + "hook", ["message.new"], workspace="w0", delivery_mode="batched",
                               batch_max_events=100, batch_max_bytes=262144, batch_max_wait_seconds=5)
        installation.api_process.close()
        measure.say(f"producing {events:,} events …")
        Producer(bench, installation, 1, events).wait(60)
        measure.say("delivering them by the hundred …")
        dispatch = installation.dispatch()
        cpu = Cpu(bench, dispatch.pid)
        perf = bench.perf(dispatch.pid, "batch")

        def done():
            if not dispatch.running():
                raise measure.Failed("hookcast ended:\n" + dispatch.log_tail())
            return (installation.db.value("SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE relname LIKE 'events\\_%'")
                    or 0) >= events and installation.db.count("schedule") == 0
        servers.wait_until(done, 90, 0.2, f"{events:,} events in batches")
        bench.perf_report(perf, "batch")
        time.sleep(0.5)
        cpu.close()
        first, last = installation.db.row("""
            SELECT extract(epoch FROM percentile_disc(0.1) WITHIN GROUP (ORDER BY created_at))::float8 AS first,
                   extract(epoch FROM percentile_disc(0.98) WITHIN GROUP (ORDER BY created_at))::float8 AS last
            FROM delivery_logs WHERE delivery_status = 'success'""").values()
        total, webhooks = installation.db.row("""
            SELECT coalesce(sum(cardinality(b.event_keys)), 0)::int8 AS total, count(*) AS webhooks FROM delivery_logs l
            JOIN batches b ON b.workspace_id = l.workspace_id AND b.id = l.batch_id
            WHERE l.delivery_status = 'success' AND l.created_at > to_timestamp(%s) AND l.created_at <= to_timestamp(%s)""",
            first, last).values()
        if total == 0 or last <= first:
            raise measure.Failed("no batch was delivered")
        rate = total / (last - first)
        bench.rows["batch"] = {"what": f"hookcast, {events:,} events in batches of {total / webhooks:.0f}", "rate": rate,
                               "own": cpu.between(first, last, 1) * 1e6 / total,
                               "postgres": cpu.between(first, last, 2) * 1e6 / total,
                               "rss": measure.status_bytes(dispatch.pid, "VmHWM")}
        bench.goal("events a second into batches of 100", f"{rate:,.0f}", ">= 60,000", rate >= 60000)
    finally:
        installation.close()
