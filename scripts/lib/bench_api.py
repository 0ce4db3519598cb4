"""What scripts/bench measures of the REST API: single requests, pages and listings of a large log, an export of it."""
import http.client
import json
import math
import os
import random
import subprocess
import sys
import threading
import time
import urllib.parse
import zlib

import measure
import servers
from bench_schedule import Cpu

CONNECTIONS = 50
PAGE_GOAL_MS = 10
WARM_TURNS = 4
EVENTS_A_REQUEST = 100
PATH = "/api/v1/workspaces/w1"
MARK = b'"delivered_event_obj":{'  # once in each row of a listing
TYPES = ("message.new", "message.sent", "conversation.new", "conversation.updated", "conversation.ended", "call.new",
         "call.updated", "call.ended", "call.missed", "contact.new", "contact.updated", "contact.deleted",
         "contact.label.added", "contact.label.deleted", "conversation.label.added")
ORDERS = tuple(f"{field}:{way}" for field in ("created_at", "event_type", "delivery_status", "status_code")
               for way in ("desc", "asc"))

# The days of the log that lie in the past, which a new installation does not have.
DAYS = """
DO $$ DECLARE day date; name text; BEGIN
    FOREACH name IN ARRAY ARRAY['delivery_logs', 'events'] LOOP
        FOR day IN SELECT generate_series(current_date - 30, current_date - 1, '1 day') LOOP
            IF to_regclass(name || to_char(day, '_YYYYMMDD')) IS NULL THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                    name || to_char(day, '_YYYYMMDD'), name, day::timestamp AT TIME ZONE 'UTC',
                    (day + 1)::timestamp AT TIME ZONE 'UTC');
            END IF;
        END LOOP;
    END LOOP;
END $$"""

# An event of 1 kB each 100 rows, and their numbers first … last: evenly over 29 days, each event at one moment for 100
# subscriptions, 50 of w1 and the others of twenty workspaces. One row in 20 is a failure; codes, errors and marks are as
# rare as they are in a log.
EVENTS = """
INSERT INTO events (created_at, event_key, workspace_id, event_id, event_type, occurred_at, topic, part, record_offset,
    record_time, record_key, headers, body)
SELECT at, ('00000000-0000-8000-8000-' || lpad(to_hex(g), 12, '0'))::uuid, 'w1', 'evt_' || g, type, at,
    'events.' || type, 0, g, at, 'w1', '{}', convert_to('{"id":"evt_' || g || '","workspace_id":"w1","event_type":"' || type
    || '","occurred_at":1760000000000,"payload":{"number":' || g || ',"text":"' || repeat(md5(g::text), 26) || '"}}', 'UTF8')
FROM (SELECT g, (%(types)s::text[])[1 + g %% 15] AS type,
        date_trunc('milliseconds', to_timestamp(%(end)s - 29 * 86400.0 * (1 - g * 100 / %(of)s::float8))) AS at
      FROM generate_series(%(first)s::int8 / 100, %(last)s::int8 / 100) g) q"""
ROWS = """
INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, webhook_url,
    delivery_status, status_code, response_body, error, error_code, attempt, duration_ms, given_up, batch_id,
    render_version, sent_at, test)
SELECT at, id, CASE WHEN s < 50 THEN 'w1' ELSE 'v' || s %% 20 END,
    ('00000000-0000-8000-8000-' || lpad(to_hex(g), 12, '0'))::uuid, coalesce(batch::text, 'evt_' || g),
    ('00000000-0000-4000-8000-' || lpad(s::text, 12, '0'))::uuid, (%(types)s::text[])[1 + g %% 15],
    'https://hook.example.com/' || s,
    CASE WHEN r < 0.95 THEN 'success' WHEN r < 0.999 THEN 'failed' ELSE 'cancelled' END,
    CASE WHEN r < 0.94 THEN 200 WHEN r < 0.95 THEN 204 WHEN r < 0.98 THEN 503 WHEN r < 0.99 THEN 404
         WHEN r < 0.9901 THEN 418 END,
    CASE WHEN r < 0.9901 THEN '{"status": "received"}' END, CASE WHEN r >= 0.95 THEN 'no' END,
    CASE WHEN r < 0.95 THEN NULL WHEN r < 0.9901 THEN 'http_status' WHEN r < 0.998 THEN 'timeout'
         WHEN r < 0.999 THEN 'dns' ELSE 'cancelled' END,
    CASE WHEN n %% 20 = 0 THEN 2 ELSE 1 END, CASE WHEN r < 0.999 THEN (random() * 200)::int END,
    r >= 0.98 AND r < 0.985, batch, CASE WHEN batch IS NULL THEN (%(versions)s::int8[])[s + 1] END,
    CASE WHEN r < 0.999 THEN at END, r < 0.0005
FROM (SELECT n, g, at, random() AS r, (n %% 100)::int AS s, CASE WHEN n %% 1009 = 0 THEN md5(n::text)::uuid END AS batch,
        (lpad(to_hex((extract(epoch FROM at) * 1000)::int8), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8'
         || substr(md5(n::text), 4, 15))::uuid AS id
      FROM (SELECT n, n / 100 AS g,
                date_trunc('milliseconds', to_timestamp(%(end)s - 29 * 86400.0 * (1 - n / 100 * 100 / %(of)s::float8))) AS at
            FROM generate_series(%(first)s::int8, %(last)s::int8) n OFFSET 0) numbered) q"""

