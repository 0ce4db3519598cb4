/* What travels between the threads: a taken record, and the deliveries that came of it.
 *
 *   intake ── taken ─────────────────────────────▶ recorder        (announced first)
 *   intake ── delivery ──▶ lane ── delivery ─────▶ recorder        (with its outcome)
 *   intake ── delivery (held, later) ────────────▶ recorder
 *   scheduler ── delivery (of a schedule row) ──▶ lane ──▶ recorder
 *
 * A delivery belongs to the thread that has it; a taken belongs to the recorder from the moment it is announced, and a
 * delivery's pointer to it is only handed back, never followed elsewhere. */
#ifndef DISPATCH_DELIVERY_H
#define DISPATCH_DELIVERY_H

#include "core/queue.h"
#include "dispatch/partition.h"
#include "net/client.h"
#include "webhook/event.h"
#include "webhook/retry_policy.h"
#include "webhook/subscription.h"
#include <sys/queue.h>

/* What the first field of everything that travels says. */
enum message_type {
    MESSAGE_DELIVERY,     /* struct delivery */
    MESSAGE_TAKEN,        /* struct taken, to the recorder */
    MESSAGE_SUBSCRIPTION, /* struct subscription_message, watcher → lanes: a new version */
    MESSAGE_PARK,         /* struct subscription_message, recorder → lane: park this endpoint if it is slow */
    MESSAGE_RELEASE,      /* struct message alone, recorder → lanes: park what belongs to revoked partitions */
    MESSAGE_ADOPT,        /* struct adopt_message, intake ⇄ recorder */
    MESSAGE_REVOKE,       /* struct revoke_message, intake ⇄ recorder */
    MESSAGE_REREAD,       /* struct reread_message, intake ⇄ recorder */
    MESSAGE_HEALTH,       /* struct health_message, lanes → jobs */
    MESSAGE_WAKE,         /* struct message alone: look again */
    MESSAGE_LOST, /* struct message alone, recorder → intake: the database was restored, read again from progress */
};

struct message {
    struct queue_node node; /* first */
    enum message_type type;
};

/* The message that a queue's node begins. */
#define MESSAGE_OF(queue_node) ((struct message *)(queue_node))

enum outcome {
    OUTCOME_NONE,      /* not ended yet */
    OUTCOME_ATTEMPTED, /* an attempt was made: log row; `decision` says what follows */
    OUTCOME_CANCELLED, /* its subscription went away or was paused: log row, finished */
    OUTCOME_PARKED,    /* not attempted: a held row, due now */
    OUTCOME_LEASED,    /* under way: a row leased to this process; the answer follows as a row's */
    OUTCOME_DELAYED,   /* not due yet: a row for due_at_ms, or due_in_ms from now, whichever is later */
    OUTCOME_BATCHED,   /* a member of its endpoint's batch */
    OUTCOME_SPLIT,     /* a batch whose body is too long to be sent: its halves take its place */
    OUTCOME_DROPPED,   /* its partition or lease went elsewhere: nothing is written */
};

struct delivery {
    struct message message; /* first; MESSAGE_DELIVERY */
    TAILQ_ENTRY(delivery) link;
    struct event *event;
    struct subscription *subscription; /* the version that matched; after an attempt the one that was used */
    struct partition *partition;       /* of a first attempt; NULL for a row */
    struct taken *taken;               /* the recorder's; NULL once a row exists */
    uint32_t slot;                     /* its place among the taken's deliveries */

    /* A schedule row's. */
    bool has_row;
    bool replay;           /* sent again on request */
    bool quick;            /* while it is under way: holds one of its lane's places for quick endpoints */
    bool counted_as_row;   /* among its target's rows in flight */
    bool bare_row;         /* a batch's whose row has no body yet (store/batches.h) */
    bool parked_in_flight; /* its row was written while it was under way: a success finishes it whatever the fence */
    int64_t ready_number;  /* of the record that was ready last when its answer came */
    struct uuid row_key;
    int32_t fence;
    int64_t lease_deadline_ms; /* monotonic: must not start after this */
    int64_t activation;

    int16_t attempt;                 /* this one's number, from 1 */
    int64_t enqueued_ms, started_ms; /* monotonic: when the lane got it, and when it sent it */

    /* The outcome. */
    enum outcome outcome;
    enum client_result result;
    struct retry_decision decision;
    int32_t status_code;
    int32_t duration_ms;
    int64_t sent_at_ms;  /* wall; 0: nothing was sent */
    int64_t due_at_ms;   /* wall; OUTCOME_DELAYED; 0: due_in_ms alone counts */
    int64_t due_in_ms;   /* from when it is written */
    char *response_body; /* valid UTF-8 without NUL; NULL: none kept */
    size_t response_body_len;
    char *error; /* for people; NULL: none */

    _Atomic int64_t *tally; /* one less there when it is freed; NULL: nobody counts it */
};

TAILQ_HEAD(delivery_list, delivery);

/* References to event and subscription are added; partition likewise when not NULL. */
struct delivery *delivery_new(struct event *event, struct subscription *subscription, struct partition *partition);
void delivery_free(struct delivery **delivery);
/* A second one for the same event and subscription, for OUTCOME_LEASED. */
struct delivery *delivery_clone(const struct delivery *delivery);
/* What it costs while it waits to be written. */
size_t delivery_footprint_bytes(const struct delivery *delivery);

/* Takes up to `max` of the slots for rows that a lane published; returns how many. */
int gate_take_slots(struct gate *gate, int max);
void gate_give_slots(struct gate *gate, int count);

/* One record that intake took, and what is still to come of it. */
struct taken {
    struct message message;  /* first; MESSAGE_TAKEN */
    TAILQ_ENTRY(taken) link; /* in its partition's order, or ready for the flush */
    struct partition *partition;
    int64_t offset;
    struct uuid key;
    int64_t taken_at_ms;  /* monotonic */
    bool already_settled; /* announced for the tracker's sake alone */
    int64_t asked_ms;     /* monotonic: when its endpoints were last asked to park */

    /* A rejected record's. */
    struct rejected *rejected;

    struct event *event;  /* NULL: nothing to write but progress */
    struct uuid *skipped; /* subscriptions that matched while not active */
    uint32_t skipped_count;
    bool matched; /* write an events row */

    int64_t ready_number; /* in the order in which they became whole */
    uint32_t expected, arrived;
    struct delivery_list outcomes;
    size_t footprint_bytes;
    struct taken_slot {
        struct subscription *subscription; /* a reference */
        bool arrived;
    } slots[];
};

TAILQ_HEAD(taken_list, taken);

/* What rejected_events keeps. */
struct rejected {
    char *code, *reason;
    char *workspace_id; /* NULL: nobody can tell */
    int64_t record_time_ms;
    bool has_key, has_value;
    struct span record_key, headers, value; /* in the same block */
    char bytes[];
};

struct taken *taken_new(struct partition *partition, int64_t offset, const struct uuid *key, uint32_t expected);
void taken_free(struct taken **taken);

struct subscription_message {
    struct message message;
    struct subscription *subscription; /* a reference */
    bool whatever_version;             /* the database is another one: also when it is older than what is known */
};
struct message *subscription_message_new(enum message_type type, struct subscription *subscription);

/* A message without a body. */
struct message *message_new(enum message_type type);

#endif
