"""A wrong setting, or a server that is not there: one line that names it, and the exit status. And what scripts/start shows
when all is well."""
import re
import subprocess

import pytest
from support.process import ROOT, base_environment, http_status, run

KEY = "A" * 43 + "="


def dispatch(env, *arguments, command="dispatch"):
    own = {"HOOKCAST_SECRET_KEY": KEY, "HOOKCAST_METRICS_LISTEN": "127.0.0.1:0", "HOOKCAST_API_LISTEN": "127.0.0.1:0"}
    return run({**own, **env}, command, *arguments, check=False, deadline_s=40)


def only_line(done, status):
    assert done.returncode == status, done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("name, value", [
    ("LANES", "0"), ("LANES", "two"), ("LANES", "257"), ("TIMEOUT", "31s"), ("TIMEOUT", "5"), ("TIMEOUT", "-1s"),
    ("RETRY_SCHEDULE", "5s,,5m"), ("RETRY_SCHEDULE", "5s,1y"), ("ALLOW_NETS", "127.0.0.1/33"),
    ("ALLOW_NETS", "10.20.1.1/16"), ("ALLOW_NETS", "everything"), ("ALLOW_HTTP", "maybe"), ("START_FROM", "middle"),
    ("LOG_LEVEL", "loud"),
    ("LOG_FORMAT", "xml"), ("RESPONSE_BODY_LIMIT", "2MiB"), ("RESPONSE_BODY_KEEP", "some"), ("METRICS_LISTEN", "9464"),
    ("METRICS_LISTEN", "127.0.0.1:70000"), ("SOURCE_ADDRESS", "here"), ("TOPIC_PREFIX", "a b"), ("TOPICS", "a b/c"),
    ("TOPICS", "^(unclosed"), ("GROUP", "a group"), ("RETENTION", "1h"), ("DRAIN_TIMEOUT", "2h"),
    ("KAFKA_CONF", "nonsense"), ("KAFKA_CONF", "no.such.property=1"), ("KAFKA_CONF", "group.id=mine"),
    ("KAFKA_BROKERS", "nowhere:port"),
    ("SECRET_KEY", "short"), ("SECRET_KEY", KEY + ",short"), ("CA_FILE", "/nonexistent/ca.pem"),
    ("DATABASE_URL", "nonsense"), ("DATABASE_MAX_SIZE", "big")])
def test_a_wrong_setting_is_named_with_what_was_expected(database_only, name, value):
    done = dispatch({**database_only.env, "HOOKCAST_" + name: value})
    line = only_line(done, 2)
    assert line.startswith("hookcast dispatch: ") and "HOOKCAST_" + name in line
    if name == "SECRET_KEY":
        assert "short" not in line


@pytest.mark.parametrize("command", ["dispatch", "api", "serve", "migrate"])
def test_a_postgresql_that_is_not_there_is_one_line_and_status_1(command):
    done = dispatch({"HOOKCAST_DATABASE_URL": "postgresql://hookcast:hidden@127.0.0.1:1/hookcast"}, command=command)
    line = only_line(done, 1)
    assert "127.0.0.1" in line and "refused" in line and "hidden" not in line


@pytest.mark.parametrize("command", ["dispatch", "api", "serve"])
def test_a_database_without_the_schema_says_what_to_do(empty_database, command):
    line = only_line(dispatch({"HOOKCAST_DATABASE_URL": empty_database}, command=command), 1)
    assert "hookcast migrate" in line


@pytest.mark.parametrize("command", ["dispatch", "api", "serve"])
def test_a_port_that_is_taken_is_one_line_and_status_1(database_only, receiver, command):
    taken = f"127.0.0.1:{receiver.port}"
    name = "HOOKCAST_API_LISTEN" if command == "api" else "HOOKCAST_METRICS_LISTEN"
    line = only_line(dispatch({**database_only.env, name: taken}, command=command), 1)
    assert taken in line and "in use" in line


def shell(command, env, deadline_s=30):
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], env={**base_environment(), **env}, capture_output=True,
                          text=True, timeout=deadline_s, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def test_each_line_that_scripts_start_prints_for_the_api_runs_as_it_stands(installation, receiver):
    serving = installation.serve()
    subscription = installation.subscribe(receiver.url("/hook"))["id"]
    installation.wait_in_force()
    assert installation.api.post("/api/v1/workspaces/w1/events", {"event_type": "message.new", "id": "seen"}).status == 202
    installation.db.wait_count(1, "delivery_logs", "delivery_status = 'success'")
    printed = shell(f". '{ROOT}/scripts/lib/examples.sh'; examples", {
        "root": serving.api_url, "workspace": "w1", "key": installation.key(), "receiver": receiver.url(""),
        "subscription": subscription, "event": "seen", "log": str(installation.db.value("SELECT id FROM delivery_logs"))})
    lines = re.findall(r"^  (curl .*)$", printed, re.MULTILINE)
    for path in ("/subscription", "/events", "/events/seen", "/event_types", "/test", "/logs", "/stats", "/recover", "/replay",
                 "/logs/export", "/jobs", "/openapi.json"):
        assert any(re.search(re.escape(path) + "['?]", line) for line in lines), path
    answers = [(shell(line.replace("curl ", "curl -sS -o /dev/null -w '%{http_code}' ", 1), {}), line) for line in lines]
    assert [one for one in answers if not one[0].startswith("2")] == []
    (page,) = re.findall(r"in a browser: (\S+)", printed)
    assert http_status(page) == 200
    assert len(answers) + 1 == len([line for line in printed.splitlines() if line.startswith("  ")])
