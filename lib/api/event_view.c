/* What became of an event for each subscription is told by what there is of it, in this order: something waits (in the
 * schedule, or for a batch); rows of the log, of which the last one decides; that it was skipped. Where there is
 * nothing, the subscription as it is now is asked why. */
#include "api/event_view.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "webhook/filter.h"

/* ---- members of objects ---- */

static void name(struct buffer *out, const char *name_text) {
    char last = out->len ? out->data[out->len - 1] : '{';
    if (last != '{')
        buffer_char(out, ',');
    buffer_char(out, '"');
    buffer_text(out, name_text);
    buffer_text(out, "\":");
}

static void put_text(struct buffer *out, const char *member, struct span text) {
    name(out, member);
    if (text.data)
        json_quote(text, out);
    else
        buffer_text(out, "null");
}

static void put_int(struct buffer *out, const char *member, int64_t value) {
    name(out, member);
    buffer_int(out, value);
}

static void put_bool(struct buffer *out, const char *member, bool value) {
    name(out, member);
    buffer_text(out, value ? "true" : "false");
}

/* none: what stands for null. */
static void put_time(struct buffer *out, const char *member, int64_t ms, int64_t none) {
    name(out, member);
    if (ms == none) {
        buffer_text(out, "null");
        return;
    }
    buffer_char(out, '"');
    clock_format_iso(ms, out);
    buffer_char(out, '"');
}

static void put_uuid(struct buffer *out, const char *member, const struct uuid *uuid) {
    char text[UUID_TEXT_LEN + 1];
    uuid_format(uuid, text);
    put_text(out, member, uuid_is_nil(uuid) ? SPAN_NONE : span_of(text));
}

/* ---- the event ---- */

/* The record read again; NULL: it was erased, or is nothing that this installation reads. */
static struct event *read_event(const struct trace_event *row, struct span topic_prefix) {
    struct event_header headers[EVENT_HEADERS_MAX];
    struct event_record record = {.topic = row->topic,
                                  .partition = row->partition,
                                  .offset = row->offset,
                                  .timestamp_ms = row->record_time_ms,
                                  .key = row->record_key,
                                  .value = row->body,
                                  .headers = headers};
    struct event_rules rules = {topic_prefix};
    struct event_rejection rejection;
    struct event *event = NULL;
    struct buffer memory;
    if (row->erased)
        return NULL;
    buffer_init(&memory, (size_t)4 * 1024 * 1024);
    if (event_headers_parse(row->headers, headers, EVENT_HEADERS_MAX, &record.header_count, &memory) == STATUS_OK &&
        event_read(&record, &rules, &event, &rejection) != EVENT_ACCEPTED)
        event = NULL;
    buffer_deinit(&memory);
    return event;
}

static void put_json(struct buffer *out, const char *member, struct span json) {
    name(out, member);
    if (json.data)
        buffer_span(out, json);
    else
        buffer_text(out, "null");
}

static void put_kafka(struct buffer *out, const struct trace_event *row) {
    name(out, "kafka");
    buffer_char(out, '{');
    put_text(out, "topic", row->topic);
    put_int(out, "partition", row->partition);
    put_int(out, "offset", row->offset);
    put_time(out, "timestamp", row->record_time_ms, INT64_MIN);
    put_text(out, "key", row->record_key);
    put_json(out, "headers", row->headers);
    buffer_char(out, '}');
}

static void put_event(struct buffer *out, const struct trace_event *row, const struct event *event,
                      struct span workspace_id) {
    put_text(out, "id", row->id);
    put_uuid(out, "event_key", &row->key);
    put_text(out, "workspace_id", workspace_id);
    put_text(out, "event_type", row->event_type);
    put_json(out, "event_source", event ? event->event_source_json : SPAN_NONE);
    put_json(out, "event_triggered_by", event ? event->triggered_by_json : SPAN_NONE);
    put_time(out, "occurred_at", row->occurred_at_ms, INT64_MIN);
    put_time(out, "deliver_at", event ? event->deliver_at_ms : 0, 0);
    put_time(out, "received_at", row->created_at_ms, INT64_MIN);
    put_bool(out, "erased", row->erased);
    name(out, "payload");
    if (event && event->payload.text.data)
        json_compact(&event->payload, out);
    else
        buffer_text(out, "null");
    put_kafka(out, row);
}

/* ---- subscriptions ---- */

struct fate {
    bool matched;
    const char *reason; /* NULL: matched */
    const char *state;  /* NULL: nothing became of it */
};

static bool filter_refuses(struct span json, const struct event *event) {
    struct filter *filter = NULL;
    struct error ignored;
    if (!json.data || !event || filter_compile(json, &filter, &ignored) != STATUS_OK)
        return false;
    bool takes = filter_takes(filter, event);
    filter_unref(&filter);
    return !takes;
}

/* Why nothing is known of the event for a subscription. */
static const char *reason_of(const struct trace_subscription *subscription, const struct trace_event *row,
                             const struct event *event) {
    if (subscription->created_at_ms > row->created_at_ms)
        return "created_later";
    if (!subscription->takes_type)
        return "type";
    if (filter_refuses(subscription->filter, event))
        return "filter";
    return "not_then";
}

static const char *reason_skipped(const struct trace_subscription *subscription) {
    if (span_is(subscription->status, "paused"))
        return "paused";
    return span_is(subscription->status, "disabled") ? "disabled" : "inactive";
}

