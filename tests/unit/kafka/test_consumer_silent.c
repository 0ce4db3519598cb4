/* A broker that keeps its connections and answers nothing: librdkafka says nothing of it. */
#include "drive.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The broker is a process of its own, so that it can be frozen. */
struct frozen_broker {
    pid_t pid;
    char address[64];
};

static void serve_forever(int out) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct dev_broker *broker;
    struct error error = {""};
    if (dev_broker_open(1, 1, &broker, &error) != STATUS_OK ||
        dev_broker_topic(broker, "events.a", &error) != STATUS_OK)
        _exit(1);
    const char *address = dev_broker_address(broker);
    if (write(out, address, strlen(address)) != (ssize_t)strlen(address))
        _exit(1);
    close(out);
    for (;;)
        pause();
}

static struct frozen_broker begin(void) {
    struct frozen_broker broker = {.pid = 0};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    broker.pid = fork();
    assert_true(broker.pid >= 0);
    if (broker.pid == 0)
        serve_forever(ends[1]);
    close(ends[1]);
    ssize_t got = read(ends[0], broker.address, sizeof(broker.address) - 1);
    assert_true(got > 0);
    close(ends[0]);
    return broker;
}

static void end(const struct frozen_broker *broker) {
    kill(broker->pid, SIGKILL);
    assert_int_equal(waitpid(broker->pid, NULL, 0), broker->pid);
}

static void a_broker_that_is_frozen_is_away_and_comes_back(void **state) {
    (void)state;
    struct frozen_broker broker = begin();
    struct consumer_settings settings = {.brokers = broker.address,
                                         .conf = "session.timeout.ms=60000\nsocket.timeout.ms=60000\n",
                                         .group = "silent",
                                         .topic_prefix = "events.",
                                         .topics = "",
                                         .client_id = "test"};
    struct consumer *consumer = NULL;
    struct error error = {""};
    struct consumer_event event;
    drive_ok(consumer_open(&settings, &consumer, &error), &error);
    drive_expect(consumer, &event, CONSUMER_ASSIGN);
    drive_assign(consumer, &event, 0);
    kill(broker.pid, SIGSTOP);
    drive_expect(consumer, &event, CONSUMER_DOWN);
    assert_true(event.error.text[0] != '\0');
    consumer_event_deinit(&event);
    drive_expect_nothing(consumer, 4000); /* it is told once */
    kill(broker.pid, SIGCONT);
    drive_expect(consumer, &event, CONSUMER_UP);
    consumer_event_deinit(&event);
    drive_expect_nothing(consumer, 4000); /* quiet, but there */
    consumer_close(&consumer, 1000);
    end(&broker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broker_that_is_frozen_is_away_and_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
