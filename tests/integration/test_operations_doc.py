"""docs/operations.md, where it gives numbers that people size their servers by."""
import concurrent.futures
import os
import re

from servers import wait_until
from support.process import ROOT

WORDS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def promised():
    """How many connections to PostgreSQL the page gives a dispatcher, one that mails, and an API."""
    with open(os.path.join(ROOT, "docs", "operations.md"), encoding="utf-8") as page:
        found = re.search(r"(\w+) for a dispatcher, (\w+) where it sends mail, at most (\w+) for an API", page.read())
    return [WORDS.index(word.lower()) for word in found.groups()]


def opened(installation):
    return installation.db.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                                 "AND application_name LIKE 'hookcast %' AND application_name <> 'hookcast start'")


def test_an_api_opens_no_more_connections_than_the_page_says(database_only):
    api = database_only.api
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        paths = ["/api/v1/event_types", "/api/v1/workspaces/w1/logs", "/api/v1/workspaces/w1/events/nothing"] * 40
        assert {answer.status for answer in pool.map(api.get, paths)} == {200, 404}
    assert 2 <= opened(database_only) <= promised()[2]


def test_a_dispatcher_opens_as_many_connections_as_the_page_says(installation):
    installation.insert_subscription("http://127.0.0.1:1/")
    process = installation.dispatch()
    dispatcher, mailing, _ = promised()
    # Upkeep's connection is closed between its rounds.
    wait_until(lambda: dispatcher - 1 <= opened(installation) <= dispatcher, 20, what="all connections are open")
    process.stop()
    installation.dispatch(SMTP_URL="smtp://127.0.0.1:1", MAIL_FROM="hookcast@example.com")
    wait_until(lambda: mailing - 1 <= opened(installation) <= mailing, 20, what="the mailer's is open")
