#include "check_database.h"

#include "base/clock.h"
#include "db/migrate.h"
#include "store/partitions.h"
#include "store/sealing.h"
#include <stdio.h>
#include <stdlib.h>

#define OPEN_MS 5000
#define OLDEST_VERSION 140000
/* What one `hookcast serve` opens, and then some for people and for a second process. */
#define CONNECTIONS_NEEDED 12
#define CONNECTIONS_SCARCE 30
#define CLOCK_WARN_MS 1000
#define CLOCK_FAIL_MS 60000

struct check {
    struct report *report;
    const struct settings *settings;
    struct connection *connection;
};

/* The answer as text, or NULL after a line about the failure; valid until the next question. */
static const char *ask(struct check *check, const char *subject, const char *sql) {
    static char text[512];
    struct buffer answer;
    struct error error;
    buffer_init(&answer, sizeof(text) - 1);
    enum status status = connection_ask(check->connection, sql, &answer, &error);
    if (status == STATUS_OK)
        snprintf(text, sizeof(text), "%.*s", SPAN_ARGS(buffer_view(&answer)));
    else if (status == STATUS_NOT_FOUND)
        text[0] = '\0';
    else
        report_fail(check->report, subject, "a question to PostgreSQL failed: %s", error.text);
    buffer_deinit(&answer);
    return status == STATUS_OK || status == STATUS_NOT_FOUND ? text : NULL;
}

static bool ask_int(struct check *check, const char *subject, const char *sql, int64_t *ret_value) {
    const char *text = ask(check, subject, sql);
    if (text)
        *ret_value = strtoll(text, NULL, 10);
    return text != NULL;
}

static bool check_version(struct check *check) {
    int64_t number;
    if (!ask_int(check, "database", "SHOW server_version_num", &number))
        return false;
    const char *name = ask(check, "database",
                           "SELECT current_setting('server_version') || ', database ' ||"
                           " current_database() || ', user ' || current_user");
    if (!name)
        return false;
    if (number >= OLDEST_VERSION)
        report_ok(check->report, "database", "PostgreSQL %s", name);
    else
        report_fail(check->report, "database", "PostgreSQL %s is too old. Move to version 14 or newer.", name);
    return number >= OLDEST_VERSION;
}

static bool check_schema(struct check *check) {
    struct error error;
    int64_t version = 0;
    enum status status = migrate_check(check->connection, MIGRATE_SCHEMA_VERSION, &error);
    if (status == STATUS_OK)
        status = migrate_version(check->connection, &version, &error);
    if (status != STATUS_OK)
        report_fail(check->report, "schema", "%s", error.text);
    else if (version > MIGRATE_SCHEMA_VERSION)
        report_ok(check->report, "schema", "version %lld, newer than this program's %d, which is fine",
                  (long long)version, MIGRATE_SCHEMA_VERSION);
    else
        report_ok(check->report, "schema", "version %lld", (long long)version);
    return status == STATUS_OK;
}

/* Tables of the schema that this user may not fully use, and tables by day that are another's. */
#define OUR_TABLES                                                                                                     \
    "SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_class"                                                  \
    " WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'subscriptions'::regclass)"                  \
    " AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'schema_migrations' AND NOT "

