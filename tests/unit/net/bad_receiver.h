/* A receiver that misbehaves in the way that the path asks for. Plain sockets, a thread for each connection; for tests
 * that include it once. */
#ifndef TEST_BAD_RECEIVER_H
#define TEST_BAD_RECEIVER_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    int fd;
    int port;
    pthread_t thread;
    atomic_bool stopping;
    atomic_int connections; /* open now */
    atomic_int accepted;
    atomic_int requests;
    _Atomic in_addr_t last_peer; /* in network order */
} receiver;

#define ANSWER_204 "HTTP/1.1 204 No Content\r\n\r\n"

struct received {
    char head[16384];
    char body[16384];
    size_t body_len;
    char path[64];
};

/* False: the other side is gone. */
static bool send_bytes(int fd, const void *data, size_t len) {
    const char *at = data;
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0 || receiver.stopping)
            return false;
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

static bool send_text(int fd, const char *text) {
    return send_bytes(fd, text, strlen(text));
}

/* Reads one request whole, with its Content-Length. */
static bool read_request(int fd, struct received *received) {
    size_t len = 0;
    char *end = NULL;
    while (!end) {
        ssize_t got = recv(fd, received->head + len, sizeof(received->head) - 1 - len, 0);
        if (got <= 0)
            return false;
        len += (size_t)got;
        received->head[len] = '\0';
        end = strstr(received->head, "\r\n\r\n");
    }
    const char *length = strcasestr(received->head, "content-length:");
    size_t wanted = length ? strtoul(length + 15, NULL, 10) : 0;
    received->body_len = len - (size_t)(end + 4 - received->head);
    memcpy(received->body, end + 4, received->body_len);
    while (received->body_len < wanted) {
        ssize_t got = recv(fd, received->body + received->body_len, wanted - received->body_len, 0);
        if (got <= 0)
            return false;
        received->body_len += (size_t)got;
    }
    end[2] = '\0';
    sscanf(received->head, "%*s %63s", received->path);
    return true;
}

static void pause_ms(int ms) {
    usleep((useconds_t)ms * 1000);
}

static void hang(int fd) {
    char byte;
    while (!receiver.stopping && recv(fd, &byte, 1, 0) > 0)
        ;
}

static void repeat(int fd, const char *text, int pause) {
    while (send_text(fd, text))
        if (pause)
            pause_ms(pause);
}

static void reset(int fd) {
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void send_body_of(int fd, size_t len) {
    char head[128], block[4096];
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);
    memset(block, 'b', sizeof(block));
    bool alive = send_text(fd, head);
    for (; alive && len > 0; len -= len < sizeof(block) ? len : sizeof(block))
        alive = send_bytes(fd, block, len < sizeof(block) ? len : sizeof(block));
}

/* Answers with what came. */
static void echo(int fd, const struct received *received) {
    char head[64];
    size_t head_len = strlen(received->head);
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", head_len + received->body_len);
    if (send_text(fd, head) && send_bytes(fd, received->head, head_len))
        send_bytes(fd, received->body, received->body_len);
}

struct fixed {
    const char *path, *answer;
    bool stays_open;
};

