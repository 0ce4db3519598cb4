#include "kafka/consumer_private.h"

#include "base/memory.h"
#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

struct consumer_client {
    rd_kafka_t *rk;
    _Atomic int64_t references;
    _Atomic bool left_group;
};

struct kept_record {
    rd_kafka_message_t *message;
    struct consumer_client *client;
};

struct consumer_client *consumer_client_new(struct rd_kafka_s *rk) {
    struct consumer_client *client = mem_alloc(sizeof(*client));
    client->rk = rk;
    atomic_init(&client->references, 1);
    atomic_init(&client->left_group, false);
    return client;
}

static void client_drop(struct consumer_client *client) {
    if (atomic_fetch_sub(&client->references, 1) != 1)
        return;
    rd_kafka_destroy_flags(client->rk, client->left_group ? 0 : RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    mem_free(client);
}

void consumer_client_unref(struct consumer_client *client, bool left_group) {
    atomic_store(&client->left_group, left_group);
    client_drop(client);
}

static void take_headers(rd_kafka_message_t *message, struct consumer_record *record) {
    record->header_count = 0;
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    const char *name;
    const void *value;
    size_t size;
    while (record->header_count < RECORD_MAX_HEADERS &&
           rd_kafka_header_get_all(headers, record->header_count, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR)
        record->headers[record->header_count++] = (struct record_header){span_of(name), {value, value ? size : 0}};
}

void consumer_record_take(struct consumer_client *client, struct rd_kafka_message_s *message,
                          struct consumer_record *record) {
    record->topic = span_of(rd_kafka_topic_name(message->rkt));
    record->partition = message->partition;
    record->offset = message->offset;
    rd_kafka_timestamp_type_t kind;
    int64_t timestamp_ms = rd_kafka_message_timestamp(message, &kind);
    record->timestamp_ms = kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp_ms;
    record->key = (struct span){message->key, message->key ? message->key_len : 0};
    record->value = (struct span){message->payload, message->payload ? message->len : 0};
    take_headers(message, record);
    struct kept_record *kept = mem_alloc(sizeof(*kept));
    atomic_fetch_add(&client->references, 1);
    *kept = (struct kept_record){message, client};
    record->handle = kept;
}

void consumer_record_done(void **handle) {
    struct kept_record *kept = *handle;
    if (!kept)
        return;
    *handle = NULL;
    rd_kafka_message_destroy(kept->message);
    client_drop(kept->client);
    mem_free(kept);
}
