/* Links to the files of exports: whoever has one may fetch the file until the link ends, and needs no key.
 *
 *   <public URL>/api/v1/exports/<job id>?expires=<seconds since 1970>&signature=<64 hex digits>
 *
 * The signature is an HMAC under a key derived from HOOKCAST_SECRET_KEY, so that links can be made again wherever the
 * ring is known and none lies in the database. The ring's first key signs, every key verifies. A link is a secret: it
 * belongs into no log. Any thread. */
#ifndef STORE_EXPORT_LINK_H
#define STORE_EXPORT_LINK_H

#include "base/crypto.h"
#include "base/id.h"

/* Appends the link. public_url: settings->public_url, with or without a slash at its end. */
void export_link_write(const struct keyring *keyring, const char *public_url, const struct uuid *job_id,
                       int64_t expires_at_s, struct buffer *out);

/* Whether `expires` and `signature`, as a link has them, are this job's. When that ends is for the caller to look at:
 * ret_expires_at_s is set where they are. */
bool export_link_verify(const struct keyring *keyring, const struct uuid *job_id, struct span expires,
                        struct span signature, int64_t *ret_expires_at_s);

#endif
