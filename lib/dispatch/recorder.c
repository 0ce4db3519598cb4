/* The rhythm. Messages are sorted into what is open (records whose outcomes are still to come) and what is ready; at
 * the end of a round everything ready goes into one flush, made while more arrives. When a flush fails it is kept as it
 * is and made again, first thing, once PostgreSQL answers: nothing else is written before it.
 *
 *   open ──last outcome──▶ ready ──▶ flush ──COMMIT──▶ forgotten
 *                                      └── failed ──▶ made again
 */
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "dispatch/cutoff.h"
#include "dispatch/lane.h"
#include "dispatch/recorder_private.h"
#include "store/process.h"
#include <stdio.h>
#include <time.h>

#define TICK_MS 50
#define GATHER_US 10000 /* two flushes begin at least this far apart, unless much is ready */
#define FLUSH_MAX_DELIVERIES 4096
#define FLUSH_MAX_BYTES (4 * 1024 * 1024)
#define RETRY_FIRST_MS 100
#define RETRY_LONGEST_MS 2000

/* ---- messages ---- */

static void ready_taken(struct recorder *recorder, struct taken *taken) {
    if (taken->partition->tracked)
        TAILQ_REMOVE(&taken->partition->tracked->open, taken, link);
    taken->ready_number = ++recorder->ready_number;
    TAILQ_INSERT_TAIL(&recorder->ready, taken, link);
    recorder->ready_count += 1 + taken->expected;
}

static void give_back(struct recorder *recorder, int64_t deliveries, int64_t bytes) {
    atomic_fetch_sub_explicit(&recorder->settings.budget->deliveries, deliveries, memory_order_relaxed);
    atomic_fetch_sub_explicit(&recorder->settings.budget->bytes, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&recorder->waiting, deliveries, memory_order_relaxed);
}

static void forget(struct taken *taken) {
    atomic_fetch_sub_explicit(&taken->partition->open, 1, memory_order_release);
    taken_free(&taken);
}

/* What a taken counts for in the budget, as intake counted it. */
static int64_t weight_of(const struct taken *taken) {
    return taken->expected ? taken->expected : 1;
}

static void on_taken(struct recorder *recorder, struct taken *taken) {
    struct tracked *tracked = taken->partition->tracked;
    atomic_fetch_add_explicit(&recorder->waiting, weight_of(taken), memory_order_relaxed);
    if (tracked) {
        enum tracker_take take = tracker_take(tracked->tracker, taken->offset, &taken->key);
        CHECK(take != TRACKER_FULL); /* intake keeps within the window */
        if (take == TRACKER_SETTLED) {
            CHECK(taken->already_settled);
            /* The prefix may have grown over what was settled before. */
            tracked->in_flush =
                tracked->in_flush || tracker_next_offset(tracked->tracker) != tracked->flushed_next_offset;
            give_back(recorder, weight_of(taken), (int64_t)taken->footprint_bytes);
            forget(taken);
            return;
        }
        TAILQ_INSERT_TAIL(&tracked->open, taken, link);
    }
    if (taken->arrived == taken->expected)
        ready_taken(recorder, taken);
}

/* The answer to what was parked under way, while its event still waits for others: the row that it would end has not
 * been written, so the answer takes its place and the row is never made. */
static bool replaces_lease(struct delivery *answer) {
    bool ends_it = answer->parked_in_flight && answer->outcome == OUTCOME_ATTEMPTED;
    struct tracked *tracked = ends_it && answer->partition ? answer->partition->tracked : NULL;
    struct taken *taken;
    struct delivery *lease;
    if (!tracked)
        return false;
    TAILQ_FOREACH (taken, &tracked->open, link) {
        if (uuid_equal(&taken->key, &answer->row_key))
            break;
    }
    if (!taken)
        return false;
    TAILQ_FOREACH (lease, &taken->outcomes, link) {
        if (lease->outcome == OUTCOME_LEASED && uuid_equal(&lease->subscription->id, &answer->subscription->id))
            break;
    }
    if (!lease)
        return false;
    answer->taken = taken;
    answer->slot = lease->slot;
    answer->has_row = answer->parked_in_flight = false;
    TAILQ_INSERT_BEFORE(lease, answer, link);
    TAILQ_REMOVE(&taken->outcomes, lease, link);
    delivery_free(&lease);
    return true;
}

