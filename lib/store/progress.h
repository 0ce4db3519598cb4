/* Progress of Kafka partitions: the row that makes the promises hold (rules P1, P3, P4, P6). */
#ifndef STORE_PROGRESS_H
#define STORE_PROGRESS_H

#include "db/connection.h"

struct progress_row {
    struct span topic;
    int32_t partition;
    struct uuid lineage;
    int64_t first_offset;
    int64_t epoch;
    int64_t next_offset;
    struct uuid last_key; /* nil: null */
    struct span done;
    int64_t reread_before; /* 0: null */
};

/* Which database this is: system identifier and timeline, as text (rule P6). */
MUST_USE enum status progress_database_identity(struct connection *connection, struct buffer *out, struct error *error);

/* Locks and reads one partition's row. STATUS_NOT_FOUND: none. The spans are arena-less copies: free with
 * progress_row_deinit. */
struct progress_stored {
    struct uuid lineage;
    int64_t first_offset, epoch, next_offset;
    struct uuid last_key;
    char *done;
    size_t done_len;
    int64_t reread_before; /* 0: null */
    int64_t updated_at_ms;
};
MUST_USE enum status progress_lock(struct connection *connection, struct span group, struct span topic,
                                   int32_t partition, struct progress_stored *ret_row, struct error *error);
void progress_stored_deinit(struct progress_stored *row);

/* Whether the group has any row at all. */
MUST_USE enum status progress_group_known(struct connection *connection, struct span group, bool *ret_known,
                                          struct error *error);

/* Writes a row as a new owner does: as it is given, made or replaced. */
MUST_USE enum status progress_adopt(struct connection *connection, struct span group, const struct progress_row *row,
                                    struct error *error);

/* Advances partitions whose epoch is still the given one, locking in key order; rows must be sorted by (topic,
 * partition). owned[i] says which were. */
MUST_USE enum status progress_advance(struct connection *connection, struct span group, const struct progress_row *rows,
                                      size_t count, bool *owned, struct error *error);

/* Ends recorders' sessions that have had a transaction open for over two seconds: frozen in the middle of a flush, with
 * locks on what another process is to take over. One that lives again reconnects and finds out by flush_no. */
MUST_USE enum status progress_end_stale(struct connection *connection, struct error *error);

/* The (epoch, next_offset) of one partition as stored; STATUS_NOT_FOUND: none. */
MUST_USE enum status progress_peek(struct connection *connection, struct span group, struct span topic,
                                   int32_t partition, int64_t *ret_epoch, int64_t *ret_next_offset,
                                   struct error *error);

#endif
