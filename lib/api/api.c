/* Stopping goes in steps, so that nobody who was answered is cut off: the loop stops accepting ─▶ the workers finish
 * what was pushed and end ─▶ the loop sends the last answers and gives slow clients a moment ─▶ the loop ends ─▶ the
 * server is closed. */
#include "api/api.h"
#include "api/exporter.h"
#include "api/prober.h"
#include "api/publisher.h"
#include "api/routes.h"
#include "api/workers.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "core/metrics.h"
#include "store/sealing.h"
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>

#define WORKERS 2
#define MAX_PENDING 256
#define SLOW_WORKERS 4 /* for routes that wait for somebody else, or take long */
#define SLOW_MAX_PENDING 16
#define KAFKA_WORKERS 2 /* for routes that wait for Kafka */
#define MAX_BODY_BYTES (1024 * 1024)
#define LINGER_MS 100
#define CLASSES 4
#define PREFIX SPAN_LITERAL("/notify")

enum step { STEP_NONE, STEP_QUIESCE, STEP_LINGER, STEP_DONE };

struct control {
    struct queue_node node; /* first */
    enum step step;
};

struct api {
    const struct settings *settings;
    struct keyring *keyring;
    struct auth *auth;
    struct loop *loop;
    struct server *server;
    struct router *router;
    struct route *routes;
    size_t route_count;
    struct queue *answers, *controls;
    struct loop_timer *linger;
    struct workers *workers, *slow_workers, *kafka_workers;
    struct publisher *publisher;
    struct prober *prober;
    struct exporter *exporter;
    struct control quiesce, wait;
    pthread_mutex_t lock;
    pthread_cond_t stepped;
    enum step step;
    struct metric *seconds;
    struct metric *classes[CLASSES]; /* 2xx … 5xx */
};

static void count_route(void *ctx, const struct api_route *route) {
    (void)ctx, (void)route;
}

static void add_route(void *ctx, const struct api_route *route) {
    struct api *api = ctx;
    api->routes[api->route_count++] = (struct route){route->method, route->path, route};
}

static void make_router(struct api *api) {
    api->routes = mem_calloc(routes_each(count_route, NULL), sizeof(*api->routes));
    routes_each(add_route, api);
    api->router = router_new(api->routes, api->route_count);
}

static void make_metrics(struct api *api) {
    static const double BOUNDS[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5};
    api->seconds = metrics_histogram("hookcast_api_request_seconds", "From a whole request to its answer.", NULL,
                                     BOUNDS, sizeof(BOUNDS) / sizeof(*BOUNDS));
    for (int i = 0; i < CLASSES; i++) {
        char label[32];
        snprintf(label, sizeof(label), "class=\"%dxx\"", i + 2);
        api->classes[i] =
            metrics_counter("hookcast_api_requests_total", "Requests answered, by class of status.", label);
    }
}

static void log_call(const struct call *call, int64_t took_us) {
    char key[UUID_TEXT_LEN + 1] = "";
    if (!uuid_equal(&call->grant.id, &UUID_NIL))
        uuid_format(&call->grant.id, key);
    const struct log_field fields[] = {
        LOG_SPAN("method", call->method), LOG_SPAN("path", call->path),     LOG_INT("status", call->status),
        LOG_INT("us", took_us),           LOG_TEXT("request_id", call->id), LOG_TEXT("key", key),
    };
    bool probe = call->route && call->route->flags & CALL_PUBLIC;
    log_write(probe ? LOG_DEBUG : LOG_INFO, "api", "request", fields, sizeof(fields) / sizeof(*fields) - !*key);
}

static struct workers *workers_of(const struct api *api, const struct call *call) {
    if (call->route->flags & CALL_KAFKA)
        return api->kafka_workers;
    return call->route->flags & CALL_SLOW ? api->slow_workers : api->workers;
}

/* An answer on its way piece by piece, as the client takes it. Between two pieces the call is the loop's. */
struct streaming {
    struct api *api;
    struct call *call;
    struct stream *stream;
    bool busy; /* a worker has the call */
    bool gone; /* the client has, or has all */
};

static void end_stream(struct streaming *streaming) {
    log_call(streaming->call, clock_mono_us() - streaming->call->began_us);
    call_free(&streaming->call);
    mem_free(streaming);
}

static void on_stream_want(void *ctx) {
    struct streaming *streaming = ctx;
    buffer_reset(&streaming->call->answer);
    streaming->busy = workers_push(workers_of(streaming->api, streaming->call), streaming->call);
    if (!streaming->busy)
        stream_cut(streaming->stream);
}

static void on_stream_gone(void *ctx) {
    struct streaming *streaming = ctx;
    streaming->gone = true;
    if (!streaming->busy)
        end_stream(streaming);
}

