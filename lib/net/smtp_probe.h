/* Whether a mail server is there: dials it, takes its greeting and, where it offers that, its TLS. Sends no password
 * and no mail. Blocking; any thread. */
#ifndef NET_SMTP_PROBE_H
#define NET_SMTP_PROBE_H

#include "base/buffer.h"

/* url: as HOOKCAST_SMTP_URL; ca_file: as HOOKCAST_CA_FILE; user and password are left out of what is sent, and of the
 * error. STATUS_UNAVAILABLE: nobody answers as a mail server does, within timeout_ms. Appends host and port to
 * ret_server in any case. */
MUST_USE enum status smtp_probe(const char *url, const char *ca_file, int64_t timeout_ms, struct buffer *ret_server,
                                struct error *error);

#endif