static void check_rights(struct check *check) {
    const char *tables =
        ask(check, "writing",
            OUR_TABLES "(has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')"
                       " AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))");
    if (!tables)
        return;
    if (*tables) {
        report_fail(check->report, "writing",
                    "this user may not read and write: %s. GRANT SELECT, INSERT, UPDATE, DELETE on them, or use the"
                    " user who ran \"hookcast migrate\".",
                    tables);
        return;
    }
    struct error error, ignored;
    enum status status = connection_exec(check->connection,
                                         "BEGIN; INSERT INTO processes (id, grp, host, pid, version)"
                                         " VALUES (gen_random_uuid(), 'hookcast check', '', 0, ''); ROLLBACK",
                                         &error);
    if (status == STATUS_OK) {
        report_ok(check->report, "writing", "a row was written and taken back");
        return;
    }
    if (connection_is_open(check->connection) && connection_exec(check->connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(check->connection);
    report_fail(check->report, "writing",
                "a row could not be written: %s. Is this the primary server, and has it room on its disk?", error.text);
}

static void check_days(struct check *check) {
    const char *tables = ask(check, "days", OUR_TABLES "(relkind = 'r' OR pg_has_role(relowner, 'USAGE'))");
    if (!tables)
        return;
    if (*tables) {
        report_fail(check->report, "days",
                    "partitions of %s can be made and dropped by their owner only. Run hookcast as that user, or GRANT"
                    " the owner's role to this one.",
                    tables);
        return;
    }
    struct error error;
    int64_t lower_ms, upper_ms;
    enum status status = partitions_bounds(check->connection, &lower_ms, &upper_ms, &error);
    int64_t ahead_ms = status == STATUS_OK ? upper_ms - clock_wall_ms() : 0;
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        report_fail(check->report, "days", "%s", error.text);
    else if (ahead_ms < 86400000)
        report_warn(check->report, "days",
                    "there are no partitions for the days ahead. \"hookcast dispatch\" makes them at its start, and"
                    " \"hookcast migrate\" does too; if one runs, look at its log for the module upkeep.");
    else
        report_ok(check->report, "days", "partitions for %lld days ahead", (long long)ahead_ms / 86400000);
}

/* Backends of other users are counted too: who is not allowed to see what they do still sees that they are there. */
static void check_connections(struct check *check) {
    int64_t left;
    if (!ask_int(check, "connections",
                 "SELECT least(current_setting('max_connections')::int"
                 "  - coalesce(current_setting('superuser_reserved_connections', true)::int, 0)"
                 "  - coalesce(current_setting('reserved_connections', true)::int, 0)"
                 "  - (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL),"
                 " (SELECT nullif(datconnlimit, -1) - (SELECT count(*) FROM pg_stat_activity WHERE datid = d.oid)"
                 "   FROM pg_database d WHERE datname = current_database()),"
                 " (SELECT nullif(rolconnlimit, -1) - (SELECT count(*) FROM pg_stat_activity WHERE usesysid = r.oid)"
                 "   FROM pg_roles r WHERE rolname = current_user))",
                 &left))
        return;
    const char *advice = "A dispatcher takes five, an API three. Raise max_connections, or the limit of the user or"
                         " the database.";
    if (left < CONNECTIONS_NEEDED)
        report_fail(check->report, "connections", "only %lld are left. %s", (long long)left, advice);
    else if (left < CONNECTIONS_SCARCE)
        report_warn(check->report, "connections", "%lld are left. %s", (long long)left, advice);
    else
        report_ok(check->report, "connections", "%lld are left", (long long)left);
}

/* What webhooks are signed with is this machine's time, and what is due is due by PostgreSQL's. */
static void check_clock(struct check *check) {
    int64_t server_ms, before_ms = clock_wall_ms();
    if (!ask_int(check, "clock", "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", &server_ms))
        return;
    int64_t after_ms = clock_wall_ms();
    int64_t apart_ms = server_ms - (before_ms + after_ms) / 2;
    int64_t amount_ms = apart_ms < 0 ? -apart_ms : apart_ms;
    int64_t at_most_ms = amount_ms + (after_ms - before_ms + 1) / 2;
    const char *advice = "Set both by NTP: receivers refuse webhooks whose timestamp is minutes off.";
    const char *where = apart_ms > 0 ? "behind" : "ahead of";
    if (amount_ms > CLOCK_FAIL_MS)
        report_fail(check->report, "clock", "this machine is %lld s %s PostgreSQL. %s", (long long)amount_ms / 1000,
                    where, advice);
    else if (amount_ms > CLOCK_WARN_MS)
        report_warn(check->report, "clock", "this machine is %lld ms %s PostgreSQL. %s", (long long)amount_ms, where,
                    advice);
    else
        report_ok(check->report, "clock", "within %lld ms of PostgreSQL's", (long long)at_most_ms);
}

static void check_durability(struct check *check) {
    const char *lax = ask(check, "durability",
                          "SELECT string_agg(name || ' = ' || setting, ', ' ORDER BY name) FROM pg_settings"
                          " WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'");
    if (!lax)
        return;
    if (*lax) {
        report_warn(
            check->report, "durability",
            "PostgreSQL runs with %s: a crash of its machine can destroy the log and the schedule. Turn them on,"
            " unless this is for tests.",
            lax);
        return;
    }
    const char *own = ask(check, "durability", "SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'");
    if (own && (strcmp(own, "off") == 0 || strcmp(own, "local") == 0))
        report_ok(check->report, "durability",
                  "synchronous_commit is %s for this user, and hookcast turns it on for itself", own);
    else if (own)
        report_ok(check->report, "durability", "synchronous_commit is %s", own);
}

static void check_size(struct check *check) {
    int64_t bytes, max_bytes = check->settings->database_max_size_bytes;
    if (!ask_int(check, "size", "SELECT pg_database_size(current_database())", &bytes))
        return;
    long long mib = (long long)(bytes >> 20), max_mib = (long long)(max_bytes >> 20);
    if (max_bytes == 0)
        report_ok(check->report, "size", "the database takes %lld MiB, and HOOKCAST_DATABASE_MAX_SIZE sets no limit",
                  mib);
    else if (bytes > max_bytes)
        report_warn(check->report, "size",
                    "the database takes %lld MiB, more than HOOKCAST_DATABASE_MAX_SIZE (%lld MiB): its oldest days go"
                    " early. Shorten the retention, or allow more.",
                    mib, max_mib);
    else
        report_ok(check->report, "size", "the database takes %lld MiB of %lld", mib, max_mib);
}

/* How many of the newest sealed values the ring does not open; -1 after a line about the failure. */
static int count_unopened(struct check *check, const struct keyring *keyring, int *ret_tried) {
    static const struct statement NEWEST = {"SELECT id, secrets FROM subscriptions WHERE secrets IS NOT NULL"
                                            " AND status <> 'deleted' ORDER BY updated_at DESC LIMIT 20"};
    struct result *result;
    struct error error;
    if (connection_run(check->connection, &NEWEST, NULL, &result, &error) != STATUS_OK) {
        report_fail(check->report, "secrets", "%s", error.text);
        return -1;
    }
    int unopened = 0;
    *ret_tried = result_rows(result);
    for (int row = 0; row < result_rows(result); row++) {
        struct uuid id = result_uuid(result, row, 0);
        struct buffer plain;
        buffer_init(&plain, 1 << 20);
        unopened += sealing_open(keyring, &id, result_text(result, row, 1), &plain, &error) != STATUS_OK;
        sealing_wipe(&plain);
    }
    result_free(&result);
    return unopened;
}

static void check_secrets(struct check *check) {
    struct keyring *keyring;
    struct error error;
    int tried = 0;
    if (sealing_keyring(check->settings, &keyring, &error) != STATUS_OK) {
        report_fail(check->report, "secrets", "%s", error.text);
        return;
    }
    int unopened = count_unopened(check, keyring, &tried);
    keyring_free(&keyring);
    if (unopened > 0)
        report_fail(
            check->report, "secrets",
            "HOOKCAST_SECRET_KEY does not open the secrets of %d of the %d subscriptions tried. Add the key that"
            " they were sealed with, behind a comma.",
            unopened, tried);
    else if (unopened == 0 && check->settings->secret_key[0])
        report_ok(check->report, "secrets", tried > 0 ? "opens what is stored" : "nothing is stored to try it on");
    else if (unopened == 0)
        report_warn(check->report, "secrets",
                    "HOOKCAST_INSECURE_DEV=1: stored secrets are protected by a key that everybody knows. Set"
                    " HOOKCAST_SECRET_KEY, unless this is for development.");
}

void check_database(struct report *report, const struct settings *settings) {
    struct check check = {report, settings, connection_new(settings->database_url, "hookcast check")};
    struct error error;
    if (connection_open(check.connection, OPEN_MS, &error) != STATUS_OK) {
        report_fail(report, "database", "%s. Start PostgreSQL, or correct HOOKCAST_DATABASE_URL.", error.text);
    } else if (check_version(&check)) {
        bool usable = check_schema(&check);
        if (usable) {
            check_rights(&check);
            check_days(&check);
            check_secrets(&check);
        }
        check_connections(&check);
        check_clock(&check);
        check_durability(&check);
        check_size(&check);
    }
    connection_free(&check.connection);
}
