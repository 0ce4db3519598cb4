/* Random filters on random events, against an evaluator that takes its time: jansson's trees, walked anew for every
 * condition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "filter_samples.h"

#include <math.h>
#include <stdlib.h>

/* jansson's names for its types are json_scan's too. */
#define JSON_NULL JANSSON_NULL
#define JSON_FALSE JANSSON_FALSE
#define JSON_TRUE JANSSON_TRUE
#define JSON_STRING JANSSON_STRING
#define JSON_ARRAY JANSSON_ARRAY
#define JSON_OBJECT JANSSON_OBJECT
#include <jansson.h>
#undef JSON_NULL
#undef JSON_FALSE
#undef JSON_TRUE
#undef JSON_STRING
#undef JSON_ARRAY
#undef JSON_OBJECT

#define FILTERS 4000
#define EVENTS_EACH 6
#define OCCURRED_ISO "2016-05-02T21:11:47.945+02:00"

/* --- Writing them --- */

static uint32_t next_random(uint32_t *random) {
    *random ^= *random << 13;
    *random ^= *random >> 17;
    *random ^= *random << 5;
    return *random;
}

static size_t roll(uint32_t *random, size_t sides) {
    return next_random(random) % sides;
}

static const char *pick(uint32_t *random, const char *const *from, size_t count) {
    return from[roll(random, count)];
}

/* Each name twice, spelt in two ways. */
static const char *const NAMES[] = {"a", "\\u0061", "b", "\\u0062", "ab", "a\\u0062", "0", "\\u0030", "1", "\\u0031"};
static const char *const NUMBERS[] = {"0",
                                      "-0.0",
                                      "1",
                                      "1.0",
                                      "10e-1",
                                      "-1",
                                      "1.5",
                                      "15e-1",
                                      "10",
                                      "1e1",
                                      "2",
                                      "9007199254740992",
                                      "9007199254740993",
                                      "9223372036854775807",
                                      "1e300",
                                      "-1e300"};
static const char *const STRINGS[] = {
    "\"\"",         "\"x\"",       "\"\\u0078\"",        "\"xy\"", "\"\\u0078y\"", "\"y\"",
    "\"\xC3\xA4\"", "\"\\u00e4\"", "\"\\ud83d\\ude00\"", "\"1\"",  "\"x\\n\"",     "\"X\""};
static const char *const WORDS[] = {"null", "true", "false"};
static const char *const SPACES[] = {"", "", "", "", " ", "\n", "  \t"};

static void write_space(struct buffer *out, uint32_t *random) {
    buffer_text(out, pick(random, SPACES, COUNT(SPACES)));
}

static void write_scalar(struct buffer *out, uint32_t *random) {
    switch (roll(random, 5)) {
    case 0:
    case 1:
        buffer_text(out, pick(random, NUMBERS, COUNT(NUMBERS)));
        break;
    case 2:
    case 3:
        buffer_text(out, pick(random, STRINGS, COUNT(STRINGS)));
        break;
    default:
        buffer_text(out, pick(random, WORDS, COUNT(WORDS)));
    }
}

static void write_value(struct buffer *out, uint32_t *random, int depth) {
    size_t what = depth ? roll(random, 5) : 0;
    if (what < 2) {
        write_scalar(out, random);
        return;
    }
    bool object = what < 4;
    buffer_char(out, object ? '{' : '[');
    size_t count = roll(random, 9);
    for (size_t i = 0; i < count; i++) {
        buffer_text(out, i ? "," : "");
        write_space(out, random);
        if (object) {
            buffer_printf(out, "\"%s\"", pick(random, NAMES, COUNT(NAMES)));
            write_space(out, random);
            buffer_char(out, ':');
            write_space(out, random);
        }
        write_value(out, random, depth - 1);
        write_space(out, random);
    }
    buffer_char(out, object ? '}' : ']');
}

