/* Bodies: a JSON template compiled once per subscription version, then written from the event's spans at each attempt.
 *
 * A template is JSON whose strings may hold {{path}}, with or without spaces inside the braces: a string that is
 * nothing but one placeholder becomes that JSON value, a missing one null. Inside longer text it becomes text: a string
 * its characters, an object or an array its compact JSON, null and a missing value nothing. "{{{{" in a string stands
 * for a literal "{{". Member names are literal. Paths:
 *
 *   id, workspace_id                 as the producer wrote them, string or integer
 *   id_text, workspace_id_text       always as a string
 *   workspace_name                   the event's own, else the workspace's
 *   event_type, event_source, event_triggered_by
 *   source                           event_source, else "hookcast"
 *   occurred_at, sent_at             ISO 8601 with Z
 *   occurred_at_ms, sent_at_ms       integer milliseconds since 1970
 *   subscription_created_by, subscription_updated_by
 *   webhook_id
 *   payload, payload.a.b.0 …         '.' between member names, a decimal index into an array
 *
 * Immutable and reference-counted after compilation; any thread may render. */
#ifndef WEBHOOK_FORMAT_H
#define WEBHOOK_FORMAT_H

#include "webhook/event.h"

#define FORMAT_TEMPLATE_MAX_BYTES (64 * 1024)
#define FORMAT_MAX_PLACEHOLDERS 1000

struct format;

/* What a body is made from besides the event; part of a render version. */
struct format_input {
    const struct event *event;
    int64_t sent_at_ms;
    struct span workspace_name;         /* the workspace's own, where the event brings none; SPAN_NONE */
    struct span created_by, updated_by; /* SPAN_NONE: null */
};

/* STATUS_INVALID: error names the path, the unclosed braces or the byte. */
MUST_USE enum status format_compile(struct span template_json, struct format **ret_format, struct error *error);

/* "seanotify", "standard", "cloudevents", "raw", "seleqt", "supersend", "kakiyo": the process-wide compiled one with a
 * new reference; NULL: no such format. */
struct format *format_builtin(struct span name);
/* The template text of a built-in format, for render_versions; SPAN_NONE: no such format. */
struct span format_builtin_template(struct span name);
/* "application/json", or cloudevents' own. */
const char *format_content_type(struct span name);

struct format *format_ref(struct format *format);
void format_unref(struct format **format);

/* Appends the compact body. The producer's digits stay as they are. */
void format_render(const struct format *format, const struct format_input *input, struct buffer *out);

#endif
