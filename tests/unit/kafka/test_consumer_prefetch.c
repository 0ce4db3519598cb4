/* A reader that is quicker than what librdkafka prefetches. */
#include "drive.h"

#define ROUNDS 10
#define RECORDS 1000 /* of a round: all that is prefetched, and some that is not */

/* While it is busy with something else the prefetch fills; then it reads more than that at once. librdkafka would sleep
 * in each round until something else wakes it: here the next look at the topics, at most 470 ms. */
static void reading_goes_on_where_the_prefetch_was_full(void **state) {
    (void)state;
    struct dev_broker *broker;
    struct error error;
    drive_ok(dev_broker_open(1, 1, &broker, &error), &error);
    drive_ok(dev_broker_topic(broker, "events.a", &error), &error);
    for (int part = 0; part < 100; part++) /* each makes a batch of its own, and a fetch brings few */
        drive_fill(broker, "events.a", ROUNDS * RECORDS / 100);
    struct consumer *consumer =
        drive_open(broker, "prefetch", DRIVE_CONF "queued.min.messages=500\nfetch.message.max.bytes=10000\n");
    struct consumer_event event;
    drive_expect(consumer, &event, CONSUMER_ASSIGN);
    drive_assign(consumer, &event, 0);
    int64_t slowest_ms[ROUNDS] = {0}, stalled = 0;
    for (int64_t offset = 0; offset < ROUNDS * RECORDS; offset++) {
        int64_t began_ms = clock_mono_ms(), round = offset / RECORDS;
        drive_record(consumer, "events.a", offset);
        int64_t took_ms = clock_mono_ms() - began_ms;
        if (took_ms > slowest_ms[round])
            slowest_ms[round] = took_ms;
        if (offset % RECORDS == 0)
            poll(NULL, 0, 30);
    }
    for (int round = 0; round < ROUNDS; round++)
        stalled += slowest_ms[round] > 200;
    assert_true(stalled < ROUNDS / 2);
    consumer_close(&consumer, 5000);
    dev_broker_close(&broker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_goes_on_where_the_prefetch_was_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
