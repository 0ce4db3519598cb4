/* A record's report finds its publication by the record's tag. A publication has two holders, the worker that waits and
 * the loop: a worker whose time is up goes, and the last report frees it. Everything that both touch is under the
 * publisher's lock; what a record says is written before it is handed over, and never after. */
#include "api/publisher.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/metrics.h"
#include "core/queue.h"
#include "kafka/producer.h"
#include <pthread.h>

#define DEFAULT_MAX_RECORDS 50000
#define DEFAULT_MAX_BYTES ((size_t)32 * 1024 * 1024)
#define RECORD_COST 256    /* what a record costs besides its bytes */
#define STALL_MS 2000      /* without any acknowledgement, for so long, Kafka does not answer */
#define LOOK_AGAIN_MS 200  /* while reports are awaited, whatever the descriptor says */
#define STOP_FLUSH_MS 1000 /* for what nobody waits for any more */
#define PUBLICATION_MAX_BYTES ((size_t)16 * 1024 * 1024)

struct record {
    struct publication *publication;
    size_t topic_len, at, len; /* the topic at `at`, the value behind it */
    bool reported;
    char *failure;
};

struct publication {
    struct queue_node node; /* first */
    struct buffer bytes;
    struct span key;
    struct producer_header headers[PUBLICATION_MAX_HEADERS];
    size_t header_count;
    struct record *records;
    size_t count, room;

    /* From here on under the publisher's lock. */
    struct publisher *publisher; /* NULL: it was never let in */
    int holders;
    size_t awaited, failed;
    bool over;        /* the worker has its outcome: the records stay as they are */
    int64_t began_ms; /* monotonic */
    pthread_cond_t settled;
};

struct publisher {
    struct publisher_settings settings;
    struct producer *producer; /* the loop's */
    struct loop *loop;
    struct queue *queue;
    struct loop_watch *watch;
    struct loop_timer *look;
    bool started;
    struct metric *accepted, *failed;

    pthread_mutex_t lock;
    size_t records, bytes;   /* in hand */
    int64_t acknowledged_ms; /* monotonic: of the last acknowledgement, or when the hands were last empty */
    bool away;               /* records were tried for long, and none has come through since */
    bool quiet;              /* nothing new is let in */
    int64_t quiet_ms;        /* monotonic: nobody waits longer, nothing is let in after it; 0: it was not said */
};

/* ---- publications ---- */

struct publication *publication_new(void) {
    struct publication *publication = mem_calloc(1, sizeof(*publication));
    buffer_init(&publication->bytes, PUBLICATION_MAX_BYTES);
    publication->holders = 1;
    pthread_condattr_t monotonic;
    CHECK(pthread_condattr_init(&monotonic) == 0);
    CHECK(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&publication->settled, &monotonic) == 0);
    pthread_condattr_destroy(&monotonic);
    return publication;
}

static void destroy(struct publication *publication) {
    for (size_t i = 0; i < publication->count; i++)
        mem_free(publication->records[i].failure);
    for (size_t i = 0; i < publication->header_count; i++) {
        mem_free((char *)publication->headers[i].name.data);
        mem_free((char *)publication->headers[i].value.data);
    }
    mem_free((char *)publication->key.data);
    mem_free(publication->records);
    buffer_deinit(&publication->bytes);
    pthread_cond_destroy(&publication->settled);
    mem_free(publication);
}

void publication_free(struct publication **publication_at) {
    struct publication *publication = *publication_at;
    *publication_at = NULL;
    if (!publication)
        return;
    struct publisher *publisher = publication->publisher;
    if (publisher)
        pthread_mutex_lock(&publisher->lock);
    bool last = --publication->holders == 0;
    if (publisher)
        pthread_mutex_unlock(&publisher->lock);
    if (last)
        destroy(publication);
}

static struct span copy_of(struct span span) {
    if (!span.data)
        return SPAN_NONE;
    return (struct span){mem_strndup(span.data, span.len), span.len};
}

void publication_set_key(struct publication *publication, struct span key) {
    mem_free((char *)publication->key.data);
    publication->key = copy_of(key);
}

void publication_add_header(struct publication *publication, struct span name, struct span value) {
    CHECK(publication->header_count < PUBLICATION_MAX_HEADERS);
    publication->headers[publication->header_count++] = (struct producer_header){copy_of(name), copy_of(value)};
}

void publication_add(struct publication *publication, struct span topic, struct span value) {
    if (publication->count == publication->room) {
        publication->room = publication->room ? 2 * publication->room : 16;
        publication->records = mem_realloc(publication->records, publication->room * sizeof(publication->records[0]));
    }
    publication->records[publication->count++] = (struct record){
        .publication = publication, .topic_len = topic.len, .at = publication->bytes.len, .len = value.len};
    buffer_span(&publication->bytes, topic);
    buffer_span(&publication->bytes, value);
    CHECK(!publication->bytes.overflowed);
}

