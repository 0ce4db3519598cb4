#include "webhook/endpoint.h"
#include "webhook/filter.h"
#include "webhook/subscription.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct uuid ID = {{0x01, 0x90, 0x12, 0x34, 0x56, 0x78, 0x7a, 0xbc, 0x8d, 0xef, 1, 2, 3, 4, 5, 6}};

static void assert_text(struct span actual, const char *expected) {
    if (!expected) {
        assert_null(actual.data);
        assert_int_equal(actual.len, 0);
        return;
    }
    assert_non_null(actual.data);
    assert_int_equal(actual.len, strlen(expected));
    assert_memory_equal(actual.data, expected, actual.len);
}

static struct subscription_spec small_spec(void) {
    static const struct span types[] = {SPAN_LITERAL("message.new"), SPAN_LITERAL("lead.*")};
    return (struct subscription_spec){
        .id = ID,
        .workspace_id = SPAN_LITERAL("ws_1"),
        .event_types = types,
        .event_type_count = 2,
        .url = SPAN_LITERAL("https://example.com/hook"),
        .format = SPAN_LITERAL("seanotify"),
    };
}

static struct subscription *make(const struct subscription_spec *spec, struct gate *gate) {
    struct subscription *subscription = NULL;
    struct error error = {""};
    assert_int_equal(subscription_new(spec, gate, &subscription, &error), STATUS_OK);
    assert_int_equal(subscription->refs, 1);
    return subscription;
}

static void absent_is_not_empty(void **state) {
    (void)state;
    struct subscription_spec spec = small_spec();
    struct subscription *subscription = make(&spec, NULL);
    assert_text(subscription_workspace_name(subscription), NULL);
    assert_text(subscription_template(subscription), NULL);
    assert_text(subscription_signature_header(subscription), NULL);
    assert_text(subscription_sealed_secrets(subscription), NULL);
    assert_text(subscription_sealed_headers(subscription), NULL);
    assert_text(subscription_created_by(subscription), NULL);
    assert_text(subscription_updated_by(subscription), NULL);
    assert_false(subscription->own_retry_schedule);
    subscription_unref(&subscription);
    assert_null(subscription);
    subscription_unref(&subscription);

    spec.created_by = spec.updated_by = SPAN_LITERAL("u1");
    subscription = make(&spec, NULL);
    assert_text(subscription_created_by(subscription), "u1");
    assert_text(subscription_updated_by(subscription), "u1");
    subscription_unref(&subscription);

    spec.created_by = SPAN_NONE;
    spec.workspace_name = spec.updated_by = spec.format_template = SPAN_LITERAL("");
    spec.retry_schedule_ms = (const int64_t[]){1};
    spec.retry_count = 0;
    subscription = make(&spec, NULL);
    assert_text(subscription_workspace_name(subscription), "");
    assert_text(subscription_created_by(subscription), NULL);
    assert_text(subscription_updated_by(subscription), "");
    assert_text(subscription_template(subscription), "");
    assert_true(subscription->own_retry_schedule);
    assert_int_equal(subscription->retry_count, 0);
    subscription_unref(&subscription);
}

