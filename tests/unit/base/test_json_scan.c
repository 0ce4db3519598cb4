#include "base/json_scan.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(literal) SPAN_LITERAL(literal)

/* Scans a copy of exactly that length, so that the address sanitizer sees every byte read past the end. */
static enum status scan(struct span text, struct json_value *ret_value, struct error *error) {
    char *copy = mem_copy(text.data, text.len);
    enum status status = json_scan((struct span){copy, text.len}, NULL, NULL, ret_value, error);
    if (ret_value && status == STATUS_OK) {
        ret_value->text.data = text.data + (ret_value->text.data - copy);
    }
    mem_free(copy);
    return status;
}

struct accept_case {
    struct span text;
    enum json_type type;
    bool compact;
};

static void accepts(void **state) {
    (void)state;
    static const struct accept_case cases[] = {
        {TEXT("null"), JSON_NULL, true},
        {TEXT(" true\n"), JSON_TRUE, true},
        {TEXT("\t\r\n false"), JSON_FALSE, true},
        {TEXT("0"), JSON_NUMBER, true},
        {TEXT("-0"), JSON_NUMBER, true},
        {TEXT("-1.5e+300"), JSON_NUMBER, true},
        {TEXT("0.0E-0"), JSON_NUMBER, true},
        {TEXT("1e99999999999999999999"), JSON_NUMBER, true},
        {TEXT("123456789012345678901234567890"), JSON_NUMBER, true},
        {TEXT("\"\""), JSON_STRING, true},
        {TEXT("\" \""), JSON_STRING, true},
        {TEXT("\"\x7F\""), JSON_STRING, true},
        {TEXT("\"\\u0000\\uD800\\uDFFFx\\u00aF\""), JSON_STRING, true},
        {TEXT("\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\""), JSON_STRING, true},
        {TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), JSON_STRING, true},
        {TEXT("[]"), JSON_ARRAY, true},
        {TEXT("[ ]"), JSON_ARRAY, false},
        {TEXT("[1,[2,[3]],{}]"), JSON_ARRAY, true},
        {TEXT("[1 ,2]"), JSON_ARRAY, false},
        {TEXT("{}"), JSON_OBJECT, true},
        {TEXT("{\n}"), JSON_OBJECT, false},
        {TEXT(" {\"a\":{\"b\":[null,true,\" \"]},\"\":0} "), JSON_OBJECT, true},
        {TEXT("{\"a\" :1}"), JSON_OBJECT, false},
        {TEXT("{\"a\":1 }"), JSON_OBJECT, false},
        {TEXT("{\"a\":1,\"a\":2}"), JSON_OBJECT, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json_value value;
        struct error error;
        if (scan(cases[i].text, &value, &error) != STATUS_OK) {
            fail_msg("%.*s: %s", SPAN_ARGS(cases[i].text), error.text);
        }
        assert_int_equal(value.type, cases[i].type);
        if (value.compact != cases[i].compact) {
            fail_msg("%.*s: compact is %d", SPAN_ARGS(cases[i].text), value.compact);
        }
    }
}

struct reject_case {
    struct span text;
    const char *error;
};

