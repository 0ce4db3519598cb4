/* What the scheduler's files share: scheduler.c (the thread and its rhythm), scheduler_due.c (due rows, and rows that
 * nobody waits for any more), scheduler_crowd.c (whose rows are passed over), scheduler_holds.c (held endpoints),
 * scheduler_batches.c (batches that are closed), scheduler_rows.c (claimed rows on their way to the lanes). */
#ifndef DISPATCH_SCHEDULER_PRIVATE_H
#define DISPATCH_SCHEDULER_PRIVATE_H

#include "core/metrics.h"
#include "db/connection.h"
#include "dispatch/due_scan.h"
#include "dispatch/scheduler.h"
#include "store/partitions.h"
#include "store/schedule.h"
#include "webhook/share.h"
#include <pthread.h>
#include <sys/queue.h>

#define SCHEDULER_LEASE_MARGIN_MS 45000 /* beyond the timeout: waiting in the lane, and being written */
#define SCHEDULER_START_MARGIN_MS 5000  /* of that: the end of an attempt to the end of its lease, at least */
#define SCHEDULER_CLAIM_BYTES (16 * 1024 * 1024)
#define SCHEDULER_HOLD_LEASE_MS 10000
#define SCHEDULER_LANE_FULL 2048
#define SCHEDULER_CROWD_MOST 256
#define SCHEDULER_CROWD_APART 3 /* of those, in one bucket */
#define SCHEDULER_ASKED_MOST (DUE_SCAN_BUCKETS * (2 * SCHEDULER_CROWD_APART + 2))
#define SCHEDULER_HOLD_BUCKETS 4096 /* a power of two */

/* How soon to look again. */
enum pace { PACE_IDLE, PACE_SOME, PACE_FULL };

/* An endpoint in the table of holds, as last seen. */
struct hold {
    struct uuid id;
    char *workspace_id;
    bool mine;  /* leased to this process, and in `mine` below */
    bool gated; /* its gate was told */
    struct share share;
    enum share_part told; /* of it, to the gate */
    uint64_t seen;
    int64_t end_at_ms;   /* monotonic: when to look again whether it is over */
    int64_t drained_ms;  /* wall, by the database's clock: rows due earlier are gone, most likely */
    int64_t whole_at_ms; /* monotonic: from then on it is drained from the beginning all the same … */
    int64_t again_at_ms; /* … and from then on when less was there than there were slots */
    TAILQ_ENTRY(hold) link;
    struct hold *hash_next;
};

TAILQ_HEAD(hold_list, hold);

/* Endpoints of a crowd: their rows are passed over for now. */
struct throng {
    struct uuid ids[SCHEDULER_CROWD_MOST];
    int buckets[SCHEDULER_CROWD_MOST];
    int64_t rows[SCHEDULER_CROWD_MOST]; /* that were found */
    size_t count;
};

/* The stretches of a look as PostgreSQL is asked for them. */
struct asked {
    struct schedule_stretch stretches[SCHEDULER_ASKED_MOST];
    size_t of[SCHEDULER_ASKED_MOST];  /* the one of the look that it is, or is a part of */
    bool probe[SCHEDULER_ASKED_MOST]; /* for one row that is passed over */
    size_t count;
};

struct scheduler {
    struct scheduler_settings settings;
    struct event_rules rules;
    struct connection *connection;
    pthread_t thread;
    int wake_fd;
    _Atomic bool stopping;
    bool away; /* said so in the log */
    int64_t retry_pause_ms;

    uint16_t buckets; /* a set of bits: this process's share */
    struct crowd crowd;
    int64_t ranked_ms, listed_ms; /* monotonic: when it last read who lives, and who holds what */
    int64_t free_since_ms;        /* monotonic: since when there are holds that nobody has; 0: none */
    int64_t rank_at_ms, others_at_ms, holds_at_ms, renew_at_ms, stats_at_ms, sweep_at_ms; /* monotonic: when next */
    int64_t filled_look_at_ms; /* … while every lane is well filled */

    struct due_scan scan;
    int other_bucket; /* of those that are not this process's: the last one looked at */
    struct throng throng;

