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
    char *text = json_dumps(view, JSON_COMPACT);
    assert_string_equal(text, wanted);
    mem_free(text);
    json_decref(view);
}

#define PRINTED                                                                                                        \
    "{\"webhook_url\":\"https://api.example.com/webhook\",\"event_types\":[\"conversation.new\",\"message.new\"],"     \
    "\"created_by\":\"user_12345\",\"is_enabled\":true,\"type\":\"SEASALT\","                                          \
    "\"id\":\"29efe26f-eb8a-4ee8-9abf-d8651a31283e\",\"created_at\":\"2024-03-10T15:30:00Z\","                         \
    "\"updated_at\":\"2024-03-10T15:30:00.123Z\",\"updated_by\":\"user_12345\",\"name\":null,\"status\":\"active\","   \
    "\"disabled_reason\":null,"

static void test_the_printed_fields_come_first(void **state) {
    (void)state;
    struct keyring *keyring = keyring_of("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    struct subscription_row row = full_row();
    assert_view(keyring, &row,
                PRINTED "\"headers\":null,\"signature_style\":\"standard\",\"signature_header\":null,"
                        "\"payload_format\":\"seanotify\",\"payload_template\":null,\"timeout_seconds\":null,"
                        "\"retry_schedule\":null,\"max_in_flight\":null}");
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
                PRINTED "\"headers\":{\"X-A\":\"1\",\"X-Token\":\"***\"},\"signature_style\":\"standard\","
                        "\"signature_header\":null,\"payload_format\":\"seanotify\",\"payload_template\":null,"
                        "\"timeout_seconds\":2.5,\"retry_schedule\":[1,0.25],\"max_in_flight\":7}");
    bool wrong = false;
    assert_null(subscription_view_headers(other, &row, &wrong));
    assert_true(wrong);
    buffer_deinit(&sealed);
    keyring_free(&other);
    keyring_free(&keyring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_printed_fields_come_first),
        cmocka_unit_test(test_values_and_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
