"""Requests for subscriptions that wait at the same time share a question to the database: each gets its own answer."""
import threading
import uuid

from support.api import Api

ALL = "/api/v1/workspaces/{}/subscription/{}"


def ask_all(questions):
    """The answers to (api, path) that are asked at once, in order."""
    answers = [None] * len(questions)

    def ask(number, api, path):
        answers[number] = api.get(path, timeout_s=60)
    threads = [threading.Thread(target=ask, args=(number, *one)) for number, one in enumerate(questions)]
    for thread in threads:
        thread.start()
    return threads, answers


def wait_for_both_workers(installation):
    """Until those that read subscriptions stand before a lock; what comes then waits for them."""
    installation.db.wait("SELECT count(*) >= 2 FROM pg_stat_activity WHERE datname = current_database() "
                         "AND application_name = 'hookcast api' AND wait_event_type = 'Lock'")


def test_what_waits_together_is_answered_each_for_itself(database_only):
    installation = database_only
    api, other = installation.api, installation.api_of("w2")
    path = {one["id"]: ALL.format("w1", one["id"]) for one in
            [installation.subscribe(f"https://example.com/{n}", headers={"x-token": f"secret {n}"}) for n in range(12)]}
    foreign = installation.subscribe("https://example.com/foreign", workspace="w2")["id"]
    gone = installation.subscribe("https://example.com/gone")["id"]
    installation.unsubscribe(gone)
    wrong = Api(api.url, "hc_" + "0" * 64)
    alone = {one: api.get(path[one]) for one in path}
    read_only = api.with_key(api.post("/api/v1/workspaces/w1/keys", {"name": "r", "read_only": True}).json["key"])
    questions = []
    for number in range(2):
        questions += [(read_only if number else api, path[one]) for one in path]
        questions += [(other, ALL.format("w2", foreign)), (api, ALL.format("w1", foreign)), (api, ALL.format("w2", foreign)),
                      (other, path[next(iter(path))]), (api, ALL.format("w1", gone)), (api, ALL.format("w1", uuid.uuid4())),
                      (api, ALL.format("w1", "nonsense")), (wrong, path[next(iter(path))])]
    with installation.db.connect() as connection:
        connection.execute("LOCK TABLE subscriptions IN ACCESS EXCLUSIVE MODE")
        threads, answers = ask_all(questions)
        wait_for_both_workers(installation)
    for thread in threads:
        thread.join(60)
    for (_, asked), answer in zip(questions, answers):
        one = asked.rsplit("/", 1)[1]
        if answer.status == 200 and one in alone:
            assert (answer.json, answer.headers["etag"]) == (alone[one].json, alone[one].headers["etag"])
    each = len(questions) // 2
    expected = [200] * 12 + [200, 404, 404, 404, 404, 404, 404, 401]
    assert [answer.status for answer in answers[:each]] == expected
    assert [answer.status for answer in answers[each:]] == expected
    assert answers[12].json["id"] == foreign
    requests = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(requests)) == len(requests)


def test_a_connection_that_is_lost_costs_none_of_them_its_answer(database_only):
    installation = database_only
    api = installation.api
    made = [installation.subscribe(f"https://example.com/{n}")["id"] for n in range(24)]
    with installation.db.connect() as connection:
        connection.execute("LOCK TABLE subscriptions IN ACCESS EXCLUSIVE MODE")
        threads, answers = ask_all([(api, ALL.format("w1", one)) for one in made])
        wait_for_both_workers(installation)
        installation.db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                                "AND application_name = 'hookcast api'")
    for thread in threads:
        thread.join(60)
    assert [(answer.status, answer.json["id"]) for answer in answers] == [(200, one) for one in made]
