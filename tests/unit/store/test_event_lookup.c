#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resend_fixture.h"
#include "store/event_lookup.h"

#define JOB "00000000-0000-7000-8000-0000000000aa"
#define NIL "00000000-0000-0000-0000-000000000000"

/* ev(n) */
static struct uuid event_key(int n) {
    char text[64];
    struct uuid key;
    snprintf(text, sizeof(text), "018bcfe5-6800-8000-8000-%012x", (unsigned)n);
    ok(uuid_parse(span_of(text), &key));
    return key;
}

static struct event_trace looked_up(const char *id) {
    struct event_trace trace;
    ok(event_lookup(connection, W1, span_of(id), &trace, &error));
    return trace;
}

static void expect_found(const char *id, int n) {
    struct event_trace trace = looked_up(id);
    struct trace_event event;
    struct uuid key = event_key(n);
    event_trace_event(&trace, &event);
    assert_true(uuid_equal(&event.key, &key));
    assert_false(event.erased);
    event_trace_deinit(&trace);
}

static void expect_unknown(struct span workspace, struct span id) {
    struct event_trace trace;
    bool is_key;
    struct result *keys = NULL;
    assert_int_equal(event_lookup(connection, workspace, id, &trace, &error), STATUS_NOT_FOUND);
    assert_int_equal(event_lookup_keys(connection, workspace, id, &is_key, &keys, &error), STATUS_NOT_FOUND);
    assert_null(keys);
}

static void test_by_key_and_by_id(void **state) {
    (void)state;
    exec_sql("SELECT put_events(1, 4); UPDATE events SET event_id = 'twice' WHERE record_offset < 4");
    expect_found("018bcfe5-6800-8000-8000-000000000001", 1);
    expect_found("twice", 3);
    expect_found("e4", 4);
    /* An id may look like a key, and be none. */
    exec_sql("UPDATE events SET event_id = '" JOB "' WHERE record_offset = 4");
    expect_found(JOB, 4);
    struct event_trace trace = looked_up("twice");
    assert_int_equal(event_trace_others(&trace), 2);
    struct uuid second = event_key(2), first = event_key(1), other = event_trace_other(&trace, 0);
    assert_true(uuid_equal(&other, &second));
    other = event_trace_other(&trace, 1);
    assert_true(uuid_equal(&other, &first));
    event_trace_deinit(&trace);
    bool is_key;
    struct result *keys = NULL;
    ok(event_lookup_keys(connection, W1, SPAN_LITERAL("twice"), &is_key, &keys, &error));
    assert_false(is_key);
    assert_int_equal(result_rows(keys), 3);
    result_free(&keys);
    ok(event_lookup_keys(connection, W1, SPAN_LITERAL("018bcfe5-6800-8000-8000-000000000002"), &is_key, &keys, &error));
    assert_true(is_key && result_rows(keys) == 1);
    result_free(&keys);
    expect_unknown(W1, SPAN_LITERAL("e5"));
    expect_unknown(W1, SPAN_LITERAL("018bcfe5-6800-8000-8000-000000000009"));
    expect_unknown(SPAN_LITERAL("w2"), SPAN_LITERAL("twice"));
    expect_unknown(W1, SPAN_LITERAL(""));
    expect_unknown(W1, SPAN_LITERAL("a\0b"));
    expect_unknown(W1, SPAN_LITERAL("\xff"));
    expect_sql("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'events'::regclass", "0");
}

