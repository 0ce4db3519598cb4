/* What a million subscriptions cost in memory and time, and what a look-up among them costs.
 *
 *   bench_matching [SUBSCRIPTIONS]     default 1000000 */
#include "base/clock.h"
#include "webhook/matching.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOKUPS 2000000

static uint64_t random_state = 88172645463325252U;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int64_t resident_bytes(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*s %ld", &pages) != 1) {
        pages = 0;
    }
    if (file) {
        fclose(file);
    }
    return pages * (int64_t)sysconf(_SC_PAGESIZE);
}

/* A typical one: two types, a URL of 60 bytes, 80 bytes of sealed secret. */
static struct subscription *typical(size_t number, size_t workspaces, bool common_types) {
    char workspace[32], url[80], secret[80], by[16];
    int workspace_len = snprintf(workspace, sizeof(workspace), "ws_%zu", number % workspaces);
    int url_len = snprintf(url, sizeof(url), "https://hooks.customer-%07zu.example.com/incoming/webhook/v1/", number);
    int by_len = snprintf(by, sizeof(by), "usr_%04zu", number % 10000);
    for (size_t i = 0; i < sizeof(secret); i++) {
        secret[i] = (char)next_random();
    }
    const struct span types[] = {common_types ? SPAN_LITERAL("message.new") : SPAN_LITERAL("message.status.*"),
                                 SPAN_LITERAL("lead.updated")};
    struct subscription_spec spec = {
        .workspace_id = {workspace, (size_t)workspace_len},
        .version = 1,
        .event_types = types,
        .event_type_count = 2,
        .url = {url, (size_t)url_len},
        .format = SPAN_LITERAL("seanotify"),
        .sealed_secrets = {secret, sizeof(secret)},
        .created_by = {by, (size_t)by_len},
        .updated_by = {by, (size_t)by_len},
    };
    for (size_t i = 0; i < 16; i += 8) {
        uint64_t bits = next_random();
        memcpy(spec.id.bytes + i, &bits, 8);
    }
    struct subscription *subscription = NULL;
    struct error error;
    CHECK(subscription_new(&spec, NULL, &subscription, &error) == STATUS_OK);
    return subscription;
}

/* Reads what a sender would read first, so that its cache miss counts too. */
static void touch(void *ctx, struct subscription *subscription) {
    *(uint64_t *)ctx += subscription->status + (uint64_t)subscription->version;
}

static void measure_lookups(const struct matching *matching, size_t workspaces, const char *type, size_t lookups) {
    uint64_t sum = 0;
    size_t found = 0;
    int64_t began_us = clock_mono_us();
    for (size_t i = 0; i < lookups; i++) {
        char workspace[32];
        /* Digits by hand: snprintf would be half of what is measured. */
        uint64_t number = next_random() % workspaces;
        char *at = workspace + sizeof(workspace);
        do {
            *--at = (char)('0' + number % 10);
            number /= 10;
        } while (number);
        at -= 3;
        memcpy(at, "ws_", 3);
        struct span workspace_id = {at, (size_t)(workspace + sizeof(workspace) - at)};
        found += matching_each(matching, workspace_id, span_of(type), touch, &sum);
    }
    int64_t took_us = clock_mono_us() - began_us;
    printf("  %-18s %6.0f ns a look-up, %5.2f found each, %5.0f ns each of them%s\n", type,
           (double)took_us * 1000 / (double)lookups, (double)found / (double)lookups,
           found ? (double)took_us * 1000 / (double)found : 0, sum ? "" : " ");
}

static void measure(size_t subscriptions, size_t workspaces) {
    printf("%zu subscriptions in %zu workspaces\n", subscriptions, workspaces);
    int64_t resident_before = resident_bytes();
    int64_t began_us = clock_mono_us();
    struct matching *matching = matching_new(subscriptions);
    for (size_t i = 0; i < subscriptions; i++) {
        matching_put_take(matching, typical(i, workspaces, i % 3 != 0));
    }
    int64_t took_us = clock_mono_us() - began_us;
    int64_t resident = resident_bytes() - resident_before;
    printf("  made and put in %.2f s; %.0f bytes each resident, %.0f by its own account\n", (double)took_us / 1e6,
           (double)resident / (double)subscriptions,
           (double)matching_footprint_bytes(matching) / (double)subscriptions);
    /* About as many subscriptions found in each case. */
    size_t lookups = LOOKUPS / (subscriptions / workspaces) + 1;
    measure_lookups(matching, workspaces, "message.new", lookups);
    measure_lookups(matching, workspaces, "message.status.x", lookups);
    measure_lookups(matching, workspaces, "nobody.wants.this", lookups);
    began_us = clock_mono_us();
    matching_free(&matching);
    printf("  freed in %.2f s\n", (double)(clock_mono_us() - began_us) / 1e6);
}

int main(int argc, char **argv) {
    size_t subscriptions = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    if (subscriptions < 1000) {
        fprintf(stderr, "bench_matching: expected at least 1000 subscriptions\n");
        return 2;
    }
    const size_t workspaces[] = {subscriptions, subscriptions / 10, subscriptions / 1000, 1};
    for (size_t i = 0; i < sizeof(workspaces) / sizeof(workspaces[0]); i++) {
        /* A process each, so that resident memory tells of this case alone. */
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            measure(subscriptions, workspaces[i]);
            return 0;
        }
        int how = 0;
        if (child < 0 || waitpid(child, &how, 0) != child || how != 0) {
            fprintf(stderr, "bench_matching: a measurement failed\n");
            return 1;
        }
    }
    return 0;
}
