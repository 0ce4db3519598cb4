/* Whether the program is there, and its database. Without a key. */
#include "api/routes.h"

static void answer_healthz(struct call *call) {
    buffer_text(&call->answer, "ok\n");
    call_answer_text(call, 200, "text/plain; charset=utf-8");
}

/* That a worker has come to it means that PostgreSQL is there. */
static void answer_readyz(struct call *call) {
    struct error error;
    enum status status = connection_exec(call->connection, "SELECT 1", &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
        return;
    }
    buffer_text(&call->answer, "ready\n");
    call_answer_text(call, 200, "text/plain; charset=utf-8");
}

static const struct api_route ROUTES[] = {
    {"GET", "/healthz", answer_healthz, CALL_PUBLIC | CALL_AT_ONCE},
    {"GET", "/readyz", answer_readyz, CALL_PUBLIC},
};

const struct api_route *program_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
