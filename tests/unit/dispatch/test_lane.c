#include "dispatch/lane.h"
#include "webhook/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lane_fixture.h"
#include "webhook/share.h"

#include <netinet/in.h>
#include <unistd.h>

#define LONGER_THAN_SLOW_MS 300 /* an answer that takes longer than 250 ms is slow */

static void wait_until(int64_t mono_ms) {
    WAIT_FOR(clock_mono_ms() >= mono_ms);
}

static void test_what_is_pushed_is_delivered(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/200", 0);
    struct partition *partition = fixture_partition();
    int64_t before_ms = clock_wall_ms();
    for (int64_t offset = 0; offset < 20; offset++)
        bench_deliver(offset, subscription, partition);
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 20);
    for (int64_t offset = 0; offset < 20; offset++) {
        struct delivery *delivery = outcome_of(OUTCOME_ATTEMPTED, offset);
        assert_int_equal(delivery->decision.action, RETRY_DONE);
        assert_int_equal(delivery->status_code, 200);
        assert_ptr_equal(delivery->taken, bench_taken(offset));
        assert_int_equal(delivery->slot, offset);
        assert_ptr_equal(delivery->partition, partition);
        assert_true(delivery->sent_at_ms >= before_ms && delivery->sent_at_ms <= clock_wall_ms());
        assert_int_equal(delivery->response_body_len, 10);
        assert_memory_equal(delivery->response_body, "the answer", 10);
        assert_null(delivery->error);
    }
    assert_int_equal(receiver.arrived, 20);
    bench_expect_empty(subscription);
    partition_unref(&partition);
    subscription_unref(&subscription);
}

static void test_a_failure_is_tried_again_by_the_schedule(void **state) {
    (void)state;
    struct subscription *failing = bench_subscription(1, "/500", 0), *gone = bench_subscription(2, "/410", 0);
    bench_deliver(1, failing, NULL);
    bench_deliver(2, gone, NULL);
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 2);
    struct delivery *delivery = outcome_of(OUTCOME_ATTEMPTED, 1);
    assert_int_equal(delivery->decision.action, RETRY_AGAIN);
    assert_in_range(delivery->decision.delay_ms, 4000, 6000);
    assert_int_equal(outcome_of(OUTCOME_ATTEMPTED, 2)->decision.action, RETRY_DISABLE);
    bench_expect_empty(failing);
    subscription_unref(&failing);
    subscription_unref(&gone);
}

/* What can't be made is no attempt that a receiver saw. */
static void test_what_cannot_be_made_fails_and_sends_nothing(void **state) {
    (void)state;
    char url[128];
    bench_url("/200", url, sizeof(url));
    struct subscription_spec spec = fixture_spec(1, url);
    spec.sealed_secrets = SPAN_LITERAL("sealed by nobody");
    spec.signature_style = SIGNATURE_STANDARD;
    struct subscription *subscription = fixture_subscription_of(&spec, NULL);
    for (int64_t offset = 0; offset < 30; offset++)
        bench_deliver(offset, subscription, NULL);
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 30);
    struct delivery *delivery = outcome_of(OUTCOME_ATTEMPTED, 7);
    assert_int_equal(delivery->decision.action, RETRY_AGAIN);
    assert_int_equal(delivery->sent_at_ms, 0);
    assert_non_null(strstr(delivery->error, "not sent: "));
    assert_int_equal(receiver.arrived, 0);
    bench_expect_empty(subscription);
    subscription_unref(&subscription);
}

static void test_no_more_under_way_than_the_cap(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/hold", 3), *other = bench_subscription(2, "/200", 0);
    for (int64_t offset = 0; offset < 10; offset++)
        bench_deliver(offset, subscription, NULL);
    WAIT_FOR(receiver.waiting == 2); /* no more than two, until it has answered */
    assert_int_equal(subscription->gate->queued, 8);
    assert_int_equal(bench.budget.in_flight, 2);
    assert_int_equal(lane_waiting(bench.lane), 10);
    /* One that hangs is nobody else's trouble. */
    for (int64_t offset = 20; offset < 30; offset++)
        bench_deliver(offset, other, NULL);
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 10);
    assert_int_equal(outcomes_of(OUTCOME_ATTEMPTED, 0), 0);
    receiver_let_go();
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 20);
    assert_in_range(receiver.most_waiting, 2, 3);
    bench_expect_empty(subscription);
    subscription_unref(&subscription);
    subscription_unref(&other);
}

