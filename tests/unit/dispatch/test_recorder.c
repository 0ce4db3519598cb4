#include "dispatch/recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder_fixture.h"

#define EVENTS "SELECT count(*) FROM events"
#define LOGS "SELECT count(*) FROM delivery_logs"
#define ROWS "SELECT count(*) FROM schedule"
#define NEXT "SELECT next_offset FROM progress"

static struct subscription *subscriptions[4];

static int open_all(void **state) {
    for (int i = 0; i < 4; i++)
        subscriptions[i] = fixture_subscription(i + 1, "http://127.0.0.1/");
    return desk_open(state);
}

static int close_all(void **state) {
    int result = desk_close(state);
    for (int i = 0; i < 4; i++)
        subscription_unref(&subscriptions[i]);
    return result;
}

/* Rule P2. */
static void test_an_event_is_written_whole(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct record record = take(partition, 0, 3, subscriptions);
    delivered(&record.deliveries[0]);
    delivered(&record.deliveries[1]);
    wait_for_flushes();
    expect_sql(EVENTS, "0");
    expect_sql(LOGS, "0");
    expect_sql(NEXT, "0");
    assert_int_equal(partition->settled_offset, 0);
    assert_int_equal(desk.budget.deliveries, 3);
    delivered(&record.deliveries[2]);
    pg_fixture_wait(desk.connection, NEXT, "1");
    /* All of it by one transaction. */
    expect_sql("SELECT count(*) || ' ' || count(DISTINCT x) FROM (SELECT xmin::text AS x FROM events"
               " UNION ALL SELECT xmin::text FROM delivery_logs UNION ALL SELECT xmin::text FROM progress) t",
               "5 1");
    expect_sql("SELECT count(DISTINCT subscription_id) FROM delivery_logs WHERE delivery_status = 'success'"
               " AND status_code = 200 AND attempt = 1 AND NOT given_up AND next_attempt_at IS NULL"
               " AND sent_at IS NOT NULL AND render_version = 1 AND duration_ms = 5",
               "3");
    expect_sql("SELECT event_id || convert_from(body, 'UTF8') FROM events",
               "e0{\"id\":\"e0\",\"workspace_id\":\"w1\",\"payload\":{\"n\":0}}");
    expect_sql("SELECT p.last_key = e.event_key AND p.epoch = 1 FROM progress p, events e", "t");
    WAIT_FOR(partition->settled_offset == 1);
    expect_nothing_outstanding(partition);
    done_with(&record);
    partition_unref(&partition);
}

/* Rule P1. */
static void test_progress_is_a_prefix_and_a_bitmap(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct record records[3];
    for (int64_t offset = 0; offset < 3; offset++)
        records[offset] = take(partition, offset + (offset == 2 ? 5 : 0), 1, subscriptions);
    delivered(&records[2].deliveries[0]);
    pg_fixture_wait(desk.connection, LOGS, "1");
    expect_sql("SELECT next_offset || ' ' || encode(done, 'hex') FROM progress", "0 fc"); /* 2 to 6 are no records */
    assert_int_equal(partition->settled_offset, 0);
    delivered(&records[0].deliveries[0]);
    pg_fixture_wait(desk.connection, "SELECT next_offset || ' ' || encode(done, 'hex') FROM progress", "1 7e");
    delivered(&records[1].deliveries[0]);
    pg_fixture_wait(desk.connection, "SELECT next_offset || ' ' || encode(done, 'hex') FROM progress", "8 ");
    expect_sql("SELECT p.last_key = e.event_key FROM progress p, events e WHERE e.record_offset = 7", "t");
    expect_nothing_outstanding(partition);
    for (int i = 0; i < 3; i++)
        done_with(&records[i]);
    partition_unref(&partition);
}

static void test_records_that_nobody_wants_advance_progress_alone(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct record plain = take(partition, 0, 0, NULL), bad = make_record(partition, 1, 0, NULL);
    struct rejected *rejected = mem_calloc(1, sizeof(*rejected) + 16);
    memcpy(rejected->bytes, "\xff{", 2);
    rejected->code = mem_strdup("bad_json");
    rejected->reason = mem_strdup("byte 0: no value begins like this");
    rejected->has_value = true;
    rejected->value = (struct span){rejected->bytes, 2};
    rejected->headers = SPAN_LITERAL("{}");
    bad.taken->rejected = rejected;
    announce(&bad);
    struct record skipping = make_record(partition, 2, 0, NULL);
    skipping.taken->matched = true;
    skipping.taken->skipped = mem_calloc(2, sizeof(struct uuid));
    skipping.taken->skipped_count = 2;
    announce(&skipping);
    pg_fixture_wait(desk.connection, NEXT, "3");
    expect_sql("SELECT code || ' ' || encode(body, 'hex') || ' ' || record_offset FROM rejected_events",
               "bad_json ff7b 1");
    expect_sql("SELECT record_offset || ' ' || cardinality(skipped) FROM events", "2 2");
    expect_sql(LOGS, "0");
    expect_nothing_outstanding(partition);
    done_with(&plain);
    done_with(&bad);
    done_with(&skipping);
    partition_unref(&partition);
}

