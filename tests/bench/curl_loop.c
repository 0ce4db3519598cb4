/* The yardstick: the least that POSTs through libcurl can cost. One curl multi on one epoll, one host, N connections
 * that stay open, each sending the same body again as soon as it is answered. No signing, no log, no choice.
 *
 * A descriptor stays registered with epoll when curl loses interest in it, and is dropped when it is closed or when it
 * fires idle: most of the time curl asks for the same again a moment later. Curl's timer is the timeout of epoll_wait.
 */
#include <curl/curl.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 16384, MAX_CONNECTIONS = 4096, EVENTS = 256 };

struct descriptor {
    uint32_t registered; /* with epoll; 0: not */
    uint32_t wanted;     /* by curl; 0: idle */
};

struct loop {
    CURLM *multi;
    int epoll;
    long timeout_ms; /* -1: none */
    struct descriptor descriptors[MAX_FD];
    long left_to_start;
    long done;
    long failed;
};

static void die(const char *what) {
    fprintf(stderr, "curl_loop: %s\n", what);
    exit(1);
}

static double seconds_now(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void register_descriptor(struct loop *loop, int fd, uint32_t wanted) {
    struct descriptor *descriptor = &loop->descriptors[fd];
    descriptor->wanted = wanted;
    if (wanted == 0 || wanted == descriptor->registered) {
        return;
    }
    struct epoll_event event = {.events = wanted, .data.fd = fd};
    int operation = descriptor->registered != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(loop->epoll, operation, fd, &event) != 0) {
        die(strerror(errno));
    }
    descriptor->registered = wanted;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *unused) {
    (void)easy;
    (void)unused;
    if (fd >= MAX_FD) {
        die("too many descriptors");
    }
    uint32_t wanted = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) {
        wanted |= EPOLLIN;
    }
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) {
        wanted |= EPOLLOUT;
    }
    register_descriptor(context, fd, wanted);
    return 0;
}

static int on_close(void *context, curl_socket_t fd) {
    struct loop *loop = context;
    loop->descriptors[fd] = (struct descriptor){0}; /* closing takes it out of epoll */
    return close(fd);
}

static int on_timer(CURLM *multi, long timeout_ms, void *context) {
    (void)multi;
    struct loop *loop = context;
    loop->timeout_ms = timeout_ms;
    return 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *context) {
    (void)data;
    (void)context;
    return size * count;
}

static CURL *make_request(struct loop *loop, const char *url, const char *body, long body_bytes,
                          struct curl_slist *headers) {
    CURL *easy = curl_easy_init();
    if (easy == NULL) {
        die("no memory");
    }
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, body_bytes);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, loop);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 15000L);
    return easy;
}

static void finish(struct loop *loop) {
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(loop->multi, &left)) != NULL) {
        CURL *easy = message->easy_handle;
        long status = 0;
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        if (message->data.result != CURLE_OK || status / 100 != 2) {
            loop->failed++;
        }
        loop->done++;
        curl_multi_remove_handle(loop->multi, easy);
        if (loop->left_to_start > 0) {
            loop->left_to_start--;
            curl_multi_add_handle(loop->multi, easy);
        }
    }
}

static void turn(struct loop *loop) {
    struct epoll_event events[EVENTS];
    int running;
    int count = epoll_wait(loop->epoll, events, EVENTS, (int)loop->timeout_ms);
    if (count == 0) {
        loop->timeout_ms = -1;
        curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        if (loop->descriptors[fd].wanted == 0) {
            epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
            loop->descriptors[fd].registered = 0;
            continue;
        }
        int what = ((events[i].events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
                   ((events[i].events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
                   ((events[i].events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(loop->multi, fd, what, &running);
    }
    finish(loop);
}

static void report(const struct loop *loop, double seconds) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf(
        "{\"requests\": %ld, \"failed\": %ld, \"seconds\": %.3f, \"rate\": %.0f, \"cpu_us\": %.2f, \"peak_kb\": %ld}\n",
        loop->done, loop->failed, seconds, (double)loop->done / seconds, cpu * 1e6 / (double)loop->done,
        usage.ru_maxrss);
}

static long number(const char *text, long least, long most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*end != '\0' || value < least || value > most) {
        die("a number is out of its range; see --help");
    }
    return value;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        printf("usage: curl_loop URL REQUESTS CONNECTIONS BODY_BYTES\n"
               "Sends so many POSTs and prints one line of JSON: rate, processor time per request, failures.\n");
        return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
    }
    long requests = number(argv[2], 1, 1000000000);
    long connections = number(argv[3], 1, MAX_CONNECTIONS);
    long body_bytes = number(argv[4], 0, 1 << 20);
    char *body = malloc((size_t)body_bytes + 1);
    static struct loop loop = {.timeout_ms = -1};
    if (body == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        die("no memory");
    }
    memset(body, 'x', (size_t)body_bytes + 1);
    loop.multi = curl_multi_init();
    loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    curl_multi_setopt(loop.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(loop.multi, CURLMOPT_SOCKETDATA, &loop);
    curl_multi_setopt(loop.multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(loop.multi, CURLMOPT_TIMERDATA, &loop);
    curl_multi_setopt(loop.multi, CURLMOPT_MAXCONNECTS, connections * 2);
    struct curl_slist *headers = curl_slist_append(NULL, "content-type: application/json");
    headers = curl_slist_append(headers, "expect:");

    double began = seconds_now(CLOCK_MONOTONIC);
    long at_once = connections < requests ? connections : requests;
    loop.left_to_start = requests - at_once;
    for (long i = 0; i < at_once; i++) {
        curl_multi_add_handle(loop.multi, make_request(&loop, argv[1], body, body_bytes, headers));
    }
    while (loop.done < requests) {
        turn(&loop);
    }
    report(&loop, seconds_now(CLOCK_MONOTONIC) - began);
    return loop.failed == 0 ? 0 : 1; /* the process's end frees the rest */
}
