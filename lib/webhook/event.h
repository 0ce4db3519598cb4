/* One event, read from one Kafka record in a single pass: the few fields that matter as spans of its own copy of the
 * bytes.
 *
 * Immutable after event_read, reference-counted with atomics: intake makes it, every delivery holds it, the last one to
 * let go frees it. The accepted forms are the contract's: native JSON, CloudEvents 1.0 binary and structured. */
#ifndef WEBHOOK_EVENT_H
#define WEBHOOK_EVENT_H

#include "base/id.h"
#include "base/json_scan.h"
#include <stdatomic.h>

#define EVENT_TYPE_MAX 200

struct event_header {
    struct span name, value; /* value SPAN_NONE: null */
};

/* A record as Kafka, or a schedule or events row, has it. Borrowed. */
struct event_record {
    struct span topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* the record's; -1 counts as 0 */
    struct span key;      /* SPAN_NONE: null */
    struct span value;    /* SPAN_NONE: null */
    const struct event_header *headers;
    size_t header_count;
};

struct event {
    _Atomic int refs;
    struct uuid key; /* event_key */

    /* The record, copied. */
    struct span topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    struct span record_key;
    struct span value;   /* the record's own bytes, Confluent's five bytes included */
    struct span headers; /* those that count (ce_*, content-type, traceparent, tracestate) as a JSON object in valid
                            UTF-8 without NUL, for the headers column; "{}" when none */

    /* What the pass found. "_json": as the producer wrote it, to be repeated in a body; SPAN_NONE where absent. */
    struct span id_json; /* string or integer; a made one ("evt_…") when absent */
    struct span id;      /* as text, at most 200 bytes of valid UTF-8 without NUL: the log's event_id */
    struct span workspace_json;
    struct span workspace_id; /* as text, compared as text */
    struct span workspace_name_json;
    struct span event_type; /* [A-Za-z0-9_.-]{1,200} */
    struct span event_source_json;
    struct span triggered_by_json;
    struct json_value payload; /* text SPAN_NONE: absent, rendered as null */
    int64_t occurred_at_ms;
    int64_t deliver_at_ms;  /* 0: at once; at most 366 days after the record's timestamp, where it has one */
    struct span webhook_id; /* the id where it matches [A-Za-z0-9_-]{1,64}, else evt_ and a hash of workspace and id */
    struct span traceparent, tracestate; /* SPAN_NONE: absent */

    /* A batch's (webhook/batch.h), which travels as one event and has an empty value; NULL for an event. */
    struct event **members;
    size_t member_count;

    size_t footprint_bytes; /* what it costs to keep */
};

/* Where types come from: on a topic with the prefix the topic names it, on the others the record must. */
struct event_rules {
    struct span topic_prefix;
};

enum event_verdict {
    EVENT_ACCEPTED,
    EVENT_SKIPPED,  /* null value: a tombstone */
    EVENT_REJECTED, /* kept in rejected_events */
};

#define EVENT_ID_MAX 200 /* bytes of an id or a workspace id as text */

struct event_rejection {
    const char *code;    /* of a closed list: "bad_json", "not_an_object", "bad_field", "bad_type", "type_mismatch",
                            "no_workspace", "avro_or_protobuf", "bad_content_type", "bad_data" */
    struct error reason; /* names the field, or the byte */
    /* Whose it is, as far as that can be read: what the record names, or else its key; "": nobody can tell. */
    char workspace_id[EVENT_ID_MAX + 1];
};

/* Never fails otherwise, whatever the bytes. EVENT_ACCEPTED: *ret_event has one reference. */
enum event_verdict event_read(const struct event_record *record, const struct event_rules *rules,
                              struct event **ret_event, struct event_rejection *ret_rejection);

/* What a headers column holds at most. */
#define EVENT_HEADERS_MAX 16

/* The headers column read back, so that a stored record can be read again and gives the same event: at most max
 * headers, the names and values appended to `memory`, where they lie until it is appended to again. STATUS_INVALID: not
 * what event_read writes, or no room in `memory`. */
MUST_USE enum status event_headers_parse(struct span headers_json, struct event_header *headers, size_t max,
                                         size_t *ret_count, struct buffer *memory);

struct event *event_ref(struct event *event);
void event_unref(struct event **event); /* sets NULL */

#endif
