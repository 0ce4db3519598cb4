/* What a flush does with deliveries that wait for others of their endpoint (rules B1–B3).
 *
 *   members of one endpoint, in the order in which they became ready
 *   ├── as many full batches as there are: each a row of the schedule, made in memory …
 *   │     slot free ──▶ leased to this process, and once the COMMIT is certain ──▶ lane
 *   │     none free ──▶ due now, or held: the scheduler's
 *   └── the rest: member rows, counted in the endpoint's closer
 *
 * A flush may have to be made several times. Each time everything here begins anew, with new ids, since what was made
 * before was not written; so what there is when the COMMIT turns out to have worked is what it wrote, and only that
 * leaves (rule P5). */
#include "base/clock.h"
#include "base/memory.h"
#include "dispatch/lane.h"
#include "dispatch/recorder_private.h"
#include "store/batches.h"
#include "webhook/batch.h"
#include <stdlib.h>

#define LEASE_MARGIN_MS 45000 /* beyond the timeout: the flush itself, waiting in the lane, and being written */
#define START_MARGIN_MS 5000  /* of that: the end of an attempt to the end of its lease, at least */
#define LANE_FULL 2048
#define FORMED_MAX_BYTES ((size_t)64 * 1024 * 1024) /* past it full batches, too, are made in the database */
#define COPY_BYTES ((size_t)16 * 1024 * 1024)       /* of member rows, at a time */
#define ROWS_MAX_BYTES ((size_t)512 * 1024 * 1024)

/* A delivery that waits for others. */
struct gathered {
    const struct delivery *delivery;
    int64_t arrived_at_ms; /* wall, by the database's clock */
    size_t place;          /* in the order in which they became ready */
};

/* A batch that gets a row. */
struct formed {
    struct event *batch;               /* a reference */
    struct subscription *subscription; /* a reference */
    int64_t activation;
    bool leaves; /* a slot was taken for it, and its row is leased to this process */
    int64_t lease_deadline_ms;
};

/* A delivered batch that makes way for its halves. */
struct halving {
    const struct delivery *delivery;
    struct event *halves[2]; /* a reference each */
    size_t number;           /* schedule_changes_split's */
};

struct gathering {
    struct gathered *list;
    size_t count, capacity;
    struct gathered *left; /* of the list: what gets member rows, in order */
    size_t left_count;
    struct formed *formed;
    size_t formed_count, formed_capacity, formed_bytes;
    struct halving *halvings;
    size_t halving_count, halving_capacity;
    struct event **events; /* of one endpoint */
    int64_t clock_ms;      /* the database's, at built_at_ms of ours */
    int64_t built_at_ms;
    struct buffer rows, scratch;
    struct metric *made, *members;
};

struct gathering *gathering_new(void) {
    struct gathering *gathering = mem_calloc(1, sizeof(*gathering));
    buffer_init(&gathering->rows, ROWS_MAX_BYTES);
    buffer_init(&gathering->scratch, ROWS_MAX_BYTES);
    gathering->made = metrics_counter("hookcast_batches_total", "Batches made.", "by=\"recorder\"");
    gathering->members =
        metrics_counter("hookcast_batch_members_total", "Events that were written to wait for their batch.", NULL);
    return gathering;
}

/* ---- what an earlier try made ---- */

static void forget(struct gathering *gathering) {
    for (size_t i = 0; i < gathering->formed_count; i++) {
        event_unref(&gathering->formed[i].batch);
        subscription_unref(&gathering->formed[i].subscription);
    }
    for (size_t i = 0; i < gathering->halving_count; i++) {
        event_unref(&gathering->halvings[i].halves[0]);
        event_unref(&gathering->halvings[i].halves[1]);
    }
    gathering->count = gathering->left_count = 0;
    gathering->formed_count = gathering->formed_bytes = 0;
    gathering->halving_count = 0;
}

void gathering_free(struct gathering **gathering_ptr) {
    struct gathering *gathering = *gathering_ptr;
    *gathering_ptr = NULL;
    if (!gathering)
        return;
    forget(gathering);
    mem_free(gathering->list);
    mem_free(gathering->left);
    mem_free(gathering->formed);
    mem_free(gathering->halvings);
    mem_free(gathering->events);
    buffer_deinit(&gathering->rows);
    buffer_deinit(&gathering->scratch);
    mem_free(gathering);
}