static void feed_stream(struct streaming *streaming) {
    struct call *call = streaming->call;
    streaming->busy = false;
    if (streaming->gone)
        end_stream(streaming);
    else if (call->stream.failed || call->answer.overflowed)
        stream_cut(streaming->stream);
    else
        stream_feed(streaming->stream, &call->answer, !call->stream.next);
}

static void begin_stream(struct api *api, struct call *call) {
    struct streaming *streaming = mem_calloc(1, sizeof(*streaming));
    streaming->api = api;
    streaming->call = call;
    call->stream.owner = streaming;
    call->stream.begun = true;
    call->path = arena_span(call->arena, call->path); /* the request may be gone before the call */
    streaming->stream = request_respond_fed(call->request, call->status, call->type, call->stream.length,
                                            on_stream_want, on_stream_gone, streaming);
    feed_stream(streaming);
}

static bool has_header(const struct call *call, const char *name) {
    for (size_t i = 0; i < call->header_count; i++)
        if (strcmp(call->headers[i].name, name) == 0)
            return true;
    return false;
}

/* The end of a call, in the loop, or of its first piece. */
static void finish(struct api *api, struct call *call) {
    int64_t took_us = clock_mono_us() - call->began_us;
    if (!call->stream.next)
        log_call(call, took_us);
    metric_observe(api->seconds, (double)took_us / 1e6);
    metric_add(api->classes[call->status / 100 - 2], 1);
    for (size_t i = 0; i < call->header_count; i++)
        request_set_header(call->request, call->headers[i].name, call->headers[i].value);
    if (!has_header(call, "Cache-Control"))
        request_set_header(call->request, "Cache-Control", "no-store");
    if (call->stream.next) {
        begin_stream(api, call);
        return;
    }
    request_respond(call->request, call->status, call->type, buffer_view(&call->answer));
    call_free(&call);
}

static void on_answers(void *ctx, struct queue_node *first) {
    struct api *api = ctx;
    for (struct queue_node *next; first; first = next) {
        next = first->next;
        struct call *call = (struct call *)first;
        workers_done(workers_of(api, call));
        if (call->stream.begun)
            feed_stream(call->stream.owner);
        else
            finish(api, call);
    }
}

/* "/notify/api/…" is "/api/…". */
static struct span route_path(struct span path) {
    if (span_has_prefix(path, PREFIX) && path.len > PREFIX.len && path.data[PREFIX.len] == '/')
        return (struct span){path.data + PREFIX.len, path.len - PREFIX.len};
    return path;
}

static void on_request(void *ctx, struct request *request) {
    struct api *api = ctx;
    struct call *call = call_new(request);
    call->settings = api->settings;
    call->keyring = api->keyring;
    call->publisher = api->publisher;
    call->prober = api->prober;
    call->exporter = api->exporter;
    const struct route *route;
    struct buffer allow;
    buffer_init(&allow, 256);
    enum status status =
        router_find(api->router, request_method(request), route_path(call->path), &route, &call->params, &allow);
    if (status == STATUS_OK) {
        call->route = route->handler;
        if (call->route->flags & CALL_AT_ONCE) {
            call->route->fn(call);
        } else if (!workers_push(workers_of(api, call), call)) {
            call_problem(call, 503, "busy", "Too many requests are waiting. Try again in a moment.");
            call_header(call, "Retry-After", SPAN_LITERAL("1"));
        } else {
            call = NULL;
        }
    } else if (status == STATUS_CONFLICT) {
        call_problem(call, 405, "method_not_allowed", "This path takes %.200s.", allow.data);
        call_header(call, "Allow", buffer_view(&allow));
    } else {
        call_problem(call, 404, "not_found", "There is no such path.");
    }
    buffer_deinit(&allow);
    if (call)
        finish(api, call);
}

static void stepped(struct api *api, enum step step) {
    pthread_mutex_lock(&api->lock);
    api->step = step;
    pthread_cond_signal(&api->stepped);
    pthread_mutex_unlock(&api->lock);
}

static void on_lingered(void *ctx) {
    stepped(ctx, STEP_DONE);
}

static void on_controls(void *ctx, struct queue_node *first) {
    struct api *api = ctx;
    for (; first; first = first->next) {
        if (((struct control *)first)->step == STEP_QUIESCE) {
            server_quiesce(api->server);
            stepped(api, STEP_QUIESCE);
        } else {
            loop_timer_start(api->linger, LINGER_MS);
        }
    }
}

/* From the owner's thread: has the loop take the step, and waits until it has come to `until`. */
static void step(struct api *api, struct control *control, enum step asked, enum step until) {
    control->step = asked;
    queue_push(api->controls, &control->node);
    pthread_mutex_lock(&api->lock);
    while (api->step != until)
        pthread_cond_wait(&api->stepped, &api->lock);
    pthread_mutex_unlock(&api->lock);
}

