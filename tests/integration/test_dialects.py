"""The other documents' APIs, as they print them, and their handlers against real deliveries."""
import concurrent.futures
import hashlib
import json
import os
import uuid

import pytest
from servers import wait_until
from support.installation import find_key
from support.node import SOURCES, Handlers
from support.receiver import Answer, Hang
from support.signature import verify_standard
from test_js_json_node import AWKWARD

SELEQT = "/api/v1/user/webhook/"
SALESHANDY = "/v1/webhook/create"
KAKIYO = "/v1/webhooks"
SALESHANDY_NAMES = [
    "email-sent", "email-opened", "email-link-clicked", "reply-received", "email-bounced", "prospect-unsubscribed",
    "prospect-finished", "prospect-outcome-updated", "sequence-paused", "email-account-disconnected", "email-account-paused",
    "inbox-analyser-test-completed", "task-created", "task-updated", "bulk-task-updated", "call-task-updated",
    "linkedin-task-updated", "custom-task-updated", "whatsapp-task-updated"]
KAKIYO_NAMES = ["prospect.qualified", "prospect.responded", "campaign.completed", "message.sent", "connection.accepted",
                "agent.status_changed", "linkedin.message.received", "prospect.qualification.manual"]
SECRET = "your_webhook_secret_key"
# SHA-256 of the handlers' text in the documents, from the first line to the last character.
PRINTED_HANDLERS = {
    "seleqt_handler.js": "839f712bcc1c2003f1ea2d707f266521531bb6e40388ce04ae350f9470b63eba",
    "kakiyo_handler.js": "4ca739b0c7231eef4b4dabd7c27421cbe4539383b31303d487d6f44582acaab3"}
PRINTED_SALESHANDY = {"name": "Email Sent Webhook", "webhookUrl": "https://example.org/webhooks/email-sent",
                      "webhookEvent": ["email-sent"], "headers": {"X-Webhook-Source": "saleshandy"}}
PRINTED_KAKIYO = {"name": "CRM Integration", "url": "https://your-app.com/kakiyo/webhook", "secret": "your_webhook_secret",
                  "events": ["linkedin.message.received", "prospect.qualification.manual"]}


@pytest.fixture
def api(database_only):
    return database_only.api


def natively(api, workspace="w1"):
    answer = api.get(f"/api/v1/workspaces/{workspace}/subscription")
    assert answer.status == 200, answer
    return answer.json["subscriptions"]


