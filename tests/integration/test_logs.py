"""The delivery log over REST: every filter, order and page against a plain evaluation, while counts are there and while they
are not; bodies byte for byte; long listings."""
import http.client
import json
import math
import random
import threading
import time
import urllib.parse
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from servers import wait_until

LOGS = "/api/v1/workspaces/{}/logs"
TYPES = ["message.new", "call.ended", "contact.new", "Zulu.first", "a_b"]
ORDERS = ["created_at", "event_type", "delivery_status", "status_code"]
COLUMNS = ("created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, webhook_url, delivery_status, "
           "status_code, error_code, attempt, duration_ms, given_up, batch_id, test")


def make_days(db, days):
    """Partitions of the log for days that are past."""
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    for back in range(2, days + 1):
        day = today - timedelta(days=back)
        db.execute(f"CREATE TABLE IF NOT EXISTS delivery_logs_{day:%Y%m%d} PARTITION OF delivery_logs "
                   f"FOR VALUES FROM ('{day.isoformat()}') TO ('{(day + timedelta(days=1)).isoformat()}')")


def random_id(at):
    return uuid.UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (random.getrandbits(12) << 64) | (2 << 62) |
                     random.getrandbits(62))


def random_row(rng, at, workspaces, subscriptions):
    status = rng.choices(["success", "failed", "cancelled"], [80, 18, 2])[0]
    code = {"success": rng.choice([200, 200, 200, 202, 204]), "failed": rng.choice([None, 500, 503, 404, 1000 - 577]),
            "cancelled": None}[status]
    batch = uuid.UUID(int=rng.getrandbits(128)) if rng.random() < 0.05 else None
    workspace = rng.choices(workspaces, [6, 3, 1])[0]
    return (at, random_id(at), workspace, uuid.uuid4(), str(batch) if batch else f"evt_{rng.randrange(3000)}",
            rng.choice(subscriptions[workspace]), rng.choices(TYPES, [50, 30, 15, 4, 1])[0], "https://example.com/", status, code,
            None if status == "success" else "cancelled" if status == "cancelled" else "http_status" if code else "timeout",
            rng.choice([1, 1, 1, 2, 3]), rng.randrange(30000) if status != "cancelled" else None,
            status == "failed" and rng.random() < 0.2, batch, rng.random() < 0.02)


def fill(db, rows):
    with db.connect() as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY delivery_logs ({COLUMNS}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def make_rows(rng, count, days, workspaces, subscriptions):
    """Bursts of rows that have one moment, as a flush writes them; some with microseconds; some minutes are full. Most are
    of the last days; on some of the first ones a subscription has none."""
    now = datetime.now(timezone.utc)
    rows = []
    while len(rows) < count:
        at = now - timedelta(seconds=rng.random() ** 5 * 86400 * days)
        at = at.replace(microsecond=rng.randrange(10 ** 6) if rng.random() < 0.3 else rng.randrange(1000) * 1000)
        rows += [random_row(rng, at, workspaces, subscriptions) for _ in range(rng.choice([1, 1, 1, 2, 30, 400]))]
    rows.sort(key=lambda row: row[0])
    return rows


class Plain:
    """The log, evaluated row by row."""

    def __init__(self, rows):
        names = COLUMNS.split(", ")
        self.rows = [dict(zip(names, row)) for row in rows]

    @staticmethod
    def fits(row, query):
        at = row["created_at"]
        tests = {
            "event_type": lambda v: row["event_type"] == v, "delivery_status": lambda v: row["delivery_status"] == v,
            "event_id": lambda v: row["event_id"] == v, "error_code": lambda v: row["error_code"] == v,
            "batch_id": lambda v: str(row["batch_id"]) == v, "given_up": lambda v: row["given_up"] == (v == "true"),
            "test": lambda v: row["test"] == (v == "true"),
            "status_code": lambda v: row["status_code"] is not None and
            (str(row["status_code"]) == v if v.isdigit() else row["status_code"] // 100 == int(v[0])),
            "start_date": lambda v: at >= Plain.moment(v), "end_date": lambda v: at <= Plain.moment(v, True),
        }
        return all(tests[name](value) for name, value in query.items() if name in tests)

    @staticmethod
    def moment(text, end=False):
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
        return at + timedelta(days=1) - timedelta(microseconds=1) if end and len(text) == 10 else at

    def answer(self, workspace, subscription, query):
        found = [row for row in self.rows if row["workspace_id"] == workspace and
                 (subscription is None or row["subscription_id"] == subscription) and self.fits(row, query)]
        field, way = query.get("order_by", "created_at:desc").split(":")
        found.sort(key=lambda row: (row["created_at"], row["id"].bytes), reverse=field != "created_at" or way == "desc")
        if field != "created_at":
            some = [row for row in found if row[field] is not None]
            some.sort(key=lambda row: row[field], reverse=way == "desc")
            if way == "desc":  # a stable sort keeps the newest first, reversed or not
                some.sort(key=lambda row: row[field], reverse=True)
            found = some + [row for row in found if row[field] is None]
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 0))
        return len(found), [str(row["id"]) for row in found[offset:offset + limit if limit else None]]


