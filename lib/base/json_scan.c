/* One loop over the text, with a state that says what must come next. What is open is a stack of bits (1: object, 0:
 * array), which is why the depth is bounded by the bits of a word and nothing recurses.
 *
 *            ┌──────────── ',' in an array ───────────┐
 *            ▼                                        │
 *   ──▶ VALUE ── '[' ──▶ ELEMENT_OR_END ── value ──▶ AFTER_VALUE ── depth 0 ──▶ done
 *            │                  └───────── ']' ─────▶ ▲ │
 *            ├── '{' ──▶ NAME_OR_END ────── '}' ──────┘ │
 *            │             │ name ':' ──▶ VALUE         │
 *            └── scalar ───┼─────────▶ AFTER_VALUE      │
 *                        NAME ◀──── ',' in an object ───┘
 *
 * Whether a value is compact costs nothing but a pointer: where the last white space outside a string was seen. If that
 * is before the value's first byte, the value has none.
 *
 * Most bytes of an event lie in strings, so these are passed over eight at a time. */
#include "base/json_scan.h"

#include <endian.h>

enum next { VALUE, ELEMENT_OR_END, NAME_OR_END, NAME, AFTER_VALUE };

static const char *const EXPECTED[] = {
    [VALUE] = "expected a value",
    [ELEMENT_OR_END] = "expected a value or ']'",
    [NAME_OR_END] = "expected a name in quotes or '}'",
    [NAME] = "expected a name in quotes",
    [AFTER_VALUE] = "expected ',' or the end of what is open",
};

struct scan {
    const char *start;
    const char *end;
    const char *last_space; /* the last white space outside strings; NULL: none */
    uint64_t objects;       /* what is open, innermost lowest: 1 is an object */
    int depth;
    struct json_member member; /* of the outermost object: the one being read */
    struct json_value whole;
    json_member_fn *on_member;
    json_element_fn *on_element;
    void *ctx;
    bool stopped;         /* by a callback */
    const char *wrong_at; /* set with wrong: where and what */
    const char *wrong;
};

/* Returns NULL, for whom there is no next byte. */
static const char *fail(struct scan *s, const char *at, const char *wrong) {
    s->wrong_at = at;
    s->wrong = wrong;
    return NULL;
}

/* 1: a byte of a string that means only itself. */
static const bool PLAIN[256] = {
    [0x20] = 1,
    [0x21] = 1,
    [0x23 ... 0x5B] = 1,
    [0x5D ... 0x7F] = 1,
};

/* The first byte of a run of eight that is not plain, or 8. A borrow can only spoil bytes above a hit. */
static size_t plain_bytes(const char *p) {
    const uint64_t ones = 0x0101010101010101;
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    word = le64toh(word);
    uint64_t quote = word ^ (ones * '"');
    uint64_t backslash = word ^ (ones * '\\');
    uint64_t hits = ((word - ones * 0x20) | (quote - ones) | (backslash - ones) | word) & (ones * 0x80);
    return hits ? (size_t)__builtin_ctzll(hits) / 8 : 8;
}

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* p: at the backslash. Returns what follows the escape. */
static const char *scan_escape(struct scan *s, const char *p) {
    const char *start = p++;
    if (p == s->end) {
        return fail(s, p, "the string does not end");
    }
    switch (*p++) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p;
    case 'u':
        for (int i = 0; i < 4; i++, p++) {
            if (p == s->end) {
                return fail(s, p, "the string does not end");
            }
            if (!is_hex(*p)) {
                return fail(s, start, "wrong \\u escape");
            }
        }
        return p;
    default:
        return fail(s, start, "unknown escape");
    }
}

static const char *scan_non_ascii(struct scan *s, const char *p) {
    while (p < s->end && (unsigned char)*p >= 0x80) {
        bool valid;
        size_t len = utf8_next((struct span){p, (size_t)(s->end - p)}, &valid);
        if (!valid) {
            return fail(s, p, "not UTF-8");
        }
        p += len;
    }
    return p;
}