static void test_what_first_attempts_leave_in_the_schedule(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct record retried = take(partition, 0, 1, subscriptions), given_up = take(partition, 1, 1, subscriptions),
                  parked = take(partition, 2, 1, subscriptions), leased = take(partition, 3, 1, subscriptions),
                  delayed = take(partition, 4, 1, subscriptions), cancelled = take(partition, 5, 1, subscriptions);
    attempted(&retried.deliveries[0], RETRY_AGAIN, 60000);
    attempted(&given_up.deliveries[0], RETRY_GIVE_UP, 0);
    hand_over(&parked.deliveries[0], OUTCOME_PARKED);
    lease(leased.deliveries[0]);
    delayed.deliveries[0]->due_at_ms = clock_wall_ms() + 3600 * 1000;
    hand_over(&delayed.deliveries[0], OUTCOME_DELAYED);
    hand_over(&cancelled.deliveries[0], OUTCOME_CANCELLED);
    pg_fixture_wait(desk.connection, NEXT, "6");
    expect_sql(EVENTS, "6");
    expect_sql("SELECT string_agg(record_offset || ':' || attempt || ':' || fence || ':' || held || ':' ||"
               " (lease_until IS NOT NULL) || ':' || (due_at > now() + interval '50 s') || ':' ||"
               " (due_at > now() + interval '70 s'), ' ' ORDER BY record_offset) FROM schedule",
               "0:2:0:false:false:true:false 2:1:0:true:false:false:false 3:1:1:false:true:false:false "
               "4:1:0:false:false:true:true");
    expect_sql("SELECT lease_until > now() + interval '40 s' FROM schedule WHERE record_offset = 3", "t");
    expect_sql("SELECT count(*) FROM holds", "1");
    expect_sql("SELECT string_agg(right(event_id, 1) || ':' || delivery_status || ':' || given_up || ':' ||"
               " (next_attempt_at IS NOT NULL) || ':' || (error IS NOT NULL) || ':' || coalesce(error_code, '-'), ' '"
               " ORDER BY event_id) FROM delivery_logs",
               "0:failed:false:true:true:http_status 1:failed:true:false:true:http_status "
               "5:cancelled:false:false:true:cancelled");
    expect_nothing_outstanding(partition);
    struct record *all[] = {&retried, &given_up, &parked, &leased, &delayed, &cancelled};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        done_with(all[i]);
    partition_unref(&partition);
}

/* A claimed row of event 0, as the scheduler hands it out: there is one in the table with this fence. */
static struct delivery *claimed_row(int32_t fence) {
    struct delivery *row = fixture_row(0, subscriptions[0]);
    row->fence = fence;
    row->attempt = 2;
    return row;
}

static void make_row(struct partition *partition, int32_t fence) {
    struct record record = take(partition, 0, 1, subscriptions);
    char sql[128];
    attempted(&record.deliveries[0], RETRY_AGAIN, 0);
    pg_fixture_wait(desk.connection, ROWS, "1");
    snprintf(sql, sizeof(sql), "UPDATE schedule SET fence = %d, lease_until = now() + interval '1 hour'", fence);
    exec_sql(sql);
    done_with(&record);
}

/* Rule P3, second half: whoever has the fence has the row. */
static void test_the_outcome_of_a_row_counts_by_its_fence(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    make_row(partition, 5);
    struct delivery *row = claimed_row(4);
    delivered(&row);
    pg_fixture_wait(desk.connection, LOGS, "2"); /* it was sent, and that is said */
    expect_sql("SELECT fence || ' ' || (lease_until IS NOT NULL) FROM schedule", "5 true");
    row = claimed_row(5);
    attempted(&row, RETRY_AGAIN, 60000);
    pg_fixture_wait(desk.connection,
                    "SELECT attempt || ' ' || (lease_until IS NULL) || ' ' || (due_at > now() + interval '50 s')"
                    " FROM schedule",
                    "3 true true");
    row = claimed_row(5);
    hand_over(&row, OUTCOME_DROPPED);
    row = claimed_row(5);
    hand_over(&row, OUTCOME_PARKED);
    pg_fixture_wait(desk.connection, "SELECT held FROM schedule", "t");
    expect_sql("SELECT attempt || ' ' || (SELECT count(*) FROM holds) FROM schedule", "3 1");
    row = claimed_row(5);
    delivered(&row);
    pg_fixture_wait(desk.connection, ROWS, "0");
    expect_sql(LOGS, "4");
    partition_unref(&partition);
}

