"""Deliveries sent again on request: what failed, what was missed, one, or what a filter finds (rule C3)."""
import json
import random
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from support.api import moment
from support.receiver import Answer

LONG_AGO = "2026-01-01"
OPEN = ("waiting", "counting", "running")


@pytest.fixture
def ready(installation):
    installation.kafka.create_topic(installation.topic(), 4)
    installation.serve()
    return installation


def jobs_path(workspace="w1"):
    return f"/api/v1/workspaces/{workspace}/jobs"


def logs_path(workspace="w1"):
    return f"/api/v1/workspaces/{workspace}/logs"


def recover(installation, subscription, **body):
    return installation.api.post(installation.subscription_path(subscription) + "/recover", {"since": LONG_AGO, **body})


def accepted(answer):
    assert answer.status == 202, answer
    assert answer.headers["location"].endswith(jobs_path() + "/" + answer.json["id"])
    return answer.json["id"]


def ended(installation, job, wait_until, deadline_s=30):
    """The job, once it has ended."""
    found = []

    def over():
        found[:] = [installation.api.get(jobs_path() + "/" + job).json]
        return found[0]["state"] not in OPEN
    wait_until(over, deadline_s, 0.1, "the job ends")
    return found[0]


def numbers(job):
    return job["state"], job["total"], job["done"], job["failed"]


def put_past(installation, subscription, n):
    """n events that came a minute ago and were given up, straight into the tables."""
    installation.db.execute(
        "WITH made AS (SELECT i, uuid_in(overlay(overlay(md5(%s || i) placing '8' from 13) placing '8' from 17)::cstring) "
        "AS key, date_trunc('milliseconds', now() - interval '1 min') + i * interval '1 us' AS at "
        "FROM generate_series(1, %s) i), "
        "events AS (INSERT INTO events SELECT at, key, 'w1', 'past_' || i, 'message.new', at, %s, 0, i, at, 'w1'::bytea, "
        "'{}', convert_to(format('{\"id\":\"past_%%s\",\"workspace_id\":\"w1\",\"payload\":{}}', i), 'UTF8'), NULL FROM made) "
        "INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, webhook_url, "
        "delivery_status, attempt, given_up) SELECT at, key, 'w1', key, 'past_' || i, %s, 'message.new', '', 'failed', 1, true "
        "FROM made", uuid.uuid4().hex, n, installation.topic(), subscription)


# What comes back.


def test_what_was_missed_while_paused_arrives_once(ready, receiver, wait_until):
    paused = ready.subscribe(receiver.url("/paused"))["id"]
    ready.subscribe(receiver.url("/other"))
    ready.change(paused, is_enabled=False)
    ready.wait_in_force()
    before = datetime.now(timezone.utc) - timedelta(seconds=60)
    missed = ready.events(20)
    time_paused = time.monotonic()
    wait_until(lambda: time.monotonic() - time_paused > 1.5, 5)  # in force everywhere
    ready.produce(missed)
    receiver.wait_for(20, "/other")
    ready.db.wait_count(20, "events", "%s = ANY(skipped)", paused)
    refused = recover(ready, paused, include="missing")
    assert refused.status == 409 and refused.json["code"] == "subscription_not_active", refused
    ready.change(paused, is_enabled=True)
    started = time.time()
    job = ended(ready, accepted(recover(ready, paused, include="missing", since=before.isoformat())), wait_until)
    assert numbers(job) == ("done", 20, 20, 0) and job["error"] is None
    assert job["kind"] == "recover" and job["request"]["include"] == ["missing"]
    assert moment(job["created_at"]) <= moment(job["started_at"]) <= moment(job["finished_at"])
    receiver.wait_for(20, "/paused")
    ready.db.wait_count(20, "delivery_logs", "subscription_id = %s AND delivery_status = 'success'", paused)
    assert sorted(receiver.ids("/paused")) == sorted(receiver.ids("/other")) == sorted(one["id"] for one in missed)
    assert all(int(one.headers["webhook-timestamp"]) >= int(started) - 1 for one in receiver.requests("/paused"))
    assert all(row["replay"] and row["attempt"] == 1 for row in ready.db.logs(subscription_id=paused))
    again = ended(ready, accepted(recover(ready, paused, include=["missing", "failed"])), wait_until)
    assert numbers(again) == ("done", 0, 0, 0)
    assert receiver.count("/paused") == 20


