/* One round of a lane: messages come in and line up at their targets; answers come in, are judged and handed on; at the
 * end of the round every listed target starts what it may, and the recorder gets the round's outcomes in one batch.
 *
 * A target is listed while it has something waiting and a slot to start it with: among the quick ones, which share so
 * many places, or among the others. One without a slot is listed again by the answer that frees one, or by the time at
 * which its endpoint may be probed. The tick looks at those alone that are not quiet. */
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "dispatch/jobs.h"
#include "dispatch/lane_private.h"
#include "dispatch/recorder.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOKUP_PAUSE_MS 20 /* as long as a look-up takes: the name is probably known then */
#define SPARE_SENDINGS 256
/* Endpoints that answer so soon, or have not been asked yet, share so many places of a lane: that keeps any lane busy,
 * and more under way would only wait in our own sockets, on connections that each cost something. An answer that takes
 * long gives its place back. */
#define QUICK_ANSWER_US 10000
#define QUICK_IN_FLIGHT 96
#define MANY_CONNECTIONS 16
#define UNKNOWN_IN_FLIGHT 2 /* to an endpoint that has not answered yet */

/* ---- what is done with a delivery ---- */

static uint32_t next_random(struct lane *lane) {
    lane->random = lane->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(lane->random >> 32);
}

static void hand_over(struct lane *lane, struct delivery *delivery) {
    queue_batch_add(&lane->outcomes, &delivery->message.node);
    lane->outcome_count++;
}

void lane_end_with(struct lane *lane, struct delivery *delivery, enum outcome outcome) {
    delivery->outcome = outcome;
    hand_over(lane, delivery);
}

/* Ends everything that waits at a target. */
void lane_end_waiting(struct lane *lane, struct target *target, enum outcome outcome) {
    struct delivery *delivery;
    while ((delivery = target_dequeue(target)))
        lane_end_with(lane, delivery, outcome);
}

static int64_t timeout_of(const struct lane *lane, const struct subscription *subscription) {
    return subscription->timeout_ms ? subscription->timeout_ms : lane->settings.settings->timeout_ms;
}

/* From here on the delivery under way counts as a row's: the recorder gets a row leased to this process. */
void lane_lease(struct lane *lane, struct delivery *delivery) {
    if (delivery->has_row)
        return;
    struct delivery *row = delivery_clone(delivery);
    atomic_fetch_add_explicit(&lane->waiting, 1, memory_order_relaxed);
    lane_end_with(lane, row, OUTCOME_LEASED);
    delivery->taken = NULL;
    delivery->has_row = true;
    delivery->parked_in_flight = true;
    delivery->fence = 1;
    delivery->lease_deadline_ms = delivery->started_ms + timeout_of(lane, delivery->subscription);
    atomic_fetch_sub_explicit(&lane->settings.budget->in_flight, 1, memory_order_relaxed);
}

/* Rule S5: what waits goes to the schedule as held rows, what is under way gets a row of its own, and from now on new
 * deliveries go straight there. */
void lane_park(struct lane *lane, struct target *target) {
    atomic_store_explicit(&target->subscription->gate->held, true, memory_order_relaxed);
    lane_end_waiting(lane, target, OUTCOME_PARKED);
    struct delivery *delivery;
    TAILQ_FOREACH (delivery, &target->in_flight, link)
        lane_lease(lane, delivery);
}

/* ---- targets ---- */

size_t lane_bucket_of(const struct uuid *id) {
    uint64_t hash;
    memcpy(&hash, id->bytes + 8, sizeof(hash));
    return (hash * 0x9E3779B97F4A7C15ULL) >> 50 & (TARGET_BUCKETS - 1);
}

struct target *lane_find_target(struct lane *lane, const struct uuid *id) {
    struct target *target = lane->buckets[lane_bucket_of(id)];
    while (target && !uuid_equal(&target->id, id))
        target = target->hash_next;
    return target;
}

struct target *lane_target_for(struct lane *lane, struct subscription *subscription) {
    struct target *target = lane_find_target(lane, &subscription->id);
    if (target) {
        target_set_version(target, subscription, false);
        return target;
    }
    target = target_new(subscription);
    size_t bucket = lane_bucket_of(&target->id);
    target->hash_next = lane->buckets[bucket];
    lane->buckets[bucket] = target;
    lane->target_count++;
    return target;
}

