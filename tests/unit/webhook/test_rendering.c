#include "webhook/rendering.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "webhook/batch.h"
#include "webhook/subscription.h"

static struct event *event_of(const char *json) {
    struct event_record record = {.topic = SPAN_LITERAL("events.a"), .timestamp_ms = 1000, .value = span_of(json)};
    struct event_rules rules = {SPAN_LITERAL("events.")};
    struct event_rejection rejection;
    struct event *event;
    assert_int_equal(event_read(&record, &rules, &event, &rejection), EVENT_ACCEPTED);
    return event;
}

static void expect_body(const char *format, int style, struct event *event, const char *wanted) {
    struct buffer body;
    struct format *compiled = format_builtin(span_of(format));
    struct rendering rendering = {.format = compiled,
                                  .signature_style = style,
                                  .workspace_name = SPAN_LITERAL("W"),
                                  .created_by = SPAN_LITERAL("c"),
                                  .updated_by = SPAN_NONE};
    buffer_init(&body, 4096);
    rendering_write(&rendering, event, 1500, &body);
    assert_string_equal(body.data, wanted);
    assert_int_equal(body.max_bytes, 4096);
    buffer_deinit(&body);
    format_unref(&compiled);
}

static void an_event_by_its_format_and_style(void **state) {
    (void)state;
    struct event *event =
        event_of("{\"id\":1,\"workspace_id\":\"w\",\"occurred_at\":5,\"payload\":{\"b\":1.10,\"2\":3}}");
    expect_body("raw", SIGNATURE_STANDARD, event, "{\"b\":1.10,\"2\":3}");
    expect_body("raw", SIGNATURE_NONE, event, "{\"b\":1.10,\"2\":3}");
    expect_body("raw", SIGNATURE_HEX, event, "{\"2\":3,\"b\":1.1}");
    expect_body("raw", SIGNATURE_BOTH, event, "{\"2\":3,\"b\":1.1}");
    expect_body("seanotify", SIGNATURE_STANDARD, event,
                "{\"id\":1,\"workspace_id\":\"w\",\"workspace_name\":\"W\",\"value\":{\"event_type\":\"a\","
                "\"event_source\":null,\"event_triggered_by\":null,\"payload\":{\"b\":1.10,\"2\":3},\"occurred_at\":5,"
                "\"sent_at\":1500,\"subscription_created_by\":\"c\",\"subscription_updated_by\":null}}");
    event_unref(&event);
}

static void a_batch_is_an_array_of_whatever_length(void **state) {
    (void)state;
    struct uuid id = uuid_new(1000);
    struct event *members[] = {event_of("{\"workspace_id\":\"w\",\"payload\":1.0}"),
                               event_of("{\"workspace_id\":\"w\",\"payload\":[]}")};
    struct event *one = batch_new(&id, members, 1), *both = batch_new(&id, members, 2);
    expect_body("raw", SIGNATURE_STANDARD, one, "[1.0]");
    expect_body("raw", SIGNATURE_STANDARD, both, "[1.0,[]]");
    expect_body("raw", SIGNATURE_HEX, both, "[1,[]]");
    event_unref(&one);
    event_unref(&both);
    event_unref(&members[0]);
    event_unref(&members[1]);
}

static void what_is_too_long_says_so(void **state) {
    (void)state;
    struct event *event = event_of("{\"workspace_id\":\"w\",\"payload\":\"0123456789\"}");
    struct format *raw = format_builtin(SPAN_LITERAL("raw"));
    for (int style = SIGNATURE_STANDARD; style <= SIGNATURE_NONE; style++) {
        struct rendering rendering = {.format = raw, .signature_style = style};
        struct buffer body;
        buffer_init(&body, 8);
        rendering_write(&rendering, event, 1, &body);
        assert_true(body.overflowed);
        buffer_deinit(&body);
    }
    format_unref(&raw);
    event_unref(&event);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_by_its_format_and_style),
        cmocka_unit_test(a_batch_is_an_array_of_whatever_length),
        cmocka_unit_test(what_is_too_long_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
