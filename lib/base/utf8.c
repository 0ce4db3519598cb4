#include "base/utf8.h"

/* How many bytes follow a lead byte, and the range of the first of them (the others: 80-BF): table 3-7 of the Unicode
 * standard. That range is what keeps out overlong forms, surrogates and numbers past U+10FFFF. */
struct lead {
    int following; /* 0: no lead byte */
    uint8_t low;
    uint8_t high;
};

static struct lead lead_of(uint8_t byte) {
    switch (byte) {
    case 0xC2 ... 0xDF:
        return (struct lead){1, 0x80, 0xBF};
    case 0xE0:
        return (struct lead){2, 0xA0, 0xBF};
    case 0xE1 ... 0xEC:
    case 0xEE ... 0xEF:
        return (struct lead){2, 0x80, 0xBF};
    case 0xED:
        return (struct lead){2, 0x80, 0x9F};
    case 0xF0:
        return (struct lead){3, 0x90, 0xBF};
    case 0xF1 ... 0xF3:
        return (struct lead){3, 0x80, 0xBF};
    case 0xF4:
        return (struct lead){3, 0x80, 0x8F};
    default:
        return (struct lead){0, 0, 0};
    }
}

size_t utf8_next(struct span text, bool *ret_valid) {
    const uint8_t *byte = (const uint8_t *)text.data;
    if (byte[0] < 0x80) {
        *ret_valid = true;
        return 1;
    }
    struct lead lead = lead_of(byte[0]);
    size_t len = 1;
    *ret_valid = false;
    while (lead.following) {
        if (len == text.len || byte[len] < lead.low || byte[len] > lead.high) {
            return len;
        }
        len++;
        lead = (struct lead){lead.following - 1, 0x80, 0xBF};
    }
    *ret_valid = len > 1;
    return len;
}

size_t utf8_put(uint32_t c, char out[4]) {
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
        c = 0xFFFD;
    }
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, c >>= 6) {
        out[i] = (char)(0x80 | (c & 0x3F));
    }
    static const unsigned char LEAD[] = {[2] = 0xC0, [3] = 0xE0, [4] = 0xF0};
    out[0] = (char)(LEAD[len] | c);
    return len;
}

void utf8_encode(uint32_t c, struct buffer *out) {
    char bytes[4];
    buffer_append(out, bytes, utf8_put(c, bytes));
}

/* Bytes at the front of text that are ASCII, found eight at a time; it may stop up to seven short. */
static size_t ascii_run(struct span text) {
    size_t at = 0;
    uint64_t word;
    while (at + sizeof(word) <= text.len) {
        memcpy(&word, text.data + at, sizeof(word));
        if (word & 0x8080808080808080) {
            break;
        }
        at += sizeof(word);
    }
    return at;
}

size_t utf8_valid_prefix(struct span text) {
    size_t at = 0;
    while (at < text.len) {
        struct span rest = {text.data + at, text.len - at};
        size_t run = ascii_run(rest);
        if (!run) {
            bool valid;
            run = utf8_next(rest, &valid);
            if (!valid) {
                break;
            }
        }
        at += run;
    }
    return at;
}

/* text: valid UTF-8 */
static void append_without_nul(struct buffer *out, struct span text) {
    const char *nul;
    while (text.len && (nul = memchr(text.data, '\0', text.len))) {
        size_t before = (size_t)(nul - text.data);
        buffer_append(out, text.data, before);
        buffer_span(out, UTF8_REPLACEMENT);
        text = (struct span){nul + 1, text.len - before - 1};
    }
    buffer_span(out, text);
}

void utf8_clean(struct span text, struct buffer *out) {
    while (text.len) {
        size_t good = utf8_valid_prefix(text);
        append_without_nul(out, (struct span){text.data, good});
        text = (struct span){text.data + good, text.len - good};
        if (text.len) {
            bool valid;
            size_t bad = utf8_next(text, &valid);
            buffer_span(out, UTF8_REPLACEMENT);
            text = (struct span){text.data + bad, text.len - bad};
        }
    }
}

char *utf8_clean_dup(struct span text, size_t *ret_len) {
    struct buffer clean;
    buffer_init(&clean, UTF8_REPLACEMENT.len * text.len + 1);
    utf8_clean(text, &clean);
    return buffer_take(&clean, ret_len);
}
