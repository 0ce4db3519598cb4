/* Where to look for due rows, so that a look costs what it finds. What was seen gone is not walked over again: while a
 * transaction somewhere keeps an old snapshot, the index entries of a million rows that were sent stay at its head.
 *
 * Each bucket's due rows lie on a line in time. A look goes over at most two stretches of it, each with a limit:
 *
 *    seen ────────┬───────── backlog ──────────┬──────── fresh ────────┐
 *                 back_ms                      fresh_ms                now
 *
 * fresh: looked at in every round. It begins a little before the last look, because a row may be written a little
 * later than it is due. Where its limit leaves rows behind, they become backlog.
 * backlog: walked from its beginning to its end, so much a round. What is left alone on the way (its lane is full, its
 * subscription is not known yet) is walked over again after a while, and nothing behind it waits for that.
 *
 * Rows may also become due in what was seen: a lease ran out, a transaction took long. So the backlog begins at the
 * very beginning now and then, one bucket at a time, as often as its cost allows.
 *
 * A crowd: where most of what a full stretch gives belongs to endpoints that are held, the bucket is jammed. Then a
 * look passes over those endpoints' rows (the skipped ones) up to now, for the sake of the others; after that the
 * backlog is walked, and what was skipped is marked held in pieces, while the fresh stretch is passed over as before.
 *
 * Pure: no I/O, no clock. Times of rows are ms since 1970 by the database's clock, the others monotonic ms. */
#ifndef DISPATCH_DUE_SCAN_H
#define DISPATCH_DUE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DUE_SCAN_BUCKETS 16
#define DUE_SCAN_STRETCHES (2 * DUE_SCAN_BUCKETS)
#define DUE_SCAN_SLACK_MS 300 /* a row is seldom written later than this after it was due */
#define DUE_SCAN_NEVER INT64_MAX

struct due_stretch {
    int bucket;
    bool fresh;      /* to now; otherwise the backlog */
    bool pass;       /* the crowd's rows are passed over */
    int64_t from_ms; /* included */
    int64_t to_ms;   /* excluded; DUE_SCAN_NEVER: up to now */
    int limit;       /* rows walked, those passed over included */
};

/* What a look found in one stretch. */
struct due_found {
    int walked;
    int64_t last_ms;    /* of what was walked; nothing: 0 */
    int held;           /* rows of endpoints without a slot, to be marked so */
    int64_t left_ms;    /* the earliest row that stays as it is; DUE_SCAN_NEVER: none */
    int64_t skipped_ms; /* the earliest row that was passed over; likewise */
};

struct due_line {
    int64_t fresh_ms, back_ms, left_ms; /* back_ms, left_ms: DUE_SCAN_NEVER: none */
    int64_t revisit_at_ms, revisit_pause_ms;
    int widening[2]; /* of the backlog, and of what is fresh: so often a limit did not reach beyond one millisecond */
    bool jammed;
    bool passing; /* jammed, and the others are not seen up to now yet: the backlog waits */
};

struct due_scan {
    struct due_line lines[DUE_SCAN_BUCKETS];
    uint16_t buckets; /* a set of bits: those that are looked at */
    int whole_bucket; /* the next one that is walked from the beginning */
    int64_t whole_at_ms;
    int64_t whole_pause_ms;
};

void due_scan_init(struct due_scan *scan);
/* Nothing is known any more: what a look found could not be dealt with, or the database is another one. */
void due_scan_forget(struct due_scan *scan);
/* Buckets that are new among these begin from nothing. */
void due_scan_set_buckets(struct due_scan *scan, uint16_t buckets);

/* The stretches of the next look, fresh ones first; room for DUE_SCAN_STRETCHES. rows: about how many are wanted. */
size_t due_scan_plan(struct due_scan *scan, int rows, int64_t now_ms, struct due_stretch *stretches);
/* Whether the plan walks a whole line: then due_scan_cost learns how long the look took. */
bool due_scan_is_whole(const struct due_stretch *stretches, size_t count);
void due_scan_cost(struct due_scan *scan, int64_t took_ms, int64_t now_ms);
/* What came of a stretch, the last one of the plan first; the rows that were found are dealt with. looked_ms: the
 * database's clock at the look. */
void due_scan_found(struct due_scan *scan, const struct due_stretch *stretch, const struct due_found *found,
                    int64_t looked_ms, int64_t now_ms);
/* Something is left to walk: no reason to pause. */
bool due_scan_has_backlog(const struct due_scan *scan);
bool due_scan_is_jammed(const struct due_scan *scan);

#endif
