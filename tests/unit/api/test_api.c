/* The API as a part of a process: it starts, answers and stops, in this order or another; and who is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"
#include "api/api.h"
#include "api/auth.h"
#include "db/migrate.h"
#include <arpa/inet.h>
#include <sys/socket.h>

static char *conninfo;
static struct connection *connection;

static int setup(void **state) {
    (void)state;
    struct error error;
    int applied;
    conninfo = pg_fixture_database();
    connection = pg_fixture_connect(conninfo);
    return migrate_run(connection, pg_fixture_sql(), NULL, NULL, &applied, &error) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    connection_free(&connection);
    pg_fixture_drop(&conninfo);
    return 0;
}

static struct settings settings_for(char *listen) {
    return (struct settings){.database_url = conninfo,
                             .kafka_brokers = "127.0.0.1:1",
                             .kafka_conf = "",
                             .allow_nets = "",
                             .ca_file = "",
                             .source_address = "",
                             .api_listen = listen,
                             .secret_key = "",
                             .insecure_dev = true,
                             .drain_timeout_ms = 5000};
}

static int dial(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval limit = {.tv_sec = 10};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* The answer's first bytes. */
static void ask(int fd, const char *path, char *out, size_t size) {
    char request[512];
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    assert_int_equal(send(fd, request, (size_t)len, MSG_NOSIGNAL), len);
    ssize_t got = recv(fd, out, size - 1, 0);
    assert_true(got > 0);
    out[got] = '\0';
}

static void test_starts_answers_and_stops(void **state) {
    (void)state;
    struct settings settings = settings_for("127.0.0.1:0");
    struct api *api = NULL;
    struct error error;
    char answer[4096];
    assert_int_equal(api_new(&settings, &api, &error), STATUS_OK);
    assert_int_equal(api_start(api, &error), STATUS_OK);
    int idle = dial(api_port(api)), fd = dial(api_port(api));
    ask(fd, "/healthz", answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 200", 12);
    ask(fd, "/readyz", answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 200", 12);
    ask(fd, "/notify/api/v1/event_types", answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 401", 12);
    int64_t began_ms = clock_mono_ms();
    api_stop(api, settings.drain_timeout_ms);
    assert_true(clock_mono_ms() - began_ms < 4000);
    assert_int_equal(recv(fd, answer, sizeof(answer), 0), 0);
    close(fd);
    close(idle);
    api_free(&api);
    assert_null(api);
    api_free(&api);
}

static void test_may_never_be_started(void **state) {
    (void)state;
    struct settings settings = settings_for("127.0.0.1:0");
    struct api *api = NULL;
    struct error error;
    assert_int_equal(api_new(&settings, &api, &error), STATUS_OK);
    api_stop(api, 1000);
    api_free(&api);
    settings.insecure_dev = false;
    assert_int_equal(api_new(&settings, &api, &error), STATUS_INVALID);
    assert_null(api);
}

static void test_says_why_it_does_not_start(void **state) {
    (void)state;
    struct settings settings = settings_for("127.0.0.1:0");
    struct api *first = NULL, *second = NULL;
    struct error error;
    assert_int_equal(api_new(&settings, &first, &error), STATUS_OK);
    assert_int_equal(api_start(first, &error), STATUS_OK);
    char listen[32];
    snprintf(listen, sizeof(listen), "127.0.0.1:%d", api_port(first));
    settings.api_listen = listen;
    assert_int_equal(api_new(&settings, &second, &error), STATUS_OK);
    assert_int_not_equal(api_start(second, &error), STATUS_OK);
    assert_non_null(strstr(error.text, listen));
    api_free(&second);
    settings.database_url = "host=127.0.0.1 port=1 dbname=none connect_timeout=1";
    assert_int_equal(api_new(&settings, &second, &error), STATUS_OK);
    assert_int_equal(api_start(second, &error), STATUS_UNAVAILABLE);
    api_free(&second);
    api_stop(first, 1000);
    api_free(&first);
}

static void test_a_key_is_remembered_for_half_a_second(void **state) {
    (void)state;
    struct auth *auth = auth_new();
    struct error error;
    struct uuid id;
    struct key_grant grant;
    struct key_new key = {.key = span_of("hc_test"), .workspace_id = span_of("acme")};
    assert_int_equal(auth_find(auth, connection, key.key, 1000, &grant, &error), STATUS_NOT_FOUND);
    assert_int_equal(keys_insert(connection, &key, &id, &error), STATUS_OK);
    assert_int_equal(auth_find(auth, connection, key.key, 1000, &grant, &error), STATUS_OK);
    assert_string_equal(grant.workspace_id, "acme");
    assert_int_equal(keys_revoke(connection, SPAN_NONE, &id, &error), STATUS_OK);
    assert_int_equal(auth_find(auth, connection, key.key, 1000 + AUTH_REMEMBER_MS - 1, &grant, &error), STATUS_OK);
    assert_int_equal(auth_find(auth, connection, key.key, 1000 + AUTH_REMEMBER_MS, &grant, &error), STATUS_NOT_FOUND);
    assert_int_equal(auth_find(auth, connection, key.key, 1001, &grant, &error), STATUS_OK);
    auth_free(&auth);
    assert_null(auth);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_answers_and_stops),
        cmocka_unit_test(test_may_never_be_started),
        cmocka_unit_test(test_says_why_it_does_not_start),
        cmocka_unit_test(test_a_key_is_remembered_for_half_a_second),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
