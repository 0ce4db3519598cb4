#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/subscription_fields.h"
#include "call_fixture.h"
#include "core/settings.h"

static const struct settings SETTINGS = {.allow_http = false};

/* Reads the body into row as a creation or a change. */
static struct call *read_body(const char *body, bool create, struct subscription_row *row,
                              struct subscription_change *change) {
    struct call *call = call_fixture(body);
    call->settings = &SETTINGS;
    *change = (struct subscription_change){.create = create};
    subscription_fields_read(call, row, change);
    return call;
}

static struct subscription_row plain_row(void) {
    return (struct subscription_row){.type = span_of("SEASALT"),
                                     .status = span_of("active"),
                                     .signature_style = span_of("standard"),
                                     .payload_format = span_of("seanotify"),
                                     .delivery_mode = span_of("immediate"),
                                     .retry_count = -1};
}

static void test_the_printed_creation(void **state) {
    (void)state;
    struct subscription_row row = plain_row();
    struct subscription_change change;
    struct call *call = read_body("{\"webhook_url\": \"https://api.example.com/webhook\", \"event_types\": "
                                  "[\"conversation.new\", \"message.new\", \"conversation.new\"], \"created_by\": "
                                  "\"user_12345\", \"is_enabled\": false, \"type\": \"ZAPIER\"}",
                                  true, &row, &change);
    assert_null(call->errors);
    assert_true(span_is(row.webhook_url, "https://api.example.com/webhook") && span_is(row.type, "ZAPIER"));
    assert_int_equal(row.event_type_count, 2);
    assert_true(span_is(row.event_types[1], "message.new") && span_is(row.created_by, "user_12345"));
    assert_true(span_is(row.status, "paused") && row.retry_count == -1 && !change.secret.data && !change.headers);
    call_free(&call);
}

static void test_a_change_leaves_the_rest(void **state) {
    (void)state;
    struct subscription_row row = plain_row();
    struct subscription_change change;
    row.webhook_url = span_of("https://example.com/");
    row.status = span_of("disabled");
    row.disabled_reason = span_of("410");
    row.timeout_ms = 5000;
    struct call *call =
        read_body("{\"updated_by\": \"me\", \"retry_schedule\": [1, \"5m\", 0.1], \"max_in_flight\": 1000, "
                  "\"headers\": null, \"secret\": \"eight888\"}",
                  false, &row, &change);
    assert_null(call->errors);
    assert_true(span_is(row.webhook_url, "https://example.com/") && span_is(row.status, "disabled"));
    assert_true(row.timeout_ms == 5000 && row.max_in_flight == 1000 && row.retry_count == 3);
    assert_true(row.retry_ms[0] == 1000 && row.retry_ms[1] == 300000 && row.retry_ms[2] == 100);
    assert_true(span_is(row.updated_by, "me") && span_is(change.secret, "eight888") && json_is_null(change.headers));
    call_free(&call);
    call =
        read_body("{\"updated_by\": \"me\", \"is_enabled\": true, \"timeout_seconds\": null, \"retry_schedule\": []}",
                  false, &row, &change);
    assert_true(span_is(row.status, "active") && !row.disabled_reason.data && row.timeout_ms == 0 &&
                row.retry_count == 0);
    call_free(&call);
}

static void test_a_template_and_its_format(void **state) {
    (void)state;
    struct subscription_row row = plain_row();
    struct subscription_change change;
    struct call *call = read_body(
        "{\"updated_by\": \"me\", \"payload_template\": {\"b\": 1.50, \"a\": \"{{payload}}\"}}", false, &row, &change);
    assert_null(call->errors);
    assert_true(span_is(row.payload_format, "custom") &&
                span_is(row.payload_template, "{\"b\":1.5,\"a\":\"{{payload}}\"}"));
    struct subscription_row custom = row;
    struct call *other = read_body("{\"updated_by\": \"me\", \"payload_format\": \"raw\"}", false, &custom, &change);
    assert_true(span_is(custom.payload_format, "raw") && !custom.payload_template.data);
    call_free(&other);
    other = read_body("{\"updated_by\": \"me\", \"payload_template\": null}", false, &row, &change);
    assert_string_equal(call_fixture_error(other, "payload_template"), "the format custom wants a template");
    call_free(&other);
    call_free(&call);
}

static void test_every_error_names_its_field(void **state) {
    (void)state;
    static const struct {
        const char *body, *field, *says;
    } WRONG[] = {
        {"{}", "updated_by", "is required"},
        {"{\"updated_by\": \"\"}", "updated_by", "who makes the change"},
        {"{\"updted_by\": \"me\"}", "updted_by", "did you mean updated_by?"},
        {"{\"frobnicate\": 1}", "frobnicate", "there is no such field"},
        {"{\"created_by\": \"x\"}", "created_by", "can't be set by this request"},
        {"{\"id\": \"x\"}", "id", "can't be set"},
        {"{\"webhook_url\": \"http://example.com/\"}", "webhook_url", "http:// is not allowed"},
        {"{\"event_types\": [\"a\", \"*.b\"]}", "event_types[1]", "prefix.*"},
        {"{\"timeout_seconds\": 30.001}", "timeout_seconds", "1 to 30"},
        {"{\"retry_schedule\": [2592000.1]}", "retry_schedule[0]", "30d"},
        {"{\"retry_schedule\": [\"99ms\"]}", "retry_schedule[0]", "100ms"},
        {"{\"max_in_flight\": 1001}", "max_in_flight", "1 to 1000"},
        {"{\"asymmetric\": null}", "asymmetric", "expected true or false"},
        {"{\"public_key\": \"whpk_AAAA\"}", "public_key", "can't be set"},
        {"{\"secret\": \"whsk_AAAA\"}", "secret", "a key of asymmetric signatures, not a secret"},
        {"{\"secret\": \"whpk_AAAA\"}", "secret", "a key of asymmetric signatures, not a secret"},
        {"{\"signature_header\": \"content-type\"}", "signature_header", "set by hookcast"},
        {"{\"payload_template\": 5}", "payload_template", "expected a JSON object"},
        {"{\"failing_since\": null}", "failing_since", "can't be set"},
        {"{\"last_success_at\": \"2024-03-10\"}", "last_success_at", "can't be set"},
        {"{\"delay_second\": 5}", "delay_second", "did you mean delay_seconds?"},
        {"{\"secret\": \"seven77\"}", "secret", "expected 8 to 512"},
    };
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(*WRONG); i++) {
        struct subscription_row row = plain_row();
        struct subscription_change change;
        struct call *call = read_body(WRONG[i].body, false, &row, &change);
        if (!strstr(call_fixture_error(call, WRONG[i].field), WRONG[i].says))
            fail_msg("%s: \"%s\"", WRONG[i].body, call_fixture_error(call, WRONG[i].field));
        call_free(&call);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_printed_creation),
        cmocka_unit_test(test_a_change_leaves_the_rest),
        cmocka_unit_test(test_a_template_and_its_format),
        cmocka_unit_test(test_every_error_names_its_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
