/* All headers of a record as JSON, for rejected_events: an object with their names and values in their order, names
 * that stand twice included; null for a null. It is valid UTF-8 and loses nothing: a byte that is no part of UTF-8
 * stands as the escape of a lone surrogate, \udc80 … \udcff, which no UTF-8 can mean. Any thread. */
#ifndef WEBHOOK_RECORD_HEADERS_H
#define WEBHOOK_RECORD_HEADERS_H

#include "webhook/event.h"

void record_headers_write(const struct event_header *headers, size_t count, struct buffer *out);

/* Back again: at most max headers, further ones are left out. Their names and values lie in `memory`, which is
 * overwritten. STATUS_INVALID: not what record_headers_write writes, or no room in `memory` for json.len bytes. */
MUST_USE enum status record_headers_read(struct span json, struct event_header *headers, size_t max, size_t *ret_count,
                                         struct buffer *memory);

/* The same with U+FFFD in place of what is no UTF-8, as every reader of JSON takes it. */
void record_headers_show(struct span json, struct buffer *out);

#endif
