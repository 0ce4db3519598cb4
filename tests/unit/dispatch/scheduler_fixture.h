/* A scheduler on a PostgreSQL of its own, between lanes and a recorder that only keep what they are given. Included
 * after cmocka.h, once, by a program that has no other lane and recorder. */
#ifndef TEST_SCHEDULER_FIXTURE_H
#define TEST_SCHEDULER_FIXTURE_H

#include "../store/schedule_fixture.h"
#include "dispatch/lane.h"
#include "dispatch/recorder.h"
#include "dispatch/scheduler.h"
#include "store/partitions.h"
#include "store/process.h"
#include "webhook/share.h"
#include <pthread.h>

#define LANES 2
#define KEPT_MAX 8192
#define DEADLINE_MS 15000

/* ---- lanes and recorder ---- */

struct lane {
    _Atomic int64_t waiting;
};

static struct lane lanes[LANES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct kept {
    struct delivery *deliveries[KEPT_MAX];
    int count;
} sent, cancelled;

static inline void keep(struct kept *kept, struct queue_batch *batch) {
    pthread_mutex_lock(&lock);
    for (struct queue_node *node = batch->first, *next; node; node = next) {
        next = node->next;
        assert_true(kept->count < KEPT_MAX);
        kept->deliveries[kept->count++] = (struct delivery *)MESSAGE_OF(node);
    }
    batch->first = batch->last = NULL;
    pthread_mutex_unlock(&lock);
}

/* How a gate stood at each push. */
static struct gate *watched;
static bool held_at_push[64];
static int push_count;

void lane_push(struct lane *lane, struct queue_batch *batch) {
    if (watched && push_count < 64)
        held_at_push[push_count++] = atomic_load(&watched->held);
    struct delivery *first = (struct delivery *)MESSAGE_OF(batch->first);
    assert_ptr_equal(lane, &lanes[subscription_lane_hash(&first->subscription->id) % LANES]);
    keep(&sent, batch);
}

int64_t lane_waiting(const struct lane *lane) {
    return atomic_load(&lane->waiting);
}

void recorder_push(struct recorder *sink, struct queue_batch *batch) {
    (void)sink;
    keep(&cancelled, batch);
}

static inline int count_of(const struct kept *kept) {
    pthread_mutex_lock(&lock);
    int count = kept->count;
    pthread_mutex_unlock(&lock);
    return count;
}

static inline void wait_count(const struct kept *kept, int wanted, int line) {
    int64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    while (count_of(kept) < wanted) {
        if (clock_mono_ms() > deadline_ms)
            fail_msg("line %d: %d instead of %d", line, count_of(kept), wanted);
        pg_fixture_pause();
    }
    assert_int_equal(count_of(kept), wanted);
}
#define WAIT_SENT(wanted) wait_count(&sent, (wanted), __LINE__)
#define WAIT_CANCELLED(wanted) wait_count(&cancelled, (wanted), __LINE__)

static inline void wait_flag(_Atomic bool *flag, bool wanted, int line) {
    int64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    while (atomic_load(flag) != wanted) {
        if (clock_mono_ms() > deadline_ms)
            fail_msg("line %d: it stays as it is", line);
        pg_fixture_pause();
    }
}
#define WAIT_HELD(gate, wanted) wait_flag(&(gate)->held, (wanted), __LINE__)

static inline void wait_part(struct gate *gate, enum share_part wanted, int line) {
    int64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    while (atomic_load(&gate->part) != wanted) {
        if (clock_mono_ms() > deadline_ms)
            fail_msg("line %d: it stays as it is", line);
        pg_fixture_pause();
    }
}
#define WAIT_PART(gate, wanted) wait_part((gate), (wanted), __LINE__)

static inline void drop(struct kept *kept) {
    for (int i = 0; i < kept->count; i++)
        delivery_free(&kept->deliveries[i]);
    kept->count = 0;
}

/* ---- the scheduler under test ---- */

static struct settings settings = {.topic_prefix = "events.", .timeout_ms = 20000};
static struct roster *roster;
static struct pulse pulse;
static struct budget budget;
static struct scheduler *thread;
static struct lane *lane_list[LANES] = {&lanes[0], &lanes[1]};

static int limit; /* of the next one */

/* A version of an endpoint's subscription goes into the roster; its gate stays the same. */
static inline struct gate *subscribe(int endpoint, enum subscription_status status, int64_t version,
                                     int64_t activation) {
    struct span types[] = {SPAN_LITERAL("*")};
    struct subscription_spec spec = {.id = uuid_of(0xe0, endpoint),
                                     .workspace_id = WORKSPACE,
                                     .status = status,
                                     .version = version,
                                     .activation = activation,
                                     .event_types = types,
                                     .event_type_count = 1,
                                     .max_in_flight = limit,
                                     .url = SPAN_LITERAL("https://example.com/"),
                                     .format = SPAN_LITERAL("standard")};
    struct subscription *known = roster_find(roster, &spec.id), *made = NULL;
    MUST(subscription_new(&spec, known ? known->gate : NULL, &made, &error));
    struct gate *gate = made->gate;
    roster_change_take(roster, &made, 1);
    subscription_unref(&known);
    return gate;
}

static inline struct gate *active(int endpoint, int slots) {
    struct gate *gate = subscribe(endpoint, SUBSCRIPTION_ACTIVE, 1, 1);
    atomic_store(&gate->slots, slots);
    return gate;
}

static inline void start(void) {
    struct scheduler_settings made = {&settings, roster, NULL, lane_list, LANES, &pulse, ME, &budget};
    thread = scheduler_new(&made);
    scheduler_start(thread);
}

static inline void stop(void) {
    scheduler_stop(thread);
    scheduler_free(&thread);
}

static inline int setup(void **state) {
    schedule_setup(state);
    settings.database_url = database;
    roster = roster_new();
    roster_replace_take(roster, matching_new(0));
    atomic_store(&pulse.beat_ms, clock_mono_ms() + 3600 * 1000);
    atomic_store(&budget.cancelled, 0);
    watched = NULL;
    push_count = 0;
    for (int i = 0; i < LANES; i++)
        atomic_store(&lanes[i].waiting, 0);
    MUST(process_register(recorder, &ME, SPAN_LITERAL("hookcast"), &error));
    MUST(partitions_ensure(recorder, &error));
    return 0;
}

static inline int teardown(void **state) {
    if (thread)
        stop();
    drop(&sent);
    drop(&cancelled);
    roster_free(&roster);
    return schedule_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
