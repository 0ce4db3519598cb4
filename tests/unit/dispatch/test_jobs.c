/* Steps of the jobs thread, one at a time, against a real PostgreSQL. */
#include "dispatch/jobs_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"
#include "db/migrate.h"
#include "dispatch_fixture.h"
#include "store/partitions.h"
#include "webhook/batch.h"

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

static int open_jobs(void **state) {
    (void)state;
    database = pg_fixture_database();
    connection = pg_fixture_connect(database);
    ok(migrate_run(connection, pg_fixture_sql(), NULL, NULL, NULL, &error));
    ok(partitions_ensure(connection, &error));
    settings = (struct settings){.database_url = database, .topic_prefix = "events.", .disable_after_ms = 600000};
    roster = roster_new();
    jobs = jobs_new(&(struct jobs_settings){.settings = &settings, .roster = roster});
    ok(connection_open(jobs->connection, 5000, &error));
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

static void expect_sql(const char *sql, const char *wanted) {
    const char *got = pg_fixture_ask(connection, sql);
    if (strcmp(got, wanted) != 0)
        fail_msg("%s: %s, expected %s", sql, got, wanted);
}

/* The roster has so many subscriptions that take everything. */
static void subscribe(int count) {
    struct matching *matching = matching_new((size_t)count);
    for (int i = 0; i < count; i++)
        matching_put_take(matching, fixture_subscription(i + 1, "http://127.0.0.1/"));
    roster_replace_take(roster, matching);
}

static void tell(int count) {
    char sql[256];
    snprintf(sql, sizeof(sql),
             "INSERT INTO outbox (workspace_id, event_type, payload) SELECT '" WORKSPACE "', "
             "'order.created', '{}' FROM generate_series(1, %d)",
             count);
    pg_fixture_exec(connection, sql);
}

static bool bring(void) {
    bool more = false;
    ok(jobs_outbox(jobs, &more, &error));
    return more;
}

static void test_nothing_is_brought_before_who_subscribes_is_known(void **state) {
    (void)state;
    tell(1);
    assert_false(bring());
    expect_sql("SELECT count(*) FROM outbox", "1");
    subscribe(1);
    assert_false(bring());
    expect_sql("SELECT count(*) FROM outbox", "0");
    expect_sql("SELECT count(*) FROM schedule", "1");
    expect_sql("SELECT s.due_at <= clock_timestamp() AND s.topic = 'events.order.created' AND s.part = -1 "
               "AND s.row_key = s.event_key AND s.event_key = e.event_key AND s.attempt = 1 FROM schedule s, events e",
               "t");
}

static void test_what_nobody_takes_is_gone(void **state) {
    (void)state;
    subscribe(0);
    tell(3);
    assert_false(bring());
    expect_sql("SELECT count(*) FROM outbox", "0");
    expect_sql("SELECT count(*) FROM events", "0");
}

/* The closer knows where its members begin, and by which limits its batch is full. */
static void test_members_of_a_batch(void **state) {
    (void)state;
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.delivery_mode = DELIVERY_BATCHED;
    struct subscription *subscription = fixture_subscription_of(&spec, NULL);
    struct matching *matching = matching_new(1);
    atomic_store(&subscription->gate->batch_growth, 2 * 1000);
    struct batch_limits limits = batch_limits_of(subscription);
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "101 2 %d %lld", limits.max_events, (long long)limits.max_bytes);
    assert_true(limits.max_bytes < subscription->batch_max_bytes);
    matching_put_take(matching, subscription);
    roster_replace_take(roster, matching);
    pg_fixture_exec(connection, "SELECT setval('batch_members_seq_seq', 100)");
    tell(2);
    assert_false(bring());
    expect_sql("SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM batch_members", "101 102");
    expect_sql("SELECT concat_ws(' ', record_offset, members, attempt, part) FROM schedule WHERE kind = 2", wanted);
}

