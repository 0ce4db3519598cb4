"""Many events, one webhook: what closes a batch, what is in it, and that no member is lost."""
import json
import random
import re
import time

import pytest
from servers import wait_until
from support.account import sample
from support.receiver import Answer, FailFirst
from support.signature import verify_hex, verify_standard

# A killed process keeps its partitions until its session has ended.
QUICK_SESSION = "session.timeout.ms=2000\nheartbeat.interval.ms=200"


def batched(installation, url, types=("*",), **columns):
    """A subscription that gathers, straight into the table."""
    return installation.insert_subscription(url, types, delivery_mode="batched", **{"payload_format": "raw", **columns})


def numbers(request):
    """The numbers of the events in a body of format raw."""
    return [payload["number"] for payload in json.loads(request.body)]


def start(installation, partitions=1, **env):
    installation.kafka.create_topic(installation.topic(), partitions)
    dispatch = installation.dispatch(**env)
    installation.wait_in_force()
    return dispatch


def wait_empty(installation, deadline_s=30):
    """Nothing waits any more: no member, no batch, no closer."""
    installation.db.wait("SELECT NOT EXISTS (SELECT FROM schedule) AND NOT EXISTS (SELECT FROM batch_members)",
                         deadline_s=deadline_s)


def test_too_few_leave_when_their_time_has_come_as_an_array_with_one_log_row(installation, receiver):
    batched(installation, receiver.url("/hook"), batch_max_wait_ms=1500)
    start(installation)
    installation.produce(installation.events(3))
    request, = receiver.wait_for(1, "/hook")
    assert numbers(request) == [1, 2, 3]
    assert request.headers["webhook-batch-size"] == "3" and request.headers["content-type"] == "application/json"
    wait_empty(installation)
    log, = installation.db.logs()
    assert log["delivery_status"] == "success" and log["attempt"] == 1 and log["event_type"] == "message.new"
    assert str(log["batch_id"]) == str(log["event_key"]) == log["event_id"] == request.id
    details = installation.db.rows("SELECT member_position, record_offset, event_body FROM delivery_log_details "
                                   "ORDER BY member_position")
    assert [(row["member_position"], row["record_offset"]) for row in details] == [(1, 0), (2, 1), (3, 2)]
    assert [json.loads(bytes(row["event_body"]))["id"] for row in details] == ["evt_1", "evt_2", "evt_3"]


def test_a_batch_leaves_at_most_half_a_second_after_its_time(installation, receiver):
    """Twenty batches at different times, by hookcast's own clocks: arrival in the table, and sent_at."""
    for number in range(20):
        batched(installation, receiver.url(f"/s{number}"), (f"message.n{number}",), batch_max_wait_ms=1000 + 50 * number)
        installation.kafka.create_topic(installation.topic(f"message.n{number}"), 1)
    installation.dispatch()
    installation.wait_in_force()
    for number in range(20):
        installation.produce(installation.events(2, f"message.n{number}"))
    installation.db.wait_count(20, "delivery_logs")
    late = installation.db.rows(
        "SELECT extract(epoch FROM l.sent_at - s.due) AS late FROM delivery_logs l JOIN (SELECT b.id, "
        "min(e.created_at) + x.batch_max_wait_ms * interval '1 ms' AS due FROM batches b "
        "CROSS JOIN unnest(b.event_keys) k JOIN events e ON e.event_key = k JOIN subscriptions x "
        "ON x.id = b.subscription_id GROUP BY b.id, x.batch_max_wait_ms) s ON s.id = l.batch_id")
    late = sorted(float(row["late"]) for row in late)
    assert len(late) == 20 and late[0] > -0.5, late
    assert late[10] <= 0.5 and late[-1] <= 1.5, late


def test_a_batch_is_full_by_count_at_once(installation, receiver):
    batched(installation, receiver.url("/hook"), batch_max_events=10, batch_max_wait_ms=3600000)
    start(installation, 1)
    began = time.time()
    installation.produce(installation.events(25))
    receiver.wait_for(2, "/hook")
    assert receiver.requests("/hook")[-1].time - began < 15
    installation.db.wait("SELECT count(*) = 5 FROM batch_members")
    # What is left is filled by what comes, in one batch or two, in order.
    installation.produce(installation.events(5))
    receiver.wait_for(3, "/hook")
    bodies = [numbers(request) for request in receiver.requests("/hook")]
    assert all(len(body) == 10 for body in bodies)
    assert sorted(sum(bodies, [])) == list(range(1, 31)) and all(body == sorted(body) for body in bodies)
    wait_empty(installation)


