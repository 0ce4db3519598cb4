/* A batch: many events that travel as one delivery, with one id, one signature and one chain of attempts. It is a
 * `struct event` that has members, so that whatever carries an event carries a batch: its key and webhook id are the
 * batch's id, its event type that of its members or "*" when they are of several types. It has no value of its own:
 * its row's body is its members' records one after the other, in the form that batch_record in the database makes too
 * (sql/0004). */
#ifndef WEBHOOK_BATCH_H
#define WEBHOOK_BATCH_H

#include "webhook/event.h"
#include "webhook/subscription.h"

/* Appends one member's record:
 *   int32 length, topic · int32 partition · int64 offset · int64 timestamp_ms · int32 length or -1, key ·
 *   int32 length, headers · int32 length, value                  (network order) */
void batch_add_record(const struct event *event, struct buffer *out);
/* The body of a batch's row, and how long it is. */
void batch_add_body(const struct event *batch, struct buffer *out);
size_t batch_body_bytes(const struct event *batch);

/* Of these events, in this order; a reference to each is added. At least one; all of one workspace. */
struct event *batch_new(const struct uuid *id, struct event *const *members, size_t count);

/* From the bytes of a row. STATUS_INVALID: they are not what batch_add_record writes, or a record can't be read. */
MUST_USE enum status batch_read(const struct uuid *id, struct span records, const struct event_rules *rules,
                                struct event **ret_batch, struct error *error);

/* When a batch is full: with so many events, or with so many bytes of their records' values. An event that is larger
 * by itself is a batch of its own. */
struct batch_limits {
    int32_t max_events;
    int64_t max_bytes;
};

/* A version's limits; that of bytes lower where its bodies have been longer than their records' values, so that a full
 * batch need not be split before it is sent. */
struct batch_limits batch_limits_of(const struct subscription *subscription);
/* A body of a batch was so long. */
void batch_note_body(struct gate *gate, const struct event *batch, size_t body_bytes);

/* How many of these events, from the first on, make the next batch: at least one. ret_full: that batch is full, or the
 * event after it does not fit; otherwise these are all, and there is room for more. */
size_t batch_next(struct event *const *events, size_t count, const struct batch_limits *limits, bool *ret_full);

/* The order of events inside a batch, for qsort over pointers to them: by topic, partition and offset, so that it is
 * the order of arrival in each partition. */
int batch_order(const void *a, const void *b);

#endif
