/* One curl multi on the loop, and its sockets.
 *
 * A descriptor stays registered when curl loses interest in it at the end of an exchange, because the next exchange on
 * that connection will want the same again: the kernel hears of a descriptor when it is opened, when interest in
 * writing changes, and when it is closed. One that becomes readable while idle (the receiver has closed it) is taken
 * off the loop; curl notices by itself before it uses it again. Descriptors that curl made without asking us
 * (the resolver's) are closed without notice, and so leave the loop as soon as curl says so. */
#include "net/client_private.h"

#include "base/clock.h"
#include "base/memory.h"
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

/* Idle connections past this make every completion scan all of them. */
#define MAX_CONNECTIONS_PER_SHARD 16384L

struct client_socket {
    struct shard *shard;
    int fd;
    bool ours; /* opened by on_open */
    bool idle; /* curl waits for nothing */
    int wanted;
    struct loop_watch *watch;
};

static struct client_socket *socket_at(struct client *client, int fd) {
    size_t at = (size_t)fd;
    if (at >= client->socket_capacity) {
        size_t capacity = client->socket_capacity ? client->socket_capacity : 256;
        while (capacity <= at)
            capacity *= 2;
        client->sockets = mem_realloc(client->sockets, capacity * sizeof(*client->sockets));
        memset(client->sockets + client->socket_capacity, 0,
               (capacity - client->socket_capacity) * sizeof(*client->sockets));
        client->socket_capacity = capacity;
    }
    if (!client->sockets[at]) {
        client->sockets[at] = mem_calloc(1, sizeof(struct client_socket));
        client->sockets[at]->fd = fd;
    }
    return client->sockets[at];
}

static void shard_act(struct shard *shard, curl_socket_t fd, int mask) {
    int running;
    CURL_MUST(curl_multi_socket_action(shard->multi, fd, mask, &running));
    client_collect(shard);
}

static void on_ready(void *ctx, int events) {
    struct client_socket *socket = ctx;
    if (socket->idle) {
        loop_watch_free(&socket->watch);
        return;
    }
    int mask = (events & LOOP_READABLE ? CURL_CSELECT_IN : 0) | (events & LOOP_WRITABLE ? CURL_CSELECT_OUT : 0);
    /* curl is to read what came before the error, and to find the error itself. */
    if (events & LOOP_ERROR)
        mask = CURL_CSELECT_IN | CURL_CSELECT_OUT;
    shard_act(socket->shard, socket->fd, mask);
    if (socket->watch && !socket->idle)
        loop_watch_set(socket->watch, socket->wanted);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx) {
    (void)easy;
    (void)socket_ctx;
    struct shard *shard = ctx;
    struct client_socket *socket = socket_at(shard->client, fd);
    if (what == CURL_POLL_REMOVE) {
        socket->idle = true;
        if (!socket->ours)
            loop_watch_free(&socket->watch);
        return 0;
    }
    socket->idle = false;
    socket->shard = shard;
    socket->wanted = (what & CURL_POLL_IN ? LOOP_READABLE : 0) | (what & CURL_POLL_OUT ? LOOP_WRITABLE : 0);
    if (!socket->watch)
        socket->watch = loop_watch_new(shard->client->loop, fd, on_ready, socket);
    loop_watch_set(socket->watch, socket->wanted);
    return 0;
}

static curl_socket_t on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)purpose;
    struct exchange *exchange = ctx;
    struct client *client = exchange->client;
    lookup_done(exchange);
    if (guard_judge(client->settings.guard, &address->addr, exchange->refused))
        return CURL_SOCKET_BAD;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    exchange->opened = true;
    socket_at(client, fd)->ours = true;
    client->open_connections++;
    return fd;
}

static int on_close(void *ctx, curl_socket_t fd) {
    struct client *client = ctx;
    struct client_socket *socket = socket_at(client, fd);
    loop_watch_free(&socket->watch);
    socket->ours = false;
    socket->idle = true;
    client->open_connections--;
    return close(fd);
}

