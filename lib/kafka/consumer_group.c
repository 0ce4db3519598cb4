/* What the owner asks of the consumer: partitions, offsets, commits. */
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "kafka/consumer_list.h"
#include "kafka/consumer_private.h"
#include <librdkafka/rdkafka.h>

#define SEEK_TIMEOUT_MS 2000
/* Several partitions out of range come one after another: they are started again together. */
#define RESTART_WITHIN_MS 200

/* Is it the other side's absence, or its refusal? */
static enum status status_of(rd_kafka_resp_err_t code) {
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return STATUS_OK;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
        return STATUS_UNAVAILABLE;
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        return STATUS_NOT_FOUND;
    default:
        return STATUS_FAILED;
    }
}

static enum status refused(rd_kafka_resp_err_t code, const char *what, struct error *error) {
    return error_set(error, status_of(code), "%s: %s", what, rd_kafka_err2str(code));
}

static void forget(struct consumer *consumer) {
    topic_partitions_deinit(&consumer->assigned);
    topic_partitions_deinit(&consumer->to_start);
    consumer->restart_by_ms = 0;
    if (consumer->paused.count == 0)
        return;
    /* librdkafka keeps the pause of a partition over assignments. */
    rd_kafka_topic_partition_list_t *list = consumer_list_new(&consumer->paused);
    rd_kafka_resume_partitions(consumer->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    topic_partitions_deinit(&consumer->paused);
}

enum status consumer_assign(struct consumer *consumer, const struct topic_partitions *partitions, struct error *error) {
    if (consumer->awaits != AWAITS_ASSIGN)
        return error_set(error, STATUS_INVALID, "no assignment waits for an answer");
    for (size_t i = 0; i < partitions->count; i++)
        if (partitions->items[i].offset < 0)
            return error_set(error, STATUS_INVALID, "%s [%d]: no offset to begin at", partitions->items[i].topic,
                             (int)partitions->items[i].partition);
    forget(consumer);
    rd_kafka_topic_partition_list_t *list = consumer_list_new(partitions);
    rd_kafka_resp_err_t code = rd_kafka_assign(consumer->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return refused(code, "assign", error);
    consumer->awaits = AWAITS_NOTHING;
    for (size_t i = 0; i < partitions->count; i++) {
        const struct topic_partition *item = &partitions->items[i];
        topic_partitions_add(&consumer->assigned, span_of(item->topic), item->partition, item->offset, SPAN_NONE);
    }
    return STATUS_OK;
}

enum status consumer_unassign(struct consumer *consumer, struct error *error) {
    if (consumer->awaits != AWAITS_UNASSIGN)
        return error_set(error, STATUS_INVALID, "no revocation waits for an answer");
    rd_kafka_resp_err_t code = rd_kafka_assign(consumer->rk, NULL);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return refused(code, "unassign", error);
    consumer->awaits = AWAITS_NOTHING;
    forget(consumer);
    return STATUS_OK;
}

/* Brings the offset of each assigned partition to where it would be read on. */
static void read_positions(struct consumer *consumer) {
    rd_kafka_topic_partition_list_t *list = consumer_list_new(&consumer->assigned);
    if (rd_kafka_position(consumer->rk, list) == RD_KAFKA_RESP_ERR_NO_ERROR)
        for (int i = 0; i < list->cnt; i++)
            if (list->elems[i].offset >= 0 && consumer->assigned.items[i].offset >= 0)
                consumer->assigned.items[i].offset = list->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(list);
    for (size_t i = 0; i < consumer->to_start.count; i++) {
        const struct topic_partition *item = &consumer->to_start.items[i];
        int64_t at = consumer_list_find(&consumer->assigned, span_of(item->topic), item->partition);
        consumer->assigned.items[at].offset = item->offset;
    }
    topic_partitions_deinit(&consumer->to_start);
}

void consumer_restart(struct consumer *consumer) {
    consumer->restart_by_ms = 0;
    if (consumer->awaits != AWAITS_NOTHING || consumer->closing)
        return;
    read_positions(consumer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)consumer->assigned.count);
    for (size_t i = 0; i < consumer->assigned.count; i++) {
        const struct topic_partition *item = &consumer->assigned.items[i];
        if (item->offset >= 0)
            rd_kafka_topic_partition_list_add(list, item->topic, item->partition)->offset = item->offset;
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(consumer->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        log_error("kafka", "the partitions could not be started again", LOG_TEXT("error", rd_kafka_err2str(code)));
}

static rd_kafka_resp_err_t seek_running(struct consumer *consumer, const struct topic_partition *item, int64_t offset) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, item->topic, item->partition)->offset = offset;
    rd_kafka_error_t *failure = rd_kafka_seek_partitions(consumer->rk, list, SEEK_TIMEOUT_MS);
    rd_kafka_resp_err_t code = failure ? rd_kafka_error_code(failure) : list->elems[0].err;
    rd_kafka_error_destroy(failure);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

static enum status start_again(struct consumer *consumer, struct topic_partition *item, int64_t offset) {
    struct span topic = span_of(item->topic);
    int64_t at = consumer_list_find(&consumer->to_start, topic, item->partition);
    if (at >= 0)
        consumer->to_start.items[at].offset = offset;
    else
        topic_partitions_add(&consumer->to_start, topic, item->partition, offset, SPAN_NONE);
    if (consumer->restart_by_ms == 0)
        consumer->restart_by_ms = clock_mono_ms() + RESTART_WITHIN_MS;
    consumer_wake(consumer);
    return STATUS_OK;
}

enum status consumer_seek(struct consumer *consumer, struct span topic, int32_t partition, int64_t offset,
                          struct error *error) {
    int64_t at = consumer_list_find(&consumer->assigned, topic, partition);
    if (at < 0)
        return error_set(error, STATUS_NOT_FOUND, "%.*s [%d] is not assigned", SPAN_ARGS(topic), (int)partition);
    if (offset < 0)
        return error_set(error, STATUS_INVALID, "%.*s [%d]: no offset to begin at", SPAN_ARGS(topic), (int)partition);
    struct topic_partition *item = &consumer->assigned.items[at];
    if (item->offset == CONSUMER_OFFSET_NONE)
        return start_again(consumer, item, offset);
    rd_kafka_resp_err_t code = seek_running(consumer, item, offset);
    if (code == RD_KAFKA_RESP_ERR__STATE)
        return start_again(consumer, item, offset);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return refused(code, "seek", error);
    item->offset = offset;
    return STATUS_OK;
}

enum status consumer_pause(struct consumer *consumer, const struct topic_partitions *partitions, struct error *error) {
    struct topic_partitions fresh = {NULL, 0};
    for (size_t i = 0; i < partitions->count; i++) {
        const struct topic_partition *item = &partitions->items[i];
        struct span topic = span_of(item->topic);
        if (consumer_list_find(&consumer->assigned, topic, item->partition) < 0 ||
            consumer_list_find(&consumer->paused, topic, item->partition) >= 0)
            continue;
        topic_partitions_add(&consumer->paused, topic, item->partition, CONSUMER_OFFSET_NONE, SPAN_NONE);
        topic_partitions_add(&fresh, topic, item->partition, CONSUMER_OFFSET_NONE, SPAN_NONE);
    }
    if (fresh.count == 0)
        return STATUS_OK;
    rd_kafka_topic_partition_list_t *list = consumer_list_new(&fresh);
    rd_kafka_resp_err_t code = rd_kafka_pause_partitions(consumer->rk, list);
    enum status status = code ? refused(code, "pause", error) : consumer_list_check(list, error);
    rd_kafka_topic_partition_list_destroy(list);
    topic_partitions_deinit(&fresh);
    return status;
}

enum status consumer_resume(struct consumer *consumer, const struct topic_partitions *partitions, struct error *error) {
    struct topic_partitions held = {NULL, 0};
    for (size_t i = 0; i < partitions->count; i++) {
        const struct topic_partition *item = &partitions->items[i];
        struct span topic = span_of(item->topic);
        int64_t at = consumer_list_find(&consumer->paused, topic, item->partition);
        if (at < 0)
            continue;
        consumer_list_remove(&consumer->paused, (size_t)at);
        topic_partitions_add(&held, topic, item->partition, CONSUMER_OFFSET_NONE, SPAN_NONE);
    }
    if (held.count == 0)
        return STATUS_OK;
    rd_kafka_topic_partition_list_t *list = consumer_list_new(&held);
    rd_kafka_resp_err_t code = rd_kafka_resume_partitions(consumer->rk, list);
    enum status status = code ? refused(code, "resume", error) : consumer_list_check(list, error);
    rd_kafka_topic_partition_list_destroy(list);
    topic_partitions_deinit(&held);
    return status;
}

enum status consumer_committed(struct consumer *consumer, struct topic_partitions *partitions, int64_t timeout_ms,
                               struct error *error) {
    if (partitions->count == 0)
        return STATUS_OK;
    rd_kafka_topic_partition_list_t *list = consumer_list_new(partitions);
    rd_kafka_resp_err_t code = rd_kafka_committed(consumer->rk, list, (int)timeout_ms);
    enum status status = code ? refused(code, "committed offsets", error) : consumer_list_check(list, error);
    if (status == STATUS_OK) {
        topic_partitions_deinit(partitions);
        *partitions = consumer_list_read(list);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *ctx) {
    struct consumer *consumer = ctx;
    struct error error = {""};
    enum status status = code ? refused(code, "commit", &error) : consumer_list_check(list, &error);
    consumer_note(consumer, CONSUMER_COMMITTED, consumer_list_read(list), false, status == STATUS_OK ? "" : error.text);
    rd_kafka_yield(rk);
}

enum status consumer_commit(struct consumer *consumer, const struct topic_partitions *partitions, struct error *error) {
    rd_kafka_topic_partition_list_t *list = consumer_list_new(partitions);
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(consumer->rk, list, consumer->queue, on_commit, consumer);
    rd_kafka_topic_partition_list_destroy(list);
    return code ? refused(code, "commit", error) : STATUS_OK;
}

static enum status commit_outcome(rd_kafka_event_t *answer, struct error *error) {
    if (!answer)
        return error_set(error, STATUS_UNAVAILABLE, "commit: no answer in time");
    rd_kafka_resp_err_t code = rd_kafka_event_error(answer);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return refused(code, "commit", error);
    return consumer_list_check(rd_kafka_event_topic_partition_list(answer), error);
}

enum status consumer_commit_wait(struct consumer *consumer, const struct topic_partitions *partitions,
                                 int64_t timeout_ms, struct error *error) {
    if (partitions->count == 0)
        return STATUS_OK;
    rd_kafka_topic_partition_list_t *list = consumer_list_new(partitions);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->rk);
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(consumer->rk, list, queue, NULL, NULL);
    enum status status;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        status = refused(code, "commit", error);
    } else {
        rd_kafka_event_t *answer = rd_kafka_queue_poll(queue, (int)timeout_ms);
        status = commit_outcome(answer, error);
        rd_kafka_event_destroy(answer);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

enum status consumer_watermarks(struct consumer *consumer, struct span topic, int32_t partition, int64_t timeout_ms,
                                int64_t *ret_low, int64_t *ret_high, struct error *error) {
    char *name = mem_strndup(topic.data, topic.len);
    int64_t low, high;
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(consumer->rk, name, partition, &low, &high, (int)timeout_ms);
    mem_free(name);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return refused(code, "watermarks", error);
    *ret_low = low;
    *ret_high = high;
    return STATUS_OK;
}

enum status consumer_offset_since(struct consumer *consumer, struct span topic, int32_t partition, int64_t wall_ms,
                                  int64_t timeout_ms, int64_t *ret_offset, struct error *error) {
    int64_t low;
    char *name = mem_strndup(topic.data, topic.len);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *item = rd_kafka_topic_partition_list_add(list, name, partition);
    item->offset = wall_ms; /* the question; the answer takes its place */
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(consumer->rk, list, (int)timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        code = item->err;
    int64_t offset = item->offset;
    rd_kafka_topic_partition_list_destroy(list);
    mem_free(name);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return refused(code, "the offset of a time", error);
    if (offset < 0) /* no record is that young */
        return consumer_watermarks(consumer, topic, partition, timeout_ms, &low, ret_offset, error);
    *ret_offset = offset;
    return STATUS_OK;
}

int64_t consumer_cached_high(struct consumer *consumer, struct span topic, int32_t partition) {
    /* librdkafka would begin to ask the brokers about a topic that it does not know. */
    if (consumer_list_find(&consumer->assigned, topic, partition) < 0)
        return -1;
    char *name = mem_strndup(topic.data, topic.len);
    int64_t low, high;
    rd_kafka_resp_err_t code = rd_kafka_get_watermark_offsets(consumer->rk, name, partition, &low, &high);
    mem_free(name);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0 ? high : -1;
}

bool consumer_is_member(struct consumer *consumer) {
    char *id = rd_kafka_memberid(consumer->rk);
    bool joined = id && id[0] != '\0';
    if (id)
        rd_kafka_mem_free(consumer->rk, id);
    return joined && !consumer->failed && !rd_kafka_assignment_lost(consumer->rk);
}
