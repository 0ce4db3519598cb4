/* One round after the other: what has its time (rank, holds, measures), then due rows, then held ones; then a pause as
 * long as the round found little. Every statement is short, and nothing is remembered of a row but its lease: after an
 * interruption the thread begins again as if it were new. */
#include "dispatch/scheduler.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "dispatch/scheduler_private.h"
#include "store/process.h"
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define RANK_EVERY_MS 1000
#define STATS_EVERY_MS 5000
#define SWEEP_EVERY_MS 2000
#define COST_SHARE 20
#define IDLE_PAUSE_MS 40
#define SOME_PAUSE_MS 10
#define FULL_PAUSE_MS 2
#define OPEN_TIMEOUT_MS 5000
#define CALL_TIMEOUT_MS 10000
#define RETRY_FIRST_MS 100
#define RETRY_LONGEST_MS 2000
#define STOP_LIMIT_S 3
#define HEADERS_MAX_BYTES (1024 * 1024)

static void make_metrics(struct scheduler *scheduler) {
    static const double SECONDS[] = {0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300};
    scheduler->lateness = metrics_histogram("hookcast_schedule_lateness_seconds",
                                            "From when a row was due to its claim, by the database's clock.", NULL,
                                            SECONDS, sizeof(SECONDS) / sizeof(SECONDS[0]));
    scheduler->rows = metrics_gauge("hookcast_schedule_rows", "Rows of the schedule, an estimate when many.", NULL);
    scheduler->held_rows =
        metrics_gauge("hookcast_schedule_held_rows", "Rows of held endpoints, an estimate when many.", NULL);
    scheduler->oldest_due =
        metrics_gauge("hookcast_schedule_oldest_due_seconds", "How long the oldest unclaimed row has been due.", NULL);
    scheduler->hold_gauge = metrics_gauge("hookcast_holds", "Endpoints that are held.", NULL);
    scheduler->divisor = metrics_gauge("hookcast_limit_processes",
                                       "What limits of subscriptions are divided by; 0: no share of any yet.", NULL);
    scheduler->claims = metrics_counter("hookcast_claims_total", "Rows claimed, drained ones included.", NULL);
    scheduler->batches = metrics_counter("hookcast_batches_total", "Batches made.", "by=\"scheduler\"");
}

struct scheduler *scheduler_new(const struct scheduler_settings *settings) {
    struct scheduler *scheduler = mem_calloc(1, sizeof(*scheduler));
    scheduler->settings = *settings;
    scheduler->rules.topic_prefix = span_of(settings->settings->topic_prefix);
    scheduler->connection = connection_new(settings->settings->database_url, "hookcast scheduler");
    connection_set_timeout(scheduler->connection, CALL_TIMEOUT_MS);
    scheduler->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(scheduler->wake_fd >= 0);
    scheduler->retry_pause_ms = RETRY_FIRST_MS;
    due_scan_init(&scheduler->scan);
    TAILQ_INIT(&scheduler->mine);
    buffer_init(&scheduler->headers, HEADERS_MAX_BYTES);
    make_metrics(scheduler);
    return scheduler;
}

void scheduler_free(struct scheduler **scheduler_ptr) {
    struct scheduler *scheduler = *scheduler_ptr;
    *scheduler_ptr = NULL;
    if (!scheduler)
        return;
    scheduler_forget_holds(scheduler);
    connection_free(&scheduler->connection);
    buffer_deinit(&scheduler->headers);
    mem_free(scheduler->swept_workspace);
    close(scheduler->wake_fd);
    mem_free(scheduler);
}

/* ---- what has its time ---- */

static enum status look_at_rank(struct scheduler *scheduler, int64_t now_ms, struct error *error) {
    int count = 1, rank = 0;
    if (now_ms < scheduler->rank_at_ms)
        return STATUS_OK;
    /* Of two processes that find each other after a gap, the later one finds the other only if that has beaten. */
    bool beaten = pulse_is_fresh(scheduler->settings.pulse, now_ms);
    enum status status = process_rank(scheduler->connection, &scheduler->settings.process_id, &count, &rank, error);
    if (status != STATUS_OK)
        return status;
    scheduler->buckets = 0;
    for (int bucket = 0; bucket < 16; bucket++)
        if (bucket % count == rank)
            scheduler->buckets |= (uint16_t)(1u << bucket);
    if (beaten) {
        crowd_saw(&scheduler->crowd, count, now_ms);
        atomic_store_explicit(&scheduler->settings.pulse->processes, scheduler->crowd.divisor, memory_order_relaxed);
        scheduler->ranked_ms = now_ms;
        metric_set(scheduler->divisor, (double)scheduler->crowd.divisor);
    }
    scheduler->rank_at_ms = now_ms + (beaten ? RANK_EVERY_MS : IDLE_PAUSE_MS);
    return STATUS_OK;
}

/* Of something that began just now and may have been dear: it takes a twentieth of the time, at most. */
static int64_t next_time(int64_t began_ms, int64_t every_ms) {
    int64_t pause_ms = COST_SHARE * (clock_mono_ms() - began_ms);
    return began_ms + (pause_ms > every_ms ? pause_ms : every_ms);
}

static enum status measure(struct scheduler *scheduler, struct error *error) {
    int64_t now_ms = clock_mono_ms();
    struct schedule_stats stats;
    if (now_ms < scheduler->stats_at_ms)
        return STATUS_OK;
    enum status status = schedule_stats(scheduler->connection, &stats, error);
    if (status != STATUS_OK)
        return status;
    metric_set(scheduler->rows, (double)stats.rows);
    metric_set(scheduler->held_rows, (double)stats.held);
    metric_set(scheduler->oldest_due, (double)stats.oldest_due_ms / 1e3);
    scheduler->stats_at_ms = next_time(now_ms, STATS_EVERY_MS);
    return STATUS_OK;
}

