/* What consumer_open refuses and how it says so; brokers that go and come back. */
#include "drive.h"

static enum status open_with(const char *conf, const char *topics, struct error *error) {
    struct consumer_settings settings = {.brokers = "127.0.0.1:1",
                                         .conf = conf,
                                         .group = "group",
                                         .topic_prefix = "events.",
                                         .topics = topics,
                                         .client_id = "test"};
    struct consumer *consumer = NULL;
    error->text[0] = '\0';
    enum status status = consumer_open(&settings, &consumer, error);
    assert_true((status == STATUS_OK) == (consumer != NULL));
    consumer_close(&consumer, 0);
    return status;
}

static void essential_properties_are_refused_by_name(void **state) {
    (void)state;
    static const char *const names[] = {"group.id",
                                        "enable.auto.commit",
                                        "auto.commit.enable",
                                        "enable.auto.offset.store",
                                        "auto.offset.reset",
                                        "isolation.level",
                                        "partition.assignment.strategy",
                                        "bootstrap.servers",
                                        "metadata.broker.list",
                                        "group.instance.id"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char conf[128];
        struct error error;
        snprintf(conf, sizeof(conf), "# a remark\n\n  %s = x\n", names[i]);
        assert_int_equal(open_with(conf, "", &error), STATUS_INVALID);
        assert_non_null(strstr(error.text, names[i]));
        assert_non_null(strstr(error.text, "line 3"));
    }
}

static void unknown_and_wrong_properties_are_named(void **state) {
    (void)state;
    struct error error;
    assert_int_equal(open_with("check.crcs=true\nno.such.thing=1", "", &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "line 2"));
    assert_non_null(strstr(error.text, "no.such.thing"));
    assert_int_equal(open_with("session.timeout.ms=soon", "", &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "session.timeout.ms"));
    assert_int_equal(open_with("nonsense", "", &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "name=value"));
    /* A value is never shown. */
    assert_int_equal(open_with("security.protocol=hunter2", "", &error), STATUS_INVALID);
    assert_null(strstr(error.text, "hunter2"));
}

static void defaults_may_be_overridden(void **state) {
    (void)state;
    struct error error;
    drive_ok(open_with("session.timeout.ms=6000\r\nheartbeat.interval.ms = 300 \nqueued.min.messages=10\n", "", &error),
             &error);
}

static void topics_are_checked(void **state) {
    (void)state;
    struct error error;
    drive_ok(open_with("", "orders, bills.v2", &error), &error);
    drive_ok(open_with("", "^(orders|bills){1,2}$", &error), &error);
    assert_int_equal(open_with("", "orders,bad topic!", &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "topic!"));
    assert_int_equal(open_with("", "^(orders", &error), STATUS_INVALID);
}

static void brokers_that_go_and_come_back_are_told_once(void **state) {
    (void)state;
    struct dev_broker *broker;
    struct error error;
    struct consumer_event event;
    drive_ok(dev_broker_open(1, 1, &broker, &error), &error);
    drive_fill(broker, "events.a", 1);
    dev_broker_reachable(broker, false);
    struct consumer *consumer = drive_open(broker, "away", DRIVE_CONF);
    drive_expect(consumer, &event, CONSUMER_DOWN);
    assert_non_null(strstr(event.error.text, "127.0.0.1"));
    consumer_event_deinit(&event);
    drive_expect_nothing(consumer, 1500); /* some further attempts */
    struct topic_partitions list = drive_partition("events.a", 0, 1, NULL);
    assert_int_equal(consumer_committed(consumer, &list, 100, &error), STATUS_UNAVAILABLE);
    topic_partitions_deinit(&list);
    dev_broker_reachable(broker, true);
    drive_expect(consumer, &event, CONSUMER_UP);
    consumer_event_deinit(&event);
    drive_expect(consumer, &event, CONSUMER_ASSIGN);
    drive_assign(consumer, &event, 0);
    drive_expect(consumer, &event, CONSUMER_RECORD);
    consumer_event_deinit(&event);
    consumer_close(&consumer, 5000);
    dev_broker_close(&broker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(essential_properties_are_refused_by_name),
        cmocka_unit_test(unknown_and_wrong_properties_are_named),
        cmocka_unit_test(defaults_may_be_overridden),
        cmocka_unit_test(topics_are_checked),
        cmocka_unit_test(brokers_that_go_and_come_back_are_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
