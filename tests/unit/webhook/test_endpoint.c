#include "webhook/endpoint.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void start(struct endpoint *endpoint, int count, int64_t now_ms) {
    for (int i = 0; i < count; i++) {
        endpoint_started(endpoint, now_ms);
    }
}

static void end(struct endpoint *endpoint, enum endpoint_sign sign, int count, int64_t now_ms) {
    for (int i = 0; i < count; i++) {
        endpoint_ended(endpoint, sign, now_ms);
    }
}

/* One after another, each under way alone. */
static void one_by_one(struct endpoint *endpoint, enum endpoint_sign sign, int count, int64_t now_ms) {
    for (int i = 0; i < count; i++) {
        start(endpoint, 1, now_ms);
        end(endpoint, sign, 1, now_ms);
    }
}

static struct endpoint opened(int64_t now_ms) {
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    one_by_one(&endpoint, SIGN_DOWN, ENDPOINT_NETWORK_FAILURES, now_ms);
    assert_int_equal(endpoint.state, ENDPOINT_OPEN);
    return endpoint;
}

/* What a program that breaks a CHECK dies of. */
static int signal_of(void (*function)(void)) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);
        function();
        _exit(0);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    return WIFSIGNALED(how) ? WTERMSIG(how) : 0;
}

static void begins_closed_with_a_modest_cap(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    assert_int_equal(endpoint.state, ENDPOINT_CLOSED);
    assert_int_equal(endpoint_slots(&endpoint, 0), ENDPOINT_START_CAP);
    assert_int_equal(endpoint_wake_ms(&endpoint), -1);
    endpoint_init(&endpoint, 3);
    assert_int_equal(endpoint_slots(&endpoint, 0), 3);
    endpoint_init(&endpoint, 0);
    assert_int_equal(endpoint.max_in_flight, ENDPOINT_DEFAULT_MAX_IN_FLIGHT);
}

static void what_is_under_way_takes_slots(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    start(&endpoint, 8, 0);
    assert_int_equal(endpoint_slots(&endpoint, 0), 0);
    end(&endpoint, SIGN_NONE, 3, 1);
    assert_int_equal(endpoint_slots(&endpoint, 1), 3);
    assert_int_equal(endpoint.cap, 8);
}

static void doubles_by_the_round_until_the_first_cut(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 40);
    start(&endpoint, 8, 0);
    end(&endpoint, SIGN_GOOD, 8, 10);
    assert_int_equal(endpoint.cap, 16);
    start(&endpoint, 16, 10);
    end(&endpoint, SIGN_GOOD, 16, 20);
    assert_int_equal(endpoint.cap, 32);
    start(&endpoint, 32, 20);
    end(&endpoint, SIGN_GOOD, 32, 30);
    assert_int_equal(endpoint.cap, 40);
}

static void grows_by_one_a_round_after_the_first_cut(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    one_by_one(&endpoint, SIGN_SLOW_DOWN, 1, 0);
    assert_int_equal(endpoint.cap, 4);
    start(&endpoint, 4, 10);
    end(&endpoint, SIGN_GOOD, 3, 20);
    assert_int_equal(endpoint.cap, 4);
    end(&endpoint, SIGN_GOOD, 1, 20);
    assert_int_equal(endpoint.cap, 5);
    one_by_one(&endpoint, SIGN_GOOD, 4, 30);
    assert_int_equal(endpoint.cap, 5);
    one_by_one(&endpoint, SIGN_GOOD, 1, 30);
    assert_int_equal(endpoint.cap, 6);
}

static void a_burst_of_bad_answers_cuts_once(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    start(&endpoint, 8, 0);
    end(&endpoint, SIGN_SLOW_DOWN, 8, 100);
    assert_int_equal(endpoint.cap, 4);
    assert_int_equal(endpoint.state, ENDPOINT_CLOSED);
    /* What was started after the cut may cut again, however soon. */
    start(&endpoint, 4, 101);
    end(&endpoint, SIGN_SLOW_DOWN, 4, 102);
    assert_int_equal(endpoint.cap, 2);
}

static void a_burst_ends_by_time_too(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    start(&endpoint, 8, 0);
    end(&endpoint, SIGN_SLOW_DOWN, 2, 100);
    assert_int_equal(endpoint.cap, 4);
    end(&endpoint, SIGN_SLOW_DOWN, 1, 100 + ENDPOINT_BURST_MS - 1);
    assert_int_equal(endpoint.cap, 4);
    end(&endpoint, SIGN_SLOW_DOWN, 1, 100 + ENDPOINT_BURST_MS);
    assert_int_equal(endpoint.cap, 2);
}

