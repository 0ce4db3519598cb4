"""The REST API against SeaNotify's document, and what the contract adds: errors, tenants, secrets."""
import glob
import json
import os
import random
import re
import select
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
import uuid

import pytest
from servers import free_port
from support.api import Api, moment
from support.installation import find_key
from support.process import ROOT, base_environment

ALL = "/api/v1/workspaces/{}/subscription"
PRINTED_CREATE = {
    "webhook_url": "https://api.example.com/webhook",
    "event_types": ["conversation.new", "message.new"],
    "created_by": "user_12345",
    "is_enabled": True,
    "type": "SEASALT",
}
PRINTED_FIELDS = ["webhook_url", "event_types", "created_by", "is_enabled", "type", "id", "created_at", "updated_at",
                  "updated_by"]
PRINTED_TYPES = [
    ("conversation.new", "Triggered when a new conversation is created"),
    ("conversation.updated", "Triggered when a conversation is updated"),
    ("message.new", "Triggered when a message is sent"),
    ("conversation.ended", "Triggered when a conversation is ended"),
    ("conversation.label.added", "Triggered when a label is added to a conversation"),
    ("conversation.label.deleted", "Triggered when a label is removed from a conversation"),
    ("call.new", "Triggered when a call starts"),
    ("call.ended", "Triggered when a call ends"),
    ("call.updated", "Triggered when a call summary is generated"),
    ("call.missed", "Triggered when a call is missed"),
    ("contact.new", "Triggered when a contact is created"),
    ("contact.updated", "Triggered when a contact is updated"),
    ("contact.deleted", "Triggered when a contact is deleted"),
    ("contact.label.added", "Triggered when a label is added to a contact"),
    ("contact.label.deleted", "Triggered when a label is removed from a contact"),
]
ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$")


@pytest.fixture
def api(database_only):
    return database_only.api


def created(api, workspace="w1", **fields):
    answer = api.post(ALL.format(workspace), {**PRINTED_CREATE, **fields})
    assert answer.status == 201, answer
    return answer.json


def one(subscription, workspace="w1"):
    return ALL.format(workspace) + "/" + subscription["id"]


def assert_problem(answer, status, code):
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert list(answer.json) == ["type", "title", "status", "detail", "code", "errors"]
    assert (answer.json["status"], answer.json["code"]) == (status, code)
    assert answer.json["title"] and answer.json["detail"] and isinstance(answer.json["errors"], list)
    return answer.json


def assert_field(answer, field, says=""):
    """422, and one of its errors is about this field."""
    errors = assert_problem(answer, 422, "invalid_fields")["errors"]
    assert all(sorted(error) == ["field", "message"] for error in errors)
    found = [error["message"] for error in errors if error["field"] == field]
    assert found and says in found[0], answer


# The document, request by request.


@pytest.mark.parametrize("prefix", ["", "/notify"])
def test_create_as_printed(api, prefix):
    raw = b"""{
    "webhook_url": "https://api.example.com/webhook",
    "event_types": ["conversation.new", "message.new"],
    "created_by": "user_12345",
    "is_enabled": true,
    "type": "SEASALT"
  }"""
    answer = api.post(prefix + ALL.format("w1"), raw=raw)
    assert answer.status == 201
    assert list(answer.json)[:9] == PRINTED_FIELDS
    assert {name: answer.json[name] for name in PRINTED_CREATE} == PRINTED_CREATE
    assert answer.headers["location"] == f"{prefix}{ALL.format('w1')}/{answer.json['id']}"
    assert uuid.UUID(answer.json["id"])


def test_get_one_as_printed(api):
    made = created(api)
    answer = api.get(one(made))
    assert answer.status == 200
    assert list(answer.json)[:9] == PRINTED_FIELDS
    assert {name: answer.json[name] for name in PRINTED_CREATE} == PRINTED_CREATE
    assert answer.json == {name: value for name, value in made.items() if name != "secret"}


def test_list_as_printed(api):
    made = created(api)
    answer = api.get(ALL.format("w1"))
    assert answer.status == 200 and list(answer.json) == ["subscriptions"]
    listed, = answer.json["subscriptions"]
    assert list(listed)[:9] == PRINTED_FIELDS
    assert {**PRINTED_CREATE, "id": made["id"], "updated_by": "user_12345"}.items() <= listed.items()
    assert ISO.match(listed["created_at"]) and listed["updated_at"] == listed["created_at"]


def test_patch_as_printed(api):
    made = created(api, webhook_url="https://old.example.com/", created_by="someone", event_types=["call.new"])
    answer = api.patch(one(made), raw=b"""{
    "webhook_url": "https://api.example.com/webhook",
    "event_types": ["conversation.new", "message.new"],
    "updated_by": "user_12345",
    "is_enabled": true
  }""")
    assert answer.status == 200
    assert list(answer.json)[:9] == PRINTED_FIELDS
    assert {**PRINTED_CREATE, "created_by": "someone", "id": made["id"], "created_at": made["created_at"],
            "updated_by": "user_12345"}.items() <= answer.json.items()
    assert moment(answer.json["updated_at"]) > moment(made["updated_at"])
    assert api.get(one(made)).json == answer.json


def test_delete_as_printed(api):
    made = created(api)
    answer = api.delete(one(made))
    assert (answer.status, answer.body) == (204, b"")
    for method in ("GET", "DELETE"):
        assert_problem(api.request(method, one(made)), 404, "not_found")
    assert api.get(ALL.format("w1")).json == {"subscriptions": []}


@pytest.mark.parametrize("path", ["/api/v1/event_types", "/notify/api/v1/event_types", "/api/v1/event_types/"])
def test_event_types_as_printed(api, path):
    answer = api.get(path)
    assert answer.status == 200
    assert answer.json == [{"event_type": name, "description": text} for name, text in PRINTED_TYPES]


def test_event_types_of_the_workspace_follow(database_only, api):
    add = "INSERT INTO event_types (workspace_id, event_type, description, archived_at) VALUES (%s, %s, %s, %s)"
    database_only.db.execute(add, "w1", "order.paid", "An order was paid", None)
    database_only.db.execute(add, "w1", "order.gone", "No longer used", "2024-01-01")
    database_only.db.execute(add, "w2", "secret.plan", "Of another workspace", None)
    assert api.get("/api/v1/event_types").json[15:] == [{"event_type": "order.paid", "description": "An order was paid"}]
    assert created(api, event_types=["order.paid"])["event_types"] == ["order.paid"]
    for name in ("secret.plan", "order.gone"):
        assert_field(api.post(ALL.format("w1"), {**PRINTED_CREATE, "event_types": [name]}), "event_types", name)


def test_event_types_of_other_dialects(database_only, api):
    counts = {"seanotify": 15, "seleqt": 1, "saleshandy": 19, "kakiyo": 8, "supersend": 6}
    for dialect, count in counts.items():
        types = api.get(f"/api/v1/event_types?dialect={dialect}").json
        assert len({one["event_type"] for one in types}) == count and all(one["description"] for one in types)
    assert_field(api.get("/api/v1/event_types?dialect=klingon"), "dialect")
    assert_field(api.get("/api/v1/event_types?dialect=%00"), "dialect")
    assert database_only.db.count("event_types", "example IS NULL OR jsonb_typeof(example) <> 'object'") == 0


