/* One record: read once, matched in memory, and each subscription that takes it gets a delivery. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "dispatch/intake_private.h"
#include "dispatch/lane.h"
#include "webhook/filter.h"
#include "webhook/record_headers.h"
#include "webhook/tracker.h"

#define REREAD_RECORDS 256
#define REJECTED_HEADERS_MAX_BYTES ((size_t)8 * 1024 * 1024) /* as JSON; more are not kept */
#define HELD_QUEUE_MANY 64 /* so many may wait for an endpoint that is behind; further ones go to the schedule */

static struct event_record event_record_of(const struct consumer_record *record, struct event_header *headers) {
    for (size_t i = 0; i < record->header_count; i++)
        headers[i] = (struct event_header){record->headers[i].name, record->headers[i].value};
    return (struct event_record){
        .topic = record->topic,
        .partition = record->partition,
        .offset = record->offset,
        .timestamp_ms = record->timestamp_ms < 0 ? 0 : record->timestamp_ms,
        .key = record->key,
        .value = record->value,
        .headers = headers,
        .header_count = record->header_count,
    };
}

static struct uuid key_of(const struct consumer_record *record) {
    return id_event_key(record->topic, record->partition, record->offset,
                        record->timestamp_ms < 0 ? 0 : record->timestamp_ms);
}

/* ---- announcing ---- */

static struct taken *announce(struct intake *intake, struct partition *partition, int64_t offset,
                              const struct uuid *key, uint32_t expected, struct event *event) {
    struct taken *taken = taken_new(partition, offset, key, expected);
    taken->taken_at_ms = loop_now_ms(intake->loop);
    taken->footprint_bytes = sizeof(*taken) + expected * (sizeof(struct delivery) + sizeof(struct taken_slot));
    if (event) {
        taken->event = event_ref(event);
        taken->footprint_bytes += event->footprint_bytes;
    }
    atomic_fetch_add_explicit(&intake->settings.budget->deliveries, expected ? expected : 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&intake->settings.budget->bytes, (int64_t)taken->footprint_bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&partition->open, 1, memory_order_relaxed);
    queue_batch_add(&intake->to_recorder, &taken->message.node);
    return taken;
}

static struct span put(char **place, struct span text) {
    struct span copy = {*place, text.len};
    if (text.data && text.len)
        memcpy(*place, text.data, text.len);
    *place += text.len;
    return copy;
}

static struct rejected *rejected_of(const struct event_record *record, const struct event_rejection *rejection) {
    struct buffer headers;
    buffer_init(&headers, REJECTED_HEADERS_MAX_BYTES);
    record_headers_write(record->headers, record->header_count, &headers);
    struct span written = headers.overflowed ? SPAN_LITERAL("{}") : buffer_view(&headers);
    struct rejected *rejected = mem_alloc(sizeof(*rejected) + record->key.len + written.len + record->value.len);
    char *place = rejected->bytes;
    size_t reason_len;
    *rejected = (struct rejected){
        .code = mem_strdup(rejection->code),
        .reason = utf8_clean_dup(span_of(rejection->reason.text), &reason_len),
        .workspace_id = *rejection->workspace_id ? mem_strdup(rejection->workspace_id) : NULL,
        .record_time_ms = record->timestamp_ms,
        .has_key = record->key.data != NULL,
        .has_value = record->value.data != NULL,
    };
    rejected->record_key = put(&place, record->key);
    rejected->headers = put(&place, written);
    rejected->value = put(&place, record->value);
    buffer_deinit(&headers);
    return rejected;
}

/* ---- where a delivery goes ---- */

static bool endpoint_is_behind(struct gate *gate) {
    return atomic_load_explicit(&gate->behind, memory_order_relaxed) &&
           atomic_load_explicit(&gate->queued, memory_order_relaxed) >= HELD_QUEUE_MANY;
}

