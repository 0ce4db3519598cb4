#include "webhook/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TIME_MS 1700000000123LL

static const struct event_rules RULES = {SPAN_LITERAL("events.")};
static const struct uuid ID = {{0x01, 0x92, 0xd1, 0xa4, 0x55, 0xe1, 0x7c, 0x0b, 0x9d, 0x2e, 0x6b, 0x8f, 0x0a, 1, 2, 3}};
static struct error error;

static struct event *read_record(const char *topic, int32_t partition, int64_t offset, struct span key,
                                 const char *value, const struct event_header *headers, size_t header_count) {
    struct event_record record = {span_of(topic), partition, offset,      TIME_MS, key,
                                  span_of(value), headers,   header_count};
    struct event *event = NULL;
    struct event_rejection rejection;
    if (event_read(&record, &RULES, &event, &rejection) != EVENT_ACCEPTED)
        fail_msg("%s", rejection.reason.text);
    return event;
}

/* Of a size, as far as that can be. */
static struct event *event_of(const char *type, int32_t partition, int64_t offset, size_t bytes) {
    char topic[64], value[4096];
    snprintf(topic, sizeof(topic), "events.%s", type);
    int len = snprintf(value, sizeof(value), "{\"id\":\"e%d-%lld\",\"workspace_id\":\"w1\",\"payload\":\"", partition,
                       (long long)offset);
    while ((size_t)len + 2 < bytes && len + 3 < (int)sizeof(value))
        value[len++] = 'x';
    memcpy(value + len, "\"}", 3);
    return read_record(topic, partition, offset, SPAN_LITERAL("k"), value, NULL, 0);
}

static void unref_all(struct event **events, size_t count) {
    for (size_t i = 0; i < count; i++)
        event_unref(&events[i]);
}

static void expect_text(struct span got, const char *wanted) {
    if (!span_is(got, wanted))
        fail_msg("%.*s, expected %s", SPAN_ARGS(got), wanted);
}

static void test_a_record_is_lengths_numbers_and_texts_in_network_order(void **state) {
    (void)state;
    static const char WANTED[] = "\0\0\0\x08"
                                 "events.a"
                                 "\0\0\0\x03"
                                 "\0\0\0\0\0\0\x01\x02"
                                 "\0\0\x01\x8b\xcf\xe5\x68\x7b"
                                 "\xff\xff\xff\xff"
                                 "\0\0\0\x02"
                                 "{}"
                                 "\0\0\0\x15"
                                 "{\"workspace_id\":\"w1\"}";
    struct event *event = read_record("events.a", 3, 258, SPAN_NONE, "{\"workspace_id\":\"w1\"}", NULL, 0);
    struct buffer out;
    buffer_init(&out, 1024);
    event->timestamp_ms = 0x18bcfe5687bLL;
    batch_add_record(event, &out);
    assert_int_equal(out.len, sizeof(WANTED) - 1);
    assert_memory_equal(out.data, WANTED, out.len);
    buffer_deinit(&out);
    event_unref(&event);
}

static void test_what_is_written_is_read_again_member_for_member(void **state) {
    (void)state;
    struct event_header headers[] = {{SPAN_LITERAL("traceparent"), SPAN_LITERAL("00-1-2-01")},
                                     {SPAN_LITERAL("content-type"), SPAN_LITERAL("application/json")}};
    struct event *events[] = {
        event_of("order.made", 0, 7, 100),
        read_record("events.order.made", 1, 4, SPAN_NONE, "{\"workspace_id\":\"w1\",\"payload\":[1,2]}", headers, 2),
        read_record("events.order.made", 1, 5, SPAN_LITERAL(""), "{\"workspace_id\":\"w1\",\"payload\":\"\\u0000\"}",
                    NULL, 0),
    };
    struct event *batch = batch_new(&ID, events, 3), *again = NULL;
    struct buffer body, body_again;
    buffer_init(&body, 4096);
    buffer_init(&body_again, 4096);
    batch_add_body(batch, &body);
    assert_int_equal(batch_body_bytes(batch), body.len);
    assert_int_equal(batch_read(&ID, buffer_view(&body), &RULES, &again, &error), STATUS_OK);
    assert_int_equal(again->member_count, 3);
    assert_int_equal(again->value.len, 0);
    batch_add_body(again, &body_again);
    assert_true(span_equal(buffer_view(&body_again), buffer_view(&body)));
    buffer_deinit(&body);
    buffer_deinit(&body_again);
    for (size_t i = 0; i < 3; i++) {
        const struct event *member = again->members[i];
        assert_true(uuid_equal(&member->key, &events[i]->key));
        assert_int_equal(member->partition, events[i]->partition);
        assert_int_equal(member->offset, events[i]->offset);
        assert_int_equal(member->timestamp_ms, events[i]->timestamp_ms);
        assert_true(span_equal(member->value, events[i]->value));
        assert_true(span_equal(member->headers, events[i]->headers));
        assert_true(span_equal(member->record_key, events[i]->record_key));
        assert_int_equal(member->record_key.data == NULL, events[i]->record_key.data == NULL);
    }
    expect_text(again->members[1]->traceparent, "00-1-2-01");
    event_unref(&again);
    event_unref(&batch);
    unref_all(events, 3);
}

