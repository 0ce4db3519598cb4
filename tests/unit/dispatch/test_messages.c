#include "dispatch/recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatch_fixture.h"

static void test_an_answer_that_nobody_took_is_freed_with_its_message(void **state) {
    (void)state;
    struct partition *partition = fixture_partition();
    struct adopt_message *message = mem_calloc(1, sizeof(*message) + 2 * sizeof(message->items[0]));
    message->count = 2;
    message->items[0].topic = mem_strdup(TOPIC);
    message->items[0].partition = partition_ref(partition);
    message->items[1].topic = mem_strdup(TOPIC); /* without an answer */
    adopt_message_free(&message);
    assert_null(message);
    adopt_message_free(&message);
    assert_int_equal(partition->refs, 1);
    partition_unref(&partition);
}

static void test_partitions_given_up(void **state) {
    (void)state;
    struct partition *partition = fixture_partition();
    struct revoke_message *message = mem_calloc(1, sizeof(*message) + 2 * sizeof(message->partitions[0]));
    message->count = 2;
    message->partitions[0] = partition_ref(partition);
    message->partitions[1] = partition_ref(partition);
    revoke_message_free(&message);
    assert_null(message);
    revoke_message_free(&message);
    assert_int_equal(partition->refs, 1);
    partition_unref(&partition);
}

static void test_events_looked_up(void **state) {
    (void)state;
    struct event *event = fixture_event(1);
    struct reread_message *message = mem_calloc(1, sizeof(*message) + sizeof(message->items[0]));
    message->count = 1;
    message->items[0].event = event_ref(event);
    reread_message_free(&message);
    assert_null(message);
    reread_message_free(&message);
    assert_int_equal(event->refs, 1);
    event_unref(&event);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_that_nobody_took_is_freed_with_its_message),
        cmocka_unit_test(test_partitions_given_up),
        cmocka_unit_test(test_events_looked_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