static void write_event(struct buffer *out, uint32_t *random) {
    buffer_reset(out);
    buffer_printf(out, "{\"id\":%s,", roll(random, 2) ? "\"x\"" : "1");
    if (roll(random, 2)) {
        buffer_printf(out, "\"event_source\":%s,", roll(random, 3) ? pick(random, STRINGS, COUNT(STRINGS)) : "null");
    }
    if (roll(random, 20)) {
        buffer_text(out, "\"payload\":");
        write_value(out, random, roll(random, 20) ? 4 : 0);
        buffer_char(out, ',');
    }
    buffer_text(out, "\"event_type\":\"message.new\"}");
}

static void write_time(struct buffer *out, uint32_t *random) {
    if (roll(random, 2)) {
        buffer_text(out, "\"" OCCURRED_ISO "\"");
    } else {
        buffer_int(out, OCCURRED - 1 + (int64_t)roll(random, 3));
    }
}

static void write_operand(struct buffer *out, uint32_t *random, bool time) {
    if (time) {
        write_time(out, random);
    } else {
        write_scalar(out, random);
    }
}

static void write_operator(struct buffer *out, uint32_t *random, bool time) {
    static const char *const ordered[] = {"gt", "gte", "lt", "lte"};
    switch (roll(random, time ? 6 : 7)) {
    case 0:
    case 1:
        buffer_printf(out, "\"%s\":", roll(random, 2) ? "eq" : "ne");
        write_operand(out, random, time);
        break;
    case 2:
    case 3:
        buffer_printf(out, "\"%s\":", pick(random, ordered, COUNT(ordered)));
        if (time) {
            write_time(out, random);
        } else {
            buffer_text(out, roll(random, 2) ? pick(random, NUMBERS, COUNT(NUMBERS))
                                             : pick(random, STRINGS, COUNT(STRINGS)));
        }
        break;
    case 4:
        buffer_printf(out, "\"exists\":%s", roll(random, 2) ? "true" : "false");
        break;
    case 5:
        buffer_text(out, "\"in\":[");
        for (size_t i = roll(random, 8) + 1; i > 0; i--) {
            write_operand(out, random, time);
            buffer_text(out, i > 1 ? "," : "]");
        }
        break;
    default:
        buffer_printf(out, "\"prefix\":%s", pick(random, STRINGS, COUNT(STRINGS)));
    }
}

static void write_condition(struct buffer *out, uint32_t *random) {
    size_t what = roll(random, 12);
    bool time = what == 0;
    if (what < 3) {
        buffer_printf(out, "\"%s\":", time ? "occurred_at" : what == 1 ? "id" : "event_source");
    } else {
        buffer_text(out, "\"payload");
        for (size_t i = roll(random, 10) ? 1 + roll(random, 2) : roll(random, 4); i > 0; i--) {
            buffer_printf(out, ".%s", pick(random, NAMES, COUNT(NAMES)));
        }
        buffer_text(out, "\":");
    }
    if (roll(random, 4) == 0) {
        write_operand(out, random, time);
        return;
    }
    buffer_char(out, '{');
    write_operator(out, random, time);
    if (roll(random, 4) == 0) {
        buffer_char(out, ',');
        write_operator(out, random, time);
    }
    buffer_char(out, '}');
}

static void write_filter(struct buffer *out, uint32_t *random, int depth) {
    buffer_char(out, '{');
    for (size_t i = roll(random, 4) ? 1 : 2; i > 0; i--) {
        size_t what = depth ? roll(random, 8) : 7;
        if (what > 2) {
            write_condition(out, random);
        } else if (what == 0) {
            buffer_text(out, "\"not\":");
            write_filter(out, random, depth - 1);
        } else {
            buffer_text(out, what == 1 ? "\"all\":[" : "\"any\":[");
            for (size_t j = roll(random, 3) + 1; j > 0; j--) {
                write_filter(out, random, depth - 1);
                buffer_text(out, j > 1 ? "," : "]");
            }
        }
        buffer_text(out, i > 1 ? "," : "}");
    }
}

/* --- The other evaluator --- */

struct number {
    bool whole;
    int64_t integer;
    double real;
};

