#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "event_samples.h"

static void rejects_value(const char *value, const char *code, const char *reason_part) {
    assert_rejected(&(struct sample){.key = "ws", .value = value}, code, reason_part);
}

static void reads_the_native_form(void **state) {
    (void)state;
    struct event *event = accepted(&(struct sample){
        .key = "other",
        .value =
            "{\"id\":\"evt-1\",\"workspace_id\":42,\"workspace_name\":\"Kelly's "
            "\\u00e9\",\"event_type\":\"message.new\","
            "\"event_source\":\"portal\",\"event_triggered_by\":\"kelly@seasalt.ai\",\"occurred_at\":1462216307945,"
            "\"deliver_at\":\"2024-01-02T03:04:05Z\",\"payload\":{\"a\": 1.50},\"unknown\":[1,2]}"});
    assert_span(event->id_json, "\"evt-1\"");
    assert_span(event->id, "evt-1");
    assert_span(event->webhook_id, "evt-1");
    assert_span(event->workspace_json, "42");
    assert_span(event->workspace_id, "42");
    assert_span(event->workspace_name_json, "\"Kelly's \\u00e9\"");
    assert_span(event->event_type, "message.new");
    assert_span(event->event_source_json, "\"portal\"");
    assert_span(event->triggered_by_json, "\"kelly@seasalt.ai\"");
    assert_span(event->payload.text, "{\"a\": 1.50}");
    assert_false(event->payload.compact);
    assert_span(event->record_key, "other");
    assert_span(event->headers, "{}");
    assert_true(event->occurred_at_ms == 1462216307945LL);
    assert_true(event->deliver_at_ms == 1704164645000LL);
    assert_true(event->footprint_bytes > sizeof(struct event));
    event_unref(&event);
    assert_null(event);
}

static void absent_members_have_their_stand_ins(void **state) {
    (void)state;
    struct event *event = accepted(&(struct sample){.key = "w\"1", .value = "{\"id\":null,\"deliver_at\":null}"});
    assert_span(event->workspace_json, "\"w\\\"1\"");
    assert_span(event->workspace_id, "w\"1");
    assert_span(event->event_type, "message.new");
    assert_span(event->workspace_name_json, NULL);
    assert_span(event->event_source_json, NULL);
    assert_span(event->triggered_by_json, NULL);
    assert_span(event->payload.text, NULL);
    assert_true(event->occurred_at_ms == TIMESTAMP && event->deliver_at_ms == 0);
    char id[40] = "evt_";
    for (int i = 0; i < 16; i++) {
        snprintf(id + 4 + 2 * i, 3, "%02x", event->key.bytes[i]);
    }
    assert_span(event->id, id);
    assert_span(event->webhook_id, id);
    assert_int_equal(event->id_json.len, 38);
    event_unref(&event);

    event = accepted(&(struct sample){.key = "w", .value = "{}", .timestamp_ms = -1});
    assert_true(event->timestamp_ms == 0 && event->occurred_at_ms == 0);
    event_unref(&event);
}

static void the_last_of_duplicate_members_counts(void **state) {
    (void)state;
    struct event *event = accepted(&(struct sample){
        .value = "{\"id\":[],\"id\":1,\"workspace_id\":\"a\",\"payload\":1,\"i\\u0064\":\"2\",\"workspace_id\":\"b\","
                 "\"payload\":null}"});
    assert_span(event->id, "2");
    assert_span(event->workspace_id, "b");
    assert_span(event->payload.text, "null");
    event_unref(&event);
}

static void ids_keep_the_producers_spelling(void **state) {
    (void)state;
    struct event *event = accepted(&(struct sample){
        .key = "w", .value = "{\"id\":123456789012345678901234567890,\"workspace_id\":\"\\u0077s\\/1\"}"});
    assert_span(event->id_json, "123456789012345678901234567890");
    assert_span(event->id, "123456789012345678901234567890");
    assert_span(event->webhook_id, "123456789012345678901234567890");
    assert_span(event->workspace_json, "\"\\u0077s\\/1\"");
    assert_span(event->workspace_id, "ws/1");
    event_unref(&event);
}

