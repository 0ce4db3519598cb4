/* What net/client adds to the yardstick (curl_loop.c): the same POSTs through the webhook client on its loop, with the
 * headers of a webhook. With HOSTS above 1 the receiver is 127.0.0.1 and the addresses behind it, one host each. */
#include "base/clock.h"
#include "base/memory.h"
#include "net/client.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static struct {
    struct loop *loop;
    struct client *client;
    struct client_request request;
    char **urls;
    long hosts;
    long to_start;
    long to_finish;
    long failed;
    long new_connections;
} bench;

static void on_done(void *ctx, const struct client_response *response);

static void start(void) {
    bench.request.url = bench.urls[bench.to_start % bench.hosts];
    bench.to_start--;
    client_send(bench.client, &bench.request, on_done, NULL);
}

static void on_done(void *ctx, const struct client_response *response) {
    (void)ctx;
    if (response->result != CLIENT_ANSWERED || response->status_code / 100 != 2) {
        if (bench.failed++ == 0)
            fprintf(stderr, "bench_client: %s %d %s\n", client_result_name(response->result), response->status_code,
                    response->detail);
    }
    bench.new_connections += response->new_connection;
    bench.to_finish--;
    if (bench.to_start > 0)
        start();
    else if (bench.to_finish == 0)
        loop_stop(bench.loop);
}

static long number(const char *text, long least, long most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*end != '\0' || value < least || value > most) {
        fprintf(stderr, "bench_client: \"%s\" is not a number from %ld to %ld\n", text, least, most);
        exit(2);
    }
    return value;
}

static void make_urls(const char *port) {
    bench.urls = mem_calloc((size_t)bench.hosts, sizeof(*bench.urls));
    for (long i = 0; i < bench.hosts; i++) {
        char url[64];
        snprintf(url, sizeof(url), "http://127.0.%ld.%ld:%s/", i / 250, i % 250 + 1, port);
        bench.urls[i] = mem_strdup(url);
    }
}

static void report(long requests, double seconds) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu_us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
                    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    printf(
        "{\"requests\": %ld, \"failed\": %ld, \"seconds\": %.3f, \"rate\": %.0f, \"cpu_us\": %.2f, \"peak_kb\": %ld, "
        "\"connections\": %ld}\n",
        requests, bench.failed, seconds, (double)requests / seconds, cpu_us / (double)requests, usage.ru_maxrss,
        bench.new_connections);
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: bench_client PORT REQUESTS IN_FLIGHT BODY_BYTES HOSTS\n");
        return 2;
    }
    long requests = number(argv[2], 1, 1000000000);
    long in_flight = number(argv[3], 1, 100000);
    size_t body_bytes = (size_t)number(argv[4], 0, 1 << 20);
    bench.hosts = number(argv[5], 1, 60000);
    bench.to_start = bench.to_finish = requests;
    make_urls(argv[1]);
    char *body = mem_alloc(body_bytes + 1);
    memset(body, 'x', body_bytes);
    static const struct client_header HEADERS[] = {
        {SPAN_LITERAL("content-type: application/json")},
        {SPAN_LITERAL("user-agent: hookcast/" HOOKCAST_VERSION)},
        {SPAN_LITERAL("webhook-id: evt_0123456789abcdef01234567")},
        {SPAN_LITERAL("webhook-timestamp: 1614265330")},
        {SPAN_LITERAL("webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")},
    };
    bench.request = (struct client_request){.headers = HEADERS,
                                            .header_count = sizeof(HEADERS) / sizeof(*HEADERS),
                                            .body = {body, body_bytes},
                                            .timeout_ms = 15000};
    struct guard *guard;
    struct error error;
    bench.loop = loop_new("bench");
    struct client_settings settings = {
        .allow_http = true, .ca_file = "", .source_address = "", .response_body_limit_bytes = 16384};
    if (guard_new("127.0.0.0/8", &guard, &error) != STATUS_OK)
        return 1;
    settings.guard = guard;
    if (client_new(bench.loop, &settings, &bench.client, &error) != STATUS_OK)
        return 1;
    int64_t began_us = clock_mono_us();
    for (long i = 0; i < in_flight && bench.to_start > 0; i++)
        start();
    loop_run(bench.loop);
    report(requests, (double)(clock_mono_us() - began_us) / 1e6);
    client_free(&bench.client);
    guard_free(&guard);
    loop_free(&bench.loop);
    for (long i = 0; i < bench.hosts; i++)
        mem_free(bench.urls[i]);
    mem_free(bench.urls);
    mem_free(body);
    return bench.failed ? 1 : 0;
}
