/* The secrets and the public keys that listen and verify take from their command line. */
#ifndef HOOKCAST_LISTEN_SECRETS_H
#define HOOKCAST_LISTEN_SECRETS_H

#include "webhook/signature.h"

/* list: secrets with commas. STATUS_INVALID: error says what is wrong, never the secret. */
MUST_USE enum status listen_signer_new(const char *list, struct signer **ret_signer, struct error *error);

struct listen_keys {
    size_t count;
    uint8_t keys[SIGNATURE_MAX_KEYS][ED25519_PUBLIC_BYTES];
};

/* list: public keys with commas. STATUS_INVALID: error says what is wrong. */
MUST_USE enum status listen_keys_read(const char *list, struct listen_keys *ret_keys, struct error *error);
/* Whether the header holds a valid v1a signature by one of them. */
bool listen_keys_verify(const struct listen_keys *keys, struct span id, int64_t timestamp_s, struct span body,
                        struct span header);

#endif