static void an_id_that_is_no_header_value_is_hashed(void **state) {
    (void)state;
    struct event *event = accepted(&(struct sample){.value = "{\"id\":\"a b\",\"workspace_id\":\"w\"}"});
    assert_span(event->id, "a b");
    /* printf 'w\0a b' | sha256sum */
    assert_span(event->webhook_id, "evt_c76c06710ee26295c0c4fea47a3bd4fc");
    event_unref(&event);

    char value[256];
    const char *long_id = "0123456789012345678901234567890123456789012345678901234567890123";
    snprintf(value, sizeof(value), "{\"id\":\"%s\"}", long_id);
    event = accepted(&(struct sample){.key = "w", .value = value});
    assert_span(event->webhook_id, long_id);
    event_unref(&event);
    snprintf(value, sizeof(value), "{\"id\":\"%s4\"}", long_id);
    event = accepted(&(struct sample){.key = "w", .value = value});
    assert_int_equal(event->webhook_id.len, 36);
    event_unref(&event);
}

static void members_of_a_wrong_type_are_named(void **state) {
    (void)state;
    rejects_value("{\"id\":1.5}", "bad_field", "id: expected a string or an integer");
    rejects_value("{\"id\":1e3}", "bad_field", "id: expected a string or an integer");
    rejects_value("{\"id\":true}", "bad_field", "id: expected a string or an integer");
    rejects_value("{\"id\":\"\"}", "bad_field", "id: expected 1 to 200 bytes");
    rejects_value("{\"id\":\"a\\u0000b\"}", "bad_field", "id: expected text without NUL");
    rejects_value("{\"workspace_id\":{}}", "bad_field", "workspace_id: expected a string or an integer");
    rejects_value("{\"workspace_id\":\"\"}", "bad_field", "workspace_id: expected 1 to 200 bytes");
    rejects_value("{\"workspace_name\":1}", "bad_field", "workspace_name: expected a string");
    rejects_value("{\"event_source\":[]}", "bad_field", "event_source: expected a string");
    rejects_value("{\"event_triggered_by\":1}", "bad_field", "event_triggered_by: expected a string");
    rejects_value("{\"event_type\":1}", "bad_field", "event_type: expected a string");
    rejects_value("{\"occurred_at\":\"yesterday\"}", "bad_field", "occurred_at: expected integer milliseconds");
    rejects_value("{\"occurred_at\":1.5}", "bad_field", "occurred_at: expected integer milliseconds");
    rejects_value("{\"occurred_at\":1e300}", "bad_field", "occurred_at: expected integer milliseconds");
    rejects_value("{\"occurred_at\":253402300800000}", "bad_field", "occurred_at: expected integer milliseconds");
    rejects_value("{\"deliver_at\":false}", "bad_field", "deliver_at: expected integer milliseconds");

    char value[2048];
    snprintf(value, sizeof(value), "{\"id\":\"%0201d\"}", 7);
    rejects_value(value, "bad_field", "id: expected 1 to 200 bytes");
    snprintf(value, sizeof(value), "{\"id\":\"\\u0041%01500d\"}", 7);
    rejects_value(value, "bad_field", "id: expected 1 to 200 bytes");
    snprintf(value, sizeof(value), "{\"id\":%0200d}", 7);
    value[6] = '1'; /* no leading zero */
    assert_rejected(&(struct sample){.value = value}, "no_workspace", "workspace_id");
    struct event *event = accepted(&(struct sample){.key = "w", .value = value});
    assert_int_equal(event->id.len, 200);
    event_unref(&event);
}

