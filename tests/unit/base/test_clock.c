#include "base/clock.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#define NOON 1710084600000 /* 2024-03-10T15:30:00Z */

static const char *format(int64_t ms) {
    static char text[64];
    struct buffer out;
    buffer_init(&out, sizeof(text) - 1);
    clock_format_iso(ms, &out);
    memcpy(text, out.data, out.len + 1);
    buffer_deinit(&out);
    return text;
}

static void formats(void **state) {
    (void)state;
    assert_string_equal(format(NOON), "2024-03-10T15:30:00Z");
    assert_string_equal(format(NOON + 123), "2024-03-10T15:30:00.123Z");
    assert_string_equal(format(NOON + 7), "2024-03-10T15:30:00.007Z");
    assert_string_equal(format(0), "1970-01-01T00:00:00Z");
    assert_string_equal(format(-1), "1969-12-31T23:59:59.999Z");
    assert_string_equal(format(-86400000), "1969-12-31T00:00:00Z");
    assert_string_equal(format(951782399999), "2000-02-28T23:59:59.999Z");
    assert_string_equal(format(951782400000), "2000-02-29T00:00:00Z");
    assert_string_equal(format(978220800000), "2000-12-31T00:00:00Z");
    assert_string_equal(format(4107542400000), "2100-03-01T00:00:00Z");
    assert_string_equal(format(-62135596800000), "0001-01-01T00:00:00Z");
    assert_string_equal(format(-62135596800001), "0000-12-31T23:59:59.999Z");
    assert_string_equal(format(253402300799999), "9999-12-31T23:59:59.999Z");
    assert_string_equal(format(253402300800000), "+000010000-01-01T00:00:00Z");
    assert_string_equal(format(INT64_MAX), "+292278994-08-17T07:12:55.807Z");
    assert_string_equal(format(INT64_MIN), "-292275055-05-16T16:47:04.192Z");
}

struct iso_case {
    const char *text;
    int64_t ms;
};

static void parses_iso(void **state) {
    (void)state;
    static const struct iso_case cases[] = {
        {"2024-03-10T15:30:00Z", NOON},
        {"2024-03-10t15:30:00z", NOON},
        {"2024-03-10 15:30:00", NOON},
        {"2024-03-10T15:30Z", NOON},
        {"2024-03-10T15:30", NOON},
        {"2024-03-10T17:00:00+01:30", NOON},
        {"2024-03-10T17:00:00+0130", NOON},
        {"2024-03-10 16:30:00+01", NOON},
        {"2024-03-10T14:00:00-01:30", NOON},
        {"2024-03-10T15:30:00-00:00", NOON},
        {"2024-03-11T15:29:00+23:59", NOON},
        {"2024-03-10T15:30:00.1Z", NOON + 100},
        {"2024-03-10T15:30:00.01Z", NOON + 10},
        {"2024-03-10T15:30:00.001Z", NOON + 1},
        {"2024-03-10T15:30:00.0009Z", NOON},
        {"2024-03-10T15:30:00.123456789", NOON + 123},
        {"2024-03-10T15:30:00,999999999Z", NOON + 999},
        {"2024-03-10T17:00:00.5+01:30", NOON + 500},
        {"1970-01-01T00:00:00Z", 0},
        {"1969-12-31T23:59:59.999Z", -1},
        {"0001-01-01T00:00:00Z", -62135596800000},
        {"0001-01-01T00:00:00+01:00", -62135600400000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
        {"9999-12-31T23:59:59.999-23:59", 253402387139999},
        {"2000-02-29T00:00:00Z", 951782400000},
        {"2016-12-31T23:59:60Z", 1483228800000},
        {"2016-12-31T23:59:60.5Z", 1483228800500},
        {"2017-01-01T00:59:60+01:00", 1483228800000},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = 7;
        bool bare = true;
        if (clock_parse_iso(span_of(cases[i].text), &ms, &bare) != STATUS_OK || ms != cases[i].ms || bare) {
            fail_msg("%s gave %lld", cases[i].text, (long long)ms);
        }
        assert_int_equal(clock_parse_iso(span_of(cases[i].text), &ms, NULL), STATUS_OK);
    }
}

static void parses_a_bare_date(void **state) {
    (void)state;
    int64_t ms;
    bool bare = false;
    assert_int_equal(clock_parse_iso(SPAN_LITERAL("2024-03-10"), &ms, &bare), STATUS_OK);
    assert_true(bare);
    assert_int_equal(ms, NOON - 15 * 3600000 - 30 * 60000);
    assert_int_equal(clock_parse_iso(SPAN_LITERAL("2024-02-29"), &ms, NULL), STATUS_OK);
}

static const char *const NOT_ISO[] = {
    "",
    "2024",
    "2024-03",
    "2024-3-10",
    "24-03-10",
    "20240310",
    "2024-13-01",
    "2024-00-01",
    "2024-01-00",
    "2024-01-32",
    "2024-04-31",
    "2023-02-29",
    "1900-02-29",
    "2100-02-29",
    "2024-02-30",
    "0000-01-01",
    "-001-01-01",
    "+2024-01-01",
    "2024-03-10T",
    "2024-03-10 ",
    "2024-03-10Z",
    "2024-03-10T15",
    "2024-03-10T15:3",
    "2024-03-10T15:30:",
    "2024-03-10T15:30:0",
    "2024-03-10T24:00:00Z",
    "2024-03-10T15:60:00Z",
    "2024-03-10T15:30:61Z",
    "2024-03-10T15:30:60Z",
    "2016-12-31T23:59:60+01:00",
    "2024-03-10T15:30:00.",
    "2024-03-10T15:30:00.Z",
    "2024-03-10T15:30:00.1234567890Z",
    "2024-03-10T15:30.5Z",
    "2024-03-10T15:30:00ZZ",
    "2024-03-10T15:30:00 Z",
    "2024-03-10T15:30:00Z ",
    " 2024-03-10T15:30:00Z",
    "2024-03-10T15:30:00+",
    "2024-03-10T15:30:00+1",
    "2024-03-10T15:30:00+24:00",
    "2024-03-10T15:30:00+01:60",
    "2024-03-10T15:30:00+01:",
    "2024-03-10T15:30:00+01:0",
    "2024-03-10T15:30:00+010",
    "2024-03-10T15:30:00+01000",
    "2024-03-10T15:30:00+-1:00",
    "2024-03-10T-5:30:00Z",
    "2024-03-10T15:30:00UTC",
    "2024-03-10_15:30:00",
    "2024/03/10T15:30:00Z",
    "tomorrow",
};

static void refuses_what_is_not_iso(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(NOT_ISO) / sizeof(NOT_ISO[0]); i++) {
        int64_t ms = 7;
        bool bare = true;
        if (clock_parse_iso(span_of(NOT_ISO[i]), &ms, &bare) != STATUS_INVALID) {
            fail_msg("\"%s\" was taken", NOT_ISO[i]);
        }
        assert_int_equal(ms, 7);
        assert_true(bare);
    }
    int64_t ms;
    assert_int_equal(clock_parse_iso(SPAN_NONE, &ms, NULL), STATUS_INVALID);
    assert_int_equal(clock_parse_iso(SPAN_LITERAL("2024-03-10\0"), &ms, NULL), STATUS_INVALID);
}

