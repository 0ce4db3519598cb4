/* The webhook client against a receiver that misbehaves. */
#include "bad_receiver.h"
#include "client_fixture.h"

static char url_text[2][256];

/* The receiver's URL with this path; valid until the next but one. */
static const char *at(const char *path) {
    static int turn;
    char *url = url_text[turn++ & 1];
    snprintf(url, sizeof(url_text[0]), "http://127.0.0.1:%d%s", receiver.port, path);
    return url;
}

static int open_client(void **state) {
    (void)state;
    fixture_open_with("127.0.0.0/8", plain_settings());
    return 0;
}

static int close_client(void **state) {
    (void)state;
    fixture_close();
    return 0;
}

static struct answer get(const char *path) {
    return ask(at(path), 5000);
}

static void expect_answered(const char *path, int status, const char *body) {
    struct answer answer = get(path);
    expect_result(path, &answer, CLIENT_ANSWERED);
    assert_int_equal(answer.status_code, status);
    assert_string_equal(answer.body, body);
    assert_string_equal(answer.detail, "");
}

static void expect_failed(const char *path, enum client_result result, const char *detail) {
    struct answer answer = get(path);
    expect_result(path, &answer, result);
    assert_int_equal(answer.status_code, 0);
    if (!strstr(answer.detail, detail))
        fail_msg("%s: \"%s\" lacks \"%s\"", path, answer.detail, detail);
}

static void test_answers(void **state) {
    (void)state;
    expect_answered("/204", 204, "");
    expect_answered("/gone", 410, "gone");
    expect_answered("/redirect", 302, "");
    expect_answered("/gzip", 200, "abc");
    expect_answered("/chunked", 200, "abcde");
    expect_answered("/trailers", 200, "abc");
    expect_answered("/until-close", 200, "all of it");
    expect_answered("/continue", 204, "");
}

static void test_what_is_sent(void **state) {
    (void)state;
    struct answer answer = get("/echo");
    assert_int_equal(answer.status_code, 200);
    char expected[512];
    snprintf(expected, sizeof(expected),
             "POST /echo HTTP/1.1\r\nHost: 127.0.0.1:%d\r\ncontent-type: application/json\r\nwebhook-id: evt_1\r\n"
             "Content-Length: 7\r\n{\"a\":1}",
             receiver.port);
    assert_string_equal(answer.body, expected);
}

static void test_a_large_body_and_many_headers_are_sent(void **state) {
    (void)state;
    static char body[12001], lines[100][32];
    struct client_header headers[100];
    memset(body, 'x', sizeof(body) - 1);
    for (int i = 0; i < 100; i++) {
        int len = snprintf(lines[i], sizeof(lines[i]), "x-%d: %d", i, i);
        headers[i].line = (struct span){lines[i], (size_t)len};
    }
    struct answer answer;
    struct client_request request = {at("/echo"), headers, 100, {body, 12000}, 5000};
    fixture.waiting = 1;
    client_send(fixture.client, &request, on_answer, &answer);
    wait_for_answers();
    assert_int_equal(answer.status_code, 200);
    assert_true(answer.body_bytes > 13000);
    assert_non_null(strstr(answer.body, "x-59: 59\r\n"));
    expect_answered("/204", 204, "");
}

static void test_connections_are_kept(void **state) {
    (void)state;
    int before = receiver.accepted;
    struct answer first = get("/204");
    assert_true(first.new_connection);
    for (int i = 0; i < 20; i++)
        assert_false(get("/204").new_connection);
    assert_int_equal(receiver.accepted, before + 1);
    assert_int_equal(client_open_connections(fixture.client), 1);
    assert_int_equal(client_in_flight(fixture.client), 0);
}

/* Handles go from host to host, and each host finds its own connection. */
static void test_many_hosts(void **state) {
    (void)state;
    char url[64];
    for (int round = 0; round < 2; round++)
        for (int i = 1; i <= 100; i++) {
            snprintf(url, sizeof(url), "http://127.0.0.%d:%d/204", i, receiver.port);
            struct answer answer = ask(url, 5000);
            expect_result(url, &answer, CLIENT_ANSWERED);
            assert_int_equal(answer.new_connection, round == 0);
        }
    assert_int_equal(client_open_connections(fixture.client), 100);
}

/* The receiver closes right after each answer, without saying so: the next exchange finds the connection dead. */
static void test_a_connection_closed_behind_our_back(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++)
        expect_answered("/late-close", 204, "");
}

