/* What the recorder's files share: recorder.c (messages, the rhythm), recorder_partitions.c (what is followed),
 * recorder_flush.c (one transaction), recorder_batches.c (what it does with batches), recorder_link.c (the connection:
 * losing it, finding it again, rule P4). */
#ifndef DISPATCH_RECORDER_PRIVATE_H
#define DISPATCH_RECORDER_PRIVATE_H

#include "base/arena.h"
#include "core/metrics.h"
#include "db/connection.h"
#include "dispatch/recorder.h"
#include "store/partitions.h"
#include "store/progress.h"
#include "store/schedule.h"
#include "webhook/tracker.h"

/* One adopted partition as the recorder follows it. */
struct tracked {
    TAILQ_ENTRY(tracked) link;
    struct partition *partition; /* a reference */
    struct tracker *tracker;
    struct taken_list open;      /* taken and not written, by offset */
    int64_t written_next_offset; /* by the flush that is being made */
    int64_t flushed_next_offset; /* as last committed */
    bool lost;                   /* another epoch rules: log rows only */
    bool in_flush;               /* has something in the flush that is being made */
    bool written;                /* its progress is part of that flush */
    struct metric *lag_seconds;
};
TAILQ_HEAD(tracked_list, tracked);

struct revoke_wait {
    TAILQ_ENTRY(revoke_wait) link;
    struct revoke_message *message;
    int64_t park_at_ms;
    bool parked;
};
TAILQ_HEAD(revoke_list, revoke_wait);

struct adopt_wait {
    TAILQ_ENTRY(adopt_wait) link;
    struct adopt_message *message;
};
TAILQ_HEAD(adopt_list, adopt_wait);

/* What one transaction writes. Kept whole until its COMMIT is certain. */
struct flush {
    struct taken_list taken;
    struct delivery_list rows;
    int64_t deliveries, bytes; /* to give back to the budget */
    bool made;                 /* there is one that has not been committed */
    bool commit_sent;          /* its COMMIT went out and no answer came */
    int64_t began_us;
};

struct recorder {
    struct recorder_settings settings;
    struct lane **lanes;
    int lane_count;
    struct loop *loop;
    struct queue *queue;
    struct loop_timer *timer;
    struct connection *connection;
    bool linked;     /* the connection is open, checked, and this process registered */
    bool registered; /* once: from then on a reconnection compares */
    bool restored;   /* another database answers, and on_restored was not called yet */
    bool away;       /* said so in the log */
    int64_t retry_at_ms, retry_pause_ms;
    struct buffer identity;
    int64_t flush_no;
    int64_t flushed_at_ms;
    struct partition_bounds days; /* rule D2: created_at is put between them */
    int64_t days_at_ms;           /* when they were read; 0: to be read */
    bool gap;                     /* the pulse was lost: check every epoch before it beats again */

    struct tracked_list tracked;
    struct taken_list ready;
    struct delivery_list ready_rows;
    int64_t ready_count;
    int64_t
        ready_number; /* of the record that became ready last; an answer waits for those that were ready before it */
    struct flush flush;
    struct revoke_list revokes;
    struct adopt_list adopts;

    struct buffer events, logs, rejected, done;
    struct schedule_changes *schedule;
    struct gathering *gathering;
    _Atomic bool stopping; /* the lanes have stopped: nothing more is given to them */

    _Atomic int64_t waiting;

    struct metric *flush_seconds, *flush_deliveries, *flush_failures;
    struct metric *delivered, *failed, *given_up, *cancelled, *parked, *events_written, *rejected_written;
    struct metric *outstanding, *outstanding_bytes;
};

/* recorder.c: something did not work; says so once, and when to try again. */
void recorder_away(struct recorder *recorder, const char *what, const struct error *error);

/* recorder_partitions.c */
void recorder_on_adopt(struct recorder *recorder, struct adopt_message *message);
void recorder_on_revoke(struct recorder *recorder, struct revoke_message *message);
void recorder_serve_adopts(struct recorder *recorder);
void recorder_serve_revokes(struct recorder *recorder);
void recorder_look_at_heads(struct recorder *recorder);
void recorder_untrack(struct recorder *recorder, struct tracked *tracked);

/* recorder_flush.c: writes recorder->flush in one transaction. Otherwise nothing of it is written, or it is not known
 * whether (flush.commit_sent). */
MUST_USE enum status recorder_flush_write(struct recorder *recorder, struct error *error);
/* Sums up what the log rows of the flush say, for the metrics. */
void recorder_flush_count(struct recorder *recorder);

/* recorder_batches.c: while a flush is built: forgets what was built before; then each delivery that belongs into a
 * batch (taken_at_ms: monotonic), is a batch of its own later on (OUTCOME_DELAYED), or gives way to its halves; then
 * all of it goes into recorder->schedule. clock_ms: the database's. */
struct gathering *gathering_new(void);
void gathering_free(struct gathering **gathering);
void recorder_batches_begin(struct recorder *recorder, int64_t clock_ms);
void recorder_batches_add(struct recorder *recorder, const struct delivery *delivery, int64_t taken_at_ms);
void recorder_batches_later(struct recorder *recorder, const struct delivery *delivery);
void recorder_batches_split(struct recorder *recorder, const struct delivery *delivery);
void recorder_batches_build(struct recorder *recorder);
/* In the transaction, before schedule_write and after it. */
MUST_USE enum status recorder_batches_write(struct recorder *recorder, int64_t created_at_ms, struct error *error);
MUST_USE enum status recorder_batches_write_halves(struct recorder *recorder, int64_t created_at_ms,
                                                   struct error *error);
/* The flush is written: what was leased for a lane goes there. */
void recorder_batches_leave(struct recorder *recorder);

/* recorder_link.c */
/* Connects, registers, and after an interruption compares what PostgreSQL has with what this process last wrote (P5,
 * P6). ret_committed: the flush whose COMMIT had no answer is written. */
MUST_USE enum status recorder_link(struct recorder *recorder, bool *ret_committed, struct error *error);
/* Takes partitions over in one transaction and fills in the answers. */
MUST_USE enum status recorder_adopt(struct recorder *recorder, struct adopt_message *message, struct error *error);
MUST_USE enum status recorder_reread(struct recorder *recorder, struct reread_message *message, struct error *error);
/* A partition is another owner's: only log rows of it are written, nothing of it starts, and intake hears of it. */
void recorder_lose(struct recorder *recorder, struct tracked *tracked);
/* Lets go of every partition: they are read again from progress. */
void recorder_drop_partitions(struct recorder *recorder);

#endif
