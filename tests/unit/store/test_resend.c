#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resend_fixture.h"

/* ---- recover: failed ---- */

static void test_given_up_ones_are_made_as_they_were(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 3), put_logs(1, 3, '" ONE "', 'failed', true), put_logs(1, 3, '" TWO
             "', 'failed', true)");
    exec_sql("UPDATE subscriptions SET status = 'paused' WHERE id = '" ONE
             "'; UPDATE subscriptions SET status = 'active'");
    recover_job("[\"failed\"]");
    do_all(100, 10);
    expect_job("done 3/3/0");
    expect_sql("SELECT count(*) FROM schedule s JOIN events e USING (workspace_id, event_key) "
               "WHERE s.subscription_id = '" ONE "' AND s.kind = 0 AND s.replay AND s.attempt = 1 AND s.activation = 2 "
               "AND NOT s.held AND s.due_at <= now() AND s.lease_until IS NULL AND s.fence = 0 "
               "AND (s.topic, s.part, s.record_offset, s.record_time, s.record_key, s.headers, s.body) "
               "= (e.topic, e.part, e.record_offset, e.record_time, e.record_key, e.headers, e.body) "
               "AND s.row_key = resend_key('recover', s.subscription_id, s.event_key) "
               "AND s.bucket = schedule_bucket(s.workspace_id, s.subscription_id)",
               "3");
    expect_sql("SELECT count(*) FROM schedule", "3");
}

static void test_what_has_a_later_row_is_left_out(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 100), put_logs(1, 100, '" ONE "', 'failed', true)");
    exec_sql("SELECT put_logs(1, 10, '" ONE "', 'success', false, 5000, 200), " /* sent again since */
             "put_logs(11, 20, '" ONE "', 'failed', false, 5000), "             /* being sent again */
             "put_logs(21, 30, '" TWO "', 'success', false, 5000, 200), "       /* to somebody else */
             "put_logs(31, 40, '" ONE "', 'failed', true, 5000), "              /* given up twice */
             "put_logs(41, 50, '" ONE "', 'failed', false, -5000)");            /* earlier attempts */
    recover_job("[\"failed\"]");
    do_all(7, 3);
    expect_job("done 80/80/0");
    expect_sql("SELECT count(*) || ' ' || count(DISTINCT event_key) FROM schedule", "80 80");
    expect_sql("SELECT count(*) FROM schedule WHERE event_key <= ev(20)", "0");
}

static void test_only_the_time_asked_for(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 100), put_logs(1, 100, '" ONE "', 'failed', true)");
    recover_job("[\"failed\"]");
    exec_sql("UPDATE jobs SET since = at(30), until = at(40)");
    do_all(1000, 4);
    expect_job("done 10/10/0");
    expect_sql("SELECT count(*) = 10 FROM schedule WHERE event_key BETWEEN ev(30) AND ev(39)", "t");
}

static void test_not_of_another_workspace_nor_tests(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 20), put_logs(1, 10, '" ONE "', 'failed', true, 0, 503, 'w2'), "
             "put_logs(11, 20, '" ONE "', 'failed', true)");
    exec_sql("UPDATE delivery_logs SET test = true WHERE event_key > ev(15)");
    recover_job("[\"failed\"]");
    do_all(1000, 100);
    expect_job("done 5/5/0");
}

static void test_a_payload_that_is_gone_fails(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 10), put_logs(1, 30, '" ONE "', 'failed', true)");
    exec_sql("UPDATE events SET body = '' WHERE event_key = ev(3)");
    recover_job("[\"failed\"]");
    do_all(1000, 7);
    expect_job("done 30/9/21");
    expect_sql("SELECT count(*) FROM schedule", "9");
    expect_sql("SELECT error LIKE '%payload%' FROM jobs", "t");
}

/* Two recoveries: what waits already does not wait twice, and counts as done. */
static void test_what_waits_already_does_not_wait_twice(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 30), put_logs(1, 20, '" ONE "', 'failed', true)");
    recover_job("[\"failed\"]");
    do_all(1000, 7);
    exec_sql("SELECT put_logs(21, 30, '" ONE "', 'failed', true)");
    recover_job("[\"failed\"]");
    do_all(1000, 7);
    expect_job("done 30/30/0");
    expect_sql("SELECT count(*) FROM schedule", "30");
}

