#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "filter_samples.h"

static void check(const char *json, struct event *event, const char *shown, bool expected) {
    struct filter *filter = compile(json);
    struct buffer inverted;
    buffer_init(&inverted, FILTER_MAX_BYTES + 100);
    buffer_printf(&inverted, "{\"not\": %s}", json);
    struct filter *opposite = compile(buffer_view(&inverted).data);
    if (filter_takes(filter, event) != expected || filter_takes(opposite, event) == expected) {
        fail_msg("%s on %s: expected %s", json, shown, expected ? "true" : "false");
    }
    buffer_deinit(&inverted);
    filter_unref(&opposite);
    filter_unref(&filter);
    assert_null(filter);
}

static void check_payload(const char *json, const char *payload, bool expected) {
    struct event *event = event_with(payload);
    check(json, event, payload, expected);
    event_unref(&event);
}

/* "{"payload.a": CONDITION}" on a payload {"a": VALUE}, or without `a`. */
static void check_value(const char *condition, const char *value, bool expected) {
    char json[512], payload[512];
    snprintf(json, sizeof(json), "{\"payload.a\": %s}", condition);
    if (value) {
        snprintf(payload, sizeof(payload), "{\"z\": 0, \"a\": %s, \"b\": 1}", value);
    } else {
        snprintf(payload, sizeof(payload), "{\"z\": 0, \"b\": 1}");
    }
    check_payload(json, payload, expected);
}

/* --- Operators and types --- */

static const char *const VALUES[] = {NULL, "null", "true", "false", "5", "5.5", "\"m\"", "[5]", "{\"a\": 5}"};