/* One that has not answered yet is taken for quick. */
static bool is_quick(const struct target *target) {
    return target->quickest_us < QUICK_ANSWER_US;
}

void lane_unlist_target(struct lane *lane, struct target *target) {
    if (target->listed)
        TAILQ_REMOVE(target->listed_quick ? &lane->quick : &lane->slow, target, link);
    target->listed = false;
    heap_remove(&lane->wakes, &target->wake);
}

void lane_list_target(struct lane *lane, struct target *target) {
    bool quick = is_quick(target);
    if (!target_has_waiting(target) || (target->listed && target->listed_quick == quick))
        return;
    lane_unlist_target(lane, target);
    target->listed = true;
    target->listed_quick = quick;
    TAILQ_INSERT_TAIL(quick ? &lane->quick : &lane->slow, target, link);
}

void lane_watch_target(struct lane *lane, struct target *target) {
    if (target->watched)
        return;
    target->watched = true;
    lane->watched_count++;
    TAILQ_INSERT_TAIL(&lane->watched, target, watch_link);
}

void lane_unwatch_target(struct lane *lane, struct target *target) {
    if (!target->watched)
        return;
    target->watched = false;
    lane->watched_count--;
    TAILQ_REMOVE(&lane->watched, target, watch_link);
}

void lane_each_target(struct lane *lane, void (*fn)(struct lane *, struct target *)) {
    for (size_t i = 0; i < TARGET_BUCKETS; i++)
        for (struct target *target = lane->buckets[i], *next; target; target = next) {
            next = target->hash_next;
            fn(lane, target);
        }
}

/* ---- sending ---- */

static struct sending *take_sending(struct lane *lane) {
    struct sending *sending = TAILQ_FIRST(&lane->spare);
    if (sending) {
        TAILQ_REMOVE(&lane->spare, sending, link);
        lane->spare_count--;
    } else {
        sending = sending_new(lane);
    }
    TAILQ_INSERT_TAIL(&lane->active, sending, link);
    return sending;
}

static void give_sending(struct lane *lane, struct sending *sending) {
    TAILQ_REMOVE(&lane->active, sending, link);
    if (lane->spare_count >= SPARE_SENDINGS || sending->body.capacity > 64 * 1024) {
        sending_free(&sending);
        return;
    }
    TAILQ_INSERT_HEAD(&lane->spare, sending, link);
    lane->spare_count++;
}

/* Connecting takes its time and says nothing of the endpoint, unless every answer needs a connection of its own. */
static void note_quickness(struct target *target, const struct client_response *response) {
    if (response->new_connection && ++target->new_connections <= MANY_CONNECTIONS)
        return;
    if (target->quickest_us == 0 || response->duration_us < target->quickest_us)
        target->quickest_us = response->duration_us > 0 ? response->duration_us : 1;
}

void lane_give_place(struct lane *lane, struct delivery *delivery) {
    lane->quick_in_flight -= delivery->quick;
    delivery->quick = false;
}

static void note_health(struct lane *lane, struct target *target, const struct delivery *delivery) {
    if (delivery->result != CLIENT_TOO_MANY_LOOKUPS && delivery->result != CLIENT_CANCELLED)
        health_note_attempt(&target->health, delivery->decision.action != RETRY_DONE, loop_now_ms(lane->loop));
}

static void on_answer(void *ctx, const struct client_response *response) {
    struct sending *sending = ctx;
    struct lane *lane = sending->lane;
    struct target *target = sending->target;
    struct delivery *delivery = sending->delivery;
    int64_t now_ms = loop_now_ms(lane->loop);

    sending_judge(delivery, response, lane->settings.settings, next_random(lane));
    target_ended(target, delivery, delivery->decision.sign, now_ms);
    note_health(lane, target, delivery);
    lane_give_place(lane, delivery);
    if (response->result == CLIENT_ANSWERED)
        note_quickness(target, response);
    if (!delivery->has_row)
        atomic_fetch_sub_explicit(&lane->settings.budget->in_flight, 1, memory_order_relaxed);
    if (response->result == CLIENT_TOO_MANY_LOOKUPS) {
        delivery->outcome = OUTCOME_NONE;
        mem_free(delivery->error);
        delivery->error = NULL;
        target_requeue(target, delivery);
        target->pause_until_ms = now_ms + LOOKUP_PAUSE_MS;
    } else {
        metric_observe(lane->duration, (double)response->duration_us / 1e6);
        hand_over(lane, delivery);
    }
    give_sending(lane, sending);
    if (target->endpoint.state == ENDPOINT_OPEN && target_has_waiting(target))
        lane_park(lane, target);
    lane_list_target(lane, target);
    lane_watch_target(lane, target);
    target_publish(target, now_ms);
}

