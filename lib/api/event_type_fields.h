/* What a client says about an event type of its workspace, and how it is shown. In a worker. */
#ifndef API_EVENT_TYPE_FIELDS_H
#define API_EVENT_TYPE_FIELDS_H

#include "api/call.h"
#include "store/catalogue.h"

/* 1 to 200 of A-Z a-z 0-9 _ . - */
bool event_type_name_valid(struct span name);

/* Reads call->json into entry, which holds the type as it is, or when create what it is without a word said. The texts
 * lie in call->json and in the arena. The example has to be as the schema says. Complains with call_field_error. */
void event_type_fields_read(struct call *call, bool create, struct catalogue_entry *entry);

/* Appends the object to the answer. */
void event_type_write(struct call *call, const struct catalogue_entry *entry);

/* The schemas of some types of the workspace, for as long as the call lives. */
struct event_type_schemas;
MUST_USE enum status event_type_schemas_load(struct call *call, const struct span *types, size_t count,
                                             struct event_type_schemas **ret_schemas, struct error *error);
bool event_type_schemas_any(const struct event_type_schemas *schemas);
void event_type_schemas_free(struct event_type_schemas **schemas);
/* Complains when the payload (JSON; SPAN_NONE: null) is not as its type's schema says. field: where the payload stands,
 * such as "[3].payload". */
void event_type_schemas_check(struct event_type_schemas *schemas, struct call *call, const char *field,
                              struct span type, struct span payload);

#endif
