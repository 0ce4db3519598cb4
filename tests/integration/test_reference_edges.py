"""Requests at the edges: what is legal is taken, what is not is named, and nothing is said but the truth."""
import socket
import time

import pytest
from support.api import moment

ALL = "/api/v1/workspaces/w1/subscription"
GOOD = {"webhook_url": "https://api.example.com/webhook", "event_types": ["message.new"], "is_enabled": True}


@pytest.fixture
def api(database_only):
    return database_only.api


def raw(api, text, enough=lambda answer: False, wait_s=3):
    """What comes for this text, on a connection that stays open."""
    host, port = api.url[len("http://"):].split(":")
    got = b""
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.settimeout(0.2)
        connection.sendall(text.encode())
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and not enough(got):
            try:
                piece = connection.recv(65536)
            except socket.timeout:
                continue
            if not piece:
                break
            got += piece
    return got.decode()


def test_head_of_a_streamed_listing_has_no_body(api):
    line = f"/api/v1/workspaces/w1/logs HTTP/1.1\r\nHost: x\r\nX-API-KEY: {api.key}\r\n\r\n"
    assert api.post(ALL, GOOD).status == 201
    answer = raw(api, "HEAD " + line)
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 ") and body == "", answer
    answer = raw(api, "GET " + line, lambda got: got.endswith(b"0\r\n\r\n"))
    assert '{"total":0,"data":[],"next_cursor":null}' in answer


def test_numbers_of_any_size_are_json(database_only, api):
    text = b'{"webhook_url": "https://x.example/", "event_types": ["message.new"], "is_enabled": true, '
    answer = api.post(ALL, raw=text + b'"max_in_flight": 99999999999999999999}')
    assert answer.status == 422 and answer.json["errors"][0]["field"] == "max_in_flight"
    condition = b'{"payload.n": {"gte": 9223372036854775808, "lt": 1e30}}'
    answer = api.post(ALL, raw=text + b'"max_in_flight": 7, "batch_max_events": 3, "delivery_mode": "batched", "filter": ' +
                      condition + b"}")
    assert answer.status == 201, answer
    assert (answer.json["max_in_flight"], answer.json["batch_max_events"]) == (7, 3)
    for shown in (answer, api.get(f"{ALL}/{answer.json['id']}"), api.get(ALL)):
        assert b'"filter":' + condition in shown.body
    answer = api.post(ALL, raw=text + b'"delay_seconds": 1e400}')
    assert answer.status == 400 and "a number that is too large" in answer.json["detail"]


def test_a_detail_without_a_field_begins_with_the_message(api):
    answer = api.post("/api/v1/workspaces/w1/events", [])
    assert answer.status == 422 and answer.json["errors"][0]["field"] == ""
    assert answer.json["detail"] == answer.json["errors"][0]["message"]


@pytest.mark.parametrize("url, says", [
    ("https://ünï.example/", "xn--"), ("https:///host", "no host"), ("https://example.com:0/", "port"),
])
def test_urls_that_could_never_be_reached_are_refused_when_they_are_written(api, url, says):
    answer = api.post(ALL, {**GOOD, "webhook_url": url})
    assert answer.status == 422 and says in answer.json["errors"][0]["message"], answer


def test_what_the_server_refuses_by_itself_is_in_the_log(database_only, api):
    head = f"POST {ALL} HTTP/1.1\r\nHost: x\r\nX-API-KEY: {api.key}\r\n"
    raw(api, head + "X-Request-Id: too-large\r\nContent-Length: 1048577\r\n\r\n")
    raw(api, head + "X-Request-Id: two-lengths\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{")
    assert "status=413" in database_only.api_process.wait_log(r".*request_id=too-large\b").group(0)
    assert "status=400" in database_only.api_process.wait_log(r".*request_id=two-lengths\b").group(0)


def test_the_nearest_name_is_found_whatever_its_capitals(api):
    answer = api.post(ALL, {**GOOD, "event_types": ["MESSAGE.NEW"]})
    assert answer.status == 422 and "did you mean message.new?" in answer.json["detail"]


def test_it_can_be_read_when_a_subscription_was_disabled(database_only, api):
    made = api.post(ALL, GOOD).json
    path = f"{ALL}/{made['id']}"
    assert made["disabled_at"] is None
    database_only.db.execute("UPDATE subscriptions SET status = 'disabled', disabled_reason = 'gone'")
    at = api.get(path).json["disabled_at"]
    assert moment(at) > moment(made["updated_at"])
    changed = api.patch(path, {"updated_by": "u", "name": "still disabled"}).json
    assert (changed["status"], changed["disabled_at"]) == ("disabled", at) and moment(changed["updated_at"]) > moment(at)
    answer = api.patch(path, {"updated_by": "u", "disabled_at": None})
    assert answer.status == 422 and answer.json["errors"][0]["message"] == "can't be set"
    assert api.patch(path, {"updated_by": "u", "is_enabled": True}).json["disabled_at"] is None
    assert api.patch(path, {"updated_by": "u", "is_enabled": False}).json["disabled_at"] is None, "paused, not disabled"
