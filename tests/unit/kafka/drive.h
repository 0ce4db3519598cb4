/* Drives a consumer and fills topics, for the tests of this room. */
#ifndef TESTS_KAFKA_DRIVE_H
#define TESTS_KAFKA_DRIVE_H

#include "base/clock.h"
#include "base/memory.h"
#include "kafka/consumer.h"
#include "kafka/dev_broker.h"
#include "kafka/producer.h"
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define DEADLINE_MS 20000

/* The in-memory broker lets a new group wait for three seconds, whatever the session timeout, and one that changes for
 * the session timeout less a second. */
#define DRIVE_CONF "session.timeout.ms=3500\nheartbeat.interval.ms=100\ntopic.metadata.refresh.interval.ms=470\n"

static inline struct consumer *drive_open(const struct dev_broker *broker, const char *group, const char *conf) {
    struct consumer_settings settings = {
        .brokers = dev_broker_address(broker),
        .conf = conf,
        .group = group,
        .topic_prefix = "events.",
        .topics = "",
        .client_id = "test",
    };
    struct consumer *consumer = NULL;
    struct error error = {""};
    if (consumer_open(&settings, &consumer, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return consumer;
}

/* The next thing that happens within the time; sleeps on the descriptor alone. */
static inline enum consumer_event_type drive_next(struct consumer *consumer, struct consumer_event *event,
                                                  int64_t within_ms) {
    int64_t deadline_ms = clock_mono_ms() + within_ms;
    for (;;) {
        if (consumer_poll(consumer, event) != CONSUMER_NOTHING)
            return event->type;
        int64_t left_ms = deadline_ms - clock_mono_ms();
        if (left_ms <= 0)
            return CONSUMER_NOTHING;
        struct pollfd wait = {.fd = consumer_fd(consumer), .events = POLLIN};
        poll(&wait, 1, (int)left_ms);
    }
}

static inline void drive_expect(struct consumer *consumer, struct consumer_event *event,
                                enum consumer_event_type type) {
    enum consumer_event_type got = drive_next(consumer, event, DEADLINE_MS);
    if (got != type)
        fail_msg("expected event %d, got %d (%s)", type, got, event->error.text);
}

static inline void drive_expect_nothing(struct consumer *consumer, int64_t for_ms) {
    struct consumer_event event;
    enum consumer_event_type got = drive_next(consumer, &event, for_ms);
    if (got != CONSUMER_NOTHING)
        fail_msg("expected nothing, got event %d (%s)", got, event.error.text);
}

/* Answers an assignment: every partition from the offset. */
static inline void drive_assign(struct consumer *consumer, struct consumer_event *event, int64_t offset) {
    for (size_t i = 0; i < event->partitions.count; i++)
        event->partitions.items[i].offset = offset;
    struct error error = {""};
    if (consumer_assign(consumer, &event->partitions, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    consumer_event_deinit(event);
}

static inline void drive_ok(enum status status, const struct error *error) {
    if (status != STATUS_OK)
        fail_msg("%s", error->text);
}

/* The next record must be this one. */
static inline void drive_record(struct consumer *consumer, const char *topic, int64_t offset) {
    struct consumer_event event;
    drive_expect(consumer, &event, CONSUMER_RECORD);
    assert_true(span_is(event.record.topic, topic));
    assert_int_equal(event.record.offset, offset);
    consumer_event_deinit(&event);
}

static inline struct topic_partitions drive_partition(const char *topic, int32_t partition, int64_t offset,
                                                      const char *metadata) {
    struct topic_partitions list = {NULL, 0};
    topic_partitions_add(&list, span_of(topic), partition, offset, span_of(metadata));
    return list;
}

struct drive_reports {
    int64_t good, bad;
    char last[256];
};

static inline void drive_report(void *ctx, void *tag, const char *error) {
    (void)tag;
    struct drive_reports *reports = ctx;
    if (error)
        snprintf(reports->last, sizeof(reports->last), "%s", error);
    *(error ? &reports->bad : &reports->good) += 1;
}

static inline struct producer *drive_producer(const char *brokers, struct drive_reports *reports, const char *conf,
                                              int64_t timeout_ms) {
    struct producer_settings settings = {.brokers = brokers,
                                         .conf = conf,
                                         .client_id = "test",
                                         .linger_ms = 0,
                                         .message_timeout_ms = timeout_ms,
                                         .report = drive_report,
                                         .ctx = reports};
    struct producer *producer = NULL;
    struct error error = {""};
    drive_ok(producer_open(&settings, &producer, &error), &error);
    return producer;
}

/* Appends `count` records "value N", each with a key and a header. */
static inline void drive_fill(const struct dev_broker *broker, const char *topic, int count) {
    struct drive_reports reports = {0};
    struct producer *producer = drive_producer(dev_broker_address(broker), &reports, "", DEADLINE_MS);
    struct error error;
    for (int i = 0; i < count; i++) {
        char value[32];
        snprintf(value, sizeof(value), "value %d", i);
        struct producer_header headers[] = {{SPAN_LITERAL("number"), span_of(value + 6)},
                                            {SPAN_LITERAL("null"), SPAN_NONE}};
        drive_ok(producer_send(producer, span_of(topic), SPAN_LITERAL("key"), span_of(value), headers, 2, NULL, &error),
                 &error);
    }
    producer_close(&producer, DEADLINE_MS);
    assert_int_equal(reports.good, count);
    assert_int_equal(reports.bad, 0);
}

#endif
