"""POST …/test: an example sent to a URL as its webhook would be, and what is written down of it."""
import concurrent.futures
import json
import threading
import time

import pytest
from support.installation import find_key
from support.receiver import Answer, Flood, Hang, Redirect
from support.signature import verify_hex, verify_standard

PATH = "/api/v1/workspaces/{}/test"
PRINTED = ["delivered", "status_code", "response_body", "duration_ms", "error", "webhook_id", "headers"]


@pytest.fixture
def api(database_only):
    return database_only.api


def send(api, url, event_type="conversation.new", workspace="w1", **options):
    return api.post(PATH.format(workspace), {"event_type": event_type, "webhook_url": url}, **options)


def outcome(api, url, event_type="conversation.new"):
    answer = send(api, url, event_type)
    assert answer.status == 200, answer
    return answer.json


def last(receiver, path):
    return receiver.requests(path)[-1]


def log_rows(installation):
    return installation.db.rows("SELECT * FROM delivery_logs ORDER BY created_at, id")


def test_the_printed_request_reaches_a_url_of_no_subscription(database_only, api, receiver):
    receiver.on("/hook", Answer(201, '{"status": "received"}'))
    answer = send(api, receiver.url("/hook"))
    assert answer.status == 200, answer
    assert list(answer.json) == PRINTED + ["secret", "delivered_event_obj"]
    assert (answer.json["delivered"], answer.json["status_code"], answer.json["error"]) == (True, 201, None)
    assert answer.json["response_body"] == '{"status": "received"}' and answer.json["duration_ms"] >= 0
    request = last(receiver, "/hook")
    assert request.method == "POST" and request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == answer.json["webhook_id"] and verify_standard(request, answer.json["secret"])
    assert request.headers["user-agent"].startswith("hookcast/")
    body = json.loads(request.body)
    assert list(body) == ["id", "workspace_id", "workspace_name", "value"]
    assert list(body["value"]) == ["event_type", "event_source", "event_triggered_by", "payload", "occurred_at", "sent_at",
                                   "subscription_created_by", "subscription_updated_by"]
    assert body["id"] == answer.json["webhook_id"] and body["workspace_id"] == "w1"
    assert body["value"]["event_type"] == "conversation.new" and "conversation" in body["value"]["payload"]
    # The object of the answer is the very text of the body.
    assert answer.body.endswith(b',"delivered_event_obj":' + request.body + b"}")
    assert all(request.headers[name] == value for name, value in answer.json["headers"].items())


def test_every_type_of_every_dialect_can_be_sent(database_only, api, receiver):
    types = [row["event_type"] for row in database_only.db.rows("SELECT event_type FROM event_types")]
    assert len(types) >= 49
    for event_type in types:
        database_only.db.execute("DELETE FROM test_limits")
        assert outcome(api, receiver.url("/hook"), event_type)["delivered"], event_type
        example = database_only.db.rows("SELECT example FROM event_types WHERE event_type = %s", event_type)[0]["example"]
        assert json.loads(last(receiver, "/hook").body)["value"]["payload"] == example


def test_it_leaves_a_row_in_the_log_with_its_body(database_only, api, receiver):
    receiver.on("/ok", Answer(200, "fine"))
    receiver.on("/no", Answer(503, "no\0pe \xff".encode("latin-1")))
    ok, no = outcome(api, receiver.url("/ok")), outcome(api, receiver.url("/no"), "message.new")
    assert (no["delivered"], no["status_code"], no["error"]) == (False, 503, "the endpoint answered 503")
    first, second = log_rows(database_only)
    assert (first["delivery_status"], first["status_code"], first["response_body"]) == ("success", 200, "fine")
    assert (second["delivery_status"], second["status_code"], second["error_code"]) == ("failed", 503, "http_status")
    assert second["response_body"] == "no\ufffdpe \ufffd"
    for row, answer, path in ((first, ok, "/ok"), (second, no, "/no")):
        request = last(receiver, path)
        assert row["test"] and not row["replay"] and not row["given_up"] and row["attempt"] == 1
        assert row["event_id"] == answer["webhook_id"] and row["webhook_url"] == receiver.url(path)
        assert row["next_attempt_at"] is None and row["batch_id"] is None and row["render_version"] is None
        assert int(row["sent_at"].timestamp() * 1000) == json.loads(request.body)["value"]["sent_at"]
        kept = database_only.db.rows("SELECT body FROM test_bodies WHERE id = %s", row["id"])
        assert bytes(kept[0]["body"]) == request.body
        shown = api.get(f"/api/v1/workspaces/w1/logs/{row['id']}")
        assert shown.status == 200 and b'"delivered_event_obj":' + request.body in shown.body, shown
    listed = api.get("/api/v1/workspaces/w1/logs?test=true").json
    assert listed["total"] == 2 and all(one["delivered_event_obj"]["workspace_id"] == "w1" for one in listed["data"])
    assert (first["event_type"], second["event_type"]) == ("conversation.new", "message.new")
    assert database_only.db.count("events") == 0 and database_only.db.count("schedule") == 0