/* An attempt that was under way when the event was erased leaves no other. */
static const char *state_logged(const struct event_trace *trace, struct trace_range logs, bool erased) {
    struct trace_log last;
    event_trace_log(trace, logs.last - 1, &last);
    if (span_is(last.delivery_status, "success"))
        return "delivered";
    if (span_is(last.delivery_status, "cancelled"))
        return "cancelled";
    if (last.given_up)
        return "given_up";
    return erased ? "cancelled" : "waiting";
}

static struct fate fate_of(const struct event_trace *trace, const struct trace_subscription *subscription,
                           const struct trace_event *row, const struct event *event) {
    struct trace_range logs = event_trace_logs(trace, &subscription->id);
    struct trace_range waiting = event_trace_waiting(trace, &subscription->id);
    struct trace_range members = event_trace_members(trace, &subscription->id);
    if (waiting.first < waiting.last)
        return (struct fate){true, NULL, "waiting"};
    if (members.first < members.last)
        return (struct fate){true, NULL, "batched"};
    if (logs.first < logs.last)
        return (struct fate){true, NULL, state_logged(trace, logs, row->erased)};
    if (event_trace_skipped(trace, &subscription->id))
        return (struct fate){false, reason_skipped(subscription), "skipped"};
    return (struct fate){false, reason_of(subscription, row, event), NULL};
}

static void put_attempts(struct buffer *out, const struct event_trace *trace, struct trace_range range) {
    name(out, "attempts");
    buffer_char(out, '[');
    for (int i = range.first; i < range.last; i++) {
        struct trace_log log;
        event_trace_log(trace, i, &log);
        buffer_text(out, i > range.first ? ",{" : "{");
        put_uuid(out, "log_id", &log.id);
        put_time(out, "at", log.created_at_ms, INT64_MIN);
        put_int(out, "attempt", log.attempt);
        put_text(out, "status", log.delivery_status);
        name(out, "status_code");
        if (log.status_code)
            buffer_int(out, log.status_code);
        else
            buffer_text(out, "null");
        put_text(out, "error_code", log.error_code);
        put_text(out, "error", log.error);
        name(out, "duration_ms");
        if (log.duration_ms >= 0)
            buffer_int(out, log.duration_ms);
        else
            buffer_text(out, "null");
        put_text(out, "webhook_url", log.webhook_url);
        put_time(out, "next_attempt_at", log.next_attempt_at_ms, 0);
        put_bool(out, "given_up", log.given_up);
        put_bool(out, "replay", log.replay);
        put_uuid(out, "batch_id", &log.batch_id);
        buffer_char(out, '}');
    }
    buffer_char(out, ']');
}

static void put_next(struct buffer *out, const struct event_trace *trace, const struct uuid *id) {
    struct trace_range waiting = event_trace_waiting(trace, id), members = event_trace_members(trace, id);
    name(out, "next_attempt");
    if (waiting.first < waiting.last) {
        struct trace_waiting next;
        event_trace_waiting_row(trace, waiting.first, &next);
        buffer_char(out, '{');
        put_int(out, "attempt", next.attempt);
        put_time(out, "due_at", next.due_at_ms, INT64_MIN);
        put_bool(out, "held", next.held);
        put_bool(out, "sending", next.sending);
        put_bool(out, "replay", next.replay);
        put_uuid(out, "batch_id", &next.batch_id);
        buffer_char(out, '}');
    } else if (members.first < members.last) {
        buffer_text(out, "{\"attempt\":1");
        put_time(out, "due_at", event_trace_member_due_ms(trace, members.first), 0);
        buffer_text(out, ",\"held\":false,\"sending\":false,\"replay\":false,\"batch_id\":null}");
    } else {
        buffer_text(out, "null");
    }
}

static void put_subscription(struct buffer *out, const struct event_trace *trace,
                             const struct trace_subscription *subscription, const struct fate *fate) {
    buffer_char(out, '{');
    put_uuid(out, "id", &subscription->id);
    put_text(out, "name", subscription->name);
    put_text(out, "webhook_url", subscription->webhook_url);
    put_text(out, "status", subscription->status.data ? subscription->status : SPAN_LITERAL("deleted"));
    put_bool(out, "matched", fate->matched);
    put_text(out, "reason", span_of(fate->reason));
    put_text(out, "state", span_of(fate->state));
    put_attempts(out, trace, event_trace_logs(trace, &subscription->id));
    put_next(out, trace, &subscription->id);
    buffer_char(out, '}');
}

void event_view_write(const struct event_trace *trace, struct span workspace_id, struct span topic_prefix,
                      struct buffer *out) {
    struct trace_event row;
    event_trace_event(trace, &row);
    struct event *event = read_event(&row, topic_prefix);
    buffer_char(out, '{');
    put_event(out, &row, event, workspace_id);
    name(out, "others");
    buffer_char(out, '[');
    for (int i = 0; i < event_trace_others(trace); i++) {
        struct uuid other = event_trace_other(trace, i);
        char text[UUID_TEXT_LEN + 1];
        uuid_format(&other, text);
        buffer_text(out, i ? ",\"" : "\"");
        buffer_text(out, text);
        buffer_char(out, '"');
    }
    buffer_char(out, ']');
    bool more;
    int count = event_trace_subscriptions(trace, &more);
    name(out, "subscriptions");
    buffer_char(out, '[');
    for (int i = 0; i < count; i++) {
        struct trace_subscription subscription;
        event_trace_subscription(trace, i, &subscription);
        struct fate fate = fate_of(trace, &subscription, &row, event);
        buffer_text(out, i ? "," : "");
        put_subscription(out, trace, &subscription, &fate);
    }
    buffer_char(out, ']');
    put_bool(out, "subscriptions_complete", !more);
    buffer_char(out, '}');
    event_unref(&event);
}
