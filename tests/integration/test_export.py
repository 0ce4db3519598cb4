"""Exports of the log: a job, a file, a link, a mail."""
import base64
import csv
import gzip
import io
import json
import random
import secrets
import time
import urllib.parse
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from servers import wait_until
from support.api import Api, moment
from support.mailbox import Mailbox
from support.receiver import Answer, Receiver
from test_logs import COLUMNS, LOGS, random_id

EXPORT = LOGS + "/export"
JOB = "/api/v1/workspaces/{}/jobs/{}"
MESSAGE = "Log export job started. You will receive an email once the file is ready."
AWKWARD = ["", "plain", 'say "hi", they said', "two\r\nlines\n", "=HYPERLINK(\"http://evil\")", "+1", "@a", "-", "\t=1", " spaces ",
           "中文,😀", "\\n\\\"", "null", "a" * 9000, "＝1+1"]


def fill(db, rows):
    with db.connect() as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY delivery_logs ({COLUMNS}, response_body) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def make_rows(count, body, workspace="w1", since_s=3600, subscription=None):
    """Rows of the last hour, several of them at each moment; none was sent from an event."""
    subscription = subscription or uuid.uuid4()
    now, rows = datetime.now(timezone.utc), []
    for n in range(count):
        at = now - timedelta(seconds=since_s * (count - n // 7 * 7) / count)
        status = "failed" if n % 10 == 3 else "success"
        rows.append((at, random_id(at), workspace, uuid.uuid4(), f"evt_{n}", subscription, ["message.new", "call.ended"][n % 2],
                     "https://example.com/", status, 503 if status == "failed" else 200,
                     "http_status" if status == "failed" else None, 1, n % 1000, False, None, n % 50 == 9, body(n)))
    return rows


def ask(api, workspace="w1", status=202, **fields):
    answer = api.post(EXPORT.format(workspace), {"email": "ann@example.org", **fields})
    assert answer.status == status, answer
    return answer


def job(api, number, workspace="w1"):
    answer = api.get(JOB.format(workspace, number))
    assert answer.status == 200, answer
    return answer.json


def wait_for(api, number, *states, workspace="w1", deadline_s=60):
    wait_until(lambda: job(api, number, workspace)["state"] in states, deadline_s, what=f"the export is {states}")
    return job(api, number, workspace)


def fetch(api, url, method="GET"):
    parts = urllib.parse.urlsplit(url)
    return Api(api.url).request(method, f"{parts.path}?{parts.query}")


def exported(api, workspace="w1", **fields):
    """The finished job and its file, unpacked."""
    done = wait_for(api, ask(api, workspace, **fields).json["job_id"], "done", "failed", workspace=workspace)
    assert done["state"] == "done", done
    answer = fetch(api, done["url"])
    assert answer.status == 200 and len(answer.body) == done["size"], answer
    return done, gzip.decompress(answer.body)


def listed(api, workspace="w1", subscription=None, **query):
    """The listing's rows, the oldest first, byte for byte as they stand in the answer."""
    path = LOGS.format(workspace) + (f"/{subscription}" if subscription else "")
    answer = api.get(path + "?" + urllib.parse.urlencode({"order_by": "created_at:asc", "limit": 0, **query}))
    assert answer.status == 200, answer
    begin = answer.body.index(b'"data":[') + len(b'"data":[')
    return answer.json["data"], answer.body[begin:answer.body.rindex(b'],"next_cursor"')]


def as_csv(value):
    """A value of a JSON row as the CSV has it; a body apart, whose bytes JSON in Python does not keep."""
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return "'" + text if isinstance(value, str) and text[:1] in "=+-@\t\r\n＝＋－＠" and text else text


def check_csv(data, rows):
    assert data.endswith(b"\r\n")
    lines = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    assert lines[0] == list(rows[0]) and len(lines) == len(rows) + 1
    for line, row in zip(lines[1:], rows):
        for name, got in zip(lines[0], line):
            if name == "delivered_event_obj":
                assert (json.loads(got.removeprefix("'")) if got else None) == row[name]
            else:
                assert got == as_csv(row[name]), name


def test_both_formats_are_the_listing_row_by_row(installation):
    events = [installation.event(payload=payload) for payload in [
        {"text": text} for text in AWKWARD] + [{"big": 12345678901234567890, "small": 1e-7}, [1, [2, None]], "=1", -5, None, {"10": 1, "9": 2}]]
    with Receiver() as receiver:
        for index, text in enumerate(AWKWARD):
            receiver.on(f"/{index}", Answer(200 if index % 3 else 500, text.encode()))
        for index in range(len(AWKWARD)):
            installation.subscribe(receiver.url(f"/{index}"), payload_format="raw" if index % 2 else "seanotify",
                                   retry_schedule=[3600])
        installation.subscribe(receiver.url("/batched"), delivery_mode="batched", batch_max_events=7, batch_max_wait_seconds=1)
        installation.dispatch()
        installation.wait_in_force()
        installation.produce(events)
        installation.db.wait("SELECT count(*) FILTER (WHERE batch_id IS NULL) = %s AND count(*) FILTER (WHERE batch_id IS NOT NULL) "
                             ">= %s FROM delivery_logs", len(events) * len(AWKWARD), len(events) // 7)
    api = installation.api
    rows, raw = listed(api)
    done, data = exported(api, format="ndjson")
    assert b",".join(data.splitlines()) == raw and data.endswith(b"\n")
    assert done["total"] == done["done"] == len(rows) and done["failed"] == 0
    check_csv(exported(api)[1], rows)


@pytest.fixture
def logged(database_only):
    """An installation with 3,000 rows in w1 and 10 in w2."""
    rng = random.Random(5)
    fill(database_only.db, make_rows(3000, lambda n: AWKWARD[n % len(AWKWARD)] or None))
    fill(database_only.db, make_rows(10, lambda n: "of w2 " + str(rng.random()), "w2"))
    return database_only


def test_times_and_filters_are_those_of_the_listing(logged):
    api = logged.api
    at = datetime.now(timezone.utc)
    moment = (at - timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    subscription = str(logged.db.value("SELECT subscription_id FROM delivery_logs WHERE workspace_id = 'w1' LIMIT 1"))
    for body in [{}, {"start_date": moment}, {"end_date": moment}, {"end_date": at.strftime("%Y-%m-%d")},
                 {"start_date": "2020-01-01", "end_date": "2020-12-31"}, {"start_date": (at + timedelta(days=2)).strftime("%Y-%m-%d")},
                 {"event_type": "call.ended"}, {"delivery_status": "failed", "start_date": moment}, {"status_code": "5xx"},
                 {"status_code": 200}, {"error_code": "http_status"}, {"event_id": "evt_77"}, {"test": True}, {"given_up": True},
                 {"test": False, "status_code": "503"}, {"batch_id": str(uuid.uuid4())}]:
        query = {name: str(value).lower() if isinstance(value, bool) else value for name, value in body.items()}
        rows, raw = listed(api, **query)
        done, data = exported(api, format="ndjson", **body)
        assert b",".join(data.splitlines()) == raw and done["total"] == done["done"] == len(rows), body
        logged.db.execute("DELETE FROM jobs")
    assert len(listed(api)[0]) == 3000
    rows, raw = listed(api, subscription=subscription, event_type="message.new")
    done, data = exported(api, format="ndjson", subscription_id=subscription, event_type="message.new")
    assert b",".join(data.splitlines()) == raw and len(rows) == 1500
    assert exported(api, start_date="2020-01-01", end_date="2020-01-01")[1].startswith(b"id,workspace_id,")


def test_the_answer_the_job_and_the_link(logged):
    api = logged.api
    answer = ask(api, lang="zh-TW", start_date="2024-03-01T00:00:00Z")
    number = answer.json["job_id"]
    assert set(answer.json) == {"job_id", "message"} and answer.headers["location"] == JOB.format("w1", number)
    assert answer.headers["location"] in answer.json["message"], "without a mail server the message says where the link is"
    done = wait_for(api, number, "done")
    assert done["kind"] == "export" and moment(done["finished_at"]) >= moment(done["started_at"]) >= moment(done["created_at"])
    assert done["request"] == {"email": "ann@example.org", "lang": "zh-TW", "start_date": "2024-03-01T00:00:00Z", "format": "csv",
                               "since": "2024-03-01T00:00:00Z", "until": done["request"]["until"]}
    left = datetime.fromisoformat(done["expires_at"].replace("Z", "+00:00")) - datetime.now(timezone.utc)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    assert api.get("/api/v1/workspaces/w1/jobs").json["jobs"] == [done]
    assert done["url"].startswith(f"http://127.0.0.1:8080/api/v1/exports/{number}?expires=")
    for method in ("GET", "HEAD"):
        got = fetch(api, done["url"], method)
        assert got.status == 200 and got.headers["content-type"] == "application/gzip"
        assert got.headers["content-disposition"] == f'attachment; filename="logs-{number}.csv.gz"'
        assert got.headers["cache-control"] == "private, no-store" and "content-encoding" not in got.headers
        assert int(got.headers["content-length"]) == done["size"] and len(got.body) == (done["size"] if method == "GET" else 0)
    assert fetch(api, done["url"].replace("/api/v1/", "/notify/api/v1/")).status == 200
    other = logged.process("api", LOG_LEVEL="debug").start()
    assert fetch(Api(other.api_url), done["url"]).status == 200, "another process serves it"
    other.wait_log("path=/api/v1/exports/" + number)
    signature = done["url"].split("signature=")[1]
    for process in (logged.api_process, other):
        assert signature not in process.log() and "expires=" not in process.log()
    assert logged.db.value("SELECT count(*) FROM jobs WHERE to_jsonb(jobs)::text LIKE %s", f"%{signature[:20]}%") == 0
    action = logged.db.row("SELECT action, after FROM audit WHERE target = %s", number)
    assert action["action"] == "job.created" and action["after"]["kind"] == "export"


def test_without_the_right_link_nobody_learns_anything(logged):
    api = logged.api
    done, data = exported(api, format="ndjson")
    other = exported(api)[0]
    url = done["url"]
    base, signature = url.split("&signature=")
    expires = int(base.split("expires=")[1])
    flipped = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    for wrong in [base, url.split("?")[0], base + "&signature=", base + "&signature=" + flipped, url.replace(str(expires), str(expires + 1)),
                  url.replace(done["id"], other["id"]), url.replace(done["id"], str(uuid.uuid4())), url.replace(done["id"], "x"),
                  base + "&signature=" + signature.upper() + "z"]:
        got = fetch(api, wrong)
        assert got.status == 404 and got.json["code"] == "not_found" and got.json["detail"] == "There is no such file.", wrong
    for key in ("w1", None):
        path = urllib.parse.urlsplit(base).path
        assert logged.api_of(key).get(path).status == 404, "a key is no link"
    assert logged.api_of("w2").get(JOB.format("w1", done["id"])).status == 404
    assert logged.api_of("w2").post(EXPORT.format("w1"), {"email": "a@example.org"}).status == 404
    logged.db.execute("UPDATE jobs SET expires_at = now() - interval '1 s' WHERE id = %s", done["id"])
    got = fetch(api, url)
    assert got.status == 410 and (got.json["code"], got.json["title"]) == ("expired", "Gone")
    assert job(api, done["id"])["url"] is None
    assert fetch(api, other["url"]).status == 200
    logged.db.wait("SELECT count(*) = 0 FROM export_chunks WHERE job_id = %s", done["id"])
    logged.db.wait("SELECT chunks = 0 FROM jobs WHERE id = %s", done["id"])
    assert logged.db.count("export_chunks") > 0, "the other one stays"


def test_links_outlive_a_rotation_of_the_key(logged):
    done, data = exported(logged.api, format="ndjson")
    fresh = base64.b64encode(secrets.token_bytes(32)).decode()
    rotated = logged.process("api", SECRET_KEY=fresh + "," + logged.env["HOOKCAST_SECRET_KEY"]).start()
    strange = logged.process("api", SECRET_KEY=fresh).start()
    assert gzip.decompress(fetch(Api(rotated.api_url), done["url"]).body) == data
    assert fetch(Api(strange.api_url), done["url"]).status == 404
    new = job(Api(rotated.api_url, logged.key()), done["id"])["url"]
    assert new != done["url"] and fetch(Api(strange.api_url), new).status == 200


def test_what_is_wrong_is_refused_by_name(logged):
    api = logged.api
    for field, value in [("email", None), ("email", "nobody"), ("email", 5), ("email", "a@b@c"), ("start_date", "yesterday"),
                         ("start_date", 5), ("end_date", "2024-02-30"), ("lang", "zh_TW"), ("lang", ""), ("lang", "en-"), ("lang", 7),
                         ("format", "xml"), ("format", "CSV"), ("format", False), ("event_type", 5), ("event_type", ""),
                         ("delivery_status", "lost"), ("status_code", 1000), ("status_code", "6xx"), ("status_code", 2.5),
                         ("given_up", "true"), ("test", 1), ("batch_id", "x"), ("subscription_id", "x"),
                         ("subscription_id", str(uuid.uuid4())), ("limit", 5), ("error_code", "x" * 65), ("event_id", ["a"])]:
        answer = api.post(EXPORT.format("w1"), {"email": "ann@example.org", field: value})
        assert answer.status == 422 and [one["field"] for one in answer.json["errors"]] == [field], (field, value, answer)
    answer = ask(api, status=422, start_date="2024-03-02", end_date="2024-03-01")
    assert answer.json["errors"][0]["field"] == "end_date"
    ask(api, start_date="2024-03-01", end_date="2024-03-01")
    ask(api, start_date="2024-03-01T10:00:00Z", end_date="2024-03-01T10:00:00Z", lang=None, format=None, test=None)
    assert api.post(EXPORT.format("w1"), raw=b"[]").status == 422 and api.post(EXPORT.format("w1"), raw=b"{").status == 400


def test_a_workspace_has_ten_at_a_time_and_so_much_in_files(logged):
    api = logged.api
    logged.db.execute("INSERT INTO jobs (id, workspace_id, kind, since, until, request, next_at, lease_until) SELECT gen_random_uuid(), 'w1', "
                      "'export', now(), now(), '{}', 'infinity', 'infinity' FROM generate_series(1, 10)")
    assert ask(api, status=429).json["code"] == "too_many_exports"
    ask(logged.api_of("w2"), "w2")
    logged.db.execute("UPDATE jobs SET state = 'done', lease_until = NULL, size = 430000000, chunks = 1, expires_at = now() + interval '1 d' "
                      "WHERE workspace_id = 'w1'")
    assert ask(api, status=429).json["code"] == "exports_too_large"
    one = logged.db.value("SELECT id FROM jobs WHERE workspace_id = 'w1' LIMIT 1")
    assert api.delete(JOB.format("w1", one)).status == 204
    logged.db.wait("SELECT count(*) = 9 FROM jobs WHERE workspace_id = 'w1' AND chunks > 0")
    ask(api)


def test_what_only_sql_can_have_asked_for_fails_alone(logged):
    logged.db.execute("INSERT INTO jobs (id, workspace_id, kind, since, until, request, next_at) SELECT gen_random_uuid(), 'w1', 'export', "
                      "now(), now(), r::jsonb, 'infinity' FROM unnest(%s::text[]) r",
                      ["{}", "[]", "5", '{"format":"csv","batch_id":"x"}', '{"format":"csv","status_code":"x"}'])
    logged.db.execute("INSERT INTO jobs (id, workspace_id, kind, since, until, request, next_at, position) SELECT gen_random_uuid(), 'w1', "
                      "'export', now(), now(), '{\"format\":\"csv\"}', 'infinity', '{\"at_us\":\"x\"}'")
    assert exported(logged.api)[0]["done"] == 3000
    logged.db.wait("SELECT count(*) = 6 FROM jobs WHERE state = 'failed' AND error IS NOT NULL AND finished_at IS NOT NULL")


@pytest.fixture
def large(database_only):
    """An installation with a log that takes some seconds to export."""
    noise = [base64.b64encode(secrets.token_bytes(2000)).decode() for _ in range(50)]
    rng = random.Random(3)
    for _ in range(2):
        fill(database_only.db, make_rows(10000, lambda n: rng.choice(noise) + str(n)))
    return database_only


def writing(installation, number, chunks):
    """Waits until that export is in the middle."""
    def so_far():
        row = installation.db.row("SELECT state, chunks, total FROM jobs WHERE id = %s", number)
        assert row["state"] != "done", "it was done before anything could be seen of it"
        return row["state"] == "running" and row["chunks"] >= chunks
    wait_until(so_far, 30, 0.01, what="the export is under way")


def test_after_kill_9_another_process_goes_on_where_it_was(large):
    api = large.api
    rows, raw = listed(api)
    number = ask(api, format="ndjson").json["job_id"]
    writing(large, number, 3)
    large.api_process.kill()
    before = large.db.row("SELECT done, chunks, total FROM jobs WHERE id = %s", number)
    assert before["total"] == 20000 and 0 < before["done"] < 20000
    first = large.db.rows("SELECT body FROM export_chunks WHERE job_id = %s ORDER BY number", number)
    for _ in range(3):  # and again, wherever that is
        second = large.process("api").start()
        large.db.execute("UPDATE jobs SET lease_until = now() WHERE state = 'running'")
        chunks = large.db.value("SELECT chunks FROM jobs WHERE id = %s", number)
        wait_until(lambda: large.db.value("SELECT chunks > %s OR state = 'done' FROM jobs WHERE id = %s", chunks, number), 30, 0.01,
                   what="it goes on")
        second.kill()
    third = large.process("api").start()
    large.db.execute("UPDATE jobs SET lease_until = now() WHERE state = 'running'")
    api = Api(third.api_url, large.key())
    done = wait_for(api, number, "done")
    body = fetch(api, done["url"]).body
    data = gzip.decompress(body)
    assert b",".join(data.splitlines()) == raw and done["done"] == done["total"] == len(rows)
    assert body.startswith(b"".join(bytes(row["body"]) for row in first)), "what was written stays as it is"


def test_two_processes_share_the_work_and_an_orderly_stop_hands_it_on(large):
    first = large.api_process
    api = large.api
    second = large.process("api").start()
    numbers = [ask(api, format="ndjson", event_type=name).json["job_id"] for name in ("message.new", "call.ended")]
    writing(large, numbers[0], 2)
    first.stop()
    api = Api(second.api_url, large.key())
    for number in numbers:
        done = wait_for(api, number, "done", deadline_s=30)  # less than a lease
        assert len(gzip.decompress(fetch(api, done["url"]).body).splitlines()) == 10000 == done["done"]


def test_cancelling_takes_away_what_there_is(large):
    api = large.api
    number = ask(api).json["job_id"]
    writing(large, number, 2)
    assert api.delete(JOB.format("w1", number)).status == 204
    gone = job(api, number)
    assert gone["state"] == "cancelled" and gone["url"] is None and gone["done"] < 20000
    large.db.wait("SELECT count(*) = 0 FROM export_chunks")
    assert job(api, number)["done"] == gone["done"], "nothing is written after it"
    assert large.db.count("mails") == 0
    done, data = exported(api, event_type="call.ended", status_code=503)
    assert api.delete(JOB.format("w1", done["id"])).status == 204
    assert job(api, done["id"])["url"] is None and job(api, done["id"])["state"] == "done"
    assert fetch(api, done["url"]).status == 410
    assert large.db.count("mails") == 0, "nobody is told of a file that is gone"
    large.db.wait("SELECT count(*) = 0 FROM export_chunks")
    assert api.delete(JOB.format("w1", done["id"])).status == 409


def test_erasing_a_workspace_erases_its_exports(large):
    api = large.api_of(None)
    exported(large.api, event_type="call.ended", status_code=503)
    number = ask(large.api).json["job_id"]
    writing(large, number, 2)
    assert api.delete("/api/v1/workspaces/w1").status == 202
    large.process("dispatch").start(ready=False)
    large.db.wait("SELECT (SELECT count(*) FROM export_chunks) = 0 AND (SELECT count(*) FROM jobs) = 0", deadline_s=60)
    assert not [line for line in large.api_process.log().splitlines() if "level=error" in line]


def test_a_mail_has_the_link(logged):
    with Mailbox() as mailbox:
        api_process = logged.process("api", SMTP_URL=mailbox.url(), MAIL_FROM="hooks@example.com").start()
        logged.process("dispatch", SMTP_URL=mailbox.url(), MAIL_FROM="hooks@example.com").start(ready=False)
        api = Api(api_process.api_url, logged.key())
        answer = ask(api, lang="de-DE", format="ndjson", email="ärger@example.org".replace("ä", "ae"))
        assert answer.json["message"] == MESSAGE
        done = wait_for(api, answer.json["job_id"], "done")
        mail, = mailbox.wait_for(1)
        text = mail.get_body().get_content().replace("\r\n", "\n")
        assert mail["to"] == "aerger@example.org" and done["url"] in text and "NDJSON" in text and "3000" in text
        assert len(gzip.decompress(fetch(api, done["url"]).body).splitlines()) == 3000
        logged.db.execute("INSERT INTO jobs (id, workspace_id, kind, since, until, request, next_at) VALUES (gen_random_uuid(), 'w1', "
                          "'export', now(), now(), '{\"email\":\"bob@example.org\",\"format\":\"?\",\"lang\":\"fr\"}', 'infinity')")
        mailbox.wait_for(2)
        assert mailbox.mails[1]["to"] == "bob@example.org" and "can't be read" in mailbox.mails[1].get_body().get_content()


def test_an_older_dispatcher_does_not_take_it(logged):
    """What an export's row looks like to a program that takes whatever is due by next_at."""
    logged.db.execute("INSERT INTO jobs (id, workspace_id, kind, since, until, request, next_at, lease_until) VALUES (gen_random_uuid(), "
                      "'w1', 'export', to_timestamp(0), now(), '{\"format\":\"csv\"}', 'infinity', 'infinity')")
    assert logged.db.value("SELECT count(*) FROM jobs WHERE state IN ('waiting', 'counting', 'running') AND next_at <= now()") == 0
    number = ask(logged.api).json["job_id"]
    assert logged.db.value("SELECT next_at = 'infinity' FROM jobs WHERE id = %s", number)
