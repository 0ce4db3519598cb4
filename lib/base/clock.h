/* The two clocks. Wall time goes into records and headers and may jump; monotonic time measures durations and
 * deadlines and never does. What decides by time takes `now` as a parameter, so that tests run in virtual time: only
 * the threads' own loops call these. Any thread. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/buffer.h"

int64_t clock_wall_ms(void); /* since 1970, UTC */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);

/* "2024-03-10T15:30:00Z", with ".123" where the milliseconds are not 0. */
void clock_format_iso(int64_t wall_ms, struct buffer *out);

/* ISO 8601 date and time (a space may stand for the T; fractions are cut to ms; without a zone: UTC), or a bare date
 * (its midnight). STATUS_INVALID for anything else. ret_bare_date may be NULL. */
MUST_USE enum status clock_parse_iso(struct span text, int64_t *ret_wall_ms, bool *ret_bare_date);

/* An HTTP date (RFC 9110, IMF-fixdate and the two obsolete forms), as Retry-After carries it. */
MUST_USE enum status clock_parse_http_date(struct span text, int64_t *ret_wall_ms);

#endif