void recorder_batches_begin(struct recorder *recorder, int64_t clock_ms) {
    struct gathering *gathering = recorder->gathering;
    for (size_t i = 0; i < gathering->formed_count; i++)
        if (gathering->formed[i].leaves)
            gate_give_slots(gathering->formed[i].subscription->gate, 1);
    forget(gathering);
    gathering->clock_ms = clock_ms;
    gathering->built_at_ms = clock_mono_ms();
}

/* Room for one more. */
static void *grown(void *list, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity)
        return list;
    *capacity = *capacity ? 2 * *capacity : 64;
    return mem_realloc(list, *capacity * size);
}

/* ---- batches that get a row ---- */

static struct formed *form(struct gathering *gathering, struct event *const *events, size_t count,
                           const struct delivery *delivery, struct subscription *subscription) {
    struct uuid id = uuid_new(clock_wall_ms());
    gathering->formed =
        grown(gathering->formed, gathering->formed_count, &gathering->formed_capacity, sizeof(struct formed));
    struct formed *formed = &gathering->formed[gathering->formed_count++];
    *formed = (struct formed){
        .batch = batch_new(&id, events, count),
        .subscription = subscription_ref(subscription),
        .activation = delivery->activation,
    };
    gathering->formed_bytes += batch_body_bytes(formed->batch);
    return formed;
}

static struct schedule_new row_of(const struct event *batch, const struct uuid *subscription_id, int64_t activation) {
    return (struct schedule_new){
        .key = {batch->workspace_id, *subscription_id, batch->key},
        .event = batch,
        .attempt = 1,
        .activation = activation,
    };
}

static struct lane *lane_of(const struct recorder *recorder, const struct subscription *subscription) {
    return recorder->lanes[subscription_lane_hash(&subscription->id) % (uint32_t)recorder->lane_count];
}

/* Where a full batch goes: to its lane at once, if that could start it. */
static void send_off(struct recorder *recorder, struct formed *formed) {
    struct gathering *gathering = recorder->gathering;
    struct subscription *subscription = formed->subscription;
    struct schedule_new row = row_of(formed->batch, &subscription->id, formed->activation);
    if (atomic_load_explicit(&subscription->gate->held, memory_order_relaxed)) {
        row.held = true;
    } else if (!atomic_load(&recorder->stopping) && lane_waiting(lane_of(recorder, subscription)) <= LANE_FULL &&
               gate_take_slots(subscription->gate, 1) > 0) {
        int64_t timeout_ms =
            subscription->timeout_ms ? subscription->timeout_ms : recorder->settings.settings->timeout_ms;
        row.lease_ms = timeout_ms + LEASE_MARGIN_MS;
        row.bare = true;
        formed->leaves = true;
        formed->lease_deadline_ms = gathering->built_at_ms + LEASE_MARGIN_MS - START_MARGIN_MS;
    }
    schedule_changes_new_row(recorder->schedule, &row);
}

void recorder_batches_later(struct recorder *recorder, const struct delivery *delivery) {
    struct event *event = delivery->event;
    struct formed *formed = form(recorder->gathering, &event, 1, delivery, delivery->subscription);
    struct schedule_new row = row_of(formed->batch, &delivery->subscription->id, delivery->activation);
    row.due_at_ms = delivery->due_at_ms;
    row.due_in_ms = delivery->due_in_ms;
    schedule_changes_new_row(recorder->schedule, &row);
}

/* ---- members ---- */

void recorder_batches_add(struct recorder *recorder, const struct delivery *delivery, int64_t taken_at_ms) {
    struct gathering *gathering = recorder->gathering;
    gathering->list = grown(gathering->list, gathering->count, &gathering->capacity, sizeof(struct gathered));
    int64_t arrived_at_ms = gathering->clock_ms - (gathering->built_at_ms - taken_at_ms);
    gathering->list[gathering->count] = (struct gathered){delivery, arrived_at_ms, gathering->count};
    gathering->count++;
}

