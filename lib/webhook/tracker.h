/* What of one partition is settled: a prefix and a bitmap beyond it, over a bounded window (rule P1). Gaps in the
 * offsets count as settled, because a later record shows that nothing was there. Pure; the recorder's. */
#ifndef WEBHOOK_TRACKER_H
#define WEBHOOK_TRACKER_H

#include "base/buffer.h"
#include "base/id.h"

#define TRACKER_WINDOW 8192 /* offsets; 1 KiB of bitmap in progress.done */

struct tracker;

/* next_offset: the first that is not settled; -1: whatever comes first. last_key: of the record before it. done: as
 * tracker_encode wrote it, or SPAN_NONE; STATUS_INVALID when it can't be that. */
MUST_USE enum status tracker_new(int64_t next_offset, const struct uuid *last_key, struct span done,
                                 struct tracker **ret_tracker, struct error *error);
void tracker_free(struct tracker **tracker);

enum tracker_take {
    TRACKER_TAKEN,   /* to be settled */
    TRACKER_SETTLED, /* was settled before: leave it */
    TRACKER_FULL,    /* beyond the window: not taken, ask again when the head moved */
};
/* Announces the record at `offset`, in ascending order. What lies between it and the one before counts as settled. A
 * record that was settled before a restart may move the prefix too: it had to be read again for its key. Records below
 * the prefix are settled. A record further on than the window reaches, while nothing is open, moves the prefix to
 * itself. */
enum tracker_take tracker_take(struct tracker *tracker, int64_t offset, const struct uuid *key);

/* Each taken offset is settled once; CHECKed. Returns true when the prefix grew. */
bool tracker_settle(struct tracker *tracker, int64_t offset);

/* The first offset behind the settled prefix, and the key of the record just before it (nil: none known). The prefix
 * ends behind a record, so that it can be read and compared; only where a gap wider than the window, or nothing at all,
 * lies before it there is no key. -1: nothing seen. */
int64_t tracker_next_offset(const struct tracker *tracker);
struct uuid tracker_last_key(const struct tracker *tracker);

/* Taken and not settled. */
size_t tracker_open(const struct tracker *tracker);
/* How many offsets lie from the prefix to the last one taken, that one included; TRACKER_WINDOW at most. */
int64_t tracker_span(const struct tracker *tracker);

/* The bitmap beyond the prefix: bit i (least significant first) is next_offset + i; without trailing zero bytes. */
void tracker_encode(const struct tracker *tracker, struct buffer *out);

#endif
