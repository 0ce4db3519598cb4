/* Signatures of webhooks: Standard Webhooks 1.0 (`v1,` + base64 of HMAC-SHA256 over "id.timestamp.body") and the hex
 * style
 * (`sha256=` + hex of HMAC-SHA256 over the body). A signer belongs to one thread. */
#ifndef WEBHOOK_SIGNATURE_H
#define WEBHOOK_SIGNATURE_H

#include "base/crypto.h"

#define SIGNATURE_MAX_SECRETS 5

/* The key that a secret stands for: "whsec_" and base64 of 24 to 64 bytes; any other text is its own UTF-8 bytes, 8 to
 * 512 of them. STATUS_INVALID says what is wrong, never the secret. */
MUST_USE enum status signature_key(struct span secret, struct buffer *ret_key, struct error *error);

/* A new secret: whsec_ and 32 random bytes. */
void signature_new_secret(struct buffer *out);

struct signer;
/* secrets: newest first. */
MUST_USE enum status signer_new(const struct span *secrets, size_t count, struct signer **ret_signer,
                                struct error *error);
void signer_free(struct signer **signer);

/* Appends "v1,… v1,…", one for each secret, newest first. timestamp_s: seconds since 1970. */
void signer_standard(struct signer *signer, struct span id, int64_t timestamp_s, struct span body, struct buffer *out);

/* Appends "sha256=…" by the newest secret. */
void signer_hex(struct signer *signer, struct span body, struct buffer *out);

/* Whether a received header holds a valid v1 signature (any of the space-separated ones) by one of the secrets. For
 * listen, verify and tests. */
bool signer_verify_standard(struct signer *signer, struct span id, int64_t timestamp_s, struct span body,
                            struct span header);
bool signer_verify_hex(struct signer *signer, struct span body, struct span header);

#endif
