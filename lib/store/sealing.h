/* How subscribers' secrets and headers lie in the database: sealed with the installation's key and bound to the
 * subscription's id, so that a sealed value is of no use in another row.
 *
 *   subscriptions.secrets  [{"secret": "whsec_…", "until_ms": null, "key": "whsk_…"}, …], newest first; until_ms: wall
 *                          time at which it ends; key: the private key of asymmetric signatures, absent where there are
 *                          none
 *   subscriptions.headers  {"Name": "value", …}
 *
 * Any thread. */
#ifndef STORE_SEALING_H
#define STORE_SEALING_H

#include "base/crypto.h"
#include "base/id.h"
#include "core/settings.h"

/* The ring of HOOKCAST_SECRET_KEY. With HOOKCAST_INSECURE_DEV=1 and no key it is a fixed one that everybody can read in
 * sealing.c. STATUS_INVALID: the error names the setting. */
MUST_USE enum status sealing_keyring(const struct settings *settings, struct keyring **ret_keyring,
                                     struct error *error);

/* Seals text for one subscription, and opens it again. */
void sealing_seal(const struct keyring *keyring, const struct uuid *subscription_id, struct span plain,
                  struct buffer *out);
MUST_USE enum status sealing_open(const struct keyring *keyring, const struct uuid *subscription_id, struct span sealed,
                                  struct buffer *out, struct error *error);

/* Frees a buffer that held a secret. */
void sealing_wipe(struct buffer *buffer);

#endif
