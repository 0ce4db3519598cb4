/* A place in a listing of the log as clients carry it: opaque, good for the order that it was made in. */
#ifndef API_LOG_CURSOR_H
#define API_LOG_CURSOR_H

#include "store/log_query.h"

#define LOG_CURSOR_MAX_BYTES 400

/* out has room for LOG_CURSOR_MAX_BYTES and a NUL. */
void log_cursor_write(const struct log_query_settings *settings, const struct log_place *place, char *out);
/* STATUS_INVALID: it is none, or one of another order. */
MUST_USE enum status log_cursor_read(struct span text, const struct log_query_settings *settings,
                                     struct log_place *ret_place);

#endif
