/* Membership: what the group gives is adopted at the recorder before a record is taken, and what it takes back is
 * settled there before it is let go (rules P3, P4, P7). The group waits for our answers, so nothing here has to be
 * fast; but it must end. */
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "dispatch/intake_private.h"
#include <stdio.h>

#define ASK_KAFKA_MS 3000
#define ASK_AGAIN_MS 500
#define ASK_COMMITTED_MS 500
#define REVOKE_LIMIT_MS 1300 /* 300 ms for answers, 1 s for PostgreSQL */
#define COMMIT_LIMIT_MS 1000
#define LEAVE_LIMIT_MS 2000

void intake_set_phase(struct intake *intake, enum intake_phase phase) {
    if (phase == INTAKE_IDLE)
        atomic_store(&intake->idle_since_ms, clock_mono_ms());
    atomic_store_explicit(&intake->phase, phase, memory_order_release);
}

struct topic_partitions intake_partitions(const struct intake *intake, bool with_offsets) {
    struct topic_partitions list = {NULL, 0};
    for (size_t i = 0; i < intake->slot_count; i++) {
        const struct partition *partition = intake->slots[i].partition;
        char metadata[PARTITION_METADATA_MAX];
        int64_t offset = atomic_load_explicit(&partition->settled_offset, memory_order_acquire);
        partition_metadata(partition, metadata);
        topic_partitions_add(&list, span_of(partition->topic), partition->number,
                             with_offsets ? offset : CONSUMER_OFFSET_NONE,
                             with_offsets ? span_of(metadata) : SPAN_NONE);
    }
    return list;
}

/* Kafka forgets a topic's offsets together with the topic. One that we committed and that is gone means that the topic
 * was made again, though the new log may be long enough for nothing else to tell. */
static bool offsets_are_kept(struct intake *intake, const struct topic_partitions *list) {
    struct topic_partitions kept = {NULL, 0};
    struct error error;
    for (size_t i = 0; i < list->count; i++)
        topic_partitions_add(&kept, span_of(list->items[i].topic), list->items[i].partition, CONSUMER_OFFSET_NONE,
                             SPAN_NONE);
    bool all = consumer_committed(intake->consumer, &kept, ASK_COMMITTED_MS, &error) == STATUS_OK;
    for (size_t i = 0; all && i < kept.count; i++) {
        for (size_t j = 0; kept.items[i].offset < 0 && j < intake->slot_count; j++) {
            struct slot *slot = &intake->slots[j];
            if (slot->partition->number == kept.items[i].partition &&
                strcmp(slot->partition->topic, kept.items[i].topic) == 0)
                slot->broken = true;
        }
    }
    for (size_t i = 0; all && i < kept.count; i++)
        all = kept.items[i].offset >= 0;
    topic_partitions_deinit(&kept);
    return all;
}

/* Tells Kafka what is durably settled, where that changed. */
void intake_commit(struct intake *intake, bool wait) {
    struct topic_partitions list = {NULL, 0};
    for (size_t i = 0; i < intake->slot_count; i++) {
        struct slot *slot = &intake->slots[i];
        int64_t offset = atomic_load_explicit(&slot->partition->settled_offset, memory_order_acquire);
        char metadata[PARTITION_METADATA_MAX];
        if (offset == slot->committed_offset || slot->broken)
            continue;
        slot->committing_offset = offset;
        partition_metadata(slot->partition, metadata);
        topic_partitions_add(&list, span_of(slot->partition->topic), slot->partition->number, offset,
                             span_of(metadata));
    }
    struct error error = {""};
    bool commit = list.count && offsets_are_kept(intake, &list);
    for (size_t i = 0; commit && i < intake->slot_count; i++)
        intake->slots[i].committed_offset = intake->slots[i].committing_offset;
    if (commit && (wait ? consumer_commit_wait(intake->consumer, &list, COMMIT_LIMIT_MS, &error)
                        : consumer_commit(intake->consumer, &list, &error)) != STATUS_OK)
        log_debug("intake", "the offsets were not committed; progress has them", LOG_TEXT("error", error.text));
    topic_partitions_deinit(&list);
}

