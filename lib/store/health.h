/* Rows of `health`: what the answers say of an endpoint over days, merged from all processes, and what follows from
 * it: a subscription that fails for too long is disabled.
 *
 * Nothing here waits for a lock longer than the connection's lock_timeout: STATUS_CONFLICT then, and nothing was done.
 * Rows are locked in the order of their keys, health before subscriptions (rule P9). */
#ifndef STORE_HEALTH_H
#define STORE_HEALTH_H

#include "db/connection.h"

/* What one process saw of an endpoint, in ages, because clocks differ; HEALTH_NONE: nothing of that kind. */
#define HEALTH_NONE (-1)
struct health_report {
    struct span workspace_id; /* borrowed */
    struct uuid subscription_id;
    int64_t success_age_ms; /* the last success */
    int64_t failure_age_ms; /* the last failure */
    int64_t failing_age_ms; /* the first failure after the last success; HEALTH_NONE: it succeeded last */
};

/* Merges reports, at most one for an endpoint, sorted here, and does what follows from the merged rows, in one
 * transaction of its own.
 *
 * In a merged row the last success and the last failure are the latest ones, and it has failed since the earliest
 * failure that is known to have come after that success (and after the subscription became active again): as exact as
 * the processes tell what they see. Active subscriptions that have failed from then to the last failure for
 * disable_after_ms are disabled; of those that have failed for half of it, and of those that succeed again after that,
 * their workspace is told. ret_disabled: workspace, id and reason of each; NULL: none. */
MUST_USE enum status health_write(struct connection *connection, struct health_report *reports, size_t count,
                                  int64_t disable_after_ms, struct result **ret_disabled, struct error *error);

/* Removes the rows of subscriptions that were deleted. */
MUST_USE enum status health_purge(struct connection *connection, struct error *error);

#endif
