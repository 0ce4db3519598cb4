/* A POST of events: one object, or an array of them, in the native form. Each is judged by event_read itself, on the
 * very record that is to be produced, so that what is taken here is taken by the pipeline. */
#ifndef API_EVENT_INTAKE_H
#define API_EVENT_INTAKE_H

#include "api/call.h"
#include "api/publisher.h"

#define EVENT_INTAKE_MAX 1000
#define EVENT_INTAKE_MAX_BYTES 1000000 /* of one record, as Kafka takes it with its frame */

struct event_intake {
    struct publication *publication; /* a record for each event, in their order */
    const struct span *ids;          /* theirs, as JSON; in the call's arena */
};

/* Reads the call's body. It may be wrong: then the call has errors, or is answered already. Otherwise, and for
 * STATUS_OK alone, ret_intake is filled in. */
MUST_USE enum status event_intake_read(struct call *call, struct event_intake *ret_intake, struct error *error);

#endif
