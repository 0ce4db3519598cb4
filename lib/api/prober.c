/* A probe is in one list from when it is let in until its worker has its answer; the lock guards the list and what the
 * loop and the worker both touch. The client's own deadline ends every exchange, so nobody waits for ever; what is left
 * when the program stops is cancelled, which calls back as well. */
#include "api/prober.h"
#include "base/memory.h"
#include <pthread.h>

#define BODY_MAX_BYTES (4 * 1024 * 1024)
#define SHARDS 4

struct prober {
    struct guard *guard;
    struct client_settings settings;
    struct loop *loop;
    struct client *client; /* the loop's */
    struct queue *queue;
    struct loop_timer *cut; /* ends what is under way */
    struct queue_node quiesce;
    bool was_cut; /* the loop's */
    bool started;

    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct probe *first;
    bool quiet; /* nothing is let in */
    int64_t drain_ms;
};

void probe_init(struct probe *probe) {
    *probe = (struct probe){.result = CLIENT_CANCELLED};
    buffer_init(&probe->body, BODY_MAX_BYTES);
}

void probe_deinit(struct probe *probe) {
    buffer_deinit(&probe->body);
}

/* ---- in the loop ---- */

static void on_answer(void *ctx, const struct client_response *response) {
    struct probe *probe = ctx;
    struct prober *prober = probe->prober;
    probe->result = response->result;
    probe->status_code = response->status_code;
    probe->duration_ms = response->duration_us / 1000;
    buffer_span(&probe->body, response->body);
    memcpy(probe->detail, response->detail, sizeof(probe->detail));
    pthread_mutex_lock(&prober->lock);
    probe->exchange = NULL;
    probe->answered = true;
    pthread_cond_broadcast(&prober->answered);
    pthread_mutex_unlock(&prober->lock);
}

static void on_cut(void *ctx) {
    struct prober *prober = ctx;
    pthread_mutex_lock(&prober->lock);
    for (struct probe *probe = prober->first; probe; probe = probe->next)
        if (probe->exchange)
            client_cancel(prober->client, probe->exchange);
    pthread_mutex_unlock(&prober->lock);
    prober->was_cut = true;
}

static void on_queue(void *ctx, struct queue_node *first) {
    struct prober *prober = ctx;
    for (struct queue_node *next; first; first = next) {
        next = first->next;
        if (first == &prober->quiesce) {
            loop_timer_start(prober->cut, prober->drain_ms);
            continue;
        }
        struct probe *probe = (struct probe *)first;
        probe->exchange = client_send(prober->client, &probe->request, on_answer, probe);
        if (prober->was_cut) /* it was let in just before */
            client_cancel(prober->client, probe->exchange);
    }
}

/* ---- the owner ---- */

enum status prober_new(const struct settings *settings, struct prober **ret_prober, struct error *error) {
    struct guard *guard;
    enum status status = guard_new(settings->allow_nets, &guard, error);
    if (status != STATUS_OK)
        return status;
    struct prober *prober = mem_calloc(1, sizeof(*prober));
    prober->guard = guard;
    prober->settings = (struct client_settings){
        .guard = guard,
        .allow_http = settings->allow_http,
        .ca_file = settings->ca_file,
        .source_address = settings->source_address,
        .response_body_limit_bytes = (size_t)settings->response_body_limit_bytes,
        .shards = SHARDS,
    };
    CHECK(pthread_mutex_init(&prober->lock, NULL) == 0 && pthread_cond_init(&prober->answered, NULL) == 0);
    prober->loop = loop_new("prober");
    prober->queue = queue_new(prober->loop, on_queue, prober);
    prober->cut = loop_timer_new(prober->loop, on_cut, prober);
    status = client_new(prober->loop, &prober->settings, &prober->client, error);
    if (status != STATUS_OK)
        prober_free(&prober);
    else
        *ret_prober = prober;
    return status;
}

void prober_free(struct prober **prober_ptr) {
    struct prober *prober = *prober_ptr;
    *prober_ptr = NULL;
    if (!prober)
        return;
    CHECK(!prober->first && !prober->started);
    if (prober->client)
        client_free(&prober->client);
    loop_timer_free(&prober->cut);
    queue_free(&prober->queue);
    loop_free(&prober->loop);
    guard_free(&prober->guard);
    pthread_cond_destroy(&prober->answered);
    pthread_mutex_destroy(&prober->lock);
    mem_free(prober);
}

void prober_start(struct prober *prober) {
    prober->started = true;
    loop_start(prober->loop);
}

void prober_quiesce(struct prober *prober, int64_t drain_ms) {
    pthread_mutex_lock(&prober->lock);
    prober->quiet = true;
    prober->drain_ms = drain_ms;
    pthread_mutex_unlock(&prober->lock);
    queue_push(prober->queue, &prober->quiesce);
}

void prober_stop(struct prober *prober) {
    if (!prober->started)
        return;
    loop_stop(prober->loop);
    loop_join(prober->loop);
    prober->started = false;
}

/* ---- workers ---- */

enum status prober_enter(struct prober *prober, struct probe *probe, struct error *error) {
    int under_way = 0;
    enum status status = STATUS_OK;
    probe->prober = prober;
    pthread_mutex_lock(&prober->lock);
    for (const struct probe *other = prober->first; other; other = other->next)
        under_way += span_equal(other->workspace_id, probe->workspace_id);
    if (prober->quiet) {
        status = error_set(error, STATUS_UNAVAILABLE, "hookcast is stopping");
    } else if (under_way >= PROBER_WORKSPACE_MAX) {
        status = error_set(error, STATUS_CONFLICT, "%d tests of this workspace are under way", under_way);
    } else {
        probe->next = prober->first;
        prober->first = probe;
    }
    pthread_mutex_unlock(&prober->lock);
    return status;
}

void prober_send(struct prober *prober, struct probe *probe) {
    queue_push(prober->queue, &probe->node);
    pthread_mutex_lock(&prober->lock);
    while (!probe->answered)
        pthread_cond_wait(&prober->answered, &prober->lock);
    pthread_mutex_unlock(&prober->lock);
}

void prober_leave(struct prober *prober, struct probe *probe) {
    pthread_mutex_lock(&prober->lock);
    struct probe **at = &prober->first;
    while (*at != probe)
        at = &(*at)->next;
    *at = probe->next;
    pthread_mutex_unlock(&prober->lock);
}