def test_what_was_given_up_arrives_when_the_receiver_works_again(ready, receiver, wait_until):
    receiver.on("/hook", Answer(500))
    one = ready.subscribe(receiver.url("/hook"), retry_schedule=[])["id"]
    ready.wait_in_force()
    sent = ready.events(12)
    ready.produce(sent)
    ready.db.wait_count(12, "delivery_logs", "given_up")
    receiver.forget()
    receiver.on("/hook", Answer(200))
    assert numbers(ended(ready, accepted(recover(ready, one, include="missing")), wait_until)) == ("done", 0, 0, 0)
    assert numbers(ended(ready, accepted(recover(ready, one)), wait_until)) == ("done", 12, 12, 0)
    receiver.wait_for(12, "/hook")
    ready.db.wait_count(12, "delivery_logs", "delivery_status = 'success' AND replay")
    assert sorted(receiver.ids("/hook")) == sorted(event["id"] for event in sent)
    assert numbers(ended(ready, accepted(recover(ready, one)), wait_until)) == ("done", 0, 0, 0)


def test_what_a_pause_cancelled_is_missing(ready, receiver, wait_until):
    receiver.on("/hook", Answer(500))
    one = ready.subscribe(receiver.url("/hook"), retry_schedule=[3600])["id"]
    ready.wait_in_force()
    ready.produce(ready.events(5))
    ready.db.wait_count(5, "schedule")
    ready.change(one, is_enabled=False)
    ready.db.wait_count(5, "delivery_logs", "delivery_status = 'cancelled'")
    receiver.forget()
    receiver.on("/hook", Answer(200))
    ready.change(one, is_enabled=True)
    job = ended(ready, accepted(recover(ready, one, include=["failed", "missing"])), wait_until)
    assert numbers(job) == ("done", 5, 5, 0)
    receiver.wait_for(5, "/hook")
    ready.db.wait("SELECT count(*) = 0 FROM schedule")
    assert receiver.duplicates("/hook") == {}


def test_one_delivery_again(ready, receiver, wait_until):
    ready.subscribe(receiver.url("/hook"))
    ready.subscribe(receiver.url("/other"))
    ready.wait_in_force()
    ready.produce(ready.events(3))
    ready.db.wait_count(6, "delivery_logs")
    row = next(row for row in ready.db.logs() if row["webhook_url"].endswith("/hook"))
    job = ended(ready, accepted(ready.api.post(f"{logs_path()}/{row['id']}/replay")), wait_until)
    assert numbers(job) == ("done", 1, 1, 0) and job["kind"] == "replay"
    assert job["request"] == {"log_id": str(row["id"]), "subscription_id": str(row["subscription_id"])}
    receiver.wait_for(4, "/hook")
    ready.db.wait_count(7, "delivery_logs")
    assert receiver.duplicates("/hook") == {("/hook", row["event_id"]): 2} and receiver.count("/other") == 3
    (again,) = ready.db.logs(replay=True)
    assert (again["event_key"], again["subscription_id"]) == (row["event_key"], row["subscription_id"])
    first, second = [one for one in receiver.requests("/hook") if one.headers["webhook-id"] == row["event_id"]]
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"])


