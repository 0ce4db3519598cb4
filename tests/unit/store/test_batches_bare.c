/* Rows of batches that left from memory: without a body until they need one. */
#include "store/batches.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "schedule_fixture.h"
#include "store/event_erase.h"
#include "store/events.h"
#include "webhook/batch.h"

#define MEMBERS 3
#define LEASE_MS 60000

static struct partition_bounds bounds;
static struct event *batches[4];

static int bare_setup(void **state) {
    schedule_setup(state);
    MUST(partitions_ensure(recorder, &error));
    MUST(partitions_read_bounds(recorder, &bounds, &error));
    return 0;
}

static int bare_teardown(void **state) {
    for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++)
        event_unref(&batches[i]);
    return schedule_teardown(state);
}

#define BARE_TEST(test) cmocka_unit_test_setup_teardown(test, bare_setup, bare_teardown)

/* What a flush writes of a batch: its events, what it holds, and its row. Its id is the row's key. */
static void put_bare(int row) {
    struct schedule_changes *changes = schedule_changes_new();
    struct event *members[MEMBERS];
    struct buffer events, noted;
    int64_t now_ms = bounds.now_ms;
    struct schedule_new new = new_row(1, row);
    buffer_init(&events, 1 << 20);
    buffer_init(&noted, 1 << 20);
    for (int i = 0; i < MEMBERS; i++) {
        members[i] = make_event(10 * row + i, 40);
        events_row(&events, now_ms, members[i], NULL, 0);
    }
    batches[row] = batch_new(&new.key.row_key, members, MEMBERS);
    batches_row(&noted, now_ms, &new.key.subscription_id, batches[row]);
    new.event = batches[row];
    new.attempt = 1;
    new.lease_ms = LEASE_MS;
    new.bare = true;
    schedule_changes_new_row(changes, &new);
    pg_fixture_exec(recorder, "BEGIN");
    MUST(events_copy(recorder, buffer_view(&events), &error));
    MUST(batches_copy(recorder, buffer_view(&noted), &error));
    MUST(schedule_write(recorder, changes, &error));
    pg_fixture_exec(recorder, "COMMIT");
    for (int i = 0; i < MEMBERS; i++)
        event_unref(&members[i]);
    buffer_deinit(&events);
    buffer_deinit(&noted);
    schedule_changes_free(&changes);
}

/* The row has the records of its batch's members from `skipped` on. */
static void expect_body(int row, int skipped) {
    static const struct statement BODY = {"SELECT body FROM schedule WHERE row_key = $1"};
    struct params params;
    struct result *result = NULL;
    struct buffer wanted;
    buffer_init(&wanted, 1 << 20);
    for (int i = skipped; i < MEMBERS; i++)
        batch_add_record(batches[row]->members[i], &wanted);
    params_init(&params);
    params_uuid(&params, &batches[row]->key);
    MUST(connection_run(recorder, &BODY, &params, &result, &error));
    assert_int_equal(result_rows(result), 1);
    struct span got = result_text(result, 0, 0);
    assert_int_equal(got.len, wanted.len);
    assert_memory_equal(got.data, wanted.data, wanted.len);
    result_free(&result);
    params_deinit(&params);
    buffer_deinit(&wanted);
}

static void fill(int first, int last) {
    struct schedule_due rows[4];
    for (int row = first; row <= last; row++)
        rows[row - first] = (struct schedule_due){.key = key_of(1, row)};
    MUST(batches_fill(scheduler, rows, (size_t)(last - first + 1), &error));
}

static void test_a_row_is_written_without_its_body_and_filled_with_the_same_bytes(void **state) {
    (void)state;
    put_bare(1);
    put_bare(2);
    put_bare(3);
    ASK_IS("SELECT string_agg(octet_length(body) || ' ' || kind || ' ' || fence, ', ') FROM schedule",
           "0 1 1, 0 1 1, 0 1 1");
    fill(1, 2);
    expect_body(1, 0);
    expect_body(2, 0);
    ASK_IS("SELECT count(*) FROM schedule WHERE body = ''", "1");
    /* Once: what is there stays. */
    pg_fixture_exec(recorder, "UPDATE schedule SET body = 'x' WHERE get_byte(uuid_send(row_key), 15) = 1");
    fill(1, 3);
    ASK_IS("SELECT string_agg((body = 'x')::text, ' ' ORDER BY row_key) FROM schedule", "true false false");
    expect_body(3, 0);
}

/* An operator has dropped a day. */
static void test_what_is_left_of_a_batch_is_sent_and_of_which_nothing_is_left_can_not_be_read(void **state) {
    (void)state;
    put_bare(1);
    put_bare(2);
    pg_fixture_exec(recorder, "DELETE FROM events WHERE record_offset IN (10, 20, 21, 22)");
    fill(1, 2);
    expect_body(1, 1);
    ASK_IS("SELECT encode(body, 'hex') FROM schedule WHERE get_byte(uuid_send(row_key), 15) = 2", "00");
    fill(1, 2);
}