def random_query(rng, plain):
    query = {}
    sample = rng.choice(plain.rows)
    for name in ("event_type", "delivery_status", "error_code"):
        if rng.random() < 0.2 and sample[name]:
            query[name] = sample[name]
    if rng.random() < 0.2:
        query["status_code"] = rng.choice(["200", "404", "423", "5xx", "2xx", "418"])
    if rng.random() < 0.1:
        query["given_up"] = rng.choice(["true", "false"])
    if rng.random() < 0.15:
        query["test"] = rng.choice(["true", "false"])
    if rng.random() < 0.08:
        query["event_id"] = sample["event_id"]
    if rng.random() < 0.05 and sample["batch_id"]:
        query["batch_id"] = str(sample["batch_id"])
    for name in ("start_date", "end_date"):
        at = rng.choice(plain.rows)["created_at"]
        if rng.random() < 0.25:
            query[name] = rng.choice([at.strftime("%Y-%m-%d"), at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.isoformat(),
                                      at.replace(tzinfo=None).isoformat(), at.strftime("%Y-%m-%dT%H:%M:00")])
    if rng.random() < 0.8:
        query["order_by"] = rng.choice(ORDERS) + rng.choice([":asc", ":desc"])
    query["limit"] = str(rng.choice([1, 3, 50, 50, 700]))
    if rng.random() < 0.6:
        query["offset"] = str(rng.choice([1, 10, 49, 500, 3000, 20000, 100000]))
    if rng.random() < 0.03:
        query.pop("limit")
    return query


def get(api, path, query):
    answer = api.get(path + "?" + urllib.parse.urlencode(query))
    assert answer.status == 200, (query, answer)
    return answer.json


def check(installation, plain, workspace, subscriptions, rng, count):
    api = installation.api_of(workspace)
    for _ in range(count):
        query = random_query(rng, plain)
        subscription = rng.choice([None, None, rng.choice(subscriptions[workspace])])
        path = LOGS.format(workspace) + (f"/{subscription}" if subscription else "")
        total, ids = plain.answer(workspace, subscription, query)
        got = get(api, path, query)
        assert got["total"] == total, (path, query)
        assert [row["id"] for row in got["data"]] == ids, (path, query)


def walk(api, path, query, most=10 ** 9):
    """All rows by the cursor, page by page."""
    rows, cursor = [], None
    while len(rows) < most:
        page = get(api, path, {**query, **({"cursor": cursor} if cursor else {})})
        rows += page["data"]
        cursor = page["next_cursor"]
        if not cursor:
            break
    return rows