static void on_outcome(struct recorder *recorder, struct delivery *delivery) {
    struct taken *taken = delivery->taken;
    if (!taken && replaces_lease(delivery))
        return;
    if (!taken) {
        if (delivery->outcome == OUTCOME_DROPPED) {
            delivery_free(&delivery);
            return;
        }
        delivery->ready_number = recorder->ready_number;
        TAILQ_INSERT_TAIL(&recorder->ready_rows, delivery, link);
        recorder->ready_count++;
        return;
    }
    size_t bytes = delivery->response_body_len;
    taken->footprint_bytes += bytes;
    atomic_fetch_add_explicit(&recorder->settings.budget->bytes, (int64_t)bytes, memory_order_relaxed);
    CHECK(!taken->slots[delivery->slot].arrived);
    taken->slots[delivery->slot].arrived = true;
    TAILQ_INSERT_TAIL(&taken->outcomes, delivery, link);
    if (++taken->arrived == taken->expected)
        ready_taken(recorder, taken);
}

static void on_message(struct recorder *recorder, struct message *message) {
    struct error error = {""};
    switch (message->type) {
    case MESSAGE_DELIVERY:
        on_outcome(recorder, (struct delivery *)message);
        return;
    case MESSAGE_TAKEN:
        on_taken(recorder, (struct taken *)message);
        return;
    case MESSAGE_REVOKE:
        recorder_on_revoke(recorder, (struct revoke_message *)message);
        return;
    case MESSAGE_ADOPT:
        recorder_on_adopt(recorder, (struct adopt_message *)message);
        return;
    case MESSAGE_REREAD: {
        struct reread_message *reread = (struct reread_message *)message;
        if (!recorder->linked || recorder_reread(recorder, reread, &error) != STATUS_OK)
            reread->failed = true; /* intake asks again */
        queue_push(reread->reply, &message->node);
        return;
    }
    default:
        mem_free(message);
    }
}

static void take_messages(struct recorder *recorder, struct queue_node *first) {
    for (struct queue_node *node = first, *next; node; node = next) {
        next = node->next;
        on_message(recorder, MESSAGE_OF(node));
    }
}

static void on_messages(void *ctx, struct queue_node *first) {
    take_messages(ctx, first);
}

/* ---- PostgreSQL away, and back ---- */

void recorder_away(struct recorder *recorder, const char *what, const struct error *error) {
    int64_t pause_ms = recorder->retry_pause_ms ? recorder->retry_pause_ms * 2 : RETRY_FIRST_MS;
    recorder->retry_pause_ms = pause_ms > RETRY_LONGEST_MS ? RETRY_LONGEST_MS : pause_ms;
    recorder->retry_at_ms = clock_mono_ms() + recorder->retry_pause_ms;
    if (!recorder->away)
        log_warn("recorder", what, LOG_TEXT("error", error->text));
    recorder->away = true;
    metric_add(recorder->flush_failures, 1);
}

static void back(struct recorder *recorder) {
    if (recorder->away)
        log_info("recorder", "PostgreSQL takes rows again");
    recorder->away = false;
    recorder->retry_pause_ms = 0;
}

/* ---- flushing ---- */

/* Moves what is ready into a flush. Settling in the trackers happens here, once, whether or not the transaction works
 * at the first try. */
static int64_t fill_with_taken(struct recorder *recorder, int64_t limit) {
    struct flush *flush = &recorder->flush;
    struct taken *taken;
    int64_t count = 0;
    while (count < limit && flush->bytes < FLUSH_MAX_BYTES && (taken = TAILQ_FIRST(&recorder->ready))) {
        TAILQ_REMOVE(&recorder->ready, taken, link);
        TAILQ_INSERT_TAIL(&flush->taken, taken, link);
        count += 1 + taken->expected;
        flush->deliveries += weight_of(taken);
        flush->bytes += (int64_t)taken->footprint_bytes;
        struct tracked *tracked = taken->partition->tracked;
        if (tracked) {
            tracker_settle(tracked->tracker, taken->offset);
            tracked->in_flush = true;
        }
    }
    return count;
}

