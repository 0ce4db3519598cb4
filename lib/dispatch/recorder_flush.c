/* One flush: a transaction that writes whole events (rule P2), the outcomes of schedule rows, and progress.
 *
 *   BEGIN · heartbeat and clock · progress, where the epoch is still ours · COPY events, rejected, logs, members,
 *   batches · holds, closers, new rows, retries, ends · subscriptions that are disabled, or take less · COMMIT
 *
 * Locks are taken in that order by everybody (rule P9). */
#include "base/clock.h"
#include "base/memory.h"
#include "dispatch/recorder_private.h"
#include "store/batches.h"
#include "store/events.h"
#include "store/logs.h"
#include "store/process.h"
#include "store/roster_rows.h"
#include <stdio.h>
#include <stdlib.h>

#define LEASE_MARGIN_MS 30000
#define DAYS_EVERY_MS 60000
#define LOGS_FULL_BYTES                                                                                                \
    (256 * 1024 * 1024) /* past it rows go without the answers' bodies: one event, very many subscribers */

static int by_key(const void *a, const void *b) {
    const struct tracked *x = *(struct tracked *const *)a, *y = *(struct tracked *const *)b;
    int order = strcmp(x->partition->topic, y->partition->topic);
    return order ? order
                 : (x->partition->number > y->partition->number) - (x->partition->number < y->partition->number);
}

/* Advances the partitions that this flush touches; after a gap all of them, so that a lost one is noticed before the
 * pulse beats again (rule P8). */
static enum status advance(struct recorder *recorder, struct error *error) {
    struct tracked *tracked, **sorted;
    size_t count = 0, total = 0;
    TAILQ_FOREACH (tracked, &recorder->tracked, link)
        total++;
    if (total == 0)
        return STATUS_OK;
    sorted = mem_calloc(total, sizeof(struct tracked *));
    TAILQ_FOREACH (tracked, &recorder->tracked, link) {
        tracked->written = !tracked->lost && (tracked->in_flush || recorder->gap);
        if (tracked->written)
            sorted[count++] = tracked;
    }
    qsort(sorted, count, sizeof(struct tracked *), by_key);
    struct progress_row *rows = mem_calloc(count + 1, sizeof(*rows));
    size_t *ends = mem_calloc(count + 1, sizeof(size_t));
    bool *owned = mem_calloc(count + 1, sizeof(bool));
    buffer_reset(&recorder->done);
    for (size_t i = 0; i < count; i++) {
        tracker_encode(sorted[i]->tracker, &recorder->done);
        ends[i] = recorder->done.len;
    }
    for (size_t i = 0; i < count; i++) {
        size_t start = i ? ends[i - 1] : 0;
        sorted[i]->written_next_offset = tracker_next_offset(sorted[i]->tracker);
        rows[i] = (struct progress_row){
            .topic = span_of(sorted[i]->partition->topic),
            .partition = sorted[i]->partition->number,
            .epoch = sorted[i]->partition->epoch,
            .next_offset = sorted[i]->written_next_offset,
            .last_key = tracker_last_key(sorted[i]->tracker),
            .done = {recorder->done.data ? recorder->done.data + start : "", ends[i] - start},
        };
    }
    enum status status = STATUS_OK;
    if (count)
        status = progress_advance(recorder->connection, span_of(recorder->settings.settings->group), rows, count, owned,
                                  error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        if (owned[i])
            continue;
        sorted[i]->written = false;
        recorder_lose(recorder, sorted[i]);
    }
    mem_free(owned);
    mem_free(ends);
    mem_free(rows);
    mem_free(sorted);
    return status;
}

static struct span error_code(const struct delivery *delivery) {
    if (delivery->outcome == OUTCOME_CANCELLED)
        return SPAN_LITERAL("cancelled");
    if (delivery->decision.action == RETRY_DONE)
        return SPAN_NONE;
    return delivery->result == CLIENT_ANSWERED ? SPAN_LITERAL("http_status")
                                               : span_of(client_result_name(delivery->result));
}

static struct span why_cancelled(const struct subscription *subscription) {
    switch ((enum subscription_status)subscription->status) {
    case SUBSCRIPTION_ACTIVE:
        return SPAN_LITERAL("the subscription was paused or disabled in between");
    case SUBSCRIPTION_PAUSED:
        return SPAN_LITERAL("the subscription is paused");
    case SUBSCRIPTION_DISABLED:
        return SPAN_LITERAL("the subscription is disabled");
    default:
        return SPAN_LITERAL("the subscription was deleted");
    }
}