static void everything_comes_back_as_it_went_in(void **state) {
    (void)state;
    const int64_t retries_ms[] = {0, 5000, INT64_MAX};
    struct subscription_spec spec = small_spec();
    spec.workspace_name = SPAN_LITERAL("Acme");
    spec.status = SUBSCRIPTION_PAUSED;
    spec.version = INT64_MAX;
    spec.activation = 3;
    spec.render_version = -7;
    spec.format = SPAN_LITERAL("custom");
    spec.format_template = SPAN_LITERAL("{\"a\":\"{{payload}}\"}");
    spec.signature_style = SIGNATURE_BOTH;
    spec.signature_header = SPAN_LITERAL("x-signed");
    spec.sealed_secrets = SPAN_LITERAL("secrets");
    spec.sealed_headers = SPAN_LITERAL("headers");
    spec.created_by = SPAN_LITERAL("u1");
    spec.updated_by = SPAN_LITERAL("u2");
    spec.timeout_ms = 1000;
    spec.max_in_flight = 7;
    spec.rate_per_second = 9;
    spec.retry_schedule_ms = retries_ms;
    spec.retry_count = 3;
    struct subscription *subscription = make(&spec, NULL);
    assert_true(uuid_equal(&subscription->id, &ID));
    assert_int_equal(subscription->status, SUBSCRIPTION_PAUSED);
    assert_int_equal(subscription->signature_style, SIGNATURE_BOTH);
    assert_true(subscription->version == INT64_MAX && subscription->activation == 3);
    assert_true(subscription->render_version == -7);
    assert_true(subscription->timeout_ms == 1000 && subscription->max_in_flight == 7);
    assert_int_equal(subscription->rate_per_second, 9);
    assert_string_equal(subscription_url(subscription), "https://example.com/hook");
    assert_text(subscription_workspace_id(subscription), "ws_1");
    assert_text(subscription_workspace_name(subscription), "Acme");
    assert_int_equal(subscription->event_type_count, 2);
    assert_text(subscription_event_type(subscription, 0), "message.new");
    assert_text(subscription_event_type(subscription, 1), "lead.*");
    assert_text(subscription_format(subscription), "custom");
    assert_text(subscription_template(subscription), "{\"a\":\"{{payload}}\"}");
    assert_text(subscription_signature_header(subscription), "x-signed");
    assert_text(subscription_sealed_secrets(subscription), "secrets");
    assert_text(subscription_sealed_headers(subscription), "headers");
    assert_text(subscription_created_by(subscription), "u1");
    assert_text(subscription_updated_by(subscription), "u2");
    int64_t out[4] = {-1, -1, -1, -1};
    assert_int_equal(subscription_retry_schedule(subscription, out, 2), 2);
    assert_true(out[0] == 0 && out[1] == 5000 && out[2] == -1);
    assert_int_equal(subscription_retry_schedule(subscription, out, 4), 3);
    assert_true(out[2] == INT64_MAX && out[3] == -1);
    subscription_unref(&subscription);
}

static char large[SUBSCRIPTION_MAX_TEMPLATE_BYTES + 1];

static struct span of_length(size_t len) {
    memset(large, 'a', sizeof(large));
    return (struct span){large, len};
}

static void everything_at_its_widest_fits(void **state) {
    (void)state;
    struct span types[SUBSCRIPTION_MAX_TYPES];
    int64_t retries_ms[SUBSCRIPTION_MAX_RETRIES];
    for (size_t i = 0; i < SUBSCRIPTION_MAX_TYPES; i++) {
        types[i] = of_length(SUBSCRIPTION_MAX_PATTERN_BYTES);
    }
    for (int i = 0; i < SUBSCRIPTION_MAX_RETRIES; i++) {
        retries_ms[i] = i;
    }
    struct subscription_spec spec = small_spec();
    spec.event_types = types;
    spec.event_type_count = SUBSCRIPTION_MAX_TYPES;
    spec.retry_schedule_ms = retries_ms;
    spec.retry_count = SUBSCRIPTION_MAX_RETRIES;
    spec.workspace_id = of_length(SUBSCRIPTION_MAX_WORKSPACE_BYTES);
    spec.workspace_name = spec.created_by = spec.updated_by = of_length(SUBSCRIPTION_MAX_NAME_BYTES);
    spec.url = of_length(SUBSCRIPTION_MAX_URL_BYTES);
    spec.format = of_length(SUBSCRIPTION_MAX_FORMAT_BYTES);
    spec.format_template = of_length(SUBSCRIPTION_MAX_TEMPLATE_BYTES);
    spec.signature_header = of_length(SUBSCRIPTION_MAX_HEADER_NAME_BYTES);
    spec.sealed_secrets = of_length(SUBSCRIPTION_MAX_SECRETS_BYTES);
    spec.sealed_headers = of_length(SUBSCRIPTION_MAX_HEADERS_BYTES);
    struct subscription *subscription = make(&spec, NULL);
    assert_int_equal(strlen(subscription_url(subscription)), SUBSCRIPTION_MAX_URL_BYTES);
    assert_true(span_equal(subscription_template(subscription), spec.format_template));
    assert_true(span_equal(subscription_sealed_headers(subscription), spec.sealed_headers));
    assert_true(span_equal(subscription_event_type(subscription, SUBSCRIPTION_MAX_TYPES - 1), types[0]));
    int64_t out[SUBSCRIPTION_MAX_RETRIES];
    assert_int_equal(subscription_retry_schedule(subscription, out, SUBSCRIPTION_MAX_RETRIES),
                     SUBSCRIPTION_MAX_RETRIES);
    assert_memory_equal(out, retries_ms, sizeof(out));
    subscription_unref(&subscription);
}

