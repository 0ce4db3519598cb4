/* A lane between a recorder that only gathers what it is told and a receiver that answers as the path says. Included
 * after cmocka.h, once, by a program that has no other recorder. */
#ifndef TEST_LANE_FIXTURE_H
#define TEST_LANE_FIXTURE_H

#include "dispatch/lane.h"
#include "dispatch/recorder.h"
#include "dispatch_fixture.h"
#include "net/server.h"
#include <pthread.h>

/* ---- the recorder ---- */

struct recorder {
    pthread_mutex_t lock;
    struct delivery_list outcomes; /* in the order of their coming */
    int count;
};

static struct recorder recorder = {.lock = PTHREAD_MUTEX_INITIALIZER};

void recorder_push(struct recorder *to, struct queue_batch *batch) {
    CHECK(to == &recorder);
    pthread_mutex_lock(&recorder.lock);
    for (struct queue_node *node = batch->first, *next; node; node = next) {
        next = node->next;
        TAILQ_INSERT_TAIL(&recorder.outcomes, (struct delivery *)MESSAGE_OF(node), link);
        recorder.count++;
    }
    pthread_mutex_unlock(&recorder.lock);
    *batch = (struct queue_batch){NULL, NULL};
}

/* How many came that say this, and of which event: -1 any. */
static inline int outcomes_of(enum outcome outcome, int64_t offset) {
    int found = 0;
    struct delivery *delivery;
    pthread_mutex_lock(&recorder.lock);
    TAILQ_FOREACH (delivery, &recorder.outcomes, link)
        found += delivery->outcome == outcome && (offset < 0 || delivery->event->offset == offset);
    pthread_mutex_unlock(&recorder.lock);
    return found;
}

static inline int outcomes_all(void) {
    pthread_mutex_lock(&recorder.lock);
    int count = recorder.count;
    pthread_mutex_unlock(&recorder.lock);
    return count;
}

/* The first that says this of that event; it stays the recorder's. */
static inline struct delivery *outcome_of(enum outcome outcome, int64_t offset) {
    struct delivery *delivery;
    pthread_mutex_lock(&recorder.lock);
    TAILQ_FOREACH (delivery, &recorder.outcomes, link) {
        if (delivery->outcome == outcome && delivery->event->offset == offset)
            break;
    }
    pthread_mutex_unlock(&recorder.lock);
    if (!delivery)
        fail_msg("no outcome %d of event %lld", outcome, (long long)offset);
    return delivery;
}

static inline void forget_outcomes(void) {
    struct delivery *delivery;
    while ((delivery = TAILQ_FIRST(&recorder.outcomes))) {
        TAILQ_REMOVE(&recorder.outcomes, delivery, link);
        delivery_free(&delivery);
    }
    recorder.count = 0;
}

/* ---- the receiver: /hold waits for receiver_let_go, another path is the status it answers with ---- */

#define MAX_HELD 256

static struct {
    struct loop *loop;
    struct server *server;
    struct loop_timer *timer;
    struct request *held[MAX_HELD];
    int held_count;
    _Atomic bool let_go;
    _Atomic int arrived, waiting, most_waiting;
    int port;
} receiver;

static inline void on_request(void *ctx, struct request *request) {
    (void)ctx;
    struct span path = request_path(request);
    receiver.arrived++;
    if (!span_is(path, "/hold")) {
        request_respond(request, (int)strtol(path.data + 1, NULL, 10), "text/plain", SPAN_LITERAL("the answer"));
        return;
    }
    if (receiver.held_count == MAX_HELD) {
        request_respond(request, 429, NULL, SPAN_NONE);
        return;
    }
    receiver.held[receiver.held_count++] = request;
    receiver.waiting = receiver.held_count;
    if (receiver.held_count > receiver.most_waiting)
        receiver.most_waiting = receiver.held_count;
}

static inline void on_look(void *ctx) {
    (void)ctx;
    loop_timer_start(receiver.timer, 2);
    if (!receiver.let_go)
        return;
    for (int i = 0; i < receiver.held_count; i++)
        request_respond(receiver.held[i], 200, NULL, SPAN_NONE);
    receiver.held_count = 0;
    receiver.waiting = 0;
}

