#include "kafka/probe.h"

#include "drive.h"

static struct dev_broker *broker;
static struct error error;

static int setup(void **state) {
    (void)state;
    if (dev_broker_open(1, 3, &broker, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    static const char *const NAMES[] = {"events.a", "events.b", "eventsx", "mixed.1", "mixed.2"};
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(*NAMES); i++)
        assert_int_equal(dev_broker_topic(broker, NAMES[i], &error), STATUS_OK);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    dev_broker_close(&broker);
    return 0;
}

static struct consumer_settings settings_of(const char *topics) {
    return (struct consumer_settings){.brokers = dev_broker_address(broker),
                                      .conf = "",
                                      .group = "probed",
                                      .topic_prefix = "events.",
                                      .topics = topics,
                                      .client_id = "test"};
}

static struct probe *open_probe(const struct consumer_settings *settings) {
    struct probe *probe = NULL;
    if (probe_open(settings, &probe, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return probe;
}

/* What the settings match, as "name/partitions name/partitions", with ! behind what has trouble. */
static char *matched(const char *list, bool read) {
    struct consumer_settings settings = settings_of(list);
    struct probe *probe = open_probe(&settings);
    struct probe_topics topics;
    if (probe_topics(probe, DEADLINE_MS, &topics, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    assert_int_equal(topics.brokers, 1);
    if (read)
        (void)probe_read(probe, DEADLINE_MS, &topics);
    struct buffer out;
    buffer_init(&out, 1024);
    for (size_t i = 0; i < topics.count; i++)
        buffer_printf(&out, "%s%s/%d%s", i ? " " : "", topics.items[i].name, (int)topics.items[i].partitions,
                      topics.items[i].trouble.text[0] ? "!" : "");
    probe_topics_deinit(&topics);
    probe_close(&probe);
    return buffer_take(&out, NULL);
}

static void expect_matched(const char *list, const char *expected) {
    char *got = matched(list, false);
    assert_string_equal(got, expected);
    mem_free(got);
}

static void test_the_topics_of_the_settings(void **state) {
    (void)state;
    expect_matched("", "events.a/3 events.b/3");
    expect_matched("mixed.2", "events.a/3 events.b/3 mixed.2/3");
    expect_matched("^mixed", "events.a/3 events.b/3 mixed.1/3 mixed.2/3");
    expect_matched("mixed.1, gone", "events.a/3 events.b/3 mixed.1/3 gone/0!");
}

static void test_reading(void **state) {
    (void)state;
    char *got = matched("", true);
    assert_string_equal(got, "events.a/3 events.b/3");
    mem_free(got);
}

static void test_the_group(void **state) {
    (void)state;
    struct consumer_settings settings = settings_of("");
    struct probe *probe = open_probe(&settings);
    struct probe_topics topics;
    int64_t committed = -1;
    assert_int_equal(probe_topics(probe, DEADLINE_MS, &topics, &error), STATUS_OK);
    if (probe_group(probe, DEADLINE_MS, &topics, &committed, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    assert_int_equal(committed, 0);
    probe_topics_deinit(&topics);
    probe_close(&probe);
}

static void test_nobody_answers(void **state) {
    (void)state;
    struct consumer_settings settings = settings_of("");
    settings.brokers = "127.0.0.1:1";
    struct probe *probe = open_probe(&settings);
    struct probe_topics topics;
    int64_t started_ms = clock_mono_ms();
    assert_int_equal(probe_topics(probe, 500, &topics, &error), STATUS_UNAVAILABLE);
    assert_in_range(clock_mono_ms() - started_ms, 0, 5000);
    assert_non_null(strstr(error.text, "127.0.0.1:1"));
    assert_non_null(strstr(error.text, "refused"));
    probe_close(&probe);
}

static void test_wrong_settings(void **state) {
    (void)state;
    struct consumer_settings settings = settings_of("^(");
    struct probe *probe = NULL;
    assert_int_equal(probe_open(&settings, &probe, &error), STATUS_INVALID);
    settings = settings_of("");
    settings.conf = "sasl.password=hidden\nno.such.thing=hidden";
    assert_int_equal(probe_open(&settings, &probe, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "no.such.thing"));
    assert_null(strstr(error.text, "hidden"));
    assert_null(probe);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_topics_of_the_settings),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_the_group),
        cmocka_unit_test(test_nobody_answers),
        cmocka_unit_test(test_wrong_settings),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
