/* A row of the log as the API shows it: the printed fields first, in the document's order, then the rest. */
#ifndef API_LOG_VIEW_H
#define API_LOG_VIEW_H

#include "store/log_query.h"

/* Appends the row's object up to where the body goes; what was delivered is appended by the caller; then the rest. */
void log_view_begin(const struct log_query_row *row, struct buffer *out);
void log_view_end(const struct log_query_row *row, struct buffer *out);

#endif
