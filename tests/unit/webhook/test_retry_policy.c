#include "webhook/retry_policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define LEAST 0U
#define MIDDLE (UINT32_MAX / 2)
#define MOST UINT32_MAX

static const int64_t DEFAULT_DELAYS[] = {5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR,
                                         10 * HOUR,  14 * HOUR,  20 * HOUR,   24 * HOUR};
static const struct retry_schedule DEFAULT_SCHEDULE = {DEFAULT_DELAYS, 9};
static const struct retry_schedule NO_RETRIES = {NULL, 0};

static struct attempt answered(int status_code, int number) {
    return (struct attempt){ATTEMPT_ANSWERED, status_code, -1, number, false};
}

static void each_success_is_done(void **state) {
    (void)state;
    for (int code = 200; code <= 299; code++) {
        struct attempt attempt = answered(code, 1);
        struct retry_decision decision = retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE);
        assert_int_equal(decision.action, RETRY_DONE);
        assert_int_equal(decision.sign, SIGN_GOOD);
    }
}

static void every_other_answer_is_tried_again(void **state) {
    (void)state;
    for (int code = 100; code <= 599; code++) {
        if ((code >= 200 && code <= 299) || code == 410) {
            continue;
        }
        struct attempt attempt = answered(code, 1);
        struct retry_decision decision = retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE);
        assert_int_equal(decision.action, RETRY_AGAIN);
        bool throttles = code == 429 || code == 502 || code == 503 || code == 504;
        assert_int_equal(decision.sign, throttles ? SIGN_SLOW_DOWN : SIGN_GOOD);
    }
}

static void the_default_schedule_is_followed_to_its_end(void **state) {
    (void)state;
    for (int number = 1; number <= 9; number++) {
        struct attempt attempt = answered(500, number);
        int64_t delay_ms = DEFAULT_DELAYS[number - 1];
        assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, LEAST).delay_ms, delay_ms * 8 / 10);
        assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE).delay_ms, delay_ms);
        assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MOST).delay_ms, delay_ms * 12 / 10);
    }
    for (int number = 10; number <= 12; number++) {
        struct attempt attempt = answered(500, number);
        assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE).action, RETRY_GIVE_UP);
    }
}

static void a_schedule_of_its_own_may_be_empty(void **state) {
    (void)state;
    struct attempt attempt = answered(503, 1);
    struct retry_decision decision = retry_policy_next(&attempt, &NO_RETRIES, MIDDLE);
    assert_int_equal(decision.action, RETRY_GIVE_UP);
    assert_int_equal(decision.sign, SIGN_SLOW_DOWN);
}

static void jitter_stays_within_a_fifth(void **state) {
    (void)state;
    struct attempt attempt = answered(500, 2);
    uint32_t random = 12345;
    int64_t least_ms = INT64_MAX, most_ms = 0;
    for (int i = 0; i < 10000; i++) {
        random = random * 1664525U + 1013904223U;
        int64_t delay_ms = retry_policy_next(&attempt, &DEFAULT_SCHEDULE, random).delay_ms;
        least_ms = delay_ms < least_ms ? delay_ms : least_ms;
        most_ms = delay_ms > most_ms ? delay_ms : most_ms;
    }
    assert_in_range(least_ms, 4 * MINUTE, 4 * MINUTE + 2 * SECOND);
    assert_in_range(most_ms, 6 * MINUTE - 2 * SECOND, 6 * MINUTE);
}

static void gone_disables(void **state) {
    (void)state;
    struct attempt attempt = answered(410, 1);
    attempt.retry_after_ms = 1000;
    struct retry_decision decision = retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE);
    assert_int_equal(decision.action, RETRY_DISABLE);
    assert_int_equal(decision.sign, SIGN_GOOD);
    assert_int_equal(retry_policy_next(&attempt, &NO_RETRIES, MIDDLE).action, RETRY_DISABLE);
}

static void too_large_splits_what_can_be_split_at_any_attempt(void **state) {
    (void)state;
    for (int number = 1; number <= 20; number++) {
        struct attempt attempt = answered(413, number);
        attempt.divisible = true;
        attempt.retry_after_ms = 1000;
        struct retry_decision decision = retry_policy_next(&attempt, &NO_RETRIES, MIDDLE);
        assert_int_equal(decision.action, RETRY_SPLIT);
        assert_int_equal(decision.delay_ms, 0);
        assert_int_equal(decision.sign, SIGN_GOOD);
        attempt.status_code = 414;
        assert_int_equal(retry_policy_next(&attempt, &NO_RETRIES, MIDDLE).action, RETRY_GIVE_UP);
        attempt = answered(413, number);
        assert_int_equal(retry_policy_next(&attempt, &NO_RETRIES, MIDDLE).action, RETRY_GIVE_UP);
    }
    struct attempt attempt = answered(413, 1);
    attempt.divisible = true;
    attempt.end = ATTEMPT_TIMEOUT;
    assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE).action, RETRY_AGAIN);
}

