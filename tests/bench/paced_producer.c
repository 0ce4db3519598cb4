/* Produces native events of about 1 kB, evenly over the partitions of a topic and over so many workspaces (w0, w1, …):
 * at a steady rate, each with "produced_us" in its payload for latency_receiver; or, at rate 0, as fast as they go. */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FILLING = 810, EVENT = 1400 };

static long failed;

static int64_t clock_us(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void on_delivery(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque) {
    (void)kafka;
    (void)opaque;
    failed += message->err != 0;
}

static rd_kafka_t *open_producer(const char *brokers) {
    static const char *const SETTINGS[][2] = {
        {"acks", "all"},
        {"linger.ms", "2"},
        {"queue.buffering.max.messages", "1000000"},
        {"queue.buffering.max.kbytes", "262144"},
    };
    char error[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int wrong = rd_kafka_conf_set(conf, "bootstrap.servers", brokers, error, sizeof error);
    for (size_t i = 0; i < sizeof SETTINGS / sizeof SETTINGS[0]; i++) {
        wrong |= rd_kafka_conf_set(conf, SETTINGS[i][0], SETTINGS[i][1], error, sizeof error);
    }
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *kafka = wrong ? NULL : rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (kafka == NULL) {
        fprintf(stderr, "paced_producer: %s\n", error);
        exit(1);
    }
    return kafka;
}

static int make_event(char *event, long number, long workspace, const char *filling, int timed) {
    char stamp[64] = "";
    if (timed) {
        snprintf(stamp, sizeof stamp, "\"produced_us\":%" PRId64 ",", clock_us(CLOCK_REALTIME));
    }
    return snprintf(event, EVENT,
                    "{\"id\":\"evt_%ld\",\"workspace_id\":\"w%ld\",\"event_type\":\"message.new\","
                    "\"occurred_at\":1760000000000,\"payload\":{\"number\":%ld,%s\"text\":\"%s\"}}",
                    number, workspace, number, stamp, filling);
}

static void produce(rd_kafka_t *kafka, rd_kafka_topic_t *topic, int partition, const char *event, int bytes) {
    while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, (void *)event, (size_t)bytes, NULL, 0, NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            failed++;
            return;
        }
        rd_kafka_poll(kafka, 10);
    }
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: paced_producer BROKERS TOPIC PARTITIONS WORKSPACES EVENTS PER_SECOND\n");
        return 2;
    }
    long partitions = strtol(argv[3], NULL, 10), workspaces = strtol(argv[4], NULL, 10);
    long events = strtol(argv[5], NULL, 10), rate = strtol(argv[6], NULL, 10);
    char event[EVENT], filling[FILLING + 1];
    memset(filling, 'x', FILLING);
    filling[FILLING] = 0;
    rd_kafka_t *kafka = open_producer(argv[1]);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, argv[2], NULL);
    int64_t began_us = clock_us(CLOCK_MONOTONIC);
    for (long i = 0; i < events; i++) {
        int64_t due_us = rate ? began_us + i * 1000000 / rate : 0;
        for (int64_t left_us; rate && (left_us = due_us - clock_us(CLOCK_MONOTONIC)) > 0;) {
            struct timespec pause = {0, 1000 * (left_us < 1000 ? left_us : 1000)};
            rd_kafka_poll(kafka, 0);
            nanosleep(&pause, NULL);
        }
        int bytes = make_event(event, i, i % workspaces, filling, rate != 0);
        produce(kafka, topic, (int)(i % partitions), event, bytes);
        if (i % 256 == 0) {
            rd_kafka_poll(kafka, 0);
        }
    }
    rd_kafka_resp_err_t late = rd_kafka_flush(kafka, 60000);
    printf("{\"seconds\": %.3f, \"failed\": %ld}\n", (double)(clock_us(CLOCK_MONOTONIC) - began_us) / 1e6, failed);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(kafka);
    return failed != 0 || late != 0;
}
