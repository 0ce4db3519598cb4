/* Takes a webhook's URL apart, as far as the client needs it. For the client alone. Any thread. */
#ifndef NET_CLIENT_URL_H
#define NET_CLIENT_URL_H

#include "net/client.h"

struct client_url {
    char host[256]; /* lower case; an IPv6 address in brackets */
    bool literal;   /* the host is an address */
};

/* STATUS_INVALID: what client_check_url refuses. */
MUST_USE enum status client_url_parse(const char *text, bool allow_http, struct client_url *ret_parts,
                                      struct error *error);

#endif
