/* Due rows: each look judges what it found against the roster and the gates, and does one of six things with each row.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "dispatch/lane.h"
#include "dispatch/scheduler_private.h"
#include <stdlib.h>

#define CLAIM_ROWS 2048 /* of one claim */
#define LOOK_ROWS 4096  /* of one look */
#define LOOK_LEAST 256
#define FILLED_LOOK_MS 100 /* from one look to the next while every lane is well filled */
#define OTHERS_ROWS 1024
#define OTHERS_EVERY_MS 300     /* one bucket at a time */
#define OTHERS_OVERDUE_MS 10000 /* what its own process should have claimed long ago */
#define OTHERS_SHARE 20         /* a twentieth of the time, at most */

#define SWEEP_ENDPOINTS 500
#define SWEEP_ROWS 1024
#define SWEEP_BYTES (8 * 1024 * 1024)

enum verdict {
    LEAVE,  /* another time: the roster is behind the row, or the lane is full */
    SEND,   /* a slot was taken for it */
    HOLD,   /* its endpoint has none */
    CANCEL, /* its subscription is not active, or was paused since */
    CLOSE,  /* it stands for members whose batch is due */
    ASK,    /* its subscription is unknown here: gone, or too new */
};

struct key_list {
    struct schedule_key *keys;
    size_t count;
};

struct due_list {
    struct schedule_due *rows;
    size_t count;
};

struct look {
    struct due_list send, hold, cancel, ask, bare;
    struct key_list close;
    struct subscription **granted; /* a reference for each to send: its gate gave a slot */
    int64_t bytes, timeout_ms;
    struct due_found found[DUE_SCAN_STRETCHES];
};

static void look_init(struct look *look, size_t count) {
    *look = (struct look){.granted = mem_calloc(count, sizeof(struct subscription *))};
    struct due_list *lists[] = {&look->send, &look->hold, &look->cancel, &look->ask, &look->bare};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        lists[i]->rows = mem_calloc(count, sizeof(struct schedule_due));
    look->close.keys = mem_calloc(count, sizeof(struct schedule_key));
}

static void look_deinit(struct look *look) {
    for (size_t i = 0; i < look->send.count; i++)
        subscription_unref(&look->granted[i]);
    mem_free(look->granted);
    mem_free(look->send.rows);
    mem_free(look->hold.rows);
    mem_free(look->cancel.rows);
    mem_free(look->ask.rows);
    mem_free(look->bare.rows);
    mem_free(look->close.keys);
}

/* What a row's subscription says, slots apart. A row that is newer than the version known here is left to itself until
 * the watcher has caught up. */
static enum verdict standing_of(const struct subscription *subscription, int64_t activation) {
    if (!subscription)
        return ASK;
    if (activation != subscription->activation)
        return activation < subscription->activation ? CANCEL : LEAVE;
    return subscription->status == SUBSCRIPTION_ACTIVE ? SEND : CANCEL;
}

static enum verdict judge(struct scheduler *scheduler, struct look *look, const struct schedule_due *due,
                          const struct subscription *subscription) {
    enum verdict verdict = standing_of(subscription, due->activation);
    if (due->kind == SCHEDULE_CLOSER)
        return subscription ? CLOSE : ASK;
    if (verdict == LEAVE || verdict == ASK)
        return verdict;
    bool full = look->bytes >= SCHEDULER_CLAIM_BYTES || look->send.count + look->cancel.count >= CLAIM_ROWS;
    if (verdict == CANCEL)
        return full || !scheduler_may_cancel(scheduler) ? LEAVE : CANCEL;
    const struct hold *hold = scheduler_hold_of(scheduler, &subscription->id);
    if (hold && !hold->mine)
        return HOLD;
    if (full || !scheduler_lane_has_room(scheduler, &subscription->id))
        return LEAVE;
    return gate_take_slots(subscription->gate, 1) > 0 ? SEND : HOLD;
}

static void add(struct due_list *list, const struct schedule_due *due) {
    list->rows[list->count++] = *due;
}

static void add_key(struct key_list *list, const struct schedule_key *key) {
    list->keys[list->count++] = *key;
}

/* It is still there when this look is over: another one has to come by. */
static void leave(struct look *look, const struct schedule_due *due) {
    struct due_found *found = &look->found[due->stretch];
    if (due->due_at_ms < found->left_ms)
        found->left_ms = due->due_at_ms;
}

