/* Who changed what: a row of `audit` for every change that somebody's key made, written by the database's triggers in
 * the transaction of the change itself (sql/0007_audit_erasure.sql). So whoever changes something has nothing to do
 * for it; the session only says once for whom it works. */
#ifndef STORE_AUDIT_H
#define STORE_AUDIT_H

#include "db/connection.h"

/* So long a row is kept. */
#define AUDIT_KEEP_DAYS 400

/* From here on, until it is called again, the connection changes things for this key and request. Outside a
 * transaction. */
MUST_USE enum status audit_begin(struct connection *connection, const struct uuid *key, const char *request_id,
                                 struct error *error);

struct audit_page {
    struct span workspace_id;   /* SPAN_NONE: all, and what is of none */
    struct span action, target; /* SPAN_NONE: whichever */
    const struct uuid *key;     /* NULL: whichever */
    int64_t since_ms, until_ms; /* 0: no bound; until is not included */
    int64_t before;             /* rows older than this one; 0: from the newest */
    int limit;
};
/* The newest first. */
MUST_USE enum status audit_list(struct connection *connection, const struct audit_page *page, struct result **ret_rows,
                                struct error *error);

/* A row of it; the spans point into the result. */
struct audit_row {
    int64_t id;
    int64_t created_at_ms;
    struct span workspace_id; /* SPAN_NONE: of none */
    struct uuid key;
    struct span request_id; /* SPAN_NONE: unknown */
    struct span action, target;
    struct span before, after; /* JSON; SPAN_NONE: there was none, there is none */
};
void audit_row_read(const struct result *rows, int row, struct audit_row *ret_row);

/* Removes up to `max` rows that are too old. */
MUST_USE enum status audit_purge(struct connection *connection, int max, struct error *error);

#endif
