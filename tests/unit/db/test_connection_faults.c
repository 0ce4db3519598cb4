/* What a connection does when the network, the server or another thread gets in the way; and COPY, LISTEN. */
#include "db/connection.h"

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "pg_fixture.h"

static char *database;
static struct connection *connection;
static struct error error;

static int group_setup(void **state) {
    (void)state;
    database = pg_fixture_database();
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    pg_fixture_drop(&database);
    return 0;
}

static int setup(void **state) {
    (void)state;
    connection = pg_fixture_connect(database);
    pg_fixture_exec(connection, "DROP TABLE IF EXISTS copied; CREATE TABLE copied (id int8 CHECK (id >= 0), body text,"
                                " day timestamptz, tags uuid[], extra jsonb)");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    connection_free(&connection);
    return 0;
}

static const char COPY[] = "COPY copied (id, body, day, tags, extra) FROM STDIN (FORMAT binary)";

static void add_row(struct buffer *rows, int64_t id, struct span body) {
    struct uuid tags[2] = {{{1}}, {{2}}};
    wire_copy_row(rows, 5);
    wire_int8(rows, id);
    wire_text(rows, body);
    wire_timestamp(rows, INT64_C(1700000000000));
    wire_uuid_array(rows, body.data ? tags : NULL, body.data ? 2 : 0);
    wire_jsonb(rows, body.data ? SPAN_LITERAL("{\"k\":1}") : SPAN_NONE);
}

static void test_copy(void **state) {
    (void)state;
    struct buffer rows;
    buffer_init(&rows, 1 << 20);
    add_row(&rows, 1, SPAN_LITERAL("tëxt\n\\."));
    add_row(&rows, 2, SPAN_NONE);
    int64_t count = 0;
    assert_int_equal(connection_copy(connection, COPY, buffer_view(&rows), &count, &error), STATUS_OK);
    assert_int_equal(count, 2);
    assert_string_equal(pg_fixture_ask(connection, "SELECT body FROM copied WHERE id = 1"), "tëxt\n\\.");
    assert_string_equal(pg_fixture_ask(connection, "SELECT extra->>'k' || array_length(tags, 1) || day FROM copied"),
                        "122023-11-14 22:13:20+00");
    assert_string_equal(pg_fixture_ask(connection,
                                       "SELECT count(*) FROM copied WHERE body IS NULL AND tags IS NULL AND "
                                       "extra IS NULL"),
                        "1");
    assert_int_equal(connection_copy(connection, COPY, SPAN_NONE, &count, &error), STATUS_OK);
    assert_int_equal(count, 0);
    buffer_deinit(&rows);
}

static void test_a_failed_copy_leaves_the_connection(void **state) {
    (void)state;
    struct buffer rows;
    int64_t count = -7;
    buffer_init(&rows, 64 << 20);
    char body[2000];
    memset(body, 'x', sizeof(body));
    for (int64_t i = 0; i < 5000; i++) /* 10 MB, wrong from the third row on: most of it is sent after the error */
        add_row(&rows, i == 2 ? -1 : i, (struct span){body, sizeof(body)});
    pg_fixture_exec(connection, "BEGIN");
    assert_int_equal(connection_copy(connection, COPY, buffer_view(&rows), &count, &error), STATUS_FAILED);
    assert_string_equal(connection_sqlstate(connection), "23514");
    assert_null(strstr(error.text, "xxx"));
    assert_int_equal(count, -7);
    pg_fixture_exec(connection, "ROLLBACK");
    assert_int_equal(connection_copy(connection, "COPY nowhere FROM STDIN", SPAN_NONE, NULL, &error), STATUS_FAILED);
    assert_string_equal(connection_sqlstate(connection), "42P01");
    assert_int_equal(connection_copy(connection, COPY, SPAN_LITERAL("\0\x04nonsense"), NULL, &error), STATUS_FAILED);
    assert_string_equal(connection_sqlstate(connection), "22P04");
    buffer_reset(&rows);
    add_row(&rows, 1, SPAN_LITERAL("ok"));
    assert_int_equal(connection_copy(connection, COPY, buffer_view(&rows), &count, &error), STATUS_OK);
    assert_string_equal(pg_fixture_ask(connection, "SELECT count(*) FROM copied"), "1");
    buffer_deinit(&rows);
}

