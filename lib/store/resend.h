/* What a job of store/jobs.h sends again, a page at a time: first the keys of a page are read, then their rows of the
 * schedule are made by the server out of `events` and `batches`, so that no body travels. Both in the transaction in
 * which the job was taken (resend_begin) and in which it advances.
 *
 * What is looked through, in this order:
 *   recover   log rows that were given up (failed) or cancelled (missing), less what has a later row for the same
 *             delivery; then, for missing, the events that the subscription was skipped for, less what has any row
 *   replay    log rows that the filter fits, the last one of each delivery
 * Each in the order of time, between since and until. A page ends after `window` rows looked at, or `max` that fit.
 *
 * The row's key is a hash (resend_key in the database): of the subscription and the event for recover, so that two
 * recoveries can't have the same delivery waiting twice; of the job and the event for replay. A delivery is sent as it
 * went: an event as an event, a batch as a batch of the same id and members; a skipped event of a subscription that is
 * batched now as a batch of one, whose id is the row's key. */
#ifndef STORE_RESEND_H
#define STORE_RESEND_H

#include "store/jobs.h"

/* While payloads are copied nobody erases one (event_erase.c), or what is erased could be sent once more. */
#define RESEND_LOCK "7525356009378902903"

/* BEGIN, plans that go by the indexes, and the lock, shared. */
MUST_USE enum status resend_begin(struct connection *connection, struct error *error);

struct resend_page {
    struct result *keys; /* NULL: none */
    int count;
    int picked;               /* of what was looked at: for the next page's window */
    struct job_position next; /* where the next one begins */
    bool end;                 /* there is no next one */
};
MUST_USE enum status resend_read(struct connection *connection, const struct job *job, int window, int max,
                                 struct resend_page *ret_page, struct error *error);
void resend_page_deinit(struct resend_page *page);

/* How many of a page's deliveries resend_make would make or fail. */
MUST_USE enum status resend_count(struct connection *connection, const struct job *job, const struct resend_page *page,
                                  int64_t *ret_count, struct error *error);

/* Whether a subscription of this page has so much that is due and waits, in rows or bytes, that more would do it no
 * good. Looks at a bounded number of rows. */
#define RESEND_DUE_ROWS 50000
#define RESEND_DUE_BYTES (512 * 1024 * 1024)
MUST_USE enum status resend_is_full(struct connection *connection, const struct job *job,
                                    const struct resend_page *page, bool *ret_full, struct error *error);

struct resend_made {
    int64_t done;   /* wait in the schedule now, or did before */
    int64_t failed; /* the payload is no longer kept, or the subscription is not active */
    int64_t rows;   /* made */
};
MUST_USE enum status resend_make(struct connection *connection, const struct job *job, const struct resend_page *page,
                                 struct resend_made *ret_made, struct error *error);

#endif
