#include "core/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *nearest_of(const char *given) {
    const char *const names[] = {"serve", "dispatch", "migrate", "publish", "listen", "key"};
    struct nearest nearest = nearest_to(span_of(given));
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        nearest_offer(&nearest, names[i]);
    return nearest.best;
}

static void test_slips_are_recognised(void **state) {
    (void)state;
    assert_string_equal(nearest_of("dispach"), "dispatch");
    assert_string_equal(nearest_of("disptach"), "dispatch");
    assert_string_equal(nearest_of("publishh"), "publish");
    assert_string_equal(nearest_of("mirgate"), "migrate");
    assert_string_equal(nearest_of("server"), "serve");
    assert_string_equal(nearest_of("ky"), "key");
    assert_string_equal(nearest_of("MIGRATE"), "migrate");
    assert_string_equal(nearest_of("Disptach"), "dispatch");
    assert_string_equal(nearest_of("serve"), "serve");
}

static void test_what_is_far_is_not_guessed(void **state) {
    (void)state;
    assert_null(nearest_of("frobnicate"));
    assert_null(nearest_of(""));
    assert_null(nearest_of("xyz"));
    char long_name[500];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_null(nearest_of(long_name));
    struct nearest nearest = nearest_to(span_of("abc"));
    nearest_offer(&nearest, long_name);
    assert_null(nearest.best);
}

static void test_of_equals_the_first_stays(void **state) {
    (void)state;
    struct nearest nearest = nearest_to(span_of("bat"));
    nearest_offer(&nearest, "cat");
    nearest_offer(&nearest, "hat");
    assert_string_equal(nearest.best, "cat");
    /* A swap of neighbours is one slip, not two. */
    nearest = nearest_to(span_of("abcd"));
    nearest_offer(&nearest, "abdc");
    assert_string_equal(nearest.best, "abdc");
    assert_int_equal(nearest.distance, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slips_are_recognised),
        cmocka_unit_test(test_what_is_far_is_not_guessed),
        cmocka_unit_test(test_of_equals_the_first_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
