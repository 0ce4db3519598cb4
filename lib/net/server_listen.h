/* Opens the socket that a server listens on. For the server alone. */
#ifndef NET_SERVER_LISTEN_H
#define NET_SERVER_LISTEN_H

#include "base/error.h"

/* address: as server_settings.listen. The descriptor is not blocking. STATUS_INVALID: not an address with a port;
 * STATUS_UNAVAILABLE: taken, or not this machine's. */
MUST_USE enum status server_listen_open(const char *address, int *ret_fd, int *ret_port, struct error *error);

#endif
