#include "store/schedule.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "schedule_fixture.h"

#define HOLD_LEASE_MS 10000

/* What holds_list says: "1m" mine, "1e" expired, "1o" another's, by endpoint. */
static const char *list(struct connection *connection, const struct uuid *process) {
    static char text[256];
    struct result *rows = NULL;
    text[0] = '\0';
    MUST(holds_list(connection, process, &rows, &error));
    for (int endpoint = 0; endpoint < 10; endpoint++)
        for (int i = 0; i < result_rows(rows); i++) {
            struct holds_row row;
            holds_row_read(rows, i, &row);
            assert_true(span_is(row.workspace_id, "acme"));
            if (row.subscription_id.bytes[15] == endpoint)
                snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d%c ", endpoint,
                         row.mine      ? 'm'
                         : row.expired ? 'e'
                                       : 'o');
        }
    result_free(&rows);
    return text;
}

static int64_t mark(struct connection *connection, const struct uuid *process, int endpoint, int first, int last) {
    struct schedule_due *rows = mem_calloc((size_t)(last - first + 1), sizeof(*rows));
    struct result *holds = NULL;
    int64_t marked = -1;
    for (int row = first; row <= last; row++)
        rows[row - first] = seen(endpoint, row);
    MUST(schedule_mark_held(connection, process, rows, (size_t)(last - first + 1), HOLD_LEASE_MS, &marked, &holds,
                            &error));
    assert_int_equal(result_rows(holds), 1);
    result_free(&holds);
    mem_free(rows);
    return marked;
}

static void test_held_rows_make_a_hold_that_is_taken(void **state) {
    (void)state;
    put_rows(1, 1, 2, true);
    put_rows(2, 1, 2, true);
    put_rows(1, 3, 3, true);
    assert_string_equal(list(scheduler, &ME), "1e 2e ");
    MUST(holds_take(scheduler, &ME, 1, HOLD_LEASE_MS, &error));
    ASK_IS("SELECT count(*) FROM holds WHERE owner IS NOT NULL", "1");
    MUST(holds_take(scheduler, &ME, 1, HOLD_LEASE_MS, &error));
    assert_string_equal(list(scheduler, &ME), "1m 2m ");
    MUST(holds_take(other, &YOU, 10, HOLD_LEASE_MS, &error));
    assert_string_equal(list(other, &YOU), "1o 2o ");
    put_rows(1, 4, 4, true); /* whoever adds a row takes nothing away */
    assert_string_equal(list(scheduler, &ME), "1m 2m ");
    pg_fixture_exec(recorder,
                    "UPDATE holds SET lease_until = now() - interval '1 ms' WHERE right(subscription_id::text, "
                    "1) = '2'");
    assert_string_equal(list(scheduler, &ME), "1m 2e ");
    MUST(holds_take(other, &YOU, 10, HOLD_LEASE_MS, &error));
    assert_string_equal(list(scheduler, &ME), "1m 2o ");
    MUST(holds_release_all(other, &YOU, &error));
    assert_string_equal(list(scheduler, &ME), "1m 2e ");
}

static void test_leases_of_holds_are_renewed_at_half_time(void **state) {
    (void)state;
    put_rows(1, 1, 1, true);
    MUST(holds_take(scheduler, &ME, 10, HOLD_LEASE_MS, &error));
    pg_fixture_exec(recorder, "UPDATE holds SET lease_until = now() + interval '6 s'");
    MUST(holds_take(scheduler, &ME, 0, HOLD_LEASE_MS, &error));
    ASK_IS("SELECT lease_until < now() + interval '7 s' FROM holds", "t");
    pg_fixture_exec(recorder, "UPDATE holds SET lease_until = now() + interval '4 s'");
    MUST(holds_take(scheduler, &ME, 0, HOLD_LEASE_MS, &error));
    ASK_IS("SELECT lease_until > now() + interval '7 s' FROM holds", "t");
}

