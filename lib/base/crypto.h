/* OpenSSL, as far as hookcast needs it: digest, MAC, authenticated encryption, base64, random bytes. No other module
 * but ed25519 includes an OpenSSL header. Everything here may be called by any thread; a hmac belongs to one. */
#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H

#include "base/buffer.h"

#define SHA256_BYTES 32

void crypto_sha256(struct span data, uint8_t out[SHA256_BYTES]);
void crypto_random(void *out, size_t len);

/* A keyed HMAC-SHA256 that is set up once and used many times. About 1 kB each: keep it for what is in use. */
struct hmac;
struct hmac *hmac_new(struct span key);
void hmac_free(struct hmac **hmac);
void hmac_start(struct hmac *hmac);
void hmac_add(struct hmac *hmac, struct span data);
void hmac_finish(struct hmac *hmac, uint8_t out[SHA256_BYTES]);

/* Standard base64 with padding, and lower-case hex. */
void base64_encode(struct span data, struct buffer *out);
MUST_USE enum status base64_decode(struct span text, struct buffer *out); /* strict; STATUS_INVALID */
void hex_encode(struct span data, struct buffer *out);

/* Compares in constant time. */
bool crypto_equal(struct span a, struct span b);

/* AES-256-GCM for secrets at rest. What seal writes is one version byte, a key id byte pair, nonce, tag and
 * ciphertext; `context` is bound to it (a row's id, say), so that sealed values can't be swapped between rows. The
 * first key seals, every key opens. */
struct keyring;
/* text: 32 bytes in base64, or several with commas. STATUS_INVALID says which one is wrong, never its value. */
MUST_USE enum status keyring_new(struct span text, struct keyring **ret_keyring, struct error *error);
void keyring_free(struct keyring **keyring);
void keyring_seal(const struct keyring *keyring, struct span context, struct span plain, struct buffer *out);
/* STATUS_INVALID: no key of the ring opens it, or it was changed. */
MUST_USE enum status keyring_open(const struct keyring *keyring, struct span context, struct span sealed,
                                  struct buffer *out, struct error *error);

/* HMAC-SHA256 of data under a key that is derived from the ring's for one purpose and used for nothing else: by the
 * first key; and whether mac is that of any of them, so that what was made before a rotation is still good. */
void keyring_mac(const struct keyring *keyring, struct span purpose, struct span data, uint8_t out[SHA256_BYTES]);
bool keyring_mac_fits(const struct keyring *keyring, struct span purpose, struct span data, struct span mac);

#endif
