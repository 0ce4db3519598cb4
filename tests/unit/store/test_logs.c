#include "store/logs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/partitions.h"
#include "store_fixture.h"

static struct log_row row_of(int number) {
    return (struct log_row){
        .created_at_ms = clock_wall_ms(),
        .id = numbered_uuid(number),
        .workspace_id = SPAN_LITERAL("w"),
        .event_key = numbered_uuid(100 + number),
        .event_id = SPAN_LITERAL("e"),
        .subscription_id = numbered_uuid(3),
        .event_type = SPAN_LITERAL("order.created"),
        .webhook_url = SPAN_LITERAL("https://example.com/"),
        .delivery_status = "failed",
        .duration_ms = -1,
        .attempt = 1,
    };
}

static void write_row(const struct log_row *row) {
    struct buffer rows;
    buffer_init(&rows, 1024 * 1024);
    logs_row(&rows, row);
    ok(logs_copy(connection, buffer_view(&rows), &error));
    buffer_deinit(&rows);
}

static void test_every_column(void **state) {
    (void)state;
    ok(partitions_ensure(connection, &error));
    struct log_row row = row_of(1);
    row.delivery_status = "success";
    row.status_code = 204;
    row.response_body = SPAN_LITERAL("answer");
    row.error = SPAN_LITERAL("why");
    row.error_code = SPAN_LITERAL("timeout");
    row.attempt = 3;
    row.duration_ms = 0;
    row.next_attempt_at_ms = 1700000000123LL;
    row.given_up = true;
    row.render_version = 12;
    row.sent_at_ms = 1700000000456LL;
    row.replay = true;
    row.test = true;
    write_row(&row);
    expect_sql("SELECT concat_ws('|', right(id::text, 2), workspace_id, right(event_key::text, 2), event_id,"
               " right(subscription_id::text, 2), event_type, webhook_url, delivery_status, status_code, response_body,"
               " error, error_code, attempt, duration_ms, next_attempt_at, given_up, coalesce(batch_id::text, '-'),"
               " render_version, sent_at, replay, test) FROM delivery_logs",
               "01|w|65|e|03|order.created|https://example.com/|success|204|answer|why|timeout|3|0|"
               "2023-11-14 22:13:20.123+00|t|-|12|2023-11-14 22:13:20.456+00|t|t");
}

static void test_what_is_not_known_is_null(void **state) {
    (void)state;
    ok(partitions_ensure(connection, &error));
    struct log_row row = row_of(1);
    row.response_body = (struct span){"", 0}; /* kept, and empty: not the same as not kept */
    write_row(&row);
    expect_sql("SELECT concat_ws('|', status_code, error, error_code, duration_ms, next_attempt_at, batch_id,"
               " render_version, sent_at) || '<' || response_body || '>' || given_up || replay || test"
               " FROM delivery_logs",
               "<>falsefalsefalse");
}

static void test_many_at_once_or_none(void **state) {
    (void)state;
    ok(partitions_ensure(connection, &error));
    ok(logs_copy(connection, SPAN_LITERAL(""), &error));
    struct buffer rows;
    buffer_init(&rows, 8 * 1024 * 1024);
    for (int i = 0; i < 2000; i++) {
        struct log_row row = row_of(i);
        logs_row(&rows, &row);
    }
    ok(logs_copy(connection, buffer_view(&rows), &error));
    expect_sql("SELECT count(*) FROM delivery_logs", "2000");
    struct log_row homeless = row_of(1); /* there is no such day: then none of them is written */
    homeless.created_at_ms = 1000;
    logs_row(&rows, &homeless);
    assert_int_equal(logs_copy(connection, buffer_view(&rows), &error), STATUS_FAILED);
    expect_sql("SELECT count(*) FROM delivery_logs", "2000");
    buffer_deinit(&rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_every_column),
        STORE_TEST(test_what_is_not_known_is_null),
        STORE_TEST(test_many_at_once_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
