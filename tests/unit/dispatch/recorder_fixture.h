/* A recorder on a PostgreSQL of its own, with a lane that only notes what it is told. The tests play intake and lanes.
 * Included after cmocka.h, once, by a program that has no other lane. */
#ifndef TEST_RECORDER_FIXTURE_H
#define TEST_RECORDER_FIXTURE_H

#include "../db/pg_fixture.h"
#include "db/migrate.h"
#include "dispatch/lane.h"
#include "dispatch/recorder.h"
#include "dispatch_fixture.h"
#include <pthread.h>

/* ---- the lane ---- */

struct lane {
    _Atomic int releases, parks;
    _Atomic uint8_t parked_id; /* the last byte of the subscription's */
    _Atomic int64_t waiting;
    pthread_mutex_t lock;
    struct delivery_list deliveries; /* in the order of their coming */
    int delivery_count;
};

static struct lane lane = {.lock = PTHREAD_MUTEX_INITIALIZER};

int64_t lane_waiting(const struct lane *of) {
    return of->waiting;
}

void lane_push(struct lane *to, struct queue_batch *batch) {
    for (struct queue_node *node = batch->first, *next; node; node = next) {
        next = node->next;
        struct message *message = MESSAGE_OF(node);
        if (message->type == MESSAGE_DELIVERY) {
            pthread_mutex_lock(&to->lock);
            TAILQ_INSERT_TAIL(&to->deliveries, (struct delivery *)message, link);
            to->delivery_count++;
            pthread_mutex_unlock(&to->lock);
            continue;
        }
        to->releases += message->type == MESSAGE_RELEASE;
        if (message->type == MESSAGE_PARK) {
            struct subscription_message *about = (struct subscription_message *)message;
            to->parked_id = about->subscription->id.bytes[15];
            to->parks++;
            subscription_unref(&about->subscription);
        }
        mem_free(message);
    }
    *batch = (struct queue_batch){NULL, NULL};
}

static inline int lane_count(void) {
    pthread_mutex_lock(&lane.lock);
    int count = lane.delivery_count;
    pthread_mutex_unlock(&lane.lock);
    return count;
}

/* The first of those that it was given; the caller's. */
static inline struct delivery *lane_take(void) {
    pthread_mutex_lock(&lane.lock);
    struct delivery *delivery = TAILQ_FIRST(&lane.deliveries);
    assert_non_null(delivery);
    TAILQ_REMOVE(&lane.deliveries, delivery, link);
    lane.delivery_count--;
    pthread_mutex_unlock(&lane.lock);
    return delivery;
}

static inline void lane_forget(void) {
    while (lane_count()) {
        struct delivery *delivery = lane_take();
        delivery_free(&delivery);
    }
}

/* ---- the recorder ---- */

#define GROUP "group"

static struct {
    char *database;
    struct connection *connection; /* the test's own */
    struct settings settings;
    struct budget budget;
    struct pulse pulse;
    struct recorder *recorder;
    struct loop *loop; /* never runs: answers are taken by hand */
    struct queue *answers;
    _Atomic int restored, lost;
} desk;

static inline void on_restored(void *ctx) {
    (void)ctx;
    desk.restored++;
}

static inline void on_lost(void *ctx) {
    (void)ctx;
    desk.lost++;
}

static inline void nothing(void *ctx, struct queue_node *first) {
    (void)ctx, (void)first;
}

static inline void recorder_open(void) {
    static struct lane *lanes[] = {&lane};
    struct recorder_settings settings = {.settings = &desk.settings,
                                         .budget = &desk.budget,
                                         .pulse = &desk.pulse,
                                         .process_id = fixture_uuid(99),
                                         .on_restored = on_restored,
                                         .on_lost = on_lost};
    lane.releases = lane.parks = 0;
    lane.parked_id = 0;
    lane.waiting = 0;
    TAILQ_INIT(&lane.deliveries);
    desk.budget.deliveries = desk.budget.bytes = desk.budget.in_flight = 0;
    desk.pulse.beat_ms = 0;
    desk.restored = desk.lost = 0;
    desk.loop = loop_new("test");
    desk.answers = queue_new(desk.loop, nothing, NULL);
    desk.recorder = recorder_new(&settings);
    recorder_set_lanes(desk.recorder, lanes, 1);
    recorder_start(desk.recorder);
}

