#include "webhook/record_headers.h"

#include "base/json_scan.h"
#include <stdio.h>
#include <string.h>

#define ESCAPE_BYTES 6 /* \udcff */

static void write_string(struct span text, struct buffer *out) {
    struct buffer quoted;
    buffer_init(&quoted, 6 * text.len + 3);
    buffer_char(out, '"');
    while (text.len) {
        struct span valid = {text.data, utf8_valid_prefix(text)};
        buffer_reset(&quoted);
        json_quote(valid, &quoted);
        buffer_append(out, quoted.data + 1, quoted.len - 2);
        text = (struct span){text.data + valid.len, text.len - valid.len};
        if (text.len == 0)
            break;
        char escape[ESCAPE_BYTES + 1];
        snprintf(escape, sizeof(escape), "\\udc%02x", (unsigned char)text.data[0]);
        buffer_text(out, escape);
        text = (struct span){text.data + 1, text.len - 1};
    }
    buffer_char(out, '"');
    buffer_deinit(&quoted);
}

void record_headers_write(const struct event_header *headers, size_t count, struct buffer *out) {
    buffer_char(out, '{');
    for (size_t i = 0; i < count; i++) {
        buffer_text(out, i ? "," : "");
        write_string(headers[i].name, out);
        buffer_char(out, ':');
        if (headers[i].value.data)
            write_string(headers[i].value, out);
        else
            buffer_text(out, "null");
    }
    buffer_char(out, '}');
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* The byte that an escape at the front of text stands for; -1: there is none. */
static int escaped_byte(struct span text) {
    if (text.len < ESCAPE_BYTES || memcmp(text.data, "\\udc", 4) != 0)
        return -1;
    int high = hex_digit(text.data[4]), low = hex_digit(text.data[5]);
    return high >= 8 && low >= 0 ? high << 4 | low : -1;
}

/* text: between the quotes. */
static struct span read_string(struct span text, struct buffer *memory) {
    size_t start = memory->len;
    char escape[4];
    while (text.len) {
        int byte = escaped_byte(text);
        if (byte >= 0) {
            buffer_char(memory, (char)byte);
            text = (struct span){text.data + ESCAPE_BYTES, text.len - ESCAPE_BYTES};
        } else {
            buffer_span(memory, json_text_piece(&text, escape));
        }
    }
    return (struct span){memory->data + start, memory->len - start};
}

struct reading {
    struct event_header *headers;
    size_t max, count;
    struct buffer *memory;
};

static bool read_header(void *ctx, const struct json_member *member) {
    struct reading *reading = ctx;
    struct span text = member->value.text;
    if (member->value.type != JSON_STRING && member->value.type != JSON_NULL)
        return false;
    if (reading->count == reading->max)
        return true;
    struct event_header *header = &reading->headers[reading->count++];
    header->name = read_string(member->name, reading->memory);
    header->value = member->value.type == JSON_NULL
                        ? SPAN_NONE
                        : read_string((struct span){text.data + 1, text.len - 2}, reading->memory);
    return true;
}

enum status record_headers_read(struct span json, struct event_header *headers, size_t max, size_t *ret_count,
                                struct buffer *memory) {
    struct reading reading = {headers, max, 0, memory};
    struct json_value whole = {.type = JSON_NULL};
    struct error ignored;
    buffer_reset(memory);
    /* What is read is never longer than what is written: the memory stays where it is. */
    if (!buffer_grow(memory, json.len + 1))
        return STATUS_INVALID;
    buffer_reset(memory);
    enum status status = json_scan(json, read_header, &reading, &whole, &ignored);
    if (status == STATUS_OK && whole.type != JSON_OBJECT)
        status = STATUS_INVALID;
    if (status == STATUS_OK)
        *ret_count = reading.count;
    return status;
}

void record_headers_show(struct span json, struct buffer *out) {
    for (size_t i = 0; i < json.len; i++) {
        struct span rest = {json.data + i, json.len - i};
        if (escaped_byte(rest) >= 0) {
            buffer_span(out, UTF8_REPLACEMENT);
            i += ESCAPE_BYTES - 1;
        } else {
            buffer_char(out, json.data[i]);
            if (json.data[i] == '\\' && i + 1 < json.len)
                buffer_char(out, json.data[++i]);
        }
    }
}