static struct revoke_message *revoke_all(struct intake *intake, bool lost) {
    struct revoke_message *message = mem_calloc(1, sizeof(*message) + intake->slot_count * sizeof(struct partition *));
    message->message.type = MESSAGE_REVOKE;
    message->reply = intake->queue;
    message->count = intake->slot_count;
    for (size_t i = 0; i < intake->slot_count; i++) {
        message->partitions[i] = partition_ref(intake->slots[i].partition);
        if (lost)
            atomic_store_explicit(&intake->slots[i].partition->revoked, true, memory_order_release);
    }
    queue_batch_add(&intake->to_recorder, &message->message.node);
    intake_hand_on(intake);
    return message;
}

void intake_drop_slots(struct intake *intake) {
    for (size_t i = 0; i < intake->slot_count; i++) {
        partition_unref(&intake->slots[i].partition);
        metric_free(&intake->slots[i].lag);
    }
    mem_free(intake->slots);
    intake->slots = NULL;
    intake->last_slot = NULL;
    intake->slot_count = 0;
    if (intake->stashed)
        consumer_event_deinit(&intake->stash);
    intake->stashed = false;
    intake->paused = false;
    /* What is being looked up belonged to them. */
    reread_message_free(&intake->reread);
    reread_message_free(&intake->reread_again);
    intake->reread_asked = NULL;
    intake->rereading = false;
}

/* ---- adopting ---- */

void intake_on_assign(struct intake *intake, struct topic_partitions *partitions_take) {
    topic_partitions_deinit(&intake->assigned);
    intake->assigned = *partitions_take;
    *partitions_take = (struct topic_partitions){NULL, 0};
    intake->try_at_ms = 0;
    intake_set_phase(intake, INTAKE_ASSIGNED);
}

/* Watermarks are asked for where nothing else says where to begin. */
static enum status ask_watermarks(struct intake *intake, struct adopt_item *item, struct error *error) {
    if (item->committed >= 0 && !item->broken)
        return STATUS_OK;
    enum status status = consumer_watermarks(intake->consumer, span_of(item->topic), item->number, ASK_KAFKA_MS,
                                             &item->low, &item->high, error);
    item->latest = item->high;
    if (status == STATUS_OK && intake->settings.settings->start_from == START_FROM_LATEST)
        status = consumer_offset_since(intake->consumer, span_of(item->topic), item->number, intake->began_ms,
                                       ASK_KAFKA_MS, &item->latest, error);
    return status;
}

static bool is_broken(const struct intake *intake, const char *topic, int32_t number) {
    for (size_t i = 0; i < intake->broken.count; i++)
        if (intake->broken.items[i].partition == number && strcmp(intake->broken.items[i].topic, topic) == 0)
            return true;
    return false;
}

static enum status ask_recorder(struct intake *intake, struct error *error) {
    struct topic_partitions *assigned = &intake->assigned;
    enum status status = consumer_committed(intake->consumer, assigned, ASK_KAFKA_MS, error);
    if (status != STATUS_OK)
        return status;
    struct adopt_message *message = mem_calloc(1, sizeof(*message) + assigned->count * sizeof(struct adopt_item));
    message->message.type = MESSAGE_ADOPT;
    message->reply = intake->queue;
    for (size_t i = 0; i < assigned->count && status == STATUS_OK; i++) {
        const struct topic_partition *from = &assigned->items[i];
        struct adopt_item *item = &message->items[message->count++];
        item->topic = mem_strdup(from->topic);
        item->number = from->partition;
        item->committed = from->offset;
        item->broken = is_broken(intake, from->topic, from->partition);
        if (from->offset >= 0 && from->metadata)
            item->has_lineage = partition_metadata_parse(from->metadata, &item->lineage, &item->lineage_first);
        status = ask_watermarks(intake, item, error);
    }
    if (status != STATUS_OK) {
        adopt_message_free(&message);
        return status;
    }
    intake_drop_slots(intake);
    intake->adopting = message;
    intake_set_phase(intake, INTAKE_ADOPTING);
    queue_batch_add(&intake->to_recorder, &message->message.node);
    intake_hand_on(intake);
    return STATUS_OK;
}

