/* Subscriptions as the API reads and writes them: always by workspace and id, never a deleted one. Secrets and headers
 * stay sealed here (store/sealing.h). What a change means for others (version, activation, render version, xid, the
 * notification) is the database's own doing. */
#ifndef STORE_SUBSCRIPTIONS_H
#define STORE_SUBSCRIPTIONS_H

#include "db/connection.h"
#include "webhook/subscription.h"

/* One row; the spans point into a result when it was read, and are borrowed when it is written. */
struct subscription_row {
    struct uuid id;
    struct span workspace_id;
    struct span webhook_url;
    struct span event_types[SUBSCRIPTION_MAX_TYPES];
    size_t event_type_count;
    struct span type;   /* SEASALT, ZAPIER */
    struct span name;   /* SPAN_NONE: null, here and below */
    struct span status; /* active, paused, disabled */
    struct span disabled_reason;
    struct span sealed_headers, sealed_secrets;
    struct span signature_style; /* standard, hex, both, none */
    struct span signature_header;
    struct span payload_format; /* a built-in one, or "custom" */
    struct span payload_template;
    int32_t timeout_ms; /* 0: null */
    int64_t retry_ms[SUBSCRIPTION_MAX_RETRIES];
    int retry_count;       /* -1: null, 0: never retried */
    int32_t max_in_flight; /* 0: null */
    int32_t rate_per_second;
    struct span delivery_mode; /* immediate, delayed, batched */
    int64_t delay_ms;          /* 0: null, here and in what belongs to batches */
    int32_t batch_max_events, batch_max_bytes;
    int64_t batch_max_wait_ms;
    struct span filter; /* JSON, as it was written */
    struct span notify_email;
    struct span created_by, updated_by;
    int64_t created_at_ms, updated_at_ms; /* from here on read only */
    int64_t version;
    int64_t disabled_at_ms;                       /* 0: null */
    int64_t failing_since_ms, last_success_at_ms; /* of its endpoint, from `health`; 0: null */
};

/* The columns of row `row` of what the functions below give. */
void subscriptions_row_read(const struct result *rows, int row, struct subscription_row *ret_row);

/* Each gives the row as it then is, in one row of ret_rows. STATUS_NOT_FOUND: there is none. */
MUST_USE enum status subscriptions_insert(struct connection *connection, const struct subscription_row *row,
                                          struct result **ret_rows, struct error *error);
MUST_USE enum status subscriptions_get(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                       struct result **ret_rows, struct error *error);
/* Of so many, each by its workspace and id: the rows of those that are there, in any order. */
MUST_USE enum status subscriptions_get_many(struct connection *connection, const struct span *workspace_ids,
                                            const struct uuid *ids, size_t count, struct result **ret_rows,
                                            struct error *error);
/* In a transaction: nobody else changes it until that ends. */
MUST_USE enum status subscriptions_lock(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                        struct result **ret_rows, struct error *error);
/* Writes all that is not read only, and updated_at. */
MUST_USE enum status subscriptions_update(struct connection *connection, const struct subscription_row *row,
                                          struct result **ret_rows, struct error *error);
/* The first statement of a transaction that may make it active again, which changes its row of `health` too: who writes
 * both takes the locks in that order. */
MUST_USE enum status subscriptions_lock_health(struct connection *connection, struct span workspace_id,
                                               const struct uuid *id, struct error *error);
MUST_USE enum status subscriptions_delete(struct connection *connection, struct span workspace_id,
                                          const struct uuid *id, struct error *error);

/* Removes up to `max` rows of those that were deleted more than a day ago: whoever was deaf for so long reads
 * everything anew (rule W1). */
MUST_USE enum status subscriptions_purge(struct connection *connection, int max, struct error *error);

enum subscriptions_order {
    SUBSCRIPTIONS_BY_CREATED_AT,
    SUBSCRIPTIONS_BY_UPDATED_AT,
    SUBSCRIPTIONS_BY_TYPE,
    SUBSCRIPTIONS_BY_WEBHOOK_URL,
    SUBSCRIPTIONS_ORDERS,
};

/* A page; the next one begins after the last row's key (subscriptions_row_key) and id. */
struct subscriptions_page {
    struct span workspace_id;
    struct span type; /* SPAN_NONE: all */
    enum subscriptions_order order;
    bool descending;
    struct span after_key; /* SPAN_NONE: from the start */
    struct uuid after_id;
    int limit;
};
MUST_USE enum status subscriptions_list(struct connection *connection, const struct subscriptions_page *page,
                                        struct result **ret_rows, struct error *error);
struct span subscriptions_row_key(const struct result *rows, int row); /* of a list's row */

#endif