@pytest.fixture
def filled(installation):
    """60,000 rows of 34 days, so of two months at least, and three workspaces."""
    rng = random.Random(20)
    workspaces = ["w1", "w2", "w3"]
    subscriptions = {name: [uuid.UUID(installation.insert_subscription("https://example.com/", workspace=name))
                            for _ in range(4)] for name in workspaces}
    make_days(installation.db, 34)
    rows = make_rows(rng, 60000, 33.9, workspaces, subscriptions)
    fill(installation.db, rows)
    return installation, Plain(rows), subscriptions, rng


def rolled_up(installation):
    """Everything that is older than two minutes is counted."""
    installation.db.wait("SELECT count(*) = 5 AND min(until) FILTER (WHERE level = 0) > now() - interval '2 minutes' AND "
                         "min(until) FILTER (WHERE level IN (1, 3)) >= date_trunc('hour', now() - interval '2 minutes') "
                         "AND min(until) FILTER (WHERE level IN (2, 4)) >= date_trunc('day', now() - interval '2 minutes', 'UTC') "
                         "FROM log_rollup_state", deadline_s=90)


def test_every_filter_order_and_page(filled):
    installation, plain, subscriptions, rng = filled
    check(installation, plain, "w1", subscriptions, rng, 40)  # nothing is counted yet
    installation.dispatch(RETENTION="60d")
    rolled_up(installation)
    assert installation.db.value("SELECT sum(n) FROM log_rollups WHERE level = 2 AND subscription_id IS NULL") > 10000
    for workspace, count in (("w1", 250), ("w2", 80), ("w3", 60)):
        check(installation, plain, workspace, subscriptions, rng, count)
    # Every order alone, from both ends and out of the middle.
    for order in ORDERS:
        for way in ("asc", "desc"):
            for offset in (0, 17000, 35000):
                query = {"order_by": f"{order}:{way}", "limit": "50", "offset": str(offset)}
                total, ids = plain.answer("w1", None, query)
                got = get(installation.api, LOGS.format("w1"), query)
                assert (got["total"], [row["id"] for row in got["data"]]) == (total, ids), query
    # Cursors give the same as one long listing, also where one ends between rows of the same moment.
    for order in ORDERS:
        for way in ("asc", "desc"):
            query = {"order_by": f"{order}:{way}", "limit": "613", "event_type": "contact.new"}
            _, ids = plain.answer("w2", None, {**query, "limit": "0"})
            assert [row["id"] for row in walk(installation.api_of("w2"), LOGS.format("w2"), query)] == ids, query
    # Also of the few rows that an index finds at once.
    event = next(row["event_id"] for row in plain.rows if row["workspace_id"] == "w3" and not row["batch_id"])
    for order in ORDERS:
        for way in ("asc", "desc"):
            for some in ({"error_code": "timeout"}, {"status_code": "404"}, {"given_up": "true"}, {"test": "true"},
                         {"delivery_status": "cancelled"}, {"event_id": event}):
                query = {"order_by": f"{order}:{way}", "limit": "7", **some}
                total, ids = plain.answer("w3", None, {**query, "limit": "0"})
                assert 0 < total <= 1000
                assert [row["id"] for row in walk(installation.api_of("w3"), LOGS.format("w3"), query)] == ids, query


