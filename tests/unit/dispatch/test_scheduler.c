/* The scheduler's thread against a real PostgreSQL, between lanes and a recorder that only keep what they are given. */
#include "dispatch/scheduler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler_fixture.h"

static void test_due_row_becomes_the_delivery_it_was(void **state) {
    (void)state;
    struct gate *gate = active(1, 4);
    start();
    put_rows(1, 1, 1, false);
    WAIT_SENT(1);
    const struct delivery *delivery = sent.deliveries[0];
    struct uuid key = uuid_of(0xa0, 1);
    assert_true(delivery->has_row && !delivery->parked_in_flight);
    assert_null(delivery->taken);
    assert_null(delivery->partition);
    assert_true(uuid_equal(&delivery->row_key, &key));
    assert_true(uuid_equal(&delivery->event->key, &event->key));
    assert_true(span_equal(delivery->event->value, event->value));
    assert_true(span_equal(delivery->event->headers, event->headers));
    assert_true(span_equal(delivery->event->event_type, event->event_type));
    assert_int_equal(delivery->fence, 1);
    assert_int_equal(delivery->attempt, 2);
    assert_int_equal(delivery->activation, 1);
    assert_int_equal(delivery->outcome, OUTCOME_NONE);
    assert_int_equal(atomic_load(&gate->slots), 3);
    /* It must not start so late that its lease could end before its attempt: the lease is the timeout and 45 s. */
    int64_t left_ms = delivery->lease_deadline_ms - clock_mono_ms();
    assert_in_range(left_ms, 30000, 40000);
    ASK_IS("SELECT lease_until BETWEEN now() + interval '50 s' AND now() + interval '65 s' FROM schedule", "t");
    assert_int_equal(atomic_load(&pulse.processes), 1);
}

static void test_rows_without_a_slot_are_held_then_drained(void **state) {
    (void)state;
    struct gate *gate = active(1, 3), *free_one = active(2, 100);
    start();
    put_rows(1, 1, 20, false);
    put_rows(2, 1, 1, false);
    WAIT_SENT(4);
    WAIT_HELD(gate, true);
    ASK_IS("SELECT count(*) FROM schedule WHERE held", "17");
    ASK_IS("SELECT count(*) FROM holds WHERE owner IS NOT NULL", "1");
    assert_false(atomic_load(&free_one->held));
    atomic_store(&gate->slots, 7);
    WAIT_SENT(11);
    assert_true(atomic_load(&gate->held));
    atomic_store(&gate->slots, 100);
    WAIT_SENT(21);
    WAIT_HELD(gate, false); /* as soon as nothing waits; its row in holds goes a little later */
    pg_fixture_wait(recorder, "SELECT count(*) FROM holds", "0");
    assert_int_equal(atomic_load(&gate->slots), 90); /* what was not used came back */
    for (int i = 0; i < 21; i++)
        assert_int_equal(sent.deliveries[i]->fence, 1);
}

/* Sixteen megabytes are drained at once; what is left waits, and new deliveries must not overtake it. */
static void test_a_drain_that_was_cut_short_ends_no_hold(void **state) {
    (void)state;
    struct gate *gate = active(1, 100);
    event_unref(&event);
    event = make_event(41, 1024 * 1024);
    put_rows(1, 1, 20, true);
    watched = gate;
    start();
    WAIT_SENT(20);
    WAIT_HELD(gate, false);
    assert_true(push_count >= 2);
    assert_true(held_at_push[0]);
    assert_int_equal(atomic_load(&gate->slots), 80);
    pg_fixture_wait(recorder, "SELECT count(*) FROM holds", "0");
}

static void test_held_rows_of_a_flush_are_found(void **state) {
    (void)state;
    struct gate *gate = active(1, 2);
    start();
    put_rows(1, 1, 5, true);
    WAIT_HELD(gate, true);
    WAIT_SENT(2);
    atomic_store(&gate->slots, 10);
    WAIT_SENT(5);
    WAIT_HELD(gate, false);
}

static void test_anothers_hold_is_respected(void **state) {
    (void)state;
    struct gate *gate = active(1, 50);
    put_rows(1, 1, 3, true);
    MUST(holds_take(other, &YOU, 10, 60000, &error));
    start();
    WAIT_HELD(gate, true);
    put_rows(1, 4, 6, false);
    pg_fixture_wait(recorder, "SELECT count(*) FROM schedule WHERE held", "6");
    assert_int_equal(count_of(&sent), 0);
    assert_int_equal(drain(other, 1, 10, 60000), 6);
    assert_true(end_hold(other, &YOU, 1));
    WAIT_HELD(gate, false);
    assert_int_equal(count_of(&sent), 0);
    /* The holder dies: its lease runs out. */
    put_rows(1, 7, 8, true);
    WAIT_SENT(2);
}

