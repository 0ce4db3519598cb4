#include "store/roster_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#define ID(digit) "00000000-0000-7000-8000-00000000000" digit
#define INSERT(workspace, digit)                                                                                       \
    "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types) VALUES ('" workspace                       \
    "', '" ID(digit) "', 'https://example.com/', '{order.*}');"

/* Whose rows these are, as the last digits of their ids. */
static const char *ids_of(const struct result *rows) {
    static char ids[64];
    size_t len = 0;
    for (int row = 0; rows && row < result_rows(rows); row++) {
        struct uuid id = result_uuid(rows, row, 1);
        ids[len++] = (char)('0' + id.bytes[15]);
    }
    ids[len] = '\0';
    return ids;
}

static void test_every_field_of_a_row(void **state) {
    (void)state;
    exec_sql("INSERT INTO workspaces (id, name) VALUES ('w', 'Name');"
             "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, status, headers, secrets,"
             " signature_style, signature_header, payload_format, payload_template, timeout_ms, retry_schedule_ms,"
             " max_in_flight, rate_limit_per_second, created_by, updated_by) VALUES ('w', '" ID(
                 "1") "',"
                      " 'https://example.com/a', '{order.*,*}', 'paused', '\\x0001', '\\x02', 'both', 'X-Sig', "
                      "'custom', '{}',"
                      " 1500, '{5000,86400000000}', 7, 9, 'me', 'you')");
    struct result *rows = NULL;
    struct roster_row row;
    ok(roster_rows_page(connection, SPAN_NONE, NULL, 10, &rows, &error));
    assert_int_equal(result_rows(rows), 1);
    roster_row_read(rows, 0, &row);
    assert_true(span_is(row.spec.workspace_id, "w") && span_is(row.spec.workspace_name, "Name"));
    assert_true(span_is(row.spec.url, "https://example.com/a"));
    assert_int_equal(row.spec.event_type_count, 2);
    assert_true(span_is(row.spec.event_types[0], "order.*") && span_is(row.spec.event_types[1], "*"));
    assert_int_equal(row.spec.status, SUBSCRIPTION_PAUSED);
    assert_true(span_equal(row.spec.sealed_headers, (struct span){"\0\1", 2}));
    assert_true(span_is(row.spec.sealed_secrets, "\2"));
    assert_int_equal(row.spec.signature_style, SIGNATURE_BOTH);
    assert_true(span_is(row.spec.signature_header, "X-Sig"));
    assert_true(span_is(row.spec.format, "custom") && span_is(row.spec.format_template, "{}"));
    assert_int_equal(row.spec.timeout_ms, 1500);
    assert_int_equal(row.spec.retry_count, 2);
    assert_int_equal(row.spec.retry_schedule_ms[0], 5000);
    assert_int_equal(row.spec.retry_schedule_ms[1], 86400000000LL);
    assert_int_equal(row.spec.max_in_flight, 7);
    assert_int_equal(row.spec.rate_per_second, 9);
    assert_true(span_is(row.spec.created_by, "me") && span_is(row.spec.updated_by, "you"));
    assert_true(row.spec.render_version > 0);
    assert_int_equal(row.spec.version, 1);
    assert_int_equal(row.spec.activation, 1);
    result_free(&rows);
}

static void test_when_its_webhooks_leave(void **state) {
    (void)state;
    struct result *rows = NULL;
    struct roster_row row;
    exec_sql(INSERT("w", "1"));
    exec_sql("UPDATE subscriptions SET delivery_mode = 'delayed', delay_ms = 2592000000");
    ok(roster_rows_page(connection, SPAN_NONE, NULL, 10, &rows, &error));
    roster_row_read(rows, 0, &row);
    assert_int_equal(row.spec.delivery_mode, DELIVERY_DELAYED);
    assert_int_equal(row.spec.delay_ms, 2592000000LL);
    assert_int_equal(row.spec.batch_max_events + row.spec.batch_max_bytes + row.spec.batch_max_wait_ms, 0);
    assert_null(row.spec.filter.data);
    result_free(&rows);
    exec_sql("UPDATE subscriptions SET delivery_mode = 'batched', delay_ms = NULL, batch_max_events = 1000, "
             "batch_max_bytes = 1048576, batch_max_wait_ms = 86400000, filter = '{\"id\": 1}'");
    ok(roster_rows_page(connection, SPAN_NONE, NULL, 10, &rows, &error));
    roster_row_read(rows, 0, &row);
    assert_int_equal(row.spec.delivery_mode, DELIVERY_BATCHED);
    assert_int_equal(row.spec.delay_ms, 0);
    assert_int_equal(row.spec.batch_max_events, 1000);
    assert_int_equal(row.spec.batch_max_bytes, 1048576);
    assert_int_equal(row.spec.batch_max_wait_ms, 86400000);
    assert_true(span_is(row.spec.filter, "{\"id\": 1}"));
    result_free(&rows);
}