/* What can't even be made fails like an attempt would, and is tried again by the schedule: a key may come back. */
static void fail_unmade(struct lane *lane, struct delivery *delivery, const struct error *error) {
    struct client_response response = {.result = CLIENT_BAD_RESPONSE, .retry_after_ms = -1};
    (void)snprintf(response.detail, sizeof(response.detail), "not sent: %.200s", error->text);
    sending_judge(delivery, &response, lane->settings.settings, next_random(lane));
    hand_over(lane, delivery);
}

static void start_delivery(struct lane *lane, struct target *target, struct delivery *delivery, int64_t now_ms) {
    struct error error = {""};
    struct subscription *current = target->subscription;
    if (delivery->subscription != current) {
        subscription_ref(current);
        subscription_unref(&delivery->subscription);
        delivery->subscription = current;
    }
    if (target_prepare(target, lane->settings.keyring, &error) != STATUS_OK) {
        fail_unmade(lane, delivery, &error);
        return;
    }
    struct sending *sending = take_sending(lane);
    int64_t wall_ms = clock_wall_ms();
    enum status status = sending_make(sending, target, delivery, wall_ms, &error);
    if (status != STATUS_OK) {
        give_sending(lane, sending);
        if (status == STATUS_CONFLICT)
            lane_end_with(lane, delivery, OUTCOME_SPLIT);
        else
            fail_unmade(lane, delivery, &error);
        return;
    }
    struct client_request request = {
        .url = subscription_url(current),
        .headers = sending->headers,
        .header_count = sending->header_count,
        .body = buffer_view(&sending->body),
        .timeout_ms = timeout_of(lane, current),
    };
    delivery->sent_at_ms = wall_ms;
    target_started(target, delivery, now_ms);
    delivery->quick = is_quick(target);
    lane->quick_in_flight += delivery->quick;
    if (!delivery->has_row)
        atomic_fetch_add_explicit(&lane->settings.budget->in_flight, 1, memory_order_relaxed);
    metric_add(lane->started, 1);
    client_send(lane->client, &request, on_answer, sending);
}

/* Whose fault is it that something waits? A busy processor makes everything wait a little; an endpoint that makes
 * others wait has no slot left, or takes its time with an answer. */
bool lane_endpoint_is_slow(struct lane *lane, const struct target *target, int64_t now_ms) {
    const struct delivery *oldest = TAILQ_FIRST(&target->in_flight);
    if (oldest && now_ms - oldest->started_ms > LANE_SLOW_ANSWER_MS)
        return true;
    if (target_has_waiting(target) && now_ms - target->pause_until_ms < 2 * LANE_TICK_MS)
        return true; /* its name is not looked up, because others' names hang */
    if (target_has_waiting(target) && endpoint_rate_is_spent(&target->endpoint, now_ms))
        return true;
    return !lane->saturated && target_has_waiting(target) && endpoint_slots(&target->endpoint, now_ms) == 0;
}

/* A delivery that may not start any more goes back to where it is safe. */
static bool may_start(struct lane *lane, struct delivery *delivery, int64_t now_ms) {
    if (delivery->has_row && now_ms > delivery->lease_deadline_ms) {
        lane_end_with(lane, delivery, OUTCOME_DROPPED);
        return false;
    }
    if (delivery->partition && atomic_load_explicit(&delivery->partition->revoked, memory_order_acquire)) {
        lane_end_with(lane, delivery, OUTCOME_PARKED);
        return false;
    }
    return true;
}

static bool lane_is_full(struct lane *lane) {
    return client_in_flight(lane->client) >= LANE_MAX_IN_FLIGHT;
}

/* The upper half of what a lane may have under way is for endpoints that answer. */
static bool may_start_more(struct lane *lane, const struct target *target, int64_t now_ms) {
    const struct delivery *oldest = TAILQ_FIRST(&target->in_flight);
    if (oldest && now_ms - oldest->started_ms > LANE_SLOW_ANSWER_MS &&
        client_in_flight(lane->client) >= LANE_MAX_IN_FLIGHT / 2)
        return false;
    if (target->quickest_us == 0 && target->endpoint.in_flight >= UNKNOWN_IN_FLIGHT)
        return false;
    return now_ms >= target->pause_until_ms && endpoint_slots(&target->endpoint, now_ms) > 0 &&
           !(is_quick(target) && lane->quick_in_flight >= QUICK_IN_FLIGHT);
}

