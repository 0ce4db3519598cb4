/* Rows of `events` and `rejected_events`: written by COPY, looked up by key. */
#ifndef STORE_EVENTS_H
#define STORE_EVENTS_H

#include "db/connection.h"
#include "webhook/event.h"

/* Append one row each to the rows of a COPY. */
void events_row(struct buffer *rows, int64_t created_at_ms, const struct event *event, const struct uuid *skipped,
                size_t skipped_count);
struct rejected_row {
    int64_t created_at_ms;
    struct uuid id;
    struct span workspace_id; /* SPAN_NONE: nobody can tell */
    struct span code, reason, topic;
    int32_t partition;
    int64_t offset, record_time_ms;
    struct span record_key, headers, value; /* SPAN_NONE: null */
};
void events_rejected_row(struct buffer *rows, const struct rejected_row *row);

MUST_USE enum status events_copy(struct connection *connection, struct span rows, struct error *error);
MUST_USE enum status events_copy_rejected(struct connection *connection, struct span rows, struct error *error);

/* Which of these (workspace, event key) pairs have a row: sets known[i]. */
MUST_USE enum status events_known(struct connection *connection, struct event *const *events, size_t count, bool *known,
                                  struct error *error);

#endif