def test_totals_when_days_go_and_when_all_is_counted_anew(filled):
    """The first ten days go, as they do when their time is over; running totals go back to before."""
    installation, plain, subscriptions, rng = filled
    dispatch = installation.dispatch(RETENTION="60d")
    rolled_up(installation)
    first = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=34 - 10)
    first -= timedelta(days=1 if first.day == 1 else 0)  # in the midst of a month, whose totals begin before
    for table in ("delivery_logs", "log_rollups"):
        for row in installation.db.rows(f"SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = '{table}'::regclass"):
            if row["name"] < f"{table}_{first:%Y%m%d}":
                installation.db.execute(f"DROP TABLE {row['name']}")
    gone = [row for row in plain.rows if row["created_at"] < first]
    plain.rows = plain.rows[len(gone):]
    assert gone and installation.db.count("delivery_logs") == len(plain.rows)
    assert installation.db.value("SELECT count(*) FROM log_totals WHERE begins < %s AND n > 0", first) > 0
    for workspace in subscriptions:
        check(installation, plain, workspace, subscriptions, rng, 40)
    # One more goes from the log, which waits for a reader, and its counts not yet; of the next, the counts are gone already.
    with installation.db.connect() as reader, installation.db.connect(autocommit=True) as taker:
        reader.execute("LOCK TABLE ONLY delivery_logs IN ACCESS SHARE MODE")
        detach = threading.Thread(target=taker.execute, args=(
            f"ALTER TABLE delivery_logs DETACH PARTITION delivery_logs_{first:%Y%m%d} CONCURRENTLY",))
        detach.start()
        installation.db.wait("SELECT count(*) = 1 FROM pg_inherits WHERE inhdetachpending")
        first += timedelta(days=1)
        gone = [row for row in plain.rows if row["created_at"] < first]
        plain.rows = plain.rows[len(gone):]
        assert gone and installation.db.count("delivery_logs") == len(plain.rows)
        for workspace in subscriptions:
            check(installation, plain, workspace, subscriptions, rng, 20)
        reader.commit()
        detach.join()
    for back in (1, 0):
        installation.db.execute(f"DROP TABLE log_rollups_{first - timedelta(days=back):%Y%m%d}")
        for workspace in subscriptions:
            check(installation, plain, workspace, subscriptions, rng, 20)
    # As docs/logs.md says it, but without the totals: those that are made anew replace them.
    installation.db.execute("BEGIN; LOCK log_rollup_state; TRUNCATE log_rollups, log_rollup_state; COMMIT")
    check(installation, plain, "w1", subscriptions, rng, 10)
    rolled_up(installation)
    assert dispatch.running()
    for workspace in subscriptions:
        check(installation, plain, workspace, subscriptions, rng, 40)


def test_two_processes_count_each_row_once_and_one_may_be_killed(filled):
    installation, plain, subscriptions, _ = filled
    first, second = installation.dispatch(RETENTION="60d"), installation.dispatch(RETENTION="60d")
    installation.db.wait("SELECT count(*) > 100 FROM log_rollups")
    first.kill()
    second.kill()
    installation.dispatch(RETENTION="60d")
    installation.dispatch(RETENTION="60d")
    rolled_up(installation)
    until = installation.db.value("SELECT until FROM log_rollup_state WHERE level = 2")
    counted = installation.db.rows("SELECT workspace_id, subscription_id, sum(n)::int AS n FROM log_rollups "
                                   "WHERE level = 2 GROUP BY 1, 2")
    wanted = {}
    for row in plain.rows:
        if row["created_at"] < until:
            for key in ((row["workspace_id"], None), (row["workspace_id"], row["subscription_id"])):
                wanted[key] = wanted.get(key, 0) + 1
    assert {(row["workspace_id"], row["subscription_id"]): row["n"] for row in counted} == wanted
    assert len(wanted) == 3 + sum(len(some) for some in subscriptions.values())


def test_totals_while_rows_are_written_over_the_end_of_a_minute(installation):
    """A writer with open transactions; a total lies between what was there before and after; none is lost at the end."""
    subscription = installation.insert_subscription("https://example.com/")
    installation.dispatch()
    api, stop, failures = installation.api, threading.Event(), []
    path = LOGS.format("w1")

    def write():
        with installation.db.connect() as connection:
            while not stop.is_set():
                connection.execute(
                    f"INSERT INTO delivery_logs ({COLUMNS}) SELECT date_trunc('milliseconds', clock_timestamp()), "
                    "gen_random_uuid(), 'w1', gen_random_uuid(), 'e', %s, 'message.new', '', 'success', 200, NULL, 1, 5, false, "
                    "NULL, false FROM generate_series(1, 20)", (subscription,))
                time.sleep(random.random() * 0.3)
                connection.commit()

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        deadline = time.monotonic() + 140
        while time.monotonic() < deadline:
            before = installation.db.count("delivery_logs")
            total = get(api, path, {"limit": "1", "delivery_status": "success"})["total"]
            after = installation.db.count("delivery_logs")
            if not before <= total <= after:
                failures.append((before, total, after))
            if installation.db.value("SELECT sum(n) FROM log_rollups WHERE level = 0 AND subscription_id IS NULL"):
                break
            time.sleep(0.2)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert not failures
    assert installation.db.value("SELECT sum(n) FROM log_rollups WHERE level = 0 AND subscription_id IS NULL"), "none was counted"
    assert get(api, path, {"limit": "1"})["total"] == installation.db.count("delivery_logs")
    assert installation.db.value(
        "SELECT sum(n) = (SELECT count(*) FROM delivery_logs WHERE created_at < (SELECT until FROM log_rollup_state "
        "WHERE level = 0)) FROM log_rollups WHERE level = 0 AND subscription_id IS NULL")