static void test_marking_takes_a_hold_that_is_nobodys(void **state) {
    (void)state;
    put_rows(1, 1, 5, false);
    assert_int_equal(mark(scheduler, &ME, 1, 1, 2), 2);
    assert_string_equal(list(scheduler, &ME), "1m ");
    assert_int_equal(mark(other, &YOU, 1, 1, 4), 2);
    assert_string_equal(list(scheduler, &ME), "1m ");
    pg_fixture_exec(recorder, "UPDATE holds SET lease_until = now() - interval '1 ms'");
    assert_int_equal(mark(other, &YOU, 1, 5, 5), 1);
    assert_string_equal(list(scheduler, &ME), "1o ");
    ASK_IS("SELECT count(*) FROM schedule WHERE held AND lease_until IS NULL AND fence = 0", "5");
}

static void test_marking_leaves_claimed_and_later_rows(void **state) {
    (void)state;
    put_rows(1, 1, 3, false);
    assert_int_equal(claim_one(other, 1, 1, 60000), 1);
    pg_fixture_exec(recorder,
                    "UPDATE schedule SET due_at = now() + interval '1 h' WHERE right(row_key::text, 1) = '2'");
    assert_int_equal(mark(scheduler, &ME, 1, 1, 3), 1);
    ASK_IS("SELECT string_agg(held::text, ',' ORDER BY row_key) FROM schedule", "false,false,true");
}

/* Twenty thousand due rows of one endpoint before the one row of another, marked in pieces: soon the other is found. */
static void test_a_crowd_is_out_of_the_way_soon(void **state) {
    (void)state;
    pg_fixture_exec(
        recorder, "INSERT INTO schedule (workspace_id, subscription_id, row_key, event_key, bucket, attempt, "
                  "activation, due_at, topic, part, record_offset, record_time, headers, body) "
                  "SELECT 'acme', 'e0000000-0000-0000-0000-000000000001', gen_random_uuid(), gen_random_uuid(), 5, 2, "
                  "1, now() - interval '1 h', 't', 0, n, now(), '{}', 'x' FROM generate_series(1, 20000) n");
    pg_fixture_exec(
        recorder, "INSERT INTO schedule (workspace_id, subscription_id, row_key, event_key, bucket, attempt, "
                  "activation, due_at, topic, part, record_offset, record_time, headers, body) "
                  "VALUES ('acme', 'e0000000-0000-0000-0000-000000000002', gen_random_uuid(), gen_random_uuid(), 5, 2, "
                  "1, now(), 't', 0, 0, now(), '{}', 'x')");
    int64_t began_ms = clock_mono_ms(), total = 0;
    bool found = false;
    int looks = 0;
    while (!found) {
        struct result *rows = NULL, *holds = NULL;
        int64_t marked = 0;
        struct schedule_due crowd[1024];
        size_t count = 0;
        for (int i = look(scheduler, 1 << 5, 1024, 0, &rows); i-- > 0;) {
            struct schedule_due due;
            schedule_due_read(rows, i, &due);
            if (due.key.subscription_id.bytes[15] == 2)
                found = true;
            else
                crowd[count++] = due;
        }
        if (count)
            MUST(schedule_mark_held(scheduler, &ME, crowd, count, HOLD_LEASE_MS, &marked, &holds, &error));
        total += marked;
        result_free(&holds);
        result_free(&rows);
        assert_true(++looks < 30);
    }
    assert_int_equal(total, 20000);
    assert_true(clock_mono_ms() - began_ms < 10000);
}

