/* Subscriptions as the pipeline reads them: whole, in pages, or those that changed by transaction id (rule W1). */
#ifndef STORE_ROSTER_ROWS_H
#define STORE_ROSTER_ROWS_H

#include "db/connection.h"
#include "webhook/subscription.h"

/* The snapshot's bounds, as text of xid8. */
struct roster_snapshot {
    int64_t xmin, xmax;
};

/* In a REPEATABLE READ transaction: its snapshot; then pages in key order after (workspace_id, id), SPAN_NONE: from the
 * start. */
MUST_USE enum status roster_rows_snapshot(struct connection *connection, struct roster_snapshot *ret_snapshot,
                                          struct error *error);
MUST_USE enum status roster_rows_page(struct connection *connection, struct span after_workspace,
                                      const struct uuid *after_id, int limit, struct result **ret_rows,
                                      struct error *error);

/* Rows with since_xmin ≤ xid < the current snapshot's xmax, deleted ones included; ret_snapshot is for the next time.
 */
MUST_USE enum status roster_rows_changed(struct connection *connection, int64_t since_xmin,
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
