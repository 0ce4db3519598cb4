#include "api/body_json.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct error error;

static json_t *read(const char *text) {
    json_t *json = NULL;
    if (body_json_read(span_of(text), &json, &error) != STATUS_OK)
        fail_msg("%s: %s", text, error.text);
    return json;
}

static void refused(const char *text, const char *says) {
    json_t *json = NULL;
    assert_int_equal(body_json_read(span_of(text), &json, &error), STATUS_INVALID);
    if (!strstr(error.text, says) || strstr(error.text, "secret"))
        fail_msg("%s: %s", text, error.text);
}

static void test_json_is_read(void **state) {
    (void)state;
    json_t *json = read("{\"a\": 9223372036854775807, \"b\": 1.0, \"c\": [true]}");
    assert_true(json_is_integer(json_object_get(json, "a")) && json_is_real(json_object_get(json, "b")));
    json_decref(json);
    json_decref(read("[]"));
    json_decref(read("5"));
}

/* Beside a number that is too large for an integer the others stay what they are. */
static void test_integers_beyond_64_bits_are_reals(void **state) {
    (void)state;
    json_t *json = read("{\"big\": 9223372036854775808, \"a\": 7, \"half\": 1.5, \"in\": {\"list\": [-3, "
                        "-99999999999999999999, \"5\", [0]]}}");
    assert_true(json_is_real(json_object_get(json, "big")));
    assert_true(json_is_integer(json_object_get(json, "a")));
    assert_int_equal(json_integer_value(json_object_get(json, "a")), 7);
    assert_true(json_is_real(json_object_get(json, "half")));
    const json_t *list = json_object_get(json_object_get(json, "in"), "list");
    assert_int_equal(json_integer_value(json_array_get(list, 0)), -3);
    assert_true(json_is_real(json_array_get(list, 1)) && json_is_string(json_array_get(list, 2)));
    assert_true(json_is_integer(json_array_get(json_array_get(list, 3), 0)));
    assert_int_equal(json_object_size(json), 4);
    json_decref(json);
}

static void test_what_is_none_is_refused_without_being_quoted(void **state) {
    (void)state;
    refused("", "not JSON");
    refused("{\"secret\" \"secret\"}", "line 1, column 18");
    refused("{\"secret\": 1, \"secret\": 2}", "a name stands twice");
    refused("{\"a\": 99999999999999999999, \"secret\": 1, \"secret\": 2}", "a name stands twice");
    refused("{\"a\":\n1e400}", "number that is too large: line 2");
    refused("{\"a\": 99999999999999999999, \"b\": -1e999}", "number that is too large");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_is_read),
        cmocka_unit_test(test_integers_beyond_64_bits_are_reals),
        cmocka_unit_test(test_what_is_none_is_refused_without_being_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
