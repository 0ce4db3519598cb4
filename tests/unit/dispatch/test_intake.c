/* One intake reads on through most of these tests, in their order: joining a group takes seconds. */
#include "dispatch/intake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "intake_fixture.h"
#include "webhook/tracker.h"

static struct subscription *active, *paused, *held, *behind;
static int64_t next; /* the offset of the record that is produced next */

static struct subscription *subscribe(int number, const char *workspace, int status) {
    struct subscription_spec spec = fixture_spec(number, "http://127.0.0.1/");
    spec.workspace_id = span_of(workspace);
    spec.status = (enum subscription_status)status;
    struct subscription *subscription = fixture_subscription_of(&spec, NULL);
    struct subscription *given = subscription_ref(subscription);
    roster_change_take(stage.roster, &given, 1);
    return subscription;
}

static int open_stage(void **state) {
    (void)state;
    stage_open();
    recorder.lineage = fixture_uuid(50);
    intake_open();
    return 0;
}

static int close_stage(void **state) {
    (void)state;
    if (stage.intake)
        intake_close();
    forget_all();
    subscription_unref(&active);
    subscription_unref(&paused);
    subscription_unref(&held);
    subscription_unref(&behind);
    stage_close();
    return 0;
}

/* Produces one event and gives its taken. */
static struct taken *event_taken(const char *workspace, const char *more) {
    produce_event(workspace, more);
    flush_producer();
    return taken_at(next++);
}

/* Nothing more is taken for a while: it can only fail by being taken. */
static void expect_nothing_taken(int64_t for_ms) {
    int count = taken_count();
    for (int64_t deadline_ms = clock_mono_ms() + for_ms; clock_mono_ms() < deadline_ms;) {
        assert_int_equal(taken_count(), count);
        fixture_pause();
    }
}

/* Rule W2. */
static void test_no_partition_is_adopted_before_the_roster_is_loaded(void **state) {
    (void)state;
    WAIT_FOR(stage.intake->phase == INTAKE_ASSIGNED);
    assert_false(intake_is_ready(stage.intake));
    expect_nothing_taken(150);
    assert_int_equal(adopt_count(), 0);
    roster_replace_take(stage.roster, matching_new(0));
    active = subscribe(1, "w1", SUBSCRIPTION_ACTIVE);
    paused = subscribe(2, "w1", SUBSCRIPTION_PAUSED);
    held = subscribe(3, "held", SUBSCRIPTION_ACTIVE);
    behind = subscribe(4, "behind", SUBSCRIPTION_ACTIVE);
    held->gate->held = true;
    WAIT_FOR(intake_is_ready(stage.intake));
    assert_int_equal(adopt_count(), 1);
    assert_int_equal(recorder.asked.committed, CONSUMER_OFFSET_NONE);
    assert_false(recorder.asked.has_lineage || recorder.asked.broken);
    assert_int_equal(recorder.asked.low, 0);
    assert_int_equal(recorder.asked.high, 0);
}

static void test_a_record_becomes_a_delivery_for_each_active_subscription(void **state) {
    (void)state;
    int64_t queued = active->gate->queued;
    struct taken *taken = event_taken("w1", "");
    struct delivery *delivery = delivery_of(taken, &recorder.sent);
    assert_int_equal(taken->expected, 1);
    assert_true(taken->matched);
    assert_int_equal(taken->skipped_count, 1);
    assert_true(uuid_equal(&taken->skipped[0], &paused->id));
    assert_ptr_equal(taken->slots[0].subscription, active);
    assert_ptr_equal(delivery->subscription, active);
    assert_ptr_equal(delivery->event, taken->event);
    assert_ptr_equal(delivery->partition, adopted());
    assert_false(delivery->has_row);
    assert_true(span_is(taken->event->event_type, "order.created"));
    assert_true(uuid_equal(&taken->key, &taken->event->key));
    assert_int_equal(active->gate->queued, queued + 1);
    assert_int_equal(stage.budget.deliveries, 1);
    assert_true(stage.budget.bytes == (int64_t)taken->footprint_bytes && stage.budget.bytes > 0);
    assert_int_equal(adopted()->open, 1);
}