static void test_a_large_copy(void **state) {
    (void)state;
    struct buffer rows;
    buffer_init(&rows, 64 << 20);
    char body[10000];
    memset(body, 'y', sizeof(body));
    for (int64_t i = 0; i < 5000; i++) /* 50 MB */
        add_row(&rows, i, (struct span){body, sizeof(body)});
    int64_t count = 0;
    assert_int_equal(connection_copy(connection, COPY, buffer_view(&rows), &count, &error), STATUS_OK);
    assert_int_equal(count, 5000);
    assert_string_equal(pg_fixture_ask(connection, "SELECT sum(length(body)) FROM copied"), "50000000");
    buffer_deinit(&rows);
}

static pid_t backend(void) {
    pid_t pid = (pid_t)strtol(pg_fixture_ask(connection, "SELECT pg_backend_pid()"), NULL, 10);
    if (kill(pid, 0) != 0)
        skip(); /* the server is on another machine, or another user's */
    return pid;
}

static void assert_lost_after(int64_t started_ms, int64_t least_ms, int64_t most_ms) {
    int64_t took_ms = clock_mono_ms() - started_ms;
    assert_false(connection_is_open(connection));
    assert_in_range(took_ms, least_ms, most_ms);
    assert_int_equal(connection_exec(connection, "SELECT 1", &error), STATUS_UNAVAILABLE);
    assert_int_equal(connection_open(connection, 5000, &error), STATUS_OK);
    assert_string_equal(pg_fixture_ask(connection, "SELECT 'back'"), "back");
}

static void test_a_server_that_hangs(void **state) {
    (void)state;
    pid_t pid = backend();
    connection_set_timeout(connection, 300);
    kill(pid, SIGSTOP);
    int64_t started_ms = clock_mono_ms();
    enum status status = connection_exec(connection, "SELECT 1", &error);
    kill(pid, SIGCONT);
    assert_int_equal(status, STATUS_UNAVAILABLE);
    connection_set_timeout(connection, 5000);
    assert_lost_after(started_ms, 290, 3000);
}

static void test_a_server_that_hangs_in_a_copy(void **state) {
    (void)state;
    struct buffer rows;
    buffer_init(&rows, 32 << 20);
    char body[10000];
    memset(body, 'y', sizeof(body));
    for (int64_t i = 0; i < 2000; i++)
        add_row(&rows, i, (struct span){body, sizeof(body)});
    pid_t pid = backend();
    connection_set_timeout(connection, 300);
    kill(pid, SIGSTOP);
    int64_t started_ms = clock_mono_ms();
    enum status status = connection_copy(connection, COPY, buffer_view(&rows), NULL, &error);
    kill(pid, SIGCONT);
    assert_int_equal(status, STATUS_UNAVAILABLE);
    connection_set_timeout(connection, 5000);
    assert_lost_after(started_ms, 290, 3000);
    buffer_deinit(&rows);
}

static void test_a_backend_that_is_ended(void **state) {
    (void)state;
    struct connection *other = pg_fixture_connect(database);
    char sql[64];
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d)", (int)backend());
    pg_fixture_exec(other, sql);
    int64_t started_ms = clock_mono_ms();
    assert_int_equal(connection_exec(connection, "SELECT pg_sleep(5)", &error), STATUS_UNAVAILABLE);
    assert_lost_after(started_ms, 0, 3000);
    connection_free(&other);
}

static void test_a_statement_that_the_server_cancels(void **state) {
    (void)state;
    pg_fixture_exec(connection, "SET statement_timeout = 50");
    int64_t started_ms = clock_mono_ms();
    assert_int_equal(connection_exec(connection, "SELECT pg_sleep(5)", &error), STATUS_UNAVAILABLE);
    assert_lost_after(started_ms, 40, 3000);
}