static void fill_flush(struct recorder *recorder) {
    bool rows_wait = !TAILQ_EMPTY(&recorder->ready_rows);
    int64_t count = fill_with_taken(recorder, rows_wait ? FLUSH_MAX_DELIVERIES * 3 / 4 : FLUSH_MAX_DELIVERIES);
    const struct taken *left = TAILQ_FIRST(&recorder->ready);
    struct delivery *delivery, *next;
    for (delivery = TAILQ_FIRST(&recorder->ready_rows); delivery && count < FLUSH_MAX_DELIVERIES; delivery = next) {
        next = TAILQ_NEXT(delivery, link);
        /* An answer never overtakes the event that makes its row. */
        if (delivery->parked_in_flight && left && left->ready_number <= delivery->ready_number)
            continue;
        TAILQ_REMOVE(&recorder->ready_rows, delivery, link);
        TAILQ_INSERT_TAIL(&recorder->flush.rows, delivery, link);
        count++;
    }
    recorder->ready_count -= count;
    recorder->flush.made = true;
}

static void publish_progress(struct recorder *recorder) {
    struct tracked *tracked;
    TAILQ_FOREACH (tracked, &recorder->tracked, link) {
        if (tracked->written) {
            tracked->flushed_next_offset = tracked->written_next_offset;
            atomic_store_explicit(&tracked->partition->settled_offset, tracked->written_next_offset,
                                  memory_order_release);
        }
        tracked->in_flush = tracked->written = false;
    }
}

static void flush_done(struct recorder *recorder) {
    struct flush *flush = &recorder->flush;
    struct taken *taken;
    struct delivery *delivery;
    recorder->flush_no++;
    recorder->flushed_at_ms = clock_mono_ms();
    /* What was true when the flush began: this process may have been frozen since (rule P8). */
    int64_t began_ms = flush->began_us / 1000;
    recorder->gap = recorder->flushed_at_ms - began_ms >= PULSE_LIMIT_MS;
    atomic_store_explicit(&recorder->settings.pulse->beat_ms, began_ms, memory_order_release);
    publish_progress(recorder);
    recorder_flush_count(recorder);
    recorder_batches_leave(recorder);
    metric_observe(recorder->flush_seconds, (double)(clock_mono_us() - flush->began_us) / 1e6);
    give_back(recorder, flush->deliveries, flush->bytes);
    while ((taken = TAILQ_FIRST(&flush->taken))) {
        TAILQ_REMOVE(&flush->taken, taken, link);
        forget(taken);
    }
    while ((delivery = TAILQ_FIRST(&flush->rows))) {
        TAILQ_REMOVE(&flush->rows, delivery, link);
        delivery_free(&delivery);
    }
    flush->deliveries = flush->bytes = 0;
    flush->made = flush->commit_sent = false;
}

static void write_flush(struct recorder *recorder) {
    struct error error = {""};
    recorder->flush.began_us = clock_mono_us();
    metric_observe(recorder->flush_deliveries, (double)recorder->flush.deliveries);
    enum status status = recorder_flush_write(recorder, &error);
    if (status == STATUS_CONFLICT)
        status =
            recorder_flush_write(recorder, &error); /* a deadlock or a lock that took too long: once more at once */
    if (status == STATUS_OK) {
        back(recorder);
        flush_done(recorder);
        return;
    }
    recorder->linked = connection_is_open(recorder->connection) && status != STATUS_NOT_FOUND;
    if (!recorder->linked)
        connection_close(recorder->connection);
    recorder_away(recorder, "rows can't be written; they are kept and tried again", &error);
}

static void link_up(struct recorder *recorder) {
    struct error error = {""};
    bool committed = false;
    if (recorder_link(recorder, &committed, &error) != STATUS_OK) {
        recorder_away(recorder, "PostgreSQL is away; deliveries wait", &error);
        return;
    }
    if (committed)
        flush_done(recorder);
    else
        recorder->flush.commit_sent = false;
}

static bool flush_is_due(struct recorder *recorder) {
    int64_t since_us = clock_mono_us() - recorder->flush.began_us;
    bool beat = clock_mono_ms() - recorder->flushed_at_ms >= PULSE_EVERY_MS;
    return beat || recorder->flush.made || recorder->ready_count >= FLUSH_MAX_DELIVERIES / 8 ||
           (recorder->ready_count > 0 && since_us >= GATHER_US);
}

static void show_budget(struct recorder *recorder) {
    metric_set(recorder->outstanding, (double)atomic_load(&recorder->settings.budget->deliveries));
    metric_set(recorder->outstanding_bytes, (double)atomic_load(&recorder->settings.budget->bytes));
}

