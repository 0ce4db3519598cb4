/* librdkafka before 2.2 stops fetching when as much is prefetched as may be, and looks again a second later, unless its
 * thread for that broker gets something else to do meanwhile. Who has read it all by then finds nothing for the rest of
 * that second. So when much was read without a pause and then there is nothing, the brokers that are read from are
 * asked something small: whatever is asked wakes that thread. From 2.2 on fetch.queue.backoff.ms does the same. */
#include "kafka/consumer_list.h"
#include "kafka/consumer_private.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>

#define VERSION_2_2 0x02020000
#define ASK_MS 5 /* the answer is of no interest */

static int64_t number_of(const rd_kafka_conf_t *conf, const char *property) {
    char text[32] = "";
    size_t size = sizeof(text);
    CHECK(rd_kafka_conf_get(conf, property, text, &size) == RD_KAFKA_CONF_OK);
    return strtoll(text, NULL, 10);
}

void consumer_prefetch_init(struct consumer *consumer) {
    const rd_kafka_conf_t *conf = rd_kafka_conf(consumer->rk);
    if (rd_kafka_version() >= VERSION_2_2)
        return;
    /* Half of what may be there: it counts the records, librdkafka what it needs for them. */
    consumer->prefetch.much_records = number_of(conf, "queued.min.messages") / 2;
    consumer->prefetch.much_bytes = number_of(conf, "queued.max.messages.kbytes") * 1024 / 2;
}

void consumer_prefetch_read(struct consumer *consumer, const struct consumer_record *record) {
    consumer->prefetch.records++;
    consumer->prefetch.bytes += (int64_t)(record->key.len + record->value.len);
}

static void ask(struct consumer *consumer) {
    rd_kafka_topic_partition_list_t *list = consumer_list_new(&consumer->assigned);
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    (void)rd_kafka_offsets_for_times(consumer->rk, list, ASK_MS);
    rd_kafka_topic_partition_list_destroy(list);
}

void consumer_prefetch_empty(struct consumer *consumer) {
    bool much = consumer->prefetch.records >= consumer->prefetch.much_records ||
                consumer->prefetch.bytes >= consumer->prefetch.much_bytes;
    bool sleeps = consumer->prefetch.much_bytes != 0 && much && consumer->assigned.count > 0;
    consumer->prefetch.records = consumer->prefetch.bytes = 0;
    if (sleeps)
        ask(consumer);
}