def test_a_subscription_of_the_url_lends_its_looks_and_its_secret(database_only, api, receiver):
    url = receiver.url("/mine")
    database_only.subscribe(url, ["message.new"], payload_format="raw")
    time.sleep(0.01)
    mine = database_only.subscribe(url, ["message.new"], payload_format="standard", signature_style="both",
                                   signature_header="x-own", headers={"X-Source": "me", "Authorization": "Bearer hush"})
    database_only.subscribe(url, ["message.new"], workspace="w2", payload_format="kakiyo")
    answer = send(api, url)
    assert list(answer.json) == PRINTED + ["delivered_event_obj"], answer
    request = last(receiver, "/mine")
    assert list(json.loads(request.body)) == ["type", "timestamp", "data"]
    assert verify_standard(request, mine["secret"])
    assert verify_hex(request, "x-own", mine["secret"])
    assert request.headers["x-source"] == "me" and request.headers["authorization"] == "Bearer hush"
    assert "hush" not in answer.text and mine["secret"] not in answer.text
    assert str(log_rows(database_only)[0]["subscription_id"]) == mine["id"]


def test_a_batched_one_gets_a_batch_of_one(database_only, api, receiver):
    database_only.subscribe(receiver.url("/many"), ["message.new"], payload_format="cloudevents", delivery_mode="batched")
    assert outcome(api, receiver.url("/many"))["delivered"]
    request = last(receiver, "/many")
    assert request.headers["content-type"] == "application/cloudevents-batch+json"
    assert request.headers["webhook-batch-size"] == "1" and len(json.loads(request.body)) == 1


def test_a_paused_one_may_be_tested(database_only, api, receiver):
    database_only.subscribe(receiver.url("/paused"), is_enabled=False, signature_style="none")
    assert outcome(api, receiver.url("/paused"))["delivered"]
    assert "webhook-signature" not in last(receiver, "/paused").headers


@pytest.mark.parametrize("body, field, says", [
    ({}, "event_type", "is required"),
    ({"event_type": "conversation.new"}, "webhook_url", "is required"),
    ({"event_type": 5, "webhook_url": "https://example.com/"}, "event_type", "expected a text"),
    ({"event_type": "conversation.nwe", "webhook_url": "https://example.com/"}, "event_type", "did you mean conversation.new?"),
    ({"event_type": "*", "webhook_url": "https://example.com/"}, "event_type", "there is no event type"),
    ({"event_type": "message.new", "webhook_url": "ftp://example.com/"}, "webhook_url", ""),
    ({"event_type": "message.new", "webhook_url": "https://u:p@example.com/"}, "webhook_url", ""),
    ({"event_type": "message.new", "webhook_url": None}, "webhook_url", "expected a text"),
    ({"event_type": "message.new", "webhook_url": "https://example.com/", "secret": "x"}, "secret", "no such field"),
])
def test_what_is_wrong_is_named(database_only, api, body, field, says):
    answer = api.post(PATH.format("w1"), body)
    assert answer.status == 422, answer
    assert any(error["field"] == field and says in error["message"] for error in answer.json["errors"]), answer
    assert database_only.db.count("test_limits") == 0


def test_what_can_not_be_reached(database_only, receiver):
    receiver.on("/redirect", Redirect(receiver.url("/elsewhere")))
    receiver.on("/hang", Hang())
    receiver.on("/flood", Flood(50 * 1024 * 1024))
    database_only.env["HOOKCAST_TIMEOUT"] = "1s"
    api = database_only.api
    redirected = outcome(api, receiver.url("/redirect"))
    assert (redirected["delivered"], redirected["status_code"]) == (False, 302) and not receiver.requests("/elsewhere")
    hung = outcome(api, receiver.url("/hang"))
    assert (hung["delivered"], hung["status_code"], hung["response_body"]) == (False, None, None) and hung["error"]
    assert 900 <= hung["duration_ms"] <= 3000
    assert len(outcome(api, receiver.url("/flood"))["response_body"]) == 16 * 1024
    refused = outcome(api, "http://127.0.0.1:1/")
    assert not refused["delivered"] and refused["error"]
    codes = [row["error_code"] for row in log_rows(database_only)]
    assert codes[0] == "http_status" and codes[1] == "timeout" and codes[-1] == "connect"


