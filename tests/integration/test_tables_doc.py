"""docs/tables.md against the real schema."""
import os
import re

import pytest
from support.process import ROOT

# Columns that are hookcast's own business; everything else of a documented table has to be documented.
OWN = {
    "subscriptions": {"headers", "secrets", "notify_email", "render_version", "activation", "xid"},
    "schedule": {"bucket", "kind", "activation", "fence", "record_key", "headers", "body"},
    "batch_members": {"activation", "record"},
    "jobs": {"position", "owner", "lease_until", "next_at", "tries"},
    "progress": {"last_key", "done"},
}
WANTED = ["delivery_logs", "log_rollups", "log_totals", "events", "rejected_events", "subscriptions", "schedule",
          "batch_members", "batches", "health", "outbox", "mails",
          "jobs", "export_chunks", "audit", "progress", "delivery_stats_minutely", "endpoint_health", "delivery_log_details"]
SHORT = {"timestamp with time zone": "timestamptz"}


def documented():
    """{table: [(column, type)]} in the page's order."""
    with open(os.path.join(ROOT, "docs", "tables.md"), encoding="utf-8") as page:
        sections = re.split(r"^## (\w+)$", page.read(), flags=re.MULTILINE)
    return {name: re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text, re.MULTILINE)
            for name, text in zip(sections[1::2], sections[2::2])}


def test_every_promised_table_is_there():
    assert list(documented()) == WANTED


@pytest.mark.parametrize("table", WANTED)
def test_columns_are_as_the_page_says(database_only, table):
    rows = database_only.db.rows(
        "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum", table)
    real = [(row["attname"], SHORT.get(row["type"], row["type"])) for row in rows if row["attname"] not in OWN.get(table, ())]
    assert documented()[table] == real


@pytest.mark.parametrize("table", OWN)
def test_what_is_left_out_is_there(database_only, table):
    names = {row["attname"] for row in database_only.db.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", table)}
    assert OWN[table] <= names


def closed_list(text, before):
    found = re.search("`" + before + r"` is one of(.*?)\.\n", text, re.DOTALL)
    return set(re.findall(r"`(\w+)`", found.group(1)))


def test_closed_lists_are_those_of_the_code():
    def read(*path):
        with open(os.path.join(ROOT, *path), encoding="utf-8") as source:
            return source.read()
    page = read("docs", "tables.md")
    names = set(re.findall(r'\[CLIENT_\w+\] = "(\w+)"', read("lib", "net", "client_result.c"))) - {"answered"}
    assert closed_list(page, "error_code") == names | {"http_status", "unreadable"}
    codes = re.search(r"of a closed list: (.*?)\*/", read("lib", "webhook", "event.h"), re.DOTALL).group(1)
    assert closed_list(page, "code") == set(re.findall(r'"(\w+)"', codes))
