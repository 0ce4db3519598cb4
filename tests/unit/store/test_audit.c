#include "store/audit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#define INSERT                                                                                                         \
    "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, headers, secrets) "                        \
    "VALUES ('w', '00000000-0000-7000-8000-000000000001', 'https://a/', '{*}', '\\x01', '\\x02')"

static int open_with_key(void **state) {
    store_open(state);
    struct uuid key = numbered_uuid(9);
    ok(audit_begin(connection, &key, "request-1", &error));
    return 0;
}
#define KEY_TEST(test) cmocka_unit_test_setup_teardown(test, open_with_key, store_close)

static void test_nobody_s_changes_leave_no_row(void **state) {
    (void)state;
    exec_sql(INSERT);
    exec_sql("INSERT INTO workspaces (id) VALUES ('w')");
    expect_sql("SELECT count(*) FROM audit", "0");
}

static void test_a_change_tells_who_what_and_from_what_to_what(void **state) {
    (void)state;
    exec_sql(INSERT);
    exec_sql("UPDATE subscriptions SET status = 'paused'");
    exec_sql("UPDATE subscriptions SET secrets = '\\x03'");
    exec_sql("UPDATE subscriptions SET status = 'deleted', deleted_at = now()");
    struct audit_page page = {.workspace_id = SPAN_LITERAL("w"), .limit = 10};
    struct result *rows = NULL;
    ok(audit_list(connection, &page, &rows, &error));
    static const char *const ACTIONS[] = {"subscription.deleted", "subscription.secret_changed", "subscription.changed",
                                          "subscription.created"};
    assert_int_equal(result_rows(rows), 4);
    struct uuid key = numbered_uuid(9);
    for (int i = 0; i < 4; i++) {
        struct audit_row row;
        audit_row_read(rows, i, &row);
        assert_true(span_is(row.action, ACTIONS[i]));
        assert_true(uuid_equal(&row.key, &key) && span_is(row.request_id, "request-1"));
        assert_true(span_is(row.target, "00000000-0000-7000-8000-000000000001"));
        assert_true(row.after.data && (i == 3) == !row.before.data);
        assert_true(row.created_at_ms > 0 && span_is(row.workspace_id, "w"));
    }
    result_free(&rows);
    expect_sql(
        "SELECT before ->> 'status' || ' ' || (after ->> 'status') FROM audit WHERE action = 'subscription.changed'",
        "active paused");
}

static void test_no_secret_is_in_it(void **state) {
    (void)state;
    exec_sql(INSERT);
    exec_sql("INSERT INTO api_keys (id, workspace_id, key_hash) VALUES (gen_random_uuid(), 'w', '\\xabcdef')");
    exec_sql("UPDATE api_keys SET revoked_at = now()");
    expect_sql("SELECT count(*) FROM audit WHERE before::text || after::text ~ 'abcdef|x0[12]'", "0");
    expect_sql("SELECT count(*) FROM audit WHERE after ->> 'headers' ~ '^[*]{3} [0-9a-f]{8}$' "
               "AND after ->> 'secrets' ~ '^[*]{3} [0-9a-f]{8}$'",
               "1");
    expect_sql("SELECT string_agg(action, ',' ORDER BY id) FROM audit WHERE action LIKE 'key%'",
               "key.created,key.revoked");
}

static void test_what_changes_nothing_leaves_no_row(void **state) {
    (void)state;
    exec_sql(INSERT);
    exec_sql("UPDATE subscriptions SET workspace_id = workspace_id, updated_at = now()");
    expect_sql("SELECT count(*) FROM audit", "1");
}

static void test_what_is_rolled_back_leaves_no_row(void **state) {
    (void)state;
    exec_sql("BEGIN");
    exec_sql(INSERT);
    exec_sql("ROLLBACK");
    expect_sql("SELECT count(*) FROM audit", "0");
}

static void test_pages_and_filters(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++)
        exec_sql("INSERT INTO audit (workspace_id, key_id, action, target) "
                 "SELECT 'w', gen_random_uuid(), 'a.' || count(*), 't' || count(*) % 2 FROM audit");
    exec_sql("INSERT INTO audit (workspace_id, key_id, action, target) VALUES ('v', gen_random_uuid(), 'a.1', 't1')");
    struct audit_page page = {.workspace_id = SPAN_LITERAL("w"), .limit = 2};
    struct audit_row row;
    struct result *rows = NULL;
    for (int seen = 0; seen < 5;) {
        ok(audit_list(connection, &page, &rows, &error));
        assert_int_equal(result_rows(rows), seen < 4 ? 2 : 1);
        for (int i = 0; i < result_rows(rows); i++, seen++) {
            audit_row_read(rows, i, &row);
            assert_int_equal(row.action.data[2], '0' + 4 - seen);
        }
        page.before = row.id;
        result_free(&rows);
    }
    struct {
        struct audit_page page;
        int rows;
    } cases[] = {{{.limit = 9}, 6},
                 {{.limit = 9, .action = SPAN_LITERAL("a.1")}, 2},
                 {{.limit = 9, .target = SPAN_LITERAL("t0")}, 3},
                 {{.limit = 9, .since_ms = 4000000000000}, 0},
                 {{.limit = 9, .until_ms = 4000000000000}, 6},
                 {{.limit = 9, .until_ms = 1000}, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ok(audit_list(connection, &cases[i].page, &rows, &error));
        assert_int_equal(result_rows(rows), cases[i].rows);
        result_free(&rows);
    }
}

static void test_old_rows_go(void **state) {
    (void)state;
    exec_sql("INSERT INTO audit (created_at, key_id, action, target) SELECT now() - make_interval(days => d), "
             "gen_random_uuid(), 'a', 't' FROM generate_series(399, 405) d");
    ok(audit_purge(connection, 2, &error));
    expect_sql("SELECT count(*) FROM audit", "5");
    ok(audit_purge(connection, 100, &error));
    expect_sql("SELECT count(*) FROM audit", "1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_nobody_s_changes_leave_no_row),
        KEY_TEST(test_a_change_tells_who_what_and_from_what_to_what),
        KEY_TEST(test_no_secret_is_in_it),
        KEY_TEST(test_what_changes_nothing_leaves_no_row),
        KEY_TEST(test_what_is_rolled_back_leaves_no_row),
        STORE_TEST(test_pages_and_filters),
        STORE_TEST(test_old_rows_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
