/* Subscriptions as the pipeline reads them: whole, in pages, or those that changed by transaction id (rule W1). */
#ifndef STORE_ROSTER_ROWS_H
#define STORE_ROSTER_ROWS_H

#include "db/connection.h"
#include "webhook/subscription.h"

/* What a transaction saw: which others had committed before it. Whoever uses one inits it first. */
struct roster_snapshot {
    int64_t xmin, xmax; /* xid8 */
    struct buffer text; /* as PostgreSQL prints it, with those between the two that had not */
};
void roster_snapshot_init(struct roster_snapshot *snapshot);
void roster_snapshot_deinit(struct roster_snapshot *snapshot);

/* In a REPEATABLE READ transaction: its snapshot; then pages in key order after (workspace_id, id), SPAN_NONE: from the
 * start. */
MUST_USE enum status roster_rows_snapshot(struct connection *connection, struct roster_snapshot *ret_snapshot,
                                          struct error *error);
MUST_USE enum status roster_rows_page(struct connection *connection, struct span after_workspace,
                                      const struct uuid *after_id, int limit, struct result **ret_rows,
                                      struct error *error);

/* Rows that were changed by transactions which `seen` did not see, deleted ones included, in any order; at most limit
 * of them, any ones. ret_snapshot is what this one saw; what it did not comes next time. A row may come twice. NULL:
 * there is none. */
MUST_USE enum status roster_rows_changed(struct connection *connection, const struct roster_snapshot *seen, int limit,
                                         struct roster_snapshot *ret_snapshot, struct result **ret_rows,
                                         struct error *error);

/* One row as a spec; types and retries are written into the arrays given. The spans point into the result. */
struct roster_row {
    struct subscription_spec spec;
    struct span types[SUBSCRIPTION_MAX_TYPES];
    int64_t retries[SUBSCRIPTION_MAX_RETRIES];
};
void roster_row_read(const struct result *rows, int row, struct roster_row *ret_row);

/* Disables a subscription that is still active in the activation given; otherwise does nothing. */
MUST_USE enum status roster_disable(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                    int64_t activation, struct span reason, struct error *error);

#endif
