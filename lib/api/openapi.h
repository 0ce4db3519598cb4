/* The description of the API (OpenAPI 3.1). What a request and an answer are is written down in openapi.json; what
 * follows from a route itself (its path's parameters, who may, which errors) is added from the table of routes, so that
 * it can't be forgotten. Any thread. */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H

#include "base/buffer.h"

/* The document without its last brace, so that more members may follow. Made once. */
struct span openapi_head(void);

/* Appends a member of `webhooks`, in quotes and without a comma. payload: JSON, or SPAN_NONE. */
void openapi_webhook(struct span event_type, struct span description, struct span payload, struct buffer *out);

#endif
