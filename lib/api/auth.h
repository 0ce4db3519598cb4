/* Who asks: keys by their hash, remembered for a short time, so that a busy client costs the database one look-up now
 * and then. A revoked key is refused everywhere within AUTH_REMEMBER_MS. Any thread. */
#ifndef API_AUTH_H
#define API_AUTH_H

#include "store/keys.h"

#define AUTH_REMEMBER_MS 500

struct auth;
struct auth *auth_new(void);
void auth_free(struct auth **auth);

/* STATUS_NOT_FOUND: the key is not valid. */
MUST_USE enum status auth_find(struct auth *auth, struct connection *connection, struct span key, int64_t now_ms,
                               struct key_grant *ret_grant, struct error *error);

#endif
