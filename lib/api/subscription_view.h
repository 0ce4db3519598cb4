/* A subscription as the API shows it: the fields that SeaNotify's document prints, in its order, and then the rest. Any
 * thread. */
#ifndef API_SUBSCRIPTION_VIEW_H
#define API_SUBSCRIPTION_VIEW_H

#include "api/call.h"
#include "store/subscriptions.h"

/* A new object. Never a secret; headers that no key opens are shown as null, with a line in the log. */
struct json_t *subscription_view(const struct keyring *keyring, const struct subscription_row *row);

/* A view of the row as text. Its filter has the digits that it was written with. */
void subscription_view_write(const struct json_t *view, const struct subscription_row *row, struct buffer *out);

/* The subscription's own headers, opened: a new object, or NULL when it has none or no key opens them (ret_wrong). */
struct json_t *subscription_view_headers(const struct keyring *keyring, const struct subscription_row *row,
                                         bool *ret_wrong);

#endif