static void test_a_server_that_became_read_only(void **state) {
    (void)state;
    pg_fixture_exec(connection, "SET default_transaction_read_only = on");
    int64_t started_ms = clock_mono_ms();
    assert_int_equal(connection_exec(connection, "DELETE FROM copied", &error), STATUS_UNAVAILABLE);
    assert_lost_after(started_ms, 0, 3000);
}

/* Takes connections into its backlog and never says a word. */
static int silent_server(int *ret_port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void test_opening_ends_with_its_time(void **state) {
    (void)state;
    int port;
    int fd = silent_server(&port);
    char conninfo[96];
    snprintf(conninfo, sizeof(conninfo), "host=127.0.0.1 port=%d user=x dbname=x sslmode=disable", port);
    struct connection *mute = connection_new(conninfo, "mute");
    int64_t started_ms = clock_mono_ms();
    assert_int_equal(connection_open(mute, 250, &error), STATUS_UNAVAILABLE);
    assert_in_range(clock_mono_ms() - started_ms, 240, 3000);
    assert_false(connection_is_open(mute));
    connection_free(&mute);
    close(fd);
}

static void *interrupt_sleeper(void *ctx) {
    struct connection *watcher = pg_fixture_connect(database);
    pg_fixture_wait(
        watcher, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(20)' AND state = 'active'", "1");
    connection_interrupt(ctx);
    connection_free(&watcher);
    return NULL;
}

static void test_an_interrupt_ends_the_wait(void **state) {
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_sleeper, connection), 0);
    int64_t started_ms = clock_mono_ms();
    assert_int_equal(connection_exec(connection, "SELECT pg_sleep(20)", &error), STATUS_UNAVAILABLE);
    assert_in_range(clock_mono_ms() - started_ms, 0, 10000);
    pthread_join(thread, NULL);
    assert_false(connection_is_open(connection));
    assert_int_equal(connection_open(connection, 5000, &error), STATUS_UNAVAILABLE); /* and so do all later ones */
}

static void test_notifications(void **state) {
    (void)state;
    struct connection *other = pg_fixture_connect(database);
    bool notified = true;
    pg_fixture_exec(connection, "LISTEN hookcast_test");
    assert_int_equal(connection_wait_notify(connection, -1, 20, &notified, &error), STATUS_OK);
    assert_false(notified);
    pg_fixture_exec(other, "NOTIFY hookcast_test, 'a'; NOTIFY hookcast_test, 'b'");
    assert_int_equal(connection_wait_notify(connection, -1, 10000, &notified, &error), STATUS_OK);
    assert_true(notified);
    assert_int_equal(connection_wait_notify(connection, -1, 0, &notified, &error), STATUS_OK);
    assert_false(notified);
    /* One that came with the answer to something else is not lost. */
    pg_fixture_exec(connection, "NOTIFY hookcast_test");
    assert_int_equal(connection_wait_notify(connection, -1, 10000, &notified, &error), STATUS_OK);
    assert_true(notified);
    int wake = eventfd(1, 0);
    int64_t started_ms = clock_mono_ms();
    assert_int_equal(connection_wait_notify(connection, wake, 10000, &notified, &error), STATUS_OK);
    assert_false(notified);
    assert_in_range(clock_mono_ms() - started_ms, 0, 5000);
    close(wake);
    char sql[64];
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d)", (int)backend());
    pg_fixture_exec(other, sql);
    assert_int_equal(connection_wait_notify(connection, -1, 10000, &notified, &error), STATUS_UNAVAILABLE);
    assert_false(connection_is_open(connection));
    connection_free(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failed_copy_leaves_the_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_large_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_hangs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_hangs_in_a_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_backend_that_is_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_statement_that_the_server_cancels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_became_read_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_opening_ends_with_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_interrupt_ends_the_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notifications, setup, teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
