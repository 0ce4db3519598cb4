/* A consumer's client that subscribes to nothing.
 *
 * - What may be described: the full listing has nothing else.
 * - What may be read: a fetch at a partition's end is answered with "end of partition", or with a refusal.
 * - Whether the group would have us: Kafka judges the user's right to the group before it looks at the offsets, so an
 *   offset of a partition that does not exist is refused for the one reason or the other, and nothing is written. */
#include "kafka/probe.h"

#include "base/clock.h"
#include "base/memory.h"
#include "kafka/consumer_list.h"
#include "kafka/consumer_private.h"
#include <librdkafka/rdkafka.h>
#include <regex.h>

/* No topic has so many partitions. */
#define NO_SUCH_PARTITION 1000000000

struct probe {
    const struct consumer_settings *settings;
    struct rd_kafka_s *rk;
    struct error connection; /* the last thing that went wrong with a connection */
    bool refused;            /* and that is a refusal, which tells more than what follows from it */
    regex_t expression;
    bool has_expression;
};

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *ctx) {
    (void)rk;
    struct probe *probe = ctx;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || probe->refused)
        return;
    probe->refused = code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR__SSL;
    const char *history = strstr(reason, " (after ");
    size_t len = history ? (size_t)(history - reason) : strlen(reason);
    (void)error_set(&probe->connection, STATUS_UNAVAILABLE, "%.*s", (int)len, reason);
}

static void on_log(const rd_kafka_t *rk, int level, const char *kind, const char *text) {
    (void)rk, (void)level, (void)kind, (void)text;
}

static enum status make_client(struct probe *probe, struct error *error) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    enum status status = consumer_conf(probe->settings, conf, error);
    if (status == STATUS_OK) {
        rd_kafka_conf_set_opaque(conf, probe);
        rd_kafka_conf_set_error_cb(conf, on_error);
        rd_kafka_conf_set_log_cb(conf, on_log);
        (void)rd_kafka_conf_set(conf, "log.queue", "false", NULL, 0);
        (void)rd_kafka_conf_set(conf, "enable.partition.eof", "true", NULL, 0);
        char text[256];
        probe->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
        if (probe->rk) {
            rd_kafka_poll_set_consumer(probe->rk);
            return STATUS_OK;
        }
        status = error_set(error, STATUS_INVALID, "%s", text);
    }
    rd_kafka_conf_destroy(conf);
    return status;
}

static enum status read_expression(struct probe *probe, struct error *error) {
    const char *topics = probe->settings->topics;
    if (topics[0] != '^')
        return STATUS_OK;
    int code = regcomp(&probe->expression, topics, REG_EXTENDED | REG_NOSUB);
    if (code != 0) {
        char text[128];
        regerror(code, &probe->expression, text, sizeof(text));
        return error_set(error, STATUS_INVALID, "topics: %s", text);
    }
    probe->has_expression = true;
    return STATUS_OK;
}

enum status probe_open(const struct consumer_settings *settings, struct probe **ret_probe, struct error *error) {
    struct probe *probe = mem_calloc(1, sizeof(*probe));
    probe->settings = settings;
    rd_kafka_topic_partition_list_t *subscription = NULL;
    enum status status = consumer_subscription(settings, &subscription, error);
    if (subscription)
        rd_kafka_topic_partition_list_destroy(subscription);
    if (status == STATUS_OK)
        status = read_expression(probe, error);
    if (status == STATUS_OK)
        status = make_client(probe, error);
    if (status == STATUS_OK)
        *ret_probe = probe;
    else
        probe_close(&probe);
    return status;
}

