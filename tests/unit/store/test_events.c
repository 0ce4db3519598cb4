#include "store/events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/partitions.h"
#include "store_fixture.h"

static struct event *event_of(int64_t offset, const char *workspace) {
    char value[256];
    snprintf(value, sizeof(value),
             "{\"id\":\"e%lld\",\"workspace_id\":\"%s\",\"occurred_at\":\"2024-01-02T03:04:05Z\","
             "\"payload\":{\"text\":\"\\u0000\"}}",
             (long long)offset, workspace);
    struct event_header headers[] = {
        {SPAN_LITERAL("traceparent"), SPAN_LITERAL("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}};
    struct event_record record = {.topic = SPAN_LITERAL("events.order.created"),
                                  .partition = 2,
                                  .offset = offset,
                                  .timestamp_ms = 1700000000123LL,
                                  .key = {"k\0\xff", 3},
                                  .value = span_of(value),
                                  .headers = headers,
                                  .header_count = 1};
    struct event_rules rules = {.topic_prefix = SPAN_LITERAL("events.")};
    struct event_rejection rejection;
    struct event *event = NULL;
    if (event_read(&record, &rules, &event, &rejection) != EVENT_ACCEPTED)
        fail_msg("%s", rejection.reason.text);
    return event;
}

static void test_an_event_is_kept_as_the_record_was(void **state) {
    (void)state;
    ok(partitions_ensure(connection, &error));
    struct event *event = event_of(7, "w");
    struct uuid skipped[] = {numbered_uuid(1), numbered_uuid(2)};
    struct buffer rows;
    buffer_init(&rows, 1024 * 1024);
    events_row(&rows, clock_wall_ms(), event, skipped, 2);
    events_row(&rows, clock_wall_ms(), event, NULL, 0); /* nothing is unique here */
    ok(events_copy(connection, buffer_view(&rows), &error));
    ok(events_copy(connection, SPAN_LITERAL(""), &error));
    char key[UUID_TEXT_LEN + 1], sql[512];
    uuid_format(&event->key, key);
    snprintf(sql, sizeof(sql),
             "SELECT concat_ws('|', event_key = '%s', workspace_id, event_id, event_type, occurred_at, topic, part,"
             " record_offset, record_time, encode(record_key, 'hex'), cardinality(skipped))"
             " FROM events WHERE skipped IS NOT NULL",
             key);
    expect_sql(sql, "t|w|e7|order.created|2024-01-02 03:04:05+00|events.order.created|2|7|2023-11-14 22:13:20.123+00|"
                    "6b00ff|2");
    expect_sql("SELECT count(*) FROM events WHERE convert_from(body, 'UTF8') LIKE '%\"text\":\"\\\\u0000\"%'"
               " AND headers::json->>'traceparent' LIKE '00-0af%'",
               "2");
    buffer_deinit(&rows);
    event_unref(&event);
}

static void test_a_rejected_record_keeps_every_byte(void **state) {
    (void)state;
    ok(partitions_ensure(connection, &error));
    struct rejected_row row = {
        .created_at_ms = clock_wall_ms(),
        .id = numbered_uuid(1),
        .code = SPAN_LITERAL("bad_json"),
        .reason = SPAN_LITERAL("byte 0"),
        .topic = SPAN_LITERAL("t"),
        .partition = 1,
        .offset = 5,
        .record_time_ms = 1700000000123LL,
        .record_key = SPAN_NONE,
        .headers = SPAN_LITERAL("{}"),
        .value = {"\xff\0{", 3},
    };
    struct buffer rows;
    buffer_init(&rows, 1024 * 1024);
    events_rejected_row(&rows, &row);
    row.record_key = SPAN_LITERAL("");
    row.value = SPAN_NONE;
    row.offset = 6;
    events_rejected_row(&rows, &row);
    ok(events_copy_rejected(connection, buffer_view(&rows), &error));
    ok(events_copy_rejected(connection, SPAN_LITERAL(""), &error));
    expect_sql("SELECT string_agg(concat_ws('|', code, reason, topic, part, record_offset, headers,"
               " coalesce('<' || encode(record_key, 'hex') || '>', '-'), coalesce(encode(body, 'hex'), '-')), ' '"
               " ORDER BY record_offset) FROM rejected_events",
               "bad_json|byte 0|t|1|5|{}|-|ff007b bad_json|byte 0|t|1|6|{}|<>|-");
    buffer_deinit(&rows);
}

static void test_which_are_known_by_workspace_and_key(void **state) {
    (void)state;
    ok(partitions_ensure(connection, &error));
    enum { COUNT = 40 };
    struct event *events[COUNT];
    bool known[COUNT];
    struct buffer rows;
    buffer_init(&rows, 1024 * 1024);
    for (int i = 0; i < COUNT; i++) {
        events[i] = event_of(i, "w");
        known[i] = i % 3 != 0; /* the wrong way round */
        if (i % 3 == 0)
            events_row(&rows, clock_wall_ms(), events[i], NULL, 0);
    }
    ok(events_copy(connection, buffer_view(&rows), &error));
    ok(events_known(connection, events, COUNT, known, &error));
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(known[i], i % 3 == 0);
    struct event *stranger = event_of(0, "another");
    ok(events_known(connection, &stranger, 1, known, &error));
    assert_false(known[0]);
    ok(events_known(connection, events, 0, known, &error));
    for (int i = 0; i < COUNT; i++)
        event_unref(&events[i]);
    event_unref(&stranger);
    buffer_deinit(&rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_an_event_is_kept_as_the_record_was),
        STORE_TEST(test_a_rejected_record_keeps_every_byte),
        STORE_TEST(test_which_are_known_by_workspace_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
