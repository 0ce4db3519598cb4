/* Rows of `delivery_logs`: one an attempt, and one for what was cancelled. Written by COPY. */
#ifndef STORE_LOGS_H
#define STORE_LOGS_H

#include "db/connection.h"

struct log_row {
    int64_t created_at_ms;
    struct uuid id;
    struct span workspace_id;
    struct uuid event_key;
    struct span event_id;
    struct uuid subscription_id;
    struct span event_type, webhook_url;
    const char *delivery_status;                  /* success, failed, cancelled */
    int status_code;                              /* 0: null */
    struct span response_body, error, error_code; /* SPAN_NONE: null */
    int attempt;
    int64_t duration_ms;        /* -1: null */
    int64_t next_attempt_at_ms; /* 0: null */
    bool given_up;
    int64_t render_version; /* 0: null */
    int64_t sent_at_ms;     /* 0: null */
    struct uuid batch_id;   /* nil: null */
    bool replay, test;
};

void logs_row(struct buffer *rows, const struct log_row *row);
MUST_USE enum status logs_copy(struct connection *connection, struct span rows, struct error *error);

#endif