/* One look at everything there is to do. */
static void turn(struct recorder *recorder) {
    int64_t now_ms = clock_mono_ms();
    if (recorder->flushed_at_ms && !pulse_is_fresh(recorder->settings.pulse, now_ms))
        recorder->gap = true;
    if (!recorder->linked && now_ms >= recorder->retry_at_ms)
        link_up(recorder);
    if (recorder->linked && now_ms >= recorder->retry_at_ms && flush_is_due(recorder)) {
        if (!recorder->flush.made)
            fill_flush(recorder);
        write_flush(recorder);
    }
    recorder_serve_adopts(recorder);
    recorder_serve_revokes(recorder);
    recorder_look_at_heads(recorder);
    show_budget(recorder);
}

static void on_round_end(void *ctx) {
    struct recorder *recorder = ctx;
    turn(recorder);
    int64_t wait_ms = TICK_MS;
    if (recorder->ready_count > 0 && recorder->linked && !recorder->away) {
        int64_t left_us = GATHER_US - (clock_mono_us() - recorder->flush.began_us);
        wait_ms = left_us > 0 ? (left_us + 999) / 1000 : 0;
    }
    loop_timer_start(recorder->timer, wait_ms);
}

static void on_timer(void *ctx) {
    (void)ctx; /* It only makes a round happen. */
}

/* ---- life ---- */

static void make_metrics(struct recorder *recorder) {
    static const double SECONDS[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5};
    static const double COUNTS[] = {0, 1, 4, 16, 64, 256, 1024, 4096};
    recorder->flush_seconds =
        metrics_histogram("hookcast_flush_seconds", "Duration of a transaction that records outcomes.", NULL, SECONDS,
                          sizeof(SECONDS) / sizeof(SECONDS[0]));
    recorder->flush_deliveries = metrics_histogram("hookcast_flush_deliveries", "First attempts settled by one flush.",
                                                   NULL, COUNTS, sizeof(COUNTS) / sizeof(COUNTS[0]));
    recorder->flush_failures =
        metrics_counter("hookcast_flush_failures_total", "Flushes that did not work at once.", NULL);
    const char *name = "hookcast_deliveries_total", *help = "Attempts recorded, by outcome.";
    recorder->delivered = metrics_counter(name, help, "outcome=\"delivered\"");
    recorder->failed = metrics_counter(name, help, "outcome=\"failed\"");
    recorder->given_up = metrics_counter(name, help, "outcome=\"given_up\"");
    recorder->cancelled = metrics_counter(name, help, "outcome=\"cancelled\"");
    recorder->parked =
        metrics_counter("hookcast_parked_total", "Deliveries moved to the schedule before their answer.", NULL);
    recorder->events_written = metrics_counter("hookcast_events_total", "Events recorded (those that matched).", NULL);
    recorder->rejected_written = metrics_counter("hookcast_rejected_events_total", "Records kept as rejected.", NULL);
    recorder->outstanding = metrics_gauge("hookcast_outstanding_deliveries", "Taken and not durably settled.", NULL);
    recorder->outstanding_bytes = metrics_gauge("hookcast_outstanding_bytes", "Memory of what is not settled.", NULL);
}

struct recorder *recorder_new(const struct recorder_settings *settings) {
    struct recorder *recorder = mem_calloc(1, sizeof(*recorder));
    recorder->settings = *settings;
    recorder->loop = loop_new("recorder");
    recorder->queue = queue_new(recorder->loop, on_messages, recorder);
    recorder->timer = loop_timer_new(recorder->loop, on_timer, recorder);
    recorder->connection = connection_new(settings->settings->database_url, "hookcast recorder");
    TAILQ_INIT(&recorder->tracked);
    TAILQ_INIT(&recorder->ready);
    TAILQ_INIT(&recorder->ready_rows);
    TAILQ_INIT(&recorder->flush.taken);
    TAILQ_INIT(&recorder->flush.rows);
    TAILQ_INIT(&recorder->revokes);
    TAILQ_INIT(&recorder->adopts);
    /* A flush ends at 4 MiB of footprint; one event of a thousand answers of 16 KiB may lie on top. */
    buffer_init(&recorder->events, 64 * 1024 * 1024);
    buffer_init(&recorder->logs, 512 * 1024 * 1024);
    buffer_init(&recorder->rejected, 64 * 1024 * 1024);
    buffer_init(&recorder->done, 64 * 1024 * 1024);
    buffer_init(&recorder->identity, 128);
    recorder->schedule = schedule_changes_new();
    recorder->gathering = gathering_new();
    make_metrics(recorder);
    loop_each_round(recorder->loop, on_round_end, recorder);
    return recorder;
}

