/* The recorder's connection. What this process believes about PostgreSQL is compared at every reconnection, because the
 * server that answers may be another one, or the same one from a back-up (rules P5 and P6). */
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "dispatch/recorder_private.h"
#include "store/events.h"
#include "store/process.h"
#include <stdlib.h>

#define OPEN_TIMEOUT_MS 5000
#define FLUSH_TIMEOUT_MS 20000

static struct span group_of(const struct recorder *recorder) {
    return span_of(recorder->settings.settings->group);
}

/* Whether each partition stands as this process last wrote it. A higher epoch is another owner's; anything else that
 * differs means that this is not the database that was written to. */
static enum status compare_progress(struct recorder *recorder, bool *ret_same, struct error *error) {
    struct tracked *tracked;
    TAILQ_FOREACH (tracked, &recorder->tracked, link) {
        int64_t epoch = 0, next_offset = 0;
        if (tracked->lost)
            continue;
        enum status status = progress_peek(recorder->connection, group_of(recorder), span_of(tracked->partition->topic),
                                           tracked->partition->number, &epoch, &next_offset, error);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND)
            return status;
        if (status == STATUS_OK && epoch > tracked->partition->epoch)
            recorder_lose(recorder, tracked);
        else if (status == STATUS_NOT_FOUND || epoch < tracked->partition->epoch ||
                 next_offset != tracked->flushed_next_offset)
            *ret_same = false;
    }
    return STATUS_OK;
}

/* After the connection was lost: is the flush under way written, and is everything else as it was? */
static enum status compare(struct recorder *recorder, bool *ret_committed, bool *ret_same, struct error *error) {
    struct buffer identity;
    buffer_init(&identity, 128);
    enum status status = progress_database_identity(recorder->connection, &identity, error);
    if (status == STATUS_OK)
        *ret_same = span_equal(buffer_view(&identity), buffer_view(&recorder->identity));
    buffer_deinit(&identity);
    int64_t flush_no = 0;
    if (status == STATUS_OK)
        status = process_flush_no(recorder->connection, &recorder->settings.process_id, &flush_no, error);
    if (status == STATUS_NOT_FOUND) {
        *ret_same = false;
        return STATUS_OK;
    }
    if (status != STATUS_OK)
        return status;
    bool committed = recorder->flush.commit_sent && flush_no == recorder->flush_no + 1;
    if (!committed && flush_no != recorder->flush_no)
        *ret_same = false;
    *ret_committed = committed;
    /* The offsets of a flush whose COMMIT had no answer are not in flushed_next_offset. */
    return *ret_same && !committed ? compare_progress(recorder, ret_same, error) : STATUS_OK;
}

static enum status register_process(struct recorder *recorder, struct error *error) {
    buffer_reset(&recorder->identity);
    enum status status = progress_database_identity(recorder->connection, &recorder->identity, error);
    if (status == STATUS_OK)
        status = process_register(recorder->connection, &recorder->settings.process_id, group_of(recorder), error);
    if (status == STATUS_OK) {
        recorder->flush_no = 0;
        recorder->registered = true;
    }
    return status;
}

enum status recorder_link(struct recorder *recorder, bool *ret_committed, struct error *error) {
    bool same = true, committed = false;
    recorder->days_at_ms = 0;
    connection_set_timeout(recorder->connection, FLUSH_TIMEOUT_MS);
    enum status status = connection_open(recorder->connection, OPEN_TIMEOUT_MS, error);
    if (status == STATUS_OK) /* a frozen process must not keep its locks for long: others want its partitions */
        status = connection_exec(recorder->connection, "SET idle_in_transaction_session_timeout = '3s'", error);
    if (status == STATUS_OK && recorder->registered)
        status = compare(recorder, &committed, &same, error);
    if (status == STATUS_OK && !same) {
        log_warn("recorder",
                 "this is not the database as it was left (restored, or failed over): reading again from progress");
        recorder_drop_partitions(recorder);
        recorder->registered = false;
        recorder->restored = true;
    }
    if (status == STATUS_OK && !recorder->registered)
        status = register_process(recorder, error);
    if (status == STATUS_OK && recorder->restored) {
        recorder->restored = false;
        recorder->settings.on_restored(recorder->settings.ctx);
    }
    if (status == STATUS_OK)
        *ret_committed = committed;
    if (status != STATUS_OK)
        connection_close(recorder->connection);
    recorder->linked = status == STATUS_OK;
    return status;
}

static void stop_starting(struct tracked *tracked) {
    tracked->lost = true;
    atomic_store_explicit(&tracked->partition->revoked, true, memory_order_release);
}

void recorder_lose(struct recorder *recorder, struct tracked *tracked) {
    stop_starting(tracked);
    recorder->settings.on_lost(recorder->settings.ctx);
}

void recorder_drop_partitions(struct recorder *recorder) {
    struct tracked *tracked;
    TAILQ_FOREACH (tracked, &recorder->tracked, link)
        stop_starting(tracked);
}

/* ---- taking partitions over ---- */

static int64_t first_start(struct recorder *recorder, const struct adopt_item *item, bool group_known) {
    return !group_known && recorder->settings.settings->start_from == START_FROM_LATEST ? item->latest : item->low;
}

