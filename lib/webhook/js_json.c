/* The value is walked by a cursor; only objects need more than that, because their members change places. The members
 * of all objects that are open lie on one stack, their names beside it, already spelt as they will be written: two
 * names are the same to JavaScript just when that spelling is. */
#include "webhook/js_json.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FEW_MEMBERS 12
#define PLAIN_DIGITS 15         /* of an integer that every double of its size is exact for */
#define NOT_AN_INDEX UINT32_MAX /* the greatest array index is one less (ECMA-262, 6.1.7) */

struct member {
    size_t name_at, name_len; /* in names */
    const char *value;
    uint32_t index; /* that the name is, or NOT_AN_INDEX */
    uint32_t order; /* of the name's first appearance */
};

struct writer {
    struct buffer *out;
    struct buffer names;
    struct member *members; /* a stack */
    size_t count, capacity;
};

/* --- Numbers --- */

/* digits: count significant ones, no zero at the end; the value is 0.digits times ten to the power of point.
 * ECMA-262, 6.1.6.1.20. */
static void write_digits(const char *digits, int count, int point, struct buffer *out) {
    static const char zeros[] = "0000000000000000000000";
    if (count <= point && point <= 21) {
        buffer_append(out, digits, (size_t)count);
        buffer_append(out, zeros, (size_t)(point - count));
    } else if (0 < point && point <= 21) {
        buffer_append(out, digits, (size_t)point);
        buffer_char(out, '.');
        buffer_append(out, digits + point, (size_t)(count - point));
    } else if (-6 < point && point <= 0) {
        buffer_append(out, "0.", 2);
        buffer_append(out, zeros, (size_t)-point);
        buffer_append(out, digits, (size_t)count);
    } else {
        buffer_append(out, digits, 1);
        if (count > 1) {
            buffer_char(out, '.');
            buffer_append(out, digits + 1, (size_t)count - 1);
        }
        int exponent = point - 1;
        buffer_append(out, exponent < 0 ? "e-" : "e+", 2);
        buffer_int(out, exponent < 0 ? -exponent : exponent);
    }
}

/* Below a power of two the doubles lie twice as dense as above it: the decimal nearest to it may then be too far below,
 * while the next one up still means it. text: "d.ddde±x" */
static bool next_decimal_means(double number, char text[32]) {
    int exponent;
    char *last = strchr(text, 'e') - 1;
    if (frexp(number, &exponent) != 0.5 || *last == '9' || *last == '.') {
        return false;
    }
    ++*last;
    return strtod(text, NULL) == number;
}

/* The fewest digits that still mean this double, as "d.ddde±x" in text. Up to 15 digits every decimal survives the way
 * through a normal double, so that 15 digits less their last zeros are the fewest; subnormal ones hold less. */
static void shortest(double number, char text[32]) {
    int precision = number < DBL_MIN ? 1 : DBL_DIG;
    do {
        snprintf(text, 32, "%.*e", precision - 1, number);
    } while (strtod(text, NULL) != number && !next_decimal_means(number, text) && ++precision <= DBL_DECIMAL_DIG);
}

void js_json_number(double number, struct buffer *out) {
    if (!isfinite(number)) {
        buffer_append(out, "null", 4);
        return;
    }
    if (fabs(number) < 9007199254740992.0 && number == (double)(int64_t)number) {
        buffer_int(out, (int64_t)number); /* -0 is 0 too */
        return;
    }
    if (number < 0) {
        buffer_char(out, '-');
        number = -number;
    }
    char text[32];
    shortest(number, text);
    char digits[20];
    int count = 0;
    const char *c = text;
    for (; *c != 'e'; c++) {
        if (*c != '.') {
            digits[count++] = *c;
        }
    }
    while (count > 1 && digits[count - 1] == '0') {
        count--;
    }
    write_digits(digits, count, (int)strtol(c + 1, NULL, 10) + 1, out);
}

