#include "api/routes.h"

typedef const struct api_route *routes_fn(size_t *ret_count);

static routes_fn *const RESOURCES[] = {
    program_routes,  docs_routes,       subscription_routes, workspace_routes, key_routes,        audit_routes,
    rejected_routes, event_type_routes, resend_routes,       job_routes,       log_routes,        export_routes,
    stats_routes,    event_routes,      test_routes,         seleqt_routes,    saleshandy_routes, kakiyo_routes,
};

size_t routes_each(routes_each_fn *fn, void *ctx) {
    size_t all = 0;
    for (size_t i = 0; i < sizeof(RESOURCES) / sizeof(*RESOURCES); i++) {
        size_t count;
        const struct api_route *routes = RESOURCES[i](&count);
        for (size_t n = 0; n < count; n++)
            fn(ctx, &routes[n]);
        all += count;
    }
    return all;
}