/* How far deliver_at may be ahead is measured from the record's timestamp, never from a clock of this process. */
static void deliver_at_is_a_year_ahead_at_most(void **state) {
    (void)state;
    const int64_t year_ms = 366 * 24 * 3600 * 1000LL;
    char value[100];
    snprintf(value, sizeof(value), "{\"deliver_at\":%lld}", (long long)(TIMESTAMP + year_ms));
    struct event *event = accepted(&(struct sample){.key = "w", .value = value});
    assert_true(event->deliver_at_ms == TIMESTAMP + year_ms);
    event_unref(&event);
    snprintf(value, sizeof(value), "{\"deliver_at\":%lld}", (long long)(TIMESTAMP + year_ms + 1));
    rejects_value(value, "bad_field", "deliver_at: is more than 366 days after the record's timestamp");
    rejects_value("{\"deliver_at\":\"9999-12-31T23:59:59Z\"}", "bad_field", "deliver_at: is more than 366 days");
    rejects_value("{\"deliver_at\":\"10000-01-01T00:00:00Z\"}", "bad_field", "deliver_at: expected");
    /* A record without a timestamp has nothing to measure from. */
    event = accepted(
        &(struct sample){.key = "w", .timestamp_ms = -1, .value = "{\"deliver_at\":\"2100-01-01T00:00:00Z\"}"});
    assert_true(event->deliver_at_ms == 4102444800000LL);
    event_unref(&event);
    event = accepted(&(struct sample){.key = "w", .value = "{\"deliver_at\":\"0001-01-01T00:00:00Z\"}"});
    assert_true(event->deliver_at_ms == 0);
    event_unref(&event);
}

static void times_are_ms_or_iso(void **state) {
    (void)state;
    struct event *event = accepted(
        &(struct sample){.key = "w", .value = "{\"occurred_at\":\"2024-03-10 15:30:00.5\",\"deliver_at\":-5}"});
    assert_true(event->occurred_at_ms == 1710084600500LL);
    assert_true(event->deliver_at_ms == 0);
    event_unref(&event);
    event = accepted(&(struct sample){.key = "w", .value = "{\"occurred_at\":\"2024-03-10T15:30:00\\u002b01:00\"}"});
    assert_true(event->occurred_at_ms == 1710081000000LL);
    event_unref(&event);
}

static void the_topic_names_the_type(void **state) {
    (void)state;
    rejects_value("{\"event_type\":\"message.old\"}", "type_mismatch", "message.old on the topic of message.new");
    assert_rejected(&(struct sample){.topic = "events.", .key = "w", .value = "{}"}, "bad_type", "topic");
    assert_rejected(&(struct sample){.topic = "events.a b", .key = "w", .value = "{}"}, "bad_type", "topic");
    assert_rejected(&(struct sample){.topic = "mixed", .key = "w", .value = "{}"}, "bad_type",
                    "event_type: is missing");
    assert_rejected(&(struct sample){.topic = "mixed", .key = "w", .value = "{\"event_type\":\"a b\"}"}, "bad_type",
                    "event_type: expected 1 to 200");
    assert_rejected(&(struct sample){.topic = "mixed", .key = "w", .value = "{\"event_type\":\"\"}"}, "bad_type",
                    "event_type");
    char topic[1000];
    memset(topic, 't', sizeof(topic));
    topic[999] = '\0';
    assert_rejected(&(struct sample){.topic = topic, .key = "w", .value = "{\"event_type\":\"a\"}"}, "bad_type",
                    "topic: longer than 249 bytes");
    struct event *event =
        accepted(&(struct sample){.topic = "mixed", .key = "w", .value = "{\"event_type\":\"a\\u002eb\"}"});
    assert_span(event->event_type, "a.b");
    event_unref(&event);
}

static void assert_rejected_of(const char *workspace, const struct sample *sample) {
    struct event_record record = record_of(sample);
    struct event *event = NULL;
    struct event_rejection rejection = {.code = "", .workspace_id = "untouched"};
    assert_int_equal(read_record(&record, &event, &rejection), EVENT_REJECTED);
    assert_string_equal(rejection.workspace_id, workspace);
}

