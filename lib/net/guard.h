/* Judges the address that a webhook is about to be dialled to: nobody who writes a subscription may aim hookcast at the
 * networks it runs in. Judged at connect time, on every attempt, so a name that changes its mind gains nothing.
 * Constant after guard_new; any thread. */
#ifndef NET_GUARD_H
#define NET_GUARD_H

#include "base/buffer.h"
#include <sys/socket.h>

struct guard;

/* allow_nets: CIDRs with commas that may be reached although private; "" none. */
MUST_USE enum status guard_new(const char *allow_nets, struct guard **ret_guard, struct error *error);
void guard_free(struct guard **guard);

/* NULL: may be dialled. Otherwise a plain reason: "127.0.0.1 is a loopback address". reason has room for 128 bytes. */
const char *guard_judge(const struct guard *guard, const struct sockaddr *address, char *reason);

#endif