def test_a_batch_is_full_by_bytes_and_a_large_event_goes_alone(installation, receiver):
    batched(installation, receiver.url("/hook"), batch_max_events=1000, batch_max_bytes=4096, batch_max_wait_ms=1000)
    start(installation, 1)
    text = "x" * 800
    installation.produce([installation.event(payload={"number": n, "text": text if n != 7 else text * 10})
                          for n in range(1, 15)])
    wait_until(lambda: sum(len(numbers(request)) for request in receiver.requests("/hook")) == 14, 20, what="all came")
    requests = receiver.requests("/hook")
    assert sorted(sum(map(numbers, requests), [])) == list(range(1, 15))
    assert all(len(request.body) <= 4096 for request in requests if len(numbers(request)) > 1)
    assert [7] in [numbers(request) for request in requests]
    assert max(len(numbers(request)) for request in requests) == 4
    wait_empty(installation)


def test_the_order_inside_is_that_of_each_partition(installation, receiver):
    batched(installation, receiver.url("/hook"), batch_max_events=50, batch_max_wait_ms=1000)
    start(installation, 4)
    installation.kafka.produce([{"topic": installation.topic(), "key": f"k{event['payload']['number'] % 7}", "value": event}
                                for event in installation.events(500)])
    wait_until(lambda: sum(len(numbers(request)) for request in receiver.requests("/hook")) >= 500, 20, what="all came")
    place = {row["event_id"]: (row["part"], row["record_offset"]) for row in
             installation.db.rows("SELECT event_id, part, record_offset FROM events")}
    for request in receiver.requests("/hook"):
        places = [place[f"evt_{number}"] for number in numbers(request)]
        assert places == sorted(places)
    assert len(place) == 500 and len({part for part, _ in place.values()}) > 1
    wait_empty(installation)


