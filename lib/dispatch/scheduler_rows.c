/* A claimed row becomes a delivery again: its record is read as it was read the first time. */
#include "base/memory.h"
#include "base/utf8.h"
#include "core/log.h"
#include "dispatch/lane.h"
#include "dispatch/recorder.h"
#include "dispatch/scheduler_private.h"
#include "store/logs.h"
#include "webhook/batch.h"

int64_t scheduler_timeout_ms(const struct scheduler *scheduler, const struct subscription *subscription) {
    return subscription->timeout_ms ? subscription->timeout_ms : scheduler->settings.settings->timeout_ms;
}

static int lane_of(const struct scheduler *scheduler, const struct uuid *id) {
    return (int)(subscription_lane_hash(id) % (uint32_t)scheduler->settings.lane_count);
}

bool scheduler_lane_has_room(const struct scheduler *scheduler, const struct uuid *id) {
    return lane_waiting(scheduler->settings.lanes[lane_of(scheduler, id)]) <= SCHEDULER_LANE_FULL;
}

bool scheduler_may_cancel(const struct scheduler *scheduler) {
    return atomic_load_explicit(&scheduler->settings.budget->cancelled, memory_order_relaxed) <= SCHEDULER_LANE_FULL;
}

static struct event *read_event(struct scheduler *scheduler, const struct schedule_row *row, struct error *why) {
    struct event_header headers[EVENT_HEADERS_MAX];
    struct event_record record = row->record;
    struct event *event = NULL;
    if (row->kind == SCHEDULE_BATCH)
        return batch_read(&row->event_key, record.value, &scheduler->rules, &event, why) == STATUS_OK ? event : NULL;
    struct event_rejection rejection = {.code = "tombstone"};
    buffer_reset(&scheduler->headers);
    record.headers = headers;
    if (event_headers_parse(row->headers, headers, EVENT_HEADERS_MAX, &record.header_count, &scheduler->headers) !=
        STATUS_OK) {
        (void)error_set(why, STATUS_INVALID, "its headers can't be read");
        return NULL;
    }
    if (event_read(&record, &scheduler->rules, &event, &rejection) == EVENT_ACCEPTED)
        return event;
    (void)error_set(why, STATUS_INVALID, "%s: %s", rejection.code, rejection.reason.text);
    return NULL;
}

/* What the log says of a row that can't be read: all that is known of it. */
static void log_unread(struct scheduler *scheduler, const struct schedule_row *row, const struct error *why,
                       int64_t now_ms, struct buffer *rows) {
    char key[UUID_TEXT_LEN + 1];
    size_t reason_len;
    char *reason = utf8_clean_dup(span_of(why->text), &reason_len);
    struct subscription *known = roster_find(scheduler->settings.roster, &row->key.subscription_id);
    struct span topic = row->record.topic, prefix = scheduler->rules.topic_prefix;
    uuid_format(&row->event_key, key);
    if (span_has_prefix(topic, prefix))
        topic = (struct span){topic.data + prefix.len, topic.len - prefix.len};
    struct log_row log = {
        .created_at_ms = now_ms,
        .id = uuid_new(now_ms),
        .workspace_id = row->key.workspace_id,
        .event_key = row->event_key,
        .event_id = span_of(key),
        .subscription_id = row->key.subscription_id,
        .event_type = row->kind == SCHEDULE_BATCH ? SPAN_LITERAL("*") : topic,
        .webhook_url = span_of(known ? subscription_url(known) : ""),
        .delivery_status = "cancelled",
        .error = {reason, reason_len},
        .error_code = SPAN_LITERAL("unreadable"),
        .attempt = row->attempt,
        .duration_ms = -1,
        .batch_id = row->kind == SCHEDULE_BATCH ? row->event_key : UUID_NIL,
        .replay = row->replay,
    };
    logs_row(rows, &log);
    subscription_unref(&known);
    mem_free(reason);
}

/* A row that can't be read, though its record could be when it was made, would come again for ever. */
static enum status bury(struct scheduler *scheduler, const struct schedule_row *row, const struct error *why,
                        struct error *error) {
    char id[UUID_TEXT_LEN + 1], key[UUID_TEXT_LEN + 1];
    uuid_format(&row->key.subscription_id, id);
    uuid_format(&row->key.row_key, key);
    log_error("scheduler", "a row of the schedule can't be read; it is given up without having been sent",
              LOG_TEXT("subscription", id), LOG_TEXT("row", key), LOG_SPAN("topic", row->record.topic),
              LOG_INT("partition", row->record.partition), LOG_INT("offset", row->record.offset),
              LOG_TEXT("error", why->text));
    struct schedule_changes *changes = schedule_changes_new();
    struct buffer logs;
    buffer_init(&logs, 64 * 1024);
    schedule_changes_finish(changes, &row->key, row->fence);
    struct partition_bounds days;
    enum status status = connection_exec(scheduler->connection, "BEGIN", error);
    if (status == STATUS_OK)
        status = partitions_read_bounds(scheduler->connection, &days, error);
    if (status == STATUS_OK) {
        log_unread(scheduler, row, why, partitions_clamp(&days, days.now_ms), &logs);
        status = logs_copy(scheduler->connection, buffer_view(&logs), error);
    }
    if (status == STATUS_OK)
        status = schedule_write(scheduler->connection, changes, error);
    if (status == STATUS_OK)
        status = connection_exec(scheduler->connection, "COMMIT", error);
    else
        connection_close(scheduler->connection);
    buffer_deinit(&logs);
    schedule_changes_free(&changes);
    return status;
}