/* A flush that ends a delivery between the look at the schedule and the making must not have it sent again. */
static void test_one_that_ends_in_between_is_not_sent_again(void **state) {
    (void)state;
    struct job job;
    struct result *rows = NULL;
    struct resend_page page;
    struct resend_made made;
    exec_sql("SELECT put_events(1, 2), put_logs(1, 2, '" ONE "', 'failed', true)");
    recover_job("[\"failed\"]");
    do_all(1000, 7);
    recover_job("[\"failed\"]");
    assert_true(do_step(&OWNER, 1000, 7, true)); /* counts */
    ok(resend_begin(connection, &error));
    ok(jobs_take(connection, &OWNER, 10000, &job, &rows, &error));
    ok(resend_read(connection, &job, 1000, 7, &page, &error));
    struct connection *flush = pg_fixture_connect(database);
    pg_fixture_exec(flush, "BEGIN; DELETE FROM schedule WHERE event_key = ev(1); "
                           "SELECT put_logs(1, 1, '" ONE "', 'success', false, 9000, 200); COMMIT");
    connection_free(&flush);
    ok(resend_make(connection, &job, &page, &made, &error));
    assert_int_equal(made.done, 1);
    assert_int_equal(made.rows, 0);
    exec_sql("COMMIT");
    expect_sql("SELECT count(*) FROM schedule", "1");
    resend_page_deinit(&page);
    result_free(&rows);
}

/* ---- recover: missing ---- */

static void test_missing_is_skipped_and_cancelled(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 10, '{" ONE "}'), put_events(11, 20, '{" TWO "," ONE "}'), "
             "put_events(21, 30, '{" TWO "}'), put_events(31, 60)");
    exec_sql("SELECT put_logs(31, 40, '" ONE "', 'cancelled'), put_logs(41, 50, '" ONE "', 'failed', true), "
             "put_logs(51, 60, '" ONE "', 'success', false, 0, 200)");
    exec_sql("SELECT put_logs(1, 3, '" ONE "', 'success', false, 5000, 200), " /* sent since */
             "put_logs(31, 33, '" ONE "', 'success', false, 5000, 200)");
    recover_job("[\"missing\"]");
    do_all(7, 4);
    expect_job("done 24/24/0");
    expect_sql("SELECT count(*) FILTER (WHERE event_key <= ev(20)) || ' ' || count(*) FILTER (WHERE event_key BETWEEN "
               "ev(34) AND ev(40)) || ' ' || count(*) FROM schedule",
               "17 7 24");
    exec_sql("TRUNCATE schedule");
    recover_job("[\"failed\", \"missing\"]");
    do_all(7, 4);
    expect_job("done 34/34/0");
}

static void test_a_skipped_event_becomes_a_batch_of_one(void **state) {
    (void)state;
    exec_sql("UPDATE subscriptions SET delivery_mode = 'batched' WHERE id = '" ONE "'");
    exec_sql("SELECT put_events(1, 5, '{" ONE "}'), put_events(6, 7), put_logs(6, 7, '" ONE "', 'cancelled')");
    recover_job("[\"missing\"]");
    do_all(100, 3);
    expect_job("done 7/7/0");
    expect_sql(
        "SELECT count(*) FROM schedule s JOIN batches b ON b.workspace_id = s.workspace_id AND b.id = s.event_key "
        "JOIN events e ON e.event_key = b.event_keys[1] WHERE s.kind = 1 AND cardinality(b.event_keys) = 1 "
        "AND s.row_key = s.event_key AND s.row_key = resend_key('recover', s.subscription_id, e.event_key) "
        "AND b.subscription_id = s.subscription_id AND s.body = batch_record(e.topic, e.part, e.record_offset, "
        "e.record_time, e.record_key, e.headers, e.body)",
        "5");
    expect_sql("SELECT count(*) FROM schedule WHERE kind = 0 AND event_key IN (ev(6), ev(7))", "2");
    /* Sent: the log knows the batch, not the event. */
    exec_sql(
        "INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, "
        "webhook_url, delivery_status, attempt, batch_id) SELECT now(), gen_random_uuid(), workspace_id, event_key, "
        "event_key::text, subscription_id, 'order.made', '', 'success', 1, event_key FROM schedule WHERE kind = 1");
    exec_sql("TRUNCATE schedule");
    recover_job("[\"missing\"]");
    do_all(100, 3);
    expect_job("done 2/2/0");
}