/* Itself, or its halves. */
static bool is_tried_again(const struct delivery *delivery) {
    return delivery->decision.action == RETRY_AGAIN || delivery->decision.action == RETRY_SPLIT;
}

static void log_delivery(struct recorder *recorder, const struct delivery *delivery, int64_t now_ms) {
    const struct event *event = delivery->event;
    const struct subscription *subscription = delivery->subscription;
    bool attempted = delivery->outcome == OUTCOME_ATTEMPTED;
    bool done = attempted && delivery->decision.action == RETRY_DONE;
    bool again = attempted && is_tried_again(delivery);
    struct span body = {delivery->response_body, delivery->response_body_len};
    char answered[64];
    (void)snprintf(answered, sizeof(answered), "the endpoint answered %d", delivery->status_code);
    struct span text = SPAN_NONE;
    if (!attempted)
        text = why_cancelled(subscription);
    else if (!done)
        text = delivery->error ? span_of(delivery->error) : span_of(answered);
    struct log_row row = {
        .created_at_ms = now_ms,
        .id = uuid_new(now_ms),
        .workspace_id = event->workspace_id,
        .event_key = event->key,
        .event_id = event->id,
        .subscription_id = subscription->id,
        .event_type = event->event_type,
        .webhook_url = span_of(subscription_url(subscription)),
        .delivery_status = done        ? "success"
                           : attempted ? "failed"
                                       : "cancelled",
        .status_code = delivery->status_code,
        .response_body = recorder->logs.len < LOGS_FULL_BYTES ? body : SPAN_NONE,
        .error = text,
        .error_code = error_code(delivery),
        .attempt = delivery->attempt,
        .duration_ms = attempted ? delivery->duration_ms : -1,
        .next_attempt_at_ms = again ? now_ms + delivery->decision.delay_ms : 0,
        .given_up = attempted && !done && !again,
        .render_version = attempted && delivery->sent_at_ms ? subscription->render_version : 0,
        .sent_at_ms = delivery->sent_at_ms,
        .batch_id = event->members ? event->key : UUID_NIL,
        .replay = delivery->replay,
    };
    logs_row(&recorder->logs, &row);
}

static struct schedule_key key_of(const struct delivery *delivery) {
    return (struct schedule_key){delivery->event->workspace_id, delivery->subscription->id, delivery->row_key};
}

/* What a first attempt leaves behind in the schedule. */
static void schedule_first(struct recorder *recorder, const struct delivery *delivery) {
    struct schedule_new row = {
        .key = key_of(delivery),
        .event = delivery->event,
        .attempt = delivery->attempt,
        .activation = delivery->activation,
        .replay = delivery->replay,
    };
    switch (delivery->outcome) {
    case OUTCOME_ATTEMPTED:
        if (delivery->decision.action != RETRY_AGAIN)
            return;
        row.attempt++;
        row.due_in_ms = delivery->decision.delay_ms;
        break;
    case OUTCOME_PARKED:
        row.held = true;
        break;
    case OUTCOME_LEASED:
        row.lease_ms = recorder->settings.settings->timeout_ms + LEASE_MARGIN_MS;
        if (delivery->subscription->timeout_ms)
            row.lease_ms = delivery->subscription->timeout_ms + LEASE_MARGIN_MS;
        break;
    case OUTCOME_DELAYED:
        if (delivery->subscription->delivery_mode == DELIVERY_BATCHED) {
            recorder_batches_later(recorder, delivery);
            return;
        }
        row.due_at_ms = delivery->due_at_ms;
        row.due_in_ms = delivery->due_in_ms;
        break;
    default:
        return;
    }
    schedule_changes_new_row(recorder->schedule, &row);
}

/* What becomes of a schedule row. */
static void schedule_row(struct recorder *recorder, const struct delivery *delivery) {
    struct schedule_key key = key_of(delivery);
    bool attempted = delivery->outcome == OUTCOME_ATTEMPTED;
    if (attempted && delivery->decision.action == RETRY_AGAIN)
        schedule_changes_retry(recorder->schedule, &key, delivery->fence, delivery->attempt + 1,
                               delivery->decision.delay_ms);
    else if (delivery->outcome == OUTCOME_SPLIT || (attempted && delivery->decision.action == RETRY_SPLIT))
        recorder_batches_split(recorder, delivery);
    else if (delivery->outcome == OUTCOME_PARKED)
        schedule_changes_hold(recorder->schedule, &key, delivery->fence);
    else if (attempted && delivery->decision.action == RETRY_DONE && delivery->parked_in_flight)
        schedule_changes_finish(recorder->schedule, &key, -1);
    else
        schedule_changes_finish(recorder->schedule, &key, delivery->fence);
    if (delivery->bare_row)
        schedule_changes_body(recorder->schedule, delivery->event);
}