    struct hold *holds[SCHEDULER_HOLD_BUCKETS];
    struct hold_list mine; /* in turns */
    size_t hold_count, mine_count;
    uint64_t listing;

    char *swept_workspace; /* the last endpoint that the sweep looked at; NULL: begin again */
    struct uuid swept_id;
    struct schedule_key sweeping; /* the endpoint whose rows are being cancelled, and the last one of them; its
                                   * workspace is not kept */

    struct partition_bounds days; /* rule D2: for the rows by day that are written here */
    int64_t days_at_ms;           /* monotonic: when they were read; 0: to be read */

    struct buffer headers; /* of one row */
    struct metric *lateness, *rows, *held_rows, *oldest_due, *hold_gauge, *claims, *batches, *divisor;
};

/* scheduler_rows.c */
/* Claimed rows go to their lanes, or, when nobody waits for them, to the recorder as cancelled. leased_at_ms:
 * monotonic, from before the claim. */
MUST_USE enum status scheduler_hand_over(struct scheduler *scheduler, const struct result *rows, int64_t leased_at_ms,
                                         int64_t lease_ms, bool cancel, struct error *error);
int64_t scheduler_timeout_ms(const struct scheduler *scheduler, const struct subscription *subscription);
bool scheduler_lane_has_room(const struct scheduler *scheduler, const struct uuid *id);
/* Not while as many cancelled rows as a lane may have wait to be written. */
bool scheduler_may_cancel(const struct scheduler *scheduler);

/* scheduler_due.c */
/* Due rows of this process's buckets: for free slots to the lanes, the others into the holds. */
MUST_USE enum status scheduler_due(struct scheduler *scheduler, enum pace *ret_pace, struct error *error);
/* … of the others' buckets, what should have been claimed long ago. */
MUST_USE enum status scheduler_due_of_others(struct scheduler *scheduler, int64_t now_ms, enum pace *ret_pace,
                                             struct error *error);
/* Rule C2: one page of endpoints; the rows of those that are not active are cancelled, due or not. */
MUST_USE enum status scheduler_sweep(struct scheduler *scheduler, enum pace *ret_pace, struct error *error);

/* scheduler_crowd.c */
/* A row of this subscription is to be marked held. */
void throng_add(struct throng *throng, const struct uuid *id, int bucket);
/* Where rows are passed over, the endpoints that have the most of them are left out by key, which the index does
 * without a look at their rows; of each, one row tells whether there is any. */
void throng_ask(const struct throng *throng, const struct due_stretch *stretches, size_t count, struct asked *asked);
/* What was found in each stretch of the look, out of what was walked over in its parts. */
void throng_found(const struct asked *asked, const struct schedule_walked *walked, const struct due_stretch *stretches,
                  size_t count, struct due_found *found);

/* scheduler_batches.c */
/* Makes the batches of these endpoints that are due; of those that are no longer batched, active or there, in any case.
 * PACE_FULL: there are rows to look for now. */
MUST_USE enum status scheduler_close(struct scheduler *scheduler, const struct schedule_key *endpoints, size_t count,
                                     enum pace *ret_pace, struct error *error);
/* Gives these rows, which are bare, their bodies: the next look finds them as ordinary ones. PACE_FULL as above. */
MUST_USE enum status scheduler_fill(struct scheduler *scheduler, const struct schedule_due *rows, size_t count,
                                    enum pace *ret_pace, struct error *error);
/* Whether its members wait for their batch. */
bool scheduler_gathers(const struct subscription *subscription);

/* scheduler_holds.c */
/* Takes and renews leases of holds, and tells the gates what changed. */
MUST_USE enum status scheduler_look_at_holds(struct scheduler *scheduler, int64_t now_ms, struct error *error);
MUST_USE enum status scheduler_drain(struct scheduler *scheduler, enum pace *ret_pace, struct error *error);
/* A hold that is there; `mine` as just learned. */
void scheduler_learn_hold(struct scheduler *scheduler, const struct holds_row *row);
/* NULL: not held, as far as is known. */
struct hold *scheduler_hold_of(struct scheduler *scheduler, const struct uuid *id);
void scheduler_forget_holds(struct scheduler *scheduler);

#endif
