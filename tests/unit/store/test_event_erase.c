#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resend_fixture.h"
#include "store/event_erase.h"

#define THREE "00000000-0000-7000-8000-000000000003"
#define NIL "00000000-0000-0000-0000-000000000000"

static enum status erase(int n) {
    char text[64];
    struct uuid key;
    snprintf(text, sizeof(text), "018bcfe5-6800-8000-8000-%012x", (unsigned)n);
    ok(uuid_parse(span_of(text), &key));
    return event_erase(connection, W1, &key, &error);
}

#define PUT_ROW                                                                                                        \
    "INSERT INTO schedule (workspace_id, subscription_id, row_key, event_key, bucket, kind, attempt, activation, "     \
    "due_at, topic, part, record_offset, record_time, headers, body) SELECT "

static void test_what_it_said_goes(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 2); SELECT put_logs(1, 2, '" ONE "', 'failed');"
             "UPDATE delivery_logs SET response_body = 'you said: secret';"
             "SELECT set_config('hookcast.key', '" ONE "', false)");
    assert_int_equal(erase(3), STATUS_NOT_FOUND);
    for (int i = 0; i < 2; i++) {
        ok(erase(1));
        expect_sql("SELECT concat(octet_length(body), headers, record_key IS NULL, event_id, topic, record_offset) "
                   "FROM events WHERE event_key = ev(1)",
                   "0{}te1events.order.made1");
    }
    expect_sql("SELECT concat(octet_length(body) > 0, headers, record_key) FROM events WHERE event_key = ev(2)",
               "t{\"traceparent\":\"00-1-2-01\"}\\x6b");
    expect_sql("SELECT string_agg(coalesce(response_body, '-'), ',' ORDER BY event_id) FROM delivery_logs",
               "-,you said: secret");
    expect_sql(
        "SELECT string_agg(concat_ws(' ', workspace_id, action, right(target, 1), before ->> 'event_id', after), '|') "
        "FROM audit",
        "w1 event.erased 1 e1");
}

static void test_what_waits_is_cancelled(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 2);" PUT_ROW
             "'w1', s, k, e, 0, 0, 3, 1, now(), 't', 0, 0, now(), '{}', 'x' FROM (VALUES ('" ONE
             "'::uuid, ev(1), ev(1)), "
             "('" ONE "', resend_key('recover', '" ONE "', ev(1)), ev(1)), ('" TWO "', ev(1), ev(1)), ('" TWO
             "', ev(2), ev(2)))"
             " v(s, k, e);" PUT_ROW "'w2', '" ONE "', ev(1), ev(1), 0, 0, 3, 1, now(), 't', 0, 0, now(), '{}', 'x';"
             "UPDATE schedule SET lease_until = now() + interval '1 min', fence = 1 WHERE subscription_id = '" TWO "'");
    ok(erase(1));
    expect_sql("SELECT string_agg(workspace_id || right(event_key::text, 1), ',' ORDER BY workspace_id) FROM schedule",
               "w12,w21");
    expect_sql(
        "SELECT string_agg(concat(right(subscription_id::text, 1), delivery_status, attempt, event_id, error_code, "
        "given_up, webhook_url), ' ' ORDER BY subscription_id) FROM delivery_logs WHERE event_key = ev(1)",
        "1cancelled3e1cancelledfhttps://example.com/1 1cancelled3e1cancelledfhttps://example.com/1 "
        "2cancelled3e1cancelledfhttps://example.com/2");
    ok(erase(1));
    expect_sql("SELECT count(*) FROM delivery_logs", "3");
}

#define MEMBER(sub)                                                                                                    \
    "INSERT INTO batch_members (workspace_id, subscription_id, event_key, activation, topic, part, record_offset, "    \
    "bytes, record) SELECT 'w1', '" sub "', event_key, 1, topic, part, record_offset, octet_length(body), "            \
    "batch_record(topic, part, record_offset, record_time, record_key, headers, body) FROM events "

