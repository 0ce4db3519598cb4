/* What is remembered between exchanges: each URL that is in use is parsed once, and leads to its host, which counts the
 * look-ups of its name.
 *
 * A look-up is a thread in getaddrinfo that nobody can stop. One that hangs therefore keeps its place among those
 * allowed until long after its exchange has gone (LOOKUP_REST_MS), and a name holds few places, so that no number of
 * exchanges to a dead name server makes more threads than the limit. */
#include "net/client_private.h"

#include "base/memory.h"
#include "net/client_url.h"

#define uthash_malloc(size) mem_alloc(size)
#define uthash_free(block, size) mem_free(block)
#include <uthash.h>

#define MAX_TARGETS 16384
#define MAX_LOOKUPS_PER_HOST 2
#define LOOKUP_REST_MS 30000

struct host {
    char *name;
    bool literal;
    size_t shard;
    size_t references; /* targets, and look-ups */
    size_t lookups;
    UT_hash_handle hh;
};

struct target {
    char *url;
    uint64_t serial;
    struct host *host;
    size_t references; /* exchanges */
    UT_hash_handle hh;
};

struct target_table {
    struct target *targets;
    struct host *hosts;
    uint64_t last_serial;
};

struct lookup_rest {
    struct host *host;
    int64_t until_ms;
    STAILQ_ENTRY(lookup_rest) entry;
};

struct target_table *target_table_new(void) {
    return mem_calloc(1, sizeof(struct target_table));
}

static void host_release(struct target_table *table, struct host *host) {
    if (--host->references > 0)
        return;
    HASH_DEL(table->hosts, host); /* NOLINT(clang-analyzer-core.NullDereference): the table holds this one */
    mem_free(host->name);
    mem_free(host);
}

static struct host *host_take(struct client *client, const struct client_url *parts) {
    struct target_table *table = client->targets;
    struct host *host;
    HASH_FIND_STR(table->hosts, parts->host, host);
    if (!host) {
        host = mem_calloc(1, sizeof(*host));
        host->name = mem_strdup(parts->host);
        host->literal = parts->literal;
        HASH_ADD_KEYPTR(hh, table->hosts, host->name, strlen(host->name), host);
        host->shard = host->hh.hashv % client->settings.shards;
    }
    host->references++;
    return host;
}

static void target_free(struct target_table *table, struct target *target) {
    HASH_DEL(table->targets, target);
    host_release(table, target->host);
    mem_free(target->url);
    mem_free(target);
}

/* Drops the URL that has been known longest and is not in use, among the first few. */
static void make_room(struct target_table *table) {
    struct target *target = table->targets;
    for (int i = 0; i < 64 && target; i++) {
        struct target *next = target->hh.next;
        if (target->references == 0) {
            target_free(table, target);
            return;
        }
        /* In use: to the end, so that the next search begins elsewhere. */
        HASH_DEL(table->targets, target);
        HASH_ADD_KEYPTR(hh, table->targets, target->url, strlen(target->url), target);
        target = next;
    }
}

struct target *target_take(struct client *client, const char *url, struct error *error) {
    struct target_table *table = client->targets;
    struct target *target;
    HASH_FIND_STR(table->targets, url, target);
    if (!target) {
        struct client_url parts;
        if (client_url_parse(url, client->settings.allow_http, &parts, error) != STATUS_OK)
            return NULL;
        if (HASH_COUNT(table->targets) >= MAX_TARGETS)
            make_room(table);
        target = mem_calloc(1, sizeof(*target));
        target->url = mem_strdup(url);
        target->serial = ++table->last_serial;
        target->host = host_take(client, &parts);
        HASH_ADD_KEYPTR(hh, table->targets, target->url, strlen(target->url), target);
    }
    target->references++;
    return target;
}

void target_release(struct client *client, struct target *target) {
    (void)client;
    target->references--;
}

uint64_t target_serial(const struct target *target) {
    return target->serial;
}

size_t target_shard(const struct target *target) {
    return target->host->shard;
}

int lookup_on_start(void *resolver, void *reserved, void *ctx) {
    (void)resolver;
    (void)reserved;
    struct exchange *exchange = ctx;
    struct client *client = exchange->client;
    struct host *host = exchange->target->host;
    if (host->literal || exchange->looking_up)
        return 0;
    if (client->lookups >= client->settings.max_lookups || host->lookups >= MAX_LOOKUPS_PER_HOST) {
        exchange->lookup_refused = true;
        return 1;
    }
    exchange->looking_up = true;
    client->lookups++;
    host->lookups++;
    host->references++;
    return 0;
}

static void lookup_end(struct client *client, struct host *host) {
    client->lookups--;
    host->lookups--;
    host_release(client->targets, host);
}

void lookup_done(struct exchange *exchange) {
    if (!exchange->looking_up)
        return;
    exchange->looking_up = false;
    lookup_end(exchange->client, exchange->target->host);
}

void lookup_abandon(struct exchange *exchange, int64_t now_ms) {
    if (!exchange->looking_up)
        return;
    exchange->looking_up = false;
    struct lookup_rest *rest = mem_alloc(sizeof(*rest));
    rest->host = exchange->target->host;
    rest->until_ms = now_ms + LOOKUP_REST_MS;
    STAILQ_INSERT_TAIL(&exchange->client->lookup_rests, rest, entry);
}

void lookup_sweep(struct client *client, int64_t now_ms) {
    struct lookup_rest *rest;
    while ((rest = STAILQ_FIRST(&client->lookup_rests)) && rest->until_ms <= now_ms) {
        STAILQ_REMOVE_HEAD(&client->lookup_rests, entry);
        lookup_end(client, rest->host);
        mem_free(rest);
    }
}

void target_table_free(struct client *client) {
    struct target_table *table = client->targets;
    lookup_sweep(client, INT64_MAX);
    struct target *target, *next;
    HASH_ITER (hh, table->targets, target, next) {
        target_free(table, target);
    }
    CHECK(!table->hosts);
    mem_free(table);
    client->targets = NULL;
}