static bool leaves_log(const struct delivery *delivery) {
    return delivery->outcome == OUTCOME_ATTEMPTED || delivery->outcome == OUTCOME_CANCELLED;
}

static void write_rejected(struct recorder *recorder, const struct taken *taken, int64_t now_ms) {
    const struct rejected *rejected = taken->rejected;
    struct rejected_row row = {
        .created_at_ms = now_ms,
        .id = taken->key,
        .workspace_id = rejected->workspace_id ? span_of(rejected->workspace_id) : SPAN_NONE,
        .code = span_of(rejected->code),
        .reason = span_of(rejected->reason),
        .topic = span_of(taken->partition->topic),
        .partition = taken->partition->number,
        .offset = taken->offset,
        .record_time_ms = rejected->record_time_ms,
        .record_key = rejected->has_key ? rejected->record_key : SPAN_NONE,
        .headers = rejected->headers,
        .value = rejected->has_value ? rejected->value : SPAN_NONE,
    };
    events_rejected_row(&recorder->rejected, &row);
}

/* now_ms: for created_at; clock_ms: the database's clock. */
static void build(struct recorder *recorder, int64_t now_ms, int64_t clock_ms) {
    buffer_reset(&recorder->events);
    buffer_reset(&recorder->logs);
    buffer_reset(&recorder->rejected);
    schedule_changes_reset(recorder->schedule);
    recorder_batches_begin(recorder, clock_ms);
    struct taken *taken;
    struct delivery *delivery;
    TAILQ_FOREACH (taken, &recorder->flush.taken, link) {
        bool ours = taken->partition->tracked && !taken->partition->tracked->lost;
        if (ours && taken->rejected)
            write_rejected(recorder, taken, now_ms);
        if (ours && taken->matched)
            events_row(&recorder->events, now_ms, taken->event, taken->skipped, taken->skipped_count);
        TAILQ_FOREACH (delivery, &taken->outcomes, link) {
            if (leaves_log(delivery))
                log_delivery(recorder, delivery, now_ms);
            if (ours && delivery->outcome == OUTCOME_BATCHED)
                recorder_batches_add(recorder, delivery, taken->taken_at_ms);
            else if (ours)
                schedule_first(recorder, delivery);
        }
    }
    TAILQ_FOREACH (delivery, &recorder->flush.rows, link) {
        if (leaves_log(delivery))
            log_delivery(recorder, delivery, now_ms);
        schedule_row(recorder, delivery);
    }
    recorder_batches_build(recorder);
}

/* ---- subscriptions that are disabled, or take less ---- */

static bool changes_subscription(const struct delivery *delivery) {
    return delivery->outcome == OUTCOME_ATTEMPTED &&
           (delivery->decision.action == RETRY_DISABLE || delivery->decision.action == RETRY_SPLIT);
}

/* found: where they go; NULL: they are only counted. */
static size_t changing_of(const struct delivery_list *list, const struct delivery **found) {
    const struct delivery *delivery;
    size_t count = 0;
    TAILQ_FOREACH (delivery, list, link) {
        if (!changes_subscription(delivery))
            continue;
        if (found)
            found[count] = delivery;
        count++;
    }
    return count;
}

static size_t all_changing(const struct recorder *recorder, const struct delivery **found) {
    const struct taken *taken;
    size_t count = changing_of(&recorder->flush.rows, found);
    TAILQ_FOREACH (taken, &recorder->flush.taken, link)
        count += changing_of(&taken->outcomes, found ? found + count : NULL);
    return count;
}

static int by_subscription(const void *a, const void *b) {
    const struct delivery *x = *(const struct delivery *const *)a, *y = *(const struct delivery *const *)b;
    int order = span_compare(x->event->workspace_id, y->event->workspace_id);
    return order ? order : uuid_compare(&x->subscription->id, &y->subscription->id);
}

/* 410: the receiver wants no more; 413: less at a time. In the order of their keys, as everybody locks them. */
static enum status change_subscriptions(struct recorder *recorder, struct error *error) {
    size_t count = all_changing(recorder, NULL);
    enum status status = STATUS_OK;
    if (count == 0)
        return STATUS_OK;
    const struct delivery **list = mem_calloc(count, sizeof(*list));
    (void)all_changing(recorder, list);
    qsort(list, count, sizeof(*list), by_subscription);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        const struct subscription *subscription = list[i]->subscription;
        struct span workspace_id = list[i]->event->workspace_id;
        if (list[i]->decision.action == RETRY_DISABLE)
            status = roster_disable(recorder->connection, workspace_id, &subscription->id, list[i]->activation,
                                    SPAN_LITERAL("the endpoint answered 410 Gone"), error);
        else
            status = batches_halve(recorder->connection, workspace_id, &subscription->id, subscription->version, error);
    }
    mem_free(list);
    return status;
}

