#include "core/settings.h"

#include "base/memory.h"
#include "core/cores.h"
#include "core/log.h"
#include "core/settings_table.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define ALL (USE_DATABASE | USE_KAFKA | USE_DISPATCH | USE_API | USE_WEBHOOK | USE_MAIL)

static struct settings_option options[] = {
    {"skip-invalid", NULL, "Goes on after a line that is no event, and counts it.", NULL},
    {"example", "TYPE", "Sends an example.", NULL},
};

static struct settings_command command = {.name = "try",
                                          .arguments = "[FILE…]",
                                          .summary = "Tries.",
                                          .text = "Examples:\n  hookcast try\n",
                                          .options = options,
                                          .option_count = 2};

static struct settings settings;
static struct error error;
static int first;
static char *args[40];

/* Each test begins without a variable of ours. */
static int begin(void **state) {
    (void)state;
    const struct setting *table;
    size_t count = settings_table(&table);
    for (size_t i = 0; i < count; i++) {
        char name[SETTING_VARIABLE_BYTES], file[SETTING_VARIABLE_BYTES + 8];
        setting_variable(&table[i], name);
        snprintf(file, sizeof(file), "%s_FILE", name);
        unsetenv(name);
        unsetenv(file);
    }
    command.use = ALL;
    options[0].value = options[1].value = NULL;
    return 0;
}

/* Arguments up to a NULL. */
static enum status load(const char *arg, ...) {
    va_list list;
    int count = 0;
    va_start(list, arg);
    for (; arg; arg = va_arg(list, const char *)) {
        assert_true(count < 40);
        args[count++] = (char *)(uintptr_t)arg;
    }
    va_end(list);
    error.text[0] = '\0';
    first = -1;
    enum status status = settings_load(&settings, &command, count, args, &first, &error);
    args[count] = NULL;
    return status;
}

static void expect_wrong(const char *arg, const char *value, const char *expected) {
    assert_int_equal(load(arg, value, NULL), STATUS_INVALID);
    assert_string_equal(error.text, expected);
}

static void test_defaults(void **state) {
    (void)state;
    assert_int_equal(load(NULL, NULL), STATUS_OK);
    assert_int_equal(first, 0);
    assert_string_equal(settings.database_url, "postgresql:///hookcast");
    assert_string_equal(settings.kafka_brokers, "127.0.0.1:9092");
    assert_string_equal(settings.kafka_conf, "");
    assert_string_equal(settings.group, "hookcast");
    assert_string_equal(settings.topic_prefix, "events.");
    assert_string_equal(settings.topics, "");
    assert_int_equal(settings.start_from, START_FROM_EARLIEST);
    assert_int_equal(settings.lanes, cores_granted());
    assert_string_equal(settings.api_listen, "127.0.0.1:8080");
    assert_string_equal(settings.metrics_listen, "127.0.0.1:9464");
    assert_string_equal(settings.public_url, "http://127.0.0.1:8080");
    assert_string_equal(settings.secret_key, "");
    assert_false(settings.insecure_dev);
    assert_string_equal(settings.allow_nets, "");
    assert_false(settings.allow_http);
    assert_int_equal(settings.timeout_ms, 15000);
    const int64_t schedule_s[] = {5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400};
    assert_int_equal(settings.retry_count, 9);
    for (int i = 0; i < 9; i++)
        assert_int_equal(settings.retry_schedule_ms[i], schedule_s[i] * 1000);
    assert_int_equal(settings.response_body_limit_bytes, 16384);
    assert_int_equal(settings.response_body_keep, BODY_KEEP_ALL);
    assert_int_equal(settings.retention_ms, 30LL * 86400000);
    assert_int_equal(settings.payload_retention_ms, 30LL * 86400000);
    assert_int_equal(settings.database_max_size_bytes, 0);
    assert_int_equal(settings.drain_timeout_ms, 25000);
    assert_false(settings.log_json);
    assert_int_equal(settings.log_level, LOG_INFO);
    settings_deinit(&settings);
    assert_null(settings.group);
}