/* p: after the opening quote. Returns what follows the closing one. */
static const char *scan_string(struct scan *s, const char *p, bool *ret_escaped) {
    bool escaped = false;
    for (;;) {
        if (s->end - p >= 8) {
            size_t run = plain_bytes(p);
            p += run;
            if (run == 8) {
                continue;
            }
        } else {
            while (p < s->end && PLAIN[(unsigned char)*p]) {
                p++;
            }
            if (p == s->end) {
                return fail(s, p, "the string does not end");
            }
        }
        if (*p == '"') {
            *ret_escaped = escaped;
            return p + 1;
        }
        if (*p == '\\') {
            escaped = true;
            p = scan_escape(s, p);
        } else if ((unsigned char)*p >= 0x80) {
            p = scan_non_ascii(s, p);
        } else {
            return fail(s, p, "control character in a string");
        }
        if (!p) {
            return NULL;
        }
    }
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* NULL when there is no digit at p; nothing is failed then. */
static const char *skip_digits(const char *p, const char *end) {
    const char *start = p;
    while (p < end && is_digit(*p)) {
        p++;
    }
    return p > start ? p : NULL;
}

static const char *scan_number(struct scan *s, const char *p) {
    const char *end = s->end;
    if (*p == '-') {
        p++;
    }
    const char *digits = p;
    p = skip_digits(p, end);
    if (!p) {
        return fail(s, digits, "expected a digit");
    }
    if (*digits == '0' && p > digits + 1) {
        return fail(s, digits, "a number begins with 0");
    }
    if (p < end && *p == '.') {
        const char *fraction = p + 1;
        p = skip_digits(fraction, end);
        if (!p) {
            return fail(s, fraction, "expected a digit");
        }
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        const char *exponent = p + 1;
        if (exponent < end && (*exponent == '+' || *exponent == '-')) {
            exponent++;
        }
        p = skip_digits(exponent, end);
        if (!p) {
            return fail(s, exponent, "expected a digit");
        }
    }
    return p;
}

static const char *scan_word(struct scan *s, const char *p, struct span word) {
    if ((size_t)(s->end - p) < word.len || memcmp(p, word.data, word.len) != 0) {
        return fail(s, p, EXPECTED[VALUE]);
    }
    return p + word.len;
}

static const char *skip_space(struct scan *s, const char *p) {
    while (p < s->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        s->last_space = p++;
    }
    return p;
}

/* Where a value is noted: the whole one, the outermost object's or array's, or (deeper) nowhere. */
static struct json_value *noted(struct scan *s) {
    return s->depth == 0 ? &s->whole : s->depth == 1 ? &s->member.value : NULL;
}

static void begin_value(struct scan *s, const char *p, enum json_type type) {
    struct json_value *value = noted(s);
    if (value) {
        value->type = type;
        value->escaped = false;
        value->text.data = p;
    }
}

/* p: after the value. False: a callback has seen enough. */
static bool end_value(struct scan *s, const char *p) {
    struct json_value *value = noted(s);
    if (!value) {
        return true;
    }
    value->text.len = (size_t)(p - value->text.data);
    value->compact = !s->last_space || s->last_space < value->text.data;
    if (s->depth == 1) {
        bool go_on = s->objects & 1 ? !s->on_member || s->on_member(s->ctx, &s->member)
                                    : !s->on_element || s->on_element(s->ctx, value);
        s->stopped = !go_on;
        return go_on;
    }
    return true;
}

static const char *scan_scalar(struct scan *s, const char *p) {
    const char *after;
    bool escaped = false;
    switch (*p) {
    case '"':
        begin_value(s, p, JSON_STRING);
        after = scan_string(s, p + 1, &escaped);
        if (after && noted(s)) {
            noted(s)->escaped = escaped;
        }
        break;
    case 't':
        begin_value(s, p, JSON_TRUE);
        after = scan_word(s, p, SPAN_LITERAL("true"));
        break;
    case 'f':
        begin_value(s, p, JSON_FALSE);
        after = scan_word(s, p, SPAN_LITERAL("false"));
        break;
    case 'n':
        begin_value(s, p, JSON_NULL);
        after = scan_word(s, p, SPAN_LITERAL("null"));
        break;
    case '-':
    case '0' ... '9':
        begin_value(s, p, JSON_NUMBER);
        after = scan_number(s, p);
        break;
    default:
        return fail(s, p, EXPECTED[VALUE]);
    }
    return after && end_value(s, after) ? after : NULL;
}

static const char *scan_open(struct scan *s, const char *p) {
    if (s->depth == JSON_MAX_DEPTH) {
        return fail(s, p, "nested too deep");
    }
    bool object = *p == '{';
    begin_value(s, p, object ? JSON_OBJECT : JSON_ARRAY);
    s->objects = s->objects << 1 | object;
    s->depth++;
    return p + 1;
}

static const char *scan_close(struct scan *s, const char *p) {
    s->objects >>= 1;
    s->depth--;
    return end_value(s, p + 1) ? p + 1 : NULL;
}

/* p: at the name's opening quote. Returns what follows the colon. */
static const char *scan_name(struct scan *s, const char *p) {
    const char *name = p + 1;
    bool escaped;
    p = scan_string(s, name, &escaped);
    if (!p) {
        return NULL;
    }
    if (s->depth == 1) {
        s->member.name = (struct span){name, (size_t)(p - 1 - name)};
        s->member.name_escaped = escaped;
    }
    p = skip_space(s, p);
    return p < s->end && *p == ':' ? p + 1 : fail(s, p, "expected ':'");
}

/* One value from p to s->end. False: s says what is wrong, or that a callback has stopped it. */
static bool scan_text(struct scan *s) {
    enum next next = VALUE;
    const char *p = skip_space(s, s->start);
    for (;;) {
        if (p == s->end) {
            return fail(s, p, EXPECTED[next]);
        }
        bool object = s->objects & 1;
        char c = *p;
        if (next == AFTER_VALUE) {
            if (c == ',') {
                p++;
                next = object ? NAME : VALUE;
            } else if (c == (object ? '}' : ']')) {
                p = scan_close(s, p);
            } else {
                return fail(s, p, object ? "expected ',' or '}'" : "expected ',' or ']'");
            }
        } else if (next == NAME || next == NAME_OR_END) {
            if (c == '"') {
                p = scan_name(s, p);
                next = VALUE;
            } else if (c == '}' && next == NAME_OR_END) {
                p = scan_close(s, p);
                next = AFTER_VALUE;
            } else {
                return fail(s, p, EXPECTED[next]);
            }
        } else if (c == '{' || c == '[') {
            p = scan_open(s, p);
            next = c == '{' ? NAME_OR_END : ELEMENT_OR_END;
        } else {
            p = c == ']' && next == ELEMENT_OR_END ? scan_close(s, p) : scan_scalar(s, p);
            next = AFTER_VALUE;
        }
        if (!p) {
            return false;
        }
        p = skip_space(s, p);
        if (next == AFTER_VALUE && s->depth == 0) {
            return p == s->end || fail(s, p, "expected nothing more");
        }
    }
}

enum status json_scan(struct span text, json_member_fn *on_member, void *ctx, struct json_value *ret_value,
                      struct error *error) {
    if (!text.len) {
        return error_set(error, STATUS_INVALID, "byte 0: %s", EXPECTED[VALUE]);
    }
    struct scan s = {.start = text.data, .end = text.data + text.len, .on_member = on_member, .ctx = ctx};
    if (!scan_text(&s)) {
        if (s.stopped) {
            return STATUS_INVALID;
        }
        return error_set(error, STATUS_INVALID, "byte %zu: %s", (size_t)(s.wrong_at - s.start), s.wrong);
    }
    if (ret_value) {
        *ret_value = s.whole;
    }
    return STATUS_OK;
}

/* Text that was accepted is scanned again: as fast as walking it, and safe when the caller erred. */
static void walk(struct span text, json_member_fn *on_member, json_element_fn *on_element, void *ctx) {
    if (text.len) {
        struct scan s = {
            .start = text.data,
            .end = text.data + text.len,
            .on_member = on_member,
            .on_element = on_element,
            .ctx = ctx,
        };
        (void)scan_text(&s);
    }
}

void json_each_element(struct span array, json_element_fn *on_element, void *ctx) {
    walk(array, NULL, on_element, ctx);
}

void json_each_member(struct span object, json_member_fn *on_member, void *ctx) {
    walk(object, on_member, NULL, ctx);
}

struct search {
    struct span name;
    size_t index; /* SIZE_MAX: name is no index */
    size_t seen;  /* elements */
    bool found;
    struct json_value value;
};

static bool name_is(const struct json_member *member, struct span name) {
    if (!member->name_escaped) {
        return span_equal(member->name, name);
    }
    struct buffer plain;
    buffer_init(&plain, member->name.len);
    json_unescape(member->name, &plain);
    bool same = !plain.overflowed && span_equal(buffer_view(&plain), name);
    buffer_deinit(&plain);
    return same;
}

static bool search_member(void *ctx, const struct json_member *member) {
    struct search *search = ctx;
    if (name_is(member, search->name)) {
        search->found = true;
        search->value = member->value;
    }
    return true;
}

static bool search_element(void *ctx, const struct json_value *element) {
    struct search *search = ctx;
    if (search->seen++ != search->index) {
        return true;
    }
    search->found = true;
    search->value = *element;
    return false;
}

size_t json_index(struct span name) {
    if (!name.len || name.len > 9 || (name.data[0] == '0' && name.len > 1)) {
        return SIZE_MAX;
    }
    size_t index = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (!is_digit(name.data[i])) {
            return SIZE_MAX;
        }
        index = index * 10 + (size_t)(name.data[i] - '0');
    }
    return index;
}

