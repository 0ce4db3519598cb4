/* Held endpoints. A gate is told when a hold appears and when it is gone; the holds that are this process's are drained
 * in turns, each as fast as its lane has slots for it. */
#include "base/clock.h"
#include "base/memory.h"
#include "dispatch/scheduler_private.h"

#define TAKE_HOLDS 1000
#define RENEW_EVERY_MS 2000
#define LOOK_EVERY_MS 250
#define LOOK_EVERY_MANY_MS 1000
#define MANY_HOLDS 500
#define LEAVE_TO_OTHERS_MS 1500 /* what a process without a share of limits leaves to those that have one */
#define DRAIN_VISITS 1024       /* holds looked at in one turn */
#define DRAIN_ENDPOINTS 64
#define DRAIN_ROWS 1024
#define DRAIN_ROWS_EACH 128
#define END_EVERY_MS 500
#define WHOLE_LEAST_MS 5000 /* a drain that goes on where the last one ended begins anew after that */
#define WHOLE_SHARE 20      /* draining from the beginning takes a twentieth of the time, at most */

/* ---- what is known of the holds ---- */

static struct hold **place_of(struct scheduler *scheduler, const struct uuid *id) {
    struct hold **place = &scheduler->holds[subscription_lane_hash(id) & (SCHEDULER_HOLD_BUCKETS - 1)];
    while (*place && !uuid_equal(&(*place)->id, id))
        place = &(*place)->hash_next;
    return place;
}

struct hold *scheduler_hold_of(struct scheduler *scheduler, const struct uuid *id) {
    return *place_of(scheduler, id);
}

static void set_mine(struct scheduler *scheduler, struct hold *hold, bool mine) {
    if (mine && !hold->mine)
        TAILQ_INSERT_TAIL(&scheduler->mine, hold, link);
    if (!mine && hold->mine)
        TAILQ_REMOVE(&scheduler->mine, hold, link);
    scheduler->mine_count += mine;
    scheduler->mine_count -= hold->mine;
    hold->mine = mine;
}

/* A part is told in one order with what the lane says of its use: see target_share_limit. */
static void tell_part(struct hold *hold, struct gate *gate) {
    hold->told = share_part(&hold->share);
    atomic_store(&gate->part, hold->told);
}

static void set_gate(struct scheduler *scheduler, struct hold *hold, bool held) {
    struct subscription *subscription = roster_find(scheduler->settings.roster, &hold->id);
    if (!subscription)
        return; /* not known yet: it is tried again at the next look */
    tell_part(hold, subscription->gate);
    atomic_store_explicit(&subscription->gate->held, held, memory_order_relaxed);
    hold->gated = held;
    subscription_unref(&subscription);
}

void scheduler_learn_hold(struct scheduler *scheduler, const struct holds_row *row) {
    struct hold **place = place_of(scheduler, &row->subscription_id), *hold = *place;
    if (!hold) {
        hold = mem_calloc(1, sizeof(*hold));
        hold->id = row->subscription_id;
        hold->workspace_id = mem_strndup(row->workspace_id.data, row->workspace_id.len);
        *place = hold;
        scheduler->hold_count++;
    }
    hold->seen = scheduler->listing;
    set_mine(scheduler, hold, row->mine);
    share_learn(&hold->share, row->mine ? HOLDER_THIS : row->expired ? HOLDER_NOBODY : HOLDER_ANOTHER, clock_mono_ms());
    if (!hold->gated || hold->told != share_part(&hold->share))
        set_gate(scheduler, hold, true);
}

static void forget(struct scheduler *scheduler, struct hold **place) {
    struct hold *hold = *place;
    share_learn(&hold->share, HOLDER_NONE, clock_mono_ms());
    set_gate(scheduler, hold, false);
    set_mine(scheduler, hold, false);
    *place = hold->hash_next;
    mem_free(hold->workspace_id);
    mem_free(hold);
    scheduler->hold_count--;
}

