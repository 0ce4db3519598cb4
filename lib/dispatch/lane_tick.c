/* What time alone changes, ten times a second: whether an endpoint is behind, or its share has grown, who is told of
 * its health, and what quiet targets give back.
 *
 * A tick looks at the targets that are not quiet. Where there are very many they take turns, so that neither a tick
 * takes long nor their memory passes through the processor's caches all the time. */
#include "base/clock.h"
#include "dispatch/jobs.h"
#include "dispatch/lane_private.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define BEHIND_WAIT_MS 1000  /* a queue that waits longer for its endpoint sends new deliveries to the schedule … */
#define SLOW_WAIT_MS 2000    /* … and one that waits so long goes there itself */
#define TARGET_IDLE_MS 60000 /* what a quiet target keeps (signer, format) is given back after that */
#define TICK_TARGETS 1024    /* looked at by one tick; where there are more, a fifth of them */

static void tell_health(struct lane *lane, struct target *target, int64_t now_ms) {
    int64_t every_ms = health_note_every_ms(lane->settings.settings->disable_after_ms);
    if (lane->settings.jobs && health_note_is_due(&target->health, every_ms, now_ms))
        queue_batch_add(&lane->health, &health_note_tell(&target->health, target->subscription, now_ms)->node);
}

static void tick_target(struct lane *lane, struct target *target) {
    int64_t now_ms = loop_now_ms(lane->loop);
    struct delivery *delivery;
    TAILQ_FOREACH (delivery, &target->in_flight, link) {
        if (now_ms - delivery->started_ms <= LANE_SLOW_ANSWER_MS)
            break;
        lane_give_place(lane, delivery);
    }
    bool has_pulse = pulse_is_fresh(lane->settings.pulse, now_ms);
    target_share_limit(target, pulse_processes(lane->settings.pulse, now_ms));
    if (target->limited)
        target_judge_share(target, now_ms);
    if (target->endpoint.barred && target_has_waiting(target) && has_pulse &&
        pulse_knows_others(lane->settings.pulse, now_ms)) {
        /* Another one's turn: rows go back to where it finds them. */
        atomic_store_explicit(&target->subscription->gate->held, true, memory_order_relaxed);
        lane_end_waiting(lane, target, OUTCOME_PARKED);
    }
    if (endpoint_slots(&target->endpoint, now_ms) > 0)
        lane_list_target(lane, target); /* its share may have grown, or the lane have room for it again */
    int64_t wait_ms = target_wait_ms(target, now_ms);
    bool behind = wait_ms > BEHIND_WAIT_MS && lane_endpoint_is_slow(lane, target, now_ms);
    if (atomic_load_explicit(&target->subscription->gate->behind, memory_order_relaxed) != behind)
        atomic_store_explicit(&target->subscription->gate->behind, behind, memory_order_relaxed);
    if (behind && wait_ms > SLOW_WAIT_MS && has_pulse)
        lane_park(lane, target);
    target_publish(target, now_ms);
    tell_health(lane, target, now_ms);
    if (target_is_quiet(target, now_ms) && !(lane->settings.jobs && health_note_has_news(&target->health)))
        lane_unwatch_target(lane, target);
}

static void tick_watched(struct lane *lane) {
    size_t count = lane->watched_count, share = count / 5;
    size_t left = count < TICK_TARGETS ? count : share > TICK_TARGETS ? share : TICK_TARGETS;
    while (left-- > 0) {
        struct target *target = TAILQ_FIRST(&lane->watched);
        TAILQ_REMOVE(&lane->watched, target, watch_link);
        TAILQ_INSERT_TAIL(&lane->watched, target, watch_link);
        tick_target(lane, target);
    }
}

/* The share of the last tick in which this thread ran, or would have if a processor had been free. */
static void measure_saturation(struct lane *lane) {
    int64_t now_us = clock_mono_us(), busy_us = 0;
    char text[128] = "";
    ssize_t got = lane->schedstat_fd >= 0 ? pread(lane->schedstat_fd, text, sizeof(text) - 1, 0) : -1;
    if (got > 0) {
        char *end = NULL;
        uint64_t ran_ns = strtoull(text, &end, 10), waited_ns = strtoull(end, NULL, 10);
        busy_us = (int64_t)((ran_ns + waited_ns) / 1000);
    }
    lane->saturated = busy_us - lane->busy_us > 9 * (now_us - lane->measured_us) / 10;
    lane->busy_us = busy_us;
    lane->measured_us = now_us;
}

static void age_target(struct lane *lane, struct target *target) {
    int64_t now_ms = loop_now_ms(lane->loop);
    target->quickest_us *= 2; /* it may have become slower; if not, the next answer says so */
    target_publish(target, now_ms);
    if (target_has_waiting(target) || !TAILQ_EMPTY(&target->in_flight) || now_ms - target->busy_at_ms < TARGET_IDLE_MS)
        return;
    struct target **link = &lane->buckets[lane_bucket_of(&target->id)];
    while (*link != target)
        link = &(*link)->hash_next;
    *link = target->hash_next;
    lane_unlist_target(lane, target);
    lane_unwatch_target(lane, target);
    target_free(&target);
    lane->target_count--;
}

void lane_on_tick(void *ctx) {
    struct lane *lane = ctx;
    loop_timer_start(lane->tick, LANE_TICK_MS);
    if (lane->ticks == 0)
        lane->schedstat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    measure_saturation(lane);
    tick_watched(lane);
    if (lane->health.first)
        jobs_push(lane->settings.jobs, &lane->health);
    if (++lane->ticks % 100 == 0)
        lane_each_target(lane, age_target);
    metric_set(lane->connections, (double)client_open_connections(lane->client));
    metric_set(lane->in_flight, (double)client_in_flight(lane->client));
    metric_set(lane->endpoints, (double)lane->target_count);
}