/* What becomes of the first attempt: the row is written by its process, body included. */
static void test_a_row_that_stays_gets_its_body_with_what_becomes_of_it(void **state) {
    (void)state;
    struct schedule_changes *changes = schedule_changes_new();
    struct schedule_key keys[] = {key_of(1, 1), key_of(1, 2), key_of(1, 3)};
    for (int row = 1; row <= 3; row++)
        put_bare(row);
    /* A part of the last one was erased meanwhile. */
    fill(3, 3);
    pg_fixture_exec(recorder, "UPDATE schedule SET body = 'less' WHERE get_byte(uuid_send(row_key), 15) = 3");
    schedule_changes_retry(changes, &keys[0], 1, 2, 5000);
    schedule_changes_body(changes, batches[1]);
    schedule_changes_hold(changes, &keys[1], 1);
    schedule_changes_body(changes, batches[2]);
    schedule_changes_retry(changes, &keys[2], 1, 2, 5000);
    schedule_changes_body(changes, batches[3]);
    write_batch(changes);
    ASK_IS("SELECT string_agg(concat_ws(' ', attempt, held, lease_until IS NULL, due_at > now()), ', ' "
           "ORDER BY row_key) FROM schedule",
           "2 f t t, 1 t t f, 2 f t t");
    expect_body(1, 0);
    expect_body(2, 0);
    ASK_IS("SELECT convert_from(body, 'UTF8') FROM schedule WHERE get_byte(uuid_send(row_key), 15) = 3", "less");
    /* Whose row is another's by now changes nothing. */
    pg_fixture_exec(recorder, "UPDATE schedule SET body = '', fence = 5");
    schedule_changes_retry(changes, &keys[0], 1, 2, 5000);
    schedule_changes_body(changes, batches[1]);
    write_batch(changes);
    ASK_IS("SELECT count(*) FROM schedule WHERE body = ''", "3");
    schedule_changes_free(&changes);
}

static void test_halves_take_its_place_unless_something_was_erased_from_it(void **state) {
    (void)state;
    struct schedule_changes *changes = schedule_changes_new();
    for (int row = 1; row <= 2; row++) {
        struct schedule_key key = key_of(1, row);
        put_bare(row);
        struct schedule_new halves[] = {new_row(1, 20 + 2 * row), new_row(1, 21 + 2 * row)};
        schedule_changes_split(changes, &key, 1, batch_body_bytes(batches[row]), halves);
        schedule_changes_body(changes, batches[row]);
    }
    MUST(event_erase(other, WORKSPACE, &batches[2]->members[1]->key, &error));
    pg_fixture_exec(recorder, "BEGIN");
    MUST(schedule_write(recorder, changes, &error));
    pg_fixture_exec(recorder, "COMMIT");
    assert_true(schedule_changes_was_split(changes, 0));
    assert_false(schedule_changes_was_split(changes, 1));
    schedule_changes_free(&changes);
}

static void test_what_is_erased_leaves_them_too(void **state) {
    (void)state;
    for (int row = 1; row <= 2; row++)
        put_bare(row);
    for (int i = 0; i < 2; i++)
        MUST(event_erase(other, WORKSPACE, &batches[1]->members[0]->key, &error));
    expect_body(1, 1);
    /* The other one has nothing to do with it. */
    ASK_IS("SELECT string_agg((body = '')::text, ' ' ORDER BY row_key) FROM schedule", "false true");
    ASK_IS("SELECT count(*) FROM delivery_logs", "0");
    MUST(event_erase(other, WORKSPACE, &batches[1]->members[1]->key, &error));
    MUST(event_erase(other, WORKSPACE, &batches[1]->members[2]->key, &error));
    ASK_IS("SELECT count(*) || ' ' || bool_and(body = '') FROM schedule", "1 true");
    ASK_IS("SELECT delivery_status || ' ' || (batch_id = event_key) FROM delivery_logs", "cancelled true");
}

static void test_nobody_takes_one_for_a_sweep_before_it_has_its_body(void **state) {
    (void)state;
    struct schedule_key endpoint = key_of(1, 0);
    endpoint.row_key = UUID_NIL;
    put_bare(1);
    pg_fixture_exec(recorder, "UPDATE schedule SET lease_until = now() - interval '1 s'");
    for (int filled = 0; filled < 2; filled++) {
        struct result *rows = NULL;
        MUST(schedule_claim_endpoint(scheduler, &endpoint, 1, 10, 1 << 20, 1000, &rows, &error));
        assert_int_equal(result_rows(rows), filled);
        result_free(&rows);
        fill(1, 1);
    }
}

static void test_those_that_nobody_came_for_are_filled_before_days_are_dropped(void **state) {
    (void)state;
    put_bare(1);
    put_bare(2);
    pg_fixture_exec(recorder, "UPDATE schedule SET due_at = now() - interval '1 hour' "
                              "WHERE get_byte(uuid_send(row_key), 15) = 1");
    for (int i = 0; i < 2; i++)
        MUST(batches_fill_forgotten(recorder, &error));
    expect_body(1, 0);
    ASK_IS("SELECT string_agg((body = '')::text, ' ' ORDER BY row_key) FROM schedule", "false true");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BARE_TEST(test_a_row_is_written_without_its_body_and_filled_with_the_same_bytes),
        BARE_TEST(test_what_is_left_of_a_batch_is_sent_and_of_which_nothing_is_left_can_not_be_read),
        BARE_TEST(test_a_row_that_stays_gets_its_body_with_what_becomes_of_it),
        BARE_TEST(test_halves_take_its_place_unless_something_was_erased_from_it),
        BARE_TEST(test_what_is_erased_leaves_them_too),
        BARE_TEST(test_nobody_takes_one_for_a_sweep_before_it_has_its_body),
        BARE_TEST(test_those_that_nobody_came_for_are_filled_before_days_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
