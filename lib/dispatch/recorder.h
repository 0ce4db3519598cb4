/* The thread that writes: it gathers what became of every record, event by event, and writes it in one transaction a
 * flush, progress included; it owns the trackers. When PostgreSQL is away it keeps what it has and tries again; intake
 * stops by the budget.
 *
 *   taken ─▶ open (outcomes arrive) ─▶ ready ─▶ flush ─▶ settled: budget, partition.settled_offset
 *   row outcome ─────────────────────▶ ready ─▶ flush
 */
#ifndef DISPATCH_RECORDER_H
#define DISPATCH_RECORDER_H

#include "core/settings.h"
#include "dispatch/budget.h"
#include "dispatch/delivery.h"
#include "dispatch/pulse.h"

struct recorder;
struct lane;

struct recorder_settings {
    const struct settings *settings;
    struct budget *budget;
    struct pulse *pulse;
    struct uuid process_id;
    /* In the recorder's thread: PostgreSQL is not what it was when this process last wrote (rule P6). */
    loop_fn *on_restored;
    /* … or partitions are another owner's though the group did not say so. */
    loop_fn *on_lost;
    void *ctx;
};

struct recorder *recorder_new(const struct recorder_settings *settings);
/* Before recorder_start: where parking goes. */
void recorder_set_lanes(struct recorder *recorder, struct lane **lanes, int count);
void recorder_start(struct recorder *recorder);
/* After the lanes have stopped: flushes what is there until deadline_ms (monotonic), then ends; a flush that hangs is
 * cut off then. */
void recorder_stop(struct recorder *recorder, int64_t deadline_ms);
void recorder_free(struct recorder **recorder);

/* Any thread. */
void recorder_push(struct recorder *recorder, struct queue_batch *batch);

/* What is here and not durably written. Any thread. */
int64_t recorder_waiting(const struct recorder *recorder);

/* Intake asks, the recorder fills in and sends the same message back to `reply`. */

/* Takes partitions over: raises their epochs and says where to begin (rules P3, P4). */
struct adopt_message {
    struct message message; /* MESSAGE_ADOPT */
    struct queue *reply;
    size_t count;
    struct adopt_item {
        char *topic;
        int32_t number;
        int64_t committed;   /* Kafka's offset for the group; CONSUMER_OFFSET_NONE: none */
        bool has_lineage;    /* the commit carries our metadata … */
        struct uuid lineage; /* … which says this */
        int64_t lineage_first;
        int64_t low, high; /* the first record there is, and the end; known when committed is none, or it is broken */
        int64_t latest;    /* … and where START_FROM=latest begins: with what came after the process began */
        bool broken;       /* the log does not hold what progress says: begin at `low` with a new lineage */
        struct partition *partition; /* the answer: a reference */
    } items[];
};
void adopt_message_free(struct adopt_message **message);

/* Gives partitions up: up to 300 ms for answers, then parks the rest, flushes, and answers (rule P7). */
struct revoke_message {
    struct message message; /* MESSAGE_REVOKE */
    struct queue *reply;
    size_t count;
    struct partition *partitions[]; /* references */
};
void revoke_message_free(struct revoke_message **message);

/* Which of these events are in `events` already (rule P4: a log that was made again). */
struct reread_message {
    struct message message; /* MESSAGE_REREAD */
    struct queue *reply;
    bool failed; /* PostgreSQL did not answer: ask again */
    size_t count;
    struct reread_item {
        struct event *event; /* a reference */
        bool known;
    } items[];
};
void reread_message_free(struct reread_message **message);

#endif
