/* Example events, one a type. Any thread. */
#ifndef HOOKCAST_PUBLISH_EXAMPLE_H
#define HOOKCAST_PUBLISH_EXAMPLE_H

#include "base/buffer.h"

/* Appends a native event as one line without its end: a payload as this type's have, or a plain one for a type of one's
 * own; a new id; occurred now. number distinguishes the events of one run. */
void publish_example(const char *event_type, const char *workspace_id, int64_t number, struct buffer *out);

#endif
