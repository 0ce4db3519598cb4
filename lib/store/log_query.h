/* Reads of the delivery log: how many rows a filter leaves, and the rows themselves, in any order, from any offset or
 * place, page by page. A query is made, counted, and then read as often as rows are wanted:
 *
 *   log_query_open ─▶ log_query_count ─▶ log_query_next … ─▶ log_query_close      one snapshot, one page
 *                     … then, for a long listing: open ─▶ next ─▶ close, again and again, each a short transaction
 *
 * The counts of closed minutes (store/log_rollup.h) are the index: they tell how many rows each stretch of time has
 * that fit, so that only stretches with wanted rows are read. What is not counted yet is counted in the log itself.
 * Rows that are written during a long listing may be in it or not; none is in it twice, none that was there is left
 * out. One thread. */
#ifndef STORE_LOG_QUERY_H
#define STORE_LOG_QUERY_H

#include "db/connection.h"

enum log_order { LOG_BY_TIME, LOG_BY_EVENT_TYPE, LOG_BY_DELIVERY_STATUS, LOG_BY_STATUS_CODE };

/* What rows fit; unset: whichever. Texts are borrowed by whoever has the filter, and copied by log_query_new. */
struct log_filter {
    struct span workspace_id;
    const struct uuid *subscription_id;                            /* NULL: all of the workspace */
    struct span event_type, delivery_status, error_code, event_id; /* SPAN_NONE */
    const struct uuid *batch_id;                                   /* NULL */
    int status_low, status_high;                                   /* 0; both are included */
    int given_up, test;                                            /* -1; 0, 1 */
    int64_t from_us, until_us; /* created_at in µs since 1970; until is not included; INT64_MIN, INT64_MAX */
};

/* A row's place in an order: the value that it is ordered by (none for LOG_BY_TIME), its time and its id. */
#define LOG_VALUE_MAX_BYTES 200
struct log_place {
    char value[LOG_VALUE_MAX_BYTES + 1];
    bool null; /* it has no such value */
    int64_t at_us;
    struct uuid id;
};

struct log_query_settings {
    struct log_filter filter;
    enum log_order order; /* texts by their bytes; null last, either way; rows with the same value: newest first */
    bool descending;
    int64_t offset;
    int64_t limit;                 /* 0: all */
    const struct log_place *after; /* NULL: from the beginning */
};

/* A row. The spans point into the result. */
struct log_query_row {
    int64_t created_at_us;
    struct uuid id, event_key, subscription_id, batch_id; /* batch_id nil: none */
    struct span workspace_id, event_id, event_type, webhook_url, delivery_status;
    int status_code;                              /* 0: none */
    struct span response_body, error, error_code; /* SPAN_NONE: null */
    int attempt;
    int64_t duration_ms;        /* -1: null */
    int64_t next_attempt_at_ms; /* 0: null */
    int64_t render_version;     /* 0: null */
    int64_t sent_at_ms;         /* 0: null */
    bool given_up, replay, test;
};

struct log_query;
struct log_query *log_query_new(const struct log_query_settings *settings);
void log_query_free(struct log_query **query);

/* A read-only transaction in which everything is seen at one moment. close ends it, whatever became of it, and returns
 * the status that it is given, or its own failure. */
MUST_USE enum status log_query_open(struct connection *connection, struct error *error);
MUST_USE enum status log_query_close(struct connection *connection, enum status status, struct error *error);

/* Once, first. ret_total: how many rows fit, whatever offset, limit and place. */
MUST_USE enum status log_query_count(struct log_query *query, struct connection *connection, int64_t *ret_total,
                                     struct error *error);

/* The next rows, at most max, in order; *ret_rows NULL: that was all. Fewer than max say nothing. */
MUST_USE enum status log_query_next(struct log_query *query, struct connection *connection, int max,
                                    struct result **ret_rows, struct error *error);
void log_query_row_read(const struct result *rows, int row, struct log_query_row *ret_row);

/* The place of a row that was read. */
void log_query_place(const struct log_query *query, const struct log_query_row *row, struct log_place *ret_place);

/* One row by its id, in a result as log_query_next gives. STATUS_NOT_FOUND: there is none in this workspace. */
MUST_USE enum status log_query_find(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                    struct result **ret_rows, struct error *error);

/* Whether the log has rows of a subscription, also of one that is gone. */
MUST_USE enum status log_query_has_subscription(struct connection *connection, struct span workspace_id,
                                                const struct uuid *subscription_id, bool *ret_has, struct error *error);

#endif
