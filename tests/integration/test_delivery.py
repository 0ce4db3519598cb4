"""What reaches a receiver: bodies byte for byte, headers, ids, and which subscription takes which event."""
import json
import re
import time
from datetime import datetime, timezone

import pytest

PAYLOAD = ('{ "n" : 1.50, "big":12345678901234567890, "s":"\\u0041\\/é\\ud83d\\ude00", "a":[1, 2 ,{"x":null}],\n'
           '"CampaignId":42, "contact":{"e":"x@y"} }')
COMPACT = ('{"n":1.50,"big":12345678901234567890,"s":"\\u0041\\/é\\ud83d\\ude00","a":[1,2,{"x":null}],'
           '"CampaignId":42,"contact":{"e":"x@y"}}')
EVENT = ('{"payload":' + PAYLOAD + ',"id":"evt_A","workspace_id":"w1","workspace_name":"Acme",'
         '"event_type":"message.new","event_source":"crm","event_triggered_by":"bob",'
         '"occurred_at":1710084600123,"unknown":true}')

BODIES = {
    "seanotify": '{"id":"evt_A","workspace_id":"w1","workspace_name":"Acme","value":{"event_type":"message.new",'
                 '"event_source":"crm","event_triggered_by":"bob","payload":PAYLOAD,"occurred_at":1710084600123,'
                 '"sent_at":SENT_MS,"subscription_created_by":"ann","subscription_updated_by":null}}',
    "standard": '{"type":"message.new","timestamp":"2024-03-10T15:30:00.123Z","data":PAYLOAD}',
    "cloudevents": '{"specversion":"1.0","id":"evt_A","source":"crm","type":"message.new",'
                   '"time":"2024-03-10T15:30:00.123Z","workspaceid":"w1","datacontenttype":"application/json",'
                   '"data":PAYLOAD}',
    "seleqt": '{"event":"message.new","message":PAYLOAD}',
    "supersend": '{"type":"message.new","CampaignId":42,"contact":{"e":"x@y"}}',
    "kakiyo": '{"event":"message.new","data":PAYLOAD,"timestamp":"2024-03-10T15:30:00.123Z"}',
    "raw": "PAYLOAD",
    "custom": '{"who":"bob did message.new","at":"2024-03-10T15:30:00.123Z","sent":"SENT_ISO","second":2,"none":null,'
              '"kept":["w1"]}',
}
TEMPLATE = ('{"who": "{{event_triggered_by}} did {{ event_type }}", "at": "{{occurred_at}}", "sent": "{{sent_at}}", '
            '"second": "{{payload.a.1}}", "none": "{{payload.absent}}", "kept": ["{{workspace_id}}"]}')


def milliseconds(moment):
    return round(moment.timestamp() * 1000)


def iso(moment):
    fraction = f".{moment.microsecond // 1000:03d}" if moment.microsecond >= 1000 else ""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


@pytest.fixture
def ready(installation):
    """An installation whose topic message.new is there, so that dispatch reads it from the start."""
    installation.kafka.create_topic(installation.topic(), 2)
    return installation


def bodies_by_id(receiver, path=None):
    return {request.id: json.loads(request.body) for request in receiver.requests(path)}


def test_each_format_is_written_byte_for_byte(ready, receiver):
    ids = {}
    for name in BODIES:
        template = {"payload_template": TEMPLATE} if name == "custom" else {}
        ids[name] = ready.insert_subscription(receiver.url("/" + name), payload_format=name, created_by="ann",
                                              **template)
    ready.dispatch()
    began = time.time()
    ready.produce_raw(EVENT)
    receiver.wait_for(len(BODIES))
    ready.db.wait_count(len(BODIES), "delivery_logs")
    for name, expected in BODIES.items():
        (request,) = receiver.requests("/" + name)
        (row,) = ready.db.logs(subscription_id=ids[name])
        body = (expected.replace("PAYLOAD", COMPACT).replace("SENT_MS", str(milliseconds(row["sent_at"])))
                .replace("SENT_ISO", iso(row["sent_at"])))
        assert request.body.decode() == body, name
        assert request.headers["content-type"] == ("application/cloudevents+json" if name == "cloudevents"
                                                   else "application/json"), name
        assert began - 1 < row["sent_at"].timestamp() <= request.time + 1
        assert request.headers["webhook-timestamp"] == str(int(row["sent_at"].timestamp()))


