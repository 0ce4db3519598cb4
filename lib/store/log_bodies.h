/* What a row of the log was made from: the version that it was rendered with, the event or a batch's events. Reads
 * inside the transaction that log_query_open began. */
#ifndef STORE_LOG_BODIES_H
#define STORE_LOG_BODIES_H

#include "db/connection.h"
#include "webhook/event.h"

/* Records that are not longer come with log_bodies_find; the others one by one, with log_bodies_record. */
#define LOG_BODIES_SMALL_BYTES 4096
/* As many keys may be asked for at once. */
#define LOG_BODIES_MAX_KEYS 2000

/* A render version. The spans point into the result. */
struct log_version {
    int64_t id;
    struct span format, template, signature_style; /* template SPAN_NONE: the format's own */
    struct span created_by, updated_by, workspace_name;
};
MUST_USE enum status log_bodies_versions(struct connection *connection, const int64_t *ids, size_t count,
                                         struct result **ret_rows, struct error *error);
void log_bodies_version(const struct result *rows, int row, struct log_version *ret_version);

/* The events of a batch, in its order: how many, at most max. 0: nothing is known of it any more. */
MUST_USE enum status log_bodies_members(struct connection *connection, struct span workspace_id,
                                        const struct uuid *batch_id, struct uuid *keys, size_t max, size_t *ret_count,
                                        struct error *error);

/* The events with these keys whose rows were written from from_us to until_us, both included; INT64_MIN: whenever. */
struct log_event {
    struct uuid key;
    int64_t created_at_us;
    bool small;                 /* its record is complete */
    struct event_record record; /* without headers; value SPAN_NONE unless small */
    struct span headers;
};
MUST_USE enum status log_bodies_find(struct connection *connection, struct span workspace_id, const struct uuid *keys,
                                     size_t count, int64_t from_us, int64_t until_us, struct result **ret_rows,
                                     struct error *error);
/* A large one, whole. No rows: it has gone. */
MUST_USE enum status log_bodies_record(struct connection *connection, struct span workspace_id,
                                       const struct log_event *event, struct result **ret_rows, struct error *error);
void log_bodies_event(const struct result *rows, int row, struct log_event *ret_event);

#endif
