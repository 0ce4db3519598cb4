/* The threads that answer calls, each with a PostgreSQL connection of its own. Blocking there is fine; the loop never
 * waits for them. A call that was pushed comes back through the queue, answered, whatever happens. */
#ifndef API_WORKERS_H
#define API_WORKERS_H

#include "api/auth.h"
#include "api/call.h"

struct workers;

struct workers_settings {
    const char *database_url;
    struct auth *auth;
    struct queue *answers; /* gets every call back */
    int count;
    int max_pending; /* pushed and not back */
};

struct workers *workers_new(const struct workers_settings *settings);
/* Before start: whether the database is there, and new enough. */
MUST_USE enum status workers_check(struct workers *workers, struct error *error);
void workers_start(struct workers *workers);

/* In the loop. False: too many are pending, or it is stopping; the call stays the caller's. */
bool workers_push(struct workers *workers, struct call *call);
/* In the loop: a call came back. */
void workers_done(struct workers *workers);

/* Takes no more; what was pushed is answered within drain_ms, or with what then is (503). The threads have ended when
 * it returns. */
void workers_stop(struct workers *workers, int64_t drain_ms);
void workers_free(struct workers **workers);

#endif