static void test_the_option_wins_over_the_variable(void **state) {
    (void)state;
    setenv("HOOKCAST_GROUP", "from-variable", 1);
    setenv("HOOKCAST_TIMEOUT", "not a duration", 1);
    assert_int_equal(load("--group", "from-option", "--timeout=2s", NULL), STATUS_OK);
    assert_string_equal(settings.group, "from-option");
    assert_int_equal(settings.timeout_ms, 2000);
    settings_deinit(&settings);
    setenv("HOOKCAST_TIMEOUT", "3s", 1);
    assert_int_equal(load(NULL, NULL), STATUS_OK);
    assert_string_equal(settings.group, "from-variable");
    assert_int_equal(settings.timeout_ms, 3000);
    settings_deinit(&settings);
}

static void test_an_empty_variable_is_not_set(void **state) {
    (void)state;
    setenv("HOOKCAST_GROUP", "", 1);
    setenv("HOOKCAST_TIMEOUT_FILE", "", 1);
    assert_int_equal(load(NULL, NULL), STATUS_OK);
    assert_string_equal(settings.group, "hookcast");
    settings_deinit(&settings);
}

static void test_every_type_is_read(void **state) {
    (void)state;
    assert_int_equal(load("--start-from=latest", "--lanes", "7", "--allow-http", "--retention=2d",
                          "--response-body-limit=1MiB", "--response-body-keep", "failed", "--retry-schedule",
                          "100ms,2s,3m,4h,5d", "--database-max-size=2TiB", "--log-format=json", "--log-level=debug",
                          "--allow-nets=127.0.0.0/8,::1/128", "--topics=^a.*", "--source-address=::1",
                          "--api-listen=[::1]:0", "--metrics-listen=*:9464", "--kafka-brokers=SSL://a:1,b,[::1]:3",
                          "--database-url=host=/tmp dbname=x", "--kafka-conf=a=b\n\nc=d=e\n",
                          "--public-url=https://x/y", NULL),
                     STATUS_OK);
    assert_int_equal(settings.start_from, START_FROM_LATEST);
    assert_int_equal(settings.lanes, 7);
    assert_true(settings.allow_http);
    assert_int_equal(settings.retention_ms, 2LL * 86400000);
    assert_int_equal(settings.payload_retention_ms, 2LL * 86400000);
    assert_int_equal(settings.response_body_limit_bytes, 1048576);
    assert_int_equal(settings.response_body_keep, BODY_KEEP_FAILED);
    assert_int_equal(settings.retry_count, 5);
    assert_int_equal(settings.retry_schedule_ms[0], 100);
    assert_int_equal(settings.retry_schedule_ms[4], 5LL * 86400000);
    assert_int_equal(settings.database_max_size_bytes, 2LL << 40);
    assert_true(settings.log_json);
    assert_int_equal(settings.log_level, LOG_DEBUG);
    assert_string_equal(settings.kafka_conf, "a=b\n\nc=d=e\n");
    settings_deinit(&settings);
    log_setup(LOG_INFO, false);
}

