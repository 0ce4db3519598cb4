/* Ed25519 signatures (RFC 8032, pure) by OpenSSL: the private key is a seed of 32 bytes, from which the public one
 * follows. */
#ifndef BASE_ED25519_H
#define BASE_ED25519_H

#include "base/span.h"
#include <stdint.h>

#define ED25519_SEED_BYTES 32
#define ED25519_PUBLIC_BYTES 32
#define ED25519_SIGNATURE_BYTES 64

/* A private key that is set up once and used many times, by one thread at a time. About 1 kB. */
struct ed25519;
struct ed25519 *ed25519_new(const uint8_t seed[ED25519_SEED_BYTES]);
void ed25519_free(struct ed25519 **ed25519);
void ed25519_public(const struct ed25519 *ed25519, uint8_t out[ED25519_PUBLIC_BYTES]);
/* Reads the message twice: it has to lie in one piece. */
void ed25519_sign(struct ed25519 *ed25519, struct span message, uint8_t out[ED25519_SIGNATURE_BYTES]);

/* Whether the signature is the message's by the private key that belongs to `key`; false also where `key` is no public
 * key at all. Any thread. */
bool ed25519_verify(const uint8_t key[ED25519_PUBLIC_BYTES], struct span message, struct span signature);

#endif
