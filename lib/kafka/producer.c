/* One librdkafka producer. Its reports come through the main queue, on the owner's thread; the eventfd is readable
 * while that queue may hold something.
 *
 * librdkafka's idempotent producer ends for good with some errors (a right that is missing, numbers that don't follow
 * one another any more). Then what is under way is reported as failed, and another one is made of the same properties,
 * so that whoever mends what was wrong need not start the program again. */
#include "kafka/producer.h"

#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "kafka/client_log.h"
#include "kafka/conf.h"
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TOPIC_MAX_BYTES 249
#define ANEW_AFTER_MS 1000

struct producer {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    int fd;
    int64_t waiting;
    producer_report_fn *report;
    void *ctx;
    bool down;
    bool ended;              /* librdkafka said fatal … */
    struct error why;        /* … and why, and nothing is under way any more … */
    int64_t anew_at_ms;      /* … and from when on another one may be made */
    struct error connection; /* the last thing that went wrong with a connection */
    struct client_log log;
};

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *ctx) {
    (void)rk;
    struct producer *producer = ctx;
    producer->waiting--;
    if (!message->err)
        producer->why.text[0] = '\0';
    if (!message->err && producer->down) {
        producer->down = false;
        log_info("kafka", "Kafka answers the producer again");
    }
    struct error reason;
    const char *text = message->err ? rd_kafka_err2str(message->err) : NULL;
    if (message->err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT && producer->connection.text[0]) {
        (void)error_set(&reason, STATUS_UNAVAILABLE, "%s (%s)", text, producer->connection.text);
        text = reason.text;
    }
    producer->report(producer->ctx, message->_private, text);
}

/* Said once for all of a kind that follow one another. */
static void end(struct producer *producer, const char *text) {
    if (strcmp(producer->why.text, text) != 0)
        log_error("kafka", "the producer can't go on; another one is tried", LOG_TEXT("error", text));
    (void)error_set(&producer->why, STATUS_FAILED, "%s", text);
    producer->ended = true;
    producer->anew_at_ms = clock_mono_ms() + ANEW_AFTER_MS;
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *ctx) {
    struct producer *producer = ctx;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        if (!producer->down)
            log_warn("kafka", "no Kafka broker answers the producer", LOG_TEXT("reason", producer->connection.text));
        producer->down = true;
    } else if (code == RD_KAFKA_RESP_ERR__FATAL) {
        char text[512];
        rd_kafka_fatal_error(rk, text, sizeof(text));
        end(producer, text);
    } else {
        (void)error_set(&producer->connection, STATUS_UNAVAILABLE, "%s", reason);
        log_debug("kafka", "connection trouble", LOG_TEXT("reason", reason));
    }
}

static void on_log(const rd_kafka_t *rk, int level, const char *kind, const char *text) {
    struct producer *producer = rd_kafka_opaque(rk);
    client_log_line(&producer->log, level, kind, text);
}

static enum status fill_conf(const struct producer_settings *settings, rd_kafka_conf_t *conf, struct error *error) {
    char linger_ms[24], timeout_ms[24];
    snprintf(linger_ms, sizeof(linger_ms), "%lld", (long long)settings->linger_ms);
    snprintf(timeout_ms, sizeof(timeout_ms), "%lld", (long long)settings->message_timeout_ms);
    const struct conf_property properties[] = {
        {"bootstrap.servers", settings->brokers, CONF_ESSENTIAL},
        {"metadata.broker.list", NULL, CONF_RESERVED},
        {"client.id", settings->client_id, CONF_ESSENTIAL},
        {"enable.idempotence", "true", CONF_ESSENTIAL},
        {"acks", "all", CONF_ESSENTIAL},
        {"request.required.acks", NULL, CONF_RESERVED},
        {"linger.ms", linger_ms, CONF_ESSENTIAL},
        {"queue.buffering.max.ms", NULL, CONF_RESERVED},
        {"message.timeout.ms", timeout_ms, CONF_ESSENTIAL},
        {"delivery.timeout.ms", NULL, CONF_RESERVED},
        {"transactional.id", NULL, CONF_RESERVED},
        {"delivery.report.only.error", "false", CONF_ESSENTIAL},
        {"log.queue", "true", CONF_ESSENTIAL},
        {"enabled_events", NULL, CONF_RESERVED},
        /* The same partition for a key as Kafka's own clients choose. */
        {"partitioner", "murmur2_random", CONF_DEFAULT},
        {"compression.type", "none", CONF_DEFAULT},
        /* A record of 1 MiB and its frame; the broker has the last word. */
        {"message.max.bytes", "1050000", CONF_DEFAULT},
        {"queue.buffering.max.messages", "100000", CONF_DEFAULT},
        {"queue.buffering.max.kbytes", "65536", CONF_DEFAULT},
        {"socket.nagle.disable", "true", CONF_DEFAULT},
        {"socket.keepalive.enable", "true", CONF_DEFAULT},
        {"reconnect.backoff.ms", "100", CONF_DEFAULT},
        {"reconnect.backoff.max.ms", "2000", CONF_DEFAULT},
        {"log.connection.close", "false", CONF_DEFAULT},
        {NULL, NULL, CONF_DEFAULT},
    };
    return conf_fill(conf, properties, settings->conf, error);
}

