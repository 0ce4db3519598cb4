#include "core/metrics.h"

#include "base/clock.h"
#include "base/memory.h"
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char *render(void) {
    struct buffer out;
    buffer_init(&out, 1 << 20);
    metrics_render(&out);
    assert_false(out.overflowed);
    size_t len;
    return buffer_take(&out, &len);
}

/* The program's own part: between the build's and the process's. */
static char *render_own(void) {
    char *text = render(), *begin = strstr(text, "# HELP hookcast_test"), *end = strstr(text, "# HELP process_");
    assert_non_null(end);
    char *own = begin ? mem_strndup(begin, (size_t)(end - begin)) : mem_strdup("");
    mem_free(text);
    return own;
}

static void expect_own(const char *expected) {
    char *own = render_own();
    assert_string_equal(own, expected);
    mem_free(own);
}

static void test_counters_and_gauges(void **state) {
    (void)state;
    struct metric *gauge = metrics_gauge("hookcast_test_b", "A gauge.", NULL);
    struct metric *counter = metrics_counter("hookcast_test_a_total", "A counter.", NULL);
    metric_add(counter, 1);
    metric_add(counter, 2.5);
    metric_set(gauge, 10);
    metric_add(gauge, -12);
    assert_true(metric_value(counter) == 3.5);
    assert_true(metric_value(gauge) == -2);
    expect_own("# HELP hookcast_test_a_total A counter.\n"
               "# TYPE hookcast_test_a_total counter\n"
               "hookcast_test_a_total 3.5\n"
               "# HELP hookcast_test_b A gauge.\n"
               "# TYPE hookcast_test_b gauge\n"
               "hookcast_test_b -2\n");
    metric_free(&gauge);
    metric_free(&counter);
    assert_null(counter);
    metric_free(&counter);
    expect_own("");
}

static void test_a_name_has_its_head_once_and_its_series_in_order(void **state) {
    (void)state;
    struct metric *two = metrics_gauge("hookcast_test_lag", "First help.", "partition=\"2\"");
    struct metric *other = metrics_gauge("hookcast_test_lag_seconds", "Other.", NULL);
    struct metric *one = metrics_gauge("hookcast_test_lag", "Second help.", "partition=\"1\"");
    struct metric *none = metrics_gauge("hookcast_test_lag", "Third help.", NULL);
    metric_set(two, 2);
    metric_set(one, 1);
    expect_own("# HELP hookcast_test_lag First help.\n"
               "# TYPE hookcast_test_lag gauge\n"
               "hookcast_test_lag 0\n"
               "hookcast_test_lag{partition=\"1\"} 1\n"
               "hookcast_test_lag{partition=\"2\"} 2\n"
               "# HELP hookcast_test_lag_seconds Other.\n"
               "# TYPE hookcast_test_lag_seconds gauge\n"
               "hookcast_test_lag_seconds 0\n");
    metric_free(&two);
    metric_free(&none);
    metric_free(&other);
    expect_own("# HELP hookcast_test_lag First help.\n"
               "# TYPE hookcast_test_lag gauge\n"
               "hookcast_test_lag{partition=\"1\"} 1\n");
    metric_free(&one);
}

static void test_the_same_name_and_labels_are_the_same_metric(void **state) {
    (void)state;
    struct metric *a = metrics_counter("hookcast_test_total", "Help.", "x=\"1\"");
    struct metric *b = metrics_counter("hookcast_test_total", "Help.", "x=\"1\"");
    struct metric *c = metrics_counter("hookcast_test_total", "Help.", "x=\"2\"");
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    metric_add(a, 1);
    metric_free(&a);
    metric_add(b, 1);
    assert_true(metric_value(b) == 2);
    metric_free(&c);
    expect_own(
        "# HELP hookcast_test_total Help.\n# TYPE hookcast_test_total counter\nhookcast_test_total{x=\"1\"} 2\n");
    metric_free(&b);
    expect_own("");
}

static void test_histograms(void **state) {
    (void)state;
    const double bounds[] = {0.005, 0.1, 1, 2.5};
    struct metric *metric = metrics_histogram("hookcast_test_seconds", "Times.", "op=\"x\"", bounds, 4);
    struct metric *plain = metrics_histogram("hookcast_test_seconds", "Times.", NULL, bounds, 4);
    const double values[] = {0.001, 0.005, 0.05, 0.1, 0.11, 2.5, 100};
    for (size_t i = 0; i < 7; i++)
        metric_observe(metric, values[i]);
    assert_true(metric_value(metric) == 7);
    metric_observe(plain, INFINITY);
    expect_own("# HELP hookcast_test_seconds Times.\n"
               "# TYPE hookcast_test_seconds histogram\n"
               "hookcast_test_seconds_bucket{le=\"0.005\"} 0\n"
               "hookcast_test_seconds_bucket{le=\"0.1\"} 0\n"
               "hookcast_test_seconds_bucket{le=\"1\"} 0\n"
               "hookcast_test_seconds_bucket{le=\"2.5\"} 0\n"
               "hookcast_test_seconds_bucket{le=\"+Inf\"} 1\n"
               "hookcast_test_seconds_sum +Inf\n"
               "hookcast_test_seconds_count 1\n"
               "hookcast_test_seconds_bucket{op=\"x\",le=\"0.005\"} 2\n"
               "hookcast_test_seconds_bucket{op=\"x\",le=\"0.1\"} 4\n"
               "hookcast_test_seconds_bucket{op=\"x\",le=\"1\"} 5\n"
               "hookcast_test_seconds_bucket{op=\"x\",le=\"2.5\"} 6\n"
               "hookcast_test_seconds_bucket{op=\"x\",le=\"+Inf\"} 7\n"
               "hookcast_test_seconds_sum{op=\"x\"} 102.766\n"
               "hookcast_test_seconds_count{op=\"x\"} 7\n");
    metric_free(&metric);
    metric_free(&plain);
}

