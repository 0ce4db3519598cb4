/* What intake's files share: intake.c (the thread, its rhythm, back-pressure), intake_group.c (membership: adopting and
 * giving up partitions), intake_record.c (one record). */
#ifndef DISPATCH_INTAKE_PRIVATE_H
#define DISPATCH_INTAKE_PRIVATE_H

#include "core/metrics.h"
#include "dispatch/intake.h"
#include "dispatch/recorder.h"
#include "kafka/consumer.h"

enum intake_phase {
    INTAKE_IDLE,     /* no partitions: waiting for the group */
    INTAKE_ASSIGNED, /* partitions given, not yet asked for at the recorder */
    INTAKE_ADOPTING, /* … asked for */
    INTAKE_RUNNING,
    INTAKE_REVOKING, /* the recorder settles what is open */
};

/* An adopted partition as intake follows it. */
struct slot {
    struct partition *partition;                 /* a reference */
    bool verifying;                              /* the next record must be the one that progress knows */
    bool broken;                                 /* it was not: to be adopted anew */
    int64_t committed_offset, committing_offset; /* the last that went to Kafka, and the one that is going */
    struct metric *lag;
};

struct intake {
    struct intake_settings settings;
    struct loop *loop;
    struct queue *queue;
    struct consumer *consumer;
    struct loop_watch *watch;
    struct loop_timer *timer, *second;
    _Atomic enum intake_phase phase;
    struct slot *slots;
    size_t slot_count;
    struct slot *last_slot;
    struct topic_partitions assigned; /* what the group gave, until it is adopted */
    struct topic_partitions
        broken; /* whose logs are not what progress says: to be adopted from their earliest record */
    int64_t try_at_ms;
    struct adopt_message *adopting;  /* the recorder's until it comes back; compared, never followed */
    struct revoke_message *revoking; /* likewise */
    int64_t revoke_deadline_ms;
    bool revoke_lost;
    int64_t began_ms;                    /* wall: when this process began to look at Kafka */
    _Atomic int64_t idle_since_ms;       /* monotonic */
    bool failed;                         /* the consumer is of no use any more */
    int64_t reopen_at_ms;                /* partitions were lost without the group's word: join again; 0: no */
    bool rereading;                      /* the recorder looks records up … */
    struct reread_message *reread_asked; /* … these: its own until it comes back; compared, never followed */
    struct consumer_event stash;         /* a record beyond its partition's window */
    bool stashed;
    bool paused;
    int64_t blocked_since_ms;
    int64_t stop_deadline_ms; /* 0: not stopping */
    _Atomic bool stopping, kafka_down;

    struct event_rules rules;
    struct queue_batch to_recorder, *to_lanes;
    bool reading; /* the roster is locked */
    const struct matching *matching;
    const struct event *matched_event;
    struct subscription **matches; /* of that one */
    size_t match_count, match_capacity;
    struct reread_message *reread;       /* being gathered */
    struct reread_message *reread_again; /* PostgreSQL did not answer it */

    struct metric *accepted, *skipped, *rejected, *unmatched;
};

/* intake_record.c */
/* Takes one record of a slot's partition; STATUS_CONFLICT: its window is full, or its turn has not come; nothing was
 * taken. */
enum status intake_take(struct intake *intake, struct slot *slot, const struct consumer_record *record);
/* Hands on what the round gathered, and lets go of the roster. */
void intake_hand_on(struct intake *intake);
/* The recorder's answer to a reread: those that are known are settled, the others go their way. */
void intake_reread_done(struct intake *intake, struct reread_message *message);
/* Asks again what had no answer. */
void intake_reread_again(struct intake *intake);

/* intake_group.c */
void intake_on_assign(struct intake *intake, struct topic_partitions *partitions_take);
void intake_on_revoke(struct intake *intake, bool lost);
void intake_on_adopted(struct intake *intake, struct adopt_message *message);
void intake_on_revoked(struct intake *intake, struct revoke_message *message);
/* What waits for its time: asking again, deadlines. */
void intake_group_tick(struct intake *intake);
void intake_commit(struct intake *intake, bool wait);
void intake_drop_slots(struct intake *intake);
struct topic_partitions intake_partitions(const struct intake *intake, bool with_offsets);
/* Leaves the group and joins it again. */
void intake_reopen(struct intake *intake);
enum status intake_open_consumer(struct intake *intake, struct error *error);
void intake_set_phase(struct intake *intake, enum intake_phase phase);

#endif
