/* A log that is not what progress says (rule P4): it is read from its earliest record, and what is known is not sent.
 */
#include "dispatch/intake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "intake_fixture.h"

enum { EVENTS = 600, BAD = 300, STALE = 5 };

static struct subscription *subscription;

static int open_stage(void **state) {
    (void)state;
    stage_open();
    subscription = fixture_subscription(1, "http://127.0.0.1/");
    struct subscription *given = subscription_ref(subscription);
    roster_replace_take(stage.roster, matching_new(0));
    roster_change_take(stage.roster, &given, 1);
    for (int i = 0; i < EVENTS; i++) {
        if (i == BAD)
            produce("no event", NULL, 0);
        else
            produce_event(WORKSPACE, "");
    }
    flush_producer();
    recorder.lineage = fixture_uuid(50);
    recorder.start = STALE;
    recorder.last_key = fixture_uuid(77); /* not the key of record 4 */
    recorder.known_modulo = 3;
    recorder.fail_rereads = 2; /* PostgreSQL is away for a moment */
    recorder.settles_at_once = true;
    intake_open();
    return 0;
}

static int close_stage(void **state) {
    (void)state;
    intake_close();
    forget_all();
    subscription_unref(&subscription);
    stage_close();
    return 0;
}

static void test_it_is_adopted_anew_from_its_earliest_record(void **state) {
    (void)state;
    WAIT_FOR(adopt_count() == 2);
    assert_true(recorder.asked.broken);
    assert_int_equal(recorder.asked.low, 0);
    assert_int_equal(recorder.asked.high, EVENTS);
    WAIT_FOR(intake_is_ready(stage.intake));
}

static void test_known_events_are_settled_and_not_sent(void **state) {
    (void)state;
    taken_at(EVENTS - 1);
    for (int64_t offset = 0; offset < EVENTS; offset++) {
        struct taken *taken = taken_at(offset);
        bool known = offset % 3 == 0;
        assert_int_equal(taken->rejected != NULL, offset == BAD);
        if (offset != BAD)
            assert_int_equal(taken->matched, !known);
        assert_false(taken->already_settled);
        if (taken->expected)
            delivery_of(taken, &recorder.sent);
    }
}

/* Also around the record that is not looked up: the tracker takes what lies before as a gap. */
static void test_the_order_of_the_log_is_kept(void **state) {
    (void)state;
    assert_int_equal(recorder.out_of_order, 0);
    assert_int_equal(recorder.unannounced, 0);
    assert_in_range(reread_count(), 2 + 3, EVENTS);
    assert_int_equal(taken_count(), EVENTS);
}

static void test_what_comes_after_is_not_looked_up(void **state) {
    (void)state;
    int rereads = reread_count();
    produce_event(WORKSPACE, ""); /* offset 600: 3 divides it */
    flush_producer();
    assert_true(taken_at(EVENTS)->matched);
    assert_int_equal(reread_count(), rereads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_adopted_anew_from_its_earliest_record),
        cmocka_unit_test(test_known_events_are_settled_and_not_sent),
        cmocka_unit_test(test_the_order_of_the_log_is_kept),
        cmocka_unit_test(test_what_comes_after_is_not_looked_up),
    };
    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
