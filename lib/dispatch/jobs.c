/* Rounds: every table is looked at four times a second, and at once again while there is more. Without PostgreSQL a
 * round ends; what was told of health is kept for the next one, up to a bound, since every lane tells again. A step
 * that the database refuses has a pause, and keeps no other from its work. */
#include "dispatch/jobs.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "dispatch/jobs_private.h"

#define ROUND_MS 250
#define OPEN_TIMEOUT_MS 5000
#define CALL_TIMEOUT_MS 60000
#define RETRY_FIRST_MS 100
#define RETRY_LONGEST_MS 2000
#define REFUSED_PAUSE_MS 5000

static void on_messages(void *ctx, struct queue_node *first) {
    struct jobs *jobs = ctx;
    for (struct queue_node *node = first, *next; node; node = next) {
        next = node->next;
        jobs_health_add(jobs, (struct health_message *)MESSAGE_OF(node));
    }
}

static enum status open_connection(struct jobs *jobs, struct error *error) {
    if (connection_is_open(jobs->connection))
        return STATUS_OK;
    enum status status = connection_open(jobs->connection, OPEN_TIMEOUT_MS, error);
    if (status == STATUS_OK)
        status = connection_exec(jobs->connection, "SET lock_timeout = '1s'", error);
    return status;
}

typedef enum status step_fn(struct jobs *jobs, bool *ret_more, struct error *error);

static const struct {
    const char *what;
    step_fn *run;
} STEPS[JOBS_STEPS] = {
    {"health", jobs_health},         {"operational events", jobs_outbox},
    {"sending again", jobs_resend},  {"erasing", jobs_erase},
    {"event types", jobs_sightings}, {"counting", jobs_rollup}, /* last: nothing waits for it */
};

/* Said once when it begins and once when it is over. */
static void note_refusal(struct jobs *jobs, int step, enum status status, const struct error *error) {
    bool refused = status != STATUS_OK;
    if (refused && !jobs->steps[step].refused)
        log_warn("jobs", "a job is refused by PostgreSQL; the others go on", LOG_TEXT("job", STEPS[step].what),
                 LOG_TEXT("error", error->text));
    else if (!refused && jobs->steps[step].refused)
        log_info("jobs", "a job works again", LOG_TEXT("job", STEPS[step].what));
    jobs->steps[step].refused = refused;
    jobs->steps[step].again_at_ms = refused ? clock_mono_ms() + REFUSED_PAUSE_MS : 0;
}

enum status jobs_round(struct jobs *jobs, bool *ret_more, struct error *error) {
    enum status status = open_connection(jobs, error);
    for (int step = 0; step < JOBS_STEPS && status == STATUS_OK; step++) {
        if (clock_mono_ms() < jobs->steps[step].again_at_ms)
            continue;
        status = STEPS[step].run(jobs, ret_more, error);
        if (status == STATUS_CONFLICT) {
            status = STATUS_OK;
        } else if (status != STATUS_UNAVAILABLE && connection_is_open(jobs->connection)) {
            note_refusal(jobs, step, status, error);
            status = STATUS_OK;
        }
    }
    return status;
}

static void away(struct jobs *jobs, const struct error *error) {
    if (!jobs->away && !atomic_load(&jobs->stopping))
        log_warn("jobs", "jobs wait for PostgreSQL", LOG_TEXT("error", error->text));
    jobs->away = true;
    connection_close(jobs->connection);
    jobs->retry_pause_ms = jobs->retry_pause_ms ? jobs->retry_pause_ms * 2 : RETRY_FIRST_MS;
    if (jobs->retry_pause_ms > RETRY_LONGEST_MS)
        jobs->retry_pause_ms = RETRY_LONGEST_MS;
}

static void on_timer(void *ctx) {
    struct jobs *jobs = ctx;
    struct error error = {""};
    bool more = false;
    if (jobs_round(jobs, &more, &error) != STATUS_OK) {
        away(jobs, &error);
        loop_timer_start(jobs->timer, jobs->retry_pause_ms);
        return;
    }
    if (jobs->away)
        log_info("jobs", "jobs go on");
    jobs->away = false;
    jobs->retry_pause_ms = 0;
    loop_timer_start(jobs->timer, more ? 0 : ROUND_MS);
}

struct jobs *jobs_new(const struct jobs_settings *settings) {
    struct jobs *jobs = mem_calloc(1, sizeof(*jobs));
    jobs->settings = *settings;
    jobs->rules.topic_prefix = span_of(settings->settings->topic_prefix);
    jobs->loop = loop_new("jobs");
    jobs->queue = queue_new(jobs->loop, on_messages, jobs);
    jobs->timer = loop_timer_new(jobs->loop, on_timer, jobs);
    jobs->connection = connection_new(settings->settings->database_url, "hookcast jobs");
    connection_set_timeout(jobs->connection, CALL_TIMEOUT_MS);
    jobs->disabled = metrics_counter("hookcast_subscriptions_disabled_total",
                                     "Subscriptions disabled after failing for too long.", NULL);
    jobs->resent = metrics_counter("hookcast_resent_total", "Deliveries put into the schedule again on request.", NULL);
    return jobs;
}

void jobs_start(struct jobs *jobs) {
    loop_timer_start(jobs->timer, 0);
    loop_start(jobs->loop);
}

void jobs_stop(struct jobs *jobs) {
    atomic_store(&jobs->stopping, true);
    connection_interrupt(jobs->connection);
    loop_stop(jobs->loop);
    loop_join(jobs->loop);
}

void jobs_free(struct jobs **jobs_ptr) {
    struct jobs *jobs = *jobs_ptr;
    *jobs_ptr = NULL;
    if (!jobs)
        return;
    struct queue_node *left = queue_take(jobs->queue);
    if (left)
        on_messages(jobs, left);
    jobs_health_drop(jobs);
    sightings_drop(&jobs->sightings.taken);
    connection_free(&jobs->connection);
    loop_timer_free(&jobs->timer);
    queue_free(&jobs->queue);
    loop_free(&jobs->loop);
    mem_free(jobs);
}

void jobs_push(struct jobs *jobs, struct queue_batch *batch) {
    queue_batch_push(jobs->queue, batch);
}
