#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"
#include "db/migrate.h"
#include "store/subscriptions.h"

static char *conninfo;
static struct connection *connection;

static int setup(void **state) {
    (void)state;
    struct error error;
    int applied;
    conninfo = pg_fixture_database();
    connection = pg_fixture_connect(conninfo);
    return migrate_run(connection, pg_fixture_sql(), NULL, NULL, &applied, &error) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    connection_free(&connection);
    pg_fixture_drop(&conninfo);
    return 0;
}

static int clear(void **state) {
    (void)state;
    pg_fixture_exec(connection, "TRUNCATE subscriptions, render_versions, health");
    return 0;
}

static struct subscription_row plain_row(const char *workspace) {
    return (struct subscription_row){
        .id = uuid_new(clock_wall_ms()),
        .workspace_id = span_of(workspace),
        .webhook_url = span_of("https://example.com/"),
        .event_types = {span_of("message.new"), span_of("call.*")},
        .event_type_count = 2,
        .type = span_of("SEASALT"),
        .status = span_of("active"),
        .signature_style = span_of("standard"),
        .payload_format = span_of("seanotify"),
        .delivery_mode = span_of("immediate"),
        .retry_count = -1,
    };
}

static struct result *insert(const struct subscription_row *row) {
    struct result *rows = NULL;
    struct error error = {""};
    if (subscriptions_insert(connection, row, &rows, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return rows;
}

static bool same_text(struct span a, struct span b) {
    return !a.data == !b.data && span_equal(a, b);
}

static void assert_same(const struct subscription_row *a, const struct subscription_row *b) {
    assert_true(uuid_equal(&a->id, &b->id));
    const struct span left[] = {a->workspace_id,    a->webhook_url,      a->type,           a->name,
                                a->status,          a->disabled_reason,  a->sealed_headers, a->sealed_secrets,
                                a->signature_style, a->signature_header, a->payload_format, a->payload_template,
                                a->created_by,      a->updated_by,       a->delivery_mode,  a->filter,
                                a->notify_email};
    const struct span right[] = {b->workspace_id,    b->webhook_url,      b->type,           b->name,
                                 b->status,          b->disabled_reason,  b->sealed_headers, b->sealed_secrets,
                                 b->signature_style, b->signature_header, b->payload_format, b->payload_template,
                                 b->created_by,      b->updated_by,       b->delivery_mode,  b->filter,
                                 b->notify_email};
    for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++)
        if (!same_text(left[i], right[i]))
            fail_msg("text %zu differs: %.*s, %.*s", i, SPAN_ARGS(left[i]), SPAN_ARGS(right[i]));
    assert_int_equal(a->event_type_count, b->event_type_count);
    for (size_t i = 0; i < a->event_type_count; i++)
        assert_true(span_equal(a->event_types[i], b->event_types[i]));
    assert_int_equal(a->timeout_ms, b->timeout_ms);
    assert_int_equal(a->max_in_flight, b->max_in_flight);
    assert_int_equal(a->rate_per_second, b->rate_per_second);
    assert_int_equal(a->delay_ms, b->delay_ms);
    assert_int_equal(a->batch_max_events, b->batch_max_events);
    assert_int_equal(a->batch_max_bytes, b->batch_max_bytes);
    assert_int_equal(a->batch_max_wait_ms, b->batch_max_wait_ms);
    assert_int_equal(a->retry_count, b->retry_count);
    for (int i = 0; i < a->retry_count; i++)
        assert_int_equal(a->retry_ms[i], b->retry_ms[i]);
}

static void test_what_is_written_is_read(void **state) {
    (void)state;
    struct subscription_row row = plain_row("acme"), read;
    struct error error;
    struct result *rows = insert(&row);
    subscriptions_row_read(rows, 0, &read);
    assert_same(&row, &read);
    assert_true(read.version == 1 && read.created_at_ms > 0 && read.updated_at_ms == read.created_at_ms);
    result_free(&rows);

    row.name = span_of("Mine");
    row.status = span_of("disabled");
    row.disabled_reason = span_of("410");
    row.sealed_headers = SPAN_LITERAL("a\0b");
    row.sealed_secrets = SPAN_LITERAL("\xff\x01");
    row.signature_header = span_of("x-sig");
    row.payload_format = span_of("custom");
    row.payload_template = span_of("{}");
    row.timeout_ms = 30000;
    row.max_in_flight = 1000;
    row.rate_per_second = 100000;
    row.delivery_mode = span_of("batched");
    row.delay_ms = SUBSCRIPTION_MAX_DELAY_MS;
    row.batch_max_events = 1000;
    row.batch_max_bytes = 1024;
    row.batch_max_wait_ms = SUBSCRIPTION_MAX_BATCH_WAIT_MS;
    row.filter = span_of("{\"payload.a\": 1.50}");
    row.notify_email = span_of("ops@example.com");
    row.created_by = span_of("me");
    row.updated_by = span_of("");
    row.retry_count = SUBSCRIPTION_MAX_RETRIES;
    for (int i = 0; i < row.retry_count; i++)
        row.retry_ms[i] = (i + 1) * 80000000LL;
    row.event_type_count = SUBSCRIPTION_MAX_TYPES;
    for (int i = 0; i < SUBSCRIPTION_MAX_TYPES; i++)
        row.event_types[i] = span_of(i % 2 ? "call.new" : "call.ended");
    assert_int_equal(subscriptions_update(connection, &row, &rows, &error), STATUS_OK);
    subscriptions_row_read(rows, 0, &read);
    assert_same(&row, &read);
    assert_true(read.version == 2 && read.updated_at_ms >= read.created_at_ms);
    result_free(&rows);

    row.retry_count = 0;
    assert_int_equal(subscriptions_update(connection, &row, &rows, &error), STATUS_OK);
    result_free(&rows);
    assert_int_equal(subscriptions_get(connection, span_of("acme"), &row.id, &rows, &error), STATUS_OK);
    subscriptions_row_read(rows, 0, &read);
    assert_same(&row, &read);
    result_free(&rows);
}

static void test_what_health_says_is_read_and_begins_anew(void **state) {
    (void)state;
    struct subscription_row row = plain_row("acme"), other = plain_row("acme"), read;
    struct error error;
    struct result *rows = insert(&other);
    result_free(&rows);
    rows = insert(&row);
    subscriptions_row_read(rows, 0, &read);
    assert_true(read.failing_since_ms == 0 && read.last_success_at_ms == 0);
    result_free(&rows);
    pg_fixture_exec(connection, "INSERT INTO health SELECT workspace_id, id, '2024-03-10T15:30:00Z', "
                                "'2024-03-12T15:30:00Z', '2024-03-10T15:30:01.5Z', now() FROM subscriptions");
    assert_int_equal(subscriptions_update(connection, &row, &rows, &error), STATUS_OK);
    subscriptions_row_read(rows, 0, &read);
    assert_true(read.failing_since_ms == 1710084601500 && read.last_success_at_ms == 1710084600000);
    result_free(&rows);
    struct subscriptions_page page = {.workspace_id = span_of("acme"), .limit = 10};
    assert_int_equal(subscriptions_list(connection, &page, &rows, &error), STATUS_OK);
    for (int i = 0; i < 2; i++) {
        subscriptions_row_read(rows, i, &read);
        assert_true(read.failing_since_ms == 1710084601500);
    }
    result_free(&rows);

    /* Until the transaction ends nobody else writes what is known of it. */
    struct connection *other_one = pg_fixture_connect(conninfo);
    assert_int_equal(connection_exec(connection, "BEGIN", &error), STATUS_OK);
    assert_int_equal(subscriptions_lock_health(connection, span_of("acme"), &row.id, &error), STATUS_OK);
    assert_string_equal(pg_fixture_ask(other_one, "SELECT count(*) FROM (SELECT FROM health FOR UPDATE SKIP LOCKED) x"),
                        "1");
    row.status = span_of("paused");
    assert_int_equal(subscriptions_update(connection, &row, &rows, &error), STATUS_OK);
    result_free(&rows);
    row.status = span_of("active");
    assert_int_equal(subscriptions_update(connection, &row, &rows, &error), STATUS_OK);
    result_free(&rows);
    assert_int_equal(connection_exec(connection, "COMMIT", &error), STATUS_OK);
    assert_int_equal(subscriptions_get(connection, span_of("acme"), &row.id, &rows, &error), STATUS_OK);
    subscriptions_row_read(rows, 0, &read);
    assert_true(read.failing_since_ms == 0 && read.last_success_at_ms == 1710084600000);
    result_free(&rows);
    connection_free(&other_one);
}

static void test_another_workspaces_row_is_not_there(void **state) {
    (void)state;
    struct subscription_row row = plain_row("acme");
    struct error error;
    struct result *rows = insert(&row), *none = NULL;
    result_free(&rows);
    assert_int_equal(subscriptions_get(connection, span_of("other"), &row.id, &none, &error), STATUS_NOT_FOUND);
    assert_int_equal(subscriptions_lock(connection, span_of("other"), &row.id, &none, &error), STATUS_NOT_FOUND);
    assert_int_equal(subscriptions_delete(connection, span_of("other"), &row.id, &error), STATUS_NOT_FOUND);
    row.workspace_id = span_of("other");
    assert_int_equal(subscriptions_update(connection, &row, &none, &error), STATUS_NOT_FOUND);
    assert_null(none);
}

static void test_a_deleted_row_stays_for_others_only(void **state) {
    (void)state;
    struct subscription_row row = plain_row("acme");
    struct error error;
    struct result *rows = insert(&row), *none = NULL;
    result_free(&rows);
    assert_int_equal(subscriptions_delete(connection, span_of("acme"), &row.id, &error), STATUS_OK);
    assert_int_equal(subscriptions_delete(connection, span_of("acme"), &row.id, &error), STATUS_NOT_FOUND);
    assert_int_equal(subscriptions_get(connection, span_of("acme"), &row.id, &none, &error), STATUS_NOT_FOUND);
    assert_int_equal(subscriptions_update(connection, &row, &none, &error), STATUS_NOT_FOUND);
    assert_string_equal(pg_fixture_ask(connection, "SELECT status || (deleted_at IS NOT NULL) FROM subscriptions"),
                        "deletedtrue");
}

static void test_pages_meet_without_gap_or_overlap(void **state) {
    (void)state;
    static const char *const URLS[] = {"https://b/", "https://a/", "https://b/", "https://c/", "https://a/"};
    struct error error;
    for (size_t i = 0; i < 5; i++) {
        struct subscription_row row = plain_row("acme");
        row.webhook_url = span_of(URLS[i]);
        row.type = span_of(i % 2 ? "ZAPIER" : "SEASALT");
        struct result *rows = insert(&row);
        result_free(&rows);
    }
    for (int order = 0; order < SUBSCRIPTIONS_ORDERS; order++) {
        for (int descending = 0; descending < 2; descending++) {
            struct subscriptions_page page = {.workspace_id = span_of("acme"),
                                              .order = (enum subscriptions_order)order,
                                              .descending = descending,
                                              .limit = 2};
            char key[64] = "", before[64] = "";
            int seen = 0;
            for (int count = 2; count == 2; seen += count) {
                struct result *rows = NULL;
                assert_int_equal(subscriptions_list(connection, &page, &rows, &error), STATUS_OK);
                count = result_rows(rows);
                for (int i = 0; i < count; i++) {
                    struct subscription_row row;
                    subscriptions_row_read(rows, i, &row);
                    snprintf(key, sizeof(key), "%.*s", SPAN_ARGS(subscriptions_row_key(rows, i)));
                    if (before[0] && strcmp(key, before) != 0)
                        assert_true(descending ? strcmp(key, before) < 0 : strcmp(key, before) > 0);
                    memcpy(before, key, sizeof(key));
                    page.after_id = row.id;
                }
                page.after_key = span_of(key);
                result_free(&rows);
            }
            assert_int_equal(seen, 5);
        }
    }
    struct subscriptions_page page = {.workspace_id = span_of("acme"), .type = span_of("ZAPIER"), .limit = 10};
    struct result *rows = NULL;
    assert_int_equal(subscriptions_list(connection, &page, &rows, &error), STATUS_OK);
    assert_int_equal(result_rows(rows), 2);
    result_free(&rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_is_written_is_read, clear),
        cmocka_unit_test_setup(test_what_health_says_is_read_and_begins_anew, clear),
        cmocka_unit_test_setup(test_another_workspaces_row_is_not_there, clear),
        cmocka_unit_test_setup(test_a_deleted_row_stays_for_others_only, clear),
        cmocka_unit_test_setup(test_pages_meet_without_gap_or_overlap, clear),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