static enum status make_client(struct producer *producer, const struct producer_settings *settings,
                               struct error *error) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    enum status status = fill_conf(settings, conf, error);
    if (status == STATUS_OK) {
        rd_kafka_conf_set_opaque(conf, producer);
        rd_kafka_conf_set_dr_msg_cb(conf, on_report);
        rd_kafka_conf_set_error_cb(conf, on_error);
        rd_kafka_conf_set_log_cb(conf, on_log);
        char text[256];
        producer->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
        if (producer->rk)
            return STATUS_OK;
        status = error_set(error, STATUS_INVALID, "%s", text);
    }
    rd_kafka_conf_destroy(conf);
    return status;
}

static void attach(struct producer *producer) {
    producer->queue = rd_kafka_queue_get_main(producer->rk);
    rd_kafka_set_log_queue(producer->rk, producer->queue);
    static const uint64_t one = 1;
    rd_kafka_queue_io_event_enable(producer->queue, producer->fd, &one, sizeof(one));
}

enum status producer_open(const struct producer_settings *settings, struct producer **ret_producer,
                          struct error *error) {
    struct producer *producer = mem_calloc(1, sizeof(*producer));
    producer->report = settings->report;
    producer->ctx = settings->ctx;
    producer->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(producer->fd >= 0);
    enum status status = make_client(producer, settings, error);
    if (status != STATUS_OK) {
        close(producer->fd);
        mem_free(producer);
        return status;
    }
    attach(producer);
    *ret_producer = producer;
    return STATUS_OK;
}

/* What is under way is reported as failed. */
static void purge(struct producer *producer) {
    rd_kafka_purge(producer->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (producer->waiting > 0)
        rd_kafka_poll(producer->rk, 100);
}

static void detach(struct producer *producer) {
    rd_kafka_queue_io_event_enable(producer->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(producer->queue);
    rd_kafka_destroy(producer->rk);
}

/* Another one takes the place of the one that ended. False: not yet. */
static bool begin_anew(struct producer *producer) {
    if (clock_mono_ms() < producer->anew_at_ms || producer->waiting > 0)
        return false;
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(rd_kafka_conf(producer->rk));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        end(producer, text);
        return false;
    }
    detach(producer);
    producer->rk = rk;
    attach(producer);
    producer->ended = false;
    return true;
}

void producer_close(struct producer **producer_at, int64_t timeout_ms) {
    struct producer *producer = *producer_at;
    if (!producer)
        return;
    *producer_at = NULL;
    if (producer->waiting > 0)
        rd_kafka_flush(producer->rk, (int)timeout_ms);
    purge(producer);
    detach(producer);
    close(producer->fd);
    mem_free(producer);
}

static rd_kafka_headers_t *headers_of(const struct producer_header *headers, size_t count) {
    if (count == 0)
        return NULL;
    rd_kafka_headers_t *list = rd_kafka_headers_new(count);
    for (size_t i = 0; i < count; i++)
        rd_kafka_header_add(list, headers[i].name.data, (ssize_t)headers[i].name.len, headers[i].value.data,
                            headers[i].value.data ? (ssize_t)headers[i].value.len : 0);
    return list;
}

static enum status refused(rd_kafka_resp_err_t code, const char *topic, struct error *error) {
    switch (code) {
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return error_set(error, STATUS_UNAVAILABLE, "the local queue is full");
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
        return error_set(error, STATUS_INVALID, "topic %s: %s", topic, rd_kafka_err2str(code));
    default:
        return error_set(error, STATUS_FAILED, "topic %s: %s", topic, rd_kafka_err2str(code));
    }
}

enum status producer_send(struct producer *producer, struct span topic, struct span key, struct span value,
                          const struct producer_header *headers, size_t header_count, void *tag, struct error *error) {
    char name[TOPIC_MAX_BYTES + 1];
    if (topic.len == 0 || topic.len > TOPIC_MAX_BYTES)
        return error_set(error, STATUS_INVALID, "a topic's name has 1 to %d bytes", TOPIC_MAX_BYTES);
    if (producer->ended && !begin_anew(producer))
        return error_set(error, STATUS_FAILED, "the producer has ended: %s", producer->why.text);
    memcpy(name, topic.data, topic.len);
    name[topic.len] = '\0';
    rd_kafka_headers_t *list = headers_of(headers, header_count);
    rd_kafka_vu_t arguments[6] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = name},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)key.data, key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)value.data, value.len}},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = tag},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = list},
    };
    rd_kafka_error_t *failure = rd_kafka_produceva(producer->rk, arguments, list ? 6 : 5);
    if (!failure) {
        producer->waiting++;
        return STATUS_OK;
    }
    rd_kafka_resp_err_t code = rd_kafka_error_code(failure);
    rd_kafka_error_destroy(failure);
    if (list)
        rd_kafka_headers_destroy(list);
    return refused(code, name, error);
}

void producer_poll(struct producer *producer, int64_t timeout_ms) {
    uint64_t count;
    /* Emptied before the look: what comes after it writes again. */
    ssize_t got = read(producer->fd, &count, sizeof(count));
    (void)got;
    rd_kafka_poll(producer->rk, (int)timeout_ms);
    if (producer->ended)
        purge(producer);
}

int64_t producer_waiting(const struct producer *producer) {
    return producer->waiting;
}

int producer_fd(const struct producer *producer) {
    return producer->fd;
}