static void retry_after_only_lengthens_and_has_a_ceiling(void **state) {
    (void)state;
    const int codes[] = {429, 503, 500, 302};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct attempt attempt = answered(codes[i], 1);
        attempt.retry_after_ms = 2 * MINUTE;
        assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MOST).delay_ms, 2 * MINUTE);
        attempt.retry_after_ms = 0;
        assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE).delay_ms, 5 * SECOND);
        attempt.retry_after_ms = 5001;
        assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE).delay_ms, 5001);
        attempt.retry_after_ms = INT64_MAX;
        assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE).delay_ms, RETRY_AFTER_CEILING_MS);
    }
}

static void the_ceiling_does_not_shorten_the_schedule(void **state) {
    (void)state;
    struct attempt attempt = answered(503, 9);
    attempt.retry_after_ms = 100 * HOUR;
    assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MOST).delay_ms, 24 * HOUR * 12 / 10);
}

static void retry_after_does_not_prolong_the_schedule(void **state) {
    (void)state;
    struct attempt attempt = answered(503, 10);
    attempt.retry_after_ms = 1000;
    assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE).action, RETRY_GIVE_UP);
}

static void without_an_answer_it_is_tried_again(void **state) {
    (void)state;
    struct attempt attempt = {ATTEMPT_TIMEOUT, 0, -1, 1, false};
    struct retry_decision decision = retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE);
    assert_int_equal(decision.action, RETRY_AGAIN);
    assert_int_equal(decision.delay_ms, 5 * SECOND);
    assert_int_equal(decision.sign, SIGN_SLOW_DOWN);
    attempt.end = ATTEMPT_NETWORK;
    decision = retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE);
    assert_int_equal(decision.action, RETRY_AGAIN);
    assert_int_equal(decision.sign, SIGN_DOWN);
    attempt.number = 10;
    assert_int_equal(retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE).action, RETRY_GIVE_UP);
}

static void a_refused_address_is_given_up_at_once(void **state) {
    (void)state;
    struct attempt attempt = {ATTEMPT_REFUSED, 0, -1, 1, false};
    struct retry_decision decision = retry_policy_next(&attempt, &DEFAULT_SCHEDULE, MIDDLE);
    assert_int_equal(decision.action, RETRY_GIVE_UP);
    assert_int_equal(decision.sign, SIGN_NONE);
}

static void what_was_not_made_comes_again_soon_and_does_not_count(void **state) {
    (void)state;
    for (int number = 1; number <= 20; number++) {
        struct attempt attempt = {ATTEMPT_NOT_MADE, 0, -1, number, false};
        struct retry_decision decision = retry_policy_next(&attempt, &NO_RETRIES, MIDDLE);
        assert_int_equal(decision.action, RETRY_AGAIN);
        assert_int_equal(decision.delay_ms, SECOND);
        assert_int_equal(decision.sign, SIGN_NONE);
        assert_int_equal(retry_policy_next(&attempt, &NO_RETRIES, LEAST).delay_ms, 800);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_success_is_done),
        cmocka_unit_test(every_other_answer_is_tried_again),
        cmocka_unit_test(the_default_schedule_is_followed_to_its_end),
        cmocka_unit_test(a_schedule_of_its_own_may_be_empty),
        cmocka_unit_test(jitter_stays_within_a_fifth),
        cmocka_unit_test(gone_disables),
        cmocka_unit_test(too_large_splits_what_can_be_split_at_any_attempt),
        cmocka_unit_test(retry_after_only_lengthens_and_has_a_ceiling),
        cmocka_unit_test(the_ceiling_does_not_shorten_the_schedule),
        cmocka_unit_test(retry_after_does_not_prolong_the_schedule),
        cmocka_unit_test(without_an_answer_it_is_tried_again),
        cmocka_unit_test(a_refused_address_is_given_up_at_once),
        cmocka_unit_test(what_was_not_made_comes_again_soon_and_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