static inline void recorder_close(void) {
    recorder_stop(desk.recorder, clock_mono_ms() + 2000);
    recorder_free(&desk.recorder);
    lane_forget();
    queue_free(&desk.answers);
    loop_free(&desk.loop);
}

static inline int desk_open(void **state) {
    (void)state;
    struct error error;
    unsetenv("HOOKCAST_TEST_DATABASE_URL"); /* these tests change the server's settings */
    desk.database = pg_fixture_database();
    desk.connection = pg_fixture_connect(desk.database);
    if (migrate_run(desk.connection, pg_fixture_sql(), NULL, NULL, NULL, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    desk.settings = (struct settings){.database_url = desk.database, .group = (char *)GROUP, .timeout_ms = 15000};
    recorder_open();
    return 0;
}

static inline int desk_close(void **state) {
    (void)state;
    recorder_close();
    connection_free(&desk.connection);
    pg_fixture_drop(&desk.database);
    return 0;
}

#define DESK_TEST(test) cmocka_unit_test_setup_teardown(test, desk_open, desk_close)

static inline void expect_sql(const char *sql, const char *wanted) {
    const char *got = pg_fixture_ask(desk.connection, sql);
    if (strcmp(got, wanted) != 0)
        fail_msg("%s: %s, expected %s", sql, got, wanted);
}

static inline void exec_sql(const char *sql) {
    pg_fixture_exec(desk.connection, sql);
}

/* Ends the recorder's backend, and waits until it is gone. */
static inline void cut_connection(void) {
    exec_sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
             " WHERE application_name = 'hookcast recorder' AND datname = current_database()");
}

static inline void push_node(struct queue_node *node) {
    struct queue_batch batch = {NULL, NULL};
    queue_batch_add(&batch, node);
    recorder_push(desk.recorder, &batch);
}

/* The recorder's next answer, within the time; NULL: none came. */
static inline struct message *answer_within(int64_t ms) {
    int64_t deadline_ms = clock_mono_ms() + ms;
    struct queue_node *node;
    while (!(node = queue_take(desk.answers)) && clock_mono_ms() < deadline_ms)
        fixture_pause();
    return node ? MESSAGE_OF(node) : NULL;
}

/* ---- intake's part ---- */

/* Adopts one partition and gives it; the caller's reference. */
static inline struct partition *adopt(struct adopt_item item) {
    struct adopt_message *message = mem_calloc(1, sizeof(*message) + sizeof(item));
    message->message.type = MESSAGE_ADOPT;
    message->reply = desk.answers;
    message->count = 1;
    message->items[0] = item;
    message->items[0].topic = mem_strdup(item.topic ? item.topic : TOPIC);
    push_node(&message->message.node);
    struct message *answer = answer_within(PATIENCE_MS);
    assert_ptr_equal(answer, message);
    assert_non_null(message->items[0].partition);
    struct partition *partition = partition_ref(message->items[0].partition);
    adopt_message_free(&message);
    return partition;
}

/* A new one, from its first record. */
static inline struct partition *adopt_new(void) {
    return adopt((struct adopt_item){.committed = -1001});
}

static inline void give_up(struct partition *partition) {
    struct revoke_message *message = mem_calloc(1, sizeof(*message) + sizeof(partition));
    message->message.type = MESSAGE_REVOKE;
    message->reply = desk.answers;
    message->count = 1;
    message->partitions[0] = partition_ref(partition);
    push_node(&message->message.node);
}

static inline bool revoked_within(int64_t ms) {
    struct message *answer = answer_within(ms);
    struct revoke_message *message = (struct revoke_message *)answer;
    if (message)
        assert_int_equal(answer->type, MESSAGE_REVOKE);
    revoke_message_free(&message);
    return answer != NULL;
}

#define MAX_TAKEN 8

/* A record that was announced, and the deliveries that came of it. */
struct record {
    struct taken *taken; /* the recorder's: to be handed back only */
    struct event *event;
    struct delivery *deliveries[MAX_TAKEN]; /* until they are ended */
};

/* Makes it and counts it as intake does; not announced yet. */
static inline struct record make_record(struct partition *partition, int64_t offset, int count,
                                        struct subscription *const *subscriptions) {
    struct record record = {.event = fixture_event(offset)};
    struct taken *taken = taken_new(partition, offset, &record.event->key, (uint32_t)count);
    taken->taken_at_ms = clock_mono_ms();
    taken->footprint_bytes = 1000;
    taken->event = event_ref(record.event);
    taken->matched = count > 0;
    for (int i = 0; i < count; i++) {
        taken->slots[i].subscription = subscription_ref(subscriptions[i]);
        record.deliveries[i] = delivery_new(record.event, subscriptions[i], partition);
        record.deliveries[i]->taken = taken;
        record.deliveries[i]->slot = (uint32_t)i;
    }
    desk.budget.deliveries += count ? count : 1;
    desk.budget.bytes += 1000;
    partition->open++;
    record.taken = taken;
    return record;
}

static inline void announce(struct record *record) {
    push_node(&record->taken->message.node);
}

static inline struct record take(struct partition *partition, int64_t offset, int count,
                                 struct subscription *const *subscriptions) {
    struct record record = make_record(partition, offset, count, subscriptions);
    announce(&record);
    return record;
}

static inline void done_with(struct record *record) {
    event_unref(&record->event);
    for (int i = 0; i < MAX_TAKEN; i++)
        delivery_free(&record->deliveries[i]);
}

/* ---- the lanes' part ---- */

static inline void hand_over(struct delivery **delivery, enum outcome outcome) {
    (*delivery)->outcome = outcome;
    push_node(&(*delivery)->message.node);
    *delivery = NULL;
}

static inline void answered(struct delivery *delivery, enum retry_action action, int64_t delay_ms) {
    delivery->result = CLIENT_ANSWERED;
    delivery->status_code = action == RETRY_DONE ? 200 : action == RETRY_DISABLE ? 410 : 500;
    delivery->duration_ms = 5;
    delivery->sent_at_ms = clock_wall_ms();
    delivery->decision = (struct retry_decision){.action = action, .delay_ms = delay_ms};
}

static inline void attempted(struct delivery **delivery, enum retry_action action, int64_t delay_ms) {
    answered(*delivery, action, delay_ms);
    hand_over(delivery, OUTCOME_ATTEMPTED);
}

static inline void delivered(struct delivery **delivery) {
    attempted(delivery, RETRY_DONE, 0);
}

/* As lane.c does with what is under way when its endpoint is parked: a row for it, and the delivery becomes that row's.
 */
static inline void lease(struct delivery *delivery) {
    struct delivery *row = delivery_clone(delivery);
    hand_over(&row, OUTCOME_LEASED);
    delivery->taken = NULL;
    delivery->has_row = true;
    delivery->parked_in_flight = true;
    delivery->fence = 1;
}

/* Makes a flush happen at once: the end of a row that nobody has changes nothing and leaves no log row. */
static inline void nudge(void) {
    struct subscription *subscription = fixture_subscription(999, "http://127.0.0.1/");
    struct delivery *row = fixture_row(999, subscription);
    hand_over(&row, OUTCOME_DELAYED);
    subscription_unref(&subscription);
}

/* Two more flushes: what was pushed before is in one of them, or waits for something else. */
static inline void wait_for_flushes(void) {
    for (int i = 0; i < 2; i++) {
        char sql[128];
        int64_t now = strtoll(pg_fixture_ask(desk.connection, "SELECT flush_no FROM processes"), NULL, 10);
        snprintf(sql, sizeof(sql), "SELECT flush_no > %lld FROM processes", (long long)now);
        nudge();
        pg_fixture_wait(desk.connection, sql, "t");
    }
}

static inline void expect_nothing_outstanding(const struct partition *partition) {
    WAIT_FOR(desk.budget.deliveries == 0 && desk.budget.bytes == 0);
    WAIT_FOR(partition->open == 0);
    WAIT_FOR(recorder_waiting(desk.recorder) == 0);
}

#endif
