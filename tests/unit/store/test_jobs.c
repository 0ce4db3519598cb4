#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resend_fixture.h"
#include "webhook/subscription.h"
#include <pthread.h>

static struct uuid last_id(const char *sql) {
    struct uuid id;
    ok(uuid_parse(span_of(pg_fixture_ask(connection, sql)), &id));
    return id;
}

/* ---- for the API ---- */

static void test_a_job_is_shown_as_it_was_asked_for(void **state) {
    (void)state;
    struct uuid subscription = numbered_uuid(1);
    struct job_new new = {.id = numbered_uuid(9),
                          .workspace_id = W1,
                          .kind = SPAN_LITERAL("recover"),
                          .subscription_id = &subscription,
                          .since_ms = 1700000000123,
                          .request = SPAN_LITERAL("{\"include\": [\"failed\"]}")};
    struct result *rows = NULL;
    enum job_made made;
    struct job_row row;
    ok(jobs_create(connection, &new, &made, &rows, &error));
    assert_int_equal(made, JOB_MADE);
    jobs_row_read(rows, 0, &row);
    assert_true(uuid_equal(&row.id, &new.id));
    assert_true(span_is(row.kind, "recover") && span_is(row.state, "waiting"));
    assert_true(span_is(row.request, "{\"include\": [\"failed\"]}"));
    assert_int_equal(row.since_ms, 1700000000123);
    assert_int_equal(row.until_ms, row.created_at_ms);
    assert_int_equal(row.total, -1);
    assert_true(row.done == 0 && row.failed == 0 && !row.error.data && !row.started_at_ms && !row.finished_at_ms);
    result_free(&rows);
    ok(jobs_get(connection, W1, &new.id, &rows, &error));
    result_free(&rows);
    assert_int_equal(jobs_get(connection, SPAN_LITERAL("w2"), &new.id, &rows, &error), STATUS_NOT_FOUND);
}

static void test_one_recover_of_a_subscription(void **state) {
    (void)state;
    struct uuid subscription = numbered_uuid(1), other = numbered_uuid(2);
    struct uuid first = make_job("recover", &subscription, "{\"include\":[\"failed\"]}");
    struct job_new second = {.id = uuid_new(clock_wall_ms()),
                             .workspace_id = W1,
                             .kind = SPAN_LITERAL("recover"),
                             .subscription_id = &subscription,
                             .request = SPAN_LITERAL("{}")};
    struct result *rows = NULL;
    enum job_made made;
    struct job_row row;
    ok(jobs_create(connection, &second, &made, &rows, &error));
    assert_int_equal(made, JOB_IN_THE_WAY);
    jobs_row_read(rows, 0, &row);
    assert_true(uuid_equal(&row.id, &first));
    result_free(&rows);
    make_job("recover", &other, "{}");
    make_job("replay", &subscription, "{}");
    exec_sql("UPDATE jobs SET state = 'done' WHERE state = 'waiting'");
    make_job("recover", &subscription, "{}");
}

static void test_cancelling(void **state) {
    (void)state;
    bool was_over = true;
    struct uuid id = make_job("replay", NULL, "{}");
    assert_int_equal(jobs_cancel(connection, SPAN_LITERAL("w2"), &id, &was_over, &error), STATUS_NOT_FOUND);
    ok(jobs_cancel(connection, W1, &id, &was_over, &error));
    assert_false(was_over);
    ok(jobs_cancel(connection, W1, &id, &was_over, &error));
    assert_false(was_over);
    assert_false(do_step(&OWNER, 10, 10, true));
    exec_sql("UPDATE jobs SET state = 'done'");
    ok(jobs_cancel(connection, W1, &id, &was_over, &error));
    assert_true(was_over);
    expect_sql("SELECT state FROM jobs", "done");
}

/* Whoever is at it has the row until its piece is written; then nothing more is done. */
static void *cancel_it(void *ctx) {
    struct connection *own = pg_fixture_connect(database);
    struct error why;
    bool was_over = true;
    CHECK(jobs_cancel(own, W1, ctx, &was_over, &why) == STATUS_OK && !was_over);
    connection_free(&own);
    return NULL;
}

