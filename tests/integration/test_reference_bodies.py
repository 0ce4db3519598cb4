"""What the five documents print as sent and as logged, from a record in Kafka to the receiver and back over the log."""
import json
import re

import pytest
from support.receiver import Answer

LOGS = "/notify/api/v1/workspaces/{}/logs"
PRINTED_QUERY = "?event_type=conversation.new&delivery_status=success&order_by=created_at:desc&limit=10&offset=0"
PRINTED_RESPONSE = '{"status": "received", "message": "Webhook processed successfully"}'
PRINTED_OBJECT = {
    "id": 1246965,
    "workspace_id": 1246965,
    "workspace_name": "seasalt.ai bot",
    "value": {
        "event_type": "conversation.new",
        "event_source": "portal",
        "event_triggered_by": "kelly@seasalt.ai",
        "payload": {"conversation": {"id": "conv_123", "title": "New Conversation"}},
        "occurred_at": 1462216307945,
        "sent_at": 1462216307945,
        "subscription_created_by": "kelly@seasalt.ai",
        "subscription_updated_by": "kelly@seasalt.ai",
    },
}
ROW = ["id", "workspace_id", "event_id", "subscription_id", "event_type", "webhook_url", "delivery_status", "status_code",
       "response_body", "delivered_event_obj", "created_at"]

SELEQT_MESSAGE = {
    "id": 123, "message_id": "abc123", "message": "Hello there", "sent_by_lead": True, "sent_at": "2025-06-09T11:22:33Z",
    "created_at": "2025-06-09T11:22:33Z", "updated_at": "2025-06-09T11:22:33Z",
    "campaign": {"id": 456, "name": "Outbound - SaaS founders", "status": "ACTIVE"},
    "lead": {
        "id": 789, "first_name": "Alex", "last_name": "Doe", "profile_picture_url": "https://example.com/alex.jpg",
        "linkedin_profile_url": "https://www.linkedin.com/in/alex-doe/", "linkedin_public_id": "alex-doe",
        "job_title": "Head of Sales", "industry": "SaaS", "headline": "Helping teams close more deals",
        "email": "alex@example.com", "phone_number": "+1 555 0100", "location": "Amsterdam, NL", "status": "IN_REVIEW",
        "company": {
            "id": 321, "name": "Acme Inc", "linkedin_url": "https://www.linkedin.com/company/acme/",
            "logo_url": "https://example.com/logo.png", "website_url": "https://acme.com", "location": "Amsterdam, NL",
            "industry": "Software", "revenue": "$10M-$50M", "amount_of_employees": "51-200",
        },
        "custom_fields": {"plan": "pro"},
    },
}

SUPERSEND_BODY = {
    "type": "click",
    "CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1",
    "contact": {
        "id": "345b2b81-b2cf-4879-bf46-73a33275e22b", "first_name": None, "last_name": None, "email": "andrew@xoxo.capital",
        "linkedin_url": "", "image": None, "title": None, "phone": None, "timezone_offset": None, "company_name": None,
        "industry": None, "note": None, "company_url": None, "one_liner": None, "twitter": None, "twitter_id": None,
        "custom": None, "validated": False, "verified": True, "deleted": False, "finished": True, "bounced": False,
        "interest": "interested", "clicked": True, "opened": False, "replied": False, "appointment": False, "failed": False,
        "state": None, "country": None, "b_test": False, "test_letter": "a", "createdAt": "2023-01-26T04:41:10.639Z",
        "updatedAt": "2023-01-26T04:48:04.762Z", "UserId": "19e81e73-0b7b-449c-8d58-78701c478bb8",
        "TeamId": "fd815f85-80a9-43ba-825b-dc114fa2bfcg", "OrgId": "d829145b-ee91-4fr9-9446-9ad392ac3e3d",
        "CampaignId": "d9ff359d-8d50-378b-989d-34100a0503c1", "ContactConfigId": "90736a4f-31c6-4fb7-8429-89768419312d",
        "SenderId": "1741c004-3c4a-4633-9ec1-586270332c7b",
        "Sender": {"id": "2744c004-3c4a-4633-9ec1-586270332c7b", "provider": "smtp", "send_as": "Andrew Pierno",
                   "email": "ap@supersend.io"},
    },
}


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def produce(installation, event_type, payload, workspace="w1", **fields):
    event = {"id": "evt_987654321", "workspace_id": workspace, "event_type": event_type, "payload": payload, **fields}
    installation.produce([event])


