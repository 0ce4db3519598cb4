"""Who receives can tell that a webhook came from here: verified by code that knows the specifications alone."""
import base64
import json
import shutil
import subprocess
import urllib.request

import pytest
from support.receiver import Answer, FailFirst
from support.signature import hex_style, standard, verify_hex, verify_standard
from support.verifiers import asked, by_npm, by_printed_js, by_printed_python, by_pypi
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


def asymmetric_signatures(request):
    return [one for one in request.headers["webhook-signature"].split(" ") if one.startswith("v1a,")]


@pytest.mark.parametrize("library", [by_npm, by_pypi])
def test_standard_webhooks_own_libraries_accept_what_comes(serving, receiver, library):
    serving.subscribe(receiver.url("/given"), secret=WHSEC)
    receiver.on("/retried", FailFirst(1, Answer(503)))
    made = {"/made": serving.subscribe(receiver.url("/made")),
            "/asymmetric": serving.subscribe(receiver.url("/asymmetric"), asymmetric=True, signature_style="both"),
            "/retried": serving.subscribe(receiver.url("/retried"), asymmetric=True, retry_schedule=["200ms"]),
            "/batched": serving.subscribe(receiver.url("/batched"), asymmetric=True, delivery_mode="batched",
                                          batch_max_events=2)}
    serving.wait_in_force()
    serving.produce(serving.events(2, payload={"text": "é\U0001f600 \u2028", "n": 1.50}))
    answer = serving.api.post("/api/v1/workspaces/w1/test", {"webhook_url": receiver.url("/made"), "event_type": "message.new"})
    assert answer.status == 200, answer
    for path, count in {"/given": 2, "/made": 3, "/asymmetric": 2, "/retried": 3, "/batched": 1}.items():
        receiver.wait_for(count, path)
    requests = receiver.requests()
    secrets = {"/given": WHSEC, **{path: subscription["secret"] for path, subscription in made.items()}}
    assert library([asked(request, secret=secrets[request.path]) for request in requests]) == [True] * len(requests)
    another = "whsec_" + base64.b64encode(bytes(24)).decode()
    assert not any(library([asked(request, secret=another) for request in requests]
                           + [asked(request, secret=secrets[request.path], body=request.body + b" ") for request in requests]
                           + [asked(request, secret=secrets[request.path], headers={"webhook-id": "x"}) for request in requests]))


@pytest.mark.parametrize("verifier", [by_printed_js, by_printed_python])
def test_who_has_the_public_key_alone_can_verify(serving, receiver, verifier):
    receiver.on("/retried", FailFirst(1, Answer(503)))
    keys = {}
    for path, fields in {"/plain": {}, "/both": {"signature_style": "both", "secret": PLAIN},
                         "/retried": {"retry_schedule": ["200ms"]},
                         "/batched": {"delivery_mode": "batched", "batch_max_events": 2}}.items():
        keys[path] = serving.subscribe(receiver.url(path), asymmetric=True, **fields)["public_key"]
    serving.subscribe(receiver.url("/symmetric"))
    serving.wait_in_force()
    serving.produce(serving.events(2, payload={"text": "é\U0001f600 \u2028", "n": 1.50}))
    answer = serving.api.post("/api/v1/workspaces/w1/test", {"webhook_url": receiver.url("/plain"), "event_type": "message.new"})
    assert answer.status == 200, answer
    for path, count in {"/plain": 3, "/both": 2, "/retried": 3, "/batched": 1, "/symmetric": 2}.items():
        receiver.wait_for(count, path)
    assert not any(asymmetric_signatures(request) for request in receiver.requests("/symmetric"))
    requests = [request for request in receiver.requests() if request.path in keys]
    for request in requests:
        versions = [one.split(",")[0] for one in request.headers["webhook-signature"].split(" ")]
        assert versions == ["v1", "v1a"], request
    assert len({request.headers["webhook-signature"] for request in requests}) == len(requests)
    assert verifier([asked(request, public_key=keys[request.path]) for request in requests]) == [True] * len(requests)
    later = {request: str(int(request.headers["webhook-timestamp"]) + 1) for request in requests}
    assert not any(verifier([asked(request, public_key=keys["/both" if request.path != "/both" else "/plain"]) for request in requests]
                            + [asked(request, public_key=keys[request.path], body=request.body + b" ") for request in requests]
                            + [asked(request, public_key=keys[request.path], headers={"webhook-timestamp": later[request]})
                               for request in requests]))


