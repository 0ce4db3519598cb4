"""Workspaces and their keys over the API, and what is left when one is erased: nothing."""
import re
import urllib.parse

import pytest
from support.api import Api

ALL = "/api/v1/workspaces"
ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$")


@pytest.fixture
def admin(database_only):
    return database_only.api_of(None)


def put(admin, workspace, name="n"):
    return admin.put(f"{ALL}/{urllib.parse.quote(workspace, safe='')}", {"name": name})


def code(answer):
    return answer.status, answer.json["code"]


# Workspaces.


def test_making_naming_and_reading(admin):
    made = put(admin, "w", "First")
    assert made.status == 201 and list(made.json) == ["id", "name", "created_at", "updated_at", "erasing_since"]
    assert (made.json["id"], made.json["name"], made.json["erasing_since"]) == ("w", "First", None)
    assert ISO.match(made.json["created_at"])
    assert put(admin, "w", "First").json == made.json, "nothing has changed"
    again = put(admin, "w", None)
    assert (again.status, again.json["name"], again.json["created_at"]) == (200, None, made.json["created_at"])
    assert admin.get(ALL + "/w").json == again.json
    assert admin.get("/notify" + ALL + "/w").json == again.json
    assert admin.put(ALL + "/v", {}).status == 201


@pytest.mark.parametrize("body, field", [({"name": 1}, "name"), ({"name": "a\nb"}, "name"), ({"name": "x" * 1025}, "name"),
                                         ({"nmae": "x"}, "nmae"), ({"name": []}, "name")])
def test_wrong_names(admin, database_only, body, field):
    answer = admin.put(ALL + "/w", body)
    assert code(answer) == (422, "invalid_fields") and answer.json["errors"][0]["field"] == field
    assert database_only.db.count("workspaces") == 0


def test_ids_of_any_kind_and_what_can_be_none(admin):
    for workspace in ("a/b c", "ünï", "1246965", "%41", "x" * 200):
        assert put(admin, workspace).json["id"] == workspace
        assert admin.get(f"{ALL}/{urllib.parse.quote(workspace, safe='')}").json["id"] == workspace
    for path in ("%FF", "%00", "a%0Ab", "x" * 201):
        assert code(admin.put(f"{ALL}/{path}", {})) == ((404, "not_found") if path == "%00" else (422, "invalid_fields")), path
        assert code(admin.get(f"{ALL}/{path}")) == (404, "not_found")
        assert code(admin.delete(f"{ALL}/{path}")) == (404, "not_found")


def test_the_list_in_pages(admin):
    names = [f"w{number:02}ü" for number in range(7)]
    for name in names:
        put(admin, name)
    seen, cursor, pages = [], None, 0
    while cursor is not None or not pages:
        answer = admin.get(f"{ALL}?limit=3" + (f"&cursor={urllib.parse.quote(cursor, safe='')}" if cursor else ""))
        seen += [one["id"] for one in answer.json["workspaces"]]
        cursor, pages = answer.json["next_cursor"], pages + 1
    assert (seen, pages) == (names, 3)
    for query in ("limit=0", "limit=1001", "limit=x", "cursor=%FF", "cursor=", "cursor=a%0Ab", "page=2"):
        assert code(admin.get(f"{ALL}?{query}")) == (422, "invalid_fields"), query


def test_a_name_goes_into_webhooks_to_come(admin, database_only):
    put(admin, "w1", "One")
    database_only.subscribe("https://example.com/")
    put(admin, "w1", "Two")
    assert database_only.db.value("SELECT workspace_name FROM render_versions ORDER BY id DESC LIMIT 1") == "Two"


def test_who_is_no_admin(admin, database_only):
    put(admin, "w2")
    api = database_only.api
    assert code(api.get(ALL)) == (403, "admin_key_required")
    assert api.get(ALL + "/w1").json["id"] == "w1"
    for method, body in (("PUT", {"name": "n"}), ("DELETE", None)):
        assert code(api.request(method, ALL + "/w1", body)) == (403, "admin_key_required")
        assert code(api.request(method, ALL + "/w2", body)) == (404, "not_found")
    assert code(api.get(ALL + "/w2")) == (404, "not_found")


# Keys.


def test_a_key_is_shown_once_and_works(database_only):
    api = database_only.api
    made = api.post(ALL + "/w1/keys", {"name": "ci", "expires_in": "30d"})
    assert made.status == 201 and re.fullmatch("hc_[0-9a-f]{64}", made.json["key"])
    assert list(made.json) == ["id", "name", "read_only", "state", "created_at", "expires_at", "revoked_at", "key"]
    other = Api(api.url, made.json["key"])
    listed = other.get(ALL + "/w1/keys").json["keys"]
    assert {**made.json, "key": None} == {**listed[-1], "key": None} and "key" not in listed[-1]
    assert made.json["key"] not in other.get(ALL + "/w1/keys").text
    assert other.delete(f"{ALL}/w1/keys/{made.json['id']}").status == 204
    assert api.delete(f"{ALL}/w1/keys/{made.json['id']}").status == 204, "again is fine"
    states = {one["name"]: (one["state"], one["revoked_at"] is None) for one in api.get(ALL + "/w1/keys").json["keys"]}
    assert states == {"": ("valid", True), "ci": ("revoked", False)}
    database_only.db.wait("SELECT count(*) = 1 FROM api_keys WHERE revoked_at IS NOT NULL")
    assert database_only.api_process.log().count(made.json["key"]) == 0