bool json_find(struct span value, struct span path, struct json_value *ret_value) {
    struct search search = {.value.text = value};
    for (;;) {
        const char *dot = path.len ? memchr(path.data, '.', path.len) : NULL;
        search.name = (struct span){path.data, dot ? (size_t)(dot - path.data) : path.len};
        search.index = json_index(search.name);
        search.seen = 0;
        search.found = false;
        walk(search.value.text, search_member, search_element, &search);
        if (!search.found) {
            return false;
        }
        if (!dot) {
            *ret_value = search.value;
            return true;
        }
        path = (struct span){dot + 1, path.len - search.name.len - 1};
    }
}

/* p: after the opening quote of an accepted string. Returns what follows the closing one. */
static const char *skip_string(const char *p, const char *end) {
    while (p < end && *p != '"') {
        size_t run = end - p >= 8 ? plain_bytes(p) : 0;
        if (!run) {
            run = *p == '\\' ? 2 : 1;
        }
        p += run;
    }
    return p < end ? p + 1 : end;
}

void json_compact(const struct json_value *value, struct buffer *out) {
    const char *p = value->text.data;
    const char *end = value->text.len ? p + value->text.len : p;
    if (value->compact) {
        p = end;
    }
    const char *run = value->text.data; /* what is still to be appended begins here */
    while (p < end) {
        if (*p == '"') {
            p = skip_string(p + 1, end);
        } else if (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') {
            buffer_append(out, run, (size_t)(p - run));
            run = ++p;
        } else {
            p++;
        }
    }
    buffer_append(out, run, (size_t)(end - run));
}