static const struct fixed FIXED[] = {
    {"/204", ANSWER_204, true},
    {"/redirect", "HTTP/1.1 302 Found\r\nLocation: /204\r\nContent-Length: 0\r\n\r\n", true},
    {"/retry-seconds", "HTTP/1.1 503 No\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n", true},
    {"/retry-past", "HTTP/1.1 429 No\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n", true},
    {"/retry-future", "HTTP/1.1 429 No\r\nRetry-After: Fri, 31 Dec 2100 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n",
     true},
    {"/retry-senseless", "HTTP/1.1 503 No\r\nRetry-After: -5\r\nContent-Length: 0\r\n\r\n", true},
    {"/retry-endless", "HTTP/1.1 503 No\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n", true},
    {"/gone", "HTTP/1.1 410 Gone\r\nContent-Length: 4\r\n\r\ngone", true},
    {"/gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", true},
    {"/continue", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" ANSWER_204, true},
    {"/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", true},
    {"/trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", true},
    {"/half-second-head", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: ", false},
    {"/until-close", "HTTP/1.1 200 OK\r\n\r\nall of it", false},
    {"/short", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", false},
    {"/garbage", "\x01\x02\x03 this is not HTTP\r\n\r\n", false},
    {"/half-head", "HTTP/1.1 200 OK\r\nContent-", false},
    {"/close", "", false},
    {"/late-close", ANSWER_204, false},
    {"/weird-status", "HTTP/1.1 banana\r\n\r\n", false},
};

/* Whether the connection stays open. */
static bool misbehave(int fd, const struct received *received) {
    const char *path = received->path;
    for (size_t i = 0; i < sizeof(FIXED) / sizeof(*FIXED); i++)
        if (strcmp(FIXED[i].path, path) == 0)
            return send_text(fd, FIXED[i].answer) && FIXED[i].stays_open;
    if (strcmp(path, "/echo") == 0) {
        echo(fd, received);
        return true;
    }
    if (strncmp(path, "/body/", 6) == 0) {
        send_body_of(fd, strtoul(path + 6, NULL, 10));
        return true;
    }
    if (strcmp(path, "/hang") == 0)
        hang(fd);
    else if (strcmp(path, "/trickle-head") == 0 && send_text(fd, "HTTP/1.1 200 OK\r\nX: "))
        repeat(fd, "H", 20);
    else if (strcmp(path, "/trickle-body") == 0 && send_text(fd, "HTTP/1.1 200 OK\r\n\r\n"))
        repeat(fd, "b", 20);
    else if (strcmp(path, "/endless-body") == 0 && send_text(fd, "HTTP/1.1 200 OK\r\n\r\n"))
        repeat(fd, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 0);
    else if (strcmp(path, "/endless-head") == 0 && send_text(fd, "HTTP/1.1 200 OK\r\n"))
        repeat(fd, "X-Header: some value that is not very long\r\n", 0);
    else if (strcmp(path, "/endless-line") == 0 && send_text(fd, "HTTP/1.1 200 OK\r\nX: "))
        repeat(fd, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 0);
    else if (strcmp(path, "/endless-1xx") == 0)
        repeat(fd, "HTTP/1.1 100 Continue\r\n\r\n", 0);
    else if (strcmp(path, "/reset") == 0)
        reset(fd);
    return false;
}

static void *serve_connection(void *ctx) {
    int fd = (int)(intptr_t)ctx;
    struct received *received = malloc(sizeof(*received));
    while (received && !receiver.stopping && read_request(fd, received)) {
        receiver.requests++;
        if (!misbehave(fd, received))
            break;
    }
    free(received);
    close(fd);
    receiver.connections--;
    return NULL;
}

static void *serve(void *ctx) {
    (void)ctx;
    int fd;
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);
    while ((fd = accept(receiver.fd, (struct sockaddr *)&peer, &len)) >= 0) {
        receiver.last_peer = peer.sin_addr.s_addr;
        struct timeval second = {.tv_sec = 1};
        pthread_t thread;
        if (receiver.stopping) {
            close(fd);
            break;
        }
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof(second));
        receiver.connections++;
        receiver.accepted++;
        if (pthread_create(&thread, NULL, serve_connection, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
    }
    return NULL;
}

static int receiver_start(void **state) {
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t len = sizeof(address);
    receiver.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(receiver.fd, (struct sockaddr *)&address, len) != 0 || listen(receiver.fd, 128) != 0)
        return -1;
    getsockname(receiver.fd, (struct sockaddr *)&address, &len);
    receiver.port = ntohs(address.sin_port);
    return pthread_create(&receiver.thread, NULL, serve, NULL);
}

/* Clients are gone by now, so every connection comes to its end. */
static int receiver_stop(void **state) {
    (void)state;
    receiver.stopping = true;
    shutdown(receiver.fd, SHUT_RDWR);
    pthread_join(receiver.thread, NULL);
    close(receiver.fd);
    for (int i = 0; i < 500 && receiver.connections > 0; i++)
        pause_ms(10);
    return receiver.connections == 0 ? 0 : -1;
}

#endif