/* So many gather one long event that their rows together are more than any buffer holds: they go in pieces. */
static void test_members_of_many(void **state) {
    (void)state;
    enum { MANY = 320 };
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.delivery_mode = DELIVERY_BATCHED;
    struct matching *matching = matching_new(MANY);
    for (int i = 0; i < MANY; i++) {
        spec.id = fixture_uuid(MANY - i);
        matching_put_take(matching, fixture_subscription_of(&spec, NULL));
    }
    roster_replace_take(roster, matching);
    pg_fixture_exec(connection, "INSERT INTO outbox (workspace_id, event_type, payload) SELECT '" WORKSPACE
                                "', 'order.created', jsonb_build_object('n', n, 'long', repeat('x', 450000)) "
                                "FROM generate_series(1, 2) n");
    assert_false(bring());
    expect_sql("SELECT count(*) FROM outbox", "0");
    expect_sql("SELECT count(*) || ' ' || sum(bytes) / min(bytes) FROM batch_members", "640 640");
    /* Each has a closer that knows its members, and they are in the order of the events. */
    expect_sql("SELECT count(*) FROM schedule s WHERE kind = 2 AND members = 2 AND record_offset = "
               "(SELECT min(seq) FROM batch_members) AND member_bytes = (SELECT sum(m.bytes) FROM batch_members m "
               "WHERE m.subscription_id = s.subscription_id)",
               "320");
    expect_sql("SELECT count(*) FROM batch_members a JOIN batch_members b USING (subscription_id) "
               "WHERE a.seq < b.seq AND a.record_offset < b.record_offset",
               "320");
}

/* A transaction stays bounded, however many subscribe. */
static void test_many_at_once(void **state) {
    (void)state;
    subscribe(6000);
    tell(3);
    assert_true(bring());
    expect_sql("SELECT count(*) FROM outbox", "1");
    expect_sql("SELECT count(*) FROM schedule", "12000");
    assert_false(bring());
    expect_sql("SELECT count(*) FROM outbox", "0");
    expect_sql("SELECT count(*) FROM schedule", "18000");
    subscribe(1);
    tell(60);
    assert_true(bring());
    expect_sql("SELECT count(*) FROM outbox", "10");
    assert_false(bring());
}

/* What somebody else brings is left to him. */
static void test_rows_of_others(void **state) {
    (void)state;
    subscribe(1);
    tell(2);
    pg_fixture_exec(connection, "BEGIN");
    pg_fixture_exec(connection, "SELECT FROM outbox WHERE id = 1 FOR UPDATE");
    assert_false(bring());
    expect_sql("SELECT string_agg(id::text, ' ') FROM outbox", "1");
    pg_fixture_exec(connection, "COMMIT");
    assert_false(bring());
    expect_sql("SELECT count(*) FROM schedule", "2");
}

/* What the database refuses keeps nothing else from being done. */
static void test_what_is_refused_keeps_nothing_else(void **state) {
    (void)state;
    bool more = false;
    subscribe(1);
    tell(1);
    pg_fixture_exec(connection, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                                "$$ BEGIN RAISE EXCEPTION 'not today'; END $$");
    pg_fixture_exec(connection, "CREATE TRIGGER refuse BEFORE INSERT ON schedule EXECUTE FUNCTION refuse()");
    pg_fixture_exec(connection, "INSERT INTO workspaces (id, erased_at) VALUES ('gone', now() - interval '1 hour')");
    ok(jobs_round(jobs, &more, &error));
    expect_sql("SELECT count(*) FROM outbox", "1");
    expect_sql("SELECT count(*) FROM workspaces WHERE id = 'gone'", "0");
    assert_true(jobs->steps[1].refused && jobs->steps[1].again_at_ms > clock_mono_ms());
    pg_fixture_exec(connection, "DROP TRIGGER refuse ON schedule");
    ok(jobs_round(jobs, &more, &error));
    expect_sql("SELECT count(*) FROM outbox", "1"); /* it has a pause */
    jobs->steps[1].again_at_ms = 0;
    ok(jobs_round(jobs, &more, &error));
    expect_sql("SELECT count(*) FROM outbox", "0");
    expect_sql("SELECT count(*) FROM schedule", "1");
    assert_false(jobs->steps[1].refused);
}

