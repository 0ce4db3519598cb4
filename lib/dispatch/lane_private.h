/* What the lane's files share: lane.c (rounds, sending, life), lane_tick.c (what time changes) and lane_messages.c
 * (what others send it). */
#ifndef DISPATCH_LANE_PRIVATE_H
#define DISPATCH_LANE_PRIVATE_H

#include "core/metrics.h"
#include "dispatch/lane.h"
#include "dispatch/sending.h"

#define TARGET_BUCKETS 16384 /* a power of two */
#define LANE_TICK_MS 100
#define LANE_SLOW_ANSWER_MS 250

TAILQ_HEAD(target_list, target);
TAILQ_HEAD(sending_list, sending);

struct lane {
    struct lane_settings settings;
    struct loop *loop;
    struct queue *queue;
    struct client *client;
    struct loop_timer *tick, *wake;
    int64_t wake_at_ms; /* monotonic: what the timer is set for; 0: nothing */
    struct target *buckets[TARGET_BUCKETS];
    size_t target_count;
    struct target_list quick, slow; /* those that may start something */
    bool slow_turn;
    struct target_list watched; /* those that the tick looks at */
    size_t watched_count;
    struct heap wakes; /* targets without a slot, by when they may be probed */
    struct sending_list active, spare;
    size_t spare_count;
    struct queue_batch outcomes; /* of this round */
    int64_t outcome_count;
    struct queue_batch health; /* of this tick, for the jobs thread */
    int64_t quick_in_flight;
    uint64_t random;
    int64_t ticks;
    int schedstat_fd;
    int64_t busy_us, measured_us;
    bool saturated; /* this thread had no time to spare in the last tick */
    _Atomic int64_t waiting;
    struct metric *connections, *in_flight, *started, *duration, *endpoints;
};

/* lane.c */
void lane_end_with(struct lane *lane, struct delivery *delivery, enum outcome outcome);
/* Ends everything that waits at a target. */
void lane_end_waiting(struct lane *lane, struct target *target, enum outcome outcome);
/* From here on the delivery under way counts as a row's: the recorder gets a row leased to this process. */
void lane_lease(struct lane *lane, struct delivery *delivery);
/* Rule S5. */
void lane_park(struct lane *lane, struct target *target);
bool lane_endpoint_is_slow(struct lane *lane, const struct target *target, int64_t now_ms);
struct target *lane_find_target(struct lane *lane, const struct uuid *id); /* NULL: none */
struct target *lane_target_for(struct lane *lane, struct subscription *subscription);
void lane_list_target(struct lane *lane, struct target *target);
/* Something begins there: the tick looks at it until it is quiet again. */
void lane_watch_target(struct lane *lane, struct target *target);
void lane_unlist_target(struct lane *lane, struct target *target);
void lane_unwatch_target(struct lane *lane, struct target *target);
size_t lane_bucket_of(const struct uuid *id);
/* One under way no longer holds a place for quick endpoints. */
void lane_give_place(struct lane *lane, struct delivery *delivery);
void lane_each_target(struct lane *lane, void (*fn)(struct lane *, struct target *));

/* lane_tick.c */
loop_fn lane_on_tick;

/* lane_messages.c */
queue_fn lane_on_messages;

#endif
