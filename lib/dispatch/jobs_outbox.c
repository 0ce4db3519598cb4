/* An operational event becomes an ordinary one: a record in the native form, as if it had come on the topic of its
 * type, from partition -1, at the offset that is its row's id. Its events row and its deliveries are written by the
 * transaction that deletes it from the outbox, so it is brought exactly once, whoever is killed when. */
#include "base/memory.h"
#include "core/log.h"
#include "dispatch/jobs_private.h"
#include "store/batches.h"
#include "store/events.h"
#include "store/outbox.h"
#include "webhook/batch.h"
#include "webhook/filter.h"
#include <stdlib.h>
#include <string.h>

#define TAKE_MAX 50
#define DELIVERIES_MAX 10000 /* of one transaction; a single event may have more */
#define ROWS_MAX_BYTES ((size_t)256 * 1024 * 1024)
/* However many subscribe to a single event, their rows go to the server in pieces. */
#define MEMBERS_COPY_BYTES ((size_t)8 * 1024 * 1024)
#define CLOSERS_MAX 10000
#define NO_PARTITION (-1)

/* An event that its subscription gathers. */
struct member {
    struct subscription *subscription; /* a reference */
    struct event *event;               /* one of those that are kept */
};

/* One transaction's work. */
struct bringing {
    struct jobs *jobs;
    const struct matching *matching;
    struct partition_bounds days;
    struct schedule_changes *schedule;
    struct buffer events;  /* rows */
    struct buffer skipped; /* struct uuid each, of the event at hand */
    struct member *members;
    size_t member_count, member_capacity;
    struct event *kept[TAKE_MAX]; /* what the changes borrow from */
    size_t kept_count;
    struct event *event;
    bool matched;
    int deliveries;
};

static void bringing_init(struct bringing *bringing, struct jobs *jobs) {
    *bringing = (struct bringing){.jobs = jobs, .schedule = schedule_changes_new()};
    buffer_init(&bringing->events, ROWS_MAX_BYTES);
    buffer_init(&bringing->skipped, ROWS_MAX_BYTES);
}

static void bringing_deinit(struct bringing *bringing) {
    schedule_changes_free(&bringing->schedule);
    while (bringing->kept_count)
        event_unref(&bringing->kept[--bringing->kept_count]);
    while (bringing->member_count)
        subscription_unref(&bringing->members[--bringing->member_count].subscription);
    mem_free(bringing->members);
    buffer_deinit(&bringing->events);
    buffer_deinit(&bringing->skipped);
}

static void add_member(struct bringing *bringing, struct subscription *subscription) {
    if (bringing->member_count == bringing->member_capacity) {
        bringing->member_capacity = bringing->member_capacity ? 2 * bringing->member_capacity : 16;
        bringing->members = mem_realloc(bringing->members, bringing->member_capacity * sizeof(*bringing->members));
    }
    bringing->members[bringing->member_count++] =
        (struct member){.subscription = subscription_ref(subscription), .event = bringing->event};
}

static void add_match(void *ctx, struct subscription *subscription) {
    struct bringing *bringing = ctx;
    struct event *event = bringing->event;
    if (subscription->filter && !filter_takes(subscription->filter, event))
        return;
    bringing->matched = true;
    bringing->deliveries++;
    if (subscription->status != SUBSCRIPTION_ACTIVE) {
        buffer_append(&bringing->skipped, &subscription->id, sizeof(subscription->id));
        return;
    }
    if (subscription->delivery_mode == DELIVERY_BATCHED) {
        add_member(bringing, subscription);
        return;
    }
    struct schedule_new row = {
        .key = {event->workspace_id, subscription->id, event->key},
        .event = event,
        .attempt = 1,
        .activation = subscription->activation,
        .due_in_ms = subscription->delivery_mode == DELIVERY_DELAYED ? subscription->wait_ms : 0,
    };
    schedule_changes_new_row(bringing->schedule, &row);
}

