/* How rows of the log are written into a file: a row exactly as the listing shows it. Pure; any thread.
 *
 * NDJSON: one object a line. CSV (RFC 4180): a line with the names, then one a row; null is an empty field, an empty
 * text is "", a body is its JSON. A text that a spreadsheet would take for a formula (it begins with = + - @, their
 * full-width forms, a tab or a line break) has an apostrophe before it; whoever needs every byte takes NDJSON. */
#ifndef API_EXPORT_FORMAT_H
#define API_EXPORT_FORMAT_H

#include "api/log_view.h"

enum export_format { EXPORT_CSV, EXPORT_NDJSON };

/* "csv", "ndjson"; also how the files' names end. */
const char *export_format_name(enum export_format format);
/* False: there is none of this name. */
bool export_format_find(struct span name, enum export_format *ret_format);

/* What the file begins with. */
void export_format_begin(enum export_format format, struct buffer *out);
/* body: what was delivered, as JSON; null where there is nothing. */
void export_format_row(enum export_format format, const struct log_query_row *row, struct span body,
                       struct buffer *out);

#endif
