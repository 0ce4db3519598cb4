#include "store/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#define MINUTE 60000LL
#define LIMIT (100 * MINUTE)
#define OUTBOX                                                                                                         \
    "SELECT coalesce(string_agg(replace(event_type, 'hookcast.subscription.', ''), ' ' ORDER BY id), '') FROM outbox"
#define MAILS "SELECT coalesce(string_agg(recipient || ' ' || kind, ', ' ORDER BY id), '') FROM mails"
#define STATUS "SELECT status FROM subscriptions"

static void add_subscription(int number, const char *email) {
    char sql[512];
    snprintf(
        sql, sizeof(sql),
        "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, notify_email, render_version, xid) "
        "VALUES ('w1', '00000000-0000-7000-8000-%012x', 'https://example.com/hook', '{*}', %s, 0, '1')",
        number, email);
    exec_sql(sql);
}

static struct health_report report(int number, int64_t success_min, int64_t failure_min, int64_t failing_min) {
    return (struct health_report){
        .workspace_id = SPAN_LITERAL("w1"),
        .subscription_id = numbered_uuid(number),
        .success_age_ms = success_min < 0 ? HEALTH_NONE : success_min * MINUTE,
        .failure_age_ms = failure_min < 0 ? HEALTH_NONE : failure_min * MINUTE,
        .failing_age_ms = failing_min < 0 ? HEALTH_NONE : failing_min * MINUTE,
    };
}

/* Ages in minutes; -1: nothing. Returns how many subscriptions were disabled. */
static int told(int number, int64_t success_min, int64_t failure_min, int64_t failing_min) {
    struct health_report one = report(number, success_min, failure_min, failing_min);
    struct result *disabled = NULL;
    ok(health_write(connection, &one, 1, LIMIT, &disabled, &error));
    int count = disabled ? result_rows(disabled) : 0;
    result_free(&disabled);
    return count;
}

/* The row in minutes of age: success, failure, failing since. */
static void expect_row(const char *wanted) {
    expect_sql("SELECT coalesce(round(extract(epoch FROM now() - last_success_at) / 60)::text, '-') || ' ' "
               "|| coalesce(round(extract(epoch FROM now() - last_failure_at) / 60)::text, '-') || ' ' "
               "|| coalesce(round(extract(epoch FROM now() - failing_since) / 60)::text, '-') FROM health",
               wanted);
}

static void test_merging(void **state) {
    (void)state;
    add_subscription(1, "NULL");
    told(1, 40, -1, -1);
    expect_row("40 - -");
    told(1, -1, 30, 30);
    expect_row("40 30 30");
    told(1, -1, 20, 32); /* another process saw an earlier failure */
    expect_row("40 20 32");
    told(1, -1, 25, 25); /* what is older changes nothing */
    expect_row("40 20 32");
    told(1, 45, -1, -1);
    expect_row("40 20 32");
    told(1, 31, -1, -1); /* a success in between: the first failure after it is not known, the last one is */
    expect_row("31 20 20");
    told(1, 10, -1, -1);
    expect_row("10 20 -");
    told(1, -1, 5, 32); /* a process that has not heard of that success */
    expect_row("10 5 5");
    told(1, 1, 2, -1);
    expect_row("1 2 -");
    expect_sql(OUTBOX, "");
}

static void test_failing_then_disabled(void **state) {
    (void)state;
    add_subscription(1, "'ann@example.org'");
    assert_int_equal(told(1, -1, 150, 199), 0); /* 49 minutes of failure */
    expect_sql(OUTBOX, "");
    assert_int_equal(told(1, -1, 149, 199), 0);
    expect_sql(OUTBOX, "failing");
    assert_int_equal(told(1, -1, 120, 199), 0); /* once */
    expect_sql(OUTBOX, "failing");
    expect_sql(STATUS, "active");
    assert_int_equal(told(1, -1, 99, 199), 1);
    expect_sql(OUTBOX, "failing disabled");
    expect_sql(STATUS, "disabled");
    expect_sql("SELECT disabled_reason = 'every attempt since ' || to_char(failing_since AT TIME ZONE 'UTC', "
               "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') || ' failed' FROM subscriptions, health",
               "t");
    expect_sql(MAILS, "ann@example.org subscription.failing, ann@example.org subscription.disabled");
    expect_sql("SELECT (payload ->> 'failing_since')::int8 = floor(extract(epoch FROM failing_since) * 1000)::int8 "
               "OR (payload ->> 'failing_since')::int8 = ceil(extract(epoch FROM failing_since) * 1000)::int8 "
               "FROM outbox, health WHERE event_type LIKE '%disabled'",
               "t");
    assert_int_equal(told(1, -1, 98, 199), 0); /* what was still under way */
    expect_sql(OUTBOX, "failing disabled");
}

