/* An export's file in the making: rows of the log, oldest first, written and compressed piece by piece, each in a short
 * transaction that only reads, and within bounded memory. What a piece was made from is remembered, so that the next
 * one goes on there; after a failure, or in another process, a new object goes on behind the last piece that the job
 * says was written. One owner, one thread. */
#ifndef API_EXPORT_PIECES_H
#define API_EXPORT_PIECES_H

#include "core/settings.h"
#include "store/exports.h"

struct export_pieces;

/* STATUS_INVALID: what was asked for can't be read. */
MUST_USE enum status export_pieces_new(const struct export_job *job, const struct settings *settings,
                                       struct export_pieces **ret_pieces, struct error *error);
void export_pieces_free(struct export_pieces **pieces);

/* Once, first. ret_total: rows of the whole file, as far as one can know beforehand. */
MUST_USE enum status export_pieces_count(struct export_pieces *pieces, struct connection *connection,
                                         int64_t *ret_total, struct error *error);

/* The next piece; its bytes are good until the next call. STATUS_FAILED, STATUS_CONFLICT: the database refused;
 * STATUS_INVALID: a row is too long. After any failure the object is of no more use. */
MUST_USE enum status export_pieces_next(struct export_pieces *pieces, struct connection *connection,
                                        struct export_piece *ret_piece, struct error *error);

#endif
