/* The API's way into Kafka: a producer on a loop and thread of its own. A worker hands it a publication (some records
 * of one key, in their order) and waits until Kafka has answered for each of them, or for PUBLISHER_WAIT_MS.
 *
 *   worker ── publication ──▶ publisher (loop) ── producer ──▶ Kafka
 *      ▲                          │ a report for each record
 *      └────── all are in ────────┘
 *
 * What it holds is bounded in records and bytes. While Kafka does not answer, only one publication at a time is let in
 * to see whether it does again; the others fail at once, so that workers are not all kept waiting. */
#ifndef API_PUBLISHER_H
#define API_PUBLISHER_H

#include "base/buffer.h"

#define PUBLISHER_WAIT_MS 9500   /* a little more than … */
#define PUBLISHER_RECORD_MS 8000 /* … how long a record is tried; both where the settings say nothing */

struct publisher;
struct publication;

struct publisher_settings {
    const char *brokers;
    const char *conf;  /* further librdkafka properties, one a line */
    int64_t record_ms; /* 0: PUBLISHER_RECORD_MS */
    int64_t wait_ms;   /* 0: PUBLISHER_WAIT_MS */
    size_t max_records, max_bytes;
};

/* Any thread; nothing is dialled. STATUS_INVALID: the properties are wrong. */
MUST_USE enum status publisher_new(const struct publisher_settings *settings, struct publisher **ret_publisher,
                                   struct error *error);
void publisher_free(struct publisher **publisher); /* after publisher_stop, or never started */
void publisher_start(struct publisher *publisher);
/* Whoever waits does so for at most drain_ms more; nothing new is let in after that. */
void publisher_quiesce(struct publisher *publisher, int64_t drain_ms);
/* Nobody waits any more. What is under way is given a moment, what is left fails; the thread has ended. */
void publisher_stop(struct publisher *publisher);

/* ---- A publication: one thread, which makes it, publishes it once, reads the outcome and frees it. ---- */

struct publication *publication_new(void);
void publication_free(struct publication **publication);
/* Everything is copied. */
void publication_set_key(struct publication *publication, struct span key);
#define PUBLICATION_MAX_HEADERS 64
void publication_add_header(struct publication *publication, struct span name, struct span value);
void publication_add(struct publication *publication, struct span topic, struct span value);
size_t publication_count(const struct publication *publication);

/* STATUS_OK: Kafka has all of them. STATUS_UNAVAILABLE: it was not let in, and Kafka has none; error says why.
 * STATUS_FAILED: Kafka has not acknowledged all in time, publication_failure says which. One that was not acknowledged
 * may be in Kafka all the same. */
MUST_USE enum status publisher_publish(struct publisher *publisher, struct publication *publication,
                                       struct error *error);

/* Why a record was not acknowledged; NULL: it was. After publisher_publish. */
const char *publication_failure(const struct publication *publication, size_t index);

#endif
