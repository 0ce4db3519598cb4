"""Who receives can tell that a webhook came from here: verified by code that knows the specifications alone."""
import base64
import json
import shutil
import subprocess

import pytest
from support.signature import hex_style, standard, verify_hex, verify_standard
from test_js_json_node import AWKWARD

PLAIN = "a plain secret, not base64 ✓"
WHSEC = "whsec_" + base64.b64encode(bytes(range(24))).decode()

# What a receiver in JavaScript does with the parsed body.
NODE_RECEIVER = """
const crypto = require("crypto");
const verdicts = JSON.parse(require("fs").readFileSync(0, "utf8")).map(({body, secret, signature}) => {
    const text = JSON.stringify(JSON.parse(Buffer.from(body, "base64").toString("utf8")));
    const mac = crypto.createHmac("sha256", secret).update(text).digest("hex");
    return "sha256=" + mac === signature;
});
process.stdout.write(JSON.stringify(verdicts));
"""


def not_json(text):
    raise ValueError(text)


@pytest.fixture
def serving(installation):
    """A running hookcast with API, whose topic message.new is there."""
    installation.kafka.create_topic(installation.topic(), 1)
    installation.serve()
    return installation


def node():
    found = shutil.which("node")
    assert found, "these tests need Node.js"
    return found


def test_standard_webhooks_signatures_hold_for_every_kind_of_secret(serving, receiver):
    secrets = {"/made": None, "/plain": PLAIN, "/whsec": WHSEC, "/short": "8 bytes!",
               "/long": "whsec_" + base64.b64encode(bytes(range(64))).decode()}
    made = {}
    for path, secret in secrets.items():
        made[path] = serving.subscribe(receiver.url(path), **({"secret": secret} if secret else {}))
    serving.wait_in_force()
    serving.produce(serving.events(3, payload={"text": "é\U0001f600 \u2028"}) + [serving.event(id="not an id")])
    for path, secret in secrets.items():
        for request in receiver.wait_for(4, path):
            assert verify_standard(request, made[path]["secret"]), path
            assert not verify_standard(request, "another secret")
            header = request.headers["webhook-signature"]
            assert header == standard(made[path]["secret"], request.id, request.headers["webhook-timestamp"],
                                      request.body)
        if secret:
            assert made[path]["secret"] == secret
    assert made["/made"]["secret"].startswith("whsec_")
    assert len(base64.b64decode(made["/made"]["secret"][6:])) == 32


def test_each_style_sends_what_it_promises(serving, receiver):
    for style in ("standard", "hex", "both", "none"):
        serving.subscribe(receiver.url("/" + style), secret=PLAIN, signature_style=style)
    serving.subscribe(receiver.url("/own"), secret=PLAIN, signature_style="hex", signature_header="X-Kakiyo-Signature")
    serving.wait_in_force()
    serving.produce_raw('{"id":"one","payload":{"b":1.0,"1":2}}')
    receiver.wait_for(5)
    carried = {}
    for request in receiver.requests():
        assert request.id == "one" and request.headers["webhook-timestamp"].isdigit()
        carried[request.path] = {name for name in request.headers if "signature" in name}
        spelled = b'"payload":{"b":1.0,"1":2}' if request.path in ("/standard", "/none") else b'"payload":{"1":2,"b":1}'
        assert spelled in request.body
        if "webhook-signature" in request.headers:
            assert verify_standard(request, PLAIN)
        for header in carried[request.path] - {"webhook-signature"}:
            assert verify_hex(request, header, PLAIN)
            assert request.headers[header] == hex_style(PLAIN, request.body)
    assert carried == {"/standard": {"webhook-signature"}, "/hex": {"x-hookcast-signature"},
                       "/both": {"webhook-signature", "x-hookcast-signature"}, "/none": set(),
                       "/own": {"x-kakiyo-signature"}}


