#include "store/progress.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#define GROUP SPAN_LITERAL("g")

static struct progress_row row_of(const char *topic, int32_t partition) {
    return (struct progress_row){
        .topic = span_of(topic),
        .partition = partition,
        .lineage = numbered_uuid(1),
        .first_offset = 3,
        .epoch = 5,
        .next_offset = 10,
        .last_key = numbered_uuid(9),
        .done = {"\x05\0\x80", 3},
    };
}

static void test_a_row_comes_back_as_it_was_adopted(void **state) {
    (void)state;
    struct progress_stored stored = {.epoch = -1};
    struct progress_row row = row_of("t", 2);
    assert_int_equal(progress_lock(connection, GROUP, row.topic, 2, &stored, &error), STATUS_NOT_FOUND);
    assert_int_equal(stored.epoch, -1);
    ok(progress_adopt(connection, GROUP, &row, &error));
    ok(progress_lock(connection, GROUP, row.topic, 2, &stored, &error));
    assert_true(uuid_equal(&stored.lineage, &row.lineage));
    assert_true(uuid_equal(&stored.last_key, &row.last_key));
    assert_int_equal(stored.first_offset, 3);
    assert_int_equal(stored.epoch, 5);
    assert_int_equal(stored.next_offset, 10);
    assert_int_equal(stored.done_len, 3);
    assert_memory_equal(stored.done, row.done.data, 3);
    assert_int_equal(stored.reread_before, 0);
    progress_stored_deinit(&stored);
    assert_null(stored.done);

    /* A new owner's row replaces it. */
    row = row_of("t", 2);
    row.lineage = numbered_uuid(2);
    row.epoch = 6;
    row.next_offset = 4;
    row.last_key = UUID_NIL;
    row.done = SPAN_LITERAL("");
    row.reread_before = 77;
    ok(progress_adopt(connection, GROUP, &row, &error));
    ok(progress_lock(connection, GROUP, row.topic, 2, &stored, &error));
    assert_int_equal(stored.lineage.bytes[15], 2);
    assert_int_equal(stored.epoch, 6);
    assert_int_equal(stored.next_offset, 4);
    assert_true(uuid_equal(&stored.last_key, &UUID_NIL));
    assert_int_equal(stored.done_len, 0);
    assert_int_equal(stored.reread_before, 77);
    progress_stored_deinit(&stored);
    expect_sql("SELECT count(*) || ' ' || count(last_key) FROM progress", "1 0");
}

static void test_a_group_is_known_by_any_row(void **state) {
    (void)state;
    bool known = true;
    struct progress_row row = row_of("t", 0);
    ok(progress_group_known(connection, GROUP, &known, &error));
    assert_false(known);
    ok(progress_adopt(connection, SPAN_LITERAL("other"), &row, &error));
    ok(progress_group_known(connection, GROUP, &known, &error));
    assert_false(known);
    ok(progress_adopt(connection, GROUP, &row, &error));
    ok(progress_group_known(connection, GROUP, &known, &error));
    assert_true(known);
}

/* Rule P3. */
static void test_only_partitions_of_the_same_epoch_advance(void **state) {
    (void)state;
    struct progress_row rows[4];
    bool owned[4] = {true, true, true, true};
    for (int i = 0; i < 3; i++) {
        rows[i] = row_of(i == 2 ? "u" : "t", i);
        ok(progress_adopt(connection, GROUP, &rows[i], &error));
    }
    rows[3] = row_of("u", 3); /* nobody adopted it */
    exec_sql("UPDATE progress SET epoch = 6 WHERE part = 1; UPDATE progress SET updated_at = '2001-01-01Z'");
    for (int i = 0; i < 4; i++) {
        rows[i].next_offset = 20 + i;
        rows[i].last_key = i ? numbered_uuid(30 + i) : UUID_NIL;
        rows[i].done = i == 2 ? SPAN_LITERAL("\x02") : SPAN_LITERAL("");
    }
    ok(progress_advance(connection, GROUP, rows, 4, owned, &error));
    assert_true(owned[0] && !owned[1] && owned[2] && !owned[3]);
    expect_sql(
        "SELECT string_agg(topic || part || ':' || next_offset || ':' || coalesce(right(last_key::text, 2), '-')"
        " || ':' || encode(done, 'hex') || ':' || (updated_at > '2020-01-01Z'), ' ' ORDER BY part) FROM progress",
        "t0:20:-::true t1:10:09:050080:false u2:22:20:02:true");
    expect_sql("SELECT count(DISTINCT (lineage, first_offset)) FROM progress", "1");
    ok(progress_advance(connection, SPAN_LITERAL("other"), rows, 4, owned, &error));
    assert_false(owned[0] || owned[1] || owned[2] || owned[3]);
}

