/* What became of deliveries, step by step in time: from the counts of the log, and where these don't reach yet from the
 * log itself, so that it is exact at any time. Tests are left out. */
#ifndef STORE_LOG_STATS_H
#define STORE_LOG_STATS_H

#include "store/log_rollup.h"

struct log_stats_query {
    struct span workspace_id;
    const struct uuid *subscription_id; /* NULL: all of the workspace */
    struct span event_type;             /* SPAN_NONE: all */
    enum log_rollup_level unit;
    int64_t from_ms; /* where a unit begins, after 1970 */
    size_t count;    /* of units from there on */
};

/* Durations are known by their class: four to a doubling (log_duration_class in the database). */
#define LOG_STATS_CLASSES 128
struct log_stats {
    int64_t events;                  /* that were written down; of all subscriptions together, else -1 */
    int64_t first_time, after_retry; /* deliveries that succeeded */
    int64_t failed;                  /* attempts */
    int64_t given_up, cancelled;     /* deliveries */
    int64_t duration_ms;             /* of all attempts together */
    int64_t classes[LOG_STATS_CLASSES];
};

int64_t log_stats_unit_ms(enum log_rollup_level unit);

/* Fills query->count of them. In the transaction that log_query_open (store/log_query.h) began. */
MUST_USE enum status log_stats_read(struct connection *connection, const struct log_stats_query *query,
                                    struct log_stats *ret_stats, struct error *error);

/* How many attempts have a duration. */
int64_t log_stats_timed(const struct log_stats *stats);
/* In ms, the upper end of the class in which the quantile (0 to 1) lies: never less than it is, and at most a fifth
 * and one more. -1: nothing has a duration. */
int64_t log_stats_quantile(const struct log_stats *stats, double quantile);

#endif
