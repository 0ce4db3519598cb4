#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/subscription_headers.h"
#include "call_fixture.h"

static void test_names(void **state) {
    (void)state;
    static const char *const RIGHT[] = {"X-Source", "authorization", "x-kakiyo-signature", "a", "!#$%&'*+-.^_`|~0Az"};
    static const char *const WRONG[] = {"",     "a b",          "a:b",        "ü",          "Webhook-Id", "webhook-",
                                        "host", "CONTENT-TYPE", "user-agent", "Connection", "upgrade",    "a\tb"};
    for (size_t i = 0; i < sizeof(RIGHT) / sizeof(*RIGHT); i++)
        assert_null(subscription_header_wrong(span_of(RIGHT[i])));
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(*WRONG); i++)
        assert_non_null(subscription_header_wrong(span_of(WRONG[i])));
    char longest[201];
    memset(longest, 'x', sizeof(longest));
    assert_null(subscription_header_wrong((struct span){longest, 200}));
    assert_non_null(subscription_header_wrong((struct span){longest, 201}));
    assert_non_null(subscription_header_wrong(SPAN_LITERAL("a\0b")));
}

static void check(const char *headers, const char *field, const char *says) {
    struct call *call = call_fixture(headers);
    assert_int_equal(subscription_headers_check(call, "headers", call->json), field == NULL);
    if (field && !strstr(call_fixture_error(call, field), says))
        fail_msg("%s: \"%s\"", headers, call_fixture_error(call, field));
    if (!field)
        assert_null(call->errors);
    call_free(&call);
}

static void test_values(void **state) {
    (void)state;
    check("null", NULL, NULL);
    check("{}", NULL, NULL);
    check("{\"a\": \"\", \"b\": \"x\\ty ü\"}", NULL, NULL);
    check("[]", "headers", "object");
    check("{\"a\": null}", "headers.a", "text");
    check("{\"a\": \"x\\u000ay\"}", "headers.a", "control");
    check("{\"a\": \"x\\u007f\"}", "headers.a", "control");
    check("{\"a\": \" x\"}", "headers.a", "space");
    check("{\"a\": \"x\", \"A\": \"y\"}", "headers.a", "twice");
    check("{\"Host\": \"x\"}", "headers.Host", "hookcast");
}

static void test_masks_what_looks_like_a_secret(void **state) {
    (void)state;
    json_t *headers = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "Authorization", "a", "X-API-Key", "b", "X-Source",
                                "c", "my-PASSWORD", "d", "Cookie", "e", "x-amz-security-token", "f");
    json_t *masked = subscription_headers_masked(headers);
    char *text = json_dumps(masked, JSON_COMPACT);
    assert_string_equal(text, "{\"Authorization\":\"***\",\"X-API-Key\":\"***\",\"X-Source\":\"c\","
                              "\"my-PASSWORD\":\"***\",\"Cookie\":\"***\",\"x-amz-security-token\":\"***\"}");
    json_object_set_new(masked, "X-Source", json_string("***"));
    json_object_set_new(masked, "X-New-Token", json_string("***"));
    json_t *whole = subscription_headers_unmasked(masked, headers);
    assert_string_equal(json_string_value(json_object_get(whole, "Authorization")), "a");
    assert_string_equal(json_string_value(json_object_get(whole, "X-Source")), "***");
    assert_string_equal(json_string_value(json_object_get(whole, "X-New-Token")), "***");
    assert_true(subscription_headers_have(whole, span_of("x-SOURCE")));
    assert_false(subscription_headers_have(whole, span_of("x-sourc")));
    json_decref(whole);
    json_decref(masked);
    json_decref(headers);
    mem_free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_masks_what_looks_like_a_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
