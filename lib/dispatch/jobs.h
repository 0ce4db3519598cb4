/* The thread for what is no delivery itself: it writes down what the answers say of the endpoints' health and disables
 * those that fail for too long, brings operational events to their subscribers, sends deliveries again on request,
 * counts the log, and notes which event types come over Kafka. One connection, short transactions, and nothing kept
 * that a crash would lose: what is to be done stands in tables.
 *
 *   lanes ── health ──▶ health ──▶ outbox ──▶ events, schedule
 *                                     jobs ──▶ schedule
 */
#ifndef DISPATCH_JOBS_H
#define DISPATCH_JOBS_H

#include "core/settings.h"
#include "dispatch/delivery.h"
#include "dispatch/roster.h"
#include "dispatch/sightings.h"

struct jobs;

struct jobs_settings {
    const struct settings *settings;
    struct roster *roster;
    struct uuid process_id;
    struct sightings *sightings; /* NULL: none */
};

struct jobs *jobs_new(const struct jobs_settings *settings);
void jobs_start(struct jobs *jobs);
void jobs_stop(struct jobs *jobs);
void jobs_free(struct jobs **jobs);

/* What a lane saw of an endpoint since it last told, in monotonic times; 0: nothing of that kind. A lane tells at once
 * when an endpoint begins to fail or to succeed, otherwise at most every HEALTH_EVERY_MS, or more often when the time
 * after which an endpoint is disabled is short. */
#define HEALTH_EVERY_MS (60 * 1000)
struct health_message {
    struct message message;            /* MESSAGE_HEALTH */
    struct subscription *subscription; /* a reference */
    int64_t success_ms;                /* the last success */
    int64_t failure_ms;                /* the last failure */
    int64_t failing_since_ms;          /* the first failure after the last success; 0: it succeeded last */
};

/* Any thread. */
void jobs_push(struct jobs *jobs, struct queue_batch *batch);

#endif
