"""The API's description: it is OpenAPI 3.1, it describes every route and nothing else, and the program keeps to it."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from support.api import Api
from support.process import ROOT

METHODS = {"get", "put", "post", "patch", "delete"}


@pytest.fixture
def document(database_only):
    answer = Api(database_only.api_process.api_url).get("/openapi.json")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    return answer.json


def routes():
    """{(method, path)} of every table of routes in the sources."""
    found = set()
    for source_path in glob.glob(os.path.join(ROOT, "lib", "api", "*_routes.c")):
        with open(source_path, encoding="utf-8") as source:
            text = source.read()
        names = dict(re.findall(r'^#define ([A-Z]+) (.*"/.*)$', text, re.MULTILINE))
        for method, path in re.findall(r'^ +\{"([A-Z]+)", ([^,]*"|[A-Z]+), ', text, re.MULTILINE):
            for _ in range(2):
                path = re.sub(r"\b[A-Z]+\b", lambda word: names.get(word.group(0), word.group(0)), path)
            found.add((method.lower(), "".join(re.findall(r'"([^"]*)"', path))))
    return found


def operations(document):
    return {(method, path): operation for path, methods in document["paths"].items() for method, operation in methods.items()}


def references(value):
    if isinstance(value, dict):
        for name, one in value.items():
            if name == "$ref":
                yield one
            else:
                yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def test_every_route_is_described_and_nothing_else(document):
    assert document["openapi"] == "3.1.0"
    assert {method for method, _ in operations(document)} <= METHODS
    assert set(operations(document)) == routes()


def test_what_every_operation_has(document):
    identities = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(identities)) == len(identities)
    for (method, path), operation in operations(document).items():
        assert operation["summary"] and operation["tags"] and any(status < "300" for status in operation["responses"]), path
        named = {one["$ref"].rsplit("/", 1)[1] for one in operation["parameters"] if "$ref" in one}
        assert set(re.findall(r"{(\w+)}", path)) <= named, path
        public = operation.get("security") == []
        assert public or {"401", "404", "422"} <= set(operation["responses"]), (method, path)
        assert public or method == "get" or "403" in operation["responses"]
        assert {"400", "413", "503"} <= set(operation["responses"]), "the server's own, for any request"
        assert ("requestBody" not in operation) or "415" in operation["responses"]


def test_references_lead_somewhere_and_everything_is_used(document):
    wanted = set(references(document))
    for reference in wanted:
        at = document
        for name in reference[2:].split("/"):
            assert name in at, reference
            at = at[name]
    there = {f"#/components/{kind}/{name}" for kind, all_of_it in document["components"].items() if kind != "securitySchemes"
             for name in all_of_it}
    assert there == wanted


def test_webhooks_are_those_of_the_catalogue(database_only, document):
    rows = database_only.db.rows("SELECT event_type, description, example FROM event_types WHERE workspace_id = ''")
    assert set(document["webhooks"]) == {row["event_type"] for row in rows} and len(rows) >= 52
    for row in rows:
        post = document["webhooks"][row["event_type"]]["post"]
        body = post["requestBody"]["content"]["application/json"]["example"]
        assert (post["summary"], body["value"]["event_type"], body["value"]["payload"]) == \
            (row["description"], row["event_type"], row["example"])
    assert set(document["components"]["schemas"]["KnownEventType"]["enum"]) == set(document["webhooks"])


def test_under_notify_and_without_a_key(database_only, document):
    api = Api(database_only.api_process.api_url)
    assert api.get("/notify/openapi.json").json == document
    for path in ("/docs", "/notify/docs", "/redoc", "/notify/redoc"):
        answer = api.get(path)
        assert answer.status == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_page_asks_no_foreign_host_and_its_script_runs(database_only, document, tmp_path):
    page = Api(database_only.api_process.api_url).get("/docs").text
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)|https?://|@import|url\(""", page), "everything is in it"
    script = re.search(r"<script>(.*)</script>", page, re.DOTALL).group(1)
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "page.js").write_text(DOM + script.replace('"use strict";', "", 1))
    done = subprocess.run([shutil.which("node"), "page.js"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    for (_, path), operation in operations(document).items():
        assert path in done.stdout and operation["summary"] in done.stdout
    assert "can't be read" not in done.stdout and all(name in done.stdout for name in document["components"]["schemas"])


# As much of a browser as the page's script needs; every <details> is opened, and all text printed.
DOM = """
class Node {
  constructor(tag) { this.tag = tag; this.children = []; this.listeners = []; }
  append(...nodes) { this.children.push(...nodes); }
  replaceChildren(...nodes) { this.children = nodes; }
  addEventListener(name, fn) { this.listeners.push(fn); }
  text() { const open = this.listeners; this.listeners = []; open.forEach(fn => fn());
    return this.children.map(one => one instanceof Node ? one.text() : String(one)).join("\\n"); }
}
const byId = { main: new Node("main"), nav: new Node("nav") };
globalThis.document = { getElementById: id => byId[id], createElement: tag => new Node(tag) };
globalThis.fetch = async path => ({ json: async () => JSON.parse(require("fs").readFileSync(path, "utf8")) });
setTimeout(() => console.log(byId.main.text()), 500);
"""


# schemathesis against the program: every operation, every check, valid and invalid data.

SCHEMATHESIS = "schemathesis==4.32.5"
SECONDS = {"positive": 60, "negative": 45}  # a third of it is needed on two cores for every operation's turn
SEED = os.environ.get("HOOKCAST_TEST_SEED", "1")

# What the description refuses, the program does. What it takes, the program may refuse: no pattern says that a day
# exists, a time is past or a text is short in bytes. So valid data is made by these in place of its schemas.
DAY = "(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
TIME = "([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])?)?"
YEARS_AHEAD = "|".join(str(time.gmtime().tm_year + years) for years in range(1, 10))
CERTAIN = {
    "TimeGiven": {"type": "string", "pattern": f"^(19[7-9][0-9]|20[0-9][0-9])-{DAY}{TIME}$"},
    "TimePast": {"type": "string", "pattern": f"^(19[7-9][0-9]|20([01][0-9]|2[0-4]))-{DAY}{TIME}$"},
    "TimeAhead": {"type": "string", "pattern": f"^({YEARS_AHEAD})-{DAY}{TIME}$"},
    "Duration": {"type": "string", "pattern": "^([1-9][0-9]{3,6}ms|[1-9][0-9]{0,5}s|[1-9][0-9]{0,3}m|[1-9][0-9]?h|([1-9]|[12][0-9]|30)d)$"},
    "WebhookUrl": {"type": "string", "pattern": "^https?://([A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?\\.){1,4}[A-Za-z][A-Za-z0-9]{1,10}"
                   "(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~/-]*)?(\\?[A-Za-z0-9._~/=&-]*)?$"},
    "EmailAddress": {"type": "string", "pattern": "^[a-z0-9_+-]{1,60}(\\.[a-z0-9_+-]{1,3})?@[a-z0-9-]{1,60}(\\.[a-z0-9-]{1,60}){0,2}$"},
    "Language": {"type": "string", "pattern": "^[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?$"},
    "NumberCursor": {"type": "string", "pattern": "^[1-9][0-9]{0,16}$"},
    "PlaceCursor": {"type": "string", "pattern": "^[1-9][0-9]{0,15}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
    "SecretGiven": {"anyOf": [{"type": "string", "pattern": "^[!-^`-~]{8,512}$"}, {"type": "string", "pattern": "^whsec_([A-Za-z0-9+/]{4}){8,21}$"}]},
    "PlainSecret": {"type": "string", "pattern": "^[!-^`-~]{8,512}$"},
    "EventTypeName": {"$ref": "#/components/schemas/KnownEventType"},
    "EventTypePattern": {"anyOf": [{"$ref": "#/components/schemas/KnownEventType"}, {"const": "*"},
                                   {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,40}(\\.[A-Za-z0-9_-]{1,40}){0,3}\\.\\*$"}]},
    "EventId": {"type": "string", "pattern": "^[ -~]{1,200}$"},
    "HeaderName": {"type": "string", "pattern": "^x-[a-z0-9-]{1,100}$"},
    "HeaderValue": {"type": "string", "pattern": "^([!-~]([ -~]{0,100}[!-~])?)?$"},
}

# And by these, where a value has to fit another one, or has to be there. What is known is never deleted, so that there is
# a key to ask with to the end.
HOOKS = '''
import json, os, uuid, schemathesis

KNOWN = json.loads(os.environ["KNOWN"])
CERTAIN = json.loads(os.environ["CERTAIN"])

@schemathesis.hook
def before_load_schema(context, raw_schema):
    schemas = raw_schema["components"]["schemas"]
    schemas.update(CERTAIN)
    if CERTAIN:
        schemas["Filter"]["patternProperties"] = {
            "^(payload(\\\\.[A-Za-z0-9_]+)*|id|workspace_id|event_type)$": one for one in schemas["Filter"]["patternProperties"].values()}
        schemas["SubscriptionChange"]["allOf"] = schemas["SubscriptionCreate"]["allOf"]
        schemas["SubscriptionChange"]["required"] += ["delivery_mode", "payload_format", "signature_style", "asymmetric"]

def make_plain(value):
    """To JSON Schema 7.0 is an integer, and a text may have a NUL in it; hookcast takes neither."""
    for key, one in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(one, (dict, list)):
            make_plain(one)
        elif isinstance(one, float) and one.is_integer():
            value[key] = int(one)
        elif isinstance(one, str):
            value[key] = one.replace("\\0", "0")
        if isinstance(key, str) and "\\0" in key:
            value[key.replace("\\0", "0")] = value.pop(key)

@schemathesis.hook
def before_call(context, case, kwargs):
    for name, value in (case.path_parameters or {}).items():
        if case.method == "DELETE" and name != "workspace_id" and value == KNOWN.get(name):
            case.path_parameters[name] = str(uuid.uuid4())
    if CERTAIN:
        make_valid(case)
    else:
        (case.headers or {}).pop("If-Match", None)

def make_valid(case):
    for name in set(case.path_parameters or {}) & set(KNOWN) if case.method != "DELETE" else ():
        case.path_parameters[name] = KNOWN[name]
    query, headers = case.query or {}, case.headers or {}
    if case.path.endswith(("/logs", "/logs/{subscription_id}")):
        query.pop("cursor", None)
    if case.path.endswith("/stats"):
        query.pop("end_date", None)
        query.pop("start_date", None)
    if "If-Match" in headers:
        headers["If-Match"] = "*"
    if "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = str(uuid.uuid4())
    if isinstance(case.body, (dict, list)):
        make_plain(case.body)
    body = case.body if isinstance(case.body, dict) else {}
    if case.path.endswith(("/recover", "/replay", "/export")):
        body.pop("until", None)
        body.pop("end_date", None)
        if body.get("subscription_id"):
            body["subscription_id"] = KNOWN["subscription_id"]
    if isinstance(body.get("payload_template"), str):
        body["payload_template"] = json.dumps([body["payload_template"]])
    if "/event_types" in case.path:
        body.pop("schema", None)
        if str(body.get("event_type")).startswith("hookcast."):
            body["event_type"] = "own." + str(uuid.uuid4())
    if case.path.endswith("/republish") and "value" in body:
        body["value"] = {"workspace_id": "w1", "payload": body["value"]}
    if case.path.endswith("/events"):
        for event in case.body if isinstance(case.body, list) else [case.body]:
            if isinstance(event, dict):
                event.pop("deliver_at", None)
                event.pop("workspace_id", None)
'''


def schemathesis():
    """Its program, in an environment of its own that is made at the first use."""
    home = os.path.join(ROOT, "var", SCHEMATHESIS)
    program = os.path.join(home, "bin", "st")
    if not os.path.exists(program):
        subprocess.run([sys.executable, "-m", "venv", home], check=True, timeout=120)
        subprocess.run([os.path.join(home, "bin", "pip"), "install", "-q", SCHEMATHESIS], check=True, timeout=300)
    return program


def tried(path):
    """{phase: {(method, path)}} of the operations that were asked and did not just answer 401, as the report says."""
    found = {"coverage": set(), "fuzzing": set()}
    with open(path, encoding="utf-8") as report:
        for line in report:
            scenario = json.loads(line).get("ScenarioFinished")
            if scenario and scenario["phase"] in found:
                method, path = scenario["recorder"]["label"].split(" ", 1)
                answered = {name for name, one in scenario["recorder"].get("interactions", {}).items()
                            if one.get("response") and one["response"]["status_code"] != 401}
                if any((one["value"]["method"], one["value"]["path"]) == (method, path)
                       for name, one in scenario["recorder"].get("cases", {}).items() if name in answered):
                    found[scenario["phase"]].add((method.lower(), path))
    return found


@pytest.mark.deadline(600)
@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("admin", [False, True])
def test_schemathesis_finds_nothing(installation, tmp_path, admin, mode):
    program = schemathesis()
    # All at once: one that is made at its first use takes a second on a busy machine.
    types = [row["event_type"] for row in installation.db.rows("SELECT event_type FROM event_types WHERE workspace_id = ''")]
    installation.kafka.create_topics([installation.topic(event_type) for event_type in types], 1)
    serving = installation.serve()
    api = installation.api
    subscription = installation.subscribe("https://hook.example.com/")["id"]
    installation.produce_raw("[1]")
    installation.db.wait("SELECT count(*) = 1 FROM rejected_events")
    rejected = str(installation.db.value("SELECT id FROM rejected_events"))
    job = api.post(f"/api/v1/workspaces/w1/subscription/{subscription}/recover", {"since": "2026-01-01"}).json["id"]
    event = api.post("/api/v1/workspaces/w1/events", {"event_type": "message.new"}).json["events"][0]["id"]
    assert api.post("/api/v1/workspaces/w1/event_types", {"event_type": "own.type"}).status == 201
    key = str(installation.db.value("SELECT id FROM api_keys WHERE workspace_id = 'w1'"))
    known = {"workspace_id": "w1", "subscription_id": subscription, "rejected_id": rejected, "job_id": job, "event_id": event,
             "event": "message.sent", "event_type": "own.type", "key_id": key}
    (tmp_path / "hooks.py").write_text(HOOKS)
    (tmp_path / "schemathesis.toml").write_text(
        f'hooks = "hooks"\n[auth.openapi.key]\napi_key = "{installation.key(None) if admin else api.key}"\n')
    wanted = "^/api/v1/(workspaces|audit|rejected_events)($|/{workspace_id}$|/{rejected_id})" if admin else "^/"
    only = ["--include-path-regex", wanted] if admin else []
    # A receiver that does not answer is waited for 10 seconds by a test.
    done = subprocess.run(
        [program, "--config-file", "schemathesis.toml", "run", api.url + "/openapi.json", "--checks", "all", "--mode", mode, "--seed", SEED,
         "--max-time", str(SECONDS[mode] // 3 if admin else SECONDS[mode]), "--request-timeout", "20", "--max-response-time", "15",
         "--no-color", "--warnings", "off", "--report-ndjson-path", "report.ndjson", *only],
        cwd=tmp_path, capture_output=True, text=True, timeout=580, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "KNOWN": json.dumps(known),
             "CERTAIN": json.dumps(CERTAIN if mode == "positive" else {})})
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    assert serving.running() and "level=error" not in serving.log()
    all_of_them = {(method, path) for method, path in operations(api.get("/openapi.json").json)
                   if re.search(wanted, path) and path != "/openapi.json"}  # where it has the others from
    found = tried(tmp_path / "report.ndjson")
    assert len(all_of_them) >= 8 and (mode == "negative" or found == {"coverage": all_of_them, "fuzzing": all_of_them})
    assert all(2 * len(one) > len(all_of_them) for one in found.values()), "there is invalid data for most of them"
