#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/subscription_view.h"
#include "call_fixture.h"
#include "store/sealing.h"

static struct keyring *keyring_of(const char *text) {
    struct keyring *keyring = NULL;
    struct error error;
    assert_int_equal(keyring_new(span_of(text), &keyring, &error), STATUS_OK);
    return keyring;
}

static struct subscription_row full_row(void) {
    struct subscription_row row = {
        .webhook_url = span_of("https://api.example.com/webhook"),
        .event_types = {span_of("conversation.new"), span_of("message.new")},
        .event_type_count = 2,
        .type = span_of("SEASALT"),
        .status = span_of("active"),
        .signature_style = span_of("standard"),
        .payload_format = span_of("seanotify"),
        .delivery_mode = span_of("immediate"),
        .retry_count = -1,
        .created_by = span_of("user_12345"),
        .updated_by = span_of("user_12345"),
        .created_at_ms = 1710084600000,
        .updated_at_ms = 1710084600123,
        .sealed_secrets = span_of("sealed"),
    };
    assert_int_equal(uuid_parse(span_of("29efe26f-eb8a-4ee8-9abf-d8651a31283e"), &row.id), STATUS_OK);
    return row;
}

static void assert_view(const struct keyring *keyring, const struct subscription_row *row, const char *wanted) {
    json_t *view = subscription_view(keyring, row);
    struct buffer text;
    buffer_init(&text, 100000);
    subscription_view_write(view, row, &text);
    buffer_char(&text, '\0');
    assert_string_equal(text.data, wanted);
    buffer_deinit(&text);
    json_decref(view);
}

#define PRINTED                                                                                                        \
    "{\"webhook_url\":\"https://api.example.com/webhook\",\"event_types\":[\"conversation.new\",\"message.new\"],"     \
    "\"created_by\":\"user_12345\",\"is_enabled\":true,\"type\":\"SEASALT\","                                          \
    "\"id\":\"29efe26f-eb8a-4ee8-9abf-d8651a31283e\",\"created_at\":\"2024-03-10T15:30:00Z\","                         \
    "\"updated_at\":\"2024-03-10T15:30:00.123Z\",\"updated_by\":\"user_12345\",\"name\":null,\"status\":\"active\","   \
    "\"disabled_reason\":null,\"disabled_at\":null,\"failing_since\":null,\"last_success_at\":null,"
#define IMMEDIATE                                                                                                      \
    "\"rate_limit_per_second\":null,\"delivery_mode\":\"immediate\",\"delay_seconds\":null,"                           \
    "\"batch_max_events\":null,\"batch_max_bytes\":null,\"batch_max_wait_seconds\":null,\"filter\":null,"              \
    "\"notify_email\":null}"

