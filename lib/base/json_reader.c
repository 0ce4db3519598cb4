/* What is passed over is searched eight bytes at a time for the few that count: in a string its end and backslashes,
 * elsewhere quotes and brackets. */
#include "base/json_reader.h"

#include <endian.h>

#define ONES 0x0101010101010101U
#define HIGHS 0x8080808080808080U

/* The high bit of each byte of word that is c, and perhaps of some above the lowest such. */
static uint64_t hits(uint64_t word, unsigned char c) {
    uint64_t zero_where = word ^ (ONES * c);
    return (zero_where - ONES) & ~zero_where & HIGHS;
}

static uint64_t load(const char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return le64toh(word);
}

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const char *pass_space(const char *p, const char *end) {
    while (p < end && is_space(*p)) {
        p++;
    }
    return p;
}

/* p: after the opening quote. Returns what follows the closing one. */
static const char *pass_string(const char *p, const char *end, bool *ret_escaped) {
    *ret_escaped = false;
    while (p < end) {
        if (end - p >= 8) {
            uint64_t word = load(p);
            uint64_t found = hits(word, '"') | hits(word, '\\');
            if (!found) {
                p += 8;
                continue;
            }
            p += __builtin_ctzll(found) / 8;
        }
        if (*p == '"') {
            return p + 1;
        }
        if (*p == '\\') {
            *ret_escaped = true;
            p++;
        }
        p++;
    }
    return end;
}

/* p: somewhere between the tokens of an open array or object. Returns what follows its end. */
static const char *pass_open(const char *p, const char *end) {
    size_t depth = 1;
    while (p < end) {
        if (end - p >= 8) {
            uint64_t word = load(p);
            uint64_t lower = word | (ONES * 0x20); /* '[' and ']' become '{' and '}' */
            uint64_t found = hits(word, '"') | hits(lower, '{') | hits(lower, '}');
            if (!found) {
                p += 8;
                continue;
            }
            p += __builtin_ctzll(found) / 8;
        }
        char c = *p++;
        bool escaped;
        if (c == '"') {
            p = pass_string(p, end, &escaped);
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && --depth == 0) {
            return p;
        }
    }
    return end;
}

static const char *pass_word(const char *p, const char *end) {
    while (p < end && *p != ',' && *p != '}' && *p != ']' && !is_space(*p)) {
        p++;
    }
    return p;
}

void json_reader_init(struct json_reader *reader, struct span text) {
    reader->end = text.len ? text.data + text.len : text.data;
    reader->at = pass_space(text.data, reader->end);
}

enum json_type json_reader_type(const struct json_reader *reader) {
    switch (reader->at < reader->end ? *reader->at : 'n') {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

/* To the next member or element. False: past the closing bracket. */
static bool go_on(struct json_reader *reader, char open, char close) {
    const char *end = reader->end;
    const char *p = pass_space(reader->at, end);
    if (p < end && (*p == open || *p == ',')) {
        p = pass_space(p + 1, end);
        if (p < end && *p != close) {
            reader->at = p;
            return true;
        }
    }
    reader->at = p < end && *p == close ? p + 1 : end;
    return false;
}

bool json_reader_member(struct json_reader *reader, struct span *ret_name, bool *ret_escaped) {
    if (!go_on(reader, '{', '}')) {
        return false;
    }
    const char *end = reader->end;
    const char *name = reader->at + 1;
    const char *p = pass_string(name, end, ret_escaped);
    *ret_name = (struct span){name, p > name ? (size_t)(p - 1 - name) : 0};
    p = pass_space(p, end);
    reader->at = p < end ? pass_space(p + 1, end) : end;
    return true;
}

bool json_reader_element(struct json_reader *reader) {
    return go_on(reader, '[', ']');
}

struct json_value json_reader_value(struct json_reader *reader) {
    const char *start = reader->at, *end = reader->end;
    struct json_value value = {.type = json_reader_type(reader)};
    if (start == end) {
        value.text = (struct span){start, 0};
        return value;
    }
    switch (value.type) {
    case JSON_STRING:
        reader->at = pass_string(start + 1, end, &value.escaped);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        reader->at = pass_open(start + 1, end);
        break;
    default:
        reader->at = pass_word(start, end);
    }
    value.text = (struct span){start, (size_t)(reader->at - start)};
    return value;
}

void json_reader_leave(struct json_reader *reader) {
    reader->at = pass_open(reader->at, reader->end);
}
