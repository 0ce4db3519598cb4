"""`hookcast publish`, `listen` and `broker`: the commands with which one tries things out."""
import json
import os
import re
import signal
import subprocess

import pytest
from support.process import base_environment, binary
from servers import free_port, wait_until

LISTEN_LINE = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z)  (\S+)  (\S+)  signature (.+?)  (\d+) bytes  "
                         r"(answered \d+|not answered)$")


def lines(*events):
    return "".join(event if isinstance(event, str) else json.dumps(event) + "\n" for event in events)


def summary(done):
    """(published, failed, skipped) as the command printed them."""
    return tuple(int(number) for number in
                 re.fullmatch(r"published (\d+), failed (\d+), skipped (\d+) in \d+\.\d s\n", done.stdout).groups())


def complaints_of(done):
    """What is on standard error but for the log: a Kafka that just started makes its client write there."""
    return [line for line in done.stderr.splitlines() if not line.startswith("time=")]


def test_files_and_standard_input_reach_kafka_byte_for_byte(installation, tmp_path):
    odd = '{"id":"odd","workspace_id":7,"event_type":"message.new","payload":{"n":1.50,"s":"\\u0041é"} }\n'
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_text(lines(odd, installation.event(), "\n"), encoding="utf-8")
    two.write_text(lines(installation.event("contact.new")).rstrip("\n"), encoding="utf-8")
    standard_input = lines(installation.event())
    done = installation.run("publish", str(one), "-", str(two), stdin=standard_input)
    assert summary(done) == (4, 0, 0) and complaints_of(done) == []
    found = {(record.key(), record.value()) for record in installation.kafka.read(installation.topic(), 3)}
    assert (b"7", odd.rstrip("\n").encode()) in found
    assert (b"w1", standard_input.rstrip("\n").encode()) in found
    (record,) = installation.kafka.read(installation.topic("contact.new"), 1)
    assert record.value() == two.read_bytes()


@pytest.mark.parametrize("line, field", [
    ("not json\n", "byte"), ("[]\n", "object"), ('{"workspace_id":"w1","payload":1}\n', "event_type"),
    ('{"event_type":"a b","workspace_id":"w1","payload":1}\n', "event_type"),
    ('{"event_type":"message.new","payload":1}\n', "workspace_id"),
    ('{"event_type":"message.new","workspace_id":{},"payload":1}\n', "workspace_id"),
    ('{"event_type":"message.new","workspace_id":"w1"}\n', "payload"),
    ('{"event_type":"message.new","workspace_id":"w1","payload":1,"id":1.5}\n', "id"),
    ('{"event_type":"message.new","workspace_id":"w1","payload":1,"occurred_at":"then"}\n', "occurred_at"),
    ('{"event_type":"message.new","workspace_id":"w1","payload":1,"deliver_at":true}\n', "deliver_at"),
    ('{"event_type":"message.new","workspace_id":"w1","payload":"' + "x" * (1 << 20) + '"}\n', "1 MiB"),
], ids=["not_json", "no_object", "no_type", "bad_type", "no_workspace", "bad_workspace", "no_payload", "bad_id",
        "bad_time", "bad_deliver_at", "too_long"])
def test_an_error_names_the_line_and_the_field_and_ends_the_reading(installation, tmp_path, line, field):
    path = tmp_path / "events.jsonl"
    path.write_text(lines(installation.event(), line, installation.event()), encoding="utf-8")
    done = installation.run("publish", str(path), check=False)
    assert done.returncode == 1
    assert summary(done) == (1, 0, 0)
    (complaint,) = complaints_of(done)
    assert complaint.startswith(f"{path}:2: ") and field in complaint


def test_with_skip_invalid_the_rest_is_published_and_counted(installation):
    bad = ["nonsense\n", '{"event_type":5}\n']
    done = installation.publish([], check=False)
    assert (done.returncode, summary(done)) == (0, (0, 0, 0))
    done = installation.run("publish", "--skip-invalid", stdin=lines(
        bad[0], installation.event(), bad[1], "\n", installation.event(), *[bad[0]] * 30))
    assert summary(done) == (2, 0, 32)
    complaints = complaints_of(done)
    assert complaints[0].startswith("stdin:1: ") and complaints[1].startswith("stdin:3: event_type: ")
    assert len(complaints) == 21 and "only counted" in complaints[20]


def test_what_kafka_does_not_acknowledge_fails_the_command(installation):
    closed = f"127.0.0.1:{free_port()}"
    done = installation.publish(installation.events(3), "--kafka-brokers", closed, "--timeout", "1s", check=False)
    assert done.returncode == 1
    assert summary(done) == (0, 3, 0)
    assert "not acknowledged" in done.stderr


