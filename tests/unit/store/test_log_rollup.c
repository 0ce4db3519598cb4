#include "store/log_rollup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/partitions.h"
#include "store_fixture.h"

/* Two days of the past, and a clock of the test's own, which begins there. */
#define FIRST "2024-03-10 00:00:00+00"
#define FAR_MS 4102444800000LL

static void set_clock(const char *at) {
    char sql[200];
    snprintf(sql, sizeof(sql), "UPDATE test_clock SET at = '%s'", at);
    exec_sql(sql);
}

/* What the rollups ask is answered by the test: its functions come before PostgreSQL's own. */
static void prepare(void) {
    exec_sql("CREATE TABLE delivery_logs_old PARTITION OF delivery_logs FOR VALUES FROM ('" FIRST
             "') TO ('2024-03-13 00:00:00+00');"
             "CREATE TABLE test_clock (at timestamptz); INSERT INTO test_clock VALUES ('" FIRST "');"
             "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT at FROM test_clock';"
             "CREATE VIEW public.pg_stat_activity AS SELECT a.pid, a.datname, a.backend_type, a.backend_xid, "
             "t.at AS xact_start FROM pg_catalog.pg_stat_activity a "
             "JOIN (SELECT NULL::int AS pid, NULL::timestamptz AS at WHERE false) t ON t.pid = a.pid;"
             "SET search_path = public, pg_catalog");
}

static void add_rows(const char *from, const char *seconds, int count) {
    char sql[2000];
    snprintf(
        sql, sizeof(sql),
        "INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, "
        "webhook_url, delivery_status, status_code, error_code, attempt, duration_ms, given_up, test) "
        "SELECT '%s'::timestamptz + random() * %s * interval '1 second', gen_random_uuid(), 'w' || n %% 3, "
        "gen_random_uuid(), 'e', ('00000000-0000-7000-8000-00000000000' || n %% 7)::uuid, 't' || n %% 4, 'u', s, "
        "CASE s WHEN 'success' THEN 200 + n %% 2 WHEN 'failed' THEN CASE WHEN n %% 3 = 0 THEN 503 END END, "
        "CASE s WHEN 'success' THEN NULL ELSE 'timeout' END, 1 + n %% 3, "
        "CASE WHEN s <> 'cancelled' THEN (random() * 30000)::int END, s = 'failed' AND n %% 11 = 0, n %% 13 = 0 "
        "FROM (SELECT n, (ARRAY['success', 'success', 'failed', 'cancelled'])[1 + n %% 4] AS s "
        "FROM generate_series(1, %d) n) q",
        from, seconds, count);
    exec_sql(sql);
}

static int roll_all(void) {
    bool did = true;
    int steps = 0;
    for (; did; steps++) {
        ok(log_rollup_step(connection, LOG_ROLLUP_MAX_MINUTES, FAR_MS, &did, &error));
        assert_true(steps < 10000);
    }
    return steps;
}

/* Each level against the log itself, both ways, for subscriptions and for workspaces. */
static void expect_exact(void) {
    static const char *const UNITS[] = {"minute", "hour", "day"};
    static const char *const SCOPES[][2] = {{"subscription_id", "NOT NULL"}, {"NULL::uuid", "NULL"}};
    for (int level = 0; level < 3; level++) {
        for (int scope = 0; scope < 2; scope++) {
            char sql[3000];
            snprintf(sql, sizeof(sql),
                     "WITH real AS (SELECT date_trunc('%s', created_at, 'UTC') AS begins, workspace_id, %s AS sub, "
                     "event_type, delivery_status, status_code, error_code, given_up, test, count(*) AS n, "
                     "count(*) FILTER (WHERE delivery_status = 'success' AND attempt = 1) AS first_time, "
                     "count(*) FILTER (WHERE delivery_status = 'success' AND attempt > 1) AS after_retry, "
                     "coalesce(sum(duration_ms), 0) AS ms, count(duration_ms) AS timed, "
                     "coalesce(sum(log_duration_class(duration_ms)), 0) AS classes FROM delivery_logs "
                     "WHERE created_at < (SELECT until FROM log_rollup_state WHERE level = %d) "
                     "GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9), "
                     "kept AS (SELECT begins, workspace_id, subscription_id AS sub, event_type, delivery_status, "
                     "status_code, error_code, given_up, test, n, first_time, after_retry, duration_ms AS ms, "
                     "coalesce((SELECT sum(e & 1099511627775) FROM unnest(latency) e), 0) AS timed, "
                     "coalesce((SELECT sum((e & 1099511627775) * (e >> 40)) FROM unnest(latency) e), 0) AS classes "
                     "FROM log_rollups WHERE level = %d AND subscription_id IS %s) "
                     "SELECT (SELECT count(*) FROM (TABLE real EXCEPT ALL TABLE kept) a) || '/' || "
                     "(SELECT count(*) FROM (TABLE kept EXCEPT ALL TABLE real) b)",
                     UNITS[level], SCOPES[scope][0], level, level, SCOPES[scope][1]);
            expect_sql(sql, "0/0");
        }
    }
}

