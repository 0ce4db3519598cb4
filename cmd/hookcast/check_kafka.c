#include "check_kafka.h"

#include "kafka/probe.h"

#define ANSWER_MS 5000
#define TROUBLES_SHOWN 10

/* A named topic may be made one day; what may not be read never reaches anybody. */
static void show_troubles(struct report *report, const struct probe_topics *topics) {
    int shown = 0, left = 0;
    for (size_t i = 0; i < topics->count; i++) {
        const struct probe_topic *topic = &topics->items[i];
        if (!topic->trouble.text[0])
            continue;
        if (shown++ >= TROUBLES_SHOWN)
            left++;
        else if (topic->partitions == 0)
            report_warn(report, "topic", "%s: %s. Make it, or correct HOOKCAST_TOPICS.", topic->name,
                        topic->trouble.text);
        else
            report_fail(report, "topic", "%s can't be read: %s. The user needs the rights Describe and Read on it.",
                        topic->name, topic->trouble.text);
    }
    if (left > 0)
        report_fail(report, "topic", "%d further topics can't be read", left);
}

static void check_topics(struct report *report, const struct settings *settings, struct probe *probe,
                         struct probe_topics *topics) {
    long long partitions = 0;
    for (size_t i = 0; i < topics->count; i++)
        partitions += topics->items[i].partitions;
    if (partitions == 0)
        report_warn(
            report, "topics",
            "none of those that this user may see begins with \"%s\"%s. That is right when nothing was published"
            " yet; a topic that comes is found within seconds. Otherwise correct HOOKCAST_TOPIC_PREFIX, or give"
            " the user the right Describe.",
            settings->topic_prefix, *settings->topics ? " or is in HOOKCAST_TOPICS" : "");
    else
        report_ok(report, "topics", "%zu with %lld partitions", topics->count, partitions);
    if (probe_read(probe, ANSWER_MS, topics) > 0)
        show_troubles(report, topics);
    else if (partitions > 0)
        report_ok(report, "reading", "each of these topics may be read");
}

static void check_group(struct report *report, const struct settings *settings, struct probe *probe,
                        const struct probe_topics *topics) {
    int64_t committed = 0;
    struct error error;
    if (probe_group(probe, ANSWER_MS, topics, &committed, &error) == STATUS_OK)
        report_ok(report, "group", "%s may be joined, and has offsets of %lld partitions", settings->group,
                  (long long)committed);
    else
        report_fail(report, "group",
                    "%s: %s. The user needs the right Read on this group; look at the broker's log if it has that.",
                    settings->group, error.text);
}

void check_kafka(struct report *report, const struct settings *settings) {
    struct consumer_settings wanted = {.brokers = settings->kafka_brokers,
                                       .conf = settings->kafka_conf,
                                       .group = settings->group,
                                       .topic_prefix = settings->topic_prefix,
                                       .topics = settings->topics,
                                       .client_id = "hookcast-check"};
    struct error error = {""};
    struct probe *probe = NULL;
    if (probe_open(&wanted, &probe, &error) != STATUS_OK) {
        report_fail(report, "kafka", "%s. Correct HOOKCAST_KAFKA_CONF or HOOKCAST_TOPICS.", error.text);
        return;
    }
    struct probe_topics topics;
    if (probe_topics(probe, ANSWER_MS, &topics, &error) == STATUS_OK) {
        report_ok(report, "kafka", "answers, with %d broker%s", topics.brokers, topics.brokers == 1 ? "" : "s");
        check_topics(report, settings, probe, &topics);
        check_group(report, settings, probe, &topics);
        probe_topics_deinit(&topics);
    } else {
        report_fail(report, "kafka", "no broker of %s answers: %s. Start Kafka, or correct HOOKCAST_KAFKA_BROKERS%s.",
                    settings->kafka_brokers, error.text,
                    *settings->kafka_conf ? " and HOOKCAST_KAFKA_CONF" : " (or set HOOKCAST_KAFKA_CONF for TLS, SASL)");
    }
    probe_close(&probe);
}
