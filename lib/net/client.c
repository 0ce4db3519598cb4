/* The life of an exchange:
 *
 *   pool ──client_send──▶ running ──curl is done──▶ done called ──▶ pool
 *             │              │ cancelled, overdue                    ▲
 *             └─ bad URL ────┴──────▶ ended ──next round, done called┘
 *
 * Easy handles live in exchanges and keep their options; per request only what differs is set. The deadline is curl's
 * TIMEOUT_MS; a sweep twice a second makes sure that it holds whatever curl is busy with. */
#include "net/client.h"

#include "base/clock.h"
#include "base/memory.h"
#include "net/client_private.h"
#include <pthread.h>
#include <stdio.h>

#define DEFAULT_SHARDS 64
#define DEFAULT_LOOKUPS 32
#define POOL_MAX 512 /* idle easy handles kept */
#define BODY_KEEP_CAPACITY (64 * 1024)
#define SWEEP_MS 500
#define DNS_CACHE_S 60L

/* A header without a value takes away the one that curl would add by itself. */
static char *const DROPPED[] = {"Accept:", "Expect:", "Content-Type:"};
#define DROPPED_COUNT (sizeof(DROPPED) / sizeof(*DROPPED))

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void) {
    CURL_MUST(curl_global_init(CURL_GLOBAL_DEFAULT));
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx) {
    struct exchange *exchange = ctx;
    size_t len = size * count;
    exchange->header_bytes += len;
    /* A head of 1xx may come first, and trailers last. */
    if (len > 0 && (data[0] == '\r' || data[0] == '\n'))
        exchange->head_ended = true;
    else if (len > 5 && memcmp(data, "HTTP/", 5) == 0)
        exchange->head_ended = false;
    return exchange->header_bytes > HEADER_LIMIT_BYTES ? 0 : len;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx) {
    struct exchange *exchange = ctx;
    size_t len = size * count;
    size_t limit = exchange->body.max_bytes;
    size_t room = limit - exchange->body.len;
    buffer_append(&exchange->body, data, len < room ? len : room);
    exchange->body_bytes += len;
    if (exchange->body_bytes <= limit + DISCARD_LIMIT_BYTES)
        return len;
    exchange->cut = true;
    return 0;
}

static void setup_tls(const struct client_settings *settings, CURL *easy) {
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L));
    if (*settings->ca_file)
        CURL_MUST(curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ca_file));
    /* With a directory of authorities in play curl would parse the file for each connection. */
    if (*settings->ca_file || curl_version_info(CURLVERSION_NOW)->cainfo)
        CURL_MUST(curl_easy_setopt(easy, CURLOPT_CAPATH, NULL));
}

static void setup_easy(struct exchange *exchange) {
    const struct client_settings *settings = &exchange->client->settings;
    CURL *easy = exchange->easy;
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->text));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, settings->allow_http ? "http,https" : "https"));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_PROXY, ""));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_NOPROXY, "*")); /* or the environment is asked each time */
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, lookup_on_start));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_RESOLVER_START_DATA, exchange));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_POST, 1L));
    if (*settings->source_address) {
        char interface[128];
        snprintf(interface, sizeof(interface), "host!%s", settings->source_address);
        CURL_MUST(curl_easy_setopt(easy, CURLOPT_INTERFACE, interface));
    }
    setup_tls(settings, easy);
    shard_setup_sockets(easy, exchange);
}

static struct exchange *exchange_new(struct client *client) {
    struct exchange *exchange = mem_calloc(1, sizeof(*exchange));
    exchange->client = client;
    exchange->easy = curl_easy_init();
    CHECK(exchange->easy);
    buffer_init(&exchange->body, client->settings.response_body_limit_bytes);
    setup_easy(exchange);
    return exchange;
}

static void exchange_free(struct exchange *exchange) {
    curl_easy_cleanup(exchange->easy);
    buffer_deinit(&exchange->body);
    mem_free(exchange->lines);
    mem_free(exchange);
}

