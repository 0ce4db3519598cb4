/* What the dialects share: subscriptions as other documents write them down (docs/dialects.md). A dialect's fields are
 * read as the native ones that they stand for, so that one code checks them all, and complained of by the dialect's
 * names. In a worker. */
#ifndef API_DIALECT_H
#define API_DIALECT_H

#include "api/subscription_fields.h"

struct dialect_field {
    const char *name;   /* the dialect's */
    const char *native; /* the subscription's; NULL: for the handler alone */
    bool required;
};

struct dialect {
    struct span name; /* the catalogue's */
    const struct dialect_field *fields;
    size_t field_count;
};

/* False: an admin key that names no workspace; the call is answered. */
bool dialect_workspace(struct call *call);

/* Refuses members that the dialect does not have, and asks for those that are required. */
void dialect_check_fields(struct call *call, const struct dialect *dialect);

/* What a subscription is before anybody says anything about it; its id is new. */
struct subscription_row dialect_row(const struct call *call);

/* Reads the body into row as a creation; its event types have to be the dialect's. Complains with call_field_error. */
MUST_USE enum status dialect_read(struct call *call, const struct dialect *dialect, struct subscription_row *row,
                                  struct subscription_change *change, struct error *error);

/* The text of a member that is one; SPAN_NONE otherwise. */
struct span dialect_text(const struct call *call, const char *name);

struct json_t *dialect_types_json(const struct subscription_row *row);
struct json_t *dialect_id_json(const struct uuid *id);

#endif
