"""…/event_types: a workspace's own types, their schemas."""
import concurrent.futures
import json

import pytest
from servers import wait_until
from support.installation import find_key
from support.receiver import Answer, Gate

ALL = "/api/v1/workspaces/{}/event_types"
PAID = {"event_type": "order.paid", "description": "An order was paid", "example": {"order": {"id": 7, "total": 19.99}},
        "schema": {"type": "object", "required": ["order"], "properties": {"order": {
            "type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "total": {"minimum": 0}}}}}}
FIELDS = ["event_type", "description", "example", "schema", "sample", "first_seen_at", "last_seen_at", "created_at"]


@pytest.fixture
def api(database_only):
    return database_only.api


def make(api, body=None, workspace="w1", **fields):
    return api.post(ALL.format(workspace), {**(PAID if body is None else body), **fields})


def made(api, *arguments, **fields):
    answer = make(api, *arguments, **fields)
    assert answer.status == 201, answer
    return answer.json


def assert_field(answer, field, says=""):
    assert answer.status == 422, answer
    assert any(error["field"] == field and says in error["message"] for error in answer.json["errors"]), answer


def test_one_is_made_shown_and_listed(api):
    answer = make(api)
    assert answer.status == 201 and list(answer.json) == FIELDS, answer
    assert {name: answer.json[name] for name in PAID} == PAID
    assert (answer.json["sample"], answer.json["first_seen_at"], answer.json["last_seen_at"]) == (None, None, None)
    assert answer.headers["location"] == ALL.format("w1") + "/order.paid"
    assert api.get(answer.headers["location"]).json == answer.json
    made(api, {"event_type": "a-type"})
    assert [one["event_type"] for one in api.get(ALL.format("w1")).json["event_types"]] == ["a-type", "order.paid"]
    # Behind SeaNotify's fifteen, in the document's form.
    listed = api.get("/api/v1/event_types").json
    assert listed[15:] == [{"event_type": "a-type", "description": ""},
                           {"event_type": "order.paid", "description": "An order was paid"}]


def test_a_subscription_may_then_ask_for_it(database_only, api):
    refused = api.post("/api/v1/workspaces/w1/subscription", {"webhook_url": "https://example.com/", "is_enabled": True,
                                                              "event_types": ["order.paid"]})
    assert_field(refused, "event_types", "there is no event type")
    made(api)
    assert database_only.subscribe("https://example.com/", ["order.paid"])["event_types"] == ["order.paid"]
    assert_field(database_only.api_of("w2").post("/api/v1/workspaces/w2/subscription", {
        "webhook_url": "https://example.com/", "is_enabled": True, "event_types": ["order.paid"]}), "event_types")


def test_a_change_changes_what_it_names(api):
    made(api)
    path = ALL.format("w1") + "/order.paid"
    changed = api.patch(path, {"description": "Paid"})
    assert changed.status == 200 and changed.json["description"] == "Paid" and changed.json["example"] == PAID["example"]
    assert api.patch(path, {"example": None, "schema": None}).json["schema"] is None
    assert api.patch(path, {"schema": PAID["schema"]}).json["example"] is None
    assert_field(api.patch(path, {"example": {"order": {"id": "seven"}}}), "example/order/id", "expected integer")
    assert_field(api.patch(path, {"event_type": "order.sold"}), "event_type", "can't be changed")
    assert api.get(path).json["example"] is None
    assert api.patch(path, {"example": PAID["example"]}).status == 200
    # The example that is there has to be as a new schema says.
    assert_field(api.patch(path, {"schema": {"required": ["invoice"]}}), "example", "lacks \"invoice\"")
    assert api.patch(path, {}).status == 200


def test_a_schema_with_numbers_that_the_database_writes_out(installation):
    """1e20 is kept as 100000000000000000000, which no integer of 64 bits holds."""
    api = installation.api
    made(api, {"event_type": "large", "schema": {"type": "number", "maximum": 1e20}})
    path = ALL.format("w1") + "/large"
    assert api.patch(path, {"example": 5}).status == 200
    assert_field(api.patch(path, {"example": 1e21}), "example", "is more than 1e+20")
    assert api.post("/api/v1/workspaces/w1/events", {"event_type": "large", "payload": 7}).status == 202
    assert_field(api.post("/api/v1/workspaces/w1/events", {"event_type": "large", "payload": 1e21}), "payload", "is more than")


def test_the_archive(database_only, api):
    made(api)
    path = ALL.format("w1") + "/order.paid"
    subscription = database_only.subscribe("https://example.com/", ["order.paid"])
    assert api.delete(path).status == 204
    assert [api.delete(path).status, api.get(path).status, api.patch(path, {}).status] == [404] * 3
    assert api.get(ALL.format("w1")).json == {"event_types": []} and len(api.get("/api/v1/event_types").json) == 15
    # What asks for it keeps it; nobody else may ask for it.
    assert database_only.change(subscription, name="n")["event_types"] == ["order.paid"]
    assert make(api, {"event_type": "order.paid", "description": "again"}).status == 201
    assert api.get(path).json["description"] == "again" and api.get(path).json["schema"] is None


def test_a_name_is_there_once(database_only, api):
    made(api)
    for name in ("order.paid", "conversation.new", "email-sent"):
        answer = make(api, {"event_type": name})
        assert answer.status == 409 and answer.json["code"] == "event_type_exists", answer
    assert database_only.api_of("w2").post(ALL.format("w2"), PAID).status == 201
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda _: make(api, {"event_type": "race"}).status, range(12)))
    assert sorted(statuses) == [201] + [409] * 11


@pytest.mark.parametrize("body, field, says", [
    ({}, "event_type", "is required"),
    ({"event_type": None}, "event_type", "expected a text"),
    ({"event_type": ""}, "event_type", "expected a text"),
    ({"event_type": "a b"}, "event_type", "expected a text"),
    ({"event_type": "a*"}, "event_type", "expected a text"),
    ({"event_type": "x" * 201}, "event_type", "expected a text"),
    ({"event_type": "hookcast.mine"}, "event_type", "hookcast's own"),
    ({"event_type": "a", "description": 5}, "description", "expected a text"),
    ({"event_type": "a", "description": "x" * 1001}, "description", "expected a text"),
    ({"event_type": "a", "examples": []}, "examples", "no such field"),
    ({"event_type": "a", "example": "x" * 70000}, "example", "is longer"),
    ({"event_type": "a", "schema": 5}, "schema", "expected a schema"),
    ({"event_type": "a", "schema": {"pattern": "^a"}}, "schema/pattern", "not supported"),
    ({"event_type": "a", "schema": {"properties": {"b": {"tpye": "string"}}}}, "schema/properties/b/tpye", "not supported"),
    ({"event_type": "a", "schema": {"$ref": "#"}}, "schema", "refers to itself"),
    ({"event_type": "a", "example": [1], "schema": {"items": {"type": "string"}}}, "example/0", "expected string"),
    ({"event_type": "a", "example": 5, "schema": False}, "example", "no value is allowed"),
])
def test_what_is_wrong_is_named(database_only, api, body, field, says):
    assert_field(api.post(ALL.format("w1"), body), field, says)
    assert database_only.db.count("event_types", "workspace_id <> ''") == 0


@pytest.mark.parametrize("example", ["null", "5", "\"text\"", "[1,2]", "{\"a\":{\"b\":[]}}", "1.10", "0.1",
                                     "0.12345678901234567", "-1234567890123456789", "true", "\"\\ud83d\\ude00\\n\\\"\""])
def test_an_example_is_any_json_with_its_digits(api, example):
    answer = api.post(ALL.format("w1"), raw=f'{{"event_type": "digits", "example": {example}}}'.encode())
    assert answer.status == 201, answer
    assert answer.json["example"] == json.loads(example)
    if example[-1].isdigit():
        assert f'"example":{example},' in answer.text


def test_tenants(database_only, api):
    made(api)
    path = ALL.format("w1") + "/order.paid"
    stranger = database_only.api_of("w2")
    for answer in (stranger.get(path), stranger.get(ALL.format("w1")), stranger.delete(path), stranger.patch(path, {}),
                   make(stranger, {"event_type": "x"}), stranger.get(ALL.format("w2") + "/order.paid"),
                   stranger.delete(ALL.format("w2") + "/order.paid")):
        assert answer.status == 404, answer
    reader = api.with_key(find_key(database_only.run("key", "create", "--workspace", "w1", "--read-only").stdout))
    assert [reader.get(path).status, reader.get(ALL.format("w1")).status] == [200, 200]
    assert [reader.delete(path).status, reader.patch(path, {}).status, make(reader, {"event_type": "x"}).status] == [403] * 3
    assert api.delete(ALL.format("w1") + "/conversation.new").status == 404
    assert api.get(ALL.format("w1") + "/a%2Fb").status == 404 and api.get(ALL.format("w1") + "/%00").status == 404


def test_events_have_to_be_as_the_schema_says(installation):
    api = installation.api
    made(api)
    made(api, {"event_type": "free"})
    path = "/api/v1/workspaces/w1/events"
    good = {"event_type": "order.paid", "payload": {"order": {"id": 1}}}
    wrong = {"event_type": "order.paid", "payload": {"order": {"id": "1", "total": -1}}}
    refused = api.post(path, [good, {"event_type": "free", "payload": 5}, wrong, {"event_type": "order.paid"}])
    assert_field(refused, "[2].payload/order/id", "expected integer")
    assert_field(refused, "[2].payload/order/total", "is less than 0")
    assert_field(refused, "[3].payload", "expected object")
    assert all(error["field"].startswith(("[2]", "[3]")) for error in refused.json["errors"])
    assert_field(api.post(path, wrong), "payload/order/id", "expected integer")
    big = b'{"event_type": "order.paid", "payload": {"order": {"id": 123456789012345678901234567890}}}'
    assert api.post(path, raw=big).status == 202
    assert_field(api.post(path, raw=big.replace(b"id\": 1", b"total\": 1e999, \"id\": 1")), "payload", "can't be checked")
    assert api.post(path, [good, {"event_type": "free", "payload": [{}]}]).status == 202


# Types that come over Kafka.


def own(installation, name, workspace="w1"):
    rows = installation.db.rows("SELECT * FROM event_types WHERE workspace_id = %s AND event_type = %s", workspace, name)
    return rows[0] if rows else None


def over_one_topic(installation, events):
    installation.kafka.produce([{"topic": installation.group + "_all", "key": "w1", "value": event} for event in events])


def test_a_type_that_is_first_seen_in_kafka_registers_itself(installation, receiver):
    api = installation.api
    made(api, {"event_type": "made.before", "example": {"mine": 1}})
    made(api, {"event_type": "archived"})
    assert api.delete(ALL.format("w1") + "/archived").status == 204
    installation.env["HOOKCAST_TOPICS"] = installation.group + "_all"
    installation.dispatch()
    seen = ["order.shipped", "made.before", "archived", "conversation.new", "email-sent", "hookcast.odd"]
    over_one_topic(installation, [f'{{"event_type": "{name}", "workspace_id": "w1", "id": "e-{name}", "payload": '
                                  f'{{"n": 1.50, "number": {number}, "s": "\\ud800"}}}}' for number, name in enumerate(seen)] +
                   [installation.event("order.shipped", payload={"later": True}), installation.event("x", workspace="nobody")])
    wait_until(lambda: own(installation, "order.shipped"), 20, what="the type is there")
    answer = api.get(ALL.format("w1") + "/order.shipped")
    assert answer.status == 200 and '"sample":{"n":1.50,"number":0,"s":"\\ud800"}' in answer.text, answer
    assert answer.json["example"] is None and answer.json["description"] == ""
    assert answer.json["first_seen_at"] == answer.json["last_seen_at"] and answer.json["first_seen_at"].endswith("Z")
    assert [one["event_type"] for one in api.get("/api/v1/event_types").json[15:]] == ["made.before", "order.shipped"]
    before = own(installation, "made.before")
    assert before["first_seen_at"] and before["example"] == {"mine": 1} and before["sample"]
    assert own(installation, "archived")["archived_at"] and not own(installation, "x", "nobody")
    assert installation.db.count("event_types", "workspace_id <> ''") == 3
    # It may be asked for now, and its sample is what a test sends.
    subscription = installation.subscribe(receiver.url("/hook"), ["order.shipped"], payload_format="raw")
    answer = api.post("/api/v1/workspaces/w1/test", {"event_type": "order.shipped", "webhook_url": receiver.url("/hook")})
    assert answer.status == 200 and answer.json["delivered"], answer
    assert receiver.requests("/hook")[0].body == b'{"n":1.50,"number":0,"s":"\\ud800"}' and subscription
    gone = api.patch(ALL.format("w1") + "/order.shipped", {"sample": None})
    assert gone.status == 200 and gone.json["sample"] is None and gone.json["first_seen_at"]
    assert_field(api.patch(ALL.format("w1") + "/order.shipped", {"sample": 5}), "sample", "taken away")


def test_a_sample_goes_with_its_event(installation, receiver):
    api = installation.api
    installation.insert_subscription(receiver.url("/hook"))
    installation.dispatch()
    installation.wait_in_force()
    event = installation.event("order.lost", payload={"secret": "of somebody"})
    installation.produce([event])
    wait_until(lambda: own(installation, "order.lost"), 20, what="the type is there")
    receiver.wait_for(1, "/hook")
    wait_until(lambda: installation.db.count("events") == 1, 10, what="the event is written")
    assert own(installation, "order.lost")["sample"] == '{"secret":"of somebody"}'
    sent, under_way = send_the_sample(installation, receiver, "order.lost", lambda: api.delete(EVENTS + event["id"]))
    assert own(installation, "order.lost")["sample"] is None
    assert [told(api, row) for row in (sent, under_way)] == [(None, None), (None, None)]
    assert installation.db.count("test_bodies") == 0


EVENTS = "/api/v1/workspaces/w1/events/"


def told(api, row):
    shown = api.get(f"/api/v1/workspaces/w1/logs/{row}").json
    return shown["response_body"], shown["delivered_event_obj"]


def send_the_sample(installation, receiver, event_type, erase):
    """Two tests: one is made before the sample goes, one is under way meanwhile. The ids of their rows."""
    api, gate = installation.api, Gate(Answer(200, "thanks for the secret"))
    receiver.on("/test", Answer(200, "thanks for the secret"))
    receiver.on("/gate", gate)

    def test(path):
        answer = api.post("/api/v1/workspaces/w1/test", {"event_type": event_type, "webhook_url": receiver.url(path)})
        assert answer.status == 200 and b"of somebody" in answer.body, answer
    test("/test")
    [sent] = installation.db.rows("SELECT id FROM delivery_logs WHERE test")
    answered, body = told(api, sent["id"])
    assert answered == "thanks for the secret" and body["value"]["payload"] == {"secret": "of somebody"}
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        running = threads.submit(test, "/gate")
        try:
            receiver.wait_for(1, "/gate")
            answer = erase()
        finally:
            gate.open()
        running.result()
    assert answer.status in (200, 204), answer
    [under_way] = installation.db.rows("SELECT id FROM delivery_logs WHERE test AND id <> %s", sent["id"])
    return sent["id"], under_way["id"]


def unwanted(installation, event_type):
    installation.env["HOOKCAST_TOPICS"] = installation.group + "_all"
    installation.dispatch()
    over_one_topic(installation, [installation.event(event_type, payload={"secret": "of somebody"})])
    wait_until(lambda: own(installation, event_type), 20, what="the type is there")
    assert installation.db.count("events") == 0
    return own(installation, event_type)


def test_a_sample_of_an_event_that_nobody_wanted_goes_by_its_key(installation, receiver):
    api, key = installation.api, unwanted(installation, "order.lost")["sample_event"]
    assert installation.api_of("w2").delete(f"/api/v1/workspaces/w2/events/{key}").status == 404
    rows = send_the_sample(installation, receiver, "order.lost", lambda: api.delete(EVENTS + str(key)))
    assert own(installation, "order.lost")["sample"] is None and installation.db.count("test_bodies") == 0
    assert [told(api, row) for row in rows] == [(None, None), (None, None)]
    assert api.get("/api/v1/workspaces/w1/audit?action=event.erased").json["audit"][0]["target"] == str(key)
    assert api.delete(EVENTS + str(key)).status == 404


def test_a_sample_that_is_taken_away_leaves_no_tests(installation, receiver):
    api = installation.api
    unwanted(installation, "order.lost")
    rows = send_the_sample(installation, receiver, "order.lost",
                                  lambda: api.patch(ALL.format("w1") + "/order.lost", {"sample": None}))
    assert [told(api, row) for row in rows] == [(None, None), (None, None)]
    assert installation.db.count("test_bodies") == 0


def test_tests_of_an_example_stay(installation, receiver):
    api = installation.api
    unwanted(installation, "order.lost")
    assert api.patch(ALL.format("w1") + "/order.lost", {"example": {"made": "up"}}).status == 200
    answer = api.post("/api/v1/workspaces/w1/test", {"event_type": "order.lost", "webhook_url": receiver.url("/test")})
    assert answer.status == 200 and b"made" in receiver.requests("/test")[0].body
    assert api.delete(EVENTS + str(own(installation, "order.lost")["sample_event"])).status == 204
    assert installation.db.count("test_bodies") == 1


def test_a_number_that_the_database_can_not_keep_is_refused(api):
    tiny = b'{"event_type": "tiny", "example": 1e-20000}'
    assert_field(api.post(ALL.format("w1"), raw=tiny), "", "too many digits")
    made(api, {"event_type": "tiny", "example": 1})
    path = ALL.format("w1") + "/tiny"
    assert_field(api.patch(path, raw=b'{"schema": {"minimum": 1e-20000}}'), "", "too many digits")
    assert api.patch(path, {"example": 2}).json["example"] == 2