void probe_close(struct probe **probe_at) {
    struct probe *probe = *probe_at;
    if (!probe)
        return;
    *probe_at = NULL;
    if (probe->rk)
        rd_kafka_destroy_flags(probe->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (probe->has_expression)
        regfree(&probe->expression);
    mem_free(probe);
}

/* What happened, and what a connection said before, which is where it comes from. */
static enum status explain(struct probe *probe, enum status status, const char *text, struct error *error) {
    rd_kafka_message_t *message;
    while ((message = rd_kafka_consumer_poll(probe->rk, 0))) {
        if (message->err && !message->rkt && !probe->refused)
            (void)error_set(&probe->connection, STATUS_UNAVAILABLE, "%s", rd_kafka_message_errstr(message));
        rd_kafka_message_destroy(message);
    }
    if (probe->connection.text[0])
        return error_set(error, status, "%s (%s)", text, probe->connection.text);
    return error_set(error, status, "%s", text);
}

static struct probe_topic *add_topic(struct probe_topics *topics, struct span name, int partitions) {
    /* Doubles at each power of two. */
    if ((topics->count & (topics->count - 1)) == 0)
        topics->items = mem_realloc(topics->items, (topics->count ? topics->count * 2 : 1) * sizeof(topics->items[0]));
    struct probe_topic *topic = &topics->items[topics->count++];
    *topic = (struct probe_topic){mem_strndup(name.data, name.len), partitions, {""}};
    return topic;
}

void probe_topics_deinit(struct probe_topics *topics) {
    for (size_t i = 0; i < topics->count; i++)
        mem_free(topics->items[i].name);
    mem_free(topics->items);
    *topics = (struct probe_topics){NULL, 0, 0};
}

static struct span next_name(const char **at) {
    *at += strspn(*at, ", ");
    struct span name = {*at, strcspn(*at, ", ")};
    *at += name.len;
    return name;
}

static bool is_wanted(const struct probe *probe, const char *topic) {
    const struct consumer_settings *settings = probe->settings;
    if (strncmp(topic, "__", 2) == 0)
        return false;
    if (span_has_prefix(span_of(topic), span_of(settings->topic_prefix)))
        return true;
    if (probe->has_expression)
        return regexec(&probe->expression, topic, 0, NULL, 0) == 0;
    const char *at = settings->topics;
    for (struct span name = next_name(&at); name.len > 0; name = next_name(&at))
        if (span_is(name, topic))
            return true;
    return false;
}

static void read_topic(const struct rd_kafka_metadata_topic *from, struct probe_topics *topics) {
    struct probe_topic *topic = add_topic(topics, span_of(from->topic), from->partition_cnt);
    if (from->err) {
        (void)error_set(&topic->trouble, STATUS_FAILED, "%s", rd_kafka_err2str(from->err));
        return;
    }
    for (int i = 0; i < from->partition_cnt; i++)
        if (from->partitions[i].leader < 0) {
            (void)error_set(&topic->trouble, STATUS_UNAVAILABLE, "partition %d has no leader",
                            (int)from->partitions[i].id);
            return;
        }
}

static void add_missing(const struct probe *probe, struct probe_topics *topics) {
    if (probe->has_expression)
        return;
    size_t listed = topics->count;
    const char *at = probe->settings->topics;
    for (struct span name = next_name(&at); name.len > 0; name = next_name(&at)) {
        size_t i = 0;
        while (i < listed && !span_is(name, topics->items[i].name))
            i++;
        if (i == listed)
            (void)error_set(&add_topic(topics, name, 0)->trouble, STATUS_NOT_FOUND,
                            "there is no such topic, or this user may not describe it");
    }
}

enum status probe_topics(struct probe *probe, int64_t timeout_ms, struct probe_topics *ret_topics,
                         struct error *error) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(probe->rk, 1, NULL, &metadata, (int)timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        bool late = code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TRANSPORT;
        return explain(probe, STATUS_UNAVAILABLE, late ? "no answer in time" : rd_kafka_err2str(code), error);
    }
    struct probe_topics topics = {.brokers = metadata->broker_cnt};
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (is_wanted(probe, metadata->topics[i].topic))
            read_topic(&metadata->topics[i], &topics);
    rd_kafka_metadata_destroy(metadata);
    add_missing(probe, &topics);
    *ret_topics = topics;
    return STATUS_OK;
}

static struct probe_topic *find_topic(struct probe_topics *topics, const char *name) {
    for (size_t i = 0; i < topics->count; i++)
        if (strcmp(topics->items[i].name, name) == 0)
            return &topics->items[i];
    return NULL;
}