static bool is_number(const json_t *value) {
    return json_typeof(value) == JSON_INTEGER || json_typeof(value) == JSON_REAL;
}

static struct number number_of(const json_t *value) {
    double real = json_number_value(value);
    if (json_typeof(value) == JSON_INTEGER) {
        return (struct number){true, json_integer_value(value), real};
    }
    bool whole = fabs(real) < 9e18 && real == trunc(real);
    return (struct number){whole, whole ? (int64_t)real : 0, real};
}

static bool order_of(const json_t *value, const json_t *operand, int *ret_order) {
    if (is_number(value) && is_number(operand)) {
        struct number a = number_of(value), b = number_of(operand);
        *ret_order = a.whole && b.whole ? (a.integer > b.integer) - (a.integer < b.integer)
                                        : (a.real > b.real) - (a.real < b.real);
        return true;
    }
    if (json_typeof(value) == JANSSON_STRING && json_typeof(operand) == JANSSON_STRING) {
        *ret_order = strcmp(json_string_value(value), json_string_value(operand));
        return true;
    }
    return false;
}

static bool naive_equal(const json_t *value, const json_t *operand) {
    int order;
    if (!value) {
        return false;
    }
    if (order_of(value, operand, &order)) {
        return order == 0;
    }
    return json_typeof(value) == json_typeof(operand) && json_typeof(value) >= JANSSON_TRUE;
}

static bool naive_in(const json_t *value, const json_t *operands) {
    for (size_t i = 0; i < json_array_size(operands); i++) {
        if (naive_equal(value, json_array_get(operands, i))) {
            return true;
        }
    }
    return false;
}

static bool naive_operator(const char *op, const json_t *operand, const json_t *value) {
    int order = 0;
    if (strcmp(op, "exists") == 0) {
        return (value != NULL) == (json_typeof(operand) == JANSSON_TRUE);
    }
    if (strcmp(op, "eq") == 0 || strcmp(op, "ne") == 0) {
        return naive_equal(value, operand) == (op[0] == 'e');
    }
    if (strcmp(op, "in") == 0) {
        return naive_in(value, operand);
    }
    if (!value || !order_of(value, operand, &order)) {
        return false;
    }
    if (strcmp(op, "prefix") == 0) {
        size_t len = json_string_length(operand);
        return json_typeof(value) == JANSSON_STRING &&
               strncmp(json_string_value(value), json_string_value(operand), len) == 0;
    }
    bool equal_too = op[2] == 'e';
    return (op[0] == 'g' ? order > 0 : order < 0) || (equal_too && order == 0);
}

static const json_t *walk(const json_t *value, const char *path) {
    while (value && *path) {
        size_t len = strcspn(path, ".");
        char name[32] = "";
        memcpy(name, path, len);
        if (json_typeof(value) == JANSSON_OBJECT) {
            value = json_object_get(value, name);
        } else if (json_typeof(value) == JANSSON_ARRAY && (strcmp(name, "0") == 0 || strcmp(name, "1") == 0)) {
            value = json_array_get(value, (size_t)(name[0] - '0'));
        } else {
            value = NULL;
        }
        path += len + (path[len] == '.');
    }
    return value;
}

/* A time as the integer that it means. */
static void make_time(json_t *holder, const char *name, json_t *operand) {
    if (json_typeof(operand) == JANSSON_STRING) {
        json_object_set_new(holder, name, json_integer(OCCURRED));
    }
}

static void make_times(json_t *filter, json_t *condition) {
    if (json_typeof(condition) != JANSSON_OBJECT) {
        make_time(filter, "occurred_at", condition);
        return;
    }
    const char *op;
    json_t *operand;
    void *next;
    json_object_foreach_safe(condition, next, op, operand) {
        if (json_typeof(operand) == JANSSON_ARRAY) {
            for (size_t i = 0; i < json_array_size(operand); i++) {
                if (json_typeof(json_array_get(operand, i)) == JANSSON_STRING) {
                    json_array_set_new(operand, i, json_integer(OCCURRED));
                }
            }
        } else {
            make_time(condition, op, operand);
        }
    }
}

