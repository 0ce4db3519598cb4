#include "base/memory.h"
#include "kafka/consumer_private.h"
#include <librdkafka/rdkafka.h>

#define TOPIC_MAX_BYTES 249 /* Kafka's own limit */
#define EXPRESSION_MAX_BYTES 4096

static void add(rd_kafka_topic_partition_list_t *list, const char *topic) {
    if (!rd_kafka_topic_partition_list_find(list, topic, RD_KAFKA_PARTITION_UA))
        rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
}

/* ^ and the prefix, taken literally. */
static enum status add_prefix(rd_kafka_topic_partition_list_t *list, const char *prefix, struct error *error) {
    if (strlen(prefix) > TOPIC_MAX_BYTES)
        return error_set(error, STATUS_INVALID, "topic prefix: longer than a topic's name can be");
    struct buffer expression;
    buffer_init(&expression, 2 * TOPIC_MAX_BYTES + 16);
    buffer_char(&expression, '^');
    for (const char *c = prefix; *c; c++) {
        if (strchr(".^$*+?()[]{}|\\", *c))
            buffer_char(&expression, '\\');
        buffer_char(&expression, *c);
    }
    buffer_text(&expression, ".*");
    add(list, expression.data);
    buffer_deinit(&expression);
    return STATUS_OK;
}

static enum status add_name(rd_kafka_topic_partition_list_t *list, struct span name, struct error *error) {
    if (name.len > TOPIC_MAX_BYTES)
        return error_set(error, STATUS_INVALID, "topics: a name longer than a topic's can be");
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._-", c);
        if (!fine || c == '\0')
            return error_set(error, STATUS_INVALID,
                             "topics: \"%.*s\" is no topic name (letters, digits, \".\", \"_\", \"-\")",
                             SPAN_ARGS(name));
    }
    char *copy = mem_strndup(name.data, name.len);
    add(list, copy);
    mem_free(copy);
    return STATUS_OK;
}

static enum status add_names(rd_kafka_topic_partition_list_t *list, const char *names, struct error *error) {
    for (const char *at = names; *at;) {
        size_t len = strcspn(at, ", ");
        enum status status = len > 0 ? add_name(list, (struct span){at, len}, error) : STATUS_OK;
        if (status != STATUS_OK)
            return status;
        at += len + (at[len] != '\0');
    }
    return STATUS_OK;
}

enum status consumer_subscription(const struct consumer_settings *settings,
                                  struct rd_kafka_topic_partition_list_s **ret_list, struct error *error) {
    const char *topics = settings->topics ? settings->topics : "";
    if (strlen(topics) > EXPRESSION_MAX_BYTES)
        return error_set(error, STATUS_INVALID, "topics: longer than %d bytes", EXPRESSION_MAX_BYTES);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    enum status status = add_prefix(list, settings->topic_prefix ? settings->topic_prefix : "", error);
    if (status == STATUS_OK && topics[0] == '^')
        add(list, topics);
    else if (status == STATUS_OK)
        status = add_names(list, topics, error);
    if (status != STATUS_OK) {
        rd_kafka_topic_partition_list_destroy(list);
        return status;
    }
    *ret_list = list;
    return STATUS_OK;
}
