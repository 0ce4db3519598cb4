#include "store/workspaces.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/partitions.h"
#include "store_fixture.h"

static void test_which_ids_are_valid(void **state) {
    (void)state;
    char longest[WORKSPACE_ID_MAX_BYTES + 2];
    memset(longest, 'x', sizeof(longest));
    assert_true(workspace_id_valid((struct span){longest, WORKSPACE_ID_MAX_BYTES}));
    assert_false(workspace_id_valid((struct span){longest, WORKSPACE_ID_MAX_BYTES + 1}));
    assert_true(workspace_id_valid(SPAN_LITERAL("a b/\xc3\xa4")));
    assert_false(workspace_id_valid(SPAN_LITERAL("")));
    assert_false(workspace_id_valid(SPAN_LITERAL("a\n")));
    assert_false(workspace_id_valid(SPAN_LITERAL("a\0b")));
    assert_false(workspace_id_valid(SPAN_LITERAL("\xff")));
}

static void test_a_workspace_is_made_once_and_named_when_a_name_comes(void **state) {
    (void)state;
    bool exists = true;
    ok(workspaces_exists(connection, SPAN_LITERAL("w"), &exists, &error));
    assert_false(exists);
    ok(workspaces_ensure(connection, SPAN_LITERAL("w"), SPAN_NONE, &error));
    ok(workspaces_exists(connection, SPAN_LITERAL("w"), &exists, &error));
    assert_true(exists);
    expect_sql("SELECT coalesce(name, '-') FROM workspaces", "-");
    ok(workspaces_ensure(connection, SPAN_LITERAL("w"), SPAN_LITERAL("Name"), &error));
    ok(workspaces_ensure(connection, SPAN_LITERAL("w"), SPAN_NONE, &error));
    expect_sql("SELECT string_agg(name, ',') FROM workspaces", "Name");
}

static void put(const char *id, const char *name, bool made) {
    struct result *rows = NULL;
    struct workspace_row row;
    ok(workspaces_put(connection, span_of(id), span_of(name), &rows, &error));
    workspaces_row_read(rows, 0, &row);
    assert_true(span_is(row.id, id) && span_equal(row.name, span_of(name)) && row.made == made);
    assert_true(row.created_at_ms > 0 && row.erased_at_ms == 0);
    result_free(&rows);
}

static void test_putting_makes_and_renames(void **state) {
    (void)state;
    put("w", NULL, true);
    exec_sql("INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types) "
             "VALUES ('w', gen_random_uuid(), 'https://a/', '{*}')");
    put("w", "n", false);
    expect_sql("SELECT version FROM subscriptions", "2");
    put("w", "n", false);
    expect_sql("SELECT version FROM subscriptions", "2");
    put("w", NULL, false);
    expect_sql("SELECT version FROM subscriptions", "3");
}

static void test_a_list_goes_by_id(void **state) {
    (void)state;
    const char *const ids[] = {"b", "a", "c"};
    for (int i = 0; i < 3; i++)
        put(ids[i], NULL, true);
    struct result *rows = NULL;
    struct workspace_row row;
    ok(workspaces_list(connection, SPAN_NONE, 2, &rows, &error));
    assert_int_equal(result_rows(rows), 2);
    workspaces_row_read(rows, 0, &row);
    assert_true(span_is(row.id, "a"));
    result_free(&rows);
    ok(workspaces_list(connection, SPAN_LITERAL("b"), 2, &rows, &error));
    assert_int_equal(result_rows(rows), 1);
    workspaces_row_read(rows, 0, &row);
    assert_true(span_is(row.id, "c"));
    result_free(&rows);
}