static void test_the_printed_fields_come_first(void **state) {
    (void)state;
    struct keyring *keyring = keyring_of("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    struct subscription_row row = full_row();
    assert_view(keyring, &row,
                PRINTED "\"headers\":null,\"asymmetric\":false,\"public_key\":null,\"signature_style\":\"standard\","
                        "\"signature_header\":null,"
                        "\"payload_format\":\"seanotify\",\"payload_template\":null,\"timeout_seconds\":null,"
                        "\"retry_schedule\":null,\"max_in_flight\":null," IMMEDIATE);
    keyring_free(&keyring);
}

static void test_values_and_headers(void **state) {
    (void)state;
    struct keyring *keyring = keyring_of("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    struct keyring *other = keyring_of("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
    struct subscription_row row = full_row();
    struct buffer sealed;
    buffer_init(&sealed, 1000);
    sealing_seal(keyring, &row.id, span_of("{\"X-A\":\"1\",\"X-Token\":\"2\"}"), &sealed);
    row.sealed_headers = buffer_view(&sealed);
    row.timeout_ms = 2500;
    row.max_in_flight = 7;
    row.retry_count = 2;
    row.retry_ms[0] = 1000;
    row.retry_ms[1] = 250;
    assert_view(keyring, &row,
                PRINTED "\"headers\":{\"X-A\":\"1\",\"X-Token\":\"***\"},\"asymmetric\":false,\"public_key\":null,"
                        "\"signature_style\":\"standard\","
                        "\"signature_header\":null,\"payload_format\":\"seanotify\",\"payload_template\":null,"
                        "\"timeout_seconds\":2.5,\"retry_schedule\":[1,0.25],\"max_in_flight\":7," IMMEDIATE);
    bool wrong = false;
    assert_null(subscription_view_headers(other, &row, &wrong));
    assert_true(wrong);
    buffer_deinit(&sealed);
    keyring_free(&other);
    keyring_free(&keyring);
}

/* The text of the view from `from` on. */
static void assert_written(const struct subscription_row *row, const char *from, const char *wanted) {
    struct keyring *keyring = keyring_of("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    json_t *view = subscription_view(keyring, row);
    struct buffer text;
    buffer_init(&text, 100000);
    subscription_view_write(view, row, &text);
    buffer_char(&text, '\0');
    const char *at = strstr(text.data, from);
    assert_non_null(at);
    assert_memory_equal(at, wanted, strlen(wanted));
    json_t *again = json_loads(text.data, 0, NULL);
    assert_non_null(again);
    json_decref(again);
    buffer_deinit(&text);
    json_decref(view);
    keyring_free(&keyring);
}

static void test_what_belongs_to_a_mode(void **state) {
    (void)state;
    struct subscription_row row = full_row();
    row.delivery_mode = span_of("delayed");
    row.delay_ms = 2592000000 - 900;
    row.rate_per_second = 50;
    row.notify_email = span_of("ops@example.com");
    assert_written(&row, "\"rate_limit",
                   "\"rate_limit_per_second\":50,\"delivery_mode\":\"delayed\",\"delay_seconds\":2591999.1,"
                   "\"batch_max_events\":null,\"batch_max_bytes\":null,\"batch_max_wait_seconds\":null,"
                   "\"filter\":null,\"notify_email\":\"ops@example.com\"}");
    row.delivery_mode = span_of("batched");
    row.delay_ms = 0;
    assert_written(&row, "\"delay_seconds",
                   "\"delay_seconds\":null,\"batch_max_events\":100,\"batch_max_bytes\":65536,"
                   "\"batch_max_wait_seconds\":5,");
    row.batch_max_events = 7;
    row.batch_max_bytes = 1024;
    row.batch_max_wait_ms = 1500;
    assert_written(&row, "\"batch_max_events",
                   "\"batch_max_events\":7,\"batch_max_bytes\":1024,\"batch_max_wait_seconds\":1.5,");
}

static void test_a_filter_is_shown_as_it_was_written(void **state) {
    (void)state;
    struct subscription_row row = full_row();
    row.filter = span_of("{ \"payload.b\": 0.1, \"payload.a\": {\"gt\": 1.50}}");
    assert_written(&row, "\"filter\"",
                   "\"filter\":{ \"payload.b\": 0.1, \"payload.a\": {\"gt\": 1.50}},\"notify_email\":null}");
    row.filter = span_of("{no JSON");
    assert_written(&row, "\"filter\"", "\"filter\":\"{no JSON\",\"notify_email\":null}");
}

static void test_times_of_health(void **state) {
    (void)state;
    struct subscription_row row = full_row();
    row.failing_since_ms = 1710084600123;
    row.last_success_at_ms = 1710084600000;
    assert_written(&row, "\"failing_since\"",
                   "\"failing_since\":\"2024-03-10T15:30:00.123Z\",\"last_success_at\":\"2024-03-10T15:30:00Z\",");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_printed_fields_come_first),
        cmocka_unit_test(test_values_and_headers),
        cmocka_unit_test(test_what_belongs_to_a_mode),
        cmocka_unit_test(test_a_filter_is_shown_as_it_was_written),
        cmocka_unit_test(test_times_of_health),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