static bool has_no_place(struct lane *lane, const struct target *target) {
    return lane_is_full(lane) || (is_quick(target) && lane->quick_in_flight >= QUICK_IN_FLIGHT);
}

static void start_target(struct lane *lane, struct target *target, int64_t now_ms) {
    struct delivery *delivery;
    if (target_has_limits(target)) /* the clock is read anew: this process may have been frozen */
        target_share_limit(target, pulse_processes(lane->settings.pulse, clock_mono_ms()));
    while (!lane_is_full(lane) && target_has_waiting(target) && may_start_more(lane, target, now_ms)) {
        delivery = target_dequeue(target);
        if (may_start(lane, delivery, now_ms))
            start_delivery(lane, target, delivery, now_ms);
    }
    target_publish(target, now_ms);
    if (!target_has_waiting(target))
        return;
    if (now_ms < target->pause_until_ms)
        heap_set(&lane->wakes, &target->wake, target->pause_until_ms);
    else if (endpoint_slots(&target->endpoint, now_ms) == 0 && endpoint_wake_ms(&target->endpoint) >= 0)
        heap_set(&lane->wakes, &target->wake, endpoint_wake_ms(&target->endpoint));
    else if (endpoint_slots(&target->endpoint, now_ms) > 0 && has_no_place(lane, target))
        lane_list_target(lane, target); /* behind the others, until there is a place */
}

/* Quick ones and others take turns. */
static struct target *next_listed(struct lane *lane) {
    struct target *quick = lane->quick_in_flight < QUICK_IN_FLIGHT ? TAILQ_FIRST(&lane->quick) : NULL;
    struct target *slow = TAILQ_FIRST(&lane->slow);
    lane->slow_turn = slow && (lane->slow_turn || !quick);
    struct target *next = lane->slow_turn ? slow : quick;
    lane->slow_turn = !lane->slow_turn;
    return next;
}

static void start_listed(struct lane *lane) {
    int64_t now_ms = loop_now_ms(lane->loop);
    struct heap_entry *due;
    while ((due = heap_top(&lane->wakes)) && due->due <= now_ms) {
        struct target *target = (struct target *)((char *)due - offsetof(struct target, wake));
        heap_remove(&lane->wakes, due);
        lane_list_target(lane, target);
    }
    struct target *target;
    /* The clock is read anew for each target: the process may be frozen at any moment (rule P8). */
    while (!lane_is_full(lane) && (target = next_listed(lane)) &&
           pulse_is_fresh(lane->settings.pulse, clock_mono_ms())) {
        lane_unlist_target(lane, target);
        start_target(lane, target, now_ms);
    }
}

/* ---- rounds ---- */

static void on_wake(void *ctx) {
    struct lane *lane = ctx;
    lane->wake_at_ms = 0; /* the end of the round does the rest */
}

/* A rate needs its targets listed at their times, not with the next tick. */
static void set_wake(struct lane *lane) {
    const struct heap_entry *next = heap_top(&lane->wakes);
    if (!next || next->due == lane->wake_at_ms)
        return;
    lane->wake_at_ms = next->due;
    loop_timer_start(lane->wake, next->due - loop_now_ms(lane->loop));
}

static void on_round_end(void *ctx) {
    struct lane *lane = ctx;
    start_listed(lane);
    set_wake(lane);
    if (!lane->outcomes.first)
        return;
    recorder_push(lane->settings.recorder, &lane->outcomes);
    atomic_fetch_sub_explicit(&lane->waiting, lane->outcome_count, memory_order_relaxed);
    lane->outcome_count = 0;
}

/* ---- life ---- */

