/* Arrays and objects are passed over 64 bytes at a time, with a bit for each byte: quotes that no backslash precedes
 * say which bytes lie in strings (each bit the exclusive or of all up to it), and only the brackets outside of them are
 * looked at one by one. No branch depends on where strings begin and end, which is what would cost the most. A string
 * by itself is passed over eight bytes at a time. */
#include "base/json_reader.h"

#include <endian.h>
#if defined(__SSE2__) && !defined(JSON_READER_PORTABLE)
#include <emmintrin.h>
#endif

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

/* p: somewhere between the tokens of what is open, depth deep. Returns what follows its end. */
static const char *pass_open_bytes(const char *p, const char *end, size_t depth) {
    while (p < end) {
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

#define BLOCK_BYTES 64

/* Bit i: byte i is one of these. */
struct block {
    uint64_t quotes, backslashes, opens, closes;
};

/* '[' and ']' are '{' and '}' but for this bit, and nothing else is. */
#define BRACKET_BIT 0x20

#if defined(__SSE2__) && !defined(JSON_READER_PORTABLE)
static uint64_t equal_bits(__m128i bytes, char c) {
    return (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)));
}

static struct block load_block(const char *p) {
    struct block block = {0};
    for (int at = 0; at < BLOCK_BYTES; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(p + at));
        __m128i braces = _mm_or_si128(bytes, _mm_set1_epi8(BRACKET_BIT));
        block.quotes |= equal_bits(bytes, '"') << at;
        block.backslashes |= equal_bits(bytes, '\\') << at;
        block.opens |= equal_bits(braces, '{') << at;
        block.closes |= equal_bits(braces, '}') << at;
    }
    return block;
}
#else
static uint64_t equal_bits(uint64_t bytes, unsigned char c) {
    const uint64_t lows = ~HIGHS;
    uint64_t zero_where = bytes ^ (ONES * c);
    uint64_t zeros = ~(((zero_where & lows) + lows) | zero_where | lows); /* the high bit of each byte that is 0 */
    return (zeros >> 7) * 0x0102040810204080U >> 56;                      /* gathered, the lowest byte's first */
}

static struct block load_block(const char *p) {
    struct block block = {0};
    for (int at = 0; at < BLOCK_BYTES; at += 8) {
        uint64_t bytes = load(p + at);
        uint64_t braces = bytes | (ONES * BRACKET_BIT);
        block.quotes |= equal_bits(bytes, '"') << at;
        block.backslashes |= equal_bits(bytes, '\\') << at;
        block.opens |= equal_bits(braces, '{') << at;
        block.closes |= equal_bits(braces, '}') << at;
    }
    return block;
}
#endif

/* The bytes that follow a backslash which is not itself escaped. *escaped_first: whether the block's first byte is such
 * a one; set for the next block. */
static uint64_t escaped_bytes(uint64_t backslashes, bool *escaped_first) {
    uint64_t escaped = *escaped_first;
    *escaped_first = false;
    backslashes &= ~escaped;
    while (backslashes) {
        uint64_t first = backslashes & (0 - backslashes);
        uint64_t second = first << 1;
        escaped |= second;
        *escaped_first = !second;
        backslashes &= ~(first | second);
    }
    return escaped;
}

/* Bit i: the exclusive or of bits 0 to i. */
static uint64_t running_xor(uint64_t bits) {
    for (int shift = 1; shift < 64; shift *= 2) {
        bits ^= bits << shift;
    }
    return bits;
}

/* p: between the tokens of an array or object that is open. Returns what follows its end. */
static const char *pass_open(const char *p, const char *end) {
    size_t depth = 1;
    bool escaped_first = false;
    uint64_t in_string = 0; /* all ones: the block begins in a string */
    for (; end - p >= BLOCK_BYTES; p += BLOCK_BYTES) {
        struct block block = load_block(p);
        uint64_t quotes = block.quotes & ~escaped_bytes(block.backslashes, &escaped_first);
        uint64_t strings = running_xor(quotes) ^ in_string;
        in_string = 0 - (strings >> 63);
        uint64_t brackets = (block.opens | block.closes) & ~strings;
        for (; brackets; brackets &= brackets - 1) {
            uint64_t bracket = brackets & (0 - brackets);
            depth += block.opens & bracket ? 1 : (size_t)-1;
            if (depth == 0) {
                return p + __builtin_ctzll(bracket) + 1;
            }
        }
    }
    if (in_string) {
        bool escaped;
        p = pass_string(p + (escaped_first && p < end), end, &escaped);
    }
    return pass_open_bytes(p, end, depth);
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
