#include "webhook/tracker.h"

#include "base/memory.h"

/* A ring of slots by offset, from next_offset on. A slot knows two things: that a record was taken there, and that it
 * is settled. So each offset is one of
 *
 *   taken             open: waits for its settling, and holds the prefix
 *   taken, settled    done, in this life or before a restart
 *   settled           done before a restart, and not read again yet (restored)
 *   neither           below last_taken a gap, since a later record came; above it unknown
 *
 *                        scanned ──────┐
 *   next_offset ─┐                     │                   last_taken ─┐
 *   …  record    │  gap   gap   gap    │ open   done   gap   done  open│  restored?  unknown …
 *                ▲                     ▲
 *                └─ in progress        └─ the first that holds the prefix
 *
 * next_offset always follows a record, never a gap, so that the record before it can be looked up and compared with
 * last_key; and it never goes over what was not read again, because that record's key is not known. */

#define TAKEN 1
#define SETTLED 2
#define FIRST_CAPACITY 64

struct tracker {
    int64_t next_offset; /* -1: nothing seen */
    int64_t last_taken;  /* next_offset - 1 where nothing beyond it was taken */
    int64_t scanned;     /* from next_offset up to here all is settled or a gap */
    struct uuid last_key;
    size_t open;
    int64_t restored_end; /* no slot from here on was settled before the restart */
    size_t capacity;      /* a power of two, or 0 */
    uint8_t *states;
    struct uuid *keys;
};

static size_t slot_of(const struct tracker *tracker, int64_t offset) {
    return (size_t)offset & (tracker->capacity - 1);
}

static uint8_t state_at(const struct tracker *tracker, int64_t offset) {
    bool inside = offset >= tracker->next_offset && offset - tracker->next_offset < (int64_t)tracker->capacity;
    return inside ? tracker->states[slot_of(tracker, offset)] : 0;
}

static void grow_to(struct tracker *tracker, int64_t offset) {
    size_t needed = (size_t)(offset - tracker->next_offset) + 1;
    CHECK(needed <= TRACKER_WINDOW);
    if (needed <= tracker->capacity) {
        return;
    }
    struct tracker wider = *tracker;
    wider.capacity = tracker->capacity ? tracker->capacity : FIRST_CAPACITY;
    while (wider.capacity < needed) {
        wider.capacity *= 2;
    }
    wider.states = mem_calloc(wider.capacity, sizeof(*wider.states));
    wider.keys = mem_alloc(wider.capacity * sizeof(*wider.keys));
    for (size_t i = 0; i < tracker->capacity; i++) {
        int64_t at = tracker->next_offset + (int64_t)i;
        uint8_t state = tracker->states[slot_of(tracker, at)];
        wider.states[slot_of(&wider, at)] = state;
        if (state & TAKEN) {
            wider.keys[slot_of(&wider, at)] = tracker->keys[slot_of(tracker, at)];
        }
    }
    mem_free(tracker->states);
    mem_free(tracker->keys);
    *tracker = wider;
}

static void give_back(struct tracker *tracker) {
    mem_free(tracker->states);
    mem_free(tracker->keys);
    tracker->states = NULL;
    tracker->keys = NULL;
    tracker->capacity = 0;
}

static void move_next(struct tracker *tracker, int64_t next_offset, const struct uuid *last_key) {
    for (int64_t at = tracker->next_offset; at < next_offset && tracker->capacity; at++) {
        tracker->states[slot_of(tracker, at)] = 0;
    }
    tracker->next_offset = next_offset;
    tracker->last_key = *last_key;
}

/* Moves next_offset behind the last record before the first open one. Each slot is scanned once. */
static bool advance(struct tracker *tracker) {
    int64_t next_offset = tracker->next_offset;
    struct uuid last_key = tracker->last_key;
    for (; tracker->scanned <= tracker->last_taken; tracker->scanned++) {
        uint8_t state = state_at(tracker, tracker->scanned);
        if (state == TAKEN) {
            break;
        }
        if (state & TAKEN) {
            next_offset = tracker->scanned + 1;
            last_key = tracker->keys[slot_of(tracker, tracker->scanned)];
        }
    }
    if (next_offset == tracker->next_offset) {
        return false;
    }
    move_next(tracker, next_offset, &last_key);
    bool empty = tracker->last_taken < next_offset && tracker->restored_end <= next_offset;
    if (empty && tracker->capacity > FIRST_CAPACITY) {
        give_back(tracker);
    }
    return true;
}