# Of w1, each with its event of 1 kB and the version that it was rendered with; 50 minutes of some 300 a second.
LONG_EVENTS = """
INSERT INTO events (created_at, event_key, workspace_id, event_id, event_type, occurred_at, topic, part, record_offset,
    record_time, record_key, headers, body)
SELECT at, ('00000000-0000-8000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'w1', 'evt_' || n, 'message.new', at,
    'events.message.new', 0, n, at, 'w1', '{}', convert_to('{"id":"evt_' || n || '","workspace_id":"w1",'
    '"event_type":"message.new","occurred_at":1760000000000,"payload":{"number":' || n || ',"text":"'
    || repeat(md5(n::text), 26) || '"}}', 'UTF8')
FROM (SELECT n, to_timestamp(%(end)s - 3000 * (1 - n / %(of)s::float8)) AS at
      FROM generate_series(%(first)s::int8, %(last)s::int8) n) q"""
LONG_ROWS = """
INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, webhook_url,
    delivery_status, status_code, response_body, attempt, duration_ms, render_version, sent_at)
SELECT created_at, gen_random_uuid(), 'w1', event_key, event_id, %(subscription)s::uuid, event_type,
    'https://hook.example.com/', 'success', 200, repeat('r', 200), 1, 7, %(version)s, created_at
FROM events WHERE workspace_id = 'w1' AND event_key BETWEEN
    ('00000000-0000-8000-8000-' || lpad(to_hex(%(first)s::int8), 12, '0'))::uuid AND
    ('00000000-0000-8000-8000-' || lpad(to_hex(%(last)s::int8), 12, '0'))::uuid"""

