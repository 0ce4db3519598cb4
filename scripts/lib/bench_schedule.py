"""What scripts/bench measures of the schedule: how fast due rows leave, and how late they are."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

import measure
import servers

SUBSCRIBERS = 100
DUE_PER_SECOND = 60000
ROW = """
INSERT INTO schedule (workspace_id, subscription_id, row_key, event_key, bucket, attempt, activation, due_at, topic, part,
    record_offset, record_time, record_key, headers, body)
SELECT 'w1', s.id, k.key, k.key, s.bucket, 1, s.activation, k.due_at, %(topic)s, (n %% 8)::int, n,
    to_timestamp(1760000000), 'w1', '{}', convert_to(format('{"id":"evt_%%s","workspace_id":"w1",'
    '"event_type":"message.new","occurred_at":1760000000000,"payload":{"number":%%s,%%s"text":"%%s"}}', n, n,
    CASE WHEN %(timed)s THEN format('"produced_us":%%s,', (extract(epoch FROM k.due_at) * 1e6)::int8) ELSE '' END,
    repeat('x', 820)), 'UTF8')
FROM generate_series(%(first)s::int8, %(last)s::int8) n
JOIN (SELECT id, schedule_bucket(workspace_id, id) AS bucket, activation, row_number() OVER (ORDER BY id) - 1 AS number
      FROM subscriptions WHERE webhook_url LIKE %(url)s) s ON s.number = n %% %(subscribers)s
CROSS JOIN LATERAL (SELECT (lpad(to_hex(1760000000000 + n), 12, '0') || '8000' || '8' || substr(md5(n::text), 1, 15))::uuid
      AS key,
      to_timestamp(%(due)s::float8 + (n - %(first)s::int8) * %(step)s::float8) AS due_at) k
