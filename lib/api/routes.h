/* The resources of the API, one file each. Constant; any thread. */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "api/call.h"

const struct api_route *subscription_routes(size_t *ret_count);
const struct api_route *event_type_routes(size_t *ret_count);
const struct api_route *resend_routes(size_t *ret_count);
const struct api_route *job_routes(size_t *ret_count);
const struct api_route *event_routes(size_t *ret_count);

#endif