static void test_what_a_row_does_not_say(void **state) {
    (void)state;
    static const char *const STATUSES[] = {"active", "paused", "disabled"};
    static const char *const STYLES[] = {"standard", "hex", "both", "none"};
    exec_sql(INSERT("w", "1"));
    for (size_t i = 0; i < 4; i++) {
        char sql[256];
        struct result *rows = NULL;
        struct roster_row row;
        snprintf(sql, sizeof(sql),
                 "UPDATE subscriptions SET status = '%s', signature_style = '%s', retry_schedule_ms = %s",
                 STATUSES[i % 3], STYLES[i], i == 1 ? "'{}'" : "NULL");
        exec_sql(sql);
        ok(roster_rows_page(connection, SPAN_NONE, NULL, 10, &rows, &error));
        roster_row_read(rows, 0, &row);
        assert_int_equal(row.spec.status, i % 3);
        assert_int_equal(row.spec.signature_style, i);
        assert_null(row.spec.workspace_name.data);
        assert_null(row.spec.sealed_secrets.data);
        assert_null(row.spec.format_template.data);
        assert_null(row.spec.created_by.data);
        assert_int_equal(row.spec.timeout_ms + row.spec.max_in_flight + row.spec.rate_per_second, 0);
        assert_int_equal(row.spec.retry_schedule_ms != NULL, i == 1); /* none at all is a schedule of its own */
        assert_int_equal(row.spec.retry_count, 0);
        assert_int_equal(row.spec.delivery_mode, DELIVERY_IMMEDIATE);
        assert_null(row.spec.filter.data);
        assert_int_equal(row.spec.version, 2 + i);
        result_free(&rows);
    }
}

/* SQL may write what the API would refuse: such a subscription can't be used, and the others can. */
static void test_arrays_that_no_subscription_may_have(void **state) {
    (void)state;
    static const struct {
        const char *column, *value, *error;
    } BAD[] = {
        {"event_types", "{NULL}", "event_types: item 1"},
        {"event_types", "{{a.b,c.d},{NULL,e.f}}", "event_types: item 3"},
        {"retry_schedule_ms", "{1000,NULL}", "retry_schedule: item 2 is negative"},
    };
    exec_sql(INSERT("w", "1"));
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        char sql[256];
        struct result *rows = NULL;
        struct roster_row row;
        struct subscription *subscription = NULL;
        exec_sql("UPDATE subscriptions SET event_types = '{*}', retry_schedule_ms = NULL");
        snprintf(sql, sizeof(sql), "UPDATE subscriptions SET %s = '%s'", BAD[i].column, BAD[i].value);
        exec_sql(sql);
        ok(roster_rows_page(connection, SPAN_NONE, NULL, 10, &rows, &error));
        roster_row_read(rows, 0, &row);
        assert_int_equal(subscription_new(&row.spec, NULL, &subscription, &error), STATUS_INVALID);
        if (!strstr(error.text, BAD[i].error))
            fail_msg("%s", error.text);
        result_free(&rows);
    }
}

static void test_pages_come_in_the_order_of_their_keys(void **state) {
    (void)state;
    exec_sql(INSERT("b", "1") INSERT("a", "2") INSERT("a", "1") INSERT("c", "9") INSERT("b", "5"));
    exec_sql("UPDATE subscriptions SET status = 'deleted' WHERE workspace_id = 'c'");
    struct result *rows = NULL;
    char seen[16] = "";
    char workspace[8] = "";
    struct uuid id = UUID_NIL;
    for (int page = 0; page < 3; page++) {
        ok(roster_rows_page(connection, page ? span_of(workspace) : SPAN_NONE, &id, 2, &rows, &error));
        for (int i = 0; i < result_rows(rows); i++) {
            struct roster_row row;
            roster_row_read(rows, i, &row);
            snprintf(workspace, sizeof(workspace), "%.*s", SPAN_ARGS(row.spec.workspace_id));
            id = row.spec.id;
            size_t len = strlen(seen);
            snprintf(seen + len, sizeof(seen) - len, "%s%d", workspace, id.bytes[15]);
        }
        result_free(&rows);
    }
    assert_string_equal(seen, "a1a2b1b5");
}

static struct roster_snapshot seen, next;

static int open_snapshots(void **state) {
    roster_snapshot_init(&seen);
    roster_snapshot_init(&next);
    return store_open(state);
}

static int close_snapshots(void **state) {
    roster_snapshot_deinit(&seen);
    roster_snapshot_deinit(&next);
    return store_close(state);
}

/* Looks on from the last look, as the watcher does. */
static const char *changed_ids(void) {
    struct result *rows = NULL;
    ok(roster_rows_changed(connection, &seen, 100, &next, &rows, &error));
    const char *ids = ids_of(rows);
    result_free(&rows);
    struct roster_snapshot before = seen;
    seen = next;
    next = before;
    return ids;
}

