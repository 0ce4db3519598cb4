/* What event.c, event_cloudevents.c and event_headers.c share: the draft of an event, made of spans of the borrowed
 * record and of a scratch buffer, before it is packed into its one allocation. Not for others. */
#ifndef WEBHOOK_EVENT_PRIVATE_H
#define WEBHOOK_EVENT_PRIVATE_H

#include "webhook/event.h"

/* The members that matter, whatever form the record has. */
enum event_member {
    MEMBER_ID,
    MEMBER_WORKSPACE,
    MEMBER_WORKSPACE_NAME,
    MEMBER_TYPE,
    MEMBER_SOURCE,
    MEMBER_TRIGGERED_BY,
    MEMBER_OCCURRED_AT,
    MEMBER_DELIVER_AT,
    MEMBER_PAYLOAD,
    MEMBER_PAYLOAD_BASE64,
    MEMBER_SPECVERSION,
    MEMBER_SUBJECT,
    MEMBER_COUNT
};

/* The record's headers that count; SPAN_NONE: absent. */
enum event_header_kind {
    HEADER_CONTENT_TYPE,
    HEADER_SPECVERSION,
    HEADER_ID,
    HEADER_TYPE,
    HEADER_SOURCE,
    HEADER_TIME,
    HEADER_SUBJECT,
    HEADER_WORKSPACE,
    HEADER_TRACEPARENT,
    HEADER_TRACESTATE,
    HEADER_KIND_COUNT
};
#define HEADER_FIRST_ATTRIBUTE HEADER_SPECVERSION
#define HEADER_LAST_ATTRIBUTE HEADER_WORKSPACE

/* How a form calls its members; NULL: it has no such member. */
struct event_form {
    const char *names[MEMBER_COUNT];
    bool (*recognise)(struct span name, enum event_member *ret_member);
};

struct event_draft {
    const struct event_record *record;
    const struct event_form *form;
    struct event_rejection *rejection;
    struct span headers[HEADER_KIND_COUNT];
    size_t header_bytes;
    struct json_value members[MEMBER_COUNT]; /* text SPAN_NONE: absent */
    struct buffer scratch;                   /* never grows once it is open, so spans of it stay good */
    struct event event;                      /* its spans lie in the record, in scratch or in constants */
};

/* Fills the rejection and returns false. */
bool event_reject(struct event_draft *draft, const char *code, const char *format, ...) PRINTF(3, 4);

/* The scratch buffer, with room for all that the draft can need. */
struct buffer *event_scratch(struct event_draft *draft);
struct span event_scratch_since(const struct event_draft *draft, size_t start);

/* text as a JSON string in scratch. */
struct json_value event_quoted(struct event_draft *draft, struct span text);

/* Whether a member is there and not null. */
static inline bool event_has(const struct event_draft *draft, enum event_member member) {
    return draft->members[member].text.data && draft->members[member].type != JSON_NULL;
}

/* Scans the value as an object in the draft's form and collects the members. False: rejected. */
bool event_scan_object(struct event_draft *draft);
/* Without the five bytes that Confluent's serialisers put before the JSON. */
struct span event_json_of(struct span value);
/* A value that json_scan refused with `error`: bad JSON, or Avro or Protobuf. False. */
bool event_reject_value(struct event_draft *draft, const struct error *error);

/* event_headers.c */
void event_headers_find(struct event_draft *draft);
/* Sets event.headers, traceparent and tracestate. */
void event_headers_write(struct event_draft *draft);
const char *event_header_name(enum event_header_kind kind);

/* event_cloudevents.c. False: rejected. */
bool event_is_structured(const struct event_draft *draft);
bool event_is_binary(const struct event_draft *draft);
bool event_read_structured(struct event_draft *draft);
bool event_read_binary(struct event_draft *draft);

#endif