static void test_a_cancelled_row_is_finished_with_a_log_row(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    make_row(partition, 1);
    struct delivery *row = claimed_row(1);
    hand_over(&row, OUTCOME_CANCELLED);
    pg_fixture_wait(desk.connection, ROWS, "0");
    expect_sql("SELECT count(*) FROM delivery_logs WHERE delivery_status = 'cancelled'", "1");
    partition_unref(&partition);
}

/* Rule S5: a success finishes what was parked under way, whatever the fence; a failure only its own. */
static void test_the_answer_to_what_was_parked_under_way(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct record record = take(partition, 0, 1, subscriptions);
    struct delivery *first = record.deliveries[0];
    record.deliveries[0] = NULL;
    lease(first);
    pg_fixture_wait(desk.connection, ROWS, "1");
    expect_sql(EVENTS, "1");
    expect_nothing_outstanding(partition);
    exec_sql("UPDATE schedule SET fence = 7"); /* its lease ran out, and another has it */
    struct delivery *late = delivery_clone(first);
    late->taken = NULL;
    late->parked_in_flight = true;
    attempted(&late, RETRY_AGAIN, 1000);
    pg_fixture_wait(desk.connection, LOGS, "1");
    expect_sql("SELECT fence || ' ' || attempt FROM schedule", "7 1");
    delivered(&first);
    pg_fixture_wait(desk.connection, ROWS, "0");
    expect_sql(LOGS, "2");
    done_with(&record);
    partition_unref(&partition);
}

/* The answer may come while its event still waits for others: then no row may be left that sends it again. */
static void test_an_answer_before_its_row_is_written(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct record record = take(partition, 0, 3, subscriptions);
    for (int i = 0; i < 2; i++)
        lease(record.deliveries[i]);
    delivered(&record.deliveries[0]);
    attempted(&record.deliveries[1], RETRY_AGAIN, 60000);
    wait_for_flushes();
    delivered(&record.deliveries[2]);
    pg_fixture_wait(desk.connection, NEXT, "1");
    wait_for_flushes();
    expect_sql(LOGS, "3");
    expect_sql("SELECT count(*) || ' ' || min(attempt) || ' ' || bool_and(lease_until IS NULL) FROM schedule",
               "1 2 true");
    expect_nothing_outstanding(partition);
    done_with(&record);
    partition_unref(&partition);
}

/* What was parked under way and could not be tried after all keeps its row. */
static void test_a_dropped_answer_leaves_its_row(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct record record = take(partition, 0, 2, subscriptions);
    lease(record.deliveries[0]);
    hand_over(&record.deliveries[0], OUTCOME_DROPPED);
    wait_for_flushes();
    delivered(&record.deliveries[1]);
    pg_fixture_wait(desk.connection, NEXT, "1");
    expect_sql("SELECT count(*) || ' ' || bool_and(lease_until IS NOT NULL) FROM schedule", "1 true");
    expect_sql(LOGS, "1");
    expect_nothing_outstanding(partition);
    done_with(&record);
    partition_unref(&partition);
}

/* Rule P3. */
static void test_another_owners_partition_gets_log_rows_alone(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    exec_sql("UPDATE progress SET epoch = epoch + 1");
    struct record done = take(partition, 0, 1, subscriptions), again = take(partition, 1, 1, subscriptions),
                  parked = take(partition, 2, 1, subscriptions);
    delivered(&done.deliveries[0]);
    attempted(&again.deliveries[0], RETRY_AGAIN, 1000);
    hand_over(&parked.deliveries[0], OUTCOME_PARKED);
    pg_fixture_wait(desk.connection, LOGS, "2");
    expect_nothing_outstanding(partition);
    expect_sql(EVENTS, "0");
    expect_sql(ROWS, "0");
    expect_sql("SELECT count(*) FROM holds", "0");
    expect_sql(NEXT, "0");
    assert_int_equal(desk.lost, 1);
    assert_true(partition->revoked);
    assert_int_equal(partition->settled_offset, 0);
    struct delivery *row = fixture_row(9, subscriptions[0]); /* a row is nobody's partition */
    delivered(&row);
    pg_fixture_wait(desk.connection, LOGS, "3");
    assert_int_equal(desk.lost, 1);
    done_with(&done);
    done_with(&again);
    done_with(&parked);
    partition_unref(&partition);
}