# What a subscription has besides.


def test_every_field_comes_back_and_is_stored(database_only, api):
    fields = {
        "name": "Mine", "type": "ZAPIER", "signature_style": "both", "signature_header": "x-my-signature",
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "payload_format": "standard", "timeout_seconds": 2.5,
        "retry_schedule": [1, "5m", 0.25], "max_in_flight": 7, "headers": {"X-Source": "hookcast", "X-Api-Token": "t0ken"},
    }
    shown = {**fields, "retry_schedule": [1, 300, 0.25], "headers": {"X-Source": "hookcast", "X-Api-Token": "***"},
             "payload_template": None, "status": "active", "disabled_reason": None}
    made = created(api, **fields)
    assert shown.items() <= made.items()
    row = database_only.db.row("SELECT * FROM subscriptions")
    assert (row["timeout_ms"], row["retry_schedule_ms"], row["max_in_flight"]) == (2500, [1000, 300000, 250], 7)
    for clear in ("name", "headers", "signature_header", "timeout_seconds", "retry_schedule", "max_in_flight"):
        answer = api.patch(one(made), {"updated_by": "u", clear: None})
        assert answer.status == 200 and answer.json[clear] is None
    assert api.patch(one(made), {"updated_by": "u", "retry_schedule": []}).json["retry_schedule"] == []
    row = database_only.db.row("SELECT * FROM subscriptions")
    assert (row["headers"], row["timeout_ms"], row["retry_schedule_ms"]) == (None, None, [])


def test_a_key_pair_is_made_kept_rotated_and_thrown_away(database_only, api):
    plain = created(api)
    assert (plain["asymmetric"], plain["public_key"]) == (False, None)
    made = created(api, asymmetric=True, signature_style="both")
    assert made["asymmetric"] is True and re.fullmatch(r"whpk_[A-Za-z0-9+/]{43}=", made["public_key"])
    shown = api.get(one(made)).json
    assert (shown["asymmetric"], shown["public_key"]) == (True, made["public_key"])
    assert {row["public_key"] for row in api.get(ALL.format("w1")).json["subscriptions"]} == {None, made["public_key"]}
    # What else changes leaves the pair alone, the secret too; a style without room for it is refused.
    again = api.patch(one(made), {"updated_by": "u", "secret": "another secret", "asymmetric": True, "name": "n"})
    assert again.json["public_key"] == made["public_key"]
    for style in ("hex", "none"):
        refused = api.patch(one(made), {"updated_by": "u", "signature_style": style})
        assert refused.status == 422 and refused.json["errors"][0]["field"] == "signature_style"
        refused = api.patch(one(plain), {"updated_by": "u", "signature_style": style, "asymmetric": True})
        assert refused.status == 422 and refused.json["errors"][0]["field"] == "asymmetric"
    assert api.get(one(plain)).json["signature_style"] == "standard"
    rotated = api.post(one(made) + "/secret/rotate").json
    assert rotated["public_key"] not in (None, made["public_key"])
    assert [(old["secret"], old["public_key"]) for old in rotated["previous"]] == [("another secret", made["public_key"])]
    assert api.get(one(made)).json["public_key"] == rotated["public_key"]
    # Off, also with a style that has no room for it; on again, it is another pair.
    off = api.patch(one(made), {"updated_by": "u", "signature_style": "hex", "asymmetric": False})
    assert off.status == 200 and (off.json["asymmetric"], off.json["public_key"]) == (False, None)
    secrets = api.get(one(made) + "/secret").json
    assert secrets["secret"] == rotated["secret"] and secrets["public_key"] is None
    assert [old["public_key"] for old in secrets["previous"]] == [None]
    on = api.patch(one(made), {"updated_by": "u", "signature_style": "standard", "asymmetric": True}).json
    assert on["public_key"] not in (None, made["public_key"], rotated["public_key"])
    # Nowhere a private one, and nothing unsealed in the database.
    for text in (json.dumps(made), json.dumps(rotated), json.dumps(on), api.get(one(made) + "/secret").text,
                 api.get("/api/v1/workspaces/w1/audit").text):
        assert "whsk_" not in text
    dump = json.dumps(database_only.db.rows("SELECT * FROM subscriptions") + database_only.db.rows("SELECT * FROM audit"),
                      default=str)
    assert "whsk_" not in dump and b"whsk_".hex() not in dump


def test_a_template_makes_the_format_custom(api):
    made = created(api, payload_template={"what": "{{event_type}}", "data": "{{payload}}"})
    assert made["payload_format"] == "custom"
    assert json.loads(made["payload_template"]) == {"what": "{{event_type}}", "data": "{{payload}}"}
    text = '{ "n": 1.00, "data": "{{payload}}" }'
    assert api.patch(one(made), {"updated_by": "u", "payload_template": text}).json["payload_template"] == text
    assert_field(api.patch(one(made), {"updated_by": "u", "payload_template": None}), "payload_template")
    assert_field(api.patch(one(made), {"updated_by": "u", "payload_format": "raw", "payload_template": {}}),
                 "payload_template")
    answer = api.patch(one(made), {"updated_by": "u", "payload_format": "raw"})
    assert (answer.json["payload_format"], answer.json["payload_template"]) == ("raw", None)
    assert_field(api.patch(one(made), {"updated_by": "u", "payload_format": "custom"}), "payload_template")


def test_pausing_and_reviving(database_only, api):
    made = created(api, is_enabled=False)
    assert (made["is_enabled"], made["status"]) == (False, "paused")

    def enable(on):
        answer = api.patch(one(made), {"updated_by": "u", "is_enabled": on})
        return answer.json["is_enabled"], answer.json["status"], answer.json["disabled_reason"]
    before = database_only.db.value("SELECT activation FROM subscriptions")
    assert enable(True) == (True, "active", None)
    assert database_only.db.value("SELECT activation FROM subscriptions") == before + 1
    database_only.db.execute("UPDATE subscriptions SET status = 'disabled', disabled_reason = 'gone'")
    shown = api.get(one(made)).json
    assert (shown["is_enabled"], shown["status"], shown["disabled_reason"]) == (False, "disabled", "gone")
    assert api.patch(one(made), {"updated_by": "u", "name": "x"}).json["status"] == "disabled"
    assert enable(True) == (True, "active", None)


DELIVERY_FIELDS = ["rate_limit_per_second", "delivery_mode", "delay_seconds", "batch_max_events", "batch_max_bytes",
                   "batch_max_wait_seconds", "filter", "notify_email"]


def delivery_of(subscription):
    return [subscription[name] for name in DELIVERY_FIELDS]


