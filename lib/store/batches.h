/* What waits for a batch, and what batches there were.
 *
 * A subscription that gathers has rows in `batch_members`, and as long as it has any, one closer in `schedule`: under
 * the nil row key, with how many they are, how large, and when their batch is due. A flush writes them; the scheduler
 * closes what is due: the first members become one row of the schedule, which from then on is a delivery like others.
 *
 * Why no member is ever left behind without a closer (rules B1, B2):
 *
 *   writer                            who closes
 *   members inserted
 *   closer upserted: locks it         closer locked first (else: not now)
 *   COMMIT                            then, with a younger snapshot, what is there is taken
 *                                     closer deleted when nothing is left, else changed; COMMIT
 *
 * - The writer has the closer first: who closes passes by, and comes again.
 * - Who closes has it first: the writer's members are not committed and stay where they are; its upsert waits for
 *   the COMMIT, then finds the closer that was changed and adds to it, or none and makes one anew.
 * So whoever holds the closer's lock sees exactly the members that it counts, and each COMMIT leaves a closer where it
 * leaves members. The upsert has to change the row that it meets, or it would not wait.
 *
 * A batch that leaves from memory is soon delivered, and its members' records are in `events`, by the same transaction.
 * So its row is bare: leased, and without a body. Only where it stays it needs one:
 *
 *   its first attempt failed, or was not made   its process writes the body with what becomes of it
 *   its process died, and its lease ran out     who finds it due fills it; nobody claims it before, nor holds it
 *   a member is erased                          who erases fills it first, and then takes the member out
 *   the days of its members are to be dropped   who drops fills it first
 *
 * A body that is there is never replaced: it may have lost what was erased. */
#ifndef STORE_BATCHES_H
#define STORE_BATCHES_H

#include "store/partitions.h"
#include "store/schedule.h"

/* ---- For a flush, in its transaction: the members first, then their closers (schedule_changes_add_members). ---- */

/* Appends one row to those of a COPY into batch_members. Their order is the order in which they go into batches.
 * `scratch` is overwritten. */
void batches_member_row(struct buffer *rows, const struct schedule_key *endpoint, const struct event *event,
                        int64_t activation, int64_t arrived_at_ms, struct buffer *scratch);
/* No member that is copied after this has a smaller seq: for schedule_changes_first_seq. */
MUST_USE enum status batches_next_seq(struct connection *connection, int64_t *ret_seq, struct error *error);
MUST_USE enum status batches_copy_members(struct connection *connection, struct span rows, struct error *error);

/* Appends the row of `batches` for a batch that gets a row in the schedule. */
void batches_row(struct buffer *rows, int64_t created_at_ms, const struct uuid *subscription_id,
                 const struct event *batch);
MUST_USE enum status batches_copy(struct connection *connection, struct span rows, struct error *error);

/* A receiver did not take a body of that size (rule B3): the limit of this very version is halved, down to
 * SUBSCRIPTION_MIN_BATCH_BYTES. */
MUST_USE enum status batches_halve(struct connection *connection, struct span workspace_id,
                                   const struct uuid *subscription_id, int64_t version, struct error *error);

/* ---- Bare rows: their bodies are made of `events`, by the server. ---- */

/* Of those among these rows that are bare. One of whose members nothing is left gets a body that nobody can read. */
MUST_USE enum status batches_fill(struct connection *connection, const struct schedule_due *rows, size_t count,
                                  struct error *error);
/* Of those that have this event as a member. */
MUST_USE enum status batches_fill_event(struct connection *connection, struct span workspace_id,
                                        const struct uuid *event_key, struct error *error);
/* Of those that have been due for so long that whoever drops days may come by. */
MUST_USE enum status batches_fill_forgotten(struct connection *connection, struct error *error);

/* ---- For the scheduler. ---- */

struct batches_closing {
    struct schedule_key endpoint; /* row key: nil */
    int32_t max_events;
    int64_t max_bytes; /* of the records' values; one record alone may be larger */
    int64_t wait_ms;   /* what is left is due so long after the first of it arrived */
    bool at_once;      /* whether it is due or not, and what is left too */
};

/* At most so many at a time. */
#define BATCHES_CLOSE_MAX 32

/* One transaction: of each of these closers that is due and nobody else has, one batch is made, of the first members of
 * one activation; its row is due now. The closer goes, or stands for what is left. ret_made: how many; ret_more: some
 * are due still. STATUS_FAILED where the bounds are no longer right: read them again. */
MUST_USE enum status batches_close(struct connection *connection, const struct batches_closing *closings, size_t count,
                                   const struct partition_bounds *bounds, int *ret_made, bool *ret_more,
                                   struct error *error);

#endif