/* The one that was used last, whatever it was used for: its memory is near. */
static struct exchange *exchange_take(struct client *client) {
    struct exchange *exchange = TAILQ_FIRST(&client->pool);
    if (!exchange)
        return exchange_new(client);
    TAILQ_REMOVE(&client->pool, exchange, entry);
    client->pool_count--;
    return exchange;
}

static void exchange_release(struct exchange *exchange) {
    struct client *client = exchange->client;
    if (exchange->target)
        target_release(client, exchange->target);
    exchange->target = NULL;
    if (client->pool_count >= POOL_MAX) {
        exchange_free(exchange);
        return;
    }
    if (exchange->body.capacity > BODY_KEEP_CAPACITY)
        buffer_deinit(&exchange->body);
    TAILQ_INSERT_HEAD(&client->pool, exchange, entry);
    client->pool_count++;
}

void client_header_line(struct span name, struct span value, struct buffer *out) {
    size_t start = out->len;
    bool blank = true;
    buffer_span(out, name);
    buffer_text(out, ": ");
    for (size_t i = 0; i < value.len; i++) {
        bool control = (unsigned char)value.data[i] < ' ' || value.data[i] == 0x7f;
        char c = control ? ' ' : value.data[i];
        blank = blank && c == ' ';
        buffer_char(out, c);
    }
    if (blank) { /* "name:" would tell curl to send no such header */
        out->len = start + name.len;
        buffer_char(out, ';');
    }
}

static void set_lines(struct exchange *exchange, const struct client_header *headers, size_t count) {
    if (!exchange->lines || exchange->line_capacity < count) {
        exchange->line_capacity = count > 16 ? count : 16;
        exchange->lines =
            mem_realloc(exchange->lines, (DROPPED_COUNT + exchange->line_capacity) * sizeof(*exchange->lines));
    }
    struct curl_slist *line = exchange->lines;
    for (size_t i = 0; i < DROPPED_COUNT; i++, line++)
        *line = (struct curl_slist){DROPPED[i], line + 1};
    for (size_t i = 0; i < count; i++, line++)
        *line = (struct curl_slist){(char *)(uintptr_t)headers[i].line.data, line + 1};
    line[-1].next = NULL;
}

/* Only what differs from the handle's last exchange. */
static void set_request(struct exchange *exchange, const struct client_request *request) {
    CURL *easy = exchange->easy;
    int64_t timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : 1;
    if (exchange->url_serial != target_serial(exchange->target)) {
        CURL_MUST(curl_easy_setopt(easy, CURLOPT_URL, request->url));
        exchange->url_serial = target_serial(exchange->target);
    }
    if (exchange->timeout_ms != timeout_ms) {
        CURL_MUST(curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms));
        exchange->timeout_ms = timeout_ms;
    }
    set_lines(exchange, request->headers, request->header_count);
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->lines));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.len ? request->body.data : ""));
    CURL_MUST(curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len));
}

static void clear(struct exchange *exchange) {
    buffer_reset(&exchange->body);
    exchange->body_bytes = 0;
    exchange->header_bytes = 0;
    exchange->opened = false;
    exchange->lookup_refused = false;
    exchange->cut = false;
    exchange->head_ended = false;
    exchange->fresh = false;
    exchange->refused[0] = '\0';
    exchange->text[0] = '\0';
}

static void end_later(struct exchange *exchange, enum client_result result, const char *detail) {
    exchange->result = result;
    client_result_text(exchange->text, sizeof(exchange->text), detail);
    TAILQ_INSERT_TAIL(&exchange->client->ended, exchange, entry);
    client_soon(exchange->client);
}

struct exchange *client_send(struct client *client, const struct client_request *request, client_done_fn *done,
                             void *ctx) {
    struct error error;
    struct target *target = target_take(client, request->url, &error);
    struct exchange *exchange = exchange_take(client);
    clear(exchange);
    exchange->target = target;
    exchange->done = done;
    exchange->ctx = ctx;
    exchange->started_us = clock_mono_us();
    client->in_flight++;
    if (!target) {
        end_later(exchange, CLIENT_BAD_URL, error.text);
        return exchange;
    }
    shard_enter(&client->shards[target_shard(target)], exchange);
    set_request(exchange, request);
    exchange->running = true;
    TAILQ_INSERT_TAIL(&client->running, exchange, entry);
    CURL_MUST(curl_multi_add_handle(exchange->shard->multi, exchange->easy));
    if (!loop_timer_active(client->sweep))
        loop_timer_start(client->sweep, SWEEP_MS);
    return exchange;
}