static void test_a_batch_goes_as_it_went(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 9)");
    exec_sql("INSERT INTO batches SELECT at(5), ev(100), 'w1', '" ONE "', ARRAY[ev(3), ev(1), ev(2)]");
    exec_sql("INSERT INTO batches SELECT at(5), ev(101), 'w1', '" ONE "', ARRAY[ev(4), ev(77)]");
    exec_sql("SELECT put_logs(100, 102, '" ONE "', 'failed', true)");
    exec_sql("UPDATE delivery_logs SET batch_id = event_key, event_id = event_key::text");
    recover_job("[\"failed\"]");
    do_all(100, 3);
    expect_job("done 3/1/2"); /* a member is gone; the batch is */
    expect_sql("SELECT kind || ' ' || (event_key = ev(100))::text || ' ' || (body = (SELECT string_agg(batch_record("
               "topic, part, record_offset, record_time, record_key, headers, body), '' ORDER BY array_position("
               "ARRAY[ev(3), ev(1), ev(2)], event_key)) FROM events WHERE event_key <= ev(3)))::text FROM schedule",
               "1 true true");
}

/* ---- replay ---- */

static void expect_replayed(const char *request, const char *job, const char *keys) {
    exec_sql("TRUNCATE schedule");
    make_job("replay", NULL, request);
    do_all(9, 4);
    expect_job(job);
    expect_sql("SELECT coalesce(string_agg(DISTINCT ltrim(right(event_key::text, 4), '0'), ',' ORDER BY "
               "ltrim(right(event_key::text, 4), '0')), '') FROM schedule",
               keys);
}

static void test_filters(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 8), put_logs(1, 2, '" ONE "', 'success', false, 0, 200), "
             "put_logs(3, 4, '" ONE "', 'failed', false, 0, 503), put_logs(5, 6, '" TWO "', 'failed', true, 0, 404), "
             "put_logs(7, 8, '" TWO "', 'cancelled', false, 0, NULL)");
    exec_sql("UPDATE delivery_logs SET event_type = 'order.sent', error_code = 'timeout', status_code = NULL "
             "WHERE event_key = ev(4)");
    expect_replayed("{}", "done 8/8/0", "1,2,3,4,5,6,7,8");
    expect_replayed("{\"delivery_status\":\"success\"}", "done 2/2/0", "1,2");
    expect_replayed("{\"delivery_status\":\"failed\"}", "done 4/4/0", "3,4,5,6");
    expect_replayed("{\"status_code\":\"5xx\"}", "done 1/1/0", "3");
    expect_replayed("{\"status_code\":404}", "done 2/2/0", "5,6");
    expect_replayed("{\"status_code\":\"200\"}", "done 2/2/0", "1,2");
    expect_replayed("{\"error_code\":\"timeout\"}", "done 1/1/0", "4");
    expect_replayed("{\"given_up\":true}", "done 2/2/0", "5,6");
    expect_replayed("{\"given_up\":false,\"status_code\":\"2xx\"}", "done 2/2/0", "1,2");
    expect_replayed("{\"event_id\":\"e7\"}", "done 1/1/0", "7");
    expect_replayed("{\"event_type\":\"order.sent\"}", "done 1/1/0", "4");
    expect_replayed("{\"batch_id\":\"00000000-0000-7000-8000-000000000009\"}", "done 0/0/0", "");
    exec_sql("UPDATE delivery_logs SET test = true WHERE event_key = ev(1)");
    expect_replayed("{\"delivery_status\":\"success\"}", "done 1/1/0", "2");
}

static void test_each_delivery_once_however_many_rows(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 50)");
    for (int attempt = 0; attempt < 5; attempt++) {
        char sql[256];
        snprintf(sql, sizeof(sql),
                 "SELECT put_logs(1, 50, '" ONE "', 'failed', false, %d), put_logs(1, 25, '" TWO "', "
                 "'failed', false, %d)",
                 attempt * 20, attempt * 20);
        exec_sql(sql);
    }
    make_job("replay", NULL, "{\"status_code\":503}");
    do_all(13, 5);
    expect_job("done 75/75/0");
    expect_sql("SELECT count(*) || ' ' || count(DISTINCT (subscription_id, event_key)) FROM schedule", "75 75");
    /* Another job sends them once more. */
    struct uuid subscription = numbered_uuid(2);
    make_job("replay", &subscription, "{}");
    do_all(13, 5);
    expect_job("done 25/25/0");
    expect_sql("SELECT count(*) FROM schedule", "100");
}

static void test_who_is_not_active_gets_nothing(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 10), put_logs(1, 10, '" ONE "', 'failed', true), put_logs(1, 10, '" TWO
             "', 'failed', true)");
    exec_sql("UPDATE subscriptions SET status = 'paused' WHERE id = '" TWO "'");
    make_job("replay", NULL, "{}");
    do_all(100, 5);
    expect_job("done 20/10/10");
    expect_sql("SELECT count(*) FILTER (WHERE subscription_id = '" ONE "') || ' ' || count(*) FROM schedule", "10 10");
}