static struct metric *lag_metric(const struct partition *partition) {
    struct buffer labels;
    char number[16];
    (void)snprintf(number, sizeof(number), "%d", partition->number);
    buffer_init(&labels, 1024);
    metrics_label(&labels, "topic", span_of(partition->topic));
    metrics_label(&labels, "partition", span_of(number));
    struct metric *metric =
        metrics_gauge("hookcast_lag_records", "Records in the partition behind what is durably settled.", labels.data);
    buffer_deinit(&labels);
    return metric;
}

static void make_slots(struct intake *intake, struct adopt_message *message) {
    intake->slots = mem_calloc(message->count + 1, sizeof(struct slot));
    intake->slot_count = message->count;
    for (size_t i = 0; i < message->count; i++) {
        struct partition *partition = message->items[i].partition;
        intake->slots[i] = (struct slot){
            .partition = partition_ref(partition),
            .verifying = partition->start_offset > 0 && !uuid_equal(&partition->last_key, &UUID_NIL),
            .committed_offset = partition->start_offset,
            .committing_offset = partition->start_offset,
            .lag = lag_metric(partition),
        };
    }
}

/* Nothing is sent before Kafka has the lineage (rule P4): the commit is waited for. */
static enum status begin_reading(struct intake *intake, struct error *error) {
    struct topic_partitions list = intake_partitions(intake, true);
    for (size_t i = 0; i < list.count; i++)
        list.items[i].offset -= intake->slots[i].verifying;
    enum status status = consumer_assign(intake->consumer, &list, error);
    topic_partitions_deinit(&list);
    list = intake_partitions(intake, true);
    if (status == STATUS_OK && list.count)
        status = consumer_commit_wait(intake->consumer, &list, ASK_KAFKA_MS, error);
    topic_partitions_deinit(&list);
    return status;
}

void intake_on_adopted(struct intake *intake, struct adopt_message *message) {
    struct error error = {""};
    bool awaited = message == intake->adopting;
    if (awaited)
        intake->adopting = NULL;
    make_slots(intake, message);
    adopt_message_free(&message);
    if (!awaited || atomic_load(&intake->phase) != INTAKE_ADOPTING) {
        /* The group took them back meanwhile. */
        (void)revoke_all(intake, true);
        intake_drop_slots(intake);
        return;
    }
    if (begin_reading(intake, &error) != STATUS_OK) {
        log_warn("intake", "the partitions can't be read yet; joining the group again", LOG_TEXT("error", error.text));
        intake_reopen(intake);
        return;
    }
    log_info("intake", "reading", LOG_INT("partitions", (int64_t)intake->slot_count));
    topic_partitions_deinit(&intake->assigned);
    topic_partitions_deinit(&intake->broken);
    if (!intake->failed)
        intake->reopen_at_ms = 0;
    intake_set_phase(intake, INTAKE_RUNNING);
}

/* ---- giving up ---- */

static void let_go(struct intake *intake) {
    struct error error;
    if (!intake->revoke_lost && intake->slot_count)
        intake_commit(intake, true);
    intake_drop_slots(intake);
    intake->revoking = NULL;
    if (!atomic_load(&intake->stopping) && consumer_unassign(intake->consumer, &error) != STATUS_OK)
        log_warn("intake", "unassign", LOG_TEXT("error", error.text));
    intake_set_phase(intake, INTAKE_IDLE);
}

