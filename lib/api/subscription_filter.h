/* The filter in a request's body. Apart from the other fields, because jansson and the event path's JSON scanner use
 * the same names. Any thread. */
#ifndef API_SUBSCRIPTION_FILTER_H
#define API_SUBSCRIPTION_FILTER_H

#include "base/error.h"
#include "base/span.h"

/* The text of the member `filter` of a body that has one, as it was written, once it is known to compile.
 * STATUS_INVALID: it does not; the error names the path. */
MUST_USE enum status subscription_filter_find(struct span body, struct span *ret_filter, struct error *error);

#endif
