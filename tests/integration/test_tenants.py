"""Every route of the table, asked by everybody: with another workspace's key, a revoked, an expired, a read-only one, without any,
with the workspace's own and with an admin key."""
import json
import uuid

import pytest
from support.api import Api
from support.installation import find_key
from test_openapi import routes

PUBLIC = {"/healthz", "/readyz", "/openapi.json", "/docs", "/redoc"}
# For whoever has a link, whatever key comes with it.
LINKED = {"/api/v1/exports/{job_id}"}
ADMIN = {("get", "/api/v1/workspaces"), ("put", "/api/v1/workspaces/{workspace_id}"), ("delete", "/api/v1/workspaces/{workspace_id}"),
         ("get", "/api/v1/audit"), ("get", "/api/v1/rejected_events"), ("get", "/api/v1/rejected_events/{rejected_id}"),
         ("post", "/api/v1/rejected_events/{rejected_id}/republish")}
# A GET that a read-only key may not do.
SECRET = {"/api/v1/workspaces/{workspace_id}/subscription/{subscription_id}/secret"}
TABLE = sorted(routes())


class Tenants:
    """An API with keys of every kind, and something of w1 for every name in a path."""

    def __init__(self, installation):
        self.db = installation.db
        self.url = installation.api_process.api_url
        subscription = installation.subscribe("https://hook.example.com/")["id"]
        own = installation.api
        self.names = {"workspace_id": "w1", "subscription_id": subscription, "event": "message.sent", "event_type": "own.type",
                      "job_id": own.post(f"/api/v1/workspaces/w1/subscription/{subscription}/recover", {"since": "2026-01-01"}).json["id"],
                      "key_id": own.post("/api/v1/workspaces/w1/keys").json["id"]}
        for name, table, column in (("event_id", "events", "event_key"), ("log_id", "delivery_logs", "id"), ("rejected_id", "rejected_events", "id")):
            self.names[name] = str(uuid.uuid4())
        installation.db.execute(
            "INSERT INTO events (created_at, event_key, workspace_id, event_id, event_type, occurred_at, topic, part, record_offset, "
            "record_time, headers, body) VALUES (now(), %s, 'w1', 'e', 'message.new', now(), 't', 0, 0, now(), '{}', '{}')", self.names["event_id"])
        installation.db.execute(
            "INSERT INTO rejected_events (created_at, id, workspace_id, code, reason, topic, part, record_offset, record_time, headers, body) "
            "VALUES (now(), %s, 'w1', 'bad_json', '', 't', 0, 0, now(), '{}', '{')", self.names["rejected_id"])
        installation.db.execute("INSERT INTO event_types (workspace_id, event_type) VALUES ('w1', 'own.type')")
        create = lambda *arguments: find_key(installation.run("key", "create", *arguments).stdout)
        self.keys = {"own": own.key, "foreign": installation.key("w2"), "admin": installation.key(None),
                     "read-only": create("--workspace", "w1", "--read-only"), "revoked": create("--workspace", "w1"),
                     "expired": create("--workspace", "w1", "--expires", "1h"), "unknown": "hc_" + "0" * 64, "none": None}
        number = installation.db.value("SELECT id FROM api_keys WHERE workspace_id = 'w1' AND NOT read_only ORDER BY created_at DESC LIMIT 1")
        installation.db.execute("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = %s", number)
        number = installation.db.value("SELECT id FROM api_keys WHERE workspace_id = 'w1' AND NOT read_only AND expires_at IS NULL "
                                       "ORDER BY created_at DESC LIMIT 1")
        installation.run("key", "revoke", str(number))

    def ask(self, who, method, path, workspace="w1", **headers):
        """With a body that no route takes, so that nothing is changed by who may change it."""
        for name, value in {**self.names, "workspace_id": workspace}.items():
            path = path.replace("{" + name + "}", value)
        raw = b"[" if method in ("post", "put", "patch") else None
        return Api(self.url, self.keys[who]).request(method.upper(), path, raw=raw, headers=headers)

    def state(self):
        tables = ("subscriptions", "api_keys", "workspaces", "event_types", "jobs", "events", "rejected_events", "audit", "delivery_logs")
        return {table: self.db.rows(f"SELECT to_jsonb(t) - 'heartbeat_at' AS row FROM {table} t ORDER BY 1") for table in tables}


@pytest.fixture
def tenants(database_only):
    return Tenants(database_only)


def problem(answer):
    assert answer.headers["content-type"] == "application/problem+json", answer
    return answer.status, answer.json["code"]


def test_the_table_is_whole():
    assert len(TABLE) >= 40 and {path for _, path in TABLE} >= PUBLIC and set(TABLE) >= ADMIN