static void forget_unseen(struct scheduler *scheduler) {
    for (size_t i = 0; i < SCHEDULER_HOLD_BUCKETS; i++)
        for (struct hold **place = &scheduler->holds[i]; *place;) {
            if ((*place)->seen != scheduler->listing)
                forget(scheduler, place);
            else
                place = &(*place)->hash_next;
        }
}

void scheduler_forget_holds(struct scheduler *scheduler) {
    scheduler->listing++;
    forget_unseen(scheduler);
}

static enum status list_holds(struct scheduler *scheduler, bool *ret_expired, struct error *error) {
    struct result *rows = NULL;
    int64_t now_ms = clock_mono_ms();
    enum status status = holds_list(scheduler->connection, &scheduler->settings.process_id, &rows, error);
    if (status != STATUS_OK)
        return status;
    scheduler->listing++;
    scheduler->listed_ms = now_ms;
    *ret_expired = false;
    for (int i = 0; i < result_rows(rows); i++) {
        struct holds_row row;
        holds_row_read(rows, i, &row);
        scheduler_learn_hold(scheduler, &row);
        *ret_expired = *ret_expired || row.expired;
    }
    result_free(&rows);
    forget_unseen(scheduler);
    metric_set(scheduler->hold_gauge, (double)scheduler->hold_count);
    return STATUS_OK;
}

/* Who has no share yet could send nothing to an endpoint with limits for a while. */
static bool should_take(struct scheduler *scheduler, bool expired, int64_t now_ms) {
    if (!expired)
        scheduler->free_since_ms = 0;
    else if (!scheduler->free_since_ms)
        scheduler->free_since_ms = now_ms;
    return expired && (scheduler->crowd.divisor > 0 || now_ms - scheduler->free_since_ms >= LEAVE_TO_OTHERS_MS);
}

enum status scheduler_look_at_holds(struct scheduler *scheduler, int64_t now_ms, struct error *error) {
    bool expired = false;
    if (now_ms < scheduler->holds_at_ms)
        return STATUS_OK;
    enum status status = list_holds(scheduler, &expired, error);
    expired = should_take(scheduler, expired, now_ms);
    bool renew = scheduler->mine_count > 0 && now_ms >= scheduler->renew_at_ms;
    if (status == STATUS_OK && (expired || renew)) {
        status = holds_take(scheduler->connection, &scheduler->settings.process_id, TAKE_HOLDS, SCHEDULER_HOLD_LEASE_MS,
                            error);
        scheduler->renew_at_ms = now_ms + RENEW_EVERY_MS;
    }
    if (status == STATUS_OK && expired)
        status = list_holds(scheduler, &expired, error);
    scheduler->holds_at_ms = now_ms + (scheduler->hold_count > MANY_HOLDS ? LOOK_EVERY_MANY_MS : LOOK_EVERY_MS);
    return status;
}

/* ---- draining ---- */

struct drain {
    size_t count;
    struct schedule_key endpoints[DRAIN_ENDPOINTS];
    struct subscription *subscriptions[DRAIN_ENDPOINTS]; /* references */
    int slots[DRAIN_ENDPOINTS], given[DRAIN_ENDPOINTS];
    int64_t from_ms[DRAIN_ENDPOINTS]; /* when the last one that was given was due; 0: from the beginning */
    int64_t last_ms[DRAIN_ENDPOINTS];
    bool may_end[DRAIN_ENDPOINTS];
    int slots_left;
    int64_t now_ms, timeout_ms;
    int64_t bytes; /* of the bodies that were given */
    /* Those in which nothing seems to wait. */
    size_t end_count;
    struct schedule_key ends[2 * DRAIN_ENDPOINTS];
};

static struct schedule_key endpoint_of(const struct hold *hold) {
    return (struct schedule_key){span_of(hold->workspace_id), hold->id, UUID_NIL};
}

static void try_to_end(struct drain *drain, struct hold *hold) {
    if (drain->end_count == DRAIN_ENDPOINTS || drain->now_ms < hold->end_at_ms)
        return;
    hold->end_at_ms = drain->now_ms + END_EVERY_MS;
    drain->ends[drain->end_count++] = endpoint_of(hold);
}

