/* A migrated database with days, two subscriptions of the workspace w1, and SQL to put events and rows of the log
 * there. Includes store_fixture.h; include it after cmocka.h. */
#ifndef TEST_RESEND_FIXTURE_H
#define TEST_RESEND_FIXTURE_H

#include "base/clock.h"
#include "store/partitions.h"
#include "store/resend.h"
#include "store_fixture.h"

#define ONE "00000000-0000-7000-8000-000000000001"
#define TWO "00000000-0000-7000-8000-000000000002"
#define W1 SPAN_LITERAL("w1")

static const struct uuid OWNER = {{0xaa}}, OTHER_OWNER = {{0xbb}};

/* ev(n): the key of event n. at(ms): a moment of today or yesterday, and ms after it. */
static inline int resend_open(void **state) {
    store_open(state);
    ok(partitions_ensure(connection, &error));
    exec_sql(
        "CREATE TABLE t (start timestamptz); INSERT INTO t VALUES (date_trunc('minute', now()) - interval '20 min');"
        "CREATE FUNCTION at(ms bigint) RETURNS timestamptz STABLE LANGUAGE sql AS "
        "  'SELECT start + ms * interval ''1 ms'' FROM t';"
        "CREATE FUNCTION ev(n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql AS "
        "  $$SELECT ('018bcfe5-6800-8000-8000-' || lpad(to_hex(n), 12, '0'))::uuid$$;"
        "CREATE FUNCTION log_id(ms bigint) RETURNS uuid STABLE LANGUAGE sql AS $$SELECT overlay(overlay(encode("
        "  substr(int8send((extract(epoch FROM at(ms)) * 1000)::bigint), 3) || substr(uuid_send(gen_random_uuid()), "
        "7), "
        "  'hex') PLACING '7' FROM 13) PLACING '8' FROM 17)::uuid$$;"
        "CREATE FUNCTION put_events(first int, last int, skipped uuid[] DEFAULT NULL) RETURNS void LANGUAGE sql AS $$"
        "  INSERT INTO events SELECT at(n), ev(n), 'w1', 'e' || n, 'order.made', at(n), 'events.order.made', n % 4, n, "
        "  at(n), 'k'::bytea, '{\"traceparent\":\"00-1-2-01\"}', convert_to('{\"payload\":' || n || '}', 'UTF8'), "
        "  skipped FROM generate_series(first, last) n$$;"
        "CREATE FUNCTION put_logs(first int, last int, sub uuid, status text, gave_up bool DEFAULT false, "
        "  after_ms int DEFAULT 0, code int DEFAULT 503, workspace text DEFAULT 'w1') RETURNS void LANGUAGE sql AS $$"
        "  INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, "
        "  webhook_url, delivery_status, status_code, error_code, attempt, given_up) SELECT at(n + after_ms), "
        "  log_id(n + after_ms), workspace, ev(n), 'e' || n, sub, 'order.made', 'https://example.com/', status, code, "
        "  CASE WHEN status <> 'success' THEN 'http_status' END, 1, gave_up FROM generate_series(first, last) n$$;"
        "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types) VALUES "
        "  ('w1', '" ONE "', 'https://example.com/1', '{*}'), ('w1', '" TWO "', 'https://example.com/2', '{*}')");
    return 0;
}

#define RESEND_TEST(test) cmocka_unit_test_setup_teardown(test, resend_open, store_close)

/* A job about the last and the next hour. */
static inline struct uuid make_job(const char *kind, const struct uuid *subscription, const char *request) {
    struct job_new job = {.id = uuid_new(clock_wall_ms()),
                          .workspace_id = W1,
                          .kind = span_of(kind),
                          .subscription_id = subscription,
                          .since_ms = clock_wall_ms() - 3600 * 1000,
                          .until_ms = clock_wall_ms() + 3600 * 1000,
                          .request = span_of(request)};
    struct result *rows = NULL;
    enum job_made made;
    ok(jobs_create(connection, &job, &made, &rows, &error));
    assert_int_equal(made, JOB_MADE);
    result_free(&rows);
    return job.id;
}

static inline struct uuid recover_job(const char *include) {
    char request[64];
    struct uuid subscription = numbered_uuid(1);
    snprintf(request, sizeof(request), "{\"include\":%s}", include);
    return make_job("recover", &subscription, request);
}

/* One step, as the jobs thread does it; false: there is no job. */
static inline bool do_step(const struct uuid *owner, int window, int max, bool commit) {
    struct job job;
    struct result *rows = NULL;
    struct resend_page page = {.keys = NULL};
    struct resend_made made = {0};
    int64_t count = 0;
    ok(resend_begin(connection, &error));
    enum status status = jobs_take(connection, owner, 10000, &job, &rows, &error);
    if (status == STATUS_NOT_FOUND) {
        exec_sql("ROLLBACK");
        return false;
    }
    ok(status);
    ok(resend_read(connection, &job, window, max, &page, &error));
    assert_in_range(page.count, 0, max);
    if (job.state == JOB_COUNTING) {
        ok(resend_count(connection, &job, &page, &count, &error));
        page.next.tally = job.position.tally + count;
        ok(jobs_advance(connection, &job, &page.next, page.end ? JOB_NEXT_COUNTED : JOB_NEXT_GOES_ON, 0, 0, &error));
    } else {
        ok(resend_make(connection, &job, &page, &made, &error));
        ok(jobs_advance(connection, &job, &page.next, page.end ? JOB_NEXT_DONE : JOB_NEXT_GOES_ON, made.done,
                        made.failed, &error));
    }
    exec_sql(commit ? "COMMIT" : "ROLLBACK");
    resend_page_deinit(&page);
    result_free(&rows);
    return true;
}

static inline void do_all(int window, int max) {
    int steps = 0;
    while (do_step(&OWNER, window, max, true))
        assert_true(++steps < 20000);
}

/* "state total/done/failed" of the newest job. */
static inline void expect_job(const char *wanted) {
    expect_sql("SELECT concat(state, ' ', total, '/', done, '/', failed) FROM jobs ORDER BY created_at DESC LIMIT 1",
               wanted);
}

#endif