/* One that JavaScript writes just so. */
static bool is_plain_integer(const char *text, size_t len) {
    if (*text == '-') {
        text++;
        len--;
        if (*text == '0') {
            return false;
        }
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return true;
}

static const char *write_number(const char *at, const char *end, struct buffer *out) {
    const char *start = at;
    while (at < end && (*at == '-' || *at == '+' || *at == '.' || (*at | 0x20) == 'e' || (*at >= '0' && *at <= '9'))) {
        at++;
    }
    size_t len = (size_t)(at - start);
    if (len <= PLAIN_DIGITS && is_plain_integer(start, len)) {
        buffer_append(out, start, len);
        return at;
    }
    char small[64];
    char *text = len < sizeof(small) ? small : mem_alloc(len + 1); /* strtod wants a NUL */
    memcpy(text, start, len);
    text[len] = '\0';
    js_json_number(strtod(text, NULL), out);
    if (text != small) {
        mem_free(text);
    }
    return at;
}

/* --- Strings --- */

static unsigned hex4(const char *digits) {
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        value = value << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

static void write_unit_escape(unsigned unit, struct buffer *out) {
    static const char hex[] = "0123456789abcdef";
    char escape[] = {'\\', 'u', hex[unit >> 12], hex[unit >> 8 & 15], hex[unit >> 4 & 15], hex[unit & 15]};
    buffer_append(out, escape, sizeof(escape));
}

/* A UTF-16 unit that is no surrogate, as JSON.stringify's QuoteJSONString writes it (ECMA-262, 25.5.2.3). */
static void write_unit(unsigned unit, struct buffer *out) {
    static const char SHORT[0x60] = {
        ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    if (unit < sizeof(SHORT) && SHORT[unit]) {
        char escape[] = {'\\', SHORT[unit]};
        buffer_append(out, escape, sizeof(escape));
    } else if (unit < 0x20) {
        write_unit_escape(unit, out);
    } else {
        utf8_encode(unit, out);
    }
}

/* at: a backslash. Returns what follows the escape, or the two of a surrogate pair. */
static const char *write_escape(const char *at, struct buffer *out) {
    static const char MEANING[256] = {['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    if (at[1] != 'u') {
        unsigned char c = (unsigned char)at[1];
        write_unit(MEANING[c] ? (unsigned char)MEANING[c] : c, out);
        return at + 2;
    }
    unsigned unit = hex4(at + 2);
    at += 6;
    if (unit < 0xD800 || unit > 0xDFFF) {
        write_unit(unit, out);
        return at;
    }
    /* The string goes on at least to its quote, so there is a byte to look at. */
    if (unit < 0xDC00 && at[0] == '\\' && at[1] == 'u') {
        unsigned low = hex4(at + 2);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            utf8_encode(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00), out);
            return at + 6;
        }
    }
    write_unit_escape(unit, out);
    return at;
}

/* at: the opening quote. Returns what follows the closing one. */
static const char *write_string(const char *at, struct buffer *out) {
    buffer_char(out, '"');
    at++;
    while (*at != '"') {
        if (*at == '\\') {
            at = write_escape(at, out);
            continue;
        }
        const char *plain = at;
        while (*at != '"' && *at != '\\') {
            at++;
        }
        buffer_append(out, plain, (size_t)(at - plain));
    }
    buffer_char(out, '"');
    return at + 1;
}

/* --- Values --- */

static const char *skip_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) {
        at++;
    }
    return at;
}

static const char *skip_string(const char *at, const char *end) {
    for (const char *quote = at + 1;; quote++) {
        quote = memchr(quote, '"', (size_t)(end - quote));
        const char *escape = quote;
        while (escape[-1] == '\\') {
            escape--;
        }
        if ((quote - escape) % 2 == 0) {
            return quote + 1;
        }
    }
}

/* Over a member's value, to the comma or brace behind it. */
static const char *skip_value(const char *at, const char *end) {
    for (int depth = 0;;) {
        if (*at == '"') {
            at = skip_string(at, end);
            continue;
        }
        if (depth == 0 && (*at == ',' || *at == '}')) {
            return at;
        }
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        at++;
    }
}

/* The array index that a name is, when it is spelt as JavaScript spells that number. */
static uint32_t index_of(const char *name, size_t len) {
    name++; /* the quotes */
    len -= 2;
    if (len == 0 || len > 10 || (name[0] == '0' && len > 1)) {
        return NOT_AN_INDEX;
    }
    uint64_t index = 0;
    for (size_t i = 0; i < len; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return NOT_AN_INDEX;
        }
        index = index * 10 + (uint64_t)(name[i] - '0');
    }
    return index < NOT_AN_INDEX ? (uint32_t)index : NOT_AN_INDEX;
}

static struct member *push_member(struct writer *writer) {
    if (writer->count == writer->capacity) {
        writer->capacity = writer->capacity ? 2 * writer->capacity : 32;
        writer->members = mem_realloc(writer->members, writer->capacity * sizeof(*writer->members));
    }
    return &writer->members[writer->count++];
}

