#include "kafka/dev_broker.h"

#include "base/memory.h"
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#define INIT_PRODUCER_ID 22 /* Kafka's number of the request that a producer begins with */

struct dev_broker {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster;
    int brokers;
    int partitions;
};

enum status dev_broker_open(int brokers, int partitions, struct dev_broker **ret_broker, struct error *error) {
    if (brokers < 1 || brokers > 16 || partitions < 1 || partitions > 1000)
        return error_set(error, STATUS_INVALID, "expected 1 to 16 brokers and 1 to 1000 partitions");
    char text[256];
    /* The cluster lives in a client's main thread; the client itself talks with nobody. */
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, NULL);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return error_set(error, STATUS_FAILED, "the in-memory Kafka could not start: %s", text);
    }
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, brokers);
    if (!cluster) {
        rd_kafka_destroy(rk);
        return error_set(error, STATUS_FAILED, "the in-memory Kafka could not start");
    }
#if RD_KAFKA_VERSION >= 0x020800ff
    rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
#endif
    struct dev_broker *broker = mem_alloc(sizeof(*broker));
    *broker = (struct dev_broker){rk, cluster, brokers, partitions};
    *ret_broker = broker;
    return STATUS_OK;
}

void dev_broker_close(struct dev_broker **broker_at) {
    struct dev_broker *broker = *broker_at;
    if (!broker)
        return;
    *broker_at = NULL;
    rd_kafka_mock_cluster_destroy(broker->cluster);
    rd_kafka_destroy(broker->rk);
    mem_free(broker);
}

const char *dev_broker_address(const struct dev_broker *broker) {
    return rd_kafka_mock_cluster_bootstraps(broker->cluster);
}

enum status dev_broker_topic(struct dev_broker *broker, const char *topic, struct error *error) {
    rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(broker->cluster, topic, broker->partitions, 1);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return STATUS_OK;
    enum status status = code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS ? STATUS_CONFLICT : STATUS_FAILED;
    return error_set(error, status, "topic %s: %s", topic, rd_kafka_err2str(code));
}

void dev_broker_reachable(struct dev_broker *broker, bool reachable) {
    for (int id = 1; id <= broker->brokers; id++)
        CHECK((reachable ? rd_kafka_mock_broker_set_up(broker->cluster, id)
                         : rd_kafka_mock_broker_set_down(broker->cluster, id)) == RD_KAFKA_RESP_ERR_NO_ERROR);
}

void dev_broker_refuse_producers(struct dev_broker *broker, int count) {
    for (int i = 0; i < count; i++)
        rd_kafka_mock_push_request_errors(broker->cluster, INIT_PRODUCER_ID, 1,
                                          RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED);
}