/* Rule W1: a change that began earlier and commits later is not missed. */
static void test_a_late_commit_is_seen(void **state) {
    (void)state;
    struct result *rows = NULL;
    exec_sql(INSERT("w", "1") INSERT("w", "2") INSERT("w", "3"));
    ok(roster_rows_snapshot(connection, &seen, &error));
    assert_true(seen.xmin <= seen.xmax);
    struct connection *slow = pg_fixture_connect(database);
    pg_fixture_exec(slow, "BEGIN; UPDATE subscriptions SET name = 'late' WHERE id = '" ID("1") "'");
    exec_sql("UPDATE subscriptions SET status = 'deleted' WHERE id = '" ID("2") "'");
    ok(roster_rows_changed(connection, &seen, 100, &next, &rows, &error));
    assert_string_equal(ids_of(rows), "2"); /* a deletion is a change */
    struct roster_row row;
    roster_row_read(rows, 0, &row);
    assert_int_equal(row.spec.status, SUBSCRIPTION_DELETED);
    result_free(&rows);
    assert_string_equal(changed_ids(), "2");
    pg_fixture_exec(slow, "COMMIT");
    assert_string_equal(changed_ids(), "1");
    connection_free(&slow);
}

/* Somebody's long transaction has its own change seen when it commits, and no other one read again and again. */
static void test_a_long_transaction_costs_nothing(void **state) {
    (void)state;
    exec_sql(INSERT("w", "1") INSERT("w", "2") INSERT("w", "3"));
    struct connection *slow = pg_fixture_connect(database);
    pg_fixture_exec(slow, "BEGIN; UPDATE subscriptions SET name = 'slow' WHERE id = '" ID("1") "'");
    ok(roster_rows_snapshot(connection, &seen, &error));
    exec_sql("UPDATE subscriptions SET name = 'quick' WHERE id <> '" ID("1") "'");
    assert_int_equal(strlen(changed_ids()), 2);
    assert_string_equal(changed_ids(), "");
    exec_sql("UPDATE subscriptions SET name = 'quicker' WHERE id = '" ID("3") "'");
    assert_string_equal(changed_ids(), "3");
    assert_string_equal(changed_ids(), "");
    pg_fixture_exec(slow, "COMMIT");
    assert_string_equal(changed_ids(), "1");
    assert_string_equal(changed_ids(), "");
    connection_free(&slow);
}

static void test_nothing_new_costs_no_rows(void **state) {
    (void)state;
    exec_sql(INSERT("w", "1"));
    ok(roster_rows_snapshot(connection, &seen, &error));
    assert_string_equal(changed_ids(), "");
}

static void test_no_more_than_asked_for(void **state) {
    (void)state;
    struct result *rows = NULL;
    ok(roster_rows_snapshot(connection, &seen, &error));
    exec_sql(INSERT("w", "1") INSERT("w", "2") INSERT("w", "3"));
    ok(roster_rows_changed(connection, &seen, 2, &next, &rows, &error));
    assert_int_equal(result_rows(rows), 2);
    result_free(&rows);
}

static void test_disabling_is_for_the_activation_that_failed(void **state) {
    (void)state;
    struct uuid id = numbered_uuid(1);
    exec_sql(INSERT("w", "1"));
    ok(roster_disable(connection, SPAN_LITERAL("w"), &id, 2, SPAN_LITERAL("later"), &error));
    ok(roster_disable(connection, SPAN_LITERAL("other"), &id, 1, SPAN_LITERAL("elsewhere"), &error));
    expect_sql("SELECT status FROM subscriptions", "active");
    ok(roster_disable(connection, SPAN_LITERAL("w"), &id, 1, SPAN_LITERAL("gone"), &error));
    expect_sql("SELECT status || ' ' || disabled_reason || ' ' || version || ' ' || activation FROM subscriptions",
               "disabled gone 2 1");
    ok(roster_disable(connection, SPAN_LITERAL("w"), &id, 1, SPAN_LITERAL("again"), &error));
    expect_sql("SELECT disabled_reason FROM subscriptions", "gone");
    exec_sql("UPDATE subscriptions SET status = 'active'");
    ok(roster_disable(connection, SPAN_LITERAL("w"), &id, 1, SPAN_LITERAL("old news"), &error));
    expect_sql("SELECT status || ' ' || activation FROM subscriptions", "active 2");
}

#define SNAPSHOT_TEST(test) cmocka_unit_test_setup_teardown(test, open_snapshots, close_snapshots)

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_every_field_of_a_row),
        STORE_TEST(test_when_its_webhooks_leave),
        STORE_TEST(test_what_a_row_does_not_say),
        STORE_TEST(test_arrays_that_no_subscription_may_have),
        STORE_TEST(test_pages_come_in_the_order_of_their_keys),
        SNAPSHOT_TEST(test_a_late_commit_is_seen),
        SNAPSHOT_TEST(test_a_long_transaction_costs_nothing),
        SNAPSHOT_TEST(test_nothing_new_costs_no_rows),
        SNAPSHOT_TEST(test_no_more_than_asked_for),
        STORE_TEST(test_disabling_is_for_the_activation_that_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
