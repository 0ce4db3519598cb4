#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/test_webhook.h"
#include "webhook/signature.h"
#include <stdio.h>
#include <string.h>

#define NOW_MS 1760000000123
#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

static struct arena *arena;
static struct error error;

static int setup(void **state) {
    (void)state;
    arena = arena_new(4096);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct test_webhook_spec plain_spec(void) {
    return (struct test_webhook_spec){.workspace_id = span_of("w1"),
                                      .workspace_name = span_of("Acme"),
                                      .event_type = span_of("message.new"),
                                      .payload = span_of("{\"n\": 1.50, \"2\": [], \"1\": \"\\u0041\"}"),
                                      .topic_prefix = span_of("events."),
                                      .now_ms = NOW_MS,
                                      .format = span_of("standard"),
                                      .style = span_of("standard"),
                                      .secrets = {span_of(SECRET)},
                                      .secret_count = 1};
}

static struct test_webhook make(const struct test_webhook_spec *spec) {
    struct test_webhook webhook;
    if (test_webhook_make(spec, arena, &webhook, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    for (size_t i = 0; i < webhook.header_count; i++)
        assert_int_equal(webhook.headers[i].line.data[webhook.headers[i].line.len], '\0');
    return webhook;
}

/* The value of a header; SPAN_NONE: it is not there. */
static struct span header(const struct test_webhook *webhook, const char *name) {
    struct span found = SPAN_NONE;
    for (size_t i = 0; i < webhook->header_count; i++) {
        struct span line = webhook->headers[i].line;
        size_t len = strlen(name);
        if (line.len > len + 1 && memcmp(line.data, name, len) == 0 && line.data[len] == ':') {
            assert_null(found.data); /* once */
            found = (struct span){line.data + len + 2, line.len - len - 2};
        }
    }
    return found;
}

static void test_a_standard_one(void **state) {
    (void)state;
    struct test_webhook_spec spec = plain_spec();
    struct test_webhook webhook = make(&spec);
    struct signer *signer;
    assert_true(span_is(webhook.body, "{\"type\":\"message.new\",\"timestamp\":\"2025-10-09T08:53:20.123Z\","
                                      "\"data\":{\"n\":1.50,\"2\":[],\"1\":\"\\u0041\"}}"));
    assert_true(span_has_prefix(webhook.id, SPAN_LITERAL("evt_")) && webhook.id.len == 36);
    assert_true(span_equal(header(&webhook, "webhook-id"), webhook.id));
    assert_true(span_is(header(&webhook, "webhook-timestamp"), "1760000000"));
    assert_true(span_is(header(&webhook, "content-type"), "application/json"));
    assert_true(header(&webhook, "user-agent").len > 9 && !header(&webhook, "webhook-batch-size").data);
    assert_int_equal(signer_new(spec.secrets, 1, &signer, &error), STATUS_OK);
    assert_true(
        signer_verify_standard(signer, webhook.id, NOW_MS / 1000, webhook.body, header(&webhook, "webhook-signature")));
    signer_free(&signer);
    struct test_webhook again = make(&spec);
    assert_false(span_equal(again.id, webhook.id));
}

static void test_an_asymmetric_one(void **state) {
    (void)state;
    struct test_webhook_spec spec = plain_spec();
    struct buffer key, public;
    uint8_t bytes[ED25519_PUBLIC_BYTES];
    buffer_init(&key, 256);
    buffer_init(&public, 256);
    signature_new_key(&key);
    assert_int_equal(signature_public_key(buffer_view(&key), &public, &error), STATUS_OK);
    assert_int_equal(signature_read_public_key(buffer_view(&public), bytes, &error), STATUS_OK);
    spec.keys[spec.key_count++] = buffer_view(&key);
    struct test_webhook webhook = make(&spec);
    struct span signatures = header(&webhook, "webhook-signature");
    assert_true(span_has_prefix(signatures, SPAN_LITERAL("v1,")));
    assert_true(signature_verify_asymmetric(bytes, webhook.id, NOW_MS / 1000, webhook.body, signatures));
    assert_false(signature_verify_asymmetric(bytes, webhook.id, NOW_MS / 1000 + 1, webhook.body, signatures));
    buffer_deinit(&key);
    buffer_deinit(&public);
}

static void test_styles(void **state) {
    (void)state;
    struct test_webhook_spec spec = plain_spec();
    spec.style = span_of("both");
    spec.signature_header = span_of("x-own");
    struct test_webhook both = make(&spec);
    struct signer *signer;
    assert_int_equal(signer_new(spec.secrets, 1, &signer, &error), STATUS_OK);
    assert_true(signer_verify_hex(signer, both.body, header(&both, "x-own")));
    assert_true(header(&both, "webhook-signature").data != NULL);
    /* As JavaScript spells it. */
    assert_non_null(strstr(both.body.data, "{\"1\":\"A\",\"2\":[],\"n\":1.5}"));
    spec.style = span_of("hex");
    spec.signature_header = SPAN_NONE;
    struct test_webhook hex = make(&spec);
    assert_true(signer_verify_hex(signer, hex.body, header(&hex, "x-hookcast-signature")));
    assert_null(header(&hex, "webhook-signature").data);
    spec.style = span_of("none");
    struct test_webhook none = make(&spec);
    assert_null(header(&none, "webhook-signature").data);
    assert_null(header(&none, "x-hookcast-signature").data);
    signer_free(&signer);
}

static void test_a_batch_of_one(void **state) {
    (void)state;
    struct test_webhook_spec spec = plain_spec();
    spec.batched = true;
    struct test_webhook webhook = make(&spec);
    assert_int_equal(webhook.body.data[0], '[');
    assert_int_equal(webhook.body.data[webhook.body.len - 1], ']');
    assert_true(span_is(header(&webhook, "webhook-batch-size"), "1"));
    spec.format = span_of("cloudevents");
    webhook = make(&spec);
    assert_true(span_is(header(&webhook, "content-type"), "application/cloudevents-batch+json"));
    spec.batched = false;
    webhook = make(&spec);
    assert_true(span_is(header(&webhook, "content-type"), "application/cloudevents+json"));
}

static void test_own_headers_come_last_and_are_told_apart(void **state) {
    (void)state;
    struct test_webhook_spec spec = plain_spec();
    const struct span own[] = {SPAN_LITERAL("x-a: 1"), SPAN_LITERAL("x-b: two words")};
    spec.own_headers = own;
    spec.own_header_count = 2;
    struct test_webhook webhook = make(&spec);
    assert_int_equal(webhook.header_count, webhook.made_count + 2);
    assert_true(span_is(webhook.headers[webhook.made_count].line, "x-a: 1"));
    assert_true(span_is(header(&webhook, "x-b"), "two words"));
}

static void test_what_a_body_is_made_from(void **state) {
    (void)state;
    struct test_webhook_spec spec = plain_spec();
    spec.format = span_of("custom");
    spec.template = span_of("{\"w\": \"{{workspace_name}} {{workspace_id}}\", \"by\": \"{{subscription_created_by}}\", "
                            "\"p\": \"{{payload}}\"}");
    spec.created_by = span_of("me");
    spec.payload = SPAN_NONE;
    struct test_webhook webhook = make(&spec);
    assert_true(span_is(webhook.body, "{\"w\":\"Acme w1\",\"by\":\"me\",\"p\":null}"));
    spec.workspace_id = span_of("a \"quoted\" \xc3\xa9");
    webhook = make(&spec);
    assert_non_null(strstr(webhook.body.data, "a \\\"quoted\\\" \xc3\xa9"));
}

static void test_what_can_not_be_made(void **state) {
    (void)state;
    struct test_webhook_spec spec = plain_spec();
    struct test_webhook webhook;
    spec.format = span_of("nonsense");
    assert_int_equal(test_webhook_make(&spec, arena, &webhook, &error), STATUS_INVALID);
    spec = plain_spec();
    spec.template = span_of("{\"a\": \"{{nothing\"}");
    assert_int_equal(test_webhook_make(&spec, arena, &webhook, &error), STATUS_INVALID);
    spec = plain_spec();
    spec.payload = span_of("{");
    assert_int_equal(test_webhook_make(&spec, arena, &webhook, &error), STATUS_INVALID);
    spec = plain_spec();
    spec.event_type = span_of("no type");
    assert_int_equal(test_webhook_make(&spec, arena, &webhook, &error), STATUS_INVALID);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_standard_one),
        TEST(test_an_asymmetric_one),
        TEST(test_styles),
        TEST(test_a_batch_of_one),
        TEST(test_own_headers_come_last_and_are_told_apart),
        TEST(test_what_a_body_is_made_from),
        TEST(test_what_can_not_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