/* Rule S6, for an endpoint with limits of its own. Where less than one is left for each process nothing is sent at the
 * end of a hold: it ends, or, when something came meanwhile, goes on. Returns whether it may be drained. */
static bool visit_limited(struct scheduler *scheduler, struct drain *drain, struct hold *hold,
                          const struct subscription *subscription, bool *ret_may_end) {
    struct gate *gate = subscription->gate;
    int32_t processes = atomic_load_explicit(&scheduler->settings.pulse->processes, memory_order_relaxed);
    bool scarce = share_is_scarce(subscription->max_in_flight, subscription->rate_per_second, processes);
    bool missed = scarce && hold->share.state == SHARE_LEAVING && hold->end_at_ms > hold->share.since_ms;
    bool wanted = missed || atomic_load_explicit(&gate->wanted, memory_order_relaxed);
    share_tick(&hold->share, processes == 1, wanted, scarce, drain->now_ms);
    if (hold->told != share_part(&hold->share))
        tell_part(hold, gate);
    *ret_may_end = share_may_end(&hold->share) && !atomic_load(&gate->whole);
    if (scarce && hold->share.state == SHARE_LEAVING && *ret_may_end)
        try_to_end(drain, hold);
    return hold->told != PART_NOTHING;
}

/* Nothing is sent to one that is not active: its rows are swept, and then its hold is over. */
static void visit(struct scheduler *scheduler, struct drain *drain, struct hold *hold,
                  struct subscription *subscription) {
    bool may_end = true;
    if (!subscription || subscription->status != SUBSCRIPTION_ACTIVE) {
        try_to_end(drain, hold);
        return;
    }
    if ((subscription->max_in_flight || subscription->rate_per_second) &&
        !visit_limited(scheduler, drain, hold, subscription, &may_end))
        return;
    if (!scheduler_lane_has_room(scheduler, &hold->id))
        return;
    int most = drain->slots_left < DRAIN_ROWS_EACH ? drain->slots_left : DRAIN_ROWS_EACH;
    int slots = gate_take_slots(subscription->gate, most);
    if (slots == 0)
        return;
    int64_t timeout_ms = scheduler_timeout_ms(scheduler, subscription);
    drain->timeout_ms = timeout_ms > drain->timeout_ms ? timeout_ms : drain->timeout_ms;
    drain->slots_left -= slots;
    drain->endpoints[drain->count] = endpoint_of(hold);
    drain->subscriptions[drain->count] = subscription_ref(subscription);
    drain->slots[drain->count] = slots;
    drain->may_end[drain->count] = may_end;
    drain->from_ms[drain->count] = drain->now_ms < hold->whole_at_ms ? hold->drained_ms : 0;
    drain->last_ms[drain->count] = 0;
    drain->given[drain->count++] = 0;
}

static void choose(struct scheduler *scheduler, struct drain *drain) {
    const struct matching *matching = roster_begin(scheduler->settings.roster);
    size_t visits = scheduler->mine_count < DRAIN_VISITS ? scheduler->mine_count : DRAIN_VISITS;
    while (visits-- && drain->slots_left > 0 && drain->count < DRAIN_ENDPOINTS) {
        struct hold *hold = TAILQ_FIRST(&scheduler->mine);
        TAILQ_REMOVE(&scheduler->mine, hold, link);
        TAILQ_INSERT_TAIL(&scheduler->mine, hold, link);
        visit(scheduler, drain, hold, matching_find(matching, &hold->id));
    }
    roster_end(scheduler->settings.roster);
}

static void count_given(struct drain *drain, const struct result *rows) {
    for (int row = 0; row < result_rows(rows); row++) {
        struct schedule_row read;
        schedule_row_read(rows, row, &read);
        drain->bytes += (int64_t)read.record.value.len;
        for (size_t i = 0; i < drain->count; i++)
            if (uuid_equal(&read.key.subscription_id, &drain->endpoints[i].subscription_id)) {
                drain->given[i]++;
                if (read.due_at_ms > drain->last_ms[i])
                    drain->last_ms[i] = read.due_at_ms;
                break;
            }
    }
}

