/* A row of the log as the API shows it: the printed fields first, in the document's order, then the rest. */
#ifndef API_LOG_VIEW_H
#define API_LOG_VIEW_H

#include "store/log_query.h"

/* Its fields in that order, those before what was delivered and those after it. value SPAN_NONE: null; text: JSON has
 * it in quotes. */
#define LOG_VIEW_BODY "delivered_event_obj"
typedef void log_view_fn(void *ctx, const char *name, struct span value, bool text);
void log_view_before(const struct log_query_row *row, log_view_fn *fn, void *ctx);
void log_view_after(const struct log_query_row *row, log_view_fn *fn, void *ctx);

/* As JSON. Appends the row's object up to where the body goes; what was delivered is appended by the caller; then the
 * rest. */
void log_view_begin(const struct log_query_row *row, struct buffer *out);
void log_view_end(const struct log_query_row *row, struct buffer *out);

#endif