static void a_rejected_record_says_whose_it_is_if_it_can(void **state) {
    (void)state;
    assert_rejected_of("w", &(struct sample){.key = "k", .value = "{\"workspace_id\":\"w\",\"id\":[]}"});
    assert_rejected_of("42", &(struct sample){.key = "k", .value = "{\"id\":[],\"workspace_id\":42}"});
    assert_rejected_of("w/x", &(struct sample){.value = "{\"workspace_id\":\"w\\/x\",\"occurred_at\":\"soon\"}"});
    assert_rejected_of("k", &(struct sample){.key = "k", .value = "{\"id\":[]}"});
    assert_rejected_of("k", &(struct sample){.key = "k", .value = "[]"});
    assert_rejected_of("k", &(struct sample){.key = "k", .value = "{\"workspace_id\":\"w\",\"id\""});
    assert_rejected_of("", &(struct sample){.value = "{\"workspace_id\":\"w\",\"id\""});
    assert_rejected_of("", &(struct sample){.key = "k", .value = "{\"workspace_id\":{}}"});
    assert_rejected_of("", &(struct sample){.key = "\xff", .value = "nonsense"});
    struct sample binary = {.key = "k",
                            .value = "{",
                            .headers = {{SPAN_LITERAL("ce_specversion"), SPAN_LITERAL("1.0")},
                                        {SPAN_LITERAL("ce_workspaceid"), SPAN_LITERAL("w")},
                                        {SPAN_LITERAL("content-type"), SPAN_LITERAL("application/json")}}};
    assert_rejected_of("w", &binary);
}

static void a_workspace_must_be_known(void **state) {
    (void)state;
    assert_rejected(&(struct sample){.value = "{}"}, "no_workspace", "workspace_id: is missing");
    assert_rejected(&(struct sample){.key = "", .value = "{}"}, "no_workspace", "workspace_id: is missing");
    assert_rejected(&(struct sample){.key = "\xff", .value = "{}"}, "no_workspace", "workspace_id: is missing");
    char key[202];
    memset(key, 'k', 201);
    key[201] = '\0';
    assert_rejected(&(struct sample){.key = key, .value = "{}"}, "no_workspace", "workspace_id: is missing");
    key[200] = '\0';
    struct event *event = accepted(&(struct sample){.key = key, .value = "{}"});
    assert_span(event->workspace_id, key);
    event_unref(&event);
}

static void values_that_are_no_event(void **state) {
    (void)state;
    struct event_record record = {.topic = SPAN_LITERAL(TOPIC), .key = SPAN_LITERAL("w")};
    struct event *event = NULL;
    struct event_rejection rejection = {.code = ""};
    assert_int_equal(event_read(&record, &RULES, &event, &rejection), EVENT_SKIPPED);
    rejects_value("", "bad_json", "value: byte 0");
    rejects_value("{", "bad_json", "value: byte");
    rejects_value("{}x", "bad_json", "value: byte 2");
    rejects_value("{\"a\":\"\xff\"}", "bad_json", "value: byte");
    rejects_value("[]", "not_an_object", "found an array");
    rejects_value("null", "not_an_object", "found null");
    rejects_value("12", "not_an_object", "found a number");
    char deep[300];
    memset(deep, '[', sizeof(deep));
    assert_rejected(&(struct sample){.value = deep, .value_len = sizeof(deep)}, "bad_json", "byte");
}

static void confluents_five_bytes_are_skipped(void **state) {
    (void)state;
    static const char framed[] = "\0\0\0\0\7{\"id\":\"1\",\"payload\":{}}";
    struct event *event = accepted(&(struct sample){.key = "w", .value = framed, .value_len = sizeof(framed) - 1});
    assert_span(event->id, "1");
    assert_int_equal(event->value.len, sizeof(framed) - 1);
    event_unref(&event);
    static const char avro[] = "\0\0\0\0\7\4ab\2";
    assert_rejected(&(struct sample){.key = "w", .value = avro, .value_len = sizeof(avro) - 1}, "avro_or_protobuf",
                    "Avro and Protobuf");
    static const char file[] = "Obj\1\4\x14";
    assert_rejected(&(struct sample){.key = "w", .value = file, .value_len = sizeof(file) - 1}, "avro_or_protobuf",
                    "Avro");
    assert_rejected(&(struct sample){.key = "w", .value = "\0\0\0\0\0", .value_len = 5}, "bad_json", "byte 0");
    static const char number[] = "\0\0\0\0\7[1]";
    assert_rejected(&(struct sample){.key = "w", .value = number, .value_len = sizeof(number) - 1}, "not_an_object",
                    "an array");
}

