/* What is said of an event type that nobody knows. In a worker. */
#ifndef API_EVENT_TYPE_NAMES_H
#define API_EVENT_TYPE_NAMES_H

#include "api/call.h"

/* Complains about the field: there is no such type, did you mean … dialect: whose names are meant; SPAN_NONE: all that
 * the workspace knows. */
MUST_USE enum status event_type_unknown(struct call *call, const char *field, struct span type, struct span dialect,
                                        struct error *error);

#endif
