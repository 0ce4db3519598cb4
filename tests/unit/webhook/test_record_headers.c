/* A rejected record's headers: nothing is lost on the way into JSON and back. */
#include "webhook/record_headers.h"

#include "base/json_scan.h"
#include "base/memory.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX 64
#define HEADER(name, value)                                                                                            \
    {                                                                                                                  \
        SPAN_LITERAL(name), {                                                                                          \
            value, sizeof(value) - 1                                                                                   \
        }                                                                                                              \
    }

/* Reads what was written and compares. */
static void expect_back(const struct event_header *headers, size_t count) {
    struct buffer json, memory, shown;
    struct event_header back[MAX];
    struct json_value whole;
    struct error error;
    size_t got = 0;
    buffer_init(&json, 1 << 20);
    buffer_init(&memory, 1 << 20);
    buffer_init(&shown, 1 << 20);
    record_headers_write(headers, count, &json);
    assert_int_equal(json_scan(buffer_view(&json), NULL, NULL, &whole, &error), STATUS_OK);
    assert_int_equal(record_headers_read(buffer_view(&json), back, MAX, &got, &memory), STATUS_OK);
    assert_int_equal(got, count);
    for (size_t i = 0; i < count; i++) {
        assert_true(span_equal(back[i].name, headers[i].name));
        assert_int_equal(back[i].value.data == NULL, headers[i].value.data == NULL);
        assert_true(!headers[i].value.data || span_equal(back[i].value, headers[i].value));
    }
    record_headers_show(buffer_view(&json), &shown);
    assert_int_equal(json_scan(buffer_view(&shown), NULL, NULL, &whole, &error), STATUS_OK);
    buffer_deinit(&json);
    buffer_deinit(&memory);
    buffer_deinit(&shown);
}

static void test_awkward_ones(void **state) {
    (void)state;
    const struct event_header headers[] = {
        HEADER("plain", "value"),
        HEADER("", ""),
        {SPAN_LITERAL("null"), SPAN_NONE},
        HEADER("twice", "1"),
        HEADER("twice", "2"),
        HEADER("quotes", "\"\\/\b\f\n\r\t\x01\x7f"),
        HEADER("nul", "a\0b"),
        HEADER("not utf-8", "\xff\x00\xfe\x80 \xc3\xbc \xed\xb3\xbf \xf4\x90\x80\x80 \xc3"),
        HEADER("\xe9t\xe9", "latin"),
        HEADER("\xc3\xa9", "\xf0\x9f\x98\x80"),
        HEADER("looks escaped", "\\udcff \\\\udcff \\u0000"),
        HEADER("pair", "\\ud83d\\udcff"),
    };
    expect_back(headers, 0);
    expect_back(headers, sizeof(headers) / sizeof(headers[0]));
}

/* A reader that knows nothing of it. */
static void test_shown(void **state) {
    (void)state;
    const struct event_header headers[] = {HEADER("a\xff", "\xfe\xc3\xbc"), HEADER("b", "\\udcff")};
    struct buffer json, shown;
    buffer_init(&json, 1000);
    buffer_init(&shown, 1000);
    record_headers_write(headers, 2, &json);
    assert_string_equal(json.data, "{\"a\\udcff\":\"\\udcfe\xc3\xbc\",\"b\":\"\\\\udcff\"}");
    record_headers_show(buffer_view(&json), &shown);
    assert_string_equal(shown.data, "{\"a\xef\xbf\xbd\":\"\xef\xbf\xbd\xc3\xbc\",\"b\":\"\\\\udcff\"}");
    buffer_deinit(&json);
    buffer_deinit(&shown);
}

static void test_any_bytes(void **state) {
    (void)state;
    srand(7);
    for (int round = 0; round < 2000; round++) {
        char bytes[4][40];
        struct event_header headers[2];
        for (int i = 0; i < 4; i++)
            for (size_t n = 0; n < sizeof(bytes[i]); n++)
                bytes[i][n] = (char)("\xff\xc3\xbc\xed\xa0\xf0\x9f\\\"ud"[rand() % 11] ^ (rand() % 8 ? 0 : rand()));
        for (int i = 0; i < 2; i++)
            headers[i] = (struct event_header){{bytes[2 * i], (size_t)rand() % sizeof(bytes[0])},
                                               {bytes[2 * i + 1], (size_t)rand() % sizeof(bytes[0])}};
        expect_back(headers, 2);
    }
}

static void test_what_is_no_headers(void **state) {
    (void)state;
    static const char *const WRONG[] = {"", "[]", "{", "{\"a\":1}", "null", "\"a\""};
    struct event_header headers[2];
    struct buffer memory;
    size_t count = 77;
    buffer_init(&memory, 1000);
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(record_headers_read(span_of(WRONG[i]), headers, 2, &count, &memory), STATUS_INVALID);
    assert_int_equal(count, 77);
    assert_int_equal(
        record_headers_read(SPAN_LITERAL("{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}"), headers, 2, &count, &memory),
        STATUS_OK);
    assert_int_equal(count, 2);
    buffer_deinit(&memory);
    buffer_init(&memory, 3);
    assert_int_equal(record_headers_read(SPAN_LITERAL("{\"a\":\"1\"}"), headers, 2, &count, &memory), STATUS_INVALID);
    buffer_deinit(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_awkward_ones),
        cmocka_unit_test(test_shown),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_what_is_no_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
