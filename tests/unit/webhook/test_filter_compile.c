#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "filter_samples.h"

static void assert_refused(struct span json, const char *expected) {
    struct filter *filter = NULL;
    struct error error = {""};
    assert_int_equal(filter_compile(json, &filter, &error), STATUS_INVALID);
    assert_null(filter);
    if (!span_has_prefix(span_of(error.text), span_of(expected))) {
        fail_msg("%.*s: \"%s\" is not \"%s\"", SPAN_ARGS(json), error.text, expected);
    }
    assert_int_equal(filter_compile(json, &filter, NULL), STATUS_INVALID);
}

static void errors_name_the_place(void **state) {
    (void)state;
    static const struct {
        const char *json, *expected;
    } cases[] = {
        {"", "filter: byte 0: expected a value"},
        {"{\"a\"", "filter: byte 4: expected ':'"},
        {"[]", "filter: expected an object"},
        {"null", "filter: expected an object"},
        {"{}", "filter: is empty; expected a path"},
        {"{\"paylod.a\": 1}", "filter.paylod.a: unknown path; expected id, workspace_id,"},
        {"{\"payloads\": 1}", "filter.payloads: unknown path"},
        {"{\"\": 1}", "filter.: unknown path"},
        {"{\"id_text\": 1}", "filter.id_text: unknown path"},
        {"{\"id.a\": 1}", "filter.id.a: unknown path"},
        {"{\"a\\u0000b\\nc\": 1}", "filter.a\xEF\xBF\xBD"
                                   "b c: unknown path"},
        {"{\"payload.\": 1}", "filter.payload.: a name in the path is empty"},
        {"{\"payload.a..b\": 1}", "filter.payload.a..b: a name in the path is empty"},
        {"{\"payload..a\": 1}", "filter.payload..a: a name in the path is empty"},
        {"{\"payload.a\": []}", "filter.payload.a: expected a value, or an object of operators"},
        {"{\"payload.a\": {}}", "filter.payload.a: is empty; expected eq, ne,"},
        {"{\"payload.a\": {\"equals\": 1}}", "filter.payload.a.equals: unknown operator; expected eq, ne, in, gt,"},
        {"{\"payload\": {\"a\": {\"eq\": 1}}}", "filter.payload.a: unknown operator"},
        {"{\"payload.a\": {\"eq\": {}}}", "filter.payload.a.eq: expected a string, a number, true, false or null"},
        {"{\"payload.a\": {\"ne\": [1]}}", "filter.payload.a.ne: expected a string, a number, true, false or null"},
        {"{\"payload.a\": {\"in\": 1}}", "filter.payload.a.in: expected an array of values"},
        {"{\"payload.a\": {\"in\": []}}", "filter.payload.a.in: is empty"},
        {"{\"payload.a\": {\"in\": [1, [2]]}}", "filter.payload.a.in[1]: expected a string, a number,"},
        {"{\"payload.a\": {\"gt\": null}}", "filter.payload.a.gt: expected a number or a string"},
        {"{\"payload.a\": {\"gte\": true}}", "filter.payload.a.gte: expected a number or a string"},
        {"{\"payload.a\": {\"lt\": []}}", "filter.payload.a.lt: expected a number or a string"},
        {"{\"payload.a\": {\"lte\": {}}}", "filter.payload.a.lte: expected a number or a string"},
        {"{\"payload.a\": {\"prefix\": 1}}", "filter.payload.a.prefix: expected a string"},
        {"{\"payload.a\": {\"exists\": 1}}", "filter.payload.a.exists: expected true or false"},
        {"{\"payload.a\": 1e309}", "filter.payload.a: a number beyond"},
        {"{\"payload.a\": {\"in\": [0, -1e309]}}", "filter.payload.a.in[1]: a number beyond"},
        {"{\"occurred_at\": \"yesterday\"}", "filter.occurred_at: expected a time: ISO 8601"},
        {"{\"occurred_at\": null}", "filter.occurred_at: expected a time"},
        {"{\"occurred_at\": {\"gt\": 1.5}}", "filter.occurred_at.gt: expected a time"},
        {"{\"occurred_at\": {\"in\": [1, true]}}", "filter.occurred_at.in[1]: expected a time"},
        {"{\"occurred_at\": {\"prefix\": \"2016\"}}", "filter.occurred_at.prefix: a time has no prefix"},
        {"{\"all\": {}}", "filter.all: expected an array of filters"},
        {"{\"any\": []}", "filter.any: is empty; expected at least one filter"},
        {"{\"not\": []}", "filter.not: expected an object"},
        {"{\"all\": [1]}", "filter.all[0]: expected an object"},
        {"{\"all\": [{\"id\": 1}, {}]}", "filter.all[1]: is empty"},
        {"{\"all\": [{\"id\": 1}, {\"payload.contact.interest\": {\"gt\": false}}]}",
         "filter.all[1].payload.contact.interest.gt: expected a number or a string"},
        {"{\"any\": [{\"not\": {\"all\": [{\"id\": 1}, {\"x\": 2}]}}]}", "filter.any[0].not.all[1].x: unknown path"},
        {"{\"id\": 1, \"i\\u0064\": 2}", "filter.id: is given twice"},
        {"{\"payload.a\": 1, \"payload.b\": 2, \"payload.a\": 1}", "filter.payload.a: is given twice"},
        {"{\"any\": [{\"id\": 1}], \"any\": [{\"id\": 1}]}", "filter.any: is given twice"},
        {"{\"payload.a\": {\"gt\": 1, \"lt\": 5, \"gt\": 2}}", "filter.payload.a.gt: is given twice"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_refused(span_of(cases[i].json), cases[i].expected);
    }
}

/* A path of that many names below the payload. */
static void write_path(struct buffer *out, int names) {
    buffer_text(out, "{\"payload");
    for (int i = 0; i < names; i++) {
        buffer_text(out, ".a");
    }
    buffer_text(out, "\": 1}");
}

static void write_nested(struct buffer *out, int depth) {
    for (int i = 1; i < depth; i++) {
        buffer_text(out, i % 3 == 0 ? "{\"not\": " : i % 3 == 1 ? "{\"all\": [" : "{\"any\": [");
    }
    buffer_text(out, "{\"payload.a\": 1}");
    for (int i = depth - 1; i >= 1; i--) {
        buffer_text(out, i % 3 == 0 ? "}" : "]}");
    }
}

static void write_conditions(struct buffer *out, int count) {
    buffer_text(out, "{\"any\": [");
    for (int i = 0; i < count; i += 2) {
        buffer_printf(out, "%s{\"payload.a%d\": {\"gt\": 1%s}}", i ? "," : "", i, i + 1 < count ? ", \"lt\": 3" : "");
    }
    buffer_text(out, "]}");
}

static void write_in(struct buffer *out, int count) {
    buffer_text(out, "{\"payload.a\": {\"in\": [");
    for (int i = 0; i < count; i++) {
        buffer_text(out, i ? ",1" : "1");
    }
    buffer_text(out, "]}}");
}

static void sizes_have_bounds(void **state) {
    (void)state;
    static const struct {
        void (*write)(struct buffer *out, int size);
        int max;
        const char *expected;
    } cases[] = {
        {write_path, FILTER_MAX_PATH_NAMES, "filter.payload.a.a.a.a"},
        {write_nested, FILTER_MAX_DEPTH,
         "filter.all[0].any[0].not.all[0].any[0].not.all[0].any[0]: filters nested more"},
        {write_conditions, FILTER_MAX_CONDITIONS, "filter.any[50].payload.a100.gt: more than 100 conditions in all"},
        {write_in, FILTER_MAX_IN, "filter.payload.a.in: more than 1000 values"},
    };
    struct event *event = event_with("{\"a\": 1, \"a98\": 2}");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buffer json;
        buffer_init(&json, FILTER_MAX_BYTES);
        cases[i].write(&json, cases[i].max);
        struct filter *filter = compile(json.data);
        assert_int_equal(filter_takes(filter, event), cases[i].write != write_path);
        filter_unref(&filter);
        buffer_reset(&json);
        cases[i].write(&json, cases[i].max + 1);
        assert_false(json.overflowed);
        assert_refused(buffer_view(&json), cases[i].expected);
        buffer_deinit(&json);
    }
    event_unref(&event);
}

