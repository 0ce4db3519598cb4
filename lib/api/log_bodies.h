/* What the rows of the log say was delivered: each body byte for byte, rendered again from the event as Kafka had it,
 * the version that it was rendered with and the time at which it was sent (rule R1). One owner, one thread. */
#ifndef API_LOG_BODIES_H
#define API_LOG_BODIES_H

#include "core/settings.h"
#include "store/log_query.h"

struct log_bodies;
struct log_bodies *log_bodies_new(const struct settings *settings);
void log_bodies_free(struct log_bodies **bodies);

/* Before the bodies of these rows are written: reads what they need, in the transaction of log_query_open. At most
 * LOG_BODIES_MAX_ROWS. */
#define LOG_BODIES_MAX_ROWS 1000
MUST_USE enum status log_bodies_load(struct log_bodies *bodies, struct connection *connection,
                                     const struct result *rows, struct error *error);

/* Appends the body of one of them, or null where nothing was sent or the event is gone. In such a transaction, the same
 * or another one: what is large is read only now. */
MUST_USE enum status log_bodies_write(struct log_bodies *bodies, struct connection *connection,
                                      const struct log_query_row *row, struct buffer *out, struct error *error);

#endif
