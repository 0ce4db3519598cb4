/* An intake between an in-memory Kafka and a recorder and a lane that only note what they get. The recorder answers
 * what intake asks as the test says. Included after cmocka.h, once, by a program that has no other recorder and lane.
 */
#ifndef TEST_INTAKE_FIXTURE_H
#define TEST_INTAKE_FIXTURE_H

#include "../kafka/drive.h"
#include "dispatch/intake_private.h"
#include "dispatch/lane.h"
#include "dispatch_fixture.h"
#include <pthread.h>

#define GROUP "group"
#define MAX_RECORDS 20000

/* ---- the recorder and the lane ---- */

struct lane {
    char nothing;
};

struct recorder {
    pthread_mutex_t lock;
    struct taken *takens[MAX_RECORDS];
    int taken_count;
    struct delivery_list outcomes, sent; /* straight to the recorder; to the lane */
    int adopts, revokes, rereads;
    struct adopt_item asked; /* of the last ADOPT; topic is not kept */
    struct partition *partition;
    /* What it answers. */
    int64_t start, reread_before;
    struct uuid last_key, lineage;
    const char *done;
    int fail_rereads;     /* so many find PostgreSQL away */
    int64_t known_modulo; /* events whose offset it divides are known */
    bool settles_at_once; /* the budget is given back with the announcement */
    /* What must never be. */
    int out_of_order, unannounced;
    int64_t last_offset;
};

static struct recorder recorder = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct lane lane;

static struct {
    struct settings settings;
    struct dev_broker *broker;
    struct producer *producer;
    struct roster *roster;
    struct budget budget;
    struct pulse pulse;
    struct intake *intake;
} stage;

static inline void on_taken(struct taken *taken) {
    recorder.out_of_order += taken->offset <= recorder.last_offset;
    recorder.last_offset = taken->offset;
    CHECK(recorder.taken_count < MAX_RECORDS);
    recorder.takens[recorder.taken_count++] = taken;
    if (!recorder.settles_at_once)
        return;
    stage.budget.deliveries = 0;
    stage.budget.bytes = 0;
}

static inline bool is_announced(const struct delivery *delivery) {
    for (int i = recorder.taken_count - 1; i >= 0; i--)
        if (recorder.takens[i] == delivery->taken)
            return delivery->slot < delivery->taken->expected;
    return false;
}

static inline void on_adopt(struct adopt_message *message) {
    CHECK(message->count == 1);
    struct adopt_item *item = &message->items[0];
    recorder.adopts++;
    recorder.asked = *item;
    recorder.asked.topic = NULL;
    partition_unref(&recorder.partition);
    recorder.partition = partition_new(span_of(item->topic), item->number);
    recorder.partition->epoch = recorder.adopts;
    recorder.partition->lineage = recorder.lineage;
    recorder.partition->first_offset = 0;
    recorder.partition->start_offset = item->broken ? item->low : recorder.start;
    recorder.partition->settled_offset = recorder.partition->start_offset;
    recorder.partition->last_key = item->broken ? UUID_NIL : recorder.last_key;
    recorder.partition->reread_before = item->broken ? item->high : recorder.reread_before;
    if (recorder.done) {
        recorder.partition->done = mem_strdup(recorder.done);
        recorder.partition->done_len = strlen(recorder.done);
    }
    recorder.last_offset = recorder.partition->start_offset - 1;
    item->partition = partition_ref(recorder.partition);
    queue_push(message->reply, &message->message.node);
}

static inline void on_reread(struct reread_message *message) {
    recorder.rereads++;
    message->failed = recorder.fail_rereads > 0;
    recorder.fail_rereads -= message->failed;
    for (size_t i = 0; i < message->count && !message->failed; i++)
        message->items[i].known = recorder.known_modulo && message->items[i].event->offset % recorder.known_modulo == 0;
    queue_push(message->reply, &message->message.node);
}

static inline void on_message_to_recorder(struct message *message) {
    switch (message->type) {
    case MESSAGE_TAKEN:
        on_taken((struct taken *)message);
        break;
    case MESSAGE_DELIVERY:
        recorder.unannounced += !is_announced((struct delivery *)message);
        TAILQ_INSERT_TAIL(&recorder.outcomes, (struct delivery *)message, link);
        break;
    case MESSAGE_ADOPT:
        on_adopt((struct adopt_message *)message);
        break;
    case MESSAGE_REREAD:
        on_reread((struct reread_message *)message);
        break;
    case MESSAGE_REVOKE:
        recorder.revokes++;
        queue_push(((struct revoke_message *)message)->reply, &message->node);
        break;
    default:
        CHECK(!"a message that intake has no business to send");
    }
}

void recorder_push(struct recorder *to, struct queue_batch *batch) {
    pthread_mutex_lock(&to->lock);
    for (struct queue_node *node = batch->first, *next; node; node = next) {
        next = node->next;
        on_message_to_recorder(MESSAGE_OF(node));
    }
    pthread_mutex_unlock(&to->lock);
    *batch = (struct queue_batch){NULL, NULL};
}

void lane_push(struct lane *to, struct queue_batch *batch) {
    CHECK(to == &lane);
    pthread_mutex_lock(&recorder.lock);
    for (struct queue_node *node = batch->first, *next; node; node = next) {
        next = node->next;
        struct delivery *delivery = (struct delivery *)MESSAGE_OF(node);
        recorder.unannounced += !is_announced(delivery);
        TAILQ_INSERT_TAIL(&recorder.sent, delivery, link);
    }
    pthread_mutex_unlock(&recorder.lock);
    *batch = (struct queue_batch){NULL, NULL};
}

