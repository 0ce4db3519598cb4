/* The counts of the log. A step is one short transaction (store/log_rollup.h); after a pause there are many, each as
 * large as a short transaction bears. */
#include "base/clock.h"
#include "core/log.h"
#include "dispatch/jobs_private.h"
#include "store/log_rollup.h"
#include "store/partitions.h"

#define LOOK_EVERY_MS 1000
#define ROUND_MS 200
#define FAILED_PAUSE_MS 60000
#define QUICK_MS 100
#define SLOW_MS 400
/* Every process that writes has looked at the days since, twice: see DAYS_EVERY_MS of the recorder. */
#define CEILING_MS (2 * 60 * 1000)

/* The last day's end is what everyone knows who has looked since it was first seen; a later end that was just made is
 * not. */
static enum status read_ceiling(struct jobs *jobs, int64_t now_ms, struct error *error) {
    struct partition_bounds bounds;
    if (jobs->rollup.ceiling_at_ms && now_ms - jobs->rollup.ceiling_at_ms < CEILING_MS)
        return STATUS_OK;
    enum status status = partitions_read_bounds(jobs->connection, &bounds, error);
    if (status == STATUS_NOT_FOUND)
        return STATUS_CONFLICT; /* the recorder makes the days */
    if (status != STATUS_OK)
        return status;
    bool first = jobs->rollup.ceiling_at_ms == 0;
    jobs->rollup.ceiling_ms = first ? bounds.upper_ms : jobs->rollup.next_ceiling_ms;
    jobs->rollup.next_ceiling_ms = bounds.upper_ms;
    jobs->rollup.ceiling_at_ms = now_ms;
    return STATUS_OK;
}

static void fit_piece(struct jobs *jobs, int64_t took_ms) {
    int minutes = jobs->rollup.minutes;
    if (took_ms > SLOW_MS && minutes > 1)
        jobs->rollup.minutes = minutes / 2;
    else if (took_ms < QUICK_MS && minutes < LOG_ROLLUP_MAX_MINUTES)
        jobs->rollup.minutes = minutes * 2 < LOG_ROLLUP_MAX_MINUTES ? minutes * 2 : LOG_ROLLUP_MAX_MINUTES;
}

enum status jobs_rollup(struct jobs *jobs, bool *ret_more, struct error *error) {
    int64_t began_ms = clock_mono_ms(), now_ms = began_ms;
    bool did = true;
    if (jobs->rollup.looked_at_ms && began_ms - jobs->rollup.looked_at_ms < LOOK_EVERY_MS)
        return STATUS_OK;
    if (jobs->rollup.minutes == 0)
        jobs->rollup.minutes = 1;
    enum status status = read_ceiling(jobs, began_ms, error);
    while (status == STATUS_OK && did && now_ms - began_ms < ROUND_MS) {
        int64_t step_ms = now_ms;
        status = log_rollup_step(jobs->connection, jobs->rollup.minutes, jobs->rollup.ceiling_ms, &did, error);
        now_ms = clock_mono_ms();
        fit_piece(jobs, now_ms - step_ms);
    }
    if (status == STATUS_OK && did) {
        *ret_more = true;
        return STATUS_OK;
    }
    jobs->rollup.looked_at_ms = now_ms;
    if (status != STATUS_FAILED || !connection_is_open(jobs->connection))
        return status;
    /* That the log can't be counted must not keep the rest of this thread from its work. */
    log_warn("jobs", "a piece of the log could not be counted; it is tried again", LOG_TEXT("error", error->text));
    jobs->rollup.looked_at_ms += FAILED_PAUSE_MS;
    return STATUS_OK;
}
