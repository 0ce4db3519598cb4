/* hookcast check: tests settings and servers, says what is wrong and what to do. */
#include "check_database.h"
#include "check_kafka.h"
#include "check_report.h"
#include "command.h"
#include "net/authorities.h"
#include "net/guard.h"
#include "net/smtp_probe.h"
#include "run.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define SMTP_MS 5000
/* A connection each to a thousand receivers, and what a process needs itself. */
#define FILES_NEEDED 256
#define FILES_SCARCE 4096

static bool judge(const struct guard *guard, const char *address) {
    struct sockaddr_in dialled = {.sin_family = AF_INET, .sin_port = htons(443)};
    char reason[128];
    CHECK(inet_pton(AF_INET, address, &dialled.sin_addr) == 1);
    return guard_judge(guard, (struct sockaddr *)&dialled, reason) == NULL;
}

static void check_addresses(struct report *report, const struct settings *settings) {
    struct guard *guard;
    struct error error;
    if (guard_new(settings->allow_nets, &guard, &error) != STATUS_OK) {
        report_fail(report, "addresses", "HOOKCAST_ALLOW_NETS: %s", error.text);
        return;
    }
    bool metadata = judge(guard, "169.254.169.254"), loopback = judge(guard, "127.0.0.1");
    guard_free(&guard);
    if (metadata)
        report_warn(report, "addresses",
                    "HOOKCAST_ALLOW_NETS lets webhooks reach 169.254.169.254, where clouds hand out credentials. Leave"
                    " 169.254.0.0/16 out.");
    if (loopback)
        report_warn(report, "addresses",
                    "HOOKCAST_ALLOW_NETS lets webhooks reach this machine itself. Leave 127.0.0.0/8 out, unless this is"
                    " for development.");
    if (settings->allow_http)
        report_warn(report, "addresses",
                    "HOOKCAST_ALLOW_HTTP=1: webhooks may travel unencrypted. Set it to 0, unless this is for"
                    " development.");
    if (!metadata && !loopback && !settings->allow_http)
        report_ok(report, "addresses", "webhooks go over https:// to public addresses%s%s",
                  *settings->allow_nets ? " and to " : " only", settings->allow_nets);
}

static void check_source(struct report *report, const char *address) {
    if (!*address)
        return;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
    bool valid = is_v4 || inet_pton(AF_INET6, address, &v6.sin6_addr) == 1;
    int fd = valid ? socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (fd >= 0 &&
        bind(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6, is_v4 ? sizeof(v4) : sizeof(v6)) == 0)
        report_ok(report, "source", "webhooks come from %s", address);
    else
        report_fail(report, "source", "HOOKCAST_SOURCE_ADDRESS=%s can't be used: %m. Use an address of this machine.",
                    address);
    if (fd >= 0)
        close(fd);
}

static void check_authorities(struct report *report, const char *ca_file) {
    struct buffer path;
    struct error error;
    int64_t count;
    buffer_init(&path, 4096);
    if (authorities_count(ca_file, &path, &count, &error) == STATUS_OK)
        report_ok(report, "authorities", "%lld certificates in %s", (long long)count, path.data);
    else
        report_fail(report, "authorities", "%s. %s", error.text,
                    *ca_file ? "Correct HOOKCAST_CA_FILE."
                             : "Install the system's package ca-certificates, or set HOOKCAST_CA_FILE.");
    buffer_deinit(&path);
}

static void check_files(struct report *report) {
    run_raise_limits();
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    const char *advice = "Each connection to a receiver takes one. Raise it: LimitNOFILE= of systemd, ulimit -Hn.";
    long long files = limit.rlim_cur > (1LL << 40) ? (1LL << 40) : (long long)limit.rlim_cur;
    if (files < FILES_NEEDED)
        report_fail(report, "files", "a process may open only %lld. %s", files, advice);
    else if (files < FILES_SCARCE)
        report_warn(report, "files", "a process may open %lld. %s", files, advice);
    else
        report_ok(report, "files", "a process may open %lld", files);
}

static void check_mail(struct report *report, const char *url, const char *ca_file) {
    if (!*url) {
        report_ok(report, "mail", "HOOKCAST_SMTP_URL is not set, so nobody gets mail about disabled webhooks");
        return;
    }
    struct buffer server;
    struct error error;
    buffer_init(&server, 512);
    enum status status = smtp_probe(url, ca_file, SMTP_MS, &server, &error);
    const char *name = server.len > 0 ? server.data : "the server";
    if (status == STATUS_OK)
        report_ok(report, "mail", "%s answers as a mail server; user and password were not tried", name);
    else
        report_fail(report, "mail", "%s: %s. Start it, or correct HOOKCAST_SMTP_URL.", name, error.text);
    buffer_deinit(&server);
}

static int run(const struct settings *settings, struct settings_command *about, int argc, char **argv) {
    (void)about;
    if (argc > 0) {
        fprintf(stderr, "hookcast check: takes no argument, got \"%.80s\"\n", argv[0]);
        return EXIT_USAGE;
    }
    struct report report = {0, 0};
    report_ok(&report, "settings", "group %s, topics %s…, %lld sending threads", settings->group,
              settings->topic_prefix, (long long)settings->lanes);
    check_addresses(&report, settings);
    check_source(&report, settings->source_address);
    check_authorities(&report, settings->ca_file);
    check_files(&report);
    check_database(&report, settings);
    check_kafka(&report, settings);
    check_mail(&report, settings->smtp_url, settings->ca_file);
    if (report.failures == 0)
        return EXIT_DONE;
    fprintf(stderr, "hookcast check: %d failed, %d to look at\n", report.failures, report.warnings);
    return EXIT_FAILED;
}

struct command *cmd_check(void) {
    static struct command command = {
        .about =
            {
                .name = "check",
                .arguments = "",
                .summary = "tests settings, database, Kafka and the rest, and says what to do",
                .text =
                    "One line a test: \"ok\", \"warn\" (works, but look at it) or \"FAIL\", with what to do next. "
                    "Ends\n"
                    "with 1 when anything failed. Give it the settings of the program that you want to run, on the\n"
                    "machine and as the user that will run it. It changes nothing: its one write is rolled back, it\n"
                    "joins no group, and it sends no mail. Of the mail server it tests the greeting and TLS, not user\n"
                    "and password.\n\n"
                    "A setting that can't be read ends it at once with 2, as it would end any other command.\n",
                .use = USE_DATABASE | USE_KAFKA | USE_DISPATCH | USE_API | USE_WEBHOOK | USE_SECRETS | USE_MAIL,
            },
        .run = run,
    };
    return &command;
}
