#include "api/openapi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/embedded.h"
#include "api/routes.h"
#include "base/memory.h"
#include <jansson.h>
#include <strings.h>

static json_t *document;

static int open_document(void **state) {
    (void)state;
    struct span head = openapi_head();
    struct buffer text;
    buffer_init(&text, 4 * 1024 * 1024);
    buffer_span(&text, head);
    buffer_text(&text, ",\"webhooks\":{");
    openapi_webhook(SPAN_LITERAL("a.b"), SPAN_LITERAL("Says \"it\""), SPAN_LITERAL("{\"n\": 1}"), &text);
    buffer_char(&text, ',');
    openapi_webhook(SPAN_LITERAL("c"), SPAN_LITERAL(""), SPAN_NONE, &text);
    buffer_text(&text, "}}");
    document = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    buffer_deinit(&text);
    assert_non_null(document);
    return 0;
}

static int close_document(void **state) {
    (void)state;
    json_decref(document);
    return 0;
}

static json_t *operation_of(const struct api_route *route) {
    const char *method;
    json_t *operation, *methods = json_object_get(json_object_get(document, "paths"), route->path);
    json_object_foreach(methods, method, operation) {
        if (strcasecmp(method, route->method) == 0)
            return operation;
    }
    return NULL;
}

static void check_route(void *ctx, const struct api_route *route) {
    (void)ctx;
    const json_t *operation = operation_of(route), *responses = json_object_get(operation, "responses");
    if (!operation)
        fail_msg("%s %s is not described", route->method, route->path);
    bool body = route->flags & (CALL_BODY | CALL_BODY_MAY | CALL_BODY_UNREAD);
    assert_int_equal(json_object_get(operation, "requestBody") != NULL, body);
    assert_int_equal(json_object_get(responses, "415") != NULL, body);
    assert_int_equal(json_object_get(responses, "401") != NULL, !(route->flags & CALL_PUBLIC));
    assert_int_equal(json_object_get(operation, "security") != NULL, (route->flags & CALL_PUBLIC) != 0);
    if (route->flags & (CALL_ADMIN | CALL_SECRET_READ))
        assert_non_null(json_object_get(responses, "403"));
    if (body)
        assert_int_equal(json_is_true(json_object_get(json_object_get(operation, "requestBody"), "required")),
                         !(route->flags & CALL_BODY_MAY));
}

static void test_every_route_is_described_as_it_is(void **state) {
    (void)state;
    const char *path;
    json_t *methods;
    size_t described = 0;
    json_object_foreach(json_object_get(document, "paths"), path, methods) {
        described += json_object_size(methods);
    }
    assert_int_equal(routes_each(check_route, NULL), described);
}

static void test_webhooks(void **state) {
    (void)state;
    json_t *webhooks = json_object_get(document, "webhooks"), *value;
    const char *summary;
    assert_int_equal(json_object_size(webhooks), 2);
    assert_int_equal(json_unpack(webhooks, "{s:{s:{s:s, s:{s:{s:{s:{s:o}}}}}}}", "a.b", "post", "summary", &summary,
                                 "requestBody", "content", "application/json", "example", "value", &value),
                     0);
    assert_string_equal(summary, "Says \"it\"");
    assert_string_equal(json_string_value(json_object_get(value, "event_type")), "a.b");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(value, "payload"), "n")), 1);
}

static void test_the_page_is_embedded_whole(void **state) {
    (void)state;
    struct span page = embedded_docs();
    assert_true(span_has_prefix(page, SPAN_LITERAL("<!doctype html>\n")));
    assert_memory_equal(page.data + page.len - 8, "</html>\n", 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_is_described_as_it_is),
        cmocka_unit_test(test_webhooks),
        cmocka_unit_test(test_the_page_is_embedded_whole),
    };
    return cmocka_run_group_tests(tests, open_document, close_document);
}
