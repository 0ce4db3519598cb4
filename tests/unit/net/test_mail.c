/* A mail server that answers each command as a test wants it, and keeps what it was told, in a thread of its own. TLS
 * and a real login: tests/integration/test_mail.py. */
#include "net/mail.h"

#include "base/buffer.h"
#include "base/clock.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SILENCE ""

/* What is not set is answered well. */
struct answers {
    const char *greeting, *ehlo, *auth, *from, *recipient, *data, *end, *quit;
};

static struct {
    struct answers answers;
    int listener;
    int port;
    char told[32768]; /* commands and the mail itself */
    size_t len;
    bool stops; /* the client, once it has dialled */
    pthread_t thread;
} server;

static struct error error;
static _Atomic bool stopping;

static const char *or_else(const char *answer, const char *standard) {
    return answer ? answer : standard;
}

static const char *answer_to(const char *line) {
    const struct answers *answers = &server.answers;
    if (strncmp(line, "EHLO", 4) == 0)
        return or_else(answers->ehlo, "250-mail.example\r\n250-SMTPUTF8\r\n250 AUTH PLAIN\r\n");
    if (strncmp(line, "AUTH", 4) == 0)
        return "334 \r\n";
    if (strncmp(line, "AHNv", 4) == 0)
        return or_else(answers->auth, "235 welcome\r\n");
    if (strncmp(line, "MAIL", 4) == 0)
        return or_else(answers->from, "250 fine\r\n");
    if (strncmp(line, "RCPT", 4) == 0)
        return or_else(answers->recipient, "250 fine\r\n");
    if (strncmp(line, "DATA", 4) == 0)
        return or_else(answers->data, "354 go on\r\n");
    if (strncmp(line, "QUIT", 4) == 0)
        return or_else(answers->quit, "221 bye\r\n");
    return strncmp(line, "HELO", 4) == 0 ? "502 no\r\n" : "500 what\r\n";
}

