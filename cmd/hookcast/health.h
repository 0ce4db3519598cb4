/* /healthz, /readyz and /metrics on a port of their own, for the commands that run until they are stopped. On the
 * caller's loop, in its thread. */
#ifndef HOOKCAST_HEALTH_H
#define HOOKCAST_HEALTH_H

#include "core/loop.h"

/* Whether the process does its work now; why is filled in when it does not. In the loop, and must not block. */
typedef bool health_ready_fn(void *ctx, struct error *why);

struct health;

/* listen: as HOOKCAST_METRICS_LISTEN. Before the loop runs, or in it. */
MUST_USE enum status health_open(struct loop *loop, const char *listen, health_ready_fn *ready, void *ctx,
                                 struct health **ret_health, struct error *error);
void health_close(struct health **health);
int health_port(const struct health *health);

#endif
