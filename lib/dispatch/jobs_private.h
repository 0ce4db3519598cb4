/* What the files of the jobs thread share: jobs.c (the thread and its rhythm), jobs_health.c (health, disabling),
 * jobs_outbox.c (operational events), jobs_resend.c (replay and recovery), jobs_rollup.c (counts of the log),
 * jobs_erase.c (workspaces that go, events that went). */
#ifndef DISPATCH_JOBS_PRIVATE_H
#define DISPATCH_JOBS_PRIVATE_H

#include "core/metrics.h"
#include "db/connection.h"
#include "dispatch/jobs.h"

#define JOBS_STEPS 6

struct jobs {
    struct jobs_settings settings;
    struct loop *loop;
    struct queue *queue;
    struct loop_timer *timer;
    struct connection *connection;
    _Atomic bool stopping;
    bool away; /* said so in the log */
    int64_t retry_pause_ms;
    struct {
        bool refused;        /* said so in the log */
        int64_t again_at_ms; /* monotonic; 0: at once */
    } steps[JOBS_STEPS];
    struct event_rules rules;
    struct queue_batch health; /* told and not written yet: struct health_message */
    int64_t health_count;
    int64_t swept_at_ms;    /* monotonic; 0: not yet */
    int64_t versions_after; /* see render_versions_purge */
    int resend_page;        /* deliveries in a page of a job, as many as a short transaction bears */
    int resend_looks;       /* rows looked at for each of them, as many as it takes to find them */
    int64_t purged_at_ms;   /* when jobs that ended long ago were last looked for */
    struct metric *disabled, *resent;
    struct {
        int minutes;                         /* in a piece, as many as a short transaction bears */
        int64_t looked_at_ms, ceiling_at_ms; /* monotonic; 0: not yet */
        int64_t ceiling_ms, next_ceiling_ms; /* wall; see log_rollup_step */
    } rollup;
    struct {
        struct sighting *taken;             /* and not written yet */
        int64_t looked_at_ms, forgot_at_ms; /* monotonic; 0: not yet */
    } sightings;
    struct {
        int64_t looked_at_ms, purged_at_ms; /* monotonic; 0: not yet */
    } erase;
};

/* One look at everything. STATUS_UNAVAILABLE: PostgreSQL is away. */
MUST_USE enum status jobs_round(struct jobs *jobs, bool *ret_more, struct error *error);

/* Each does a bounded piece of what there is to do; *ret_more: there is more at once. STATUS_CONFLICT: somebody else
 * has a lock; the next round tries again. */
MUST_USE enum status jobs_health(struct jobs *jobs, bool *ret_more, struct error *error);
MUST_USE enum status jobs_outbox(struct jobs *jobs, bool *ret_more, struct error *error);
MUST_USE enum status jobs_resend(struct jobs *jobs, bool *ret_more, struct error *error);
MUST_USE enum status jobs_rollup(struct jobs *jobs, bool *ret_more, struct error *error);
MUST_USE enum status jobs_sightings(struct jobs *jobs, bool *ret_more, struct error *error);
MUST_USE enum status jobs_erase(struct jobs *jobs, bool *ret_more, struct error *error);

/* Keeps what was told until it is written; past JOBS_HEALTH_MAX it is dropped. */
#define JOBS_HEALTH_MAX 65536
void jobs_health_add(struct jobs *jobs, struct health_message *message);
/* Forgets what was told and not written. */
void jobs_health_drop(struct jobs *jobs);

#endif