# Rows.

AWKWARD = [
    {"n": 1}, {"big": 12345678901234567890, "small": 0.1, "exponent": 1e300}, {"2": "b", "1": "a", "é": "\u2028\U0001f600"},
    "text with \"quotes\" and \\ and \x07", [], None, {"nested": {"a": [1, [2, {"b": None}]]}, "empty": ""},
]
RAW = ['{"d": 1.10, "d": 2.50, "e": "\\u00e9\\/", "f": 1E5, "lone": "\\ud800"}', '{"10": 1, "9": 2, "x": -0}', " [ 1 , 2 ] "]


def raw_body(text, at):
    """The JSON text that begins at `at`."""
    _, end = json.JSONDecoder().raw_decode(text[at:])
    return text[at:at + end]


def bodies(answer):
    """{(row id): delivered_event_obj as its bytes} out of the answer's own bytes."""
    text, found, at = answer.body.decode(), {}, 0
    for row in answer.json["data"]:
        at = text.index('"delivered_event_obj":', text.index(f'"id":"{row["id"]}"', at)) + len('"delivered_event_obj":')
        found[row["id"]] = raw_body(text, at).encode()
    return found


def test_R1_bodies_are_shown_byte_for_byte(installation, receiver):
    template = json.dumps({"who": "{{workspace_name}}", "by": "{{subscription_updated_by}}", "p": "{{payload}}", "at": "{{sent_at}}"})
    made = {}
    for payload_format in ("seanotify", "standard", "cloudevents", "seleqt", "supersend", "kakiyo", "raw", None):
        for style in ("standard", "hex", "both", "none"):
            own = {"payload_template": template} if payload_format is None else {"payload_format": payload_format}
            for mode in ("immediate", "batched"):
                batch = {"batch_max_events": 4, "batch_max_wait_seconds": 1} if mode == "batched" else {}
                path = f"/{payload_format}-{style}-{mode}"
                made[path] = installation.subscribe(receiver.url(path), ["message.new"], delivery_mode=mode,
                                                    signature_style=style, **own, **batch)
    topic = installation.topic("message.new")
    installation.kafka.create_topic(topic, 2)
    installation.serve()
    installation.wait_in_force()
    records = [{"topic": topic, "key": "w1", "value": installation.event(payload=payload)} for payload in AWKWARD]
    records += [{"topic": topic, "key": "w1", "value": ('{"id": 12345678901234567%d, "event_type": "message.new", "workspace_name":'
                                                        ' "caf\\u00e9", "payload": %s}' % (n, raw)).encode()}
                for n, raw in enumerate(RAW)]
    installation.kafka.produce(records)
    count = len(records)
    installation.db.wait(f"SELECT count(*) >= {count * 32} FROM delivery_logs WHERE batch_id IS NULL")
    installation.db.wait(f"SELECT sum(cardinality(event_keys)) >= {count * 32} FROM batches", deadline_s=60)
    wait_until(lambda: installation.db.value("SELECT NOT EXISTS (SELECT FROM schedule)"), 60, what="every batch was sent")

    def check_all():
        received = {}
        for request in receiver.requests():
            received.setdefault(request.path, []).append(request)
        rows = 0
        for path, subscription in made.items():
            answer = installation.api.get(LOGS.format("w1") + f"/{subscription['id']}?limit=100")
            assert answer.status == 200
            shown = bodies(answer)
            sent = sorted(request.body for request in received[path])
            assert sorted(shown.values()) == sent, path
            rows += len(shown)
        return rows

    assert check_all() >= count * 32 + 64
    # Nothing that changes afterwards changes what was sent.
    installation.db.execute("INSERT INTO workspaces (id, name) VALUES ('w1', 'renamed') ON CONFLICT (id) DO UPDATE SET name = 'renamed'")
    for path, subscription in list(made.items())[::7]:
        installation.change(subscription, payload_format="raw", signature_style="hex")
    check_all()


