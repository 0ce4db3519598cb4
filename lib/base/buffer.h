/* A growing run of bytes that can't be made without a maximum.
 *
 * Appending past the maximum changes nothing more, and the buffer remembers that it overflowed: a writer appends
 * without looking and asks once at the end. What is appended must not lie in the same buffer. One owner, one thread. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include "base/error.h"
#include "base/span.h"
#include <stdint.h>

struct buffer {
    char *data; /* NUL-terminated once anything was appended; NULL before */
    size_t len;
    size_t capacity;
    size_t max_bytes;
    bool overflowed;
};

void buffer_init(struct buffer *buffer, size_t max_bytes);
void buffer_deinit(struct buffer *buffer);

/* Empties it and keeps the memory. */
void buffer_reset(struct buffer *buffer);

void buffer_append(struct buffer *buffer, const void *data, size_t len);
void buffer_span(struct buffer *buffer, struct span span);
void buffer_text(struct buffer *buffer, const char *text);
void buffer_char(struct buffer *buffer, char c);
void buffer_int(struct buffer *buffer, int64_t value); /* decimal */
void buffer_printf(struct buffer *buffer, const char *format, ...) PRINTF(2, 3);

/* Room for len bytes at the end, to be written at once; NULL when that would overflow. They count as appended. */
char *buffer_grow(struct buffer *buffer, size_t len);

/* The bytes, NUL-terminated, now belong to the caller (mem_free); the buffer is empty again and has forgotten an
 * overflow. ret_len may be NULL. Never NULL. */
char *buffer_take(struct buffer *buffer, size_t *ret_len);

static inline struct span buffer_view(const struct buffer *buffer) {
    return (struct span){buffer->data ? buffer->data : "", buffer->len};
}

#endif