static void bytes_have_a_bound(void **state) {
    (void)state;
    char *json = mem_alloc(FILTER_MAX_BYTES + 2);
    memset(json, ' ', FILTER_MAX_BYTES + 2);
    memcpy(json, "{\"id\": 1}", 9);
    struct filter *filter = NULL;
    assert_int_equal(filter_compile((struct span){json, FILTER_MAX_BYTES}, &filter, NULL), STATUS_OK);
    filter_unref(&filter);
    assert_refused((struct span){json, FILTER_MAX_BYTES + 1}, "filter: longer than 16384 bytes");
    mem_free(json);
}

/* Names as long as can be: an error stays one that fits. */
static void long_names_are_cut_in_errors(void **state) {
    (void)state;
    struct buffer json;
    buffer_init(&json, FILTER_MAX_BYTES);
    buffer_text(&json, "{\"payload.");
    for (int i = 0; i < 100; i++) {
        buffer_text(&json, "\xC3\xA4");
    }
    buffer_text(&json, "\": {\"gt\": false}}");
    struct filter *filter = NULL;
    struct error error = {""};
    assert_int_equal(filter_compile(buffer_view(&json), &filter, &error), STATUS_INVALID);
    assert_true(strlen(error.text) < 120);
    assert_non_null(strstr(error.text, ".gt: expected a number or a string"));
    assert_int_equal(utf8_valid_prefix(span_of(error.text)), strlen(error.text));
    buffer_deinit(&json);
}

static void references_are_counted(void **state) {
    (void)state;
    struct filter *filter = compile("{\"payload.a\": \"x\"}");
    struct filter *second = filter_ref(filter);
    assert_ptr_equal(filter, second);
    filter_unref(&filter);
    assert_null(filter);
    filter_unref(&filter);
    struct event *event = event_with("{\"a\": \"x\"}");
    assert_true(filter_takes(second, event));
    event_unref(&event);
    filter_unref(&second);
}

static void a_small_filter_is_small(void **state) {
    (void)state;
    struct filter *small = compile("{\"payload.a\": \"x\"}");
    struct filter *large = compile("{\"payload.a\": {\"in\": [1, 2, 3, \"four\"]}, \"payload.b.c\": 1.5}");
    assert_in_range(filter_footprint_bytes(small), 50, 300);
    assert_true(filter_footprint_bytes(large) > filter_footprint_bytes(small));
    filter_unref(&small);
    filter_unref(&large);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_the_place),  cmocka_unit_test(sizes_have_bounds),
        cmocka_unit_test(bytes_have_a_bound),     cmocka_unit_test(long_names_are_cut_in_errors),
        cmocka_unit_test(references_are_counted), cmocka_unit_test(a_small_filter_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