/* Rule S6: what a subscription allows is allowed to the whole installation. */
static void test_processes_share_a_limit(void **state) {
    (void)state;
    struct subscription *shared = bench_subscription(1, "/hold", 3), *scarce = bench_subscription(2, "/200", 1);
    atomic_store(&bench.pulse.processes, 2);
    for (int64_t offset = 0; offset < 5; offset++)
        bench_deliver(offset, shared, NULL);
    WAIT_FOR(receiver.waiting == 1);
    assert_int_equal(shared->gate->queued, 4);
    /* Less than one each: whoever holds the endpoint sends, and nobody else. What has a row goes back to it. */
    bench_deliver(20, scarce, NULL);
    WAIT_FOR(outcomes_of(OUTCOME_PARKED, 20) == 1);
    assert_true(scarce->gate->held);
    bench_deliver_row(fixture_row(21, scarce));
    WAIT_FOR(outcomes_of(OUTCOME_PARKED, 21) == 1);
    WAIT_FOR(scarce->gate->slots == 0);
    atomic_store(&scarce->gate->part, PART_WHOLE);
    WAIT_FOR(scarce->gate->slots > 0);
    assert_true(scarce->gate->whole);
    bench_deliver_row(fixture_row(22, scarce));
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, 22) == 1);
    /* Taken back, it is given back. */
    atomic_store(&scarce->gate->part, PART_SHARE);
    WAIT_FOR(!scarce->gate->whole && scarce->gate->slots == 0);
    receiver_let_go();
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 6);
    assert_int_equal(receiver.most_waiting, 1);
    subscription_unref(&shared);
    subscription_unref(&scarce);
}

/* Starts are even, also while the lane has nothing else to do; first attempts and rows take turns. */
static void test_a_rate_is_kept(void **state) {
    (void)state;
    enum { EVENTS = 30, PER_SECOND = 50 };
    char url[128];
    bench_url("/200", url, sizeof(url));
    struct subscription_spec spec = fixture_spec(1, url);
    spec.rate_per_second = PER_SECOND;
    struct subscription *subscription = fixture_subscription_of(&spec, NULL);
    int64_t began_ms = clock_mono_ms();
    for (int64_t offset = 0; offset < EVENTS; offset++)
        bench_deliver(offset, subscription, NULL);
    for (int64_t offset = EVENTS; offset < 2 * EVENTS; offset++)
        bench_deliver_row(fixture_row(offset, subscription));
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) >= EVENTS);
    int64_t took_ms = clock_mono_ms() - began_ms;
    assert_in_range(took_ms, 1000 * (EVENTS - 1) / PER_SECOND - ENDPOINT_RATE_TOLERANCE_MS, 10000);
    int rows = 0;
    for (int64_t offset = EVENTS; offset < 2 * EVENTS; offset++)
        rows += outcomes_of(OUTCOME_ATTEMPTED, offset);
    assert_in_range(rows, EVENTS / 2 - 1, EVENTS / 2 + 1);
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 2 * EVENTS);
    struct delivery *delivery;
    int64_t before_ms = INT64_MIN / 2;
    TAILQ_FOREACH (delivery, &recorder.outcomes, link) {
        assert_true(delivery->started_ms - before_ms >= 1000 / PER_SECOND - ENDPOINT_RATE_TOLERANCE_MS);
        before_ms = delivery->started_ms;
    }
    bench_expect_empty(subscription);
    subscription_unref(&subscription);
}

/* Nobody knows how many share a limit: nothing with a limit starts, everything else goes on. */
static void test_without_a_look_at_the_others_no_limit_is_used(void **state) {
    (void)state;
    struct subscription *limited = bench_subscription(1, "/200", 5), *free_one = bench_subscription(2, "/200", 0);
    atomic_store(&bench.pulse.looked_ms, clock_mono_ms() - PULSE_LOOK_LIMIT_MS);
    bench_deliver(1, limited, NULL);
    bench_deliver(2, free_one, NULL);
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, 2) == 1);
    assert_int_equal(outcomes_all(), 1);
    assert_false(limited->gate->held);
    atomic_store(&bench.pulse.looked_ms, clock_mono_ms() + 3600 * 1000);
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, 1) == 1);
    bench_expect_empty(limited);
    subscription_unref(&limited);
    subscription_unref(&free_one);
}