def test_when_webhooks_leave_is_a_mode_with_what_belongs_to_it(database_only, api):
    made = created(api)
    assert delivery_of(made) == [None, "immediate", None, None, None, None, None, None]
    assert list(made)[:9] == PRINTED_FIELDS

    def change(**fields):
        answer = api.patch(one(made), {"updated_by": "u", **fields})
        assert answer.status == 200, answer
        assert api.get(one(made)).json == answer.json == api.get(ALL.format("w1")).json["subscriptions"][0]
        return delivery_of(answer.json)[1:6]
    assert change(delivery_mode="delayed", delay_seconds=1.5) == ["delayed", 1.5, None, None, None]
    assert_field(api.patch(one(made), {"updated_by": "u", "batch_max_events": 5}), "batch_max_events")
    assert_field(api.patch(one(made), {"updated_by": "u", "delay_seconds": None}), "delay_seconds")
    assert change(name="x") == ["delayed", 1.5, None, None, None]
    assert change(delay_seconds=2592000) == ["delayed", 2592000, None, None, None]
    assert change(delivery_mode="batched") == ["batched", None, 100, 65536, 5]
    assert change(batch_max_events=7, batch_max_wait_seconds=0.1 + 1) == ["batched", None, 7, 65536, 1.1]
    assert_field(api.patch(one(made), {"updated_by": "u", "delay_seconds": 5}), "delay_seconds")
    assert change(batch_max_bytes=1048576, batch_max_events=None) == ["batched", None, 100, 1048576, 1.1]
    row = database_only.db.row("SELECT * FROM subscriptions")
    assert (row["batch_max_events"], row["batch_max_bytes"], row["batch_max_wait_ms"], row["delay_ms"]) == (
        None, 1048576, 1100, None)
    assert change(delivery_mode="immediate") == ["immediate", None, None, None, None]
    assert change(delivery_mode="batched") == ["batched", None, 100, 65536, 5]
    made_batched = created(api, delivery_mode="batched", batch_max_events=1000, batch_max_bytes=1024,
                           batch_max_wait_seconds=86400, rate_limit_per_second=100000, notify_email="ops@example.com",
                           filter={"payload.amount": {"gte": 100}})
    assert delivery_of(made_batched) == [100000, "batched", None, 1000, 1024, 86400, {"payload.amount": {"gte": 100}},
                                         "ops@example.com"]
    cleared = api.patch(one(made_batched), {"updated_by": "u", "rate_limit_per_second": None, "filter": None,
                                            "notify_email": None}).json
    assert delivery_of(cleared) == [None, "batched", None, 1000, 1024, 86400, None, None]


def test_a_filter_is_answered_as_it_was_written(database_only, api):
    text = '{ "payload.price": {"gt": 0.10, "lt": 12345678901234567},\n "payload.name": "\\u00fc\\/" }'
    made = created(api)
    answer = api.patch(one(made), raw=('{"filter": ' + text + ', "updated_by": "u"}').encode())
    assert answer.status == 200, answer
    assert database_only.db.value("SELECT filter FROM subscriptions") == text
    assert text in answer.text and text in api.get(one(made)).text and text in api.get(ALL.format("w1")).text
    assert answer.json["filter"] == json.loads(text)


def test_health_is_shown_and_begins_anew_with_the_subscription(database_only, api):
    made = created(api)
    assert (made["failing_since"], made["last_success_at"]) == (None, None)
    database_only.db.execute("INSERT INTO health (workspace_id, subscription_id, last_success_at, last_failure_at, "
                             "failing_since) SELECT workspace_id, id, '2024-03-10T15:30:00Z', '2024-03-16T15:30:00Z', "
                             "'2024-03-10T15:30:01.5Z' FROM subscriptions")
    database_only.db.execute("UPDATE subscriptions SET status = 'disabled', disabled_reason = 'five days'")
    shown = api.get(one(made)).json
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "five days")
    assert (shown["failing_since"], shown["last_success_at"]) == ("2024-03-10T15:30:01.500Z", "2024-03-10T15:30:00Z")
    named = api.patch(one(made), {"updated_by": "u", "name": "x"}).json
    assert (named["status"], named["failing_since"]) == ("disabled", shown["failing_since"])
    revived = api.patch(one(made), {"updated_by": "u", "is_enabled": True}).json
    assert (revived["status"], revived["disabled_reason"], revived["failing_since"]) == ("active", None, None)
    assert revived["last_success_at"] == shown["last_success_at"]
    assert api.get(one(made)).json == revived
    assert database_only.db.value("SELECT failing_since IS NULL FROM health")


def test_headers_that_were_shown_masked_may_be_sent_back(database_only, api):
    made = created(api, headers={"Authorization": "Bearer abc", "X-A": "1"})
    shown = made["headers"]
    assert shown == {"Authorization": "***", "X-A": "1"}
    sealed = database_only.db.value("SELECT headers FROM subscriptions")
    answer = api.patch(one(made), {"updated_by": "u", "headers": {**shown, "X-A": "2"}})
    assert answer.json["headers"] == {"Authorization": "***", "X-A": "2"}
    # The sealed bytes grow and shrink with the text: "***" would be seven bytes shorter.
    assert len(database_only.db.value("SELECT headers FROM subscriptions")) == len(sealed)


def test_lists_in_every_order(database_only, api):
    urls = ["https://c.example.com/", "https://a.example.com/", "https://b.example.com/"]
    made = [created(api, webhook_url=url, type=kind) for url, kind in zip(urls, ["ZAPIER", "SEASALT", "ZAPIER"])]
    ids = [one["id"] for one in made]
    assert api.patch(one(made[0]), {"updated_by": "u"}).status == 200

    def listed(query=""):
        answer = api.get(ALL.format("w1") + query)
        assert answer.status == 200, answer
        return [ids.index(one["id"]) for one in answer.json["subscriptions"]]
    assert listed() == listed("?order_by=created_at:desc") == [2, 1, 0]
    assert listed("?order_by=created_at:asc") == listed("?order_by=created_at") == [0, 1, 2]
    assert listed("?order_by=updated_at:asc") == [1, 2, 0]
    assert listed("?order_by=updated_at:desc") == [0, 2, 1]
    assert listed("?order_by=webhook_url:asc") == [1, 2, 0]
    assert listed("?order_by=webhook_url:desc") == [0, 2, 1]
    assert listed("?order_by=type:asc")[0] == 1 and listed("?order_by=type:desc")[2] == 1
    assert sorted(listed("?type=ZAPIER")) == [0, 2] and listed("?type=SEASALT&order_by=type:asc") == [1]


def test_a_list_longer_than_a_page_has_each_once(database_only, api):
    made = created(api)
    database_only.db.execute(
        "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, created_at, type) "
        "SELECT workspace_id, gen_random_uuid(), 'https://example.com/' || n % 7, event_types, "
        "created_at + (n / 3) * interval '1 microsecond', CASE WHEN n % 2 = 0 THEN 'ZAPIER' ELSE 'SEASALT' END "
        "FROM subscriptions, generate_series(1, 1700) n")
    for field in ("created_at", "updated_at", "type", "webhook_url"):
        for direction in ("asc", "desc"):
            answer = api.get(ALL.format("w1") + f"?order_by={field}:{direction}").json["subscriptions"]
            assert len({one["id"] for one in answer}) == len(answer) == 1701
            keys = [one[field] for one in answer]
            assert keys == sorted(keys, reverse=direction == "desc")
    assert made["id"] in {one["id"] for one in answer}


# Secrets.


