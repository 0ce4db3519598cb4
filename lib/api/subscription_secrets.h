/* A subscription's secrets, newest first, in jansson's terms: [{"secret", "until_ms"}]. At most one has no end; the
 * others are former ones that stay valid for a while. Sealed as store/sealing.h says. */
#ifndef API_SUBSCRIPTION_SECRETS_H
#define API_SUBSCRIPTION_SECRETS_H

#include "api/call.h"

#define SECRETS_ROTATION_MS (24 * 3600 * 1000LL)

/* The valid ones at wall time now_ms; an empty array for SPAN_NONE. */
MUST_USE enum status subscription_secrets_open(const struct keyring *keyring, const struct uuid *id, struct span sealed,
                                               int64_t now_ms, struct json_t **ret_secrets, struct error *error);

/* Puts a new one in front (SPAN_NONE: one is made). What was there ends in keep_ms at the latest, at once when 0. The
 * oldest go when there are too many, or when they are too large together. */
void subscription_secrets_put(struct json_t *secrets, struct span secret, int64_t now_ms, int64_t keep_ms);

/* The sealed bytes, in the arena. */
struct span subscription_secrets_seal(const struct keyring *keyring, const struct uuid *id,
                                      const struct json_t *secrets, struct arena *arena);

/* {"secret": "…" | null, "previous": [{"secret": "…", "valid_until": "…"}]}: what a client may see. */
struct json_t *subscription_secrets_json(const struct json_t *secrets);

/* The newest; NULL: none. */
const char *subscription_secrets_newest(const struct json_t *secrets);

#endif