/* Rule S6: a part is told with each change of hands, and who uses more than a share does not let go. */
static void test_the_hold_of_a_limited_endpoint_ends_with_no_more_than_a_share_in_use(void **state) {
    (void)state;
    limit = 5;
    struct gate *gate = active(1, 50);
    limit = 0;
    put_rows(1, 1, 3, true);
    MUST(holds_take(other, &YOU, 10, 60000, &error));
    start();
    WAIT_HELD(gate, true);
    WAIT_PART(gate, PART_NOTHING);
    assert_int_equal(drain(other, 1, 10, 60000), 3);
    assert_true(end_hold(other, &YOU, 1));
    WAIT_HELD(gate, false);
    WAIT_PART(gate, PART_SHARE);
    /* Its own. */
    atomic_store(&gate->whole, true);
    put_rows(1, 4, 6, true);
    WAIT_SENT(3);
    WAIT_HELD(gate, false);
    for (int i = 0; i < 100; i++)
        pg_fixture_pause();
    ASK_IS("SELECT count(*) FROM holds WHERE owner IS NOT NULL", "1");
    atomic_store(&gate->whole, false);
    pg_fixture_wait(recorder, "SELECT count(*) FROM holds", "0");
}

static void test_rows_of_the_inactive_are_cancelled_due_or_not(void **state) {
    (void)state;
    subscribe(1, SUBSCRIPTION_PAUSED, 1, 1);
    put_rows(1, 1, 300, false);
    put_rows(1, 301, 310, true);
    pg_fixture_exec(recorder,
                    "UPDATE schedule SET due_at = now() + interval '1 h' WHERE right(row_key::text, 1) = '2'");
    start();
    WAIT_CANCELLED(310);
    for (int i = 0; i < 310; i++) {
        assert_int_equal(cancelled.deliveries[i]->outcome, OUTCOME_CANCELLED);
        assert_true(cancelled.deliveries[i]->has_row);
        assert_int_equal(cancelled.deliveries[i]->fence, 1);
    }
    assert_int_equal(count_of(&sent), 0);
    pg_fixture_wait(recorder, "SELECT count(*) FROM holds", "0");
}

/* While the recorder does not write them, no more are claimed than a lane may have, and those of one claim. */
static void test_cancelled_rows_wait_for_the_recorder(void **state) {
    (void)state;
    subscribe(1, SUBSCRIPTION_PAUSED, 1, 1);
    put_rows(1, 1, 9000, false);
    start();
    int64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    for (int left = 9000, count; left > 0; left -= count) {
        while ((count = count_of(&cancelled)) < (left < 2049 ? left : 2049)) {
            assert_true(clock_mono_ms() < deadline_ms);
            pg_fixture_pause();
        }
        for (int i = 0; i < 30; i++)
            pg_fixture_pause();
        count = count_of(&cancelled);
        assert_in_range(count, 1, 4096);
        assert_int_equal(atomic_load(&budget.cancelled), count);
        pthread_mutex_lock(&lock);
        drop(&cancelled);
        pthread_mutex_unlock(&lock);
    }
    assert_int_equal(atomic_load(&budget.cancelled), 0);
    ASK_IS("SELECT count(*) FROM schedule WHERE fence <> 1", "0");
}

static void test_activation_says_which_rows_are_stale(void **state) {
    (void)state;
    struct gate *gate = subscribe(1, SUBSCRIPTION_ACTIVE, 4, 3);
    atomic_store(&gate->slots, 10);
    put_rows(1, 1, 3, false);
    pg_fixture_exec(recorder, "UPDATE schedule SET activation = 1 + substr(row_key::text, 36)::int8");
    start();
    /* Activation 2 is from before a pause, 3 is now, 4 is of a version that the roster has yet to hear of. */
    WAIT_SENT(1);
    WAIT_CANCELLED(1);
    assert_int_equal(sent.deliveries[0]->activation, 3);
    assert_int_equal(cancelled.deliveries[0]->activation, 2);
    ASK_IS("SELECT count(*) FROM schedule WHERE fence = 0 AND NOT held", "1");
    subscribe(1, SUBSCRIPTION_ACTIVE, 6, 4);
    WAIT_SENT(2);
}