static enum status write_rows(struct recorder *recorder, int64_t now_ms, struct error *error) {
    CHECK(!recorder->events.overflowed && !recorder->logs.overflowed && !recorder->rejected.overflowed);
    enum status status = events_copy(recorder->connection, buffer_view(&recorder->events), error);
    if (status == STATUS_OK)
        status = events_copy_rejected(recorder->connection, buffer_view(&recorder->rejected), error);
    if (status == STATUS_OK)
        status = logs_copy(recorder->connection, buffer_view(&recorder->logs), error);
    if (status == STATUS_OK)
        status = recorder_batches_write(recorder, now_ms, error);
    if (status == STATUS_OK && !schedule_changes_is_empty(recorder->schedule))
        status = schedule_write(recorder->connection, recorder->schedule, error);
    if (status == STATUS_OK)
        status = recorder_batches_write_halves(recorder, now_ms, error);
    return status == STATUS_OK ? change_subscriptions(recorder, error) : status;
}

/* The days change seldom, and a flush that meets a missing one is made again with fresh bounds: once a minute is
 * enough. */
static enum status read_days(struct recorder *recorder, struct error *error) {
    int64_t now_ms = clock_mono_ms();
    if (recorder->days_at_ms && now_ms - recorder->days_at_ms < DAYS_EVERY_MS)
        return STATUS_OK;
    enum status status = partitions_ensure(recorder->connection, error);
    if (status == STATUS_OK)
        status = partitions_read_bounds(recorder->connection, &recorder->days, error);
    if (status == STATUS_OK)
        recorder->days_at_ms = now_ms;
    return status;
}

enum status recorder_flush_write(struct recorder *recorder, struct error *error) {
    int64_t now_ms = 0, created_at_ms = 0;
    enum status status = read_days(recorder, error);
    if (status == STATUS_OK)
        status = connection_exec(recorder->connection, "BEGIN", error);
    if (status == STATUS_OK)
        status = process_beat(recorder->connection, &recorder->settings.process_id, recorder->flush_no + 1, &now_ms,
                              &created_at_ms, error);
    if (status == STATUS_OK)
        atomic_store_explicit(&recorder->settings.pulse->ahead_ms, now_ms - clock_mono_ms(), memory_order_relaxed);
    if (status == STATUS_OK)
        status = advance(recorder, error);
    if (status == STATUS_OK) {
        created_at_ms = partitions_clamp(&recorder->days, created_at_ms);
        build(recorder, created_at_ms, now_ms);
        status = write_rows(recorder, created_at_ms, error);
    }
    if (status == STATUS_OK) {
        recorder->flush.commit_sent = true;
        status = connection_exec(recorder->connection, "COMMIT", error);
        if (status != STATUS_UNAVAILABLE)
            recorder->flush.commit_sent = false;
    } else if (status != STATUS_UNAVAILABLE) {
        recorder->days_at_ms = 0;
        struct error ignored;
        if (connection_exec(recorder->connection, "ROLLBACK", &ignored) != STATUS_OK)
            connection_close(recorder->connection);
    }
    return status;
}

static void count_deliveries(struct recorder *recorder, const struct delivery_list *list) {
    const struct delivery *delivery;
    TAILQ_FOREACH (delivery, list, link) {
        if (delivery->outcome == OUTCOME_CANCELLED)
            metric_add(recorder->cancelled, 1);
        else if (delivery->outcome == OUTCOME_PARKED || delivery->outcome == OUTCOME_LEASED)
            metric_add(recorder->parked, 1);
        if (delivery->outcome != OUTCOME_ATTEMPTED)
            continue;
        if (delivery->decision.action == RETRY_DONE)
            metric_add(recorder->delivered, 1);
        else
            metric_add(is_tried_again(delivery) ? recorder->failed : recorder->given_up, 1);
    }
}

void recorder_flush_count(struct recorder *recorder) {
    const struct taken *taken;
    TAILQ_FOREACH (taken, &recorder->flush.taken, link) {
        count_deliveries(recorder, &taken->outcomes);
        if (taken->matched)
            metric_add(recorder->events_written, 1);
        if (taken->rejected)
            metric_add(recorder->rejected_written, 1);
    }
    count_deliveries(recorder, &recorder->flush.rows);
}