static void test_peeking_takes_no_lock(void **state) {
    (void)state;
    int64_t epoch = -1, next_offset = -1;
    struct progress_row row = row_of("t", 0);
    assert_int_equal(progress_peek(connection, GROUP, row.topic, 0, &epoch, &next_offset, &error), STATUS_NOT_FOUND);
    assert_int_equal(epoch, -1);
    ok(progress_adopt(connection, GROUP, &row, &error));
    struct connection *other = pg_fixture_connect(database);
    pg_fixture_exec(other, "BEGIN; SELECT FROM progress FOR UPDATE");
    ok(progress_peek(connection, GROUP, row.topic, 0, &epoch, &next_offset, &error));
    assert_int_equal(epoch, 5);
    assert_int_equal(next_offset, 10);
    /* Whoever wants to write waits. */
    exec_sql("SET lock_timeout = '50ms'");
    struct progress_stored stored;
    assert_int_equal(progress_lock(connection, GROUP, row.topic, 0, &stored, &error), STATUS_CONFLICT);
    connection_free(&other);
}

struct advancing {
    pthread_t thread;
    int failed;
};

/* Rule P9: locks in the order of the keys, whatever the order of the rows in the table. */
static void *advance_often(void *ctx) {
    struct advancing *advancing = ctx;
    struct connection *own = pg_fixture_connect(database);
    struct error own_error;
    struct progress_row rows[8];
    bool owned[8];
    for (int i = 0; i < 8; i++)
        rows[i] = row_of("t", i);
    for (int round = 0; round < 50; round++)
        advancing->failed += progress_advance(own, GROUP, rows, 8, owned, &own_error) != STATUS_OK || !owned[7];
    connection_free(&own);
    return NULL;
}

static void test_two_at_once_do_not_deadlock(void **state) {
    (void)state;
    for (int i = 7; i >= 0; i--) {
        struct progress_row row = row_of("t", i);
        ok(progress_adopt(connection, GROUP, &row, &error));
    }
    struct advancing both[2] = {{.failed = 0}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&both[i].thread, NULL, advance_often, &both[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(both[i].thread, NULL);
        assert_int_equal(both[i].failed, 0);
    }
}

static void test_a_database_has_an_identity(void **state) {
    (void)state;
    struct buffer one, two;
    buffer_init(&one, 128);
    buffer_init(&two, 128);
    ok(progress_database_identity(connection, &one, &error));
    connection_close(connection);
    ok(connection_open(connection, 5000, &error));
    ok(progress_database_identity(connection, &two, &error));
    assert_true(one.len > 3 && memchr(one.data, '/', one.len));
    assert_true(span_equal(buffer_view(&one), buffer_view(&two)));
    buffer_deinit(&one);
    buffer_deinit(&two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_a_row_comes_back_as_it_was_adopted),
        STORE_TEST(test_a_group_is_known_by_any_row),
        STORE_TEST(test_only_partitions_of_the_same_epoch_advance),
        STORE_TEST(test_peeking_takes_no_lock),
        STORE_TEST(test_two_at_once_do_not_deadlock),
        STORE_TEST(test_a_database_has_an_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
