/* Calls made by hand, without a server. Include it after cmocka.h. */
#ifndef TEST_CALL_FIXTURE_H
#define TEST_CALL_FIXTURE_H

#include "api/call.h"
#include "base/memory.h"
#include <jansson.h>
#include <string.h>

static inline struct call *call_fixture(const char *body) {
    struct call *call = mem_calloc(1, sizeof(*call));
    call->arena = arena_new(4096);
    call->id = "test";
    buffer_init(&call->answer, 1024 * 1024);
    if (body) {
        call->body = span_of(body);
        call->json = json_loads(body, JSON_DECODE_ANY, NULL);
        assert_non_null(call->json);
    }
    return call;
}

/* The message about a field; "" when there is none. */
static inline const char *call_fixture_error(const struct call *call, const char *field) {
    for (size_t i = 0; i < json_array_size(call->errors); i++) {
        const json_t *error = json_array_get(call->errors, i);
        if (strcmp(json_string_value(json_object_get(error, "field")), field) == 0)
            return json_string_value(json_object_get(error, "message"));
    }
    return "";
}

#endif
