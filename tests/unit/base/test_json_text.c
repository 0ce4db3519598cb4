#include "base/json_text.h"

#include <setjmp.h>

#include <cmocka.h>

#define BAD "\xEF\xBF\xBD"

struct text_case {
    struct span from;
    struct span to;
};

#define CASE(from, to)                                                                                                 \
    { SPAN_LITERAL(from), SPAN_LITERAL(to) }

static void check(const struct text_case *cases, size_t count, void (*convert)(struct span, struct buffer *)) {
    for (size_t i = 0; i < count; i++) {
        struct buffer out;
        buffer_init(&out, 1000);
        convert(cases[i].from, &out);
        if (!span_equal(buffer_view(&out), cases[i].to)) {
            fail_msg("case %zu: %.*s", i, SPAN_ARGS(buffer_view(&out)));
        }
        buffer_deinit(&out);
    }
}

static void unescapes(void **state) {
    (void)state;
    static const struct text_case cases[] = {
        CASE("\"\"", ""),
        CASE("", ""),
        CASE("\"plain\"", "plain"),
        CASE("name without quotes", "name without quotes"),
        CASE("\\\"name\\\"", "\"name\""),
        CASE("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"),
        CASE("\"a\\u0041\\u00e4\\u20AC\"", "aA\xC3\xA4\xE2\x82\xAC"),
        CASE("\"\\u0000x\"", "\0x"),
        CASE("\"\\ud83d\\ude00!\"", "\xF0\x9F\x98\x80!"),
        CASE("\"\\uDBFF\\uDFFF\\uD800\\uDC00\"", "\xF4\x8F\xBF\xBF\xF0\x90\x80\x80"),
        CASE("\"\\ud83d\"", BAD),
        CASE("\"\\ude00\\ud83d\"", BAD BAD),
        CASE("\"\\ud83dx\"", BAD "x"),
        CASE("\"\\ud83d\\n\"", BAD "\n"),
        CASE("\"\\ud83d\\u0041\"", BAD "A"),
        CASE("\"\\ud83d\\ud83d\\ude00\"", BAD "\xF0\x9F\x98\x80"),
        CASE("\"\xC3\xA4\\n\xE2\x82\xAC\"", "\xC3\xA4\n\xE2\x82\xAC"),
        CASE("\"\\\\u0041\"", "\\u0041"),
    };
    check(cases, sizeof(cases) / sizeof(cases[0]), json_unescape);
    struct buffer out;
    buffer_init(&out, 10);
    json_unescape(SPAN_NONE, &out);
    assert_int_equal(out.len, 0);
    buffer_deinit(&out);
}

/* json_scan refuses these; a caller that didn't ask it still reads nothing beyond the text. */
static void what_was_never_accepted_does_no_harm(void **state) {
    (void)state;
    static const struct text_case cases[] = {
        CASE("\"", "\""), CASE("\\", ""), CASE("\"\\\"", ""), CASE("\"\\u00\"", "00"), CASE("\\ud83d\\u00", BAD "00"),
    };
    check(cases, sizeof(cases) / sizeof(cases[0]), json_unescape);
}

static void quotes(void **state) {
    (void)state;
    static const struct text_case cases[] = {
        CASE("", "\"\""),
        CASE("plain text, longer than eight", "\"plain text, longer than eight\""),
        CASE("a\"b\\c/d", "\"a\\\"b\\\\c/d\""),
        CASE("\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\""),
        CASE("\0\x01\x1f\x7f", "\"\\u0000\\u0001\\u001f\x7f\""),
        CASE("\xC3\xA4\xE2\x80\xA8\xF0\x9F\x98\x80", "\"\xC3\xA4\xE2\x80\xA8\xF0\x9F\x98\x80\""),
        CASE("x\xFFy\xE2\x82z\xED\xA0\x80", "\"x" BAD "y" BAD "z" BAD BAD BAD "\""),
    };
    check(cases, sizeof(cases) / sizeof(cases[0]), json_quote);
    struct buffer out;
    buffer_init(&out, 10);
    json_quote(SPAN_NONE, &out);
    assert_true(span_is(buffer_view(&out), "\"\""));
    buffer_deinit(&out);
}

static void there_and_back(void **state) {
    (void)state;
    for (int c = 0; c < 0x80; c++) {
        char text[] = {'a', (char)c, (char)c, 'b'};
        struct buffer quoted, back;
        buffer_init(&quoted, 100);
        buffer_init(&back, 100);
        json_quote((struct span){text, 4}, &quoted);
        json_unescape(buffer_view(&quoted), &back);
        assert_true(span_equal(buffer_view(&back), (struct span){text, 4}));
        buffer_deinit(&quoted);
        buffer_deinit(&back);
    }
}

/* Each way of writing a text, against each text: as comparing what they mean says. */
static void compares_without_a_buffer(void **state) {
    (void)state;
    static const struct text_case cases[] = {
        CASE("\"\"", ""),
        CASE("a", "a"),
        CASE("\"\\u0061\"", "a"),
        CASE("\"ab\"", "ab"),
        CASE("\\u0061b", "ab"),
        CASE("\"a\\u0062\"", "ab"),
        CASE("\"\\u0061\\u0062c\"", "abc"),
        CASE("\"a\\nb\"", "a\nb"),
        CASE("\"\\u0000\"", "\0"),
        CASE("\"a\\u0000\"", "a\0"),
        CASE("\"\\u00e4\"", "\xC3\xA4"),
        CASE("\"\xC3\xA4\\\\\"", "\xC3\xA4\\"),
        CASE("\"\\ud83d\\ude00\"", "\xF0\x9F\x98\x80"),
        CASE("\"\\ud83d\"", BAD),
        CASE("\"x\\ud83dy\"", "x" BAD "y"),
        CASE("\\", ""),
        CASE("\"\\u00\"", "00"),
    };
    const size_t count = sizeof(cases) / sizeof(cases[0]);
    for (size_t i = 0; i < count; i++) {
        struct span written = cases[i].from, text = cases[i].to;
        assert_int_equal(json_text_len(written), text.len);
        for (size_t j = 0; j < count; j++) {
            struct span other = cases[j].to;
            size_t shorter = text.len < other.len ? text.len : other.len;
            int order = shorter ? memcmp(text.data, other.data, shorter) : 0;
            if (order == 0) {
                order = (text.len > other.len) - (text.len < other.len);
            }
            int actual = json_text_compare(written, other);
            assert_true(order < 0 ? actual < 0 : order > 0 ? actual > 0 : actual == 0);
            assert_int_equal(json_text_has_prefix(written, other), span_has_prefix(text, other));
        }
    }
    assert_int_equal(json_text_compare(SPAN_NONE, SPAN_NONE), 0);
    assert_int_equal(json_text_len(SPAN_NONE), 0);
    assert_true(json_text_has_prefix(SPAN_NONE, SPAN_NONE));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unescapes),      cmocka_unit_test(what_was_never_accepted_does_no_harm),
        cmocka_unit_test(quotes),         cmocka_unit_test(compares_without_a_buffer),
        cmocka_unit_test(there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
