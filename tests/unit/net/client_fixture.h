/* A loop with a webhook client, and one exchange at a time. */
#ifndef TEST_CLIENT_FIXTURE_H
#define TEST_CLIENT_FIXTURE_H

#include "base/clock.h"
#include "net/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

struct answer {
    enum client_result result;
    int status_code;
    char body[4096];
    size_t kept_bytes;
    size_t body_bytes;
    int64_t retry_after_ms;
    int64_t duration_us;
    bool new_connection;
    char detail[256];
};

static struct {
    struct loop *loop;
    struct guard *guard;
    struct client *client;
    struct loop_timer *watchdog;
    int waiting; /* answers until the loop stops */
} fixture;

static void on_patience_end(void *ctx) {
    (void)ctx;
    fail_msg("no answer within %d ms", PATIENCE_MS);
}

static void fixture_open_with(const char *allow_nets, struct client_settings settings) {
    struct error error;
    fixture.loop = loop_new("test");
    fixture.watchdog = loop_timer_new(fixture.loop, on_patience_end, NULL);
    if (guard_new(allow_nets, &fixture.guard, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    settings.guard = fixture.guard;
    if (client_new(fixture.loop, &settings, &fixture.client, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

static struct client_settings plain_settings(void) {
    return (struct client_settings){
        .allow_http = true, .ca_file = "", .source_address = "", .response_body_limit_bytes = 1000};
}

static void fixture_close(void) {
    client_free(&fixture.client);
    guard_free(&fixture.guard);
    loop_timer_free(&fixture.watchdog);
    loop_free(&fixture.loop);
}

static void on_answer(void *ctx, const struct client_response *response) {
    struct answer *answer = ctx;
    answer->result = response->result;
    answer->status_code = response->status_code;
    answer->kept_bytes = response->body.len;
    answer->body_bytes = response->body_bytes;
    answer->retry_after_ms = response->retry_after_ms;
    answer->duration_us = response->duration_us;
    answer->new_connection = response->new_connection;
    snprintf(answer->body, sizeof(answer->body), "%.*s", SPAN_ARGS(response->body));
    snprintf(answer->detail, sizeof(answer->detail), "%s", response->detail);
    if (--fixture.waiting == 0)
        loop_stop(fixture.loop);
}

static const struct client_header HEADERS[] = {
    {SPAN_LITERAL("content-type: application/json")},
    {SPAN_LITERAL("webhook-id: evt_1")},
};

static struct exchange *begin(const char *url, int64_t timeout_ms, struct answer *answer) {
    struct client_request request = {url, HEADERS, 2, SPAN_LITERAL("{\"a\":1}"), timeout_ms};
    fixture.waiting++;
    memset(answer, 0, sizeof(*answer));
    answer->result = (enum client_result) - 1;
    return client_send(fixture.client, &request, on_answer, answer);
}

static void wait_for_answers(void) {
    loop_timer_start(fixture.watchdog, PATIENCE_MS);
    loop_run(fixture.loop);
    loop_timer_stop(fixture.watchdog);
    assert_int_equal(fixture.waiting, 0);
}

static struct answer ask(const char *url, int64_t timeout_ms) {
    struct answer answer;
    begin(url, timeout_ms, &answer);
    wait_for_answers();
    return answer;
}

static void expect_result(const char *url, const struct answer *answer, enum client_result result) {
    if (answer->result != result)
        fail_msg("%s: %s (%s), not %s", url, client_result_name(answer->result), answer->detail,
                 client_result_name(result));
}

#endif
