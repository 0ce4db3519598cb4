#include "kafka/consumer_list.h"

#include "base/memory.h"
#include <librdkafka/rdkafka.h>

_Static_assert(CONSUMER_OFFSET_NONE == RD_KAFKA_OFFSET_INVALID, "none is librdkafka's invalid offset");

void topic_partitions_add(struct topic_partitions *list, struct span topic, int32_t partition, int64_t offset,
                          struct span metadata) {
    /* Doubles at each power of two, so that no capacity needs to be kept. */
    if ((list->count & (list->count - 1)) == 0)
        list->items = mem_realloc(list->items, (list->count ? list->count * 2 : 1) * sizeof(list->items[0]));
    list->items[list->count++] = (struct topic_partition){
        .topic = mem_strndup(topic.data, topic.len),
        .partition = partition,
        .offset = offset,
        .metadata = metadata.data ? mem_strndup(metadata.data, metadata.len) : NULL,
    };
}

static void item_deinit(struct topic_partition *item) {
    mem_free(item->topic);
    mem_free(item->metadata);
}

void topic_partitions_deinit(struct topic_partitions *list) {
    for (size_t i = 0; i < list->count; i++)
        item_deinit(&list->items[i]);
    mem_free(list->items);
    *list = (struct topic_partitions){NULL, 0};
}

int64_t consumer_list_find(const struct topic_partitions *list, struct span topic, int32_t partition) {
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].partition == partition && span_is(topic, list->items[i].topic))
            return (int64_t)i;
    return -1;
}

void consumer_list_remove(struct topic_partitions *list, size_t index) {
    CHECK(index < list->count);
    item_deinit(&list->items[index]);
    list->items[index] = list->items[--list->count];
    if (list->count > 0) {
        /* Keeps what topic_partitions_add relies on: room for the next power of two. */
        size_t room = 1;
        while (room < list->count)
            room *= 2;
        list->items = mem_realloc(list->items, room * sizeof(list->items[0]));
    }
}

struct rd_kafka_topic_partition_list_s *consumer_list_new(const struct topic_partitions *partitions) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)partitions->count);
    CHECK(list);
    for (size_t i = 0; i < partitions->count; i++) {
        const struct topic_partition *item = &partitions->items[i];
        rd_kafka_topic_partition_t *to = rd_kafka_topic_partition_list_add(list, item->topic, item->partition);
        to->offset = item->offset;
        if (item->metadata) {
            /* librdkafka frees it with the C library's free, which mem_alloc's memory is not meant for. */
            to->metadata = strdup(item->metadata);
            CHECK(to->metadata);
            to->metadata_size = strlen(item->metadata);
        }
    }
    return list;
}

struct topic_partitions consumer_list_read(const struct rd_kafka_topic_partition_list_s *list) {
    struct topic_partitions partitions = {NULL, 0};
    for (int i = 0; list && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *item = &list->elems[i];
        struct span metadata = {item->metadata_size ? item->metadata : NULL, item->metadata_size};
        topic_partitions_add(&partitions, span_of(item->topic), item->partition, item->offset, metadata);
    }
    return partitions;
}

enum status consumer_list_check(const struct rd_kafka_topic_partition_list_s *list, struct error *error) {
    for (int i = 0; list && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *item = &list->elems[i];
        if (item->err)
            return error_set(error, STATUS_FAILED, "%s [%d]: %s", item->topic, (int)item->partition,
                             rd_kafka_err2str(item->err));
    }
    return STATUS_OK;
}
