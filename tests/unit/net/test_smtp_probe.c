/* A mail server that says its lines and keeps what it was told, in a thread of its own. */
#include "base/clock.h"
#include "net/smtp_probe.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    int listener;
    int port;
    const char *greeting; /* NULL: says nothing */
    char told[4096];
    pthread_t thread;
} server;

static struct error error;

static void *serve(void *ctx) {
    (void)ctx;
    int fd = accept(server.listener, NULL, NULL);
    size_t len = 0;
    ssize_t got = 1;
    if (server.greeting)
        (void)!send(fd, server.greeting, strlen(server.greeting), MSG_NOSIGNAL);
    while (got > 0 && len < sizeof(server.told) - 1) {
        got = recv(fd, server.told + len, sizeof(server.told) - 1 - len, 0);
        len += got > 0 ? (size_t)got : 0;
        static const char FINE[] = "250-mail.example\r\n250 AUTH PLAIN\r\n";
        if (got > 0 && server.greeting)
            (void)!send(fd, FINE, sizeof(FINE) - 1, MSG_NOSIGNAL);
    }
    server.told[len] = '\0';
    close(fd);
    return NULL;
}

static void start(const char *greeting) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    server.greeting = greeting;
    server.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server.listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server.listener, 1), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&address, &size), 0);
    server.port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void stop(void) {
    pthread_join(server.thread, NULL);
    close(server.listener);
}

static enum status probe(int64_t timeout_ms) {
    char url[128], expected[32];
    struct buffer name;
    buffer_init(&name, 256);
    snprintf(url, sizeof(url), "smtp://someone:hidden@127.0.0.1:%d", server.port);
    snprintf(expected, sizeof(expected), "127.0.0.1:%d", server.port);
    error.text[0] = '\0';
    enum status status = smtp_probe(url, "", timeout_ms, &name, &error);
    assert_string_equal(name.data, expected);
    assert_null(strstr(error.text, "hidden"));
    buffer_deinit(&name);
    return status;
}

static void test_a_server_that_greets(void **state) {
    (void)state;
    start("220 mail.example ready\r\n");
    assert_int_equal(probe(10000), STATUS_OK);
    stop();
    assert_memory_equal(server.told, "EHLO", 4);
    assert_null(strstr(server.told, "AUTH"));
    assert_null(strstr(server.told, "MAIL"));
}

static void test_servers_that_do_not(void **state) {
    (void)state;
    start("554 go away\r\n");
    assert_int_equal(probe(10000), STATUS_UNAVAILABLE);
    stop();
    start(NULL);
    int64_t started_ms = clock_mono_ms();
    assert_int_equal(probe(300), STATUS_UNAVAILABLE);
    assert_in_range(clock_mono_ms() - started_ms, 250, 5000);
    stop();
    assert_int_equal(probe(10000), STATUS_UNAVAILABLE); /* nobody listens any more */
}

static void test_a_url_that_is_none(void **state) {
    (void)state;
    struct buffer name;
    buffer_init(&name, 256);
    assert_int_equal(smtp_probe("smtp://a:hidden@host:port", "", 1000, &name, &error), STATUS_INVALID);
    assert_null(strstr(error.text, "hidden"));
    buffer_deinit(&name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_that_greets),
        cmocka_unit_test(test_servers_that_do_not),
        cmocka_unit_test(test_a_url_that_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