/* By endpoint; of one endpoint those of an earlier activation first, then in their order. */
static int by_endpoint(const void *a, const void *b) {
    const struct gathered *x = a, *y = b;
    int order = uuid_compare(&x->delivery->subscription->id, &y->delivery->subscription->id);
    if (order == 0)
        order =
            (x->delivery->activation > y->delivery->activation) - (x->delivery->activation < y->delivery->activation);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

static bool same_endpoint(const struct gathered *a, const struct gathered *b) {
    return uuid_equal(&a->delivery->subscription->id, &b->delivery->subscription->id);
}

/* What is left of one endpoint waits. */
static void leave_waiting(struct recorder *recorder, const struct gathered *left, size_t count,
                          const struct subscription *newest) {
    struct gathering *gathering = recorder->gathering;
    struct batch_limits limits = batch_limits_of(newest);
    struct schedule_members members = {
        .endpoint = {left[0].delivery->event->workspace_id, newest->id, UUID_NIL},
        .activation = left[0].delivery->activation,
        .count = (int32_t)count,
        .due_at_ms = INT64_MAX,
        .max_events = limits.max_events,
        .max_bytes = limits.max_bytes,
    };
    for (size_t i = 0; i < count; i++) {
        int64_t due_at_ms = left[i].arrived_at_ms + newest->wait_ms;
        members.due_at_ms = due_at_ms < members.due_at_ms ? due_at_ms : members.due_at_ms;
        members.bytes += (int64_t)left[i].delivery->event->value.len;
        gathering->left[gathering->left_count++] = left[i];
    }
    schedule_changes_members(recorder->schedule, &members);
}

/* Forms the full batches of one activation, and moves what is left to the front; returns how many those are. */
static size_t form_full(struct recorder *recorder, struct gathered *list, size_t count, struct subscription *newest) {
    struct gathering *gathering = recorder->gathering;
    struct batch_limits limits = batch_limits_of(newest);
    size_t first = 0;
    for (size_t i = 0; i < count; i++)
        gathering->events[i] = list[i].delivery->event;
    while (first < count && gathering->formed_bytes < FORMED_MAX_BYTES) {
        bool full = false;
        size_t taken = batch_next(gathering->events + first, count - first, &limits, &full);
        if (!full)
            break;
        qsort(gathering->events + first, taken, sizeof(struct event *), batch_order);
        send_off(recorder, form(gathering, gathering->events + first, taken, list[first].delivery, newest));
        first += taken;
    }
    memmove(list, list + first, (count - first) * sizeof(*list));
    return count - first;
}

/* list: all of one endpoint. */
static void build_endpoint(struct recorder *recorder, struct gathered *list, size_t count) {
    struct subscription *newest = list[0].delivery->subscription;
    size_t left = 0;
    for (size_t i = 1; i < count; i++)
        if (list[i].delivery->subscription->version > newest->version)
            newest = list[i].delivery->subscription;
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count; end++)
            if (list[end].delivery->activation != list[first].delivery->activation)
                break;
        size_t waits = form_full(recorder, list + first, end - first, newest);
        memmove(list + left, list + first, waits * sizeof(*list));
        left += waits;
    }
    if (left)
        leave_waiting(recorder, list, left, newest);
}

void recorder_batches_build(struct recorder *recorder) {
    struct gathering *gathering = recorder->gathering;
    if (gathering->count == 0)
        return;
    qsort(gathering->list, gathering->count, sizeof(struct gathered), by_endpoint);
    gathering->left = mem_realloc(gathering->left, gathering->count * sizeof(struct gathered));
    gathering->events = mem_realloc(gathering->events, gathering->count * sizeof(struct event *));
    for (size_t first = 0, end; first < gathering->count; first = end) {
        for (end = first + 1; end < gathering->count; end++)
            if (!same_endpoint(&gathering->list[first], &gathering->list[end]))
                break;
        build_endpoint(recorder, gathering->list + first, end - first);
    }
}

/* ---- halves ---- */