def test_what_was_not_sent_or_is_gone_has_no_body(installation, receiver):
    subscription = installation.subscribe(receiver.url("/hook"))["id"]
    installation.serve()
    installation.wait_in_force()
    installation.produce(installation.events(1))
    installation.db.wait_count(1, "delivery_logs")
    row = get(installation.api, LOGS.format("w1"), {})["data"][0]
    assert row["delivered_event_obj"]["value"]["payload"] == {"number": 1}
    assert list(row)[:11] == ["id", "workspace_id", "event_id", "subscription_id", "event_type", "webhook_url", "delivery_status",
                              "status_code", "response_body", "delivered_event_obj", "created_at"]
    assert row["workspace_id"] == "w1" and row["event_id"] == "evt_1" and row["subscription_id"] == subscription
    assert row["webhook_url"] == receiver.url("/hook") and row["delivery_status"] == "success" and row["status_code"] == "200"
    assert datetime.strptime(row["created_at"], "%Y-%m-%dT%H:%M:%S.%f") and len(row["created_at"]) == 26
    assert row["attempt"] == 1 and row["given_up"] is False and row["sent_at"].endswith("Z")

    one = installation.api.get(LOGS.format("w1") + "/" + row["id"])
    assert one.status == 200 and one.json == row
    installation.db.execute("DELETE FROM events")
    assert get(installation.api, LOGS.format("w1") + "/" + subscription, {})["data"] == [{**row, "delivered_event_obj": None}]
    installation.unsubscribe(subscription)
    assert get(installation.api, LOGS.format("w1") + "/" + subscription, {})["total"] == 1, "its log outlives it"
    installation.db.execute("UPDATE delivery_logs SET sent_at = NULL, status_code = NULL, delivery_status = 'cancelled'")
    row = get(installation.api, LOGS.format("w1"), {"delivery_status": "cancelled"})["data"][0]
    assert row["status_code"] is None and row["delivered_event_obj"] is None and row["sent_at"] is None


# Requests.

@pytest.mark.parametrize("query, field", [
    ("delivery_status=ok", "delivery_status"), ("status_code=6", "status_code"), ("status_code=x00", "status_code"),
    ("status_code=600", "status_code"), ("event_id=" + "e" * 201, "event_id"),
    ("start_date=yesterday", "start_date"), ("end_date=2024-13-01", "end_date"), ("order_by=created_at", "order_by"),
    ("order_by=id:asc", "order_by"), ("order_by=event_type:up", "order_by"), ("limit=-1", "limit"), ("limit=x", "limit"),
    ("offset=1.5", "offset"), ("given_up=1", "given_up"), ("test=maybe", "test"), ("batch_id=1", "batch_id"),
    ("cursor=abc", "cursor"), ("cursor=", "cursor"), ("event_type=", "event_type"), ("error_code=%FF", "error_code"),
    ("event_id=%00", "event_id"), ("colour=blue", "colour"), ("limit=9999999999999999999999", "limit"),
])
def test_what_is_wrong_is_named(database_only, query, field):
    database_only.insert_subscription("https://example.com/")
    answer = database_only.api.get(LOGS.format("w1") + "?" + query)
    assert answer.status == 422 and [error["field"] for error in answer.json["errors"]] == [field], answer


