#include "api/schema_private.h"
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 500000
#define DEPTH 300
#define CHEAP 16       /* members looked up, or elements compared, are a step */
#define TEXT_BYTES 256 /* as are so many of a text */
#define MESSAGE_BYTES 200

/* ---- shared ---- */

size_t schema_enter(struct schema_walk *walk, const char *name) {
    size_t before = walk->path_len, room = sizeof(walk->path) - 1;
    char escaped[3] = {'~', '0', '\0'};
    if (walk->path_len < room)
        walk->path[walk->path_len++] = '/';
    for (; *name && walk->path_len + 2 < room; name++) {
        escaped[1] = *name == '~' ? '0' : '1';
        if (*name == '~' || *name == '/') {
            memcpy(walk->path + walk->path_len, escaped, 2);
            walk->path_len += 2;
        } else {
            walk->path[walk->path_len++] = *name;
        }
    }
    walk->path[walk->path_len] = '\0';
    return before;
}

size_t schema_enter_index(struct schema_walk *walk, size_t index) {
    char name[32];
    (void)snprintf(name, sizeof(name), "%zu", index);
    return schema_enter(walk, name);
}

void schema_leave(struct schema_walk *walk, size_t path_len) {
    walk->path_len = path_len;
    walk->path[path_len] = '\0';
}

bool schema_wrong(struct schema_walk *walk, const char *format, ...) {
    char message[MESSAGE_BYTES];
    va_list args;
    if (!walk->complain || walk->complaints++ >= SCHEMA_MAX_COMPLAINTS)
        return false;
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    walk->complain(walk->ctx, walk->path, message);
    return false;
}

const json_t *schema_resolve(const json_t *root, const char *reference) {
    static const char DEFS[] = "#/$defs/";
    char name[SCHEMA_PATH_BYTES];
    size_t len = 0;
    if (strcmp(reference, "#") == 0)
        return root;
    if (strncmp(reference, DEFS, sizeof(DEFS) - 1) != 0)
        return NULL;
    for (const char *at = reference + sizeof(DEFS) - 1; *at; at++) {
        char c = *at;
        if (c == '/' || c == '%' || len + 1 == sizeof(name))
            return NULL;
        if (c == '~') {
            at++;
            if (*at != '0' && *at != '1')
                return NULL;
            c = *at == '0' ? '~' : '/';
        }
        name[len++] = c;
    }
    name[len] = '\0';
    return json_object_get(json_object_get(root, "$defs"), name);
}

static long double number(const json_t *value) {
    return json_is_integer(value) ? (long double)json_integer_value(value) : (long double)json_real_value(value);
}

bool schema_is_integer(const json_t *value) {
    return json_is_integer(value) || (json_is_real(value) && floor(json_real_value(value)) == json_real_value(value));
}

bool schema_equal(struct schema_walk *walk, const json_t *a, const json_t *b) {
    const char *name;
    json_t *one;
    size_t i;
    if (++walk->compared % CHEAP == 0)
        walk->steps--;
    if (walk->steps < 0)
        return false;
    if (json_is_number(a) && json_is_number(b))
        return number(a) == number(b);
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_array(a)) {
        if (json_array_size(a) != json_array_size(b))
            return false;
        json_array_foreach(a, i, one) {
            if (!schema_equal(walk, one, json_array_get(b, i)))
                return false;
        }
        return true;
    }
    if (!json_is_object(a))
        return json_equal(a, b);
    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach((json_t *)a, name, one) {
        const json_t *other = json_object_get(b, name);
        if (!other || !schema_equal(walk, one, other))
            return false;
    }
    return true;
}

/* ---- numbers ---- */

/* digits · 10^exponent, of the shortest decimal that reads as the number: what was written, up to 15 digits. */
struct decimal {
    unsigned long long digits;
    int exponent;
};

static struct decimal decimal_of(const json_t *value) {
    struct decimal decimal = {0, 0};
    if (json_is_integer(value)) {
        json_int_t whole = json_integer_value(value);
        decimal.digits = whole < 0 ? 0ULL - (unsigned long long)whole : (unsigned long long)whole;
        return decimal;
    }
    char text[64];
    double real = fabs(json_real_value(value));
    for (int precision = 14; precision <= 16; precision++) {
        (void)snprintf(text, sizeof(text), "%.*e", precision, real);
        if (strtod(text, NULL) == real)
            break;
    }
    char *at = text;
    for (bool point = false; *at != 'e'; at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        decimal.digits = decimal.digits * 10 + (unsigned long long)(*at - '0');
        decimal.exponent -= point;
    }
    decimal.exponent += (int)strtol(at + 1, NULL, 10);
    while (decimal.digits && decimal.digits % 10 == 0) {
        decimal.digits /= 10;
        decimal.exponent++;
    }
    return decimal;
}