static void test_cancelling_in_the_middle_of_a_piece(void **state) {
    (void)state;
    struct job job;
    struct result *rows = NULL;
    pthread_t canceller;
    struct uuid id = make_job("replay", NULL, "{}");
    exec_sql("BEGIN");
    ok(jobs_take(connection, &OWNER, 10000, &job, &rows, &error));
    assert_int_equal(pthread_create(&canceller, NULL, cancel_it, &id), 0);
    struct connection *watch = pg_fixture_connect(database);
    pg_fixture_wait(watch, "SELECT count(*) FROM pg_locks WHERE NOT granted", "1");
    connection_free(&watch);
    ok(jobs_advance(connection, &job, &job.position, JOB_NEXT_GOES_ON, 7, 0, &error));
    exec_sql("COMMIT");
    pthread_join(canceller, NULL);
    result_free(&rows);
    expect_sql("SELECT state || ' ' || done FROM jobs", "cancelled 7");
    assert_false(do_step(&OWNER, 10, 10, true));
}

static void test_a_row_of_the_log_is_found_by_its_id(void **state) {
    (void)state;
    struct job_delivery delivery;
    struct result *rows = NULL;
    exec_sql("SELECT put_logs(1, 40, '" ONE "', 'failed')");
    struct uuid id = last_id("SELECT id FROM delivery_logs WHERE event_key = ev(17)");
    ok(jobs_find_log(connection, W1, &id, &delivery, &rows, &error));
    struct uuid one = numbered_uuid(1);
    assert_true(uuid_equal(&delivery.subscription_id, &one));
    assert_true(span_is(delivery.subscription_status, "active") && !delivery.test);
    result_free(&rows);
    /* Its day's bounds have moved it a little. */
    exec_sql("UPDATE delivery_logs SET created_at = created_at + interval '900 ms'");
    ok(jobs_find_log(connection, W1, &id, &delivery, &rows, &error));
    result_free(&rows);
    assert_int_equal(jobs_find_log(connection, SPAN_LITERAL("w2"), &id, &delivery, &rows, &error), STATUS_NOT_FOUND);
    struct uuid unknown = uuid_new(clock_wall_ms()), no_time = {{0}};
    assert_int_equal(jobs_find_log(connection, W1, &unknown, &delivery, &rows, &error), STATUS_NOT_FOUND);
    assert_int_equal(jobs_find_log(connection, W1, &no_time, &delivery, &rows, &error), STATUS_NOT_FOUND);
    exec_sql("UPDATE subscriptions SET status = 'deleted'");
    ok(jobs_find_log(connection, W1, &id, &delivery, &rows, &error));
    assert_null(delivery.subscription_status.data);
    result_free(&rows);
}

/* ---- for the thread ---- */

static struct job take(const struct uuid *owner, enum status wanted) {
    struct job job = {.state = JOB_COUNTING};
    struct result *rows = NULL;
    assert_int_equal(jobs_take(connection, owner, 60000, &job, &rows, &error), wanted);
    job.workspace_id = job.since = job.until = job.subscription_status = SPAN_NONE; /* they point into the rows */
    result_free(&rows);
    return job;
}

static void test_a_lease_keeps_others_away_until_it_ends(void **state) {
    (void)state;
    make_job("replay", NULL, "{}");
    take(&OWNER, STATUS_OK);
    take(&OTHER_OWNER, STATUS_NOT_FOUND);
    take(&OWNER, STATUS_OK);
    exec_sql("UPDATE jobs SET lease_until = now() - interval '1 ms'");
    take(&OTHER_OWNER, STATUS_OK);
    take(&OWNER, STATUS_NOT_FOUND);
    expect_sql("SELECT state || ' ' || (lease_until > now() + interval '50 s')::text FROM jobs", "counting true");
}

static void test_jobs_take_turns(void **state) {
    (void)state;
    struct uuid ids[3], order[6];
    for (int i = 0; i < 3; i++)
        ids[i] = make_job("replay", NULL, "{}");
    for (int i = 0; i < 6; i++) {
        struct job job = take(&OWNER, STATUS_OK);
        order[i] = job.id;
        ok(jobs_advance(connection, &job, &job.position, JOB_NEXT_GOES_ON, 1, 0, &error));
    }
    for (int i = 0; i < 6; i++)
        assert_true(uuid_equal(&order[i], &ids[i % 3]));
    ok(jobs_pause(connection, &ids[0], 60000, &error));
    for (int i = 0; i < 4; i++) {
        struct job job = take(&OWNER, STATUS_OK);
        assert_true(uuid_equal(&job.id, &ids[1 + i % 2]));
        ok(jobs_advance(connection, &job, &job.position, JOB_NEXT_GOES_ON, 1, 0, &error));
    }
}

