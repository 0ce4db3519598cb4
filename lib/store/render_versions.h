/* Rows of `render_versions`: what entered bodies, in versions that never change. The database's triggers make them
 * (sql/0001_schema.sql); here they go, once no row of the log is left that was sent with them. */
#ifndef STORE_RENDER_VERSIONS_H
#define STORE_RENDER_VERSIONS_H

#include "db/connection.h"

/* Looks at up to `max` versions with ids above *after, and removes those whose subscription has had another one, or is
 * gone, for longer than the log is kept. *after: the last one looked at; 0 when there is none behind it. */
MUST_USE enum status render_versions_purge(struct connection *connection, int64_t retention_ms, int max, int64_t *after,
                                           struct error *error);

#endif