void intake_on_revoke(struct intake *intake, bool lost) {
    enum intake_phase phase = atomic_load(&intake->phase);
    topic_partitions_deinit(&intake->assigned);
    intake->revoke_lost = lost;
    if (phase == INTAKE_RUNNING && intake->slot_count) {
        intake->revoking = revoke_all(intake, lost);
        intake->revoke_deadline_ms = clock_mono_ms() + REVOKE_LIMIT_MS;
        intake_set_phase(intake, INTAKE_REVOKING);
        if (!lost)
            return;
    }
    intake->adopting = NULL;
    let_go(intake);
}

void intake_on_revoked(struct intake *intake, struct revoke_message *message) {
    bool awaited = message == intake->revoking;
    revoke_message_free(&message);
    if (awaited && atomic_load(&intake->phase) == INTAKE_REVOKING)
        let_go(intake);
}

enum status intake_open_consumer(struct intake *intake, struct error *error) {
    const struct settings *settings = intake->settings.settings;
    struct consumer_settings consumer = {
        .brokers = settings->kafka_brokers,
        .conf = settings->kafka_conf,
        .group = settings->group,
        .topic_prefix = settings->topic_prefix,
        .topics = settings->topics,
        .client_id = "hookcast",
    };
    return consumer_open(&consumer, &intake->consumer, error);
}

/* ---- what waits for its time ---- */

/* A log that is not what progress says is adopted anew, from its earliest record, by joining the group again. */
static void look_for_broken(struct intake *intake) {
    for (size_t i = 0; i < intake->slot_count; i++) {
        const struct partition *partition = intake->slots[i].partition;
        if (intake->slots[i].broken)
            topic_partitions_add(&intake->broken, span_of(partition->topic), partition->number, CONSUMER_OFFSET_NONE,
                                 SPAN_NONE);
    }
    if (intake->broken.count)
        intake_reopen(intake);
}

void intake_group_tick(struct intake *intake) {
    struct error error = {""};
    int64_t now_ms = clock_mono_ms();
    enum intake_phase phase = atomic_load(&intake->phase);
    if (intake->reopen_at_ms && now_ms >= intake->reopen_at_ms) {
        intake_reopen(intake);
        return;
    }
    if (phase == INTAKE_ASSIGNED && now_ms >= intake->try_at_ms && roster_is_loaded(intake->settings.roster)) {
        intake->try_at_ms = now_ms + ASK_AGAIN_MS;
        if (intake->assigned.count == 0) {
            if (consumer_assign(intake->consumer, &intake->assigned, &error) == STATUS_OK)
                intake_set_phase(intake, INTAKE_RUNNING);
        } else if (ask_recorder(intake, &error) != STATUS_OK) {
            log_warn("intake", "Kafka does not say where the group stands; asking again",
                     LOG_TEXT("error", error.text));
        }
    } else if (phase == INTAKE_REVOKING && now_ms >= intake->revoke_deadline_ms) {
        log_warn("intake",
                 "partitions are let go before everything of them is written; their next owner reads on from progress");
        let_go(intake);
    } else if (phase == INTAKE_RUNNING) {
        look_for_broken(intake);
    }
}

void intake_reopen(struct intake *intake) {
    struct error error = {""};
    if (intake->slot_count)
        (void)revoke_all(intake, true);
    intake_drop_slots(intake);
    topic_partitions_deinit(&intake->assigned);
    intake->adopting = NULL;
    intake->revoking = NULL;
    intake->reopen_at_ms = 0;
    intake->failed = false;
    loop_watch_free(&intake->watch);
    consumer_close(&intake->consumer, LEAVE_LIMIT_MS);
    intake_set_phase(intake, INTAKE_IDLE);
    if (intake_open_consumer(intake, &error) != STATUS_OK)
        log_error("intake", "can't join the group", LOG_TEXT("error", error.text));
}
