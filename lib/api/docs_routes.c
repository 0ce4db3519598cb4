/* The API's description, and a page that shows it. Without a key. */
#include "api/embedded.h"
#include "api/openapi.h"
#include "api/routes.h"
#include "store/catalogue.h"

static void answer_openapi(struct call *call) {
    struct result *rows = NULL;
    struct error error;
    enum status status = catalogue_examples(call->connection, &rows, &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
        return;
    }
    struct buffer *out = &call->answer;
    buffer_reset(out);
    buffer_span(out, openapi_head());
    buffer_text(out, ",\"webhooks\":{");
    for (int i = 0; i < result_rows(rows); i++) {
        buffer_text(out, i ? "," : "");
        openapi_webhook(result_text(rows, i, 0), result_text(rows, i, 1), result_text(rows, i, 2), out);
    }
    buffer_text(out, "}}");
    result_free(&rows);
    call_answer_text(call, 200, "application/json");
}

/* It runs its own script and asks for the description, and nothing else. */
static void answer_page(struct call *call) {
    buffer_span(&call->answer, embedded_docs());
    call_header(call, "Content-Security-Policy",
                SPAN_LITERAL("default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                             "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"));
    call_answer_text(call, 200, "text/html; charset=utf-8");
}

static const struct api_route ROUTES[] = {
    {"GET", "/openapi.json", answer_openapi, CALL_PUBLIC},
    {"GET", "/docs", answer_page, CALL_PUBLIC | CALL_AT_ONCE},
    {"GET", "/redoc", answer_page, CALL_PUBLIC | CALL_AT_ONCE},
};

const struct api_route *docs_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
