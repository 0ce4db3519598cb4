/* Looks at a Kafka cluster as the consumer would see it, and changes nothing there: it joins no group and commits no
 * offset. For `hookcast check`. Each call waits for the cluster, at most as long as it is told. One thread. */
#ifndef KAFKA_PROBE_H
#define KAFKA_PROBE_H

#include "kafka/consumer.h"

struct probe;

/* The settings are borrowed until probe_close. STATUS_INVALID: a property or a topic expression is wrong; error names
 * it. Nothing is dialled yet. */
MUST_USE enum status probe_open(const struct consumer_settings *settings, struct probe **ret_probe,
                                struct error *error);
void probe_close(struct probe **probe);

struct probe_topic {
    char *name;
    int32_t partitions;   /* 0: not there, or not for us to see */
    struct error trouble; /* text empty: none */
};

/* In the order in which the cluster lists them; those that the settings name and that are not there come last. */
struct probe_topics {
    struct probe_topic *items;
    size_t count;
    int brokers;
};
void probe_topics_deinit(struct probe_topics *topics);

/* The brokers, and the topics that the consumer would subscribe to, as far as this user may describe them.
 * STATUS_UNAVAILABLE: no broker answers, and why. */
MUST_USE enum status probe_topics(struct probe *probe, int64_t timeout_ms, struct probe_topics *ret_topics,
                                  struct error *error);

/* Fetches from the end of a partition of each topic that has no trouble yet, and notes there what is refused, or does
 * not answer in time. Returns how many topics have trouble now. */
size_t probe_read(struct probe *probe, int64_t timeout_ms, struct probe_topics *topics);

/* Asks the group for its offsets on these topics (ret_committed: partitions that have one), and whether it would take
 * one from us: by offering an offset of a partition that does not exist. STATUS_FAILED: the group is refused to us;
 * STATUS_UNAVAILABLE: no answer in time. */
MUST_USE enum status probe_group(struct probe *probe, int64_t timeout_ms, const struct probe_topics *topics,
                                 int64_t *ret_committed, struct error *error);

#endif
