/* Two members of one group in one process: a rebalance stays undone until its owner answers it. */
#include "drive.h"

static struct dev_broker *broker;

static int setup(void **state) {
    (void)state;
    struct error error;
    drive_ok(dev_broker_open(1, 4, &broker, &error), &error);
    drive_ok(dev_broker_topic(broker, "events.a", &error), &error);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    dev_broker_close(&broker);
    return 0;
}

/* Polls both, answers nothing, and says whether anything came to the second within the time. */
static enum consumer_event_type poll_both(struct consumer *first, struct consumer *second,
                                          struct consumer_event *of_second, int64_t within_ms) {
    int64_t deadline_ms = clock_mono_ms() + within_ms;
    while (clock_mono_ms() < deadline_ms) {
        struct consumer_event event;
        enum consumer_event_type type = consumer_poll(first, &event);
        if (type != CONSUMER_NOTHING)
            fail_msg("the first got event %d (%s)", type, event.error.text);
        if (consumer_poll(second, of_second) != CONSUMER_NOTHING)
            return of_second->type;
        struct pollfd wait[] = {{.fd = consumer_fd(first), .events = POLLIN},
                                {.fd = consumer_fd(second), .events = POLLIN}};
        poll(wait, 2, (int)(deadline_ms - clock_mono_ms()) + 1);
    }
    return CONSUMER_NOTHING;
}

struct member {
    struct consumer *consumer;
    size_t partitions;
    int records; /* since the assignment */
};

/* Answers what a member is asked, at once. */
static void serve(struct member *member) {
    struct consumer_event event;
    struct error error;
    while (consumer_poll(member->consumer, &event) != CONSUMER_NOTHING) {
        if (event.type == CONSUMER_RECORD) {
            member->records++;
        } else if (event.type == CONSUMER_REVOKE) {
            drive_ok(consumer_unassign(member->consumer, &error), &error);
            member->partitions = 0;
        } else {
            assert_int_equal(event.type, CONSUMER_ASSIGN);
            member->partitions = event.partitions.count;
            member->records = 0;
            drive_assign(member->consumer, &event, 0);
            continue;
        }
        consumer_event_deinit(&event);
    }
}

static void the_group_waits_for_a_deferred_revoke(void **state) {
    (void)state;
    struct error error;
    struct consumer_event event, other;
    struct consumer *first = drive_open(broker, "two", DRIVE_CONF "session.timeout.ms=6000");
    drive_expect(first, &event, CONSUMER_ASSIGN);
    assert_int_equal(event.partitions.count, 4);
    drive_assign(first, &event, 0);

    struct consumer *second = drive_open(broker, "two", DRIVE_CONF "session.timeout.ms=6000");
    drive_expect(first, &event, CONSUMER_REVOKE);
    assert_int_equal(event.partitions.count, 4);
    consumer_event_deinit(&event);
    /* Records that come now are not handed out, and the second gets nothing while the first thinks. */
    drive_fill(broker, "events.a", 8);
    assert_int_equal(poll_both(first, second, &other, 1000), CONSUMER_NOTHING);
    assert_true(consumer_is_member(first));
    struct topic_partitions list = drive_partition("events.a", 0, 0, "last words");
    (void)!consumer_commit_wait(first, &list, 1000, &error); /* must not hang; the in-memory broker may refuse it */
    topic_partitions_deinit(&list);
    drive_ok(consumer_unassign(first, &error), &error);

    /* The group may need more than one round until both are in. */
    struct member members[] = {{.consumer = first}, {.consumer = second}};
    int64_t deadline_ms = clock_mono_ms() + 2 * DEADLINE_MS;
    while (
        !(members[0].partitions == 2 && members[1].partitions == 2 && members[0].records + members[1].records == 8)) {
        assert_true(clock_mono_ms() < deadline_ms);
        serve(&members[0]);
        serve(&members[1]);
        struct pollfd wait[] = {{.fd = consumer_fd(first), .events = POLLIN},
                                {.fd = consumer_fd(second), .events = POLLIN}};
        poll(wait, 2, 100);
    }

    /* The second leaves in order: the first has all again. */
    consumer_close(&second, 5000);
    drive_expect(first, &event, CONSUMER_REVOKE);
    assert_false(event.lost);
    consumer_event_deinit(&event);
    drive_ok(consumer_unassign(first, &error), &error);
    drive_expect(first, &event, CONSUMER_ASSIGN);
    assert_int_equal(event.partitions.count, 4);
    consumer_event_deinit(&event);
    consumer_close(&first, 5000); /* with an answer outstanding */
}

static void an_assignment_overtaken_meanwhile_is_revoked_after_its_answer(void **state) {
    (void)state;
    struct error error;
    struct consumer_event event, other;
    struct consumer *first = drive_open(broker, "three", DRIVE_CONF);
    drive_expect(first, &event, CONSUMER_ASSIGN);
    struct consumer *second = drive_open(broker, "three", DRIVE_CONF);
    assert_int_equal(poll_both(first, second, &other, 500), CONSUMER_NOTHING);
    drive_assign(first, &event, 0);
    drive_expect(first, &event, CONSUMER_REVOKE);
    consumer_event_deinit(&event);
    drive_ok(consumer_unassign(first, &error), &error);
    drive_expect(second, &other, CONSUMER_ASSIGN);
    consumer_event_deinit(&other);
    drive_expect(first, &event, CONSUMER_ASSIGN);
    consumer_event_deinit(&event);
    consumer_close(&second, 5000);
    consumer_close(&first, 5000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_assignment_overtaken_meanwhile_is_revoked_after_its_answer), /* while there is no record */
        cmocka_unit_test(the_group_waits_for_a_deferred_revoke),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
