/* A borrowed run of bytes: where it lies and how long it is. It owns nothing and ends nowhere in particular (no NUL).
 */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *data; /* NULL: absent, which is not the same as empty */
    size_t len;
};

#define SPAN_NONE ((struct span){NULL, 0})
#define SPAN_LITERAL(text) ((struct span){(text), sizeof(text) - 1})
#define SPAN_ARGS(span) (int)(span).len, (span).data /* for "%.*s" */

static inline struct span span_of(const char *text) {
    return (struct span){text, text ? strlen(text) : 0};
}

static inline bool span_equal(struct span a, struct span b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Byte by byte; what another begins with comes before it. <0, 0, >0. */
static inline int span_compare(struct span a, struct span b) {
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static inline bool span_is(struct span span, const char *text) {
    return span_equal(span, span_of(text));
}

static inline bool span_has_prefix(struct span span, struct span prefix) {
    return span.len >= prefix.len && (prefix.len == 0 || memcmp(span.data, prefix.data, prefix.len) == 0);
}

#endif