static void test_positions_come_back(void **state) {
    (void)state;
    make_job("replay", NULL, "{}");
    struct job job = take(&OWNER, STATUS_OK);
    assert_true(job.position.source == 0 && job.position.at[0] == '\0' && uuid_is_nil(&job.position.id));
    struct job_position there = {1, "2026-01-02 03:04:05.678901+00", numbered_uuid(5), 1234567890123};
    ok(jobs_advance(connection, &job, &there, JOB_NEXT_GOES_ON, 0, 0, &error));
    job = take(&OWNER, STATUS_OK);
    assert_int_equal(job.state, JOB_COUNTING);
    assert_int_equal(job.position.source, 1);
    assert_string_equal(job.position.at, there.at);
    assert_true(uuid_equal(&job.position.id, &there.id));
    assert_int_equal(job.position.tally, there.tally);
    ok(jobs_advance(connection, &job, &there, JOB_NEXT_COUNTED, 0, 0, &error));
    job = take(&OWNER, STATUS_OK);
    assert_int_equal(job.state, JOB_RUNNING);
    assert_true(job.position.source == 0 && job.position.at[0] == '\0' && job.position.tally == 0);
    expect_sql("SELECT total FROM jobs", "1234567890123");
    ok(jobs_advance(connection, &job, &there, JOB_NEXT_DONE, 40, 2, &error));
    expect_sql("SELECT concat_ws(' ', state, done, failed, error IS NOT NULL, finished_at >= started_at) FROM jobs",
               "done 40 2 t t");
    take(&OWNER, STATUS_NOT_FOUND);
}

static void test_what_the_database_refuses_is_given_up_after_some_tries(void **state) {
    (void)state;
    struct uuid id = make_job("replay", NULL, "{}");
    for (int i = 1; i <= JOBS_MAX_TRIES; i++) {
        expect_sql("SELECT count(*) FROM jobs WHERE state = 'waiting'", "1");
        ok(jobs_refused(connection, &id, "a reason", &error));
        take(&OWNER, STATUS_NOT_FOUND);
    }
    expect_sql("SELECT state || ' ' || error FROM jobs", "failed a reason");
}

static void test_filters_come_back(void **state) {
    (void)state;
    struct job job;
    struct result *rows = NULL;
    make_job("replay", NULL,
             "{\"status_code\":\"4xx\",\"event_id\":\"e\",\"given_up\":false,"
             "\"batch_id\":\"" ONE "\"}");
    ok(jobs_take(connection, &OWNER, 60000, &job, &rows, &error));
    struct uuid one = numbered_uuid(1);
    assert_true(job.filter.status_low == 400 && job.filter.status_high == 499 && job.filter.given_up == 0);
    assert_true(span_is(job.filter.event_id, "e") && uuid_equal(&job.filter.batch_id, &one));
    assert_true(!job.filter.event_type.data && !job.filter.error_code.data && uuid_is_nil(&job.filter.log_id));
    assert_true(!job.one_subscription && job.kind == JOB_REPLAY);
    result_free(&rows);
}

/* A request that the API would never have written is its own job's trouble. */
static void test_what_cannot_be_read_is_wrong_for_its_job_alone(void **state) {
    (void)state;
    static const char *const WRONG[] = {
        "{\"batch_id\":\"no uuid\"}", "{\"log_id\":7}",         "{\"given_up\":\"perhaps\"}",
        "{\"status_code\":\"5x\"}",   "{\"status_code\":\"\"}", "{\"status_code\":[1,2]}",
    };
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(*WRONG); i++) {
        struct uuid id = make_job("replay", NULL, WRONG[i]);
        struct job job = take(&OWNER, STATUS_OK);
        assert_true(uuid_equal(&job.id, &id));
        assert_non_null(job.wrong);
        ok(jobs_fail(connection, &id, job.wrong, &error));
    }
    static const char *const POSITIONS[] = {
        "{\"source\":\"x\"}",
        "{\"source\":2}",
        "{\"id\":\"x\"}",
        "{\"tally\":\"-\"}",
        "{\"tally\":99999999999999999999}",
        "{\"at\":\"a text that is longer than any timestamp would ever be\"}",
    };
    for (size_t i = 0; i < sizeof(POSITIONS) / sizeof(*POSITIONS); i++) {
        char sql[256];
        struct uuid id = make_job("replay", NULL, "[]");
        snprintf(sql, sizeof(sql), "UPDATE jobs SET position = '%s' WHERE state = 'waiting'", POSITIONS[i]);
        exec_sql(sql);
        assert_non_null(take(&OWNER, STATUS_OK).wrong);
        ok(jobs_fail(connection, &id, "wrong", &error));
    }
    make_job("replay", NULL, "{\"status_code\":503,\"given_up\":null}");
    assert_null(take(&OWNER, STATUS_OK).wrong);
}