static void trace_headers_travel_on(void **state) {
    (void)state;
    struct sample sample = {
        .key = "w",
        .value = "{\"id\":1}",
        .headers = {HEADER("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                    HEADER("tracestate", "a=1,b=2"), HEADER("other", "x")}};
    struct event *event = accepted(&sample);
    assert_span(event->traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_span(event->tracestate, "a=1,b=2");
    event_unref(&event);

    sample.headers[1] = (struct event_header)HEADER("tracestate", "a=1\r\nhost: evil");
    event = accepted(&sample);
    assert_span(event->tracestate, NULL);
    event_unref(&event);
}

static void a_content_type_of_any_bytes_is_kept_clean(void **state) {
    (void)state;
    struct event *event = accepted(
        &(struct sample){.key = "w", .value = "{\"id\":1}", .headers = {HEADER("content-type", "x\xff\0\n\"")}});
    assert_span(event->headers, "{\"content-type\":\"x\xEF\xBF\xBD\xEF\xBF\xBD\\n\\\"\"}");
    event_unref(&event);
}

static void a_headers_column_is_checked(void **state) {
    (void)state;
    struct event_header headers[2];
    size_t count = 9;
    struct buffer memory;
    buffer_init(&memory, 64);
    static const char *const bad[] = {"",
                                      "[]",
                                      "{\"a\":1}",
                                      "{\"a\":\"b\"",
                                      "{\"a\":\"\",\"b\":\"\",\"c\":\"\"}",
                                      "{\"a\":\"01234567890123456789012345678901234567890123456789012345678901234\"}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        buffer_reset(&memory);
        assert_int_equal(event_headers_parse(span_of(bad[i]), headers, 2, &count, &memory), STATUS_INVALID);
        assert_int_equal(count, 9);
    }
    buffer_reset(&memory);
    buffer_text(&memory, "kept");
    assert_int_equal(
        event_headers_parse(span_of("{ \"a\\u0062\" : \"\\n\" , \"n\":null}"), headers, 2, &count, &memory), STATUS_OK);
    assert_int_equal(count, 2);
    assert_span(headers[0].name, "ab");
    assert_span(headers[0].value, "\n");
    assert_span(headers[1].name, "n");
    assert_span(headers[1].value, NULL);
    buffer_deinit(&memory);
}

static void references_are_counted(void **state) {
    (void)state;
    struct event *event = accepted(&(struct sample){.key = "w", .value = "{}"});
    struct event *second = event_ref(event);
    event_unref(&event);
    assert_null(event);
    assert_span(second->workspace_id, "w");
    event_unref(&second);
    event_unref(&second); /* nothing left: nothing happens */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_native_form),
        cmocka_unit_test(absent_members_have_their_stand_ins),
        cmocka_unit_test(the_last_of_duplicate_members_counts),
        cmocka_unit_test(ids_keep_the_producers_spelling),
        cmocka_unit_test(an_id_that_is_no_header_value_is_hashed),
        cmocka_unit_test(members_of_a_wrong_type_are_named),
        cmocka_unit_test(deliver_at_is_a_year_ahead_at_most),
        cmocka_unit_test(times_are_ms_or_iso),
        cmocka_unit_test(the_topic_names_the_type),
        cmocka_unit_test(a_rejected_record_says_whose_it_is_if_it_can),
        cmocka_unit_test(a_workspace_must_be_known),
        cmocka_unit_test(values_that_are_no_event),
        cmocka_unit_test(confluents_five_bytes_are_skipped),
        cmocka_unit_test(trace_headers_travel_on),
        cmocka_unit_test(a_content_type_of_any_bytes_is_kept_clean),
        cmocka_unit_test(a_headers_column_is_checked),
        cmocka_unit_test(references_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
