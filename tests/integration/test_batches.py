"""Many events, one webhook: what closes a batch, what is in it, and that no member is lost."""
import json

import pytest
from support.receiver import Answer
from support.signature import verify_hex, verify_standard


def batched(installation, url, **columns):
    """A subscription that gathers, straight into the table."""
    return installation.insert_subscription(url, delivery_mode="batched", **columns)


def numbers(request):
    """The numbers of the events in a body of format raw."""
    return [payload["number"] for payload in json.loads(request.body)]


def test_what_is_too_few_leaves_when_its_time_has_come_as_an_array_with_one_log_row(installation, receiver):
    batched(installation, receiver.url("/hook"), batch_max_events=100, batch_max_wait_ms=1500, payload_format="raw")
    installation.kafka.create_topic(installation.topic(), 1)
    installation.dispatch()
    installation.wait_in_force()
    installation.produce(installation.events(3))
    receiver.wait_for(1, "/hook")
    request, = receiver.requests("/hook")
    assert numbers(request) == [1, 2, 3]
    assert request.headers["webhook-batch-size"] == "3" and request.headers["content-type"] == "application/json"
    installation.db.wait_count(1, "delivery_logs")
    log, = installation.db.logs()
    assert log["delivery_status"] == "success" and log["attempt"] == 1 and log["event_type"] == "message.new"
    assert str(log["batch_id"]) == str(log["event_key"]) == log["event_id"] == request.id
    details = installation.db.rows("SELECT member_position, record_offset, event_body FROM delivery_log_details "
                                   "ORDER BY member_position")
    assert [(row["member_position"], row["record_offset"]) for row in details] == [(1, 0), (2, 1), (3, 2)]
    installation.db.wait("SELECT count(*) = 0 FROM schedule")
    assert installation.db.count("batch_members") == 0
