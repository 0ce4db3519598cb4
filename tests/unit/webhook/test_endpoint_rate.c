#include "webhook/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define MAX_STARTS 400000

static int64_t starts[MAX_STARTS]; /* ms */
static int start_count;

static struct endpoint with_rate(int32_t per_second, int32_t processes) {
    struct endpoint endpoint;
    endpoint_init(&endpoint, 1000);
    endpoint_set_rate(&endpoint, per_second, processes);
    start_count = 0;
    return endpoint;
}

/* One that answers at once, and always has something waiting. */
static void run_round(struct endpoint *endpoint, int64_t now_ms) {
    while (endpoint_slots(endpoint, now_ms) > 0) {
        assert_true(start_count < MAX_STARTS);
        starts[start_count++] = now_ms;
        endpoint_started(endpoint, now_ms);
        endpoint_ended(endpoint, SIGN_GOOD, now_ms);
    }
}

/* A lane that is woken at its time, late_ms too late. */
static void run(struct endpoint *endpoint, int64_t from_ms, int64_t to_ms, int64_t late_ms) {
    for (int64_t now_ms = from_ms; now_ms < to_ms;) {
        run_round(endpoint, now_ms);
        int64_t wake_ms = endpoint_wake_ms(endpoint);
        assert_true(wake_ms > now_ms);
        now_ms = wake_ms + late_ms;
    }
}

static int most_within(int64_t window_ms) {
    int most = 0;
    for (int first = 0, last = 0; last < start_count; last++) {
        while (starts[last] - starts[first] >= window_ms)
            first++;
        if (last - first + 1 > most)
            most = last - first + 1;
    }
    return most;
}

static void starts_are_spaced_evenly(void **state) {
    (void)state;
    struct endpoint endpoint = with_rate(50, 1);
    run(&endpoint, 5000, 25000, 0);
    assert_in_range(start_count, 1000, 1001);
    for (int i = 2; i < start_count; i++)
        assert_int_equal(starts[i] - starts[i - 1], 20);
    assert_true(most_within(100) <= 6);
    assert_true(most_within(1000) <= 51);
}

static void late_rounds_lose_nothing_and_make_no_burst(void **state) {
    (void)state;
    for (int64_t late_ms = 0; late_ms <= ENDPOINT_RATE_TOLERANCE_MS; late_ms++) {
        struct endpoint endpoint = with_rate(50, 1);
        run(&endpoint, 0, 20000, late_ms);
        assert_in_range(start_count, 999, 1001);
        assert_true(most_within(100) <= 6);
    }
    /* Now early, now late. */
    struct endpoint endpoint = with_rate(50, 1);
    uint32_t random = 1;
    for (int64_t now_ms = 0; now_ms < 20000;) {
        run_round(&endpoint, now_ms);
        random = random * 1664525U + 1013904223U;
        now_ms = endpoint_wake_ms(&endpoint) + (int64_t)((random >> 16) % (ENDPOINT_RATE_TOLERANCE_MS + 1));
    }
    assert_in_range(start_count, 999, 1001);
    assert_true(most_within(100) <= 6);
}

static void a_pause_is_not_made_up_for(void **state) {
    (void)state;
    struct endpoint endpoint = with_rate(50, 1);
    run(&endpoint, 0, 1000, 0);
    start_count = 0;
    run(&endpoint, 3601000, 3602000, 0); /* an hour later */
    assert_in_range(start_count, 50, 51);
    assert_true(most_within(100) <= 6);
    start_count = 0;
    run(&endpoint, 3602500, 3603000, 0); /* half a second later */
    assert_in_range(start_count, 25, 26);
    assert_true(most_within(100) <= 6);
}

static void shares_may_be_fractions(void **state) {
    (void)state;
    struct endpoint endpoint = with_rate(50, 3);
    run(&endpoint, 0, 60000, 0);
    assert_in_range(start_count, 1000, 1001);
    assert_true(most_within(1000) <= 17);
    endpoint = with_rate(1, 7);
    run(&endpoint, 0, 70000, 0);
    assert_in_range(start_count, 10, 11);
    for (int i = 2; i < start_count; i++)
        assert_int_equal(starts[i] - starts[i - 1], 7000);
}

static void high_rates_are_exact(void **state) {
    (void)state;
    const struct { int32_t per_second, processes; } rates[] = {{1000, 1}, {30000, 1}, {100000, 1}, {100000, 3}};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct endpoint endpoint = with_rate(rates[i].per_second, rates[i].processes);
        int32_t in_a_second = rates[i].per_second / rates[i].processes;
        int32_t at_once = in_a_second * ENDPOINT_RATE_TOLERANCE_MS / 1000;
        for (int64_t now_ms = 0; now_ms < 3000; now_ms++)
            run_round(&endpoint, now_ms);
        assert_in_range(start_count, 3 * in_a_second - in_a_second / 1000, 3 * in_a_second + at_once + 2);
        assert_true(most_within(100) <= in_a_second / 10 + at_once + 2);
    }
}

static void cap_and_rate_both_count(void **state) {
    (void)state;
    struct endpoint endpoint = with_rate(1000, 1);
    endpoint_set_max(&endpoint, 2);
    assert_int_equal(endpoint_slots(&endpoint, 0), 2);
    endpoint_started(&endpoint, 0);
    endpoint_started(&endpoint, 0);
    assert_int_equal(endpoint_slots(&endpoint, 1000), 0);
    assert_int_equal(endpoint_wake_ms(&endpoint), -1); /* only an answer helps */
    endpoint_ended(&endpoint, SIGN_GOOD, 1000);
    assert_int_equal(endpoint_slots(&endpoint, 1000), 1);
    endpoint_set_rate(&endpoint, 0, 1);
    assert_int_equal(endpoint_rate_room(&endpoint, 1000, 0), INT32_MAX);
    assert_false(endpoint_rate_is_spent(&endpoint, 1000));
    assert_int_equal(endpoint_slots(&endpoint, 1000), 1);
}

