/* One member alone: records, offsets, pauses, topics that appear. The tests share it, in order. */
#include "drive.h"

static struct dev_broker *broker;
static struct consumer *consumer;

static int setup(void **state) {
    (void)state;
    struct error error;
    drive_ok(dev_broker_open(1, 1, &broker, &error), &error);
    drive_ok(dev_broker_topic(broker, "events.a", &error), &error);
    drive_fill(broker, "events.a", 10);
    consumer = drive_open(broker, "one", DRIVE_CONF);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    consumer_close(&consumer, 5000);
    dev_broker_close(&broker);
    return 0;
}

static void an_assignment_waits_for_its_answer(void **state) {
    (void)state;
    struct consumer_event event;
    struct error error;
    drive_expect(consumer, &event, CONSUMER_ASSIGN);
    assert_int_equal(event.partitions.count, 1);
    assert_string_equal(event.partitions.items[0].topic, "events.a");
    assert_int_equal(event.partitions.items[0].offset, CONSUMER_OFFSET_NONE);
    assert_int_equal(consumer_unassign(consumer, &error), STATUS_INVALID);
    assert_int_equal(consumer_assign(consumer, &event.partitions, &error), STATUS_INVALID); /* without an offset */
    drive_expect_nothing(consumer, 1000);
    assert_true(consumer_is_member(consumer));
    drive_assign(consumer, &event, 3);
    for (int64_t offset = 3; offset < 10; offset++)
        drive_record(consumer, "events.a", offset);
    drive_expect_nothing(consumer, 100);
}

static void a_record_has_its_parts(void **state) {
    (void)state;
    struct consumer_event event;
    struct error error;
    drive_ok(consumer_seek(consumer, SPAN_LITERAL("events.a"), 0, 7, &error), &error);
    drive_expect(consumer, &event, CONSUMER_RECORD);
    const struct consumer_record *record = &event.record;
    assert_int_equal(record->offset, 7);
    assert_int_equal(record->partition, 0);
    assert_true(span_is(record->key, "key"));
    assert_true(span_is(record->value, "value 7"));
    assert_int_equal(record->header_count, 2);
    assert_true(span_is(record->headers[0].name, "number"));
    assert_true(span_is(record->headers[0].value, "7"));
    assert_null(record->headers[1].value.data);
    int64_t age_ms = clock_wall_ms() - record->timestamp_ms;
    assert_true(age_ms >= 0 && age_ms < 60000);
    consumer_event_deinit(&event);
    drive_record(consumer, "events.a", 8);
    drive_record(consumer, "events.a", 9);
}

static void metadata_comes_back_with_the_offset(void **state) {
    (void)state;
    struct error error;
    char metadata[CONSUMER_METADATA_MAX + 1];
    memset(metadata, 'm', CONSUMER_METADATA_MAX);
    metadata[CONSUMER_METADATA_MAX] = '\0';
    struct topic_partitions list = drive_partition("events.a", 0, 5, metadata);
    drive_ok(consumer_commit_wait(consumer, &list, 5000, &error), &error);
    topic_partitions_deinit(&list);

    list = drive_partition("events.a", 0, CONSUMER_OFFSET_NONE, NULL);
    drive_ok(consumer_committed(consumer, &list, 5000, &error), &error);
    assert_int_equal(list.items[0].offset, 5);
    assert_string_equal(list.items[0].metadata, metadata);
    topic_partitions_deinit(&list);
}

static void a_commit_is_answered(void **state) {
    (void)state;
    struct error error;
    struct consumer_event event;
    struct topic_partitions list = drive_partition("events.a", 0, 6, "short");
    drive_ok(consumer_commit(consumer, &list, &error), &error);
    drive_expect(consumer, &event, CONSUMER_COMMITTED);
    assert_string_equal(event.error.text, "");
    assert_int_equal(event.partitions.count, 1);
    assert_int_equal(event.partitions.items[0].offset, 6);
    consumer_event_deinit(&event);
    drive_ok(consumer_committed(consumer, &list, 5000, &error), &error);
    assert_int_equal(list.items[0].offset, 6);
    assert_string_equal(list.items[0].metadata, "short");
    topic_partitions_deinit(&list);
}

static void watermarks_tell_the_ends(void **state) {
    (void)state;
    struct error error;
    int64_t low, high;
    drive_ok(consumer_watermarks(consumer, SPAN_LITERAL("events.a"), 0, 5000, &low, &high, &error), &error);
    assert_int_equal(low, 0);
    assert_int_equal(high, 10);
    assert_int_equal(consumer_cached_high(consumer, SPAN_LITERAL("events.a"), 0), 10);
    assert_int_equal(consumer_cached_high(consumer, SPAN_LITERAL("events.none"), 0), -1);
}

static void a_paused_partition_is_silent_at_once(void **state) {
    (void)state;
    struct error error;
    struct topic_partitions list = drive_partition("events.a", 0, CONSUMER_OFFSET_NONE, NULL);
    drive_ok(consumer_seek(consumer, SPAN_LITERAL("events.a"), 0, 0, &error), &error);
    drive_record(consumer, "events.a", 0); /* the others lie prefetched now */
    drive_ok(consumer_pause(consumer, &list, &error), &error);
    drive_ok(consumer_pause(consumer, &list, &error), &error);
    drive_expect_nothing(consumer, 300);
    drive_ok(consumer_resume(consumer, &list, &error), &error);
    drive_ok(consumer_resume(consumer, &list, &error), &error);
    for (int64_t offset = 1; offset < 10; offset++)
        drive_record(consumer, "events.a", offset);
    topic_partitions_deinit(&list);
}

