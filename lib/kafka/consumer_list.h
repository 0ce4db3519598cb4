/* struct topic_partitions to and from librdkafka's lists. Private to this room. */
#ifndef KAFKA_CONSUMER_LIST_H
#define KAFKA_CONSUMER_LIST_H

#include "kafka/consumer.h"

struct rd_kafka_topic_partition_list_s;

/* The caller destroys it. */
struct rd_kafka_topic_partition_list_s *consumer_list_new(const struct topic_partitions *partitions);

/* What a librdkafka list says, as a list of its own. */
struct topic_partitions consumer_list_read(const struct rd_kafka_topic_partition_list_s *list);

/* The first partition in the list that has an error: STATUS_FAILED, and error says which and what. */
MUST_USE enum status consumer_list_check(const struct rd_kafka_topic_partition_list_s *list, struct error *error);

/* Where (topic, partition) stands in the list; -1: nowhere. */
int64_t consumer_list_find(const struct topic_partitions *list, struct span topic, int32_t partition);

/* Takes the item at index out; the last one takes its place. */
void consumer_list_remove(struct topic_partitions *list, size_t index);

#endif
