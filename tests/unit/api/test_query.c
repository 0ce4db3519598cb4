#include "api/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "call_fixture.h"

static struct call *asked(const char *name, const char *value) {
    struct call *call = call_fixture(NULL);
    if (name) {
        call->query_names[0] = span_of(name);
        call->query_values[0] = span_of(value);
        call->query_count = 1;
    }
    return call;
}

static void test_limit(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int limit; /* 0: refused */
    } CASES[] = {{"1", 1},
                 {"7", 7},
                 {"100", 100},
                 {"007", 7},
                 {"0", 0},
                 {"101", 0},
                 {"", 0},
                 {"-1", 0},
                 {"1.0", 0},
                 {" 1", 0},
                 {"99999999999999999999999", 0}};
    struct call *call = asked(NULL, NULL);
    assert_int_equal(query_limit(call, 50, 100), 50);
    call_free(&call);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(*CASES); i++) {
        call = asked("limit", CASES[i].text);
        int limit = query_limit(call, 50, 100);
        assert_int_equal(call->errors == NULL, CASES[i].limit > 0);
        if (CASES[i].limit)
            assert_int_equal(limit, CASES[i].limit);
        else
            assert_string_equal(call_fixture_error(call, "limit"), "expected a number from 1 to 100");
        call_free(&call);
    }
}

static int64_t time_of(const char *text, bool ends, bool right) {
    struct call *call = asked("since", text);
    int64_t ms = query_time(call, "since", ends);
    assert_int_equal(call->errors == NULL, right);
    call_free(&call);
    return ms;
}

static void test_time(void **state) {
    (void)state;
    assert_true(time_of("2024-03-10T15:30:00Z", false, true) == 1710084600000LL);
    assert_true(time_of("2024-03-10T15:30:00Z", true, true) == 1710084600000LL);
    assert_true(time_of("2024-03-10", false, true) == 1710028800000LL);
    assert_true(time_of("2024-03-10", true, true) == 1710028800000LL + 24 * 3600 * 1000);
    assert_true(time_of("soon", false, false) == 0);
    struct call *call = asked("until", "2024-03-10");
    assert_true(query_time(call, "since", false) == 0);
    assert_null(call->errors);
    call_free(&call);
}

static void test_uuid(void **state) {
    (void)state;
    struct uuid id;
    struct call *call = asked("key_id", "0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e");
    assert_true(query_uuid(call, "key_id", &id));
    assert_int_equal(id.bytes[0], 1);
    assert_false(query_uuid(call, "other", &id));
    call_free(&call);
    call = asked("key_id", "7");
    assert_false(query_uuid(call, "key_id", &id));
    assert_string_equal(call_fixture_error(call, "key_id"), "expected a uuid");
    call_free(&call);
}

#define ID "0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e"

static void test_cursors(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool number, both; /* what it may be */
    } CASES[] = {{"17", true, false},
                 {"1700000000000000-" ID, false, true},
                 {"0", false, false},
                 {"", false, false},
                 {"-" ID, false, false},
                 {"0-" ID, false, false},
                 {"1-", false, false},
                 {"1-7", false, false},
                 {"x", false, false},
                 {"99999999999999999999", false, false},
                 {"99999999999999999999-" ID, false, false}};
    for (size_t i = 0; i < sizeof(CASES) / sizeof(*CASES); i++) {
        int64_t number = 0;
        struct uuid id;
        struct call *call = asked("cursor", CASES[i].text);
        assert_int_equal(query_cursor_number(call, &number, NULL), CASES[i].number);
        assert_int_equal(call->errors == NULL, CASES[i].number);
        call_free(&call);
        call = asked("cursor", CASES[i].text);
        assert_int_equal(query_cursor_number(call, &number, &id), CASES[i].both);
        assert_int_equal(call->errors == NULL, CASES[i].both);
        call_free(&call);
    }
    json_t *cursor = query_cursor_of_number(17);
    assert_string_equal(json_string_value(cursor), "17");
    json_decref(cursor);
}

static void test_parts_of_an_answer(void **state) {
    (void)state;
    struct uuid id;
    assert_int_equal(uuid_parse(SPAN_LITERAL(ID), &id), STATUS_OK);
    json_t *parts = json_pack("[o, o, o, o, o]", query_text(SPAN_NONE), query_text(SPAN_LITERAL("")), query_moment(0),
                              query_moment(1710084600000LL), query_id(&id));
    char *text = json_dumps(parts, JSON_COMPACT);
    assert_string_equal(text, "[null,\"\",null,\"2024-03-10T15:30:00Z\",\"" ID "\"]");
    free(text);
    json_decref(parts);
    assert_true(query_is_text(SPAN_LITERAL("\xc3\xbc")));
    assert_false(query_is_text(SPAN_LITERAL("\xc3")));
    assert_false(query_is_text(SPAN_LITERAL("a\0")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_cursors),
        cmocka_unit_test(test_parts_of_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