static const struct reject_case REJECTED[] = {
    {TEXT(""), "byte 0: expected a value"},
    {TEXT(" \n"), "byte 2: expected a value"},
    {TEXT("\0"), "byte 0: expected a value"},
    {TEXT("\xEF\xBB\xBF{}"), "byte 0: expected a value"},
    {TEXT("nul"), "byte 0: expected a value"},
    {TEXT("nulL"), "byte 0: expected a value"},
    {TEXT("True"), "byte 0: expected a value"},
    {TEXT("NaN"), "byte 0: expected a value"},
    {TEXT("'a'"), "byte 0: expected a value"},
    {TEXT("/**/1"), "byte 0: expected a value"},
    {TEXT("nullx"), "byte 4: expected nothing more"},
    {TEXT("1 2"), "byte 2: expected nothing more"},
    {TEXT("{}\0"), "byte 2: expected nothing more"},
    {TEXT("{}}"), "byte 2: expected nothing more"},
    {TEXT("1\xC2\xA0"), "byte 1: expected nothing more"},
    {TEXT("1\f"), "byte 1: expected nothing more"},
    {TEXT("-"), "byte 1: expected a digit"},
    {TEXT("-a"), "byte 1: expected a digit"},
    {TEXT("+1"), "byte 0: expected a value"},
    {TEXT(".5"), "byte 0: expected a value"},
    {TEXT("01"), "byte 0: a number begins with 0"},
    {TEXT("-01"), "byte 1: a number begins with 0"},
    {TEXT("1."), "byte 2: expected a digit"},
    {TEXT("1.e5"), "byte 2: expected a digit"},
    {TEXT("1e"), "byte 2: expected a digit"},
    {TEXT("1e+"), "byte 3: expected a digit"},
    {TEXT("1e5.5"), "byte 3: expected nothing more"},
    {TEXT("0x10"), "byte 1: expected nothing more"},
    {TEXT("\""), "byte 1: the string does not end"},
    {TEXT("\"abcdefghijklmnop"), "byte 17: the string does not end"},
    {TEXT("\"\\"), "byte 2: the string does not end"},
    {TEXT("\"\\\""), "byte 3: the string does not end"},
    {TEXT("\"\\u12"), "byte 5: the string does not end"},
    {TEXT("\"\\u12\""), "byte 1: wrong \\u escape"},
    {TEXT("\"\\u12g4\""), "byte 1: wrong \\u escape"},
    {TEXT("\"\\x41\""), "byte 1: unknown escape"},
    {TEXT("\"\\\0\""), "byte 1: unknown escape"},
    {TEXT("\"\\U0041\""), "byte 1: unknown escape"},
    {TEXT("\"a\nb\""), "byte 2: control character in a string"},
    {TEXT("\"a\0b\""), "byte 2: control character in a string"},
    {TEXT("\"0123456789\x1F\""), "byte 11: control character in a string"},
    {TEXT("\"\x80\""), "byte 1: not UTF-8"},
    {TEXT("\"ab\xC3\""), "byte 3: not UTF-8"},
    {TEXT("\"ab\xC3\xA4\xC0\x80\""), "byte 5: not UTF-8"},
    {TEXT("\"\xED\xA0\x80\""), "byte 1: not UTF-8"},
    {TEXT("\"\xF4\x90\x80\x80\""), "byte 1: not UTF-8"},
    {TEXT("\"\xE2\x82"), "byte 1: not UTF-8"},
    {TEXT("["), "byte 1: expected a value or ']'"},
    {TEXT("[1"), "byte 2: expected ',' or the end of what is open"},
    {TEXT("[1,"), "byte 3: expected a value"},
    {TEXT("[1,]"), "byte 3: expected a value"},
    {TEXT("[,1]"), "byte 1: expected a value"},
    {TEXT("[1 2]"), "byte 3: expected ',' or ']'"},
    {TEXT("[1}"), "byte 2: expected ',' or ']'"},
    {TEXT("[}"), "byte 1: expected a value"},
    {TEXT("]"), "byte 0: expected a value"},
    {TEXT("{"), "byte 1: expected a name in quotes or '}'"},
    {TEXT("{]"), "byte 1: expected a name in quotes or '}'"},
    {TEXT("{a:1}"), "byte 1: expected a name in quotes or '}'"},
    {TEXT("{\"a\""), "byte 4: expected ':'"},
    {TEXT("{\"a\",1}"), "byte 4: expected ':'"},
    {TEXT("{\"a\" \"b\"}"), "byte 5: expected ':'"},
    {TEXT("{\"a\":"), "byte 5: expected a value"},
    {TEXT("{\"a\":}"), "byte 5: expected a value"},
    {TEXT("{\"a\":]"), "byte 5: expected a value"},
    {TEXT("{\"a\":1"), "byte 6: expected ',' or the end of what is open"},
    {TEXT("{\"a\":1]"), "byte 6: expected ',' or '}'"},
    {TEXT("{\"a\":1,}"), "byte 7: expected a name in quotes"},
    {TEXT("{\"a\":1,2:3}"), "byte 7: expected a name in quotes"},
    {TEXT("{\"a\":1 \"b\":2}"), "byte 7: expected ',' or '}'"},
    {TEXT("{\"a\":01}"), "byte 5: a number begins with 0"},
    {TEXT("{\"\\q\":1}"), "byte 2: unknown escape"},
};