static enum event_verdict read_event(const struct bringing *bringing, const struct outbox_row *row,
                                     struct event **ret_event, struct event_rejection *ret_rejection) {
    struct buffer topic, value;
    buffer_init(&topic, 1024);
    buffer_init(&value, 1024 * 1024);
    buffer_span(&topic, bringing->jobs->rules.topic_prefix);
    buffer_span(&topic, row->event_type);
    buffer_text(&value, "{\"workspace_id\":");
    json_quote(row->workspace_id, &value);
    buffer_text(&value, ",\"event_type\":");
    json_quote(row->event_type, &value);
    buffer_text(&value, ",\"event_source\":\"hookcast\",\"occurred_at\":");
    buffer_int(&value, row->created_at_ms);
    buffer_text(&value, ",\"payload\":");
    buffer_span(&value, row->payload);
    buffer_char(&value, '}');
    struct event_record record = {
        .topic = buffer_view(&topic),
        .partition = NO_PARTITION,
        .offset = row->id,
        .timestamp_ms = row->created_at_ms,
        .key = row->workspace_id,
        .value = buffer_view(&value),
    };
    enum event_verdict verdict = event_read(&record, &bringing->jobs->rules, ret_event, ret_rejection);
    buffer_deinit(&topic);
    buffer_deinit(&value);
    return verdict;
}

static void bring(struct bringing *bringing, const struct outbox_row *row) {
    struct event_rejection rejection = {.code = ""};
    if (read_event(bringing, row, &bringing->event, &rejection) != EVENT_ACCEPTED) {
        log_error("jobs", "an operational event can't be read and is dropped", LOG_SPAN("type", row->event_type),
                  LOG_TEXT("error", rejection.reason.text));
        return;
    }
    bringing->kept[bringing->kept_count++] = bringing->event;
    bringing->matched = false;
    buffer_reset(&bringing->skipped);
    matching_each(bringing->matching, bringing->event->workspace_id, bringing->event->event_type, add_match, bringing);
    if (bringing->matched)
        events_row(&bringing->events, partitions_clamp(&bringing->days, bringing->days.now_ms), bringing->event,
                   (const struct uuid *)(void *)bringing->skipped.data, bringing->skipped.len / sizeof(struct uuid));
}

/* By endpoint, in the order in which closers are locked (rule P9); those of one as they happened. */
static int by_endpoint(const void *a_member, const void *b_member) {
    const struct member *a = a_member, *b = b_member;
    int order = span_compare(a->event->workspace_id, b->event->workspace_id);
    if (order == 0)
        order = uuid_compare(&a->subscription->id, &b->subscription->id);
    return order ? order : (a->event->offset > b->event->offset) - (a->event->offset < b->event->offset);
}

static struct schedule_key endpoint_of(const struct member *member) {
    return (struct schedule_key){member->event->workspace_id, member->subscription->id, UUID_NIL};
}

static enum status copy_members(struct bringing *bringing, struct error *error) {
    struct connection *connection = bringing->jobs->connection;
    struct buffer rows, scratch;
    buffer_init(&rows, ROWS_MAX_BYTES);
    buffer_init(&scratch, ROWS_MAX_BYTES);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < bringing->member_count && status == STATUS_OK; i++) {
        const struct member *member = &bringing->members[i];
        struct schedule_key endpoint = endpoint_of(member);
        batches_member_row(&rows, &endpoint, member->event, member->subscription->activation, bringing->days.now_ms,
                           &scratch);
        CHECK(!rows.overflowed && !scratch.overflowed);
        if (rows.len < MEMBERS_COPY_BYTES && i + 1 < bringing->member_count)
            continue;
        status = batches_copy_members(connection, buffer_view(&rows), error);
        buffer_reset(&rows);
    }
    buffer_deinit(&rows);
    buffer_deinit(&scratch);
    return status;
}

/* What the members from the given one on add to the closer of its endpoint; ret_next: the first of another one. */
static struct schedule_members sum_members(const struct bringing *bringing, size_t first, int64_t first_seq,
                                           size_t *ret_next) {
    const struct subscription *subscription = bringing->members[first].subscription;
    struct batch_limits limits = batch_limits_of(subscription);
    struct schedule_members sum = {
        .endpoint = endpoint_of(&bringing->members[first]),
        .activation = subscription->activation,
        .due_at_ms = bringing->days.now_ms + subscription->wait_ms,
        .max_events = limits.max_events,
        .max_bytes = limits.max_bytes,
        .first_seq = first_seq,
    };
    size_t i = first;
    while (i < bringing->member_count && uuid_equal(&bringing->members[i].subscription->id, &subscription->id)) {
        sum.count++;
        sum.bytes += (int64_t)bringing->members[i++].event->value.len;
    }
    *ret_next = i;
    return sum;
}