static void *serve(void *ctx) {
    (void)ctx;
    int fd = accept(server.listener, NULL, NULL);
    FILE *in = fdopen(fd, "r");
    const char *answer = or_else(server.answers.greeting, "220 mail.example ready\r\n");
    char line[2048];
    bool in_mail = false;
    server.len = 0;
    if (server.stops)
        atomic_store(&stopping, true);
    do {
        if (*answer && send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
            break;
        if (!fgets(line, sizeof(line), in))
            break;
        server.len += (size_t)snprintf(server.told + server.len, sizeof(server.told) - server.len, "%s", line);
        if (!in_mail)
            answer = answer_to(line);
        else
            answer = strcmp(line, ".\r\n") == 0 ? or_else(server.answers.end, "250 queued\r\n") : "";
        in_mail = (in_mail && !*answer) || strncmp(answer, "354", 3) == 0;
    } while (server.len < sizeof(server.told) - sizeof(line));
    fclose(in);
    return NULL;
}

static void start(struct answers answers) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    server.answers = answers;
    server.told[0] = '\0';
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

static const struct mail MAIL = {
    .id = "0192f0c1-0000-7000-8000-000000000001",
    .date_ms = 1710085800123, /* 2024-03-10T15:50:00Z, a Sunday */
    .from = "hooks@example.com",
    .to = "ann@example.org",
    .subject = "Your webhook was disabled",
    .text = "One\n.two\r\nthr\xc3\xa9\xc3\xa9\n",
};

static enum status send_to(const char *user, const struct mail *mail, int64_t timeout_ms) {
    char url[128];
    snprintf(url, sizeof(url), "smtp://%s127.0.0.1:%d/hookcast.example", user, server.port);
    const struct mail_server settings = {url, "", timeout_ms, &stopping};
    error.text[0] = '\0';
    return mail_send(&settings, mail, &error);
}

static enum status send_mail(const struct mail *mail) {
    return send_to("", mail, 10000);
}

static void expect_told(const char *text) {
    if (!strstr(server.told, text))
        fail_msg("not told: %s\nbut: %s", text, server.told);
}

static void test_what_is_sent(void **state) {
    (void)state;
    start((struct answers){0});
    assert_int_equal(send_to("someone:hid%21den@", &MAIL, 10000), STATUS_OK);
    stop();
    expect_told("EHLO hookcast.example\r\n");
    expect_told("AUTH PLAIN\r\nAHNvbWVvbmUAaGlkIWRlbg==\r\n"); /* NUL someone NUL hid!den */
    expect_told("MAIL FROM:<hooks@example.com>");
    expect_told("RCPT TO:<ann@example.org>");
    expect_told("\r\nDate: Sun, 10 Mar 2024 15:50:00 +0000\r\n");
    expect_told("\r\nFrom: hooks@example.com\r\n");
    expect_told("\r\nTo: ann@example.org\r\n");
    expect_told("\r\nSubject: Your webhook was disabled\r\n");
    expect_told("\r\nMessage-ID: <0192f0c1-0000-7000-8000-000000000001@example.com>\r\n");
    expect_told("\r\nMime-Version: 1.0\r\n");
    expect_told("\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n");
    expect_told("\r\n\r\nOne\r\n..two\r\nthr=C3=A9=C3=A9\r\n");
    expect_told("\r\n.\r\nQUIT\r\n");
}

static void test_subjects(void **state) {
    (void)state;
    struct mail mail = MAIL;
    mail.subject = "F\xc3\xbcr Ihren Webhook: \xe2\x80\x9e"
                   "CRM-Abgleich 2 \xe2\x80\x93 EU\xe2\x80\x9c (abgeschaltet)";
    start((struct answers){0});
    assert_int_equal(send_mail(&mail), STATUS_OK);
    stop();
    /* 39 bytes would end within a character: 38 are taken. */
    expect_told("\r\nSubject: =?UTF-8?B?RsO8ciBJaHJlbiBXZWJob29rOiDigJ5DUk0tQWJnbGVpY2ggMiA=?=\r\n"
                " =?UTF-8?B?4oCTIEVV4oCcIChhYmdlc2NoYWx0ZXQp?=\r\n");
    mail.subject = "looks =?like?= one";
    start((struct answers){0});
    assert_int_equal(send_mail(&mail), STATUS_OK);
    stop();
    expect_told("\r\nSubject: =?UTF-8?B?bG9va3MgPT9saWtlPz0gb25l?=\r\n");
}

/* A long line of a text, and one of many bytes, stay within what a mail line may have. */
static void test_long_lines(void **state) {
    (void)state;
    struct mail mail = MAIL;
    struct buffer text;
    buffer_init(&text, 8192);
    for (int i = 0; i < 600; i++)
        buffer_text(&text, i % 2 ? "long " : "\xf0\x9f\x93\xab");
    mail.text = text.data;
    start((struct answers){0});
    assert_int_equal(send_mail(&mail), STATUS_OK);
    stop();
    size_t longest = 0;
    const char *body = strstr(server.told, "quoted-printable");
    assert_non_null(body);
    for (const char *line = body, *end; (end = strstr(line, "\r\n")); line = end + 2)
        longest = (size_t)(end - line) > longest ? (size_t)(end - line) : longest;
    assert_in_range(longest, 70, 76);
    buffer_deinit(&text);
}

static void expect_answer(struct answers answers, enum status expected, const char *in_error) {
    start(answers);
    enum status status = send_to("someone:hidden@", &MAIL, 10000);
    stop();
    if (status != expected || !strstr(error.text, in_error))
        fail_msg("status %d, error %s; expected %d, %s", status, error.text, expected, in_error);
    assert_null(strstr(error.text, "hidden"));
    assert_null(strstr(error.text, "AHNvbWVvbmUA"));
}

static void test_answers(void **state) {
    (void)state;
    /* About us: settings mend it. */
    expect_answer((struct answers){.greeting = "554 go away\r\n"}, STATUS_UNAVAILABLE, "554 go away");
    expect_answer((struct answers){.greeting = "421 later\r\n"}, STATUS_UNAVAILABLE, "421 later");
    expect_answer((struct answers){.ehlo = "550 no\r\n"}, STATUS_UNAVAILABLE, "502 no");
    expect_answer((struct answers){.auth = "535 not with hidden\r\n"}, STATUS_UNAVAILABLE, "refuses the login (535)");
    expect_answer((struct answers){.auth = "454 not with hidden\r\n"}, STATUS_UNAVAILABLE, "refuses the login (454)");
    expect_answer((struct answers){.from = "550 who is that\r\n"}, STATUS_UNAVAILABLE, "550 who is that");
    /* About the mail. */
    expect_answer((struct answers){.recipient = "550 5.1.1 nobody here\r\n"}, STATUS_FAILED, "550 5.1.1 nobody here");
    expect_answer((struct answers){.recipient = "450 greylisted\r\n"}, STATUS_UNAVAILABLE, "450 greylisted");
    expect_answer((struct answers){.data = "554 no\r\n"}, STATUS_FAILED, "554 no");
    expect_answer((struct answers){.data = "451 later\r\n"}, STATUS_UNAVAILABLE, "451 later");
    expect_answer((struct answers){.end = "550-it looks\r\n550 like spam\r\n"}, STATUS_FAILED, "550 like spam");
    expect_answer((struct answers){.end = "452 full\r\n"}, STATUS_UNAVAILABLE, "452 full");
}

static void test_a_server_that_is_not_there(void **state) {
    (void)state;
    start((struct answers){0});
    assert_int_equal(send_mail(&MAIL), STATUS_OK);
    stop();
    assert_int_equal(send_mail(&MAIL), STATUS_UNAVAILABLE);
    assert_true(error.text[0]);
    const struct mail_server lost = {"smtp://someone:12/hidden@127.0.0.1", "", 2000, NULL};
    assert_int_equal(mail_send(&lost, &MAIL, &error), STATUS_UNAVAILABLE);
    assert_null(strstr(error.text, "hidden"));
    assert_null(strstr(error.text, "12"));
}

static void expect_no_wait(struct answers answers, enum status expected) {
    int64_t began_ms = clock_mono_ms();
    start(answers);
    enum status status = send_to("", &MAIL, 1000);
    stop();
    assert_int_equal(status, expected);
    assert_in_range(clock_mono_ms() - began_ms, 0, 5000);
}

static void test_a_server_that_says_nothing(void **state) {
    (void)state;
    expect_no_wait((struct answers){.greeting = SILENCE}, STATUS_UNAVAILABLE);
    expect_no_wait((struct answers){.recipient = SILENCE}, STATUS_UNAVAILABLE);
    expect_no_wait((struct answers){.end = "250-\r\n"}, STATUS_UNAVAILABLE);
    expect_no_wait((struct answers){.quit = SILENCE}, STATUS_OK); /* it has the mail */
}

static void test_stopping(void **state) {
    (void)state;
    server.stops = true;
    int64_t began_ms = clock_mono_ms();
    start((struct answers){.greeting = SILENCE});
    assert_int_equal(send_to("", &MAIL, 60000), STATUS_UNAVAILABLE);
    stop();
    server.stops = false;
    assert_true(atomic_exchange(&stopping, false));
    assert_in_range(clock_mono_ms() - began_ms, 0, 5000);
}

static void expect_invalid(struct mail mail) {
    error.text[0] = '\0';
    assert_int_equal(send_mail(&mail), STATUS_INVALID); /* before anybody is dialled */
    assert_true(error.text[0]);
}

static void test_fields_that_can_not_be_sent(void **state) {
    (void)state;
    static const char *const ADDRESSES[] = {
        "",      "ann",   "@example.org", "ann@",    "a nn@example.org", "ann@example.org>\r\nRCPT TO:<bob@example.org",
        "a>b@c", "<a@b>", "a@b\n",        "a@b,c@d", "a\x7f@b",          "\xff@b",
    };
    for (size_t i = 0; i < sizeof(ADDRESSES) / sizeof(*ADDRESSES); i++) {
        struct mail to = MAIL, from = MAIL;
        to.to = ADDRESSES[i];
        expect_invalid(to);
        from.from = ADDRESSES[i];
        expect_invalid(from);
    }
    static const char *const LINES[] = {"two\nlines", "two\r\nBcc: eve@example.org", "bell\a", "\xc3"};
    for (size_t i = 0; i < sizeof(LINES) / sizeof(*LINES); i++) {
        struct mail subject = MAIL, id = MAIL;
        subject.subject = LINES[i];
        expect_invalid(subject);
        id.id = LINES[i];
        expect_invalid(id);
    }
    struct mail text = MAIL;
    text.text = "broken \xc3";
    expect_invalid(text);
}

static void test_addresses_that_are_unusual(void **state) {
    (void)state;
    struct mail mail = MAIL;
    mail.to = "j\xc3\xb6rg+hooks@example.org";
    start((struct answers){0});
    assert_int_equal(send_mail(&mail), STATUS_OK);
    stop();
    expect_told("RCPT TO:<j\xc3\xb6rg+hooks@example.org>\r\n");
    expect_told(" SMTPUTF8\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_sent),
        cmocka_unit_test(test_subjects),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_a_server_that_is_not_there),
        cmocka_unit_test(test_a_server_that_says_nothing),
        cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_fields_that_can_not_be_sent),
        cmocka_unit_test(test_addresses_that_are_unusual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
