#include "store/render_versions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/partitions.h"
#include "store_fixture.h"

#define DAY_MS (24 * 60 * 60 * 1000LL)

/* Another version of the subscription, made so many days ago. */
static void version(int subscription, const char *days_ago) {
    char sql[600];
    snprintf(sql, sizeof(sql),
             "UPDATE subscriptions SET created_by = '%s' WHERE id::text LIKE '%%%d'; "
             "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, created_by) SELECT 'w', "
             "'00000000-0000-7000-8000-00000000000%d', 'https://example.com/', '{*}', '%s' "
             "WHERE NOT EXISTS (SELECT FROM subscriptions WHERE id::text LIKE '%%%d')",
             days_ago, subscription, subscription, days_ago, subscription);
    exec_sql(sql);
    snprintf(sql, sizeof(sql),
             "UPDATE render_versions SET created_at = now() - interval '%s days' WHERE id = "
             "(SELECT render_version FROM subscriptions WHERE id::text LIKE '%%%d')",
             days_ago, subscription);
    exec_sql(sql);
}

static int64_t purge(int max, int64_t after) {
    ok(render_versions_purge(connection, 30 * DAY_MS, max, &after, &error));
    return after;
}

static void expect_left(const char *wanted) {
    expect_sql("SELECT coalesce(string_agg(right(subscription_id::text, 1) || ':' || created_by, ' ' ORDER BY id), '') "
               "FROM render_versions",
               wanted);
}

static void test_what_was_superseded_long_ago_goes(void **state) {
    (void)state;
    version(1, "90");
    version(2, "80");
    version(1, "70");
    version(1, "31"); /* since then the one before it is no more */
    version(1, "20");
    version(1, "1");
    version(3, "60"); /* still the one */
    version(3, "5");
    assert_int_equal(purge(100, 0), 0);
    expect_left("2:80 1:70 1:31 1:20 1:1 3:60 3:5");
    assert_int_equal(purge(100, 0), 0);
    exec_sql("UPDATE render_versions SET created_at = created_at - interval '10 days'");
    assert_int_equal(purge(100, 0), 0);
    expect_left("2:80 1:31 1:20 1:1 3:60 3:5");
}

/* A page at a time; a successor in another page is known from what the subscription has now. */
static void test_in_pages(void **state) {
    (void)state;
    version(1, "90");
    version(2, "80");
    version(1, "70");
    version(1, "40");
    int64_t after = purge(2, 0);
    assert_true(after > 0);
    expect_left("2:80 1:70 1:40");
    after = purge(2, after);
    assert_true(after > 0);
    expect_left("2:80 1:40");
    assert_int_equal(purge(2, after), 0);
    expect_left("2:80 1:40");
}

static void test_of_what_is_gone_the_log_decides(void **state) {
    (void)state;
    ok(partitions_ensure(connection, &error));
    version(1, "90");
    version(2, "80");
    version(2, "70");
    version(3, "3");
    exec_sql(
        "INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, "
        "webhook_url, delivery_status, attempt, render_version) SELECT now(), gen_random_uuid(), 'w', "
        "gen_random_uuid(), 'e', id, 't', 'u', 'success', 1, render_version FROM subscriptions WHERE id::text LIKE "
        "'%2'");
    exec_sql("DELETE FROM subscriptions");
    assert_int_equal(purge(100, 0), 0);
    expect_left("2:70 3:3");
    exec_sql("DELETE FROM delivery_logs");
    assert_int_equal(purge(100, 0), 0);
    expect_left("3:3");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_what_was_superseded_long_ago_goes),
        STORE_TEST(test_in_pages),
        STORE_TEST(test_of_what_is_gone_the_log_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
