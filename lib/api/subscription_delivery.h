/* When and how fast a subscription's webhooks leave: delivery_mode with what belongs to each mode,
 * rate_limit_per_second, filter; and notify_email. Each is checked and put into the row, like the other fields
 * (subscription_fields.h). In a worker. */
#ifndef API_SUBSCRIPTION_DELIVERY_H
#define API_SUBSCRIPTION_DELIVERY_H

#include "api/call.h"
#include "store/subscriptions.h"

#define SUBSCRIPTION_MIN_WAIT_MS 1000 /* of delay_seconds and batch_max_wait_seconds */
#define SUBSCRIPTION_MAX_RATE_PER_SECOND 100000

/* Reads one of them. False: the name is another field's. Complains with call_field_error. */
bool subscription_delivery_read(struct call *call, struct subscription_row *row, const char *name,
                                const struct json_t *value);

/* After all fields are read: what contradicts the mode is refused where this request brought it, and falls away where
 * the row had it from before. */
void subscription_delivery_settle(struct call *call, struct subscription_row *row);

#endif
