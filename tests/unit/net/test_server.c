/* The HTTP server over raw sockets. The server runs in its loop's own thread, the test writes bytes. */
#include "net/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server_wire.h"

#define MAX_BODY 1000

static struct {
    struct loop *loop;
    struct server *server;
    struct loop_timer *later;
    struct request *_Atomic waiting;
    int port;
    int chunks_left;
    atomic_int handled;
    atomic_int streams_ended;
} fixture;

static void on_later(void *ctx) {
    (void)ctx;
    struct request *request = fixture.waiting;
    fixture.waiting = NULL;
    request_respond(request, 202, "text/plain", SPAN_LITERAL("later"));
}

static bool next_chunk(void *ctx, struct buffer *out) {
    const char *path = ctx;
    if (fixture.chunks_left == 1 && strcmp(path, "/broken") == 0)
        return false;
    if (fixture.chunks_left-- > 0)
        for (int i = 0; i < 10000; i++)
            buffer_text(out, "0123456789");
    return true;
}

static void end_stream(void *ctx) {
    (void)ctx;
    fixture.streams_ended++;
}

/* A stream that is fed: every other chunk at once, the others a little later. */
static struct {
    struct stream *stream;
    struct loop_timer *later;
    int chunks_left;
    bool cut; /* in place of the last chunk */
    bool late;
} fed;

static void feed(void *ctx) {
    (void)ctx;
    struct buffer chunk;
    if (fed.chunks_left == 1 && fed.cut) {
        stream_cut(fed.stream);
        return;
    }
    buffer_init(&chunk, 200000);
    for (int i = 0; i < 10000; i++)
        buffer_text(&chunk, "0123456789");
    stream_feed(fed.stream, &chunk, --fed.chunks_left == 0);
    assert_int_equal(chunk.len, 0);
    buffer_deinit(&chunk);
}

static void on_want(void *ctx) {
    fed.late = !fed.late;
    if (fed.late)
        loop_timer_start(fed.later, 2);
    else
        feed(ctx);
}

static void end_fed(void *ctx) {
    (void)ctx;
    loop_timer_stop(fed.later);
    fixture.streams_ended++;
}

/* Its chunk never comes. */
static void want_nothing(void *ctx) {
    (void)ctx;
}

#define FED_BYTES (20 * 100000)

static void begin_fed(struct request *request, bool cut, int64_t length) {
    fed.chunks_left = 20;
    fed.cut = cut;
    fed.stream = request_respond_fed(request, 200, "text/plain", length, on_want, end_fed, NULL);
}

static void put_query(void *ctx, struct span name, struct span value) {
    buffer_printf(ctx, " [%.*s=%.*s]", SPAN_ARGS(name), SPAN_ARGS(value));
}

static void echo(struct request *request) {
    struct buffer out;
    buffer_init(&out, 65536);
    buffer_printf(&out, "%s %.*s", request_method(request), SPAN_ARGS(request_path(request)));
    request_each_query(request, put_query, &out);
    struct span header = request_header(request, "X-Test");
    if (header.data)
        buffer_printf(&out, " x-test=%.*s", SPAN_ARGS(header));
    buffer_printf(&out, " body=%.*s", SPAN_ARGS(request_body(request)));
    request_set_header(request, "X-Answer", "yes");
    request_set_header(request, "X-Bad", "split\r\nX-Injected: yes");
    request_respond(request, 200, "text/plain", buffer_view(&out));
    buffer_deinit(&out);
}

