/* Event types that come over Kafka go into the catalogue. What could not be written is kept for the next round; further
 * ones wait where they were told. */
#include "base/clock.h"
#include "base/memory.h"
#include "dispatch/jobs_private.h"
#include "store/catalogue.h"

#define LOOK_EVERY_MS 1000
#define FORGET_EVERY_MS (3600 * 1000)

static enum status forget_old(struct jobs *jobs, int64_t now_ms, struct error *error) {
    if (jobs->sightings.forgot_at_ms && now_ms - jobs->sightings.forgot_at_ms < FORGET_EVERY_MS)
        return STATUS_OK;
    enum status status =
        catalogue_forget_samples(jobs->connection, jobs->settings.settings->payload_retention_ms, error);
    if (status == STATUS_OK)
        jobs->sightings.forgot_at_ms = now_ms;
    return status;
}

enum status jobs_sightings(struct jobs *jobs, bool *ret_more, struct error *error) {
    int64_t now_ms = clock_mono_ms();
    (void)ret_more;
    if (!jobs->settings.sightings ||
        (jobs->sightings.looked_at_ms && now_ms - jobs->sightings.looked_at_ms < LOOK_EVERY_MS))
        return STATUS_OK;
    jobs->sightings.looked_at_ms = now_ms;
    enum status status = forget_old(jobs, now_ms, error);
    if (status != STATUS_OK)
        return status;
    if (!jobs->sightings.taken)
        jobs->sightings.taken = sightings_take(jobs->settings.sightings);
    if (!jobs->sightings.taken)
        return STATUS_OK;
    struct catalogue_sighting *rows = mem_calloc(SIGHTINGS_MAX, sizeof(*rows));
    size_t count = 0;
    for (struct sighting *one = jobs->sightings.taken; one && count < SIGHTINGS_MAX; one = one->next)
        rows[count++] = (struct catalogue_sighting){one->workspace_id, one->event_type, one->sample, one->event_key};
    status = catalogue_sighted(jobs->connection, rows, count, error);
    mem_free(rows);
    if (status == STATUS_OK)
        sightings_drop(&jobs->sightings.taken);
    return status;
}
