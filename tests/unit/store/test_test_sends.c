#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "store/seleqt.h"
#include "store/test_sends.h"
#include "store_fixture.h"

static int taken(const char *workspace) {
    int wait_s = -1;
    ok(test_sends_take(connection, span_of(workspace), &wait_s, &error));
    return wait_s;
}

static void test_ten_a_minute_and_workspace(void **state) {
    (void)state;
    for (int i = 0; i < TEST_SENDS_A_MINUTE; i++)
        assert_int_equal(taken("w1"), 0);
    int wait_s = taken("w1");
    assert_true(wait_s >= 1 && wait_s <= 60);
    assert_int_equal(taken("w2"), 0);
    expect_sql("SELECT cardinality(sent) FROM test_limits WHERE workspace_id = 'w1'", "10");
    exec_sql("UPDATE test_limits SET sent[1] = sent[1] - interval '59 seconds', sent[2] = sent[2] - interval '1 hour' "
             "WHERE workspace_id = 'w1'");
    assert_int_equal(taken("w1"), 0);
    assert_true(taken("w1") <= 2);
    /* A clock that went back holds nobody up. */
    exec_sql("UPDATE test_limits SET sent = ARRAY(SELECT s + interval '1 hour' FROM unnest(sent) s)");
    assert_int_equal(taken("w1"), 0);
    expect_sql("SELECT cardinality(sent) FROM test_limits WHERE workspace_id = 'w1'", "1");
}

static void add(int number, const char *workspace, const char *url, const char *rest) {
    struct buffer sql;
    struct uuid id = numbered_uuid(number);
    char text[UUID_TEXT_LEN + 1];
    uuid_format(&id, text);
    buffer_init(&sql, 2000);
    buffer_printf(&sql,
                  "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, payload_format, status, "
                  "created_at) VALUES ('%s', '%s', '%s', '{*}', %s)",
                  workspace, text, url, rest);
    exec_sql(sql.data);
    buffer_deinit(&sql);
}

static int found(const char *url, const char *format) {
    struct uuid id = numbered_uuid(99);
    enum status status = test_sends_find(connection, span_of("w1"), span_of(url), span_of(format), &id, &error);
    assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND);
    return status == STATUS_OK ? id.bytes[15] : 0;
}

static void test_the_newest_with_the_url(void **state) {
    (void)state;
    add(1, "w1", "https://a/", "'raw', 'active', '2026-01-02'");
    add(2, "w1", "https://a/", "'kakiyo', 'paused', '2026-01-01'");
    add(3, "w1", "https://a/", "'raw', 'deleted', '2026-01-03'");
    add(4, "w2", "https://a/", "'raw', 'active', '2026-01-04'");
    add(5, "w1", "https://b/", "'raw', 'active', '2026-01-05'");
    assert_int_equal(found("https://a/", NULL), 1);
    assert_int_equal(found("https://a/", "kakiyo"), 2);
    assert_int_equal(found("https://a/", "standard"), 0);
    assert_int_equal(found("https://b/", NULL), 5);
    assert_int_equal(found("https://c/", NULL), 0);
}

static void test_a_row_and_its_body(void **state) {
    (void)state;
    struct log_row row = {.id = uuid_new(clock_wall_ms()),
                          .workspace_id = span_of("w1"),
                          .event_key = numbered_uuid(1),
                          .event_id = span_of("evt_1"),
                          .event_type = span_of("a.b"),
                          .webhook_url = span_of("https://a/"),
                          .delivery_status = "success",
                          .status_code = 204,
                          .attempt = 1,
                          .duration_ms = 5,
                          .sent_at_ms = clock_wall_ms(),
                          .test = true};
    /* There are no days yet. */
    ok(test_sends_write(connection, &row, SPAN_LITERAL("{\"a\":\x01}"), &UUID_NIL, &error));
    ok(test_sends_write(connection, &row, SPAN_LITERAL("{}"), &UUID_NIL, &error));
    expect_sql("SELECT count(*) FROM delivery_logs WHERE test AND abs(extract(epoch FROM now() - created_at)) < 60",
               "2");
    expect_sql("SELECT min(encode(body, 'hex')) FROM test_bodies t JOIN delivery_logs l USING (id, created_at)",
               "7b2261223a017d");
}

