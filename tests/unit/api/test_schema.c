#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/schema.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char complaint[400];
static int complaints;

static void complain(void *ctx, const char *where, const char *message) {
    (void)ctx;
    if (complaints++ == 0)
        (void)snprintf(complaint, sizeof(complaint), "%s: %s", where, message);
}

static json_t *parse(const char *text) {
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!json)
        fail_msg("no JSON: %s", text);
    complaints = 0;
    complaint[0] = '\0';
    return json;
}

static void expect(const char *schema_text, const char *value, bool valid) {
    json_t *schema = parse(schema_text);
    if (!schema_check_schema(schema, complain, NULL))
        fail_msg("%s: %s", schema_text, complaint);
    long steps = SCHEMA_STEPS;
    bool is = schema_check_text(schema, value, strlen(value), &steps, complain, NULL);
    if (is != valid || is != (complaints == 0))
        fail_msg("%s of %.100s: %d, %s", schema_text, value, is, complaint);
    json_decref(schema);
}

static const struct {
    const char *schema, *yes, *no;
} KEYWORDS[] = {
    {"{\"type\": \"integer\"}", "1.0", "1.5"},
    {"{\"type\": [\"string\", \"null\"]}", "null", "1"},
    {"{\"type\": \"number\"}", "1e3", "true"},
    {"{\"type\": \"boolean\"}", "false", "0"},
    {"{\"enum\": [1, \"a\", {\"b\": [1]}]}", "{\"b\": [1.0]}", "{\"b\": [2]}"},
    {"{\"const\": 1}", "1.0", "true"},
    {"{\"const\": false}", "false", "0"},
    {"{\"multipleOf\": 0.1}", "0.3", "0.35"},
    {"{\"multipleOf\": 0.01}", "19.99", "19.999"},
    {"{\"multipleOf\": 3}", "9007199254740993", "9007199254740992"},
    {"{\"multipleOf\": 7}", "-14", "-15"},
    {"{\"multipleOf\": 1e300}", "0", "1"},
    {"{\"multipleOf\": 2}", "1e300", "1"},
    {"{\"maximum\": 9223372036854775806}", "9223372036854775806", "9223372036854775807"},
    {"{\"exclusiveMaximum\": 3}", "2.999", "3"},
    {"{\"minimum\": 1.5}", "1.5", "1"},
    {"{\"exclusiveMinimum\": 1}", "1.1", "1"},
    {"{\"maxLength\": 2}", "\"\\ud83d\\ude00e\"", "\"abc\""},
    {"{\"minLength\": 2}", "\"ab\"", "\"\xc3\xa9\""},
    {"{\"items\": {\"type\": \"string\"}}", "[\"a\"]", "[\"a\", 1]"},
    {"{\"prefixItems\": [{\"const\": 1}], \"items\": false}", "[1]", "[1, 2]"},
    {"{\"prefixItems\": [{\"const\": 1}, {\"const\": 2}]}", "[1]", "[1, 3]"},
    {"{\"contains\": {\"const\": 1}}", "[0, 1]", "[]"},
    {"{\"contains\": {\"const\": 1}, \"minContains\": 2, \"maxContains\": 2}", "[1, 1]", "[1, 1, 1]"},
    {"{\"contains\": {\"const\": 1}, \"minContains\": 0, \"maxContains\": 1}", "[]", "[1, 1]"},
    {"{\"maxItems\": 1}", "[1]", "[1, 2]"},
    {"{\"minItems\": 1}", "[1]", "[]"},
    {"{\"uniqueItems\": true}", "[1, true, \"1\"]", "[1, 2, 1.0]"},
    {"{\"uniqueItems\": true}", "[{\"a\": 1}, {\"a\": 2}]", "[{\"a\": 1, \"b\": 2}, {\"b\": 2, \"a\": 1}]"},
    {"{\"properties\": {\"a\": {\"type\": \"null\"}}}", "{\"b\": 1}", "{\"a\": 1}"},
    {"{\"properties\": {\"a\": true}, \"additionalProperties\": false}", "{\"a\": 1}", "{\"a\": 1, \"b\": 1}"},
    {"{\"properties\": {\"a\": true}, \"additionalProperties\": {\"type\": \"null\"}}", "{\"b\": null}", "{\"b\": 1}"},
    {"{\"propertyNames\": {\"maxLength\": 1}}", "{\"a\": 1}", "{\"ab\": 1}"},
    {"{\"required\": [\"a\", \"b\"]}", "{\"a\": null, \"b\": 1}", "{\"a\": 1}"},
    {"{\"dependentRequired\": {\"a\": [\"b\"]}}", "{\"c\": 1}", "{\"a\": 1}"},
    {"{\"dependentSchemas\": {\"a\": {\"required\": [\"b\"]}}}", "{\"a\": 1, \"b\": 1}", "{\"a\": 1}"},
    {"{\"maxProperties\": 1}", "{}", "{\"a\": 1, \"b\": 1}"},
    {"{\"minProperties\": 1}", "{\"a\": 1}", "{}"},
    {"{\"allOf\": [{\"minimum\": 1}, {\"maximum\": 2}]}", "2", "3"},
    {"{\"anyOf\": [{\"const\": 1}, {\"const\": 2}]}", "2", "3"},
    {"{\"oneOf\": [{\"minimum\": 1}, {\"minimum\": 5}]}", "2", "6"},
    {"{\"not\": {\"type\": \"null\"}}", "1", "null"},
    {"{\"if\": {\"type\": \"string\"}, \"then\": {\"minLength\": 1}, \"else\": {\"const\": 1}}", "\"a\"", "2"},
    {"{\"if\": {\"type\": \"string\"}, \"then\": {\"minLength\": 1}}", "2", "\"\""},
    {"{\"$ref\": \"#/$defs/a~1b\", \"maximum\": 5, \"$defs\": {\"a/b\": {\"minimum\": 1}}}", "3", "6"},
    {"{\"properties\": {\"next\": {\"$ref\": \"#\"}}, \"required\": [\"v\"]}", "{\"v\": 1, \"next\": {\"v\": 2}}",
     "{\"v\": 1, \"next\": {\"next\": {\"v\": 1}}}"},
    {"{\"not\": false}", "1", "nonsense"},
    {"{\"type\": [\"array\"], \"items\": true}", "[]", "{}"},
};

