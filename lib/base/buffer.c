#include "base/buffer.h"
#include "base/memory.h"

#include <stdio.h>

#define FIRST_BYTES 64 /* the smallest allocation */

void buffer_init(struct buffer *buffer, size_t max_bytes) {
    CHECK(max_bytes < SIZE_MAX);
    *buffer = (struct buffer){.max_bytes = max_bytes};
}

void buffer_deinit(struct buffer *buffer) {
    mem_free(buffer->data);
    *buffer = (struct buffer){.max_bytes = buffer->max_bytes};
}

void buffer_reset(struct buffer *buffer) {
    buffer->len = 0;
    buffer->overflowed = false;
    if (buffer->data) {
        buffer->data[0] = '\0';
    }
}

/* False: len more bytes pass the maximum; from then on nothing is appended. */
static bool reserve(struct buffer *buffer, size_t len) {
    if (buffer->overflowed || len > buffer->max_bytes - buffer->len) {
        buffer->overflowed = true;
        return false;
    }
    size_t wanted = buffer->len + len + 1; /* the NUL */
    if (wanted > buffer->capacity) {
        size_t limit = buffer->max_bytes + 1;
        size_t capacity = buffer->capacity > limit / 2 ? limit : buffer->capacity * 2;
        if (capacity < FIRST_BYTES) {
            capacity = limit < FIRST_BYTES ? limit : FIRST_BYTES;
        }
        if (capacity < wanted) {
            capacity = wanted;
        }
        buffer->data = mem_realloc(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    return true;
}

char *buffer_grow(struct buffer *buffer, size_t len) {
    if (!reserve(buffer, len)) {
        return NULL;
    }
    char *room = buffer->data + buffer->len;
    buffer->len += len;
    buffer->data[buffer->len] = '\0';
    return room;
}

void buffer_append(struct buffer *buffer, const void *data, size_t len) {
    char *room = buffer_grow(buffer, len);
    if (room && len) {
        memcpy(room, data, len);
    }
}

void buffer_span(struct buffer *buffer, struct span span) {
    buffer_append(buffer, span.data, span.len);
}

void buffer_text(struct buffer *buffer, const char *text) {
    buffer_append(buffer, text, strlen(text));
}

void buffer_char(struct buffer *buffer, char c) {
    buffer_append(buffer, &c, 1);
}

void buffer_int(struct buffer *buffer, int64_t value) {
    char digits[20]; /* the longest: -9223372036854775808 */
    size_t at = sizeof(digits);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0) {
        digits[--at] = '-';
    }
    buffer_append(buffer, digits + at, sizeof(digits) - at);
}

void buffer_printf(struct buffer *buffer, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    CHECK(wanted >= 0);
    size_t len = (size_t)wanted;
    if (len < sizeof(text)) {
        buffer_append(buffer, text, len);
        return;
    }
    if (!reserve(buffer, len)) {
        return;
    }
    va_start(args, format);
    vsnprintf(buffer->data + buffer->len, len + 1, format, args);
    va_end(args);
    buffer->len += len;
}

char *buffer_take(struct buffer *buffer, size_t *ret_len) {
    char *data = buffer->data ? buffer->data : mem_strdup("");
    if (ret_len) {
        *ret_len = buffer->len;
    }
    *buffer = (struct buffer){.max_bytes = buffer->max_bytes};
    return data;
}