size_t publication_count(const struct publication *publication) {
    return publication->count;
}

const char *publication_failure(const struct publication *publication, size_t index) {
    CHECK(index < publication->count);
    const struct record *record = &publication->records[index];
    return record->reported ? record->failure : "Kafka has not answered in time";
}

/* ---- the loop's side ---- */

static size_t cost_of(const struct record *record) {
    return record->topic_len + record->len + RECORD_COST;
}

/* What has become of a record. Whoever holds the publication last frees it. */
static void settle(struct publisher *publisher, struct record *record, const char *failure) {
    struct publication *publication = record->publication;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&publisher->lock);
    if (!publication->over) {
        record->reported = true;
        record->failure = failure ? mem_strdup(failure) : NULL;
    }
    publisher->records--;
    publisher->bytes -= cost_of(record);
    if (!failure) {
        publisher->acknowledged_ms = now_ms;
        publisher->away = false;
    } else if (now_ms - publication->began_ms >= STALL_MS) {
        publisher->away = true;
    }
    publication->failed += failure != NULL;
    bool last = --publication->awaited == 0 && --publication->holders == 0;
    if (!last && publication->awaited == 0)
        pthread_cond_signal(&publication->settled);
    pthread_mutex_unlock(&publisher->lock);
    metric_add(failure ? publisher->failed : publisher->accepted, 1);
    if (last)
        destroy(publication);
}

static void on_report(void *ctx, void *tag, const char *error) {
    settle(ctx, tag, error);
}

static void send_all(struct publisher *publisher, struct publication *publication) {
    size_t count = publication->count;
    for (size_t i = 0; i < count; i++) {
        struct record *record = &publication->records[i];
        const char *at = publication->bytes.data + record->at;
        struct error error;
        enum status status = producer_send(publisher->producer, (struct span){at, record->topic_len}, publication->key,
                                           (struct span){at + record->topic_len, record->len}, publication->headers,
                                           publication->header_count, record, &error);
        if (status != STATUS_OK)
            settle(publisher, record, error.text); /* the last one may free the publication */
    }
}

static void look(void *ctx) {
    struct publisher *publisher = ctx;
    producer_poll(publisher->producer, 0);
    if (producer_waiting(publisher->producer) > 0 && !loop_timer_active(publisher->look))
        loop_timer_start(publisher->look, LOOK_AGAIN_MS);
}

static void on_publications(void *ctx, struct queue_node *first) {
    for (struct queue_node *next; first; first = next) {
        next = first->next;
        send_all(ctx, (struct publication *)first);
    }
    look(ctx);
}

static void on_readable(void *ctx, int events) {
    (void)events;
    look(ctx);
}

/* ---- the worker's side ---- */

/* Whether another one is let in, under the lock. */
static bool may_enter(struct publisher *publisher, size_t records, size_t bytes, int64_t now_ms, struct error *error) {
    enum status status = STATUS_OK;
    if (publisher->quiet || (publisher->quiet_ms && now_ms >= publisher->quiet_ms))
        status = error_set(error, STATUS_UNAVAILABLE, "this process is shutting down");
    else if (publisher->records > 0 && (publisher->away || now_ms - publisher->acknowledged_ms > STALL_MS))
        status = error_set(error, STATUS_UNAVAILABLE, "Kafka does not answer");
    else if (publisher->records + records > publisher->settings.max_records ||
             publisher->bytes + bytes > publisher->settings.max_bytes)
        status = error_set(error, STATUS_UNAVAILABLE, "too many events wait for Kafka");
    return status == STATUS_OK;
}

static bool enter(struct publisher *publisher, struct publication *publication, struct error *error) {
    size_t bytes = 0;
    for (size_t i = 0; i < publication->count; i++)
        bytes += cost_of(&publication->records[i]);
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&publisher->lock);
    bool entered = may_enter(publisher, publication->count, bytes, now_ms, error);
    if (entered) {
        if (publisher->records == 0)
            publisher->acknowledged_ms = now_ms;
        publisher->records += publication->count;
        publisher->bytes += bytes;
        publication->publisher = publisher;
        publication->holders = 2;
        publication->awaited = publication->count;
        publication->began_ms = now_ms;
    }
    pthread_mutex_unlock(&publisher->lock);
    return entered;
}