static void test_unknown_subscriptions(void **state) {
    (void)state;
    pg_fixture_exec(recorder, "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types) VALUES "
                              "('acme', 'e0000000-0000-0000-0000-000000000002', 'https://a', '{*}')");
    put_rows(1, 1, 2, false);
    put_rows(2, 1, 1, false);
    pg_fixture_exec(recorder,
                    "UPDATE schedule SET due_at = now() + interval '1 h' WHERE right(row_key::text, 1) = '2'");
    start();
    WAIT_CANCELLED(2); /* of the one that is gone */
    struct uuid gone = uuid_of(0xe0, 1);
    assert_true(uuid_equal(&cancelled.deliveries[0]->subscription->id, &gone));
    assert_int_equal(cancelled.deliveries[0]->subscription->status, SUBSCRIPTION_DELETED);
    assert_string_equal(subscription_url(cancelled.deliveries[0]->subscription), "");
    ASK_IS("SELECT count(*) FROM schedule WHERE fence = 0 AND NOT held", "1");
    active(2, 1); /* the watcher has caught up */
    WAIT_SENT(1);
    assert_int_equal(count_of(&cancelled), 2);
}

static void test_nothing_is_claimed_without_a_pulse(void **state) {
    (void)state;
    active(1, 10);
    atomic_store(&pulse.beat_ms, clock_mono_ms() - PULSE_LIMIT_MS);
    put_rows(1, 1, 3, false);
    start();
    pg_fixture_wait(recorder,
                    "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'hookcast scheduler' "
                    "AND now() - backend_start > interval '300 ms'",
                    "t");
    ASK_IS("SELECT count(*) FROM schedule WHERE fence = 0 AND NOT held", "3");
    atomic_store(&pulse.beat_ms, clock_mono_ms() + 3600 * 1000);
    WAIT_SENT(3);
}

static void test_full_lane_leaves_rows_alone(void **state) {
    (void)state;
    struct uuid one = uuid_of(0xe0, 1);
    int endpoint = 2;
    for (struct uuid id = uuid_of(0xe0, endpoint);
         subscription_lane_hash(&id) % LANES == subscription_lane_hash(&one) % LANES; id = uuid_of(0xe0, endpoint))
        endpoint++;
    struct gate *gate = active(1, 10);
    active(endpoint, 10);
    struct lane *full = &lanes[subscription_lane_hash(&one) % LANES];
    atomic_store(&full->waiting, 2049);
    put_rows(1, 1, 3, false);
    put_rows(endpoint, 1, 2, false);
    start();
    WAIT_SENT(2);
    ASK_IS("SELECT count(*) FROM schedule WHERE fence = 0 AND NOT held", "3");
    assert_int_equal(atomic_load(&gate->slots), 10);
    atomic_store(&full->waiting, 100);
    WAIT_SENT(5);
}

/* Looks are fewer then, and don't cease. */
static void test_well_filled_lanes_are_given_more(void **state) {
    (void)state;
    active(1, 10);
    for (int i = 0; i < LANES; i++)
        atomic_store(&lanes[i].waiting, 2000);
    start();
    for (int row = 1; row <= 5; row++) {
        put_rows(1, row, row, false);
        WAIT_SENT(row);
    }
}