static void refused(const struct subscription_spec *spec, const char *field) {
    struct subscription *subscription = NULL;
    struct error error = {""};
    assert_int_equal(subscription_new(spec, NULL, &subscription, &error), STATUS_INVALID);
    assert_null(subscription);
    assert_int_equal(strncmp(error.text, field, strlen(field)), 0);
    assert_int_equal(error.text[strlen(field)], ':');
}

static void what_does_not_fit_is_named(void **state) {
    (void)state;
    const struct {
        const char *field;
        size_t at, max;
    } texts[] = {
        {"workspace_id", offsetof(struct subscription_spec, workspace_id), SUBSCRIPTION_MAX_WORKSPACE_BYTES},
        {"workspace_name", offsetof(struct subscription_spec, workspace_name), SUBSCRIPTION_MAX_NAME_BYTES},
        {"webhook_url", offsetof(struct subscription_spec, url), SUBSCRIPTION_MAX_URL_BYTES},
        {"payload_format", offsetof(struct subscription_spec, format), SUBSCRIPTION_MAX_FORMAT_BYTES},
        {"payload_template", offsetof(struct subscription_spec, format_template), SUBSCRIPTION_MAX_TEMPLATE_BYTES},
        {"signature_header", offsetof(struct subscription_spec, signature_header), SUBSCRIPTION_MAX_HEADER_NAME_BYTES},
        {"secret", offsetof(struct subscription_spec, sealed_secrets), SUBSCRIPTION_MAX_SECRETS_BYTES},
        {"headers", offsetof(struct subscription_spec, sealed_headers), SUBSCRIPTION_MAX_HEADERS_BYTES},
        {"created_by", offsetof(struct subscription_spec, created_by), SUBSCRIPTION_MAX_NAME_BYTES},
        {"updated_by", offsetof(struct subscription_spec, updated_by), SUBSCRIPTION_MAX_NAME_BYTES},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct subscription_spec spec = small_spec();
        *(struct span *)((char *)&spec + texts[i].at) = of_length(texts[i].max + 1);
        refused(&spec, texts[i].field);
    }
    struct subscription_spec spec = small_spec();
    spec.workspace_id = SPAN_LITERAL("");
    refused(&spec, "workspace_id");
    spec = small_spec();
    spec.url = SPAN_LITERAL("https://a\0b/");
    refused(&spec, "webhook_url");
    spec = small_spec();
    spec.timeout_ms = -1;
    refused(&spec, "timeout_seconds");
    spec = small_spec();
    spec.max_in_flight = -1;
    refused(&spec, "max_in_flight");
    spec = small_spec();
    spec.rate_per_second = -1;
    refused(&spec, "rate_limit_per_second");
}