static void test_attempts_of_all_kinds(void **state) {
    (void)state;
    exec_sql(
        "SELECT put_events(1, 1);"
        "SELECT put_logs(1, 1, '" TWO "', 'failed'); SELECT put_logs(1, 1, '" TWO "', 'success', false, 50, 200);"
        "SELECT put_logs(1, 1, '" ONE "', 'failed', true);"
        /* Others': of the same id, of another workspace, a test. */
        "SELECT put_logs(2, 2, '" ONE "', 'failed'); UPDATE delivery_logs SET event_id = 'e1';"
        "SELECT put_logs(1, 1, '" ONE "', 'failed', false, 9, 503, 'w2');"
        "SELECT put_logs(1, 1, '" ONE "', 'failed', false, 10); UPDATE delivery_logs SET test = true "
        "WHERE created_at = at(11);"
        /* A batch that holds it, and one that does not. */
        "INSERT INTO batches SELECT at(5), ('018bcfe5-6800-7000-8000-00000000000' || n)::uuid, 'w1', '" ONE "', "
        "ARRAY[ev(n), ev(7)] FROM generate_series(1, 2) n;"
        "UPDATE batches SET id = log_id(5) WHERE event_keys[1] = ev(1);"
        "INSERT INTO delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, "
        "webhook_url, delivery_status, attempt, batch_id) SELECT at(6), log_id(6), 'w1', id, id::text, '" ONE "', '*', "
        "'', 'success', 1, id FROM batches");
    struct event_trace trace = looked_up("e1");
    struct uuid one = numbered_uuid(1), two = numbered_uuid(2), none = numbered_uuid(3);
    struct trace_range logs = event_trace_logs(&trace, &one);
    struct trace_log log;
    assert_int_equal(logs.last - logs.first, 2);
    event_trace_log(&trace, logs.first, &log);
    assert_true(log.given_up && uuid_is_nil(&log.batch_id) && log.status_code == 503 && log.duration_ms == -1);
    event_trace_log(&trace, logs.first + 1, &log);
    assert_true(!uuid_is_nil(&log.batch_id) && log.status_code == 0 && span_is(log.delivery_status, "success"));
    logs = event_trace_logs(&trace, &two);
    assert_int_equal(logs.last - logs.first, 2);
    event_trace_log(&trace, logs.first + 1, &log);
    assert_true(span_is(log.delivery_status, "success") && log.status_code == 200 && !log.error_code.data);
    logs = event_trace_logs(&trace, &none);
    assert_int_equal(logs.first, logs.last);
    event_trace_deinit(&trace);
}

#define PUT_ROW                                                                                                        \
    "INSERT INTO schedule (workspace_id, subscription_id, row_key, event_key, bucket, kind, attempt, activation, "     \
    "due_at, topic, part, record_offset, record_time, headers, body) SELECT "

static void expect_waiting(const struct event_trace *trace, int subscription, int count) {
    struct uuid id = numbered_uuid(subscription);
    struct trace_range range = event_trace_waiting(trace, &id);
    assert_int_equal(range.last - range.first, count);
}