def test_public_routes_are_open_to_all(tenants):
    for method, path in TABLE:
        if path in PUBLIC:
            for who in tenants.keys:
                assert tenants.ask(who, method, path).status == 200, (who, path)


def test_no_key_stands_for_a_link(tenants):
    tenants.db.execute("UPDATE jobs SET kind = 'export', next_at = 'infinity', state = 'done', size = 1, chunks = 1, expires_at = now() + interval '1 d' "
                       "WHERE id = %s", tenants.names["job_id"])
    for method, path in TABLE:
        if path in LINKED:
            for who in tenants.keys:
                assert problem(tenants.ask(who, method, path)) == (404, "not_found"), (who, path)


def test_who_is_nobody_learns_nothing(tenants):
    before = tenants.state()
    for method, path in TABLE:
        for who in ("none", "unknown", "revoked", "expired"):
            for prefix in ("", "/notify"):
                if path not in PUBLIC | LINKED:
                    answer = tenants.ask(who, method, prefix + path)
                    assert problem(answer) == (401, "unauthorized") and "www-authenticate" in answer.headers, (who, method, path)
    assert tenants.state() == before


def test_another_workspace_sees_nothing_that_is_not_its_own(tenants):
    before = tenants.state()
    for method, path in TABLE:
        if path in PUBLIC | LINKED:
            continue
        if "{workspace_id}" in path:
            assert problem(tenants.ask("foreign", method, path)) == (404, "not_found"), (method, path)
            if path.count("{") > 1:
                inside = tenants.ask("foreign", method, path, workspace="w2")
                assert inside.status in (400, 404), (method, path, inside)
        else:
            assert tenants.ask("foreign", method, path, **{"X-Workspace-ID": "w1"}).status in (403, 404), (method, path)
    assert tenants.state() == before


def test_a_read_only_key_changes_nothing_and_sees_no_secret(tenants):
    before = tenants.state()
    for method, path in TABLE:
        if path in PUBLIC | LINKED or (method, path) in ADMIN:
            continue
        answer = tenants.ask("read-only", method, path)
        if method == "get" and path not in SECRET:
            assert answer.status in (200, 404), (method, path, answer)
        else:
            assert problem(answer) == (403, "read_only_key"), (method, path)
    assert tenants.state() == before


def test_routes_for_admin_keys_alone(tenants):
    for method, path in sorted(ADMIN):
        for who in ("own", "read-only"):
            assert problem(tenants.ask(who, method, path)) == (403, "admin_key_required"), (who, method, path)


def test_the_own_key_and_an_admin_key_get_in(tenants):
    """Reading gives 200; changing gets as far as the body, which is no JSON, or the row."""
    for method, path in TABLE:
        if path in PUBLIC | LINKED or method == "delete":
            continue
        for who in ("own", "admin"):
            if who == "own" and (method, path) in ADMIN:
                continue
            headers = {"X-Workspace-ID": "w1"} if who == "admin" and "{workspace_id}" not in path else {}
            answer = tenants.ask(who, method, path, **headers)
            if "{log_id}" in path:
                assert answer.status == 404
            elif method == "get":
                assert answer.status == 200, (who, path, answer)
            else:
                assert answer.status in (400, 422), (who, method, path, answer)


def test_an_admin_key_that_names_no_workspace_or_none_that_there_is(tenants):
    for method, path in TABLE:
        if path in PUBLIC | LINKED or (method, path) in ADMIN or path == "/api/v1/workspaces/{workspace_id}":
            continue
        if "{workspace_id}" in path:
            assert problem(tenants.ask("admin", method, path, workspace="nowhere")) == (404, "not_found"), (method, path)
        else:
            assert tenants.ask("admin", method, path, **{"X-Workspace-ID": "nowhere"}).status == 404, (method, path)


@pytest.mark.parametrize("who", ["own", "admin"])
def test_deleting_takes_the_workspaces_own_key_or_an_admin_key(tenants, who):
    paths = [path for method, path in TABLE if method == "delete" and (method, path) not in ADMIN]
    assert len(paths) >= 5
    for path in paths:
        headers = {"X-Workspace-ID": "w1"} if who == "admin" and "{workspace_id}" not in path else {}
        before = tenants.state()
        assert tenants.ask(who, "delete", path, **headers).status in (202, 204), path
        assert tenants.state() != before, path


def test_what_they_are_told_names_nothing_of_others(tenants):
    text = json.dumps([tenants.ask("foreign", method, path).text for method, path in TABLE if "{workspace_id}" in path])
    assert "hook.example.com" not in text and tenants.names["subscription_id"] not in text
