/* The body of a webhook: from an event or a batch, by a format, spelled as its signature style wants it. The lanes send
 * what it gives, and the API shows the same bytes again (rule R1). Any thread. */
#ifndef WEBHOOK_RENDERING_H
#define WEBHOOK_RENDERING_H

#include "webhook/format.h"

/* What a body is made with besides the event: a render version. Borrowed. */
struct rendering {
    const struct format *format;
    int signature_style; /* enum signature_style: HEX and BOTH spell as JavaScript does */
    struct span workspace_name, created_by, updated_by; /* SPAN_NONE: null */
};

/* Appends the body to `body`, which is empty and keeps its maximum; past it it has overflowed and is no JSON. A batch's
 * is an array of those of its members, however few they are. */
void rendering_write(const struct rendering *rendering, const struct event *event, int64_t sent_at_ms,
                     struct buffer *body);

#endif
