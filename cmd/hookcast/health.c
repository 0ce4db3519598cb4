#include "health.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "core/metrics.h"
#include "net/router.h"

#define METRICS_MAX_BYTES (16 * 1024 * 1024)
#define TEXT_TYPE "text/plain; charset=utf-8"

struct health {
    struct server *server;
    struct router *router;
    health_ready_fn *ready;
    void *ctx;
};

typedef void answer_fn(struct health *health, struct request *request);

static void problem(struct request *request, int status, const char *title, const char *detail, const char *code) {
    struct buffer body;
    buffer_init(&body, 4096);
    buffer_printf(&body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":", title, status);
    json_quote(span_of(detail), &body);
    buffer_printf(&body, ",\"code\":\"%s\",\"errors\":[]}", code);
    request_respond(request, status, "application/problem+json", buffer_view(&body));
    buffer_deinit(&body);
}

/* The process lives: its loop answers. */
static void answer_healthz(struct health *health, struct request *request) {
    (void)health;
    request_respond(request, 200, TEXT_TYPE, SPAN_LITERAL("ok\n"));
}

static void answer_readyz(struct health *health, struct request *request) {
    struct error why = {""};
    if (health->ready(health->ctx, &why))
        request_respond(request, 200, TEXT_TYPE, SPAN_LITERAL("ready\n"));
    else
        problem(request, 503, "Service Unavailable", why.text, "not_ready");
}

static void answer_metrics(struct health *health, struct request *request) {
    (void)health;
    struct buffer text;
    buffer_init(&text, METRICS_MAX_BYTES);
    metrics_render(&text);
    request_respond(request, 200, "text/plain; version=0.0.4; charset=utf-8", buffer_view(&text));
    buffer_deinit(&text);
}

enum { HEALTHZ, READYZ, METRICS };
static answer_fn *const ANSWERS[] = {
    [HEALTHZ] = answer_healthz,
    [READYZ] = answer_readyz,
    [METRICS] = answer_metrics,
};
static const struct route ROUTES[] = {
    {"GET", "/healthz", &ANSWERS[HEALTHZ]},
    {"GET", "/readyz", &ANSWERS[READYZ]},
    {"GET", "/metrics", &ANSWERS[METRICS]},
};

static void on_request(void *ctx, struct request *request) {
    struct health *health = ctx;
    const struct route *route;
    struct route_params params;
    struct buffer allow;
    buffer_init(&allow, 256);
    enum status status =
        router_find(health->router, request_method(request), request_path(request), &route, &params, &allow);
    if (status == STATUS_OK) {
        (*(answer_fn *const *)route->handler)(health, request);
    } else if (status == STATUS_CONFLICT) {
        request_set_header(request, "Allow", allow.data);
        problem(request, 405, "Method Not Allowed", "It is read with GET.", "method_not_allowed");
    } else {
        problem(request, 404, "Not Found", "Here are /healthz, /readyz and /metrics.", "not_found");
    }
    buffer_deinit(&allow);
}

enum status health_open(struct loop *loop, const char *listen, health_ready_fn *ready, void *ctx,
                        struct health **ret_health, struct error *error) {
    struct health *health = mem_calloc(1, sizeof(*health));
    health->ready = ready;
    health->ctx = ctx;
    struct server_settings settings = {
        .listen = listen, .max_body_bytes = 1024, .max_connections = 64, .handler = on_request, .ctx = health};
    enum status status = server_open(loop, &settings, &health->server, error);
    if (status != STATUS_OK) {
        mem_free(health);
        return status;
    }
    health->router = router_new(ROUTES, sizeof(ROUTES) / sizeof(*ROUTES));
    *ret_health = health;
    return STATUS_OK;
}

void health_close(struct health **health) {
    if (!*health)
        return;
    server_close(&(*health)->server);
    router_free(&(*health)->router);
    mem_free(*health);
    *health = NULL;
}

int health_port(const struct health *health) {
    return server_port(health->server);
}
