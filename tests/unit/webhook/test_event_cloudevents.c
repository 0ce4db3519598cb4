#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "event_samples.h"

#define BINARY_HEADERS                                                                                                 \
    HEADER("ce_specversion", "1.0"), HEADER("ce_id", "i/1"), HEADER("ce_type", "message.new"),                         \
        HEADER("ce_source", "/a\"b")

static void reads_binary_cloudevents(void **state) {
    (void)state;
    struct event *event = accepted(&(struct sample){
        .key = "w",
        .value = "{\"x\":1}",
        .headers = {BINARY_HEADERS, HEADER("ce_time", "2024-03-10T15:30:00Z"), HEADER("ce_workspaceid", "ws\xc3\xa9"),
                    HEADER("Content-Type", "Application/JSON; charset=utf-8")}});
    assert_span(event->id_json, "\"i/1\"");
    assert_span(event->id, "i/1");
    assert_span(event->workspace_id, "ws\xc3\xa9");
    assert_span(event->event_source_json, "\"/a\\\"b\"");
    assert_span(event->event_type, "message.new");
    assert_span(event->payload.text, "{\"x\":1}");
    assert_true(event->payload.compact);
    assert_true(event->occurred_at_ms == 1710084600000LL);
    assert_span(event->headers,
                "{\"content-type\":\"Application/JSON; charset=utf-8\",\"ce_specversion\":\"1.0\",\"ce_id\":\"i/1\","
                "\"ce_type\":\"message.new\",\"ce_source\":\"/a\\\"b\",\"ce_time\":\"2024-03-10T15:30:00Z\","
                "\"ce_workspaceid\":\"ws\xc3\xa9\"}");
    event_unref(&event);

    event = accepted(&(struct sample){.value = "[1]", .headers = {BINARY_HEADERS, HEADER("ce_subject", "subject-ws")}});
    assert_span(event->workspace_id, "subject-ws");
    assert_span(event->payload.text, "[1]");
    event_unref(&event);

    event = accepted(&(struct sample){.key = "k", .value = "", .headers = {BINARY_HEADERS, HEADER("ce_subject", "s")}});
    assert_span(event->workspace_id, "k");
    assert_span(event->payload.text, NULL);
    event_unref(&event);
}

static void binary_data_may_be_text(void **state) {
    (void)state;
    struct event *event = accepted(&(struct sample){.key = "w",
                                                    .value = "a \"b\"\n<\xe2\x82\xac>",
                                                    .headers = {BINARY_HEADERS, HEADER("content-type", "text/plain")}});
    assert_span(event->payload.text, "\"a \\\"b\\\"\\n<\xe2\x82\xac>\"");
    assert_int_equal(event->payload.type, JSON_STRING);
    assert_true(event->payload.escaped);
    event_unref(&event);

    char control[4000]; /* each byte becomes an escape of six */
    memset(control, 1, sizeof(control));
    event = accepted(&(struct sample){.key = "w",
                                      .value = control,
                                      .value_len = sizeof(control),
                                      .headers = {BINARY_HEADERS, HEADER("content-type", "text/plain")}});
    assert_int_equal(event->payload.text.len, 6 * sizeof(control) + 2);
    event_unref(&event);

    struct sample sample = {
        .key = "w", .value = "a\xff", .headers = {BINARY_HEADERS, HEADER("content-type", "text/plain")}};
    assert_rejected(&sample, "bad_data", "byte 1 is not UTF-8");
    sample.value = "text";
    sample.headers[4] = (struct event_header)HEADER("content-type", "application/json");
    assert_rejected(&sample, "bad_json", "value: byte 0");
    sample.headers[4] = (struct event_header)HEADER("content-type", "application/vnd.google.protobuf");
    assert_rejected(&sample, "avro_or_protobuf", "Protobuf");
}