/* at: behind the opening brace. Returns what follows the closing one. */
static const char *collect_members(struct writer *writer, const char *at, const char *end) {
    size_t base = writer->count;
    at = skip_space(at, end);
    while (*at == '"') {
        struct member *member = push_member(writer);
        member->name_at = writer->names.len;
        at = skip_space(write_string(at, &writer->names), end);
        member->name_len = writer->names.len - member->name_at;
        member->index = index_of(writer->names.data + member->name_at, member->name_len);
        member->order = (uint32_t)(writer->count - base);
        member->value = skip_space(at + 1, end); /* over the colon */
        at = skip_value(member->value, end);
        if (*at == ',') {
            at = skip_space(at + 1, end);
        }
    }
    return at + 1;
}

static int by_name(const void *left, const void *right, void *names) {
    const struct member *a = left;
    const struct member *b = right;
    if (a->name_len != b->name_len) {
        return a->name_len < b->name_len ? -1 : 1;
    }
    int order = memcmp((const char *)names + a->name_at, (const char *)names + b->name_at, a->name_len);
    return order ? order : (a->order > b->order) - (a->order < b->order);
}

static int by_place(const void *left, const void *right) {
    const struct member *a = left;
    const struct member *b = right;
    if (a->index != b->index) {
        return a->index < b->index ? -1 : 1;
    }
    return (a->order > b->order) - (a->order < b->order);
}

static bool same_name(const struct writer *writer, const struct member *a, const struct member *b) {
    const char *names = writer->names.data;
    return a->name_len == b->name_len && memcmp(names + a->name_at, names + b->name_at, a->name_len) == 0;
}

/* Whether few members need no sorting: no name is an index, none comes twice. */
static bool in_place_already(const struct writer *writer, const struct member *members, size_t count) {
    if (count > FEW_MEMBERS) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (members[i].index != NOT_AN_INDEX) {
            return false;
        }
        for (size_t j = 0; j < i; j++) {
            if (same_name(writer, &members[i], &members[j])) {
                return false;
            }
        }
    }
    return true;
}

/* Leaves one member a name: the last one's value at the first one's place. */
static void arrange_members(struct writer *writer, size_t base) {
    size_t count = writer->count - base;
    if (count < 2) {
        return;
    }
    struct member *members = writer->members + base;
    if (in_place_already(writer, members, count)) {
        return;
    }
    qsort_r(members, count, sizeof(*members), by_name, writer->names.data);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct member *last = kept ? &members[kept - 1] : NULL;
        if (last && same_name(writer, last, &members[i])) {
            last->value = members[i].value;
        } else {
            members[kept++] = members[i];
        }
    }
    qsort(members, kept, sizeof(*members), by_place);
    writer->count = base + kept;
}

static const char *write_value(struct writer *writer, const char *at, const char *end);

static const char *write_object(struct writer *writer, const char *at, const char *end) {
    size_t base = writer->count;
    size_t names_base = writer->names.len;
    at = collect_members(writer, at + 1, end);
    arrange_members(writer, base);
    char before = '{';
    for (size_t i = base; i < writer->count; i++) {
        struct member member = writer->members[i]; /* the stack may move */
        buffer_char(writer->out, before);
        buffer_append(writer->out, writer->names.data + member.name_at, member.name_len);
        buffer_char(writer->out, ':');
        write_value(writer, member.value, end);
        before = ',';
    }
    if (before == '{') {
        buffer_char(writer->out, '{');
    }
    buffer_char(writer->out, '}');
    writer->count = base;
    writer->names.len = names_base;
    return at;
}

static const char *write_array(struct writer *writer, const char *at, const char *end) {
    buffer_char(writer->out, '[');
    at = skip_space(at + 1, end);
    while (*at != ']') {
        at = skip_space(write_value(writer, at, end), end);
        if (*at == ',') {
            buffer_char(writer->out, ',');
            at = skip_space(at + 1, end);
        }
    }
    buffer_char(writer->out, ']');
    return at + 1;
}

/* Recursion goes no deeper than the value, whose depth the scan has bounded. Returns what follows the value. */
static const char *write_value(struct writer *writer, const char *at, const char *end) {
    switch (*at) {
    case '"':
        return write_string(at, writer->out);
    case '{':
        return write_object(writer, at, end);
    case '[':
        return write_array(writer, at, end);
    case 't':
    case 'n':
        buffer_append(writer->out, at, 4);
        return at + 4;
    case 'f':
        buffer_append(writer->out, at, 5);
        return at + 5;
    default:
        return write_number(at, end, writer->out);
    }
}

void js_json_write(struct span value, struct buffer *out) {
    struct writer writer = {.out = out};
    buffer_init(&writer.names, value.len + 1);
    const char *end = value.data + value.len;
    write_value(&writer, skip_space(value.data, end), end);
    CHECK(!writer.names.overflowed);
    buffer_deinit(&writer.names);
    mem_free(writer.members);
}
