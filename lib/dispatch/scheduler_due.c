/* Due rows: each look judges what it found against the roster and the gates, and does one of five things with each row.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "dispatch/scheduler_private.h"
#include <stdlib.h>

#define CLAIM_ROWS 1024 /* of one claim */
#define MARK_ROWS 8192  /* of one marking */

#define PER_BUCKET_MOST 1024
#define SWEEP_ENDPOINTS 500
#define SWEEP_ROWS 256
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

struct look {
    struct key_list send, hold, cancel, ask, close;
    struct subscription **granted; /* a reference for each to send: its gate gave a slot */
    int64_t bytes, timeout_ms;
};

static void look_init(struct look *look, size_t count) {
    *look = (struct look){.granted = mem_calloc(count, sizeof(struct subscription *))};
    struct key_list *lists[] = {&look->send, &look->hold, &look->cancel, &look->ask, &look->close};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        lists[i]->keys = mem_calloc(count, sizeof(struct schedule_key));
}

static void look_deinit(struct look *look) {
    for (size_t i = 0; i < look->send.count; i++)
        subscription_unref(&look->granted[i]);
    mem_free(look->granted);
    mem_free(look->send.keys);
    mem_free(look->hold.keys);
    mem_free(look->cancel.keys);
    mem_free(look->ask.keys);
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
        return full ? LEAVE : CANCEL;
    const struct hold *hold = scheduler_hold_of(scheduler, &subscription->id);
    if (hold && !hold->mine)
        return look->hold.count < MARK_ROWS ? HOLD : LEAVE;
    if (full || !scheduler_lane_has_room(scheduler, &subscription->id))
        return LEAVE;
    if (gate_take_slots(subscription->gate, 1) > 0)
        return SEND;
    return look->hold.count < MARK_ROWS ? HOLD : LEAVE;
}

static void add(struct key_list *list, const struct schedule_key *key) {
    list->keys[list->count++] = *key;
}

static void judge_all(struct scheduler *scheduler, struct look *look, const struct result *keys) {
    const struct matching *matching = roster_begin(scheduler->settings.roster);
    for (int i = 0; i < result_rows(keys); i++) {
        struct schedule_due due;
        schedule_due_read(keys, i, &due);
        struct subscription *subscription = matching_find(matching, &due.key.subscription_id);
        switch (judge(scheduler, look, &due, subscription)) {
        case SEND: {
            int64_t timeout_ms = scheduler_timeout_ms(scheduler, subscription);
            look->timeout_ms = timeout_ms > look->timeout_ms ? timeout_ms : look->timeout_ms;
            look->granted[look->send.count] = subscription_ref(subscription);
            look->bytes += due.body_bytes;
            add(&look->send, &due.key);
            break;
        }
        case CANCEL:
            look->bytes += due.body_bytes;
            add(&look->cancel, &due.key);
            break;
        case HOLD:
            add(&look->hold, &due.key);
            break;
        case ASK:
            if (look->ask.count < CLAIM_ROWS)
                add(&look->ask, &due.key);
            break;
        case CLOSE:
            add(&look->close, &due.key);
            break;
        case LEAVE:
            break;
        }
    }
    roster_end(scheduler->settings.roster);
}

/* Slots that were taken for rows which somebody else claimed first, or for none at all, are given back. */
static void settle_slots(struct look *look, const struct result *rows) {
    int count = rows ? result_rows(rows) : 0;
    if ((size_t)count == look->send.count)
        return;
    for (size_t i = 0; i < look->send.count; i++) {
        bool claimed = false;
        for (int row = 0; row < count && !claimed; row++) {
            struct uuid id = result_uuid(rows, row, 1), key = result_uuid(rows, row, 2);
            claimed = uuid_equal(&key, &look->send.keys[i].row_key) && uuid_equal(&id, &look->granted[i]->id);
        }
        if (!claimed)
            gate_give_slots(look->granted[i]->gate, 1);
    }
}

