/* The HTTP server and request lines and headers that are too large or malformed. Closing it checks that no request is
 * left behind. */
#include "net/server.h"

#include "base/clock.h"
#include <microhttpd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server_wire.h"

#define END "Host: x\r\nConnection: close\r\n\r\n"
/* Later libmicrohttpds refuse some things by themselves that this one leaves to the server. */
#define LEAVES_IT (MHD_VERSION < 0x01000000)

static struct {
    struct loop *loop;
    struct server *server;
    struct loop_timer *closer;
    int port;
    atomic_int handled;
} fixture;

static char text[200000], received[65536];

static void put_name(void *ctx, struct span name, struct span value) {
    (void)value;
    buffer_printf(ctx, " %.*s", SPAN_ARGS(name));
}

static void on_request(void *ctx, struct request *request) {
    (void)ctx;
    struct buffer out;
    buffer_init(&out, 65536);
    fixture.handled++;
    buffer_printf(&out, "served %.*s", SPAN_ARGS(request_path(request)));
    request_each_query(request, put_name, &out);
    buffer_printf(&out, " x-test=%.*s.", SPAN_ARGS(request_header(request, "x-test")));
    request_respond(request, 200, "text/plain", buffer_view(&out));
    buffer_deinit(&out);
}

static int open_server(void **state) {
    (void)state;
    struct error error;
    struct server_settings settings = {.listen = "127.0.0.1:0", .max_body_bytes = 1000, .handler = on_request};
    fixture.loop = loop_new("server");
    if (server_open(fixture.loop, &settings, &fixture.server, &error) != STATUS_OK) {
        loop_free(&fixture.loop);
        return -1;
    }
    fixture.port = server_port(fixture.server);
    fixture.handled = 0;
    loop_start(fixture.loop);
    return 0;
}

static void close_in_loop(void *ctx) {
    (void)ctx;
    server_close(&fixture.server);
    loop_stop(fixture.loop);
}

/* The loop is stopped first, so that this thread may do what is the loop's. */
static int close_server(void **state) {
    (void)state;
    loop_stop(fixture.loop);
    loop_join(fixture.loop);
    fixture.closer = loop_timer_new(fixture.loop, close_in_loop, NULL);
    loop_timer_start(fixture.closer, 0);
    loop_run(fixture.loop);
    loop_timer_free(&fixture.closer);
    loop_free(&fixture.loop);
    return 0;
}

static int dial(void) {
    return dial_port(fixture.port);
}

/* Everything until the server closes, which it does before patience ends. */
static const char *exchange(const char *request) {
    int64_t began_ms = clock_mono_ms();
    int fd = dial();
    size_t len = 0;
    ssize_t got;
    send_text(fd, request);
    while (len < sizeof(received) - 1 && (got = recv(fd, received + len, sizeof(received) - 1 - len, 0)) > 0)
        len += (size_t)got;
    received[len] = '\0';
    close(fd);
    if (clock_mono_ms() - began_ms > (PATIENCE_S - 1) * 1000)
        fail_msg("%.100s\n→ no end", request);
    return received;
}

static void expect(const char *request, const char *status_line, const char *part) {
    const char *answer = exchange(request);
    if (strncmp(answer, status_line, strlen(status_line)) != 0 || !strstr(answer, part))
        fail_msg("%.100s\n→ %.300s", request, answer);
}

/* Refused by libmicrohttpd itself. */
static void expect_refused_or_cut(const char *request) {
    int before = fixture.handled;
    const char *answer = exchange(request);
    if (*answer != '\0' && strncmp(answer, "HTTP/1.1 4", 10) != 0 && strncmp(answer, "HTTP/1.1 505", 12) != 0)
        fail_msg("%.100s\n→ %.300s", request, answer);
    assert_int_equal(fixture.handled, before);
}

