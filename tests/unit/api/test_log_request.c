#include "api/log_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/log_cursor.h"

static int64_t us_of(const char *text, bool end) {
    int64_t us = -1;
    if (!log_request_time(span_of(text), end, &us))
        fail_msg("%s is no time", text);
    return us;
}

static void test_times_have_all_their_digits(void **state) {
    (void)state;
    const int64_t at = INT64_C(1710130693) * 1000000; /* 2024-03-11T04:18:13Z */
    assert_int_equal(us_of("2024-03-11T04:18:13Z", false), at);
    assert_int_equal(us_of("2024-03-11T04:18:13.5", false), at + 500000);
    assert_int_equal(us_of("2024-03-11T04:18:13.558", false), at + 558000);
    assert_int_equal(us_of("2024-03-11T04:18:13.5582Z", false), at + 558200);
    assert_int_equal(us_of("2024-03-11T04:18:13.55825", false), at + 558250);
    assert_int_equal(us_of("2024-03-11T04:18:13.558258", false), at + 558258);
    assert_int_equal(us_of("2024-03-11T04:18:13.558258999Z", false), at + 558258);
    assert_int_equal(us_of("2024-03-11T06:18:13.558258+02:00", false), at + 558258);
    assert_int_equal(us_of("2024-03-11T06:18:13.558258 02:00", false), at + 558258);
    assert_int_equal(us_of("2024-03-11 04:18:13", false), at);
}

static void test_an_end_is_included(void **state) {
    (void)state;
    const int64_t day = INT64_C(1710115200) * 1000000;
    assert_int_equal(us_of("2024-03-11", false), day);
    assert_int_equal(us_of("2024-03-11", true), day + INT64_C(86400000000));
    assert_int_equal(us_of("2024-03-11T00:00:00.000001", true), day + 2);
}

static void test_what_is_no_time(void **state) {
    (void)state;
    static const char *const WRONG[] = {
        "", "yesterday", "2024-13-01", "2024-03-11T25:00:00", "1710130693", "2024-03-11T", "2024-03-11T04:18:13 XX:00"};
    int64_t us = 7;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(*WRONG); i++) {
        assert_false(log_request_time(span_of(WRONG[i]), false, &us));
        assert_int_equal(us, 7);
    }
}

static struct log_query_settings settings_of(enum log_order order, bool descending) {
    return (struct log_query_settings){.order = order, .descending = descending};
}

static void test_a_cursor_comes_back_as_it_went(void **state) {
    (void)state;
    struct log_place places[] = {
        {.at_us = INT64_C(1710130693558258)},
        {.value = "message.new", .at_us = 1},
        {.value = "204", .at_us = 0},
        {.null = true, .at_us = INT64_C(4102444799999999)},
    };
    memset(places[1].value, 'x', LOG_VALUE_MAX_BYTES);
    for (size_t i = 0; i < 4; i++) {
        struct log_query_settings settings = settings_of((enum log_order)(i == 3 ? LOG_BY_STATUS_CODE : i), i % 2);
        if (i == 2)
            settings.order = LOG_BY_STATUS_CODE;
        struct log_place back;
        char text[LOG_CURSOR_MAX_BYTES + 1];
        for (size_t b = 0; b < 16; b++)
            places[i].id.bytes[b] = (uint8_t)(250 + b * 7);
        log_cursor_write(&settings, &places[i], text);
        assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                         strlen(text));
        assert_int_equal(log_cursor_read(span_of(text), &settings, &back), STATUS_OK);
        assert_int_equal(back.at_us, places[i].at_us);
        assert_true(uuid_equal(&back.id, &places[i].id));
        assert_string_equal(back.value, places[i].value);
        assert_int_equal(back.null, places[i].null);

        settings.descending = !settings.descending;
        assert_int_equal(log_cursor_read(span_of(text), &settings, &back), STATUS_INVALID);
    }
}

/* Whatever a client sends: refused, or a place that can be asked for. */
static void test_cursors_that_are_none(void **state) {
    (void)state;
    struct log_query_settings settings = settings_of(LOG_BY_STATUS_CODE, true);
    struct log_place place = {.value = "503", .at_us = 1}, back;
    char text[LOG_CURSOR_MAX_BYTES + 1];
    log_cursor_write(&settings, &place, text);
    size_t len = strlen(text);
    for (size_t cut = 0; cut < len - 4; cut++)
        (void)!log_cursor_read((struct span){text, cut}, &settings, &back);
    assert_int_equal(log_cursor_read((struct span){text, 20}, &settings, &back), STATUS_INVALID);
    for (size_t at = 0; at < len; at++) {
        for (int c = 1; c < 256; c++) {
            char kept = text[at];
            text[at] = (char)c;
            if (log_cursor_read((struct span){text, len}, &settings, &back) == STATUS_OK)
                assert_true(back.at_us >= 0 && strspn(back.value, "0123456789") == strlen(back.value));
            text[at] = kept;
        }
    }
    assert_int_equal(log_cursor_read(SPAN_LITERAL("===="), &settings, &back), STATUS_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_have_all_their_digits),
        cmocka_unit_test(test_an_end_is_included),
        cmocka_unit_test(test_what_is_no_time),
        cmocka_unit_test(test_a_cursor_comes_back_as_it_went),
        cmocka_unit_test(test_cursors_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
