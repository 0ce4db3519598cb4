/* What the event path's building blocks cost: prints nanoseconds a call, and MB/s where bytes count. */
#include "base/clock.h"
#include "base/crypto.h"
#include "base/id.h"
#include "base/json_scan.h"

#include <stdio.h>

#define ROUND_US 200000
#define BEST_OF 3
#define EVENT_BYTES 1200

struct bench {
    struct span event;  /* compact, ASCII but for a few characters */
    struct span pretty; /* the same with white space */
    struct span cyrillic;
    struct hmac *hmac;
    struct keyring *ring;
    struct buffer out;
};

typedef void bench_fn(struct bench *bench);

static bool take_member(void *ctx, const struct json_member *member) {
    *(size_t *)ctx += member->value.text.len;
    return true;
}

static void scan(struct span text) {
    size_t bytes = 0;
    struct json_value value;
    CHECK(json_scan(text, take_member, &bytes, &value, NULL) == STATUS_OK && bytes > 0);
}

static void scan_event(struct bench *bench) {
    scan(bench->event);
}

static void scan_pretty(struct bench *bench) {
    scan(bench->pretty);
}

static void scan_cyrillic(struct bench *bench) {
    scan(bench->cyrillic);
}

static void compact_pretty(struct bench *bench) {
    struct json_value value = {.type = JSON_OBJECT, .text = bench->pretty};
    buffer_reset(&bench->out);
    json_compact(&value, &bench->out);
}

static void sign_event(struct bench *bench) {
    uint8_t mac[SHA256_BYTES];
    hmac_start(bench->hmac);
    hmac_add(bench->hmac, bench->event);
    hmac_finish(bench->hmac, mac);
}

static void hash_event(struct bench *bench) {
    uint8_t digest[SHA256_BYTES];
    crypto_sha256(bench->event, digest);
}

static void check_utf8(struct bench *bench) {
    CHECK(utf8_valid_prefix(bench->event) == bench->event.len);
}

static void make_event_key(struct bench *bench) {
    struct uuid key = id_event_key(SPAN_LITERAL("events.message.new"), 3, (int64_t)bench->out.max_bytes, 1710084600000);
    CHECK(!uuid_equal(&key, &UUID_NIL));
}

static void make_uuid(struct bench *bench) {
    (void)bench;
    struct uuid uuid = uuid_new(1710084600000);
    CHECK(!uuid_equal(&uuid, &UUID_NIL));
}

static void write_time(struct bench *bench) {
    buffer_reset(&bench->out);
    clock_format_iso(1710084600123, &bench->out);
}

static void read_time(struct bench *bench) {
    (void)bench;
    int64_t ms;
    CHECK(clock_parse_iso(SPAN_LITERAL("2024-03-10T15:30:00.123Z"), &ms, NULL) == STATUS_OK);
}

static void seal_secret(struct bench *bench) {
    buffer_reset(&bench->out);
    keyring_seal(bench->ring, SPAN_LITERAL("row"), SPAN_LITERAL("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), &bench->out);
}

/* Microseconds for so many calls. */
static int64_t run(bench_fn *fn, struct bench *bench, int64_t calls) {
    int64_t start_us = clock_mono_us();
    for (int64_t i = 0; i < calls; i++) {
        fn(bench);
    }
    return clock_mono_us() - start_us;
}

static void measure(const char *name, bench_fn *fn, struct bench *bench, size_t bytes) {
    int64_t calls = 1000;
    int64_t us;
    while ((us = run(fn, bench, calls)) < ROUND_US) {
        calls *= 2;
    }
    for (int i = 1; i < BEST_OF; i++) {
        int64_t again_us = run(fn, bench, calls);
        us = again_us < us ? again_us : us;
    }
    double ns = (double)us * 1000 / (double)calls;
    printf("%-36s %8.0f ns", name, ns);
    if (bytes) {
        printf(" %8.0f MB/s", (double)bytes * 1000 / ns);
    }
    printf("\n");
}

static struct span build(struct buffer *out, const char *gap, const char *message) {
    buffer_printf(out, "{%s\"id\":%s\"evt_01HRMQ5\",%s\"workspace_id\":%s4217,%s\"event_type\":%s\"message.new\",", gap,
                  gap, gap, gap, gap, gap);
    buffer_printf(out, "%s\"event_source\":%s\"whatsapp\",%s\"occurred_at\":%s1710084600123,%s\"payload\":%s{", gap,
                  gap, gap, gap, gap, gap);
    for (int i = 0; out->len < EVENT_BYTES - 250; i++) {
        buffer_printf(out, "%s\"field_%d\":%s{\"name\":%s\"%s\",%s\"count\":%s%d,%s\"on\":%strue},", gap, i, gap, gap,
                      message, gap, gap, i * 7919, gap, gap);
    }
    buffer_printf(out, "%s\"text\":%s\"", gap, gap);
    while (out->len < EVENT_BYTES - 30) {
        buffer_text(out, message);
    }
    buffer_printf(out, "\",%s\"tags\":%s[\"a\",%s\"b\",%snull]}}", gap, gap, gap, gap);
    return buffer_view(out);
}

int main(void) {
    struct bench bench;
    struct buffer event, pretty, cyrillic;
    buffer_init(&event, 1 << 14);
    buffer_init(&pretty, 1 << 14);
    buffer_init(&cyrillic, 1 << 14);
    buffer_init(&bench.out, 1 << 14);
    bench.event = build(&event, "", "Thanks for your order, it is on its way");
    bench.pretty = build(&pretty, "\n    ", "Thanks for your order, it is on its way");
    bench.cyrillic = build(&cyrillic, "", "\xD0\xA1\xD0\xBF\xD0\xB0\xD1\x81\xD0\xB8\xD0\xB1\xD0\xBE \xD0\xB7\xD0\xB0");
    bench.hmac = hmac_new(SPAN_LITERAL("0123456789abcdef01234567"));
    CHECK(keyring_new(SPAN_LITERAL("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), &bench.ring, NULL) == STATUS_OK);
    printf("event: %zu bytes, with white space %zu, Cyrillic %zu\n", event.len, pretty.len, cyrillic.len);
    measure("json_scan, compact event", scan_event, &bench, event.len);
    measure("json_scan, event with white space", scan_pretty, &bench, pretty.len);
    measure("json_scan, Cyrillic event", scan_cyrillic, &bench, cyrillic.len);
    measure("json_compact, event with white space", compact_pretty, &bench, pretty.len);
    measure("utf8_valid_prefix", check_utf8, &bench, event.len);
    measure("hmac of an event", sign_event, &bench, event.len);
    measure("crypto_sha256 of an event", hash_event, &bench, event.len);
    measure("id_event_key", make_event_key, &bench, 0);
    measure("uuid_new", make_uuid, &bench, 0);
    measure("clock_format_iso", write_time, &bench, 0);
    measure("clock_parse_iso", read_time, &bench, 0);
    measure("keyring_seal of a secret", seal_secret, &bench, 0);
    hmac_free(&bench.hmac);
    keyring_free(&bench.ring);
    buffer_deinit(&event);
    buffer_deinit(&pretty);
    buffer_deinit(&cyrillic);
    buffer_deinit(&bench.out);
    return 0;
}
