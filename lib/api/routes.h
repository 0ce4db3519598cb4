/* The resources of the API, one file each; routes.c lists them. Constant; any thread. */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "api/call.h"

/* Every route there is; how many. */
typedef void routes_each_fn(void *ctx, const struct api_route *route);
size_t routes_each(routes_each_fn *fn, void *ctx);

const struct api_route *program_routes(size_t *ret_count);
const struct api_route *docs_routes(size_t *ret_count);
const struct api_route *workspace_routes(size_t *ret_count);
const struct api_route *key_routes(size_t *ret_count);
const struct api_route *audit_routes(size_t *ret_count);
const struct api_route *rejected_routes(size_t *ret_count);
const struct api_route *subscription_routes(size_t *ret_count);
const struct api_route *event_type_routes(size_t *ret_count);
const struct api_route *resend_routes(size_t *ret_count);
const struct api_route *job_routes(size_t *ret_count);
const struct api_route *log_routes(size_t *ret_count);
const struct api_route *export_routes(size_t *ret_count);
const struct api_route *stats_routes(size_t *ret_count);
const struct api_route *event_routes(size_t *ret_count);
const struct api_route *test_routes(size_t *ret_count);
const struct api_route *seleqt_routes(size_t *ret_count);
const struct api_route *saleshandy_routes(size_t *ret_count);
const struct api_route *kakiyo_routes(size_t *ret_count);

#endif