def test_a_secret_is_shown_on_creation_and_by_its_own_route_only(api):
    made = created(api)
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made["secret"])
    assert api.get(one(made) + "/secret").json == {"secret": made["secret"], "public_key": None, "previous": []}
    assert "secret" not in api.get(one(made)).json
    assert made["secret"] not in api.get(ALL.format("w1")).text
    changed = api.patch(one(made), {"updated_by": "u", "secret": "my own secret"})
    assert "secret" not in changed.json
    assert api.get(one(made) + "/secret").json["secret"] == "my own secret"


def test_rotation_keeps_the_former_secret_for_a_day(api):
    made = created(api)
    rotated = api.post(one(made) + "/secret/rotate")
    assert rotated.status == 200 and rotated.json["secret"] != made["secret"]
    former, = rotated.json["previous"]
    assert former["secret"] == made["secret"] and ISO.match(former["valid_until"])
    assert api.get(one(made) + "/secret").json == rotated.json
    own = api.post(one(made) + "/secret/rotate", {"secret": "another one of mine"}).json
    assert own["secret"] == "another one of mine" and len(own["previous"]) == 2
    for _ in range(5):
        many = api.post(one(made) + "/secret/rotate", {}).json
    assert len(many["previous"]) == 4
    assert_field(api.post(one(made) + "/secret/rotate", {"secrt": "x"}), "secrt")
    assert_field(api.post(one(made) + "/secret/rotate", {"secret": "short"}), "secret")


def test_who_does_not_sign_has_no_secret_until_it_does(api):
    made = created(api, signature_style="none")
    assert made["secret"] is None and api.get(one(made) + "/secret").json == {"secret": None, "public_key": None, "previous": []}
    assert api.patch(one(made), {"updated_by": "u", "signature_style": "hex"}).status == 200
    assert api.get(one(made) + "/secret").json["secret"].startswith("whsec_")


def test_secrets_are_sealed_and_in_no_log(database_only, api):
    secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "header-value-4711"]
    made = created(api, secret=secrets[0], headers={"X-Token": secrets[1]})
    api.patch(one(made), {"updated_by": "u", "secret": "tiny", "headers": {"X-Token": secrets[1] + "\n"}})
    api.post(ALL.format("w1"), raw=b'{"secret": "' + secrets[0].encode() + b'" "x"}')
    api.with_key("hc_wrong_" + secrets[1]).get(one(made))
    secrets.append(api.get(one(made) + "/secret").json["secret"])
    secrets.append(api.post(one(made) + "/secret/rotate").json["secret"])
    stored = database_only.db.row("SELECT secrets, headers FROM subscriptions")
    log = database_only.api_process.log()
    assert "/secret" in log
    for text in secrets:
        assert text.encode() not in stored["secrets"] and text.encode() not in stored["headers"]
        assert text not in log
    assert database_only.key() not in log
    assert database_only.key().encode() not in database_only.db.value("SELECT key_hash FROM api_keys")


# What is refused.


WRONG = [
    ({"webhook_url": None}, "webhook_url", ""),
    ({"webhook_url": "ftp://example.com/"}, "webhook_url", "ftp"),
    ({"webhook_url": "not a url"}, "webhook_url", ""),
    ({"webhook_url": "https://user:pw@example.com/"}, "webhook_url", "password"),
    ({"webhook_url": "https://example.com/" + "a" * 2050}, "webhook_url", "2048"),
    ({"event_types": []}, "event_types", "1 to 100"),
    ({"event_types": "message.new"}, "event_types", "array"),
    ({"event_types": ["message.new"] * 101}, "event_types", "1 to 100"),
    ({"event_types": ["message.new", 5]}, "event_types[1]", ""),
    ({"event_types": ["sp ace"]}, "event_types[0]", ""),
    ({"event_types": ["a.*.b"]}, "event_types[0]", ""),
    ({"event_types": ["mesage.new"]}, "event_types", "did you mean message.new?"),
    ({"is_enabled": "true"}, "is_enabled", "true or false"),
    ({"type": "seasalt"}, "type", "SEASALT, ZAPIER"),
    ({"created_by": 5}, "created_by", "text"),
    ({"created_by": "a\nb"}, "created_by", "control"),
    ({"name": "x" * 1025}, "name", "1024"),
    ({"secret": "short"}, "secret", "8 to 512"),
    ({"secret": "whsec_%%%"}, "secret", "base64"),
    ({"secret": None}, "secret", ""),
    ({"signature_style": "md5"}, "signature_style", "standard, hex, both, none"),
    ({"secret": "whsk_" + "A" * 88}, "secret", "asymmetric: true has a pair made"),
    ({"asymmetric": "yes"}, "asymmetric", "true or false"),
    ({"asymmetric": True, "signature_style": "hex"}, "asymmetric", "standard and both"),
    ({"asymmetric": True, "signature_style": "none"}, "asymmetric", "standard and both"),
    ({"public_key": "whpk_" + "A" * 44}, "public_key", "can't be set"),
    ({"signature_header": "a b"}, "signature_header", ""),
    ({"signature_header": "webhook-id"}, "signature_header", "hookcast"),
    ({"signature_header": "X-Same", "headers": {"x-same": "1"}}, "signature_header", "headers"),
    ({"payload_format": "xml"}, "payload_format", "seanotify"),
    ({"payload_format": "custom"}, "payload_template", ""),
    ({"payload_template": "{{"}, "payload_template", ""),
    ({"payload_template": {"a": "{{nonsense}}"}}, "payload_template", "nonsense"),
    ({"timeout_seconds": 0}, "timeout_seconds", "1 to 30"),
    ({"timeout_seconds": 31}, "timeout_seconds", "1 to 30"),
    ({"timeout_seconds": "5"}, "timeout_seconds", "1 to 30"),
    ({"retry_schedule": "5s"}, "retry_schedule", "array"),
    ({"retry_schedule": [1] * 33}, "retry_schedule", "32"),
    ({"retry_schedule": [0.05]}, "retry_schedule[0]", "100ms"),
    ({"retry_schedule": [1, "31d"]}, "retry_schedule[1]", "30d"),
    ({"retry_schedule": [True]}, "retry_schedule[0]", ""),
    ({"max_in_flight": 0}, "max_in_flight", "1 to 1000"),
    ({"max_in_flight": 1001}, "max_in_flight", "1 to 1000"),
    ({"max_in_flight": 2.5}, "max_in_flight", "integer"),
    ({"headers": []}, "headers", "object"),
    ({"headers": {"a": 1}}, "headers.a", "text"),
    ({"headers": {"a b": "1"}}, "headers.a b", ""),
    ({"headers": {"Host": "x"}}, "headers.Host", "hookcast"),
    ({"headers": {"webhook-signature": "x"}}, "headers.webhook-signature", "hookcast"),
    ({"headers": {"content-length": "1"}}, "headers.content-length", ""),
    ({"headers": {"transfer-encoding": "x"}}, "headers.transfer-encoding", ""),
    ({"headers": {"connection": "x"}}, "headers.connection", ""),
    ({"headers": {"X-A": "1", "x-a": "2"}}, "headers.X-A", "twice"),
    ({"headers": {"a": "x\r\nevil: 1"}}, "headers.a", "control"),
    ({"headers": {f"h{n}": "v" for n in range(33)}}, "headers", "32"),
    ({"headers": {f"h{n}": "v" * 4000 for n in range(5)}}, "headers", "together"),
    ({"webhok_url": "https://x/"}, "webhok_url", "did you mean webhook_url?"),
    ({"rate_limit_per_second": 0}, "rate_limit_per_second", "1 to 100000"),
    ({"rate_limit_per_second": 100001}, "rate_limit_per_second", "1 to 100000"),
    ({"rate_limit_per_second": 2.5}, "rate_limit_per_second", "integer"),
    ({"delivery_mode": "later"}, "delivery_mode", "immediate, delayed, batched"),
    ({"delivery_mode": None}, "delivery_mode", "immediate, delayed, batched"),
    ({"delivery_mode": "delayed"}, "delay_seconds", "wants it"),
    ({"delivery_mode": "delayed", "delay_seconds": None}, "delay_seconds", "wants it"),
    ({"delay_seconds": 5}, "delay_seconds", "delayed alone"),
    ({"delivery_mode": "batched", "delay_seconds": 5}, "delay_seconds", "delayed alone"),
    ({"delivery_mode": "delayed", "delay_seconds": 0.5}, "delay_seconds", "1 to 2592000"),
    ({"delivery_mode": "delayed", "delay_seconds": 2592001}, "delay_seconds", "1 to 2592000"),
    ({"delivery_mode": "delayed", "delay_seconds": "5s"}, "delay_seconds", "1 to 2592000"),
    ({"batch_max_events": 5}, "batch_max_events", "batched alone"),
    ({"batch_max_bytes": 5000}, "batch_max_bytes", "batched alone"),
    ({"delivery_mode": "delayed", "delay_seconds": 5, "batch_max_wait_seconds": 5}, "batch_max_wait_seconds",
     "batched alone"),
    ({"delivery_mode": "batched", "batch_max_events": 1001}, "batch_max_events", "1 to 1000"),
    ({"delivery_mode": "batched", "batch_max_bytes": 1023}, "batch_max_bytes", "1024 to 1048576"),
    ({"delivery_mode": "batched", "batch_max_wait_seconds": 86401}, "batch_max_wait_seconds", "1 to 86400"),
    ({"filter": []}, "filter", "object"),
    ({"filter": {"any": [{"payload.a": 1}, {"payload.b": {"gtt": 1}}]}}, "filter", "any[1].payload.b.gtt"),
    ({"filter": {"payload.a": {"gt": True}}}, "filter", "payload.a.gt"),
    ({"filter": {"secrets.a": 1}}, "filter", "secrets"),
    ({"filter": {"payload.a": "x" * 17000}}, "filter", "16384"),
    ({"notify_email": "nobody"}, "notify_email", "ops@example.com"),
    ({"notify_email": "a@b.c\r\nBcc: d@e.f"}, "notify_email", "address"),
    ({"failing_since": None}, "failing_since", "can't be set"),
    ({"last_success_at": "2024-03-10"}, "last_success_at", "can't be set"),
    ({"disabled_reason": None}, "disabled_reason", "can't be set"),
    ({"id": "x"}, "id", "can't be set"),
    ({"status": "active"}, "status", "can't be set"),
]