static void new_lineage(struct progress_row *row, int64_t start) {
    row->lineage = uuid_new(clock_wall_ms());
    row->first_offset = start;
    row->next_offset = start;
    row->last_key = UUID_NIL;
    row->done = SPAN_LITERAL("");
    row->reread_before = 0;
}

/* Rule P4: where this group goes on in this partition. */
static void decide_start(struct recorder *recorder, const struct adopt_item *item, const struct progress_stored *stored,
                         bool group_known, struct progress_row *row) {
    bool committed = item->committed >= 0;
    if (stored) {
        row->lineage = stored->lineage;
        row->first_offset = stored->first_offset;
        row->next_offset = stored->next_offset;
        row->last_key = stored->last_key;
        row->done = (struct span){stored->done, stored->done_len};
        row->reread_before = stored->reread_before;
    }
    if (item->broken) {
        log_warn("recorder", "the topic was made again or lost its tail: reading it from its earliest record",
                 LOG_TEXT("topic", item->topic), LOG_INT("partition", item->number), LOG_INT("offset", item->low));
        new_lineage(row, item->low);
        row->reread_before = item->high;
    } else if (committed && !item->has_lineage) {
        log_info("recorder", "the group's offset was set from outside: going on there", LOG_TEXT("topic", item->topic),
                 LOG_INT("partition", item->number), LOG_INT("offset", item->committed));
        new_lineage(row, item->committed);
    } else if (committed && !(stored && uuid_compare(&stored->lineage, &item->lineage) >= 0)) {
        /* A lineage of the database that is younger than Kafka's is one whose first commit did not get through. */
        log_warn(
            "recorder", "the database does not know how far this partition is settled: going back to where it began",
            LOG_TEXT("topic", item->topic), LOG_INT("partition", item->number), LOG_INT("offset", item->lineage_first));
        new_lineage(row, item->lineage_first);
        row->reread_before = item->committed + TRACKER_WINDOW;
    } else if (!stored) {
        new_lineage(row, first_start(recorder, item, group_known));
    }
}

static enum status adopt_one(struct recorder *recorder, struct adopt_item *item, bool group_known,
                             struct error *error) {
    struct progress_stored stored = {.epoch = 0};
    struct progress_row row = {.topic = span_of(item->topic), .partition = item->number};
    enum status status =
        progress_lock(recorder->connection, group_of(recorder), row.topic, row.partition, &stored, error);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    decide_start(recorder, item, status == STATUS_OK ? &stored : NULL, group_known, &row);
    row.epoch = stored.epoch + 1;
    struct partition *partition = partition_new(row.topic, row.partition);
    partition->epoch = row.epoch;
    partition->lineage = row.lineage;
    partition->first_offset = row.first_offset;
    partition->start_offset = row.next_offset;
    partition->last_key = row.last_key;
    partition->done = row.done.len ? mem_copy(row.done.data, row.done.len) : NULL;
    partition->done_len = row.done.len;
    partition->reread_before = row.reread_before;
    atomic_init(&partition->settled_offset, row.next_offset);
    status = progress_adopt(recorder->connection, group_of(recorder), &row, error);
    progress_stored_deinit(&stored);
    if (status == STATUS_OK)
        item->partition = partition;
    else
        partition_unref(&partition);
    return status;
}

static int by_topic(const void *a, const void *b) {
    const struct adopt_item *x = a, *y = b;
    int order = strcmp(x->topic, y->topic);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

enum status recorder_adopt(struct recorder *recorder, struct adopt_message *message, struct error *error) {
    bool group_known = false;
    qsort(message->items, message->count, sizeof(message->items[0]), by_topic);
    enum status status = connection_exec(recorder->connection, "BEGIN; SET LOCAL lock_timeout = '1s'", error);
    if (status == STATUS_OK)
        status = progress_group_known(recorder->connection, group_of(recorder), &group_known, error);
    for (size_t i = 0; i < message->count && status == STATUS_OK; i++)
        status = adopt_one(recorder, &message->items[i], group_known, error);
    if (status == STATUS_OK)
        status = connection_exec(recorder->connection, "COMMIT", error);
    if (status == STATUS_OK)
        return STATUS_OK;
    for (size_t i = 0; i < message->count; i++)
        partition_unref(&message->items[i].partition);
    struct error ignored;
    if (connection_exec(recorder->connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(recorder->connection);
    else if (status == STATUS_CONFLICT && progress_end_stale(recorder->connection, &ignored) != STATUS_OK)
        log_debug("recorder", "a frozen owner keeps its locks", LOG_TEXT("error", ignored.text));
    return status;
}

enum status recorder_reread(struct recorder *recorder, struct reread_message *message, struct error *error) {
    struct event **events = mem_calloc(message->count + 1, sizeof(struct event *));
    bool *known = mem_calloc(message->count + 1, sizeof(bool));
    for (size_t i = 0; i < message->count; i++)
        events[i] = message->items[i].event;
    enum status status = events_known(recorder->connection, events, message->count, known, error);
    for (size_t i = 0; i < message->count && status == STATUS_OK; i++)
        message->items[i].known = known[i];
    mem_free(known);
    mem_free(events);
    return status;
}
