#include "store/rejected.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/partitions.h"
#include "store_fixture.h"

static void insert_records(void) {
    ok(partitions_ensure(connection, &error));
    exec_sql("INSERT INTO rejected_events (created_at, id, workspace_id, code, reason, topic, part, record_offset, "
             "record_time, "
             "record_key, headers, body) SELECT date_trunc('second', now()) - n / 2 * interval '1 ms', "
             "('00000000-0000-7000-8000-00000000000' || n)::uuid, CASE WHEN n < 3 THEN 'w' WHEN n < 5 THEN 'v' END, "
             "CASE WHEN n % 2 = 0 THEN 'bad_json' ELSE 'bad_type' END, 'r', 't', n, 7, now(), 'k', '{}', "
             "convert_to(repeat('x', 4000 + n * 100), 'UTF8') FROM generate_series(0, 5) n");
}

static int count_of(struct rejected_page page) {
    struct result *rows = NULL;
    page.limit = 10;
    ok(rejected_list(connection, &page, &rows, &error));
    int count = result_rows(rows);
    result_free(&rows);
    return count;
}

static void test_a_list_in_pages(void **state) {
    (void)state;
    insert_records();
    struct rejected_page page = {.limit = 4};
    struct rejected_record record;
    struct result *rows = NULL;
    static const int ORDER[] = {1, 0, 3, 2, 5, 4};
    for (int seen = 0; seen < 6;) {
        ok(rejected_list(connection, &page, &rows, &error));
        assert_int_equal(result_rows(rows), seen ? 2 : 4);
        for (int i = 0; i < result_rows(rows); i++, seen++) {
            rejected_record_read(rows, i, &record);
            assert_int_equal(record.partition, ORDER[seen]);
            assert_int_equal(record.value_bytes, 4000 + ORDER[seen] * 100);
            assert_int_equal(record.value.len,
                             record.value_bytes < REJECTED_LIST_BYTES ? record.value_bytes : REJECTED_LIST_BYTES);
            assert_true(record.offset == 7 && record.republished_at_ms == 0 && span_is(record.record_key, "k"));
        }
        page.before_us = record.created_at_us;
        page.before_id = record.id;
        result_free(&rows);
    }
    assert_int_equal(count_of((struct rejected_page){.workspace_id = SPAN_LITERAL("w")}), 3);
    assert_int_equal(count_of((struct rejected_page){.code = SPAN_LITERAL("bad_json")}), 3);
    assert_int_equal(
        count_of((struct rejected_page){.workspace_id = SPAN_LITERAL("v"), .code = SPAN_LITERAL("bad_type")}), 1);
    assert_int_equal(count_of((struct rejected_page){.since_ms = 4000000000000}), 0);
    assert_int_equal(count_of((struct rejected_page){.until_ms = 1000}), 0);
}

static void test_one_and_whose_it_is(void **state) {
    (void)state;
    insert_records();
    struct result *rows = NULL;
    struct rejected_record record;
    struct uuid own = numbered_uuid(2), nobodys = numbered_uuid(5), none = numbered_uuid(9);
    ok(rejected_get(connection, SPAN_LITERAL("w"), &own, &rows, &error));
    rejected_record_read(rows, 0, &record);
    assert_int_equal(record.value.len, 4200);
    result_free(&rows);
    assert_int_equal(rejected_get(connection, SPAN_LITERAL("v"), &own, &rows, &error), STATUS_NOT_FOUND);
    assert_int_equal(rejected_get(connection, SPAN_LITERAL("w"), &nobodys, &rows, &error), STATUS_NOT_FOUND);
    assert_int_equal(rejected_get(connection, SPAN_NONE, &none, &rows, &error), STATUS_NOT_FOUND);
    ok(rejected_get(connection, SPAN_NONE, &nobodys, &rows, &error));
    rejected_record_read(rows, 0, &record);
    assert_null(record.workspace_id.data);
    result_free(&rows);
}

static void test_what_was_sent_again_is_marked(void **state) {
    (void)state;
    insert_records();
    struct uuid id = numbered_uuid(2);
    exec_sql("SET hookcast.key = '00000000-0000-7000-8000-000000000009'");
    ok(rejected_mark(connection, &id, true, &error));
    expect_sql(
        "SELECT string_agg(part::text, ',') FROM rejected_events WHERE republished_at > now() - interval '1 minute'",
        "2");
    expect_sql("SELECT workspace_id || ' ' || action || ' ' || target || ' ' || (after ->> 'corrected') FROM audit",
               "w rejected_event.republished 00000000-0000-7000-8000-000000000002 true");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_a_list_in_pages),
        STORE_TEST(test_one_and_whose_it_is),
        STORE_TEST(test_what_was_sent_again_is_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