WRK = """
wrk.method = "%(method)s"
wrk.headers["x-api-key"] = "%(key)s"
%(body)s
local paths, requests, at = %(paths)s, {}, 0
init = function()
    for i, path in ipairs(paths) do requests[i] = wrk.format(nil, path) end
end
request = function()
    at = at %% #requests + 1
    return requests[at]
end
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format('{"requests":%%d,"seconds":%%f,"failed":%%d,"p50":%%f,"p99":%%f}\\n', summary.requests,
        summary.duration / 1e6, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


def wrk(bench, url, key, paths, seconds, connections, body=None):
    """What wrk counted of requests for these paths in turns, on kept connections; any answer but a good one fails it."""
    script = os.path.join(bench.home, "api.lua")
    with open(script, "w", encoding="utf-8") as lua:
        lua.write(WRK % {"method": "POST" if body else "GET", "key": key, "body": "" if not body else
                         f'wrk.headers["content-type"] = "application/json"\nwrk.body = [==[{body}]==]',
                         "paths": "{" + ", ".join(f'"{path}"' for path in paths) + "}"})
    done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, url], capture_output=True,
                          text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    if found["failed"] or not found["requests"]:
        raise measure.Failed(f"{paths[0]}: {found['failed']:,} of {found['requests']:,} requests failed")
    return found


class Spent:
    """Processor time of the API, PostgreSQL and Kafka from here on."""

    def __init__(self, bench, pid):
        self.bench, self.pid = bench, pid
        self.before = self._now()

    def _now(self):
        return (measure.process_cpu(self.pid), measure.cluster_cpu(self.bench.postgres().pid()),
                measure.process_cpu(self.bench.kafka().pid()))

    def each(self, count):
        """Microseconds for each of so many."""
        return [(now - before) * 1e6 / count for now, before in zip(self._now(), self.before)]


def api(bench):
    seconds = 3 if bench.options.quick else 8
    installation = bench.installation("api")
    try:
        made = [installation.subscribe(f"https://hook.example.com/{n}", ["message.new", "conversation.*"], name=f"number {n}",
                                       headers={"x-team": "a"})["id"] for n in range(100)]
        installation.kafka.create_topic(installation.topic("message.new"), 8)
        process, key = installation.api_process, installation.key()
        get_subscriptions(bench, process, key, seconds, [installation.subscription_path(one) for one in made])
        post_events(bench, installation, process, key, seconds)
    finally:
        installation.close()


def get_subscriptions(bench, process, key, seconds, paths):
    measure.say("GET of a subscription …")
    wrk(bench, process.api_url, key, paths, 1, CONNECTIONS)
    perf, spent = bench.perf(process.pid, "api"), Spent(bench, process.pid)
    found = wrk(bench, process.api_url, key, paths, seconds, CONNECTIONS)
    own, postgres, _ = spent.each(found["requests"])
    bench.perf_report(perf, "api")
    bench.rows["api"] = {"what": f"hookcast api, GET of a subscription, {CONNECTIONS} connections", "steady": True,
                         "rate": found["requests"] / found["seconds"], "own": own, "postgres": postgres,
                         "p50": found["p50"], "p99": found["p99"], "rss": measure.status_bytes(process.pid, "VmHWM")}
    bench.goal("subscriptions read a second of hookcast's processor time", f"{1e6 / own:,.0f} (with PostgreSQL's "
               f"{1e6 / (own + postgres):,.0f})", ">= 20,000", 1e6 / own >= 20000)


def post_events(bench, installation, process, key, seconds):
    measure.say(f"POST of events, {EVENTS_A_REQUEST} a request …")
    event = {"event_type": "message.new", "payload": {"number": 1, "text": "x" * 900}}
    body = json.dumps([event] * EVENTS_A_REQUEST, separators=(",", ":"))
    path = [f"{PATH}/events"]
    wrk(bench, process.api_url, key, path, 1, 4, body)
    spent, before = Spent(bench, process.pid), in_kafka(installation)
    perf = bench.perf(process.pid, "api_events")
    found = wrk(bench, process.api_url, key, path, seconds, 4, body)
    events = found["requests"] * EVENTS_A_REQUEST
    own, postgres, kafka = spent.each(events)
    bench.perf_report(perf, "api_events")
    there = in_kafka(installation) - before
    if there < events:
        raise measure.Failed(f"{events:,} events were accepted, and Kafka has {there:,} of them")
    rate = events / found["seconds"]
    bench.rows["api_events"] = {"what": f"hookcast api, POST of events, {EVENTS_A_REQUEST} a request", "steady": True,
                                "rate": rate, "own": own, "postgres": postgres, "kafka": kafka, "p50": found["p50"],
                                "p99": found["p99"], "rss": measure.status_bytes(process.pid, "VmHWM")}
    bench.goal("events posted a second", f"{rate:,.0f}", ">= 10,000", rate >= 10000)


def in_kafka(installation):
    """How many records the topic has."""
    return sum(end for _, end in installation.kafka.watermarks(installation.topic("message.new")).values())


# The log.


shown = [""]


def progress(what, share):
    """A line that is written over, where somebody sees it."""
    text = f"{what}: {share * 100:.0f} %" if share < 1 else ""
    if sys.stderr.isatty() and text != shown[0]:
        shown[0] = text
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)


def insert(installation, statements, rows, what, **values):
    """Runs the statements for rows 1 … `rows`, a piece at a time."""
    piece = rows // 50
    with installation.db.connect(autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for first in range(1, rows + 1, piece):
            for statement in statements:
                connection.execute(statement, {"first": first, "last": first + piece - 1, "of": rows, **values})
            progress(what, (first + piece - 1) / rows)


def await_counts(bench, installation, dispatch, begin, end):
    """Until dispatch has counted the minutes from begin to end, and what is made of them."""
    def counted():
        if not dispatch.running():
            raise measure.Failed("hookcast ended:\n" + dispatch.log_tail())
        until = installation.db.value("SELECT extract(epoch FROM min(until))::float8 FROM log_rollup_state WHERE level = 0")
        progress("counting the log", min(max(((until or begin) - begin) / (end - begin), 0), 1))
        return until is not None and until > end and installation.db.value(
            "SELECT every(a.until = b.until) FROM log_rollup_state a JOIN log_rollup_state b ON a.level = b.level + 2 "
            "WHERE a.level > 2")
    servers.wait_until(counted, bench.options.deadline * 3, 0.5, "the log's minutes are counted")


def logs(bench):
    rows, rounds = (1000000, 15) if bench.options.quick else (10000000, 300)
    installation = bench.installation("logs")
    try:
        installation.db.execute(DAYS)
        end, began = time.time() - 120, time.time()
        measure.say(f"{rows:,} rows of 29 days …")
        insert(installation, (EVENTS, ROWS), rows, "rows", end=end, types=list(TYPES), versions=subscribe_fifty(installation))
        installation.db.execute("VACUUM ANALYZE events, delivery_logs")
        dispatch = installation.dispatch(RETENTION="60d")
        filled = time.time()
        await_counts(bench, installation, dispatch, end - 29 * 86400, end)
        measure.say(f"filled in {filled - began:.0f} s, counted in {time.time() - filled:.0f} s")
        installation.db.execute("VACUUM ANALYZE log_rollups, log_totals")
        pages(bench, installation, rows, rounds)
    finally:
        installation.close()
        bench.drop("logs")
    listing(bench)


def subscribe_fifty(installation):
    """Those of w1 that the rows name; returns their render versions."""
    installation.db.execute("INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, signature_style) "
                            "SELECT 'w1', ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, "
                            "'https://hook.example.com/' || n, '{*}', 'none' FROM generate_series(0, 49) n")
    return installation.db.value("SELECT array_agg(render_version ORDER BY id) FROM subscriptions")


def filters(installation):
    """By name: a path and its query, of what a listing can be filtered by."""
    one = installation.db.row("SELECT event_id, (SELECT batch_id::text FROM delivery_logs WHERE workspace_id = 'w1' "
                              "AND batch_id IS NOT NULL LIMIT 1) AS batch FROM delivery_logs WHERE workspace_id = 'w1' "
                              "AND batch_id IS NULL LIMIT 1")
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 20 * 86400))
    later = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 9 * 86400))
    queries = ["", "event_type=call.ended", "delivery_status=success", "delivery_status=failed",
               "delivery_status=cancelled", "status_code=200", "status_code=204", "status_code=418", "status_code=5xx",
               "error_code=timeout", "error_code=dns", "given_up=true", "given_up=false", "test=true", "test=false",
               f"start_date={day}T03:04:05Z", f"end_date={later}", f"start_date={day}T03:04:05Z&end_date={later}T06:07:08Z",
               f"event_id={one['event_id']}", f"batch_id={one['batch']}"]
    found = {query or "no filter": (f"{PATH}/logs", query) for query in queries}
    found["of a subscription"] = (f"{PATH}/logs/00000000-0000-4000-8000-000000000007", "")
    return found


def pages(bench, installation, rows, rounds):
    """Each filter in each order, in turns, so that what else the machine does falls upon all alike. Before that some turns
    which don't count, in which each of the process's connections plans its statements."""
    process = installation.api_process
    kept = http.client.HTTPConnection("127.0.0.1", process.api_port, timeout=60)
    combinations = [(name, order) for name in filters(installation) for order in ORDERS]
    queries, chance = filters(installation), random.Random(1)
    times, totals = {one: [] for one in combinations}, {}
    cpu = Cpu(bench, process.pid)
    try:
        for turn in range(-WARM_TURNS, rounds):
            if turn == 0:
                first = time.time()
            for name, order in combinations:
                path, query = queries[name]
                offset = chance.choice((0, 0, 50, 1000))
                began = time.perf_counter()
                kept.request("GET", f"{path}?limit=50&offset={offset}&order_by={order}&{query}",
                             headers={"X-API-KEY": installation.key()})
                answer = kept.getresponse()
                body = answer.read()
                took = (time.perf_counter() - began) * 1000
                if answer.status != 200:
                    raise measure.Failed(f"{name}, {order}: {answer.status} {body[:200]}")
                if turn < 0:
                    totals[name, order] = json.loads(body)["total"]
                else:
                    times[name, order].append(took)
            progress("pages", (turn + 1) / rounds)
        last = time.time()
        time.sleep(0.3)
    finally:
        cpu.close()
        kept.close()
    report_pages(bench, process, rows, times, totals, [cpu.between(first, last, column) for column in (1, 2)], last - first)


def at_share(sorted_values, share):
    """The nearest rank."""
    return sorted_values[max(math.ceil(len(sorted_values) * share) - 1, 0)]


def report_pages(bench, process, rows, times, totals, spent, seconds):
    found = sorted(((at_share(sorted(one), 0.99), at_share(sorted(one), 0.5), key) for key, one in times.items()), reverse=True)
    whole = sorted(value for one in times.values() for value in one)
    good = sum(p99 <= PAGE_GOAL_MS for p99, _, _ in found)
    typical = sum(p50 <= PAGE_GOAL_MS for _, p50, _ in found)
    bench.rows["logs"] = {"what": f"hookcast api, a page of 50 among {rows:,} log rows", "steady": True,
                          "rate": len(whole) / seconds, "own": spent[0] * 1e6 / len(whole),
                          "postgres": spent[1] * 1e6 / len(whole), "p50": at_share(whole, 0.5), "p99": at_share(whole, 0.99),
                          "rss": measure.status_bytes(process.pid, "VmHWM")}
    bench.goal(f"filters and orders of the log with p99 <= {PAGE_GOAL_MS} ms, of {len(found)}",
               f"{good} (p50: {typical})", f">= {len(found)}", good == len(found))
    bench.notes.append("logs, the slowest pages, of " + f"{len(whole) // len(found)} each:\n" + "\n".join(
        f"  {key[0]}, {key[1]}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {totals[key]:,} rows fit" for p99, p50, key in found[:8]))


class Watch:
    """A process's memory, and how long transactions of a name last, while something runs."""

    def __init__(self, installation, pid, name):
        self.pid, self.name = pid, name
        self.before = self.most = measure.status_bytes(pid, "VmRSS")
        self.longest = 0
        self.ended = threading.Event()
        self.connection = installation.db.connect(autocommit=True)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ended.wait(0.02):
            self.most = max(self.most, measure.status_bytes(self.pid, "VmRSS"))
            age = self.connection.execute(
                "SELECT max(extract(epoch FROM clock_timestamp() - xact_start))::float8 AS age FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE %s AND state <> 'idle'",
                (self.name,)).fetchone()
            self.longest = max(self.longest, age["age"] or 0)

    def close(self):
        self.ended.set()
        self.thread.join()
        self.connection.close()