def test_a_key_that_may_only_read(database_only):
    made = database_only.api.post(ALL + "/w1/keys", {"read_only": True}).json
    reader = Api(database_only.api.url, made["key"])
    assert reader.get(ALL + "/w1/keys").status == 200
    assert code(reader.post(ALL + "/w1/keys")) == (403, "read_only_key")
    assert code(reader.delete(f"{ALL}/w1/keys/{made['id']}")) == (403, "read_only_key")


def test_times_at_which_keys_end(database_only):
    api = database_only.api
    for body in ({"expires_in": 3600}, {"expires_in": "1h"}, {"expires_at": "2030-01-01T00:00:00Z"}, {"expires_at": "2030-01-01"}):
        made = api.post(ALL + "/w1/keys", body)
        assert made.status == 201 and ISO.match(made.json["expires_at"])
    assert made.json["expires_at"] == "2030-01-01T00:00:00Z"
    assert api.post(ALL + "/w1/keys").json["expires_at"] is None
    for body, field in (({"expires_in": 0}, "expires_in"), ({"expires_in": "soon"}, "expires_in"), ({"expires_in": 1e30}, "expires_in"),
                        ({"expires_at": "2020-01-01"}, "expires_at"), ({"expires_at": 5}, "expires_at"),
                        ({"expires_in": 9, "expires_at": "2030-01-01"}, "expires_at"), ({"read_only": 1}, "read_only"),
                        ({"name": None}, "name"), ({"name": "x" * 201}, "name"), ({"rights": []}, "rights")):
        answer = api.post(ALL + "/w1/keys", body)
        assert code(answer) == (422, "invalid_fields") and answer.json["errors"][0]["field"] == field


def test_keys_have_a_bound(database_only):
    api = database_only.api
    database_only.db.execute("INSERT INTO api_keys (id, workspace_id, key_hash) SELECT gen_random_uuid(), 'w1', int4send(n) "
                             "FROM generate_series(1, 999) n")
    assert code(api.post(ALL + "/w1/keys")) == (409, "too_many_keys")
    database_only.db.execute("UPDATE api_keys SET revoked_at = now() WHERE key_hash = int4send(7)")
    assert api.post(ALL + "/w1/keys").status == 201


def test_another_workspaces_keys(database_only):
    foreign = database_only.api_of("w2")
    mine = database_only.api.get(ALL + "/w1/keys").json["keys"][0]["id"]
    assert code(foreign.delete(f"{ALL}/w2/keys/{mine}")) == (404, "not_found")
    assert code(foreign.get(ALL + "/w1/keys")) == (404, "not_found")
    assert database_only.api.get(ALL + "/w1/keys").status == 200
    assert database_only.api_of(None).delete(f"{ALL}/w1/keys/{mine}").status == 204


# Erasing.


def test_an_erased_workspace_is_gone_at_once_and_its_rows_soon(installation, receiver):
    installation.serve()
    admin = installation.api_of(None)
    for workspace in ("w1", "w2"):
        installation.subscribe(receiver.url("/" + workspace), workspace=workspace)
    installation.wait_in_force()
    installation.produce(installation.events(20) + installation.events(3, workspace="w2"))
    installation.db.wait("SELECT count(*) = 23 FROM delivery_logs")
    answer = admin.delete(ALL + "/w1")
    assert answer.status == 202 and ISO.match(answer.json["erasing_since"])
    assert admin.delete(ALL + "/w1").json["erasing_since"] == answer.json["erasing_since"]
    assert admin.get(ALL + "/w1/keys").status == 404
    assert code(put(admin, "w1")) == (409, "workspace_erasing")
    assert code(admin.get(ALL + "/w1")) == (404, "not_found")
    assert admin.get(ALL).json["workspaces"][0] == answer.json
    installation.db.wait("SELECT count(*) = 0 FROM delivery_logs WHERE workspace_id = 'w1'")
    installation.db.wait("SELECT count(*) = 0 FROM api_keys WHERE workspace_id = 'w1'")
    installation.db.wait("SELECT count(*) = 0 FROM events WHERE workspace_id = 'w1'")
    installation.wait_in_force()
    assert installation.api.get(ALL + "/w1").status == 401
    installation.produce(installation.events(5) + installation.events(1, workspace="w2"))
    installation.db.wait("SELECT count(*) = 4 FROM delivery_logs WHERE workspace_id = 'w2'")
    installation.wait_settled()
    assert len(receiver.requests()) == 24
    assert installation.db.count("delivery_logs", "workspace_id = 'w1'") == 0
    installation.db.execute("UPDATE workspaces SET erased_at = erased_at - interval '1 minute' WHERE id = 'w1'")
    installation.db.wait("SELECT count(*) = 0 FROM workspaces WHERE id = 'w1'")
    assert admin.get(ALL + "/w1").status == 404
    assert put(admin, "w1", "anew").status == 201
    kept = [row["action"] for row in installation.db.rows("SELECT action FROM audit WHERE workspace_id = 'w1' ORDER BY id")]
    assert kept == ["workspace.erased", "workspace.created"]


def test_a_key_that_has_ended_makes_no_other(admin):
    """Though it may be remembered for half a second."""
    put(admin, "w")
    for end in (lambda made: admin.delete(f"{ALL}/w/keys/{made['id']}"), lambda made: admin.delete(ALL + "/w")):
        made = admin.post(ALL + "/w/keys").json
        own = Api(admin.url, made["key"])
        assert own.post(ALL + "/w/keys").status == 201
        assert end(made).status in (202, 204)
        answer = own.post(ALL + "/w/keys")
        assert code(answer) == (401, "unauthorized") and "www-authenticate" in answer.headers, answer
