#include "core/log.h"

#include "base/clock.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define LINE_BYTES 4096
#define TIME_LEN 24

/* Standard error, kept in a file in memory while a test runs. */
static int kept = -1, original = -1;
static char text[1 << 20];

static int begin(void **state) {
    (void)state;
    kept = memfd_create("log", 0);
    original = dup(STDERR_FILENO);
    return kept < 0 || original < 0 || dup2(kept, STDERR_FILENO) < 0;
}

static int end(void **state) {
    (void)state;
    dup2(original, STDERR_FILENO);
    close(original);
    close(kept);
    log_setup(LOG_INFO, false);
    return 0;
}

/* What was logged since the last call. */
static const char *logged(void) {
    ssize_t len = pread(kept, text, sizeof(text) - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    assert_int_equal(ftruncate(kept, 0), 0);
    assert_int_equal(lseek(kept, 0, SEEK_SET), 0);
    return text;
}

/* The line behind its time, when it has one. */
static const char *without_time(const char *line, bool json) {
    const char *before = json ? "{\"time\":\"" : "time=", *after = json ? "\"," : " ";
    assert_memory_equal(line, before, strlen(before));
    line += strlen(before);
    int64_t wall_ms = 0;
    assert_int_equal(clock_parse_iso((struct span){line, TIME_LEN}, &wall_ms, NULL), STATUS_OK);
    assert_int_equal(line[19], '.');
    assert_int_equal(line[23], 'Z');
    assert_in_range(clock_wall_ms() - wall_ms + 1000, 0, 60000);
    line += TIME_LEN;
    assert_memory_equal(line, after, strlen(after));
    return line + strlen(after);
}

static void test_a_line_of_logfmt(void **state) {
    (void)state;
    log_setup(LOG_INFO, false);
    log_info("recorder", "PostgreSQL is back", LOG_INT("away_ms", 2210), LOG_TEXT("server", "main"));
    assert_string_equal(without_time(logged(), false),
                        "level=info module=recorder msg=\"PostgreSQL is back\" away_ms=2210 server=main\n");
    log_error("run", "gone");
    assert_string_equal(without_time(logged(), false), "level=error module=run msg=gone\n");
    log_warn("run", "n", LOG_INT("least", INT64_MIN), LOG_INT("most", INT64_MAX));
    assert_string_equal(without_time(logged(), false), "level=warn module=run msg=n least=-9223372036854775808 "
                                                       "most=9223372036854775807\n");
}

static void test_a_line_of_json(void **state) {
    (void)state;
    log_setup(LOG_INFO, true);
    log_info("recorder", "PostgreSQL is back", LOG_INT("away_ms", 2210), LOG_TEXT("server", "a\"b"),
             LOG_SPAN("none", SPAN_NONE));
    assert_string_equal(without_time(logged(), true),
                        "\"level\":\"info\",\"module\":\"recorder\",\"msg\":\"PostgreSQL is back\",\"away_ms\":2210,"
                        "\"server\":\"a\\\"b\",\"none\":null}\n");
}

static void test_levels_below_the_lowest_are_left_out(void **state) {
    (void)state;
    log_setup(LOG_WARN, false);
    log_debug("m", "no");
    log_info("m", "no");
    assert_string_equal(logged(), "");
    log_warn("m", "yes");
    log_error("m", "yes");
    assert_non_null(strstr(logged(), "level=error"));
    log_setup(LOG_DEBUG, false);
    log_debug("m", "yes");
    assert_string_equal(without_time(logged(), false), "level=debug module=m msg=yes\n");
}

static void expect_field(struct span value, const char *logfmt, const char *json) {
    char expected[256];
    log_setup(LOG_INFO, false);
    log_info("m", "x", LOG_SPAN("v", value));
    snprintf(expected, sizeof(expected), "level=info module=m msg=x v=%s\n", logfmt);
    assert_string_equal(without_time(logged(), false), expected);
    log_setup(LOG_INFO, true);
    log_info("m", "x", LOG_SPAN("v", value));
    snprintf(expected, sizeof(expected), "\"level\":\"info\",\"module\":\"m\",\"msg\":\"x\",\"v\":%s}\n", json);
    assert_string_equal(without_time(logged(), true), expected);
}

static void test_values_are_quoted_and_escaped_where_needed(void **state) {
    (void)state;
    expect_field(SPAN_LITERAL("plain-1.0/x:y,z"), "plain-1.0/x:y,z", "\"plain-1.0/x:y,z\"");
    expect_field(SPAN_LITERAL(""), "\"\"", "\"\"");
    expect_field(SPAN_LITERAL("a b"), "\"a b\"", "\"a b\"");
    expect_field(SPAN_LITERAL("a=b"), "\"a=b\"", "\"a=b\"");
    expect_field(SPAN_LITERAL("a\"b\\c"), "\"a\\\"b\\\\c\"", "\"a\\\"b\\\\c\"");
    expect_field(SPAN_LITERAL("a\nb\tc\rd"), "\"a\\nb\\tc\\rd\"", "\"a\\nb\\tc\\rd\"");
    expect_field(SPAN_LITERAL("\x1b[31m\0\x7f"), "\"\\u001b[31m\\u0000\\u007f\"", "\"\\u001b[31m\\u0000\\u007f\"");
    expect_field(SPAN_LITERAL("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9d"),
                 "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9d\"",
                 "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9d\"");
    /* A C1 control, which some terminals obey; the no-break space beside it stays. */
    expect_field(SPAN_LITERAL("\xc2\x9b\xc2\xa0"), "\"\\u009b\xc2\xa0\"", "\"\\u009b\xc2\xa0\"");
    expect_field(SPAN_LITERAL("a\xff\xfe"
                              "b\xc3"),
                 "\"a\\xff\\xfeb\\xc3\"", "\"a\\ufffd\\ufffdb\\ufffd\"");
    expect_field(SPAN_LITERAL("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"", "\"\\ufffd\\ufffd\\ufffd\"");
}

/* Whatever does not fit, the line is one line, is whole, and says that something is missing. */
static void expect_cut(bool json, size_t field_count, const struct log_field *fields) {
    log_setup(LOG_INFO, json);
    log_write(LOG_INFO, "m", "x", fields, field_count);
    const char *line = logged();
    size_t len = strlen(line);
    assert_in_range(len, LINE_BYTES - 100, LINE_BYTES);
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    assert_non_null(strstr(line, "\xe2\x80\xa6"));
    assert_int_equal(utf8_valid_prefix((struct span){line, len}), len);
    if (!json)
        return;
    struct json_value value;
    struct error error;
    assert_int_equal(json_scan((struct span){line, len}, NULL, NULL, &value, &error), STATUS_OK);
}

static void test_a_line_is_cut_at_4_kib(void **state) {
    (void)state;
    static char long_text[100000];
    const char *const units[] = {"x", "\"", "\xe2\x82\xac", "\xff", "\n", "x y"};
    for (size_t unit = 0; unit < sizeof(units) / sizeof(*units); unit++) {
        size_t unit_len = strlen(units[unit]), len = 0;
        while (len + unit_len <= sizeof(long_text)) {
            memcpy(long_text + len, units[unit], unit_len);
            len += unit_len;
        }
        /* From what nearly fits to what does not by far, so that each byte of the line is met. */
        for (size_t size = 4200 / unit_len; size < 4240 / unit_len; size++) {
            struct log_field fields[] = {LOG_SPAN("v", ((struct span){long_text, size * unit_len})), LOG_INT("n", 1)};
            expect_cut(false, 2, fields);
            expect_cut(true, 2, fields);
        }
        struct log_field all = LOG_SPAN("v", ((struct span){long_text, len}));
        expect_cut(false, 1, &all);
        expect_cut(true, 1, &all);
    }
    struct log_field many[300];
    for (size_t size = 1; size < 40; size++) {
        for (size_t i = 0; i < 300; i++)
            many[i] = i % 2 ? LOG_INT("number", INT64_MIN) : LOG_SPAN("text", ((struct span){long_text, size}));
        expect_cut(false, 300, many);
        expect_cut(true, 300, many);
    }
}

static void test_what_just_fits_is_whole(void **state) {
    (void)state;
    char value[4000];
    memset(value, 'x', sizeof(value));
    log_setup(LOG_INFO, false);
    log_info("m", "x", LOG_SPAN("v", ((struct span){value, sizeof(value)})));
    const char *line = logged();
    assert_null(strstr(line, "\xe2\x80\xa6"));
    assert_int_equal(strspn(strstr(line, "v=x") + 2, "x"), sizeof(value));
}

static void test_errno_is_left_alone(void **state) {
    (void)state;
    close(STDERR_FILENO);
    errno = ERANGE;
    log_error("m", "nobody reads this");
    int after = errno;
    dup2(kept, STDERR_FILENO);
    assert_int_equal(after, ERANGE);
}

static void *log_many(void *ctx) {
    for (int i = 0; i < 200; i++)
        log_info("thread", "a line with some words in it", LOG_TEXT("name", ctx), LOG_INT("number", i));
    return NULL;
}

static void test_lines_of_several_threads_do_not_mix(void **state) {
    (void)state;
    log_setup(LOG_INFO, true);
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, O_APPEND), 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, "abc"), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    int lines = 0;
    for (const char *line = logged(), *next; *line; line = next) {
        next = strchr(line, '\n') + 1;
        struct json_value value;
        struct error error;
        struct span span = {line, (size_t)(next - line)};
        assert_int_equal(json_scan(span, NULL, NULL, &value, &error), STATUS_OK);
        lines++;
    }
    assert_int_equal(lines, 800);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_line_of_logfmt, begin, end),
        cmocka_unit_test_setup_teardown(test_a_line_of_json, begin, end),
        cmocka_unit_test_setup_teardown(test_levels_below_the_lowest_are_left_out, begin, end),
        cmocka_unit_test_setup_teardown(test_values_are_quoted_and_escaped_where_needed, begin, end),
        cmocka_unit_test_setup_teardown(test_a_line_is_cut_at_4_kib, begin, end),
        cmocka_unit_test_setup_teardown(test_what_just_fits_is_whole, begin, end),
        cmocka_unit_test_setup_teardown(test_errno_is_left_alone, begin, end),
        cmocka_unit_test_setup_teardown(test_lines_of_several_threads_do_not_mix, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
