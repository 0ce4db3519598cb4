/* Rounds of replay and recovery, one at a time, against a real PostgreSQL. What a page holds: store/test_resend.c. */
#include "dispatch/jobs_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"
#include "db/migrate.h"
#include "dispatch_fixture.h"
#include "store/partitions.h"
#include "store/resend.h"

#define ONE "00000000-0000-7000-8000-000000000001"

static char *database;
static struct connection *connection;
static struct settings settings;
static struct roster *roster;
static struct jobs *jobs;
static struct error error;

static void ok(enum status status) {
    if (status != STATUS_OK)
        fail_msg("%s", error.text);
}

static void exec_sql(const char *sql) {
    pg_fixture_exec(connection, sql);
}

static void expect_sql(const char *sql, const char *wanted) {
    const char *got = pg_fixture_ask(connection, sql);
    if (strcmp(got, wanted) != 0)
        fail_msg("%s: %s, expected %s", sql, got, wanted);
}

static int open_jobs(void **state) {
    (void)state;
    database = pg_fixture_database();
    connection = pg_fixture_connect(database);
    ok(migrate_run(connection, pg_fixture_sql(), NULL, NULL, NULL, &error));
    ok(partitions_ensure(connection, &error));
    exec_sql("INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types) VALUES ('w1', '" ONE "', "
             "'https://example.com/', '{*}')");
    settings = (struct settings){.database_url = database, .topic_prefix = "events.", .retention_ms = 3600 * 1000};
    roster = roster_new();
    jobs = jobs_new(&(struct jobs_settings){.settings = &settings, .roster = roster, .process_id = fixture_uuid(77)});
    ok(connection_open(jobs->connection, 5000, &error));
    ok(connection_exec(jobs->connection, "SET lock_timeout = '1s'", &error));
    return 0;
}

static int close_jobs(void **state) {
    (void)state;
    jobs_free(&jobs);
    roster_free(&roster);
    connection_free(&connection);
    pg_fixture_drop(&database);
    return 0;
}

/* Events first … last, each of which was given up. */
static void put_failed(int first, int last) {
    char sql[1024];
    snprintf(sql, sizeof(sql),
             "WITH e AS (SELECT n, ('018bcfe5-6800-8000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS key FROM "
             "generate_series(%d, %d) n), v AS (INSERT INTO events SELECT now(), key, 'w1', 'e' || n, 't', now(), "
             "'events.t', 0, n, now(), NULL, '{}', '{}', NULL FROM e) INSERT INTO delivery_logs (created_at, id, "
             "workspace_id, event_key, event_id, subscription_id, event_type, webhook_url, delivery_status, attempt, "
             "given_up) SELECT now(), key, 'w1', key, 'e' || n, '" ONE "', 't', '', 'failed', 1, true FROM e",
             first, last);
    exec_sql(sql);
}

static void put_job(const char *kind, const char *subscription, const char *request) {
    char sql[512];
    snprintf(sql, sizeof(sql),
             "INSERT INTO jobs (id, workspace_id, kind, subscription_id, since, until, request) VALUES "
             "(gen_random_uuid(), 'w1', '%s', %s, now() - interval '1 h', now() + interval '1 h', '%s')",
             kind, subscription, request);
    exec_sql(sql);
}

static bool round_of_jobs(void) {
    bool more = false;
    ok(jobs_resend(jobs, &more, &error));
    return more;
}

static void all_rounds(void) {
    int rounds = 0;
    while (round_of_jobs())
        assert_true(++rounds < 1000);
}

static void expect_jobs(const char *wanted) {
    expect_sql("SELECT string_agg(concat_ws(' ', kind, state, done), ', ' ORDER BY kind, created_at) FROM jobs",
               wanted);
}

static void test_rounds_do_all_there_is(void **state) {
    (void)state;
    assert_false(round_of_jobs());
    put_failed(1, 3000);
    put_job("recover", "'" ONE "'", "{\"include\":[\"failed\"]}");
    put_job("replay", "NULL", "{\"given_up\":true}");
    double before = metric_value(jobs->resent);
    all_rounds();
    expect_jobs("recover done 3000, replay done 3000");
    expect_sql("SELECT count(*) FROM schedule", "6000");
    assert_true(metric_value(jobs->resent) - before == 6000);
    assert_in_range(jobs->resend_page, 1, 500);
}

