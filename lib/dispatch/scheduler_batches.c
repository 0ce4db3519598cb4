/* Batches that are due: the database makes rows of them, and the next look finds those rows. */
#include "base/clock.h"
#include "dispatch/scheduler_private.h"
#include "store/batches.h"
#include "webhook/batch.h"

#define CLOSE_MOST 256 /* of one look: due rows wait meanwhile */
#define CLOSE_AGAIN 4  /* so often, when an endpoint has members for many batches */
#define FILL_MOST 64
#define DAYS_EVERY_MS 60000

/* Brings scheduler->days up to date. */
static enum status read_days(struct scheduler *scheduler, struct error *error) {
    int64_t now_ms = clock_mono_ms();
    if (scheduler->days_at_ms && now_ms - scheduler->days_at_ms < DAYS_EVERY_MS)
        return STATUS_OK;
    enum status status = partitions_read_bounds(scheduler->connection, &scheduler->days, error);
    if (status == STATUS_OK)
        scheduler->days_at_ms = now_ms;
    return status;
}

bool scheduler_gathers(const struct subscription *subscription) {
    return subscription->status == SUBSCRIPTION_ACTIVE && subscription->delivery_mode == DELIVERY_BATCHED;
}

static struct batches_closing closing_of(const struct matching *matching, const struct schedule_key *endpoint) {
    const struct subscription *subscription = matching_find(matching, &endpoint->subscription_id);
    struct batches_closing closing = {
        .endpoint = {endpoint->workspace_id, endpoint->subscription_id, UUID_NIL},
        .max_events = SUBSCRIPTION_BATCH_EVENTS,
        .max_bytes = SUBSCRIPTION_BATCH_BYTES,
        .wait_ms = SUBSCRIPTION_BATCH_WAIT_MS,
        .at_once = !subscription || !scheduler_gathers(subscription),
    };
    if (!closing.at_once) {
        struct batch_limits limits = batch_limits_of(subscription);
        closing.max_events = limits.max_events;
        closing.max_bytes = limits.max_bytes;
        closing.wait_ms = subscription->wait_ms;
    }
    return closing;
}

/* The days may have changed since they were read: then once more with fresh ones. */
static enum status close_some(struct scheduler *scheduler, const struct batches_closing *closings, size_t count,
                              enum pace *ret_pace, bool *ret_more, struct error *error) {
    int made = 0;
    enum status status = STATUS_FAILED;
    for (int attempt = 0; status == STATUS_FAILED && attempt < 2; attempt++) {
        if (attempt > 0)
            scheduler->days_at_ms = 0;
        status = read_days(scheduler, error);
        if (status == STATUS_OK)
            status = batches_close(scheduler->connection, closings, count, &scheduler->days, &made, ret_more, error);
    }
    if (status == STATUS_OK && made > 0) {
        metric_add(scheduler->batches, made);
        *ret_pace = PACE_FULL;
    }
    return status;
}

enum status scheduler_close(struct scheduler *scheduler, const struct schedule_key *endpoints, size_t count,
                            enum pace *ret_pace, struct error *error) {
    enum status status = STATUS_OK;
    count = count < CLOSE_MOST ? count : CLOSE_MOST;
    for (size_t first = 0; first < count && status == STATUS_OK; first += BATCHES_CLOSE_MAX) {
        struct batches_closing closings[BATCHES_CLOSE_MAX];
        size_t some = count - first < BATCHES_CLOSE_MAX ? count - first : BATCHES_CLOSE_MAX;
        const struct matching *matching = roster_begin(scheduler->settings.roster);
        for (size_t i = 0; i < some; i++)
            closings[i] = closing_of(matching, &endpoints[first + i]);
        roster_end(scheduler->settings.roster);
        bool more = true;
        for (int i = 0; i < CLOSE_AGAIN && more && status == STATUS_OK; i++) {
            more = false;
            status = close_some(scheduler, closings, some, ret_pace, &more, error);
        }
    }
    return status;
}

enum status scheduler_fill(struct scheduler *scheduler, const struct schedule_due *rows, size_t count,
                           enum pace *ret_pace, struct error *error) {
    if (count == 0)
        return STATUS_OK;
    enum status status = batches_fill(scheduler->connection, rows, count < FILL_MOST ? count : FILL_MOST, error);
    if (status == STATUS_OK)
        *ret_pace = PACE_FULL;
    return status;
}
