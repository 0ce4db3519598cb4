#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "call_fixture.h"

static void test_a_problem_has_all_of_its_members(void **state) {
    (void)state;
    struct call *call = call_fixture(NULL);
    call_problem(call, 404, "not_found", "There is no %s.", "thing");
    assert_int_equal(call->status, 404);
    assert_string_equal(call->type, "application/problem+json");
    assert_string_equal(call->answer.data, "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
                                           "\"detail\":\"There is no thing.\",\"code\":\"not_found\",\"errors\":[]}");
    call_free(&call);
    assert_null(call);
}

static void test_field_errors_are_gathered(void **state) {
    (void)state;
    struct call *call = call_fixture(NULL);
    call_field_error(call, "a", "expected %d", 5);
    call_field_error(call, "b\"", "wrong");
    call_refuse(call);
    assert_int_equal(call->status, 422);
    assert_non_null(strstr(call->answer.data, "\"detail\":\"a: expected 5\""));
    assert_non_null(strstr(call->answer.data, "\"errors\":[{\"field\":\"a\",\"message\":\"expected 5\"},"
                                              "{\"field\":\"b\\\"\",\"message\":\"wrong\"}]"));
    call_free(&call);
}

/* A message is cut to fit, perhaps in the middle of a character, and there are only so many. */
static void test_errors_have_a_bound(void **state) {
    (void)state;
    char name[2000];
    for (size_t i = 0; i + 2 < sizeof(name); i += 2)
        memcpy(name + i, "\xc3\xbc", 3);
    struct call *call = call_fixture(NULL);
    for (int i = 0; i < 1000; i++)
        call_field_error(call, name, "x%s", name);
    call_refuse(call);
    assert_true(call->answer.len < 300000);
    json_t *problem = json_loadb(call->answer.data, call->answer.len, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(problem, "errors")), 50);
    json_decref(problem);
    call_free(&call);
}

static void test_a_problem_replaces_what_was_begun(void **state) {
    (void)state;
    struct call *call = call_fixture(NULL);
    struct error error;
    buffer_text(&call->answer, "{\"subscriptions\":[");
    call_failed(call, error_set(&error, STATUS_NOT_FOUND, "x"), &error);
    assert_memory_equal(call->answer.data, "{\"type\"", 7);
    call_reset(call);
    assert_true(call->status == 0 && call->answer.len == 0 && call->header_count == 0);
    call_free(&call);
}

static void test_an_answer_that_is_too_large_is_refused(void **state) {
    (void)state;
    struct call *call = call_fixture(NULL);
    for (int i = 0; i < 2000; i++)
        buffer_printf(&call->answer, "%01000d", i);
    call_answer_text(call, 200, "application/json");
    assert_int_equal(call->status, 422);
    assert_non_null(strstr(call->answer.data, "too_many_rows"));
    call_free(&call);
}

static void test_query_parameters(void **state) {
    (void)state;
    static const char *const NAMES[] = {"type", NULL};
    struct call *call = call_fixture(NULL);
    call->query_count = 3;
    call->query_names[0] = call->query_names[1] = span_of("type");
    call->query_values[0] = span_of("first");
    call->query_values[1] = span_of("second");
    call->query_names[2] = SPAN_LITERAL("t\xffype");
    assert_true(span_is(call_query(call, "type"), "first"));
    assert_null(call_query(call, "typ").data);
    call_check_query(call, NAMES);
    assert_int_equal(json_array_size(call->errors), 2);
    assert_string_equal(call_fixture_error(call, "type"), "stands twice");
    assert_string_not_equal(call_fixture_error(call, "t\xEF\xBF\xBDype"), "");
    call_free(&call);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_problem_has_all_of_its_members),
        cmocka_unit_test(test_field_errors_are_gathered),
        cmocka_unit_test(test_errors_have_a_bound),
        cmocka_unit_test(test_a_problem_replaces_what_was_begun),
        cmocka_unit_test(test_an_answer_that_is_too_large_is_refused),
        cmocka_unit_test(test_query_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
