/* The heartbeat rows of the processes: who lives, and which flush was the last (rules P5, S6). */
#ifndef STORE_PROCESS_H
#define STORE_PROCESS_H

#include "db/connection.h"

/* One process's row; makes it, or starts it again at flush_no 0. */
MUST_USE enum status process_register(struct connection *connection, const struct uuid *id, struct span group,
                                      struct error *error);
MUST_USE enum status process_forget(struct connection *connection, const struct uuid *id, struct error *error);

/* Live processes of all groups (heartbeat at most 10 s old), and this one's rank among them by id, from 0. Rows that
 * are silent for an hour are removed. */
MUST_USE enum status process_rank(struct connection *connection, const struct uuid *id, int *ret_count, int *ret_rank,
                                  struct error *error);

/* In a transaction, as the first statement of a flush: raises flush_no, and gives the database's clock and when
 * created_at may be: that, or, where the clock was put back, what is not counted yet (store/log_rollup.h).
 * STATUS_NOT_FOUND: the row is gone. */
MUST_USE enum status process_beat(struct connection *connection, const struct uuid *id, int64_t flush_no,
                                  int64_t *ret_now_ms, int64_t *ret_created_at_ms, struct error *error);

/* After a reconnection: the process's flush_no, waiting for a backend that still holds the row (rule P5). */
MUST_USE enum status process_flush_no(struct connection *connection, const struct uuid *id, int64_t *ret_flush_no,
                                      struct error *error);

#endif