static void rejects_and_says_where(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(REJECTED); i++) {
        struct json_value value = {.type = JSON_NULL};
        struct error error;
        if (scan(REJECTED[i].text, &value, &error) != STATUS_INVALID) {
            fail_msg("case %zu was accepted: %.*s", i, SPAN_ARGS(REJECTED[i].text));
        }
        assert_string_equal(error.text, REJECTED[i].error);
        assert_null(value.text.data);
        assert_int_equal(scan(REJECTED[i].text, NULL, NULL), STATUS_INVALID);
    }
    assert_int_equal(json_scan(SPAN_NONE, NULL, NULL, NULL, NULL), STATUS_INVALID);
}

/* Every prefix of good JSON is bad JSON (but for numbers), and never read past. */
static void every_prefix_is_refused(void **state) {
    (void)state;
    static const struct span text = TEXT(
        "{\"a\":[1.5e-7,\"x\\u12aB\\n\xF0\x9F\x98\x80 long enough\",{\"b\":{}}],\"c\":[],\"d\":false , \"e\":null}");
    for (size_t len = 0; len < text.len; len++) {
        assert_int_equal(scan((struct span){text.data, len}, NULL, NULL), STATUS_INVALID);
    }
    assert_int_equal(scan(text, NULL, NULL), STATUS_OK);
}

/* Each of the 256 bytes at each place within and around the runs of eight. */
static void every_byte_in_a_string(void **state) {
    (void)state;
    for (size_t len = 1; len <= 26; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int byte = 0; byte < 256; byte++) {
                char text[32];
                memset(text, 'a', sizeof(text));
                text[0] = '"';
                text[len + 1] = '"';
                text[at + 1] = (char)byte;
                bool good = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
                struct span span = {text, len + 2};
                assert_int_equal(scan(span, NULL, NULL), good ? STATUS_OK : STATUS_INVALID);
            }
        }
    }
}

static char *nested(size_t depth, char open, char close, size_t *ret_len) {
    struct buffer text;
    buffer_init(&text, depth * 8 + 8);
    for (size_t i = 0; i < depth; i++) {
        buffer_text(&text, open == '{' ? "{\"a\":" : "[");
    }
    buffer_text(&text, "1");
    for (size_t i = 0; i < depth; i++) {
        buffer_char(&text, close);
    }
    return buffer_take(&text, ret_len);
}

static void depth_is_bounded(void **state) {
    (void)state;
    static const char brackets[2][2] = {{'[', ']'}, {'{', '}'}};
    for (int i = 0; i < 2; i++) {
        struct span text;
        char *data = nested(JSON_MAX_DEPTH, brackets[i][0], brackets[i][1], &text.len);
        text.data = data;
        assert_int_equal(scan(text, NULL, NULL), STATUS_OK);
        mem_free(data);
        data = nested(JSON_MAX_DEPTH + 1, brackets[i][0], brackets[i][1], &text.len);
        text.data = data;
        struct error error;
        assert_int_equal(scan(text, NULL, &error), STATUS_INVALID);
        assert_string_equal(error.text, i ? "byte 320: nested too deep" : "byte 64: nested too deep");
        mem_free(data);
    }
    /* The bits of closed brackets don't come back. */
    assert_int_equal(scan(TEXT("[[{\"a\":[]},[{}]],{\"b\":[{}]}]"), NULL, NULL), STATUS_OK);
}