void recorder_batches_split(struct recorder *recorder, const struct delivery *delivery) {
    struct gathering *gathering = recorder->gathering;
    const struct event *batch = delivery->event;
    struct schedule_key key = {batch->workspace_id, delivery->subscription->id, delivery->row_key};
    struct schedule_new rows[2];
    CHECK(batch->member_count > 1);
    gathering->halvings =
        grown(gathering->halvings, gathering->halving_count, &gathering->halving_capacity, sizeof(struct halving));
    struct halving *halving = &gathering->halvings[gathering->halving_count++];
    halving->delivery = delivery;
    for (size_t i = 0; i < 2; i++) {
        struct uuid id = uuid_new(clock_wall_ms());
        size_t middle = (batch->member_count + 1) / 2;
        halving->halves[i] =
            batch_new(&id, batch->members + (i ? middle : 0), i ? batch->member_count - middle : middle);
        rows[i] = row_of(halving->halves[i], &delivery->subscription->id, delivery->activation);
        rows[i].replay = delivery->replay;
    }
    halving->number = schedule_changes_split(recorder->schedule, &key, delivery->fence, batch_body_bytes(batch), rows);
}

/* ---- writing ---- */

/* Member rows are made here and not before: a large event with many subscribers is written once for each of them. */
static enum status write_members(struct recorder *recorder, struct error *error) {
    struct gathering *gathering = recorder->gathering;
    int64_t first_seq = 0;
    buffer_reset(&gathering->rows);
    if (gathering->left_count == 0)
        return STATUS_OK;
    enum status status = batches_next_seq(recorder->connection, &first_seq, error);
    schedule_changes_first_seq(recorder->schedule, first_seq);
    for (size_t i = 0; i < gathering->left_count && status == STATUS_OK; i++) {
        const struct delivery *delivery = gathering->left[i].delivery;
        struct schedule_key endpoint = {delivery->event->workspace_id, delivery->subscription->id, UUID_NIL};
        batches_member_row(&gathering->rows, &endpoint, delivery->event, delivery->activation,
                           gathering->left[i].arrived_at_ms, &gathering->scratch);
        if (gathering->rows.len < COPY_BYTES && i + 1 < gathering->left_count)
            continue;
        CHECK(!gathering->rows.overflowed);
        status = batches_copy_members(recorder->connection, buffer_view(&gathering->rows), error);
        buffer_reset(&gathering->rows);
    }
    return status;
}

enum status recorder_batches_write(struct recorder *recorder, int64_t created_at_ms, struct error *error) {
    struct gathering *gathering = recorder->gathering;
    enum status status = write_members(recorder, error);
    for (size_t i = 0; i < gathering->formed_count; i++)
        batches_row(&gathering->rows, created_at_ms, &gathering->formed[i].subscription->id,
                    gathering->formed[i].batch);
    CHECK(!gathering->rows.overflowed);
    return status == STATUS_OK ? batches_copy(recorder->connection, buffer_view(&gathering->rows), error) : status;
}

enum status recorder_batches_write_halves(struct recorder *recorder, int64_t created_at_ms, struct error *error) {
    struct gathering *gathering = recorder->gathering;
    if (gathering->halving_count == 0)
        return STATUS_OK;
    buffer_reset(&gathering->rows);
    for (size_t i = 0; i < gathering->halving_count; i++)
        for (size_t half = 0; half < 2; half++)
            if (schedule_changes_was_split(recorder->schedule, gathering->halvings[i].number))
                batches_row(&gathering->rows, created_at_ms, &gathering->halvings[i].delivery->subscription->id,
                            gathering->halvings[i].halves[half]);
    return batches_copy(recorder->connection, buffer_view(&gathering->rows), error);
}

/* ---- once it is written ---- */

void recorder_batches_leave(struct recorder *recorder) {
    struct gathering *gathering = recorder->gathering;
    for (size_t i = 0; i < gathering->formed_count; i++) {
        struct formed *formed = &gathering->formed[i];
        if (!formed->leaves)
            continue;
        struct queue_batch batch = {NULL, NULL};
        struct delivery *delivery = delivery_new(formed->batch, formed->subscription, NULL);
        delivery->has_row = delivery->bare_row = true;
        delivery->fence = 1;
        delivery->activation = formed->activation;
        delivery->lease_deadline_ms = formed->lease_deadline_ms;
        queue_batch_add(&batch, &delivery->message.node);
        lane_push(lane_of(recorder, formed->subscription), &batch);
    }
    metric_add(gathering->made, (double)gathering->formed_count);
    metric_add(gathering->members, (double)gathering->left_count);
    forget(gathering);
}