static void test_labels_and_help_are_escaped(void **state) {
    (void)state;
    struct buffer labels;
    buffer_init(&labels, 1024);
    metrics_label(&labels, "topic", span_of("a\"b\\c\nd"));
    metrics_label(&labels, "partition", SPAN_LITERAL("3"));
    assert_string_equal(labels.data, "topic=\"a\\\"b\\\\c\\nd\",partition=\"3\"");
    struct metric *metric = metrics_gauge("hookcast_test", "Say \"x\\y\"\nz.", labels.data);
    expect_own("# HELP hookcast_test Say \"x\\\\y\"\\nz.\n"
               "# TYPE hookcast_test gauge\n"
               "hookcast_test{topic=\"a\\\"b\\\\c\\nd\",partition=\"3\"} 0\n");
    metric_free(&metric);
    buffer_deinit(&labels);
}

static void expect_number(double value, const char *expected) {
    struct metric *metric = metrics_gauge("hookcast_test", "H", NULL);
    metric_set(metric, value);
    char text[128];
    snprintf(text, sizeof(text), "# HELP hookcast_test H\n# TYPE hookcast_test gauge\nhookcast_test %s\n", expected);
    expect_own(text);
    metric_free(&metric);
}

static void test_numbers_read_back_as_they_were(void **state) {
    (void)state;
    expect_number(0.1, "0.1");
    expect_number(0.1 + 0.2, "0.30000000000000004");
    expect_number(1e15 + 1, "1000000000000001");
    expect_number(9007199254740991, "9007199254740991");
    expect_number(1e300, "1e+300");
    expect_number(NAN, "NaN");
    expect_number(INFINITY, "+Inf");
    expect_number(-INFINITY, "-Inf");
}

static double number_after(const char *text, const char *name) {
    const char *at = strstr(text, name);
    assert_non_null(at);
    return strtod(at + strlen(name), NULL);
}

static void test_the_process_and_its_build(void **state) {
    (void)state;
    char *text = render();
    assert_non_null(strstr(text, "\nhookcast_build_info{version=\"" HOOKCAST_VERSION "\"} 1\n"));
    assert_true(number_after(text, "\nprocess_resident_memory_bytes ") > 100000);
    assert_true(number_after(text, "\nprocess_cpu_seconds_total ") > 0);
    double start = number_after(text, "\nprocess_start_time_seconds "), now = (double)clock_wall_ms() / 1000;
    assert_true(start > now - 600 && start < now + 1);
    double fds = number_after(text, "\nprocess_open_fds ");
    mem_free(text);
    int fd = open("/dev/null", O_RDONLY);
    text = render();
    assert_true(number_after(text, "\nprocess_open_fds ") == fds + 1);
    assert_true(number_after(text, "\nprocess_start_time_seconds ") == start);
    mem_free(text);
    close(fd);
}

#define THREADS 4
#define EACH 20000

static void *change(void *ctx) {
    (void)ctx;
    const double bounds[] = {1, 2};
    struct metric *counter = metrics_counter("hookcast_test_total", "H", NULL);
    struct metric *histogram = metrics_histogram("hookcast_test_seconds", "H", NULL, bounds, 2);
    for (int i = 0; i < EACH; i++) {
        metric_add(counter, 1);
        metric_observe(histogram, i % 4);
    }
    for (int i = 0; i < 50; i++) {
        char label[32];
        snprintf(label, sizeof(label), "i=\"%d\"", i);
        struct metric *gauge = metrics_gauge("hookcast_test_gauge", "H", label);
        metric_set(gauge, i);
        metric_free(&gauge);
    }
    metric_free(&counter);
    metric_free(&histogram);
    return NULL;
}

static void test_threads_lose_no_change(void **state) {
    (void)state;
    const double bounds[] = {1, 2};
    struct metric *counter = metrics_counter("hookcast_test_total", "H", NULL);
    struct metric *histogram = metrics_histogram("hookcast_test_seconds", "H", NULL, bounds, 2);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, change, NULL), 0);
    for (int i = 0; i < 20; i++)
        mem_free(render());
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(metric_value(counter) == THREADS * EACH);
    assert_true(metric_value(histogram) == THREADS * EACH);
    char *own = render_own();
    assert_true(number_after(own, "hookcast_test_seconds_bucket{le=\"1\"} ") == THREADS * EACH / 2);
    assert_true(number_after(own, "hookcast_test_seconds_sum ") == THREADS * EACH * 1.5);
    assert_null(strstr(own, "gauge"));
    mem_free(own);
    metric_free(&counter);
    metric_free(&histogram);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_and_gauges),
        cmocka_unit_test(test_a_name_has_its_head_once_and_its_series_in_order),
        cmocka_unit_test(test_the_same_name_and_labels_are_the_same_metric),
        cmocka_unit_test(test_histograms),
        cmocka_unit_test(test_labels_and_help_are_escaped),
        cmocka_unit_test(test_numbers_read_back_as_they_were),
        cmocka_unit_test(test_the_process_and_its_build),
        cmocka_unit_test(test_threads_lose_no_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
