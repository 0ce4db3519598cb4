"""The tools of the tests themselves: a receiver that can't misbehave proves nothing about hookcast."""
import http.client
import socket
import threading
import time

import pytest
from support import api, signature
from support.described import Description
from support.kafka import KafkaClient
from support.receiver import (Answer, FailFirst, Flood, Gate, Hang, InTurn, Raw, Redirect, Reset, RetryAfter, Trickle,
                              refused_url)


def post(receiver, path="/hook", body=b"{}", message_id="msg_1", timeout_s=5):
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=timeout_s)
    connection.request("POST", path, body, {"webhook-id": message_id})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def test_records_what_came_and_finds_duplicates(receiver):
    assert post(receiver, body=b'{"a":1}')[0] == 200
    post(receiver, message_id="msg_2")
    post(receiver, "/other")
    assert receiver.duplicates() == {}
    post(receiver, message_id="msg_2")
    assert receiver.duplicates() == {("/hook", "msg_2"): 2}
    first = receiver.wait_for(3, "/hook")[0]
    assert (first.method, first.id, first.body, first.status) == ("POST", "msg_1", b'{"a":1}', 200)
    with pytest.raises(AssertionError, match="4 came, 2 different"):
        receiver.wait_for(5, deadline_s=0.1)


def test_answers_as_told(receiver):
    receiver.on("/fail", FailFirst(2, Answer(503, b"no")))
    assert [post(receiver, "/fail")[0] for _ in range(3)] == [503, 503, 200]
    receiver.on("/each", FailFirst(1, per="id"))
    assert [post(receiver, "/each", message_id=i)[0] for i in "aabb"] == [500, 200, 500, 200]
    receiver.on("/turn", InTurn(Answer(410), Answer(204)))
    assert [post(receiver, "/turn")[0] for _ in range(3)] == [410, 204, 204]
    receiver.on("/away", Redirect("http://example.invalid/"))
    assert post(receiver, "/away")[1]["Location"] == "http://example.invalid/"
    receiver.on("/later", RetryAfter(7))
    assert post(receiver, "/later")[1]["Retry-After"] == "7"
    receiver.on("/function", lambda request: Answer(201 if request.id == "x" else 202))
    assert [post(receiver, "/function", message_id=i)[0] for i in "xy"] == [201, 202]


def test_hangs_trickles_floods_and_resets(receiver):
    receiver.on("/hang", Hang())
    with pytest.raises(socket.timeout):
        post(receiver, "/hang", timeout_s=0.3)
    receiver.on("/trickle", Trickle(0.01))
    with pytest.raises((socket.timeout, http.client.IncompleteRead)):
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=5)
        connection.request("POST", "/trickle", b"")
        answer = connection.getresponse()
        assert answer.read(5) == b"aaaaa"
        connection.sock.settimeout(0.001)
        answer.read()
    receiver.on("/flood", Flood(3_000_000))
    assert len(post(receiver, "/flood")[2]) == 3_000_000
    receiver.on("/reset", Reset())
    with pytest.raises(ConnectionResetError):
        post(receiver, "/reset")
    receiver.on("/raw", Raw(b"HTTP/1.1 299 Odd\r\n\r\nbody"))
    assert post(receiver, "/raw")[0::2] == (299, b"body")


def test_gate_holds_answers_back(receiver):
    gate = Gate(Answer(202))
    receiver.on("/gate", gate)
    answers = []
    caller = threading.Thread(target=lambda: answers.append(post(receiver, "/gate")[0]))
    caller.start()
    receiver.wait_for(1, "/gate")
    assert answers == []
    gate.open()
    caller.join(5)
    assert answers == [202]


def test_refuses_while_stopped(receiver):
    receiver.stop()
    with pytest.raises(ConnectionRefusedError):
        post(receiver)
    receiver.start()
    assert post(receiver)[0] == 200
    assert refused_url("/x").endswith("/x")


def test_takes_a_body_of_ten_megabytes(receiver):
    assert post(receiver, body=b"x" * 10_000_000)[0] == 200
    assert len(receiver.requests()[0].body) == 10_000_000


def test_keeps_up_with_a_thousand_requests(receiver):
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=5)
    began = time.monotonic()
    for number in range(1000):
        connection.request("POST", "/hook", b"{}", {"webhook-id": f"msg_{number}"})
        connection.getresponse().read()
    assert receiver.count() == 1000 and receiver.connections == 1
    assert time.monotonic() - began < 20


def test_signature_of_the_published_vector():
    assert signature.standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
                              b'{"test": 2432232314}') == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_kafka_records_offsets_and_lag(kafka):
    client = KafkaClient(kafka.bootstrap)
    client.create_topic("support.records", 2)
    placed = client.produce([{"topic": "support.records", "key": "a", "value": {"n": n}, "partition": n % 2,
                              "headers": {"h": b"1"}} for n in range(10)])
    assert placed[9] == ("support.records", 1, 4)
    assert {record.value() for record in client.read("support.records", 10)} == {b'{"n":%d}' % n for n in range(10)}
    assert client.lag("support", ["support.records"]) == 10
    client.reset("support", "support.records", {0: 5, 1: 2})
    assert client.committed("support", "support.records") == {0: 5, 1: 2}
    assert client.lag("support", ["support.records"]) == 3
    client.delete_topic("support.records")


def test_servers_stop_and_come_back_on_the_same_port(private_postgres, private_kafka):
    import psycopg
    with psycopg.connect(private_postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    private_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(private_postgres.url())
    private_postgres.start()
    with psycopg.connect(private_postgres.url()) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    client = KafkaClient(private_kafka.bootstrap)
    client.produce([{"topic": "kept", "value": "x"}])
    private_kafka.kill()
    assert not private_kafka.running()
    private_kafka.start()
    assert client.read("kept", 1)[0].value() == b"x"


@pytest.mark.parametrize("status, headers, body, wrong", [
    (200, "application/json", b'{"n": 1}', None), (204, "", b"", None), (404, "application/problem+json", b"{}", None),
    (418, "application/json", b"{}", "does not know"), (200, "text/html", b"{}", "text/html"), (204, "", b"x", "its description none"),
    (200, "application/json", b'{"n": "1"}', r"\$\.n: '1' is not"), (404, "application/problem+json", b"[]", "is not of type")])
def test_an_answer_is_held_to_its_description(status, headers, body, wrong):
    plain = {"application/json": {"schema": {"properties": {"n": {"$ref": "#/components/n"}}}}}
    shared = {"description": "", "content": {"application/problem+json": {"schema": {"type": "object"}}}}
    description = Description({
        "components": {"n": {"type": "integer"}, "404": shared},
        "paths": {"/a/{id}": {"get": {"operationId": "a", "responses": {
            "200": {"content": plain}, "204": {"description": ""}, "404": {"$ref": "#/components/404"}}}}}})
    answer = api.Answer(status, [("Content-Type", headers)], body)
    description.check("POST", "/a/7", answer)
    if wrong:
        with pytest.raises(AssertionError, match=wrong):
            description.check("GET", "/notify/a/7?n=1", answer)
    else:
        description.check("GET", "/a/7", answer)