static bool is_multiple(const json_t *value, const json_t *of) {
    struct decimal a = decimal_of(value), b = decimal_of(of);
    unsigned __int128 rest = a.digits, divisor = b.digits;
    if (a.digits == 0)
        return true;
    if (b.digits == 0)
        return false; /* of what is greater than 0, but not as a double */
    for (; a.exponent > b.exponent; a.exponent--) {
        rest = rest % divisor * 10;
        if (rest == 0)
            return true;
    }
    for (; a.exponent < b.exponent; b.exponent--) {
        if (divisor > rest) /* and grows */
            return false;
        divisor *= 10;
    }
    return rest % divisor == 0;
}

/* ---- values ---- */

static bool check(struct schema_walk *walk, const json_t *schema, const json_t *value);

/* Without complaints. */
static bool holds(struct schema_walk *walk, const json_t *schema, const json_t *value) {
    schema_complain_fn *complain = walk->complain;
    walk->complain = NULL;
    bool valid = check(walk, schema, value);
    walk->complain = complain;
    return valid;
}

static bool has_type(const json_t *value, const char *type) {
    static const struct {
        const char *name;
        json_type type;
    } TYPES[] = {{"object", JSON_OBJECT}, {"array", JSON_ARRAY}, {"string", JSON_STRING}, {"null", JSON_NULL}};
    if (strcmp(type, "number") == 0)
        return json_is_number(value);
    if (strcmp(type, "integer") == 0)
        return schema_is_integer(value);
    if (strcmp(type, "boolean") == 0)
        return json_is_boolean(value);
    for (size_t i = 0; i < sizeof(TYPES) / sizeof(*TYPES); i++)
        if (strcmp(type, TYPES[i].name) == 0)
            return json_typeof(value) == TYPES[i].type;
    return false;
}

static bool check_type(struct schema_walk *walk, const json_t *wanted, const json_t *value) {
    char list[120] = "";
    if (json_is_string(wanted))
        return has_type(value, json_string_value(wanted)) ||
               schema_wrong(walk, "expected %s", json_string_value(wanted));
    for (size_t i = 0; i < json_array_size(wanted); i++) {
        const char *type = json_string_value(json_array_get(wanted, i));
        size_t len = strlen(list);
        if (has_type(value, type))
            return true;
        (void)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "", type);
    }
    return schema_wrong(walk, "expected one of %s", list);
}

static bool check_number(struct schema_walk *walk, const char *keyword, const json_t *limit, const json_t *value) {
    long double bound = number(limit), is = number(value);
    if (strcmp(keyword, "maximum") == 0)
        return is <= bound || schema_wrong(walk, "is more than %.15Lg", bound);
    if (strcmp(keyword, "exclusiveMaximum") == 0)
        return is < bound || schema_wrong(walk, "is not less than %.15Lg", bound);
    if (strcmp(keyword, "minimum") == 0)
        return is >= bound || schema_wrong(walk, "is less than %.15Lg", bound);
    if (strcmp(keyword, "exclusiveMinimum") == 0)
        return is > bound || schema_wrong(walk, "is not more than %.15Lg", bound);
    if (strcmp(keyword, "multipleOf") == 0)
        return is_multiple(value, limit) || schema_wrong(walk, "is no multiple of %.15Lg", bound);
    return true;
}

/* In characters. */
static size_t text_len(const json_t *value) {
    const char *text = json_string_value(value);
    size_t len = 0;
    for (size_t i = 0; i < json_string_length(value); i++)
        len += ((unsigned char)text[i] & 0xC0) != 0x80;
    return len;
}

/* maxLength and the like: `max…` or `min…` of what there is to count. */
static bool check_count(struct schema_walk *walk, const char *keyword, const char *what, size_t count,
                        const json_t *limit) {
    long double bound = number(limit);
    if (strncmp(keyword, "max", 3) == 0)
        return (long double)count <= bound || schema_wrong(walk, "has more than %.15Lg %s", bound, what);
    return (long double)count >= bound || schema_wrong(walk, "has fewer than %.15Lg %s", bound, what);
}

static bool check_unique(struct schema_walk *walk, const json_t *value) {
    for (size_t i = 0; i < json_array_size(value); i++)
        for (size_t n = 0; n < i; n++) {
            if (--walk->steps < 0)
                return schema_wrong(walk, "takes too long to check");
            if (schema_equal(walk, json_array_get(value, i), json_array_get(value, n)))
                return schema_wrong(walk, "elements %zu and %zu are equal", n, i);
        }
    return true;
}

