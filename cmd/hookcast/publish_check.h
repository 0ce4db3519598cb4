/* Is this line an event that `hookcast dispatch` takes, and where does it go? Any thread. */
#ifndef HOOKCAST_PUBLISH_CHECK_H
#define HOOKCAST_PUBLISH_CHECK_H

#include "base/buffer.h"

#define PUBLISH_WORKSPACE_MAX 1024

struct publish_target {
    struct span event_type;  /* in the line */
    struct buffer workspace; /* as text; the record's key. The caller's, made with PUBLISH_WORKSPACE_MAX or more */
};

/* STATUS_INVALID: error names the field, or the byte, and what was expected. */
MUST_USE enum status publish_check(struct span line, struct span topic_prefix, struct publish_target *target,
                                   struct error *error);

#endif