static void over_the_cap_nothing_starts(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    start(&endpoint, 8, 0);
    end(&endpoint, SIGN_SLOW_DOWN, 1, 100);
    assert_int_equal(endpoint.in_flight, 7);
    assert_int_equal(endpoint_slots(&endpoint, 100), 0);
    end(&endpoint, SIGN_NONE, 4, 100);
    assert_int_equal(endpoint_slots(&endpoint, 100), 1);
}

static void three_bad_answers_at_one_open(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 1);
    one_by_one(&endpoint, SIGN_SLOW_DOWN, 2, 0);
    one_by_one(&endpoint, SIGN_GOOD, 1, 0); /* not in a row */
    one_by_one(&endpoint, SIGN_SLOW_DOWN, 1, 0);
    one_by_one(&endpoint, SIGN_DOWN, 1, 0);
    one_by_one(&endpoint, SIGN_NONE, 1, 0); /* says nothing */
    assert_int_equal(endpoint.state, ENDPOINT_CLOSED);
    one_by_one(&endpoint, SIGN_SLOW_DOWN, 1, 500);
    assert_int_equal(endpoint.state, ENDPOINT_OPEN);
    assert_int_equal(endpoint.cap, 0);
    assert_int_equal(endpoint_slots(&endpoint, 1499), 0);
    assert_int_equal(endpoint_wake_ms(&endpoint), 1500);
}

static void the_burst_that_cut_to_one_does_not_open(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    one_by_one(&endpoint, SIGN_SLOW_DOWN, 1, 0);
    start(&endpoint, 4, 0);
    end(&endpoint, SIGN_SLOW_DOWN, 4, 5);
    assert_int_equal(endpoint.cap, 2);
    start(&endpoint, 2, 5);
    end(&endpoint, SIGN_SLOW_DOWN, 2, 10);
    assert_int_equal(endpoint.cap, 1);
    one_by_one(&endpoint, SIGN_SLOW_DOWN, 2, 20);
    assert_int_equal(endpoint.state, ENDPOINT_CLOSED);
    one_by_one(&endpoint, SIGN_SLOW_DOWN, 1, 20);
    assert_int_equal(endpoint.state, ENDPOINT_OPEN);
}

static void five_network_failures_open_at_any_cap(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    one_by_one(&endpoint, SIGN_DOWN, 4, 0);
    one_by_one(&endpoint, SIGN_SLOW_DOWN, 1, 0); /* an answer, if a bad one */
    one_by_one(&endpoint, SIGN_DOWN, 4, 0);
    one_by_one(&endpoint, SIGN_GOOD, 1, 0);
    one_by_one(&endpoint, SIGN_DOWN, 4, 0);
    assert_int_equal(endpoint.state, ENDPOINT_CLOSED);
    assert_true(endpoint.cap > 1);
    one_by_one(&endpoint, SIGN_DOWN, 1, 0);
    assert_int_equal(endpoint.state, ENDPOINT_OPEN);
}

static void what_ends_while_open_changes_nothing(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    start(&endpoint, 8, 0);
    end(&endpoint, SIGN_DOWN, 5, 0);
    assert_int_equal(endpoint.state, ENDPOINT_OPEN);
    end(&endpoint, SIGN_DOWN, 1, 10);
    end(&endpoint, SIGN_GOOD, 1, 10);
    end(&endpoint, SIGN_SLOW_DOWN, 1, 10);
    assert_int_equal(endpoint.state, ENDPOINT_OPEN);
    assert_int_equal(endpoint_wake_ms(&endpoint), 1000);
}

static void one_probe_when_the_pause_is_over(void **state) {
    (void)state;
    struct endpoint endpoint = opened(0);
    assert_int_equal(endpoint_slots(&endpoint, 999), 0);
    assert_int_equal(endpoint_slots(&endpoint, 1000), 1);
    start(&endpoint, 1, 1000);
    assert_int_equal(endpoint.state, ENDPOINT_HALF_OPEN);
    assert_int_equal(endpoint_slots(&endpoint, 100000), 0);
    assert_int_equal(endpoint_wake_ms(&endpoint), -1);
}