void recorder_set_lanes(struct recorder *recorder, struct lane **lanes, int count) {
    recorder->lanes = lanes;
    recorder->lane_count = count;
}

void recorder_start(struct recorder *recorder) {
    loop_timer_start(recorder->timer, 0);
    loop_start(recorder->loop);
}

void recorder_stop(struct recorder *recorder, int64_t deadline_ms) {
    atomic_store(&recorder->stopping, true);
    struct cutoff *cutoff = cutoff_start(recorder->connection, deadline_ms);
    loop_stop(recorder->loop);
    loop_join(recorder->loop);
    struct error error;
    do {
        struct queue_node *left = queue_take(recorder->queue);
        if (left)
            take_messages(recorder, left);
        /* A heartbeat alone is not worth waiting for. */
        if (recorder->ready_count == 0 && TAILQ_EMPTY(&recorder->flush.taken) && TAILQ_EMPTY(&recorder->flush.rows))
            break;
        turn(recorder);
        struct timespec pause = {0, 2 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    } while (clock_mono_ms() < deadline_ms);
    if (recorder->linked && process_forget(recorder->connection, &recorder->settings.process_id, &error) != STATUS_OK)
        log_debug("recorder", "this process's row stays for an hour", LOG_TEXT("error", error.text));
    cutoff_end(&cutoff);
    if (recorder->ready_count > 0 || !TAILQ_EMPTY(&recorder->flush.taken) || !TAILQ_EMPTY(&recorder->flush.rows))
        log_warn("recorder", "stopped with outcomes that could not be written; they will be sent again",
                 LOG_INT("count", recorder->ready_count + recorder->flush.deliveries));
}

static void free_taken_list(struct taken_list *list) {
    struct taken *taken;
    while ((taken = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, taken, link);
        taken_free(&taken);
    }
}

static void free_delivery_list(struct delivery_list *list) {
    struct delivery *delivery;
    while ((delivery = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, delivery, link);
        delivery_free(&delivery);
    }
}

void recorder_free(struct recorder **recorder_ptr) {
    struct recorder *recorder = *recorder_ptr;
    *recorder_ptr = NULL;
    if (!recorder)
        return;
    struct tracked *tracked;
    while ((tracked = TAILQ_FIRST(&recorder->tracked))) {
        free_taken_list(&tracked->open);
        recorder_untrack(recorder, tracked);
    }
    free_taken_list(&recorder->ready);
    free_taken_list(&recorder->flush.taken);
    free_delivery_list(&recorder->ready_rows);
    free_delivery_list(&recorder->flush.rows);
    struct revoke_wait *revoke;
    while ((revoke = TAILQ_FIRST(&recorder->revokes))) {
        TAILQ_REMOVE(&recorder->revokes, revoke, link);
        revoke_message_free(&revoke->message);
        mem_free(revoke);
    }
    struct adopt_wait *adopt;
    while ((adopt = TAILQ_FIRST(&recorder->adopts))) {
        TAILQ_REMOVE(&recorder->adopts, adopt, link);
        adopt_message_free(&adopt->message);
        mem_free(adopt);
    }
    buffer_deinit(&recorder->events);
    buffer_deinit(&recorder->logs);
    buffer_deinit(&recorder->rejected);
    buffer_deinit(&recorder->done);
    buffer_deinit(&recorder->identity);
    schedule_changes_free(&recorder->schedule);
    gathering_free(&recorder->gathering);
    connection_free(&recorder->connection);
    loop_timer_free(&recorder->timer);
    queue_free(&recorder->queue);
    loop_free(&recorder->loop);
    mem_free(recorder);
}

void recorder_push(struct recorder *recorder, struct queue_batch *batch) {
    queue_batch_push(recorder->queue, batch);
}

int64_t recorder_waiting(const struct recorder *recorder) {
    return atomic_load_explicit(&recorder->waiting, memory_order_relaxed);
}