/* A number as significant × 10^scale, where significant doesn't end in 0. False: it has more digits than a 64-bit
 * integer can have, whatever the scale. */
static bool significant_digits(struct span digits, uint64_t *ret_significant, int64_t *ret_scale) {
    uint64_t significant = 0;
    int64_t zeros = 0;
    int64_t after_point = 0;
    bool fraction = false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] == '.') {
            fraction = true;
            continue;
        }
        after_point += fraction;
        uint64_t digit = (uint64_t)(digits.data[i] - '0');
        if (digit == 0) {
            zeros += significant != 0;
            continue;
        }
        for (; zeros >= 0; zeros--) {
            if (significant && __builtin_mul_overflow(significant, 10, &significant)) {
                return false;
            }
        }
        zeros = 0;
        if (__builtin_add_overflow(significant, digit, &significant)) {
            return false;
        }
    }
    *ret_significant = significant;
    *ret_scale = zeros - after_point;
    return true;
}

/* Past any length of text; more digits than this change nothing. */
static int64_t exponent_of(struct span text) {
    const int64_t limit = INT64_MAX / 4;
    bool negative = text.len && text.data[0] == '-';
    int64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (is_digit(text.data[i]) && value < limit / 10) {
            value = value * 10 + (text.data[i] - '0');
        }
    }
    return negative ? -value : value;
}

enum status json_int64(struct span number_text, int64_t *ret_value) {
    if (!number_text.len) {
        return STATUS_INVALID;
    }
    struct scan s = {.start = number_text.data, .end = number_text.data + number_text.len};
    if (scan_number(&s, s.start) != s.end) {
        return STATUS_INVALID;
    }
    bool negative = number_text.data[0] == '-';
    struct span digits = {number_text.data + negative, number_text.len - negative};
    int64_t exponent = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if ((digits.data[i] | 0x20) == 'e') {
            exponent = exponent_of((struct span){digits.data + i + 1, digits.len - i - 1});
            digits.len = i;
        }
    }
    uint64_t value;
    int64_t scale;
    if (!significant_digits(digits, &value, &scale)) {
        return STATUS_INVALID;
    }
    scale += exponent;
    if (value && scale < 0) {
        return STATUS_INVALID;
    }
    for (; value && scale > 0; scale--) {
        if (__builtin_mul_overflow(value, 10, &value)) {
            return STATUS_INVALID;
        }
    }
    if (value > (uint64_t)INT64_MAX + negative) {
        return STATUS_INVALID;
    }
    *ret_value = negative ? (int64_t)(0 - value) : (int64_t)value;
    return STATUS_OK;
}