"""


class Receiver:
    """tests/bench/latency_receiver: answers at once, and measures how late what is timed arrives."""

    def __init__(self, bench, *arguments):
        self.port = servers.free_port()
        self.process = subprocess.Popen([bench.program("latency_receiver"), str(self.port), *arguments],
                                        stdout=subprocess.PIPE, text=True)
        bench.stack.callback(self.close)
        servers.wait_until(lambda: self._listens("127.1.0.1" if arguments else "127.0.0.1"), 10, what="the receiver listens")

    def _listens(self, host):
        with socket.socket() as probe:
            return probe.connect_ex((host, self.port)) == 0

    def url(self, path):
        return f"http://127.0.0.1:{self.port}/{path}"

    def report(self):
        """What it measured so far; it goes on from nothing."""
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.wait()


class Cpu:
    """Processor time of hookcast and PostgreSQL, to be asked for what lies between two moments."""

    def __init__(self, bench, pid):
        self.bench, self.pid, self.samples = bench, pid, []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ended.wait(0.2):
            self.samples.append((time.time(), measure.process_cpu(self.pid),
                                 measure.cluster_cpu(self.bench.postgres().pid())))

    def between(self, first, last, column):
        return measure.at(self.samples, last, column) - measure.at(self.samples, first, column)

    def close(self):
        self.ended.set()
        self.thread.join()


def fill(installation, first, count, due, step, path="hook", timed=False, subscribers=SUBSCRIBERS):
    """Rows number first, first + 1, … for the subscriptions of the path in turns, due one step (seconds) after the other."""
    with installation.db.connect() as connection:
        connection.execute(ROW, {"topic": installation.topic("message.new"), "first": first, "last": first + count - 1,
                                 "due": due, "step": step, "timed": timed, "url": f"%/{path}/%",
                                 "subscribers": subscribers})


def logged(installation, first, last):
    return installation.db.value("SELECT count(*) FROM delivery_logs WHERE delivery_status = 'success' "
                                 "AND created_at > to_timestamp(%s) AND created_at <= to_timestamp(%s)", first, last)


def written(installation):
    """About how many log rows there are; costs the server nothing, and is up to a second late."""
    return installation.db.value("SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE relname LIKE 'delivery\\_logs%'") or 0


def wait_written(bench, installation, dispatch, rows, deadline_s):
    def enough():
        if not dispatch.running():
            raise measure.Failed("hookcast ended:\n" + dispatch.log_tail())
        return written(installation) >= rows
    try:
        servers.wait_until(enough, deadline_s, 0.1, f"{rows:,} log rows")
    except TimeoutError as late:
        raise measure.Failed(f"{late}: {written(installation):,} are there\n{dispatch.log_tail()}") from late


def lateness(bench, installation, dispatch, receiver, first):
    """Rows due at a steady rate among all the others."""
    rate, seconds, warm = 1000, 5 if bench.options.quick else 20, 2
    measure.say(f"{rate:,} rows a second become due for {seconds} s …")
    begin = time.time() + 3
    before = written(installation)
    fill(installation, first, rate * warm, begin - warm, 1 / rate)
    fill(installation, first + rate * warm, rate * seconds, begin, 1 / rate, timed=True)
    wait_written(bench, installation, dispatch, before + rate * (warm + seconds), seconds + 30)
    found = receiver.report()
    if found["measured"] != rate * seconds:
        bench.notes.append(f"schedule: {found['measured']:,} of {rate * seconds:,} were measured")
    return found


def steady(bench, installation, cpu, seconds):
    """Rate and processor time of the next so many seconds, to be counted afterwards."""
    first = time.time()
    time.sleep(seconds)
    last = time.time()

    def count():
        rows = logged(installation, first, last)
        return {"rate": rows / (last - first), "own": cpu.between(first, last, 1) * 1e6 / max(rows, 1),
                "postgres": cpu.between(first, last, 2) * 1e6 / max(rows, 1)}
    return count


def run(bench):
    quick = bench.options.quick
    rows, window = (100000, 3) if quick else (1000000, 6)
    installation, receiver, cpu = bench.installation("schedule"), Receiver(bench), None
    try:
        for number in range(SUBSCRIBERS):
            installation.subscribe(receiver.url(f"hook/{number}"), ["message.new"])
        installation.api_process.close()
        measure.say(f"{rows:,} rows for tomorrow …")
        fill(installation, 0, rows, time.time() + 86400, 0)
        installation.db.execute("VACUUM ANALYZE schedule")
        dispatch = installation.dispatch()
        installation.wait_in_force()
        late = lateness(bench, installation, dispatch, receiver, rows)
        dispatch.stop()
        due = rows if quick else rows // 2
        measure.say(f"{due:,} rows that are due …")
        fill(installation, 2 * rows, due, time.time() - 60, 1 / DUE_PER_SECOND)
        installation.db.execute("VACUUM ANALYZE schedule")
        installation.db.execute("CHECKPOINT")
        dispatch = installation.dispatch()
        cpu = Cpu(bench, dispatch.pid)
        time.sleep(2)
        measure.say("sending what is due …")
        perf = bench.perf(dispatch.pid, "schedule")
        before = steady(bench, installation, cpu, window)
        bench.perf_report(perf, "schedule")
        snapshot = installation.db.connect()
        snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        snapshot.execute("SELECT count(*) FROM holds")
        wait_written(bench, installation, dispatch, written(installation) + due // 5, 60)
        after = steady(bench, installation, cpu, window)
        snapshot.close()
        memory = measure.status_bytes(dispatch.pid, "VmHWM")
        left = installation.db.count("schedule", "due_at < now()")
        before, after = before(), after()
        bench.rows["schedule"] = {"what": f"hookcast, rows of {rows + due:,} that are due", **before, "rss": memory}
        bench.rows["schedule_late"] = {"what": "hookcast, 1,000 rows/s become due", "rate": 1000, "rss": memory,
                                       "p50": late["p50_us"] / 1000, "p99": late["p99_us"] / 1000, "steady": True}
        ratio = after["rate"] / before["rate"]
        bench.goal("due rows sent a second", f"{before['rate']:,.0f}", ">= 15,000", before["rate"] >= 15000)
        bench.goal("lateness p99 at 1,000/s", f"{late['p99_us'] / 1000:.0f} ms", "<= 200 ms", late["p99_us"] <= 200000)
        bench.goal("rate beside an old snapshot, of that without", f"{ratio:.2f}×", ">= 0.70×", ratio >= 0.7)
        if left == 0:
            bench.notes.append("schedule: everything was sent before the end; the last rate is too low")
    finally:
        if cpu:
            cpu.close()
        installation.close()
        receiver.close()


def crowd(bench):
    """The endpoint of the crowd refuses; five others share its bucket."""
    rows, seconds, rate = (50000, 5, 200) if bench.options.quick else (1000000, 20, 200)
    installation, receiver = bench.installation("crowd"), Receiver(bench)
    try:
        installation.insert_subscription(f"http://127.0.0.1:{servers.free_port()}/crowd/0", ["message.new"])
        for number in range(200):
            installation.insert_subscription(receiver.url(f"same/{number}"), ["message.new"])
        installation.db.execute("""
            DELETE FROM subscriptions WHERE id NOT IN (SELECT s.id FROM subscriptions s JOIN subscriptions c ON
                schedule_bucket(s.workspace_id, s.id) = schedule_bucket(c.workspace_id, c.id)
                WHERE c.webhook_url LIKE '%/crowd/0' ORDER BY s.webhook_url NOT LIKE '%/crowd/0', s.webhook_url LIMIT 6)""")
        measure.say(f"{rows:,} rows of one endpoint …")
        began = time.time()
        fill(installation, 0, rows // 10, began + 600, 0, "crowd", subscribers=1)
        due = began + (time.time() - began) * 15 + 10
        fill(installation, rows // 10, rows * 9 // 10, due, 1e-6, "crowd", subscribers=1)
        if installation.db.count("schedule") != rows:
            raise measure.Failed("the crowd's rows are not there")
        dispatch = installation.dispatch()
        installation.wait_in_force()
        due = max(due, time.time() + 1)
        for path, timed, when in (("same", False, due - 3), ("same", True, due)):
            fill(installation, 2 * rows + timed * rate * 3, rate * (seconds if timed else 3), when, 1 / rate, path, timed,
                 subscribers=5)
        measure.say(f"{max(due - time.time(), 0):.0f} s until they are due …")

        def arrived():
            if not dispatch.running():
                raise measure.Failed("hookcast ended:\n" + dispatch.log_tail())
            return installation.db.value("SELECT count(*) FROM delivery_logs WHERE delivery_status = 'success'")
        servers.wait_until(lambda: arrived() >= rate * (seconds + 3), max(due - time.time(), 0) + seconds + 30, 0.5,
                           "the others' rows are sent")
        late = receiver.report()
        marked = installation.db.count("schedule", "held")
        if marked == 0:
            raise measure.Failed("no row of the crowd was marked held: it was no crowd")
        if late["measured"] != rate * seconds:
            bench.notes.append(f"crowd: {late['measured']:,} of {rate * seconds:,} were measured")
        bench.rows["crowd"] = {"what": f"hookcast, beside {rows:,} rows of one dead endpoint", "rate": rate,
                               "p50": late["p50_us"] / 1000, "p99": late["p99_us"] / 1000, "steady": True,
                               "rss": measure.status_bytes(dispatch.pid, "VmHWM")}
        bench.goal("lateness p99 of others in a crowd's bucket", f"{late['p99_us'] / 1000:,.0f} ms (most "
                   f"{late['max_us'] / 1000:,.0f} ms, {marked:,} marked meanwhile)", "<= 1,000 ms", late["p99_us"] <= 1e6)
    finally:
        installation.close()
        receiver.close()
