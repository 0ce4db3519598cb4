#include "webhook/js_json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_written(const char *json, const char *expected) {
    struct json_value value;
    struct error error = {""};
    if (json_scan(span_of(json), NULL, NULL, &value, &error) != STATUS_OK) {
        fail_msg("%s: %s", json, error.text);
    }
    /* The exact length on the heap, so that a look past the end is seen. */
    struct buffer out, copy;
    buffer_init(&out, 1 << 20);
    buffer_init(&copy, 1 << 20);
    buffer_text(&copy, json);
    js_json_write(buffer_view(&copy), &out);
    assert_string_equal(out.data, expected);
    buffer_reset(&out);
    js_json_write(value.text, &out);
    assert_string_equal(out.data, expected);
    buffer_deinit(&out);
    buffer_deinit(&copy);
}

static void integer_like_names_come_first(void **state) {
    (void)state;
    assert_written("{\"b\":1,\"10\":2,\"9\":3,\"a\":4,\"0\":5}", "{\"0\":5,\"9\":3,\"10\":2,\"b\":1,\"a\":4}");
    assert_written("{\"01\":1,\"-1\":2,\"1.0\":3,\"\":4,\"00\":5,\" 1\":6,\"1\":7}",
                   "{\"1\":7,\"01\":1,\"-1\":2,\"1.0\":3,\"\":4,\"00\":5,\" 1\":6}");
    assert_written("{\"b\":1,\"4294967295\":2,\"4294967294\":3}", "{\"4294967294\":3,\"b\":1,\"4294967295\":2}");
    assert_written("{\"b\":1,\"4294967296\":2,\"9007199254740991\":3,\"99999999999999999999\":4}",
                   "{\"b\":1,\"4294967296\":2,\"9007199254740991\":3,\"99999999999999999999\":4}");
    assert_written("{\"b\":1,\"\\u0031\":2}", "{\"1\":2,\"b\":1}");
}

static void the_last_duplicate_takes_the_first_ones_place(void **state) {
    (void)state;
    assert_written("{\"a\":1,\"b\":2,\"a\":{\"z\":[]},\"c\":3,\"\\u0061\":4}", "{\"a\":4,\"b\":2,\"c\":3}");
    assert_written("{\"x\":{\"a\":1,\"a\":2},\"__proto__\":3,\"x\":{\"b\":{\"1\":1,\"0\":0}}}",
                   "{\"x\":{\"b\":{\"0\":0,\"1\":1}},\"__proto__\":3}");
    assert_written("{\"\\ud800\":1,\"\\uD800\":2,\"\\ufffd\":3}", "{\"\\ud800\":2,\"\xEF\xBF\xBD\":3}");
}

static void numbers_are_spelt_as_javascript_does(void **state) {
    (void)state;
    static const char *const numbers[][2] = {
        {"-0", "0"},
        {"-0.0", "0"},
        {"-0e5", "0"},
        {"1.50", "1.5"},
        {"1E+2", "100"},
        {"5.0", "5"},
        {"1e400", "null"},
        {"-1e400", "null"},
        {"1e-400", "0"},
        {"5e-324", "5e-324"},
        {"4.9406564584124654e-324", "5e-324"},
        {"2.2250738585072014e-308", "2.2250738585072014e-308"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"9007199254740991", "9007199254740991"},
        {"9007199254740993", "9007199254740992"},
        {"123456789012345680000", "123456789012345680000"},
        {"123456789012345678901234567890", "1.2345678901234568e+29"},
        {"1e20", "100000000000000000000"},
        {"1e21", "1e+21"},
        {"-1.5e21", "-1.5e+21"},
        {"0.000001", "0.000001"},
        {"0.0000001", "1e-7"},
        {"0.00000123", "0.00000123"},
        {"123e-20", "1.23e-18"},
        {"0.1", "0.1"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"1462216307945", "1462216307945"},
        {"-123.456", "-123.456"},
        {"7.1202363472230444e-307", "7.120236347223045e-307"},
        {"0.00000000000000000000000000000000000000000000000000000000000000000000000001", "1e-74"},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        assert_written(numbers[i][0], numbers[i][1]);
    }
}