static void on_request(void *ctx, struct request *request) {
    (void)ctx;
    struct span path = request_path(request);
    fixture.handled++;
    if (span_is(path, "/later")) {
        fixture.waiting = request;
        loop_timer_start(fixture.later, 20);
    } else if (span_is(path, "/never")) {
        /* Left to server_close. */
    } else if (span_is(path, "/stream") || span_is(path, "/broken")) {
        fixture.chunks_left = 20;
        request_respond_stream(request, 200, "text/plain", next_chunk, end_stream,
                               span_is(path, "/stream") ? "/stream" : "/broken");
    } else if (span_is(path, "/fed") || span_is(path, "/fed-cut")) {
        begin_fed(request, span_is(path, "/fed-cut"), 0);
    } else if (span_is(path, "/fed-known")) {
        begin_fed(request, false, FED_BYTES);
    } else if (span_is(path, "/fed-never")) {
        fed.chunks_left = 2;
        fed.stream = request_respond_fed(request, 200, "text/plain", 0, want_nothing, end_stream, NULL);
    } else if (span_is(path, "/empty")) {
        request_respond(request, 204, NULL, SPAN_NONE);
    } else {
        echo(request);
    }
}

static void close_in_loop(void *ctx) {
    (void)ctx;
    server_close(&fixture.server);
    loop_timer_free(&fixture.later);
    loop_timer_free(&fed.later);
    loop_stop(fixture.loop);
}

static struct loop_timer *closer;

static int open_with(const char *listen, size_t max_connections, int64_t idle_timeout_ms) {
    struct error error;
    struct server_settings settings = {.listen = listen,
                                       .max_body_bytes = MAX_BODY,
                                       .max_connections = max_connections,
                                       .idle_timeout_ms = idle_timeout_ms,
                                       .handler = on_request};
    fixture.loop = loop_new("server");
    if (server_open(fixture.loop, &settings, &fixture.server, &error) != STATUS_OK) {
        loop_free(&fixture.loop);
        return -1;
    }
    fixture.port = server_port(fixture.server);
    fixture.later = loop_timer_new(fixture.loop, on_later, NULL);
    fed.later = loop_timer_new(fixture.loop, feed, NULL);
    fixture.handled = 0;
    fixture.streams_ended = 0;
    return 0;
}

static int open_server(void **state) {
    (void)state;
    if (open_with("127.0.0.1:0", 0, 0) != 0)
        return -1;
    loop_start(fixture.loop);
    return 0;
}

/* The loop is stopped first, so that this thread may do what is the loop's. */
static int close_server(void **state) {
    (void)state;
    loop_stop(fixture.loop);
    loop_join(fixture.loop);
    closer = loop_timer_new(fixture.loop, close_in_loop, NULL);
    loop_timer_start(closer, 0);
    loop_run(fixture.loop);
    loop_timer_free(&closer);
    loop_free(&fixture.loop);
    return 0;
}

static int dial(void) {
    return dial_port(fixture.port);
}

static char received[4 * 1024 * 1024];

/* Work of the kernel for the loop that this thread made may interrupt it. */
static ssize_t receive(int fd, size_t len) {
    ssize_t got;
    do {
        got = recv(fd, received + len, sizeof(received) - 1 - len, 0);
    } while (got < 0 && errno == EINTR);
    return got;
}

/* Everything until the server closes. */
static const char *read_all(int fd) {
    size_t len = 0;
    ssize_t got;
    while (len < sizeof(received) - 1 && (got = receive(fd, len)) > 0)
        len += (size_t)got;
    received[len] = '\0';
    close(fd);
    return received;
}

/* Until the text has come. */
static const char *read_until(int fd, const char *text) {
    size_t len = 0;
    received[0] = '\0';
    while (!strstr(received, text)) {
        ssize_t got = receive(fd, len);
        if (got <= 0)
            fail_msg("\"%s\" did not come: %s", text, received);
        len += (size_t)got;
        received[len] = '\0';
    }
    return received;
}

static const char *exchange(const char *request) {
    int fd = dial();
    send_text(fd, request);
    return read_all(fd);
}

static void expect_answer(const char *request, const char *status_line, const char *part) {
    const char *answer = exchange(request);
    if (strncmp(answer, status_line, strlen(status_line)) != 0 || !strstr(answer, part))
        fail_msg("%s\n→ %s", request, answer);
}

#define END "Host: x\r\nConnection: close\r\n\r\n"

