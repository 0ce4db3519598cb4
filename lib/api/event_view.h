/* The answer to "what happened to this event?". */
#ifndef API_EVENT_VIEW_H
#define API_EVENT_VIEW_H

#include "base/buffer.h"
#include "store/event_lookup.h"

/* Appends the event as the API shows it, a JSON object. topic_prefix: of this installation, to read the record with. */
void event_view_write(const struct event_trace *trace, struct span workspace_id, struct span topic_prefix,
                      struct buffer *out);

#endif