static void a_mebibyte_of_anything(void **state) {
    (void)state;
    const size_t size = 1 << 20;
    char *text = mem_alloc(size);
    static const char fills[] = {'[', '{', '"', '\\', '0', '1', ' ', 'e', ',', '\0', (char)0xFF, (char)0xF0};
    for (size_t i = 0; i < COUNT(fills); i++) {
        memset(text, fills[i], size);
        bool number = fills[i] == '1';
        struct error error;
        enum status status = json_scan((struct span){text, size}, NULL, NULL, NULL, &error);
        assert_int_equal(status, number ? STATUS_OK : STATUS_INVALID);
        text[0] = '"';
        text[size - 1] = '"';
        bool string = fills[i] && strchr("[{01 e,\\", fills[i]); /* an even number of backslashes */
        status = json_scan((struct span){text, size}, NULL, NULL, NULL, &error);
        assert_int_equal(status, string ? STATUS_OK : STATUS_INVALID);
    }
    mem_free(text);
}

/* The members as "name=text/type/compact/escaped;". */
static bool write_member(void *ctx, const struct json_member *member) {
    buffer_printf(ctx, "%.*s%s=%.*s/%d%s%s;", SPAN_ARGS(member->name), member->name_escaped ? "!" : "",
                  SPAN_ARGS(member->value.text), member->value.type, member->value.compact ? "c" : "",
                  member->value.escaped ? "e" : "");
    return true;
}

static void hands_out_the_members(void **state) {
    (void)state;
    static const struct span text = TEXT(
        " { \"id\" : \"e\\n1\" ,\"n\":-1.50,\"p\":{\"id\":1, \"x\":[{}]},\"q\":{\"r\":[{\"id\":\" \"}]}, \"t\":true ,"
        "\"f\":false,\"z\":null , \"a\": [ 1], \"\\u0061\":[],\"id\":\"twice\" } ");
    struct buffer out;
    buffer_init(&out, 1000);
    struct json_value value;
    assert_int_equal(json_scan(text, write_member, &out, &value, NULL), STATUS_OK);
    assert_int_equal(value.type, JSON_OBJECT);
    assert_ptr_equal(value.text.data, text.data + 1);
    assert_int_equal(value.text.len, text.len - 2);
    assert_string_equal(out.data,
                        "id=\"e\\n1\"/4ce;n=-1.50/3c;p={\"id\":1, \"x\":[{}]}/6;q={\"r\":[{\"id\":\" \"}]}/6c;"
                        "t=true/2c;f=false/1c;z=null/0c;a=[ 1]/5;\\u0061!=[]/5c;id=\"twice\"/4c;");
    buffer_reset(&out);
    json_each_member(TEXT("{\"a\":1,\"b\":{\"c\":2}}"), write_member, &out);
    assert_string_equal(out.data, "a=1/3c;b={\"c\":2}/6c;");
    buffer_reset(&out);
    assert_int_equal(json_scan(TEXT("[{\"a\":1}]"), write_member, &out, NULL, NULL), STATUS_OK);
    assert_int_equal(json_scan(TEXT("\"a\""), write_member, &out, NULL, NULL), STATUS_OK);
    assert_int_equal(out.len, 0);
    buffer_deinit(&out);
}

static bool stop_at_second(void *ctx, const struct json_member *member) {
    (void)member;
    int *count = ctx;
    return ++*count < 2;
}

static void a_callback_may_stop_it(void **state) {
    (void)state;
    struct error error = {"of the caller"};
    int count = 0;
    enum status status = json_scan(TEXT("{\"a\":1,\"b\":2,\"c\":!"), stop_at_second, &count, NULL, &error);
    assert_int_equal(status, STATUS_INVALID);
    assert_int_equal(count, 2);
    assert_string_equal(error.text, "of the caller");
    count = 0;
    status = json_scan(TEXT("{\"a\":[],\"b\":{},\"c\":!"), stop_at_second, &count, NULL, &error);
    assert_int_equal(status, STATUS_INVALID);
    assert_int_equal(count, 2);
    assert_string_equal(error.text, "of the caller");
}

