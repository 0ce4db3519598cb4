/* What a lane keeps for one subscription while there is something to send: its queues, its endpoint's health, and what
 * its webhooks are made with. The lane's, as everything here. */
#ifndef DISPATCH_TARGET_H
#define DISPATCH_TARGET_H

#include "base/crypto.h"
#include "base/heap.h"
#include "dispatch/delivery.h"
#include "dispatch/health_note.h"
#include "webhook/endpoint.h"
#include "webhook/format.h"
#include "webhook/signature.h"

#define TARGET_MAX_OWN_HEADERS 32

struct target {
    struct uuid id;
    struct target *hash_next;
    struct subscription *subscription; /* the newest version known here */
    struct endpoint endpoint;
    struct health_note health;
    struct delivery_list first, rows; /* waiting: first attempts, and schedule rows */
    struct delivery_list in_flight;
    int32_t first_count, row_count, rows_in_flight;
    bool row_turn; /* the next one to start is a row */
    bool limited;  /* limits of the subscription's own are in force: what follows is kept up */
    /* This process's share of the subscription's own limits, and how much of it is in use. */
    int32_t share_in_flight;   /* INT32_MAX: no limit */
    int64_t share_interval_us; /* 0: no rate */
    int32_t most_in_flight;    /* since the last look */
    int64_t used_until_us;     /* monotonic: by then the share's rate would have sent what was sent */
    int64_t quickest_us;       /* the soonest answer, doubled every ten seconds; 0: none yet */
    int32_t new_connections;   /* answers that needed one */
    bool listed;               /* in one of the lane's lists of those that may start something … */
    bool listed_quick;         /* … that of quick ones */
    bool watched;              /* in the lane's list of those that each tick looks at */
    int64_t pause_until_ms;    /* monotonic; too many look-ups were under way */
    int64_t busy_at_ms;        /* monotonic; when it last had something to do */
    TAILQ_ENTRY(target) link;
    TAILQ_ENTRY(target) watch_link;
    struct heap_entry wake;

    /* Made from the version by target_prepare. */
    bool prepared;
    int64_t prepared_until_ms; /* wall: a secret runs out; 0: none does */
    struct format *format;
    const char *content_type;
    struct signer *signer; /* NULL: style none, or no secret */
    struct buffer own_lines;
    struct client_header own_headers[TARGET_MAX_OWN_HEADERS];
    size_t own_header_count;
};

struct target *target_new(struct subscription *subscription);
/* Its queues are empty. */
void target_free(struct target **target);

/* Takes over a newer version; an older one is ignored. Returns whether it did. */
bool target_set_version(struct target *target, struct subscription *subscription, bool whatever_version);

/* Opens secrets and headers and compiles the format, once a version. STATUS_INVALID: they can't be read (another key?).
 */
MUST_USE enum status target_prepare(struct target *target, const struct keyring *keyring, struct error *error);

/* Rule S6: limits of the subscription's own hold for the installation. Gives the endpoint what this process may use of
 * them now; where that is nothing, bars it. processes: pulse_processes. */
void target_share_limit(struct target *target, int32_t processes);
static inline bool target_has_limits(const struct target *target) {
    return target->subscription->max_in_flight > 0 || target->subscription->rate_per_second > 0;
}
/* Of one with limits: tells the gate whether more than the share would be of use, from what was used since the last
 * time. */
void target_judge_share(struct target *target, int64_t now_ms);

void target_enqueue(struct target *target, struct delivery *delivery, int64_t now_ms);
void target_requeue(struct target *target, struct delivery *delivery); /* at the head */
/* The next to start, in fair turns between first attempts and rows; NULL: nothing waits. */
struct delivery *target_dequeue(struct target *target);
static inline bool target_has_waiting(const struct target *target) {
    return target->first_count + target->row_count > 0;
}
/* Nothing waits, nothing is under way, and nothing about it changes by time alone but that its health is to be told. */
bool target_is_quiet(const struct target *target, int64_t now_ms);
/* How long the oldest one that waits has waited; 0: none. */
int64_t target_wait_ms(const struct target *target, int64_t now_ms);

void target_started(struct target *target, struct delivery *delivery, int64_t now_ms);
void target_ended(struct target *target, struct delivery *delivery, enum endpoint_sign sign, int64_t now_ms);

/* Tells the gate how many due rows may come. */
void target_publish(struct target *target, int64_t now_ms);

#endif
