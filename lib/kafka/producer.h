/* An idempotent Kafka producer, acks=all. One thread. When Kafka says that it can't go on (it may not produce, or lost
 * what it knew of us), all that is under way is reported as failed, and a second later it begins anew: producer_send
 * gives STATUS_FAILED until then. */
#ifndef KAFKA_PRODUCER_H
#define KAFKA_PRODUCER_H

#include "base/buffer.h"

struct producer;

/* Called from producer_poll, in the order of the reports. error is NULL when the broker has it. */
typedef void producer_report_fn(void *ctx, void *tag, const char *error);

struct producer_settings {
    const char *brokers;
    const char *conf;
    const char *client_id;
    int64_t linger_ms;
    int64_t message_timeout_ms;
    producer_report_fn *report;
    void *ctx;
};

MUST_USE enum status producer_open(const struct producer_settings *settings, struct producer **ret_producer,
                                   struct error *error);
/* Waits up to timeout_ms for what is under way; what is left is reported as failed. */
void producer_close(struct producer **producer, int64_t timeout_ms);

struct producer_header {
    struct span name, value;
};

/* Copies key and value. STATUS_UNAVAILABLE: the local queue is full, poll and try again. STATUS_INVALID: too large, or
 * no such topic name. */
MUST_USE enum status producer_send(struct producer *producer, struct span topic, struct span key, struct span value,
                                   const struct producer_header *headers, size_t header_count, void *tag,
                                   struct error *error);

/* Hands out reports for up to timeout_ms (0: those at hand). */
void producer_poll(struct producer *producer, int64_t timeout_ms);
int64_t producer_waiting(const struct producer *producer); /* sent and not yet reported */
int producer_fd(const struct producer *producer);          /* readable when producer_poll has something */

#endif