def test_ids_are_repeated_in_the_producers_json_type(ready, receiver):
    ready.insert_subscription(receiver.url("/text"), workspace="w1")
    ready.insert_subscription(receiver.url("/number"), workspace="7")
    ready.dispatch()
    ready.produce_raw('{"id":"evt_1","workspace_id":"w1","payload":1}')
    ready.produce_raw('{"id":12345678901234567890123,"workspace_id":"w1","payload":1}')
    ready.produce_raw('{"id":42,"workspace_id":7,"payload":1}')
    ready.produce_raw('{"id":"43","workspace_id":"7","payload":1}', key="w1")
    ready.produce_raw('{"id":-5,"payload":1}', key="7")
    receiver.wait_for(5)
    starts = {request.id: request.body.split(b',"workspace_name"')[0].decode() for request in receiver.requests()}
    assert starts == {"evt_1": '{"id":"evt_1","workspace_id":"w1"',
                      "12345678901234567890123": '{"id":12345678901234567890123,"workspace_id":"w1"',
                      "42": '{"id":42,"workspace_id":7', "43": '{"id":"43","workspace_id":"7"',
                      "-5": '{"id":-5,"workspace_id":"7"'}
    assert receiver.ids("/text") == {"evt_1": 1, "12345678901234567890123": 1}
    ready.db.wait_count(5, "events")
    assert {row["event_id"] for row in ready.db.rows("SELECT event_id FROM events WHERE workspace_id = '7'")} == {
        "42", "43", "-5"}


def test_what_a_record_leaves_out_comes_from_the_record(ready, receiver):
    ready.insert_subscription(receiver.url("/hook"))
    ready.dispatch()
    ready.produce_raw("{}", timestamp=1700000000123)
    ready.produce_raw('{"id":null,"workspace_id":null,"event_type":null,"occurred_at":"2024-03-10T15:30:00",'
                      '"payload":null}')
    ready.produce_raw('{"id":"zone","occurred_at":"2024-03-10T17:30:00.5+02:00","workspace_name":"Own"}')
    receiver.wait_for(3)
    ready.db.wait_count(3, "events")
    by_time = {body["value"]["occurred_at"]: body for body in bodies_by_id(receiver).values()}
    assert set(by_time) == {1700000000123, 1710084600000, 1710084600500}
    made = by_time[1700000000123]
    row = ready.db.row("SELECT * FROM events WHERE record_time = to_timestamp(1700000000.123)")
    assert made["id"] == "evt_" + str(row["event_key"]).replace("-", "")
    assert (made["workspace_id"], made["workspace_name"], made["value"]["payload"]) == ("w1", None, None)
    assert made["value"]["event_type"] == "message.new" and made["value"]["event_source"] is None
    assert by_time[1710084600500]["workspace_name"] == "Own"


def test_a_workspaces_own_name_is_sent_where_the_event_brings_none(ready, receiver):
    ready.db.execute("INSERT INTO workspaces (id, name) VALUES ('w1', 'Named \"here\"')")
    ready.insert_subscription(receiver.url("/hook"))
    ready.dispatch()
    ready.produce_raw('{"id":"a"}')
    ready.produce_raw('{"id":"b","workspace_name":"The event\'s"}')
    receiver.wait_for(2)
    assert {body["id"]: body["workspace_name"] for body in bodies_by_id(receiver).values()} == {
        "a": 'Named "here"', "b": "The event's"}


def test_the_webhook_id_is_the_events_where_it_can_be(ready, receiver):
    ready.insert_subscription(receiver.url("/hook"))
    ready.insert_subscription(receiver.url("/other"), workspace="w2")
    ready.dispatch()
    as_it_is = ["evt-1_A", "x" * 64, "42"]
    odd = ["a b", "x" * 65, "é", "a.b", "a/b"]
    for one in as_it_is + odd:
        ready.produce_raw(json.dumps({"id": one}))
    ready.produce_raw(json.dumps({"id": "a b", "payload": "again"}))
    ready.produce_raw(json.dumps({"id": "a b"}), key="w2")
    requests = receiver.wait_for(len(as_it_is + odd) + 1, "/hook")
    (elsewhere,) = receiver.wait_for(1, "/other")
    found = {}
    for request in requests:
        found.setdefault(json.loads(request.body)["id"], set()).add(request.id)
    for one in as_it_is:
        assert found[one] == {one}
    made = [webhook_id for one in odd for webhook_id in found[one]]
    assert len(made) == len(set(made)) == len(odd), "two records with one id carry one webhook-id"
    assert all(re.fullmatch(r"evt_[A-Za-z0-9_-]{1,60}", one) for one in made)
    assert elsewhere.id not in made and elsewhere.id.startswith("evt_")


