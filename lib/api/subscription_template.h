/* Templates of bodies, as a subscription may bring its own. Apart from the other fields, because jansson and the event
 * path's JSON scanner use the same names. Any thread. */
#ifndef API_SUBSCRIPTION_TEMPLATE_H
#define API_SUBSCRIPTION_TEMPLATE_H

#include "base/error.h"
#include "base/span.h"

/* STATUS_INVALID: it is no template; the error says where. */
MUST_USE enum status subscription_template_check(struct span template_json, struct error *error);

#endif