/* Each day of more than a cycle of the calendar, against a calendar that counts up. */
static void every_day_there_and_back(void **state) {
    (void)state;
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t ms = -62135596800000;
    for (int year = 1; year <= 9999; year += year == 500 ? 1400 : year == 2500 ? 7400 : 1) {
        char first[32];
        snprintf(first, sizeof(first), "%04d-01-01", year);
        if (year == 1900 || year == 9900) {
            assert_int_equal(clock_parse_iso(span_of(first), &ms, NULL), STATUS_OK);
        }
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (int month = 1; month <= 12; month++) {
            int days = lengths[month - 1] + (month == 2 && leap);
            for (int day = 1; day <= days; day++, ms += 86400000) {
                char expected[40];
                snprintf(expected, sizeof(expected), "%04d-%02d-%02dT00:00:00Z", year, month, day);
                assert_string_equal(format(ms), expected);
                int64_t parsed;
                assert_int_equal(clock_parse_iso(span_of(expected), &parsed, NULL), STATUS_OK);
                assert_int_equal(parsed, ms);
            }
        }
    }
    assert_int_equal(ms, 253402300800000);
}

static void parses_http_dates(void **state) {
    (void)state;
    static const char *const texts[] = {
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    };
    for (size_t i = 0; i < 3; i++) {
        int64_t ms;
        assert_int_equal(clock_parse_http_date(span_of(texts[i]), &ms), STATUS_OK);
        assert_int_equal(ms, 784111777000);
    }
    int64_t ms;
    assert_int_equal(clock_parse_http_date(SPAN_LITERAL("Thu Feb 29 23:59:60 2024"), &ms), STATUS_OK);
    assert_int_equal(ms, 1709251200000);
    assert_int_equal(clock_parse_http_date(SPAN_LITERAL("Thursday, 29-Feb-24 00:00:00 GMT"), &ms), STATUS_OK);
    assert_int_equal(ms, 1709164800000);
    assert_int_equal(clock_parse_http_date(SPAN_LITERAL("Fri, 31 Dec 9999 23:59:59 GMT"), &ms), STATUS_OK);
    assert_int_equal(ms, 253402300799000);
}

static void refuses_what_is_no_http_date(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "120",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sunday Nov  6 08:49:37 1994",
        "2024-03-10T15:30:00Z",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int64_t ms = 7;
        if (clock_parse_http_date(span_of(texts[i]), &ms) != STATUS_INVALID) {
            fail_msg("\"%s\" was taken", texts[i]);
        }
        assert_int_equal(ms, 7);
    }
    int64_t ms;
    assert_int_equal(clock_parse_http_date(SPAN_NONE, &ms), STATUS_INVALID);
}

static void the_clocks_run(void **state) {
    (void)state;
    assert_true(clock_wall_ms() > NOON);
    int64_t us = clock_mono_us();
    int64_t ms = clock_mono_ms();
    assert_true(ms >= us / 1000 && ms - us / 1000 < 60000);
    int64_t deadline = clock_mono_ms() + 10000;
    while (clock_mono_us() == us) {
        assert_true(clock_mono_ms() < deadline);
    }
    assert_true(clock_mono_us() > us);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),
        cmocka_unit_test(parses_iso),
        cmocka_unit_test(parses_a_bare_date),
        cmocka_unit_test(refuses_what_is_not_iso),
        cmocka_unit_test(every_day_there_and_back),
        cmocka_unit_test(parses_http_dates),
        cmocka_unit_test(refuses_what_is_no_http_date),
        cmocka_unit_test(the_clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