@pytest.mark.parametrize("style", ["standard", "hex"])
def test_one_signature_is_valid_over_the_whole(installation, receiver, style):
    made = installation.subscribe(receiver.url("/hook"), signature_style=style, payload_format="cloudevents",
                                  secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    installation.db.execute("UPDATE subscriptions SET delivery_mode = 'batched', batch_max_events = 5, "
                            "batch_max_wait_ms = 60000 WHERE id = %s", made["id"])
    start(installation, 1)
    wait_until(lambda: installation.db.count("subscriptions", "version > 1") == 1, 10)
    installation.produce(installation.events(5))
    request, = receiver.wait_for(1, "/hook", deadline_s=20)
    assert request.headers["content-type"] == "application/cloudevents-batch+json"
    if style == "standard":
        assert verify_standard(request, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    else:
        assert verify_hex(request, "x-hookcast-signature", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        assert request.body == json.dumps(json.loads(request.body), separators=(",", ":"), ensure_ascii=False).encode()
    assert [event["specversion"] for event in json.loads(request.body)] == ["1.0"] * 5


def test_a_batch_is_tried_again_as_it_was_with_the_same_id(installation, receiver):
    receiver.on("/hook", FailFirst(2, Answer(500)))
    batched(installation, receiver.url("/hook"), batch_max_events=5, batch_max_wait_ms=3600000,
            retry_schedule_ms=[200, 200, 200])
    start(installation, 1)
    installation.produce(installation.events(5))
    requests = receiver.wait_for(3, "/hook")
    assert len({request.id for request in requests}) == 1
    assert [numbers(request) for request in requests] == [[1, 2, 3, 4, 5]] * 3
    wait_empty(installation)
    logs = installation.db.logs()
    assert [(log["attempt"], log["delivery_status"], log["status_code"]) for log in logs] == [
        (1, "failed", 500), (2, "failed", 500), (3, "success", 200)]
    assert len({log["batch_id"] for log in logs}) == 1


class TakesFew:
    """413 for more than so many members; the others are taken."""

    def __init__(self, most):
        self.most = most

    async def play(self, call):
        return await Answer(413 if len(json.loads(call.request.body)) > self.most else 200).play(call)


def test_a_413_halves_the_batch_until_it_fits_and_the_limit(installation, receiver):
    receiver.on("/hook", TakesFew(3))
    batched(installation, receiver.url("/hook"), batch_max_events=10, batch_max_bytes=64000, batch_max_wait_ms=3600000)
    start(installation, 1)
    installation.produce(installation.events(10))
    wait_until(lambda: sum(len(numbers(one)) for one in receiver.requests("/hook") if one.status == 200) >= 10, 20,
               what="all were taken")
    wait_empty(installation)
    requests = receiver.requests("/hook")
    taken = [numbers(request) for request in requests if request.status == 200]
    assert sorted(sum(taken, [])) == list(range(1, 11)) and sorted(map(len, taken)) == [2, 2, 3, 3]
    assert sorted(len(numbers(request)) for request in requests if request.status == 413) == [5, 5, 10]
    assert len({request.id for request in requests}) == 7
    logs = installation.db.logs(status_code=413)
    assert len(logs) == 3 and not any(log["given_up"] for log in logs)
    assert all(log["next_attempt_at"] and log["attempt"] == 1 for log in logs)
    # Once for the first, once for the second two: those were perhaps of one version.
    assert installation.db.value("SELECT batch_max_bytes FROM subscriptions") in (8000, 16000)
    assert installation.db.count("delivery_logs") == 7


def test_a_body_is_never_longer_than_wanted_and_seldom_has_to_be_split(installation, receiver):
    """The format adds half as much again to these records."""
    batched(installation, receiver.url("/hook"), batch_max_events=1000, batch_max_bytes=20000, batch_max_wait_ms=1000,
            payload_format="seanotify")
    start(installation, 1)
    for turn in range(6):
        installation.produce([installation.event(payload={"text": "x" * 150}) for _ in range(200)])
        receiver.wait_for(2 * turn + 1, "/hook")
    wait_until(lambda: installation.db.count("delivery_log_details") >= 1200, 20, what="all came")
    wait_empty(installation)
    requests = receiver.requests("/hook")
    sent = [event["id"] for request in requests for event in json.loads(request.body)]
    assert sorted(sent) == sorted(f"evt_{number}" for number in range(1, 1201))
    assert max(len(request.body) for request in requests) <= 20000
    made = installation.db.count("batches")
    assert made - len(requests) <= 8, "batches are split again and again"
    assert installation.db.value("SELECT batch_max_bytes FROM subscriptions") == 20000


def test_one_event_that_is_too_large_fails_like_any_other(installation, receiver):
    receiver.on("/hook", Answer(413))
    batched(installation, receiver.url("/hook"), batch_max_events=1, retry_schedule_ms=[])
    start(installation, 1)
    installation.produce(installation.events(1))
    installation.db.wait_count(1, "delivery_logs")
    log, = installation.db.logs()
    assert log["status_code"] == 413 and log["given_up"]
    assert installation.db.value("SELECT batch_max_bytes FROM subscriptions") is None
    wait_empty(installation)


def test_what_is_scheduled_comes_as_an_array_too(installation, receiver):
    batched(installation, receiver.url("/hook"), batch_max_events=1)
    start(installation, 1)
    installation.produce([installation.event(deliver_at=int(time.time() * 1000) + 2000)])
    request, = receiver.wait_for(1, "/hook")
    assert numbers(request) == [1] and request.headers["webhook-batch-size"] == "1"
    installation.db.wait_count(1, "delivery_log_details", "batch_id IS NOT NULL AND member_position = 1")
    wait_empty(installation)


@pytest.mark.parametrize("status", ["paused", "deleted"])
def test_members_of_what_is_no_longer_active_are_cancelled_in_one_log_row(installation, receiver, status):
    batched(installation, receiver.url("/hook"), batch_max_wait_ms=3600000)
    start(installation, 1)
    installation.produce(installation.events(3))
    installation.db.wait("SELECT count(*) = 3 FROM batch_members")
    installation.db.execute("UPDATE subscriptions SET status = %s", status)
    installation.db.wait_count(1, "delivery_logs")
    wait_empty(installation)
    log, = installation.db.logs()
    assert log["delivery_status"] == "cancelled" and log["error_code"] == "cancelled" and log["batch_id"]
    assert installation.db.count("delivery_log_details", "member_key IS NOT NULL") == 3
    assert receiver.count() == 0


def test_members_leave_at_once_when_their_subscription_gathers_no_more(installation, receiver):
    batched(installation, receiver.url("/hook"), batch_max_wait_ms=3600000)
    start(installation, 1)
    installation.produce(installation.events(3))
    installation.db.wait("SELECT count(*) = 3 FROM batch_members")
    installation.db.execute("UPDATE subscriptions SET delivery_mode = 'immediate'")
    request, = receiver.wait_for(1, "/hook")
    assert numbers(request) == [1, 2, 3]
    wait_empty(installation)


def test_a_row_that_can_not_be_read_leaves_a_log_row(installation, receiver):
    batched(installation, receiver.url("/hook"), batch_max_wait_ms=1500)
    start(installation, 1)
    installation.produce(installation.events(2))
    installation.db.wait("SELECT count(*) = 2 FROM batch_members")
    installation.db.execute("UPDATE batch_members SET record = 'nothing'")
    installation.db.wait_count(1, "delivery_logs")
    wait_empty(installation)
    log, = installation.db.logs()
    assert log["delivery_status"] == "cancelled" and log["error_code"] == "unreadable" and log["batch_id"]
    assert "member 1" in log["error"] and receiver.count() == 0


def test_two_processes_fill_one_batch(installation, receiver):
    batched(installation, receiver.url("/hook"), batch_max_events=1000, batch_max_wait_ms=3000)
    both = [start(installation, 4), installation.dispatch()]

    def partitions(process):
        samples = [sample for sample in process.metrics() if sample.startswith("hookcast_oldest_unsettled_seconds{")]
        return {int(re.search(r'partition="(\d+)"', sample).group(1)) for sample in samples}
    wait_until(lambda: [len(partitions(one)) for one in both] == [2, 2], 20, 0.1, "both have their share")
    owned = partitions(both[0])
    installation.kafka.produce([{"topic": installation.topic(), "key": f"k{event['payload']['number']}", "value": event}
                                for event in installation.events(60)])
    installation.db.wait("SELECT count(*) = 60 FROM events")
    receiver.wait_for(1, "/hook")
    wait_empty(installation)
    assert partitions(both[0]) == owned
    place = {row["event_id"]: row["part"] for row in installation.db.rows("SELECT event_id, part FROM events")}
    seen = [numbers(request) for request in receiver.requests("/hook")]
    assert sorted(sum(seen, [])) == list(range(1, 61))
    assert [one for one in seen if len({place[f"evt_{number}"] in owned for number in one}) == 2]
    assert all(one.metric("hookcast_batch_members_total") > 0 for one in both)


def logged_members(installation):
    """{producer's id} of what the log says was delivered."""
    rows = installation.db.rows("SELECT e.event_id FROM delivery_logs l JOIN batches b ON b.id = l.batch_id "
                                "CROSS JOIN unnest(b.event_keys) k JOIN events e ON e.event_key = k "
                                "WHERE l.delivery_status = 'success'")
    return [row["event_id"] for row in rows]


@pytest.mark.deadline(170)
def test_killed_while_filling_closing_and_sending_nothing_is_lost_and_nothing_written_is_sent_again(installation, receiver):
    """Batches close by count, in a flush and by the scheduler, and by age, while the process is killed again and again."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    installation.env["HOOKCAST_KAFKA_CONF"] = QUICK_SESSION
    batched(installation, receiver.url("/hook"), batch_max_events=20, batch_max_wait_ms=300, timeout_ms=1000)
    receiver.on("/hook", Answer(delay_s=0.02))
    dispatch = start(installation, 2)
    produced, kills = 0, []
    for _ in range(10):
        mark = len(receiver.requests("/hook"))
        for _ in range(chance.randrange(1, 4)):
            events = installation.events(chance.randrange(1, 60))
            produced += len(events)
            installation.kafka.produce([{"topic": installation.topic(), "key": event["id"], "value": event}
                                        for event in events])
        wait_until(lambda at=mark: len(receiver.requests("/hook")) > at, 20, 0.005, "a batch came")
        time.sleep(chance.random() * 0.3)  # the moment of the kill, anywhere in a batch's life
        dispatch.kill()
        installation.db.wait("SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() "
                             "AND application_name LIKE 'hookcast%%' AND pid <> pg_backend_pid()")
        written = {str(log["batch_id"]) for log in installation.db.logs(delivery_status="success")}
        kills.append((len(receiver.requests("/hook")), written))
        # Members have their closer in each moment in which somebody may die.
        assert installation.db.value("SELECT count(*) FROM batch_members m WHERE NOT EXISTS (SELECT FROM schedule s "
                                     "WHERE s.kind = 2 AND s.subscription_id = m.subscription_id)") == 0
        # What was leased by the dead process is due again at the end of its lease; the test does not wait for it.
        installation.db.execute("UPDATE schedule SET lease_until = now() WHERE lease_until IS NOT NULL")
        dispatch.start()
    wait_until(lambda: len(logged_members(installation)) >= produced, 60, 0.2, "all is logged")
    wait_empty(installation)
    logged = logged_members(installation)
    assert len(logged) == len(set(logged)) == produced == installation.db.count("events")
    for mark, written in kills:
        again = {request.id for request in receiver.requests("/hook")[mark:]} & written
        assert not again, f"sent again although it was written {sample(again)}"
    # Each event is in one batch, so that what was sent again had the same id and the same members.
    members = {}
    for request in receiver.requests("/hook"):
        assert members.setdefault(request.id, numbers(request)) == numbers(request)
    assert sorted(sum(members.values(), [])) == list(range(1, produced + 1))


@pytest.mark.parametrize("waits", ["a retry", "a slot", "its lease"])
def test_what_left_from_memory_is_sent_again_byte_for_byte_after_a_kill(installation, receiver, waits):
    """The bytes of such a batch are in its events; its row has none as long as its first attempt is under way."""
    installation.env["HOOKCAST_KAFKA_CONF"] = QUICK_SESSION
    receiver.on("/hook", Answer(500) if waits == "a retry" else Answer(delay_s=30))
    batched(installation, receiver.url("/hook"), batch_max_events=5, batch_max_wait_ms=3600000, timeout_ms=20000,
            retry_schedule_ms=[3600000], max_in_flight=1 if waits == "a slot" else 10)
    dispatch = start(installation, 1)
    installation.kafka.produce([{"topic": installation.topic(), "key": "k", "value": event,
                                 "headers": [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]}
                                for event in installation.events(10)])
    installation.db.wait("SELECT count(*) = 2 FROM batches")
    receiver.wait_for(1, "/hook")
    if waits == "a retry":
        installation.db.wait("SELECT count(*) = 2 FROM schedule WHERE attempt = 2 AND octet_length(body) > 1000")
    elif waits == "its lease":
        receiver.wait_for(2, "/hook")
        assert installation.db.value("SELECT count(*) FROM schedule WHERE fence = 1 AND octet_length(body) = 0") == 2
    dispatch.kill()
    first = {request.id: request.body for request in receiver.requests("/hook")}
    mark = len(receiver.requests("/hook"))
    receiver.on("/hook", Answer(200))
    installation.db.execute("UPDATE schedule SET lease_until = NULL, due_at = now() WHERE kind = 1")
    dispatch.start()
    wait_until(lambda: len(receiver.requests("/hook")) == mark + 2, 40, what="both came again")
    wait_empty(installation)
    again = receiver.requests("/hook")[mark:]
    assert {request.id for request in again} == {str(row["id"]) for row in installation.db.rows("SELECT id FROM batches")}
    for request in again:
        assert first.get(request.id, request.body) == request.body
    assert sorted(sum(map(numbers, again), [])) == list(range(1, 11))


@pytest.mark.deadline(120)
def test_postgresql_is_killed_again_and_again_and_each_event_is_in_one_batch_that_comes_once(private_postgres, kafka,
                                                                                           make_installation, receiver):
    """Rule P5 for batches that leave from memory: only what is committed leaves, and all of it."""
    installation = make_installation(private_postgres, kafka)
    batched(installation, receiver.url("/hook"), batch_max_events=7, batch_max_wait_ms=400)
    start(installation, 2)
    for _ in range(4):
        mark = len(receiver.requests("/hook"))
        for _ in range(15):
            installation.kafka.produce([{"topic": installation.topic(), "key": event["id"], "value": event}
                                        for event in installation.events(17)])
        wait_until(lambda at=mark: len(receiver.requests("/hook")) > at + 3, 20, 0.005, "batches come")
        installation.db.close()
        private_postgres.stop("immediate")
        private_postgres.start()
    produced = 4 * 15 * 17
    wait_until(lambda: len(logged_members(installation)) >= produced, 60, 0.2, "all is logged")
    wait_empty(installation)
    logged = logged_members(installation)
    assert len(logged) == len(set(logged)) == produced == installation.db.count("events")
    assert not receiver.duplicates("/hook")
    assert sorted(sum(map(numbers, receiver.requests("/hook")), [])) == list(range(1, produced + 1))
