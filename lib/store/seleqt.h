/* Which subscription Seleqt's one URL of a workspace stands for. Blocking; the caller's connection, in a transaction.
 */
#ifndef STORE_SELEQT_H
#define STORE_SELEQT_H

#include "db/connection.h"

/* Nobody else reads or sets it until the transaction ends. The nil uuid: none. */
MUST_USE enum status seleqt_lock(struct connection *connection, struct span workspace_id, struct uuid *ret_id,
                                 struct error *error);
MUST_USE enum status seleqt_set(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                struct error *error);

#endif
