/* Finds the handler for a method and a path with {named} segments. A table, compiled once. Constant afterwards; any
 * thread. */
#ifndef NET_ROUTER_H
#define NET_ROUTER_H

#include "net/server.h"

#define ROUTE_MAX_PARAMS 8

struct route_params {
    size_t count;
    struct span names[ROUTE_MAX_PARAMS];
    struct span values[ROUTE_MAX_PARAMS]; /* decoded; they lie in the path or in `decoded`: never copy params */
    char decoded[1024];
};

struct route {
    const char *method;
    const char *path;    /* "/api/v1/workspaces/{workspace_id}/subscription/{id}" */
    const void *handler; /* the caller's own; returned as it is */
};

struct router;
struct router *router_new(const struct route *routes, size_t count); /* routes are borrowed */
void router_free(struct router **router);

/* STATUS_NOT_FOUND: no such path. STATUS_CONFLICT: the path is there, the method is not; allow, empty before, then
 * names those that are ("GET, PATCH, DELETE"). path is as it came: its segments are decoded one by one, so that an
 * encoded slash stays inside its segment. A named segment is never empty; a literal one counts before a named one, and
 * what it stands for is then the literal path's alone, whatever the method. A trailing slash is ignored. HEAD is
 * answered as GET. */
MUST_USE enum status router_find(const struct router *router, const char *method, struct span path,
                                 const struct route **ret_route, struct route_params *ret_params, struct buffer *allow);

#endif
