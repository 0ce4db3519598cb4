#include "webhook/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define OCCURRED 1462216307945LL
#define SENT 1700000000000LL

static struct event *event_of(const char *value) {
    struct event_record record = {.topic = SPAN_LITERAL("events.message.new"),
                                  .timestamp_ms = OCCURRED,
                                  .key = SPAN_LITERAL("ws"),
                                  .value = span_of(value)};
    struct event_rules rules = {.topic_prefix = SPAN_LITERAL("events.")};
    struct event *event = NULL;
    struct event_rejection rejection;
    if (event_read(&record, &rules, &event, &rejection) != EVENT_ACCEPTED) {
        fail_msg("%s", rejection.reason.text);
    }
    return event;
}

static void assert_renders(struct format *format, const struct format_input *input, const char *expected) {
    struct buffer out;
    buffer_init(&out, 1 << 20);
    buffer_text(&out, ">");
    format_render(format, input, &out);
    assert_string_equal(out.data + 1, expected);
    assert_false(out.overflowed);
    buffer_deinit(&out);
}

static void assert_template(const char *template_json, const char *value, const char *expected) {
    struct event *event = event_of(value);
    struct format *format = NULL;
    struct error error = {""};
    if (format_compile(span_of(template_json), &format, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    assert_renders(format, &(struct format_input){.event = event, .sent_at_ms = SENT}, expected);
    format_unref(&format);
    assert_null(format);
    event_unref(&event);
}

static void assert_refused(const char *template_json, const char *reason_part) {
    struct format *format = NULL;
    struct error error = {""};
    assert_int_equal(format_compile(span_of(template_json), &format, &error), STATUS_INVALID);
    assert_null(format);
    if (!strstr(error.text, reason_part)) {
        fail_msg("\"%s\" does not say \"%s\"", error.text, reason_part);
    }
}

#define FULL                                                                                                           \
    "{\"id\":1246965,\"workspace_id\":\"w1\",\"workspace_name\":\"seasalt.ai bot\",\"event_source\":\"portal\","       \
    "\"event_triggered_by\":\"kelly@seasalt.ai\",\"payload\":{ \"conversation\" : {\"id\":\"conv_123\", "              \
    "\"n\":1.50e1} }}"

static void assert_builtin(const char *name, const struct format_input *input, const char *expected) {
    struct format *format = format_builtin(span_of(name));
    assert_non_null(format);
    assert_renders(format, input, expected);
    format_unref(&format);
}

static void built_in_formats_write_their_bodies(void **state) {
    (void)state;
    struct event *event = event_of(FULL);
    struct format_input input = {.event = event,
                                 .sent_at_ms = SENT,
                                 .workspace_name = SPAN_LITERAL("the workspace's own"),
                                 .created_by = SPAN_LITERAL("a\"b"),
                                 .updated_by = SPAN_LITERAL("c")};
#define PAYLOAD "{\"conversation\":{\"id\":\"conv_123\",\"n\":1.50e1}}"
    assert_builtin("seanotify", &input,
                   "{\"id\":1246965,\"workspace_id\":\"w1\",\"workspace_name\":\"seasalt.ai bot\",\"value\":{"
                   "\"event_type\":\"message.new\",\"event_source\":\"portal\","
                   "\"event_triggered_by\":\"kelly@seasalt.ai\",\"payload\":" PAYLOAD ",\"occurred_at\":1462216307945,"
                   "\"sent_at\":1700000000000,\"subscription_created_by\":\"a\\\"b\","
                   "\"subscription_updated_by\":\"c\"}}");
    assert_builtin("standard", &input,
                   "{\"type\":\"message.new\",\"timestamp\":\"2016-05-02T19:11:47.945Z\",\"data\":" PAYLOAD "}");
    assert_builtin("cloudevents", &input,
                   "{\"specversion\":\"1.0\",\"id\":\"1246965\",\"source\":\"portal\",\"type\":\"message.new\","
                   "\"time\":\"2016-05-02T19:11:47.945Z\",\"workspaceid\":\"w1\","
                   "\"datacontenttype\":\"application/json\",\"data\":" PAYLOAD "}");
    assert_builtin("seleqt", &input, "{\"event\":\"message.new\",\"message\":" PAYLOAD "}");
    assert_builtin("supersend", &input, "{\"type\":\"message.new\",\"CampaignId\":null,\"contact\":null}");
    assert_builtin("kakiyo", &input,
                   "{\"event\":\"message.new\",\"data\":" PAYLOAD ",\"timestamp\":\"2016-05-02T19:11:47.945Z\"}");
    assert_builtin("raw", &input, PAYLOAD);
    event_unref(&event);
}

static void absent_fields_are_null(void **state) {
    (void)state;
    struct event *event = event_of("{\"id\":\"e\",\"workspace_id\":7}");
    struct format_input input = {.event = event, .sent_at_ms = SENT};
    assert_builtin("seanotify", &input,
                   "{\"id\":\"e\",\"workspace_id\":7,\"workspace_name\":null,\"value\":{\"event_type\":\"message.new\","
                   "\"event_source\":null,\"event_triggered_by\":null,\"payload\":null,\"occurred_at\":1462216307945,"
                   "\"sent_at\":1700000000000,\"subscription_created_by\":null,\"subscription_updated_by\":null}}");
    assert_builtin("cloudevents", &input,
                   "{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"hookcast\",\"type\":\"message.new\","
                   "\"time\":\"2016-05-02T19:11:47.945Z\",\"workspaceid\":\"7\","
                   "\"datacontenttype\":\"application/json\",\"data\":null}");
    assert_builtin("raw", &input, "null");
    assert_builtin("supersend", &input, "{\"type\":\"message.new\",\"CampaignId\":null,\"contact\":null}");
    input.workspace_name = SPAN_LITERAL("own");
    struct format *format = format_builtin(SPAN_LITERAL("seanotify"));
    struct buffer out;
    buffer_init(&out, 4096);
    format_render(format, &input, &out);
    assert_non_null(strstr(out.data, "\"workspace_name\":\"own\""));
    buffer_deinit(&out);
    format_unref(&format);
    event_unref(&event);
}

static void built_in_formats_are_found_by_name(void **state) {
    (void)state;
    assert_null(format_builtin(SPAN_LITERAL("custom")));
    assert_null(format_builtin(SPAN_LITERAL("")));
    assert_null(format_builtin_template(SPAN_LITERAL("custom")).data);
    assert_string_equal(format_content_type(SPAN_LITERAL("cloudevents")), "application/cloudevents+json");
    assert_string_equal(format_content_type(SPAN_LITERAL("standard")), "application/json");
    assert_string_equal(format_content_type(SPAN_LITERAL("custom")), "application/json");
    struct format *format = NULL;
    assert_int_equal(format_compile(format_builtin_template(SPAN_LITERAL("seanotify")), &format, NULL), STATUS_OK);
    struct format *second = format_ref(format);
    format_unref(&format);
    format_unref(&second);
    assert_null(second);
}

static void a_whole_string_becomes_the_value(void **state) {
    (void)state;
    assert_template(
        " { \"a\" : [ \"{{payload.x}}\" , \"{{ payload.y.1 }}\",\"{{payload.none}}\" ,1.0, true,\"\\u00e9\" ] } ",
        "{\"payload\":{\"x\":{ \"k\": 1 },\"y\":[1, \"two\\n\"]}}",
        "{\"a\":[{\"k\":1},\"two\\n\",null,1.0,true,\"\\u00e9\"]}");
    assert_template("\"{{id}}\"", "{\"id\":\"a\\u0062\"}", "\"a\\u0062\"");
    assert_template("\"{{id_text}}\"", "{\"id\":12}", "\"12\"");
    assert_template("\"{{workspace_id_text}}\"", "{\"workspace_id\":12}", "\"12\"");
    assert_template("[\"{{occurred_at}}\",\"{{occurred_at_ms}}\",\"{{sent_at}}\",\"{{sent_at_ms}}\"]", "{}",
                    "[\"2016-05-02T19:11:47.945Z\",1462216307945,\"2023-11-14T22:13:20Z\",1700000000000]");
    assert_template("\"{{webhook_id}}\"", "{\"id\":\"x-1\"}", "\"x-1\"");
    assert_template("{\"a\":{},\"b\":[],\"c\":[[\"{{payload}}\"],{}]}", "{\"payload\":0.10}",
                    "{\"a\":{},\"b\":[],\"c\":[[0.10],{}]}");
}

static void inside_text_a_value_becomes_text(void **state) {
    (void)state;
    assert_template("\"<{{payload.s}}|{{payload.n}}|{{payload.b}}|{{payload.z}}|{{payload.none}}>\"",
                    "{\"payload\":{\"s\":\"a\\\"\\u0041\\n\",\"n\":1.50,\"b\":true,\"z\":null}}",
                    "\"<a\\\"\\u0041\\n|1.50|true||>\"");
    assert_template("\"o={{payload.o}} a={{payload.a}}\"", "{\"payload\":{\"o\":{ \"k\" : \"v\\n\" },\"a\":[1, 2]}}",
                    "\"o={\\\"k\\\":\\\"v\\\\n\\\"} a=[1,2]\"");
    assert_template("\"\\u0022{{event_type}} at {{occurred_at}} ({{sent_at_ms}}) in {{workspace_id}} {{id}}\"",
                    "{\"id\":7}", "\"\\\"message.new at 2016-05-02T19:11:47.945Z (1700000000000) in ws 7\"");
    assert_template("\"{{id}}{{id}}\"", "{\"id\":7}", "\"77\"");
    assert_template("\"by {{subscription_created_by}} {{workspace_name}}\"", "{}", "\"by  \"");
    struct event *event = event_of("{}");
    struct format *format = NULL;
    assert_int_equal(format_compile(SPAN_LITERAL("\"by {{subscription_created_by}}\""), &format, NULL), STATUS_OK);
    assert_renders(format, &(struct format_input){.event = event, .created_by = SPAN_LITERAL("a\"\n")},
                   "\"by a\\\"\\n\"");
    format_unref(&format);
    event_unref(&event);
}

static void braces_can_be_written(void **state) {
    (void)state;
    assert_template("\"{{{{id}}\"", "{\"id\":7}", "\"{{id}}\"");
    assert_template("\"{{{{\"", "{\"id\":7}", "\"{{\"");
    assert_template("\"{{{{{{id}}}}\"", "{\"id\":7}", "\"{{7}}\"");
    assert_template("\"a } { }} \\\"\"", "{\"id\":7}", "\"a } { }} \\\"\"");
    assert_template("{\"{{id}}\":\"\\u007b{id}}\"}", "{\"id\":7}", "{\"{{id}}\":7}");
}

static void what_is_wrong_is_named(void **state) {
    (void)state;
    assert_refused("", "template: byte 0");
    assert_refused("{\"a\":}", "template: byte 5");
    assert_refused("\"{{foo}}\"", "unknown path {{foo}}");
    assert_refused("\"{{}}\"", "unknown path {{}}");
    assert_refused("\"x {{payload.}} y\"", "unknown path {{payload.}}");
    assert_refused("\"{{payload..a}}\"", "unknown path {{payload..a}}");
    assert_refused("\"{{payloads}}\"", "unknown path {{payloads}}");
    assert_refused("{\"a\":[1,{\"b\":\"hello {{id\"}],\"c\":\"{{foo}}\"}", "\"{{\" without \"}}\" at \"{{id\"");
    char deep[400] = "";
    for (int i = 0; i < 100; i++) {
        deep[i] = '[';
        deep[199 - i] = ']';
    }
    assert_refused(deep, "template: byte");
}

static void a_template_is_bounded(void **state) {
    (void)state;
    struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_text(&text, "\"");
    for (int i = 0; i < FORMAT_MAX_PLACEHOLDERS; i++) {
        buffer_text(&text, "{{id}} ");
    }
    buffer_text(&text, "\"");
    struct format *format = NULL;
    assert_int_equal(format_compile(buffer_view(&text), &format, NULL), STATUS_OK);
    format_unref(&format);
    text.data[text.len - 1] = ' ';
    buffer_text(&text, "{{id}}\"");
    assert_refused(text.data, "more than 1000 placeholders");
    buffer_reset(&text);
    buffer_text(&text, "\"");
    while (text.len < FORMAT_TEMPLATE_MAX_BYTES) {
        buffer_text(&text, "a");
    }
    buffer_text(&text, "\"");
    assert_refused(text.data, "longer than 65536 bytes");
    buffer_deinit(&text);
}

static void a_body_past_the_buffers_maximum_is_noticed(void **state) {
    (void)state;
    struct event *event = event_of("{\"payload\":{\"o\":[1,2,3,4,5,6,7,8,9,10]}}");
    static const char *const templates[] = {"\"{{payload}}\"", "\"x{{payload}}\"", "\"x{{payload.o}}\"",
                                            "[\"{{payload.o}}\",\"{{sent_at}}\"]"};
    for (size_t i = 0; i < 4; i++) {
        struct format *format = NULL;
        assert_int_equal(format_compile(span_of(templates[i]), &format, NULL), STATUS_OK);
        struct buffer out;
        buffer_init(&out, 20);
        format_render(format, &(struct format_input){.event = event}, &out);
        assert_true(out.overflowed);
        buffer_deinit(&out);
        format_unref(&format);
    }
    event_unref(&event);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_formats_write_their_bodies),
        cmocka_unit_test(absent_fields_are_null),
        cmocka_unit_test(built_in_formats_are_found_by_name),
        cmocka_unit_test(a_whole_string_becomes_the_value),
        cmocka_unit_test(inside_text_a_value_becomes_text),
        cmocka_unit_test(braces_can_be_written),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(a_template_is_bounded),
        cmocka_unit_test(a_body_past_the_buffers_maximum_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
