/* Rows of the log one after the other, each with what was delivered, read in pages that take about the same memory
 * whatever the rows are like. Between two rows the transaction (log_query_open) may end and another begin. One owner,
 * one thread. */
#ifndef API_LOG_READER_H
#define API_LOG_READER_H

#include "core/settings.h"
#include "store/log_query.h"

struct log_reader;
/* The query's texts are copied, but for a place, which is needed until log_reader_count. */
struct log_reader *log_reader_new(const struct log_query_settings *query, const struct settings *settings);
void log_reader_free(struct log_reader **reader);

/* Once, first. ret_total: see log_query_count. */
MUST_USE enum status log_reader_count(struct log_reader *reader, struct connection *connection, int64_t *ret_total,
                                      struct error *error);

/* The next row; its spans are good until the next call. ret_end: there is none. */
MUST_USE enum status log_reader_next(struct log_reader *reader, struct connection *connection,
                                     struct log_query_row *ret_row, bool *ret_end, struct error *error);

/* Appends what this row says was delivered (log_bodies_write). */
MUST_USE enum status log_reader_body(struct log_reader *reader, struct connection *connection,
                                     const struct log_query_row *row, struct buffer *out, struct error *error);

/* The place of a row that was read. */
void log_reader_place(const struct log_reader *reader, const struct log_query_row *row, struct log_place *ret_place);

#endif