static size_t put_many(size_t len, const char *before, const char *behind, int count) {
    for (int i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%d%s", before, i, behind);
    return len;
}

static void test_heads_that_are_too_large(void **state) {
    (void)state;
    int other = dial();
    snprintf(text, sizeof(text), "GET /%030000d HTTP/1.1\r\n" END, 7);
    expect(text, "HTTP/1.1 200", "0007 x-test=.");
    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nX-Test: %030000d\r\n" END, 7);
    expect(text, "HTTP/1.1 200", "0007.");
    assert_int_equal(fixture.handled, 2);
    snprintf(text, sizeof(text), "GET /%0100000d HTTP/1.1\r\n" END, 7);
    expect(text, "HTTP/1.1 414", "");
    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nX-Test: %0100000d\r\n" END, 7);
    expect(text, "HTTP/1.1 431", "");
    size_t len = put_many((size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n"), "X-", ": y\r\n", 2000);
    snprintf(text + len, sizeof(text) - len, END);
    expect(text, "HTTP/1.1 431", "");
    assert_int_equal(fixture.handled, 2);
    /* Who was connected meanwhile is served, and who comes after it. */
    send_text(other, "GET /other HTTP/1.1\r\n" END);
    assert_true(recv(other, received, sizeof(received), 0) > 0);
    assert_memory_equal(received, "HTTP/1.1 200", 12);
    close(other);
    expect("GET /still HTTP/1.1\r\n" END, "HTTP/1.1 200", "served /still");
}

static void expect_bad_request(const char *request) {
    expect(request, "HTTP/1.1 400", LEAVES_IT ? "\"code\":\"bad_request\"" : "");
    if (LEAVES_IT)
        assert_non_null(strstr(received, "\r\nx-request-id: "));
    assert_null(strstr(received, "\r\n\r\nHTTP/"));
}

static void put_parameters(int count) {
    size_t len = put_many((size_t)snprintf(text, sizeof(text), "GET /?first"), "&a", "", count - 1);
    snprintf(text + len, sizeof(text) - len, " HTTP/1.1\r\n" END);
}

static void test_bad_requests(void **state) {
    (void)state;
    expect_bad_request("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    expect_bad_request("GET / HTTP/1.1\r\nHost: y\r\n" END);
    expect_bad_request("GET /a b HTTP/1.1\r\n" END);
    put_parameters(257);
    expect_bad_request(text);
    assert_int_equal(fixture.handled, 0);
    put_parameters(256);
    expect(text, "HTTP/1.1 200", " first a0 a1 ");
    assert_non_null(strstr(received, " a254 x-test"));
    expect("GET /old HTTP/1.0\r\n\r\n", "HTTP/1.", "served /old");
    assert_int_equal(fixture.handled, 2);
}

static void test_what_takes_more_memory_than_a_connection_has(void **state) {
    (void)state;
    put_parameters(600);
    expect_refused_or_cut(text);
    put_parameters(4000);
    expect_refused_or_cut(text);
    size_t len = put_many((size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nCookie: a=b"), "; c", "=d", 1000);
    snprintf(text + len, sizeof(text) - len, "\r\n" END);
    exchange(text);
    snprintf(text + len, sizeof(text) - len, "\r\nContent-Length: banana\r\n" END);
    expect_refused_or_cut(text);
    /* A client that leaves while its request hangs. */
    put_parameters(600);
    int fd = dial();
    send_text(fd, text);
    close(fd);
    expect("GET /still HTTP/1.1\r\n" END, "HTTP/1.1 200", "served /still");
}

static void test_garbage(void **state) {
    (void)state;
    static const char *const GARBAGE[] = {
        "\x16\x03\x01 banana\r\n\r\n",
        "GET\r\n\r\n",
        "GET \r\n\r\n",
        "GET  \r\n\r\n",
        "GET / BANANA\r\n" END,
        "GET / HTTP/7.1\r\n" END,
        "GET / HTTP/1.1\r\nno colon\r\n" END,
        "POST / HTTP/1.1\r\nContent-Length: banana\r\n" END "hello",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END "banana\r\nhello\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END "fffffffffffffffffff\r\nhello\r\n",
    };
    for (size_t i = 0; i < sizeof(GARBAGE) / sizeof(*GARBAGE); i++)
        expect_refused_or_cut(GARBAGE[i]);
    expect("GET /still HTTP/1.1\r\n" END, "HTTP/1.1 200", "served /still");
}

int main(void) {
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, open_server, close_server)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_heads_that_are_too_large),
        WITH_SERVER(test_bad_requests),
        WITH_SERVER(test_what_takes_more_memory_than_a_connection_has),
        WITH_SERVER(test_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