def long_log(bench, name):
    """An installation whose workspace w1 has so many rows with their events, and how many."""
    rows = 100000 if bench.options.quick else 1000000
    installation = bench.installation(name)
    subscription = installation.subscribe("https://hook.example.com/", ["message.new"])["id"]
    version = installation.db.value("SELECT render_version FROM subscriptions")
    installation.db.execute(DAYS)
    end = time.time() - 120
    measure.say(f"{rows:,} rows with their events …")
    insert(installation, (LONG_EVENTS, LONG_ROWS), rows, "rows", end=end, subscription=subscription, version=version)
    installation.db.execute("VACUUM ANALYZE events, delivery_logs")
    dispatch = installation.dispatch()
    await_counts(bench, installation, dispatch, end - 3000, end)
    dispatch.stop()
    return installation, rows


def listing(bench):
    """All of it, without a limit."""
    installation, rows = long_log(bench, "listing")
    try:
        list_all(bench, installation, rows)
    finally:
        installation.close()
        bench.drop("listing")


def list_all(bench, installation, rows):
    process = installation.api_process
    installation.api.get(f"{PATH}/logs?limit=1000")
    watch, cpu = Watch(installation, process.pid, "hookcast api"), Spent(bench, process.pid)
    perf = bench.perf(process.pid, "listing")
    kept = http.client.HTTPConnection("127.0.0.1", process.api_port, timeout=60)
    began = time.perf_counter()
    kept.request("GET", f"{PATH}/logs?limit=0", headers={"X-API-KEY": installation.key()})
    answer = kept.getresponse()
    length = there = 0
    rest = b""
    while piece := answer.read1(1 << 20):
        length += len(piece)
        there += (rest + piece).count(MARK)
        rest = (rest + piece)[1 - len(MARK):]
        progress("an unlimited listing", there / rows)
    took = time.perf_counter() - began
    own, postgres, _ = cpu.each(rows)
    bench.perf_report(perf, "listing")
    watch.close()
    kept.close()
    if there != rows or not rest.endswith(b'"next_cursor":null}'):
        raise measure.Failed(f"the listing has {there:,} of {rows:,} rows")
    speed, grown = length / took / 1e6, watch.most - watch.before
    bench.rows["listing"] = {"what": f"hookcast api, a listing of {rows:,} rows of {length // rows:,} bytes", "steady": True,
                             "rate": rows / took, "own": own, "postgres": postgres, "rss": watch.most}
    bench.goal("an unlimited listing", f"{speed:.0f} MB/s, {grown / 1048576:+.1f} MiB of memory, longest transaction "
               f"{watch.longest * 1000:.0f} ms", ">= 50 MB/s, <= +16 MiB, <= 1,000 ms",
               speed >= 50 and grown <= 16 << 20 and watch.longest <= 1)