void shard_setup_sockets(CURL *easy, struct exchange *exchange) {
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, exchange));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, exchange->client));
}

/* A timer that is set to an earlier time is left alone: it fires, finds that it is not time yet, and is set again. */
static void arm(struct shard *shard) {
    if (shard->due_ms >= shard->armed_ms)
        return;
    shard->armed_ms = shard->due_ms;
    int64_t delay_ms = shard->due_ms - loop_now_ms(shard->client->loop);
    loop_timer_start(shard->timer, delay_ms > 0 ? delay_ms : 1);
}

static int on_timer(CURLM *multi, long timeout_ms, void *ctx) {
    (void)multi;
    struct shard *shard = ctx;
    shard->timer_told = true;
    shard->due_ms = timeout_ms < 0 ? INT64_MAX : loop_now_ms(shard->client->loop) + timeout_ms;
    if (timeout_ms != 0) {
        arm(shard);
    } else if (!shard->kicked) {
        shard->kicked = true;
        shard->next_kicked = shard->client->kicked;
        shard->client->kicked = shard;
        client_soon(shard->client);
    }
    return 0;
}

static void on_due(void *ctx) {
    struct shard *shard = ctx;
    shard->armed_ms = INT64_MAX;
    if (shard->due_ms > loop_now_ms(shard->client->loop)) {
        arm(shard);
        return;
    }
    shard->due_ms = INT64_MAX;
    shard->timer_told = false;
    shard_act(shard, CURL_SOCKET_TIMEOUT, 0);
    /* Called a moment early by its own clock, curl does nothing and does not repeat what it has told before. */
    long timeout_ms;
    CURL_MUST(curl_multi_timeout(shard->multi, &timeout_ms));
    if (!shard->timer_told && timeout_ms >= 0)
        on_timer(shard->multi, timeout_ms > 0 ? timeout_ms : 1, shard);
}

void shard_run_kicked(struct client *client) {
    struct shard *shard = client->kicked;
    client->kicked = NULL;
    while (shard) {
        struct shard *next = shard->next_kicked;
        shard->kicked = false;
        shard_act(shard, CURL_SOCKET_TIMEOUT, 0);
        shard = next;
    }
}

void shard_init(struct shard *shard, struct client *client) {
    shard->client = client;
    shard->due_ms = INT64_MAX;
    shard->armed_ms = INT64_MAX;
}

/* A multi costs some 40 KB and two descriptors. */
static void open_multi(struct shard *shard) {
    shard->timer = loop_timer_new(shard->client->loop, on_due, shard);
    shard->multi = curl_multi_init();
    shard->share = curl_share_init();
    CHECK(shard->multi && shard->share);
    CURL_MUST(curl_share_setopt(shard->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION));
    CURL_MUST(curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_socket));
    CURL_MUST(curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard));
    CURL_MUST(curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_timer));
    CURL_MUST(curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard));
    CURL_MUST(curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, MAX_CONNECTIONS_PER_SHARD));
    CURL_MUST(curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING));
}

void shard_enter(struct shard *shard, struct exchange *exchange) {
    if (exchange->shard == shard)
        return;
    if (!shard->multi)
        open_multi(shard);
    CURL_MUST(curl_easy_setopt(exchange->easy, CURLOPT_SHARE, shard->share));
    exchange->shard = shard;
}

void shard_deinit(struct shard *shard) {
    if (!shard->multi)
        return;
    CURL_MUST(curl_multi_cleanup(shard->multi));
    CURL_MUST(curl_share_cleanup(shard->share));
    loop_timer_free(&shard->timer);
}

void shard_free_sockets(struct client *client) {
    for (size_t i = 0; i < client->socket_capacity; i++) {
        if (client->sockets[i])
            loop_watch_free(&client->sockets[i]->watch);
        mem_free(client->sockets[i]);
    }
    mem_free(client->sockets);
}
