/* What an event's answer says of its subscriptions, from rows as the database may have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"
#include "api/event_view.h"
#include "db/migrate.h"
#include "store/partitions.h"
#include <jansson.h>

#define SUB(n) "00000000-0000-7000-8000-00000000000" #n
#define KEY "018bcfe5-6800-8000-8000-000000000001"

static char *database;
static struct connection *connection;
static struct error error;

static int setup(void **state) {
    (void)state;
    database = pg_fixture_database();
    connection = pg_fixture_connect(database);
    if (migrate_run(connection, pg_fixture_sql(), NULL, NULL, NULL, &error) != STATUS_OK ||
        partitions_ensure(connection, &error) != STATUS_OK)
        return -1;
    pg_fixture_exec(
        connection,
        "CREATE FUNCTION put_event(value text, skipped uuid[] DEFAULT NULL, headers text DEFAULT '{}') RETURNS "
        "void LANGUAGE sql AS $$INSERT INTO events SELECT now(), '" KEY "', 'w1', 'e1', 'order.made', now(), "
        "'events.order.made', 3, 42, now(), 'w1'::bytea, headers, convert_to(value, 'UTF8'), skipped$$;"
        "CREATE FUNCTION put_subscription(n int, status text DEFAULT 'active') "
        "RETURNS void LANGUAGE sql AS $$INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, "
        "status, created_at, updated_at) SELECT 'w1', ('00000000-0000-7000-8000-00000000000' || n)::uuid, "
        "'https://example.com/', '{*}', status, now() - interval '1 h', now()$$;"
        "CREATE FUNCTION put_log(n int, status text, ms int, gave_up bool DEFAULT false, replay bool DEFAULT "
        "false) RETURNS void LANGUAGE sql AS $$INSERT INTO delivery_logs (created_at, id, workspace_id, "
        "event_key, event_id, subscription_id, event_type, webhook_url, delivery_status, attempt, given_up, "
        "replay) SELECT now() + ms * interval '1 ms', gen_random_uuid(), 'w1', '" KEY "', 'e1', "
        "('00000000-0000-7000-8000-00000000000' || n)::uuid, 'order.made', '', status, 1, gave_up, replay$$");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    connection_free(&connection);
    pg_fixture_drop(&database);
    return 0;
}

static int clear(void **state) {
    (void)state;
    pg_fixture_exec(connection, "TRUNCATE events, delivery_logs, subscriptions, schedule");
    return 0;
}

static json_t *view(void) {
    struct event_trace trace;
    struct buffer out;
    json_error_t where;
    if (event_lookup(connection, SPAN_LITERAL("w1"), SPAN_LITERAL("e1"), &trace, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    buffer_init(&out, 1024 * 1024);
    event_view_write(&trace, SPAN_LITERAL("w1"), SPAN_LITERAL("events."), &out);
    json_t *json = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    if (!json)
        fail_msg("%s: %s", where.text, out.data);
    buffer_deinit(&out);
    event_trace_deinit(&trace);
    return json;
}

static const char *text_of(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    assert_non_null(value);
    return json_is_string(value) ? json_string_value(value) : "-";
}

static void expect_fate(const json_t *found, const char *id, const char *reason, const char *state) {
    const json_t *subscriptions = json_object_get(found, "subscriptions");
    for (size_t i = 0; i < json_array_size(subscriptions); i++) {
        const json_t *one = json_array_get(subscriptions, i);
        if (strcmp(text_of(one, "id"), id) != 0)
            continue;
        assert_string_equal(text_of(one, "reason"), reason);
        assert_string_equal(text_of(one, "state"), state);
        assert_int_equal(json_is_true(json_object_get(one, "matched")), strcmp(reason, "-") == 0);
        return;
    }
    fail_msg("%s is not there", id);
}

static void test_the_last_row_decides(void **state) {
    (void)state;
    pg_fixture_exec(connection,
                    "SELECT put_event('{\"payload\":1}'), put_subscription(1), put_subscription(2), "
                    "put_subscription(3), put_subscription(4), put_log(1, 'failed', 1, true), "
                    "put_log(1, 'success', 2, false, true), put_log(2, 'success', 1), "
                    "put_log(2, 'failed', 2, true, true), put_log(3, 'failed', 1), put_log(3, 'cancelled', 2), "
                    "put_log(4, 'failed', 1), put_log(9, 'success', 1)");
    json_t *found = view();
    expect_fate(found, SUB(1), "-", "delivered");
    expect_fate(found, SUB(2), "-", "given_up");
    expect_fate(found, SUB(3), "-", "cancelled");
    expect_fate(found, SUB(4), "-", "waiting");
    expect_fate(found, SUB(9), "-", "delivered"); /* gone from the table */
    json_decref(found);
    pg_fixture_exec(connection, "UPDATE events SET body = ''");
    found = view();
    assert_true(json_is_true(json_object_get(found, "erased")));
    expect_fate(found, SUB(1), "-", "delivered");
    expect_fate(found, SUB(4), "-", "cancelled"); /* nothing will come of it */
    json_decref(found);
}