def test_what_only_sql_can_have_asked_for_stops_nobody_else(ready, receiver, wait_until):
    ready.subscribe(receiver.url("/hook"))
    ready.wait_in_force()
    ready.produce(ready.events(1))
    ready.db.wait_count(1, "delivery_logs")
    ready.db.execute("INSERT INTO jobs (id, workspace_id, kind, since, until, request, next_at) SELECT gen_random_uuid(), 'w1', 'replay', "
                     "now(), now(), r::jsonb, now() - interval '1 h' FROM unnest(%s::text[]) r",
                     ['{"batch_id": "no uuid"}', '{"given_up": "perhaps"}', '{"status_code": "5x"}', '{"log_id": []}'])
    (row,) = ready.db.logs()
    job = ended(ready, accepted(ready.api.post(f"{logs_path()}/{row['id']}/replay")), wait_until)
    assert numbers(job) == ("done", 1, 1, 0)
    assert ready.db.count("jobs", "state = 'failed' AND error LIKE 'its %% can''t be read'") == 4


def test_by_a_filter_of_the_log(ready, receiver, wait_until):
    receiver.on("/bad", Answer(503))
    bad = ready.subscribe(receiver.url("/bad"), retry_schedule=[0.1, 0.1])["id"]
    ready.subscribe(receiver.url("/good"))
    ready.wait_in_force()
    ready.produce(ready.events(4))
    ready.db.wait_count(4, "delivery_logs", "given_up")
    ready.db.wait_count(4, "delivery_logs", "delivery_status = 'success'")
    receiver.forget()
    receiver.on("/bad", Answer(200))

    def replay(**wanted):
        answer = ready.api.post(logs_path() + "/replay", {"since": LONG_AGO, **wanted})
        return numbers(ended(ready, accepted(answer), wait_until))
    assert replay(error_code="timeout") == ("done", 0, 0, 0)
    assert replay(status_code="5XX") == ("done", 4, 4, 0), "each delivery once, however many attempts it had"
    receiver.wait_for(4, "/bad")
    ready.db.wait_count(4, "delivery_logs", "replay")
    assert receiver.duplicates() == {} and receiver.count("/good") == 0
    assert replay(subscription_id=bad, delivery_status="success", event_id="evt_1") == ("done", 1, 1, 0)
    assert replay(event_type="message.new", until="2026-01-02") == ("done", 0, 0, 0)


def test_an_event_whose_payload_is_gone(ready, receiver, wait_until):
    one = ready.insert_subscription(receiver.url("/hook"))
    put_past(ready, one, 10)
    ready.db.execute("UPDATE events SET body = '' WHERE event_id IN ('past_1', 'past_2')")
    job = ended(ready, accepted(recover(ready, one)), wait_until)
    assert numbers(job) == ("done", 10, 8, 2) and "payload" in job["error"]
    receiver.wait_for(8, "/hook")


# Batches.


def batched(installation, receiver, **columns):
    return installation.insert_subscription(receiver.url("/hook"), delivery_mode="batched", payload_format="raw", **columns)


def members(request):
    return [payload["number"] for payload in json.loads(request.body)]


def test_a_batch_that_was_given_up_goes_as_it_went(ready, receiver, wait_until):
    receiver.on("/hook", Answer(500))
    one = batched(ready, receiver, batch_max_events=4, batch_max_wait_ms=3600000, retry_schedule_ms=[])
    ready.wait_in_force()
    ready.produce(ready.events(8))
    ready.db.wait_count(2, "delivery_logs", "given_up AND batch_id IS NOT NULL")
    first = {request.id: request.body for request in receiver.requests("/hook")}
    receiver.forget()
    receiver.on("/hook", Answer(200))
    assert numbers(ended(ready, accepted(recover(ready, one)), wait_until)) == ("done", 2, 2, 0)
    receiver.wait_for(2, "/hook")
    ready.db.wait_count(2, "delivery_logs", "delivery_status = 'success' AND replay AND batch_id = event_key")
    assert {request.id: request.body for request in receiver.requests("/hook")} == first
    assert ready.db.count("delivery_log_details", "replay") == 8, "its members are shown once"
    (batch, *_) = first
    answer = ready.api.post(logs_path() + "/replay", {"since": LONG_AGO, "batch_id": batch})
    assert numbers(ended(ready, accepted(answer), wait_until)) == ("done", 1, 1, 0)
    receiver.wait_for(3, "/hook")
    assert receiver.duplicates("/hook") == {("/hook", batch): 2}