def test_seanotifys_log_as_printed(installation, receiver):
    workspace = "1246965"
    receiver.on("/webhooks/incoming", Answer(200, PRINTED_RESPONSE))
    made = installation.subscribe(receiver.url("/webhooks/incoming"), ["conversation.new"], workspace,
                                  created_by="kelly@seasalt.ai")
    assert made["updated_by"] == "kelly@seasalt.ai"
    installation.dispatch()
    installation.wait_in_force()
    value = PRINTED_OBJECT["value"]
    produce(installation, "conversation.new", value["payload"], 1246965, id=1246965, workspace_name="seasalt.ai bot",
            event_source="portal", event_triggered_by="kelly@seasalt.ai", occurred_at=1462216307945)
    installation.db.wait_count(1, "delivery_logs")
    (request,) = receiver.requests("/webhooks/incoming")
    sent_at = json.loads(request.body)["value"]["sent_at"]
    printed = {**PRINTED_OBJECT, "value": {**value, "sent_at": sent_at}}
    assert request.body == compact(printed), "the fields as printed, in their order, with their types"
    for path in (LOGS.format(workspace), LOGS.format(workspace) + "/" + made["id"]):
        answer = installation.api_of(workspace).get(path + PRINTED_QUERY)
        assert answer.status == 200 and list(answer.json)[:2] == ["total", "data"] and answer.json["total"] == 1, answer
        (row,) = answer.json["data"]
        assert list(row)[:len(ROW)] == ROW
        assert {"workspace_id": "1246965", "event_id": "1246965", "subscription_id": made["id"],
                "event_type": "conversation.new", "webhook_url": receiver.url("/webhooks/incoming"),
                "delivery_status": "success", "status_code": "200", "response_body": PRINTED_RESPONSE}.items() <= row.items()
        assert b'"delivered_event_obj":' + request.body in answer.body
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", row["created_at"]) and isinstance(row["id"], str)
    assert installation.api_of(workspace).get(LOGS.format(workspace) + "?delivery_status=failed").json["total"] == 0


def test_seleqts_payload_as_printed(installation, receiver):
    assert installation.api.put("/api/v1/user/webhook/", {"webhook_url": receiver.url("/seleqt-webhook")}).status == 200
    installation.dispatch()
    installation.wait_in_force()
    produce(installation, "incoming_message", SELEQT_MESSAGE)
    (request,) = receiver.wait_for(1, "/seleqt-webhook")
    assert request.body == compact({"event": "incoming_message", "message": SELEQT_MESSAGE})
    assert not [name for name in request.headers if "signature" in name]


def test_supersends_payload_as_printed_and_the_condition_that_it_shows(installation, receiver):
    types = ["open", "click", "reply", "bounce", "interest", "appointment"]
    installation.subscribe(receiver.url("/all"), types, payload_format="supersend", signature_style="none")
    installation.subscribe(receiver.url("/interested"), types, payload_format="supersend",
                           filter={"event_type": "interest", "payload.contact.interest": "interested"})
    installation.dispatch()
    installation.wait_in_force()
    contact, campaign = SUPERSEND_BODY["contact"], SUPERSEND_BODY["CampaignId"]
    for event_type in types:
        produce(installation, event_type, {"CampaignId": campaign, "contact": contact}, id=event_type)
    produce(installation, "interest", {"CampaignId": campaign, "contact": {**contact, "interest": "not interested"}}, id="no")
    requests = {request.id: request.body for request in receiver.wait_for(7, "/all")}
    assert requests["click"] == compact(SUPERSEND_BODY)
    assert {name: json.loads(requests[name])["type"] for name in types} == {name: name for name in types}
    installation.wait_settled(*types)
    assert [request.id for request in receiver.wait_for(1, "/interested")] == ["interest"]


@pytest.mark.parametrize("given", [
    {}, {"created_by": "user_12345"}, {"type": "SEASALT"}, {"type": "ZAPIER", "created_by": "user_12345"},
])
def test_what_seanotify_calls_optional_may_be_left_out(database_only, given):
    body = {"webhook_url": "https://api.example.com/webhook", "event_types": ["message.new"], "is_enabled": True}
    answer = database_only.api.post("/notify/api/v1/workspaces/w1/subscription", {**body, **given})
    assert answer.status == 201, answer
    assert answer.json["type"] == given.get("type", "SEASALT"), "the default that is printed"
    assert answer.json["created_by"] == given.get("created_by")


@pytest.mark.parametrize("event_types, secret", [
    (["linkedin.message.received", "prospect.qualification.manual"], "your_webhook_secret"),
    (["prospect.qualified", "prospect.responded", "campaign.completed"], "your_webhook_secret_key"),
])
def test_kakiyos_printed_requests(database_only, event_types, secret):
    body = {"name": "CRM Integration", "url": "https://your-app.com/kakiyo/webhook", "secret": secret, "events": event_types}
    api = database_only.api
    answer = api.with_key(None, **{"Authorization": "Bearer " + api.key}).post("/v1/webhooks", body)
    assert answer.status == 201, answer
    assert answer.json == {"id": answer.json["id"], "name": "CRM Integration", "url": "https://your-app.com/kakiyo/webhook",
                           "events": event_types, "active": True, "message": "Webhook created successfully"}


def test_kakiyos_supported_events_say_what_the_document_says(database_only):
    printed = [
        ("prospect.qualified", "Prospect marked as qualified"), ("prospect.responded", "Prospect responded to outreach"),
        ("campaign.completed", "Campaign reached completion"), ("message.sent", "Message sent to prospect"),
        ("connection.accepted", "LinkedIn connection accepted"), ("agent.status_changed", "Agent status changed"),
    ]
    answer = database_only.api.get("/webhooks/test/events")
    assert [(one["event"], one["description"]) for one in answer.json["events"]][:6] == printed