@pytest.mark.parametrize("arguments", [
    ("--nonsense",), ("--example", "message.new"), ("--count", "3"), ("--timeout", "soon"), ("--linger", "-1"),
    ("--example", "message.new", "--workspace", "w1", "file")])
def test_wrong_usage_is_one_line_and_status_2(installation, arguments):
    done = installation.run("publish", *arguments, stdin="", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("hookcast publish: ") and done.stderr.count("\n") == 1


def test_a_file_that_is_not_there_fails(installation, tmp_path):
    done = installation.run("publish", str(tmp_path / "absent.jsonl"), check=False)
    assert done.returncode == 1 and "absent.jsonl" in done.stderr


def test_an_interrupt_ends_the_reading_and_waits_for_what_is_under_way(installation):
    installation.kafka.create_topic(installation.topic(), 1)
    process = subprocess.Popen([binary(), "publish"], env={**base_environment(), **installation.env}, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(lines(*installation.events(5)))
    process.stdin.flush()
    installation.kafka.read(installation.topic(), 5)
    process.send_signal(signal.SIGINT)
    printed, complaints = process.communicate(timeout=20)
    assert process.returncode == 1
    assert printed.startswith("published 5, failed 0, skipped 0")
    assert "interrupted" in complaints


def test_examples_of_a_type_are_published(installation):
    done = installation.run("publish", "--example", "message.new", "--workspace", "w9", "--count", "3")
    assert summary(done) == (3, 0, 0)
    for record in installation.kafka.read(installation.topic(), 3):
        event = json.loads(record.value())
        assert (event["event_type"], event["workspace_id"], record.key()) == ("message.new", "w9", b"w9")
        assert event["payload"]


class Listener:
    """A running `hookcast listen`."""

    def __init__(self, installation, *arguments):
        self.process = installation.process("listen", "--listen", "127.0.0.1:0", *arguments).start(ready=False)
        found = self.process.wait_log(r"^listening on (http://127\.0\.0\.1:\d+)/$")
        self.url = found.group(1) + "/hook"

    def lines(self):
        return [line for line in self.process.log().splitlines() if LISTEN_LINE.match(line)]

    def wait(self, n):
        wait_until(lambda: len(self.lines()) >= n, 20, what=f"{n} lines of hookcast listen")
        return [LISTEN_LINE.match(line).groups()[1:] for line in self.lines()]


def test_listen_shows_each_webhook_on_one_line(installation):
    installation.kafka.create_topic(installation.topic(), 1)
    installation.serve()
    secret = "the secret of this test"
    right = Listener(installation, "--secret", secret)
    wrong = Listener(installation, "--secret", "another secret")
    unsigned = Listener(installation, "--secret", secret)
    unchecked = Listener(installation, "--status", "503")
    flaky = Listener(installation, "--fail-first", "1", "--secret", "older secret," + secret)
    for listener in (right, wrong, unchecked, flaky):
        installation.subscribe(listener.url, secret=secret, retry_schedule=["200ms"] * 3)
    installation.subscribe(unsigned.url, signature_style="none")
    installation.wait_in_force()
    installation.produce([installation.event(id="one")])
    size = right.wait(1)[0][3]
    assert right.wait(1) == [("message.new", "one", "ok", size, "answered 200")]
    assert wrong.wait(1)[0][2] == "WRONG"
    assert unsigned.wait(1)[0][2] == "MISSING"
    assert unchecked.wait(1)[0][2:] == ("not checked", size, "answered 503")
    assert [line[4] for line in flaky.wait(2)] == ["answered 503", "answered 200"]
    assert flaky.wait(2)[1][2] == "ok"


def test_a_whole_round_trip_through_the_embedded_broker(make_installation, postgres):
    installation = make_installation(postgres)
    address_file = os.path.join(installation.directory, "address")
    broker = installation.process("broker", "--address-file", address_file).start(ready=False)
    wait_until(lambda: os.path.exists(address_file), 15, what="the broker says where it is")
    with open(address_file, encoding="ascii") as file:
        address = file.read().strip()
    told = broker.log()
    assert f"listening on {address}" in told
    assert re.search(r"memory|keeps", told) and "5 MiB" in told
    installation.env.update({"HOOKCAST_KAFKA_BROKERS": address, "HOOKCAST_KAFKA_CONF": "session.timeout.ms=3500"})
    listener = Listener(installation)
    installation.insert_subscription(listener.url)
    assert summary(installation.publish(installation.events(5))) == (5, 0, 0)
    installation.dispatch()
    assert summary(installation.publish(installation.events(5))) == (5, 0, 0)
    shown = listener.wait(10)
    assert sorted(line[1] for line in shown) == sorted(f"evt_{number}" for number in range(1, 11))
    installation.db.wait_count(10, "delivery_logs", "delivery_status = 'success'")