def test_what_a_batched_one_missed_comes_in_arrays(ready, receiver, wait_until):
    one = batched(ready, receiver, batch_max_events=100, batch_max_wait_ms=3600000)
    ready.subscribe(receiver.url("/other"))
    ready.wait_in_force()
    ready.produce(ready.events(3))
    ready.db.wait("SELECT count(*) = 3 FROM batch_members")
    ready.change(one, is_enabled=False)
    ready.db.wait_count(1, "delivery_logs", "delivery_status = 'cancelled' AND batch_id IS NOT NULL")
    ready.produce(ready.events(4))
    ready.db.wait_count(4, "events", "%s = ANY(skipped)", one)
    ready.change(one, is_enabled=True)
    assert numbers(ended(ready, accepted(recover(ready, one, include="missing")), wait_until)) == ("done", 5, 5, 0)
    receiver.wait_for(5, "/hook")
    got = sorted(members(request) for request in receiver.requests("/hook"))
    assert got[0] == sorted(got[0]) == [1, 2, 3] and got[1:] == [[4], [5], [6], [7]]
    assert all(request.headers["webhook-batch-size"] == str(len(members(request))) for request in receiver.requests("/hook"))
    ready.db.wait_count(5, "delivery_logs", "subscription_id = %s AND delivery_status = 'success'", one)
    assert ready.db.count("delivery_log_details", "replay AND subscription_id = %s", one) == 7
    assert numbers(ended(ready, accepted(recover(ready, one, include="missing")), wait_until)) == ("done", 0, 0, 0)
    assert receiver.duplicates("/hook") == {}


# What interrupts a job.


def replayed(installation):
    """(rows of the log that were sent again and succeeded, different events among them)."""
    row = installation.db.row("SELECT count(*) AS n, count(DISTINCT event_key) AS different FROM delivery_logs "
                              "WHERE replay AND delivery_status = 'success'")
    return row["n"], row["different"]


def wait_begun(installation, job, wait_until):
    wait_until(lambda: installation.db.value("SELECT done > 0 FROM jobs WHERE id = %s", job), 30, 0.01, "the job has begun")


@pytest.mark.deadline(170)
def test_killed_in_the_middle_nothing_is_made_twice_or_left_out(installation, receiver, wait_until):
    """What the log says was sent is sent once; what was in flight when the process died may arrive twice."""
    n = 4000
    installation.kafka.create_topic(installation.topic(), 2)
    one = installation.insert_subscription(receiver.url("/hook"))
    put_past(installation, one, n)
    process = installation.dispatch()
    job = accepted(recover(installation, one))
    for _ in range(4):
        state = installation.db.value("SELECT state FROM jobs WHERE id = %s", job)
        if state not in OPEN:
            break
        done = installation.db.value("SELECT done FROM jobs WHERE id = %s", job)
        moved = "SELECT done > %s OR state = 'done' FROM jobs WHERE id = %s"
        wait_until(lambda: installation.db.value(moved, done, job), 60, 0.01, "the job goes on")
        process.kill()
        process = installation.dispatch()
    assert numbers(ended(installation, job, wait_until, 90)) == ("done", n, n, 0)
    installation.db.wait("SELECT count(*) = 0 FROM schedule", deadline_s=120)
    assert replayed(installation) == (n, n)
    assert set(receiver.ids("/hook")) == {f"past_{i}" for i in range(1, n + 1)}