static void binary_attributes_are_checked(void **state) {
    (void)state;
    struct sample sample = {.key = "w", .value = "1", .headers = {BINARY_HEADERS}};
    struct event_header id = sample.headers[1];
    sample.headers[0] = (struct event_header)HEADER("ce_specversion", "0.3");
    assert_rejected(&sample, "bad_field", "ce_specversion: expected \"1.0\"");
    sample.headers[0] = (struct event_header)HEADER("ignored", "\xff");
    struct event *event = accepted(&sample);
    event_unref(&event);
    sample.headers[1] = (struct event_header)HEADER("ce_id", "a\xff");
    assert_rejected(&sample, "bad_field", "ce_id: expected UTF-8");
    sample.headers[1] = (struct event_header)HEADER("ce_id", "a\0");
    assert_rejected(&sample, "bad_field", "ce_id: expected UTF-8");
    sample.headers[1] = (struct event_header){id.name, SPAN_NONE};
    assert_rejected(&sample, "bad_field", "ce_id: is missing");
    sample.headers[1] = id;
    sample.headers[2] = (struct event_header)HEADER("ce_type", "other");
    assert_rejected(&sample, "type_mismatch", "ce_type: other on the topic of message.new");
    sample.headers[2] = (struct event_header)HEADER("ce_type", "message.new");
    sample.headers[3] = (struct event_header)HEADER("ce_time", "2024-03-10T15:30:00Z");
    assert_rejected(&sample, "bad_field", "ce_source: is missing");
    sample.headers[4] = (struct event_header)HEADER("ce_source", "s");
    sample.headers[3] = (struct event_header)HEADER("ce_time", "noon");
    assert_rejected(&sample, "bad_field", "ce_time: expected");
    sample.headers[5] = (struct event_header)HEADER("ce_time", "2024-03-10T15:30:00Z"); /* the last one counts */
    event = accepted(&sample);
    assert_true(event->occurred_at_ms == 1710084600000LL);
    event_unref(&event);
}

#define STRUCTURED HEADER("content-type", "application/CloudEvents+JSON; charset=UTF-8")

static void reads_structured_cloudevents(void **state) {
    (void)state;
    struct event *event = accepted(&(struct sample){
        .key = "w",
        .value = "{\"specversion\":\"1.0\",\"id\":\"A1\",\"source\":\"/s\",\"type\":\"message.new\",\"subject\":\"x\","
                 "\"time\":\"2024-03-10T15:30:00+01:00\",\"workspaceid\":\"ws1\",\"datacontenttype\":\"text/xml\","
                 "\"data\":\"<a/>\"}",
        .headers = {STRUCTURED}});
    assert_span(event->id, "A1");
    assert_span(event->workspace_id, "ws1");
    assert_span(event->event_source_json, "\"/s\"");
    assert_span(event->payload.text, "\"<a/>\"");
    assert_true(event->occurred_at_ms == 1710081000000LL);
    event_unref(&event);

    event = accepted(&(struct sample){
        .value = "{\"specversion\":\"1.0\",\"id\":\"A1\",\"source\":\"/s\",\"type\":\"message.new\",\"subject\":\"x\","
                 "\"data_base64\":\"AAEC\"}",
        .headers = {STRUCTURED}});
    assert_span(event->workspace_id, "x");
    assert_span(event->payload.text, "\"AAEC\"");
    event_unref(&event);
}

static void structured_envelopes_are_checked(void **state) {
    (void)state;
    struct sample sample = {.key = "w", .headers = {STRUCTURED}};
    sample.value = "{\"id\":\"1\",\"source\":\"s\",\"type\":\"message.new\"}";
    assert_rejected(&sample, "bad_field", "specversion: expected");
    sample.value = "{\"specversion\":\"2.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"message.new\"}";
    assert_rejected(&sample, "bad_field", "specversion: expected");
    sample.value = "{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"message.new\"}";
    assert_rejected(&sample, "bad_field", "source: is missing");
    sample.value = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\"}";
    assert_rejected(&sample, "bad_field", "type: is missing");
    sample.value = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"message.old\"}";
    assert_rejected(&sample, "type_mismatch", "type: message.old");
    sample.value = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"message.new\",\"data_base64\":1}";
    assert_rejected(&sample, "bad_field", "data_base64: expected a string");
    sample.headers[0] = (struct event_header)HEADER("content-type", "application/cloudevents+avro");
    assert_rejected(&sample, "avro_or_protobuf", "Avro");
    sample.headers[0] = (struct event_header)HEADER("content-type", "application/cloudevents-batch+json");
    assert_rejected(&sample, "bad_content_type", "one event a record");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_binary_cloudevents),         cmocka_unit_test(binary_data_may_be_text),
        cmocka_unit_test(binary_attributes_are_checked),    cmocka_unit_test(reads_structured_cloudevents),
        cmocka_unit_test(structured_envelopes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
