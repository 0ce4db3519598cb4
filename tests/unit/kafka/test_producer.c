#include "drive.h"

static void what_can_not_be_sent_is_refused(void **state) {
    (void)state;
    struct drive_reports reports = {0};
    struct error error;
    struct dev_broker *broker;
    drive_ok(dev_broker_open(1, 1, &broker, &error), &error);
    struct producer *producer = drive_producer(dev_broker_address(broker), &reports, "", DEADLINE_MS);
    assert_int_equal(producer_send(producer, SPAN_LITERAL(""), SPAN_NONE, SPAN_NONE, NULL, 0, NULL, &error),
                     STATUS_INVALID);
    static char big[1100000];
    assert_int_equal(producer_send(producer, SPAN_LITERAL("events.a"), SPAN_NONE, (struct span){big, sizeof(big)}, NULL,
                                   0, NULL, &error),
                     STATUS_INVALID);
    assert_int_equal(producer_waiting(producer), 0);
    drive_ok(producer_send(producer, SPAN_LITERAL("events.a"), SPAN_NONE, SPAN_LITERAL("x"), NULL, 0, NULL, &error),
             &error);
    int64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    while (producer_waiting(producer) > 0 && clock_mono_ms() < deadline_ms) {
        struct pollfd wait = {.fd = producer_fd(producer), .events = POLLIN};
        poll(&wait, 1, 1000);
        producer_poll(producer, 0);
    }
    assert_int_equal(reports.good, 1);
    producer_close(&producer, 1000);
    dev_broker_close(&broker);
}

static void a_full_queue_is_said_and_no_report_is_lost(void **state) {
    (void)state;
    struct drive_reports reports = {0};
    struct error error;
    struct producer *producer = drive_producer("127.0.0.1:1", &reports, "queue.buffering.max.messages=10", DEADLINE_MS);
    for (int i = 0; i < 10; i++)
        drive_ok(producer_send(producer, SPAN_LITERAL("events.a"), SPAN_NONE, SPAN_LITERAL("x"), NULL, 0, NULL, &error),
                 &error);
    assert_int_equal(
        producer_send(producer, SPAN_LITERAL("events.a"), SPAN_NONE, SPAN_LITERAL("x"), NULL, 0, NULL, &error),
        STATUS_UNAVAILABLE);
    assert_int_equal(producer_waiting(producer), 10);
    int64_t start_ms = clock_mono_ms();
    producer_close(&producer, 200);
    assert_true(clock_mono_ms() - start_ms < 5000);
    assert_int_equal(reports.bad, 10);
}

static void a_broker_that_never_answers_fails_the_record_with_the_reason(void **state) {
    (void)state;
    struct drive_reports reports = {0};
    struct error error;
    struct producer *producer = drive_producer("127.0.0.1:1", &reports, "", 500);
    drive_ok(producer_send(producer, SPAN_LITERAL("events.a"), SPAN_NONE, SPAN_LITERAL("x"), NULL, 0, NULL, &error),
             &error);
    int64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    while (producer_waiting(producer) > 0 && clock_mono_ms() < deadline_ms)
        producer_poll(producer, 100);
    assert_int_equal(reports.bad, 1);
    assert_non_null(strstr(reports.last, "127.0.0.1"));
    producer_close(&producer, 1000);
}

static void essential_properties_are_refused_by_name(void **state) {
    (void)state;
    struct producer_settings settings = {.brokers = "127.0.0.1:1",
                                         .conf = "acks=0",
                                         .client_id = "test",
                                         .message_timeout_ms = 1000,
                                         .report = drive_report};
    struct producer *producer = NULL;
    struct error error;
    assert_int_equal(producer_open(&settings, &producer, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "acks"));
    assert_null(producer);
}

/* Polls until something was reported. */
static void wait_for_report(struct producer *producer, const struct drive_reports *reports) {
    int64_t before = reports->good + reports->bad, deadline_ms = clock_mono_ms() + DEADLINE_MS;
    while (reports->good + reports->bad == before) {
        assert_true(clock_mono_ms() < deadline_ms);
        struct pollfd wait = {.fd = producer_fd(producer), .events = POLLIN};
        poll(&wait, 1, 100);
        producer_poll(producer, 0);
    }
}

static void one_that_may_not_go_on_begins_anew(void **state) {
    (void)state;
    struct drive_reports reports = {0};
    struct error error;
    struct dev_broker *broker;
    drive_ok(dev_broker_open(1, 1, &broker, &error), &error);
    dev_broker_refuse_producers(broker, 1);
    struct producer *producer = drive_producer(dev_broker_address(broker), &reports, "", DEADLINE_MS);
    drive_ok(producer_send(producer, SPAN_LITERAL("events.a"), SPAN_NONE, SPAN_LITERAL("x"), NULL, 0, NULL, &error),
             &error);
    wait_for_report(producer, &reports);
    assert_int_equal(reports.bad, 1);
    assert_int_equal(producer_waiting(producer), 0);
    int64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    enum status status;
    int refused = 0;
    while ((status = producer_send(producer, SPAN_LITERAL("events.a"), SPAN_NONE, SPAN_LITERAL("y"), NULL, 0, NULL,
                                   &error)) != STATUS_OK) {
        assert_int_equal(status, STATUS_FAILED);
        assert_non_null(strstr(error.text, "has ended"));
        assert_true(clock_mono_ms() < deadline_ms);
        refused++;
        producer_poll(producer, 50);
    }
    assert_true(refused > 0);
    wait_for_report(producer, &reports);
    assert_int_equal(reports.good, 1);
    producer_close(&producer, 1000);
    dev_broker_close(&broker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_can_not_be_sent_is_refused),
        cmocka_unit_test(a_full_queue_is_said_and_no_report_is_lost),
        cmocka_unit_test(a_broker_that_never_answers_fails_the_record_with_the_reason),
        cmocka_unit_test(one_that_may_not_go_on_begins_anew),
        cmocka_unit_test(essential_properties_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
