/* Sends one plain-text mail through a mail server (libcurl; RFC 5321, RFC 5322). Blocking; any thread.
 *
 * smtp:// begins in plain text and turns to TLS where the server offers that (STARTTLS), smtps:// is TLS from the start
 * (RFC 8314). In both cases the server's certificate has to be right. User and password are taken from the URL, and
 * stand in no error. */
#ifndef NET_MAIL_H
#define NET_MAIL_H

#include "base/error.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MAIL_MAX_ADDRESS_BYTES 254 /* RFC 5321, 4.5.3.1.3 less the angle brackets */
#define MAIL_MAX_SUBJECT_BYTES 512
#define MAIL_MAX_TEXT_BYTES (64 * 1024)

struct mail_server {
    const char *url;              /* as HOOKCAST_SMTP_URL; its path, when there is one, is the name said in EHLO */
    const char *ca_file;          /* "": the system's */
    int64_t timeout_ms;           /* all of it: look-up, connect, TLS, login, the mail */
    const _Atomic bool *stopping; /* looked at once a second: true gives the mail up; NULL: nobody stops it */
};

/* Everything is UTF-8. A mail that is sent again under the same id and date can be recognised as the same one. */
struct mail {
    const char *id;      /* for Message-ID, before its @: letters, digits, "-", "." */
    int64_t date_ms;     /* since 1970; printed in UTC */
    const char *from;    /* an address without a name: hooks@example.com */
    const char *to;      /* the same */
    const char *subject; /* one line */
    const char *text;    /* lines that end with \n or \r\n */
};

/* STATUS_OK: the server took it.
 * STATUS_UNAVAILABLE: trying again may help. The server is away, too slow, asks for patience (4xx), or refuses *us*:
 * the greeting, the login, the sender (5xx), which a changed setting mends. STATUS_FAILED: the server refuses this
 * recipient or this mail for good (5xx). STATUS_INVALID: a field can't be sent: a line break in one that is one line,
 * something that is no address, too long. error has the server's own words, except about a login. */
MUST_USE enum status mail_send(const struct mail_server *server, const struct mail *mail, struct error *error);

#endif