/* The totals against the log, in each hour or day that a scope has rows: how many of each kind, and how many earlier in
 * its day or month. */
static void expect_exact_totals(void) {
    static const char *const UNITS[][3] = {
        {"hour", "day", "ARRAY['00000000-0000-0000-0000-000000000000'::uuid]"},
        {"day", "month", "ARRAY[subscription_id, '00000000-0000-0000-0000-000000000000']"}};
    for (int i = 0; i < 2; i++) {
        char sql[3000];
        snprintf(sql, sizeof(sql),
                 "WITH scoped AS MATERIALIZED (SELECT date_trunc('%s', created_at, 'UTC') AS at, "
                 "date_trunc('%s', created_at, 'UTC') AS period, workspace_id, scope AS subscription_id, event_type, "
                 "delivery_status, status_code, error_code, given_up, test, count(*) AS n "
                 "FROM delivery_logs, unnest(%s) scope "
                 "WHERE created_at < (SELECT until FROM log_rollup_state WHERE level = %d) "
                 "GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), "
                 "stretches AS (SELECT DISTINCT at AS begins, period, workspace_id, subscription_id FROM scoped), "
                 "real AS (SELECT %d::int2 AS level, begins, workspace_id, subscription_id, event_type, "
                 "delivery_status, status_code, error_code, given_up, test, "
                 "coalesce(sum(n) FILTER (WHERE at < begins), 0)::bigint AS earlier, "
                 "coalesce(sum(n) FILTER (WHERE at = begins), 0)::bigint AS n "
                 "FROM stretches JOIN scoped USING (workspace_id, subscription_id, period) WHERE at <= begins "
                 "GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), "
                 "kept AS (SELECT * FROM log_totals WHERE level = %d) "
                 "SELECT (SELECT count(*) > 100 FROM kept) || '/' || "
                 "(SELECT count(*) FROM (TABLE real EXCEPT ALL TABLE kept) a) || '/' || "
                 "(SELECT count(*) FROM (TABLE kept EXCEPT ALL TABLE real) b)",
                 UNITS[i][0], UNITS[i][1], UNITS[i][2], 3 + i, 3 + i, 3 + i);
        expect_sql(sql, "true/0/0");
    }
}

static void test_totals_run_from_month_to_month(void **state) {
    (void)state;
    prepare();
    exec_sql("CREATE TABLE delivery_logs_older PARTITION OF delivery_logs FOR VALUES FROM ('2024-02-26 00:00:00+00') "
             "TO ('" FIRST "')");
    add_rows("2024-02-26 00:00:00+00", "86400", 300);
    add_rows("2024-02-28 00:00:00+00", "259200", 300);
    add_rows("2024-03-03 00:00:00+00", "1000", 5); /* of some subscriptions */
    add_rows("2024-03-05 00:00:00+00", "432000", 500);
    set_clock("2024-03-09 00:00:03+00");
    roll_all();
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 4", "2024-03-09 00:00:00+00");
    expect_sql("SELECT count(*) > 500 AND count(*) FILTER (WHERE begins = '2024-03-03 00:00:00+00' AND n > 0 AND level "
               "= 4) < 30 "
               "FROM log_totals",
               "t");
    expect_exact_totals();
    set_clock("2024-03-10 12:00:00+00");
    roll_all();
    expect_exact_totals();

    /* All anew, as an operator does it who doesn't know of the totals. */
    exec_sql("TRUNCATE log_rollups, log_rollup_state");
    roll_all();
    expect_exact_totals();

    /* Days that have gone take their totals along; later days count on from where they were. */
    exec_sql("DROP TABLE log_rollups_20240226, log_rollups_20240227, log_rollups_20240228, log_rollups_20240229, "
             "log_rollups_20240301, log_rollups_20240302");
    set_clock("2024-03-11 00:00:03+00");
    add_rows("2024-03-10 13:00:00+00", "1000", 100);
    roll_all();
    expect_sql("SELECT min(begins) FROM log_totals", "2024-03-03 00:00:00+00");
    expect_sql(
        "SELECT bool_and(n) FROM (SELECT (SELECT sum(earlier + t.n) FROM log_totals t WHERE level = 4 AND begins = "
        "'2024-03-10 00:00:00+00' AND subscription_id = '00000000-0000-0000-0000-000000000000' AND workspace_id = w) "
        "= (SELECT count(*) FROM delivery_logs WHERE created_at >= '2024-03-01 00:00:00+00' "
        "AND workspace_id = w) AS n FROM unnest(ARRAY['w0', 'w1', 'w2']) w) q",
        "t");
}