#define LOCKED(type, name, expression)                                                                                 \
    static inline type name(void) {                                                                                    \
        pthread_mutex_lock(&recorder.lock);                                                                            \
        type value = expression;                                                                                       \
        pthread_mutex_unlock(&recorder.lock);                                                                          \
        return value;                                                                                                  \
    }
LOCKED(int, taken_count, recorder.taken_count)
LOCKED(int, adopt_count, recorder.adopts)
LOCKED(int, reread_count, recorder.rereads)
LOCKED(struct partition *, adopted, recorder.partition)

/* The taken of the offset, of the present assignment; waits for it. */
static inline struct taken *taken_at(int64_t offset) {
    struct taken *found = NULL;
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (!found) {
        pthread_mutex_lock(&recorder.lock);
        for (int i = recorder.taken_count - 1; i >= 0 && !found; i--)
            if (recorder.takens[i]->offset == offset && recorder.takens[i]->partition == recorder.partition)
                found = recorder.takens[i];
        pthread_mutex_unlock(&recorder.lock);
        if (clock_mono_ms() > deadline_ms)
            fail_msg("record %lld was not taken", (long long)offset);
        fixture_pause();
    }
    return found;
}

/* Its only delivery; the list tells where it went. Both lists are looked through after the round was handed on. */
static inline struct delivery *delivery_of(const struct taken *taken, struct delivery_list *list) {
    struct delivery *found = NULL, *delivery;
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (!found) {
        pthread_mutex_lock(&recorder.lock);
        TAILQ_FOREACH (delivery, list, link)
            found = delivery->taken == taken ? delivery : found;
        pthread_mutex_unlock(&recorder.lock);
        if (clock_mono_ms() > deadline_ms)
            fail_msg("no such delivery of record %lld", (long long)taken->offset);
        fixture_pause();
    }
    return found;
}

static inline void forget_all(void) {
    struct delivery_list *lists[] = {&recorder.outcomes, &recorder.sent};
    for (int i = 0; i < 2; i++) {
        struct delivery *delivery;
        while ((delivery = TAILQ_FIRST(lists[i]))) {
            TAILQ_REMOVE(lists[i], delivery, link);
            delivery_free(&delivery);
        }
    }
    for (int i = 0; i < recorder.taken_count; i++)
        taken_free(&recorder.takens[i]);
    recorder.taken_count = 0;
    partition_unref(&recorder.partition);
}

/* ---- Kafka ---- */

static struct drive_reports reports;

static inline void produce(const char *value, const struct producer_header *headers, size_t header_count) {
    struct error error;
    struct span body = value ? span_of(value) : SPAN_NONE;
    drive_ok(producer_send(stage.producer, SPAN_LITERAL(TOPIC), SPAN_LITERAL("key"), body, headers, header_count, NULL,
                           &error),
             &error);
    producer_poll(stage.producer, 0);
}

static inline void produce_event(const char *workspace, const char *more) {
    char value[256];
    snprintf(value, sizeof(value), "{\"id\":\"e\",\"workspace_id\":\"%s\",\"payload\":{}%s}", workspace, more);
    produce(value, NULL, 0);
}

static inline void flush_producer(void) {
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (producer_waiting(stage.producer) > 0 && clock_mono_ms() < deadline_ms)
        producer_poll(stage.producer, 100);
    assert_int_equal(producer_waiting(stage.producer), 0);
    assert_int_equal(reports.bad, 0);
}

/* ---- intake ---- */

static inline void stage_open(void) {
    struct error error;
    drive_ok(dev_broker_open(1, 1, &stage.broker, &error), &error);
    drive_ok(dev_broker_topic(stage.broker, TOPIC, &error), &error);
    stage.producer = drive_producer(dev_broker_address(stage.broker), &reports, "", DEADLINE_MS);
    stage.roster = roster_new();
    stage.settings = (struct settings){.kafka_brokers = (char *)dev_broker_address(stage.broker),
                                       .kafka_conf = (char *)DRIVE_CONF,
                                       .group = (char *)GROUP,
                                       .topic_prefix = (char *)"events.",
                                       .topics = (char *)""};
    TAILQ_INIT(&recorder.outcomes);
    TAILQ_INIT(&recorder.sent);
}

static inline void stage_close(void) {
    producer_close(&stage.producer, DEADLINE_MS);
    roster_free(&stage.roster);
    dev_broker_close(&stage.broker);
}

static inline void intake_open(void) {
    static struct lane *lanes[] = {&lane};
    struct error error;
    struct intake_settings settings = {.settings = &stage.settings,
                                       .roster = stage.roster,
                                       .recorder = &recorder,
                                       .lanes = lanes,
                                       .lane_count = 1,
                                       .budget = &stage.budget,
                                       .pulse = &stage.pulse};
    stage.budget.deliveries = stage.budget.bytes = stage.budget.in_flight = 0;
    stage.pulse.beat_ms = clock_mono_ms() + 3600 * 1000;
    stage.pulse.ahead_ms = clock_wall_ms() - clock_mono_ms();
    drive_ok(intake_new(&settings, &stage.intake, &error), &error);
    intake_start(stage.intake);
}

static inline void intake_close(void) {
    intake_stop(stage.intake, clock_mono_ms() + 5000);
    intake_free(&stage.intake);
}

#endif