@pytest.mark.deadline(170)
def test_another_process_takes_over(installation, receiver, wait_until):
    n = 3000
    installation.kafka.create_topic(installation.topic(), 2)
    one = installation.insert_subscription(receiver.url("/hook"))
    put_past(installation, one, n)
    processes = [installation.dispatch(), installation.dispatch()]
    job = accepted(recover(installation, one))
    wait_begun(installation, job, wait_until)
    owner = installation.db.value("SELECT p.pid FROM jobs j JOIN processes p ON p.id = j.owner WHERE j.id = %s", job)
    victim = next(process for process in processes if process.pid == owner)
    victim.kill()
    assert numbers(ended(installation, job, wait_until, 60)) == ("done", n, n, 0)
    installation.db.wait("SELECT count(*) = 0 FROM schedule", deadline_s=120)
    assert replayed(installation) == (n, n)


def test_a_cancelled_job_makes_no_more(installation, receiver, wait_until):
    n = 30000
    installation.kafka.create_topic(installation.topic(), 2)
    one = installation.insert_subscription(receiver.url("/hook"), max_in_flight=1)
    put_past(installation, one, n)
    installation.dispatch()
    job = accepted(recover(installation, one))
    wait_begun(installation, job, wait_until)
    path = jobs_path() + "/" + job
    assert installation.api.request("DELETE", path).status == 204
    assert installation.api.request("DELETE", path).status == 204, "it is cancelled, whoever asks for it"
    shown = installation.api.get(path).json
    assert shown["state"] == "cancelled" and shown["total"] == n and 0 < shown["done"] < n and shown["finished_at"]
    made = installation.db.value("SELECT (SELECT count(*) FROM schedule) + (SELECT count(*) FROM delivery_logs WHERE replay "
                                 "AND delivery_status = 'success')")
    assert made == shown["done"], "what it says is what it did"
    second = accepted(recover(installation, one))
    wait_begun(installation, second, wait_until)
    assert installation.api.get(path).json == shown
    assert installation.api.request("DELETE", jobs_path() + "/" + second).status == 204
    installation.db.execute("UPDATE subscriptions SET status = 'paused'")


def test_a_pause_ends_the_job(installation, receiver, wait_until):
    installation.kafka.create_topic(installation.topic(), 2)
    one = installation.insert_subscription(receiver.url("/hook"), max_in_flight=1)
    put_past(installation, one, 20000)
    installation.dispatch()
    job = accepted(recover(installation, one))
    wait_begun(installation, job, wait_until)
    installation.change(one, is_enabled=False)
    shown = ended(installation, job, wait_until)
    assert shown["state"] == "failed" and shown["error"] == "the subscription was paused" and shown["done"] < 20000
    refused = installation.api.request("DELETE", jobs_path() + "/" + job)
    assert refused.status == 409 and refused.json["code"] == "job_ended"


# Requests.


@pytest.fixture
def there(database_only):
    """An installation that does no jobs: they wait."""
    return database_only


def test_one_recovery_at_a_time(there):
    one, other = there.insert_subscription("https://example.com/"), there.insert_subscription("https://example.com/")
    job = accepted(recover(there, one))
    refused = recover(there, one, include="missing")
    assert refused.status == 409 and refused.json["code"] == "already_recovering" and job in refused.json["detail"]
    accepted(recover(there, other))
    answers = []

    def ask():
        answers.append(recover(there, one).status)
    assert there.api.request("DELETE", jobs_path() + "/" + job).status == 204
    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [202] + [409] * 5


def test_jobs_are_listed_newest_first(there):
    made = [accepted(there.api.post(logs_path() + "/replay", {"since": LONG_AGO, "given_up": True})) for _ in range(5)]
    listed = there.api.get(jobs_path()).json["jobs"]
    assert [job["id"] for job in listed] == made[::-1]
    assert listed[0] == there.api.get(jobs_path() + "/" + made[-1]).json
    assert list(listed[0]) == ["id", "kind", "state", "total", "done", "failed", "error", "created_at", "started_at",
                               "finished_at", "request"]
    assert (listed[0]["state"], listed[0]["total"], listed[0]["finished_at"]) == ("waiting", None, None)
    assert len(there.api.get(jobs_path() + "?limit=2").json["jobs"]) == 2
    for wrong in ("?limit=0", "?limit=501", "?limit=-1", "?limit=x", "?limit=", "?page=1", "?cursor=", "?cursor=1"):
        assert there.api.get(jobs_path() + wrong).status == 422, wrong
    pages, cursor = [], ""
    while cursor is not None and len(pages) < 5:
        page = there.api.get(jobs_path() + "?limit=2" + cursor).json
        pages.append([job["id"] for job in page["jobs"]])
        cursor = page["next_cursor"] and "&cursor=" + page["next_cursor"]
    assert pages == [made[4:2:-1], made[2:0:-1], made[:1]]
    assert there.api.get(jobs_path() + "?cursor=" + made[0]).json == {"jobs": [], "next_cursor": None}
    theirs = "/api/v1/workspaces/w2/jobs?cursor=" + made[4]
    assert there.api_of("w2").get(theirs).json == {"jobs": [], "next_cursor": None}


