/* librdkafka does not always say that the last broker is gone, says nothing of one that is frozen, and nothing when one
 * is back. So a thread of its own asks for metadata when there is a reason to doubt: a connection's trouble, or nothing
 * that came for a while. It asks until a broker answers, and what it finds counts. (librdkafka's admin requests would
 * need no thread, but in 2.0.2 one that waits for a coordinator can abort the process.)
 *
 *   the owner ──▶ doubt ──▶ the thread asks ──▶ answers, news ──▶ consumer_health_poll ──▶ CONSUMER_DOWN, CONSUMER_UP
 */
#include "kafka/consumer_private.h"

#include "base/clock.h"
#include "base/memory.h"
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define ASK_FIRST_MS 1000
#define ASK_LONGEST_MS 3000 /* a broker that is far away, or slow, is not away */
#define BETWEEN_MS 100
#define QUIET_MS 3000    /* without a record for so long (or up to twice that) there is a doubt */
#define PATIENCE_MS 3000 /* without an answer for so long Kafka is away */
/* Records that still come are a sign of life, but no longer than this: librdkafka hands out what it has prefetched. */
#define PATIENCE_WITH_RECORDS_MS 30000

enum doubt { DOUBT_NONE, DOUBT_SOME, DOUBT_GRAVE };

struct consumer_health {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    const struct consumer *consumer;
    /* Under the mutex. */
    bool stop;
    bool answers;     /* what the thread found */
    enum doubt doubt; /* raised by the owner, taken by the thread */
    /* Between the two. */
    _Atomic bool news;
    _Atomic uint64_t records;
    /* The owner's. */
    bool told_down;
};

static void wait_ms(struct consumer_health *health, int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&health->changed, &health->mutex, &until);
}

static bool ask(struct consumer_health *health, int timeout_ms) {
    const struct rd_kafka_metadata *metadata;
    pthread_mutex_unlock(&health->mutex);
    rd_kafka_resp_err_t code = rd_kafka_metadata(health->consumer->rk, 0, NULL, &metadata, timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(metadata);
    pthread_mutex_lock(&health->mutex);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void conclude(struct consumer_health *health, bool answers) {
    health->answers = answers;
    atomic_store(&health->news, true);
    consumer_wake(health->consumer);
}

/* Returns when a broker has answered, or the owner closes. */
static void ask_until_answered(struct consumer_health *health) {
    int64_t began_ms = clock_mono_ms(), away_at_ms = began_ms + PATIENCE_MS;
    int timeout_ms = ASK_FIRST_MS;
    while (!health->stop) {
        uint64_t records = atomic_load(&health->records);
        if (health->doubt == DOUBT_GRAVE)
            away_at_ms = began_ms;
        health->doubt = DOUBT_NONE;
        if (ask(health, timeout_ms)) {
            conclude(health, true);
            return;
        }
        timeout_ms = 2 * timeout_ms < ASK_LONGEST_MS ? 2 * timeout_ms : ASK_LONGEST_MS;
        int64_t now_ms = clock_mono_ms();
        if (atomic_load(&health->records) != records && now_ms - began_ms < PATIENCE_WITH_RECORDS_MS)
            away_at_ms = now_ms + PATIENCE_MS;
        if (health->answers && now_ms >= away_at_ms)
            conclude(health, false);
        if (!health->stop)
            wait_ms(health, BETWEEN_MS);
    }
}

static void *watch(void *ctx) {
    struct consumer_health *health = ctx;
    pthread_setname_np(pthread_self(), "kafka-probe");
    pthread_mutex_lock(&health->mutex);
    while (!health->stop) {
        uint64_t records = atomic_load(&health->records);
        if (health->doubt == DOUBT_NONE)
            wait_ms(health, QUIET_MS);
        if (!health->stop && (health->doubt != DOUBT_NONE || atomic_load(&health->records) == records))
            ask_until_answered(health);
    }
    pthread_mutex_unlock(&health->mutex);
    return NULL;
}

void consumer_health_init(struct consumer *consumer) {
    struct consumer_health *health = mem_calloc(1, sizeof(*health));
    health->consumer = consumer;
    health->answers = true;
    pthread_condattr_t attr;
    CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_mutex_init(&health->mutex, NULL) == 0 && pthread_cond_init(&health->changed, &attr) == 0);
    pthread_condattr_destroy(&attr);
    CHECK(pthread_create(&health->thread, NULL, watch, health) == 0);
    consumer->health = health;
}

static void raise_doubt(struct consumer_health *health, enum doubt doubt) {
    pthread_mutex_lock(&health->mutex);
    if (health->doubt < doubt)
        health->doubt = doubt;
    pthread_cond_signal(&health->changed);
    pthread_mutex_unlock(&health->mutex);
}

void consumer_health_trouble(struct consumer *consumer, bool all_brokers) {
    if (!consumer->closing)
        raise_doubt(consumer->health, all_brokers ? DOUBT_GRAVE : DOUBT_SOME);
}

void consumer_health_record(struct consumer *consumer) {
    _Atomic uint64_t *records = &consumer->health->records;
    atomic_store_explicit(records, atomic_load_explicit(records, memory_order_relaxed) + 1, memory_order_relaxed);
}

void consumer_health_poll(struct consumer *consumer) {
    struct consumer_health *health = consumer->health;
    if (!atomic_load_explicit(&health->news, memory_order_relaxed))
        return;
    pthread_mutex_lock(&health->mutex);
    atomic_store(&health->news, false);
    bool down = !health->answers;
    pthread_mutex_unlock(&health->mutex);
    if (down && !health->told_down) {
        const char *why = consumer->connection.text[0] ? consumer->connection.text : "no Kafka broker answers";
        consumer_note(consumer, CONSUMER_DOWN, (struct topic_partitions){NULL, 0}, false, why);
    } else if (!down && health->told_down) {
        consumer_note(consumer, CONSUMER_UP, (struct topic_partitions){NULL, 0}, false, "");
    }
    if (!down)
        consumer->connection.text[0] = '\0';
    health->told_down = down;
}

void consumer_health_stop(struct consumer *consumer) {
    if (!consumer->health)
        return;
    pthread_mutex_lock(&consumer->health->mutex);
    consumer->health->stop = true;
    pthread_cond_signal(&consumer->health->changed);
    pthread_mutex_unlock(&consumer->health->mutex);
}

void consumer_health_deinit(struct consumer *consumer) {
    struct consumer_health *health = consumer->health;
    if (!health)
        return;
    consumer_health_stop(consumer);
    pthread_join(health->thread, NULL);
    pthread_cond_destroy(&health->changed);
    pthread_mutex_destroy(&health->mutex);
    mem_free(health);
    consumer->health = NULL;
}
