#include "store/process.h"

#include "base/clock.h"
#include "store/partitions.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#define GROUP SPAN_LITERAL("g")

static void enlist(int number) {
    struct uuid id = numbered_uuid(number);
    ok(process_register(connection, &id, GROUP, &error));
}

static void test_registering_starts_the_count_again(void **state) {
    (void)state;
    struct uuid id = numbered_uuid(1);
    int64_t now_ms = 0, created_at_ms, flush_no = -1;
    enlist(1);
    expect_sql("SELECT grp || ' ' || flush_no || ' ' || (pid > 0) || ' ' || (version <> '') FROM processes",
               "g 0 true true");
    ok(process_beat(connection, &id, 7, &now_ms, &created_at_ms, &error));
    assert_in_range(now_ms, clock_wall_ms() - 60000, clock_wall_ms() + 60000);
    ok(process_flush_no(connection, &id, &flush_no, &error));
    assert_int_equal(flush_no, 7);
    enlist(1);
    ok(process_flush_no(connection, &id, &flush_no, &error));
    assert_int_equal(flush_no, 0);
    ok(process_forget(connection, &id, &error));
    ok(process_forget(connection, &id, &error));
    expect_sql("SELECT count(*) FROM processes", "0");
}

static void test_a_row_that_is_gone_is_noticed(void **state) {
    (void)state;
    struct uuid id = numbered_uuid(1);
    int64_t now_ms = -1, created_at_ms, flush_no = -1;
    assert_int_equal(process_beat(connection, &id, 1, &now_ms, &created_at_ms, &error), STATUS_NOT_FOUND);
    assert_int_equal(process_flush_no(connection, &id, &flush_no, &error), STATUS_NOT_FOUND);
    assert_int_equal(now_ms, -1);
    assert_int_equal(flush_no, -1);
}

static void test_a_beat_is_a_sign_of_life(void **state) {
    (void)state;
    struct uuid id = numbered_uuid(1);
    int64_t now_ms, created_at_ms;
    enlist(1);
    exec_sql("UPDATE processes SET heartbeat_at = now() - interval '1 minute'");
    ok(process_beat(connection, &id, 1, &now_ms, &created_at_ms, &error));
    expect_sql("SELECT heartbeat_at > now() - interval '10 s' FROM processes", "t");
}

static void test_nothing_is_created_where_the_log_is_counted(void **state) {
    (void)state;
    struct uuid id = numbered_uuid(1);
    int64_t now_ms = 0, created_at_ms = 0;
    struct partition_bounds days;
    enlist(1);
    ok(process_beat(connection, &id, 1, &now_ms, &created_at_ms, &error));
    assert_int_equal(created_at_ms, now_ms);
    exec_sql("INSERT INTO log_rollup_state VALUES (0, '2026-02-03T04:05:00Z'), (1, now() + interval '1 day')");
    ok(process_beat(connection, &id, 2, &now_ms, &created_at_ms, &error));
    assert_int_equal(created_at_ms, now_ms);
    /* The clock has been put back by 10 minutes. */
    exec_sql("UPDATE log_rollup_state SET until = date_trunc('minute', now()) + interval '10 min' WHERE level = 0");
    ok(process_beat(connection, &id, 3, &now_ms, &created_at_ms, &error));
    assert_in_range(created_at_ms, now_ms + 9 * 60000, now_ms + 10 * 60000);
    assert_int_equal(created_at_ms % 60000, 0);
    ok(partitions_ensure(connection, &error));
    ok(partitions_read_bounds(connection, &days, &error));
    assert_int_equal(partitions_clamp(&days, days.now_ms), created_at_ms);
    exec_sql("TRUNCATE log_rollup_state");
}

static void test_the_rank_among_the_living(void **state) {
    (void)state;
    for (int number = 1; number <= 5; number++)
        enlist(number);
    exec_sql("UPDATE processes SET heartbeat_at = now() - interval '11 s' WHERE id::text LIKE '%2';"
             "UPDATE processes SET heartbeat_at = now() - interval '61 min' WHERE id::text LIKE '%3'");
    int count = 0, rank = -1;
    struct uuid id = numbered_uuid(4);
    ok(process_rank(connection, &id, &count, &rank, &error));
    assert_int_equal(count, 3); /* 1, 4 and 5 */
    assert_int_equal(rank, 1);
    expect_sql("SELECT count(*) FROM processes", "4"); /* the one that is silent for an hour is forgotten */
    id = numbered_uuid(2);
    ok(process_rank(connection, &id, &count, &rank, &error));
    assert_int_equal(count, 4); /* whoever asks lives */
    assert_int_equal(rank, 1);
    id = numbered_uuid(9); /* not there (yet) */
    ok(process_rank(connection, &id, &count, &rank, &error));
    assert_true(count >= 1);
    exec_sql("DELETE FROM processes");
    ok(process_rank(connection, &id, &count, &rank, &error));
    assert_int_equal(count, 1);
    assert_int_equal(rank, 0);
}

static atomic_bool answered;

static void *ask_flush_no(void *ctx) {
    struct connection *own = pg_fixture_connect(database);
    struct uuid id = numbered_uuid(1);
    struct error own_error;
    if (process_flush_no(own, &id, ctx, &own_error) != STATUS_OK)
        *(int64_t *)ctx = -1;
    answered = true;
    connection_free(&own);
    return NULL;
}

/* Rule P5: the old backend may still be about to commit. */
static void test_asking_waits_for_who_holds_the_row(void **state) {
    (void)state;
    struct uuid id = numbered_uuid(1);
    int64_t now_ms, created_at_ms, flush_no = -2;
    pthread_t thread;
    enlist(1);
    exec_sql("BEGIN");
    ok(process_beat(connection, &id, 5, &now_ms, &created_at_ms, &error));
    assert_int_equal(pthread_create(&thread, NULL, ask_flush_no, &flush_no), 0);
    struct connection *look = pg_fixture_connect(database);
    pg_fixture_wait(look, "SELECT count(*) FROM pg_locks WHERE NOT granted", "1");
    assert_false(answered);
    exec_sql("COMMIT");
    pthread_join(thread, NULL);
    assert_int_equal(flush_no, 5);
    connection_free(&look);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_registering_starts_the_count_again),
        STORE_TEST(test_a_row_that_is_gone_is_noticed),
        STORE_TEST(test_a_beat_is_a_sign_of_life),
        STORE_TEST(test_nothing_is_created_where_the_log_is_counted),
        STORE_TEST(test_the_rank_among_the_living),
        STORE_TEST(test_asking_waits_for_who_holds_the_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