def test_a_cursor_belongs_to_its_order_and_other_workspaces_to_others(database_only):
    subscriptions = {name: [uuid.UUID(database_only.insert_subscription("https://example.com/", workspace=name))]
                     for name in ("w1", "w2", "w3")}
    rows = make_rows(random.Random(3), 300, 0.01, list(subscriptions), subscriptions)
    fill(database_only.db, rows)
    api, path = database_only.api, LOGS.format("w1")
    cursor = get(api, path, {"limit": "2"})["next_cursor"]
    assert api.get(path + f"?limit=2&order_by=status_code:asc&cursor={cursor}").status == 422
    assert api.get(path + f"?limit=2&offset=1&cursor={cursor}").status == 422
    assert get(api, path, {"limit": "2", "cursor": cursor})["data"] == get(api, path, {"limit": "2", "offset": "2"})["data"]
    assert get(api, path, {"limit": str(len(rows))})["next_cursor"] is None

    theirs = next(row for row in rows if row[2] == "w2")
    for there in (LOGS.format("w2"), f"{path}/{theirs[5]}", f"{path}/{theirs[1]}", f"{path}/nothing", f"{path}/{uuid.uuid4()}"):
        assert api.get(there).status == 404, there
    assert {row["workspace_id"] for row in get(api, path, {})["data"]} == {"w1"}
    assert api.get("/notify" + path + "?limit=1").status == 200
    assert api.request("POST", path).status == 405


# Stats.