def assert_refused(answer, status, field=None, says="", success=False):
    """The dialect's error: RFC 9457 with a message of its own."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["message"] == answer.json["detail"] and answer.json["status"] == status
    assert (answer.json.get("success") is False) == success
    if field is not None:
        assert any(error["field"] == field and says in error["message"] for error in answer.json["errors"]), answer


def read_only_key(installation):
    return find_key(installation.run("key", "create", "--workspace", "w1", "--read-only").stdout)


# Seleqt.


def test_seleqt_as_printed(database_only, api):
    answer = api.put(SELEQT, {"webhook_url": "https://your-app.com/seleqt-webhook"})
    assert answer.status == 200 and answer.text == '{"success":true,"message":"Webhook URL updated successfully"}'
    (made,) = natively(api)
    assert made["webhook_url"] == "https://your-app.com/seleqt-webhook" and made["event_types"] == ["incoming_message"]
    assert (made["payload_format"], made["signature_style"], made["is_enabled"]) == ("seleqt", "none", True)


@pytest.mark.parametrize("path", ["/api/v1/user/webhook/", "/api/v1/user/webhook", "/notify/api/v1/user/webhook/"])
@pytest.mark.parametrize("nothing", [None, ""])
def test_seleqt_has_one_url_a_workspace(database_only, api, path, nothing):
    other = database_only.api_of("w2")
    assert other.put(path, {"webhook_url": "https://other.example.com/"}).status == 200
    for url in ("https://a.example.com/", "https://b.example.com/"):
        assert api.put(path, {"webhook_url": url}).status == 200
        assert [one["webhook_url"] for one in natively(api)] == [url]
    for _ in range(2):
        answer = api.put(path, {"webhook_url": nothing})
        assert answer.status == 200 and answer.json == {"success": True, "message": "Webhook URL updated successfully"}
        assert natively(api) == []
    assert api.put(path, {"webhook_url": "https://c.example.com/"}).status == 200
    assert [one["webhook_url"] for one in natively(api)] == ["https://c.example.com/"]
    assert [one["webhook_url"] for one in natively(other, "w2")] == ["https://other.example.com/"]


def test_what_was_changed_natively_stays_when_seleqts_url_changes(database_only, api):
    api.put(SELEQT, {"webhook_url": "https://a.example.com/"})
    made = natively(api)[0]
    database_only.change(made, name="mine", timeout_seconds=5, is_enabled=False)
    api.put(SELEQT, {"webhook_url": "https://b.example.com/"})
    (after,) = natively(api)
    assert after["id"] == made["id"] and (after["name"], after["timeout_seconds"]) == ("mine", 5)
    assert after["webhook_url"] == "https://b.example.com/" and after["status"] == "active"
    database_only.unsubscribe(after)
    api.put(SELEQT, {"webhook_url": "https://d.example.com/"})
    (again,) = natively(api)
    assert again["id"] != made["id"] and again["webhook_url"] == "https://d.example.com/"


def test_many_at_once_leave_one(database_only, api):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        statuses = set(pool.map(lambda n: api.put(SELEQT, {"webhook_url": f"https://n{n}.example.com/"}).status, range(18)))
    assert statuses == {200} and len(natively(api)) == 1


@pytest.mark.parametrize("body, field, says", [
    ({}, "webhook_url", "is required"),
    ({"webhook_url": 5}, "webhook_url", "expected a URL"),
    ({"webhook_url": "nonsense"}, "webhook_url", ""),
    ({"webhook_url": "https://example.com/", "url": ""}, "url", "no such field"),
])
def test_seleqts_errors(database_only, api, body, field, says):
    assert_refused(api.put(SELEQT, body), 422, field, says, success=True)
    assert natively(api) == []


def test_seleqts_other_errors(database_only, api):
    body = {"webhook_url": "https://example.com/"}
    assert_refused(api.put(SELEQT, raw=b"{"), 400, success=True)
    assert_refused(api.with_key("wrong").put(SELEQT, body), 401, success=True)
    assert_refused(api.with_key(read_only_key(database_only)).put(SELEQT, body), 403, success=True)
    admin = api.with_key(database_only.key(None))
    assert_refused(admin.put(SELEQT, body), 422, "X-Workspace-ID", success=True)
    assert_refused(api.with_key(database_only.key(None), **{"X-Workspace-ID": "nowhere"}).put(SELEQT, body), 404, success=True)
    assert api.with_key(database_only.key(None), **{"X-Workspace-ID": "w1"}).put(SELEQT, body).status == 200
    assert len(natively(api)) == 1


# Saleshandy.


def saleshandy(url, **fields):
    return {**PRINTED_SALESHANDY, "webhookUrl": url, **fields}


def test_saleshandy_as_printed(database_only, api, receiver):
    receiver.on("/down", Answer(500))
    answer = api.post(SALESHANDY, saleshandy(receiver.url("/down")))
    assert answer.status == 201, answer
    number = answer.json["payload"]["id"]
    assert answer.text == json.dumps({"message": "Webhook created successfully", "payload": {
        "id": number, **saleshandy(receiver.url("/down")), "status": "paused", "testDelivery": {"status": "failed"}}},
        separators=(",", ":"))
    (made,) = natively(api)
    assert made["id"] == number and made["status"] == "paused" and made["name"] == "Email Sent Webhook"
    assert made["payload_format"] == "standard" and made["headers"] == {"X-Webhook-Source": "saleshandy"}
    (row,) = database_only.db.rows("SELECT * FROM delivery_logs")
    assert row["test"] and str(row["subscription_id"]) == number and row["event_type"] == "email-sent"


def test_saleshandy_is_active_when_its_test_was_received(database_only, api, receiver):
    answer = api.post(SALESHANDY, saleshandy(receiver.url("/up"), webhookEvent=["task-created", "email-sent"]))
    assert answer.status == 201 and answer.json["payload"]["status"] == "active", answer
    assert answer.json["payload"]["testDelivery"] == {"status": "success"}
    assert answer.json["payload"]["webhookEvent"] == ["task-created", "email-sent"]
    (request,) = receiver.requests("/up")
    assert json.loads(request.body)["type"] == "task-created" and request.headers["x-webhook-source"] == "saleshandy"
    made = natively(api)[0]
    secret = api.get(f"/api/v1/workspaces/w1/subscription/{made['id']}/secret").json["secret"]
    assert made["is_enabled"] and verify_standard(request, secret)


def test_saleshandy_takes_its_nineteen_names(database_only, api, receiver):
    answer = api.post(SALESHANDY, saleshandy(receiver.url("/up"), webhookEvent=SALESHANDY_NAMES, headers={}))
    assert answer.status == 201 and answer.json["payload"]["webhookEvent"] == SALESHANDY_NAMES, answer
    assert answer.json["payload"]["headers"] == {}
    for name in SALESHANDY_NAMES:
        database_only.db.execute("DELETE FROM test_limits")
        assert api.post("/notify" + SALESHANDY, saleshandy(receiver.url("/up"), webhookEvent=[name])).status == 201, name
        assert json.loads(receiver.requests("/up")[-1].body)["type"] == name


def test_saleshandys_test_waits_ten_seconds_at_most(database_only, api, receiver):
    receiver.on("/hang", Hang())
    answer = api.post(SALESHANDY, saleshandy(receiver.url("/hang")))
    assert answer.status == 201 and answer.json["payload"]["status"] == "paused"
    (row,) = database_only.db.rows("SELECT * FROM delivery_logs")
    assert row["error_code"] == "timeout" and 9000 <= row["duration_ms"] <= 12000


@pytest.mark.parametrize("change, field, says", [
    ({"headers": None}, "headers", "is required"),
    ({"headers": ...}, "headers", "is required"),
    ({"headers": []}, "headers", ""),
    ({"headers": {"Host": "x"}}, "headers.Host", ""),
    ({"name": ...}, "name", "is required"),
    ({"name": 7}, "name", "expected a text"),
    ({"webhookUrl": ...}, "webhookUrl", "is required"),
    ({"webhookUrl": "nonsense"}, "webhookUrl", ""),
    ({"webhookEvent": ...}, "webhookEvent", "is required"),
    ({"webhookEvent": []}, "webhookEvent", "an array of 1 to"),
    ({"webhookEvent": "email-sent"}, "webhookEvent", "an array of 1 to"),
    ({"webhookEvent": ["email-snet"]}, "webhookEvent", "did you mean email-sent?"),
    ({"webhookEvent": ["email-sent", "message.new"]}, "webhookEvent", "there is no event type"),
    ({"webhookEvent": ["*"]}, "webhookEvent", "there is no event type"),
    ({"webhookEvent": ["a b"]}, "webhookEvent[0]", ""),
    ({"secret": "something"}, "secret", "no such field"),
])
def test_saleshandys_errors(database_only, api, receiver, change, field, says):
    body = {name: value for name, value in saleshandy(receiver.url("/up"), **change).items() if value is not ...}
    assert_refused(api.post(SALESHANDY, body), 422, field, says)
    assert natively(api) == [] and not receiver.requests("/up")


def test_saleshandys_tests_are_counted(database_only, api, receiver):
    statuses = [api.post(SALESHANDY, saleshandy(receiver.url("/up"))).status for _ in range(11)]
    assert statuses == [201] * 10 + [429] and len(natively(api)) == 10
    assert_refused(api.post(SALESHANDY, saleshandy(receiver.url("/up"))), 429)
    assert_refused(api.with_key(read_only_key(database_only)).post(SALESHANDY, PRINTED_SALESHANDY), 403)
    assert_refused(api.with_key(database_only.key(None)).post(SALESHANDY, PRINTED_SALESHANDY), 422, "X-Workspace-ID")


# Kakiyo.


def bearer(api, key=None):
    return api.with_key(None, **{"Authorization": "Bearer " + (key or api.key)})


@pytest.mark.parametrize("path", ["/v1/webhooks", "/webhooks", "/notify/v1/webhooks"])
def test_kakiyo_as_printed(database_only, api, path):
    answer = bearer(api).post(path, PRINTED_KAKIYO)
    assert answer.status == 201, answer
    number = answer.json["id"]
    assert answer.text == json.dumps({"id": number, "name": "CRM Integration", "url": "https://your-app.com/kakiyo/webhook",
                                      "events": ["linkedin.message.received", "prospect.qualification.manual"],
                                      "active": True, "message": "Webhook created successfully"}, separators=(",", ":"))
    (made,) = natively(api)
    assert made["id"] == number and made["timeout_seconds"] == 30 and made["payload_format"] == "kakiyo"
    assert (made["signature_style"], made["signature_header"]) == ("hex", "x-kakiyo-signature")
    assert api.get(f"/api/v1/workspaces/w1/subscription/{number}/secret").json["secret"] == "your_webhook_secret"


def test_kakiyo_without_a_secret_is_not_signed(database_only, api):
    for secret in ({}, {"secret": None}):
        body = {name: value for name, value in PRINTED_KAKIYO.items() if name != "secret"}
        assert bearer(api).post(KAKIYO, {**body, **secret, "events": KAKIYO_NAMES}).status == 201
    assert [(one["signature_style"], one["signature_header"], one["event_types"]) for one in natively(api)] == \
        [("none", None, KAKIYO_NAMES)] * 2


@pytest.mark.parametrize("change, field, says", [
    ({"name": ...}, "name", "is required"),
    ({"url": ...}, "url", "is required"),
    ({"url": "your-app.com"}, "url", ""),
    ({"events": ...}, "events", "is required"),
    ({"events": ["prospect.qualifed"]}, "events", "did you mean prospect.qualified?"),
    ({"events": ["message.new"]}, "events", "there is no event type"),
    ({"events": ["prospect.*"]}, "events", "there is no event type"),
    ({"secret": "short"}, "secret", "8 to 512"),
    ({"secret": 12345678}, "secret", ""),
    ({"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "secret", "base64"),
    ({"headers": {}}, "headers", "no such field"),
])
def test_kakiyos_errors(database_only, api, change, field, says):
    body = {name: value for name, value in {**PRINTED_KAKIYO, **change}.items() if value is not ...}
    assert_refused(bearer(api).post(KAKIYO, body), 422, field, says)
    assert natively(api) == []


def test_kakiyos_other_errors(database_only, api):
    assert_refused(api.with_key(None).post(KAKIYO, PRINTED_KAKIYO), 401)
    assert_refused(bearer(api, read_only_key(database_only)).post(KAKIYO, PRINTED_KAKIYO), 403)
    assert_refused(bearer(api).get("/v1/webhooks/test/example/message.new"), 404)
    assert_refused(bearer(api, database_only.key(None)).post(KAKIYO, PRINTED_KAKIYO), 422, "X-Workspace-ID")


@pytest.mark.parametrize("root", ["/v1", ""])
def test_kakiyos_events_and_examples(database_only, api, root):
    answer = bearer(api).get(root + "/webhooks/test/events")
    assert answer.status == 200 and [one["event"] for one in answer.json["events"]] == KAKIYO_NAMES
    assert answer.json["events"][0] == {"event": "prospect.qualified", "description": "Prospect marked as qualified"}
    for name in KAKIYO_NAMES:
        body = bearer(api).get(root + "/webhooks/test/example/" + name)
        assert body.status == 200 and list(body.json) == ["event", "data", "timestamp"] and body.json["event"] == name
        assert body.json["data"] and body.json["timestamp"].endswith("Z")


def test_kakiyos_test_sends(database_only, api, receiver):
    own = bearer(api)
    receiver.on("/no", Answer(404, "who?"))
    answer = own.post("/v1/webhooks/test", {"url": receiver.url("/no"), "event": "message.sent"})
    assert answer.status == 200 and answer.json.pop("durationMs") >= 0
    assert answer.json == {"success": False, "message": "Test event could not be delivered", "event": "message.sent",
                           "url": receiver.url("/no"), "statusCode": 404, "responseBody": "who?",
                           "error": "the endpoint answered 404"}
    assert "x-kakiyo-signature" not in receiver.requests("/no")[0].headers
    made = own.post(KAKIYO, {**PRINTED_KAKIYO, "url": receiver.url("/yes")}).json["id"]
    for body in ({"webhookId": made}, {"url": receiver.url("/yes")}, {"url": receiver.url("/else"), "secret": SECRET}):
        answer = own.post("/webhooks/test", {**body, "event": "prospect.qualified"})
        assert answer.status == 200 and answer.json["success"], answer
    first, second = receiver.requests("/yes")
    assert "x-kakiyo-signature" in first.headers and "x-kakiyo-signature" in second.headers
    assert "x-kakiyo-signature" in receiver.requests("/else")[0].headers
    ids = [str(row["subscription_id"]) for row in database_only.db.rows("SELECT * FROM delivery_logs ORDER BY id")]
    assert ids == [str(uuid.UUID(int=0)), made, made, str(uuid.UUID(int=0))]


@pytest.mark.parametrize("body, field, says", [
    ({"event": "message.sent"}, "url", "either url or webhookId"),
    ({"event": "message.sent", "url": "https://example.com/", "webhookId": "x"}, "url", "either url or webhookId"),
    ({"event": "message.sent", "url": 5}, "url", "expected a text"),
    ({"event": "message.sent", "url": "https://example.com/", "webhookId": 5}, "webhookId", "expected a text"),
    ({"event": "message.snt", "url": "https://example.com/"}, "event", "did you mean message.sent?"),
    ({"url": "https://example.com/"}, "event", "is required"),
    ({"event": 5, "url": "https://example.com/"}, "event", "expected a text"),
    ({"event": "message.sent", "url": "nonsense"}, "url", ""),
    ({"event": "message.sent", "url": "https://example.com/", "secret": "short"}, "secret", "8 to 512"),
    ({"event": "message.sent", "webhookId": "x", "secret": SECRET}, "secret", "goes with url alone"),
])
def test_kakiyos_test_errors(database_only, api, body, field, says):
    assert_refused(bearer(api).post("/v1/webhooks/test", body), 422, field, says)


def test_kakiyo_tests_no_webhook_of_others(database_only, api, receiver):
    made = bearer(database_only.api_of("w2")).post(KAKIYO, {**PRINTED_KAKIYO, "url": receiver.url("/w2")}).json["id"]
    for number in (made, str(uuid.uuid4()), "nonsense"):
        assert_refused(bearer(api).post("/v1/webhooks/test", {"webhookId": number, "event": "message.sent"}), 404)
    assert not receiver.requests("/w2")


# The printed handlers.


def seeded(installation):
    return installation.db.rows("SELECT event_type, example FROM event_types WHERE workspace_id = '' AND dialect <> 'hookcast' "
                                "ORDER BY dialect, position")


def wait_for_rows(installation, n):
    wait_until(lambda: installation.db.count("delivery_logs") >= n, 60, 0.2, f"{n} rows in the log")
    rows = installation.db.rows("SELECT event_id, status_code, response_body FROM delivery_logs "
                                "WHERE delivery_status <> 'success'")
    assert not rows, rows[:5]
    assert installation.db.count("delivery_logs") == n


def raw_event(number, event_type, payload):
    return (f'{{"id":"evt_{number}","workspace_id":"w1","event_type":"{event_type}","occurred_at":1760000000000,'
            f'"payload":{payload}}}')


def no_json(word):
    raise ValueError(word)


def valid_json(text):
    try:
        json.loads(text, parse_constant=no_json)
        return True
    except ValueError:
        return False


def awkward():
    """Payloads that are JSON, and not so deep that an event around them is too deep."""
    return [text for text in AWKWARD if valid_json(text) and text.count("[") < 60 and text.count("{") < 60]


def deliver(installation, events):
    """Events of many types over one topic; waits until each was received."""
    installation.kafka.produce([{"topic": installation.group + "_all", "key": "w1", "value": raw_event(number, *event)}
                                for number, event in enumerate(events)])
    wait_for_rows(installation, len(events))


def serve_with_one_topic(installation):
    installation.env["HOOKCAST_TOPICS"] = installation.group + "_all"
    installation.serve()


@pytest.mark.parametrize("name", PRINTED_HANDLERS)
def test_the_handlers_are_as_they_are_printed(name):
    with open(os.path.join(SOURCES, name), "rb") as file:
        assert hashlib.sha256(file.read().strip(b"\n")).hexdigest() == PRINTED_HANDLERS[name]


def test_kakiyos_handler_accepts_every_type_and_awkward_payloads(installation):
    with Handlers() as handlers:
        serve_with_one_topic(installation)
        made = bearer(installation.api).post(KAKIYO, {"name": "n", "url": handlers.url("/kakiyo/webhook"), "secret": SECRET,
                                                      "events": KAKIYO_NAMES}).json["id"]
        installation.change(made, event_types=["*"])
        installation.wait_in_force()
        events = [(row["event_type"], json.dumps(row["example"], ensure_ascii=False)) for row in seeded(installation)]
        events += [("message.sent", text) for text in awkward()]
        assert len(events) > 140
        deliver(installation, events)
        printed = handlers.end()
    for wanted in ("Qualified prospect: Robin Vale", "Responded: Robin Vale", "Completed: Founders in Lisbon",
                   "Unhandled event: message.sent"):
        assert wanted in printed


def test_seleqts_handler_accepts_every_type_and_awkward_payloads(installation):
    with Handlers() as handlers:
        serve_with_one_topic(installation)
        assert installation.api.put(SELEQT, {"webhook_url": handlers.url("/seleqt-webhook")}).status == 200
        made = natively(installation.api)[0]
        installation.change(made, event_types=["*"])
        installation.wait_in_force()
        events = [(row["event_type"], json.dumps(row["example"], ensure_ascii=False)) for row in seeded(installation)]
        events += [("incoming_message", f'{{"message":{text},"lead":{{"first_name":{text},"last_name":"x"}}}}')
                   for text in awkward() if "__proto__" not in text and "toString" not in text and "valueOf" not in text]
        deliver(installation, events)
        printed = handlers.end()
    assert "New message from Alex Doe: Hello there" in printed


def test_saleshandys_nineteen_are_delivered(installation, receiver):
    serve_with_one_topic(installation)
    answer = installation.api.post(SALESHANDY, saleshandy(receiver.url("/up"), webhookEvent=SALESHANDY_NAMES))
    assert answer.json["payload"]["status"] == "active"
    installation.wait_in_force()
    installation.kafka.produce([{"topic": installation.group + "_all", "key": "w1", "value": installation.event(name)}
                                for name in SALESHANDY_NAMES])
    receiver.wait_for(20, "/up")
    assert {json.loads(request.body)["type"] for request in receiver.requests("/up")} == set(SALESHANDY_NAMES)
