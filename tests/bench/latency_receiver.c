/* Takes webhooks and measures how long they were on their way: each body carries, somewhere, "produced_us":
 * microseconds since 1970 at the moment of producing. Bodies without it are answered and not measured. One thread, one
 * epoll; on SIGTERM it prints one line of JSON: how many, and the quantiles in microseconds. On SIGUSR1 it does so too,
 * and goes on from nothing.
 *
 * HOSTS: listens on so many addresses, 127.1.0.1, 127.1.0.2, … (250 to a network), instead of 127.0.0.1. hang: takes
 * requests and never answers. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 16384, BUFFER = 64 * 1024, MAX_SAMPLES = 4 * 1000 * 1000, EVENTS = 128 };

struct client {
    char data[BUFFER];
    size_t used;
};

static struct client *clients[MAX_FD];
static uint32_t *samples;
static size_t sample_count;
static long request_count;
static bool listens[MAX_FD];
static bool hangs;

static void die(const char *what) {
    fprintf(stderr, "latency_receiver: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void measure(const char *body, size_t bytes) {
    static const char NAME[] = "\"produced_us\":";
    const char *found = memmem(body, bytes, NAME, sizeof NAME - 1);
    request_count++;
    if (found == NULL || sample_count == MAX_SAMPLES) {
        return;
    }
    int64_t produced = strtoll(found + sizeof NAME - 1, NULL, 10); /* ends at the body's own comma or brace */
    int64_t way = now_us() - produced;
    samples[sample_count++] = way < 0 ? 0 : way > UINT32_MAX ? UINT32_MAX : (uint32_t)way;
}

static size_t content_length(const char *head, size_t bytes) {
    static const char NAME[] = "\r\ncontent-length:";
    for (size_t i = 0; i + sizeof NAME < bytes; i++) {
        if (strncasecmp(head + i, NAME, sizeof NAME - 1) == 0) {
            return strtoul(head + i + sizeof NAME - 1, NULL, 10);
        }
    }
    return 0;
}

/* Answers each whole request in the buffer. False: what came can't be kept. */
static bool answer(int fd, struct client *client) {
    static const char ANSWER[] = "HTTP/1.1 204 No Content\r\n\r\n";
    for (;;) {
        const char *end = memmem(client->data, client->used, "\r\n\r\n", 4);
        if (end == NULL) {
            return client->used < BUFFER;
        }
        size_t head = (size_t)(end - client->data) + 4;
        size_t body = content_length(client->data, head);
        if (body > BUFFER - head) {
            return false;
        }
        if (client->used < head + body) {
            return true;
        }
        measure(client->data + head, body);
        if (send(fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) != (ssize_t)sizeof ANSWER - 1) {
            return false;
        }
        client->used -= head + body;
        memmove(client->data, client->data + head + body, client->used);
    }
}

static void drop(int fd) {
    close(fd);
    free(clients[fd]);
    clients[fd] = NULL;
}

static void on_readable(int fd) {
    struct client *client = clients[fd];
    ssize_t got = recv(fd, client->data + client->used, BUFFER - client->used, 0);
    if (got <= 0) {
        drop(fd);
        return;
    }
    client->used += (size_t)got;
    if (hangs) {
        client->used = 0;
        request_count++;
    } else if (!answer(fd, client)) {
        drop(fd);
    }
}

static void watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        die("epoll_ctl");
    }
}

static void on_connection(int epoll, int listener) {
    int one = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (fd >= MAX_FD || (clients[fd] = calloc(1, sizeof(struct client))) == NULL) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(epoll, fd);
}

static void open_listener(int epoll, uint32_t host, long port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(host);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || fd >= MAX_FD) {
        die("socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) {
        die("listen");
    }
    listens[fd] = true;
    watch(epoll, fd);
}

static void open_listeners(int epoll, long port, long hosts) {
    if (hosts == 0) {
        open_listener(epoll, INADDR_LOOPBACK, port);
    }
    for (long i = 0; i < hosts; i++) {
        open_listener(epoll, (uint32_t)(0x7F010000 + i / 250 * 256 + i % 250 + 1), port);
    }
}

static int by_value(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static unsigned quantile(double part) {
    return sample_count == 0 ? 0 : samples[(size_t)(part * (double)(sample_count - 1))];
}

static void report(void) {
    qsort(samples, sample_count, sizeof *samples, by_value);
    printf("{\"requests\": %ld, \"measured\": %zu, \"p50_us\": %u, \"p90_us\": %u, \"p99_us\": %u, \"max_us\": %u}\n",
           request_count, sample_count, quantile(0.5), quantile(0.9), quantile(0.99), quantile(1));
    fflush(stdout);
    request_count = 0;
    sample_count = 0;
}

/* False: that was the end. */
static bool on_signal(int fd) {
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof info) != (ssize_t)sizeof info) {
        return true;
    }
    report();
    return info.ssi_signo == SIGUSR1;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 4 || strcmp(argv[1], "--help") == 0) {
        printf("usage: latency_receiver PORT [HOSTS [hang]]\n");
        return argc == 2 ? 0 : 2;
    }
    hangs = argc == 4 && strcmp(argv[3], "hang") == 0;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR1);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    samples = calloc(MAX_SAMPLES, sizeof *samples);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int ended = signalfd(-1, &signals, SFD_CLOEXEC);
    if (samples == NULL || epoll < 0 || ended < 0) {
        die("start");
    }
    open_listeners(epoll, strtol(argv[1], NULL, 10), argc > 2 ? strtol(argv[2], NULL, 10) : 0);
    watch(epoll, ended);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == ended) {
                if (!on_signal(ended)) {
                    return 0;
                }
            } else if (listens[events[i].data.fd]) {
                on_connection(epoll, events[i].data.fd);
            } else {
                on_readable(events[i].data.fd);
            }
        }
    }
}
