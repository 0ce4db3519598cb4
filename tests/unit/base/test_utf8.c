#include "base/utf8.h"

#include <setjmp.h>

#include <cmocka.h>

#define BAD "\xEF\xBF\xBD"

struct clean_case {
    struct span text;
    const char *cleaned;
};

#define CASE(text, cleaned)                                                                                            \
    { SPAN_LITERAL(text), cleaned }

static void replaces_maximal_subparts(void **state) {
    (void)state;
    static const struct clean_case cases[] = {
        CASE("", ""),
        CASE("plain \x7F", "plain \x7F"),
        CASE("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"),
        CASE("\xEF\xBF\xBF\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80",
             "\xEF\xBF\xBF\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80"),
        CASE("a\0b\0", "a" BAD "b" BAD),
        CASE("\0\0", BAD BAD),
        /* the Unicode standard's tables 3-8 to 3-11 */
        CASE("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", BAD BAD BAD BAD BAD BAD BAD BAD "A"),
        CASE("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", BAD BAD BAD BAD BAD BAD BAD BAD "A"),
        CASE("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", BAD BAD BAD BAD BAD "A" BAD BAD "B"),
        CASE("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", BAD BAD BAD BAD "A"),
        /* cut off at the end */
        CASE("x\xC3", "x" BAD),
        CASE("x\xE2\x82", "x" BAD),
        CASE("x\xF0\x9F\x98", "x" BAD),
        CASE("x\xF0\x9F", "x" BAD),
        CASE("x\xF0\x80", "x" BAD BAD),
        CASE("\xC1\xBF", BAD BAD),
        CASE("\xF5\x80\x80\x80", BAD BAD BAD BAD),
        CASE("\xF8\x88\x80\x80\x80", BAD BAD BAD BAD BAD),
        CASE("\xE2\x82\xE2\x82\xAC", BAD "\xE2\x82\xAC"),
        CASE("12345678\xFF"
             "12345678\xE2\x82",
             "12345678" BAD "12345678" BAD),
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer out;
        buffer_init(&out, 1000);
        utf8_clean(cases[i].text, &out);
        struct span cleaned = buffer_view(&out);
        if (!span_is(cleaned, cases[i].cleaned)) {
            fail_msg("case %zu: %.*s", i, SPAN_ARGS(cleaned));
        }
        assert_int_equal(utf8_valid_prefix(cleaned), cleaned.len);
        buffer_deinit(&out);
    }
    struct buffer out;
    buffer_init(&out, 10);
    utf8_clean(SPAN_NONE, &out);
    assert_int_equal(out.len, 0);
    buffer_deinit(&out);
}

static void finds_the_valid_prefix(void **state) {
    (void)state;
    assert_int_equal(utf8_valid_prefix(SPAN_NONE), 0);
    assert_int_equal(utf8_valid_prefix(SPAN_LITERAL("a\0b")), 3);
    assert_int_equal(utf8_valid_prefix(SPAN_LITERAL("0123456789\xC3\xA4")), 12);
    assert_int_equal(utf8_valid_prefix(SPAN_LITERAL("0123456789\xC3")), 10);
    assert_int_equal(utf8_valid_prefix(SPAN_LITERAL("\xE2\x82\xAC\xE2\x82")), 3);
    for (size_t at = 0; at < 40; at++) {
        char text[40];
        memset(text, 'a', sizeof(text));
        text[at] = (char)0x80;
        assert_int_equal(utf8_valid_prefix((struct span){text, sizeof(text)}), at);
    }
}

/* Every code point, encoded by its definition. */
static void every_code_point(void **state) {
    (void)state;
    for (uint32_t c = 0; c <= 0x110010; c++) {
        struct buffer out;
        char room[8];
        buffer_init(&out, 4);
        utf8_encode(c, &out);
        size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        bool scalar = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
        if (!scalar) {
            assert_true(span_is(buffer_view(&out), BAD));
            /* what it would be, were it allowed, is refused */
            room[0] = (char)(len == 3 ? 0xE0 | c >> 12 : 0xF0 | c >> 18);
            for (size_t i = 1; i < len; i++) {
                room[i] = (char)(0x80 | (c >> (6 * (len - 1 - i)) & 0x3F));
            }
            assert_int_equal(utf8_valid_prefix((struct span){room, len}), 0);
        } else {
            bool valid;
            assert_int_equal(out.len, len);
            assert_int_equal(utf8_next(buffer_view(&out), &valid), len);
            assert_true(valid);
            uint32_t back = (uint8_t)out.data[0] & (len == 1 ? 0x7F : 0xFF >> (len + 1));
            for (size_t i = 1; i < len; i++) {
                back = back << 6 | ((uint8_t)out.data[i] & 0x3F);
            }
            assert_int_equal(back, c);
        }
        buffer_deinit(&out);
    }
}

/* The lead byte's second byte decides alone: all pairs, against the ranges written out. */
static void every_pair_of_bytes(void **state) {
    (void)state;
    for (int a = 0x80; a <= 0xFF; a++) {
        for (int b = 0; b <= 0xFF; b++) {
            char text[] = {(char)a, (char)b, (char)0x80, (char)0x80};
            bool tail = b >= 0x80 && b <= 0xBF;
            size_t expected = 1;
            bool well = false;
            if (a >= 0xC2 && a <= 0xDF && tail) {
                expected = 2;
                well = true;
            } else if (a >= 0xE0 && a <= 0xEF && tail && !(a == 0xE0 && b < 0xA0) && !(a == 0xED && b > 0x9F)) {
                expected = 3;
                well = true;
            } else if (a >= 0xF0 && a <= 0xF4 && tail && !(a == 0xF0 && b < 0x90) && !(a == 0xF4 && b > 0x8F)) {
                expected = 4;
                well = true;
            }
            bool valid = !well;
            assert_int_equal(utf8_next((struct span){text, 4}, &valid), expected);
            assert_int_equal(valid, well);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_maximal_subparts),
        cmocka_unit_test(finds_the_valid_prefix),
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(every_pair_of_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
