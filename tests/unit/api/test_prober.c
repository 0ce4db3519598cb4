/* The prober against a receiver that misbehaves. */
#include "../net/bad_receiver.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "api/prober.h"

static char NETS[] = "127.0.0.0/8", NO_NETS[] = "", NONE[] = "";
static struct prober *prober;
static struct error error;

static void open_prober(char *nets) {
    static struct settings settings;
    settings = (struct settings){.allow_nets = nets,
                                 .allow_http = true,
                                 .ca_file = NONE,
                                 .source_address = NONE,
                                 .response_body_limit_bytes = 1000};
    if (prober_new(&settings, &prober, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    prober_start(prober);
}

static int setup(void **state) {
    (void)state;
    open_prober(NETS);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    prober_stop(prober);
    prober_free(&prober);
    return 0;
}

/* One probe, on a thread of its own where a test wants several. */
struct asked {
    struct probe probe;
    struct client_header header;
    char url[100];
    const char *workspace;
    enum status entered;
    pthread_t thread;
};

static void prepare(struct asked *asked, const char *path, const char *workspace, int64_t timeout_ms) {
    probe_init(&asked->probe);
    snprintf(asked->url, sizeof(asked->url), "http://127.0.0.1:%d%s", receiver.port, path);
    asked->header.line = SPAN_LITERAL("x-own: 1");
    asked->probe.workspace_id = span_of(workspace);
    asked->probe.request = (struct client_request){.url = asked->url,
                                                   .headers = &asked->header,
                                                   .header_count = 1,
                                                   .body = SPAN_LITERAL("{\"a\":1}"),
                                                   .timeout_ms = timeout_ms};
}

static void *ask(void *ctx) {
    struct asked *asked = ctx;
    struct error ignored;
    asked->entered = prober_enter(prober, &asked->probe, &ignored);
    if (asked->entered == STATUS_OK) {
        prober_send(prober, &asked->probe);
        prober_leave(prober, &asked->probe);
    }
    return NULL;
}

static void test_what_is_sent_and_answered(void **state) {
    (void)state;
    struct asked asked;
    prepare(&asked, "/echo", "w1", 5000);
    ask(&asked);
    assert_int_equal(asked.entered, STATUS_OK);
    assert_int_equal(asked.probe.result, CLIENT_ANSWERED);
    assert_int_equal(asked.probe.status_code, 200);
    assert_non_null(strstr(asked.probe.body.data, "POST /echo HTTP/1.1\r\n"));
    assert_non_null(strstr(asked.probe.body.data, "x-own: 1\r\n"));
    assert_non_null(strstr(asked.probe.body.data, "{\"a\":1}"));
    probe_deinit(&asked.probe);
}

static void test_each_end_is_told(void **state) {
    (void)state;
    static const struct {
        const char *path;
        enum client_result result;
        int status_code;
    } CASES[] = {
        {"/204", CLIENT_ANSWERED, 204},       {"/redirect", CLIENT_ANSWERED, 302},  {"/gone", CLIENT_ANSWERED, 410},
        {"/short", CLIENT_RESET, 0},          {"/garbage", CLIENT_BAD_RESPONSE, 0}, {"/hang", CLIENT_TIMEOUT, 0},
        {"/trickle-body", CLIENT_TIMEOUT, 0},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(*CASES); i++) {
        struct asked asked;
        prepare(&asked, CASES[i].path, "w1", 1000);
        ask(&asked);
        if (asked.probe.result != CASES[i].result || asked.probe.status_code != CASES[i].status_code)
            fail_msg("%s: %s %d", CASES[i].path, client_result_name(asked.probe.result), asked.probe.status_code);
        assert_true((asked.probe.result == CLIENT_ANSWERED) == !asked.probe.detail[0]);
        probe_deinit(&asked.probe);
    }
}

static void test_addresses_are_judged(void **state) {
    (void)state;
    open_prober(NO_NETS);
    struct asked asked;
    prepare(&asked, "/204", "w1", 5000);
    ask(&asked);
    assert_int_equal(asked.probe.result, CLIENT_ADDRESS_REFUSED);
    probe_deinit(&asked.probe);
    teardown(NULL);
}

static void wait_until_in_flight(int count) {
    int64_t deadline_ms = clock_mono_ms() + 10000;
    for (int under_way = 0; under_way < count;) {
        assert_true(clock_mono_ms() < deadline_ms);
        struct probe probe;
        probe_init(&probe);
        probe.workspace_id = SPAN_LITERAL("w1");
        enum status status = prober_enter(prober, &probe, &error);
        if (status == STATUS_OK)
            prober_leave(prober, &probe);
        under_way = status == STATUS_CONFLICT ? count : 0;
        pause_ms(5);
    }
}

static void test_a_workspace_has_few_at_a_time(void **state) {
    (void)state;
    struct asked hanging[PROBER_WORKSPACE_MAX], third, other;
    for (int i = 0; i < PROBER_WORKSPACE_MAX; i++) {
        prepare(&hanging[i], "/hang", "w1", 2000);
        CHECK(pthread_create(&hanging[i].thread, NULL, ask, &hanging[i]) == 0);
    }
    wait_until_in_flight(PROBER_WORKSPACE_MAX);
    prepare(&third, "/204", "w1", 2000);
    ask(&third);
    assert_int_equal(third.entered, STATUS_CONFLICT);
    prepare(&other, "/204", "w2", 2000);
    ask(&other);
    assert_int_equal(other.probe.status_code, 204);
    for (int i = 0; i < PROBER_WORKSPACE_MAX; i++) {
        pthread_join(hanging[i].thread, NULL);
        assert_int_equal(hanging[i].probe.result, CLIENT_TIMEOUT);
        probe_deinit(&hanging[i].probe);
    }
    ask(&third);
    assert_int_equal(third.probe.status_code, 204);
    probe_deinit(&third.probe);
    probe_deinit(&other.probe);
}

static void test_stopping_cuts_off_and_lets_nobody_in(void **state) {
    (void)state;
    struct asked hanging[PROBER_WORKSPACE_MAX], late;
    int64_t began_ms = clock_mono_ms();
    for (int i = 0; i < PROBER_WORKSPACE_MAX; i++) {
        prepare(&hanging[i], "/hang", "w1", 30000);
        CHECK(pthread_create(&hanging[i].thread, NULL, ask, &hanging[i]) == 0);
    }
    wait_until_in_flight(PROBER_WORKSPACE_MAX);
    prober_quiesce(prober, 300);
    prepare(&late, "/204", "w2", 2000);
    ask(&late);
    assert_int_equal(late.entered, STATUS_UNAVAILABLE);
    for (int i = 0; i < PROBER_WORKSPACE_MAX; i++) {
        pthread_join(hanging[i].thread, NULL);
        assert_int_equal(hanging[i].probe.result, CLIENT_CANCELLED);
        probe_deinit(&hanging[i].probe);
    }
    assert_true(clock_mono_ms() - began_ms < 15000);
    probe_deinit(&late.probe);
}

static void test_settings_that_are_wrong(void **state) {
    (void)state;
    static char wrong[] = "nonsense";
    struct settings settings = {.allow_nets = wrong, .ca_file = NONE, .source_address = NONE};
    struct prober *none = NULL;
    assert_int_equal(prober_new(&settings, &none, &error), STATUS_INVALID);
    assert_null(none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_sent_and_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_end_is_told, setup, teardown),
        cmocka_unit_test(test_addresses_are_judged),
        cmocka_unit_test_setup_teardown(test_a_workspace_has_few_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopping_cuts_off_and_lets_nobody_in, setup, teardown),
        cmocka_unit_test(test_settings_that_are_wrong),
    };
    return cmocka_run_group_tests(tests, receiver_start, receiver_stop);
}