static void route(struct intake *intake, struct delivery *delivery) {
    const struct subscription *subscription = delivery->subscription;
    struct gate *gate = subscription->gate;
    bool delayed = subscription->delivery_mode == DELIVERY_DELAYED;
    int64_t deliver_at_ms = delivery->event->deliver_at_ms;
    if (delayed || (deliver_at_ms && deliver_at_ms > pulse_database_ms(intake->settings.pulse, clock_mono_ms()))) {
        delivery->outcome = OUTCOME_DELAYED;
        delivery->due_at_ms = deliver_at_ms;
        delivery->due_in_ms = delayed ? subscription->wait_ms : 0;
    } else if (subscription->delivery_mode == DELIVERY_BATCHED) {
        delivery->outcome = OUTCOME_BATCHED;
    } else if (atomic_load_explicit(&gate->held, memory_order_relaxed) || endpoint_is_behind(gate)) {
        atomic_store_explicit(&gate->held, true, memory_order_relaxed);
        delivery->outcome = OUTCOME_PARKED;
    }
    if (delivery->outcome != OUTCOME_NONE) {
        queue_batch_add(&intake->to_recorder, &delivery->message.node);
        return;
    }
    uint32_t lane = subscription_lane_hash(&delivery->subscription->id) % (uint32_t)intake->settings.lane_count;
    atomic_fetch_add_explicit(&gate->queued, 1, memory_order_relaxed);
    queue_batch_add(&intake->to_lanes[lane], &delivery->message.node);
}

static void add_match(void *ctx, struct subscription *subscription) {
    struct intake *intake = ctx;
    if (subscription->filter && !filter_takes(subscription->filter, intake->matched_event))
        return;
    if (intake->match_count == intake->match_capacity) {
        intake->match_capacity = intake->match_capacity ? 2 * intake->match_capacity : 64;
        intake->matches = mem_realloc(intake->matches, intake->match_capacity * sizeof(struct subscription *));
    }
    intake->matches[intake->match_count++] = subscription;
}

static const struct matching *roster_of(struct intake *intake) {
    if (!intake->reading) {
        intake->matching = roster_begin(intake->settings.roster);
        intake->reading = true;
    }
    return intake->matching;
}

static void deliver(struct intake *intake, struct partition *partition, struct event *event) {
    intake->match_count = 0;
    intake->matched_event = event;
    if (intake->settings.sightings)
        sightings_note(intake->settings.sightings, event, loop_now_ms(intake->loop));
    matching_each(roster_of(intake), event->workspace_id, event->event_type, add_match, intake);
    uint32_t active = 0, skipped = 0;
    for (size_t i = 0; i < intake->match_count; i++)
        active += intake->matches[i]->status == SUBSCRIPTION_ACTIVE;
    metric_add(intake->match_count ? intake->accepted : intake->unmatched, 1);
    struct taken *taken =
        announce(intake, partition, event->offset, &event->key, active, intake->match_count ? event : NULL);
    taken->matched = intake->match_count > 0;
    if (active < intake->match_count)
        taken->skipped = mem_alloc((intake->match_count - active) * sizeof(struct uuid));
    uint32_t slot = 0;
    for (size_t i = 0; i < intake->match_count; i++) {
        struct subscription *subscription = intake->matches[i];
        if (subscription->status != SUBSCRIPTION_ACTIVE) {
            taken->skipped[skipped++] = subscription->id;
            continue;
        }
        taken->slots[slot].subscription = subscription_ref(subscription);
        struct delivery *delivery = delivery_new(event, subscription, partition);
        delivery->taken = taken;
        delivery->slot = slot++;
        route(intake, delivery);
    }
    taken->skipped_count = skipped;
}

/* ---- a log that may have been read before ---- */

static void add_reread(struct intake *intake, struct event *event) {
    if (!intake->reread) {
        intake->reread = mem_calloc(1, sizeof(*intake->reread) + REREAD_RECORDS * sizeof(struct reread_item));
        intake->reread->message.type = MESSAGE_REREAD;
        intake->reread->reply = intake->queue;
    }
    intake->reread->items[intake->reread->count++] = (struct reread_item){event, false};
}

/* Asks, and takes nothing more until the answer is there. */
static void send_reread(struct intake *intake) {
    if (!intake->reread)
        return;
    queue_batch_add(&intake->to_recorder, &intake->reread->message.node);
    intake->reread_asked = intake->reread;
    intake->reread = NULL;
    intake->rereading = true;
}

static struct slot *slot_of(struct intake *intake, const struct event *event) {
    for (size_t i = 0; i < intake->slot_count; i++)
        if (intake->slots[i].partition->number == event->partition &&
            span_is(event->topic, intake->slots[i].partition->topic))
            return &intake->slots[i];
    return NULL;
}