static enum status write_closers(struct bringing *bringing, int64_t first_seq, struct error *error) {
    struct schedule_changes *changes = schedule_changes_new();
    enum status status = STATUS_OK;
    for (size_t i = 0; i < bringing->member_count && status == STATUS_OK;) {
        for (int n = 0; n < CLOSERS_MAX && i < bringing->member_count; n++) {
            struct schedule_members sum = sum_members(bringing, i, first_seq, &i);
            schedule_changes_members(changes, &sum);
        }
        status = schedule_write(bringing->jobs->connection, changes, error);
        schedule_changes_reset(changes);
    }
    schedule_changes_free(&changes);
    return status;
}

static enum status write_members(struct bringing *bringing, struct error *error) {
    int64_t first_seq = 0;
    if (bringing->member_count == 0)
        return STATUS_OK;
    qsort(bringing->members, bringing->member_count, sizeof(*bringing->members), by_endpoint);
    enum status status = batches_next_seq(bringing->jobs->connection, &first_seq, error);
    if (status == STATUS_OK)
        status = copy_members(bringing, error);
    return status == STATUS_OK ? write_closers(bringing, first_seq, error) : status;
}

/* ret_count: so many of them. */
static enum status bring_some(struct bringing *bringing, const struct result *taken, int *ret_count,
                              struct error *error) {
    struct connection *connection = bringing->jobs->connection;
    enum status status = partitions_read_bounds(connection, &bringing->days, error);
    if (status != STATUS_OK)
        return status == STATUS_NOT_FOUND ? STATUS_CONFLICT : status; /* the recorder makes the days */
    bringing->matching = roster_begin(bringing->jobs->settings.roster);
    int count = 0;
    while (count < result_rows(taken) && bringing->deliveries < DELIVERIES_MAX) {
        struct outbox_row row;
        outbox_row_read(taken, count++, &row);
        bring(bringing, &row);
    }
    roster_end(bringing->jobs->settings.roster);
    CHECK(!bringing->events.overflowed && !bringing->skipped.overflowed);
    status = events_copy(connection, buffer_view(&bringing->events), error);
    if (status == STATUS_OK)
        status = write_members(bringing, error);
    if (status == STATUS_OK && !schedule_changes_is_empty(bringing->schedule))
        status = schedule_write(connection, bringing->schedule, error);
    *ret_count = count;
    return status;
}

static enum status take_and_bring(struct jobs *jobs, bool *ret_more, struct error *error) {
    struct result *taken = NULL;
    struct bringing bringing;
    int count = 0;
    bringing_init(&bringing, jobs);
    enum status status = outbox_take(jobs->connection, TAKE_MAX, &taken, error);
    if (status == STATUS_OK && result_rows(taken) > 0)
        status = bring_some(&bringing, taken, &count, error);
    if (status == STATUS_OK && count > 0)
        status = outbox_delete(jobs->connection, taken, count, error);
    if (status == STATUS_OK)
        *ret_more |= count < result_rows(taken) || count == TAKE_MAX;
    result_free(&taken);
    bringing_deinit(&bringing);
    return status;
}

enum status jobs_outbox(struct jobs *jobs, bool *ret_more, struct error *error) {
    bool has_rows = false;
    if (!roster_is_loaded(jobs->settings.roster))
        return STATUS_OK; /* who subscribes is not known yet */
    enum status status = outbox_has_rows(jobs->connection, &has_rows, error);
    if (status != STATUS_OK || !has_rows)
        return status;
    status = connection_exec(jobs->connection, "BEGIN", error);
    if (status == STATUS_OK)
        status = take_and_bring(jobs, ret_more, error);
    if (status == STATUS_OK) {
        status = connection_exec(jobs->connection, "COMMIT", error);
    } else if (status != STATUS_UNAVAILABLE) {
        struct error ignored;
        if (connection_exec(jobs->connection, "ROLLBACK", &ignored) != STATUS_OK)
            connection_close(jobs->connection);
    }
    return status;
}
