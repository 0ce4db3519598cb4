/* One librdkafka consumer, polled and never waited for.
 *
 * Its callbacks run inside rd_kafka_consumer_poll, on the owner's thread. They only note what happened and have the
 * poll return (rd_kafka_yield), so that order is kept; consumer_poll hands the notes out. A rebalance is answered by
 * rd_kafka_assign at any later time: librdkafka has paused what was assigned and stays in its join state until then.
 *
 *   librdkafka's queue ──▶ callback ──▶ note ─┐
 *         │                                   ├──▶ consumer_poll ──▶ the owner ──▶ consumer_assign, _unassign, _seek …
 *         └──────▶ record, error of a partition ─┘
 *
 * The eventfd is readable whenever the queue may hold something: librdkafka writes it when the queue fills, and it is
 * emptied only between two looks that both find nothing. */
#include "kafka/consumer_private.h"

#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "kafka/conf.h"
#include "kafka/consumer_list.h"
#include <librdkafka/rdkafka.h>
#include <sys/eventfd.h>
#include <unistd.h>

void consumer_note(struct consumer *consumer, enum consumer_event_type type, struct topic_partitions partitions,
                   bool lost, const char *text) {
    struct consumer_note *note = mem_calloc(1, sizeof(*note));
    note->type = type;
    note->partitions = partitions;
    note->lost = lost;
    if (text[0])
        (void)error_set(&note->error, STATUS_FAILED, "%s", text);
    *consumer->last_note = note;
    consumer->last_note = &note->next;
}

static bool take_note(struct consumer *consumer, struct consumer_event *event) {
    struct consumer_note *note = consumer->first_note;
    if (!note)
        return false;
    consumer->first_note = note->next;
    if (!note->next)
        consumer->last_note = &consumer->first_note;
    event->type = note->type;
    event->partitions = note->partitions;
    event->lost = note->lost;
    event->error = note->error;
    mem_free(note);
    return true;
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *ctx) {
    struct consumer *consumer = ctx;
    if (consumer->closing) {
        rd_kafka_assign(rk, NULL);
        return;
    }
    bool assign = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    consumer->awaits = assign ? AWAITS_ASSIGN : AWAITS_UNASSIGN;
    consumer->restart_by_ms = 0;
    consumer_note(consumer, assign ? CONSUMER_ASSIGN : CONSUMER_REVOKE, consumer_list_read(list),
                  !assign && rd_kafka_assignment_lost(rk), "");
    rd_kafka_yield(rk);
}

static void fail(struct consumer *consumer, const char *text) {
    if (!consumer->failed)
        consumer_note(consumer, CONSUMER_FAILED, (struct topic_partitions){NULL, 0}, false, text);
    consumer->failed = true;
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *ctx) {
    struct consumer *consumer = ctx;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        char text[512];
        rd_kafka_fatal_error(rk, text, sizeof(text));
        fail(consumer, text);
    } else {
        bool all_brokers = code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
        if (!all_brokers) {
            (void)error_set(&consumer->connection, STATUS_UNAVAILABLE, "%s", reason);
            log_debug("kafka", "connection trouble", LOG_TEXT("reason", reason));
        }
        consumer_health_trouble(consumer, all_brokers);
        return;
    }
    rd_kafka_yield(rk);
}

static void on_log(const rd_kafka_t *rk, int level, const char *kind, const char *text) {
    struct consumer *consumer = rd_kafka_opaque(rk);
    client_log_line(&consumer->log, level, kind, text);
}

/* A setting of the group that does not mend itself. */
static bool refuses_group(rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR__FATAL || code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_INVALID_GROUP_ID || code == RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL ||
           code == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT;
}

static void out_of_range(struct consumer *consumer, const rd_kafka_message_t *message) {
    struct span topic = span_of(rd_kafka_topic_name(message->rkt));
    int64_t at = consumer_list_find(&consumer->assigned, topic, message->partition);
    if (at < 0)
        return;
    struct topic_partitions partitions = {NULL, 0};
    topic_partitions_add(&partitions, topic, message->partition, message->offset, SPAN_NONE);
    consumer->assigned.items[at].offset = CONSUMER_OFFSET_NONE;
    consumer_note(consumer, CONSUMER_OUT_OF_RANGE, partitions, false, rd_kafka_message_errstr(message));
}

static void on_message_error(struct consumer *consumer, const rd_kafka_message_t *message) {
    const char *text = rd_kafka_message_errstr(message);
    if (refuses_group(message->err)) {
        fail(consumer, text);
    } else if (message->rkt && (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                                message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)) {
        out_of_range(consumer, message);
    } else {
        struct buffer line;
        buffer_init(&line, 1024);
        buffer_printf(&line, "%s%s%s", message->rkt ? rd_kafka_topic_name(message->rkt) : "", message->rkt ? ": " : "",
                      text);
        client_log_line(&consumer->log, 4, rd_kafka_err2name(message->err), buffer_view(&line).data);
        buffer_deinit(&line);
    }
}

