/* Publications against librdkafka's own broker, there and away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/publisher.h"
#include "base/clock.h"
#include "base/memory.h"
#include "kafka/dev_broker.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct error error;

static struct publisher *opened(const char *brokers, int64_t record_ms, size_t max_records) {
    struct publisher_settings settings = {.brokers = brokers,
                                          .conf = "",
                                          .record_ms = record_ms,
                                          .wait_ms = record_ms + 1500,
                                          .max_records = max_records};
    struct publisher *publisher = NULL;
    if (publisher_new(&settings, &publisher, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    publisher_start(publisher);
    return publisher;
}

static struct publication *filled(int count, const char *topic) {
    struct publication *publication = publication_new();
    publication_set_key(publication, SPAN_LITERAL("acme"));
    publication_add_header(publication, SPAN_LITERAL("traceparent"), SPAN_LITERAL("00-1-2-01"));
    for (int i = 0; i < count; i++) {
        char value[32];
        snprintf(value, sizeof(value), "{\"n\":%d}", i);
        publication_add(publication, span_of(topic), span_of(value));
    }
    return publication;
}

static void test_acknowledges(void **state) {
    (void)state;
    struct dev_broker *broker;
    assert_int_equal(dev_broker_open(1, 1, &broker, &error), STATUS_OK);
    struct publisher *publisher = opened(dev_broker_address(broker), 8000, 0);
    struct publication *publication = filled(1000, "events.a");
    assert_int_equal(publication_count(publication), 1000);
    assert_int_equal(publisher_publish(publisher, publication, &error), STATUS_OK);
    for (size_t i = 0; i < 1000; i++)
        assert_null(publication_failure(publication, i));
    publication_free(&publication);
    assert_null(publication);
    /* Quick: nothing lingers, and no report waits to be looked for. */
    int64_t began_ms = clock_mono_ms();
    for (int i = 0; i < 20; i++) {
        publication = filled(1, "events.a");
        assert_int_equal(publisher_publish(publisher, publication, &error), STATUS_OK);
        publication_free(&publication);
    }
    assert_true(clock_mono_ms() - began_ms < 2000);
    publisher_stop(publisher);
    publisher_free(&publisher);
    assert_null(publisher);
    dev_broker_close(&broker);
}

static void test_away_and_back(void **state) {
    (void)state;
    struct dev_broker *broker;
    assert_int_equal(dev_broker_open(1, 1, &broker, &error), STATUS_OK);
    struct publisher *publisher = opened(dev_broker_address(broker), 3000, 0);
    struct publication *publication = filled(1, "events.a");
    assert_int_equal(publisher_publish(publisher, publication, &error), STATUS_OK);
    publication_free(&publication);
    dev_broker_reachable(broker, false);
    publication = filled(3, "events.a");
    int64_t began_ms = clock_mono_ms();
    assert_int_equal(publisher_publish(publisher, publication, &error), STATUS_FAILED);
    assert_true(clock_mono_ms() - began_ms < 6000);
    for (size_t i = 0; i < 3; i++)
        assert_non_null(publication_failure(publication, i));
    publication_free(&publication);
    dev_broker_reachable(broker, true);
    int64_t deadline_ms = clock_mono_ms() + 20000;
    enum status status = STATUS_FAILED;
    while (status != STATUS_OK && clock_mono_ms() < deadline_ms) {
        publication = filled(1, "events.a");
        status = publisher_publish(publisher, publication, &error);
        publication_free(&publication);
    }
    assert_int_equal(status, STATUS_OK);
    publisher_stop(publisher);
    publisher_free(&publisher);
    dev_broker_close(&broker);
}

struct other {
    struct publisher *publisher;
    enum status status;
    int64_t took_ms;
};

static void *publish_one(void *ctx) {
    struct other *other = ctx;
    struct error own;
    int64_t began_ms = clock_mono_ms();
    struct publication *publication = filled(1, "events.a");
    other->status = publisher_publish(other->publisher, publication, &own);
    other->took_ms = clock_mono_ms() - began_ms;
    assert_non_null(publication_failure(publication, 0));
    publication_free(&publication);
    return NULL;
}

static void test_only_one_tries_while_kafka_is_away(void **state) {
    (void)state;
    struct publisher *publisher = opened("127.0.0.1:1", 2500, 0);
    struct other first = {.publisher = publisher};
    publish_one(&first); /* finds out */
    assert_int_equal(first.status, STATUS_FAILED);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, publish_one, &first), 0);
    struct other second = {.publisher = publisher};
    publish_one(&second);
    pthread_join(thread, NULL);
    /* Whoever came first tries for as long as a record is tried; the other one was refused, and at once. */
    const struct other *refused = first.status == STATUS_UNAVAILABLE ? &first : &second;
    const struct other *tried = refused == &first ? &second : &first;
    assert_int_equal(refused->status, STATUS_UNAVAILABLE);
    assert_int_equal(tried->status, STATUS_FAILED);
    assert_true(refused->took_ms < 500 && tried->took_ms > 1500);
    publisher_stop(publisher);
    publisher_free(&publisher);
}

static void test_its_hands_are_bounded(void **state) {
    (void)state;
    struct publisher *publisher = opened("127.0.0.1:1", 1000, 10);
    struct publication *publication = filled(11, "events.a");
    assert_int_equal(publisher_publish(publisher, publication, &error), STATUS_UNAVAILABLE);
    assert_non_null(strstr(error.text, "too many"));
    assert_non_null(strstr(publication_failure(publication, 10), "too many"));
    publication_free(&publication);
    /* What failed has left its hands. */
    for (int i = 0; i < 2; i++) {
        publication = filled(10, "events.a");
        assert_int_equal(publisher_publish(publisher, publication, &error), STATUS_FAILED);
        publication_free(&publication);
    }
    publisher_stop(publisher);
    publisher_free(&publisher);
}

static void test_stopping_keeps_nobody_waiting(void **state) {
    (void)state;
    struct publisher *publisher = opened("127.0.0.1:1", 60000, 0);
    struct other other = {.publisher = publisher};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, publish_one, &other), 0);
    int64_t began_ms = clock_mono_ms();
    publisher_quiesce(publisher, 300);
    pthread_join(thread, NULL);
    assert_true(other.status == STATUS_FAILED || other.status == STATUS_UNAVAILABLE);
    assert_true(clock_mono_ms() - began_ms < 3000);
    publisher_stop(publisher);
    publisher_free(&publisher);
    assert_true(clock_mono_ms() - began_ms < 8000);
}

static void test_wrong_properties_are_refused(void **state) {
    (void)state;
    struct publisher_settings settings = {.brokers = "127.0.0.1:1", .conf = "no.such=1"};
    struct publisher *publisher = NULL;
    assert_int_equal(publisher_new(&settings, &publisher, &error), STATUS_INVALID);
    assert_null(publisher);
    publisher_free(&publisher);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acknowledges),
        cmocka_unit_test(test_away_and_back),
        cmocka_unit_test(test_only_one_tries_while_kafka_is_away),
        cmocka_unit_test(test_its_hands_are_bounded),
        cmocka_unit_test(test_stopping_keeps_nobody_waiting),
        cmocka_unit_test(test_wrong_properties_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