static void test_drain_leases_up_to_the_slots(void **state) {
    (void)state;
    put_rows(1, 1, 9, true);
    put_rows(2, 1, 3, true);
    put_rows(3, 1, 3, false);
    struct schedule_key endpoints[] = {key_of(2, 0), key_of(1, 0), key_of(3, 0)};
    const int slots[] = {5, 4, 5};
    const int64_t from_ms[] = {0, 0, 0};
    struct result *rows = NULL;
    MUST(holds_drain(scheduler, endpoints, slots, from_ms, 3, 1 << 24, 60000, &rows, &error));
    assert_int_equal(result_rows(rows), 7);
    int of[4] = {0};
    for (int i = 0; i < 7; i++) {
        struct schedule_row row;
        schedule_row_read(rows, i, &row);
        assert_int_equal(row.fence, 1);
        assert_true(span_equal(row.record.value, event->value));
        of[row.key.subscription_id.bytes[15]]++;
    }
    assert_true(of[1] == 4 && of[2] == 3 && of[3] == 0);
    result_free(&rows);
    ASK_IS("SELECT count(*) FROM schedule WHERE held AND lease_until > now()", "7");
    assert_int_equal(drain(other, 1, 100, 60000), 5);
    assert_int_equal(drain(scheduler, 1, 100, 60000), 0);
    /* A lease that ran out: the row is still held, and comes again. */
    pg_fixture_exec(recorder, "UPDATE schedule SET lease_until = now() - interval '1 ms' WHERE fence = 1 AND "
                              "right(subscription_id::text, 1) = '2'");
    assert_int_equal(drain(scheduler, 2, 2, 60000), 2);
    ASK_IS("SELECT count(*) FROM schedule WHERE fence = 2", "2");
}

static void test_drain_is_bounded_in_bytes_and_hot(void **state) {
    (void)state;
    put_rows(1, 1, 500, true);
    struct schedule_key key = key_of(1, 0);
    struct result *rows = NULL;
    int slots = 100;
    MUST(holds_drain(scheduler, &key, &slots, &(int64_t){0}, 1, (int64_t)event->value.len * 10, 60000, &rows, &error));
    assert_int_equal(result_rows(rows), 10);
    result_free(&rows);
    assert_int_equal(drain(scheduler, 1, 490, 60000), 490);
    pg_fixture_exec(scheduler, "SELECT pg_stat_force_next_flush()");
    pg_fixture_wait(recorder, "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'schedule'", "500");
    /* All of them would be, had each page room for all of its rows once more. */
    ASK_IS("SELECT n_tup_hot_upd >= 300 FROM pg_stat_user_tables WHERE relname = 'schedule'", "t");
}

static void test_drained_row_tried_again_is_an_ordinary_one(void **state) {
    (void)state;
    put_rows(1, 1, 1, true);
    MUST(holds_take(scheduler, &ME, 10, HOLD_LEASE_MS, &error));
    assert_int_equal(drain(scheduler, 1, 1, 60000), 1);
    struct schedule_changes *batch = schedule_changes_new();
    struct schedule_key key = key_of(1, 1);
    schedule_changes_retry(batch, &key, 1, 3, 1000);
    write_batch(batch);
    schedule_changes_free(&batch);
    ASK_IS("SELECT held OR lease_until IS NOT NULL FROM schedule", "f");
    assert_true(end_hold(scheduler, &ME, 1));
}

static void test_hold_ends_when_nothing_waits(void **state) {
    (void)state;
    put_rows(1, 1, 2, true);
    assert_false(end_hold(scheduler, &ME, 1)); /* not this process's */
    MUST(holds_take(scheduler, &ME, 10, HOLD_LEASE_MS, &error));
    assert_false(end_hold(scheduler, &ME, 1));
    assert_int_equal(drain(scheduler, 1, 1, 60000), 1);
    assert_false(end_hold(scheduler, &ME, 1));
    assert_int_equal(drain(scheduler, 1, 1, 60000), 1);
    assert_false(end_hold(other, &YOU, 1));
    assert_true(end_hold(scheduler, &ME, 1));
    ASK_IS("SELECT count(*) FROM holds", "0");
    /* Those under way are ordinary leased rows now: should their leases run out, the due index has them. */
    ASK_IS("SELECT count(*) FROM schedule WHERE NOT held AND lease_until > now() AND fence = 1", "2");
    assert_false(end_hold(scheduler, &ME, 1));
}

static void test_hold_with_an_expired_lease_does_not_end(void **state) {
    (void)state;
    put_rows(1, 1, 1, true);
    MUST(holds_take(scheduler, &ME, 10, HOLD_LEASE_MS, &error));
    assert_int_equal(drain(scheduler, 1, 1, 60000), 1);
    pg_fixture_exec(recorder, "UPDATE schedule SET lease_until = now() - interval '1 ms'");
    assert_false(end_hold(scheduler, &ME, 1));
}