void consumer_wake(const struct consumer *consumer) {
    uint64_t one = 1;
    /* A counter that is full is readable too. */
    ssize_t written = write(consumer->fd, &one, sizeof(one));
    (void)written;
}

static void clear_wake(const struct consumer *consumer) {
    uint64_t count;
    ssize_t got = read(consumer->fd, &count, sizeof(count));
    (void)got;
}

/* One look at what librdkafka has. False: it had nothing. */
static bool look(struct consumer *consumer, struct consumer_event *event) {
    consumer_health_poll(consumer);
    rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->rk, 0);
    if (!message)
        return consumer->first_note != NULL;
    if (message->err || consumer->awaits == AWAITS_UNASSIGN) {
        if (message->err)
            on_message_error(consumer, message);
        rd_kafka_message_destroy(message);
        return true;
    }
    consumer_health_record(consumer);
    consumer_record_take(consumer->client, message, &event->record);
    consumer_prefetch_read(consumer, &event->record);
    event->type = CONSUMER_RECORD;
    return true;
}

enum consumer_event_type consumer_poll(struct consumer *consumer, struct consumer_event *event) {
    event->type = CONSUMER_NOTHING;
    event->record.handle = NULL;
    event->partitions = (struct topic_partitions){NULL, 0};
    event->lost = false;
    event->error.text[0] = '\0';
    bool cleared = false;
    while (event->type == CONSUMER_NOTHING) {
        if (consumer->restart_by_ms != 0 && clock_mono_ms() >= consumer->restart_by_ms)
            consumer_restart(consumer);
        if (take_note(consumer, event) || look(consumer, event))
            continue;
        if (cleared) {
            consumer_prefetch_empty(consumer);
            return CONSUMER_NOTHING;
        }
        if (consumer->restart_by_ms != 0)
            consumer_restart(consumer);
        clear_wake(consumer);
        cleared = true;
    }
    if (cleared)
        consumer_wake(consumer);
    return event->type;
}

void consumer_event_deinit(struct consumer_event *event) {
    consumer_record_done(&event->record.handle);
    topic_partitions_deinit(&event->partitions);
}

int consumer_fd(const struct consumer *consumer) {
    return consumer->fd;
}

enum status consumer_conf(const struct consumer_settings *settings, rd_kafka_conf_t *conf, struct error *error) {
    const struct conf_property properties[] = {
        {"bootstrap.servers", settings->brokers, CONF_ESSENTIAL},
        {"metadata.broker.list", NULL, CONF_RESERVED},
        {"client.id", settings->client_id, CONF_ESSENTIAL},
        {"group.id", settings->group, CONF_ESSENTIAL},
        {"group.instance.id", NULL, CONF_RESERVED},
        {"group.protocol", NULL, CONF_RESERVED},
        {"group.protocol.type", NULL, CONF_RESERVED},
        {"enable.auto.commit", "false", CONF_ESSENTIAL},
        {"auto.commit.enable", NULL, CONF_RESERVED},
        {"enable.auto.offset.store", "false", CONF_ESSENTIAL},
        {"auto.offset.reset", "error", CONF_ESSENTIAL},
        {"isolation.level", "read_committed", CONF_ESSENTIAL},
        {"partition.assignment.strategy", "roundrobin", CONF_ESSENTIAL},
        {"enable.partition.eof", "false", CONF_ESSENTIAL},
        {"log.queue", "true", CONF_ESSENTIAL},
        {"enabled_events", NULL, CONF_RESERVED},
        {"topic.blacklist", "^__", CONF_DEFAULT},
        {"allow.auto.create.topics", "false", CONF_DEFAULT},
        {"session.timeout.ms", "10000", CONF_DEFAULT},
        {"heartbeat.interval.ms", "500", CONF_DEFAULT},
        {"max.poll.interval.ms", "300000", CONF_DEFAULT},
        /* Finds a new topic. Not a divisor of what the in-memory broker lets a group wait (the session timeout less a
         * second): a refresh in the very moment in which a leader joins makes it join again. */
        {"topic.metadata.refresh.interval.ms", "2800", CONF_DEFAULT},
        {"socket.nagle.disable", "true", CONF_DEFAULT},
        {"socket.keepalive.enable", "true", CONF_DEFAULT},
        {"reconnect.backoff.ms", "100", CONF_DEFAULT},
        {"reconnect.backoff.max.ms", "2000", CONF_DEFAULT},
        {"log.connection.close", "false", CONF_DEFAULT},
        /* See the header for what this holds in memory. */
        {"queued.min.messages", "20000", CONF_DEFAULT},
        {"queued.max.messages.kbytes", "32768", CONF_DEFAULT},
        {"fetch.max.bytes", "16777216", CONF_DEFAULT},
        /* A partition that starts or resumes waits for the fetch under way. */
        {"fetch.wait.max.ms", "100", CONF_DEFAULT},
        {"fetch.min.bytes", "1", CONF_DEFAULT},
        {"fetch.error.backoff.ms", "100", CONF_DEFAULT},
        {"fetch.queue.backoff.ms", "20", CONF_IF_KNOWN},
        {"check.crcs", "true", CONF_DEFAULT},
        {NULL, NULL, CONF_DEFAULT},
    };
    return conf_fill(conf, properties, settings->conf, error);
}