static enum status send_due(struct scheduler *scheduler, struct look *look, struct error *error) {
    if (look->send.count == 0)
        return STATUS_OK;
    struct result *rows = NULL;
    int64_t now_ms = clock_mono_ms(), lease_ms = look->timeout_ms + SCHEDULER_LEASE_MARGIN_MS;
    enum status status =
        schedule_claim(scheduler->connection, look->send.keys, look->send.count, lease_ms, &rows, error);
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

static enum status cancel_due(struct scheduler *scheduler, const struct key_list *list, struct error *error) {
    if (list->count == 0)
        return STATUS_OK;
    struct result *rows = NULL;
    int64_t now_ms = clock_mono_ms();
    enum status status =
        schedule_claim(scheduler->connection, list->keys, list->count, SCHEDULER_LEASE_MARGIN_MS, &rows, error);
    if (status == STATUS_OK)
        status = scheduler_hand_over(scheduler, rows, now_ms, SCHEDULER_LEASE_MARGIN_MS, true, error);
    result_free(&rows);
    return status;
}

/* Only the database knows whether an unknown subscription is gone or not yet known; of the latter nothing is touched.
 */
static enum status add_gone(struct scheduler *scheduler, const struct key_list *unknown, struct key_list *gone,
                            struct error *error) {
    if (unknown->count == 0)
        return STATUS_OK;
    bool *is_gone = mem_calloc(unknown->count, sizeof(*is_gone));
    enum status status = schedule_gone(scheduler->connection, unknown->keys, unknown->count, is_gone, error);
    for (size_t i = 0; i < unknown->count && status == STATUS_OK; i++)
        if (is_gone[i])
            add(gone, &unknown->keys[i]);
    mem_free(is_gone);
    return status;
}

static enum status hold_due(struct scheduler *scheduler, const struct key_list *list, int64_t *ret_marked,
                            struct error *error) {
    *ret_marked = 0;
    if (list->count == 0)
        return STATUS_OK;
    struct result *holds = NULL;
    enum status status = schedule_mark_held(scheduler->connection, &scheduler->settings.process_id, list->keys,
                                            list->count, SCHEDULER_HOLD_LEASE_MS, ret_marked, &holds, error);
    for (int row = 0; status == STATUS_OK && row < result_rows(holds); row++) {
        struct holds_row read;
        holds_row_read(holds, row, &read);
        scheduler_learn_hold(scheduler, &read);
    }
    result_free(&holds);
    return status;
}

/* Of what nobody waits for, closers are not cancelled but closed: the batches that they stood for are. */
static enum status close_due(struct scheduler *scheduler, struct look *look, enum pace *ret_pace, struct error *error) {
    for (size_t i = 0; i < look->cancel.count; i++)
        if (uuid_is_nil(&look->cancel.keys[i].row_key))
            add(&look->close, &look->cancel.keys[i]);
    return scheduler_close(scheduler, look->close.keys, look->close.count, ret_pace, error);
}

enum status scheduler_due(struct scheduler *scheduler, uint16_t buckets, int64_t overdue_ms, enum pace *ret_pace,
                          struct error *error) {
    struct result *keys = NULL;
    int64_t marked = 0;
    enum status status = schedule_due(scheduler->connection, buckets, scheduler->per_bucket, overdue_ms, &keys, error);
    if (status != STATUS_OK || result_rows(keys) == 0) {
        result_free(&keys);
        return status;
    }
    struct look look;
    look_init(&look, (size_t)result_rows(keys));
    judge_all(scheduler, &look, keys);
    /* First what goes to those who have room. */
    status = send_due(scheduler, &look, error);
    if (status == STATUS_OK)
        status = add_gone(scheduler, &look.ask, &look.cancel, error);
    if (status == STATUS_OK)
        status = close_due(scheduler, &look, ret_pace, error);
    if (status == STATUS_OK)
        status = cancel_due(scheduler, &look.cancel, error);
    if (status == STATUS_OK)
        status = hold_due(scheduler, &look.hold, &marked, error);
    bool some = look.send.count + look.cancel.count > 0 || marked > 0;
    bool jammed = marked > 0 && look.send.count == 0 && result_rows(keys) >= scheduler->per_bucket;
    if (some && *ret_pace != PACE_FULL)
        *ret_pace = result_rows(keys) >= scheduler->per_bucket ? PACE_FULL : PACE_SOME;
    /* The rows of one dead endpoint are taken out of the others' way in larger and larger pieces. */
    scheduler->per_bucket = jammed ? scheduler->per_bucket * 2 : SCHEDULER_PER_BUCKET;
    if (scheduler->per_bucket > PER_BUCKET_MOST)
        scheduler->per_bucket = PER_BUCKET_MOST;
    look_deinit(&look);
    result_free(&keys);
    return status;
}

/* ---- sweeping ---- */

struct sweep {
    struct key_list endpoints, unknown;
    struct key_list closers; /* … of those that gather no more */
    int64_t *activations;    /* up to this one, rows are cancelled */
};

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
            add(&sweep->closers, &key);
        if (!subscription) {
            add(&sweep->unknown, &key);
        } else if (subscription->status != SUBSCRIPTION_ACTIVE) {
            sweep->activations[sweep->endpoints.count] = subscription->activation;
            add(&sweep->endpoints, &key);
        }
    }
    roster_end(scheduler->settings.roster);
}

static enum status sweep_endpoint(struct scheduler *scheduler, const struct schedule_key *endpoint, int64_t activation,
                                  enum pace *ret_pace, struct error *error) {
    struct result *rows = NULL;
    int64_t now_ms = clock_mono_ms();
    enum status status = schedule_claim_endpoint(scheduler->connection, endpoint, activation, SWEEP_ROWS, SWEEP_BYTES,
                                                 SCHEDULER_LEASE_MARGIN_MS, &rows, error);
    if (status == STATUS_OK && result_rows(rows) > 0) {
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
            add(&sweep.closers, &sweep.endpoints.keys[i]);
        }
    }
    if (status == STATUS_OK)
        status = scheduler_close(scheduler, sweep.closers.keys, sweep.closers.count, &pace, error);
    for (size_t i = 0; i < sweep.endpoints.count && status == STATUS_OK; i++)
        status = sweep_endpoint(scheduler, &sweep.endpoints.keys[i], sweep.activations[i], &pace, error);
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
