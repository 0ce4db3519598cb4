/* Workspaces: whom everything belongs to. */
#ifndef STORE_WORKSPACES_H
#define STORE_WORKSPACES_H

#include "db/connection.h"

#define WORKSPACE_ID_MAX_BYTES 200
#define WORKSPACE_NAME_MAX_BYTES 1024

/* 1 to WORKSPACE_ID_MAX_BYTES bytes of UTF-8 without control characters. */
bool workspace_id_valid(struct span id);

/* Makes the row if it is not there; a name (SPAN_NONE: none) is set in either case. */
MUST_USE enum status workspaces_ensure(struct connection *connection, struct span id, struct span name,
                                       struct error *error);

MUST_USE enum status workspaces_exists(struct connection *connection, struct span id, bool *ret_exists,
                                       struct error *error);

#endif