static void a_probe_starts_though_others_hang(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    start(&endpoint, 8, 0);
    end(&endpoint, SIGN_DOWN, 5, 0);
    assert_int_equal(endpoint.in_flight, 3);
    assert_int_equal(endpoint_slots(&endpoint, 1000), 1);
    start(&endpoint, 1, 1000);
    assert_int_equal(endpoint_slots(&endpoint, 1000), 0);
    /* One of those that hung answers well: that tells as much as the probe. */
    end(&endpoint, SIGN_GOOD, 1, 1100);
    assert_int_equal(endpoint.state, ENDPOINT_CLOSED);
    assert_int_equal(endpoint_slots(&endpoint, 1100), 0);
    end(&endpoint, SIGN_NONE, 3, 1200);
    assert_int_equal(endpoint_slots(&endpoint, 1200), 1);
}

static void a_good_probe_closes_and_the_cap_starts_again(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    one_by_one(&endpoint, SIGN_SLOW_DOWN, 1, 0); /* a cut ends slow start, until the circuit was open */
    one_by_one(&endpoint, SIGN_DOWN, ENDPOINT_NETWORK_FAILURES, 0);
    start(&endpoint, 1, 1000);
    end(&endpoint, SIGN_GOOD, 1, 1010);
    assert_int_equal(endpoint.state, ENDPOINT_CLOSED);
    assert_int_equal(endpoint.cap, 1);
    start(&endpoint, 1, 1010);
    end(&endpoint, SIGN_GOOD, 1, 1020);
    start(&endpoint, 2, 1020);
    end(&endpoint, SIGN_GOOD, 2, 1030);
    assert_int_equal(endpoint.cap, 4);
    /* The next circuit opens for a short time again. */
    one_by_one(&endpoint, SIGN_DOWN, ENDPOINT_NETWORK_FAILURES, 2000);
    assert_int_equal(endpoint_wake_ms(&endpoint), 2000 + ENDPOINT_FIRST_PAUSE_MS);
}