static void test_a_boolean_may_stand_alone(void **state) {
    (void)state;
    const struct {
        const char *arg, *next;
        bool value;
        int rest;
    } cases[] = {{"--allow-http", NULL, true, 0},       {"--allow-http", "0", false, 0},
                 {"--allow-http", "true", true, 0},     {"--allow-http", "file", true, 1},
                 {"--allow-http=0", "1", false, 1},     {"--allow-http=false", NULL, false, 0},
                 {"--allow-http", "--lanes=1", true, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(load(cases[i].arg, cases[i].next, NULL), STATUS_OK);
        assert_int_equal(settings.allow_http, cases[i].value);
        assert_int_equal(1 + (cases[i].next != NULL) - first, cases[i].rest);
        settings_deinit(&settings);
    }
    expect_wrong("--allow-http=yes", NULL, "--allow-http: expected 0 or 1, got \"yes\"");
}

static void test_wrong_values_are_named(void **state) {
    (void)state;
    expect_wrong("--timeout", "90", "--timeout: expected a duration from 1s to 30s, got \"90\"");
    expect_wrong("--timeout=31s", NULL, "--timeout: expected a duration from 1s to 30s, got \"31s\"");
    expect_wrong("--timeout=999ms", NULL, "--timeout: expected a duration from 1s to 30s, got \"999ms\"");
    expect_wrong("--timeout=", NULL, "--timeout: expected a duration from 1s to 30s, got \"\"");
    expect_wrong("--timeout=99999999999999999999s", NULL,
                 "--timeout: expected a duration from 1s to 30s, got \"99999999999999999999s\"");
    expect_wrong("--lanes", "0", "--lanes: expected an integer from 1 to 256, got \"0\"");
    expect_wrong("--lanes", "4x", "--lanes: expected an integer from 1 to 256, got \"4x\"");
    expect_wrong("--response-body-limit", "2MiB",
                 "--response-body-limit: expected a size from 0 to 1MiB, got \"2MiB\"");
    expect_wrong("--response-body-limit", "16K", "--response-body-limit: expected a size from 0 to 1MiB, got \"16K\"");
    expect_wrong("--start-from", "begin", "--start-from: expected one of earliest, latest, got \"begin\"");
    expect_wrong("--retry-schedule", "5s,,5m",
                 "--retry-schedule: expected 1 to 32 durations from 100ms to 30d, with commas, got \"5s,,5m\"");
    expect_wrong("--retry-schedule", "31d",
                 "--retry-schedule: expected 1 to 32 durations from 100ms to 30d, with commas, got \"31d\"");
    expect_wrong("--allow-nets", "10.0.0.0",
                 "--allow-nets: expected CIDRs with commas, such as 127.0.0.0/8,::1/128, got \"10.0.0.0\"");
    expect_wrong("--group", "", "--group: expected a name without spaces, at most 255 bytes, got \"\"");
    expect_wrong("--group", "a\nb\x1b", "--group: expected a name without spaces, at most 255 bytes, got \"a?b?\"");
    setenv("HOOKCAST_TIMEOUT", "soon", 1);
    expect_wrong(NULL, NULL, "HOOKCAST_TIMEOUT: expected a duration from 1s to 30s, got \"soon\"");
}

static void test_a_long_wrong_value_is_cut(void **state) {
    (void)state;
    char value[2000];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    memcpy(value + 59, "€", 3);
    char expected[300];
    snprintf(expected, sizeof(expected), "--lanes: expected an integer from 1 to 256, got \"%.59s…\"", value);
    expect_wrong("--lanes", value, expected);
}

static void refuse_all(const char *option, const char *const *values) {
    for (; *values; values++) {
        if (load(option, *values, NULL) != STATUS_INVALID)
            fail_msg("%s accepts \"%s\"", option, *values);
        assert_memory_equal(error.text, option, strlen(option));
    }
}

#define REFUSE(option, ...) refuse_all(option, (const char *const[]){__VA_ARGS__, NULL})

static void test_text_is_checked(void **state) {
    (void)state;
    REFUSE("--kafka-brokers", "", "a,", ",a", "a:0x", "a:65536", "a:-1", "a:", "[::1", "[zz]:1", "http://a/b", "a b:1");
    REFUSE("--database-url", "", "nonsense", "mysql://x");
    REFUSE("--kafka-conf", "novalue", "=x", "a=b\nbad");
    REFUSE("--topic-prefix", "", "a b", "events/", "01234567890123456789012345678901234567890123456789");
    REFUSE("--topics", "a,,b", "a b", "^(", ",");
    REFUSE("--api-listen", "8080", ":8080", "127.0.0.1", "127.0.0.1:x", "::1:80");
    REFUSE("--public-url", "", "example.org", "ftp://x", "http://", "https:///x", "http://a b");
    REFUSE("--allow-nets", "10.0.0.0/33", "::1/129", "10.0.0/8", "x/8", "10.0.0.0/8,", "10.0.0.0/-1", "10.0.0.0/");
    REFUSE("--source-address", "eth0", "1.2.3", "1.2.3.4/8");
    REFUSE("--mail-from", "me", "@x", "x@", "Me <me@x>", "m e@x");
    REFUSE("--log-level", "", "INFO", "inf", "info|warn");
}

static void test_secrets_are_never_shown(void **state) {
    (void)state;
    command.use = ALL | USE_SECRETS;
    setenv("HOOKCAST_SECRET_KEY", "hunter2", 1);
    expect_wrong(NULL, NULL, "HOOKCAST_SECRET_KEY: expected 32 bytes in base64, or several such keys with commas");
    setenv("HOOKCAST_SECRET_KEY", KEY, 1);
    setenv("HOOKCAST_SMTP_URL", "http://me:hunter2@mail", 1);
    expect_wrong(NULL, NULL, "HOOKCAST_SMTP_URL: expected smtp[s]://user:password@host:port");
    unsetenv("HOOKCAST_SMTP_URL");
    assert_int_equal(load("--database-url=hunter2", NULL), STATUS_INVALID);
    assert_null(strstr(error.text, "hunter2"));
    assert_int_equal(load("--kafka-conf=hunter2", NULL), STATUS_INVALID);
    assert_null(strstr(error.text, "hunter2"));
    /* They have no option, and the value that somebody tried to give is not repeated. */
    expect_wrong("--secret-key=hunter2", NULL,
                 "--secret-key: a secret is no option, others could see it; set HOOKCAST_SECRET_KEY or "
                 "HOOKCAST_SECRET_KEY_FILE");
    expect_wrong("--smtp-url", "hunter2",
                 "--smtp-url: a secret is no option, others could see it; set HOOKCAST_SMTP_URL or "
                 "HOOKCAST_SMTP_URL_FILE");
}

static void test_the_secret_key_is_required_where_secrets_are_used(void **state) {
    (void)state;
    command.use = ALL;
    assert_int_equal(load(NULL, NULL), STATUS_OK);
    settings_deinit(&settings);
    command.use = ALL | USE_SECRETS;
    assert_int_equal(load(NULL, NULL), STATUS_INVALID);
    assert_memory_equal(error.text, "HOOKCAST_SECRET_KEY: expected", 29);
    assert_int_equal(load("--insecure-dev", NULL), STATUS_OK);
    assert_true(settings.insecure_dev);
    settings_deinit(&settings);
    setenv("HOOKCAST_SECRET_KEY", KEY "," KEY, 1);
    assert_int_equal(load(NULL, NULL), STATUS_OK);
    assert_string_equal(settings.secret_key, KEY "," KEY);
    settings_deinit(&settings);
}

static void test_mail_needs_a_sender(void **state) {
    (void)state;
    setenv("HOOKCAST_SMTP_URL", "smtps://u:p@mail:465", 1);
    assert_int_equal(load(NULL, NULL), STATUS_INVALID);
    assert_memory_equal(error.text, "HOOKCAST_MAIL_FROM:", 19);
    assert_int_equal(load("--mail-from", "hookcast@example.org", NULL), STATUS_OK);
    settings_deinit(&settings);
}

static char path[] = "/tmp/hookcast-settings-XXXXXX";

static void put_file(const char *text, size_t len) {
    memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static void expect_from_file(const char *text, const char *expected) {
    put_file(text, strlen(text));
    setenv("HOOKCAST_KAFKA_CONF_FILE", path, 1);
    assert_int_equal(load(NULL, NULL), STATUS_OK);
    assert_string_equal(settings.kafka_conf, expected);
    settings_deinit(&settings);
    unlink(path);
}

static void test_a_value_may_come_from_a_file(void **state) {
    (void)state;
    expect_from_file("a=b", "a=b");
    expect_from_file("a=b\n", "a=b");
    expect_from_file("a=b\nc=d\n\n", "a=b\nc=d\n");
    expect_from_file("", "");
    /* A setting whose own name ends so. */
    unsetenv("HOOKCAST_KAFKA_CONF_FILE");
    setenv("HOOKCAST_CA_FILE", "/etc/x.pem", 1);
    assert_int_equal(load(NULL, NULL), STATUS_OK);
    assert_string_equal(settings.ca_file, "/etc/x.pem");
    settings_deinit(&settings);
}

static void test_a_bad_file_is_named(void **state) {
    (void)state;
    char expected[600];
    setenv("HOOKCAST_GROUP_FILE", "/nonexistent/group", 1);
    expect_wrong(NULL, NULL, "HOOKCAST_GROUP_FILE: cannot open \"/nonexistent/group\": No such file or directory");
    setenv("HOOKCAST_GROUP_FILE", "/tmp", 1);
    expect_wrong(NULL, NULL, "HOOKCAST_GROUP_FILE: cannot read \"/tmp\": Is a directory");
    setenv("HOOKCAST_GROUP", "x", 1);
    expect_wrong(NULL, NULL, "HOOKCAST_GROUP and HOOKCAST_GROUP_FILE: expected only one of them, got both");
    unsetenv("HOOKCAST_GROUP");
    put_file("a\0b", 3);
    setenv("HOOKCAST_GROUP_FILE", path, 1);
    expect_wrong(NULL, NULL,
                 "HOOKCAST_GROUP_FILE: expected a name without spaces, at most 255 bytes, got \"a\xef\xbf\xbd"
                 "b\"");
    unlink(path);
    size_t len = 65 * 1024;
    char *large = mem_calloc(1, len);
    memset(large, 'x', len);
    put_file(large, len);
    mem_free(large);
    snprintf(expected, sizeof(expected), "HOOKCAST_GROUP_FILE: expected at most 64 KiB in \"%s\"", path);
    setenv("HOOKCAST_GROUP_FILE", path, 1);
    expect_wrong(NULL, NULL, expected);
    unlink(path);
}

static void test_own_options_and_arguments(void **state) {
    (void)state;
    assert_int_equal(load("one", "--skip-invalid", "two", "--example", "message.new", "-", "--", "--lanes", NULL),
                     STATUS_OK);
    assert_string_equal(options[0].value, "1");
    assert_string_equal(options[1].value, "message.new");
    assert_string_equal(args[first], "one");
    assert_string_equal(args[first + 1], "two");
    assert_string_equal(args[first + 2], "-");
    assert_string_equal(args[first + 3], "--lanes");
    assert_int_equal(first, 4);
    settings_deinit(&settings);
    expect_wrong("--skip-invalid=1", NULL, "--skip-invalid: expected no value, got one");
    expect_wrong("--example", NULL, "--example: expected a value, got none");
    expect_wrong("--group", NULL, "--group: expected a value, got none");
}

static void test_unknown_options_are_refused(void **state) {
    (void)state;
    expect_wrong("--kafka-broker=x", NULL, "--kafka-broker: no such option; did you mean --kafka-brokers?");
    expect_wrong("--skip-invald", NULL, "--skip-invald: no such option; did you mean --skip-invalid?");
    expect_wrong("--frobnicate", NULL, "--frobnicate: no such option; \"hookcast try --help\" lists them");
    expect_wrong("-x", NULL, "-x: no such option; \"hookcast try --help\" lists them");
    command.use = USE_KAFKA;
    expect_wrong("--lanes=3", NULL, "--lanes: does not concern \"hookcast try\"");
}

static void test_what_does_not_concern_the_command_is_not_read(void **state) {
    (void)state;
    setenv("HOOKCAST_LANES", "nonsense", 1);
    setenv("HOOKCAST_SECRET_KEY_FILE", "/nonexistent", 1);
    command.use = USE_KAFKA;
    assert_int_equal(load(NULL, NULL), STATUS_OK);
    assert_int_equal(settings.lanes, cores_granted());
    settings_deinit(&settings);
}

/* What fn writes to the descriptor. */
static char *captured(int fd, void (*fn)(void)) {
    int file = memfd_create("captured", 0), before = dup(fd);
    fflush(stdout);
    dup2(file, fd);
    fn();
    fflush(stdout);
    dup2(before, fd);
    close(before);
    off_t len = lseek(file, 0, SEEK_END);
    char *text = mem_calloc(1, (size_t)len + 1);
    assert_int_equal(pread(file, text, (size_t)len, 0), len);
    close(file);
    return text;
}

static void load_quietly(void) {
    assert_int_equal(load(NULL, NULL), STATUS_OK);
    settings_deinit(&settings);
}

static void test_unknown_variables_are_warned_of(void **state) {
    (void)state;
    setenv("HOOKCAST_KAFKA_BROKER", "x", 1);
    setenv("HOOKCAST_CA_FILE_FILE", "/dev/null", 1);
    setenv("HOOKCAST_LANES", "2", 1);
    char *text = captured(STDERR_FILENO, load_quietly);
    unsetenv("HOOKCAST_KAFKA_BROKER");
    const char *expected = "level=warn module=settings msg=\"unknown variable\" variable=HOOKCAST_KAFKA_BROKER "
                           "nearest=HOOKCAST_KAFKA_BROKERS\n";
    const char *at = strstr(text, "level=");
    assert_non_null(at);
    assert_string_equal(at, expected);
    mem_free(text);
}

static void print_help(void) {
    settings_help(&command);
}

static size_t columns(const char *line, size_t len) {
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += ((unsigned char)line[i] & 0xc0) != 0x80;
    return count;
}

static void test_help_names_everything_in_100_columns(void **state) {
    (void)state;
    command.use = ALL | USE_SECRETS;
    char *text = captured(STDOUT_FILENO, print_help);
    assert_memory_equal(text, "Usage: hookcast try [OPTION…] [FILE…]\n\nTries.\n\nExamples:\n", 40);
    const struct setting *table;
    size_t count = settings_table(&table);
    for (size_t i = 0; i < count; i++) {
        char needle[128], name[SETTING_VARIABLE_BYTES];
        setting_variable(&table[i], name);
        assert_non_null(strstr(text, name));
        snprintf(needle, sizeof(needle), "  --%s ", table[i].option);
        assert_int_equal(strstr(text, needle) == NULL, (table[i].flags & SETTING_NO_OPTION) != 0);
    }
    assert_non_null(strstr(text, "  --skip-invalid "));
    assert_non_null(strstr(text, "  --example TYPE "));
    assert_non_null(strstr(text, "Value: a duration from 1s to 30s. Default: 15s.\n"));
    for (const char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_true(columns(line, (size_t)(end - line)) <= 100);
        assert_true(end == line || end[-1] != ' ');
    }
    mem_free(text);

    command.use = 0;
    text = captured(STDOUT_FILENO, print_help);
    assert_null(strstr(text, "HOOKCAST_LANES"));
    assert_non_null(strstr(text, "HOOKCAST_LOG_LEVEL"));
    mem_free(text);
}

static void test_help_is_asked_for_before_the_two_dashes(void **state) {
    (void)state;
    char *yes[] = {(char[]){"x"}, (char[]){"--help"}}, *h[] = {(char[]){"-h"}};
    char *no[] = {(char[]){"x"}, (char[]){"--"}, (char[]){"--help"}};
    assert_true(settings_wants_help(2, yes));
    assert_true(settings_wants_help(1, h));
    assert_false(settings_wants_help(1, yes));
    assert_false(settings_wants_help(3, no));
}

static void test_durations_and_sizes(void **state) {
    (void)state;
    const struct {
        const char *text;
        int64_t value;
    } durations[] = {{"0s", 0}, {"300ms", 300}, {"5s", 5000}, {"5m", 300000}, {"2h", 7200000}, {"30d", 2592000000}},
      sizes[] = {{"0", 0},          {"512", 512},         {"16KiB", 16384},
                 {"1MiB", 1048576}, {"3GiB", 3221225472}, {"1TiB", 1099511627776}};
    const char *const wrong[] = {"",
                                 "5",
                                 "s",
                                 "-5s",
                                 "+5s",
                                 " 5s",
                                 "5s ",
                                 "5 s",
                                 "1.5s",
                                 "5S",
                                 "5sec",
                                 "1h30m",
                                 "9223372036854775807d",
                                 "99999999999999999999ms"};
    const char *const wrong_sizes[] = {"", "KiB", "1kb", "1K", "-1", "1 KiB", "9223372036854775807TiB"};
    int64_t value;
    for (size_t i = 0; i < sizeof(durations) / sizeof(*durations); i++) {
        assert_int_equal(settings_parse_duration(span_of(durations[i].text), &value), STATUS_OK);
        assert_int_equal(value, durations[i].value);
        assert_int_equal(settings_parse_size(span_of(sizes[i].text), &value), STATUS_OK);
        assert_int_equal(value, sizes[i].value);
    }
    value = 42;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_int_equal(settings_parse_duration(span_of(wrong[i]), &value), STATUS_INVALID);
    for (size_t i = 0; i < sizeof(wrong_sizes) / sizeof(*wrong_sizes); i++)
        assert_int_equal(settings_parse_size(span_of(wrong_sizes[i]), &value), STATUS_INVALID);
    assert_int_equal(value, 42);
}

static void test_at_most_32_retries(void **state) {
    (void)state;
    char text[200] = "1s";
    for (int i = 1; i < 32; i++)
        memcpy(text + 3 * i - 1, ",1s", 4);
    assert_int_equal(load("--retry-schedule", text, NULL), STATUS_OK);
    assert_int_equal(settings.retry_count, 32);
    settings_deinit(&settings);
    memcpy(text + 3 * 32 - 1, ",1s", 4);
    assert_int_equal(load("--retry-schedule", text, NULL), STATUS_INVALID);
}

#define WITH_BEGIN(test) cmocka_unit_test_setup_teardown(test, begin, begin)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_BEGIN(test_defaults),
        WITH_BEGIN(test_the_option_wins_over_the_variable),
        WITH_BEGIN(test_an_empty_variable_is_not_set),
        WITH_BEGIN(test_every_type_is_read),
        WITH_BEGIN(test_a_boolean_may_stand_alone),
        WITH_BEGIN(test_wrong_values_are_named),
        WITH_BEGIN(test_a_long_wrong_value_is_cut),
        WITH_BEGIN(test_text_is_checked),
        WITH_BEGIN(test_secrets_are_never_shown),
        WITH_BEGIN(test_the_secret_key_is_required_where_secrets_are_used),
        WITH_BEGIN(test_mail_needs_a_sender),
        WITH_BEGIN(test_a_value_may_come_from_a_file),
        WITH_BEGIN(test_a_bad_file_is_named),
        WITH_BEGIN(test_own_options_and_arguments),
        WITH_BEGIN(test_unknown_options_are_refused),
        WITH_BEGIN(test_what_does_not_concern_the_command_is_not_read),
        WITH_BEGIN(test_unknown_variables_are_warned_of),
        WITH_BEGIN(test_help_names_everything_in_100_columns),
        WITH_BEGIN(test_help_is_asked_for_before_the_two_dashes),
        WITH_BEGIN(test_durations_and_sizes),
        WITH_BEGIN(test_at_most_32_retries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
