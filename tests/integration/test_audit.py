"""The audit: who changed what, when, from what to what, and never a secret."""
import threading

import pytest

W1 = "/api/v1/workspaces/w1"
BODY = {"webhook_url": "https://example.com/", "event_types": ["*"], "created_by": "u", "is_enabled": True}


@pytest.fixture
def api(database_only):
    return database_only.api


def audit(api, query="", path=W1):
    answer = api.get(f"{path}/audit{query}")
    assert answer.status == 200, answer
    return answer.json["audit"]


def actions(api, query="", path=W1):
    return [row["action"] for row in audit(api, query, path)]


def test_every_change_has_its_row(database_only, api):
    admin = database_only.api_of(None)
    one = f"{W1}/subscription/" + api.post(W1 + "/subscription", BODY).json["id"]
    api.patch(one, {"updated_by": "u", "name": "n"})
    api.post(one + "/secret/rotate")
    job = api.post(one + "/recover", {"since": "2026-01-01"}).json["id"]
    api.delete(f"{W1}/jobs/{job}")
    api.delete(one)
    key = api.post(W1 + "/keys", {"name": "k"}).json["id"]
    api.delete(f"{W1}/keys/{key}")
    admin.put(W1, {"name": "One"})
    assert actions(api)[::-1] == ["subscription.created", "subscription.changed", "subscription.secret_changed", "job.created",
                                  "job.cancelled", "subscription.deleted", "key.created", "key.revoked", "workspace.changed"]


def test_a_row_says_who_and_from_what_to_what(database_only, api):
    made = api.post(W1 + "/subscription", BODY).json
    answer = api.patch(f"{W1}/subscription/{made['id']}", {"updated_by": "kelly", "name": "n", "is_enabled": False},
                       headers={"X-Request-ID": "request-77"})
    assert answer.status == 200
    row = audit(api)[0]
    assert list(row) == ["id", "created_at", "workspace_id", "key_id", "request_id", "action", "target", "before", "after"]
    own = api.get(W1 + "/keys").json["keys"][0]["id"]
    assert (row["workspace_id"], row["key_id"], row["request_id"], row["target"]) == ("w1", own, "request-77", made["id"])
    changed = {name for name in row["after"] if row["after"][name] != row["before"][name]}
    assert changed == {"name", "status", "updated_by"} and row["after"]["updated_by"] == "kelly"
    assert (row["before"]["status"], row["after"]["status"]) == ("active", "paused")


def test_no_secret_is_in_it(database_only, api):
    secret, token = "whsec_" + "A" * 40, "very-secret-token"
    made = api.post(W1 + "/subscription", {**BODY, "secret": secret, "headers": {"Authorization": token}}).json
    one = f"{W1}/subscription/{made['id']}"
    api.patch(one, {"updated_by": "u", "secret": "another-secret"})
    api.patch(one, {"updated_by": "u", "headers": {"Authorization": "other"}})
    key = api.post(W1 + "/keys").json["key"]
    text = api.get(W1 + "/audit").text + str(database_only.db.rows("SELECT * FROM audit"))
    for hidden in (secret, token, "another-secret", key, key[3:]):
        assert hidden not in text
    assert actions(api, "?target=" + made["id"]) == ["subscription.changed", "subscription.secret_changed", "subscription.created"]
    headers, secrets, first = audit(api, "?target=" + made["id"])
    assert headers["before"]["headers"][:4] == "*** " == headers["after"]["headers"][:4]
    assert headers["before"]["headers"] != headers["after"]["headers"]
    assert secrets["before"]["secrets"] != secrets["after"]["secrets"] and first["before"] is None


def test_what_was_refused_leaves_no_row(database_only, api):
    one = f"{W1}/subscription/" + api.post(W1 + "/subscription", BODY).json["id"]
    assert api.patch(one, {"updated_by": "u", "nmae": "n"}).status == 422
    assert api.patch(one, {"updated_by": "u", "name": "n"}, headers={"If-Match": '"99"'}).status == 412
    assert api.post(W1 + "/subscription", {**BODY, "webhook_url": "x"}).status == 422
    assert api.get(one).status == 200
    assert actions(api) == ["subscription.created"]


def test_of_another_workspace_and_of_all(database_only, api):
    foreign, admin = database_only.api_of("w2"), database_only.api_of(None)
    api.post(W1 + "/subscription", BODY)
    foreign.post("/api/v1/workspaces/w2/keys")
    assert actions(api) == ["subscription.created"] and actions(foreign, path="/api/v1/workspaces/w2") == ["key.created"]
    assert foreign.get(W1 + "/audit").status == 404 and foreign.get("/api/v1/audit").status == 403
    assert actions(admin, path="/api/v1") == ["key.created", "subscription.created"]
    admin.delete(W1)
    assert actions(admin, path="/api/v1")[:2] == ["key.revoked", "workspace.erased"] or \
        actions(admin, path="/api/v1")[:2] == ["workspace.erased", "key.revoked"]


def test_filters_and_pages(database_only, api):
    keys = [api.post(W1 + "/keys").json["id"] for _ in range(7)]
    api.delete(f"{W1}/keys/{keys[0]}")
    assert actions(api, "?action=key.revoked") == ["key.revoked"]
    assert actions(api, f"?target={keys[0]}") == ["key.revoked", "key.created"]
    own = audit(api)[0]["key_id"]
    assert len(audit(api, f"?key_id={own}&since=2020-01-01&until=2099-01-01")) == 8
    assert audit(api, f"?key_id={keys[0]}") == audit(api, "?since=2099-01-01") == audit(api, "?until=2020-01-01") == []
    seen, cursor = [], ""
    while cursor is not None:
        answer = api.get(f"{W1}/audit?limit=3{cursor and '&cursor=' + cursor}").json
        seen += answer["audit"]
        api.post(W1 + "/keys")
        cursor = answer["next_cursor"]
    assert seen == [row for row in audit(api) if row["id"] <= seen[0]["id"]] and len(seen) == 8
    for query in ("limit=0", "limit=501", "cursor=x", "cursor=0", "cursor=" + "9" * 30, "since=soon", "key_id=7", "who=me", "target=%FF",
                  "action=%00"):
        answer = api.get(f"{W1}/audit?{query}")
        assert (answer.status, answer.json["code"]) == (422, "invalid_fields"), query


def test_changes_at_the_same_time_keep_their_keys_apart(database_only, api):
    workspaces = [f"v{number}" for number in range(6)]
    clients = {workspace: database_only.api_of(workspace) for workspace in workspaces}

    def change(workspace):
        for _ in range(10):
            assert clients[workspace].post(f"/api/v1/workspaces/{workspace}/keys").status == 201
    threads = [threading.Thread(target=change, args=(workspace,)) for workspace in workspaces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = database_only.db.value("SELECT count(*) FROM audit a JOIN api_keys k ON k.id = a.key_id WHERE k.workspace_id <> a.workspace_id")
    assert wrong == 0 and database_only.db.count("audit") == 60


def test_what_hookcast_does_by_itself_is_not_in_it(database_only, api):
    database_only.run("key", "create", "--workspace", "w3")
    api.get(W1)
    assert database_only.db.count("audit") == 0