static void bad_probes_double_the_pause_up_to_a_minute(void **state) {
    (void)state;
    struct endpoint endpoint = opened(0);
    int64_t now_ms = 0;
    const int64_t pauses_ms[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
    for (size_t i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++) {
        assert_int_equal(endpoint_wake_ms(&endpoint), now_ms + pauses_ms[i]);
        now_ms += pauses_ms[i];
        start(&endpoint, 1, now_ms);
        end(&endpoint, i % 2 ? SIGN_DOWN : SIGN_SLOW_DOWN, 1, now_ms);
        assert_int_equal(endpoint.state, ENDPOINT_OPEN);
    }
}

static void a_probe_that_says_nothing_is_made_again(void **state) {
    (void)state;
    struct endpoint endpoint = opened(0);
    start(&endpoint, 1, 1000);
    end(&endpoint, SIGN_NONE, 1, 1001);
    assert_int_equal(endpoint.state, ENDPOINT_HALF_OPEN);
    assert_int_equal(endpoint_slots(&endpoint, 1001), 1);
    start(&endpoint, 1, 1002);
    end(&endpoint, SIGN_GOOD, 1, 1003);
    assert_int_equal(endpoint.state, ENDPOINT_CLOSED);
}

static void a_new_maximum_is_kept_in_every_state(void **state) {
    (void)state;
    struct endpoint endpoint;
    endpoint_init(&endpoint, 64);
    endpoint_set_max(&endpoint, 2);
    assert_int_equal(endpoint_slots(&endpoint, 0), 2);
    one_by_one(&endpoint, SIGN_GOOD, 10, 0);
    assert_int_equal(endpoint.cap, 2);
    endpoint_set_max(&endpoint, 5);
    assert_int_equal(endpoint.cap, 2);
    one_by_one(&endpoint, SIGN_GOOD, 10, 0);
    assert_int_equal(endpoint.cap, 5);
    endpoint = opened(0);
    endpoint_set_max(&endpoint, 1);
    assert_int_equal(endpoint.cap, 0);
    start(&endpoint, 1, 1000);
    endpoint_set_max(&endpoint, 7);
    assert_int_equal(endpoint.cap, 1);
}

static void start_without_a_slot(void) {
    struct endpoint endpoint;
    endpoint_init(&endpoint, 1);
    start(&endpoint, 2, 0);
}

static void start_before_the_probe_is_due(void) {
    struct endpoint endpoint;
    endpoint_init(&endpoint, 1);
    one_by_one(&endpoint, SIGN_DOWN, 3, 0);
    start(&endpoint, 1, 999);
}

static void end_what_never_started(void) {
    struct endpoint endpoint;
    endpoint_init(&endpoint, 1);
    end(&endpoint, SIGN_NONE, 1, 0);
}

static void misuse_stops_the_program(void **state) {
    (void)state;
    assert_int_equal(signal_of(start_without_a_slot), SIGABRT);
    assert_int_equal(signal_of(start_before_the_probe_is_due), SIGABRT);
    assert_int_equal(signal_of(end_what_never_started), SIGABRT);
}

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

static bool move_allowed(enum endpoint_state from, enum endpoint_state to) {
    switch (from) {
    case ENDPOINT_CLOSED:
        return to == ENDPOINT_CLOSED || to == ENDPOINT_OPEN;
    case ENDPOINT_OPEN:
        return to == ENDPOINT_OPEN || to == ENDPOINT_HALF_OPEN;
    case ENDPOINT_HALF_OPEN:
        return true;
    }
    return false;
}

/* Whatever happens in whatever order: the count of what is under way is right, no more starts than the maximum, moves
 * are those of the diagram, and a closed or waiting endpoint always comes to a slot again. */
static void any_order_of_things_keeps_the_invariants(void **state) {
    (void)state;
    int moves[3][3] = {{0}};
    for (uint32_t seed = 1; seed <= 200; seed++) {
        uint32_t random = seed;
        int32_t max = 1 + (int32_t)(next_random(&random) % 20);
        struct endpoint endpoint;
        endpoint_init(&endpoint, max);
        int64_t now_ms = 0;
        int32_t under_way = 0;
        uint32_t health = 0;
        for (int step = 0; step < 2000; step++) {
            enum endpoint_state before = endpoint.state;
            now_ms += next_random(&random) % 400;
            if (step % 100 == 0) {
                health = next_random(&random) % 100;
            }
            if (step % 300 == 299) {
                max = 1 + (int32_t)(next_random(&random) % 20);
                endpoint_set_max(&endpoint, max);
            } else if (endpoint_slots(&endpoint, now_ms) > 0 && next_random(&random) % 3) {
                assert_true(under_way < max || before != ENDPOINT_CLOSED);
                endpoint_started(&endpoint, now_ms);
                under_way++;
            } else if (under_way > 0) {
                enum endpoint_sign bad[] = {SIGN_SLOW_DOWN, SIGN_DOWN, SIGN_NONE};
                bool good = next_random(&random) % 100 < health;
                endpoint_ended(&endpoint, good ? SIGN_GOOD : bad[next_random(&random) % 3], now_ms);
                under_way--;
            }
            moves[before][endpoint.state]++;
            assert_true(move_allowed(before, endpoint.state));
            assert_int_equal(endpoint.in_flight, under_way);
            assert_in_range(endpoint.cap, 0, max);
            assert_true(under_way > 0 || endpoint_slots(&endpoint, now_ms) > 0 || endpoint_wake_ms(&endpoint) > now_ms);
        }
    }
    assert_true(moves[ENDPOINT_CLOSED][ENDPOINT_OPEN] > 100 && moves[ENDPOINT_OPEN][ENDPOINT_HALF_OPEN] > 100);
    assert_true(moves[ENDPOINT_HALF_OPEN][ENDPOINT_OPEN] > 100 && moves[ENDPOINT_HALF_OPEN][ENDPOINT_CLOSED] > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_closed_with_a_modest_cap),
        cmocka_unit_test(what_is_under_way_takes_slots),
        cmocka_unit_test(doubles_by_the_round_until_the_first_cut),
        cmocka_unit_test(grows_by_one_a_round_after_the_first_cut),
        cmocka_unit_test(a_burst_of_bad_answers_cuts_once),
        cmocka_unit_test(a_burst_ends_by_time_too),
        cmocka_unit_test(over_the_cap_nothing_starts),
        cmocka_unit_test(three_bad_answers_at_one_open),
        cmocka_unit_test(the_burst_that_cut_to_one_does_not_open),
        cmocka_unit_test(five_network_failures_open_at_any_cap),
        cmocka_unit_test(what_ends_while_open_changes_nothing),
        cmocka_unit_test(one_probe_when_the_pause_is_over),
        cmocka_unit_test(a_probe_starts_though_others_hang),
        cmocka_unit_test(a_good_probe_closes_and_the_cap_starts_again),
        cmocka_unit_test(bad_probes_double_the_pause_up_to_a_minute),
        cmocka_unit_test(a_probe_that_says_nothing_is_made_again),
        cmocka_unit_test(a_new_maximum_is_kept_in_every_state),
        cmocka_unit_test(misuse_stops_the_program),
        cmocka_unit_test(any_order_of_things_keeps_the_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