static void says_when_and_how_many(void **state) {
    (void)state;
    struct endpoint endpoint = with_rate(50, 1);
    assert_int_equal(endpoint_rate_room(&endpoint, 100, 200), 11);
    assert_false(endpoint_rate_is_spent(&endpoint, 100));
    endpoint_started(&endpoint, 100);
    assert_true(endpoint_rate_is_spent(&endpoint, 119));
    assert_false(endpoint_rate_is_spent(&endpoint, 120));
    assert_int_equal(endpoint_wake_ms(&endpoint), 120 - ENDPOINT_RATE_TOLERANCE_MS);
    assert_int_equal(endpoint_slots(&endpoint, 120 - ENDPOINT_RATE_TOLERANCE_MS - 1), 0);
    assert_int_equal(endpoint_slots(&endpoint, 120 - ENDPOINT_RATE_TOLERANCE_MS), 1);
    assert_int_equal(endpoint_rate_room(&endpoint, 100, 200), 10);
}

static void a_probe_waits_for_the_rate_too(void **state) {
    (void)state;
    struct endpoint endpoint = with_rate(1, 10); /* one in ten seconds */
    for (int i = 0; i < ENDPOINT_NETWORK_FAILURES; i++) {
        endpoint_started(&endpoint, i * 10000);
        endpoint_ended(&endpoint, SIGN_DOWN, i * 10000);
    }
    int64_t last_ms = (ENDPOINT_NETWORK_FAILURES - 1) * 10000;
    assert_int_equal(endpoint.state, ENDPOINT_OPEN);
    assert_int_equal(endpoint_slots(&endpoint, last_ms + ENDPOINT_FIRST_PAUSE_MS), 0);
    assert_int_equal(endpoint_wake_ms(&endpoint), last_ms + 10000 - ENDPOINT_RATE_TOLERANCE_MS);
    assert_int_equal(endpoint_slots(&endpoint, endpoint_wake_ms(&endpoint)), 1);
    endpoint_set_rate(&endpoint, 1000, 1);
    assert_int_equal(endpoint_wake_ms(&endpoint), last_ms + ENDPOINT_FIRST_PAUSE_MS);
}

/* From the start before: a slower rate waits longer at once, a quicker one less. */
static void a_new_rate_counts_from_the_last_start(void **state) {
    (void)state;
    struct endpoint endpoint = with_rate(50, 1);
    run(&endpoint, 0, 10000, 0);
    int64_t last_ms = starts[start_count - 1];
    endpoint_set_rate(&endpoint, 50, 3);
    assert_in_range(endpoint_wake_ms(&endpoint), last_ms + 59 - ENDPOINT_RATE_TOLERANCE_MS, last_ms + 61);
    endpoint_set_rate(&endpoint, 50, 3);
    endpoint_set_rate(&endpoint, 50, 1);
    assert_in_range(endpoint_wake_ms(&endpoint), last_ms + 19 - ENDPOINT_RATE_TOLERANCE_MS, last_ms + 21);
    /* To and fro gains nothing. */
    start_count = 0;
    for (int64_t now_ms = 20000; now_ms < 30000; now_ms++) {
        endpoint_set_rate(&endpoint, 50, 1 + (int32_t)(now_ms / 7 % 3));
        run_round(&endpoint, now_ms);
    }
    assert_true(start_count <= 501);
    assert_true(most_within(100) <= 6);
}

static void who_is_barred_starts_nothing(void **state) {
    (void)state;
    struct endpoint endpoint = with_rate(50, 1);
    endpoint_started(&endpoint, 0);
    endpoint_bar(&endpoint, true);
    assert_int_equal(endpoint_slots(&endpoint, 1000), 0);
    assert_int_equal(endpoint_wake_ms(&endpoint), -1);
    endpoint_ended(&endpoint, SIGN_GOOD, 1000);
    assert_int_equal(endpoint_slots(&endpoint, 1000), 0);
    endpoint_bar(&endpoint, false);
    assert_int_equal(endpoint_slots(&endpoint, 1000), 1);
    for (int i = 0; i < ENDPOINT_NETWORK_FAILURES; i++) {
        endpoint_started(&endpoint, 2000 + i * 20);
        endpoint_ended(&endpoint, SIGN_DOWN, 2000 + i * 20);
    }
    endpoint_bar(&endpoint, true);
    assert_int_equal(endpoint_slots(&endpoint, 10000), 0);
    assert_int_equal(endpoint_wake_ms(&endpoint), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_are_spaced_evenly),
        cmocka_unit_test(late_rounds_lose_nothing_and_make_no_burst),
        cmocka_unit_test(a_pause_is_not_made_up_for),
        cmocka_unit_test(shares_may_be_fractions),
        cmocka_unit_test(high_rates_are_exact),
        cmocka_unit_test(cap_and_rate_both_count),
        cmocka_unit_test(says_when_and_how_many),
        cmocka_unit_test(a_probe_waits_for_the_rate_too),
        cmocka_unit_test(a_new_rate_counts_from_the_last_start),
        cmocka_unit_test(who_is_barred_starts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
