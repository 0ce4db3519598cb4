/* The partitions that the recorder follows: taken over, looked after, given up. */
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "dispatch/lane.h"
#include "dispatch/recorder_private.h"
#include <stdio.h>

#define REVOKE_ANSWERS_MS 300 /* rule P7 */
#define PARKED_LIMIT_MS 1000
#define HEAD_LIMIT_MS 2000 /* a window's head that waits longer has its endpoints parked, if they are slow */
#define ASK_AGAIN_MS 100

void recorder_on_revoke(struct recorder *recorder, struct revoke_message *message) {
    struct revoke_wait *wait = mem_calloc(1, sizeof(*wait));
    wait->message = message;
    wait->park_at_ms = clock_mono_ms() + REVOKE_ANSWERS_MS;
    TAILQ_INSERT_TAIL(&recorder->revokes, wait, link);
}

void recorder_on_adopt(struct recorder *recorder, struct adopt_message *message) {
    struct adopt_wait *wait = mem_calloc(1, sizeof(*wait));
    wait->message = message;
    TAILQ_INSERT_TAIL(&recorder->adopts, wait, link);
}

static void lag_metric(struct tracked *tracked) {
    struct buffer labels;
    char number[16];
    (void)snprintf(number, sizeof(number), "%d", tracked->partition->number);
    buffer_init(&labels, 1024);
    metrics_label(&labels, "topic", span_of(tracked->partition->topic));
    metrics_label(&labels, "partition", span_of(number));
    tracked->lag_seconds = metrics_gauge("hookcast_oldest_unsettled_seconds",
                                         "Age of the oldest record taken and not durably settled.", labels.data);
    buffer_deinit(&labels);
}

static void track(struct recorder *recorder, struct partition *partition) {
    struct error error;
    struct tracked *tracked = mem_calloc(1, sizeof(*tracked));
    struct span done = {partition->done ? partition->done : "", partition->done_len};
    tracked->partition = partition_ref(partition);
    if (tracker_new(partition->start_offset, &partition->last_key, done, &tracked->tracker, &error) != STATUS_OK) {
        log_error("recorder", "the stored bitmap can't be read; records behind the prefix are looked at again",
                  LOG_TEXT("topic", partition->topic), LOG_TEXT("error", error.text));
        partition->done_len = 0;
        CHECK(tracker_new(partition->start_offset, &partition->last_key, SPAN_NONE, &tracked->tracker, &error) ==
              STATUS_OK);
    }
    TAILQ_INIT(&tracked->open);
    tracked->flushed_next_offset = partition->start_offset;
    partition->tracked = tracked;
    lag_metric(tracked);
    TAILQ_INSERT_TAIL(&recorder->tracked, tracked, link);
}

void recorder_untrack(struct recorder *recorder, struct tracked *tracked) {
    TAILQ_REMOVE(&recorder->tracked, tracked, link);
    bool shared = false;
    struct tracked *other;
    TAILQ_FOREACH (other, &recorder->tracked, link)
        shared = shared || other->lag_seconds == tracked->lag_seconds;
    if (!shared)
        metric_free(&tracked->lag_seconds);
    tracked->partition->tracked = NULL;
    tracker_free(&tracked->tracker);
    partition_unref(&tracked->partition);
    mem_free(tracked);
}

/* What this process gives up is settled before it takes it over again: a new epoch would cut the old one's answers off.
 */
static bool is_being_given_up(struct recorder *recorder, const struct adopt_message *adopt) {
    struct revoke_wait *wait;
    TAILQ_FOREACH (wait, &recorder->revokes, link) {
        for (size_t i = 0; i < wait->message->count; i++)
            for (size_t j = 0; j < adopt->count; j++)
                if (wait->message->partitions[i]->number == adopt->items[j].number &&
                    strcmp(wait->message->partitions[i]->topic, adopt->items[j].topic) == 0)
                    return clock_mono_ms() < wait->park_at_ms + PARKED_LIMIT_MS;
    }
    return false;
}

