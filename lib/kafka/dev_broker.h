/* An in-memory Kafka for trying things out (librdkafka's mock cluster). It keeps the last 5 MiB (or 100,000 batches) of
 * a partition, drops what is older without a word, and keeps nothing after the process ends. It listens on loopback, on
 * ports that the system chooses; it serves other processes too. A topic that a client brings about by its first use has
 * DEV_BROKER_PARTITIONS partitions; the first member of a new group waits three seconds. One thread. */
#ifndef KAFKA_DEV_BROKER_H
#define KAFKA_DEV_BROKER_H

#include "base/buffer.h"

#define DEV_BROKER_PARTITIONS 4

struct dev_broker;

/* partitions: of the topics that dev_broker_topic makes, 1–1000. */
MUST_USE enum status dev_broker_open(int brokers, int partitions, struct dev_broker **ret_broker, struct error *error);
void dev_broker_close(struct dev_broker **broker);
const char *dev_broker_address(const struct dev_broker *broker); /* bootstrap list */

/* Makes a topic. STATUS_CONFLICT: it is there already. */
MUST_USE enum status dev_broker_topic(struct dev_broker *broker, const char *topic, struct error *error);

/* Refuses connections and drops those that are open, or takes them again: all brokers. For tests. */
void dev_broker_reachable(struct dev_broker *broker, bool reachable);

/* Refuses the next `count` producers that begin: they may not. For tests. */
void dev_broker_refuse_producers(struct dev_broker *broker, int count);

#endif