/* Takes it out of curl's hands. */
static void detach(struct exchange *exchange) {
    CURL_MUST(curl_multi_remove_handle(exchange->shard->multi, exchange->easy));
    TAILQ_REMOVE(&exchange->client->running, exchange, entry);
    exchange->running = false;
}

static void end_fresh(struct exchange *exchange) {
    CURL_MUST(curl_easy_setopt(exchange->easy, CURLOPT_FRESH_CONNECT, 0L));
    exchange->timeout_ms = 0; /* the handle has another: it is set anew */
}

static void report(struct exchange *exchange, struct client_response *response) {
    exchange->client->in_flight--;
    if (exchange->fresh)
        end_fresh(exchange);
    response->body = buffer_view(&exchange->body);
    response->body_bytes = exchange->body_bytes;
    response->duration_us = clock_mono_us() - exchange->started_us;
    response->new_connection = exchange->opened;
    exchange->done(exchange->ctx, response);
    exchange_release(exchange);
}

/* The receiver had closed the connection that was kept, and knows nothing of the request. curl tries again by itself,
 * but only five times in the life of an easy handle. */
static bool met_dead_connection(const struct exchange *exchange, CURLcode code) {
    return (code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR || code == CURLE_GOT_NOTHING) && !exchange->opened &&
           !exchange->fresh && exchange->header_bytes == 0;
}

static void try_fresh(struct exchange *exchange) {
    int64_t left_ms = exchange->timeout_ms - (clock_mono_us() - exchange->started_us) / 1000;
    CURLM *multi = exchange->shard->multi;
    CURL_MUST(curl_multi_remove_handle(multi, exchange->easy));
    exchange->fresh = true;
    exchange->text[0] = '\0';
    CURL_MUST(curl_easy_setopt(exchange->easy, CURLOPT_FRESH_CONNECT, 1L));
    CURL_MUST(curl_easy_setopt(exchange->easy, CURLOPT_TIMEOUT_MS, (long)(left_ms > 0 ? left_ms : 1)));
    CURL_MUST(curl_multi_add_handle(multi, exchange->easy));
}

static void finish(struct exchange *exchange, CURLcode code) {
    struct client_response response;
    if (met_dead_connection(exchange, code)) {
        try_fresh(exchange);
        return;
    }
    enum client_result result = result_of(exchange, code);
    response.result = result;
    response.status_code = 0;
    response.retry_after_ms = -1;
    response.detail[0] = '\0';
    if (result == CLIENT_ANSWERED) {
        long status = 0;
        curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
        response.status_code = (int)status;
        if (status >= 300)
            response.retry_after_ms = result_retry_after_ms(exchange->easy, clock_wall_ms());
    } else {
        result_detail(exchange, result, code, response.detail, sizeof(response.detail));
    }
    if (result == CLIENT_TIMEOUT)
        lookup_abandon(exchange, clock_mono_ms());
    else
        lookup_done(exchange);
    detach(exchange);
    report(exchange, &response);
}

void client_collect(struct shard *shard) {
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(shard->multi, &left))) {
        char *exchange;
        CURL_MUST(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange));
        finish((struct exchange *)(void *)exchange, message->data.result);
    }
}

void client_soon(struct client *client) {
    loop_timer_start(client->soon, 0);
}

static void on_soon(void *ctx) {
    struct client *client = ctx;
    shard_run_kicked(client);
    /* Those that come in meanwhile have their turn in the next round. */
    struct exchange *last = TAILQ_LAST(&client->ended, exchange_list);
    for (struct exchange *exchange = NULL; last && exchange != last;) {
        exchange = TAILQ_FIRST(&client->ended);
        TAILQ_REMOVE(&client->ended, exchange, entry);
        struct client_response response = {.result = exchange->result, .retry_after_ms = -1};
        client_result_text(response.detail, sizeof(response.detail), exchange->text);
        report(exchange, &response);
    }
}

