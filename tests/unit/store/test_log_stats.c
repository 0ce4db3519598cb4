#include "store/log_stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "store_fixture.h"

/* The class of a duration, as the database says, ends where the quantile says. */
static void test_quantiles_enclose_every_duration(void **state) {
    (void)state;
    static const int DURATIONS[] = {0,  1,  2,  3,   4,   5,   6,    7,    10,   15,   16,
                                    31, 63, 64, 100, 127, 128, 1000, 4095, 4096, 30000};
    for (size_t i = 0; i < sizeof(DURATIONS) / sizeof(*DURATIONS); i++) {
        char sql[100];
        int ms = DURATIONS[i];
        struct log_stats stats = {.first_time = 1};
        snprintf(sql, sizeof(sql), "SELECT log_duration_class(%d)", ms);
        stats.classes[strtol(pg_fixture_ask(connection, sql), NULL, 10)] = 1;
        int64_t shown = log_stats_quantile(&stats, 0.5);
        assert_in_range(shown, ms, ms + ms / 5 + 1);
    }
    exec_sql("SELECT log_duration_class(2147483647), log_duration_class(-1)");
}

static void test_a_quantile_is_the_class_in_which_it_lies(void **state) {
    (void)state;
    struct log_stats stats = {.first_time = 0};
    assert_int_equal(log_stats_quantile(&stats, 0.5), -1);
    stats.classes[0] = 50; /* 0 ms */
    stats.classes[4] = 49; /* 1 ms */
    stats.classes[40] = 1; /* 1,023 ms and above */
    assert_int_equal(log_stats_timed(&stats), 100);
    assert_int_equal(log_stats_quantile(&stats, 0.5), 0);
    assert_int_equal(log_stats_quantile(&stats, 0.51), 1);
    assert_int_equal(log_stats_quantile(&stats, 0.99), 1);
    assert_in_range(log_stats_quantile(&stats, 1), 1023, 1217);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_quantiles_enclose_every_duration),
        cmocka_unit_test(test_a_quantile_is_the_class_in_which_it_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