enum status publisher_publish(struct publisher *publisher, struct publication *publication, struct error *error) {
    CHECK(publication->count > 0 && !publication->publisher);
    if (!enter(publisher, publication, error)) {
        for (size_t i = 0; i < publication->count; i++) {
            publication->records[i].reported = true;
            publication->records[i].failure = mem_strdup(error->text);
        }
        return STATUS_UNAVAILABLE;
    }
    queue_push(publisher->queue, &publication->node);
    pthread_mutex_lock(&publisher->lock);
    for (bool late = false; publication->awaited > 0 && !late;) {
        int64_t until_ms = publication->began_ms + publisher->settings.wait_ms;
        if (publisher->quiet_ms && publisher->quiet_ms < until_ms)
            until_ms = publisher->quiet_ms;
        struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
        /* Looked at again now and then: who quiesces doesn't know who waits. */
        int64_t soon_ms = clock_mono_ms() + LOOK_AGAIN_MS;
        if (soon_ms < until_ms)
            until = (struct timespec){.tv_sec = soon_ms / 1000, .tv_nsec = soon_ms % 1000 * 1000000};
        pthread_cond_timedwait(&publication->settled, &publisher->lock, &until);
        late = clock_mono_ms() >= until_ms;
    }
    publication->over = true;
    bool whole = publication->awaited == 0 && publication->failed == 0;
    pthread_mutex_unlock(&publisher->lock);
    return whole ? STATUS_OK : error_set(error, STATUS_FAILED, "Kafka has not acknowledged every event");
}

/* ---- the whole ---- */

enum status publisher_new(const struct publisher_settings *settings, struct publisher **ret_publisher,
                          struct error *error) {
    struct publisher *publisher = mem_calloc(1, sizeof(*publisher));
    publisher->settings = *settings;
    if (!settings->record_ms)
        publisher->settings.record_ms = PUBLISHER_RECORD_MS;
    if (!settings->wait_ms)
        publisher->settings.wait_ms = PUBLISHER_WAIT_MS;
    if (!settings->max_records)
        publisher->settings.max_records = DEFAULT_MAX_RECORDS;
    if (!settings->max_bytes)
        publisher->settings.max_bytes = DEFAULT_MAX_BYTES;
    struct producer_settings own = {.brokers = settings->brokers,
                                    .conf = settings->conf,
                                    .client_id = "hookcast-api",
                                    .linger_ms = 0,
                                    .message_timeout_ms = publisher->settings.record_ms,
                                    .report = on_report,
                                    .ctx = publisher};
    enum status status = producer_open(&own, &publisher->producer, error);
    if (status != STATUS_OK) {
        mem_free(publisher);
        return status;
    }
    CHECK(pthread_mutex_init(&publisher->lock, NULL) == 0);
    publisher->loop = loop_new("publisher");
    publisher->queue = queue_new(publisher->loop, on_publications, publisher);
    publisher->watch = loop_watch_new(publisher->loop, producer_fd(publisher->producer), on_readable, publisher);
    loop_watch_set(publisher->watch, LOOP_READABLE);
    publisher->look = loop_timer_new(publisher->loop, look, publisher);
    static const char HELP[] = "Events that came over the API, by what became of them in Kafka.";
    publisher->accepted = metrics_counter("hookcast_api_events_total", HELP, "result=\"accepted\"");
    publisher->failed = metrics_counter("hookcast_api_events_total", HELP, "result=\"failed\"");
    *ret_publisher = publisher;
    return STATUS_OK;
}

void publisher_free(struct publisher **publisher_at) {
    struct publisher *publisher = *publisher_at;
    *publisher_at = NULL;
    if (!publisher)
        return;
    CHECK(!publisher->started);
    loop_timer_free(&publisher->look);
    loop_watch_free(&publisher->watch);
    queue_free(&publisher->queue);
    loop_free(&publisher->loop);
    producer_close(&publisher->producer, 0);
    metric_free(&publisher->accepted);
    metric_free(&publisher->failed);
    pthread_mutex_destroy(&publisher->lock);
    mem_free(publisher);
}

void publisher_start(struct publisher *publisher) {
    publisher->started = true;
    loop_start(publisher->loop);
}

void publisher_quiesce(struct publisher *publisher, int64_t drain_ms) {
    pthread_mutex_lock(&publisher->lock);
    publisher->quiet_ms = clock_mono_ms() + drain_ms;
    pthread_mutex_unlock(&publisher->lock);
}

void publisher_stop(struct publisher *publisher) {
    if (!publisher->started)
        return;
    publisher->started = false;
    pthread_mutex_lock(&publisher->lock);
    publisher->quiet = true;
    pthread_mutex_unlock(&publisher->lock);
    loop_stop(publisher->loop);
    loop_join(publisher->loop);
    for (struct queue_node *node = queue_take(publisher->queue), *next; node; node = next) {
        next = node->next;
        send_all(publisher, (struct publication *)node);
    }
    int64_t deadline_ms = clock_mono_ms() + STOP_FLUSH_MS;
    while (producer_waiting(publisher->producer) > 0 && clock_mono_ms() < deadline_ms)
        producer_poll(publisher->producer, 50);
}
