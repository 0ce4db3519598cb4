/* Replay and recovery. A step is one transaction: the job whose turn it is, a page of it, how far it has come. So it
 * may end at any point, and whoever takes the job goes on where the last COMMIT left it. How much a page holds follows
 * from how long the last ones took, so that neither large bodies nor a log of many rows make a long transaction. */
#include "base/clock.h"
#include "core/log.h"
#include "dispatch/jobs_private.h"
#include "store/resend.h"
#include <stdio.h>

#define LEASE_MS 10000
#define STEPS_MAX 16 /* a round */
#define ROUND_MS 200
#define PAGE_FIRST 100
#define PAGE_MAX 500
#define COUNT_PAGES 4 /* counting takes as many pages at once */
#define LOOKS_MAX 40
#define QUICK_MS 150
#define SLOW_MS 500
#define CHECK_EVERY 5000 /* rows made before it is asked whether there is room */
#define FULL_PAUSE_MS 1000
#define LOCKED_PAUSE_MS 100
#define PURGE_EVERY_MS (10 * 60 * 1000)
#define PURGE_MAX 10000

enum step { STEP_NONE, STEP_WAITS, STEP_DID };

static enum status end_transaction(struct jobs *jobs, enum status status, struct error *error) {
    struct error ignored;
    if (status == STATUS_OK)
        return connection_exec(jobs->connection, "COMMIT", error);
    if (connection_is_open(jobs->connection) && connection_exec(jobs->connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(jobs->connection);
    return status;
}

static const char *ended_because(const struct job *job) {
    if (!job->subscription_status.data)
        return "the subscription is gone";
    return span_is(job->subscription_status, "paused") ? "the subscription was paused"
                                                       : "the subscription was disabled";
}

/* What is looked through for nothing is looked through again for the next page. */
static enum status read_page(struct jobs *jobs, const struct job *job, int max, struct resend_page *page,
                             struct error *error) {
    enum status status = resend_read(jobs->connection, job, max * jobs->resend_looks, max, page, error);
    if (status != STATUS_OK)
        return status;
    if (page->picked == max && jobs->resend_looks > 1)
        jobs->resend_looks /= 2;
    else if (page->picked < max / 2 && !page->end)
        jobs->resend_looks = jobs->resend_looks * 2 < LOOKS_MAX ? jobs->resend_looks * 2 : LOOKS_MAX;
    return status;
}

static enum status count_page(struct jobs *jobs, const struct job *job, struct error *error) {
    int max = jobs->resend_page * COUNT_PAGES;
    struct resend_page page = {.keys = NULL};
    int64_t count = 0;
    enum status status = read_page(jobs, job, max, &page, error);
    if (status == STATUS_OK)
        status = resend_count(jobs->connection, job, &page, &count, error);
    if (status == STATUS_OK) {
        page.next.tally = job->position.tally + count;
        status = jobs_advance(jobs->connection, job, &page.next, page.end ? JOB_NEXT_COUNTED : JOB_NEXT_GOES_ON, 0, 0,
                              error);
    }
    resend_page_deinit(&page);
    return status;
}

static enum status make_page(struct jobs *jobs, const struct job *job, enum step *ret_step, int64_t *ret_rows,
                             struct error *error) {
    struct resend_page page = {.keys = NULL};
    struct resend_made made = {0};
    bool full = false;
    enum status status = read_page(jobs, job, jobs->resend_page, &page, error);
    if (status == STATUS_OK && job->position.tally >= CHECK_EVERY) {
        status = resend_is_full(jobs->connection, job, &page, &full, error);
        page.next.tally = 0;
    }
    if (status == STATUS_OK && full) {
        *ret_step = STEP_WAITS;
        status = jobs_pause(jobs->connection, &job->id, FULL_PAUSE_MS, error);
    } else if (status == STATUS_OK) {
        status = resend_make(jobs->connection, job, &page, &made, error);
        page.next.tally += made.rows;
        if (status == STATUS_OK)
            status = jobs_advance(jobs->connection, job, &page.next, page.end ? JOB_NEXT_DONE : JOB_NEXT_GOES_ON,
                                  made.done, made.failed, error);
        *ret_rows = made.rows;
    }
    resend_page_deinit(&page);
    return status;
}

static enum status do_piece(struct jobs *jobs, const struct job *job, enum step *ret_step, int64_t *ret_rows,
                            struct error *error) {
    if (job->wrong)
        return jobs_fail(jobs->connection, &job->id, job->wrong, error);
    if (job->one_subscription && !span_is(job->subscription_status, "active"))
        return jobs_fail(jobs->connection, &job->id, ended_because(job), error);
    return job->state == JOB_COUNTING ? count_page(jobs, job, error) : make_page(jobs, job, ret_step, ret_rows, error);
}

/* A job whose piece the database refuses must not keep the others, nor the rest of this thread, from theirs. */
static enum status put_off(struct jobs *jobs, const struct job *job, enum status status, struct error *error) {
    if (status == STATUS_CONFLICT)
        return jobs_pause(jobs->connection, &job->id, LOCKED_PAUSE_MS, error);
    struct error why = *error;
    char id[UUID_TEXT_LEN + 1];
    uuid_format(&job->id, id);
    log_warn("jobs", "a piece of a job failed", LOG_TEXT("job", id), LOG_TEXT("error", why.text));
    return jobs_refused(jobs->connection, &job->id, why.text, error);
}

static void fit_page(struct jobs *jobs, int64_t took_ms) {
    if (took_ms > SLOW_MS)
        jobs->resend_page = jobs->resend_page > 1 ? jobs->resend_page / 2 : 1;
    else if (took_ms < QUICK_MS && jobs->resend_page < PAGE_MAX)
        jobs->resend_page = jobs->resend_page * 2 < PAGE_MAX ? jobs->resend_page * 2 : PAGE_MAX;
}

static enum status do_step(struct jobs *jobs, enum step *ret_step, struct error *error) {
    struct job job;
    struct result *rows = NULL;
    int64_t began_ms = clock_mono_ms(), made = 0;
    *ret_step = STEP_NONE;
    enum status status = resend_begin(jobs->connection, error);
    if (status != STATUS_OK) /* while a payload is being erased, say: what else this thread does goes on */
        return end_transaction(jobs, status, error);
    status = jobs_take(jobs->connection, &jobs->settings.process_id, LEASE_MS, &job, &rows, error);
    if (status != STATUS_OK) {
        status = end_transaction(jobs, status, error);
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    *ret_step = STEP_DID;
    status = end_transaction(jobs, do_piece(jobs, &job, ret_step, &made, error), error);
    fit_page(jobs, clock_mono_ms() - began_ms);
    if (status == STATUS_OK)
        metric_add(jobs->resent, (double)made);
    else if (connection_is_open(jobs->connection))
        status = put_off(jobs, &job, status, error);
    result_free(&rows);
    return status;
}

static enum status purge(struct jobs *jobs, struct error *error) {
    int64_t now_ms = clock_mono_ms();
    if (jobs->purged_at_ms && now_ms - jobs->purged_at_ms < PURGE_EVERY_MS)
        return STATUS_OK;
    enum status status = jobs_purge(jobs->connection, jobs->settings.settings->retention_ms, PURGE_MAX, error);
    if (status == STATUS_OK)
        jobs->purged_at_ms = now_ms;
    return status;
}

enum status jobs_resend(struct jobs *jobs, bool *ret_more, struct error *error) {
    int64_t ends_ms = clock_mono_ms() + ROUND_MS;
    enum status status = purge(jobs, error);
    enum step step = STEP_DID;
    if (jobs->resend_page == 0) {
        jobs->resend_page = PAGE_FIRST;
        jobs->resend_looks = 1;
    }
    for (int i = 0; i < STEPS_MAX && status == STATUS_OK && step != STEP_NONE && clock_mono_ms() < ends_ms; i++) {
        status = do_step(jobs, &step, error);
        *ret_more |= step == STEP_DID;
    }
    return status;
}