/* Rule S5: intake's part of what is held goes to the schedule; a row is what the holder drains. */
static void test_a_held_gate_lets_only_rows_through(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/200", 0);
    subscription->gate->held = true;
    bench_deliver(1, subscription, NULL);
    bench_deliver_row(fixture_row(2, subscription));
    WAIT_FOR(outcomes_all() == 2);
    assert_int_equal(outcomes_of(OUTCOME_PARKED, 1), 1);
    struct delivery *row = outcome_of(OUTCOME_ATTEMPTED, 2);
    assert_true(row->has_row);
    assert_null(row->taken);
    assert_false(row->parked_in_flight);
    assert_int_equal(receiver.arrived, 1);
    bench_expect_empty(subscription);
    subscription_unref(&subscription);
}

static void test_a_paused_subscription_gets_nothing_more(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/hold", 1);
    struct subscription *paused = fixture_next_version(subscription, SUBSCRIPTION_PAUSED);
    for (int64_t offset = 0; offset < 5; offset++)
        bench_deliver(offset, subscription, NULL);
    WAIT_FOR(receiver.waiting == 1);
    bench_tell(subscription_message_new(MESSAGE_SUBSCRIPTION, paused));
    WAIT_FOR(outcomes_of(OUTCOME_CANCELLED, -1) == 4);
    bench_deliver(5, subscription, NULL); /* intake did not know yet */
    bench_deliver_row(fixture_row(6, subscription));
    WAIT_FOR(outcomes_of(OUTCOME_CANCELLED, -1) == 6);
    assert_int_equal(outcomes_of(OUTCOME_ATTEMPTED, -1), 0);
    receiver_let_go();
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, 0) == 1); /* what was under way has its answer */
    assert_int_equal(receiver.arrived, 1);
    bench_expect_empty(subscription);
    subscription_unref(&paused);
    subscription_unref(&subscription);
}

static void test_what_waits_is_sent_by_the_newest_version(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/hold", 1);
    struct subscription *newer = fixture_next_version(subscription, SUBSCRIPTION_ACTIVE);
    bench_deliver(0, subscription, NULL);
    bench_deliver(1, subscription, NULL);
    WAIT_FOR(receiver.waiting == 1);
    bench_tell(subscription_message_new(MESSAGE_SUBSCRIPTION, newer));
    bench_tell(subscription_message_new(MESSAGE_SUBSCRIPTION, subscription)); /* comes late, and changes nothing */
    receiver_let_go();
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 2);
    assert_int_equal(outcome_of(OUTCOME_ATTEMPTED, 0)->subscription->version, 1);
    assert_int_equal(outcome_of(OUTCOME_ATTEMPTED, 1)->subscription->version, 2);
    bench_expect_empty(subscription);
    subscription_unref(&newer);
    subscription_unref(&subscription);
}

/* Rule S5. */
static void test_parking_a_slow_endpoint(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/hold", 2);
    struct partition *partition = fixture_partition();
    for (int64_t offset = 0; offset < 6; offset++)
        bench_deliver(offset, subscription, partition);
    WAIT_FOR(receiver.waiting == 2);
    bench_deliver_row(fixture_row(6, subscription));
    wait_until(clock_mono_ms() + LONGER_THAN_SLOW_MS);
    bench_tell(subscription_message_new(MESSAGE_PARK, subscription));
    WAIT_FOR(outcomes_all() == 7);
    assert_int_equal(outcomes_of(OUTCOME_PARKED, -1), 5);
    assert_int_equal(outcomes_of(OUTCOME_PARKED, 6), 1); /* a row that waits too */
    assert_int_equal(outcomes_of(OUTCOME_LEASED, -1), 2);
    assert_true(subscription->gate->held);
    for (int64_t offset = 0; offset < 2; offset++) {
        struct delivery *leased = outcome_of(OUTCOME_LEASED, offset);
        assert_ptr_equal(leased->taken, bench_taken(offset));
        assert_int_equal(leased->slot, offset);
        assert_false(leased->has_row);
    }
    assert_int_equal(lane_waiting(bench.lane), 2); /* two answers are still to come */
    assert_int_equal(subscription->gate->queued, 0);
    bench_tell(subscription_message_new(MESSAGE_PARK, subscription)); /* once is enough */
    receiver_let_go();
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 2);
    for (int64_t offset = 0; offset < 2; offset++) {
        struct delivery *answer = outcome_of(OUTCOME_ATTEMPTED, offset);
        assert_int_equal(answer->decision.action, RETRY_DONE);
        assert_true(answer->has_row && answer->parked_in_flight);
        assert_null(answer->taken);
        assert_int_equal(answer->fence, 1); /* as its row was written */
    }
    assert_int_equal(outcomes_all(), 9);
    bench_expect_empty(subscription);
    partition_unref(&partition);
    subscription_unref(&subscription);
}

/* Endpoints not known yet count as quick, and take all places of quick ones: they give them back as they hang, and
 * neither the rest of them nor one that answers is forgotten. */