def plain_stats(rows, unit, start, count):
    """[numbers of each unit], and [durations of each unit]"""
    length = {"minute": 60, "hour": 3600, "day": 86400}[unit]
    steps = [dict.fromkeys(("attempts", "delivered_first_time", "delivered_after_retry", "failed", "given_up", "cancelled"), 0)
             for _ in range(count)]
    durations = [[] for _ in range(count)]
    for row in rows:
        at = int((row["created_at"] - start).total_seconds() // length)
        if not 0 <= at < count or row["test"]:
            continue
        step = steps[at]
        step["attempts"] += row["delivery_status"] != "cancelled"
        step["delivered_first_time"] += row["delivery_status"] == "success" and row["attempt"] == 1
        step["delivered_after_retry"] += row["delivery_status"] == "success" and row["attempt"] > 1
        step["failed"] += row["delivery_status"] == "failed"
        step["cancelled"] += row["delivery_status"] == "cancelled"
        step["given_up"] += row["given_up"]
        if row["duration_ms"] is not None:
            durations[at].append(row["duration_ms"])
    return steps, durations


def check_stats(installation, plain, query, rows):
    got = get(installation.api, "/api/v1/workspaces/w1/stats", query)
    start = datetime.fromisoformat(got["start_date"].replace("Z", "+00:00"))
    steps, durations = plain_stats(rows, got["unit"], start, len(got["data"]))
    for step, wanted, spread in zip(got["data"], steps, durations):
        assert {name: step[name] for name in wanted} == wanted, (query, step)
        spread.sort()
        for name, quantile in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            shown = step["duration_ms_" + name]
            if not spread:
                assert shown is None
            else:
                real = spread[max(0, math.ceil(len(spread) * quantile) - 1)]
                assert real <= shown <= real * 1.2 + 1, (name, real, shown)
        if spread:
            assert abs(step["duration_ms_average"] - sum(spread) / len(spread)) <= 1
    assert {name: got["sum"][name] for name in steps[0]} == {name: sum(step[name] for step in steps) for name in steps[0]}
    return sum(step["attempts"] for step in steps)


def test_stats_are_those_of_the_log_counted_or_not(filled):
    installation, plain, subscriptions, _ = filled
    own = [row for row in plain.rows if row["workspace_id"] == "w1"]
    for counted in (False, True):
        if counted:
            installation.dispatch(RETENTION="60d")
            rolled_up(installation)
        assert check_stats(installation, plain, {"unit": "day"}, own) > 20000
        assert check_stats(installation, plain, {}, own) > 1000
        check_stats(installation, plain, {"unit": "minute"}, own)
        first = min(row["created_at"] for row in own)
        check_stats(installation, plain, {"unit": "hour", "start_date": first.strftime("%Y-%m-%d")}, own)
        check_stats(installation, plain, {"unit": "minute", "start_date": (first + timedelta(hours=9)).isoformat(),
                                          "end_date": (first + timedelta(hours=19)).isoformat()}, own)
        one = subscriptions["w1"][0]
        check_stats(installation, plain, {"unit": "day", "subscription_id": str(one), "event_type": "call.ended"},
                    [row for row in own if row["subscription_id"] == one and row["event_type"] == "call.ended"])
    for query, field in (("unit=week", "unit"), ("start_date=x", "start_date"), ("subscription_id=1", "subscription_id"),
                         ("unit=minute&start_date=2024-01-01", "start_date"), ("event_type=", "event_type"), ("a=b", "a")):
        answer = installation.api.get("/api/v1/workspaces/w1/stats?" + query)
        assert answer.status == 422 and answer.json["errors"][0]["field"] == field, answer
    theirs = str(subscriptions["w2"][0])
    assert get(installation.api, "/api/v1/workspaces/w1/stats", {"subscription_id": theirs})["sum"]["attempts"] == 0
    assert installation.api.get("/api/v1/workspaces/w2/stats").status == 404


# Long listings.

def sanitized(process):
    """A sanitizer keeps freed memory for a while."""
    with open(f"/proc/{process.pid}/maps", encoding="utf-8") as maps:
        return "asan" in maps.read()


def open_listing(api, path):
    host, port = api.url.split("//")[1].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.request("GET", path, headers={"X-API-KEY": api.key})
    return connection, connection.getresponse()


def test_an_unlimited_listing_is_streamed_in_flat_memory(database_only):
    db = database_only.db
    subscription = database_only.insert_subscription("https://example.com/")
    db.execute(f"INSERT INTO delivery_logs ({COLUMNS}, response_body) SELECT now() - n * interval '0.1 milliseconds', "
               "gen_random_uuid(), 'w1', gen_random_uuid(), 'evt_' || n, %s, 'message.new', 'https://example.com/', 'success', 200, "
               "NULL, 1, 5, false, NULL, false, repeat('x', 500) FROM generate_series(1, 200000) n", subscription)
    api, path = database_only.api, LOGS.format("w1")
    get(api, path, {"limit": "50"})
    process = database_only.api_process
    before = process.resident_bytes()
    most, length, found, rest = 0, 0, 0, b""
    connection, answer = open_listing(api, path)
    while chunk := answer.read(1 << 20):
        length += len(chunk)
        rest = rest[-20:] + chunk
        found += rest.count(b'"event_id":"evt_') - rest[:20].count(b'"event_id":"evt_')
        most = max(most, process.resident_bytes())
    connection.close()
    assert length > 150 << 20 and rest.endswith(b'],"next_cursor":null}')
    assert abs(found - 200000) <= 40  # a name may lie over the edge of what was counted
    assert sanitized(process) or most - before < 24 << 20, f"{(most - before) >> 20} MiB more"

    # A client that reads nothing holds nothing but its piece, and one that leaves ends it.
    clients = [open_listing(api, path) for _ in range(8)]
    time.sleep(1)
    assert sanitized(process) or process.resident_bytes() - before < 48 << 20
    assert db.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = "
                    "'hookcast api' AND xact_start < clock_timestamp() - interval '500 milliseconds'") == 0
    assert get(api, path, {"limit": "50"})["total"] == 200000, "others are served meanwhile"
    for connection, answer in clients:
        answer.close()
        connection.close()
    connection, answer = open_listing(api, path + "?order_by=created_at:asc")
    assert answer.read(100).startswith(b'{"total":200000,"data":[')
    process.stop()
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
