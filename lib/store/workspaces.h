/* Workspaces: whom everything belongs to. */
#ifndef STORE_WORKSPACES_H
#define STORE_WORKSPACES_H

#include "db/connection.h"

#define WORKSPACE_ID_MAX_BYTES 200
#define WORKSPACE_NAME_MAX_BYTES 1024

/* 1 to WORKSPACE_ID_MAX_BYTES bytes of UTF-8 without control characters. */
bool workspace_id_valid(struct span id);

/* A workspace that is being erased is there for nobody but workspaces_list, _get and _erase_step.
 *
 *   there ── workspaces_erase ──▶ being erased ── workspaces_erase_step … ──▶ gone */

/* Makes the row if it is not there; a name (SPAN_NONE: none) is set in either case. */
MUST_USE enum status workspaces_ensure(struct connection *connection, struct span id, struct span name,
                                       struct error *error);

MUST_USE enum status workspaces_exists(struct connection *connection, struct span id, bool *ret_exists,
                                       struct error *error);

/* As it is shown; the spans point into the result. */
struct workspace_row {
    struct span id, name; /* SPAN_NONE: no name */
    int64_t created_at_ms, updated_at_ms;
    int64_t erased_at_ms; /* since when it is being erased; 0: it is not */
    bool made;            /* of workspaces_put: it was not there before */
};
void workspaces_row_read(const struct result *rows, int row, struct workspace_row *ret_row);

/* By id, after `after` (SPAN_NONE: from the first). */
MUST_USE enum status workspaces_list(struct connection *connection, struct span after, int limit,
                                     struct result **ret_rows, struct error *error);
/* STATUS_NOT_FOUND: there is none. */
MUST_USE enum status workspaces_get(struct connection *connection, struct span id, struct result **ret_rows,
                                    struct error *error);
/* Makes it, or gives it this name (SPAN_NONE: none). STATUS_NOT_FOUND: it is being erased. */
MUST_USE enum status workspaces_put(struct connection *connection, struct span id, struct span name,
                                    struct result **ret_rows, struct error *error);

/* From now on it is being erased, and its keys are no good. Again is fine; gives the row. STATUS_NOT_FOUND: there is
 * none. */
MUST_USE enum status workspaces_erase(struct connection *connection, struct span id, struct result **ret_rows,
                                      struct error *error);

/* Takes away up to about `most` rows of one workspace that is being erased, the one whose turn it is, in a transaction
 * of its own; and the workspace once nothing has come for a minute and nothing is left. What a process still has under
 * way when it begins is found by a later step. ret_gone: rows; ret_any: there is such a workspace. */
MUST_USE enum status workspaces_erase_step(struct connection *connection, int most, bool *ret_any, int64_t *ret_gone,
                                           struct error *error);

#endif