static enum status make_client(struct consumer *consumer, const struct consumer_settings *settings,
                               struct error *error) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    enum status status = consumer_conf(settings, conf, error);
    if (status == STATUS_OK) {
        rd_kafka_conf_set_opaque(conf, consumer);
        rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
        rd_kafka_conf_set_error_cb(conf, on_error);
        rd_kafka_conf_set_log_cb(conf, on_log);
        char text[256];
        consumer->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
        if (consumer->rk)
            return STATUS_OK;
        status = error_set(error, STATUS_INVALID, "%s", text);
    }
    rd_kafka_conf_destroy(conf);
    return status;
}

static enum status subscribe(struct consumer *consumer, const struct consumer_settings *settings, struct error *error) {
    rd_kafka_topic_partition_list_t *list;
    enum status status = consumer_subscription(settings, &list, error);
    if (status != STATUS_OK)
        return status;
    rd_kafka_resp_err_t code = rd_kafka_subscribe(consumer->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return STATUS_OK;
    return error_set(error, STATUS_INVALID, "the topics can't be subscribed to: %s", rd_kafka_err2str(code));
}

static void free_parts(struct consumer *consumer) {
    struct consumer_event event;
    while (take_note(consumer, &event))
        topic_partitions_deinit(&event.partitions);
    topic_partitions_deinit(&consumer->assigned);
    topic_partitions_deinit(&consumer->to_start);
    topic_partitions_deinit(&consumer->paused);
    close(consumer->fd);
    mem_free(consumer);
}

enum status consumer_open(const struct consumer_settings *settings, struct consumer **ret_consumer,
                          struct error *error) {
    struct consumer *consumer = mem_calloc(1, sizeof(*consumer));
    consumer->last_note = &consumer->first_note;
    consumer->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(consumer->fd >= 0);
    enum status status = make_client(consumer, settings, error);
    if (status != STATUS_OK) {
        free_parts(consumer);
        return status;
    }
    rd_kafka_poll_set_consumer(consumer->rk);
    consumer->client = consumer_client_new(consumer->rk);
    consumer->queue = rd_kafka_queue_get_consumer(consumer->rk);
    rd_kafka_set_log_queue(consumer->rk, consumer->queue);
    static const uint64_t one = 1;
    rd_kafka_queue_io_event_enable(consumer->queue, consumer->fd, &one, sizeof(one));
    consumer_wake(consumer);
    consumer_health_init(consumer);
    consumer_prefetch_init(consumer);
    status = subscribe(consumer, settings, error);
    if (status != STATUS_OK)
        consumer_close(&consumer, 0);
    else
        *ret_consumer = consumer;
    return status;
}

/* Serves the group's farewell until it is through. */
static bool leave(struct consumer *consumer, int64_t timeout_ms) {
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->rk);
    rd_kafka_error_t *refusal = rd_kafka_consumer_close_queue(consumer->rk, queue);
    if (!refusal && consumer->awaits != AWAITS_NOTHING)
        rd_kafka_assign(consumer->rk, NULL);
    while (!refusal && !rd_kafka_consumer_closed(consumer->rk) && clock_mono_ms() < deadline_ms) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 10);
        if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
            rd_kafka_assign(consumer->rk, NULL);
        rd_kafka_event_destroy(event);
    }
    bool left = !refusal && rd_kafka_consumer_closed(consumer->rk);
    rd_kafka_error_destroy(refusal);
    rd_kafka_queue_destroy(queue);
    return left;
}

void consumer_close(struct consumer **consumer_at, int64_t timeout_ms) {
    struct consumer *consumer = *consumer_at;
    if (!consumer)
        return;
    *consumer_at = NULL;
    consumer->closing = true;
    consumer_health_stop(consumer);
    rd_kafka_queue_io_event_enable(consumer->queue, -1, NULL, 0);
    bool left = leave(consumer, timeout_ms);
    consumer_health_deinit(consumer);
    rd_kafka_queue_destroy(consumer->queue);
    consumer_client_unref(consumer->client, left);
    free_parts(consumer);
}