static void test_a_batch_is_an_event_with_an_id_of_its_own(void **state) {
    (void)state;
    struct event_header trace = {SPAN_LITERAL("traceparent"), SPAN_LITERAL("00-1-2-01")};
    struct event *same[] = {event_of("order.made", 0, 1, 100), event_of("order.made", 0, 2, 100)};
    struct event *mixed[] = {same[0], event_of("order.paid", 0, 1, 100)};
    struct event *traced = read_record("events.order.made", 0, 9, SPAN_LITERAL("w1"), "{\"payload\":1}", &trace, 1);
    struct event *batch = batch_new(&ID, same, 2);
    assert_true(uuid_equal(&batch->key, &ID));
    expect_text(batch->webhook_id, "0192d1a4-55e1-7c0b-9d2e-6b8f0a010203");
    expect_text(batch->id, "0192d1a4-55e1-7c0b-9d2e-6b8f0a010203");
    expect_text(batch->event_type, "order.made");
    expect_text(batch->workspace_id, "w1");
    assert_true(batch->footprint_bytes > same[0]->footprint_bytes + same[1]->footprint_bytes);
    event_unref(&batch);
    batch = batch_new(&ID, mixed, 2);
    expect_text(batch->event_type, "*");
    event_unref(&batch);
    batch = batch_new(&ID, &traced, 1);
    expect_text(batch->traceparent, "00-1-2-01");
    event_unref(&batch);
    struct event *two[] = {traced, same[0]};
    batch = batch_new(&ID, two, 2);
    assert_null(batch->traceparent.data);
    /* Its members live as long as it does. */
    event_unref(&traced);
    unref_all(same, 2);
    event_unref(&mixed[1]);
    expect_text(batch->members[0]->traceparent, "00-1-2-01");
    event_unref(&batch);
}

static void test_bytes_that_end_too_early_or_say_something_else_are_refused(void **state) {
    (void)state;
    struct event *events[] = {event_of("order.made", 0, 1, 100), event_of("order.made", 0, 2, 100)};
    struct event *other = read_record("events.order.made", 0, 3, SPAN_NONE, "{\"workspace_id\":\"w2\"}", NULL, 0);
    struct event *batch = batch_new(&ID, events, 2), *again = NULL;
    struct buffer body;
    buffer_init(&body, 4096);
    batch_add_body(batch, &body);
    size_t whole = body.len / 2; /* both are as long */
    for (size_t len = 0; len < body.len; len++) {
        enum status status = batch_read(&ID, (struct span){body.data, len}, &RULES, &again, &error);
        assert_int_equal(status, len == whole ? STATUS_OK : STATUS_INVALID);
        assert_int_equal(again != NULL, len == whole);
        event_unref(&again);
    }
    buffer_deinit(&body);
    assert_int_equal(batch_read(&ID, SPAN_NONE, &RULES, &again, &error), STATUS_INVALID);
    assert_string_equal(error.text, "the batch has no member");
    /* What a row gets that can't be filled any more. */
    assert_int_equal(batch_read(&ID, SPAN_LITERAL("\0"), &RULES, &again, &error), STATUS_INVALID);
    assert_string_equal(error.text, "member 1: the record ends too early");
    struct buffer bytes;
    buffer_init(&bytes, 4096);
    batch_add_record(events[0], &bytes);
    batch_add_record(other, &bytes);
    assert_int_equal(batch_read(&ID, buffer_view(&bytes), &RULES, &again, &error), STATUS_INVALID);
    assert_string_equal(error.text, "member 2: of another workspace");
    bytes.data[bytes.len - 1] = '?'; /* no JSON any more */
    assert_int_equal(batch_read(&ID, buffer_view(&bytes), &RULES, &again, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "member 2: bad_json"));
    /* Lengths that lie. */
    for (size_t at = 0; at < 4; at++) {
        bytes.data[at] = '\xfe';
        assert_int_equal(batch_read(&ID, buffer_view(&bytes), &RULES, &again, &error), STATUS_INVALID);
    }
    assert_null(again);
    buffer_deinit(&bytes);
    event_unref(&batch);
    event_unref(&other);
    unref_all(events, 2);
}