void recorder_serve_adopts(struct recorder *recorder) {
    struct adopt_wait *wait;
    while (recorder->linked && !recorder->flush.made && clock_mono_ms() >= recorder->retry_at_ms &&
           (wait = TAILQ_FIRST(&recorder->adopts))) {
        if (is_being_given_up(recorder, wait->message))
            return;
        struct error error = {""};
        enum status status = recorder_adopt(recorder, wait->message, &error);
        if (status != STATUS_OK) {
            recorder->linked = connection_is_open(recorder->connection);
            recorder_away(recorder, "partitions can't be taken over yet", &error);
            return;
        }
        for (size_t i = 0; i < wait->message->count; i++)
            track(recorder, wait->message->items[i].partition);
        TAILQ_REMOVE(&recorder->adopts, wait, link);
        queue_push(wait->message->reply, &wait->message->message.node);
        mem_free(wait);
    }
}

static void tell_lanes(struct recorder *recorder, enum message_type type) {
    for (int i = 0; i < recorder->lane_count; i++) {
        struct queue_batch batch = {NULL, NULL};
        queue_batch_add(&batch, &message_new(type)->node);
        lane_push(recorder->lanes[i], &batch);
    }
}

static bool has_open(struct recorder *recorder, const struct revoke_message *message) {
    for (size_t i = 0; i < message->count; i++) {
        struct tracked *tracked = message->partitions[i]->tracked;
        if (tracked && (!TAILQ_EMPTY(&tracked->open) || tracked->in_flush))
            return true;
    }
    const struct taken *taken;
    TAILQ_FOREACH (taken, &recorder->ready, link) {
        for (size_t i = 0; i < message->count; i++)
            if (taken->partition == message->partitions[i])
                return true;
    }
    return false;
}

/* Rule P7: answers for 300 ms, then the rest goes to the schedule; when all of it is written, intake may let go. */
void recorder_serve_revokes(struct recorder *recorder) {
    struct revoke_wait *wait, *next;
    for (wait = TAILQ_FIRST(&recorder->revokes); wait; wait = next) {
        next = TAILQ_NEXT(wait, link);
        struct revoke_message *message = wait->message;
        if (!has_open(recorder, message)) {
            for (size_t i = 0; i < message->count; i++)
                if (message->partitions[i]->tracked)
                    recorder_untrack(recorder, message->partitions[i]->tracked);
            TAILQ_REMOVE(&recorder->revokes, wait, link);
            queue_push(message->reply, &message->message.node);
            mem_free(wait);
        } else if (!wait->parked && clock_mono_ms() >= wait->park_at_ms) {
            for (size_t i = 0; i < message->count; i++)
                atomic_store_explicit(&message->partitions[i]->revoked, true, memory_order_release);
            tell_lanes(recorder, MESSAGE_RELEASE);
            wait->parked = true;
        }
    }
}

/* ---- parking (rule S5) ---- */

static void park_endpoints(struct recorder *recorder, struct taken *taken) {
    taken->asked_ms = clock_mono_ms();
    for (uint32_t i = 0; i < taken->expected; i++) {
        struct subscription *subscription = taken->slots[i].subscription;
        if (taken->slots[i].arrived)
            continue;
        struct queue_batch batch = {NULL, NULL};
        queue_batch_add(&batch, &subscription_message_new(MESSAGE_PARK, subscription)->node);
        lane_push(recorder->lanes[subscription_lane_hash(&subscription->id) % (uint32_t)recorder->lane_count], &batch);
    }
}

/* The window of a partition must not stand still behind one endpoint. */
void recorder_look_at_heads(struct recorder *recorder) {
    int64_t now_ms = clock_mono_ms();
    struct tracked *tracked;
    TAILQ_FOREACH (tracked, &recorder->tracked, link) {
        struct taken *head = TAILQ_FIRST(&tracked->open);
        int64_t age_ms = head ? now_ms - head->taken_at_ms : 0;
        bool mostly_full = tracker_span(tracked->tracker) > TRACKER_WINDOW / 2;
        if (head && age_ms > (mostly_full ? ASK_AGAIN_MS : HEAD_LIMIT_MS) && now_ms - head->asked_ms > ASK_AGAIN_MS &&
            pulse_is_fresh(recorder->settings.pulse, now_ms))
            park_endpoints(recorder, head);
        metric_set(tracked->lag_seconds, (double)age_ms / 1000);
    }
}