/* One answer; true: it settles a topic that was open. */
static bool take_answer(const rd_kafka_message_t *message, struct probe_topics *topics, struct topic_partitions *open) {
    if (!message->rkt)
        return false;
    const char *name = rd_kafka_topic_name(message->rkt);
    int64_t at = consumer_list_find(open, span_of(name), message->partition);
    if (at < 0)
        return false;
    if (message->err && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
        (void)error_set(&find_topic(topics, name)->trouble, STATUS_FAILED, "%s", rd_kafka_message_errstr(message));
    consumer_list_remove(open, (size_t)at);
    return true;
}

static void fetch(struct probe *probe, int64_t timeout_ms, struct probe_topics *topics, struct topic_partitions *open) {
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    rd_kafka_topic_partition_list_t *list = consumer_list_new(open);
    rd_kafka_assign(probe->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    for (int64_t left_ms = timeout_ms; open->count > 0 && left_ms > 0; left_ms = deadline_ms - clock_mono_ms()) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(probe->rk, (int)left_ms);
        if (!message)
            continue;
        (void)take_answer(message, topics, open);
        rd_kafka_message_destroy(message);
    }
    rd_kafka_assign(probe->rk, NULL);
}

size_t probe_read(struct probe *probe, int64_t timeout_ms, struct probe_topics *topics) {
    struct topic_partitions open = {NULL, 0};
    for (size_t i = 0; i < topics->count; i++)
        if (topics->items[i].partitions > 0 && !topics->items[i].trouble.text[0])
            topic_partitions_add(&open, span_of(topics->items[i].name), 0, RD_KAFKA_OFFSET_END, SPAN_NONE);
    if (open.count > 0)
        fetch(probe, timeout_ms, topics, &open);
    for (size_t i = 0; i < open.count; i++)
        (void)explain(probe, STATUS_UNAVAILABLE, "no answer to a fetch in time",
                      &find_topic(topics, open.items[i].topic)->trouble);
    topic_partitions_deinit(&open);
    size_t troubled = 0;
    for (size_t i = 0; i < topics->count; i++)
        troubled += topics->items[i].trouble.text[0] != '\0';
    return troubled;
}

static enum status refused(struct probe *probe, rd_kafka_resp_err_t code, const char *what, struct error *error) {
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__WAIT_COORD)
        (void)explain(probe, STATUS_UNAVAILABLE, "no answer of the group's coordinator in time", error);
    else
        (void)error_set(error, STATUS_FAILED, "%s", rd_kafka_err2str(code));
    error_context(error, "%s", what);
    return code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__WAIT_COORD ? STATUS_UNAVAILABLE
                                                                                         : STATUS_FAILED;
}

static enum status read_offsets(struct probe *probe, int64_t timeout_ms, const struct probe_topics *topics,
                                int64_t *ret_committed, struct error *error) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < topics->count; i++)
        for (int32_t p = 0; p < topics->items[i].partitions; p++)
            rd_kafka_topic_partition_list_add(list, topics->items[i].name, p);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (list->cnt > 0)
        code = rd_kafka_committed(probe->rk, list, (int)timeout_ms);
    int64_t committed = 0;
    for (int i = 0; i < list->cnt; i++) {
        committed += list->elems[i].offset >= 0;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            code = list->elems[i].err;
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return refused(probe, code, "the group's offsets", error);
    *ret_committed = committed;
    return STATUS_OK;
}

static enum status offer_offset(struct probe *probe, int64_t timeout_ms, const char *topic, struct error *error) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, NO_SUCH_PARTITION)->offset = 0;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(probe->rk);
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(probe->rk, list, queue, NULL, NULL);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_event_t *answer = rd_kafka_queue_poll(queue, (int)timeout_ms);
        code = answer ? rd_kafka_event_error(answer) : RD_KAFKA_RESP_ERR__TIMED_OUT;
        const rd_kafka_topic_partition_list_t *judged = answer ? rd_kafka_event_topic_partition_list(answer) : NULL;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && judged && judged->cnt > 0)
            code = judged->elems[0].err;
        rd_kafka_event_destroy(answer);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(list);
    switch (code) {
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
        return refused(probe, code, "a commit to the group", error);
    default: /* the partition does not exist */
        return STATUS_OK;
    }
}

enum status probe_group(struct probe *probe, int64_t timeout_ms, const struct probe_topics *topics,
                        int64_t *ret_committed, struct error *error) {
    int64_t deadline_ms = clock_mono_ms() + timeout_ms, committed = 0;
    enum status status = read_offsets(probe, timeout_ms, topics, &committed, error);
    int64_t left_ms = deadline_ms - clock_mono_ms();
    if (status == STATUS_OK)
        status =
            offer_offset(probe, left_ms > 0 ? left_ms : 0, topics->count > 0 ? topics->items[0].name : "none", error);
    if (status == STATUS_OK)
        *ret_committed = committed;
    return status;
}
