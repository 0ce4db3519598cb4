/* A listing of the log on its way to a client, piece by piece: {"total", "data": [rows], "next_cursor"}. Each piece is
 * about as long as a client takes at once, made in a short transaction of its own, and needs the same memory however
 * long the listing is. */
#ifndef API_LOG_LISTING_H
#define API_LOG_LISTING_H

#include "core/settings.h"
#include "store/log_query.h"

struct log_listing;
struct log_listing *log_listing_new(const struct log_query_settings *query, const struct settings *settings);
void log_listing_free(struct log_listing **listing);

/* Appends the next piece. ret_end: it was the last one. */
MUST_USE enum status log_listing_next(struct log_listing *listing, struct connection *connection, struct buffer *out,
                                      bool *ret_end, struct error *error);

/* Appends one row, within the transaction of log_query_open. */
MUST_USE enum status log_listing_one(struct connection *connection, const struct settings *settings,
                                     const struct result *rows, struct buffer *out, struct error *error);

#endif
