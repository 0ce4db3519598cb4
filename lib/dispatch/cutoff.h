/* A point in time from which a connection waits for nothing any more, whatever it is at: for a thread that ends and
 * must not take longer than it is given. */
#ifndef DISPATCH_CUTOFF_H
#define DISPATCH_CUTOFF_H

#include "db/connection.h"

struct cutoff;

/* At deadline_ms (monotonic) the connection is interrupted, by a thread of its own. */
struct cutoff *cutoff_start(struct connection *connection, int64_t deadline_ms);
/* Before the connection is freed. If the deadline has not come, nothing happened. */
void cutoff_end(struct cutoff **cutoff);

#endif