def test_what_a_request_said_is_shown(there):
    one = there.insert_subscription("https://example.com/")
    answer = there.api.post(logs_path() + "/replay", {
        "since": "2026-02-03T04:05:06+02:00", "until": "2026-02-05", "subscription_id": one.upper(), "status_code": 503,
        "event_type": None})
    assert answer.json["request"] == {"since": "2026-02-03T02:05:06Z", "until": "2026-02-06T00:00:00Z", "subscription_id": one,
                                      "status_code": 503}
    answer = recover(there, one, include=["missing", "failed", "missing"])
    assert answer.json["request"].pop("until") == answer.json["created_at"]
    assert answer.json["request"]["include"] == ["failed", "missing"]


@pytest.mark.parametrize("body, field", [
    ({}, "since"), ({"since": "yesterday"}, "since"), ({"since": 1}, "since"), ({"since": None}, "since"),
    ({"since": "2999-01-01"}, "since"), ({"since": "2026-01-02", "until": "2026-01-01"}, "until"),
    ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-02T00:00:00Z"}, "until"), ({"since": LONG_AGO, "until": ""}, "until"),
    ({"since": LONG_AGO, "include": "all"}, "include"), ({"since": LONG_AGO, "include": []}, "include"),
    ({"since": LONG_AGO, "include": ["failed", 1]}, "include"), ({"since": LONG_AGO, "event_id": "x"}, "event_id")])
def test_recover_refuses(there, body, field):
    one = there.insert_subscription("https://example.com/")
    answer = there.api.post(there.subscription_path(one) + "/recover", body)
    assert answer.status == 422 and answer.json["errors"][0]["field"] == field, answer
    assert there.db.count("jobs") == 0


@pytest.mark.parametrize("field, values", [
    ("subscription_id", ["x", 1, "00000000-0000-0000-0000-000000000001"]), ("batch_id", ["x", 1]), ("event_id", ["", 5, "x" * 1025]),
    ("event_type", ["", 1]), ("delivery_status", ["gone", 1]), ("error_code", ["", 1]), ("given_up", ["yes", 1]),
    ("status_code", ["6xx", "0xx", "5x", "50", 99, 600, "abc", "-01", 5.5, True]), ("include", ["failed"]), ("until", [5])])
def test_replay_refuses(there, field, values):
    for value in values:
        answer = there.api.post(logs_path() + "/replay", {"since": LONG_AGO, field: value})
        assert answer.status == 422 and answer.json["errors"][0]["field"] == field, (value, answer)
    assert there.db.count("jobs") == 0