/* While an old snapshot keeps what was drained in the index, each drain from the beginning walks over all of it. So the
 * next one goes on where this one ended, unless there was nothing more. Returns whether nothing waits, as far as one
 * can tell. */
static bool note_end(struct scheduler *scheduler, const struct drain *drain, size_t i, int64_t took_ms) {
    struct hold *hold = scheduler_hold_of(scheduler, &drain->endpoints[i].subscription_id);
    /* What the bytes cut short says nothing of what else waits. */
    bool cut = drain->bytes >= SCHEDULER_CLAIM_BYTES;
    bool whole = drain->from_ms[i] == 0, less = !cut && drain->given[i] < drain->slots[i];
    if (hold && whole) {
        int64_t pause_ms = took_ms * WHOLE_SHARE;
        hold->whole_at_ms = drain->now_ms + (pause_ms > WHOLE_LEAST_MS ? pause_ms : WHOLE_LEAST_MS);
        hold->again_at_ms = drain->now_ms + pause_ms;
    }
    if (hold && !less)
        hold->drained_ms = drain->given[i] ? drain->last_ms[i] : drain->from_ms[i];
    else if (hold)
        hold->whole_at_ms = hold->again_at_ms;
    return whole && less;
}

static enum status drain_chosen(struct scheduler *scheduler, struct drain *drain, enum pace *ret_pace,
                                struct error *error) {
    struct result *rows = NULL;
    int64_t now_ms = clock_mono_ms(), lease_ms = drain->timeout_ms + SCHEDULER_LEASE_MARGIN_MS;
    if (drain->count == 0)
        return STATUS_OK;
    enum status status = holds_drain(scheduler->connection, drain->endpoints, drain->slots, drain->from_ms,
                                     drain->count, SCHEDULER_CLAIM_BYTES, lease_ms, &rows, error);
    int64_t took_ms = clock_mono_ms() - now_ms;
    if (status == STATUS_OK)
        count_given(drain, rows);
    for (size_t i = 0; i < drain->count; i++) {
        gate_give_slots(drain->subscriptions[i]->gate, drain->slots[i] - drain->given[i]);
        if (status == STATUS_OK && note_end(scheduler, drain, i, took_ms)) {
            /* Nothing more waits and the endpoint has room: new deliveries may go to it again, before the hold has
             * ended. */
            atomic_store_explicit(&drain->subscriptions[i]->gate->held, false, memory_order_relaxed);
            if (drain->may_end[i])
                drain->ends[drain->end_count++] = drain->endpoints[i];
        }
        subscription_unref(&drain->subscriptions[i]);
    }
    if (status == STATUS_OK && result_rows(rows) > 0) {
        *ret_pace = PACE_FULL;
        status = scheduler_hand_over(scheduler, rows, now_ms, lease_ms, false, error);
    }
    result_free(&rows);
    return status;
}

static enum status end_holds(struct scheduler *scheduler, const struct drain *drain, struct error *error) {
    bool ended[2 * DRAIN_ENDPOINTS] = {false};
    if (drain->end_count == 0)
        return STATUS_OK;
    enum status status =
        holds_end(scheduler->connection, &scheduler->settings.process_id, drain->ends, drain->end_count, ended, error);
    for (size_t i = 0; i < drain->end_count && status == STATUS_OK; i++) {
        /* The key may point into what is forgotten. */
        struct uuid id = drain->ends[i].subscription_id;
        struct hold **place = place_of(scheduler, &id);
        if (ended[i] && *place)
            forget(scheduler, place);
    }
    return status;
}

enum status scheduler_drain(struct scheduler *scheduler, enum pace *ret_pace, struct error *error) {
    struct drain drain = {.slots_left = DRAIN_ROWS, .now_ms = clock_mono_ms()};
    choose(scheduler, &drain);
    enum status status = drain_chosen(scheduler, &drain, ret_pace, error);
    return status == STATUS_OK ? end_holds(scheduler, &drain, error) : status;
}