static void what_counts_of_a_mode(void **state) {
    (void)state;
    struct subscription_spec spec = small_spec();
    struct subscription *subscription = make(&spec, NULL);
    assert_int_equal(subscription->delivery_mode, DELIVERY_IMMEDIATE);
    assert_null(subscription->filter);
    subscription_unref(&subscription);

    spec.delivery_mode = DELIVERY_DELAYED;
    spec.delay_ms = SUBSCRIPTION_MAX_DELAY_MS;
    subscription = make(&spec, NULL);
    assert_int_equal(subscription->delivery_mode, DELIVERY_DELAYED);
    assert_true(subscription->wait_ms == SUBSCRIPTION_MAX_DELAY_MS);
    subscription_unref(&subscription);

    /* Batches: what the row does not say has a default. */
    spec.delivery_mode = DELIVERY_BATCHED;
    spec.delay_ms = 0;
    subscription = make(&spec, NULL);
    assert_true(subscription->batch_max_events == 100 && subscription->batch_max_bytes == 65536);
    assert_true(subscription->wait_ms == 5000);
    subscription_unref(&subscription);
    spec.batch_max_events = SUBSCRIPTION_MAX_BATCH_EVENTS;
    spec.batch_max_bytes = SUBSCRIPTION_MIN_BATCH_BYTES;
    spec.batch_max_wait_ms = SUBSCRIPTION_MAX_BATCH_WAIT_MS;
    subscription = make(&spec, NULL);
    assert_true(subscription->batch_max_events == 1000 && subscription->batch_max_bytes == 1024);
    assert_true(subscription->wait_ms == 86400000);
    subscription_unref(&subscription);

    const struct {
        const char *field;
        int64_t delay_ms, wait_ms;
        int32_t events, bytes;
    } wrong[] = {
        {"delay_seconds", -1, 0, 0, 0},
        {"delay_seconds", SUBSCRIPTION_MAX_DELAY_MS + 1, 0, 0, 0},
        {"batch_max_wait_seconds", 0, -1, 0, 0},
        {"batch_max_wait_seconds", 0, SUBSCRIPTION_MAX_BATCH_WAIT_MS + 1, 0, 0},
        {"batch_max_events", 0, 0, -1, 0},
        {"batch_max_events", 0, 0, SUBSCRIPTION_MAX_BATCH_EVENTS + 1, 0},
        {"batch_max_bytes", 0, 0, 0, -1},
        {"batch_max_bytes", 0, 0, 0, SUBSCRIPTION_MAX_BATCH_BYTES + 1},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        spec.delay_ms = wrong[i].delay_ms;
        spec.batch_max_wait_ms = wrong[i].wait_ms;
        spec.batch_max_events = wrong[i].events;
        spec.batch_max_bytes = wrong[i].bytes;
        refused(&spec, wrong[i].field);
    }
}

static void a_filter_is_compiled_with_its_version(void **state) {
    (void)state;
    struct subscription_spec spec = small_spec();
    struct subscription *subscription = make(&spec, NULL);
    size_t plain_bytes = subscription_footprint_bytes(subscription);
    subscription_unref(&subscription);
    spec.filter = SPAN_LITERAL("{\"payload.amount\": {\"gte\": 100}}");
    subscription = make(&spec, NULL);
    assert_non_null(subscription->filter);
    assert_int_equal(subscription_footprint_bytes(subscription),
                     plain_bytes + filter_footprint_bytes(subscription->filter));
    subscription_unref(&subscription);
    spec.filter = SPAN_LITERAL("{\"payload.amount\": {\"gt\": []}}");
    struct error error = {""};
    assert_int_equal(subscription_new(&spec, NULL, &subscription, &error), STATUS_INVALID);
    assert_null(subscription);
    assert_non_null(strstr(error.text, "filter.payload.amount.gt"));
}

static void lists_that_do_not_fit_are_named(void **state) {
    (void)state;
    struct span types[SUBSCRIPTION_MAX_TYPES + 1];
    int64_t retries_ms[SUBSCRIPTION_MAX_RETRIES + 1] = {0};
    for (size_t i = 0; i <= SUBSCRIPTION_MAX_TYPES; i++) {
        types[i] = SPAN_LITERAL("a");
    }
    struct subscription_spec spec = small_spec();
    spec.event_types = types;
    spec.event_type_count = SUBSCRIPTION_MAX_TYPES + 1;
    refused(&spec, "event_types");
    types[1] = SPAN_LITERAL("a b");
    spec.event_type_count = 2;
    refused(&spec, "event_types");
    spec = small_spec();
    spec.retry_schedule_ms = retries_ms;
    spec.retry_count = SUBSCRIPTION_MAX_RETRIES + 1;
    refused(&spec, "retry_schedule");
    retries_ms[1] = -1;
    spec.retry_count = 2;
    refused(&spec, "retry_schedule");
}

static void versions_share_one_gate(void **state) {
    (void)state;
    struct subscription_spec spec = small_spec();
    struct subscription *first = make(&spec, NULL);
    struct gate *gate = first->gate;
    assert_int_equal(gate->refs, 1);
    assert_false(gate->held);
    assert_int_equal(gate->slots, ENDPOINT_START_CAP);
    gate->slots = 5;
    spec.version = 2;
    struct subscription *second = make(&spec, gate);
    assert_ptr_equal(second->gate, gate);
    assert_int_equal(gate->refs, 2);
    struct subscription *again = subscription_ref(first);
    subscription_unref(&first);
    assert_int_equal(gate->refs, 2);
    subscription_unref(&again);
    assert_int_equal(gate->refs, 1);
    assert_int_equal(second->gate->slots, 5);
    subscription_unref(&second);
    spec.max_in_flight = 3;
    first = make(&spec, NULL);
    assert_int_equal(first->gate->slots, 3);
    subscription_unref(&first);
}