/* ---- interrupted, shared ---- */

/* Steps are undone at random, and two take turns: nothing is made twice, and nothing is left out. */
static void test_undone_steps_are_done_again(void **state) {
    (void)state;
    unsigned seed = 7;
    exec_sql("SELECT put_events(1, 400, '{" ONE "}'), put_logs(1, 200, '" ONE "', 'cancelled'), "
             "put_events(401, 600), put_logs(401, 600, '" ONE "', 'failed', true)");
    recover_job("[\"failed\", \"missing\"]");
    make_job("replay", NULL, "{\"given_up\":true}");
    for (int i = 0; i < 5000; i++) {
        const struct uuid *owner = rand_r(&seed) % 2 ? &OWNER : &OTHER_OWNER;
        if (!do_step(owner, 1 + rand_r(&seed) % 40, 1 + rand_r(&seed) % 20, rand_r(&seed) % 3 > 0))
            exec_sql("UPDATE jobs SET lease_until = now()"); /* whoever had it has died */
    }
    expect_sql("SELECT string_agg(concat(kind, ' ', state, ' ', total, '/', done, '/', failed), ', ' ORDER BY kind) "
               "FROM jobs",
               "recover done 600/600/0, replay done 200/200/0");
    expect_sql("SELECT count(*) || ' ' || count(DISTINCT event_key) FROM schedule", "800 600");
}

static void test_room_is_asked_for(void **state) {
    (void)state;
    struct job job;
    struct result *rows = NULL;
    struct resend_page page;
    bool full = true;
    exec_sql("SELECT put_events(1, 1), put_logs(1, 1, '" ONE "', 'failed', true)");
    recover_job("[\"failed\"]");
    exec_sql("INSERT INTO schedule (workspace_id, subscription_id, row_key, event_key, bucket, attempt, activation, "
             "due_at, topic, part, record_offset, record_time, headers, body) SELECT 'w1', '" ONE
             "', ev(n), ev(n), 0, 1, "
             "1, now() + CASE WHEN n = 60000 THEN interval '1 h' ELSE '0' END, '', 0, 0, now(), '', '' "
             "FROM generate_series(10001, 60000) n");
    ok(jobs_take(connection, &OWNER, 10000, &job, &rows, &error));
    ok(resend_read(connection, &job, 10, 10, &page, &error));
    ok(resend_is_full(connection, &job, &page, &full, &error));
    assert_false(full); /* one is not due */
    exec_sql("UPDATE schedule SET due_at = now() WHERE event_key = ev(60000)");
    ok(resend_is_full(connection, &job, &page, &full, &error));
    assert_true(full);
    resend_page_deinit(&page);
    result_free(&rows);
}

/* The statistics say that the day is empty; a plan by the wrong index would read all of it for each key. */
static void test_what_it_costs_does_not_grow_with_the_day(void **state) {
    (void)state;
    exec_sql("VACUUM ANALYZE");
    exec_sql("SELECT put_events(1, 5000, '{" ONE "}'), put_events(5001, 10000), "
             "put_logs(5001, 10000, '" ONE "', 'failed', true)");
    int64_t began_ms = clock_mono_ms();
    recover_job("[\"failed\", \"missing\"]");
    make_job("replay", NULL, "{\"given_up\":true}");
    do_all(20000, 500);
    expect_sql("SELECT string_agg(kind || ' ' || done, ', ' ORDER BY kind) FROM jobs", "recover 10000, replay 5000");
    assert_true(clock_mono_ms() - began_ms < 25000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RESEND_TEST(test_given_up_ones_are_made_as_they_were),
        RESEND_TEST(test_what_has_a_later_row_is_left_out),
        RESEND_TEST(test_only_the_time_asked_for),
        RESEND_TEST(test_not_of_another_workspace_nor_tests),
        RESEND_TEST(test_a_payload_that_is_gone_fails),
        RESEND_TEST(test_what_waits_already_does_not_wait_twice),
        RESEND_TEST(test_one_that_ends_in_between_is_not_sent_again),
        RESEND_TEST(test_missing_is_skipped_and_cancelled),
        RESEND_TEST(test_a_skipped_event_becomes_a_batch_of_one),
        RESEND_TEST(test_a_batch_goes_as_it_went),
        RESEND_TEST(test_filters),
        RESEND_TEST(test_each_delivery_once_however_many_rows),
        RESEND_TEST(test_who_is_not_active_gets_nothing),
        RESEND_TEST(test_undone_steps_are_done_again),
        RESEND_TEST(test_room_is_asked_for),
        RESEND_TEST(test_what_it_costs_does_not_grow_with_the_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
