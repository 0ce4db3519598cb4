"""Receivers that know nothing of hookcast: the libraries of Standard Webhooks, and the code that docs/signatures.md prints.

What they judge is a list of {"headers", "body" (base64), and "secret" or "public_key"}; each answer is true or false."""
import base64
import fcntl
import json
import os
import re
import subprocess
import sys

from . import node
from .process import ROOT

PYPI = "standardwebhooks==1.1.0"

BY_NPM = """
const {Webhook} = require("standardwebhooks");
const verdicts = JSON.parse(require("fs").readFileSync(0, "utf8")).map(({headers, body, secret}) => {
    try {
        new Webhook(secret).verify(Buffer.from(body, "base64"), headers);
        return true;
    } catch (error) {
        if (error.name !== "WebhookVerificationError") throw error;
        return false;
    }
});
process.stdout.write(JSON.stringify(verdicts));
"""
BY_PYPI = """
import base64, json, sys
from standardwebhooks import Webhook, WebhookVerificationError
def verdict(one):
    try:
        Webhook(one["secret"]).verify(base64.b64decode(one["body"]), one["headers"])
        return True
    except WebhookVerificationError:
        return False
json.dump([verdict(one) for one in json.load(sys.stdin)], sys.stdout)
"""
BY_JS = """
const verdicts = JSON.parse(require("fs").readFileSync(0, "utf8"))
    .map(one => isRight(one.public_key, one.headers, Buffer.from(one.body, "base64")));
process.stdout.write(JSON.stringify(verdicts));
"""
BY_PYTHON = """
import json, sys
json.dump([is_right(one["public_key"], one["headers"], base64.b64decode(one["body"])) for one in json.load(sys.stdin)], sys.stdout)
"""


def asked(request, headers=None, body=None, **key):
    """One to be judged: a request as it came, unless something of it is given."""
    return {"headers": {**request.headers, **(headers or {})},
            "body": base64.b64encode(request.body if body is None else body).decode(), **key}


def judge(command, what, env=None):
    done = subprocess.run(command, input=json.dumps(what), env={**os.environ, **(env or {})}, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def by_npm(what):
    return judge(["node", "-e", BY_NPM], what, {"NODE_PATH": node.packages()})


def pypi_packages():
    """The directory of the library from PyPI; installed once."""
    directory = os.path.join(ROOT, "var", PYPI)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = os.path.join(directory, "installed")
        if not os.path.exists(installed):
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", directory, PYPI], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=150)
            with open(installed, "w", encoding="ascii"):
                pass
    return directory


def by_pypi(what):
    return judge([sys.executable, "-c", BY_PYPI], what, {"PYTHONPATH": pypi_packages()})


def printed(language, name):
    """The block of docs/signatures.md that defines the function."""
    with open(os.path.join(ROOT, "docs", "signatures.md"), encoding="utf-8") as page:
        blocks = re.findall(rf"```{language}\n(.*?)```", page.read(), re.S)
    found, = [block for block in blocks if name in block]
    return found


def by_printed_js(what):
    return judge(["node", "-e", printed("js", "function isRight(") + BY_JS], what)


def by_printed_python(what):
    return judge([sys.executable, "-c", printed("python", "def is_right(") + BY_PYTHON], what)