static void write_answered(int id, const struct uuid *source) {
    struct log_row row = {.id = numbered_uuid(id),
                          .workspace_id = span_of("w1"),
                          .event_key = numbered_uuid(100 + id),
                          .event_id = span_of("evt"),
                          .event_type = span_of("a.b"),
                          .webhook_url = span_of("https://a/"),
                          .delivery_status = "success",
                          .response_body = span_of("thanks for the secret"),
                          .attempt = 1,
                          .test = true};
    ok(test_sends_write(connection, &row, SPAN_LITERAL("secret"), source, &error));
}

#define KEPT                                                                                                           \
    "SELECT string_agg(concat(right(l.id::text, 1), ':', convert_from(t.body, 'UTF8'), ':', l.response_body), ' ' "    \
    "ORDER BY l.id) FROM delivery_logs l LEFT JOIN test_bodies t USING (created_at, id)"

static void test_what_was_made_of_an_event_goes_with_it(void **state) {
    (void)state;
    struct uuid event = numbered_uuid(50), other = numbered_uuid(51);
    exec_sql("INSERT INTO event_types (workspace_id, event_type, sample, sample_event) VALUES ('w1', 'a.b', 'secret', "
             "'00000000-0000-7000-8000-000000000032'), ('w2', 'a.b', 'secret', "
             "'00000000-0000-7000-8000-000000000032')");
    write_answered(1, &event);
    write_answered(2, &UUID_NIL);
    write_answered(3, &other); /* which is no sample any more */
    expect_sql(KEPT, "1:secret:thanks for the secret 2:secret:thanks for the secret 3::");
    expect_sql("SELECT event_copies_erase('w1', '00000000-0000-7000-8000-000000000032')", "2");
    expect_sql(KEPT, "1:: 2:secret:thanks for the secret 3::");
    expect_sql("SELECT string_agg(concat(workspace_id, sample, sample_event IS NULL), ' ' ORDER BY workspace_id) FROM "
               "event_types WHERE event_type = 'a.b'",
               "w1t w2secretf");
    write_answered(4, &event); /* it was under way */
    expect_sql(KEPT, "1:: 2:secret:thanks for the secret 3:: 4::");
    expect_sql("SELECT event_copies_erase('w1', '00000000-0000-7000-8000-000000000032')", "0");
}

static void test_the_name_of_a_workspace(void **state) {
    (void)state;
    struct result *rows = NULL;
    struct span name;
    exec_sql("INSERT INTO workspaces (id, name) VALUES ('w1', 'Acme'), ('w2', NULL)");
    ok(test_sends_workspace_name(connection, span_of("w1"), &rows, &name, &error));
    assert_true(span_is(name, "Acme"));
    result_free(&rows);
    ok(test_sends_workspace_name(connection, span_of("w2"), &rows, &name, &error));
    assert_null(name.data);
    result_free(&rows);
    ok(test_sends_workspace_name(connection, span_of("w3"), &rows, &name, &error));
    assert_null(name.data);
    result_free(&rows);
}

static void test_seleqts_one(void **state) {
    (void)state;
    struct uuid id = numbered_uuid(9), one = numbered_uuid(1);
    ok(seleqt_lock(connection, span_of("w1"), &id, &error));
    assert_true(uuid_is_nil(&id));
    ok(seleqt_set(connection, span_of("w1"), &one, &error));
    ok(seleqt_lock(connection, span_of("w1"), &id, &error));
    assert_true(uuid_equal(&id, &one));
    ok(seleqt_lock(connection, span_of("w2"), &id, &error));
    assert_true(uuid_is_nil(&id));
    ok(seleqt_set(connection, span_of("w1"), &UUID_NIL, &error));
    ok(seleqt_lock(connection, span_of("w1"), &id, &error));
    assert_true(uuid_is_nil(&id));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_ten_a_minute_and_workspace), STORE_TEST(test_the_newest_with_the_url),
        STORE_TEST(test_a_row_and_its_body),         STORE_TEST(test_what_was_made_of_an_event_goes_with_it),
        STORE_TEST(test_the_name_of_a_workspace),    STORE_TEST(test_seleqts_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
