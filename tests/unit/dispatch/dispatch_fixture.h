/* Events, subscriptions and deliveries for the tests of this room. Included after cmocka.h. */
#ifndef TEST_DISPATCH_FIXTURE_H
#define TEST_DISPATCH_FIXTURE_H

#include "base/clock.h"
#include "base/memory.h"
#include "dispatch/delivery.h"
#include <stdio.h>
#include <time.h>

#define PATIENCE_MS 20000
#define TOPIC "events.order.created"
#define WORKSPACE "w1"
#define RECORD_TIME_MS 1700000000123LL

/* 32 bytes in base64, of no installation. */
#define FIXTURE_KEY "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

static inline void fixture_pause(void) {
    nanosleep(&(struct timespec){.tv_nsec = 2 * 1000 * 1000}, NULL);
}

/* Waits until the expression holds. */
#define WAIT_FOR(expression)                                                                                           \
    do {                                                                                                               \
        int64_t wait_until_ms = clock_mono_ms() + PATIENCE_MS;                                                         \
        while (!(expression)) {                                                                                        \
            if (clock_mono_ms() > wait_until_ms)                                                                       \
                fail_msg("%s:%d: waited in vain for %s", __FILE__, __LINE__, #expression);                             \
            fixture_pause();                                                                                           \
        }                                                                                                              \
    } while (0)

static inline struct uuid fixture_uuid(int number) {
    struct uuid uuid = {{0}};
    uuid.bytes[6] = 0x70;
    uuid.bytes[8] = 0x80;
    uuid.bytes[14] = (uint8_t)(number >> 8);
    uuid.bytes[15] = (uint8_t)number;
    return uuid;
}

/* An event of the native form; more: further members, each with a comma before it. */
static inline struct event *fixture_event_of(int64_t offset, const char *more, const struct event_header *headers,
                                             size_t header_count) {
    char value[512];
    snprintf(value, sizeof(value), "{\"id\":\"e%lld\",\"workspace_id\":\"" WORKSPACE "\",\"payload\":{\"n\":%lld}%s}",
             (long long)offset, (long long)offset, more);
    struct event_record record = {.topic = SPAN_LITERAL(TOPIC),
                                  .partition = 0,
                                  .offset = offset,
                                  .timestamp_ms = RECORD_TIME_MS,
                                  .key = SPAN_LITERAL(WORKSPACE),
                                  .value = span_of(value),
                                  .headers = headers,
                                  .header_count = header_count};
    struct event_rules rules = {.topic_prefix = SPAN_LITERAL("events.")};
    struct event *event = NULL;
    struct event_rejection rejection;
    if (event_read(&record, &rules, &event, &rejection) != EVENT_ACCEPTED)
        fail_msg("%s", rejection.reason.text);
    return event;
}

static inline struct event *fixture_event(int64_t offset) {
    return fixture_event_of(offset, "", NULL, 0);
}

static const struct span FIXTURE_TYPES[] = {{"order.*", 7}};

/* What most tests want; the caller changes what it cares for. */
static inline struct subscription_spec fixture_spec(int number, const char *url) {
    return (struct subscription_spec){
        .id = fixture_uuid(number),
        .workspace_id = SPAN_LITERAL(WORKSPACE),
        .status = SUBSCRIPTION_ACTIVE,
        .version = 1,
        .activation = 1,
        .render_version = 1,
        .event_types = FIXTURE_TYPES,
        .event_type_count = 1,
        .url = span_of(url),
        .format = SPAN_LITERAL("raw"),
        .signature_style = SIGNATURE_NONE,
    };
}

static inline struct subscription *fixture_subscription_of(const struct subscription_spec *spec, struct gate *gate) {
    struct subscription *subscription = NULL;
    struct error error;
    if (subscription_new(spec, gate, &subscription, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return subscription;
}

static inline struct subscription *fixture_subscription(int number, const char *url) {
    struct subscription_spec spec = fixture_spec(number, url);
    return fixture_subscription_of(&spec, NULL);
}

/* The same one, changed. */
static inline struct subscription *fixture_next_version(const struct subscription *before, int status) {
    struct subscription_spec spec = fixture_spec(0, subscription_url(before));
    spec.id = before->id;
    spec.version = before->version + 1;
    spec.activation = before->activation;
    spec.status = (enum subscription_status)status;
    spec.max_in_flight = before->max_in_flight;
    spec.timeout_ms = before->timeout_ms;
    return fixture_subscription_of(&spec, before->gate);
}

static inline struct partition *fixture_partition(void) {
    return partition_new(SPAN_LITERAL(TOPIC), 0);
}

/* Of an event of its own. */
static inline struct delivery *fixture_delivery(int64_t offset, struct subscription *subscription,
                                                struct partition *partition) {
    struct event *event = fixture_event(offset);
    struct delivery *delivery = delivery_new(event, subscription, partition);
    event_unref(&event);
    return delivery;
}

/* … as the scheduler makes it. */
static inline struct delivery *fixture_row(int64_t offset, struct subscription *subscription) {
    struct delivery *delivery = fixture_delivery(offset, subscription, NULL);
    delivery->has_row = true;
    delivery->fence = 1;
    delivery->lease_deadline_ms = clock_mono_ms() + 60000;
    return delivery;
}

#endif
