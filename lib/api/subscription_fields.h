/* What a client says about a subscription: each field checked, and put into the row that will be written. In a worker.
 */
#ifndef API_SUBSCRIPTION_FIELDS_H
#define API_SUBSCRIPTION_FIELDS_H

#include "api/call.h"
#include "store/subscriptions.h"

/* What is not simply a column, and what more than one field decides. */
struct subscription_change {
    bool create;
    struct span secret;           /* SPAN_NONE: not given */
    const struct json_t *headers; /* NULL: not given; an object, or null to have none */
    bool gave_format, gave_template, gave_enabled, enabled, gave_asymmetric, asymmetric;
};

/* Reads the fields of call->json into row, which holds the row as it is, or, with change->create, the defaults. The
 * texts lie in call->json and in the arena. Complains with call_field_error. */
void subscription_fields_read(struct call *call, struct subscription_row *row, struct subscription_change *change);

/* A secret alone; SPAN_NONE after a complaint. */
struct span subscription_fields_read_secret(struct call *call, const struct json_t *value);

/* Refuses event types that neither the catalogue nor the workspace knows, with the nearest name. */
MUST_USE enum status subscription_fields_check_types(struct call *call, const struct subscription_row *row,
                                                     struct error *error);

#endif