static bool naive_condition(json_t *filter, const char *path, json_t *condition, const json_t *event) {
    if (strcmp(path, "occurred_at") == 0) {
        make_times(filter, condition);
        condition = json_object_get(filter, path);
    }
    const json_t *value = walk(event, path);
    if (json_typeof(condition) != JANSSON_OBJECT) {
        return naive_equal(value, condition);
    }
    const char *op;
    json_t *operand;
    bool holds = true;
    json_object_foreach(condition, op, operand) {
        holds = naive_operator(op, operand, value) && holds;
    }
    return holds;
}

static bool naive_takes(json_t *filter, const json_t *event) {
    const char *name;
    json_t *member;
    void *next;
    bool takes = true;
    json_object_foreach_safe(filter, next, name, member) {
        bool holds;
        if (strcmp(name, "not") == 0) {
            holds = !naive_takes(member, event);
        } else if (strcmp(name, "all") == 0 || strcmp(name, "any") == 0) {
            size_t held = 0, count = json_array_size(member);
            for (size_t i = 0; i < count; i++) {
                held += naive_takes(json_array_get(member, i), event);
            }
            holds = name[1] == 'l' ? held == count : held > 0;
        } else {
            holds = naive_condition(filter, name, member, event);
        }
        takes = takes && holds;
    }
    return takes;
}

static json_t *naive_event(const char *text) {
    json_error_t error;
    json_t *event = json_loads(text, 0, &error);
    if (!event) {
        fail_msg("%s: %s", text, error.text);
    }
    json_object_set_new(event, "occurred_at", json_integer(OCCURRED));
    json_t *source = json_object_get(event, "event_source");
    if (source && json_typeof(source) == JANSSON_NULL) {
        json_object_del(event, "event_source");
    }
    return event;
}

/* --- Both --- */

/* How often the filter takes one of EVENTS_EACH events; both evaluators say the same of each. */
static int compare(struct filter *filter, const char *json, uint32_t *random) {
    struct buffer text;
    buffer_init(&text, 1 << 20);
    int taken = 0;
    json_t *naive = json_loads(json, 0, NULL);
    for (int i = 0; i < EVENTS_EACH; i++) {
        write_event(&text, random);
        struct event *event = event_of(text.data);
        json_t *other = naive_event(text.data);
        bool takes = filter_takes(filter, event);
        if (takes != naive_takes(naive, other)) {
            fail_msg("%s takes %s: %s", json, text.data, takes ? "true" : "false");
        }
        taken += takes;
        json_decref(other);
        event_unref(&event);
    }
    json_decref(naive);
    buffer_deinit(&text);
    return taken;
}

static void both_evaluators_say_the_same(void **state) {
    (void)state;
    uint32_t random = 2463534242;
    int compiled = 0, taken = 0;
    struct buffer json;
    buffer_init(&json, FILTER_MAX_BYTES);
    for (int i = 0; i < FILTERS; i++) {
        buffer_reset(&json);
        write_filter(&json, &random, 2);
        assert_false(json.overflowed);
        /* What names a member twice is refused, and nothing else. */
        json_t *unique = json_loads(json.data, JSON_REJECT_DUPLICATES, NULL);
        struct filter *filter = NULL;
        struct error error = {""};
        enum status status = filter_compile(buffer_view(&json), &filter, &error);
        if ((status == STATUS_OK) != (unique != NULL) || (!unique && !strstr(error.text, "is given twice"))) {
            fail_msg("%s: %s", json.data, error.text);
        }
        if (filter) {
            compiled++;
            taken += compare(filter, json.data, &random);
            filter_unref(&filter);
        }
        json_decref(unique);
    }
    buffer_deinit(&json);
    assert_in_range(compiled, FILTERS / 2, FILTERS - 1);
    assert_in_range(taken, compiled * EVENTS_EACH / 5, compiled * EVENTS_EACH * 4 / 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_evaluators_say_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