/* A flush adds a held row while the hold is being ended: whoever comes first, no held row is left without a hold. */
static void test_row_inserted_while_a_hold_ends(void **state) {
    (void)state;
    put_rows(1, 1, 1, true);
    MUST(holds_take(scheduler, &ME, 10, HOLD_LEASE_MS, &error));
    assert_int_equal(drain(scheduler, 1, 1, 60000), 1);

    struct schedule_changes *batch = schedule_changes_new();
    struct schedule_new row = new_row(1, 2);
    row.held = true;
    schedule_changes_new_row(batch, &row);
    pg_fixture_exec(recorder, "BEGIN");
    MUST(schedule_write(recorder, batch, &error));
    assert_false(end_hold(scheduler, &ME, 1)); /* the flush has it locked */
    pg_fixture_exec(recorder, "COMMIT");
    assert_false(end_hold(scheduler, &ME, 1)); /* and now its row is seen */
    schedule_changes_free(&batch);
    ASK_IS("SELECT count(*) FROM holds", "1");
}

static void *insert_held(void *ctx) {
    struct schedule_changes *batch = schedule_changes_new();
    struct schedule_new row = new_row(1, 2);
    struct error mine;
    row.held = true;
    schedule_changes_new_row(batch, &row);
    bool done = connection_exec(recorder, "BEGIN", &mine) == STATUS_OK &&
                schedule_write(recorder, batch, &mine) == STATUS_OK &&
                connection_exec(recorder, "COMMIT", &mine) == STATUS_OK;
    schedule_changes_free(&batch);
    return done ? ctx : NULL;
}

static void test_flush_waits_for_an_ending_hold_and_makes_a_new_one(void **state) {
    (void)state;
    put_rows(1, 1, 1, true);
    /* The end of a hold, as far as its lock and its delete. */
    pg_fixture_exec(other, "BEGIN; SELECT FROM holds FOR UPDATE; DELETE FROM holds");
    pthread_t thread;
    void *done = NULL;
    assert_int_equal(pthread_create(&thread, NULL, insert_held, recorder), 0);
    pg_fixture_wait(scheduler, "SELECT count(*) FROM pg_locks WHERE NOT granted", "1");
    pg_fixture_exec(other, "COMMIT");
    assert_int_equal(pthread_join(thread, &done), 0);
    assert_non_null(done);
    ASK_IS("SELECT count(*) FROM holds", "1");
}

static void test_a_kept_lock_is_not_waited_for_long(void **state) {
    (void)state;
    put_rows(1, 1, 1, true);
    put_rows(1, 2, 2, false);
    pg_fixture_exec(recorder, "BEGIN; SELECT FROM holds FOR UPDATE");
    struct schedule_due due = seen(1, 2);
    struct result *holds = NULL;
    int64_t marked, began_ms = clock_mono_ms();
    assert_int_equal(schedule_mark_held(scheduler, &ME, &due, 1, HOLD_LEASE_MS, &marked, &holds, &error),
                     STATUS_CONFLICT);
    assert_true(clock_mono_ms() - began_ms < 5000);
    pg_fixture_exec(recorder, "ROLLBACK");
    assert_int_equal(mark(scheduler, &ME, 1, 2, 2), 1); /* the connection is as good as before */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, schedule_setup, schedule_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_held_rows_make_a_hold_that_is_taken),  TEST(test_leases_of_holds_are_renewed_at_half_time),
        TEST(test_marking_takes_a_hold_that_is_nobodys), TEST(test_marking_leaves_claimed_and_later_rows),
        TEST(test_a_crowd_is_out_of_the_way_soon),       TEST(test_drain_leases_up_to_the_slots),
        TEST(test_drain_is_bounded_in_bytes_and_hot),    TEST(test_drained_row_tried_again_is_an_ordinary_one),
        TEST(test_hold_ends_when_nothing_waits),         TEST(test_hold_with_an_expired_lease_does_not_end),
        TEST(test_row_inserted_while_a_hold_ends),       TEST(test_flush_waits_for_an_ending_hold_and_makes_a_new_one),
        TEST(test_a_kept_lock_is_not_waited_for_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