static void judge_row(struct scheduler *scheduler, struct look *look, const struct schedule_due *due,
                      struct subscription *subscription) {
    int64_t timeout_ms;
    /* Whatever is to become of it: first it gets its body. */
    if (due->kind == SCHEDULE_BATCH && due->body_bytes == 0) {
        leave(look, due);
        add(&look->bare, due);
        return;
    }
    switch (judge(scheduler, look, due, subscription)) {
    case SEND:
        timeout_ms = scheduler_timeout_ms(scheduler, subscription);
        look->timeout_ms = timeout_ms > look->timeout_ms ? timeout_ms : look->timeout_ms;
        look->granted[look->send.count] = subscription_ref(subscription);
        look->bytes += due->body_bytes;
        add(&look->send, due);
        break;
    case CANCEL:
        look->bytes += due->body_bytes;
        add(&look->cancel, due);
        break;
    case HOLD:
        look->found[due->stretch].held++;
        add(&look->hold, due);
        break;
    case ASK:
        add(&look->ask, due);
        break;
    case CLOSE:
        leave(look, due);
        add_key(&look->close, &due->key);
        break;
    case LEAVE:
        leave(look, due);
        break;
    }
}

static void judge_all(struct scheduler *scheduler, struct look *look, const struct asked *asked,
                      const struct result *rows, int count) {
    const struct matching *matching = roster_begin(scheduler->settings.roster);
    for (int i = 0; i < count; i++) {
        struct schedule_due due;
        schedule_due_read(rows, i, &due);
        due.stretch = asked->of[due.stretch];
        judge_row(scheduler, look, &due, matching_find(matching, &due.key.subscription_id));
    }
    roster_end(scheduler->settings.roster);
}

/* Slots that were taken for rows which somebody else claimed first, or for none at all, are given back. */
static void settle_slots(struct look *look, const struct result *rows) {
    size_t count = rows ? (size_t)result_rows(rows) : 0;
    if (count == look->send.count)
        return;
    bool *claimed = mem_calloc(look->send.count, sizeof(*claimed));
    for (size_t row = 0; row < count; row++)
        claimed[schedule_claimed_number(rows, (int)row)] = true;
    for (size_t i = 0; i < look->send.count; i++)
        if (!claimed[i])
            gate_give_slots(look->granted[i]->gate, 1);
    mem_free(claimed);
}

static enum status send_due(struct scheduler *scheduler, struct look *look, struct error *error) {
    if (look->send.count == 0)
        return STATUS_OK;
    struct result *rows = NULL;
    int64_t now_ms = clock_mono_ms(), lease_ms = look->timeout_ms + SCHEDULER_LEASE_MARGIN_MS;
    enum status status =
        schedule_claim(scheduler->connection, look->send.rows, look->send.count, lease_ms, &rows, error);
    settle_slots(look, status == STATUS_OK ? rows : NULL);
    if (status == STATUS_OK) {
        for (int row = 0; row < result_rows(rows); row++) {
            struct schedule_row read;
            schedule_row_read(rows, row, &read);
            metric_observe(scheduler->lateness, (double)read.lateness_ms / 1e3);
        }
        status = scheduler_hand_over(scheduler, rows, now_ms, lease_ms, false, error);
    }
    result_free(&rows);
    return status;
}

static enum status cancel_due(struct scheduler *scheduler, const struct due_list *list, struct error *error) {
    if (list->count == 0)
        return STATUS_OK;
    struct result *rows = NULL;
    int64_t now_ms = clock_mono_ms();
    enum status status =
        schedule_claim(scheduler->connection, list->rows, list->count, SCHEDULER_LEASE_MARGIN_MS, &rows, error);
    if (status == STATUS_OK)
        status = scheduler_hand_over(scheduler, rows, now_ms, SCHEDULER_LEASE_MARGIN_MS, true, error);
    result_free(&rows);
    return status;
}

/* Only the database knows whether an unknown subscription is gone or not yet known; of the latter nothing is touched.
 */
static enum status ask_for_gone(struct scheduler *scheduler, struct look *look, struct error *error) {
    size_t count = look->ask.count;
    if (count == 0)
        return STATUS_OK;
    bool *is_gone = mem_calloc(count, sizeof(*is_gone));
    struct schedule_key *keys = mem_calloc(count, sizeof(*keys));
    for (size_t i = 0; i < count; i++)
        keys[i] = look->ask.rows[i].key;
    enum status status = schedule_gone(scheduler->connection, keys, count, is_gone, error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        const struct schedule_due *due = &look->ask.rows[i];
        bool full = look->bytes >= SCHEDULER_CLAIM_BYTES || look->cancel.count >= CLAIM_ROWS ||
                    !scheduler_may_cancel(scheduler);
        if (!is_gone[i] || due->kind == SCHEDULE_CLOSER || full)
            leave(look, due);
        /* A closer is not cancelled but closed: the batches that it stood for are. */
        if (is_gone[i] && due->kind == SCHEDULE_CLOSER) {
            add_key(&look->close, &keys[i]);
        } else if (is_gone[i] && !full) {
            look->bytes += due->body_bytes;
            add(&look->cancel, due);
        }
    }
    mem_free(keys);
    mem_free(is_gone);
    return status;
}