def test_wrong_fields_are_refused_by_name(database_only, api):
    made = created(api)
    for fields, field, says in WRONG:
        assert_field(api.post(ALL.format("w1"), {**PRINTED_CREATE, **fields}), field, says)
        if "created_by" not in fields:
            assert_field(api.patch(one(made), {"updated_by": "u", **fields}), field, says)
    assert database_only.db.count("subscriptions") == 1
    assert api.get(one(made)).json == {name: value for name, value in made.items() if name != "secret"}


def test_all_wrong_fields_are_named_at_once(api):
    answer = api.post(ALL.format("w1"), {"webhook_url": "x", "type": "y", "z": 1})
    named = {error["field"] for error in assert_problem(answer, 422, "invalid_fields")["errors"]}
    assert named == {"webhook_url", "type", "z", "event_types", "is_enabled"}


@pytest.mark.parametrize("missing", ["webhook_url", "event_types", "is_enabled"])
def test_required_fields(api, missing):
    assert_field(api.post(ALL.format("w1"), {name: value for name, value in PRINTED_CREATE.items() if name != missing}),
                 missing, "required")


def test_a_change_says_who_made_it(api):
    made = created(api)
    for body in ({}, {"is_enabled": False}, {"updated_by": None}, {"updated_by": ""}, {"updated_by": 5}):
        assert_field(api.patch(one(made), body), "updated_by")
    assert_field(api.patch(one(made), {"updated_by": "u", "created_by": "v"}), "created_by")
    assert_field(api.post(ALL.format("w1"), {**PRINTED_CREATE, "updated_by": "v"}), "updated_by")


@pytest.mark.parametrize("raw, detail", [
    (b"", "not JSON"), (b"{", "line 1"), (b'{"a":1,"a":2}', "twice"), (b"{'a':1}", ""), (b'{"a":"\xff"}', ""),
    (b'{"created_by":"\\u0000"}', ""), (b'{"a":1} x', ""), (b"[" * 5000, "")])
def test_a_body_that_is_no_json(api, raw, detail):
    assert detail in assert_problem(api.post(ALL.format("w1"), raw=raw), 400, "bad_json")["detail"]


@pytest.mark.parametrize("raw", [b"[]", b"5", b'"text"', b"null"])
def test_a_body_that_is_no_object(api, raw):
    assert_field(api.post(ALL.format("w1"), raw=raw), "", "object")


def test_media_types(api):
    body = json.dumps(PRINTED_CREATE).encode()
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/jsonx", "multipart/form-data", ""):
        answer = api.post(ALL.format("w1"), raw=body, headers={"Content-Type": kind})
        assert_problem(answer, 415, "unsupported_media_type")
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"):
        assert api.post(ALL.format("w1"), raw=body, headers={"Content-Type": kind}).status == 201


def test_paths_methods_and_queries(api):
    assert_problem(api.get("/"), 404, "not_found")
    assert_problem(api.get("/api/v1/workspaces/w1/nothing"), 404, "not_found")
    assert_problem(api.get("/notify"), 404, "not_found")
    assert_problem(api.get("/notify/notify/api/v1/event_types"), 404, "not_found")
    for number in ("sub_12345", "%FF", "00000000-0000-0000-0000-000000000000", "x" * 3000):
        assert_problem(api.get(ALL.format("w1") + "/" + number), 404, "not_found")
    answer = api.put(ALL.format("w1"), {})
    assert_problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) >= {"GET", "POST"}
    assert_field(api.get(ALL.format("w1") + "?order=x"), "order")
    for wrong in ("created_at:up", "secrets:asc", "", "created_at:asc:x", "%FF"):
        assert_field(api.get(ALL.format("w1") + "?order_by=" + wrong), "order_by")
    assert_field(api.get(ALL.format("w1") + "?type=seasalt"), "type")


def test_head_is_get_without_the_body(api):
    created(api)
    get, head = (api.request(method, ALL.format("w1")) for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.body))


