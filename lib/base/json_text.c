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
static size_t unescape_unicode(struct span text, struct buffer *out) {
    uint32_t c = hex4(text.data + 2);
    bool high = c >= 0xD800 && c <= 0xDBFF;
    if (high && text.len >= 12 && text.data[6] == '\\' && text.data[7] == 'u') {
        uint32_t low = hex4(text.data + 8);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            utf8_encode(0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00), out);
            return 12;
        }
    }
    utf8_encode(c, out);
    return 6;
}

void json_unescape(struct span text, struct buffer *out) {
    static const char MEANING[256] = {
        ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    if (text.len >= 2 && text.data[0] == '"') {
        text = (struct span){text.data + 1, text.len - 2};
    }
    while (text.len) {
        const char *backslash = memchr(text.data, '\\', text.len);
        size_t plain = backslash ? (size_t)(backslash - text.data) : text.len;
        buffer_append(out, text.data, plain);
        text = (struct span){text.data + plain, text.len - plain};
        if (text.len < 2) {
            return;
        }
        size_t read = 2;
        if (text.data[1] != 'u') {
            buffer_char(out, MEANING[(unsigned char)text.data[1]]);
        } else if (text.len >= 6) {
            read = unescape_unicode(text, out);
        }
        text = (struct span){text.data + read, text.len - read};
    }
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