static bool check_contains(struct schema_walk *walk, const json_t *schema, const json_t *wanted, const json_t *value) {
    const json_t *min = json_object_get(schema, "minContains"), *max = json_object_get(schema, "maxContains");
    long double count = 0;
    size_t i;
    json_t *one;
    json_array_foreach(value, i, one) count += holds(walk, wanted, one);
    if (count < (min ? number(min) : 1))
        return schema_wrong(walk, "has too few elements that are as contains says");
    if (max && count > number(max))
        return schema_wrong(walk, "has too many elements that are as contains says");
    return true;
}

static bool check_element(struct schema_walk *walk, const json_t *schema, const json_t *value, size_t index) {
    size_t path = schema_enter_index(walk, index);
    bool valid = check(walk, schema, json_array_get(value, index));
    schema_leave(walk, path);
    return valid;
}

static bool check_array(struct schema_walk *walk, const json_t *schema, const char *keyword, const json_t *said,
                        const json_t *value) {
    size_t count = json_array_size(value), prefix = json_array_size(json_object_get(schema, "prefixItems"));
    bool valid = true;
    if (strcmp(keyword, "items") == 0) {
        for (size_t i = prefix; i < count; i++)
            valid &= check_element(walk, said, value, i);
    } else if (strcmp(keyword, "prefixItems") == 0) {
        for (size_t i = 0; i < count && i < prefix; i++)
            valid &= check_element(walk, json_array_get(said, i), value, i);
    } else if (strcmp(keyword, "contains") == 0) {
        valid = check_contains(walk, schema, said, value);
    } else if (strcmp(keyword, "uniqueItems") == 0) {
        valid = !json_is_true(said) || check_unique(walk, value);
    } else if (strcmp(keyword, "maxItems") == 0 || strcmp(keyword, "minItems") == 0) {
        valid = check_count(walk, keyword, "elements", count, said);
    }
    return valid;
}

static bool check_required(struct schema_walk *walk, const json_t *names, const json_t *value) {
    bool valid = true;
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!json_object_get(value, name))
            valid = schema_wrong(walk, "lacks \"%.100s\"", name);
    }
    return valid;
}

/* Of each member: what `properties` says of it, or for others `additionalProperties`. */
static bool check_members(struct schema_walk *walk, const json_t *properties, const json_t *others,
                          const json_t *value) {
    const char *name;
    json_t *member;
    bool valid = true;
    json_object_foreach((json_t *)value, name, member) {
        const json_t *said = json_object_get(properties, name);
        if (others)
            said = said ? NULL : others;
        if (!said)
            continue;
        size_t path = schema_enter(walk, name);
        valid &= json_is_false(said) ? schema_wrong(walk, "there is no such member") : check(walk, said, member);
        schema_leave(walk, path);
    }
    return valid;
}

static bool check_names(struct schema_walk *walk, const json_t *said, const json_t *value) {
    const char *name;
    json_t *member;
    bool valid = true;
    json_object_foreach((json_t *)value, name, member) {
        json_t *text = json_string(name);
        size_t path = schema_enter(walk, name);
        valid &= holds(walk, said, text) || schema_wrong(walk, "is not named as propertyNames says");
        schema_leave(walk, path);
        json_decref(text);
    }
    return valid;
}

static bool check_dependents(struct schema_walk *walk, const json_t *said, const json_t *value) {
    const char *name;
    json_t *one;
    bool valid = true;
    json_object_foreach((json_t *)said, name, one) {
        if (!json_object_get(value, name))
            continue;
        valid &= json_is_array(one) ? check_required(walk, one, value) : check(walk, one, value);
    }
    return valid;
}

static bool check_object(struct schema_walk *walk, const json_t *schema, const char *keyword, const json_t *said,
                         const json_t *value) {
    if (strcmp(keyword, "properties") == 0)
        return check_members(walk, said, NULL, value);
    if (strcmp(keyword, "additionalProperties") == 0)
        return check_members(walk, json_object_get(schema, "properties"), said, value);
    if (strcmp(keyword, "required") == 0)
        return check_required(walk, said, value);
    if (strcmp(keyword, "propertyNames") == 0)
        return check_names(walk, said, value);
    if (strcmp(keyword, "dependentRequired") == 0 || strcmp(keyword, "dependentSchemas") == 0)
        return check_dependents(walk, said, value);
    if (strcmp(keyword, "maxProperties") == 0 || strcmp(keyword, "minProperties") == 0)
        return check_count(walk, keyword, "members", json_object_size(value), said);
    return true;
}

static size_t count_holding(struct schema_walk *walk, const json_t *schemas, const json_t *value) {
    size_t count = 0, i;
    json_t *one;
    json_array_foreach(schemas, i, one) count += holds(walk, one, value);
    return count;
}

