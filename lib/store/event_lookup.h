/* What happened to an event: its row, and all that the database knows of its deliveries, as it stood at one moment. */
#ifndef STORE_EVENT_LOOKUP_H
#define STORE_EVENT_LOOKUP_H

#include "db/connection.h"

#define EVENT_LOOKUP_OTHERS 100
#define EVENT_LOOKUP_SUBSCRIPTIONS 2000
#define EVENT_LOOKUP_LOGS 20000
#define EVENT_LOOKUP_BATCHES 20000 /* looked through for those that hold it, from the event's time on */

/* Every result is there; the spans of what is read below point into them. */
struct event_trace {
    struct result *event, *others, *batches, *logs, *subscriptions, *waiting, *members;
};

/* id: an event key, or else the producer's id: the newest event that has it. Outside a transaction. STATUS_NOT_FOUND:
 * there is none in this workspace. */
MUST_USE enum status event_lookup(struct connection *connection, struct span workspace_id, struct span id,
                                  struct event_trace *ret_trace, struct error *error);
void event_trace_deinit(struct event_trace *trace);

/* The keys alone of the events that id means: one uuid a row, the newest first, EVENT_LOOKUP_OTHERS at most. An event
 * key means one. ret_key: whether it is one. */
MUST_USE enum status event_lookup_keys(struct connection *connection, struct span workspace_id, struct span id,
                                       bool *ret_key, struct result **ret_keys, struct error *error);

struct trace_event {
    struct uuid key;
    struct span id, event_type;
    int64_t occurred_at_ms, created_at_ms;
    struct span topic;
    int32_t partition;
    int64_t offset, record_time_ms;
    struct span record_key; /* SPAN_NONE: null */
    struct span headers, body;
    bool erased;
};
void event_trace_event(const struct event_trace *trace, struct trace_event *ret_event);
/* Whether the subscription took it while it was paused or disabled. */
bool event_trace_skipped(const struct event_trace *trace, const struct uuid *subscription_id);
/* Other events of the same id, the newest first. */
int event_trace_others(const struct event_trace *trace);
struct uuid event_trace_other(const struct event_trace *trace, int index);

/* Those that the log or the schedule names, then those whose types take it, then the others; up to
 * EVENT_LOOKUP_SUBSCRIPTIONS. */
struct trace_subscription {
    struct uuid id;
    struct span name, webhook_url; /* SPAN_NONE: null, or it is gone */
    struct span status;            /* active, paused, disabled, deleted; SPAN_NONE: it is gone */
    struct span filter;            /* SPAN_NONE: none */
    bool takes_type;
    int64_t created_at_ms, updated_at_ms;
};
int event_trace_subscriptions(const struct event_trace *trace, bool *ret_more);
void event_trace_subscription(const struct event_trace *trace, int index, struct trace_subscription *ret_subscription);

/* Of one subscription, in their order: rows [first, last) of each kind. */
struct trace_range {
    int first, last;
};
struct trace_range event_trace_logs(const struct event_trace *trace, const struct uuid *subscription_id);
struct trace_range event_trace_waiting(const struct event_trace *trace, const struct uuid *subscription_id);
struct trace_range event_trace_members(const struct event_trace *trace, const struct uuid *subscription_id);

struct trace_log {
    struct uuid id;
    int64_t created_at_ms;
    struct span delivery_status, webhook_url;
    int status_code;               /* 0: null */
    struct span error, error_code; /* SPAN_NONE: null */
    int attempt;
    int64_t duration_ms;        /* -1: null */
    int64_t next_attempt_at_ms; /* 0: null */
    bool given_up, replay;
    struct uuid batch_id; /* nil: null */
};
void event_trace_log(const struct event_trace *trace, int row, struct trace_log *ret_log);

/* A row of the schedule: the next attempt. */
struct trace_waiting {
    int attempt;
    int64_t due_at_ms;
    bool held, sending, replay;
    struct uuid batch_id; /* nil: it is no batch */
};
void event_trace_waiting_row(const struct event_trace *trace, int row, struct trace_waiting *ret_waiting);

/* It waits for its batch: when that is closed at the latest, 0: unknown. */
int64_t event_trace_member_due_ms(const struct event_trace *trace, int row);

#endif
