/* A subscription's own headers: what may be one, and how they are shown. Any thread. */
#ifndef API_SUBSCRIPTION_HEADERS_H
#define API_SUBSCRIPTION_HEADERS_H

#include "api/call.h"

#define SUBSCRIPTION_MAX_OWN_HEADERS 32

/* NULL: a subscription may name a header so. Otherwise what is wrong: no token, or one that hookcast sends. */
const char *subscription_header_wrong(struct span name);

/* Whether an object's members are headers; null is fine. Complains with call_field_error. */
bool subscription_headers_check(struct call *call, const char *field, const struct json_t *headers);

/* A copy in which the values of token-like names are "***". */
struct json_t *subscription_headers_masked(const struct json_t *headers);

/* A copy in which each "***" of a token-like name is the value that the name has in former (NULL: nothing): so that a
 * client may send back what it was shown. */
struct json_t *subscription_headers_unmasked(const struct json_t *headers, const struct json_t *former);

/* Whether one of the names is this one, in whatever case. */
bool subscription_headers_have(const struct json_t *headers, struct span name);

#endif
