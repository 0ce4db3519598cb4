/* What a template is compiled into: shared by format_compile.c and format.c. Not for others. */
#ifndef WEBHOOK_FORMAT_PRIVATE_H
#define WEBHOOK_FORMAT_PRIVATE_H

#include "webhook/format.h"

enum field {
    FIELD_ID,
    FIELD_ID_TEXT,
    FIELD_WORKSPACE_ID,
    FIELD_WORKSPACE_ID_TEXT,
    FIELD_WORKSPACE_NAME,
    FIELD_EVENT_TYPE,
    FIELD_EVENT_SOURCE,
    FIELD_SOURCE,
    FIELD_TRIGGERED_BY,
    FIELD_OCCURRED_AT,
    FIELD_OCCURRED_AT_MS,
    FIELD_SENT_AT,
    FIELD_SENT_AT_MS,
    FIELD_CREATED_BY,
    FIELD_UPDATED_BY,
    FIELD_WEBHOOK_ID,
    FIELD_PAYLOAD,
    FIELD_PAYLOAD_PATH,
    FIELD_COUNT
};

struct segment {
    enum { SEGMENT_LITERAL, SEGMENT_VALUE, SEGMENT_TEXT /* inside a longer string */ } kind;
    enum field field;
    size_t at, len; /* in text: the literal bytes, or the path below the payload */
};

struct format {
    _Atomic int refs;
    struct segment *segments;
    size_t segment_count;
    char *text;
};

#endif