static void test_records_that_nobody_takes_are_announced_all_the_same(void **state) {
    (void)state;
    int64_t deliveries = stage.budget.deliveries;
    struct taken *unmatched = event_taken("nobody", "");
    assert_int_equal(unmatched->expected, 0);
    assert_false(unmatched->matched);
    assert_null(unmatched->event);
    produce(NULL, NULL, 0); /* a tombstone */
    flush_producer();
    struct taken *skipped = taken_at(next++);
    assert_null(skipped->event);
    assert_null(skipped->rejected);
    assert_false(skipped->already_settled);
    assert_int_equal(stage.budget.deliveries, deliveries + 2); /* so that they are bounded too */
}

static void test_what_cannot_be_understood_is_kept_with_its_reason(void **state) {
    (void)state;
    char long_value[5000];
    memset(long_value, 'x', sizeof(long_value));
    struct producer_header headers[] = {{SPAN_LITERAL("a"), SPAN_LITERAL("1\"\xff")},
                                        {SPAN_LITERAL("b"), SPAN_NONE},
                                        {SPAN_LITERAL("c"), {long_value, sizeof(long_value)}}};
    produce("{\"id\":", headers, 3);
    flush_producer();
    struct taken *taken = taken_at(next++);
    assert_non_null(taken->rejected);
    assert_string_equal(taken->rejected->code, "bad_json");
    assert_true(strlen(taken->rejected->reason) > 0);
    assert_true(taken->rejected->has_key && taken->rejected->has_value);
    assert_true(span_is(taken->rejected->record_key, "key"));
    assert_true(span_is(taken->rejected->value, "{\"id\":"));
    assert_int_equal(utf8_valid_prefix(taken->rejected->headers), taken->rejected->headers.len);
    struct json_value value;
    struct error error;
    if (json_scan(taken->rejected->headers, NULL, NULL, &value, &error) != STATUS_OK)
        fail_msg("%.*s: %s", SPAN_ARGS(taken->rejected->headers), error.text);
    assert_true(json_find(taken->rejected->headers, SPAN_LITERAL("b"), &value) && value.type == JSON_NULL);
    /* All that is kept is counted, or a flush of many such records would have no bound. */
    assert_true(taken->footprint_bytes >= sizeof(long_value) + strlen("key{\"id\":"));
    assert_int_equal(taken->expected, 0);
    assert_null(taken->event);
}

static void test_what_has_to_wait_goes_to_the_schedule(void **state) {
    (void)state;
    struct delivery *delivery = delivery_of(event_taken("held", ""), &recorder.outcomes);
    assert_int_equal(delivery->outcome, OUTCOME_PARKED);
    assert_int_equal(held->gate->queued, 0);

    char tomorrow[64];
    int64_t tomorrow_ms = clock_wall_ms() + 24 * 3600 * 1000;
    snprintf(tomorrow, sizeof(tomorrow), ",\"deliver_at\":%lld", (long long)tomorrow_ms);
    delivery = delivery_of(event_taken("w1", tomorrow), &recorder.outcomes);
    assert_int_equal(delivery->outcome, OUTCOME_DELAYED);
    assert_int_equal(delivery->due_at_ms, tomorrow_ms);
    delivery = delivery_of(event_taken("w1", ",\"deliver_at\":\"2001-01-01T00:00:00Z\""), &recorder.sent);
    assert_int_equal(delivery->outcome, OUTCOME_NONE);

    /* One that is behind may have some that wait for it, not many. */
    behind->gate->behind = true;
    delivery_of(event_taken("behind", ""), &recorder.sent);
    assert_false(behind->gate->held);
    behind->gate->queued = 1000;
    delivery = delivery_of(event_taken("behind", ""), &recorder.outcomes);
    assert_int_equal(delivery->outcome, OUTCOME_PARKED);
    assert_true(behind->gate->held);
    assert_int_equal(behind->gate->queued, 1000);
}

static void test_a_change_of_the_roster_counts_for_the_next_record(void **state) {
    (void)state;
    struct subscription *resumed = fixture_next_version(paused, SUBSCRIPTION_ACTIVE);
    struct subscription *given = subscription_ref(resumed);
    roster_change_take(stage.roster, &given, 1);
    struct taken *taken = event_taken("w1", "");
    assert_int_equal(taken->expected, 2);
    assert_int_equal(taken->skipped_count, 0);
    subscription_unref(&paused);
    paused = resumed;
}

