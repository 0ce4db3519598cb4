"""…/stats counts events: each once, however many subscriptions it has, counted already or not."""
from datetime import datetime, timedelta, timezone

from test_logs import rolled_up

STATS = "/api/v1/workspaces/{}/stats"
UNITS = {"minute": 60, "hour": 3600, "day": 86400}


def put_events(installation, moments):
    """Rows of past days, as flushes wrote them: [(time, workspace, type)]."""
    for day in {at.date() for at, _, _ in moments}:
        for table in ("events", "delivery_logs"):
            installation.db.execute(f"CREATE TABLE IF NOT EXISTS {table}_{day:%Y%m%d} PARTITION OF {table} FOR VALUES FROM "
                                    f"('{day}T00:00:00Z') TO ('{day + timedelta(days=1)}T00:00:00Z')")
    with installation.db.connect() as connection, connection.cursor() as cursor:
        with cursor.copy("COPY events (created_at, event_key, workspace_id, event_id, event_type, occurred_at, topic, part, "
                         "record_offset, record_time, headers, body) FROM STDIN") as copy:
            for n, (at, workspace, event_type) in enumerate(moments):
                copy.write_row((at, f"00000000-0000-8000-8000-{n:012}", workspace, "e", event_type, at, "t", 0, n, at, "{}", b"{}"))


def check(installation, moments, query=""):
    answer = installation.api.get(STATS.format("w1") + "?unit=" + query)
    assert answer.status == 200, answer
    wanted = {"message.new"} if "event_type" in query else {"message.new", "call.new"}
    length = timedelta(seconds=UNITS[answer.json["unit"]])
    for step in answer.json["data"]:
        begins = datetime.fromisoformat(step["begins"].replace("Z", "+00:00"))
        assert list(step)[:3] == ["begins", "events", "attempts"]
        assert step["events"] == sum(1 for at, workspace, event_type in moments if workspace == "w1" and
                                     event_type in wanted and begins <= at < begins + length), step
    assert answer.json["sum"]["events"] == sum(step["events"] for step in answer.json["data"])
    return answer.json["sum"]["events"]


def test_events_are_counted_whether_their_minute_is_or_not(installation):
    now = datetime.now(timezone.utc)
    moments = [(now - timedelta(seconds=61 * n), "w2" if n % 5 == 0 else "w1", "call.new" if n % 3 == 0 else "message.new")
               for n in range(1, 3500)]
    subscription = installation.insert_subscription("http://127.0.0.1:1/")
    put_events(installation, moments)
    for counted in (False, True):
        if counted:
            installation.dispatch()
            rolled_up(installation)
            assert installation.db.value("SELECT count(DISTINCT level) FROM log_rollups WHERE level >= 10") == 3
        assert check(installation, moments, "day") > 2500
        assert check(installation, moments, "day&event_type=message.new") < 2500
        assert check(installation, moments, "hour") > 500 and check(installation, moments, "minute") > 30
    one = installation.api.get(STATS.format("w1") + "?subscription_id=" + subscription).json
    assert one["sum"]["events"] is None and {step["events"] for step in one["data"]} == {None}


def test_an_event_of_two_subscriptions_is_one(installation, receiver):
    for path in ("/a", "/b"):
        installation.insert_subscription(receiver.url(path), ["message.new"])
    installation.dispatch()
    installation.wait_in_force()
    installation.produce(installation.events(7) + [installation.event("call.new")])
    installation.db.wait_count(14, "delivery_logs")
    total = installation.api.get(STATS.format("w1")).json["sum"]
    assert (total["events"], total["attempts"]) == (7, 14), "what nobody wants is not kept, and not counted"