def test_while_a_key_pair_is_rotated_both_sign_and_none_when_it_is_gone(serving, receiver):
    made = serving.subscribe(receiver.url("/hook"), asymmetric=True)
    serving.wait_in_force()
    one = serving.subscription_path(made["id"])

    def next_webhook(wanted):
        """The next one with so many asymmetric signatures: a change is in force within a second."""
        for _ in range(100):
            count = receiver.count("/hook")
            serving.produce([serving.event()])
            request = receiver.wait_for(count + 1, "/hook")[-1]
            if len(asymmetric_signatures(request)) == wanted:
                return request
        raise AssertionError(f"no webhook with {wanted} asymmetric signatures")

    first = next_webhook(1)
    assert by_printed_js([asked(first, public_key=made["public_key"])]) == [True]
    new = serving.api.post(one + "/secret/rotate").json
    both = next_webhook(2)
    third = "whpk_" + base64.b64encode(bytes(32)).decode()
    assert by_printed_js([asked(both, public_key=key) for key in (new["public_key"], made["public_key"], third)]) == [True, True, False]
    newest, former = asymmetric_signatures(both)
    assert by_printed_js([asked(both, headers={"webhook-signature": newest}, public_key=new["public_key"]),
                          asked(both, headers={"webhook-signature": former}, public_key=new["public_key"])]) == [True, False]
    assert by_npm([asked(both, secret=secret) for secret in (new["secret"], made["secret"])]) == [True, True]
    assert by_pypi([asked(both, secret=secret) for secret in (new["secret"], made["secret"])]) == [True, True]
    serving.change(made, asymmetric=False)
    gone = next_webhook(0)
    assert len(gone.headers["webhook-signature"].split(" ")) == 2 and verify_standard(gone, new["secret"], made["secret"])
    again = serving.change(made, asymmetric=True)["public_key"]
    assert again not in (made["public_key"], new["public_key"])
    assert by_printed_python([asked(next_webhook(1), public_key=again)]) == [True]
    written = "".join(process.log() for process in serving.processes)
    assert "whsk_" not in written and new["secret"] not in written


def test_hookcast_itself_verifies_by_the_public_key(serving, receiver, tmp_path):
    made = serving.subscribe(receiver.url("/hook"), asymmetric=True)
    other = serving.subscribe(receiver.url("/other"), asymmetric=True)
    listeners = {}
    for name, arguments in {"key": ["--public-key", other["public_key"] + "," + made["public_key"]],
                            "wrong": ["--public-key", other["public_key"]],
                            "both": ["--public-key", made["public_key"], "--secret", made["secret"]],
                            "secret": ["--public-key", made["public_key"], "--secret", other["secret"]]}.items():
        process = serving.process("listen", "--listen", "127.0.0.1:0", *arguments).start(ready=False)
        listeners[name] = process, process.wait_log(r"^listening on (http://127\.0\.0\.1:\d+)/$").group(1)
    serving.wait_in_force()
    serving.produce([serving.event(id="one")])
    request, = receiver.wait_for(1, "/hook")
    body = tmp_path / "body"
    body.write_bytes(request.body)

    def verify(*arguments, file=body):
        return serving.run("verify", "--id", request.id, "--timestamp", request.headers["webhook-timestamp"], "--signature",
                           request.headers["webhook-signature"], "--body", str(file), *arguments, check=False)

    assert verify("--public-key", made["public_key"]).stdout == "ok: the signature is right\n"
    assert verify("--public-key", made["public_key"], "--secret", made["secret"]).returncode == 0
    assert "this is not its public key" in verify("--public-key", other["public_key"], "--secret", made["secret"]).stdout
    assert "this is not the secret" in verify("--public-key", made["public_key"], "--secret", other["secret"]).stdout
    wrong = verify("--public-key", other["public_key"])
    assert wrong.returncode == 1 and "not the key that signed it" in wrong.stdout
    longer = tmp_path / "longer"
    longer.write_bytes(request.body + b"\n")
    assert "right without the line break" in verify("--public-key", made["public_key"], file=longer).stdout
    misused = verify("--secret", made["public_key"])
    assert misused.returncode == 2 and "goes behind --public-key" in misused.stderr
    assert verify("--public-key", "whpk_AAAA").returncode == 2
    for name, expected in {"key": "ok", "wrong": "WRONG", "both": "ok", "secret": "WRONG"}.items():
        process, url = listeners[name]
        headers = {header: request.headers[header] for header in ("webhook-id", "webhook-timestamp", "webhook-signature")}
        with urllib.request.urlopen(urllib.request.Request(url, request.body, headers)) as answer:
            assert answer.status == 200
        process.wait_log(f"one  signature {expected}  ")
    process, url = listeners["key"]
    with urllib.request.urlopen(urllib.request.Request(url, request.body, {"webhook-id": "bare"})) as answer:
        assert answer.status == 200
    process.wait_log("bare  signature MISSING  ")