def test_cloudevents_binary_and_structured_are_read(ready, receiver):
    ready.insert_subscription(receiver.url("/ce"), payload_format="cloudevents")
    ready.insert_subscription(receiver.url("/own"), workspace="subject-1")
    ready.dispatch()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ready.produce_raw('{"a": 1.0}', headers=[
        ("ce_specversion", b"1.0"), ("ce_id", b"bin-1"), ("ce_type", b"message.new"), ("ce_source", b"/crm"),
        ("ce_time", b"2024-03-10T15:30:00Z"), ("ce_workspaceid", b"w1"), ("content-type", b"application/json"),
        ("traceparent", trace.encode()), ("tracestate", b"a=b")], key="other")
    ready.produce_raw(json.dumps({"specversion": "1.0", "id": "struct-1", "type": "message.new", "source": "/crm",
                                  "time": "2024-03-10T15:30:00.25Z", "workspaceid": "w1", "data": {"b": 2}}),
                      headers={"content-type": b"application/cloudevents+json; charset=utf-8"}, key="other")
    ready.kafka.produce([{"topic": ready.topic(), "value": "[1]", "headers": {
        "ce_specversion": b"1.0", "ce_id": b"subj", "ce_type": b"message.new", "ce_source": b"/crm",
        "ce_subject": b"subject-1"}}])
    receiver.wait_for(2, "/ce")
    receiver.wait_for(1, "/own")
    by_id = {request.id: request for request in receiver.requests("/ce")}
    assert by_id["bin-1"].body.decode() == (
        '{"specversion":"1.0","id":"bin-1","source":"/crm","type":"message.new","time":"2024-03-10T15:30:00Z",'
        '"workspaceid":"w1","datacontenttype":"application/json","data":{"a":1.0}}')
    assert by_id["bin-1"].headers["traceparent"] == trace and by_id["bin-1"].headers["tracestate"] == "a=b"
    assert json.loads(by_id["struct-1"].body)["data"] == {"b": 2}
    assert json.loads(by_id["struct-1"].body)["time"] == "2024-03-10T15:30:00.250Z"
    assert "traceparent" not in by_id["struct-1"].headers
    (subject,) = receiver.requests("/own")
    assert json.loads(subject.body)["workspace_id"] == "subject-1"
    assert json.loads(subject.body)["value"]["payload"] == [1]


def test_own_headers_are_sent_and_replace_none_of_hookcasts(ready, receiver):
    ready.serve()
    made = ready.subscribe(receiver.url("/hook"), headers={"X-Tenant": "blüe \"1\"", "Authorization": "Bearer t0k3n",
                                                            "X-Empty": ""})
    ready.wait_in_force()
    ready.produce(ready.events(1))
    (request,) = receiver.wait_for(1, "/hook")
    assert request.headers["x-tenant"].encode("utf-8", "surrogateescape").decode() == "blüe \"1\""
    assert request.headers["authorization"] == "Bearer t0k3n" and request.headers["x-empty"] == ""
    assert re.fullmatch(r"hookcast/\d+\.\d+\.\d+", request.headers["user-agent"])
    assert abs(int(request.headers["webhook-timestamp"]) - request.time) < 5
    assert request.headers["content-length"] == str(len(request.body))
    assert set(request.headers) == {"host", "user-agent", "content-type", "content-length", "webhook-id",
                                    "webhook-timestamp", "webhook-signature", "x-tenant", "authorization", "x-empty"}
    for name in ("Webhook-Id", "webhook-signature", "Host", "content-length", "Transfer-Encoding", "connection"):
        answer = ready.api.patch(ready.subscription_path(made["id"]), {"updated_by": "x", "headers": {name: "1"}})
        assert answer.status == 422, name
    columns = ready.db.row("SELECT headers, secrets FROM subscriptions WHERE id = %s", made["id"])
    assert b"t0k3n" not in columns["headers"] and made["secret"].encode() not in columns["secrets"]