def test_what_is_not_there_or_not_theirs(there):
    one = there.insert_subscription("https://example.com/")
    put_past_log = uuid.UUID(int=(int(time.time() * 1000) << 80) | (7 << 76) | (2 << 62) | random.getrandbits(62))
    there.db.execute("INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, "
                     "webhook_url, delivery_status, attempt) VALUES (to_timestamp(%s / 1000.0), %s, 'w1', %s, 'e', %s, 't', '', "
                     "'success', 1)", put_past_log.int >> 80, put_past_log, uuid.uuid4(), one)
    job = accepted(there.api.post(f"{logs_path()}/{put_past_log}/replay"))
    foreign = there.api_of("w2")
    body = {"since": LONG_AGO}
    for answer in (
            there.api.post(there.subscription_path(str(uuid.uuid4())) + "/recover", body),
            there.api.post(there.subscription_path("nonsense") + "/recover", body),
            foreign.post(there.subscription_path(one, "w2") + "/recover", body),
            foreign.post(there.subscription_path(one) + "/recover", body),
            there.api.post(f"{logs_path()}/{uuid.uuid4()}/replay"),
            there.api.post(f"{logs_path()}/nonsense/replay"),
            foreign.post(f"{logs_path('w2')}/{put_past_log}/replay"),
            foreign.post(f"{logs_path()}/{put_past_log}/replay"),
            foreign.post(logs_path() + "/replay", body),
            there.api.get(jobs_path() + "/" + str(uuid.uuid4())),
            there.api.get(jobs_path() + "/nonsense"),
            foreign.get(jobs_path("w2") + "/" + job),
            foreign.get(jobs_path()),
            foreign.request("DELETE", jobs_path("w2") + "/" + job),
            there.api.request("DELETE", jobs_path() + "/" + str(uuid.uuid4()))):
        assert answer.status == 404 and answer.json["code"] == "not_found", answer
    assert foreign.get(jobs_path("w2")).json == {"jobs": [], "next_cursor": None}
    answer = foreign.post(logs_path("w2") + "/replay", {**body, "subscription_id": one})
    assert answer.status == 422 and there.db.count("jobs") == 1


def test_a_test_or_one_without_a_receiver_is_not_sent_again(there):
    one = there.insert_subscription("https://example.com/")
    put_past(there, one, 1)
    there.db.execute("UPDATE delivery_logs SET test = true")
    row = there.db.logs()[0]
    made = uuid.UUID(int=(int(row["created_at"].timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | 5)
    there.db.execute("UPDATE delivery_logs SET id = %s", made)
    path = f"{logs_path()}/{made}/replay"
    assert there.api.post(path).json["code"] == "is_a_test"
    there.db.execute("UPDATE delivery_logs SET test = false")
    there.db.execute("UPDATE subscriptions SET status = 'disabled'")
    answer = there.api.post(path)
    assert answer.status == 409 and answer.json["code"] == "subscription_not_active" and "disabled" in answer.json["detail"]
    there.unsubscribe(one)
    assert there.api.post(path).json["code"] == "subscription_gone"
    assert there.db.count("jobs") == 0


def test_a_read_only_key_may_look(there):
    one = there.insert_subscription("https://example.com/")
    job = accepted(recover(there, one))
    printed = there.run("key", "create", "--workspace", "w1", "--read-only").stdout
    reader = there.api.with_key(max(printed.split(), key=len))
    assert reader.get(jobs_path()).status == 200 and reader.get(jobs_path() + "/" + job).status == 200
    for answer in (reader.post(there.subscription_path(one) + "/recover", {"since": LONG_AGO}),
                   reader.post(logs_path() + "/replay", {"since": LONG_AGO}),
                   reader.post(f"{logs_path()}/{uuid.uuid4()}/replay"),
                   reader.request("DELETE", jobs_path() + "/" + job)):
        assert answer.status == 403 and answer.json["code"] == "read_only_key", answer
    assert there.api.get(jobs_path() + "/" + job).json["state"] == "waiting"


def test_a_workspace_has_a_bounded_number_of_jobs(there):
    there.db.execute("INSERT INTO jobs (id, workspace_id, kind, since, until, request) SELECT gen_random_uuid(), 'w1', 'replay', "
                     "now(), now(), '{}' FROM generate_series(1, 1000)")
    answer = there.api.post(logs_path() + "/replay", {"since": LONG_AGO})
    assert answer.status == 409 and answer.json["code"] == "too_many_jobs"
    assert there.api_of("w2").post(logs_path("w2") + "/replay", {"since": LONG_AGO}).status == 202