static void an_offset_out_of_range_is_an_event(void **state) {
    (void)state;
    struct error error;
    struct consumer_event event;
    drive_ok(consumer_seek(consumer, SPAN_LITERAL("events.a"), 0, 1000, &error), &error);
    drive_expect(consumer, &event, CONSUMER_OUT_OF_RANGE);
    assert_int_equal(event.partitions.count, 1);
    assert_string_equal(event.partitions.items[0].topic, "events.a");
    assert_int_equal(event.partitions.items[0].offset, 1000);
    consumer_event_deinit(&event);
    drive_expect_nothing(consumer, 300);
    drive_ok(consumer_seek(consumer, SPAN_LITERAL("events.a"), 0, 8, &error), &error);
    drive_record(consumer, "events.a", 8);
    drive_record(consumer, "events.a", 9);
}

static void a_new_topic_is_found(void **state) {
    (void)state;
    struct error error;
    struct consumer_event event;
    struct topic_partitions paused = drive_partition("events.a", 0, CONSUMER_OFFSET_NONE, NULL);
    drive_ok(consumer_pause(consumer, &paused, &error), &error);
    topic_partitions_deinit(&paused);
    drive_ok(dev_broker_topic(broker, "events.b", &error), &error);
    drive_fill(broker, "events.b", 10);
    drive_fill(broker, "other.topic", 1);

    drive_expect(consumer, &event, CONSUMER_REVOKE);
    assert_false(event.lost);
    assert_int_equal(event.partitions.count, 1);
    consumer_event_deinit(&event);
    drive_ok(consumer_unassign(consumer, &error), &error);

    drive_expect(consumer, &event, CONSUMER_ASSIGN);
    assert_int_equal(event.partitions.count, 2);
    drive_assign(consumer, &event, 8);
    /* Both are read: the pause of the first did not outlive its assignment. */
    bool seen[2][2] = {{false, false}, {false, false}};
    for (int i = 0; i < 4; i++) {
        drive_expect(consumer, &event, CONSUMER_RECORD);
        bool *place = &seen[span_is(event.record.topic, "events.b")][event.record.offset - 8];
        assert_false(*place);
        *place = true;
        consumer_event_deinit(&event);
    }
}

/* The other partitions go on where they were, whatever happens to one. */
static void a_restart_neither_skips_nor_repeats(void **state) {
    (void)state;
    struct error error;
    struct consumer_event event;
    drive_ok(consumer_seek(consumer, SPAN_LITERAL("events.a"), 0, 0, &error), &error);
    for (int64_t offset = 0; offset < 4; offset++)
        drive_record(consumer, "events.a", offset);
    struct topic_partitions list = drive_partition("events.a", 0, CONSUMER_OFFSET_NONE, NULL);
    drive_ok(consumer_pause(consumer, &list, &error), &error);
    drive_ok(consumer_seek(consumer, SPAN_LITERAL("events.b"), 0, 77, &error), &error);
    drive_expect(consumer, &event, CONSUMER_OUT_OF_RANGE);
    assert_string_equal(event.partitions.items[0].topic, "events.b");
    consumer_event_deinit(&event);
    drive_ok(consumer_seek(consumer, SPAN_LITERAL("events.b"), 0, 9, &error), &error);
    drive_record(consumer, "events.b", 9);
    drive_expect_nothing(consumer, 200); /* a is still paused */
    drive_ok(consumer_resume(consumer, &list, &error), &error);
    for (int64_t offset = 4; offset < 10; offset++)
        drive_record(consumer, "events.a", offset);
    drive_expect_nothing(consumer, 200);
    topic_partitions_deinit(&list);
}

static void a_kept_record_outlives_the_consumer(void **state) {
    (void)state;
    struct error error;
    struct consumer_event event;
    drive_ok(consumer_seek(consumer, SPAN_LITERAL("events.a"), 0, 9, &error), &error);
    drive_expect(consumer, &event, CONSUMER_RECORD);
    void *handle = event.record.handle;
    event.record.handle = NULL;
    struct span value = event.record.value;
    consumer_event_deinit(&event);
    consumer_close(&consumer, 5000);
    assert_null(consumer);
    assert_true(span_is(value, "value 9"));
    consumer_record_done(&handle);
    assert_null(handle);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_assignment_waits_for_its_answer),
        cmocka_unit_test(a_record_has_its_parts),
        cmocka_unit_test(metadata_comes_back_with_the_offset),
        cmocka_unit_test(a_commit_is_answered),
        cmocka_unit_test(watermarks_tell_the_ends),
        cmocka_unit_test(a_paused_partition_is_silent_at_once),
        cmocka_unit_test(an_offset_out_of_range_is_an_event),
        cmocka_unit_test(a_new_topic_is_found),
        cmocka_unit_test(a_restart_neither_skips_nor_repeats),
        cmocka_unit_test(a_kept_record_outlives_the_consumer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
