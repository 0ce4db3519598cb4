/* The REST API: an HTTP server on a loop and thread of its own, and a few workers that talk to PostgreSQL.
 *
 *   connection ── server, router (loop) ── worker ── PostgreSQL
 *                  ▲      parses, bounds      │ key, workspace, body, handler
 *                  └────── the answer ────────┘
 *
 * The loop never waits: a request travels to a worker as a call (call.h) and comes back answered. How many are under
 * way is bounded; one more is answered 503 with Retry-After, as is every one while PostgreSQL is away.
 *
 * The functions are called by one thread, which is not the loop's. */
#ifndef API_API_H
#define API_API_H

#include "core/settings.h"

struct api;

/* settings are borrowed. STATUS_INVALID: a setting is wrong. */
MUST_USE enum status api_new(const struct settings *settings, struct api **ret_api, struct error *error);
void api_free(struct api **api); /* after api_stop, or never started */

/* Looks whether the database is there and its schema new enough, opens the port, starts the threads. On failure nothing
 * runs. */
MUST_USE enum status api_start(struct api *api, struct error *error);

/* Stops accepting, lets what is under way be answered for at most drain_ms, ends the threads. */
void api_stop(struct api *api, int64_t drain_ms);

int api_port(const struct api *api);

#endif