/* What is about the value as a whole, whatever its type. */
static bool check_any(struct schema_walk *walk, const json_t *schema, const char *keyword, const json_t *said,
                      const json_t *value) {
    size_t i;
    json_t *one;
    bool valid = true;
    if (strcmp(keyword, "type") == 0)
        return check_type(walk, said, value);
    if (strcmp(keyword, "const") == 0)
        return schema_equal(walk, said, value) || schema_wrong(walk, "is not the one value that is allowed");
    if (strcmp(keyword, "enum") == 0) {
        json_array_foreach(said, i, one) {
            if (schema_equal(walk, one, value))
                return true;
        }
        return schema_wrong(walk, "is none of the values that are allowed");
    }
    if (strcmp(keyword, "$ref") == 0)
        return check(walk, schema_resolve(walk->root, json_string_value(said)), value);
    if (strcmp(keyword, "allOf") == 0) {
        json_array_foreach(said, i, one) valid &= check(walk, one, value);
        return valid;
    }
    if (strcmp(keyword, "anyOf") == 0)
        return count_holding(walk, said, value) > 0 || schema_wrong(walk, "is as none of anyOf says");
    if (strcmp(keyword, "oneOf") == 0)
        return count_holding(walk, said, value) == 1 || schema_wrong(walk, "is not as exactly one of oneOf says");
    if (strcmp(keyword, "not") == 0)
        return !holds(walk, said, value) || schema_wrong(walk, "is as it must not be");
    if (strcmp(keyword, "if") == 0) {
        const json_t *next = json_object_get(schema, holds(walk, said, value) ? "then" : "else");
        return !next || check(walk, next, value);
    }
    return true;
}

/* What a keyword may take besides the checks of parts, which count themselves. */
static long cost_of(const json_t *said, const json_t *value) {
    size_t members =
        json_array_size(said) + json_object_size(said) + json_object_size(value) + (json_is_real(value) ? CHEAP : 0);
    return (long)(members / CHEAP + json_string_length(value) / TEXT_BYTES);
}

static bool check_keyword(struct schema_walk *walk, const json_t *schema, const char *keyword, const json_t *said,
                          const json_t *value) {
    walk->steps -= cost_of(said, value);
    if (walk->steps < 0)
        return schema_wrong(walk, "takes too long to check");
    if (!check_any(walk, schema, keyword, said, value))
        return false;
    if (json_is_array(value))
        return check_array(walk, schema, keyword, said, value);
    if (json_is_object(value))
        return check_object(walk, schema, keyword, said, value);
    if (json_is_number(value))
        return check_number(walk, keyword, said, value);
    if (json_is_string(value) && (strcmp(keyword, "maxLength") == 0 || strcmp(keyword, "minLength") == 0))
        return check_count(walk, keyword, "characters", text_len(value), said);
    return true;
}

static bool check(struct schema_walk *walk, const json_t *schema, const json_t *value) {
    const char *keyword;
    json_t *said;
    bool valid = true;
    if (--walk->steps < 0 || walk->depth >= DEPTH) {
        walk->steps = -1; /* and so is whatever this was a part of */
        return schema_wrong(walk, "takes too long to check");
    }
    if (!json_is_object(schema))
        return json_is_true(schema) || schema_wrong(walk, "no value is allowed here");
    walk->depth++;
    json_object_foreach((json_t *)schema, keyword, said) valid &= check_keyword(walk, schema, keyword, said, value);
    walk->depth--;
    return valid;
}

static bool check_within(const json_t *schema, const json_t *value, long *steps, schema_complain_fn *complain,
                         void *ctx) {
    long most = *steps < STEPS ? *steps : STEPS;
    struct schema_walk walk = {.root = schema, .complain = complain, .ctx = ctx, .steps = most};
    bool valid = check(&walk, schema, value);
    *steps -= most - (walk.steps < 0 ? 0 : walk.steps);
    if (walk.steps < 0) { /* a part that was given up may have turned into a yes by `not` */
        schema_leave(&walk, 0);
        if (walk.complaints == 0)
            schema_wrong(&walk, "takes too long to check");
        return false;
    }
    return valid;
}

bool schema_check(const struct json_t *schema, const struct json_t *value, schema_complain_fn *complain, void *ctx) {
    long steps = STEPS;
    return check_within(schema, value, &steps, complain, ctx);
}

struct json_t *schema_load(const char *text, size_t len) {
    json_error_t why;
    json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (!value && json_error_code(&why) == json_error_numeric_overflow)
        value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &why);
    return value;
}

bool schema_check_text(const struct json_t *schema, const char *text, size_t len, long *steps,
                       schema_complain_fn *complain, void *ctx) {
    json_t *value = schema_load(text, len);
    if (!value) {
        complain(ctx, "",
                 "has something that can't be checked against the schema: a number that is too large, a lone "
                 "surrogate, or a name with a NUL");
        return false;
    }
    bool valid = check_within(schema, value, steps, complain, ctx);
    json_decref(value);
    return valid;
}