static void test_body_limits(void **state) {
    (void)state;
    struct answer answer = get("/body/1000");
    assert_int_equal(answer.kept_bytes, 1000);
    answer = get("/body/200000");
    expect_result("/body/200000", &answer, CLIENT_ANSWERED);
    assert_int_equal(answer.status_code, 200);
    assert_int_equal(answer.kept_bytes, 1000);
    assert_int_equal(answer.body_bytes, 200000);
    assert_false(answer.new_connection);
    assert_false(get("/204").new_connection);
    /* Past that the connection is closed, and the status stands. */
    answer = get("/body/1000000");
    expect_result("/body/1000000", &answer, CLIENT_ANSWERED);
    assert_int_equal(answer.status_code, 200);
    assert_int_equal(answer.kept_bytes, 1000);
    assert_true(answer.body_bytes < 400000);
    assert_true(get("/204").new_connection);
    answer = get("/endless-body");
    expect_result("/endless-body", &answer, CLIENT_ANSWERED);
}

static void test_broken_answers(void **state) {
    (void)state;
    expect_failed("/close", CLIENT_RESET, "mpty reply");
    expect_failed("/half-head", CLIENT_RESET, "");
    expect_failed("/half-second-head", CLIENT_RESET, "");
    expect_failed("/short", CLIENT_RESET, "");
    expect_failed("/reset", CLIENT_RESET, "");
    expect_failed("/garbage", CLIENT_BAD_RESPONSE, "HTTP/0.9");
    expect_failed("/weird-status", CLIENT_BAD_RESPONSE, "");
    expect_failed("/endless-head", CLIENT_BAD_RESPONSE, "headers are longer than 64 KiB");
    expect_failed("/endless-line", CLIENT_BAD_RESPONSE, "headers are longer than 64 KiB");
    expect_failed("/endless-1xx", CLIENT_BAD_RESPONSE, "headers are longer than 64 KiB");
}

static void expect_timeout(const char *path) {
    struct answer answer = ask(at(path), 300);
    expect_result(path, &answer, CLIENT_TIMEOUT);
    assert_int_equal(answer.status_code, 0);
    assert_true(answer.duration_us >= 290000);
    if (answer.duration_us > 2000000)
        fail_msg("%s took %ld us", path, (long)answer.duration_us);
}

static void test_the_deadline_covers_everything(void **state) {
    (void)state;
    expect_timeout("/hang");
    expect_timeout("/trickle-head");
    expect_timeout("/trickle-body");
    expect_answered("/204", 204, "");
}

static void test_retry_after(void **state) {
    (void)state;
    assert_int_equal(get("/retry-seconds").retry_after_ms, 120000);
    assert_int_equal(get("/retry-past").retry_after_ms, 0);
    assert_int_equal(get("/retry-senseless").retry_after_ms, -1);
    assert_int_equal(get("/gone").retry_after_ms, -1);
    assert_int_equal(get("/204").retry_after_ms, -1);
    int64_t year_ms = 366 * 86400 * 1000LL;
    assert_true(get("/retry-future").retry_after_ms == year_ms);
    assert_true(get("/retry-endless").retry_after_ms == year_ms);
}

