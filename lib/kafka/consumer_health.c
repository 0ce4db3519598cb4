/* librdkafka says when the last broker is gone, and nothing when one is back. So while it is down a thread of its own
 * asks for metadata, which waits for a broker, until it has an answer. (librdkafka's admin requests would need no
 * thread, but in 2.0.2 one that waits for a coordinator can abort the process.) */
#include "kafka/consumer_private.h"

#include "base/memory.h"
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define ASK_TIMEOUT_MS 1000
#define BETWEEN_MS 100

struct consumer_probe {
    pthread_t thread;
    struct consumer *consumer;
    _Atomic bool answered;
    _Atomic bool stop;
};

static void *ask(void *ctx) {
    struct consumer_probe *probe = ctx;
    pthread_setname_np(pthread_self(), "kafka-probe");
    while (!atomic_load(&probe->stop)) {
        const struct rd_kafka_metadata *metadata;
        if (rd_kafka_metadata(probe->consumer->rk, 0, NULL, &metadata, ASK_TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_metadata_destroy(metadata);
            atomic_store(&probe->answered, true);
            consumer_wake(probe->consumer);
            return NULL;
        }
        nanosleep(&(struct timespec){.tv_nsec = BETWEEN_MS * 1000000L}, NULL);
    }
    return NULL;
}

void consumer_health_down(struct consumer *consumer) {
    if (consumer->probe || consumer->closing)
        return;
    const char *why = consumer->connection.text[0] ? consumer->connection.text : "no Kafka broker answers";
    consumer_note(consumer, CONSUMER_DOWN, (struct topic_partitions){NULL, 0}, false, why);
    consumer->probe = mem_calloc(1, sizeof(*consumer->probe));
    consumer->probe->consumer = consumer;
    CHECK(pthread_create(&consumer->probe->thread, NULL, ask, consumer->probe) == 0);
}

void consumer_health_poll(struct consumer *consumer) {
    if (!consumer->probe || !atomic_load(&consumer->probe->answered))
        return;
    consumer_health_deinit(consumer);
    consumer->connection.text[0] = '\0';
    consumer_note(consumer, CONSUMER_UP, (struct topic_partitions){NULL, 0}, false, "");
}

void consumer_health_deinit(struct consumer *consumer) {
    if (!consumer->probe)
        return;
    atomic_store(&consumer->probe->stop, true);
    pthread_join(consumer->probe->thread, NULL);
    mem_free(consumer->probe);
    consumer->probe = NULL;
}
