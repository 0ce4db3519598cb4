/* Which event types come over Kafka, told by intake to the jobs thread, which writes them into the catalogue. Intake
 * pays a hash of a few bytes for an event: what was told within SIGHTINGS_EVERY_MS is remembered in a table of fixed
 * size, and what another entry displaced there is told again, which does no harm. */
#ifndef DISPATCH_SIGHTINGS_H
#define DISPATCH_SIGHTINGS_H

#include "webhook/event.h"

#define SIGHTINGS_EVERY_MS (5 * 60 * 1000)
#define SIGHTINGS_MAX 1000 /* told and not taken; what comes beyond is told by a later event */
#define SIGHTINGS_SAMPLE_MAX_BYTES (16 * 1024)

struct sightings;

struct sighting {
    struct sighting *next;
    struct span workspace_id, event_type;
    struct span sample; /* the payload, compact; SPAN_NONE: none, or too long */
    struct uuid event_key;
    char bytes[];
};

struct sightings *sightings_new(void);
void sightings_free(struct sightings **sightings);

/* One thread. now_ms: monotonic. */
void sightings_note(struct sightings *sightings, const struct event *event, int64_t now_ms);

/* Another one. What was told, in no order; the caller's. NULL: nothing. */
struct sighting *sightings_take(struct sightings *sightings);
void sightings_drop(struct sighting **chain);

#endif
