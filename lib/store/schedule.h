/* The schedule and the holds: rows made, moved and finished by a flush; claimed and drained by the scheduler (rules S1–S5). */
#ifndef STORE_SCHEDULE_H
#define STORE_SCHEDULE_H

#include "db/connection.h"
#include "webhook/event.h"
#include "webhook/subscription.h"

enum schedule_kind { SCHEDULE_EVENT = 0 };

/* What one flush changes. Add in any order; schedule_write sorts each kind by key. */
struct schedule_batch;
struct schedule_batch *schedule_batch_new(void);
void schedule_batch_free(struct schedule_batch **batch);
void schedule_batch_reset(struct schedule_batch *batch);
bool schedule_batch_is_empty(const struct schedule_batch *batch);

struct schedule_key {
    struct span workspace_id; /* borrowed until the batch is written */
    struct uuid subscription_id;
    struct uuid row_key;
};

/* A new row; one that exists stays as it is. */
struct schedule_new {
    struct schedule_key key;
    const struct event *event;
    int attempt;          /* the next one's number */
    int64_t activation;
    int64_t due_in_ms;    /* from the database's clock; or … */
    int64_t due_at_ms;    /* … wall, when not 0 */
    bool held;            /* upserts the endpoint's holds row too */
    int64_t lease_ms;     /* 0: not leased; otherwise the row begins with fence 1 */
};
void schedule_batch_new_row(struct schedule_batch *batch, const struct schedule_new *row);

/* A claimed row is due again in due_in_ms with the next attempt's number; only when its fence is still the given one. */
void schedule_batch_retry(struct schedule_batch *batch, const struct schedule_key *key, int32_t fence, int attempt,
                          int64_t due_in_ms);
/* A claimed row goes back as held, due as it was. */
void schedule_batch_hold(struct schedule_batch *batch, const struct schedule_key *key, int32_t fence);
/* Done with: fence -1: whatever the fence. */
void schedule_batch_finish(struct schedule_batch *batch, const struct schedule_key *key, int32_t fence);

/* In a transaction: holds, then new rows, moves, ends. */
MUST_USE enum status schedule_write(struct connection *connection, struct schedule_batch *batch, struct error *error);

/* A row as claimed. The spans point into the result that came with it. */
struct schedule_row {
    struct schedule_key key;
    struct uuid event_key;
    int32_t fence;
    int attempt;
    int64_t activation;
    int64_t due_at_ms;
    int64_t lateness_ms; /* by the database's clock */
    struct event_record record; /* without headers … */
    struct span headers;        /* … which are here, as JSON */
};

/* In a transaction, step one: keys of due rows in these buckets, oldest first per bucket, locked, skipping those that others have
 * locked. */
MUST_USE enum status schedule_due(struct connection *connection, uint16_t buckets, int per_bucket,
                                  struct result **ret_keys, struct error *error);
struct schedule_key schedule_due_key(const struct result *keys, int row);

/* Step two: leases the chosen ones for lease_ms and gives their rows; marks the others held, with their holds rows, leased
 * to this process. */
MUST_USE enum status schedule_claim(struct connection *connection, const struct schedule_key *chosen, size_t count,
                                    int64_t lease_ms, struct result **ret_rows, struct error *error);
MUST_USE enum status schedule_mark_held(struct connection *connection, const struct schedule_key *keys, size_t count,
                                        struct error *error);

/* A claimed row out of the result of schedule_claim or holds_drain. */
void schedule_row_read(const struct result *rows, int row, struct schedule_row *ret_row);

/* The holds as they stand; columns by holds_row_read. */
struct holds_row {
    struct span workspace_id;
    struct uuid subscription_id;
    bool mine;    /* leased to the process asked for, and not expired */
    bool expired; /* nobody's */
};
MUST_USE enum status holds_list(struct connection *connection, const struct uuid *process, struct result **ret_rows,
                                struct error *error);
void holds_row_read(const struct result *rows, int row, struct holds_row *ret_row);

/* Takes up to `max` expired holds, and renews those that this process has, for lease_ms. */
MUST_USE enum status holds_take(struct connection *connection, const struct uuid *process, int max, int64_t lease_ms,
                                struct error *error);
MUST_USE enum status holds_release_all(struct connection *connection, const struct uuid *process, struct error *error);

/* Leases due held rows of these endpoints, up to slots[i] each. */
MUST_USE enum status holds_drain(struct connection *connection, const struct schedule_key *endpoints, const int *slots,
                                 size_t count, int64_t lease_ms, struct result **ret_rows, struct error *error);

/* Ends the holds among these in which no held row is left; ended[i] says which. */
MUST_USE enum status holds_end(struct connection *connection, const struct uuid *process,
                               const struct schedule_key *endpoints, size_t count, bool *ended, struct error *error);

/* For metrics: rows, those held, those leased, and the age of the oldest due row. Estimates where counting would be dear. */
struct schedule_stats {
    int64_t rows, held, oldest_due_ms;
};
MUST_USE enum status schedule_stats(struct connection *connection, struct schedule_stats *ret_stats, struct error *error);

#endif