def test_while_a_secret_is_rotated_both_sign(serving, receiver):
    made = serving.subscribe(receiver.url("/standard"))
    hexed = serving.subscribe(receiver.url("/hex"), signature_style="hex", secret=PLAIN)
    serving.wait_in_force()
    serving.produce([serving.event(id="before")])
    receiver.wait_for(2)
    for subscription in (made, hexed):
        answer = serving.api.post(serving.subscription_path(subscription["id"]) + "/secret/rotate")
        assert answer.status == 200, answer
    secret = serving.api.get(serving.subscription_path(made["id"]) + "/secret").json
    new = secret["secret"]
    assert new != made["secret"]
    assert [one["secret"] for one in secret["previous"]] == [made["secret"]]
    new_hex = serving.api.get(serving.subscription_path(hexed["id"]) + "/secret").json["secret"]

    def rotated():
        count = receiver.count("/hex")
        serving.produce([serving.event()])
        receiver.wait_for(count + 1, "/hex")
        return verify_hex(receiver.requests("/hex")[-1], "x-hookcast-signature", new_hex)

    tries = 0
    while not rotated():
        tries += 1
        assert tries < 100
    serving.produce([serving.event(id="after")])
    receiver.wait_for(3 + tries, "/standard")
    requests = {request.id: request for request in receiver.requests("/standard")}
    assert verify_standard(requests["before"], made["secret"])
    assert not verify_standard(requests["before"], new)
    after = requests["after"]
    assert verify_standard(after, made["secret"], new)
    stamp = after.headers["webhook-timestamp"]
    assert after.headers["webhook-signature"].split(" ") == [
        standard(secret, after.id, stamp, after.body) for secret in (new, made["secret"])], "the newest first"
    # The hex style has room for one.
    assert " " not in receiver.requests("/hex")[-1].headers["x-hookcast-signature"]


def test_a_hex_signature_is_verified_by_nodes_own_json(serving, receiver):
    serving.subscribe(receiver.url("/raw"), secret=PLAIN, signature_style="hex", payload_format="raw")
    serving.subscribe(receiver.url("/seanotify"), secret=PLAIN, signature_style="both")
    serving.subscribe(receiver.url("/standard"), secret=PLAIN, signature_style="hex", payload_format="standard")
    serving.wait_in_force()
    valid = []
    for text in AWKWARD:
        try:
            json.loads(text, parse_constant=not_json)
        except ValueError:
            continue
        if not text.startswith("[" * 60) and not text.startswith('{"a":' * 60):
            valid.append(text)
    assert len(valid) > 100
    serving.kafka.produce([{"topic": serving.topic(), "key": "w1", "value": f'{{"id":"e{number}","payload":{text}}}'}
                           for number, text in enumerate(valid)])
    paths = ("/raw", "/seanotify", "/standard")
    for path in paths:
        receiver.wait_for(len(valid), path)
    requests = [request for path in paths for request in receiver.requests(path)]
    asked = [{"body": base64.b64encode(request.body).decode(), "secret": PLAIN,
              "signature": request.headers["x-hookcast-signature"]} for request in requests]
    verdicts = json.loads(subprocess.run([node(), "-e", NODE_RECEIVER], input=json.dumps(asked), text=True,
                                         capture_output=True, check=True).stdout)
    wrong = [request.body for request, right in zip(requests, verdicts) if not right]
    assert wrong == [] and len(verdicts) == 3 * len(valid)
    assert all(verify_standard(request, PLAIN) for request in receiver.requests("/seanotify"))


def test_secrets_are_in_no_log_and_no_error(serving, receiver):
    serving.subscribe(receiver.url("/hook"), secret=PLAIN, headers={"X-Api-Key": "header-secret-value"})
    answer = serving.api.post(serving.subscription_path(), {
        "webhook_url": receiver.url("/x"), "event_types": ["*"], "created_by": "t", "is_enabled": True,
        "secret": "whsec_not*base64*at*all"})
    assert answer.status == 422 and "not*base64" not in answer.text
    serving.wait_in_force()
    serving.produce(serving.events(1))
    receiver.wait_for(1)
    written = "".join(process.log() for process in serving.processes)
    for secret in (PLAIN, "header-secret-value", "not*base64", serving.env["HOOKCAST_SECRET_KEY"], serving.key()):
        assert secret not in written