static void test_slots_come_back_when_the_claim_fails(void **state) {
    (void)state;
    struct gate *gate = active(1, 1);
    put_rows(1, 1, 1, false);
    pg_fixture_exec(recorder, "BEGIN; LOCK TABLE schedule IN EXCLUSIVE MODE");
    start();
    pg_fixture_wait(other, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted", "t");
    assert_int_equal(atomic_load(&gate->slots), 0);
    pg_fixture_wait(other, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted", "f");
    pg_fixture_exec(recorder, "ROLLBACK");
    WAIT_SENT(1);
    assert_false(atomic_load(&gate->held));
}

static void test_row_that_cant_be_read_does_not_come_again(void **state) {
    (void)state;
    active(1, 10);
    put_rows(1, 1, 3, false);
    pg_fixture_exec(recorder, "UPDATE schedule SET body = 'no json' WHERE right(row_key::text, 1) = '2'");
    start();
    WAIT_SENT(2);
    pg_fixture_wait(recorder, "SELECT count(*) FROM schedule", "2");
}

static void test_goes_on_after_a_broken_connection(void **state) {
    (void)state;
    active(1, 100);
    start();
    put_rows(1, 1, 1, false);
    WAIT_SENT(1);
    ASK_IS(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'hookcast scheduler'",
        "1");
    put_rows(1, 2, 3, false);
    WAIT_SENT(3);
}

static void test_stop_gives_the_holds_back(void **state) {
    (void)state;
    struct gate *gate = active(1, 0);
    put_rows(1, 1, 3, false);
    start();
    pg_fixture_wait(recorder, "SELECT count(*) FROM holds WHERE lease_until > now()", "1");
    int64_t began_ms = clock_mono_ms();
    stop();
    assert_true(clock_mono_ms() - began_ms < 2000);
    ASK_IS("SELECT count(*) FROM holds WHERE owner IS NULL AND lease_until IS NULL", "1");
    assert_false(atomic_load(&gate->held));
}

/* Another process that lives has its share; what it leaves lying too long is taken all the same. */
static void test_buckets_are_shared(void **state) {
    (void)state;
    MUST(process_register(recorder, &YOU, SPAN_LITERAL("hookcast"), &error));
    pg_fixture_exec(recorder, "UPDATE processes SET heartbeat_at = now() + interval '1 h'");
    struct uuid mine, yours;
    int my_endpoint = 0, your_endpoint = 0;
    for (int endpoint = 1; !my_endpoint || !your_endpoint; endpoint++) {
        struct uuid id = uuid_of(0xe0, endpoint);
        int bucket = subscription_bucket(WORKSPACE, &id);
        if (bucket % 2 == 0)
            my_endpoint = endpoint, mine = id;
        else
            your_endpoint = endpoint, yours = id;
    }
    active(my_endpoint, 10);
    active(your_endpoint, 10);
    start();
    put_rows(your_endpoint, 1, 1, false);
    put_rows(my_endpoint, 1, 1, false);
    WAIT_SENT(1);
    assert_true(uuid_equal(&sent.deliveries[0]->subscription->id, &mine));
    assert_true(pulse_knows_others(&pulse, clock_mono_ms()));
    assert_int_equal(atomic_load(&pulse.processes), 0); /* too young for a share of anybody's limit */
    ASK_IS("SELECT count(*) FROM schedule WHERE fence = 0", "1");
    pg_fixture_exec(recorder, "UPDATE schedule SET due_at = now() - interval '11 s' WHERE fence = 0");
    WAIT_SENT(2);
    assert_true(uuid_equal(&sent.deliveries[1]->subscription->id, &yours));
}

/* Twenty thousand rows of an endpoint without a slot do not keep another endpoint of the same bucket waiting. */
static void test_a_crowd_does_not_delay_another(void **state) {
    (void)state;
    struct uuid one = uuid_of(0xe0, 1);
    int endpoint = 2, bucket = subscription_bucket(WORKSPACE, &one);
    for (struct uuid id = uuid_of(0xe0, 2); subscription_bucket(WORKSPACE, &id) != bucket; id = uuid_of(0xe0, endpoint))
        endpoint++;
    active(1, 0);
    active(endpoint, 10);
    char sql[512];
    snprintf(sql, sizeof(sql),
             "INSERT INTO schedule (workspace_id, subscription_id, row_key, event_key, bucket, attempt, activation, "
             "due_at, topic, part, record_offset, record_time, headers, body) "
             "SELECT 'acme', 'e0000000-0000-0000-0000-000000000001', gen_random_uuid(), gen_random_uuid(), %d, 2, 1, "
             "now() - interval '1 h', 't', 0, n, now(), '{}', 'x' FROM generate_series(1, 20000) n",
             bucket);
    pg_fixture_exec(recorder, sql);
    put_rows(endpoint, 1, 1, false);
    int64_t began_ms = clock_mono_ms();
    start();
    WAIT_SENT(1);
    assert_true(clock_mono_ms() - began_ms < 10000);
    pg_fixture_wait(recorder, "SELECT count(*) FROM schedule WHERE held", "20000");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_due_row_becomes_the_delivery_it_was),
        TEST(test_rows_without_a_slot_are_held_then_drained),
        TEST(test_a_drain_that_was_cut_short_ends_no_hold),
        TEST(test_held_rows_of_a_flush_are_found),
        TEST(test_anothers_hold_is_respected),
        TEST(test_the_hold_of_a_limited_endpoint_ends_with_no_more_than_a_share_in_use),
        TEST(test_rows_of_the_inactive_are_cancelled_due_or_not),
        TEST(test_cancelled_rows_wait_for_the_recorder),
        TEST(test_activation_says_which_rows_are_stale),
        TEST(test_unknown_subscriptions),
        TEST(test_nothing_is_claimed_without_a_pulse),
        TEST(test_full_lane_leaves_rows_alone),
        TEST(test_well_filled_lanes_are_given_more),
        TEST(test_slots_come_back_when_the_claim_fails),
        TEST(test_row_that_cant_be_read_does_not_come_again),
        TEST(test_goes_on_after_a_broken_connection),
        TEST(test_stop_gives_the_holds_back),
        TEST(test_buckets_are_shared),
        TEST(test_a_crowd_does_not_delay_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