/* Each operator on a value of each type, in the order of VALUES: 't' where it holds. */
static void every_operator_on_every_type(void **state) {
    (void)state;
    static const struct {
        const char *condition;
        const char *holds;
    } cases[] = {
        {"null", ".t......."},
        {"true", "..t......"},
        {"false", "...t....."},
        {"5", "....t...."},
        {"5.5", ".....t..."},
        {"\"m\"", "......t.."},
        {"{\"eq\": null}", ".t......."},
        {"{\"eq\": true}", "..t......"},
        {"{\"eq\": 5}", "....t...."},
        {"{\"eq\": \"m\"}", "......t.."},
        {"{\"eq\": \"5\"}", "........."},
        {"{\"ne\": null}", "t.ttttttt"},
        {"{\"ne\": false}", "ttt.ttttt"},
        {"{\"ne\": 5}", "tttt.tttt"},
        {"{\"ne\": 5.5}", "ttttt.ttt"},
        {"{\"ne\": \"m\"}", "tttttt.tt"},
        {"{\"in\": [null, 5, \"m\"]}", ".t..t.t.."},
        {"{\"in\": [true, 5.5]}", "..t..t..."},
        {"{\"in\": [false, 6, \"n\", 4.5]}", "...t....."},
        {"{\"in\": [\"5\", \"true\", \"null\", 0, 1]}", "........."},
        {"{\"gt\": 5}", ".....t..."},
        {"{\"gt\": 4.5}", "....tt..."},
        {"{\"gt\": \"a\"}", "......t.."},
        {"{\"gt\": \"m\"}", "........."},
        {"{\"gte\": 5}", "....tt..."},
        {"{\"gte\": \"m\"}", "......t.."},
        {"{\"gte\": \"n\"}", "........."},
        {"{\"lt\": 5.5}", "....t...."},
        {"{\"lt\": 5}", "........."},
        {"{\"lt\": \"n\"}", "......t.."},
        {"{\"lte\": 5.5}", "....tt..."},
        {"{\"lte\": \"m\"}", "......t.."},
        {"{\"lte\": \"l\"}", "........."},
        {"{\"prefix\": \"m\"}", "......t.."},
        {"{\"prefix\": \"\"}", "......t.."},
        {"{\"prefix\": \"mm\"}", "........."},
        {"{\"prefix\": \"5\"}", "........."},
        {"{\"exists\": true}", ".tttttttt"},
        {"{\"exists\": false}", "t........"},
        {"{\"gte\": 5, \"lt\": 5.5}", "....t...."},
        {"{\"exists\": true, \"ne\": 5}", ".ttt.tttt"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(strlen(cases[i].holds), COUNT(VALUES));
        for (size_t j = 0; j < COUNT(VALUES); j++) {
            check_value(cases[i].condition, VALUES[j], cases[i].holds[j] == 't');
        }
    }
}

static void numbers_compare_by_value(void **state) {
    (void)state;
    static const struct {
        const char *condition, *value;
        bool expected;
    } cases[] = {
        {"1000", "1e3", true},
        {"1e3", "1000.0", true},
        {"0", "-0", true},
        {"0", "-0.0e5", true},
        {"-7", "-7", true},
        {"-7", "7", false},
        {"0.1", "1e-1", true},
        {"0.1", "0.10000000000000000000000000000000000001", true},
        {"0.1", "0.1000000001", false},
        {"9007199254740993", "9007199254740993", true},
        {"9007199254740993", "9007199254740992", false},
        {"9223372036854775807", "9223372036854775806", false},
        {"9223372036854775807", "9223372036854775807", true},
        {"-9223372036854775808", "-9223372036854775808", true},
        {"{\"gt\": 9007199254740992}", "9007199254740993", true},
        /* One is no 64-bit integer: both as doubles, of which these are one. */
        {"9223372036854775807", "9223372036854775808", true},
        {"9223372036854775808", "9223372036854775809", true},
        {"{\"gt\": 9223372036854775807}", "9223372036854775808", false},
        {"9007199254740993", "9007199254740992.5", true},
        {"123456789012345678901234567890", "1.2345678901234567890123456789e29", true},
        {"{\"lt\": 1e308}", "1e400", false},
        {"{\"gt\": 1e308}", "1e400", true},
        {"{\"lt\": -1e308}", "-1e99999999999999999999", true},
        {"{\"gte\": 0}", "1e-99999999999999999999", true},
        {"0", "1e-400", true},
        {"5e-324", "4.9406564584124654e-324", true},
        {"{\"in\": [1, 2, 3]}", "2.0", true},
        {"{\"in\": [1, 2, 3]}", "2.5", false},
        {"{\"in\": [1.5, 2.5, -3.5]}", "-35e-1", true},
        {"{\"in\": [1.5, 1e19, 7]}", "10000000000000000000", true},
        {"{\"in\": [9007199254740993]}", "9007199254740992", false},
        {"{\"in\": [9007199254740993]}", "9007199254740992.5", true},
        {"{\"in\": [9223372036854775808]}", "9223372036854775807", true},
        {"{\"in\": [9223372036854775806, 9223372036854775807]}", "9223372036854775808", true},
        {"{\"in\": [1]}", "1e999", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        check_value(cases[i].condition, cases[i].value, cases[i].expected);
    }
}

/* Halfway between 1 and the next double; what decides stands behind 800 more digits. */
static void numbers_of_many_digits_are_rounded_right(void **state) {
    (void)state;
    const char *half = "1.00000000000000011102230246251565404236316680908203125";
    char value[2000];
    snprintf(value, sizeof(value), "%s%0*d", half, 800, 0);
    char json[] = "{\"payload.a\": {\"gt\": 1.0, \"lt\": 1.0000000000000004}}";
    char payload[2200];
    snprintf(payload, sizeof(payload), "{\"a\": %s}", value);
    check_payload(json, payload, false); /* to even */
    snprintf(payload, sizeof(payload), "{\"a\": %s1}", value);
    check_payload(json, payload, true);
    snprintf(payload, sizeof(payload), "{\"a\": 0.%0*d5}", 1500, 0);
    check_payload("{\"payload.a\": 0}", payload, true);
    snprintf(payload, sizeof(payload), "{\"a\": 0.%0*d5e1501}", 1500, 0);
    check_payload("{\"payload.a\": 5}", payload, true);
    snprintf(payload, sizeof(payload), "{\"a\": 25%0*de-1502}", 1500, 0);
    check_payload("{\"payload.a\": 0.25}", payload, true);
}

static void strings_compare_by_their_characters(void **state) {
    (void)state;
    static const struct {
        const char *condition, *value;
        bool expected;
    } cases[] = {
        {"\"de\"", "\"d\\u0065\"", true},
        {"\"d\\u0065\"", "\"de\"", true},
        {"\"\\u00e4\"", "\"\xC3\xA4\"", true},
        {"\"\xF0\x9F\x98\x80\"", "\"\\ud83d\\ude00\"", true},
        {"\"a\\\"b\\\\\\n\"", "\"a\\u0022b\\u005c\\u000a\"", true},
        {"\"\\u0000\"", "\"\\u0000\"", true},
        {"\"\\u0000\"", "\"\"", false},
        {"\"\"", "\"\"", true},
        {"\"de\"", "\"De\"", false},
        {"\"de\"", "\"de \"", false},
        {"\"de\"", "\"\\u0064\"", false},
        {"\"d\"", "\"\\u0064e\"", false},
        {"{\"gt\": \"Z\"}", "\"a\"", true},
        {"{\"gt\": \"a\"}", "\"aa\"", true},
        {"{\"gt\": \"a\"}", "\"\\u0061a\"", true},
        {"{\"lt\": \"aa\"}", "\"\\u0061\"", true},
        {"{\"gt\": \"z\"}", "\"\xC3\xA4\"", true},
        {"{\"gt\": \"\xEF\xBF\xBD\"}", "\"\\ud83d\\ude00\"", true}, /* where UTF-16's order is another */
        {"{\"gte\": \"10\"}", "\"9\"", true},                       /* strings, not numbers */
        {"{\"prefix\": \"a\\nb\"}", "\"\\u0061\\nbc\"", true},
        {"{\"prefix\": \"a\\nb\"}", "\"\\u0061\\n\"", false},
        {"{\"prefix\": \"ab\"}", "\"abc\"", true},
        {"{\"prefix\": \"ab\"}", "\"ac\"", false},
        {"{\"in\": [\"x\", \"yy\", \"\\u007a\", \"aa\", \"\"]}", "\"z\"", true},
        {"{\"in\": [\"x\", \"yy\", \"z\", \"aa\", \"\"]}", "\"\\u0079y\"", true},
        {"{\"in\": [\"x\", \"yy\", \"z\", \"aa\", \"\"]}", "\"\"", true},
        {"{\"in\": [\"x\", \"yy\", \"z\", \"aa\"]}", "\"\\u0079z\"", false},
        {"{\"in\": [\"x\", \"yy\", \"z\", \"aa\"]}", "\"yyy\"", false},
        {"{\"\\u0065q\": 1}", "1", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        check_value(cases[i].condition, cases[i].value, cases[i].expected);
    }
}

static void a_long_in_finds_each_of_its_values_and_no_other(void **state) {
    (void)state;
    struct buffer json;
    buffer_init(&json, FILTER_MAX_BYTES);
    buffer_text(&json, "{\"payload.a\": {\"in\": [");
    for (int i = 0; i < FILTER_MAX_IN; i++) {
        int n = i * 7 % FILTER_MAX_IN; /* in no order */
        buffer_printf(&json, n % 2 ? "%s\"v%d\"" : "%s%d", i ? "," : "", 2 * n);
    }
    buffer_text(&json, "]}}");
    assert_false(json.overflowed);
    struct filter *filter = compile(json.data);
    for (int i = -1; i < 2 * FILTER_MAX_IN + 1; i++) {
        char number[64], text[64];
        snprintf(number, sizeof(number), "{\"a\": %d}", i);
        snprintf(text, sizeof(text), "{\"a\": \"v%d\"}", i);
        struct event *with_number = event_with(number), *with_text = event_with(text);
        assert_int_equal(filter_takes(filter, with_number), i >= 0 && i < 2 * FILTER_MAX_IN && i % 4 == 0);
        assert_int_equal(filter_takes(filter, with_text), i >= 0 && i < 2 * FILTER_MAX_IN && i % 4 == 2);
        event_unref(&with_number);
        event_unref(&with_text);
    }
    filter_unref(&filter);
    buffer_deinit(&json);
}

/* --- Paths --- */

static void paths_lead_through_objects_and_arrays(void **state) {
    (void)state;
    static const struct {
        const char *json, *payload;
        bool expected;
    } cases[] = {
        {"{\"payload.a.b.c\": 1}", "{\"a\": {\"b\": {\"c\": 1}}}", true},
        {"{\"payload.a.b.c\": 1}", " { \"a\" :\n{ \"x\" : [ {} , \"}\" ] , \"b\" : { \"c\" : 1 } } } ", true},
        {"{\"payload.a.b.c\": 1}", "{\"a\": {\"b\": 1, \"c\": 1}}", false},
        {"{\"payload.a.b\": 1}", "{\"a\": \"b\", \"b\": 1}", false},
        {"{\"payload.a.b\": {\"exists\": false}}", "{\"a\": {\"b\": null}}", false},
        {"{\"payload.0\": \"x\", \"payload.2\": \"z\"}", "[\"x\", \"y\", \"z\"]", true},
        {"{\"payload.2\": \"z\", \"payload.0\": \"x\"}", "[\"x\", [\"a\", \"z\"], \"z\", {}]", true},
        {"{\"payload.1\": {\"exists\": false}, \"payload.0\": {\"exists\": true}}", "[[1, 2]]", true},
        {"{\"payload.0\": {\"exists\": false}}", "[]", true},
        {"{\"payload.0\": {\"exists\": false}}", " [ ] ", true},
        {"{\"payload.0\": 5}", "{\"0\": 5}", true},
        {"{\"payload.a\": 5}", "[5]", false},
        {"{\"payload.00\": 5}", "[5]", false},
        {"{\"payload.-1\": 5}", "[5]", false},
        {"{\"payload.9999999999\": {\"exists\": true}}", "[5]", false},
        {"{\"payload.999999999\": {\"exists\": true}}", "[5]", false},
        {"{\"payload.10\": 10, \"payload.9\": 9}", "[0,1,2,3,4,5,6,7,8,9,10,11]", true},
        {"{\"payload.a.1.b.0\": 3}", "{\"a\": [0, {\"c\": 1, \"b\": [3, 4]}, 2]}", true},
        {"{\"payload.a.1\": 3, \"payload.b\": 2}", "{\"a\": [1, 3, [\"]\"], \"]\"], \"b\": 2}", true},
        {"{\"payload.a\": {\"exists\": true}, \"payload.a.b\": 1}", "{\"a\": {\"b\": 1}}", true},
        {"{\"payload\": {\"exists\": true}, \"payload.a\": 1}", "{\"a\": 1}", true},
        {"{\"payload\": \"text\"}", "\"text\"", true},
        {"{\"payload\": 5}", " 5 ", true},
        {"{\"payload\": {\"eq\": null}}", "null", true},
        {"{\"payload\": {\"ne\": null}}", "{}", true},
        {"{\"payload.a\": {\"exists\": false}}", "\"a\"", true},
        /* Names by what they mean. */
        {"{\"payload.a\": 1}", "{\"\\u0061\": 1}", true},
        {"{\"payload.\\u0061\": 1}", "{\"a\": 1}", true},
        {"{\"\\u0070ayload.a\": 1}", "{\"a\": 1}", true},
        {"{\"payload.ab\": 1}", "{\"\\u0061c\": 1}", false},
        {"{\"payload.a\\\"b\": 1}", "{\"a\\\"b\": 1}", true},
        {"{\"payload.a\\u0000\": 1}", "{\"a\\u0000\": 1, \"a\": 2}", true},
        {"{\"payload.\xC3\xA4\": 1}", "{\"\\u00E4\": 1}", true},
        {"{\"payload.a.b\": 1}", "{\"a.b\": 1}", false},
        /* The last of duplicates, and nothing of those before it. */
        {"{\"payload.a\": 2}", "{\"a\": 1, \"a\": 2}", true},
        {"{\"payload.a\": 1}", "{\"a\": 1, \"\\u0061\": 2}", false},
        {"{\"payload.a.b\": {\"exists\": false}}", "{\"a\": {\"b\": 1}, \"a\": {}}", true},
        {"{\"payload.a.b\": {\"exists\": false}}", "{\"a\": {\"b\": 1}, \"a\": 7}", true},
        {"{\"payload.a.b\": 1}", "{\"a\": 7, \"a\": {\"b\": 1}}", true},
        {"{\"payload.a.0\": {\"exists\": false}, \"payload.a.b.c\": 1}",
         "{\"a\": [1], \"a\": {\"b\": {\"c\": 2}, \"b\": {\"c\": 1}}}", true},
        {"{\"payload.a.b\": {\"exists\": false}, \"payload.a.c\": 3}",
         "{\"a\": {\"b\": 1, \"c\": 2}, \"a\": {\"c\": 3}}", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        check_payload(cases[i].json, cases[i].payload, cases[i].expected);
    }
}

static void a_wide_object_is_searched_right(void **state) {
    (void)state;
    struct buffer json, payload;
    buffer_init(&json, FILTER_MAX_BYTES);
    buffer_init(&payload, 1 << 20);
    buffer_char(&json, '{');
    buffer_char(&payload, '{');
    for (int i = 0; i < FILTER_MAX_CONDITIONS; i++) {
        buffer_printf(&json, "%s\"payload.n%d\": %d", i ? "," : "", i * i, i);
    }
    for (int i = 10 * FILTER_MAX_CONDITIONS * FILTER_MAX_CONDITIONS; i >= 0; i -= 13) {
        buffer_printf(&payload, "\"n%d\": \"wrong\",", i);
    }
    for (int i = FILTER_MAX_CONDITIONS; i-- > 0;) {
        buffer_printf(&payload, i % 3 ? "\"n%d\": %d%s" : "\"\\u006e%d\": %d%s", i * i, i, i ? "," : "");
    }
    buffer_char(&json, '}');
    buffer_char(&payload, '}');
    assert_false(json.overflowed || payload.overflowed);
    check_payload(json.data, payload.data, true);
    buffer_deinit(&json);
    buffer_deinit(&payload);
}

#define FULL                                                                                                           \
    "{\"id\": 1246965, \"workspace_id\": \"w1\", \"workspace_name\": \"seasalt.ai \\u0062ot\","                        \
    " \"event_source\": \"portal\", \"event_triggered_by\": null, \"payload\": {\"a\": 1}}"

static void fields_of_the_event(void **state) {
    (void)state;
    static const struct {
        const char *json;
        bool expected;
    } cases[] = {
        {"{\"id\": 1246965}", true},
        {"{\"id\": \"1246965\"}", false},
        {"{\"workspace_id\": \"w1\"}", true},
        {"{\"workspace_name\": \"seasalt.ai bot\"}", true},
        {"{\"workspace_name\": {\"prefix\": \"seasalt.ai b\"}}", true},
        {"{\"event_type\": \"message.new\"}", true},
        {"{\"event_type\": {\"prefix\": \"message.\"}}", true},
        {"{\"event_type\": {\"prefix\": \"call.\"}}", false},
        {"{\"not\": {\"event_type\": {\"prefix\": \"call.\"}}}", true},
        {"{\"event_type\": {\"in\": [\"message.old\", \"message.new\"]}}", true},
        {"{\"event_source\": {\"ne\": \"portal\"}}", false},
        {"{\"event_triggered_by\": {\"exists\": false}}", true},
        {"{\"event_triggered_by\": null}", false}, /* null there is as good as missing */
        {"{\"occurred_at\": 1462216307945}", true},
        {"{\"occurred_at\": \"2016-05-02T19:11:47.945Z\"}", true},
        {"{\"occurred_at\": \"2016-05-02T21:11:47.945\\u002b02:00\"}", true},
        {"{\"occurred_at\": {\"gte\": \"2016-05-02\", \"lt\": \"2016-05-03\"}}", true},
        {"{\"occurred_at\": {\"gt\": \"2016-05-03\"}}", false},
        {"{\"occurred_at\": {\"gt\": 1.462216307944e12, \"ne\": 0}}", true},
        {"{\"occurred_at\": {\"in\": [\"2016-05-02\", 1462216307945]}}", true},
        {"{\"occurred_at\": {\"exists\": true}, \"id\": {\"exists\": true}, \"payload\": {\"exists\": true}}", true},
    };
    struct event *event = event_of(FULL);
    for (size_t i = 0; i < COUNT(cases); i++) {
        check(cases[i].json, event, FULL, cases[i].expected);
    }
    event_unref(&event);
}

static void an_event_without_a_payload(void **state) {
    (void)state;
    struct event *event = event_of("{\"workspace_id\": 7}");
    check("{\"payload\": {\"exists\": false}, \"payload.a\": {\"exists\": false}}", event, "no payload", true);
    check("{\"payload\": null}", event, "no payload", false);
    check("{\"payload.a.0\": {\"ne\": 1}}", event, "no payload", true);
    check("{\"workspace_id\": 7, \"workspace_name\": {\"exists\": false}}", event, "no payload", true);
    event_unref(&event);
}

/* --- all, any, not --- */

static void filters_combine(void **state) {
    (void)state;
    static const struct {
        const char *json;
        bool expected;
    } cases[] = {
        {"{\"payload.t\": 1, \"payload.f\": 0}", true},
        {"{\"payload.t\": 1, \"payload.f\": 1}", false},
        {"{\"all\": [{\"payload.t\": 1}, {\"payload.f\": 0}]}", true},
        {"{\"all\": [{\"payload.t\": 1}, {\"payload.f\": 1}]}", false},
        {"{\"any\": [{\"payload.t\": 0}, {\"payload.f\": 0}]}", true},
        {"{\"any\": [{\"payload.t\": 1}, {\"payload.f\": 1}]}", true},
        {"{\"any\": [{\"payload.t\": 0}, {\"payload.f\": 1}]}", false},
        {"{\"not\": {\"payload.t\": 1, \"payload.f\": 1}}", true},
        {"{\"not\": {\"payload.t\": 1, \"payload.f\": 0}}", false},
        {"{\"not\": {\"not\": {\"payload.t\": 1}}}", true},
        {"{\"payload.t\": 1, \"any\": [{\"payload.f\": 1}, {\"payload.f\": 0}], \"not\": {\"payload.t\": 0}}", true},
        {"{\"payload.t\": 0, \"any\": [{\"payload.f\": 1}, {\"payload.f\": 0}], \"not\": {\"payload.t\": 0}}", false},
        {"{\"payload.t\": 1, \"any\": [{\"payload.f\": 1}, {\"payload.f\": 2}], \"not\": {\"payload.t\": 0}}", false},
        {"{\"payload.t\": 1, \"any\": [{\"payload.f\": 1}, {\"payload.f\": 0}], \"not\": {\"payload.t\": 1}}", false},
        {"{\"any\": [{\"all\": [{\"payload.t\": 0}, {\"payload.t\": 1}]}, {\"not\": {\"any\": [{\"payload.t\": 0}, "
         "{\"payload.f\": 1}]}}]}",
         true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        check_payload(cases[i].json, "{\"t\": 1, \"f\": 0}", cases[i].expected);
    }
}

static void deep_payloads_are_read(void **state) {
    (void)state;
    struct buffer json, payload;
    buffer_init(&json, FILTER_MAX_BYTES);
    buffer_init(&payload, 1 << 16);
    buffer_text(&json, "{\"payload");
    for (int i = 0; i < FILTER_MAX_PATH_NAMES; i++) {
        buffer_text(&json, ".a");
    }
    buffer_text(&json, "\": 1}");
    for (int i = 0; i < FILTER_MAX_PATH_NAMES; i++) {
        buffer_text(&payload, "{\"b\":[[[{\"a\":2}]]],\"a\":");
    }
    buffer_text(&payload, "1");
    for (int i = 0; i < FILTER_MAX_PATH_NAMES; i++) {
        buffer_text(&payload, "}");
    }
    check_payload(json.data, payload.data, true);
    buffer_deinit(&json);
    buffer_deinit(&payload);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_on_every_type),
        cmocka_unit_test(numbers_compare_by_value),
        cmocka_unit_test(numbers_of_many_digits_are_rounded_right),
        cmocka_unit_test(strings_compare_by_their_characters),
        cmocka_unit_test(a_long_in_finds_each_of_its_values_and_no_other),
        cmocka_unit_test(paths_lead_through_objects_and_arrays),
        cmocka_unit_test(a_wide_object_is_searched_right),
        cmocka_unit_test(deep_payloads_are_read),
        cmocka_unit_test(fields_of_the_event),
        cmocka_unit_test(an_event_without_a_payload),
        cmocka_unit_test(filters_combine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
