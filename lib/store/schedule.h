/* The schedule and the holds: rows made, moved and finished by a flush; claimed and drained by the scheduler (rules
 * S1–S5). */
#ifndef STORE_SCHEDULE_H
#define STORE_SCHEDULE_H

#include "db/connection.h"
#include "webhook/event.h"
#include "webhook/subscription.h"

enum schedule_kind {
    SCHEDULE_EVENT = 0,
    SCHEDULE_BATCH = 1,  /* its body is the members' records (webhook/batch.h), or empty: bare (store/batches.h) */
    SCHEDULE_CLOSER = 2, /* its row key is nil: members wait for their batch (store/batches.h) */
};

/* What one flush changes. Add in any order; schedule_write sorts each kind by key. */
struct schedule_changes;
struct schedule_changes *schedule_changes_new(void);
void schedule_changes_free(struct schedule_changes **changes);
void schedule_changes_reset(struct schedule_changes *changes);
bool schedule_changes_is_empty(const struct schedule_changes *changes);

struct schedule_key {
    struct span workspace_id; /* borrowed until the batch is written */
    struct uuid subscription_id;
    struct uuid row_key;
};

/* A new row; one that exists stays as it is. */
struct schedule_new {
    struct schedule_key key;
    const struct event *event;
    bool replay;
    int attempt; /* the next one's number */
    int64_t activation;
    int64_t due_in_ms; /* from the database's clock … */
    int64_t due_at_ms; /* … and wall, when not 0: the later one counts */
    bool held;         /* upserts the endpoint's holds row too */
    bool bare;         /* a batch's row without its body (store/batches.h); leased */
    int64_t lease_ms;  /* 0: not leased; otherwise the row begins with fence 1 */
};
void schedule_changes_new_row(struct schedule_changes *changes, const struct schedule_new *row);

/* Members that were written for their endpoint's next batch (store/batches.h): they are counted in its closer, which is
 * made where there is none, and is due at the earliest of these times, or at once when it has enough. One call for each
 * endpoint. */
struct schedule_members {
    struct schedule_key endpoint; /* row key: nil */
    int64_t activation;
    int32_t count;
    int64_t bytes;
    int64_t due_at_ms; /* wall, by the database's clock */
    int32_t max_events;
    int64_t max_bytes;
    int64_t first_seq; /* they have no smaller one (batches_next_seq); 0: not known */
};
void schedule_changes_members(struct schedule_changes *changes, const struct schedule_members *members);
/* Sets first_seq of all that were added. */
void schedule_changes_first_seq(struct schedule_changes *changes, int64_t first_seq);

/* A claimed row is due again in due_in_ms with the next attempt's number; only when its fence is still the given one.
 */
void schedule_changes_retry(struct schedule_changes *changes, const struct schedule_key *key, int32_t fence,
                            int attempt, int64_t due_in_ms);
/* A claimed row goes back as held, due as it was. */
void schedule_changes_hold(struct schedule_changes *changes, const struct schedule_key *key, int32_t fence);
/* Done with: fence -1: whatever the fence. */
void schedule_changes_finish(struct schedule_changes *changes, const struct schedule_key *key, int32_t fence);
/* The last of these three that was added is about a bare row: where it stays, and has no body still, it gets this
 * batch's. */
void schedule_changes_body(struct schedule_changes *changes, const struct event *batch);
/* Two new rows take a claimed one's place, only when its fence is still the given one and its body is as long as the
 * one that was divided, or still missing: what was erased from it meanwhile must not come back (rule B3). Gives the
 * number by which schedule_changes_was_split, after schedule_write, says whether they did. */
size_t schedule_changes_split(struct schedule_changes *changes, const struct schedule_key *key, int32_t fence,
                              size_t body_bytes, const struct schedule_new halves[2]);
bool schedule_changes_was_split(const struct schedule_changes *changes, size_t number);

/* In a transaction: holds, then closers, new rows, moves, ends, and last what takes the place of what was split. */
MUST_USE enum status schedule_write(struct connection *connection, struct schedule_changes *changes,
                                    struct error *error);

/* ---- For the scheduler. Nothing below waits for a lock longer than a second: STATUS_CONFLICT then. ---- */

/* What a connection needs that calls these: after each connection_open. */
MUST_USE enum status schedule_session(struct connection *connection, struct error *error);

/* Closers are seen by a look, and by nothing else below: they are never claimed and never held (store/batches.h). */

/* A row as claimed. The spans point into the result that it came with. */
struct schedule_row {
    struct schedule_key key;
    struct uuid event_key; /* a batch's: its id */
    enum schedule_kind kind;
    bool replay;
    int32_t fence;
    int attempt;
    int64_t activation;
    int64_t due_at_ms;
    int64_t lateness_ms;        /* by the database's clock */
    struct event_record record; /* without headers … */
    struct span headers;        /* … which are here, as JSON */
};

/* A claimed row out of the result of schedule_claim, schedule_claim_endpoint or holds_drain. */
void schedule_row_read(const struct result *rows, int row, struct schedule_row *ret_row);

/* A look at what is due. It locks nothing, and who claims a row afterwards may find that somebody else was first. */

/* A stretch of one bucket: rows due from from_ms to before to_ms (INT64_MAX: up to now) that are nobody's, oldest
 * first, at most `limit` of them. pass: those of the passed subscriptions count, but are not given. Only subscriptions
 * from first_id to last_id, both included (last_id nil: all): what lies beyond costs no more than its index entry. */