static enum status sweep(struct scheduler *scheduler, struct error *error) {
    int64_t now_ms = clock_mono_ms();
    enum pace pace = PACE_IDLE;
    if (now_ms < scheduler->sweep_at_ms)
        return STATUS_OK;
    enum status status = scheduler_sweep(scheduler, &pace, error);
    scheduler->sweep_at_ms = pace == PACE_IDLE ? next_time(now_ms, SWEEP_EVERY_MS) : now_ms + IDLE_PAUSE_MS;
    return status;
}

/* ---- rounds ---- */

static enum status open_connection(struct scheduler *scheduler, struct error *error) {
    if (connection_is_open(scheduler->connection))
        return STATUS_OK;
    enum status status = connection_open(scheduler->connection, OPEN_TIMEOUT_MS, error);
    if (status == STATUS_OK)
        status = schedule_session(scheduler->connection, error);
    scheduler->rank_at_ms = scheduler->holds_at_ms = 0;
    return status;
}

static bool may_claim(struct scheduler *scheduler) {
    return pulse_is_fresh(scheduler->settings.pulse, clock_mono_ms()) && roster_is_loaded(scheduler->settings.roster) &&
           !atomic_load(&scheduler->stopping);
}

/* Shares of limits are good for as long as both were read lately. */
static void note_look(struct scheduler *scheduler) {
    int64_t ranked_ms = scheduler->ranked_ms, listed_ms = scheduler->listed_ms;
    if (ranked_ms && listed_ms)
        atomic_store_explicit(&scheduler->settings.pulse->looked_ms, ranked_ms < listed_ms ? ranked_ms : listed_ms,
                              memory_order_release);
}

static enum status do_round(struct scheduler *scheduler, enum pace *ret_pace, struct error *error) {
    int64_t now_ms = clock_mono_ms();
    enum status status = open_connection(scheduler, error);
    if (status == STATUS_OK)
        status = look_at_rank(scheduler, now_ms, error);
    if (status == STATUS_OK)
        status = measure(scheduler, error);
    if (status != STATUS_OK || !may_claim(scheduler))
        return status;
    status = scheduler_look_at_holds(scheduler, now_ms, error);
    note_look(scheduler);
    if (status == STATUS_OK && scheduler->buckets)
        status = scheduler_due(scheduler, ret_pace, error);
    if (status == STATUS_OK)
        status = scheduler_due_of_others(scheduler, now_ms, ret_pace, error);
    if (status == STATUS_OK && may_claim(scheduler))
        status = scheduler_drain(scheduler, ret_pace, error);
    if (status == STATUS_OK)
        status = sweep(scheduler, error);
    return status;
}

/* One line when PostgreSQL goes and one when it is back. A lock that somebody else kept is no such thing: the next
 * round does what this one could not. */
static int64_t after_round(struct scheduler *scheduler, enum status status, enum pace pace, const struct error *error) {
    static const int64_t PAUSES_MS[] = {IDLE_PAUSE_MS, SOME_PAUSE_MS, FULL_PAUSE_MS};
    if (status == STATUS_CONFLICT)
        return IDLE_PAUSE_MS;
    if (status == STATUS_OK) {
        if (scheduler->away)
            log_info("scheduler", "the schedule is read again");
        scheduler->away = false;
        scheduler->retry_pause_ms = RETRY_FIRST_MS;
        return PAUSES_MS[pace];
    }
    if (!scheduler->away && !atomic_load(&scheduler->stopping))
        log_warn("scheduler", "the schedule can't be read; trying again", LOG_TEXT("error", error->text));
    scheduler->away = true;
    connection_close(scheduler->connection);
    int64_t pause_ms = scheduler->retry_pause_ms;
    scheduler->retry_pause_ms = pause_ms * 2 < RETRY_LONGEST_MS ? pause_ms * 2 : RETRY_LONGEST_MS;
    return pause_ms;
}

static void *run(void *ctx) {
    struct scheduler *scheduler = ctx;
    (void)pthread_setname_np(pthread_self(), "scheduler");
    struct error error = {""};
    while (!atomic_load(&scheduler->stopping)) {
        enum pace pace = PACE_IDLE;
        enum status status = do_round(scheduler, &pace, &error);
        int64_t pause_ms = after_round(scheduler, status, pace, &error);
        struct pollfd wake = {scheduler->wake_fd, POLLIN, 0};
        (void)poll(&wake, 1, (int)pause_ms);
    }
    /* The others need not wait for the leases to run out. */
    if (connection_is_open(scheduler->connection) &&
        holds_release_all(scheduler->connection, &scheduler->settings.process_id, &error) != STATUS_OK)
        log_warn("scheduler", "the holds could not be given back; they expire", LOG_TEXT("error", error.text));
    connection_close(scheduler->connection);
    return NULL;
}

void scheduler_start(struct scheduler *scheduler) {
    CHECK(pthread_create(&scheduler->thread, NULL, run, scheduler) == 0);
}

void scheduler_stop(struct scheduler *scheduler) {
    uint64_t one = 1;
    atomic_store(&scheduler->stopping, true);
    if (write(scheduler->wake_fd, &one, sizeof(one)) < 0) {
        /* The counter is full: it is awake already. */
    }
    struct timespec limit;
    CHECK(clock_gettime(CLOCK_REALTIME, &limit) == 0);
    limit.tv_sec += STOP_LIMIT_S;
    if (pthread_timedjoin_np(scheduler->thread, NULL, &limit) == 0)
        return;
    connection_interrupt(scheduler->connection);
    CHECK(pthread_join(scheduler->thread, NULL) == 0);
}