#define CLOSER(sub)                                                                                                    \
    PUT_ROW "'w1', '" sub "', '" NIL "', '" NIL "', 0, 2, 1, 1, now(), '', 100, 65536, now(), '{}', '';"               \
            "UPDATE schedule q SET members = m.n, member_bytes = m.bytes FROM (SELECT count(*) AS n, sum(bytes) AS "   \
            "bytes FROM batch_members WHERE subscription_id = '" sub "') m WHERE q.subscription_id = '" sub "';"

static void test_members_go_and_closers_count(void **state) {
    (void)state;
    exec_sql("SELECT put_events(8, 10);" MEMBER(ONE) ";" MEMBER(TWO) "WHERE record_offset = 10;" CLOSER(ONE)
                 CLOSER(TWO));
    expect_sql("SELECT string_agg(members || ' ' || member_bytes, ', ' ORDER BY subscription_id) FROM schedule",
               "3 40, 1 14");
    ok(erase(10));
    expect_sql("SELECT string_agg(members || ' ' || member_bytes, ', ') FROM schedule", "2 26");
    expect_sql("SELECT string_agg(right(event_key::text, 1), '' ORDER BY seq) FROM batch_members", "89");
    expect_sql("SELECT string_agg(concat(right(subscription_id::text, 1), delivery_status, attempt), ' ' "
               "ORDER BY subscription_id) FROM delivery_logs",
               "1cancelled1 2cancelled1");
}

#define RECORDS(where)                                                                                                 \
    "(SELECT string_agg(batch_record(topic, part, record_offset, record_time, record_key, headers, body), '' "         \
    "ORDER BY record_offset) FROM events WHERE " where ")"

static void test_batches_lose_it(void **state) {
    (void)state;
    exec_sql(
        "SELECT put_events(1, 3);"
        "INSERT INTO batches VALUES (at(5), ev(101), 'w1', '" ONE "', ARRAY[ev(1), ev(2), ev(3)]), "
        "(at(5), ev(102), 'w1', '" TWO "', ARRAY[ev(2)]), (at(5), ev(103), 'w1', '" THREE "', ARRAY[ev(3)]);" PUT_ROW
        "'w1', b.subscription_id, b.id, b.id, 0, 1, 2, 1, now(), '', 0, 0, now(), '{}', CASE b.id WHEN ev(101) "
        "THEN " RECORDS("true") " WHEN ev(102) THEN " RECORDS("record_offset = 2") " ELSE " RECORDS(
            "record_offset = 3") " END FROM batches b;"
                                 "CREATE TABLE left_over AS SELECT " RECORDS(
                                     "record_offset <> 2") " AS body;"
                                                           "INSERT INTO delivery_logs (created_at, id, workspace_id, "
                                                           "event_key, event_id, subscription_id, event_type, "
                                                           "webhook_url, delivery_status, attempt, batch_id, "
                                                           "response_body) SELECT at(6), id, 'w1', id, id::text, "
                                                           "subscription_id, '*', '', 'failed', 1, id, 'secret' FROM "
                                                           "batches");
    for (int i = 0; i < 2; i++) {
        ok(erase(2));
        expect_sql("SELECT string_agg(right(row_key::text, 2), ',' ORDER BY row_key) FROM schedule", "65,67");
        expect_sql("SELECT s.body = l.body FROM schedule s, left_over l WHERE s.row_key = ev(101)", "t");
        expect_sql("SELECT s.body = " RECORDS("record_offset = 3") " FROM schedule s WHERE s.row_key = ev(103)", "t");
    }
    expect_sql("SELECT string_agg(concat(right(event_key::text, 2), delivery_status, event_id = event_key::text, "
               "response_body), ' ' ORDER BY event_key, attempt) FROM delivery_logs",
               "65failedt 66failedt 66cancelledt 67failedtsecret");
}

