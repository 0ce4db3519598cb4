/* Passing over a crowd. PostgreSQL walks over a row in about two microseconds, and over an index entry that its key
 * rules out in a twentieth of that. So a stretch in which rows are passed over is asked for in parts: from one crowded
 * subscription to the next, in the order of their ids. With many of them that would be as many walks; beyond the few
 * that have the most, rows are passed over one by one. */
#include "dispatch/scheduler_private.h"

void throng_add(struct throng *throng, const struct uuid *id, int bucket) {
    size_t at = throng->count;
    while (at > 0 && !uuid_equal(&throng->ids[at - 1], id))
        at--;
    if (at > 0) {
        throng->rows[at - 1]++;
    } else if (throng->count < SCHEDULER_CROWD_MOST) {
        throng->ids[throng->count] = *id;
        throng->buckets[throng->count] = bucket;
        throng->rows[throng->count++] = 1;
    }
}

/* Those of the bucket that have the most rows, in the order of their ids. */
static size_t choose_apart(const struct throng *throng, int bucket, struct uuid ids[SCHEDULER_CROWD_APART]) {
    int64_t rows[SCHEDULER_CROWD_APART];
    size_t count = 0;
    for (size_t i = 0; i < throng->count; i++) {
        size_t at = count;
        if (throng->buckets[i] != bucket)
            continue;
        for (; at > 0 && rows[at - 1] < throng->rows[i]; at--)
            if (at < SCHEDULER_CROWD_APART) {
                rows[at] = rows[at - 1];
                ids[at] = ids[at - 1];
            }
        if (at == SCHEDULER_CROWD_APART)
            continue;
        rows[at] = throng->rows[i];
        ids[at] = throng->ids[i];
        count += count < SCHEDULER_CROWD_APART;
    }
    for (size_t i = 1; i < count; i++)
        for (size_t at = i; at > 0 && uuid_compare(&ids[at - 1], &ids[at]) > 0; at--) {
            struct uuid other = ids[at];
            ids[at] = ids[at - 1];
            ids[at - 1] = other;
        }
    return count;
}

/* The one after it, or before it; of the last, or the first: nil. */
static struct uuid next_to(struct uuid id, int step) {
    uint8_t end = step > 0 ? 0xff : 0;
    size_t at = sizeof(id.bytes);
    while (at > 0 && id.bytes[at - 1] == end)
        id.bytes[--at] = (uint8_t)(end + step);
    if (at == 0)
        return UUID_NIL;
    id.bytes[at - 1] = (uint8_t)(id.bytes[at - 1] + step);
    return id;
}

static void ask(struct asked *asked, size_t of, const struct due_stretch *stretch, bool probe, struct uuid first_id,
                struct uuid last_id) {
    CHECK(asked->count < SCHEDULER_ASKED_MOST);
    asked->of[asked->count] = of;
    asked->probe[asked->count] = probe;
    asked->stretches[asked->count++] = (struct schedule_stretch){
        stretch->bucket, stretch->pass, stretch->from_ms, stretch->to_ms, probe ? 1 : stretch->limit,
        first_id,        last_id};
}

void throng_ask(const struct throng *throng, const struct due_stretch *stretches, size_t count, struct asked *asked) {
    asked->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct due_stretch *stretch = &stretches[i];
        struct uuid ids[SCHEDULER_CROWD_APART], first = UUID_NIL;
        size_t apart = stretch->pass ? choose_apart(throng, stretch->bucket, ids) : 0;
        bool to_the_end = true;
        for (size_t k = 0; k < apart; k++) {
            struct uuid last = next_to(ids[k], -1);
            if (uuid_compare(&first, &last) <= 0 && !uuid_is_nil(&last))
                ask(asked, i, stretch, false, first, last);
            ask(asked, i, stretch, true, ids[k], ids[k]);
            first = next_to(ids[k], 1);
            to_the_end = !uuid_is_nil(&first);
        }
        if (to_the_end)
            ask(asked, i, stretch, false, first, UUID_NIL);
    }
}

/* Of a part that ended at its limit, what lies behind its last row is not known. */
static void add_part(struct due_found *whole, bool *cut, const struct schedule_walked *part, bool part_cut) {
    bool counts = part_cut ? !*cut || part->last_ms < whole->last_ms : !*cut && part->last_ms > whole->last_ms;
    if (counts)
        whole->last_ms = part->last_ms;
    whole->walked += part->rows;
    *cut = *cut || part_cut;
}

void throng_found(const struct asked *asked, const struct schedule_walked *walked, const struct due_stretch *stretches,
                  size_t count, struct due_found *found) {
    bool cut[DUE_SCAN_STRETCHES] = {false};
    for (size_t i = 0; i < count; i++)
        found[i] = (struct due_found){0, 0, 0, DUE_SCAN_NEVER, DUE_SCAN_NEVER};
    for (size_t k = 0; k < asked->count; k++) {
        struct due_found *whole = &found[asked->of[k]];
        if (walked[k].rows > 0 && walked[k].passed_ms < whole->skipped_ms)
            whole->skipped_ms = walked[k].passed_ms;
        if (!asked->probe[k])
            add_part(whole, &cut[asked->of[k]], &walked[k], walked[k].rows >= asked->stretches[k].limit);
    }
    /* All parts together may have given more than the limit of one, and are whole none the less. */
    for (size_t i = 0; i < count; i++)
        if (cut[i] || found[i].walked >= stretches[i].limit)
            found[i].walked = stretches[i].limit - !cut[i];
}