static void doubles_that_json_lacks_are_null(void **state) {
    (void)state;
    struct buffer out;
    buffer_init(&out, 64);
    js_json_number((double)NAN, &out);
    js_json_number(-(double)INFINITY, &out);
    js_json_number(-0.0, &out);
    js_json_number(-2.5, &out);
    assert_string_equal(out.data, "nullnull0-2.5");
    buffer_deinit(&out);
}

static void strings_are_escaped_as_stringify_does(void **state) {
    (void)state;
    assert_written("\"\\/\\u002f\\u0022\\u005c\\u0061\"", "\"//\\\"\\\\a\"");
    assert_written("\"\\u0008\\u000c\\u000A\\u000d\\u0009\\u0000\\u001F\\u000b\\u007f\\b\\f\\n\\r\\t\"",
                   "\"\\b\\f\\n\\r\\t\\u0000\\u001f\\u000b\x7f\\b\\f\\n\\r\\t\"");
    assert_written("\"\xE2\x80\xA8\\u2028\\u00e9\xC3\xA9\"", "\"\xE2\x80\xA8\xE2\x80\xA8\xC3\xA9\xC3\xA9\"");
    assert_written("\"\\uD83D\\uDE00\xF0\x9F\x98\x80\"", "\"\xF0\x9F\x98\x80\xF0\x9F\x98\x80\"");
    assert_written("\"\\uD83D\"", "\"\\ud83d\"");
    assert_written("\"\\uD83D\\uD83D\\uDE00\\uDE00\"", "\"\\ud83d\xF0\x9F\x98\x80\\ude00\"");
    assert_written("\"\\uDC00\\uD800x\\uDBFF\\n\"", "\"\\udc00\\ud800x\\udbff\\n\"");
}

static void structure_is_kept_without_space(void **state) {
    (void)state;
    assert_written(" [ ] ", "[]");
    assert_written("{ }", "{}");
    assert_written("\t[ 1 , [ ] , { } , true , false , null , \"a , b\" ]\n", "[1,[],{},true,false,null,\"a , b\"]");
    assert_written("{ \"a\" : { \"b\" : [ { \"c\" : \"}\\\"]\" } ] } , \"d\" : 1 }",
                   "{\"a\":{\"b\":[{\"c\":\"}\\\"]\"}]},\"d\":1}");
    char deep[2 * JSON_MAX_DEPTH + 1] = "";
    memset(deep, '[', JSON_MAX_DEPTH);
    memset(deep + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
    assert_written(deep, deep);
}

static void many_names_are_kept_in_order(void **state) {
    (void)state;
    struct buffer json, expected;
    buffer_init(&json, 1 << 20);
    buffer_init(&expected, 1 << 20);
    buffer_text(&json, "{");
    buffer_text(&expected, "{");
    for (int i = 0; i < 1000; i++) {
        buffer_printf(&json, "\"k%d\":{\"a\":[%d]},", i * 7919 % 1000, i);
        buffer_printf(&expected, "%s\"k%d\":{\"a\":[%d]}", i ? "," : "", i * 7919 % 1000, i == 0 ? 1000 : i);
    }
    buffer_text(&json, "\"k0\":{\"a\":[1000]}}");
    buffer_text(&expected, "}");
    assert_written(json.data, expected.data);
    buffer_deinit(&json);
    buffer_deinit(&expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integer_like_names_come_first),
        cmocka_unit_test(the_last_duplicate_takes_the_first_ones_place),
        cmocka_unit_test(numbers_are_spelt_as_javascript_does),
        cmocka_unit_test(doubles_that_json_lacks_are_null),
        cmocka_unit_test(strings_are_escaped_as_stringify_does),
        cmocka_unit_test(structure_is_kept_without_space),
        cmocka_unit_test(many_names_are_kept_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