/* Without traffic nothing is disabled: time counts from failure to failure. */
static void test_no_traffic_says_nothing(void **state) {
    (void)state;
    add_subscription(1, "NULL");
    told(1, -1, 100000, 100000);
    assert_int_equal(told(1, -1, 99951, 100000), 0);
    expect_sql(OUTBOX, "");
}

static void test_at_once_past_the_limit(void **state) {
    (void)state;
    add_subscription(1, "NULL");
    assert_int_equal(told(1, -1, 0, 500), 1); /* a disabled one is not warned of besides */
    expect_sql(OUTBOX, "disabled");
    expect_sql("SELECT count(*) FROM mails", "0");
}

static void test_recovered(void **state) {
    (void)state;
    add_subscription(1, "'ann@example.org'");
    told(1, 300, 30, 90);
    expect_sql(OUTBOX, "failing");
    told(1, 300, -1, -1); /* an older success that came late */
    expect_sql(OUTBOX, "failing");
    exec_sql("UPDATE health SET warned_at = now() - interval '20 minutes'");
    told(1, 10, -1, -1);
    expect_sql(OUTBOX, "failing recovered");
    expect_sql(MAILS, "ann@example.org subscription.failing, ann@example.org subscription.recovered");
    told(1, 5, -1, -1);
    expect_sql(OUTBOX, "failing recovered");
    told(1, -1, 4, 4); /* failed for a moment: nobody was warned, nobody is told */
    told(1, 3, -1, -1);
    expect_sql(OUTBOX, "failing recovered");
    expect_row("3 4 -");
}

static void test_revived(void **state) {
    (void)state;
    add_subscription(1, "NULL");
    told(1, -1, 0, 500);
    expect_sql(STATUS, "disabled");
    exec_sql("UPDATE subscriptions SET status = 'active'");
    expect_row("- 0 -");
    assert_int_equal(told(1, -1, 0, 500), 0); /* who has not heard of it yet still counts from long ago */
    expect_sql(STATUS, "active");
    exec_sql("UPDATE health SET warned_at = now() - interval '2 minutes'");
    told(1, 0, -1, -1);
    expect_sql(OUTBOX, "disabled recovered");
}

static void test_deleted_ones(void **state) {
    (void)state;
    add_subscription(1, "NULL");
    add_subscription(2, "NULL");
    told(1, 1, -1, -1);
    told(2, 1, -1, -1);
    exec_sql("UPDATE subscriptions SET status = 'deleted' WHERE id = '00000000-0000-7000-8000-000000000001'");
    ok(health_purge(connection, &error));
    expect_sql("SELECT string_agg(right(subscription_id::text, 1), '') FROM health", "2");
    told(1, 1, -1, -1);
    told(3, 1, -1, -1);
    expect_sql("SELECT string_agg(right(subscription_id::text, 1), '') FROM health", "2");
}

/* Many at once, some of which are due for something. */
static void test_many(void **state) {
    (void)state;
    struct health_report reports[200];
    struct result *disabled = NULL;
    for (int i = 0; i < 200; i++) {
        add_subscription(i + 1, "NULL");
        reports[199 - i] = report(i + 1, 1000, 0, i < 50 ? 120 : i < 100 ? 60 : 10);
    }
    ok(health_write(connection, reports, 200, LIMIT, &disabled, &error));
    assert_int_equal(result_rows(disabled), 50);
    result_free(&disabled);
    expect_sql("SELECT count(*) FROM subscriptions WHERE status = 'disabled'", "50");
    expect_sql("SELECT string_agg(n::text, ' ' ORDER BY event_type) FROM "
               "(SELECT event_type, count(*) AS n FROM outbox GROUP BY 1) t",
               "50 50");
}

/* A row that somebody holds makes it wait no longer than it may, and nothing is half done. */
static void test_a_locked_row(void **state) {
    (void)state;
    struct connection *other = pg_fixture_connect(database);
    add_subscription(1, "NULL");
    told(1, -1, 200, 200);
    exec_sql("SET lock_timeout = '100ms'");
    pg_fixture_exec(other, "BEGIN");
    pg_fixture_exec(other, "UPDATE subscriptions SET name = 'x'");
    struct health_report one = report(1, -1, 0, 200);
    struct result *disabled = NULL;
    assert_int_equal(health_write(connection, &one, 1, LIMIT, &disabled, &error), STATUS_CONFLICT);
    assert_null(disabled);
    expect_row("- 200 200");
    pg_fixture_exec(other, "COMMIT");
    assert_int_equal(told(1, -1, 0, 200), 1);
    connection_free(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_merging),
        STORE_TEST(test_failing_then_disabled),
        STORE_TEST(test_no_traffic_says_nothing),
        STORE_TEST(test_at_once_past_the_limit),
        STORE_TEST(test_recovered),
        STORE_TEST(test_revived),
        STORE_TEST(test_deleted_ones),
        STORE_TEST(test_many),
        STORE_TEST(test_a_locked_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