static enum status hold_due(struct scheduler *scheduler, const struct due_list *list, struct error *error) {
    if (list->count == 0)
        return STATUS_OK;
    struct result *holds = NULL;
    int64_t marked = 0;
    enum status status = schedule_mark_held(scheduler->connection, &scheduler->settings.process_id, list->rows,
                                            list->count, SCHEDULER_HOLD_LEASE_MS, &marked, &holds, error);
    for (int row = 0; status == STATUS_OK && row < result_rows(holds); row++) {
        struct holds_row read;
        holds_row_read(holds, row, &read);
        scheduler_learn_hold(scheduler, &read);
    }
    result_free(&holds);
    return status;
}

static enum status deal_with(struct scheduler *scheduler, struct look *look, enum pace *ret_pace, struct error *error) {
    /* First what goes to those who have room. */
    enum status status = send_due(scheduler, look, error);
    if (status == STATUS_OK)
        status = scheduler_fill(scheduler, look->bare.rows, look->bare.count, ret_pace, error);
    if (status == STATUS_OK)
        status = ask_for_gone(scheduler, look, error);
    if (status == STATUS_OK)
        status = scheduler_close(scheduler, look->close.keys, look->close.count, ret_pace, error);
    if (status == STATUS_OK)
        status = cancel_due(scheduler, &look->cancel, error);
    return status == STATUS_OK ? hold_due(scheduler, &look->hold, error) : status;
}

/* The endpoints of a crowd: from now on looks pass over their rows. */
static void remember_crowd(struct scheduler *scheduler, const struct look *look, const struct due_stretch *stretches) {
    if (!due_scan_is_jammed(&scheduler->scan)) {
        scheduler->throng.count = 0;
        return;
    }
    for (size_t i = 0; i < look->hold.count; i++) {
        const struct schedule_due *due = &look->hold.rows[i];
        throng_add(&scheduler->throng, &due->key.subscription_id, stretches[due->stretch].bucket);
    }
}

static int64_t room_of(const struct scheduler *scheduler) {
    int64_t room = 0;
    for (int i = 0; i < scheduler->settings.lane_count; i++) {
        int64_t waiting = lane_waiting(scheduler->settings.lanes[i]);
        room += waiting <= SCHEDULER_LANE_FULL ? SCHEDULER_LANE_FULL + 1 - waiting : 0;
    }
    return room;
}

/* A look that finds next to nothing for the lanes costs as much as one that finds a lot. */
static bool lanes_are_filled(const struct scheduler *scheduler) {
    for (int i = 0; i < scheduler->settings.lane_count; i++)
        if (4 * lane_waiting(scheduler->settings.lanes[i]) <= 3 * SCHEDULER_LANE_FULL)
            return false;
    return true;
}

/* One look at these stretches, and what follows from it. ret_some: it changed something. */
static enum status look_at(struct scheduler *scheduler, const struct due_stretch *stretches, size_t count,
                           int64_t overdue_ms, struct look *look, int64_t *ret_looked_ms, enum pace *ret_pace,
                           struct error *error) {
    const struct throng *throng = &scheduler->throng;
    struct schedule_walked walked[SCHEDULER_ASKED_MOST];
    struct asked asked;
    struct result *rows = NULL;
    int found = 0;
    throng_ask(throng, stretches, count, &asked);
    struct schedule_look wanted = {asked.stretches, asked.count, throng->ids, throng->count, overdue_ms};
    enum status status = schedule_look(scheduler->connection, &wanted, walked, ret_looked_ms, &rows, &found, error);
    if (status != STATUS_OK)
        return status;
    look_init(look, (size_t)found + 1);
    throng_found(&asked, walked, stretches, count, look->found);
    judge_all(scheduler, look, &asked, rows, found);
    status = deal_with(scheduler, look, ret_pace, error);
    if (look->send.count + look->cancel.count + look->hold.count > 0 && *ret_pace == PACE_IDLE)
        *ret_pace = PACE_SOME;
    result_free(&rows);
    return status;
}

