/* Reports wait in the order in which they came, bounded, and are written together: for each endpoint what its lane said
 * last, with the latest success and failure of all it said. A round that fails leaves them for the next one. */
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "dispatch/jobs_private.h"
#include "store/health.h"
#include "store/mails.h"
#include "store/render_versions.h"
#include "store/subscriptions.h"
#include <stdlib.h>

#define WRITE_MAX 1000
#define SWEEP_EVERY_MS (10 * 60 * 1000)
#define PURGE_MAX 10000
#define VERSIONS_MAX 5000 /* looked at */

static void message_free(struct health_message *message) {
    subscription_unref(&message->subscription);
    mem_free(message);
}

void jobs_health_add(struct jobs *jobs, struct health_message *message) {
    if (jobs->health_count >= JOBS_HEALTH_MAX) {
        message_free(message); /* its lane tells again */
        return;
    }
    queue_batch_add(&jobs->health, &message->message.node);
    jobs->health_count++;
}

/* Forgets the first count of them. */
static void drop(struct jobs *jobs, int64_t count) {
    for (; count > 0; count--) {
        struct queue_node *node = jobs->health.first;
        jobs->health.first = node->next;
        jobs->health_count--;
        message_free((struct health_message *)MESSAGE_OF(node));
    }
    if (!jobs->health.first)
        jobs->health.last = NULL;
}

void jobs_health_drop(struct jobs *jobs) {
    drop(jobs, jobs->health_count);
}

struct numbered {
    const struct health_message *message;
    int64_t number;
};

static int by_endpoint(const void *a, const void *b) {
    const struct numbered *x = a, *y = b;
    int order = uuid_compare(&x->message->subscription->id, &y->message->subscription->id);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

static int64_t later(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t age(int64_t at_ms, int64_t now_ms) {
    if (at_ms == 0)
        return HEALTH_NONE;
    return at_ms < now_ms ? now_ms - at_ms : 0;
}

/* One report for each endpoint of the messages, sorted by it. */
static size_t gather(const struct numbered *sorted, size_t count, struct health_report *reports) {
    int64_t now_ms = clock_mono_ms(), success_ms = 0, failure_ms = 0;
    size_t gathered = 0;
    for (size_t i = 0; i < count; i++) {
        const struct health_message *message = sorted[i].message;
        success_ms = later(success_ms, message->success_ms);
        failure_ms = later(failure_ms, message->failure_ms);
        if (i + 1 < count && uuid_equal(&message->subscription->id, &sorted[i + 1].message->subscription->id))
            continue;
        reports[gathered++] = (struct health_report){
            .workspace_id = subscription_workspace_id(message->subscription),
            .subscription_id = message->subscription->id,
            .success_age_ms = age(success_ms, now_ms),
            .failure_age_ms = age(failure_ms, now_ms),
            .failing_age_ms = age(message->failing_since_ms, now_ms),
        };
        success_ms = failure_ms = 0;
    }
    return gathered;
}

static void tell_disabled(struct jobs *jobs, const struct result *disabled) {
    for (int row = 0; disabled && row < result_rows(disabled); row++) {
        struct uuid id = result_uuid(disabled, row, 1);
        char text[UUID_TEXT_LEN + 1];
        uuid_format(&id, text);
        log_warn("jobs", "a subscription was disabled", LOG_SPAN("workspace", result_text(disabled, row, 0)),
                 LOG_TEXT("subscription", text), LOG_SPAN("reason", result_text(disabled, row, 2)));
        metric_add(jobs->disabled, 1);
    }
}

static enum status write_some(struct jobs *jobs, size_t count, struct error *error) {
    struct numbered *sorted = mem_calloc(count, sizeof(*sorted));
    struct health_report *reports = mem_calloc(count, sizeof(*reports));
    struct result *disabled = NULL;
    struct queue_node *node = jobs->health.first;
    for (size_t i = 0; i < count; i++, node = node->next)
        sorted[i] = (struct numbered){(struct health_message *)MESSAGE_OF(node), (int64_t)i};
    qsort(sorted, count, sizeof(*sorted), by_endpoint);
    size_t gathered = gather(sorted, count, reports);
    enum status status =
        health_write(jobs->connection, reports, gathered, jobs->settings.settings->disable_after_ms, &disabled, error);
    if (status == STATUS_OK) {
        tell_disabled(jobs, disabled);
        drop(jobs, (int64_t)count);
    }
    result_free(&disabled);
    mem_free(reports);
    mem_free(sorted);
    return status;
}

/* What nobody needs any more: every process does it, now and then. */
static enum status sweep(struct jobs *jobs, struct error *error) {
    int64_t now_ms = clock_mono_ms(), dropped = 0;
    if (jobs->swept_at_ms && now_ms - jobs->swept_at_ms < SWEEP_EVERY_MS)
        return STATUS_OK;
    enum status status = health_purge(jobs->connection, error);
    if (status == STATUS_OK)
        status = subscriptions_purge(jobs->connection, PURGE_MAX, error);
    if (status == STATUS_OK)
        status = mails_drop_old(jobs->connection, &dropped, error);
    if (status == STATUS_OK)
        status = render_versions_purge(jobs->connection, jobs->settings.settings->retention_ms, VERSIONS_MAX,
                                       &jobs->versions_after, error);
    if (status != STATUS_OK)
        return status;
    if (dropped > 0)
        log_warn("jobs", "mail that could not be sent for a day was dropped", LOG_INT("mails", dropped));
    jobs->swept_at_ms = now_ms;
    return STATUS_OK;
}

enum status jobs_health(struct jobs *jobs, bool *ret_more, struct error *error) {
    enum status status = sweep(jobs, error);
    if (status != STATUS_OK || jobs->health_count == 0)
        return status;
    int64_t count = jobs->health_count < WRITE_MAX ? jobs->health_count : WRITE_MAX;
    status = write_some(jobs, (size_t)count, error);
    *ret_more |= status == STATUS_OK && jobs->health_count > 0;
    return status;
}
