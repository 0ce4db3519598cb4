/* What the parts of the webhook client share: client.c (exchanges from start to end), client_shard.c (the curl multis
 * on the loop), client_target.c (URLs that were seen, and name look-ups), client_result.c (what curl says, in our
 * words). */
#ifndef NET_CLIENT_PRIVATE_H
#define NET_CLIENT_PRIVATE_H

#include "net/client.h"
#include <curl/curl.h>
#include <sys/queue.h>

#define REASON_BYTES 128 /* what guard_judge needs */
#define HEADER_LIMIT_BYTES (64 * 1024)
#define DISCARD_LIMIT_BYTES (256 * 1024)

/* A URL that was used, with what was found out about it. */
struct target;

struct exchange {
    TAILQ_ENTRY(exchange) entry; /* in client->pool, client->running or client->ended */
    struct client *client;
    struct shard *shard; /* of its last target; NULL: none yet */
    CURL *easy;
    struct target *target; /* NULL: the URL is bad */
    uint64_t url_serial;   /* of the target whose URL the handle has */
    client_done_fn *done;
    void *ctx;
    int64_t started_us;
    int64_t timeout_ms;       /* as the handle has it */
    struct curl_slist *lines; /* the first DROPPED_HEADERS take away what curl would add */
    size_t line_capacity;
    struct buffer body;
    size_t body_bytes;
    size_t header_bytes;
    bool opened; /* a socket was made for it */
    bool looking_up;
    bool lookup_refused; /* too many of them */
    bool cut;            /* enough of the body was read */
    bool head_ended;     /* the answer's headers are complete */
    bool fresh;          /* tried again, on a new connection */
    bool running;
    enum client_result result;  /* of one in client->ended */
    char refused[REASON_BYTES]; /* by the guard; "" */
    char text[CURL_ERROR_SIZE];
};
TAILQ_HEAD(exchange_list, exchange);

struct client_socket;
struct shard {
    struct client *client;
    CURLM *multi; /* NULL: nothing was sent to its hosts yet */
    CURLSH *share;
    struct loop_timer *timer;
    int64_t due_ms;   /* when curl wants to be called, INT64_MAX: not */
    int64_t armed_ms; /* when the timer will fire, INT64_MAX: not */
    bool timer_told;  /* curl has called on_timer since this was cleared */
    bool kicked;
    struct shard *next_kicked;
};

struct lookup_rest; /* a look-up whose exchange is gone */
STAILQ_HEAD(lookup_rest_list, lookup_rest);

struct client {
    struct loop *loop;
    struct client_settings settings;
    struct shard *shards;
    struct client_socket **sockets; /* by descriptor */
    size_t socket_capacity;
    struct loop_timer *soon;
    struct loop_timer *sweep;
    struct shard *kicked;
    struct exchange_list pool;
    size_t pool_count;
    struct exchange_list running;
    struct exchange_list ended; /* done called in the loop's next round */
    size_t in_flight;
    size_t open_connections;
    struct target_table *targets;
    size_t lookups;
    struct lookup_rest_list lookup_rests;
};

/* client.c */
void client_collect(struct shard *shard); /* ends the exchanges that curl has finished */
void client_soon(struct client *client);  /* has client_on_soon called in the loop's next round */

/* client_shard.c */
void shard_init(struct shard *shard, struct client *client);
void shard_deinit(struct shard *shard); /* its exchanges are gone */
void shard_setup_sockets(CURL *easy, struct exchange *exchange);
void shard_enter(struct shard *shard, struct exchange *exchange); /* it is to be sent there */
void shard_run_kicked(struct client *client);
void shard_free_sockets(struct client *client);

/* client_target.c */
struct target_table *target_table_new(void);
void target_table_free(struct client *client);
/* NULL: error says why. */
struct target *target_take(struct client *client, const char *url, struct error *error);
void target_release(struct client *client, struct target *target);
uint64_t target_serial(const struct target *target);
size_t target_shard(const struct target *target);
int lookup_on_start(void *resolver, void *reserved, void *ctx); /* curl's CURLOPT_RESOLVER_START_FUNCTION */
void lookup_done(struct exchange *exchange);                    /* it came to an end; fine when there was none */
void lookup_abandon(struct exchange *exchange, int64_t now_ms); /* its thread goes on; fine when there was none */
void lookup_sweep(struct client *client, int64_t now_ms);

/* client_result.c */
enum client_result result_of(const struct exchange *exchange, CURLcode code);
void result_detail(const struct exchange *exchange, enum client_result result, CURLcode code, char *out, size_t size);
void client_result_text(char *out, size_t size, const char *text); /* cut to fit, without control characters */
int64_t result_retry_after_ms(CURL *easy, int64_t wall_ms);

#define CURL_MUST(call) CHECK((call) == 0)

#endif
