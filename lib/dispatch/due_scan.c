#include "dispatch/due_scan.h"

#define LEAST_ROWS 16       /* of one stretch */
#define PASS_ROWS 32768     /* walked by a look, where rows are passed over */
#define WIDEST 5            /* times that a limit is doubled */
#define REVISIT_FIRST_MS 50 /* what is left alone; longer and longer while it stays so */
#define REVISIT_LONGEST_MS 3200
#define WHOLE_LEAST_MS 100
#define WHOLE_SHARE 20 /* walking whole lines takes a twentieth of the time, at most */

static void forget_line(struct due_line *line) {
    *line =
        (struct due_line){.back_ms = DUE_SCAN_NEVER, .left_ms = DUE_SCAN_NEVER, .revisit_pause_ms = REVISIT_FIRST_MS};
}

void due_scan_init(struct due_scan *scan) {
    *scan = (struct due_scan){.whole_pause_ms = WHOLE_LEAST_MS};
    due_scan_forget(scan);
}

void due_scan_forget(struct due_scan *scan) {
    for (int i = 0; i < DUE_SCAN_BUCKETS; i++)
        forget_line(&scan->lines[i]);
}

void due_scan_set_buckets(struct due_scan *scan, uint16_t buckets) {
    for (int i = 0; i < DUE_SCAN_BUCKETS; i++)
        if (buckets & ~scan->buckets & (1u << i))
            forget_line(&scan->lines[i]);
    scan->buckets = buckets;
}

static int count_bits(unsigned bits) {
    return __builtin_popcount(bits);
}

static int widened(int limit, int widening) {
    int most = limit > PASS_ROWS ? limit : PASS_ROWS;
    return limit << widening < most ? limit << widening : most;
}

static int share_of(int rows, int parts) {
    int share = parts ? rows / parts : 0;
    return share < LEAST_ROWS ? LEAST_ROWS : share;
}

/* ---- planning ---- */

static bool has(const struct due_scan *scan, int bucket) {
    return scan->buckets & (1u << bucket);
}

static void begin_whole(struct due_scan *scan, int64_t now_ms) {
    if (now_ms < scan->whole_at_ms || !scan->buckets)
        return;
    do
        scan->whole_bucket = (scan->whole_bucket + 1) % DUE_SCAN_BUCKETS;
    while (!has(scan, scan->whole_bucket));
    struct due_line *line = &scan->lines[scan->whole_bucket];
    if (line->fresh_ms > 0)
        line->back_ms = 0;
    scan->whole_at_ms = now_ms + scan->whole_pause_ms;
}

static void begin_again(struct due_line *line, int64_t now_ms) {
    if (line->left_ms == DUE_SCAN_NEVER || now_ms < line->revisit_at_ms)
        return;
    if (line->left_ms < line->back_ms && line->left_ms < line->fresh_ms)
        line->back_ms = line->left_ms;
    line->left_ms = DUE_SCAN_NEVER;
}

size_t due_scan_plan(struct due_scan *scan, int rows, int64_t now_ms, struct due_stretch *stretches) {
    size_t count = 0;
    unsigned backlogs = 0, jammed = 0;
    begin_whole(scan, now_ms);
    for (int i = 0; i < DUE_SCAN_BUCKETS; i++) {
        struct due_line *line = &scan->lines[i];
        if (!has(scan, i))
            continue;
        begin_again(line, now_ms);
        if (line->back_ms != DUE_SCAN_NEVER && !line->passing)
            backlogs |= 1u << i;
        if (line->jammed)
            jammed |= 1u << i;
    }
    int each = share_of(rows / 2, count_bits(scan->buckets)), passed = share_of(PASS_ROWS, count_bits(jammed));
    int some = share_of(rows / 2, count_bits(backlogs));
    for (int i = 0; i < DUE_SCAN_BUCKETS; i++) {
        const struct due_line *line = &scan->lines[i];
        int limit = line->jammed ? passed << line->widening[true] : widened(each, line->widening[true]);
        if (has(scan, i))
            stretches[count++] = (struct due_stretch){i, true, line->jammed, line->fresh_ms, DUE_SCAN_NEVER, limit};
    }
    for (int i = 0; i < DUE_SCAN_BUCKETS; i++) {
        const struct due_line *line = &scan->lines[i];
        if (backlogs & (1u << i))
            stretches[count++] = (struct due_stretch){
                i, false, false, line->back_ms, line->fresh_ms, widened(some, line->widening[false])};
    }
    return count;
}

bool due_scan_is_whole(const struct due_stretch *stretches, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (stretches[i].from_ms == 0)
            return true;
    return false;
}