enum status scheduler_due(struct scheduler *scheduler, enum pace *ret_pace, struct error *error) {
    struct due_stretch stretches[DUE_SCAN_STRETCHES];
    struct look look = {0};
    int64_t room = room_of(scheduler), looked_ms = 0, now_ms = clock_mono_ms();
    if (room == 0 || (now_ms < scheduler->filled_look_at_ms && lanes_are_filled(scheduler))) {
        *ret_pace = PACE_SOME;
        return STATUS_OK;
    }
    scheduler->filled_look_at_ms = now_ms + FILLED_LOOK_MS;
    int rows = 2 * room > LOOK_ROWS ? LOOK_ROWS : 2 * room < LOOK_LEAST ? LOOK_LEAST : (int)(2 * room);
    enum pace pace = PACE_IDLE;
    due_scan_set_buckets(&scheduler->scan, scheduler->buckets);
    size_t count = due_scan_plan(&scheduler->scan, rows, now_ms, stretches);
    enum status status = look_at(scheduler, stretches, count, 0, &look, &looked_ms, &pace, error);
    if (status != STATUS_OK) {
        due_scan_forget(&scheduler->scan);
        look_deinit(&look);
        return status;
    }
    int64_t then_ms = clock_mono_ms();
    if (due_scan_is_whole(stretches, count))
        due_scan_cost(&scheduler->scan, then_ms - now_ms, then_ms);
    for (size_t i = count; i-- > 0;)
        due_scan_found(&scheduler->scan, &stretches[i], &look.found[i], looked_ms, then_ms);
    remember_crowd(scheduler, &look, stretches);
    if (pace == PACE_SOME && due_scan_has_backlog(&scheduler->scan))
        pace = PACE_FULL;
    *ret_pace = pace > *ret_pace ? pace : *ret_pace;
    look_deinit(&look);
    return STATUS_OK;
}

/* A dead process's share is not forgotten until its heartbeat has expired. */
enum status scheduler_due_of_others(struct scheduler *scheduler, int64_t now_ms, enum pace *ret_pace,
                                    struct error *error) {
    uint16_t others = (uint16_t)~scheduler->buckets;
    if (now_ms < scheduler->others_at_ms || !others || room_of(scheduler) == 0)
        return STATUS_OK;
    do
        scheduler->other_bucket = (scheduler->other_bucket + 1) % DUE_SCAN_BUCKETS;
    while (!(others & (1u << scheduler->other_bucket)));
    struct due_stretch all = {scheduler->other_bucket, false, false, 0, DUE_SCAN_NEVER, OTHERS_ROWS};
    struct look look = {0};
    int64_t looked_ms = 0, began_ms = clock_mono_ms();
    enum status status = look_at(scheduler, &all, 1, OTHERS_OVERDUE_MS, &look, &looked_ms, ret_pace, error);
    int64_t pause_ms = OTHERS_SHARE * (clock_mono_ms() - began_ms);
    scheduler->others_at_ms = now_ms + (pause_ms > OTHERS_EVERY_MS ? pause_ms : OTHERS_EVERY_MS);
    look_deinit(&look);
    return status;
}

/* ---- sweeping ---- */

struct sweep {
    struct key_list endpoints, unknown;
    struct key_list closers; /* … of those that gather no more */
    int64_t *activations;    /* up to this one, rows are cancelled */
};

static enum status add_gone(struct scheduler *scheduler, const struct key_list *unknown, struct key_list *gone,
                            struct error *error) {
    if (unknown->count == 0)
        return STATUS_OK;
    bool *is_gone = mem_calloc(unknown->count, sizeof(*is_gone));
    enum status status = schedule_gone(scheduler->connection, unknown->keys, unknown->count, is_gone, error);
    for (size_t i = 0; i < unknown->count && status == STATUS_OK; i++)
        if (is_gone[i])
            add_key(gone, &unknown->keys[i]);
    mem_free(is_gone);
    return status;
}

static void find_inactive(struct scheduler *scheduler, const struct result *page, struct sweep *sweep) {
    const struct matching *matching = roster_begin(scheduler->settings.roster);
    for (int i = 0; i < result_rows(page); i++) {
        struct schedule_key key;
        schedule_endpoint_read(page, i, &key);
        if (!(scheduler->buckets & (1u << subscription_bucket(key.workspace_id, &key.subscription_id))))
            continue;
        const struct subscription *subscription = matching_find(matching, &key.subscription_id);
        bool gathers = schedule_endpoint_gathers(page, i);
        if (subscription && gathers && !scheduler_gathers(subscription))
            add_key(&sweep->closers, &key);
        if (!subscription) {
            add_key(&sweep->unknown, &key);
        } else if (subscription->status != SUBSCRIPTION_ACTIVE) {
            sweep->activations[sweep->endpoints.count] = subscription->activation;
            add_key(&sweep->endpoints, &key);
        }
    }
    roster_end(scheduler->settings.roster);
}

