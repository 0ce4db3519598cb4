/* A subscription's secrets, newest first, in jansson's terms: [{"secret", "until_ms", "key"}]. At most one has no end;
 * the others are former ones that stay valid for a while. `key`, the private key of asymmetric signatures, is there
 * where they were asked for, lives as long as the secret beside it, and is shown to nobody. Sealed as store/sealing.h
 * says. */
#ifndef API_SUBSCRIPTION_SECRETS_H
#define API_SUBSCRIPTION_SECRETS_H

#include "api/call.h"

#define SECRETS_ROTATION_MS (24 * 3600 * 1000LL)

/* The valid ones at wall time now_ms; an empty array for SPAN_NONE. */
MUST_USE enum status subscription_secrets_open(const struct keyring *keyring, const struct uuid *id, struct span sealed,
                                               int64_t now_ms, struct json_t **ret_secrets, struct error *error);

/* Puts a new one in front (SPAN_NONE: one is made). What was there ends in keep_ms at the latest, at once when 0. The
 * oldest go when there are too many, or when they are too large together. A private key beside the newest gets a
 * successor in the same way; where the former secrets end at once, it stays instead. */
void subscription_secrets_put(struct json_t *secrets, struct span secret, int64_t now_ms, int64_t keep_ms);

/* Whether webhooks are signed by a private key too, from now on. Off: no key is left. On: there is one beside the
 * newest secret (there has to be one), made unless it is there. Returns whether that changed anything. */
bool subscription_secrets_set_asymmetric(struct json_t *secrets, bool asymmetric);

/* Whether it is so. */
bool subscription_secrets_asymmetric(const struct json_t *secrets);

/* A new reference: the newest private key's public one ("whpk_…"), or null. */
struct json_t *subscription_secrets_public_key(const struct json_t *secrets);
/* The same of what is sealed; null also when no key of the ring opens it. */
struct json_t *subscription_secrets_sealed_public_key(const struct keyring *keyring, const struct uuid *id,
                                                      struct span sealed);

/* The sealed bytes, in the arena. */
struct span subscription_secrets_seal(const struct keyring *keyring, const struct uuid *id,
                                      const struct json_t *secrets, struct arena *arena);

/* {"secret": "…" | null, "public_key": "whpk_…" | null, "previous": [{"secret", "public_key", "valid_until"}]}: what a
 * client may see. */
struct json_t *subscription_secrets_json(const struct json_t *secrets);

/* The newest; NULL: none. */
const char *subscription_secrets_newest(const struct json_t *secrets);

#endif