void due_scan_cost(struct due_scan *scan, int64_t took_ms, int64_t now_ms) {
    int64_t pause_ms = took_ms * WHOLE_SHARE;
    scan->whole_pause_ms = pause_ms > WHOLE_LEAST_MS ? pause_ms : WHOLE_LEAST_MS;
    scan->whole_at_ms = now_ms + scan->whole_pause_ms;
}

/* ---- learning ---- */

static void leave(struct due_line *line, int64_t left_ms, int64_t now_ms) {
    if (left_ms == DUE_SCAN_NEVER)
        return;
    if (line->left_ms == DUE_SCAN_NEVER) {
        line->revisit_at_ms = now_ms + line->revisit_pause_ms;
        line->revisit_pause_ms *= 2;
        if (line->revisit_pause_ms > REVISIT_LONGEST_MS)
            line->revisit_pause_ms = REVISIT_LONGEST_MS;
    }
    if (left_ms < line->left_ms)
        line->left_ms = left_ms;
}

/* Rows that stay where they are, more of them in one millisecond than the limit: it must reach beyond them. */
static void widen(struct due_line *line, const struct due_stretch *stretch, const struct due_found *found) {
    int *widening = &line->widening[stretch->fresh];
    bool stay = stretch->pass || found->left_ms <= found->last_ms;
    if (found->walked < stretch->limit || found->last_ms > stretch->from_ms || !stay)
        *widening = 0;
    else if (*widening < WIDEST)
        ++*widening;
}

static void earlier(int64_t *time_ms, int64_t other_ms) {
    if (other_ms < *time_ms)
        *time_ms = other_ms;
}

static void found_fresh(struct due_line *line, const struct due_stretch *stretch, const struct due_found *found,
                        int64_t looked_ms) {
    bool full = found->walked >= stretch->limit;
    int64_t end_ms = looked_ms - DUE_SCAN_SLACK_MS;
    if (line->fresh_ms != stretch->from_ms)
        return; /* put back since: it is gone over again */
    line->passing = full && stretch->pass;
    if (line->passing)
        end_ms = found->last_ms;
    else if (full)
        earlier(&line->back_ms, found->last_ms);
    earlier(&line->back_ms, found->skipped_ms);
    if (end_ms > line->fresh_ms)
        line->fresh_ms = end_ms;
    if (line->back_ms >= line->fresh_ms)
        line->back_ms = DUE_SCAN_NEVER;
    if (line->back_ms == DUE_SCAN_NEVER && !line->passing)
        line->jammed = false;
}

static void found_backlog(struct due_line *line, const struct due_stretch *stretch, const struct due_found *found) {
    if (found->walked >= stretch->limit) {
        line->back_ms = found->last_ms;
        return;
    }
    line->back_ms = DUE_SCAN_NEVER;
    if (line->left_ms == DUE_SCAN_NEVER)
        line->revisit_pause_ms = REVISIT_FIRST_MS;
}

/* From where the crowd was met; what is passed over becomes the backlog. */
static void begin_pass(struct due_line *line, const struct due_stretch *stretch) {
    line->jammed = line->passing = true;
    earlier(&line->fresh_ms, stretch->from_ms);
    earlier(&line->fresh_ms, line->back_ms);
    line->back_ms = DUE_SCAN_NEVER;
}

void due_scan_found(struct due_scan *scan, const struct due_stretch *stretch, const struct due_found *found,
                    int64_t looked_ms, int64_t now_ms) {
    struct due_line *line = &scan->lines[stretch->bucket];
    if (looked_ms < line->fresh_ms - DUE_SCAN_SLACK_MS) {
        forget_line(line); /* the database's clock was put back */
        return;
    }
    bool crowd = found->walked >= stretch->limit && 2 * found->held >= found->walked;
    leave(line, found->left_ms, now_ms);
    widen(line, stretch, found);
    if (stretch->fresh)
        found_fresh(line, stretch, found, looked_ms);
    else
        found_backlog(line, stretch, found);
    if (crowd && !line->jammed)
        begin_pass(line, stretch);
}

bool due_scan_has_backlog(const struct due_scan *scan) {
    for (int i = 0; i < DUE_SCAN_BUCKETS; i++)
        if (has(scan, i) && (scan->lines[i].back_ms != DUE_SCAN_NEVER || scan->lines[i].passing))
            return true;
    return false;
}

bool due_scan_is_jammed(const struct due_scan *scan) {
    for (int i = 0; i < DUE_SCAN_BUCKETS; i++)
        if (has(scan, i) && scan->lines[i].jammed)
            return true;
    return false;
}