def test_events_go_to_those_that_asked_for_them(installation, receiver):
    for event_type in ("message.new", "message.read", "messages", "contact.new"):
        installation.kafka.create_topic(installation.topic(event_type), 1)
    wants = {"/all": ["*"], "/exact": ["message.new"], "/prefix": ["message.*"], "/two": ["contact.new", "messages"],
             "/both": ["message.new", "message.*", "*"], "/none": ["other.*"]}
    for path, types in wants.items():
        installation.insert_subscription(receiver.url(path), types)
    installation.insert_subscription(receiver.url("/elsewhere"), ["*"], workspace="w2")
    installation.insert_subscription(receiver.url("/case"), ["Message.new"])
    installation.dispatch()
    for event_type in ("message.new", "message.read", "messages", "contact.new"):
        installation.produce([installation.event(event_type, id=event_type)])
    installation.produce([installation.event(workspace="w3", id="nobody")])
    receiver.wait_for(4 + 1 + 2 + 2 + 4)
    installation.wait_settled("message.new", "message.read", "messages", "contact.new")
    got = {path: {json.loads(request.body)["id"] for request in receiver.requests(path)}
           for path in [*wants, "/elsewhere", "/case"]}
    everything = {"message.new", "message.read", "messages", "contact.new"}
    assert got == {"/all": everything, "/exact": {"message.new"}, "/prefix": {"message.new", "message.read"},
                   "/two": {"contact.new", "messages"}, "/both": everything, "/none": set(), "/elsewhere": set(),
                   "/case": set()}
    assert receiver.duplicates() == {}
    assert installation.db.count("events", "event_id = 'nobody'") == 0, "what nobody asked for is not kept"


def test_a_new_topic_is_found_within_five_seconds(ready, receiver):
    ready.insert_subscription(receiver.url("/hook"))
    ready.dispatch()
    ready.produce([ready.event(id="before")])
    receiver.wait_for(1)
    ready.kafka.create_topic(ready.topic("deal.won"), 3)
    began = time.monotonic()
    ready.produce([ready.event("deal.won", id="first")])
    receiver.wait_for(2, deadline_s=20)
    # Five seconds until it is found; then the group takes it up.
    assert time.monotonic() - began < 8
    assert json.loads(receiver.requests()[1].body)["value"]["event_type"] == "deal.won"


@pytest.mark.parametrize("regex", [False, True], ids=["list", "regex"])
def test_further_topics_hold_many_types(installation, receiver, regex):
    mixed, other = "mixed-" + installation.group, "more-" + installation.group
    for topic in (mixed, other):
        installation.kafka.create_topic(topic, 1)
    installation.insert_subscription(receiver.url("/hook"), ["order.*"])
    installation.dispatch(TOPICS=f"^(mixed|more)-{installation.group}" if regex else f"{mixed},{other}")
    installation.kafka.produce([
        {"topic": mixed, "key": "w1", "value": {"id": "a", "event_type": "order.paid", "payload": 1}},
        {"topic": mixed, "key": "w1", "value": {"id": "b", "event_type": "user.new", "payload": 1}},
        {"topic": mixed, "key": "w1", "value": {"id": "untyped", "payload": 1}},
        {"topic": other, "key": "w1", "value": {"id": "c", "event_type": "order.sent", "payload": 1}}])
    receiver.wait_for(2)
    installation.db.wait_count(1, "rejected_events")
    assert set(receiver.ids()) == {"a", "c"}
    row = installation.db.row("SELECT * FROM rejected_events")
    assert (row["code"], row["topic"]) == ("bad_type", mixed)
    assert bytes(row["body"]) == b'{"id":"untyped","payload":1}'


def test_deliver_at_delays_an_event_and_the_past_means_now(ready, receiver):
    ready.insert_subscription(receiver.url("/hook"))
    ready.dispatch()
    ready.produce([ready.event(id="warm")])
    receiver.wait_for(1)
    due = time.time() + 3
    ready.produce([ready.event(id="later", deliver_at=int(due * 1000)),
                   ready.event(id="iso", deliver_at=datetime.fromtimestamp(due, timezone.utc).isoformat()),
                   ready.event(id="past", deliver_at=1000), ready.event(id="old", deliver_at="1999-12-31T23:59:59Z"),
                   ready.event(id="now")])
    receiver.wait_for(4, deadline_s=2.5)
    assert set(receiver.ids()) == {"warm", "past", "old", "now"}
    ready.db.wait_count(2, "schedule")
    receiver.wait_for(6, deadline_s=15)
    for request in receiver.requests():
        if request.id in ("later", "iso"):
            assert due - 0.05 <= request.time < due + 3
    ready.db.wait("SELECT count(*) = 0 FROM schedule")
    ready.db.wait_count(6, "delivery_logs")
    assert {row["attempt"] for row in ready.db.logs()} == {1}
    assert receiver.duplicates() == {}


def test_two_records_with_one_id_are_two_events(ready, receiver):
    ready.insert_subscription(receiver.url("/hook"))
    ready.dispatch()
    ready.produce([ready.event(id="same"), ready.event(id="same")])
    receiver.wait_for(2)
    ready.db.wait_count(2, "events")
    ready.db.wait_count(2, "delivery_logs")
    assert receiver.ids() == {"same": 2}
    assert ready.db.value("SELECT count(DISTINCT event_key) FROM delivery_logs WHERE event_id = 'same'") == 2