static void restore(struct tracker *tracker, struct span done) {
    if (done.len == 0) {
        return;
    }
    tracker->restored_end = tracker->next_offset + (int64_t)done.len * 8;
    grow_to(tracker, tracker->restored_end - 1);
    for (size_t i = 0; i < done.len * 8; i++) {
        if ((uint8_t)done.data[i / 8] >> (i % 8) & 1) {
            tracker->states[slot_of(tracker, tracker->next_offset + (int64_t)i)] = SETTLED;
        }
    }
}

enum status tracker_new(int64_t next_offset, const struct uuid *last_key, struct span done,
                        struct tracker **ret_tracker, struct error *error) {
    if (next_offset < -1 || next_offset > INT64_MAX - TRACKER_WINDOW) {
        return error_set(error, STATUS_INVALID, "progress: next_offset %lld can't be an offset",
                         (long long)next_offset);
    }
    if (done.len > TRACKER_WINDOW / 8) {
        return error_set(error, STATUS_INVALID, "progress: done has %zu bytes, at most %d are possible", done.len,
                         TRACKER_WINDOW / 8);
    }
    if (done.len && (next_offset == -1 || done.data[done.len - 1] == '\0')) {
        return error_set(error, STATUS_INVALID, "progress: done does not fit to next_offset %lld",
                         (long long)next_offset);
    }
    struct tracker *tracker = mem_calloc(1, sizeof(*tracker));
    tracker->next_offset = next_offset;
    tracker->last_taken = next_offset - 1;
    tracker->scanned = next_offset;
    tracker->restored_end = next_offset;
    tracker->last_key = last_key ? *last_key : UUID_NIL;
    restore(tracker, done);
    *ret_tracker = tracker;
    return STATUS_OK;
}

void tracker_free(struct tracker **tracker) {
    if (*tracker) {
        give_back(*tracker);
        mem_free(*tracker);
        *tracker = NULL;
    }
}

/* Nothing is open, and the record lies further on than the window reaches: all before it is settled or a gap. Only here
 * does next_offset follow a gap, so no key is known. */
static void jump(struct tracker *tracker, int64_t offset) {
    give_back(tracker);
    tracker->next_offset = offset;
    tracker->last_taken = offset - 1;
    tracker->scanned = offset;
    tracker->restored_end = offset;
    tracker->last_key = UUID_NIL;
}

enum tracker_take tracker_take(struct tracker *tracker, int64_t offset, const struct uuid *key) {
    CHECK(offset >= 0);
    if (tracker->next_offset == -1) {
        jump(tracker, offset);
    }
    if (offset < tracker->next_offset) {
        return TRACKER_SETTLED;
    }
    CHECK(offset > tracker->last_taken);
    if (offset - tracker->next_offset >= TRACKER_WINDOW) {
        if (tracker->open) {
            return TRACKER_FULL;
        }
        jump(tracker, offset);
    }
    grow_to(tracker, offset);
    tracker->last_taken = offset;
    tracker->keys[slot_of(tracker, offset)] = *key;
    uint8_t *state = &tracker->states[slot_of(tracker, offset)];
    *state |= TAKEN;
    if (*state & SETTLED) {
        advance(tracker);
        return TRACKER_SETTLED;
    }
    tracker->open++;
    return TRACKER_TAKEN;
}

bool tracker_settle(struct tracker *tracker, int64_t offset) {
    CHECK(tracker->open > 0 && state_at(tracker, offset) == TAKEN);
    tracker->states[slot_of(tracker, offset)] |= SETTLED;
    tracker->open--;
    return advance(tracker);
}

int64_t tracker_next_offset(const struct tracker *tracker) {
    return tracker->next_offset;
}

struct uuid tracker_last_key(const struct tracker *tracker) {
    return tracker->last_key;
}

size_t tracker_open(const struct tracker *tracker) {
    return tracker->open;
}

int64_t tracker_span(const struct tracker *tracker) {
    return tracker->last_taken + 1 - tracker->next_offset;
}

void tracker_encode(const struct tracker *tracker, struct buffer *out) {
    uint8_t bits[TRACKER_WINDOW / 8] = {0};
    int64_t end = tracker->last_taken + 1;
    end = end > tracker->restored_end ? end : tracker->restored_end;
    size_t used = 0;
    for (int64_t at = tracker->next_offset; at < end; at++) {
        uint8_t state = state_at(tracker, at);
        if (state & SETTLED || (!(state & TAKEN) && at <= tracker->last_taken)) {
            size_t i = (size_t)(at - tracker->next_offset);
            bits[i / 8] |= (uint8_t)(1 << (i % 8));
            used = i / 8 + 1;
        }
    }
    buffer_append(out, bits, used);
}