static void test_versions_that_no_log_needs_go(void **state) {
    (void)state;
    bool more = false;
    settings.retention_ms = 30 * 24 * 3600 * 1000LL;
    pg_fixture_exec(connection, "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types) "
                                "VALUES ('w', gen_random_uuid(), 'http://a/', '{*}')");
    pg_fixture_exec(connection, "UPDATE subscriptions SET created_by = 'u'");
    pg_fixture_exec(connection, "UPDATE render_versions SET created_at = now() - interval '33 days'");
    ok(jobs_health(jobs, &more, &error));
    expect_sql("SELECT string_agg(created_by, ',') FROM render_versions", "u");
}

static void report(struct subscription *subscription, int64_t success_ms, int64_t failure_ms, int64_t failing_ms) {
    struct health_message *message = mem_calloc(1, sizeof(*message));
    message->message.type = MESSAGE_HEALTH;
    message->subscription = subscription_ref(subscription);
    message->success_ms = success_ms;
    message->failure_ms = failure_ms;
    message->failing_since_ms = failing_ms;
    jobs_health_add(jobs, message);
}

static void test_reports_are_written_together(void **state) {
    (void)state;
    struct subscription *subscriptions[2] = {fixture_subscription(1, "http://a/"),
                                             fixture_subscription(2, "http://b/")};
    int64_t now_ms = clock_mono_ms();
    bool more = false;
    pg_fixture_exec(connection,
                    "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, render_version, xid) "
                    "SELECT '" WORKSPACE
                    "', ('00000000-0000-7000-8000-00000000000' || n)::uuid, 'http://x', '{*}', 0, '1' "
                    "FROM generate_series(1, 2) n");
    report(subscriptions[1], now_ms - 60000, 0, 0);
    report(subscriptions[0], 0, now_ms - 300000, now_ms - 300000);
    report(subscriptions[0], now_ms - 120000, 0, 0);
    report(subscriptions[0], 0, now_ms - 60000, now_ms - 60000);
    ok(jobs_health(jobs, &more, &error));
    assert_false(more);
    assert_int_equal(jobs->health_count, 0);
    expect_sql("SELECT string_agg(round(extract(epoch FROM now() - last_success_at) / 60) || ' ' "
               "|| coalesce(round(extract(epoch FROM now() - last_failure_at) / 60)::text, '-') || ' ' "
               "|| coalesce(round(extract(epoch FROM now() - failing_since) / 60)::text, '-'), ', ' "
               "ORDER BY subscription_id) FROM health",
               "2 1 1, 1 - -");
    report(subscriptions[0], 0, now_ms, now_ms - 60000);
    connection_close(jobs->connection);
    assert_int_equal(jobs_health(jobs, &more, &error), STATUS_UNAVAILABLE); /* kept for the next round */
    assert_int_equal(jobs->health_count, 1);
    for (int i = 0; i < JOBS_HEALTH_MAX + 10; i++)
        report(subscriptions[0], 0, now_ms, now_ms - 60000);
    assert_int_equal(jobs->health_count, JOBS_HEALTH_MAX);
    ok(connection_open(jobs->connection, 5000, &error));
    ok(jobs_health(jobs, &more, &error));
    assert_true(more);
    while (more) {
        more = false;
        ok(jobs_health(jobs, &more, &error));
    }
    assert_int_equal(jobs->health_count, 0);
    for (int i = 0; i < 2; i++)
        subscription_unref(&subscriptions[i]);
}

#define JOBS_TEST(test) cmocka_unit_test_setup_teardown(test, open_jobs, close_jobs)

int main(void) {
    const struct CMUnitTest tests[] = {
        JOBS_TEST(test_nothing_is_brought_before_who_subscribes_is_known),
        JOBS_TEST(test_what_nobody_takes_is_gone),
        JOBS_TEST(test_members_of_a_batch),
        JOBS_TEST(test_members_of_many),
        JOBS_TEST(test_many_at_once),
        JOBS_TEST(test_rows_of_others),
        JOBS_TEST(test_what_is_refused_keeps_nothing_else),
        JOBS_TEST(test_versions_that_no_log_needs_go),
        JOBS_TEST(test_reports_are_written_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