static void make_metrics(struct lane *lane) {
    static const double SECONDS[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
    struct buffer label;
    buffer_init(&label, 64);
    char number[16];
    (void)snprintf(number, sizeof(number), "%d", lane->settings.number);
    metrics_label(&label, "lane", span_of(number));
    lane->connections = metrics_gauge("hookcast_connections", "Open connections to receivers.", label.data);
    lane->in_flight = metrics_gauge("hookcast_in_flight", "Webhooks under way.", label.data);
    lane->endpoints = metrics_gauge("hookcast_endpoints", "Endpoints with recent traffic.", label.data);
    lane->started = metrics_counter("hookcast_attempts_total", "Webhooks started.", label.data);
    lane->duration = metrics_histogram("hookcast_attempt_seconds", "From the start of an attempt to its end.",
                                       label.data, SECONDS, sizeof(SECONDS) / sizeof(SECONDS[0]));
    buffer_deinit(&label);
}

enum status lane_new(const struct lane_settings *settings, struct lane **ret_lane, struct error *error) {
    struct lane *lane = mem_calloc(1, sizeof(*lane));
    char name[16];
    (void)snprintf(name, sizeof(name), "lane-%d", settings->number);
    lane->settings = *settings;
    lane->schedstat_fd = -1;
    lane->loop = loop_new(name);
    TAILQ_INIT(&lane->quick);
    TAILQ_INIT(&lane->slow);
    TAILQ_INIT(&lane->watched);
    TAILQ_INIT(&lane->active);
    TAILQ_INIT(&lane->spare);
    heap_init(&lane->wakes);
    crypto_random(&lane->random, sizeof(lane->random));
    lane->queue = queue_new(lane->loop, lane_on_messages, lane);
    lane->tick = loop_timer_new(lane->loop, lane_on_tick, lane);
    lane->wake = loop_timer_new(lane->loop, on_wake, lane);
    loop_each_round(lane->loop, on_round_end, lane);
    make_metrics(lane);
    struct client_settings client = {
        .guard = settings->guard,
        .allow_http = settings->settings->allow_http,
        .ca_file = settings->settings->ca_file,
        .source_address = settings->settings->source_address,
        .response_body_limit_bytes = (size_t)settings->settings->response_body_limit_bytes,
    };
    enum status status = client_new(lane->loop, &client, &lane->client, error);
    if (status != STATUS_OK)
        lane_free(&lane);
    else
        *ret_lane = lane;
    return status;
}

void lane_start(struct lane *lane) {
    loop_timer_start(lane->tick, LANE_TICK_MS);
    loop_start(lane->loop);
}

void lane_stop(struct lane *lane) {
    loop_stop(lane->loop);
    loop_join(lane->loop);
}

static void drop_target(struct lane *lane, struct target *target) {
    struct delivery *delivery;
    while ((delivery = target_dequeue(target)))
        delivery_free(&delivery);
    while ((delivery = TAILQ_FIRST(&target->in_flight))) {
        TAILQ_REMOVE(&target->in_flight, delivery, link);
        delivery_free(&delivery);
    }
    lane_unlist_target(lane, target);
    lane_unwatch_target(lane, target);
    target_free(&target);
}

void lane_free(struct lane **lane_ptr) {
    struct lane *lane = *lane_ptr;
    *lane_ptr = NULL;
    if (!lane)
        return;
    if (lane->client)
        client_free(&lane->client);
    struct queue_node *left = queue_take(lane->queue);
    if (left)
        lane_on_messages(lane, left);
    lane_each_target(lane, drop_target);
    for (struct queue_node *node = lane->outcomes.first, *next; node; node = next) {
        next = node->next;
        struct delivery *delivery = (struct delivery *)MESSAGE_OF(node);
        delivery_free(&delivery);
    }
    struct sending *sending;
    TAILQ_CONCAT(&lane->spare, &lane->active, link);
    while ((sending = TAILQ_FIRST(&lane->spare))) {
        TAILQ_REMOVE(&lane->spare, sending, link);
        sending_free(&sending);
    }
    heap_deinit(&lane->wakes);
    if (lane->schedstat_fd >= 0)
        close(lane->schedstat_fd);
    loop_timer_free(&lane->tick);
    loop_timer_free(&lane->wake);
    queue_free(&lane->queue);
    loop_free(&lane->loop);
    mem_free(lane);
}

void lane_push(struct lane *lane, struct queue_batch *batch) {
    int64_t count = 0;
    for (struct queue_node *node = batch->first; node; node = node->next)
        count += MESSAGE_OF(node)->type == MESSAGE_DELIVERY;
    atomic_fetch_add_explicit(&lane->waiting, count, memory_order_relaxed);
    queue_batch_push(lane->queue, batch);
}

int64_t lane_waiting(const struct lane *lane) {
    return atomic_load_explicit(&lane->waiting, memory_order_relaxed);
}
