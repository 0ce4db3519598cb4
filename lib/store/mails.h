/* Rows of `mails`: mail that has not been sent yet. Who sends it claims one with a lease, and deletes it when it is
 * sent; so it is sent once, or again after a crash in between. */
#ifndef STORE_MAILS_H
#define STORE_MAILS_H

#include "db/connection.h"

/* How long a mail is tried. */
#define MAILS_MAX_AGE_MS (24 * 3600 * 1000LL)

/* A claimed mail; its spans point into the result that it came with. */
struct mails_row {
    int64_t id;
    int attempt; /* this one's number, from 1 */
    int64_t created_at_ms;
    int64_t age_ms; /* by the database's clock */
    struct span workspace_id;
    struct span recipient;
    struct span kind;
    struct span about; /* JSON */
};

/* Claims the mail that has been due for longest, for lease_ms. No row: there is none. */
MUST_USE enum status mails_claim(struct connection *connection, int64_t lease_ms, struct result **ret_rows,
                                 struct error *error);
void mails_row_read(const struct result *rows, int row, struct mails_row *ret_row);

/* Of a claimed mail, while it is at this attempt: it is done with, or due again. */
MUST_USE enum status mails_finish(struct connection *connection, const struct mails_row *mail, struct error *error);
MUST_USE enum status mails_retry(struct connection *connection, const struct mails_row *mail, int64_t due_in_ms,
                                 struct error *error);

/* Drops what is older than MAILS_MAX_AGE_MS and nobody's: where no mail server is set nobody sends it, and a server
 * that is set one day is not flooded. */
MUST_USE enum status mails_drop_old(struct connection *connection, int64_t *ret_dropped, struct error *error);

#endif
