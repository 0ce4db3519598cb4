/* Signatures of webhooks: Standard Webhooks 1.0 (over "id.timestamp.body": `v1,` + base64 of HMAC-SHA256, and `v1a,` +
 * base64 of Ed25519) and the hex style (`sha256=` + hex of HMAC-SHA256 over the body). A signer belongs to one thread.
 */
#ifndef WEBHOOK_SIGNATURE_H
#define WEBHOOK_SIGNATURE_H

#include "base/crypto.h"
#include "base/ed25519.h"

#define SIGNATURE_MAX_SECRETS 5
#define SIGNATURE_MAX_KEYS SIGNATURE_MAX_SECRETS

/* The key that a secret stands for: "whsec_" and base64 of 24 to 64 bytes; any other text is its own UTF-8 bytes, 8 to
 * 512 of them. STATUS_INVALID says what is wrong, never the secret. */
MUST_USE enum status signature_key(struct span secret, struct buffer *ret_key, struct error *error);

/* A new secret: whsec_ and 32 random bytes. */
void signature_new_secret(struct buffer *out);

/* A new private key: "whsk_" and base64 of the 32 bytes of an Ed25519 private key and of the 32 of its public key. */
void signature_new_key(struct buffer *out);

/* Appends what a receiver verifies with: "whpk_" and base64 of the public key. STATUS_INVALID: it is no private key;
 * the error does not repeat it. */
MUST_USE enum status signature_public_key(struct span private_key, struct buffer *out, struct error *error);

/* Reads such a text. STATUS_INVALID says what is wrong. */
MUST_USE enum status signature_read_public_key(struct span public_key, uint8_t ret_key[ED25519_PUBLIC_BYTES],
                                               struct error *error);

struct signer;
/* secrets: newest first. */
MUST_USE enum status signer_new(const struct span *secrets, size_t count, struct signer **ret_signer,
                                struct error *error);
void signer_free(struct signer **signer);

/* Signs with a private key too; newest first. An Ed25519 signature of 1 kB costs 45 µs, fifty times an HMAC.
 * STATUS_INVALID: it is no private key, or one too many; the error does not repeat it. */
MUST_USE enum status signer_add_key(struct signer *signer, struct span private_key, struct error *error);

/* Appends "v1,… v1,… v1a,… v1a,…", one for each secret and then one for each private key, newest first. timestamp_s:
 * seconds since 1970. */
void signer_standard(struct signer *signer, struct span id, int64_t timestamp_s, struct span body, struct buffer *out);

/* Appends "sha256=…" by the newest secret. */
void signer_hex(struct signer *signer, struct span body, struct buffer *out);

/* Whether a received header holds a valid v1 signature (any of the space-separated ones) by one of the secrets. For
 * listen, verify and tests. */
bool signer_verify_standard(struct signer *signer, struct span id, int64_t timestamp_s, struct span body,
                            struct span header);
bool signer_verify_hex(struct signer *signer, struct span body, struct span header);
/* Whether it holds a valid v1a signature by the private key of this public one. Any thread. */
bool signature_verify_asymmetric(const uint8_t key[ED25519_PUBLIC_BYTES], struct span id, int64_t timestamp_s,
                                 struct span body, struct span header);

#endif