static void end_early(struct exchange *exchange, enum client_result result, const char *detail) {
    lookup_abandon(exchange, clock_mono_ms());
    detach(exchange);
    end_later(exchange, result, detail);
}

static void on_sweep(void *ctx) {
    struct client *client = ctx;
    int64_t now_us = clock_mono_us();
    lookup_sweep(client, now_us / 1000);
    struct exchange *next;
    for (struct exchange *exchange = TAILQ_FIRST(&client->running); exchange; exchange = next) {
        next = TAILQ_NEXT(exchange, entry);
        if (now_us - exchange->started_us > (exchange->timeout_ms + SWEEP_MS) * 1000)
            end_early(exchange, CLIENT_TIMEOUT, "the deadline of the whole exchange passed");
    }
    if (!TAILQ_EMPTY(&client->running) || !STAILQ_EMPTY(&client->lookup_rests))
        loop_timer_start(client->sweep, SWEEP_MS);
}

void client_cancel(struct client *client, struct exchange *exchange) {
    CHECK(exchange->client == client);
    if (exchange->running)
        end_early(exchange, CLIENT_CANCELLED, "cancelled");
    else
        exchange->result = CLIENT_CANCELLED;
}

enum status client_new(struct loop *loop, const struct client_settings *settings, struct client **ret_client,
                       struct error *error) {
    pthread_once(&curl_once, init_curl);
    if (*settings->ca_file) {
        FILE *file = fopen(settings->ca_file, "re");
        if (!file)
            return error_set(error, STATUS_INVALID, "%s with certificate authorities can't be read: %m",
                             settings->ca_file);
        fclose(file);
    }
    struct client *client = mem_calloc(1, sizeof(*client));
    client->loop = loop;
    client->settings = *settings;
    client->settings.ca_file = mem_strdup(settings->ca_file);
    client->settings.source_address = mem_strdup(settings->source_address);
    if (client->settings.shards == 0)
        client->settings.shards = DEFAULT_SHARDS;
    if (client->settings.max_lookups == 0)
        client->settings.max_lookups = DEFAULT_LOOKUPS;
    TAILQ_INIT(&client->pool);
    TAILQ_INIT(&client->running);
    TAILQ_INIT(&client->ended);
    STAILQ_INIT(&client->lookup_rests);
    client->targets = target_table_new();
    client->soon = loop_timer_new(loop, on_soon, client);
    client->sweep = loop_timer_new(loop, on_sweep, client);
    client->shards = mem_calloc(client->settings.shards, sizeof(*client->shards));
    for (size_t i = 0; i < client->settings.shards; i++)
        shard_init(&client->shards[i], client);
    *ret_client = client;
    return STATUS_OK;
}

static void free_exchanges(struct client *client, struct exchange_list *list) {
    struct exchange *exchange;
    while ((exchange = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, exchange, entry);
        if (exchange->running)
            CURL_MUST(curl_multi_remove_handle(exchange->shard->multi, exchange->easy));
        lookup_done(exchange);
        if (exchange->target)
            target_release(client, exchange->target);
        exchange_free(exchange);
    }
}

void client_free(struct client **client_pointer) {
    struct client *client = *client_pointer;
    if (!client)
        return;
    *client_pointer = NULL;
    free_exchanges(client, &client->running);
    free_exchanges(client, &client->ended);
    free_exchanges(client, &client->pool);
    for (size_t i = 0; i < client->settings.shards; i++)
        shard_deinit(&client->shards[i]);
    shard_free_sockets(client);
    target_table_free(client);
    loop_timer_free(&client->soon);
    loop_timer_free(&client->sweep);
    mem_free(client->shards);
    mem_free((char *)(uintptr_t)client->settings.ca_file);
    mem_free((char *)(uintptr_t)client->settings.source_address);
    mem_free(client);
}

size_t client_in_flight(const struct client *client) {
    return client->in_flight;
}

size_t client_open_connections(const struct client *client) {
    return client->open_connections;
}