/* No subscription wanted it: it has no row. */
static void test_a_sample_alone(void **state) {
    (void)state;
    exec_sql("INSERT INTO event_types (workspace_id, event_type, sample, sample_event) VALUES ('w1', 'lone', 'secret', "
             "ev(1)), ('w1', 'other', 'secret', ev(2)), ('w2', 'lone', 'secret', ev(1)), ('w1', 'fed', 'secret', ev(3))"
             ";SELECT put_events(3, 3); SELECT set_config('hookcast.key', '" ONE "', false)");
    ok(erase(1));
    expect_sql("SELECT string_agg(concat_ws(' ', workspace_id, event_type, sample), ', ' ORDER BY 1) FROM (SELECT * "
               "FROM event_types WHERE workspace_id <> '' ORDER BY workspace_id, event_type OFFSET 0) t",
               "w1 fed secret, w1 lone, w1 other secret, w2 lone secret");
    expect_sql("SELECT string_agg(concat_ws(' ', action, right(target, 1), before, after), '|') FROM audit "
               "WHERE action LIKE 'event.%'",
               "event.erased 1");
    expect_sql("SELECT count(*) FROM audit WHERE audit::text LIKE '%secret%'", "0");
    assert_int_equal(erase(1), STATUS_NOT_FOUND);
    ok(erase(3));
    expect_sql("SELECT count(*) FROM event_types WHERE sample IS NOT NULL", "2");
}

#define LATE "UPDATE delivery_logs SET response_body = 'late'"
#define ANSWERED                                                                                                       \
    "SELECT string_agg(concat(workspace_id, right(event_id, 1), right(event_key::text, 1), response_body), ' ' "       \
    "ORDER BY workspace_id, event_key, event_id) FROM delivery_logs"

static void test_what_was_under_way_is_cleared_afterwards(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 2); SELECT put_logs(1, 2, '" ONE "', 'failed'); SELECT put_logs(1, 1, '" ONE
             "', 'failed', workspace => 'w2');"
             "INSERT INTO batches VALUES (at(5), ev(9), 'w1', '" ONE "', ARRAY[ev(1), ev(2)]), "
             "(at(5), ev(10), 'w1', '" ONE "', ARRAY[ev(2)]);"
             "INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, "
             "event_type, webhook_url, delivery_status, attempt, batch_id) SELECT at(6), id, 'w1', id, id::text, "
             "subscription_id, '*', '', 'failed', 1, id FROM batches;"
             "INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, "
             "event_type, webhook_url, delivery_status, attempt) SELECT at(6), ev(99), 'w1', ev(3), 'e1', '" ONE
             "', 'x', '', 'failed', 1");
    ok(erase(1));
    exec_sql(LATE);
    ok(event_erase_finish(connection, 10, &error));
    expect_sql("SELECT count(*) FROM delivery_logs WHERE response_body IS NULL", "0");
    expect_sql("SELECT count(*) FROM erasures", "2");
    exec_sql("UPDATE erasures SET erased_at = at(0)");
    ok(event_erase_finish(connection, 1, &error));
    expect_sql("SELECT count(*) FROM erasures", "1");
    ok(event_erase_finish(connection, 10, &error));
    expect_sql(ANSWERED, "w111 w122late w113late w199 w1aalate w211late");
    expect_sql("SELECT count(*) FROM erasures", "0");
}

static void test_a_lock_that_is_held_is_not_waited_for(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 1);" PUT_ROW "'w1', '" ONE
             "', ev(1), ev(1), 0, 0, 3, 1, now(), 't', 0, 0, now(), '{}', 'x'");
    struct connection *other = pg_fixture_connect(database);
    pg_fixture_exec(other, "BEGIN; SELECT 1 FROM schedule FOR UPDATE");
    int64_t began_ms = clock_mono_ms();
    assert_int_equal(erase(1), STATUS_CONFLICT);
    assert_true(clock_mono_ms() - began_ms < 8000);
    expect_sql("SELECT octet_length(body) > 0 FROM events", "t");
    pg_fixture_exec(other, "ROLLBACK");
    ok(erase(1));
    connection_free(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RESEND_TEST(test_what_it_said_goes),
        RESEND_TEST(test_what_waits_is_cancelled),
        RESEND_TEST(test_members_go_and_closers_count),
        RESEND_TEST(test_batches_lose_it),
        RESEND_TEST(test_a_sample_alone),
        RESEND_TEST(test_what_was_under_way_is_cleared_afterwards),
        RESEND_TEST(test_a_lock_that_is_held_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