static void test_refused_connection(void **state) {
    (void)state;
    /* A port that was free a moment ago. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    getsockname(fd, (struct sockaddr *)&address, &len);
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(address.sin_port));
    struct answer answer = ask(url, 5000);
    expect_result(url, &answer, CLIENT_CONNECT);
    assert_int_equal(client_open_connections(fixture.client), 0);
    close(fd);
}

static void test_bad_urls(void **state) {
    (void)state;
    static const char *const URLS[][2] = {
        {"", "empty"},
        {"banana", "no scheme"},
        {"ftp://example.com/", "\"ftp\" is not https"},
        {"file:///etc/passwd", "\"file\" is not https"},
        {"http://user:secret@example.com/", "user or password"},
        {"http://user@example.com/", "user or password"},
        {"http://", "not a URL"},
        {"http://exa mple.com/", "space"},
        {"http://example.com/\r\nX: y", "control character"},
        {"http://example.com:99999/", "not a URL"},
        {"http://example.com:0/", "port is 0"},
        {"http:///example.com/", "no host"},
        {"http:/example.com/", "no host"},
        {"http:/example.com/://x", "no host"},
        {"http://b\xc3\xbc"
         "cher.example/",
         "xn--"},
        {"http://b%C3%BCcher.example/", "xn--"},
    };
    for (size_t i = 0; i < sizeof(URLS) / sizeof(*URLS); i++) {
        struct answer answer = ask(URLS[i][0], 1000);
        struct error error;
        expect_result(URLS[i][0], &answer, CLIENT_BAD_URL);
        if (!strstr(answer.detail, URLS[i][1]) || strstr(answer.detail, "secret"))
            fail_msg("%s: %s", URLS[i][0], answer.detail);
        assert_int_equal(client_check_url(URLS[i][0], true, &error), STATUS_INVALID);
    }
    struct error error;
    assert_int_equal(client_check_url("http://example.com/", false, &error), STATUS_INVALID);
    assert_string_equal(error.text, "http:// is not allowed here; use https://");
    assert_int_equal(client_check_url("https://example.com/a?b=c", false, &error), STATUS_OK);
    assert_int_equal(client_check_url("https://[2606:4700::1111]:8443/", false, &error), STATUS_OK);
    char longest[2100] = "https://example.com/";
    memset(longest + 20, 'x', 2028);
    assert_int_equal(client_check_url(longest, false, &error), STATUS_OK);
    longest[2048] = 'x';
    assert_int_equal(client_check_url(longest, false, &error), STATUS_INVALID);
}

static void test_cancel(void **state) {
    (void)state;
    struct answer answers[3];
    struct exchange *hanging = begin(at("/hang"), 5000, &answers[0]);
    struct exchange *bad = begin("banana", 5000, &answers[1]);
    begin(at("/204"), 5000, &answers[2]);
    assert_int_equal(client_in_flight(fixture.client), 3);
    client_cancel(fixture.client, hanging);
    client_cancel(fixture.client, bad);
    wait_for_answers();
    assert_int_equal(answers[0].result, CLIENT_CANCELLED);
    assert_int_equal(answers[1].result, CLIENT_CANCELLED);
    assert_int_equal(answers[2].result, CLIENT_ANSWERED);
    assert_int_equal(client_in_flight(fixture.client), 0);
}

static void test_free_while_under_way(void **state) {
    (void)state;
    struct answer answers[4];
    fixture_open_with("127.0.0.0/8", plain_settings());
    begin(at("/hang"), 5000, &answers[0]);
    begin(at("/204"), 5000, &answers[1]);
    fixture.waiting = 1;
    wait_for_answers();
    begin(at("/trickle-body"), 5000, &answers[2]);
    begin("banana", 5000, &answers[3]);
    fixture.waiting = 0;
    fixture_close();
}

static void test_source_address(void **state) {
    (void)state;
    struct client_settings settings = plain_settings();
    settings.source_address = "127.0.0.5";
    fixture_open_with("127.0.0.0/8", settings);
    expect_answered("/204", 204, "");
    assert_int_equal(ntohl(receiver.last_peer), 0x7f000005);
    fixture_close();
    /* Not an address of this machine. */
    settings.source_address = "192.0.2.1";
    fixture_open_with("127.0.0.0/8", settings);
    expect_failed("/204", CLIENT_CONNECT, "");
    assert_int_equal(client_open_connections(fixture.client), 0);
    fixture_close();
}

static struct answer many[200];

static void test_many_at_once(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++)
        begin(at(i % 10 == 0 ? "/late-close" : "/204"), 10000, &many[i]);
    wait_for_answers();
    for (int i = 0; i < 200; i++)
        expect_result("/204", &many[i], CLIENT_ANSWERED);
}

int main(void) {
#define WITH_CLIENT(test) cmocka_unit_test_setup_teardown(test, open_client, close_client)
    const struct CMUnitTest tests[] = {
        WITH_CLIENT(test_answers),
        WITH_CLIENT(test_what_is_sent),
        WITH_CLIENT(test_a_large_body_and_many_headers_are_sent),
        WITH_CLIENT(test_connections_are_kept),
        WITH_CLIENT(test_many_hosts),
        WITH_CLIENT(test_a_connection_closed_behind_our_back),
        WITH_CLIENT(test_body_limits),
        WITH_CLIENT(test_broken_answers),
        WITH_CLIENT(test_the_deadline_covers_everything),
        WITH_CLIENT(test_retry_after),
        WITH_CLIENT(test_refused_connection),
        WITH_CLIENT(test_bad_urls),
        WITH_CLIENT(test_cancel),
        cmocka_unit_test(test_free_while_under_way),
        cmocka_unit_test(test_source_address),
        WITH_CLIENT(test_many_at_once),
    };
    return cmocka_run_group_tests(tests, receiver_start, receiver_stop);
}
