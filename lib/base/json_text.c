#include "base/json_text.h"
#include "base/utf8.h"

static uint32_t hex4(const char *digits) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* text: begins with \u and has its four digits. Returns the bytes that were read. */
static size_t read_unicode(struct span text, uint32_t *ret_code_point) {
    uint32_t c = hex4(text.data + 2);
    bool high = c >= 0xD800 && c <= 0xDBFF;
    if (high && text.len >= 12 && text.data[6] == '\\' && text.data[7] == 'u') {
        uint32_t low = hex4(text.data + 8);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *ret_code_point = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            return 12;
        }
    }
    *ret_code_point = c;
    return 6;
}

static struct span after(struct span text, size_t len) {
    return (struct span){text.data + len, text.len - len};
}

struct span json_text_piece(struct span *rest, char escape[4]) {
    static const char MEANING[256] = {
        ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    while (rest->len) {
        const char *backslash = memchr(rest->data, '\\', rest->len);
        if (backslash != rest->data) {
            struct span run = {rest->data, backslash ? (size_t)(backslash - rest->data) : rest->len};
            *rest = after(*rest, run.len);
            return run;
        }
        if (rest->len < 2) {
            break;
        }
        size_t read = 2, len = 0;
        if (rest->data[1] != 'u') {
            escape[0] = MEANING[(unsigned char)rest->data[1]];
            len = 1;
        } else if (rest->len >= 6) {
            uint32_t code_point;
            read = read_unicode(*rest, &code_point);
            len = utf8_put(code_point, escape);
        }
        *rest = after(*rest, read);
        if (len) {
            return (struct span){escape, len};
        }
    }
    return SPAN_NONE;
}

static struct span inside(struct span text) {
    return text.len >= 2 && text.data[0] == '"' ? (struct span){text.data + 1, text.len - 2} : text;
}

void json_unescape(struct span text, struct buffer *out) {
    char escape[4];
    struct span rest = inside(text), piece;
    while ((piece = json_text_piece(&rest, escape)).len) {
        buffer_span(out, piece);
    }
}

int json_text_compare(struct span text, struct span plain) {
    char escape[4];
    struct span rest = inside(text), piece;
    while ((piece = json_text_piece(&rest, escape)).len) {
        size_t len = piece.len < plain.len ? piece.len : plain.len;
        int order = len ? memcmp(piece.data, plain.data, len) : 0;
        if (order || piece.len > len) {
            return order ? order : 1;
        }
        plain = after(plain, len);
    }
    return plain.len ? -1 : 0;
}

bool json_text_has_prefix(struct span text, struct span prefix) {
    char escape[4];
    struct span rest = inside(text), piece;
    while (prefix.len && (piece = json_text_piece(&rest, escape)).len) {
        size_t len = piece.len < prefix.len ? piece.len : prefix.len;
        if (memcmp(piece.data, prefix.data, len) != 0) {
            return false;
        }
        prefix = after(prefix, len);
    }
    return prefix.len == 0;
}

size_t json_text_len(struct span text) {
    char escape[4];
    size_t len = 0;
    struct span rest = inside(text), piece;
    while ((piece = json_text_piece(&rest, escape)).len) {
        len += piece.len;
    }
    return len;
}

static void quote_byte(unsigned char c, struct buffer *out) {
    static const char SHORT[256] = {
        ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    static const char digits[] = "0123456789abcdef";
    if (SHORT[c]) {
        char escape[] = {'\\', SHORT[c]};
        buffer_append(out, escape, sizeof(escape));
    } else {
        char escape[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 0x0F]};
        buffer_append(out, escape, sizeof(escape));
    }
}

/* Bytes at the front of text that stand in a string as they are; ASCII only. */
static size_t plain_run(struct span text) {
    size_t len = 0;
    while (len < text.len) {
        unsigned char c = (unsigned char)text.data[len];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') {
            break;
        }
        len++;
    }
    return len;
}

void json_quote(struct span text, struct buffer *out) {
    buffer_char(out, '"');
    while (text.len) {
        size_t len = plain_run(text);
        if (len) {
            buffer_append(out, text.data, len);
        } else if ((unsigned char)text.data[0] < 0x80) {
            len = 1;
            quote_byte((unsigned char)text.data[0], out);
        } else {
            bool valid;
            len = utf8_next(text, &valid);
            buffer_span(out, valid ? (struct span){text.data, len} : UTF8_REPLACEMENT);
        }
        text = (struct span){text.data + len, text.len - len};
    }
    buffer_char(out, '"');
}