static void test_without_room_or_pulse_nothing_is_taken(void **state) {
    (void)state;
    int64_t budget = stage.budget.deliveries, bytes = stage.budget.bytes, beat_ms = stage.pulse.beat_ms;
    stage.budget.deliveries = BUDGET_MAX_DELIVERIES;
    stage.budget.in_flight = BUDGET_MAX_DELIVERIES;
    produce_event("w1", "");
    flush_producer();
    expect_nothing_taken(150);
    stage.budget.deliveries = BUDGET_MAX_WAITING;
    stage.budget.in_flight = 0;
    expect_nothing_taken(50);
    stage.budget.deliveries = budget;
    stage.budget.bytes = BUDGET_MAX_BYTES;
    expect_nothing_taken(50);
    stage.pulse.beat_ms = 1; /* first: there is no moment in which both allow it */
    stage.budget.bytes = bytes;
    expect_nothing_taken(50);
    stage.pulse.beat_ms = beat_ms;
    taken_at(next++);
}

/* The window's head is open: what lies beyond the window waits, and nothing is lost by it. */
static void test_a_full_window_waits_for_its_head(void **state) {
    (void)state;
    int64_t first = next, last = first + TRACKER_WINDOW + 100;
    adopted()->settled_offset = first;
    recorder.settles_at_once = true;
    stage.budget.deliveries = stage.budget.bytes = 0;
    while (next <= last) {
        produce_event("nobody", "");
        next++;
    }
    flush_producer();
    taken_at(first + TRACKER_WINDOW - 1);
    expect_nothing_taken(100);
    adopted()->settled_offset = first + 50;
    taken_at(first + TRACKER_WINDOW + 49);
    expect_nothing_taken(50);
    adopted()->open = 0; /* nothing is: the window may jump, to one record that is open then */
    taken_at(first + TRACKER_WINDOW + 50);
    expect_nothing_taken(50);
    adopted()->settled_offset = last;
    taken_at(last);
    assert_int_equal(recorder.out_of_order, 0);
    assert_int_equal(recorder.unannounced, 0);
}

/* Rule P7, and P4: what is settled is committed with its lineage. */
static void test_leaving_commits_what_is_settled(void **state) {
    (void)state;
    adopted()->settled_offset = 12;
    intake_close();
    assert_int_equal(recorder.revokes, 1);
    assert_int_equal(adopt_count(), 1);
    assert_false(adopted()->revoked); /* in order: what was under way may end */
}

/* Rule P4: the next one finds the commit, and the record before next_offset as progress knows it. */
static void test_coming_back_reads_on_behind_what_was_settled(void **state) {
    (void)state;
    recorder.start = 12;
    recorder.last_key = taken_at(11)->key;
    recorder.done = "\x02"; /* 13 is settled */
    recorder.settles_at_once = true;
    intake_open();
    WAIT_FOR(adopt_count() == 2);
    assert_int_equal(recorder.asked.committed, 12);
    assert_true(recorder.asked.has_lineage && uuid_equal(&recorder.asked.lineage, &recorder.lineage));
    assert_int_equal(recorder.asked.lineage_first, 0);
    taken_at(14);
    assert_false(taken_at(12)->already_settled);
    assert_true(taken_at(13)->already_settled);
    assert_int_equal(taken_at(13)->expected, 0);
    assert_null(taken_at(13)->event);
    pthread_mutex_lock(&recorder.lock);
    int again = 0; /* the record that was only compared is not taken */
    for (int i = 0; i < recorder.taken_count; i++)
        again += recorder.takens[i]->partition == recorder.partition && recorder.takens[i]->offset < 12;
    pthread_mutex_unlock(&recorder.lock);
    assert_int_equal(again, 0);
    assert_int_equal(recorder.out_of_order, 0);
    intake_close();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_partition_is_adopted_before_the_roster_is_loaded),
        cmocka_unit_test(test_a_record_becomes_a_delivery_for_each_active_subscription),
        cmocka_unit_test(test_records_that_nobody_takes_are_announced_all_the_same),
        cmocka_unit_test(test_what_cannot_be_understood_is_kept_with_its_reason),
        cmocka_unit_test(test_what_has_to_wait_goes_to_the_schedule),
        cmocka_unit_test(test_a_change_of_the_roster_counts_for_the_next_record),
        cmocka_unit_test(test_without_room_or_pulse_nothing_is_taken),
        cmocka_unit_test(test_a_full_window_waits_for_its_head),
        cmocka_unit_test(test_leaving_commits_what_is_settled),
        cmocka_unit_test(test_coming_back_reads_on_behind_what_was_settled),
    };
    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