static void test_those_that_hang_give_their_places_back(void **state) {
    (void)state;
    struct subscription *hanging[60], *answering = bench_subscription(100, "/200", 0);
    for (int i = 0; i < 60; i++) {
        hanging[i] = bench_subscription(i + 1, "/hold", 0);
        bench_deliver(2 * i, hanging[i], NULL);
        bench_deliver(2 * i + 1, hanging[i], NULL);
    }
    bench_deliver(500, answering, NULL);
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, 500) == 1);
    WAIT_FOR(receiver.waiting == 120);
    assert_int_equal(outcomes_all(), 1);
    receiver_let_go();
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 121);
    for (int i = 0; i < 60; i++) {
        bench_expect_empty(hanging[i]);
        subscription_unref(&hanging[i]);
    }
    bench_expect_empty(answering);
    subscription_unref(&answering);
}

static void test_an_endpoint_that_answers_is_not_parked(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/200", 0), *stranger = bench_subscription(2, "/200", 0);
    bench_deliver(0, subscription, NULL);
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, 0) == 1);
    bench_tell(subscription_message_new(MESSAGE_PARK, subscription));
    bench_tell(subscription_message_new(MESSAGE_PARK, stranger)); /* not known here */
    bench_deliver(1, subscription, NULL);
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, 1) == 1);
    assert_false(subscription->gate->held);
    assert_int_equal(outcomes_all(), 2);
    subscription_unref(&stranger);
    subscription_unref(&subscription);
}

/* Nobody has to ask for it. */
static void test_a_queue_that_waits_too_long_parks_itself(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/hold", 1);
    int64_t began_ms = clock_mono_ms();
    bench_deliver(0, subscription, NULL);
    bench_deliver(1, subscription, NULL);
    WAIT_FOR(subscription->gate->behind);
    assert_true(clock_mono_ms() - began_ms >= 1000);
    assert_false(subscription->gate->held);
    WAIT_FOR(subscription->gate->held);
    assert_true(clock_mono_ms() - began_ms >= 2000);
    WAIT_FOR(outcomes_all() == 2);
    assert_int_equal(outcomes_of(OUTCOME_LEASED, 0), 1);
    assert_int_equal(outcomes_of(OUTCOME_PARKED, 1), 1);
    WAIT_FOR(!subscription->gate->behind);
    receiver_let_go();
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, 0) == 1);
    bench_expect_empty(subscription);
    subscription_unref(&subscription);
}

/* Rule P7. */
static void test_partitions_that_go_take_their_deliveries_along(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/hold", 1);
    struct partition *going = fixture_partition(), *staying = fixture_partition();
    bench_deliver(0, subscription, going);
    WAIT_FOR(receiver.waiting == 1);
    bench_deliver(1, subscription, going);
    bench_deliver(2, subscription, staying);
    bench_deliver(3, subscription, going);
    going->revoked = true;
    bench_tell(message_new(MESSAGE_RELEASE));
    WAIT_FOR(outcomes_all() == 3);
    assert_int_equal(outcomes_of(OUTCOME_LEASED, 0), 1);
    assert_int_equal(outcomes_of(OUTCOME_PARKED, 1), 1);
    assert_int_equal(outcomes_of(OUTCOME_PARKED, 3), 1);
    assert_false(subscription->gate->held); /* nothing is wrong with the endpoint */
    assert_int_equal(lane_waiting(bench.lane), 2);
    receiver_let_go();
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 2);
    assert_true(outcome_of(OUTCOME_ATTEMPTED, 0)->parked_in_flight);
    assert_false(outcome_of(OUTCOME_ATTEMPTED, 2)->has_row);
    bench_deliver(4, subscription, going); /* was on its way here */
    WAIT_FOR(outcomes_of(OUTCOME_PARKED, 4) == 1);
    assert_int_equal(receiver.arrived, 2);
    bench_expect_empty(subscription);
    partition_unref(&going);
    partition_unref(&staying);
    subscription_unref(&subscription);
}

/* Rule P8: a process that does not know whether it still owns anything sends nothing. */
static void test_without_a_pulse_nothing_starts(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/200", 0);
    pulse_stops();
    bench_deliver(0, subscription, NULL);
    bench_deliver_row(fixture_row(1, subscription));
    int64_t began_ms = clock_mono_ms();
    WAIT_FOR(outcomes_all() > 0 || clock_mono_ms() - began_ms > 250);
    assert_int_equal(outcomes_all(), 0);
    assert_int_equal(receiver.arrived, 0);
    assert_int_equal(lane_waiting(bench.lane), 2);
    pulse_beats();
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) == 2);
    bench_expect_empty(subscription);
    subscription_unref(&subscription);
}