def test_a_body_over_one_mebibyte_is_refused_before_it_is_read(api):
    host, port = api.url[len("http://"):].split(":")
    head = f"POST {ALL.format('w1')} HTTP/1.1\r\nHost: x\r\nX-API-KEY: {api.key}\r\nContent-Length: 1048577\r\n\r\n"
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413 ") and "application/problem+json" in answer
    assert json.loads(answer.split("\r\n\r\n")[1])["code"] == "body_too_large"
    fits = b'{"name": "' + b" " * (1024 * 1024 - 12) + b'"}'
    assert len(fits) == 1024 * 1024 and api.post(ALL.format("w1"), raw=fits).status == 422


def chunked(api):
    """A connection on which a chunked body has begun."""
    host, port = api.url[len("http://"):].split(":")
    connection = socket.create_connection((host, int(port)), 10)
    connection.sendall(f"POST {ALL.format('w1')} HTTP/1.1\r\nHost: x\r\nX-API-KEY: {api.key}\r\nContent-Type: application/json\r\n"
                       "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode())
    return connection


CHUNK = b"10000\r\n" + b" " * 65536 + b"\r\n"


@pytest.mark.parametrize("chunks, more", [(16, b"1\r\n \r\n"), (31, b"")])
def test_a_chunked_body_over_one_mebibyte_is_refused_at_its_end(api, chunks, more):
    with chunked(api) as connection:
        connection.sendall(CHUNK * chunks + more + b"0\r\n\r\n")
        answer = connection.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 413 ") and "application/problem+json" in answer
    assert json.loads(answer.split("\r\n\r\n")[1])["code"] == "body_too_large"
    with chunked(api) as connection:
        connection.sendall(CHUNK * 16 + b"0\r\n\r\n")
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 400 "), "blanks are no JSON, and 1 MiB of them not too much"


def test_an_endless_body_is_cut_off(database_only, api):
    before = database_only.api_process.resident_bytes()
    for _ in range(4):
        with chunked(api) as connection:
            with pytest.raises(ConnectionError):
                for _ in range(4096):
                    connection.sendall(CHUNK)
    assert database_only.api_process.running() and api.get(ALL.format("w1")).status == 200
    assert database_only.api_process.resident_bytes() - before < 16 << 20


def test_too_many_query_parameters_are_refused_and_leave_nothing_behind(database_only, api):
    assert_problem(api.get("/api/v1/event_types?" + "&".join(f"a{number}" for number in range(257))), 400, "bad_request")
    with pytest.raises(ConnectionError):
        api.get("/api/v1/event_types?" + "&".join(f"a{number}" for number in range(1000)))
    assert api.get("/api/v1/event_types").status == 200
    database_only.api_process.stop()


def test_a_query_parameter_is_known_and_stands_once(api):
    path = "/api/v1/workspaces/w1/logs"
    assert_field(api.get(f"{path}?status_code=500&limit=1&status_code=503"), "status_code", "stands twice")
    assert_field(api.get(f"{path}?status=500"), "status", "there is no such query parameter")
    long_name = "a" * 59 + "\u00e9" * 10
    answer = api.get(f"{path}?{urllib.parse.quote(long_name)}=1")
    assert assert_problem(answer, 422, "invalid_fields")["errors"][0]["field"].startswith("a" * 59)


def test_http_endpoints_only_where_they_are_allowed(database_only):
    database_only.env["HOOKCAST_ALLOW_HTTP"] = "0"
    answer = database_only.api.post(ALL.format("w1"), {**PRINTED_CREATE, "webhook_url": "http://example.com/"})
    assert_field(answer, "webhook_url", "http")
    assert created(database_only.api)


def test_request_ids_are_echoed_and_logged(database_only, api):
    answer = api.get("/api/v1/event_types", headers={"X-Request-Id": "my-id-1"})
    assert answer.headers["x-request-id"] == "my-id-1"
    assert database_only.api_process.wait_log(r"request_id=my-id-1\b").group(0)
    made = api.get("/api/v1/event_types").headers["x-request-id"]
    assert uuid.UUID(made) and database_only.api_process.wait_log(made)
    assert api.get("/nothing", headers={"X-Request-Id": "bad id"}).headers["x-request-id"] != "bad id"


# Tenants.


def key_of(installation, *arguments):
    return find_key(installation.run("key", "create", *arguments).stdout)


def routes(workspace, subscription):
    """Every route of a workspace: method, path, body, the status for a key that may, and whether it only reads."""
    everything = ALL.format(workspace)
    this = f"{everything}/{subscription}"
    return [
        ("GET", everything, None, 200, True),
        ("GET", this, None, 200, True),
        ("GET", this + "/secret", None, 200, False),
        ("POST", everything, PRINTED_CREATE, 201, False),
        ("PATCH", this, {"updated_by": "u"}, 200, False),
        ("POST", this + "/secret/rotate", None, 200, False),
        ("DELETE", this, None, 204, False),
    ]


def test_tenants_on_every_route(database_only):
    own = database_only.api
    foreign = database_only.api_of("w2")
    revoked, expired = key_of(database_only, "--workspace", "w1"), key_of(database_only, "--workspace", "w1", "--expires", "1s")
    database_only.db.execute("UPDATE api_keys SET revoked_at = now() WHERE id = "
                             "(SELECT id FROM api_keys WHERE expires_at IS NULL ORDER BY created_at DESC LIMIT 1)")
    database_only.db.execute("UPDATE api_keys SET expires_at = now() WHERE expires_at IS NOT NULL")
    read_only = own.with_key(key_of(database_only, "--workspace", "w1", "--read-only"))
    admin = own.with_key(key_of(database_only, "--admin"))
    mine = created(own)["id"]
    for method, path, body, status, reads in routes("w1", mine):
        for key in (None, "", "hc_" + "0" * 64, revoked, expired, "x" * 5000, "ключ".encode().decode("latin-1")):
            answer = own.with_key(key).request(method, path, body)
            assert_problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert_problem(foreign.request(method, path, body), 404, "not_found")
        assert_problem(foreign.request(method, path.replace("/w1/", "/w2/") + "x" * path.endswith("secret"), body), 404,
                       "not_found") if mine in path else None
        if reads:
            assert read_only.request(method, path, body).status == status
        else:
            assert_problem(read_only.request(method, path, body), 403, "read_only_key")
        if method != "DELETE":
            assert own.request(method, path, body).status == status
        assert admin.request(method, path, body).status == status
    assert database_only.db.count("subscriptions", "workspace_id = 'w2'") == 0


def test_another_workspaces_subscription_is_not_found_by_its_id(database_only):
    mine = created(database_only.api)
    foreign = database_only.api_of("w2")
    for method, body in (("GET", None), ("PATCH", {"updated_by": "u"}), ("DELETE", None)):
        assert_problem(foreign.request(method, one(mine, "w2"), body), 404, "not_found")
    assert foreign.get(ALL.format("w2")).json == {"subscriptions": []}
    assert database_only.api.get(one(mine)).status == 200


def test_an_admin_key_names_the_workspace(database_only):
    admin = database_only.api_of(None)
    database_only.key()
    add = "INSERT INTO event_types (workspace_id, event_type) VALUES ('w1', 'own.type')"
    database_only.db.execute(add)
    assert len(admin.get("/api/v1/event_types").json) == 15
    assert len(admin.get("/api/v1/event_types", headers={"X-Workspace-ID": "w1"}).json) == 16
    assert_problem(admin.get("/api/v1/event_types", headers={"X-Workspace-ID": "nowhere"}), 404, "not_found")
    assert_problem(admin.get(ALL.format("nowhere")), 404, "not_found")
    assert_problem(admin.get(ALL.format("%FF")), 404, "not_found")
    assert len(database_only.api.get("/api/v1/event_types").json) == 16
    assert_problem(database_only.api.get("/api/v1/event_types", headers={"X-Workspace-ID": "w2"}), 404, "not_found")


def test_keys_as_bearer_tokens(database_only):
    key, url = database_only.key(), database_only.api_process.api_url
    for header in (f"Bearer {key}", f"bearer  {key}"):
        assert Api(url).get("/api/v1/event_types", headers={"Authorization": header}).status == 200
    for header in (f"Basic {key}", "Bearer", "Bearer ", key):
        assert Api(url).get("/api/v1/event_types", headers={"Authorization": header}).status == 401


def test_a_revoked_key_is_refused_within_a_second(database_only, api, wait_until):
    assert api.get("/api/v1/event_types").status == 200
    number = database_only.db.value("SELECT id FROM api_keys")
    database_only.run("key", "revoke", str(number))
    began = time.monotonic()
    wait_until(lambda: api.get("/api/v1/event_types").status == 401, 1.0)
    assert time.monotonic() - began < 1.2


def test_workspaces_of_any_name(database_only):
    for workspace in ("a/b c", "ünï", "1246965", "%41"):
        key = key_of(database_only, "--workspace", workspace)
        quoted = urllib.request.quote(workspace, safe="")
        assert created(database_only.api.with_key(key), quoted)
        assert database_only.db.count("subscriptions", "workspace_id = %s", workspace) == 1


# hookcast key.


def test_key_create_prints_the_key_alone(database_only):
    done = database_only.run("key", "create", "--workspace", "w1", "--workspace-name", "The First", "--name", "ci")
    assert re.fullmatch(r"hc_[0-9a-f]{64}\n", done.stdout)
    assert done.stdout.strip() not in done.stderr and "w1" in done.stderr
    assert database_only.db.value("SELECT name FROM workspaces WHERE id = 'w1'") == "The First"
    database_only.run("key", "create", "--workspace", "w1")
    assert database_only.db.value("SELECT name FROM workspaces WHERE id = 'w1'") == "The First"
    listed = database_only.run("key", "list").stdout
    assert listed.count("w1") == 2 and "ci" in listed and "valid" in listed and done.stdout.strip() not in listed
    assert "w1" not in database_only.run("key", "list", "--workspace", "w2").stdout


@pytest.mark.parametrize("arguments", [
    (), ("create",), ("create", "--admin", "--workspace", "w"), ("create", "--workspace", "w", "--expires", "soon"),
    ("create", "--workspace", ""), ("create", "--workspace", "x" * 201), ("create", "--admin", "more"), ("revoke",),
    ("revoke", "nonsense"), ("drop",), ("create", "--admin", "--workspace-name", "x")])
def test_key_used_wrongly(database_only, arguments):
    done = database_only.run("key", *arguments, check=False)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert database_only.db.count("api_keys") == 0


def test_revoking_an_unknown_key(database_only):
    done = database_only.run("key", "revoke", str(uuid.uuid4()), check=False)
    assert done.returncode == 1 and "no such key" in done.stderr


# The process.


def test_a_change_is_seen_at_once_by_another_process(database_only, api):
    other = database_only.process("api").start()
    made = created(api)
    there = Api(other.api_url, database_only.key())
    assert there.get(one(made)).status == 200
    there.patch(one(made), {"updated_by": "u", "name": "renamed"})
    assert api.get(one(made)).json["name"] == "renamed"


def test_changes_at_the_same_time_lose_nothing(database_only, api):
    made = created(api)

    def rotate():
        for _ in range(5):
            assert api.post(one(made) + "/secret/rotate").status == 200
    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(20):
        assert api.patch(one(made), {"updated_by": "u", "max_in_flight": number + 1}).json["max_in_flight"] == number + 1
    for thread in threads:
        thread.join()
    assert database_only.db.value("SELECT version FROM subscriptions") == 41
    assert api.get(one(made)).json["max_in_flight"] == 20


def test_without_the_database_it_says_so_and_comes_back(make_installation, private_postgres, wait_until):
    installation = make_installation(private_postgres)
    api = installation.api
    made = created(api)
    private_postgres.stop()
    began = time.monotonic()
    answer = api.get(one(made))
    assert_problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0 and time.monotonic() - began < 10
    assert api.get("/readyz").status == 503 and api.get("/healthz").status == 200
    private_postgres.start()
    wait_until(lambda: api.get(one(made)).status == 200, 15)
    assert api.get("/readyz").status == 200
    log = installation.api_process.log()
    assert log.count("PostgreSQL can't be reached") == 1 and log.count("PostgreSQL is back") == 1, log


def test_start_without_a_database_or_its_schema(database_only, empty_database):
    for url, says in (("postgresql://127.0.0.1:1/none", "127.0.0.1"), (empty_database, "migrate")):
        database_only.env["HOOKCAST_DATABASE_URL"] = url
        done = database_only.run("api", check=False)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and says in done.stderr, done.stderr


def test_start_on_a_port_that_is_taken(database_only):
    port = database_only.api_process.api_port
    database_only.env["HOOKCAST_API_LISTEN"] = f"127.0.0.1:{port}"
    done = database_only.run("api", check=False)
    assert done.returncode == 1 and str(port) in done.stderr


def test_who_waits_too_long_for_somebody_else_is_told_so(database_only, api):
    made = created(api)
    home = "/api/v1/workspaces/w1"
    held = [("subscriptions", lambda: api.patch(one(made), {"updated_by": "u", "name": "later"})),
            ("api_keys", lambda: api.post(home + "/keys", {"name": "one more"})),
            ("event_types", lambda: api.post(home + "/event_types", {"event_type": "one.more", "description": "d"}))]
    locker = database_only.db.connect()
    for table, change in held:
        locker.execute(f"LOCK TABLE {table} IN SHARE MODE")
        began = time.monotonic()
        answer = change()
        assert_problem(answer, 503, "busy")
        assert "reach" not in answer.json["detail"] and int(answer.headers["retry-after"]) > 0
        assert time.monotonic() - began < 9
        locker.rollback()
        assert change().status in (200, 201)
    locker.close()
    assert "can't be reached" not in database_only.api_process.log()


def test_what_is_under_way_is_answered_before_the_end(database_only, api):
    made = created(api)
    locker = database_only.db.connect()
    locker.execute("SELECT 1 FROM subscriptions FOR UPDATE")
    answers = []
    caller = threading.Thread(target=lambda: answers.append(api.patch(one(made), {"updated_by": "u", "name": "late"})))
    caller.start()
    database_only.db.wait("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    database_only.api_process.terminate()
    database_only.api_process.wait_log("")
    locker.rollback()
    caller.join(10)
    locker.close()
    assert answers[0].status == 200 and answers[0].json["name"] == "late"
    assert database_only.api_process.wait() == 0


def test_more_than_can_wait_is_refused_at_once(database_only, api):
    made = created(api)
    locker = database_only.db.connect()
    locker.execute("SELECT 1 FROM subscriptions FOR UPDATE")
    host, port = api.url[len("http://"):].split(":")
    body = b'{"updated_by":"u"}'
    raw = (f"PATCH {one(made)} HTTP/1.1\r\nHost: x\r\nX-API-KEY: {api.key}\r\nContent-Type: application/json\r\n"
           f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body
    callers = []
    for _ in range(300):
        callers.append(socket.create_connection((host, int(port)), 10))
        callers[-1].sendall(raw)
    refused, _, _ = select.select(callers, [], [], 5)
    assert refused, "nobody was refused"
    text = refused[0].recv(65536).decode()
    assert text.startswith("HTTP/1.1 503 ") and '"busy"' in text and "Retry-After: 1" in text
    assert api.get("/healthz").status == 200
    locker.rollback()
    locker.close()
    waited = [caller.recv(65536)[:12] for caller in callers if caller is not refused[0]]
    assert waited.count(b"HTTP/1.1 200") == 256 and waited.count(b"HTTP/1.1 503") == 43
    for caller in callers:
        caller.close()


# docs/api.md.


def page_lines():
    text = ""
    for name in ("api.md", "dialects.md"):
        with open(os.path.join(ROOT, "docs", name), encoding="utf-8") as page:
            text += page.read()
    return [line for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
            for line in block.splitlines() if line.startswith("curl ")]


def logged(installation, workspace, subscription):
    """The id of a row of the log."""
    now_ms = int(time.time() * 1000)
    number = uuid.UUID(int=(now_ms << 80) | (7 << 76) | (2 << 62) | random.getrandbits(62))
    installation.db.execute(
        "INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, webhook_url, "
        "delivery_status, attempt) VALUES (to_timestamp(%s / 1000.0), %s, %s, %s, 'e', %s, 'message.new', '', 'failed', 1)",
        now_ms, number, workspace, number, subscription)
    return str(number)


def stored(installation, workspace):
    """The key of an event."""
    key = str(uuid.uuid4())
    installation.db.execute(
        "INSERT INTO events (created_at, event_key, workspace_id, event_id, event_type, occurred_at, topic, part, record_offset, "
        "record_time, headers, body) VALUES (now(), %s, %s, 'e', 'message.new', now(), 't', 0, 0, now(), '{}', '{}')",
        key, workspace)
    return key


def rejected(installation, workspace):
    """The id of a rejected event."""
    number = str(uuid.uuid4())
    installation.db.execute(
        "INSERT INTO rejected_events (created_at, id, workspace_id, code, reason, topic, part, record_offset, record_time, headers, "
        "body) VALUES (now(), %s, %s, 'bad_json', '', %s, 0, 0, now(), '{}', '{')", number, workspace, installation.topic())
    return number


def file_of_an_export(installation, api):
    """What the link to a file is made of."""
    number = api.post("/api/v1/workspaces/acme/logs/export", {"email": "ops@example.com"}).json["job_id"]
    path = f"/api/v1/workspaces/acme/jobs/{number}"
    installation.db.wait("SELECT state = 'done' FROM jobs WHERE id = %s", number)
    expires, signature = re.search(r"expires=(\d+)&signature=(\w+)$", api.get(path).json["url"]).groups()
    return {"JOB": number, "EXPIRES": expires, "SIGNATURE": signature}


def test_every_line_of_the_page_runs(installation):
    own = installation.api.with_key(installation.key("acme"))
    admin = installation.api_of(None)
    assert admin.put("/api/v1/workspaces/acme-old", {}).status == 201
    statuses = []
    for line in page_lines():
        subscription = created(own, "acme")["id"]
        job = own.post(f"{ALL.format('acme')}/{subscription}/recover", {"since": "2026-01-01"}).json["id"] if "$JOB" in line else ""
        link = file_of_an_export(installation, own) if "$SIGNATURE" in line else {}
        env = {"API": own.url, "KEY": own.key, "SUBSCRIPTION": subscription, "JOB": job, **link,
               "LOG": logged(installation, "acme", subscription), "EVENT": stored(installation, "acme"),
               "ADMIN": admin.key, "REJECTED": rejected(installation, "acme"),
               "KEY_ID": own.post("/api/v1/workspaces/acme/keys").json["id"]}
        done = subprocess.run(["bash", "-c", line.replace("curl ", "curl -sS -o /dev/null -w '%{http_code}' ", 1)],
                              env={**base_environment(), **env}, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        statuses.append(int(done.stdout))
    wrong = [(status, line) for status, line in zip(statuses, page_lines()) if status not in (200, 201, 202, 204)]
    assert not wrong


def routed_paths():
    """{method and path} of every route in the sources, with the page's names for what varies."""
    found = set()
    for source_path in glob.glob(os.path.join(ROOT, "lib", "api", "*.c")):
        with open(source_path, encoding="utf-8") as source:
            text = source.read()
        names = dict(re.findall(r'^#define ([A-Z]+) (.*"/.*)$', text, re.MULTILINE))
        for method, path in re.findall(r'^ +\{"([A-Z]+)", ([^,]*"|[A-Z]+), ', text, re.MULTILINE):
            for _ in range(2):
                path = re.sub(r"\b[A-Z]+\b", lambda word: names.get(word.group(0), word.group(0)), path)
            path = "".join(re.findall(r'"([^"]*)"', path))
            for varies, name in (("workspace_id", "acme"), ("subscription_id", "$SUBSCRIPTION"), ("log_id", "$LOG"),
                                 ("job_id", "$JOB"), ("event_id", "$EVENT"), ("rejected_id", "$REJECTED"), ("key_id", "$KEY_ID")):
                path = path.replace("{" + varies + "}", name)
            found.add(f"{method} {path}".replace("{event}", "message.sent")
                      .replace("{event_type}", "order.paid"))
    return found


def test_the_page_has_a_line_for_each_route():
    pages = {(re.search(r"-X (\w+)", line) or re.search(r"(POST)", "POST" if " -d " in line else "") or ["", "GET"])[1] + " " +
             re.search(r"\$API([^?\"]*)", line).group(1).replace("acme-old", "acme") for line in page_lines()}
    assert {page.rstrip("/") for page in pages} == routed_paths()


def test_metrics_have_a_port_of_their_own_where_one_is_asked_for(installation):
    port = free_port()
    process = installation.process("api", "--metrics", f"127.0.0.1:{port}").start()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert b"hookcast_build_info" in answer.read()
    assert Api(process.api_url).get("/metrics").status == 404, "never on the public port"
    process.stop()
    refused = installation.run("api", "--metrics", "nonsense", check=False)
    assert refused.returncode == 2 and "--metrics" in refused.stderr.splitlines()[-1]