def test_addresses_are_judged_as_for_webhooks(database_only, receiver):
    database_only.env["HOOKCAST_ALLOW_NETS"] = ""
    answer = outcome(database_only.api, receiver.url("/hook"))
    assert not answer["delivered"] and "loopback" in answer["error"] and not receiver.requests("/hook")
    assert log_rows(database_only)[0]["error_code"] == "address_refused"


def test_plain_http_is_refused_unless_allowed(database_only):
    database_only.env["HOOKCAST_ALLOW_HTTP"] = "0"
    answer = send(database_only.api, "http://example.com/")
    assert answer.status == 422 and answer.json["errors"][0]["field"] == "webhook_url"


def test_ten_a_minute_and_workspace_over_all_processes(database_only, receiver):
    key = database_only.key()
    apis = [database_only.process("api").start() for _ in range(2)]
    clients = [database_only.api.__class__(one.api_url, key) for one in apis]
    answers = [send(clients[i % 2], receiver.url("/hook")) for i in range(12)]
    assert [answer.status for answer in answers] == [200] * 10 + [429] * 2, answers
    assert answers[-1].json["code"] == "too_many_tests" and 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert len(receiver.requests("/hook")) == 10
    other = database_only.api_of("w2")
    assert send(other, receiver.url("/other"), workspace="w2").status == 200
    # A minute later there is room again, one by one.
    database_only.db.execute("UPDATE test_limits SET sent[1] = sent[1] - interval '1 minute' WHERE workspace_id = 'w1'")
    assert [send(clients[0], receiver.url("/hook")).status for _ in range(2)] == [200, 429]


def test_many_at_once_count_exactly(database_only, api, receiver):
    def one(_):
        while True:
            answer = send(api, receiver.url("/hook"))
            if answer.status in (200, 429) and "under way" not in answer.text:
                return answer.status
            time.sleep(0.02)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(one, range(16)))
    assert sorted(statuses) == [200] * 10 + [429] * 6


def test_a_receiver_that_hangs_keeps_nobody_else_waiting(database_only, api, receiver):
    receiver.on("/hang", Hang())
    database_only.subscribe(receiver.url("/hang"), timeout_seconds=6)
    hanging = [threading.Thread(target=send, args=(api, receiver.url("/hang"))) for _ in range(2)]
    for thread in hanging:
        thread.start()
    receiver.wait_for(2, "/hang")
    third = send(api, receiver.url("/ok"))
    assert third.status == 429 and "under way" in third.json["detail"] and third.headers["retry-after"]
    began = time.monotonic()
    assert send(database_only.api_of("w2"), receiver.url("/ok"), workspace="w2").status == 200
    assert api.get("/api/v1/event_types").status == 200
    assert time.monotonic() - began < 4
    for thread in hanging:
        thread.join()


def test_stopping_cuts_off_what_hangs(database_only, api, receiver):
    receiver.on("/hang", Hang())
    process = database_only.process("api", DRAIN_TIMEOUT="1s").start()
    client = api.__class__(process.api_url, database_only.key())
    answers = []
    thread = threading.Thread(target=lambda: answers.append(send(client, receiver.url("/hang"))))
    thread.start()
    receiver.wait_for(1, "/hang")
    began = time.monotonic()
    process.stop()
    thread.join(20)
    assert time.monotonic() - began < 10 and answers
    assert answers[0].status in (200, 503) and '"delivered":true' not in answers[0].text


def test_whose_key_it_is(database_only, api, receiver):
    assert send(api, receiver.url("/hook"), workspace="w2").status == 404
    assert send(api.with_key("wrong"), receiver.url("/hook")).status == 401
    read_only = find_key(database_only.run("key", "create", "--workspace", "w1", "--read-only").stdout)
    assert send(api.with_key(read_only), receiver.url("/hook")).status == 403
    assert not receiver.requests("/hook")
    assert api.post("/notify" + PATH.format("w1"), {"event_type": "message.new",
                                                    "webhook_url": receiver.url("/hook")}).status == 200