static bool write_element(void *ctx, const struct json_value *element) {
    buffer_printf(ctx, "%.*s/%d%s%s;", SPAN_ARGS(element->text), element->type, element->compact ? "c" : "",
                  element->escaped ? "e" : "");
    return !span_is(element->text, "\"stop\"");
}

static void walks_the_elements(void **state) {
    (void)state;
    struct buffer out;
    buffer_init(&out, 1000);
    json_each_element(TEXT("[1, \"\\n\",[ [2],3],{\"a\":[4]},\"stop\",5]"), write_element, &out);
    assert_string_equal(out.data, "1/3c;\"\\n\"/4ce;[ [2],3]/5;{\"a\":[4]}/6c;\"stop\"/4c;");
    buffer_reset(&out);
    json_each_element(TEXT("{\"a\":[4]}"), write_element, &out);
    json_each_element(TEXT("[]"), write_element, &out);
    json_each_element(SPAN_NONE, write_element, &out);
    assert_int_equal(out.len, 0);
    buffer_deinit(&out);
}

struct find_case {
    const char *path;
    const char *found; /* NULL: nothing there */
};

static void finds_by_path(void **state) {
    (void)state;
    static const struct span text =
        TEXT(" {\"a\":{\"b\":[10, {\"c\":\"deep\"},[1,2]],\"\":{\"\":0}},\"d\":1,\"d\":{\"x\":2},\"n\":null,"
             "\"\\u0061\\n\":7,\"0\":\"zero\",\"e\":[]} ");
    static const struct find_case cases[] = {
        {"a.b.1.c", "\"deep\""},
        {"a.b.0", "10"},
        {"a.b.2.1", "2"},
        {"a.b.2", "[1,2]"},
        {"a.b.3", NULL},
        {"a.b.-1", NULL},
        {"a.b.01", NULL},
        {"a.b.00", NULL},
        {"a.b.9999999999999999999999", NULL},
        {"a.b.x", NULL},
        {"a.b.", NULL},
        {"a..", "0"},
        {"d", "{\"x\":2}"},
        {"d.x", "2"},
        {"d.x.y", NULL},
        {"n", "null"},
        {"n.x", NULL},
        {"a\n", "7"},
        {"0", "\"zero\""},
        {"e.0", NULL},
        {"", NULL},
        {"A", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json_value value = {.text = SPAN_NONE};
        bool found = json_find(text, span_of(cases[i].path), &value);
        if (found != (cases[i].found != NULL) || (found && !span_is(value.text, cases[i].found))) {
            fail_msg("%s: %.*s", cases[i].path, SPAN_ARGS(value.text));
        }
    }
    struct json_value value;
    assert_false(json_find(SPAN_NONE, TEXT("a"), &value));
    assert_false(json_find(text, SPAN_NONE, &value));
    assert_false(json_find(TEXT("7"), TEXT("0"), &value));
    assert_true(json_find(TEXT("[[ 5 ]]"), TEXT("0"), &value));
    assert_false(value.compact);
    assert_int_equal(value.type, JSON_ARRAY);
}

static void compacts(void **state) {
    (void)state;
    static const struct span pairs[][2] = {
        {TEXT(" { \"a b\" : [ 1 , 2 ] ,\t\"c\\\" \" :\r\n{ } } "), TEXT("{\"a b\":[1,2],\"c\\\" \":{}}")},
        {TEXT("[ \"\\\\\" , \" \\\\\\\" \" ]"), TEXT("[\"\\\\\",\" \\\\\\\" \"]")},
        {TEXT("{\"a\":1}"), TEXT("{\"a\":1}")},
        {TEXT("  1.50  "), TEXT("1.50")},
        {TEXT("[\n]"), TEXT("[]")},
        {TEXT("[ \"\xE2\x82\xAC \" ]"), TEXT("[\"\xE2\x82\xAC \"]")},
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct json_value value;
        struct buffer out;
        buffer_init(&out, 1000);
        assert_int_equal(scan(pairs[i][0], &value, NULL), STATUS_OK);
        json_compact(&value, &out);
        assert_true(span_equal(buffer_view(&out), pairs[i][1]));
        assert_int_equal(scan(buffer_view(&out), &value, NULL), STATUS_OK);
        assert_true(value.compact);
        buffer_deinit(&out);
    }
}

struct int_case {
    const char *text;
    int64_t value;
};

static void integers(void **state) {
    (void)state;
    static const struct int_case cases[] = {
        {"0", 0},
        {"-0", 0},
        {"-0.000e5", 0},
        {"0e999999999999999999999", 0},
        {"0e-999999999999999999999", 0},
        {"1", 1},
        {"-17", -17},
        {"5.0", 5},
        {"1e3", 1000},
        {"1E+3", 1000},
        {"1.25e2", 125},
        {"1200e-2", 12},
        {"0.00012e5", 12},
        {"1000000000000000000000000000000e-30", 1},
        {"0.000000000000000000000000000001e30", 1},
        {"9223372036854775807", INT64_MAX},
        {"9223372036854775807.000", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"-92233720368547758080e-1", INT64_MIN},
        {"1710084600000", 1710084600000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = 7;
        if (json_int64(span_of(cases[i].text), &value) != STATUS_OK || value != cases[i].value) {
            fail_msg("%s gave %lld", cases[i].text, (long long)value);
        }
    }
}

static void not_integers(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "-",
        "abc",
        "\"1\"",
        "null",
        " 1",
        "1 ",
        "01",
        "1.",
        "1.5",
        "1e-1",
        "0.1",
        "15e-1",
        "1e19",
        "1e99999999999999999999999",
        "1e400",
        "1e-99999",
        "12x",
        "+1",
        "9223372036854775808",
        "1,2",
        "--1",
        "99999999999999999999999999",
        "-9223372036854775809",
        "0.000000000000000000000000000001",
        "18446744073709551616",
        "18446744073709551615",
        "12345678901234567890123e-22",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        int64_t value = 7;
        if (json_int64(span_of(texts[i]), &value) != STATUS_INVALID) {
            fail_msg("%s gave %lld", texts[i], (long long)value);
        }
        assert_int_equal(value, 7);
    }
    int64_t value;
    assert_int_equal(json_int64(SPAN_NONE, &value), STATUS_INVALID);
}

static void long_numbers(void **state) {
    (void)state;
    const size_t size = 1 << 20;
    char *text = mem_alloc(size + 16);
    memset(text, '0', size);
    text[0] = '7';
    int len = snprintf(text + size, 16, "e-%zu", size - 1);
    int64_t value = 0;
    assert_int_equal(json_int64((struct span){text, size + (size_t)len}, &value), STATUS_OK);
    assert_int_equal(value, 7);
    assert_int_equal(json_int64((struct span){text, size}, &value), STATUS_INVALID);
    memset(text, '9', size);
    assert_int_equal(json_int64((struct span){text, size}, &value), STATUS_INVALID);
    mem_free(text);
}

static void knows_an_index(void **state) {
    (void)state;
    static const char *const none[] = {"", "a", "1a", "-1", "+1", "01", "00", " 1", "1.0", "1000000000", "9999999999"};
    for (size_t i = 0; i < COUNT(none); i++) {
        assert_true(json_index(span_of(none[i])) == SIZE_MAX);
    }
    assert_int_equal(json_index(TEXT("0")), 0);
    assert_int_equal(json_index(TEXT("10")), 10);
    assert_int_equal(json_index(TEXT("999999999")), 999999999);
    assert_true(json_index(SPAN_NONE) == SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_an_index),
        cmocka_unit_test(accepts),
        cmocka_unit_test(rejects_and_says_where),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(every_byte_in_a_string),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(a_mebibyte_of_anything),
        cmocka_unit_test(hands_out_the_members),
        cmocka_unit_test(a_callback_may_stop_it),
        cmocka_unit_test(walks_the_elements),
        cmocka_unit_test(finds_by_path),
        cmocka_unit_test(compacts),
        cmocka_unit_test(integers),
        cmocka_unit_test(not_integers),
        cmocka_unit_test(long_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
