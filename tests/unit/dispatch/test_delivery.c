#include "dispatch/delivery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatch_fixture.h"

struct things {
    struct event *event;
    struct subscription *subscription;
    struct partition *partition;
};

static struct things make_things(void) {
    return (struct things){fixture_event(3), fixture_subscription(1, "http://127.0.0.1/"), fixture_partition()};
}

/* All references but ours are gone, and now ours. */
static void unmake_things(struct things *things) {
    assert_int_equal(things->event->refs, 1);
    assert_int_equal(things->subscription->refs, 1);
    assert_int_equal(things->partition->refs, 1);
    event_unref(&things->event);
    subscription_unref(&things->subscription);
    partition_unref(&things->partition);
}

static void test_a_delivery_holds_what_it_needs(void **state) {
    (void)state;
    struct things things = make_things();
    struct delivery *delivery = delivery_new(things.event, things.subscription, things.partition);
    assert_int_equal(delivery->message.type, MESSAGE_DELIVERY);
    assert_ptr_equal(MESSAGE_OF(&delivery->message.node), delivery);
    assert_int_equal(delivery->attempt, 1);
    assert_int_equal(delivery->outcome, OUTCOME_NONE);
    assert_int_equal(delivery->activation, things.subscription->activation);
    assert_true(uuid_equal(&delivery->row_key, &things.event->key));
    assert_false(delivery->has_row);
    assert_int_equal(things.event->refs, 2);
    assert_int_equal(things.subscription->refs, 2);
    assert_int_equal(things.partition->refs, 2);
    delivery->response_body = mem_strdup("answer");
    delivery->response_body_len = 6;
    delivery->error = mem_strdup("why");
    assert_int_equal(delivery_footprint_bytes(delivery), sizeof(*delivery) + 6);
    delivery_free(&delivery);
    assert_null(delivery);
    delivery_free(&delivery);
    unmake_things(&things);
}

static void test_a_row_has_no_partition(void **state) {
    (void)state;
    struct things things = make_things();
    struct delivery *delivery = delivery_new(things.event, things.subscription, NULL);
    assert_null(delivery->partition);
    struct delivery *clone = delivery_clone(delivery);
    assert_null(clone->partition);
    delivery_free(&clone);
    delivery_free(&delivery);
    unmake_things(&things);
}

static void test_a_clone_goes_its_own_way(void **state) {
    (void)state;
    struct things things = make_things();
    struct taken *taken = taken_new(things.partition, 3, &things.event->key, 2);
    struct delivery *delivery = delivery_new(things.event, things.subscription, things.partition);
    delivery->taken = taken;
    delivery->slot = 1;
    delivery->attempt = 4;
    delivery->fence = 9;
    delivery->has_row = true;
    delivery->activation = 5;
    delivery->row_key = fixture_uuid(8);
    delivery->outcome = OUTCOME_ATTEMPTED;
    delivery->error = mem_strdup("its own");
    struct delivery *clone = delivery_clone(delivery);
    delivery_free(&delivery);
    assert_int_equal(clone->outcome, OUTCOME_NONE);
    assert_null(clone->error);
    assert_ptr_equal(clone->taken, taken);
    assert_ptr_equal(clone->event, things.event);
    assert_ptr_equal(clone->subscription, things.subscription);
    assert_ptr_equal(clone->partition, things.partition);
    assert_int_equal(clone->slot, 1);
    assert_int_equal(clone->attempt, 4);
    assert_int_equal(clone->fence, 9);
    assert_int_equal(clone->activation, 5);
    assert_true(clone->has_row);
    assert_int_equal(clone->row_key.bytes[15], 8);
    delivery_free(&clone);
    taken_free(&taken);
    unmake_things(&things);
}

static void test_a_taken_goes_with_all_that_came_of_it(void **state) {
    (void)state;
    struct things things = make_things();
    struct taken *taken = taken_new(things.partition, 3, &things.event->key, 2);
    assert_int_equal(taken->message.type, MESSAGE_TAKEN);
    assert_int_equal(taken->offset, 3);
    assert_int_equal(taken->expected, 2);
    assert_int_equal(taken->arrived, 0);
    taken->event = event_ref(things.event);
    for (uint32_t i = 0; i < 2; i++) {
        struct delivery *delivery = delivery_new(things.event, things.subscription, things.partition);
        taken->slots[i].subscription = subscription_ref(things.subscription);
        TAILQ_INSERT_TAIL(&taken->outcomes, delivery, link);
    }
    taken->skipped = mem_calloc(1, sizeof(struct uuid));
    taken->skipped_count = 1;
    taken->rejected = mem_calloc(1, sizeof(*taken->rejected));
    taken->rejected->code = mem_strdup("bad_json");
    taken->rejected->reason = mem_strdup("byte 1");
    taken_free(&taken);
    assert_null(taken);
    taken_free(&taken);
    unmake_things(&things);
}

static void test_messages_say_what_they_are(void **state) {
    (void)state;
    struct subscription *subscription = fixture_subscription(1, "http://127.0.0.1/");
    struct message *about = subscription_message_new(MESSAGE_PARK, subscription);
    assert_int_equal(about->type, MESSAGE_PARK);
    assert_ptr_equal(((struct subscription_message *)about)->subscription, subscription);
    assert_int_equal(subscription->refs, 2);
    subscription_unref(&((struct subscription_message *)about)->subscription);
    mem_free(about);
    struct message *bare = message_new(MESSAGE_RELEASE);
    assert_int_equal(bare->type, MESSAGE_RELEASE);
    mem_free(bare);
    subscription_unref(&subscription);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_delivery_holds_what_it_needs),
        cmocka_unit_test(test_a_row_has_no_partition),
        cmocka_unit_test(test_a_clone_goes_its_own_way),
        cmocka_unit_test(test_a_taken_goes_with_all_that_came_of_it),
        cmocka_unit_test(test_messages_say_what_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