enum status api_new(const struct settings *settings, struct api **ret_api, struct error *error) {
    struct keyring *keyring;
    struct publisher *publisher = NULL;
    struct prober *prober;
    struct publisher_settings kafka = {.brokers = settings->kafka_brokers, .conf = settings->kafka_conf};
    enum status status = sealing_keyring(settings, &keyring, error);
    if (status != STATUS_OK)
        return status;
    status = publisher_new(&kafka, &publisher, error);
    if (status == STATUS_OK)
        status = prober_new(settings, &prober, error);
    if (status != STATUS_OK) {
        publisher_free(&publisher);
        keyring_free(&keyring);
        return status;
    }
    json_object_seed(0);
    struct api *api = mem_calloc(1, sizeof(*api));
    api->settings = settings;
    api->keyring = keyring;
    api->publisher = publisher;
    api->prober = prober;
    api->exporter = exporter_new(settings);
    api->auth = auth_new();
    CHECK(pthread_mutex_init(&api->lock, NULL) == 0 && pthread_cond_init(&api->stepped, NULL) == 0);
    api->loop = loop_new("api");
    api->answers = queue_new(api->loop, on_answers, api);
    api->controls = queue_new(api->loop, on_controls, api);
    api->linger = loop_timer_new(api->loop, on_lingered, api);
    struct workers_settings own = {.database_url = settings->database_url,
                                   .auth = api->auth,
                                   .answers = api->answers,
                                   .count = WORKERS,
                                   .max_pending = MAX_PENDING};
    api->workers = workers_new(&own);
    own.count = KAFKA_WORKERS;
    api->kafka_workers = workers_new(&own);
    own.count = SLOW_WORKERS;
    own.max_pending = SLOW_MAX_PENDING;
    api->slow_workers = workers_new(&own);
    make_router(api);
    make_metrics(api);
    *ret_api = api;
    return STATUS_OK;
}

void api_free(struct api **api_ptr) {
    struct api *api = *api_ptr;
    *api_ptr = NULL;
    if (!api)
        return;
    CHECK(!api->server);
    workers_free(&api->slow_workers);
    workers_free(&api->kafka_workers);
    workers_free(&api->workers);
    exporter_free(&api->exporter);
    prober_free(&api->prober);
    publisher_free(&api->publisher);
    loop_timer_free(&api->linger);
    queue_free(&api->controls);
    queue_free(&api->answers);
    loop_free(&api->loop);
    router_free(&api->router);
    mem_free(api->routes);
    metric_free(&api->seconds);
    for (int i = 0; i < CLASSES; i++)
        metric_free(&api->classes[i]);
    auth_free(&api->auth);
    keyring_free(&api->keyring);
    pthread_cond_destroy(&api->stepped);
    pthread_mutex_destroy(&api->lock);
    mem_free(api);
}

enum status api_start(struct api *api, struct error *error) {
    struct server_settings own = {
        .listen = api->settings->api_listen, .max_body_bytes = MAX_BODY_BYTES, .handler = on_request, .ctx = api};
    enum status status = workers_check(api->workers, error);
    if (status == STATUS_OK)
        status = server_open(api->loop, &own, &api->server, error);
    if (status != STATUS_OK)
        return status;
    publisher_start(api->publisher);
    prober_start(api->prober);
    exporter_start(api->exporter);
    workers_start(api->workers);
    workers_start(api->slow_workers);
    workers_start(api->kafka_workers);
    loop_start(api->loop);
    log_info("api", "answering", LOG_TEXT("listen", api->settings->api_listen), LOG_INT("port", api_port(api)));
    return STATUS_OK;
}

static int64_t left_of(int64_t until_ms) {
    int64_t left_ms = until_ms - clock_mono_ms();
    return left_ms > 0 ? left_ms : 0;
}

void api_stop(struct api *api, int64_t drain_ms) {
    if (!api->server)
        return;
    step(api, &api->quiesce, STEP_QUIESCE, STEP_QUIESCE);
    publisher_quiesce(api->publisher, drain_ms);
    prober_quiesce(api->prober, drain_ms);
    exporter_quiesce(api->exporter);
    struct workers *pools[] = {api->workers, api->slow_workers, api->kafka_workers};
    int64_t until_ms = clock_mono_ms() + drain_ms;
    for (size_t i = 0; i < sizeof(pools) / sizeof(*pools); i++)
        workers_stop(pools[i], left_of(until_ms));
    exporter_stop(api->exporter, left_of(until_ms));
    prober_stop(api->prober);
    publisher_stop(api->publisher);
    step(api, &api->wait, STEP_LINGER, STEP_DONE);
    loop_stop(api->loop);
    loop_join(api->loop);
    server_close(&api->server);
}

int api_port(const struct api *api) {
    return server_port(api->server);
}