static void test_requests(void **state) {
    (void)state;
    expect_answer("GET /a%2Fb?x=1%202&y=&z HTTP/1.1\r\nX-Test: t\r\n" END, "HTTP/1.1 200",
                  "\r\n\r\nGET /a%2Fb [x=1 2] [y=] [z=] x-test=t body=");
    assert_non_null(strcasestr(received, "\r\nX-Answer: yes\r\n"));
    assert_non_null(strcasestr(received, "\r\nContent-Type: text/plain\r\n"));
    assert_null(strcasestr(received, "x-bad"));
    assert_null(strcasestr(received, "injected"));
    expect_answer("POST / HTTP/1.1\r\nContent-Length: 5\r\n" END "hello", "HTTP/1.1 200", "body=hello");
    expect_answer("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                  "HTTP/1.1 200", "body=abcde");
    expect_answer("GET /empty HTTP/1.1\r\n" END, "HTTP/1.1 204", "");
    expect_answer("PATCH /x HTTP/1.1\r\nContent-Length: 0\r\n" END, "HTTP/1.1 200", "PATCH /x body=");
}

static void test_head(void **state) {
    (void)state;
    expect_answer("HEAD /x HTTP/1.1\r\n" END, "HTTP/1.1 200", "ontent-Length: 13\r\n");
    const char *end = strstr(received, "\r\n\r\n");
    assert_non_null(end);
    assert_string_equal(end + 4, "");
    expect_answer("HEAD /stream HTTP/1.1\r\n" END, "HTTP/1.1 200", "");
    assert_int_equal(fixture.streams_ended, 1);
}

static void test_request_ids(void **state) {
    (void)state;
    expect_answer("GET / HTTP/1.1\r\nX-Request-ID: abc-1.2\r\n" END, "HTTP/1.1 200", "\r\nx-request-id: abc-1.2\r\n");
    const char *answer = exchange("GET / HTTP/1.1\r\nX-Request-ID: not<sane>\r\n" END);
    assert_null(strstr(answer, "sane"));
    const char *id = strstr(answer, "\r\nx-request-id: ");
    assert_non_null(id);
    assert_int_equal(strcspn(id + 16, "\r"), 36);
}

static void test_conflicting_framing(void **state) {
    (void)state;
    static const char *const FRAMINGS[] = {
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: banana\r\n",
        "Content-Length: 99999999999999999999999\r\n",
    };
    for (size_t i = 0; i < sizeof(FRAMINGS) / sizeof(*FRAMINGS); i++) {
        char request[512];
        snprintf(request, sizeof(request), "POST / HTTP/1.1\r\nHost: x\r\n%s\r\nhello", FRAMINGS[i]);
        const char *answer = exchange(request);
        if (strncmp(answer, "HTTP/1.1 4", 10) != 0)
            fail_msg("%s→ %s", request, answer);
    }
    assert_int_equal(fixture.handled, 0);
}

static void test_large_bodies(void **state) {
    (void)state;
    /* Refused by its length, although nothing of it ever comes. */
    expect_answer("POST / HTTP/1.1\r\nContent-Length: 1001\r\n" END, "HTTP/1.1 413", "larger than 1000 bytes");
    assert_non_null(strstr(received, "application/problem+json"));
    assert_int_equal(fixture.handled, 0);
    static char chunked[8192] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END;
    size_t len = strlen(chunked);
    for (int i = 0; i < 11; i++)
        len += (size_t)snprintf(chunked + len, sizeof(chunked) - len, "64\r\n%0100d\r\n", 0);
    snprintf(chunked + len, sizeof(chunked) - len, "0\r\n\r\n");
    expect_answer(chunked, "HTTP/1.1 413", "body_too_large");
    assert_int_equal(fixture.handled, 0);
    static char exact[4096];
    snprintf(exact, sizeof(exact), "POST / HTTP/1.1\r\nContent-Length: 1000\r\n" END "%01000d", 7);
    expect_answer(exact, "HTTP/1.1 200", "0007");
    /* Without an end: cut. */
    int fd = dial();
    send_text(fd, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END);
    for (int i = 0; i < 20000; i++)
        send_text(fd,
                  "64\r\n0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
                  "000000000\r\n");
    read_all(fd);
    assert_int_equal(fixture.handled, 1);
}

static void test_answers_later_and_keeps_the_connection(void **state) {
    (void)state;
    int fd = dial();
    for (int i = 0; i < 3; i++) {
        send_text(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_non_null(strstr(read_until(fd, "later"), "HTTP/1.1 202"));
    }
    /* Two in one packet. */
    send_text(fd, "GET /one HTTP/1.1\r\nHost: x\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(fd, "GET /two body=");
    close(fd);
}

static void test_a_client_that_leaves_before_the_answer(void **state) {
    (void)state;
    int fd = dial();
    send_text(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 1000 && fixture.handled == 0; i++)
        usleep(1000);
    close(fd);
    expect_answer("GET /next HTTP/1.1\r\n" END, "HTTP/1.1 200", "/next");
    for (int i = 0; i < 1000 && fixture.waiting; i++)
        usleep(1000);
    assert_null(fixture.waiting);
}

static void test_streams(void **state) {
    (void)state;
    const char *answer = exchange("GET /stream HTTP/1.0\r\n\r\n");
    const char *body = strstr(answer, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(strlen(body + 4), 20 * 100000);
    int fd = dial();
    send_text(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(fd, "\r\n0\r\n\r\n");
    assert_non_null(strcasestr(received, "transfer-encoding: chunked"));
    close(fd);
    /* Cut short: no last chunk. */
    assert_null(strstr(exchange("GET /broken HTTP/1.1\r\n" END), "\r\n0\r\n\r\n"));
    for (int i = 0; i < 1000 && fixture.streams_ended < 3; i++)
        usleep(1000);
    assert_int_equal(fixture.streams_ended, 3);
}

static void test_streams_that_are_fed(void **state) {
    (void)state;
    const char *answer = exchange("GET /fed HTTP/1.0\r\n\r\n");
    const char *body = strstr(answer, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(strlen(body + 4), FED_BYTES);
    expect_answer("HEAD /fed HTTP/1.1\r\n" END, "HTTP/1.1 200", "");
    assert_null(strstr(exchange("GET /fed-cut HTTP/1.1\r\n" END), "\r\n0\r\n\r\n"));
    assert_int_equal(fixture.streams_ended, 3);
    /* A client that leaves in between: found out with the next chunk. */
    int fd = dial();
    send_text(fd, "GET /fed HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(fd, "0123456789");
    close(fd);
    for (int i = 0; i < 2000 && fixture.streams_ended < 4; i++)
        usleep(1000);
    assert_int_equal(fixture.streams_ended, 4);
    /* One that still waits for its chunk doesn't keep the server from closing. */
    fd = dial();
    send_text(fd, "GET /fed-never HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(fd, "200 OK");
    expect_answer("GET /next HTTP/1.1\r\n" END, "HTTP/1.1 200", "/next");
    close(fd);
}

static void test_the_length_of_a_stream_is_told_where_it_is_known(void **state) {
    (void)state;
    const char *answer = exchange("GET /fed-known HTTP/1.1\r\n" END);
    assert_non_null(strcasestr(answer, "\r\nContent-Length: 2000000\r\n"));
    assert_null(strcasestr(answer, "\r\nTransfer-Encoding:"));
    assert_int_equal(strlen(strstr(answer, "\r\n\r\n") + 4), FED_BYTES);
    answer = exchange("HEAD /fed-known HTTP/1.1\r\n" END);
    assert_non_null(strcasestr(answer, "\r\nContent-Length: 2000000\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    assert_int_equal(fixture.streams_ended, 2);
}

static void test_close_with_a_request_unanswered(void **state) {
    (void)state;
    open_server(NULL);
    int fd = dial();
    send_text(fd, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 1000 && fixture.handled == 0; i++)
        usleep(1000);
    close_server(NULL);
    const char *answer = read_all(fd);
    assert_true(*answer == '\0' || strstr(answer, "503"));
}

static void test_limits_of_connections_and_idleness(void **state) {
    (void)state;
    assert_int_equal(open_with("127.0.0.1:0", 2, 1000), 0);
    loop_start(fixture.loop);
    int first = dial(), second = dial();
    send_text(first, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(first, "body=");
    send_text(second, "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(second, "body=");
    int third = dial();
    send_text(third, "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n");
    /* Not served while both are there, which idleness ends after a second. */
    assert_int_equal(fixture.handled, 2);
    assert_string_equal(read_all(first), "");
    assert_string_equal(read_all(second), "");
    close(third);
    close_server(NULL);
}

static void quiesce(void *ctx) {
    (void)ctx;
    server_quiesce(fixture.server);
    server_quiesce(fixture.server);
}

static void test_quiesce(void **state) {
    (void)state;
    assert_int_equal(open_with("127.0.0.1:0", 0, 0), 0);
    int fd = dial();
    send_text(fd, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
    struct loop_timer *timer = loop_timer_new(fixture.loop, quiesce, NULL);
    loop_timer_start(timer, 200);
    loop_start(fixture.loop);
    read_until(fd, "GET /1 body=");
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)fixture.port)};
    bool refused = false;
    for (int i = 0; i < 500 && !refused; i++) {
        int other = socket(AF_INET, SOCK_STREAM, 0);
        refused = connect(other, (struct sockaddr *)&address, sizeof(address)) != 0;
        close(other);
        usleep(10000);
    }
    assert_true(refused);
    send_text(fd, "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(fd, "GET /2 body=");
    close(fd);
    loop_stop(fixture.loop);
    loop_join(fixture.loop);
    loop_timer_free(&timer);
    close_server(NULL);
}

static void test_listen_addresses(void **state) {
    (void)state;
    static const char *const BAD[] = {"",       "banana",  "127.0.0.1",     "127.0.0.1:",   "127.0.0.1:99999",
                                      "::1:80", "[::1:80", "127.0.0.1:80x", "127.0.0.1:-1", "no.such.host.invalid:0"};
    static const char *const GOOD[] = {"127.0.0.1:0", "*:0", ":0", "[::1]:0", "localhost:0"};
    struct loop *loop = loop_new("listen");
    struct server_settings settings = {.max_body_bytes = 1, .handler = on_request};
    struct server *server = NULL;
    struct error error;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(*BAD); i++) {
        settings.listen = BAD[i];
        if (server_open(loop, &settings, &server, &error) != STATUS_INVALID)
            fail_msg("%s was taken", BAD[i]);
    }
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(*GOOD); i++) {
        settings.listen = GOOD[i];
        if (server_open(loop, &settings, &server, &error) != STATUS_OK)
            fail_msg("%s", error.text);
        assert_true(server_port(server) > 0);
        /* Taken, by now. */
        char again[32];
        snprintf(again, sizeof(again), "127.0.0.1:%d", server_port(server));
        settings.listen = again;
        struct server *other = NULL;
        if (i == 0)
            assert_int_equal(server_open(loop, &settings, &other, &error), STATUS_UNAVAILABLE);
        server_close(&server);
        assert_null(server);
    }
    loop_free(&loop);
}

int main(void) {
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, open_server, close_server)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_requests),
        WITH_SERVER(test_head),
        WITH_SERVER(test_request_ids),
        WITH_SERVER(test_conflicting_framing),
        WITH_SERVER(test_large_bodies),
        WITH_SERVER(test_answers_later_and_keeps_the_connection),
        WITH_SERVER(test_a_client_that_leaves_before_the_answer),
        WITH_SERVER(test_streams),
        WITH_SERVER(test_streams_that_are_fed),
        WITH_SERVER(test_the_length_of_a_stream_is_told_where_it_is_known),
        cmocka_unit_test(test_close_with_a_request_unanswered),
        cmocka_unit_test(test_limits_of_connections_and_idleness),
        cmocka_unit_test(test_quiesce),
        cmocka_unit_test(test_listen_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