/* How 10 events of 100 bytes, the fourth of 1,000, are cut up. */
static void expect_cut(int32_t max_events, int64_t max_bytes, const char *wanted) {
    struct event *events[10];
    struct batch_limits limits = {max_events, max_bytes};
    char got[128] = "";
    for (size_t i = 0; i < 10; i++) {
        events[i] = event_of("a", 0, (int64_t)i, i == 3 ? 1000 : 100);
        assert_int_equal(events[i]->value.len, i == 3 ? 1000 : 100);
    }
    for (size_t first = 0; first < 10;) {
        bool full = false;
        size_t taken = batch_next(events + first, 10 - first, &limits, &full);
        size_t len = strlen(got);
        snprintf(got + len, sizeof(got) - len, "%s%zu%s", first ? " " : "", taken, full ? "" : " left");
        first += taken;
    }
    assert_string_equal(got, wanted);
    unref_all(events, 10);
}

static void test_a_batch_is_full_by_count_or_by_bytes_and_a_large_event_is_one_by_itself(void **state) {
    (void)state;
    expect_cut(1, 65536, "1 1 1 1 1 1 1 1 1 1");
    expect_cut(4, 65536, "4 4 2 left");
    expect_cut(5, 65536, "5 5");
    expect_cut(1000, 65536, "10 left");
    expect_cut(1000, 1900, "10"); /* exactly as many bytes */
    expect_cut(1000, 1899, "9 1 left");
    expect_cut(1000, 300, "3 1 3 3"); /* the large one is more than a batch may have */
    expect_cut(1000, 250, "2 1 1 2 2 2 left");
    expect_cut(1000, 1, "1 1 1 1 1 1 1 1 1 1");
    expect_cut(2, 1050, "2 1 1 2 2 2");
}

static void test_batches_are_filled_less_where_their_bodies_are_longer(void **state) {
    (void)state;
    struct span types[] = {SPAN_LITERAL("*")};
    struct subscription_spec spec = {.id = ID,
                                     .workspace_id = SPAN_LITERAL("w1"),
                                     .event_types = types,
                                     .event_type_count = 1,
                                     .url = SPAN_LITERAL("http://127.0.0.1/"),
                                     .format = SPAN_LITERAL("raw"),
                                     .batch_max_events = 7,
                                     .batch_max_bytes = 10000};
    struct subscription *subscription = NULL;
    struct event *events[] = {event_of("a", 0, 1, 500), event_of("a", 0, 2, 500)};
    struct event *batch = batch_new(&ID, events, 2);
    struct gate *gate;
    assert_int_equal(subscription_new(&spec, NULL, &subscription, &error), STATUS_OK);
    gate = subscription->gate;
    assert_int_equal(batch_limits_of(subscription).max_events, 7);
    assert_int_equal(batch_limits_of(subscription).max_bytes, 10000);
    batch_note_body(gate, batch, 700); /* shorter ones change nothing */
    assert_int_equal(batch_limits_of(subscription).max_bytes, 10000);
    batch_note_body(gate, batch, 1250);
    assert_int_equal(batch_limits_of(subscription).max_bytes, 10000 * 1000 / 1270);
    /* One that is shorter is no reason to forget it at once; many are. */
    batch_note_body(gate, batch, 1000);
    assert_in_range(batch_limits_of(subscription).max_bytes, 7900, 8100);
    for (int i = 0; i < 100; i++)
        batch_note_body(gate, batch, 1100);
    assert_int_equal(batch_limits_of(subscription).max_bytes, 10000 * 1000 / 1120);
    /* Never so low that nothing could be right about it. */
    batch_note_body(gate, batch, SIZE_MAX / 2000);
    assert_true(batch_limits_of(subscription).max_bytes >= 0);
    unref_all(events, 2);
    event_unref(&batch);
    subscription_unref(&subscription);
}

static void test_the_order_in_a_batch_is_that_of_each_partition(void **state) {
    (void)state;
    struct event *events[] = {event_of("b", 0, 1, 0), event_of("a", 1, 3, 0),  event_of("a", 0, 12, 0),
                              event_of("a", 0, 9, 0), event_of("ab", 0, 0, 0), event_of("a", 1, 2, 0)};
    struct event *sorted[6];
    static const int WANTED[] = {3, 2, 5, 1, 4, 0};
    memcpy(sorted, events, sizeof(events));
    qsort(sorted, 6, sizeof(sorted[0]), batch_order);
    for (size_t i = 0; i < 6; i++)
        assert_ptr_equal(sorted[i], events[WANTED[i]]);
    unref_all(events, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_is_lengths_numbers_and_texts_in_network_order),
        cmocka_unit_test(test_what_is_written_is_read_again_member_for_member),
        cmocka_unit_test(test_a_batch_is_an_event_with_an_id_of_its_own),
        cmocka_unit_test(test_bytes_that_end_too_early_or_say_something_else_are_refused),
        cmocka_unit_test(test_a_batch_is_full_by_count_or_by_bytes_and_a_large_event_is_one_by_itself),
        cmocka_unit_test(test_batches_are_filled_less_where_their_bodies_are_longer),
        cmocka_unit_test(test_the_order_in_a_batch_is_that_of_each_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