static void test_who_is_not_active_ends_the_job(void **state) {
    (void)state;
    put_failed(1, 10);
    put_job("recover", "'" ONE "'", "{\"include\":[\"failed\"]}");
    exec_sql("UPDATE subscriptions SET status = 'disabled'");
    all_rounds();
    expect_sql("SELECT state || ': ' || error FROM jobs", "failed: the subscription was disabled");
    exec_sql("UPDATE subscriptions SET status = 'deleted'; UPDATE jobs SET state = 'running'");
    all_rounds();
    expect_sql("SELECT state || ': ' || error FROM jobs", "failed: the subscription is gone");
    expect_sql("SELECT count(*) FROM schedule", "0");
}

/* Something of it is not as it should be; the next one is done all the same, and the connection is kept. */
static void test_one_that_the_database_refuses_is_put_off(void **state) {
    (void)state;
    put_failed(1, 10);
    put_job("replay", "NULL", "{}");
    exec_sql("UPDATE jobs SET position = '{\"source\": 0, \"at\": \"never\"}', created_at = now() - interval '1 min'");
    put_job("replay", "NULL", "{}");
    all_rounds();
    expect_jobs("replay waiting 0, replay done 10");
    assert_true(connection_is_open(jobs->connection));
    expect_sql("SELECT tries || ' ' || (next_at > now())::text FROM jobs WHERE state = 'waiting'", "1 true");
    for (int i = 0; i < 10; i++) {
        exec_sql("UPDATE jobs SET next_at = now()");
        all_rounds();
    }
    expect_sql("SELECT count(*) FROM jobs WHERE state = 'failed' AND error LIKE '%never%'", "1");
}

static void test_it_waits_while_there_is_no_room(void **state) {
    (void)state;
    put_failed(1, 8000);
    exec_sql("INSERT INTO schedule (workspace_id, subscription_id, row_key, event_key, bucket, attempt, activation, "
             "due_at, topic, part, record_offset, record_time, headers, body) SELECT 'w1', '" ONE "', "
             "gen_random_uuid(), gen_random_uuid(), 0, 1, 1, now(), '', 0, 0, now(), '', '' "
             "FROM generate_series(1, 46000)");
    put_job("recover", "'" ONE "'", "{\"include\":[\"failed\"]}");
    all_rounds();
    expect_sql("SELECT state || ' ' || (done BETWEEN 5000 AND 5500)::text || ' ' || (next_at > now())::text FROM jobs",
               "running true true");
    exec_sql("DELETE FROM schedule; UPDATE jobs SET next_at = now()");
    all_rounds();
    expect_jobs("recover done 8000");
}

static void test_old_ones_are_forgotten(void **state) {
    (void)state;
    put_job("replay", "NULL", "{}");
    exec_sql("UPDATE jobs SET state = 'done', finished_at = now() - interval '2 h'");
    round_of_jobs();
    expect_sql("SELECT count(*) FROM jobs", "0");
}

static void test_waiting_for_an_erasure_leaves_no_transaction(void **state) {
    (void)state;
    bool more = false;
    exec_sql("SELECT pg_advisory_lock(" RESEND_LOCK ")");
    assert_int_equal(jobs_resend(jobs, &more, &error), STATUS_CONFLICT);
    ok(jobs_outbox(jobs, &more, &error));
    ok(connection_exec(jobs->connection, "SELECT 1", &error));
    exec_sql("SELECT pg_advisory_unlock(" RESEND_LOCK ")");
    put_failed(1, 10);
    put_job("recover", "'" ONE "'", "{\"include\":[\"failed\"]}");
    all_rounds();
    expect_jobs("recover done 10");
}

#define JOBS_TEST(test) cmocka_unit_test_setup_teardown(test, open_jobs, close_jobs)

int main(void) {
    const struct CMUnitTest tests[] = {
        JOBS_TEST(test_rounds_do_all_there_is),
        JOBS_TEST(test_who_is_not_active_ends_the_job),
        JOBS_TEST(test_one_that_the_database_refuses_is_put_off),
        JOBS_TEST(test_waiting_for_an_erasure_leaves_no_transaction),
        JOBS_TEST(test_it_waits_while_there_is_no_room),
        JOBS_TEST(test_old_ones_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
