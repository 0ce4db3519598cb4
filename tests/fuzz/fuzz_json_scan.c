/* json_scan against jansson: the same verdict on any bytes, but for what is known to differ:
 * - jansson refuses lone surrogates (\uD800), numbers past its own range, and NUL in a member's name;
 * - json_scan refuses what is nested deeper than JSON_MAX_DEPTH;
 * - jansson 2.14 swallows a NUL byte after a number.
 * What both take must say the same, compacted too. */
#include "base/json_scan.h"
#include "fuzz.h"

#include <string.h>

/* jansson's names for its types are json_scan's too. Its macros that use them (json_is_object …) must not be used here.
 */
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

#define FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL)

static json_t *load(struct span text, json_error_t *error) {
    return json_loadb(text.data, text.len, FLAGS, error);
}

static void init_for(struct buffer *buffer, size_t len) {
    buffer_init(buffer, 8 * len + 64);
}

static bool jansson_is_just_stricter(const json_error_t *error) {
    enum json_error_code code = json_error_code(error);
    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
           code == json_error_stack_overflow || strstr(error->text, "invalid Unicode");
}

struct members {
    size_t count;
    json_t *object; /* NULL: jansson refused the text */
};

static bool see_member(void *ctx, const struct json_member *member) {
    struct members *members = ctx;
    members->count++;
    struct json_value value;
    CHECK(json_scan(member->value.text, NULL, NULL, &value, NULL) == STATUS_OK);
    CHECK(value.type == member->value.type && value.compact == member->value.compact);
    CHECK(value.escaped == member->value.escaped && span_equal(value.text, member->value.text));
    bool backslash = member->name.len && memchr(member->name.data, '\\', member->name.len);
    CHECK(member->name_escaped == backslash);
    if (members->object) {
        struct buffer name;
        init_for(&name, member->name.len);
        json_unescape(member->name, &name);
        CHECK(json_object_getn(members->object, buffer_view(&name).data, name.len));
        buffer_deinit(&name);
    }
    return true;
}

static bool count_element(void *ctx, const struct json_value *element) {
    (void)element;
    (*(size_t *)ctx)++;
    return true;
}

static void check_scalar(const struct json_value *value, const json_t *other) {
    if (value->type == JSON_STRING) {
        struct buffer text;
        init_for(&text, value->text.len);
        json_unescape(value->text, &text);
        CHECK(span_equal(buffer_view(&text), (struct span){json_string_value(other), json_string_length(other)}));
        bool backslash = memchr(value->text.data, '\\', value->text.len);
        CHECK(value->escaped == backslash);
        buffer_deinit(&text);
    } else if (value->type == JSON_NUMBER) {
        int64_t number;
        bool integer = json_int64(value->text, &number) == STATUS_OK;
        if (json_is_integer(other)) {
            CHECK(integer && number == json_integer_value(other));
        } else {
            CHECK(!integer || (double)number == json_real_value(other));
        }
    }
}

static void check_same(struct span text, const struct json_value *value, json_t *other) {
    static const int types[] = {
        [JSON_NULL] = JANSSON_NULL,     [JSON_FALSE] = JANSSON_FALSE,   [JSON_TRUE] = JANSSON_TRUE,
        [JSON_NUMBER] = JSON_INTEGER,   [JSON_STRING] = JANSSON_STRING, [JSON_ARRAY] = JANSSON_ARRAY,
        [JSON_OBJECT] = JANSSON_OBJECT,
    };
    int type = json_typeof(other);
    CHECK((type == JSON_REAL ? JSON_INTEGER : type) == types[value->type]);
    struct members members = {.object = other};
    json_each_member(text, see_member, &members);
    if (value->type == JSON_OBJECT) {
        CHECK(members.count >= json_object_size(other));
    } else if (value->type == JSON_ARRAY) {
        size_t count = 0;
        json_each_element(text, count_element, &count);
        CHECK(count == json_array_size(other));
    } else {
        check_scalar(value, other);
    }
}

static void check_compact(const struct json_value *value, json_t *other) {
    struct buffer compact, again;
    init_for(&compact, value->text.len);
    init_for(&again, value->text.len);
    json_compact(value, &compact);
    CHECK(compact.len <= value->text.len);
    CHECK(value->compact == (compact.len == value->text.len));
    struct json_value rescanned;
    CHECK(json_scan(buffer_view(&compact), NULL, NULL, &rescanned, NULL) == STATUS_OK);
    CHECK(rescanned.compact && rescanned.type == value->type && rescanned.text.len == compact.len);
    rescanned.compact = false; /* the other way must change nothing */
    json_compact(&rescanned, &again);
    CHECK(span_equal(buffer_view(&compact), buffer_view(&again)));
    if (other) {
        json_error_t error;
        json_t *reloaded = load(buffer_view(&compact), &error);
        CHECK(reloaded && json_equal(reloaded, other));
        json_decref(reloaded);
    }
    buffer_deinit(&compact);
    buffer_deinit(&again);
}

/* Any bytes as a string: quoted, they scan; what comes back is the bytes, made valid. */
static void check_quote(struct span text) {
    struct buffer quoted, back, clean;
    init_for(&quoted, text.len);
    init_for(&back, text.len);
    init_for(&clean, text.len);
    json_quote(text, &quoted);
    struct json_value value;
    CHECK(json_scan(buffer_view(&quoted), NULL, NULL, &value, NULL) == STATUS_OK);
    CHECK(value.type == JSON_STRING && value.text.len == quoted.len);
    json_unescape(value.text, &back);
    CHECK(utf8_valid_prefix(buffer_view(&back)) == back.len);
    utf8_clean(text, &clean);
    CHECK(utf8_valid_prefix(buffer_view(&clean)) == clean.len && !memchr(buffer_view(&clean).data, '\0', clean.len));
    if (utf8_valid_prefix(text) == text.len) {
        CHECK(span_equal(buffer_view(&back), text));
    }
    buffer_reset(&quoted);
    utf8_clean(buffer_view(&back), &quoted);
    CHECK(span_equal(buffer_view(&quoted), buffer_view(&clean)));
    buffer_deinit(&quoted);
    buffer_deinit(&back);
    buffer_deinit(&clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span text = {(const char *)data, size};
    struct error error = {""};
    struct json_value value;
    struct members members = {0};
    bool taken = json_scan(text, see_member, &members, &value, &error) == STATUS_OK;
    json_error_t other_error;
    json_t *other = load(text, &other_error);
    if (taken) {
        CHECK(other || jansson_is_just_stricter(&other_error));
        if (other) {
            check_same(text, &value, other);
        }
        check_compact(&value, other);
    } else {
        CHECK(!other || strstr(error.text, "nested too deep") || memchr(data, '\0', size));
        CHECK(strncmp(error.text, "byte ", 5) == 0);
    }
    json_decref(other);
    check_quote(text);
    int64_t number;
    bool integer = json_int64(text, &number) == STATUS_OK;
    CHECK(!integer || (taken && value.type == JSON_NUMBER && value.text.len == size));
    return 0;
}