/* From the last row that was cancelled: while an old snapshot keeps those in the index, the beginning is long.
 * ret_more: there are more of them. */
static enum status sweep_endpoint(struct scheduler *scheduler, const struct schedule_key *endpoint, int64_t activation,
                                  bool *ret_more, enum pace *ret_pace, struct error *error) {
    struct schedule_key *sweeping = &scheduler->sweeping, from = *endpoint;
    bool goes_on = uuid_equal(&sweeping->subscription_id, &endpoint->subscription_id);
    struct result *rows = NULL;
    int64_t now_ms = clock_mono_ms();
    if (!scheduler_may_cancel(scheduler)) {
        *ret_more = true;
        *ret_pace = PACE_SOME;
        return STATUS_OK;
    }
    from.row_key = goes_on ? sweeping->row_key : UUID_NIL;
    enum status status = schedule_claim_endpoint(scheduler->connection, &from, activation, SWEEP_ROWS, SWEEP_BYTES,
                                                 SCHEDULER_LEASE_MARGIN_MS, &rows, error);
    int count = status == STATUS_OK ? result_rows(rows) : 0;
    *ret_more = count == SWEEP_ROWS;
    if (goes_on && count == 0)
        sweeping->subscription_id = UUID_NIL;
    for (int i = 0; i < count; i++) {
        struct schedule_row row;
        schedule_row_read(rows, i, &row);
        if (uuid_compare(&row.key.row_key, &from.row_key) > 0)
            from.row_key = row.key.row_key;
    }
    if (count > 0) {
        *sweeping = (struct schedule_key){SPAN_NONE, endpoint->subscription_id, from.row_key};
        *ret_pace = PACE_FULL;
        status = scheduler_hand_over(scheduler, rows, now_ms, SCHEDULER_LEASE_MARGIN_MS, true, error);
    }
    result_free(&rows);
    return status;
}

static void remember_place(struct scheduler *scheduler, const struct result *page) {
    int count = result_rows(page);
    mem_free(scheduler->swept_workspace);
    scheduler->swept_workspace = NULL;
    if (count < SWEEP_ENDPOINTS)
        return;
    struct schedule_key last;
    schedule_endpoint_read(page, count - 1, &last);
    scheduler->swept_workspace = mem_strndup(last.workspace_id.data, last.workspace_id.len);
    scheduler->swept_id = last.subscription_id;
}

/* While a page's endpoints still give rows, the place stays. */
enum status scheduler_sweep(struct scheduler *scheduler, enum pace *ret_pace, struct error *error) {
    struct schedule_key after = {span_of(scheduler->swept_workspace), scheduler->swept_id, UUID_NIL};
    struct result *page = NULL;
    struct sweep sweep = {
        .endpoints.keys = mem_calloc(SWEEP_ENDPOINTS, sizeof(struct schedule_key)),
        .unknown.keys = mem_calloc(SWEEP_ENDPOINTS, sizeof(struct schedule_key)),
        .closers.keys = mem_calloc(SWEEP_ENDPOINTS, sizeof(struct schedule_key)),
        .activations = mem_calloc(SWEEP_ENDPOINTS, sizeof(int64_t)),
    };
    enum pace pace = PACE_IDLE;
    enum status status = schedule_endpoints(scheduler->connection, &after, SWEEP_ENDPOINTS, &page, error);
    if (status == STATUS_OK) {
        find_inactive(scheduler, page, &sweep);
        size_t known = sweep.endpoints.count;
        status = add_gone(scheduler, &sweep.unknown, &sweep.endpoints, error);
        for (size_t i = known; i < sweep.endpoints.count; i++) {
            sweep.activations[i] = INT64_MAX;
            add_key(&sweep.closers, &sweep.endpoints.keys[i]);
        }
    }
    if (status == STATUS_OK)
        status = scheduler_close(scheduler, sweep.closers.keys, sweep.closers.count, &pace, error);
    bool more = false;
    for (size_t i = 0; i < sweep.endpoints.count && status == STATUS_OK && !more; i++)
        status = sweep_endpoint(scheduler, &sweep.endpoints.keys[i], sweep.activations[i], &more, &pace, error);
    if (status == STATUS_OK && pace == PACE_IDLE)
        remember_place(scheduler, page);
    result_free(&page);
    mem_free(sweep.endpoints.keys);
    mem_free(sweep.unknown.keys);
    mem_free(sweep.closers.keys);
    mem_free(sweep.activations);
    *ret_pace = pace > *ret_pace ? pace : *ret_pace;
    return status;
}