static void patterns_are_types_prefixes_or_all(void **state) {
    (void)state;
    const char *valid[] = {"*", "a", "message.new", "A_b-9.x", "a.*", "a.b.*", "a..*", ".a", "a.", "-"};
    const char *invalid[] = {"", "**", ".*", "a*", "a.*.b", "*.a", "a b", "a.**", "\xC3\xA9", "a/b", "a.* "};
    for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++) {
        assert_true(subscription_pattern_valid(span_of(valid[i])));
    }
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        assert_false(subscription_pattern_valid(span_of(invalid[i])));
    }
    assert_true(subscription_pattern_valid(of_length(SUBSCRIPTION_MAX_PATTERN_BYTES)));
    assert_false(subscription_pattern_valid(of_length(SUBSCRIPTION_MAX_PATTERN_BYTES + 1)));
    assert_false(subscription_pattern_valid((struct span){"a\0", 2}));
}

static void a_pattern_takes_what_it_says(void **state) {
    (void)state;
    const struct {
        const char *pattern, *type;
        bool takes;
    } cases[] = {
        {"*", "a", true},        {"*", "a.b.c", true},    {"a", "a", true},         {"a", "A", false},
        {"a", "a.b", false},     {"a.b", "a", false},     {"a.*", "a.b", true},     {"a.*", "a.b.c", true},
        {"a.*", "a", false},     {"a.*", "a.", false},    {"a.*", "ab", false},     {"a.*", "ab.c", false},
        {"a.b.*", "a.b", false}, {"a.b.*", "a.c", false}, {"a.b.*", "a.b.c", true}, {"a.*", "a..", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(subscription_pattern_takes(span_of(cases[i].pattern), span_of(cases[i].type)), cases[i].takes);
    }
    struct subscription_spec spec = small_spec();
    struct subscription *subscription = make(&spec, NULL);
    assert_true(subscription_takes(subscription, SPAN_LITERAL("message.new")));
    assert_true(subscription_takes(subscription, SPAN_LITERAL("lead.lost")));
    assert_false(subscription_takes(subscription, SPAN_LITERAL("lead")));
    subscription_unref(&subscription);
    spec.event_type_count = 0;
    subscription = make(&spec, NULL);
    assert_false(subscription_takes(subscription, SPAN_LITERAL("message.new")));
    subscription_unref(&subscription);
}

/* Computed apart: printf '%s\0%s' WORKSPACE ID | sha256sum. */
static void the_bucket_is_the_same_for_ever(void **state) {
    (void)state;
    assert_int_equal(subscription_bucket(SPAN_LITERAL("ws_1"), &ID), 0);
    assert_int_equal(subscription_bucket(SPAN_LITERAL("42"), &ID), 6);
}

static void lanes_are_spread_evenly(void **state) {
    (void)state;
    int counts[8] = {0};
    struct uuid id = ID;
    for (int i = 0; i < 8000; i++) {
        /* Made within a few seconds, as an import makes them: only some bits differ. */
        id.bytes[5] = (uint8_t)(i >> 8);
        id.bytes[15] = (uint8_t)i;
        counts[subscription_lane_hash(&id) % 8]++;
        assert_int_equal(subscription_lane_hash(&id), subscription_lane_hash(&id));
    }
    for (int i = 0; i < 8; i++) {
        assert_in_range(counts[i], 800, 1200);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_is_not_empty),
        cmocka_unit_test(everything_comes_back_as_it_went_in),
        cmocka_unit_test(everything_at_its_widest_fits),
        cmocka_unit_test(what_does_not_fit_is_named),
        cmocka_unit_test(what_counts_of_a_mode),
        cmocka_unit_test(a_filter_is_compiled_with_its_version),
        cmocka_unit_test(lists_that_do_not_fit_are_named),
        cmocka_unit_test(versions_share_one_gate),
        cmocka_unit_test(patterns_are_types_prefixes_or_all),
        cmocka_unit_test(a_pattern_takes_what_it_says),
        cmocka_unit_test(the_bucket_is_the_same_for_ever),
        cmocka_unit_test(lanes_are_spread_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
