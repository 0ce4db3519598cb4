#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void absent_is_not_empty(void **state) {
    (void)state;
    assert_null(SPAN_NONE.data);
    assert_null(span_of(NULL).data);
    assert_int_equal(span_of(NULL).len, 0);
    assert_non_null(span_of("").data);
    assert_true(span_equal(SPAN_NONE, span_of("")));
}

static void compares_bytes(void **state) {
    (void)state;
    assert_true(span_is(SPAN_LITERAL("abc"), "abc"));
    assert_false(span_is(SPAN_LITERAL("abc"), "abd"));
    assert_false(span_is(SPAN_LITERAL("abc"), "ab"));
    assert_int_equal(SPAN_LITERAL("a\0b").len, 3);
    assert_false(span_equal(SPAN_LITERAL("a\0b"), SPAN_LITERAL("a\0c")));
}

static void prefixes(void **state) {
    (void)state;
    assert_true(span_has_prefix(SPAN_LITERAL("abc"), SPAN_LITERAL("ab")));
    assert_true(span_has_prefix(SPAN_LITERAL("abc"), SPAN_LITERAL("abc")));
    assert_true(span_has_prefix(SPAN_LITERAL("abc"), SPAN_NONE));
    assert_true(span_has_prefix(SPAN_NONE, SPAN_NONE));
    assert_false(span_has_prefix(SPAN_LITERAL("ab"), SPAN_LITERAL("abc")));
    assert_false(span_has_prefix(SPAN_LITERAL("abc"), SPAN_LITERAL("b")));
}

static void orders_bytes(void **state) {
    (void)state;
    static const struct span ORDERED[] = {
        {NULL, 0}, {"a", 1}, {"a\0", 2}, {"ab", 2}, {"b", 1}, {"\xc3\xa9", 2},
    };
    size_t count = sizeof(ORDERED) / sizeof(*ORDERED);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            int order = span_compare(ORDERED[i], ORDERED[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    assert_int_equal(span_compare(SPAN_NONE, SPAN_LITERAL("")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_is_not_empty),
        cmocka_unit_test(compares_bytes),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(orders_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