def export(bench):
    """The same, as a job and a download."""
    installation, rows = long_log(bench, "export")
    try:
        export_all(bench, installation, rows)
    finally:
        installation.close()
        bench.drop("export")


def export_all(bench, installation, rows):
    process = installation.api_process
    installation.api.get(f"{PATH}/logs?limit=1000")
    watch, cpu = Watch(installation, process.pid, "hookcast%"), Spent(bench, process.pid)
    perf = bench.perf(process.pid, "export")
    began = time.perf_counter()
    answer = installation.api.post(f"{PATH}/logs/export", {"email": "bench@example.com", "format": "ndjson"})
    if answer.status != 202:
        raise measure.Failed(f"the export was refused: {answer}")
    job = f"{PATH}/jobs/{answer.json['job_id']}"
    done = {}

    def ended():
        done.update(installation.api.get(job).json)
        progress("an export", (done["done"] or 0) / rows)
        return done["state"] not in ("waiting", "counting", "running")
    servers.wait_until(ended, bench.options.deadline, 0.2, "the export is made")
    took = time.perf_counter() - began
    own, postgres, _ = cpu.each(rows)
    bench.perf_report(perf, "export")
    if not done.get("url"):
        raise measure.Failed(f"the export failed: {done}")
    fetched = download(process, done["url"])
    watch.close()
    if fetched["rows"] != rows or fetched["bytes"] != done["size"]:
        raise measure.Failed(f"the export has {fetched} of {rows:,} rows, {done['size']:,} bytes")
    grown = watch.most - watch.before
    bench.rows["export"] = {"what": f"hookcast api, an export of {rows:,} rows of {fetched['plain'] // rows:,} bytes",
                            "steady": True, "rate": rows / took, "own": own, "postgres": postgres, "rss": watch.most}
    bench.goal("an export", f"{fetched['plain'] / took / 1e6:.0f} MB/s in, {fetched['bytes'] / took / 1e6:.1f} MB/s out, "
               f"download {fetched['bytes'] / fetched['seconds'] / 1e6:.0f} MB/s; {grown / 1048576:+.1f} MiB of memory, "
               f"longest transaction {watch.longest * 1000:.0f} ms", "<= +32 MiB, <= 1,000 ms",
               grown <= 32 << 20 and watch.longest <= 1)


def download(process, link):
    """The link names the public address; what it leads to is asked of the process. {bytes, seconds, plain, rows}."""
    parts = urllib.parse.urlsplit(link)
    kept = http.client.HTTPConnection("127.0.0.1", process.api_port, timeout=60)
    began = time.perf_counter()
    kept.request("GET", f"{parts.path}?{parts.query}")
    answer = kept.getresponse()
    if answer.status != 200:
        raise measure.Failed(f"the link answers {answer.status}")
    path = os.path.join(os.path.dirname(process.log_path), "export.gz")
    length = plain = rows = 0
    with open(path, "wb") as file:
        while piece := answer.read(1 << 20):
            length += len(piece)
            file.write(piece)
    seconds = time.perf_counter() - began
    kept.close()
    # Its members one by one, as gzip does.
    with open(path, "rb") as file:
        inflate = zlib.decompressobj(31)
        while piece := file.read(1 << 20):
            while piece:
                text = inflate.decompress(piece)
                plain += len(text)
                rows += text.count(b"\n")
                piece = inflate.unused_data
                if inflate.eof:
                    inflate = zlib.decompressobj(31)
    os.unlink(path)
    return {"bytes": length, "seconds": seconds, "plain": plain, "rows": rows}