/* What a log row says of a subscription that is gone. */
static struct subscription *gone_subscription(const struct schedule_row *row) {
    struct subscription_spec spec = {
        .id = row->key.subscription_id,
        .workspace_id = row->key.workspace_id,
        .status = SUBSCRIPTION_DELETED,
        .activation = row->activation,
        .url = SPAN_LITERAL(""),
    };
    struct subscription *subscription = NULL;
    struct error error;
    CHECK(subscription_new(&spec, NULL, &subscription, &error) == STATUS_OK);
    return subscription;
}

static struct delivery *delivery_of(struct scheduler *scheduler, const struct schedule_row *row, struct event *event,
                                    struct subscription *known, int64_t lease_ends_ms) {
    struct subscription *subscription = known ? subscription_ref(known) : gone_subscription(row);
    struct delivery *delivery = delivery_new(event, subscription, NULL);
    delivery->has_row = true;
    delivery->replay = row->replay;
    delivery->row_key = row->key.row_key;
    delivery->fence = row->fence;
    delivery->activation = row->activation;
    delivery->attempt = (int16_t)row->attempt;
    delivery->lease_deadline_ms =
        lease_ends_ms - scheduler_timeout_ms(scheduler, subscription) - SCHEDULER_START_MARGIN_MS;
    subscription_unref(&subscription);
    return delivery;
}

static void hand_on(struct scheduler *scheduler, const struct result *rows, struct event **events,
                    int64_t lease_ends_ms, bool cancel) {
    int count = result_rows(rows), lanes = scheduler->settings.lane_count;
    struct queue_batch cancelled = {NULL, NULL}, *to_lanes = mem_calloc((size_t)lanes, sizeof(*to_lanes));
    const struct matching *matching = roster_begin(scheduler->settings.roster);
    for (int i = 0; i < count; i++) {
        struct schedule_row row;
        schedule_row_read(rows, i, &row);
        struct subscription *known = matching_find(matching, &row.key.subscription_id);
        /* A pause in between cancels what waited for it (rule C2), whether or not the sweep has come by. */
        bool overtaken = known && row.activation < known->activation;
        if (known && !cancel && (overtaken || !events[i]))
            gate_give_slots(known->gate, 1);
        if (!events[i])
            continue;
        struct delivery *delivery = delivery_of(scheduler, &row, events[i], known, lease_ends_ms);
        if (cancel || !known || overtaken) {
            delivery->outcome = OUTCOME_CANCELLED;
            delivery->tally = &scheduler->settings.budget->cancelled;
            atomic_fetch_add_explicit(delivery->tally, 1, memory_order_relaxed);
            queue_batch_add(&cancelled, &delivery->message.node);
        } else {
            queue_batch_add(&to_lanes[lane_of(scheduler, &known->id)], &delivery->message.node);
        }
    }
    for (int i = 0; i < lanes; i++)
        if (to_lanes[i].first)
            lane_push(scheduler->settings.lanes[i], &to_lanes[i]);
    roster_end(scheduler->settings.roster);
    if (cancelled.first)
        recorder_push(scheduler->settings.recorder, &cancelled);
    mem_free(to_lanes);
}

enum status scheduler_hand_over(struct scheduler *scheduler, const struct result *rows, int64_t leased_at_ms,
                                int64_t lease_ms, bool cancel, struct error *error) {
    int count = result_rows(rows);
    if (count == 0)
        return STATUS_OK;
    struct event **events = mem_calloc((size_t)count, sizeof(struct event *));
    enum status status = STATUS_OK;
    for (int i = 0; i < count; i++) {
        struct schedule_row row;
        struct error why;
        schedule_row_read(rows, i, &row);
        events[i] = read_event(scheduler, &row, &why);
        if (!events[i] && status == STATUS_OK)
            status = bury(scheduler, &row, &why, error);
    }
    hand_on(scheduler, rows, events, leased_at_ms + lease_ms, cancel);
    metric_add(scheduler->claims, count);
    for (int i = 0; i < count; i++)
        event_unref(&events[i]);
    mem_free(events);
    return status;
}