static void test_410_disables_the_subscription_that_answered(void **state) {
    (void)state;
    char sql[512], id[UUID_TEXT_LEN + 1];
    uuid_format(&subscriptions[0]->id, id);
    snprintf(sql, sizeof(sql),
             "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types) VALUES ('" WORKSPACE
             "', '%s', 'http://127.0.0.1/', '{order.*}')",
             id);
    exec_sql(sql);
    struct partition *partition = adopt_new();
    struct record record = take(partition, 0, 1, subscriptions);
    attempted(&record.deliveries[0], RETRY_DISABLE, 0);
    pg_fixture_wait(desk.connection, "SELECT status FROM subscriptions", "disabled");
    expect_sql("SELECT disabled_reason LIKE '%410%' FROM subscriptions", "t");
    expect_sql("SELECT given_up FROM delivery_logs", "t");
    /* A later activation is not touched by an answer to an earlier one. */
    exec_sql("UPDATE subscriptions SET status = 'active'");
    struct delivery *row = fixture_row(9, subscriptions[0]);
    attempted(&row, RETRY_DISABLE, 0);
    pg_fixture_wait(desk.connection, LOGS, "2");
    expect_sql("SELECT status FROM subscriptions", "active");
    done_with(&record);
    partition_unref(&partition);
}

/* Rule P9: two flushes that disable the same ones must not wait for each other. */
static void test_subscriptions_are_changed_in_the_order_of_their_keys(void **state) {
    (void)state;
    struct connection *other = pg_fixture_connect(desk.database);
    char sql[256], first[UUID_TEXT_LEN + 1], second[UUID_TEXT_LEN + 1];
    uuid_format(&subscriptions[0]->id, first);
    uuid_format(&subscriptions[1]->id, second);
    assert_true(strcmp(first, second) < 0);
    snprintf(sql, sizeof(sql),
             "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types) SELECT '" WORKSPACE
             "', id::uuid, 'http://127.0.0.1/', '{*}' FROM unnest(ARRAY['%s', '%s']) id",
             first, second);
    exec_sql(sql);
    struct partition *partition = adopt_new();
    struct record record = take(partition, 0, 2, subscriptions);
    snprintf(sql, sizeof(sql), "BEGIN; SELECT 1 FROM subscriptions WHERE id = '%s' FOR UPDATE", first);
    pg_fixture_exec(other, sql);
    attempted(&record.deliveries[1], RETRY_DISABLE, 0);
    attempted(&record.deliveries[0], RETRY_DISABLE, 0);
    pg_fixture_wait(desk.connection,
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND wait_event_type = 'Lock'",
                    "1");
    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM (SELECT 1 FROM subscriptions WHERE id = '%s' FOR UPDATE SKIP LOCKED) x", second);
    expect_sql(sql, "1");
    pg_fixture_exec(other, "COMMIT");
    pg_fixture_wait(desk.connection, "SELECT count(*) FROM subscriptions WHERE status = 'disabled'", "2");
    connection_free(&other);
    done_with(&record);
    partition_unref(&partition);
}

/* Rule S5: the head of a window has its endpoints asked, those that have not answered. */
static void test_a_head_that_waits_has_its_endpoints_parked(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct record young = take(partition, 0, 1, subscriptions);
    wait_for_flushes();
    assert_int_equal(lane.parks, 0);
    delivered(&young.deliveries[0]);
    struct record old = make_record(partition, 1, 2, subscriptions);
    old.taken->taken_at_ms -= 2500;
    announce(&old);
    delivered(&old.deliveries[0]);
    WAIT_FOR(lane.parks >= 2 && lane.parked_id == 2);
    hand_over(&old.deliveries[1], OUTCOME_PARKED);
    expect_nothing_outstanding(partition);
    expect_sql("SELECT held FROM schedule", "t");
    done_with(&young);
    done_with(&old);
    partition_unref(&partition);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_an_event_is_written_whole),
        TEST(test_progress_is_a_prefix_and_a_bitmap),
        TEST(test_records_that_nobody_wants_advance_progress_alone),
        TEST(test_what_first_attempts_leave_in_the_schedule),
        TEST(test_the_outcome_of_a_row_counts_by_its_fence),
        TEST(test_a_cancelled_row_is_finished_with_a_log_row),
        TEST(test_the_answer_to_what_was_parked_under_way),
        TEST(test_an_answer_before_its_row_is_written),
        TEST(test_a_dropped_answer_leaves_its_row),
        TEST(test_another_owners_partition_gets_log_rows_alone),
        TEST(test_410_disables_the_subscription_that_answered),
        TEST(test_subscriptions_are_changed_in_the_order_of_their_keys),
        TEST(test_a_head_that_waits_has_its_endpoints_parked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
