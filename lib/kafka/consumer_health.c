/* librdkafka says when the last broker is gone, and nothing when one is back. So while it is down a question about our
 * own group stands open; librdkafka sends it as soon as there is a broker, and any broker's answer, a refusal too,
 * means up. */
#include "consumer_private.h"

#include "base/memory.h"
#include <librdkafka/rdkafka.h>

#define PROBE_TIMEOUT_MS 30000

static void ask(struct consumer *consumer) {
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(consumer->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    CHECK(options);
    char text[128];
    CHECK(rd_kafka_AdminOptions_set_request_timeout(options, PROBE_TIMEOUT_MS, text, sizeof(text)) ==
          RD_KAFKA_RESP_ERR_NO_ERROR);
    const char *groups[] = {consumer->group};
    rd_kafka_DescribeConsumerGroups(consumer->rk, groups, 1, options, consumer->probe);
    rd_kafka_AdminOptions_destroy(options);
}

void consumer_health_down(struct consumer *consumer) {
    if (consumer->down || consumer->closing)
        return;
    consumer->down = true;
    consumer_note(consumer, CONSUMER_DOWN, (struct topic_partitions){NULL, 0}, false,
                  consumer->connection.text[0] ? consumer->connection.text : "no Kafka broker answers");
    ask(consumer);
}

void consumer_health_up(struct consumer *consumer) {
    if (!consumer->down)
        return;
    consumer->down = false;
    consumer->connection.text[0] = '\0';
    consumer_note(consumer, CONSUMER_UP, (struct topic_partitions){NULL, 0}, false, "");
}

/* What a group's description failed with; no error when it did not. */
static rd_kafka_resp_err_t outcome(rd_kafka_event_t *answer) {
    if (rd_kafka_event_error(answer) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return rd_kafka_event_error(answer);
    const rd_kafka_DescribeConsumerGroups_result_t *result = rd_kafka_event_DescribeConsumerGroups_result(answer);
    size_t count = 0;
    const rd_kafka_ConsumerGroupDescription_t **groups =
        result ? rd_kafka_DescribeConsumerGroups_result_groups(result, &count) : NULL;
    const rd_kafka_error_t *error = count > 0 ? rd_kafka_ConsumerGroupDescription_error(groups[0]) : NULL;
    return error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
}

void consumer_health_poll(struct consumer *consumer) {
    rd_kafka_event_t *answer;
    while ((answer = rd_kafka_queue_poll(consumer->probe, 0))) {
        rd_kafka_resp_err_t code = outcome(answer);
        rd_kafka_event_destroy(answer);
        if (!consumer->down || consumer->closing)
            continue; /* the answer to a question that a record has answered meanwhile */
        /* Codes of brokers are positive; of librdkafka's own only this one shows that it has talked with a broker. */
        if (code >= RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE)
            consumer_health_up(consumer);
        else
            ask(consumer);
    }
}