/* Rows of a workspace in every table that names one, whatever tables there are. */
static void fill(const char *workspace) {
    char sql[4096];
    ok(partitions_ensure(connection, &error));
    snprintf(
        sql, sizeof(sql),
        "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, secrets) "
        "SELECT '%1$s', gen_random_uuid(), 'https://a/', '{*}', 'x' FROM generate_series(1, 30);"
        "INSERT INTO api_keys (id, workspace_id, key_hash) VALUES (gen_random_uuid(), '%1$s', '%1$s');"
        "INSERT INTO audit (workspace_id, key_id, action, target) VALUES "
        "('%1$s', gen_random_uuid(), 'subscription.created', 't'), ('%1$s', gen_random_uuid(), 'workspace.created', "
        "'t');"
        "INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, "
        "webhook_url, delivery_status, attempt) SELECT now(), gen_random_uuid(), '%1$s', gen_random_uuid(), 'e', "
        "gen_random_uuid(), 't', '', 'failed', 1 FROM generate_series(1, 50);"
        "INSERT INTO events (created_at, event_key, workspace_id, event_id, event_type, occurred_at, topic, part, "
        "record_offset, record_time, headers, body) SELECT now(), gen_random_uuid(), '%1$s', 'e', 't', now(), 't', 0, "
        "0, "
        "now(), '{}', '' FROM generate_series(1, 20);"
        "INSERT INTO outbox (workspace_id, event_type, payload) VALUES ('%1$s', 't', '{}')",
        workspace);
    exec_sql(sql);
}

static const char *rows_of(const char *workspace) {
    char sql[512];
    snprintf(
        sql, sizeof(sql),
        "SELECT (SELECT count(*) FROM delivery_logs WHERE workspace_id = '%1$s') + (SELECT count(*) FROM events WHERE "
        "workspace_id = '%1$s') + (SELECT count(*) FROM api_keys WHERE workspace_id = '%1$s') + (SELECT count(*) FROM "
        "outbox WHERE workspace_id = '%1$s') + (SELECT count(*) FROM render_versions WHERE workspace_id = '%1$s') + "
        "(SELECT count(*) FROM subscriptions WHERE workspace_id = '%1$s' AND status <> 'deleted')",
        workspace);
    return pg_fixture_ask(connection, sql);
}

static void test_erasing_takes_everything_in_pieces_and_nothing_else(void **state) {
    (void)state;
    struct result *rows = NULL;
    bool any = true, exists = true;
    int64_t gone = 1;
    put("w", "n", true);
    put("v", NULL, true);
    fill("w");
    fill("v");
    assert_string_equal(rows_of("v"), "132");
    ok(workspaces_erase_step(connection, 40, &any, &gone, &error));
    assert_false(any);
    ok(workspaces_erase(connection, SPAN_LITERAL("w"), &rows, &error));
    result_free(&rows);
    ok(workspaces_erase(connection, SPAN_LITERAL("w"), &rows, &error));
    result_free(&rows);
    ok(workspaces_exists(connection, SPAN_LITERAL("w"), &exists, &error));
    assert_false(exists);
    assert_int_equal(workspaces_put(connection, SPAN_LITERAL("w"), SPAN_NONE, &rows, &error), STATUS_NOT_FOUND);
    expect_sql("SELECT string_agg(workspace_id, ',') FROM api_keys WHERE revoked_at IS NOT NULL", "w");
    int64_t all = 0;
    do {
        ok(workspaces_erase_step(connection, 40, &any, &gone, &error));
        assert_true(any && gone <= 40);
        all += gone;
    } while (gone > 0);
    assert_true(all > 132);
    assert_string_equal(rows_of("w"), "0");
    assert_string_equal(rows_of("v"), "132");
    expect_sql("SELECT string_agg(workspace_id || ' ' || action, ',' ORDER BY id) FROM audit",
               "w workspace.created,v subscription.created,v workspace.created");
    expect_sql(
        "SELECT count(*) FROM subscriptions WHERE workspace_id = 'w' AND (webhook_url <> '' OR secrets IS NOT NULL)",
        "0");
    expect_sql("SELECT count(*) FROM subscriptions WHERE workspace_id = 'w'", "30");
    expect_sql("SELECT count(*) FROM workspaces", "2");
    exec_sql("UPDATE workspaces SET erased_at = erased_at - interval '2 minutes' WHERE id = 'w'");
    ok(workspaces_erase_step(connection, 40, &any, &gone, &error));
    expect_sql("SELECT string_agg(id, ',') FROM workspaces", "v");
    assert_int_equal(workspaces_erase(connection, SPAN_LITERAL("w"), &rows, &error), STATUS_NOT_FOUND);
    put("w", NULL, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_ids_are_valid),
        STORE_TEST(test_a_workspace_is_made_once_and_named_when_a_name_comes),
        STORE_TEST(test_putting_makes_and_renames),
        STORE_TEST(test_a_list_goes_by_id),
        STORE_TEST(test_erasing_takes_everything_in_pieces_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