/* Whoever sends again must never take an export for a replay; nor may the program of before, which looks at next_at. */
static void test_exports_are_not_taken(void **state) {
    (void)state;
    exec_sql("INSERT INTO jobs (id, workspace_id, kind, since, until, request, next_at) VALUES ('" ONE
             "', 'w1', 'export', now(), now(), '{}', 'infinity')");
    take(&OWNER, STATUS_NOT_FOUND);
    expect_sql("SELECT count(*) FROM jobs WHERE next_at <= now() + interval '1000 years'", "0");
    struct error refused;
    assert_int_equal(connection_exec(connection, "UPDATE jobs SET next_at = now()", &refused), STATUS_FAILED);
}

static void test_old_jobs_are_forgotten(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++)
        make_job("replay", NULL, "{}");
    exec_sql("UPDATE jobs SET state = 'done', finished_at = now() - interval '1 h' WHERE id IN (SELECT id FROM jobs "
             "LIMIT 3)");
    ok(jobs_purge(connection, 2 * 3600 * 1000, 10, &error));
    expect_sql("SELECT count(*) FROM jobs", "4");
    ok(jobs_purge(connection, 1000, 2, &error));
    expect_sql("SELECT count(*) FROM jobs", "2");
    ok(jobs_purge(connection, 1000, 10, &error));
    expect_sql("SELECT string_agg(state, '') FROM jobs", "waiting");
}

/* ---- what the database computes ---- */

/* Rows that the server makes lie in the bucket in which the schedulers look for them. */
static void test_buckets_are_those_of_the_program(void **state) {
    (void)state;
    unsigned seed = 11;
    static const char LETTERS[] = "abcXYZ019_-. \xc3\xa9";
    struct params params;
    struct result *rows = NULL;
    static const struct statement BUCKET = {"SELECT schedule_bucket($1, $2)"};
    params_init(&params);
    for (int i = 0; i < 2000; i++) {
        char workspace[64];
        size_t len = (size_t)rand_r(&seed) % 40;
        struct uuid id;
        for (size_t n = 0; n < len; n++)
            workspace[n] = LETTERS[(size_t)rand_r(&seed) % (sizeof(LETTERS) - 3)];
        if (i % 5 == 0) {
            memcpy(workspace + len, "\xc3\xa9", 2);
            len += 2;
        }
        for (size_t n = 0; n < sizeof(id.bytes); n++)
            id.bytes[n] = (uint8_t)rand_r(&seed);
        params_reset(&params);
        params_text(&params, (struct span){workspace, len});
        params_uuid(&params, &id);
        ok(connection_run(connection, &BUCKET, &params, &rows, &error));
        assert_int_equal(result_int(rows, 0, 0), subscription_bucket((struct span){workspace, len}, &id));
        result_free(&rows);
    }
    params_deinit(&params);
}

static void test_row_keys_are_of_purpose_scope_and_event(void **state) {
    (void)state;
    expect_sql("SELECT count(DISTINCT resend_key(p, log_id(s), ev(e))) FROM unnest(ARRAY['recover', 'replay']) p, "
               "generate_series(1, 30) s, generate_series(1, 30) e",
               "1800");
    expect_sql("SELECT resend_key('recover', '" ONE "', '" TWO "') = resend_key('recover', '" ONE "', '" TWO "')", "t");
    expect_sql("SELECT bool_and(resend_key('recover', ev(n), ev(n))::text LIKE '________-____-8___-8___-____________') "
               "FROM generate_series(1, 100) n",
               "t");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RESEND_TEST(test_a_job_is_shown_as_it_was_asked_for),
        RESEND_TEST(test_one_recover_of_a_subscription),
        RESEND_TEST(test_cancelling),
        RESEND_TEST(test_cancelling_in_the_middle_of_a_piece),
        RESEND_TEST(test_a_row_of_the_log_is_found_by_its_id),
        RESEND_TEST(test_a_lease_keeps_others_away_until_it_ends),
        RESEND_TEST(test_jobs_take_turns),
        RESEND_TEST(test_positions_come_back),
        RESEND_TEST(test_what_the_database_refuses_is_given_up_after_some_tries),
        RESEND_TEST(test_filters_come_back),
        RESEND_TEST(test_what_cannot_be_read_is_wrong_for_its_job_alone),
        RESEND_TEST(test_exports_are_not_taken),
        RESEND_TEST(test_old_jobs_are_forgotten),
        RESEND_TEST(test_buckets_are_those_of_the_program),
        RESEND_TEST(test_row_keys_are_of_purpose_scope_and_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
