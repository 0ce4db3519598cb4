/* An in-memory Kafka for trying things out (librdkafka's mock cluster). It keeps the last 5 MiB of a partition and
 * nothing after the process ends. One thread. */
#ifndef KAFKA_DEV_BROKER_H
#define KAFKA_DEV_BROKER_H

#include "base/buffer.h"

struct dev_broker;

MUST_USE enum status dev_broker_open(int brokers, int partitions, struct dev_broker **ret_broker, struct error *error);
void dev_broker_close(struct dev_broker **broker);
const char *dev_broker_address(const struct dev_broker *broker); /* bootstrap list */

#endif