static void test_counts_are_those_of_the_log(void **state) {
    (void)state;
    prepare();
    add_rows(FIRST, "172800", 20000);
    add_rows("2024-03-10 13:37:00+00", "60", 3000);
    set_clock("2024-03-12 00:00:02.5+00");
    roll_all();
    expect_sql("SELECT string_agg(until::text, ',' ORDER BY level) FROM log_rollup_state",
               "2024-03-12 00:00:00+00,2024-03-12 00:00:00+00,2024-03-12 00:00:00+00,2024-03-12 00:00:00+00,"
               "2024-03-12 00:00:00+00");
    expect_sql("SELECT sum(n) FROM log_rollups WHERE level = 2 AND subscription_id IS NULL", "23000");
    expect_exact();
}

static void test_events_are_counted_by_workspace_and_type(void **state) {
    (void)state;
    prepare();
    exec_sql("CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('" FIRST "') TO ('2024-03-13 00:00:00+00');"
             "INSERT INTO events (created_at, event_key, workspace_id, event_id, event_type, occurred_at, topic, part, "
             "record_offset, record_time, headers, body) SELECT '" FIRST "'::timestamptz + n * interval '16 seconds', "
             "gen_random_uuid(), 'w' || n % 3, 'e', 't' || n % 4, now(), 't', 0, n, now(), '{}', '{}' "
             "FROM generate_series(1, 10000) n");
    set_clock("2024-03-11 12:34:02.5+00");
    roll_all();
    static const char *const UNITS[] = {"minute", "hour", "day"};
    for (int level = 0; level < 3; level++) {
        char sql[1000];
        snprintf(sql, sizeof(sql),
                 "WITH real AS (SELECT date_trunc('%s', created_at, 'UTC') AS begins, workspace_id, event_type, "
                 "count(*) AS n FROM events WHERE created_at < (SELECT until FROM log_rollup_state WHERE level = %d) "
                 "GROUP BY 1, 2, 3), kept AS (SELECT begins, workspace_id, event_type, n FROM log_rollups "
                 "WHERE level = 10 + %d) SELECT (SELECT count(*) > 11 FROM kept) || '/' || "
                 "(SELECT count(*) FROM (TABLE real EXCEPT ALL TABLE kept) q) || '/' || "
                 "(SELECT count(*) FROM (TABLE kept EXCEPT ALL TABLE real) q)",
                 UNITS[level], level, level);
        expect_sql(sql, "true/0/0");
    }
    expect_sql("SELECT count(*) FROM log_rollups WHERE level < 10", "0");
}

static void test_a_minute_waits_until_it_is_closed(void **state) {
    (void)state;
    prepare();
    add_rows(FIRST, "3600", 500);
    set_clock("2024-03-10 00:10:01.9+00");
    roll_all();
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 0", "2024-03-10 00:09:00+00");
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 1", FIRST);
    set_clock("2024-03-10 00:10:02.1+00");
    roll_all();
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 0", "2024-03-10 00:10:00+00");
    expect_exact();
    set_clock("2024-03-10 01:00:30+00");
    roll_all();
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 1", "2024-03-10 01:00:00+00");
    expect_exact();
}