void intake_reread_done(struct intake *intake, struct reread_message *message) {
    if (message != intake->reread_asked || atomic_load(&intake->phase) != INTAKE_RUNNING) {
        reread_message_free(&message); /* the partitions were given up meanwhile; whoever has them asks again */
        return;
    }
    if (message->failed) {
        intake->reread_again = message; /* from the next tick */
        return;
    }
    for (size_t i = 0; i < message->count; i++) {
        struct event *event = message->items[i].event;
        struct slot *slot = slot_of(intake, event);
        if (slot && message->items[i].known)
            announce(intake, slot->partition, event->offset, &event->key, 0, NULL);
        else if (slot)
            deliver(intake, slot->partition, event);
    }
    intake->rereading = false;
    intake->reread_asked = NULL;
    reread_message_free(&message);
}

void intake_reread_again(struct intake *intake) {
    struct reread_message *message = intake->reread_again;
    if (!message)
        return;
    intake->reread_again = NULL;
    message->failed = false;
    queue_batch_add(&intake->to_recorder, &message->message.node);
}

/* ---- one record ---- */

/* STATUS_CONFLICT: earlier records are being looked up, so this one has to wait for its turn. */
static enum status read_record(struct intake *intake, struct partition *partition,
                               const struct consumer_record *record) {
    struct event_header headers[RECORD_MAX_HEADERS];
    struct event_record read = event_record_of(record, headers);
    struct event *event = NULL;
    struct event_rejection rejection = {.code = ""};
    enum event_verdict verdict = event_read(&read, &intake->rules, &event, &rejection);
    if (verdict == EVENT_ACCEPTED && record->offset < partition->reread_before) {
        add_reread(intake, event);
        return STATUS_OK;
    }
    if (intake->reread) {
        send_reread(intake);
        event_unref(&event);
        return STATUS_CONFLICT;
    }
    if (verdict == EVENT_ACCEPTED) {
        deliver(intake, partition, event);
        event_unref(&event);
        return STATUS_OK;
    }
    struct uuid key = key_of(record);
    struct taken *taken = announce(intake, partition, record->offset, &key, 0, NULL);
    metric_add(verdict == EVENT_SKIPPED ? intake->skipped : intake->rejected, 1);
    if (verdict == EVENT_REJECTED) {
        taken->rejected = rejected_of(&read, &rejection);
        size_t bytes = taken->rejected->record_key.len + taken->rejected->headers.len + taken->rejected->value.len;
        taken->footprint_bytes += bytes;
        atomic_fetch_add_explicit(&intake->settings.budget->bytes, (int64_t)bytes, memory_order_relaxed);
    }
    return STATUS_OK;
}

/* Rule P4: the record before next_offset must be the one that progress knows. True: go on with this record. */
static bool verify(struct slot *slot, const struct consumer_record *record) {
    slot->verifying = false;
    if (record->offset >= slot->partition->start_offset)
        return true; /* the one to compare with is gone by age: what follows is what follows */
    struct uuid key = key_of(record);
    slot->broken = !uuid_equal(&key, &slot->partition->last_key);
    return false;
}

/* The tracker's window is full while something is open; over a gap in the offsets it jumps once nothing is. */
static bool window_is_full(const struct partition *partition, int64_t offset) {
    return offset - atomic_load_explicit(&partition->settled_offset, memory_order_acquire) >= TRACKER_WINDOW &&
           atomic_load_explicit(&partition->open, memory_order_acquire) > 0;
}

enum status intake_take(struct intake *intake, struct slot *slot, const struct consumer_record *record) {
    struct partition *partition = slot->partition;
    if (slot->verifying && !verify(slot, record))
        return STATUS_OK;
    if (slot->broken || record->offset < partition->start_offset)
        return STATUS_OK;
    if (window_is_full(partition, record->offset))
        return STATUS_CONFLICT;
    if (partition_was_settled(partition, record->offset) && intake->reread) {
        send_reread(intake);
        return STATUS_CONFLICT;
    }
    if (partition_was_settled(partition, record->offset)) {
        struct uuid key = key_of(record);
        announce(intake, partition, record->offset, &key, 0, NULL)->already_settled = true;
        return STATUS_OK;
    }
    enum status status = read_record(intake, partition, record);
    if (intake->reread && intake->reread->count == REREAD_RECORDS)
        send_reread(intake);
    return status;
}

void intake_hand_on(struct intake *intake) {
    send_reread(intake);
    /* The recorder hears of a record before any of its deliveries can end. */
    recorder_push(intake->settings.recorder, &intake->to_recorder);
    for (int i = 0; i < intake->settings.lane_count; i++)
        if (intake->to_lanes[i].first)
            lane_push(intake->settings.lanes[i], &intake->to_lanes[i]);
    if (intake->reading)
        roster_end(intake->settings.roster);
    intake->reading = false;
}
