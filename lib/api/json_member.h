/* A member of an object as it was written, digits and all: what jansson has read has lost them. Any thread. */
#ifndef API_JSON_MEMBER_H
#define API_JSON_MEMBER_H

#include "base/span.h"

/* object: JSON, with name once at the most; name without a dot. SPAN_NONE: it has no such member. */
struct span json_member_text(struct span object, const char *name);

#endif