/* A transaction that has an id, however old, and one that may get one, but not one that only reads for long. */
static void test_open_transactions_hold_their_minute_open(void **state) {
    (void)state;
    prepare();
    struct connection *other = pg_fixture_connect(database);
    char *pid = mem_strdup(pg_fixture_ask(other, "SELECT pg_backend_pid()"));
    char sql[600];
    snprintf(
        sql, sizeof(sql),
        "CREATE OR REPLACE VIEW public.pg_stat_activity AS SELECT a.pid, a.datname, a.backend_type, a.backend_xid, "
        "CASE WHEN a.pid = %s AND a.xact_start IS NOT NULL THEN '2024-03-10 00:05:30+00'::timestamptz END "
        "AS xact_start FROM pg_catalog.pg_stat_activity a",
        pid);
    exec_sql(sql);
    mem_free(pid);
    add_rows(FIRST, "3600", 500);
    pg_fixture_exec(other, "BEGIN; CREATE TEMP TABLE writes (a int)");
    set_clock("2024-03-10 00:30:00+00");
    roll_all();
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 0", "2024-03-10 00:05:00+00");
    pg_fixture_exec(other, "INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, "
                           "subscription_id, event_type, webhook_url, delivery_status, attempt) VALUES ("
                           "'2024-03-10 00:05:31+00', gen_random_uuid(), 'w', gen_random_uuid(), 'e', "
                           "gen_random_uuid(), 't', 'u', 'success', 1); COMMIT");
    roll_all();
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 0", "2024-03-10 00:29:00+00");
    expect_exact();

    pg_fixture_exec(other, "BEGIN; SELECT 1");
    set_clock("2024-03-10 00:06:00+00");
    roll_all();
    set_clock("2024-03-10 00:40:00+00");
    roll_all();
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 0", "2024-03-10 00:39:00+00");
    connection_free(&other);
}

static void test_the_end_of_the_last_day_stays_open(void **state) {
    (void)state;
    prepare();
    add_rows(FIRST, "86400", 500);
    set_clock("2024-03-12 10:00:00+00");
    bool did = true;
    while (did)
        ok(log_rollup_step(connection, LOG_ROLLUP_MAX_MINUTES, 1710115200000LL /* 2024-03-11 */, &did, &error));
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 0", "2024-03-10 23:59:00+00");
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 2", FIRST);
}

/* Somebody else is at it; and one that was cut off leaves nothing. */
static void test_one_at_a_time_and_whole(void **state) {
    (void)state;
    prepare();
    add_rows(FIRST, "7200", 500);
    set_clock("2024-03-10 02:00:10+00");
    bool did;
    ok(log_rollup_step(connection, 30, FAR_MS, &did, &error));
    assert_true(did);
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 0", "2024-03-10 00:30:00+00");
    struct connection *other = pg_fixture_connect(database);
    pg_fixture_exec(other, "BEGIN; SELECT * FROM log_rollup_state WHERE level = 0 FOR UPDATE");
    ok(log_rollup_step(connection, 30, FAR_MS, &did, &error));
    assert_false(did);
    pg_fixture_exec(other, "ROLLBACK");
    connection_free(&other);

    exec_sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
             "CREATE TRIGGER refuse BEFORE UPDATE ON log_rollup_state FOR EACH STATEMENT EXECUTE FUNCTION refuse()");
    assert_int_equal(log_rollup_step(connection, 30, FAR_MS, &did, &error), STATUS_FAILED);
    assert_false(did);
    exec_sql("DROP TRIGGER refuse ON log_rollup_state");
    roll_all();
    expect_sql("SELECT until FROM log_rollup_state WHERE level = 0", "2024-03-10 02:00:00+00");
    expect_exact();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_totals_run_from_month_to_month),
        STORE_TEST(test_counts_are_those_of_the_log),
        STORE_TEST(test_events_are_counted_by_workspace_and_type),
        STORE_TEST(test_a_minute_waits_until_it_is_closed),
        STORE_TEST(test_open_transactions_hold_their_minute_open),
        STORE_TEST(test_the_end_of_the_last_day_stays_open),
        STORE_TEST(test_one_at_a_time_and_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
