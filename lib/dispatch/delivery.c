#include "dispatch/delivery.h"
#include "base/memory.h"

struct delivery *delivery_new(struct event *event, struct subscription *subscription, struct partition *partition) {
    struct delivery *delivery = mem_calloc(1, sizeof(*delivery));
    delivery->message.type = MESSAGE_DELIVERY;
    delivery->event = event_ref(event);
    delivery->subscription = subscription_ref(subscription);
    delivery->partition = partition ? partition_ref(partition) : NULL;
    delivery->activation = subscription->activation;
    delivery->row_key = event->key;
    delivery->attempt = 1;
    return delivery;
}

void delivery_free(struct delivery **delivery_ptr) {
    struct delivery *delivery = *delivery_ptr;
    *delivery_ptr = NULL;
    if (!delivery)
        return;
    event_unref(&delivery->event);
    subscription_unref(&delivery->subscription);
    partition_unref(&delivery->partition);
    mem_free(delivery->response_body);
    mem_free(delivery->error);
    if (delivery->tally)
        atomic_fetch_sub_explicit(delivery->tally, 1, memory_order_relaxed);
    mem_free(delivery);
}

struct delivery *delivery_clone(const struct delivery *delivery) {
    struct delivery *clone = delivery_new(delivery->event, delivery->subscription, delivery->partition);
    clone->taken = delivery->taken;
    clone->slot = delivery->slot;
    clone->has_row = delivery->has_row;
    clone->bare_row = delivery->bare_row;
    clone->row_key = delivery->row_key;
    clone->fence = delivery->fence;
    clone->activation = delivery->activation;
    clone->attempt = delivery->attempt;
    return clone;
}

size_t delivery_footprint_bytes(const struct delivery *delivery) {
    return sizeof(*delivery) + delivery->response_body_len;
}

int gate_take_slots(struct gate *gate, int max) {
    int32_t slots = atomic_load_explicit(&gate->slots, memory_order_relaxed);
    while (slots > 0) {
        int32_t take = slots < max ? slots : max;
        if (atomic_compare_exchange_weak_explicit(&gate->slots, &slots, slots - take, memory_order_relaxed,
                                                  memory_order_relaxed))
            return take;
    }
    return 0;
}

void gate_give_slots(struct gate *gate, int count) {
    if (count > 0)
        atomic_fetch_add_explicit(&gate->slots, count, memory_order_relaxed);
}

struct taken *taken_new(struct partition *partition, int64_t offset, const struct uuid *key, uint32_t expected) {
    struct taken *taken = mem_calloc(1, sizeof(*taken) + expected * sizeof(taken->slots[0]));
    taken->message.type = MESSAGE_TAKEN;
    taken->partition = partition_ref(partition);
    taken->offset = offset;
    taken->key = *key;
    taken->expected = expected;
    TAILQ_INIT(&taken->outcomes);
    return taken;
}

static void rejected_free(struct rejected *rejected) {
    if (!rejected)
        return;
    mem_free(rejected->code);
    mem_free(rejected->reason);
    mem_free(rejected->workspace_id);
    mem_free(rejected);
}

void taken_free(struct taken **taken_ptr) {
    struct taken *taken = *taken_ptr;
    *taken_ptr = NULL;
    if (!taken)
        return;
    struct delivery *delivery;
    while ((delivery = TAILQ_FIRST(&taken->outcomes))) {
        TAILQ_REMOVE(&taken->outcomes, delivery, link);
        delivery_free(&delivery);
    }
    for (uint32_t i = 0; i < taken->expected; i++)
        subscription_unref(&taken->slots[i].subscription);
    event_unref(&taken->event);
    partition_unref(&taken->partition);
    rejected_free(taken->rejected);
    mem_free(taken->skipped);
    mem_free(taken);
}

struct message *subscription_message_new(enum message_type type, struct subscription *subscription) {
    struct subscription_message *message = mem_calloc(1, sizeof(*message));
    message->message.type = type;
    message->subscription = subscription_ref(subscription);
    return &message->message;
}

struct message *message_new(enum message_type type) {
    struct message *message = mem_calloc(1, sizeof(*message));
    message->type = type;
    return message;
}