static void test_each_keyword(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(KEYWORDS) / sizeof(*KEYWORDS); i++) {
        expect(KEYWORDS[i].schema, KEYWORDS[i].yes, true);
        expect(KEYWORDS[i].schema, KEYWORDS[i].no, false);
    }
    expect("true", "null", true);
    expect("false", "null", false);
}

static void test_what_a_keyword_is_not_about_passes(void **state) {
    (void)state;
    static const char *const SCHEMAS[] = {"{\"maximum\": 0}",       "{\"maxItems\": 0}",  "{\"required\": [\"a\"]}",
                                          "{\"minProperties\": 3}", "{\"items\": false}", "{\"contains\": false}"};
    for (size_t i = 0; i < sizeof(SCHEMAS) / sizeof(*SCHEMAS); i++)
        expect(SCHEMAS[i], "\"text\"", true);
    expect("{\"maxLength\": 0}", "123", true);
}

static void test_where_it_is_wrong(void **state) {
    (void)state;
    expect("{\"properties\": {\"a/b\": {\"items\": {\"type\": \"string\"}}}}", "{\"a/b\": [\"x\", 5]}", false);
    assert_string_equal(complaint, "/a~1b/1: expected string");
    expect("{\"required\": [\"id\"]}", "{}", false);
    assert_string_equal(complaint, ": lacks \"id\"");
    expect("{\"properties\": {\"a\": {}}, \"additionalProperties\": false}", "{\"b\": 1}", false);
    assert_string_equal(complaint, "/b: there is no such member");
    /* A long path is cut, and a crowd of complaints ends. */
    char name[2000], schema[100], value[2100];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    (void)snprintf(schema, sizeof(schema), "{\"additionalProperties\": {\"type\": \"null\"}}");
    (void)snprintf(value, sizeof(value), "{\"%s\": 1}", name);
    expect(schema, value, false);
    expect("{\"items\": false}", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", false);
    assert_int_equal(complaints, SCHEMA_MAX_COMPLAINTS);
}

static void test_what_is_no_schema_here(void **state) {
    (void)state;
    static const struct {
        const char *schema, *says;
    } CASES[] = {
        {"5", ": expected a schema"},
        {"{\"pattern\": \"^a\"}", "/pattern: this keyword is not supported"},
        {"{\"patternProperties\": {}}", "/patternProperties: this keyword"},
        {"{\"format\": \"email\"}", "/format: this keyword"},
        {"{\"unevaluatedProperties\": false}", "/unevaluatedProperties: this keyword"},
        {"{\"requierd\": [\"a\"]}", "/requierd: this keyword"},
        {"{\"definitions\": {}}", "/definitions: this keyword"},
        {"{\"$schema\": \"http://json-schema.org/draft-07/schema#\"}", "/$schema: expected"},
        {"{\"items\": {\"$defs\": {}}}", "/items/$defs: may stand at the root alone"},
        {"{\"items\": [{}]}", "/items: expected a schema"},
        {"{\"properties\": {\"a\": {\"type\": \"text\"}}}", "/properties/a/type: expected null"},
        {"{\"type\": []}", "/type: expected null"},
        {"{\"type\": [\"null\", \"null\"]}", "/type: expected texts that differ"},
        {"{\"enum\": 5}", "/enum: expected an array"},
        {"{\"multipleOf\": 0}", "/multipleOf: expected a number above 0"},
        {"{\"maxLength\": -1}", "/maxLength: expected an integer"},
        {"{\"maxLength\": 1.5}", "/maxLength: expected an integer"},
        {"{\"minimum\": \"1\"}", "/minimum: expected a number"},
        {"{\"uniqueItems\": 1}", "/uniqueItems: expected true"},
        {"{\"required\": \"a\"}", "/required: expected an array"},
        {"{\"required\": [\"a\", \"a\"]}", "/required: expected texts"},
        {"{\"allOf\": []}", "/allOf: expected an array of schemas"},
        {"{\"minContains\": 1}", "/minContains: has no meaning without contains"},
        {"{\"then\": {}}", "/then: has no meaning without if"},
        {"{\"$ref\": \"#/$defs/none\"}", "/$ref: expected"},
        {"{\"$ref\": \"https://example.com/schema\"}", "/$ref: expected"},
        {"{\"properties\": {\"a\": {}}, \"$ref\": \"#/properties/a\"}", "/$ref: expected"},
        {"{\"$ref\": \"#\"}", ": refers to itself"},
        {"{\"$defs\": {\"a\": {\"allOf\": [{\"$ref\": \"#/$defs/b\"}]}, \"b\": {\"not\": {\"$ref\": \"#/$defs/a\"}}}}",
         ": refers to itself"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(*CASES); i++) {
        json_t *schema = parse(CASES[i].schema);
        if (schema_check_schema(schema, complain, NULL) ||
            strncmp(complaint, CASES[i].says, strlen(CASES[i].says)) != 0)
            fail_msg("%s: \"%s\", expected \"%s\"", CASES[i].schema, complaint, CASES[i].says);
        json_decref(schema);
    }
}

/* 2^n ways through n references are not followed for ever, neither when written nor when checked. */
static void test_it_ends(void **state) {
    (void)state;
    char text[4096] = "{\"$ref\": \"#/$defs/d0\", \"$defs\": {\"d40\": {}";
    for (int i = 0; i < 40; i++) {
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof(text) - len,
                       ", \"d%d\": {\"allOf\": [{\"$ref\": \"#/$defs/d%d\"}, {\"$ref\": \"#/$defs/d%d\"}]}", i, i + 1,
                       i + 1);
    }
    strncat(text, "}}", sizeof(text) - strlen(text) - 1);
    json_t *schema = parse(text);
    assert_false(schema_check_schema(schema, complain, NULL));
    json_decref(schema);

    schema = parse("{\"not\": {\"uniqueItems\": true}}");
    json_t *many = json_array();
    for (int i = 0; i < 2000; i++)
        json_array_append_new(many, json_integer(i));
    assert_false(schema_check(schema, many, complain, NULL));
    assert_string_equal(complaint, ": takes too long to check");
    json_decref(many);
    json_decref(schema);

    /* An element is soon checked, but not against each of many. */
    json_t *numbers = json_array();
    for (int i = 0; i < 5000; i++)
        json_array_append_new(numbers, json_integer(i));
    schema = json_pack("{s:{s:o}}", "items", "enum", numbers);
    many = json_array();
    for (int i = 0; i < 5000; i++)
        json_array_append_new(many, json_integer(4999));
    char *text_of_many = json_dumps(many, JSON_COMPACT);
    long steps = SCHEMA_STEPS;
    complaints = 0;
    assert_false(schema_check_text(schema, text_of_many, strlen(text_of_many), &steps, complain, NULL));
    assert_true(complaints > 0 && strstr(complaint, "takes too long to check"));
    /* What they share is used up for the next one too. */
    assert_true(steps > 0 && steps < SCHEMA_STEPS);
    steps = 0;
    complaints = 0;
    assert_false(schema_check_text(schema, "[1]", 3, &steps, complain, NULL));
    assert_true(complaints > 0);
    free(text_of_many);
    json_decref(many);
    json_decref(schema);

    char deep[1300] = "";
    memset(deep, '[', 600);
    memset(deep + 600, ']', 600);
    expect("{\"items\": {\"$ref\": \"#\"}}", deep, false);
    memset(deep, 0, sizeof(deep));
    memset(deep, '[', 60);
    memset(deep + 60, ']', 60);
    expect("{\"items\": {\"$ref\": \"#\"}}", deep, true);
}

static void test_numbers_that_are_hard_to_read(void **state) {
    (void)state;
    expect("{\"type\": \"integer\"}", "123456789012345678901234567890", true);
    expect("{\"maximum\": 100}", "[123456789012345678901234567890]", true);
    expect("{\"maximum\": 100}", "123456789012345678901234567890", false);
    expect("{}", "1e400", false); /* can't be checked: no yes */
    expect("{\"maxLength\": 3}", "\"a\\u0000b\"", true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_keyword),      cmocka_unit_test(test_what_a_keyword_is_not_about_passes),
        cmocka_unit_test(test_where_it_is_wrong), cmocka_unit_test(test_what_is_no_schema_here),
        cmocka_unit_test(test_it_ends),           cmocka_unit_test(test_numbers_that_are_hard_to_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
