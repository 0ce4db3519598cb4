/* What a lane is told: deliveries, new versions of subscriptions, and what is to be parked. */
#include "base/memory.h"
#include "dispatch/lane_private.h"

static void on_delivery(struct lane *lane, struct delivery *delivery) {
    struct target *target = lane_target_for(lane, delivery->subscription);
    int64_t now_ms = loop_now_ms(lane->loop);
    target_share_limit(target, pulse_processes(lane->settings.pulse, now_ms));
    lane_watch_target(lane, target);
    bool active = target->subscription->status == SUBSCRIPTION_ACTIVE;
    /* Rule S6: without a share it is held from the start. */
    if (target->endpoint.barred && pulse_knows_others(lane->settings.pulse, now_ms))
        atomic_store_explicit(&target->subscription->gate->held, true, memory_order_relaxed);
    bool held = atomic_load_explicit(&target->subscription->gate->held, memory_order_relaxed);
    if (active && (!held || delivery->has_row)) {
        target_enqueue(target, delivery, now_ms);
        lane_list_target(lane, target);
        return;
    }
    if (!delivery->has_row)
        atomic_fetch_sub_explicit(&target->subscription->gate->queued, 1, memory_order_relaxed);
    lane_end_with(lane, delivery, active ? OUTCOME_PARKED : OUTCOME_CANCELLED);
}

static void on_version(struct lane *lane, struct subscription *subscription, bool whatever_version) {
    struct target *target = lane_find_target(lane, &subscription->id);
    if (!target || !target_set_version(target, subscription, whatever_version))
        return;
    lane_watch_target(lane, target);
    if (subscription->status != SUBSCRIPTION_ACTIVE)
        lane_end_waiting(lane, target, OUTCOME_CANCELLED);
}

static void release_list(struct lane *lane, struct target *target, struct delivery_list *list, int32_t *count) {
    struct delivery *delivery, *next;
    for (delivery = TAILQ_FIRST(list); delivery; delivery = next) {
        next = TAILQ_NEXT(delivery, link);
        if (!delivery->partition || !atomic_load_explicit(&delivery->partition->revoked, memory_order_acquire))
            continue;
        if (!count) {
            lane_lease(lane, delivery);
            continue;
        }
        TAILQ_REMOVE(list, delivery, link);
        --*count;
        atomic_fetch_sub_explicit(&target->subscription->gate->queued, 1, memory_order_relaxed);
        lane_end_with(lane, delivery, OUTCOME_PARKED);
    }
}

/* Rule P7: what belongs to partitions that go elsewhere is left to the schedule. */
static void release_target(struct lane *lane, struct target *target) {
    release_list(lane, target, &target->first, &target->first_count);
    release_list(lane, target, &target->in_flight, NULL);
}

void lane_on_messages(void *ctx, struct queue_node *first) {
    struct lane *lane = ctx;
    for (struct queue_node *node = first, *next; node; node = next) {
        next = node->next;
        struct message *message = MESSAGE_OF(node);
        if (message->type == MESSAGE_DELIVERY) {
            on_delivery(lane, (struct delivery *)message);
            continue;
        }
        if (message->type == MESSAGE_RELEASE) {
            lane_each_target(lane, release_target);
        } else if (message->type != MESSAGE_WAKE) {
            struct subscription_message *about = (struct subscription_message *)message;
            struct target *target = lane_find_target(lane, &about->subscription->id);
            if (message->type == MESSAGE_SUBSCRIPTION)
                on_version(lane, about->subscription, about->whatever_version);
            else if (target && lane_endpoint_is_slow(lane, target, loop_now_ms(lane->loop)))
                lane_park(lane, target);
            subscription_unref(&about->subscription);
        }
        mem_free(message);
    }
}
