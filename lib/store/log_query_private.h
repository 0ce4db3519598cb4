/* What the files of log_query share: log_query.c (the walk), log_query_count.c (how many, where), log_query_read.c (the
 * rows). */
#ifndef STORE_LOG_QUERY_PRIVATE_H
#define STORE_LOG_QUERY_PRIVATE_H

#include "store/log_query.h"
#include "store/log_rollup.h"

/* A stretch of time and how many rows of its group it has. Of level LOG_UNCOUNTED no finer one is known; one of a level
 * of totals is of any number of hours of one day, or days of one month. */
#define LOG_UNCOUNTED (-1)
struct log_block {
    int level; /* enum log_rollup_level, or LOG_UNCOUNTED */
    int64_t begins_us, ends_us;
    int64_t n;
    /* What a read or a refinement has to pass by, whatever fits: the scope's rows, those of failures, those with what
     * of the group's filter has an index (codes, given up, cancelled), and of how many kinds they are. */
    int64_t all, failures, coded, kinds;
    int64_t at_once; /* of totals: so many hours or days are looked into the next time */
};

/* Rows with one value of what is ordered by, and the stretches that they lie in, in the order of the walk. */
struct log_group {
    bool null;
    char value[LOG_VALUE_MAX_BYTES + 1];
    int64_t number; /* LOG_BY_STATUS_CODE */
    int64_t n;
    bool successes; /* some of its rows are of deliveries that succeeded */
    struct log_block *blocks;
    size_t count, capacity;
};

/* What few rows have in common, by which an index finds them at once; then stretches don't matter. */
enum log_index {
    LOG_BY_STRETCH,
    LOG_OF_EVENT,
    LOG_OF_CODE,
    LOG_OF_ERROR,
    LOG_GIVEN_UP,
    LOG_CANCELLED,
    LOG_TESTS,
    LOG_INDEXES
};

struct log_query {
    struct log_query_settings settings;
    struct log_filter filter; /* of the copies below */
    struct uuid subscription_id, batch_id;
    struct buffer texts;
    bool newest_first; /* the walk within a group */
    enum log_index index;
    struct log_group *groups;
    size_t group_count, group_capacity;
    int64_t kinds[LOG_ROLLUP_LEVELS], stretches[LOG_ROLLUP_LEVELS]; /* how many were seen */

    /* Where the walk is. */
    size_t group, block;
    int64_t skip; /* rows still to be passed by */
    int64_t left; /* rows still wanted; INT64_MAX: all */
    bool has_key; /* the rows after this one */
    int64_t key_at_us;
    struct uuid key_id;
};

/* The filter of one group: rows with its value. status_null: those without a code. */
struct log_filter log_query_group_filter(const struct log_query *query, const struct log_group *group,
                                         bool *ret_status_null);

/* Appends the parameters that LOG_FITS names, as $1 to $10. */
void log_query_fit_params(struct params *params, const struct log_filter *filter, bool status_null);
#define LOG_FIT_PARAMS 10
#define LOG_FITS                                                                                                       \
    "($2::text IS NULL OR event_type = $2) AND ($3::text IS NULL OR delivery_status = $3) "                            \
    "AND ($4::text IS NULL OR error_code = $4) AND ($5::int4 IS NULL OR status_code >= $5) "                           \
    "AND ($6::int4 IS NULL OR status_code <= $6) AND ($5 IS NULL OR $5 <> $6 OR status_code = $5) AND ($7::bool IS "   \
    "NULL OR given_up = $7) "                                                                                          \
    "AND ($8::bool IS NULL OR test = $8) AND (NOT $9::bool OR status_code IS NULL) "
#define LOG_OF_WORKSPACE "workspace_id = $1::text "
#define LOG_OF_SUBSCRIPTION "workspace_id = $1::text AND subscription_id = $10::uuid "
/* Where the counts have it. */
#define LOG_ROLLUP_OF_WORKSPACE "workspace_id = $1::text AND subscription_id IS NULL "

/* What is ordered by; `order` is the parameter with an enum log_order. */
#define LOG_VALUE(order)                                                                                               \
    "CASE " order "::int4 WHEN 1 THEN event_type WHEN 2 THEN delivery_status WHEN 3 THEN status_code::text END "

/* How the next statements are planned. Of a time that is known, only few partitions matter: a plan of its own that sees
 * them is right. What goes by an index of all of them alike is planned once. */
MUST_USE enum status log_query_plan_each(struct connection *connection, struct error *error);
MUST_USE enum status log_query_plan_once(struct connection *connection, struct error *error);

/* Fills the groups. */
MUST_USE enum status log_query_survey(struct log_query *query, struct connection *connection, struct error *error);
/* Replaces blocks [first, first + count), all of one level above minutes, by finer ones. */
MUST_USE enum status log_query_refine(struct log_query *query, struct connection *connection, struct log_group *group,
                                      size_t first, size_t count, struct error *error);
/* How many hours or days a block of totals has; and takes the next ones out of it, so that it has the others. */
int64_t log_query_stretches(const struct log_block *block);
MUST_USE enum status log_query_take(struct log_query *query, struct connection *connection, struct log_group *group,
                                    size_t block, int64_t stretches, struct error *error);

/* Up to max rows of the group out of blocks [first, first + count), after the query's key, the first `skip` left out.
 */
MUST_USE enum status log_query_read(const struct log_query *query, struct connection *connection,
                                    const struct log_group *group, size_t first, size_t count, int64_t skip, int max,
                                    struct result **ret_rows, struct error *error);

/* By the query's index: the same of all groups from the query's on. */
MUST_USE enum status log_query_read_groups(const struct log_query *query, struct connection *connection, int64_t skip,
                                           int max, struct result **ret_rows, struct error *error);

#endif