static void test_what_waits(void **state) {
    (void)state;
    exec_sql(
        "SELECT put_events(1, 2);"
        "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types) SELECT 'w1', "
        "('00000000-0000-7000-8000-00000000000' || n)::uuid, '', '{*}' FROM generate_series(3, 6) n;"
        /* 1: a retry. 2: recovered. 3: replayed. 4: in a batch. 5: gathers. 6: another event's. */
        PUT_ROW "'w1', '" ONE "', ev(1), ev(1), 0, 0, 2, 1, at(0), '', 0, 0, now(), '{}', '';" PUT_ROW "'w1', '" TWO
        "', resend_key('recover', '" TWO "', ev(1)), ev(1), 0, 0, 1, 1, at(0), '', 0, 0, now(), '{}', '';"
        "INSERT INTO jobs (id, workspace_id, kind, since, until, request) VALUES ('" JOB "', 'w1', 'replay', now(), "
        "now(), '{}');"
        "SELECT put_logs(1, 1, '00000000-0000-7000-8000-000000000003', 'failed', true);" PUT_ROW
        "'w1', '00000000-0000-7000-8000-000000000003', resend_key('replay', '" JOB "', ev(1)), ev(1), 0, 0, 1, 1, "
        "at(0), '', 0, 0, now(), '{}', '';"
        "INSERT INTO batches VALUES (at(1), log_id(1), 'w1', '00000000-0000-7000-8000-000000000004', ARRAY[ev(2), "
        "ev(1)]);" PUT_ROW "'w1', subscription_id, id, id, 0, 1, 3, 1, at(0), '', 0, 0, now(), '{}', '' FROM batches;"
        "INSERT INTO batch_members (workspace_id, subscription_id, event_key, activation, topic, part, record_offset, "
        "bytes, record) VALUES ('w1', '00000000-0000-7000-8000-000000000005', ev(1), 1, '', 0, 0, 9, '');" PUT_ROW
        "'w1', '00000000-0000-7000-8000-000000000005', '" NIL "', '" NIL
        "', 0, 2, 1, 1, at(77), '', 0, 0, now(), '{}', "
        "'';" PUT_ROW
        "'w1', '00000000-0000-7000-8000-000000000006', ev(2), ev(2), 0, 0, 2, 1, at(0), '', 0, 0, now(), '{}', ''");
    struct event_trace trace = looked_up("e1");
    for (int i = 1; i <= 4; i++)
        expect_waiting(&trace, i, 1);
    expect_waiting(&trace, 5, 0);
    expect_waiting(&trace, 6, 0);
    struct uuid id = numbered_uuid(4);
    struct trace_waiting waiting;
    event_trace_waiting_row(&trace, event_trace_waiting(&trace, &id).first, &waiting);
    assert_true(waiting.attempt == 3 && !uuid_is_nil(&waiting.batch_id) && !waiting.held && !waiting.sending);
    id = numbered_uuid(5);
    struct trace_range members = event_trace_members(&trace, &id);
    assert_int_equal(members.last - members.first, 1);
    assert_true(event_trace_member_due_ms(&trace, members.first) > 0);
    id = numbered_uuid(1);
    members = event_trace_members(&trace, &id);
    assert_int_equal(members.first, members.last);
    event_trace_deinit(&trace);
}

static void expect_subscriptions(const struct event_trace *trace, const int *numbers, int count) {
    bool more;
    assert_int_equal(event_trace_subscriptions(trace, &more), count);
    assert_false(more);
    for (int i = 0; i < count; i++) {
        struct trace_subscription subscription;
        struct uuid wanted = numbered_uuid(numbers[i]);
        event_trace_subscription(trace, i, &subscription);
        assert_true(uuid_equal(&subscription.id, &wanted));
    }
}

static void test_whose_business_it_is(void **state) {
    (void)state;
    exec_sql("UPDATE subscriptions SET event_types = '{other.*}' WHERE id = '" ONE "';"
             "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, status, filter) VALUES "
             "('w1', '00000000-0000-7000-8000-000000000003', '', '{order.*}', 'paused', '{}'),"
             "('w1', '00000000-0000-7000-8000-000000000004', '', '{order.made}', 'deleted', NULL),"
             "('w2', '00000000-0000-7000-8000-000000000005', '', '{*}', 'active', NULL);"
             "UPDATE subscriptions SET created_at = created_at + right(id::text, 1)::int * interval '1 s';"
             "SELECT put_events(1, 1, ARRAY['00000000-0000-7000-8000-000000000003']::uuid[]);"
             /* One that is gone from the table altogether. */
             "SELECT put_logs(1, 1, '00000000-0000-7000-8000-000000000009', 'failed', true)");
    struct event_trace trace = looked_up("e1");
    expect_subscriptions(&trace, (const int[]){3, 9, 2, 1}, 4);
    struct trace_subscription subscription;
    event_trace_subscription(&trace, 0, &subscription);
    assert_true(subscription.takes_type && span_is(subscription.status, "paused") &&
                span_is(subscription.filter, "{}"));
    assert_true(event_trace_skipped(&trace, &subscription.id));
    event_trace_subscription(&trace, 1, &subscription);
    assert_true(!subscription.status.data && !subscription.takes_type);
    assert_false(event_trace_skipped(&trace, &subscription.id));
    event_trace_subscription(&trace, 3, &subscription);
    assert_false(subscription.takes_type);
    event_trace_deinit(&trace);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RESEND_TEST(test_by_key_and_by_id),
        RESEND_TEST(test_attempts_of_all_kinds),
        RESEND_TEST(test_what_waits),
        RESEND_TEST(test_whose_business_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