static inline void receiver_open(void) {
    struct error error;
    struct server_settings settings = {.listen = "127.0.0.1:0", .max_body_bytes = 1024 * 1024, .handler = on_request};
    receiver.loop = loop_new("receiver");
    if (server_open(receiver.loop, &settings, &receiver.server, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    receiver.port = server_port(receiver.server);
    receiver.timer = loop_timer_new(receiver.loop, on_look, NULL);
    receiver.held_count = 0;
    receiver.let_go = false;
    receiver.arrived = receiver.waiting = receiver.most_waiting = 0;
    loop_timer_start(receiver.timer, 2);
    loop_start(receiver.loop);
}

static inline void receiver_close(void) {
    loop_stop(receiver.loop);
    loop_join(receiver.loop);
    loop_timer_free(&receiver.timer);
    server_close(&receiver.server);
    loop_free(&receiver.loop);
}

static inline void receiver_let_go(void) {
    receiver.let_go = true;
}

/* ---- the lane ---- */

static struct {
    struct settings settings;
    struct guard *guard;
    struct keyring *keyring;
    struct budget budget;
    struct pulse pulse;
    struct lane *lane;
} bench;

/* Fresh for as long as a test may take. */
static inline void pulse_beats(void) {
    atomic_store(&bench.pulse.beat_ms, clock_mono_ms() + 3600 * 1000);
    atomic_store(&bench.pulse.looked_ms, clock_mono_ms() + 3600 * 1000);
}

static inline void pulse_stops(void) {
    atomic_store(&bench.pulse.beat_ms, 1);
}

static inline int bench_open(void **state) {
    (void)state;
    struct error error;
    bench.settings = (struct settings){.allow_http = true,
                                       .ca_file = "",
                                       .source_address = "",
                                       .timeout_ms = 15000,
                                       .response_body_limit_bytes = 1000,
                                       .retry_schedule_ms = {5000},
                                       .retry_count = 1};
    bench.budget = (struct budget){.deliveries = 0};
    atomic_store(&bench.pulse.processes, 1);
    TAILQ_INIT(&recorder.outcomes);
    receiver_open();
    if (guard_new("127.0.0.0/8", &bench.guard, &error) != STATUS_OK ||
        keyring_new(SPAN_LITERAL(FIXTURE_KEY), &bench.keyring, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    struct lane_settings settings = {.settings = &bench.settings,
                                     .guard = bench.guard,
                                     .keyring = bench.keyring,
                                     .recorder = &recorder,
                                     .budget = &bench.budget,
                                     .pulse = &bench.pulse};
    if (lane_new(&settings, &bench.lane, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    pulse_beats();
    lane_start(bench.lane);
    return 0;
}

static inline int bench_close(void **state) {
    (void)state;
    if (bench.lane) {
        lane_stop(bench.lane);
        lane_free(&bench.lane);
    }
    receiver_close();
    forget_outcomes();
    guard_free(&bench.guard);
    keyring_free(&bench.keyring);
    return 0;
}

static inline void bench_url(const char *path, char *out, size_t size) {
    snprintf(out, size, "http://127.0.0.1:%d%s", receiver.port, path);
}

/* A subscription of the receiver's path; max_in_flight 0: the default. */
static inline struct subscription *bench_subscription(int number, const char *path, int max_in_flight) {
    char url[128];
    bench_url(path, url, sizeof(url));
    struct subscription_spec spec = fixture_spec(number, url);
    spec.max_in_flight = max_in_flight;
    return fixture_subscription_of(&spec, NULL);
}

/* Nobody looks into a taken but the recorder: its address is enough. */
static char takens[1024];

static inline struct taken *bench_taken(int64_t offset) {
    return (struct taken *)&takens[offset];
}

/* Pushes as intake does; partition may be NULL. */
static inline void bench_deliver(int64_t offset, struct subscription *subscription, struct partition *partition) {
    struct queue_batch batch = {NULL, NULL};
    struct delivery *delivery = fixture_delivery(offset, subscription, partition);
    delivery->taken = bench_taken(offset);
    delivery->slot = (uint32_t)offset;
    atomic_fetch_add(&subscription->gate->queued, 1);
    queue_batch_add(&batch, &delivery->message.node);
    lane_push(bench.lane, &batch);
}

/* Pushes as the scheduler does. */
static inline void bench_deliver_row(struct delivery *row) {
    struct queue_batch batch = {NULL, NULL};
    queue_batch_add(&batch, &row->message.node);
    lane_push(bench.lane, &batch);
}

static inline void bench_tell(struct message *message) {
    struct queue_batch batch = {NULL, NULL};
    queue_batch_add(&batch, &message->node);
    lane_push(bench.lane, &batch);
}

/* Nothing is left anywhere, and nothing was counted twice. */
static inline void bench_expect_empty(const struct subscription *subscription) {
    WAIT_FOR(lane_waiting(bench.lane) == 0);
    assert_int_equal(subscription->gate->queued, 0);
    assert_int_equal(bench.budget.in_flight, 0);
}

#endif