static void test_a_row_whose_lease_is_over_is_another_ones(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/200", 0);
    struct delivery *late = fixture_row(0, subscription);
    late->lease_deadline_ms = clock_mono_ms() - 1;
    bench_deliver_row(late);
    bench_deliver_row(fixture_row(1, subscription));
    WAIT_FOR(outcomes_all() == 2);
    assert_int_equal(outcomes_of(OUTCOME_DROPPED, 0), 1);
    assert_int_equal(outcomes_of(OUTCOME_ATTEMPTED, 1), 1);
    assert_int_equal(receiver.arrived, 1);
    bench_expect_empty(subscription);
    subscription_unref(&subscription);
}

/* A port that nobody listens on. */
static int closed_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void test_an_open_circuit_sends_the_rest_to_the_schedule(void **state) {
    (void)state;
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", closed_port());
    struct subscription *subscription = fixture_subscription(1, url);
    enum { EVENTS = 40 };
    for (int64_t offset = 0; offset < EVENTS; offset++)
        bench_deliver(offset, subscription, NULL);
    WAIT_FOR(outcomes_of(OUTCOME_ATTEMPTED, -1) + outcomes_of(OUTCOME_PARKED, -1) == EVENTS);
    assert_true(subscription->gate->held);
    assert_true(outcomes_of(OUTCOME_ATTEMPTED, -1) >= ENDPOINT_NETWORK_FAILURES);
    assert_true(outcomes_of(OUTCOME_PARKED, -1) >= EVENTS / 2);
    struct delivery *delivery = outcome_of(OUTCOME_ATTEMPTED, 0);
    assert_int_equal(delivery->result, CLIENT_CONNECT);
    assert_int_equal(delivery->decision.action, RETRY_AGAIN);
    WAIT_FOR(subscription->gate->slots == 0);
    bench_expect_empty(subscription);
    /* A second later one row may try it. */
    WAIT_FOR(subscription->gate->slots == 1);
    subscription_unref(&subscription);
}

/* Nothing is leaked, and nobody calls back into what is gone. */
static void test_stopping_cuts_off_what_is_under_way(void **state) {
    (void)state;
    struct subscription *subscription = bench_subscription(1, "/hold", 2);
    struct partition *partition = fixture_partition();
    for (int64_t offset = 0; offset < 5; offset++)
        bench_deliver(offset, subscription, partition);
    WAIT_FOR(receiver.waiting == 2);
    lane_stop(bench.lane);
    bench_deliver(5, subscription, partition); /* too late */
    bench_tell(subscription_message_new(MESSAGE_PARK, subscription));
    lane_free(&bench.lane);
    assert_null(bench.lane);
    assert_int_equal(outcomes_all(), 0);
    assert_int_equal(subscription->refs, 1);
    assert_int_equal(partition->refs, 1);
    partition_unref(&partition);
    subscription_unref(&subscription);
}

#define LANE_TEST(test) cmocka_unit_test_setup_teardown(test, bench_open, bench_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        LANE_TEST(test_what_is_pushed_is_delivered),
        LANE_TEST(test_a_failure_is_tried_again_by_the_schedule),
        LANE_TEST(test_what_cannot_be_made_fails_and_sends_nothing),
        LANE_TEST(test_no_more_under_way_than_the_cap),
        LANE_TEST(test_processes_share_a_limit),
        LANE_TEST(test_a_rate_is_kept),
        LANE_TEST(test_without_a_look_at_the_others_no_limit_is_used),
        LANE_TEST(test_a_held_gate_lets_only_rows_through),
        LANE_TEST(test_a_paused_subscription_gets_nothing_more),
        LANE_TEST(test_what_waits_is_sent_by_the_newest_version),
        LANE_TEST(test_parking_a_slow_endpoint),
        LANE_TEST(test_those_that_hang_give_their_places_back),
        LANE_TEST(test_an_endpoint_that_answers_is_not_parked),
        LANE_TEST(test_a_queue_that_waits_too_long_parks_itself),
        LANE_TEST(test_partitions_that_go_take_their_deliveries_along),
        LANE_TEST(test_without_a_pulse_nothing_starts),
        LANE_TEST(test_a_row_whose_lease_is_over_is_another_ones),
        LANE_TEST(test_an_open_circuit_sends_the_rest_to_the_schedule),
        LANE_TEST(test_stopping_cuts_off_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