struct schedule_stretch {
    int bucket;
    bool pass;
    int64_t from_ms, to_ms;
    int limit;
    struct uuid first_id, last_id;
};

/* What was walked over in a stretch. */
struct schedule_walked {
    int rows;          /* passed ones included */
    int64_t last_ms;   /* when the last one was due; none: 0 */
    int64_t passed_ms; /* … and the first one that was passed over; none: INT64_MAX */
};

struct schedule_look {
    const struct schedule_stretch *stretches;
    size_t stretch_count;
    const struct uuid *passed; /* subscriptions */
    size_t passed_count;
    int64_t overdue_ms; /* rows must have been due for so long */
};

/* One row that was found; its spans point into the result. */
struct schedule_due {
    struct schedule_key key;
    struct span place; /* where in the table it lies: while it does, it is found there without an index */
    enum schedule_kind kind;
    int64_t activation, due_at_ms;
    int64_t body_bytes;
    size_t stretch; /* its number in the look */
};

/* Rows 0 … ret_count - 1 are for schedule_due_read. walked: one for each stretch. ret_now_ms: the database's clock. */
MUST_USE enum status schedule_look(struct connection *connection, const struct schedule_look *look,
                                   struct schedule_walked *walked, int64_t *ret_now_ms, struct result **ret_rows,
                                   int *ret_count, struct error *error);
void schedule_due_read(const struct result *rows, int row, struct schedule_due *ret_due);

/* Leases those of the given rows that are still where they were seen, due, and nobody's for lease_ms, raises their
 * fences, and gives them. Outside a transaction: it is one. */
MUST_USE enum status schedule_claim(struct connection *connection, const struct schedule_due *chosen, size_t count,
                                    int64_t lease_ms, struct result **ret_rows, struct error *error);
/* Which of the chosen ones a row is that schedule_claim gave. */
size_t schedule_claimed_number(const struct result *rows, int row);

/* Leases rows of one endpoint, due or not, held or not, unless they are leased or bare (store/batches.h), in the order
 * of their keys from the given one on: up to max of them, about max_bytes, and only those of this activation or an
 * earlier one. */
MUST_USE enum status schedule_claim_endpoint(struct connection *connection, const struct schedule_key *endpoint,
                                             int64_t activation, int max, int64_t max_bytes, int64_t lease_ms,
                                             struct result **ret_rows, struct error *error);

/* Marks those of the given rows held that are still where they were seen, due, and nobody's, in a transaction of its
 * own. Their holds are made where there are none, and those that are nobody's are leased to this process for lease_ms.
 * ret_holds: the holds of all these endpoints, for holds_row_read. */
MUST_USE enum status schedule_mark_held(struct connection *connection, const struct uuid *process,
                                        const struct schedule_due *rows, size_t count, int64_t lease_ms,
                                        int64_t *ret_marked, struct result **ret_holds, struct error *error);

/* Endpoints that have rows, in the database's order, after the given one (SPAN_NONE: from the start), for
 * schedule_endpoint_read. */
MUST_USE enum status schedule_endpoints(struct connection *connection, const struct schedule_key *after, int limit,
                                        struct result **ret_endpoints, struct error *error);
void schedule_endpoint_read(const struct result *endpoints, int row, struct schedule_key *ret_endpoint);
/* Whether it has a closer. */
bool schedule_endpoint_gathers(const struct result *endpoints, int row);

/* Which of these endpoints have no subscription any more. */
MUST_USE enum status schedule_gone(struct connection *connection, const struct schedule_key *endpoints, size_t count,
                                   bool *gone, struct error *error);

/* The holds as they stand. */
struct holds_row {
    struct span workspace_id;
    struct uuid subscription_id;
    bool mine;    /* leased to the process asked for, and not expired */
    bool expired; /* nobody's */
};
MUST_USE enum status holds_list(struct connection *connection, const struct uuid *process, struct result **ret_rows,
                                struct error *error);
void holds_row_read(const struct result *rows, int row, struct holds_row *ret_row);

/* Takes up to `max` expired holds, and renews those that this process has once half of lease_ms is gone. */
MUST_USE enum status holds_take(struct connection *connection, const struct uuid *process, int max, int64_t lease_ms,
                                struct error *error);
MUST_USE enum status holds_release_all(struct connection *connection, const struct uuid *process, struct error *error);

/* Leases held rows of these endpoints that were due at from_ms[i] or later (0: whenever), oldest first, up to slots[i]
 * each and about max_bytes altogether. They stay held, so that the claim is HOT; a retry makes them ordinary rows. Rows
 * whose lease ran out come again. */
MUST_USE enum status holds_drain(struct connection *connection, const struct schedule_key *endpoints, const int *slots,
                                 const int64_t *from_ms, size_t count, int64_t max_bytes, int64_t lease_ms,
                                 struct result **ret_rows, struct error *error);

/* Ends the holds of this process among these in which no held row waits, in a transaction of its own; ended[i] says
 * which. Held rows that are leased become ordinary leased ones. */
MUST_USE enum status holds_end(struct connection *connection, const struct uuid *process,
                               const struct schedule_key *endpoints, size_t count, bool *ended, struct error *error);

/* For metrics: rows, those held, and the age of the oldest row that is due and nobody's (0: none). Counts up to
 * SCHEDULE_COUNT_MAX, estimates above. */
#define SCHEDULE_COUNT_MAX 10000
struct schedule_stats {
    int64_t rows, held, oldest_due_ms;
};
MUST_USE enum status schedule_stats(struct connection *connection, struct schedule_stats *ret_stats,
                                    struct error *error);

#endif