static void test_reasons(void **state) {
    (void)state;
    pg_fixture_exec(connection, "SELECT put_event('{\"payload\":{\"n\":5}}', ARRAY['" SUB(1) "', '" SUB(2) "', '" SUB(
                                    3) "']::uuid[]), put_subscription(1, 'paused'), put_subscription(2, 'disabled'), "
                                       "put_subscription(3), put_subscription(4), put_subscription(5), "
                                       "put_subscription(6), "
                                       "put_subscription(7);"
                                       "UPDATE subscriptions SET filter = '{\"payload.n\": 6}' WHERE id = '" SUB(
                                           5) "'; UPDATE subscriptions SET created_at = now() + interval '1 s' WHERE "
                                              "id = '" SUB(6) "'; UPDATE subscriptions SET event_types = "
                                                              "'{order.made.x,orders.*,order}' "
                                                              "WHERE id = '" SUB(7) "'");
    json_t *found = view();
    expect_fate(found, SUB(1), "paused", "skipped");
    expect_fate(found, SUB(2), "disabled", "skipped");
    expect_fate(found, SUB(3), "inactive", "skipped");
    expect_fate(found, SUB(4), "not_then", "-");
    expect_fate(found, SUB(5), "filter", "-");
    expect_fate(found, SUB(6), "created_later", "-");
    expect_fate(found, SUB(7), "type", "-");
    json_decref(found);
}

static void test_the_record_is_read_again(void **state) {
    (void)state;
    pg_fixture_exec(connection,
                    "SELECT put_event('{\"payload\": {\"n\": 1.0, \"a\": [ 1 , 2 ]}, \"event_source\": \"sh\\u00f6p\", "
                    "\"deliver_at\": 1760000000123}', NULL, '{\"traceparent\":\"00-1\"}')");
    json_t *found = view();
    assert_string_equal(text_of(found, "event_source"), "sh\xc3\xb6p");
    assert_string_equal(text_of(found, "deliver_at"), "2025-10-09T08:53:20.123Z");
    assert_int_equal(json_array_size(json_object_get(json_object_get(found, "payload"), "a")), 2);
    const json_t *kafka = json_object_get(found, "kafka");
    assert_string_equal(text_of(kafka, "topic"), "events.order.made");
    assert_int_equal(json_integer_value(json_object_get(kafka, "offset")), 42);
    assert_string_equal(text_of(json_object_get(kafka, "headers"), "traceparent"), "00-1");
    json_decref(found);
    /* What this installation could not read leaves the rest as it is; a key need not be text. */
    pg_fixture_exec(connection, "UPDATE events SET body = '[]', record_key = '\\xff00'");
    found = view();
    assert_true(json_is_null(json_object_get(found, "payload")));
    assert_true(json_is_false(json_object_get(found, "erased")));
    json_decref(found);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_the_last_row_decides, clear),
        cmocka_unit_test_teardown(test_reasons, clear),
        cmocka_unit_test_teardown(test_the_record_is_read_again, clear),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
