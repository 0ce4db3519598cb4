/* Rows of `outbox`: operational events on their way. Whoever takes some writes, in the same transaction, what they
 * become, and deletes them. */
#ifndef STORE_OUTBOX_H
#define STORE_OUTBOX_H

#include "db/connection.h"

struct outbox_row {
    int64_t id;
    int64_t created_at_ms;
    struct span workspace_id, event_type;
    struct span payload; /* JSON */
};

/* Whether there is a row. */
MUST_USE enum status outbox_has_rows(struct connection *connection, bool *ret_has, struct error *error);

/* In a transaction: locks up to max of the oldest rows that nobody else has. */
MUST_USE enum status outbox_take(struct connection *connection, int max, struct result **ret_rows, struct error *error);
void outbox_row_read(const struct result *rows, int row, struct outbox_row *ret_row);
/* In the same transaction: deletes the first count of what was taken; the others stay. */
MUST_USE enum status outbox_delete(struct connection *connection, const struct result *taken, int count,
                                   struct error *error);

#endif
