/* hookcast publish: JSON Lines into Kafka. Every line is checked before it is sent, and counted when Kafka has it. */
#include "base/clock.h"
#include "command.h"
#include "kafka/producer.h"
#include "publish_check.h"
#include "publish_example.h"
#include "publish_lines.h"
#include "publish_progress.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMPLAINTS_MAX 20
#define COUNT_MAX 100000000
#define LOOK_EVERY_LINES 64
#define TICK_MS 100
/* Kafka is not there, or refuses all: reading on would only use up the input. */
#define GIVE_UP_AFTER 100
#define CLOSE_MS 1000

enum { OPTION_SKIP_INVALID, OPTION_EXAMPLE, OPTION_WORKSPACE, OPTION_COUNT, OPTION_LINGER, OPTION_TIMEOUT, OPTIONS };

struct publish {
    struct producer *producer;
    struct span topic_prefix;
    bool skip_invalid;
    struct publish_target target;
    struct publish_progress progress;
    struct publish_counts counts;
    const char *source; /* of the line under way */
    int64_t closed_bytes;
    struct publish_lines *lines;
    int64_t lines_sent;
    int64_t failures_in_a_row;
    int64_t complaints;
    bool broken; /* an invalid line, or an input that can't be read */
};

static volatile sig_atomic_t interrupts;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupts++;
}

/* One line for people, at most COMPLAINTS_MAX times. */
static void complain(struct publish *publish, int64_t line, const char *text) {
    publish->complaints++;
    if (publish->complaints > COMPLAINTS_MAX)
        return;
    publish_progress_clear(&publish->progress);
    if (publish->source)
        fprintf(stderr, "%s:%lld: %s\n", publish->source, (long long)line, text);
    else
        fprintf(stderr, "hookcast publish: %s\n", text);
    if (publish->complaints == COMPLAINTS_MAX)
        fputs("hookcast publish: further ones are only counted\n", stderr);
}

static void on_report(void *ctx, void *tag, const char *error) {
    struct publish *publish = ctx;
    (void)tag;
    if (!error) {
        publish->counts.published++;
        publish->failures_in_a_row = 0;
        return;
    }
    publish->counts.failed++;
    publish->failures_in_a_row++;
    const char *source = publish->source;
    publish->source = NULL;
    char text[600];
    snprintf(text, sizeof(text), "line %lld was not acknowledged: %s", (long long)(intptr_t)tag, error);
    complain(publish, 0, text);
    publish->source = source;
}

/* Hands out reports, and says whether to go on. */
static bool look(struct publish *publish, int64_t wait_ms) {
    producer_poll(publish->producer, wait_ms);
    publish->counts.read_bytes =
        publish->closed_bytes + (publish->lines ? publish_lines_read_bytes(publish->lines) : 0);
    publish_progress_show(&publish->progress, &publish->counts);
    return interrupts == 0 && publish->failures_in_a_row < GIVE_UP_AFTER;
}

/* Waits for input, and serves the producer meanwhile. */
static bool wait_for_input(void *ctx, int fd) {
    struct publish *publish = ctx;
    for (;;) {
        if (!look(publish, 0))
            return false;
        struct pollfd wait[] = {{.fd = fd, .events = POLLIN}, {.fd = producer_fd(publish->producer), .events = POLLIN}};
        int ready = poll(wait, 2, publish->progress.shown ? TICK_MS : -1);
        if (ready > 0 && wait[0].revents)
            return true;
    }
}

/* Sends one line; waits while the local queue is full. False: stop. */
static bool send_line(struct publish *publish, struct span line, int64_t number) {
    struct error error = {""};
    if (publish_check(line, publish->topic_prefix, &publish->target, &error) != STATUS_OK) {
        complain(publish, number, error.text);
        publish->counts.skipped += publish->skip_invalid;
        publish->broken |= !publish->skip_invalid;
        return publish->skip_invalid;
    }
    struct buffer topic;
    buffer_init(&topic, 1024);
    buffer_span(&topic, publish->topic_prefix);
    buffer_span(&topic, publish->target.event_type);
    enum status status;
    bool go_on = true;
    while ((status = producer_send(publish->producer, buffer_view(&topic), buffer_view(&publish->target.workspace),
                                   line, NULL, 0, (void *)(intptr_t)number, &error)) == STATUS_UNAVAILABLE &&
           go_on)
        go_on = look(publish, TICK_MS);
    buffer_deinit(&topic);
    if (status == STATUS_OK)
        return ++publish->lines_sent % LOOK_EVERY_LINES != 0 || look(publish, 0);
    if (status != STATUS_UNAVAILABLE) {
        publish->counts.failed++;
        complain(publish, number, error.text);
    }
    return go_on;
}

static bool is_blank(struct span line) {
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t')
            return false;
    return true;
}

/* False: stop. */
static bool send_lines(struct publish *publish) {
    for (;;) {
        struct span line;
        struct error error;
        enum publish_line got = publish_lines_next(publish->lines, &line, &error);
        int64_t number = publish_lines_number(publish->lines);
        bool go_on = true;
        switch (got) {
        case PUBLISH_LINE:
            go_on = is_blank(line) || send_line(publish, line, number);
            break;
        case PUBLISH_LINE_TOO_LONG:
            complain(publish, number, "longer than 1 MiB");
            publish->counts.skipped += publish->skip_invalid;
            publish->broken |= !publish->skip_invalid;
            go_on = publish->skip_invalid;
            break;
        case PUBLISH_LINES_END:
            return look(publish, 0);
        case PUBLISH_LINES_FAILED:
            complain(publish, number, error.text);
            publish->broken = true;
            return false;
        }
        if (!go_on)
            return false;
    }
}

static void send_files(struct publish *publish, int count, char **paths) {
    bool go_on = true;
    for (int i = 0; i < count && go_on; i++) {
        struct error error;
        publish->source = strcmp(paths[i], "-") == 0 ? "stdin" : paths[i];
        if (publish_lines_open(paths[i], wait_for_input, publish, &publish->lines, &error) != STATUS_OK) {
            publish->source = NULL;
            complain(publish, 0, error.text);
            publish->broken = true;
            return;
        }
        go_on = send_lines(publish);
        publish->closed_bytes += publish_lines_read_bytes(publish->lines);
        publish_lines_close(&publish->lines);
    }
    publish->source = NULL;
}

static void send_examples(struct publish *publish, const char *type, const char *workspace, int64_t count) {
    struct buffer line;
    buffer_init(&line, PUBLISH_LINE_MAX);
    bool go_on = true;
    for (int64_t number = 1; number <= count && go_on; number++) {
        buffer_reset(&line);
        publish_example(type, workspace, number, &line);
        go_on = send_line(publish, buffer_view(&line), number);
    }
    buffer_deinit(&line);
}

/* Waits for what is under way; a second interrupt, or each record's own time, ends it. */
static void finish(struct publish *publish) {
    while (producer_waiting(publish->producer) > 0 && interrupts < 2)
        (void)look(publish, TICK_MS);
    producer_close(&publish->producer, interrupts < 2 ? CLOSE_MS : 0);
    publish_progress_clear(&publish->progress);
}

static int conclude(struct publish *publish) {
    int64_t elapsed_ms = clock_mono_ms() - publish->progress.start_ms;
    const struct publish_counts *counts = &publish->counts;
    if (publish->failures_in_a_row >= GIVE_UP_AFTER)
        fprintf(stderr, "hookcast publish: stopped, since Kafka acknowledged none of the last %lld\n",
                (long long)publish->failures_in_a_row);
    else if (interrupts > 0)
        fputs("hookcast publish: interrupted before the end of the input\n", stderr);
    printf("published %lld, failed %lld, skipped %lld in %.1f s\n", (long long)counts->published,
           (long long)counts->failed, (long long)counts->skipped, (double)elapsed_ms / 1000);
    return counts->failed > 0 || publish->broken || interrupts > 0 ? EXIT_FAILED : EXIT_DONE;
}

/* The size of all inputs together; 0: some input has none. */
static int64_t total_bytes(int count, char **paths) {
    int64_t total = 0;
    for (int i = 0; i < count; i++) {
        struct stat status;
        bool known = (strcmp(paths[i], "-") == 0 ? fstat(STDIN_FILENO, &status) : stat(paths[i], &status)) == 0;
        if (!known || !S_ISREG(status.st_mode))
            return 0;
        total += status.st_size;
    }
    return total;
}

static int usage(const char *text) {
    fprintf(stderr, "hookcast publish: %s\n", text);
    return EXIT_USAGE;
}

static bool parse_count(const char *text, int64_t *ret_count) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < 1 || value > COUNT_MAX)
        return false;
    *ret_count = value;
    return true;
}

static void watch_signals(void) {
    /* No restart: a read that waits for input ends. */
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* "5ms", "1s"; a bare number counts milliseconds. */
static bool parse_ms(const char *text, int64_t *ret_ms) {
    if (strspn(text, "0123456789") == strlen(text))
        return text[0] && strlen(text) < 10 && (*ret_ms = strtoll(text, NULL, 10), true);
    return settings_parse_duration(span_of(text), ret_ms) == STATUS_OK;
}

static int run(const struct settings *settings, struct settings_command *about, int argc, char **argv) {
    const struct settings_option *options = about->options;
    const char *example = options[OPTION_EXAMPLE].value, *workspace = options[OPTION_WORKSPACE].value;
    int64_t count = 1, linger_ms = 5, timeout_ms = 30000;
    if (options[OPTION_COUNT].value && !parse_count(options[OPTION_COUNT].value, &count))
        return usage("--count: expected 1 to 100000000");
    if (options[OPTION_LINGER].value && (!parse_ms(options[OPTION_LINGER].value, &linger_ms) || linger_ms > 60000))
        return usage("--linger: expected a time of at most 60 s, like 5ms; a bare number counts milliseconds");
    if (options[OPTION_TIMEOUT].value &&
        (!parse_ms(options[OPTION_TIMEOUT].value, &timeout_ms) || timeout_ms < linger_ms + 100 || timeout_ms > 3600000))
        return usage("--timeout: expected a time of at most 1 h, and longer than --linger, like 30s");
    if (!example != !workspace)
        return usage("--example TYPE and --workspace ID belong together");
    if (example && argc > 0)
        return usage("--example takes no files");
    if (!example && options[OPTION_COUNT].value)
        return usage("--count goes with --example");

    struct publish publish = {.topic_prefix = span_of(settings->topic_prefix),
                              .skip_invalid = options[OPTION_SKIP_INVALID].value != NULL};
    struct producer_settings how = {.brokers = settings->kafka_brokers,
                                    .conf = settings->kafka_conf,
                                    .client_id = "hookcast-publish",
                                    .linger_ms = linger_ms,
                                    .message_timeout_ms = timeout_ms,
                                    .report = on_report,
                                    .ctx = &publish};
    struct error error;
    if (producer_open(&how, &publish.producer, &error) != STATUS_OK) {
        fprintf(stderr, "hookcast publish: --kafka-conf: %s\n", error.text);
        return EXIT_USAGE;
    }
    char standard_input[] = "-", *only_standard_input[] = {standard_input};
    char **paths = argc > 0 ? argv : only_standard_input;
    int path_count = argc > 0 ? argc : 1;
    watch_signals();
    buffer_init(&publish.target.workspace, PUBLISH_WORKSPACE_MAX);
    publish_progress_init(&publish.progress);
    if (example) {
        send_examples(&publish, example, workspace, count);
    } else {
        publish.counts.total_bytes = total_bytes(path_count, paths);
        send_files(&publish, path_count, paths);
    }
    finish(&publish);
    buffer_deinit(&publish.target.workspace);
    return conclude(&publish);
}

struct command *cmd_publish(void) {
    static struct settings_option options[OPTIONS] = {
        [OPTION_SKIP_INVALID] = {"skip-invalid", NULL, "leave out lines that are no event, and count them", NULL},
        [OPTION_EXAMPLE] = {"example", "TYPE", "send an example event of this type instead of reading", NULL},
        [OPTION_WORKSPACE] = {"workspace", "ID", "the example's workspace", NULL},
        [OPTION_COUNT] = {"count", "N", "how many examples (default 1)", NULL},
        [OPTION_LINGER] = {"linger", "MS", "wait so long for more events to send together (default 5)", NULL},
        [OPTION_TIMEOUT] = {"timeout", "TIME", "an event that Kafka has not acknowledged by then failed (default 30s)",
                            NULL},
    };
    static struct command command = {
        .about =
            {
                .name = "publish",
                .arguments = "[FILE…]",
                .summary = "sends events, one JSON object a line, to Kafka",
                .text =
                    "Reads JSON Lines from the files, or from standard input (also as \"-\"), checks each line and\n"
                    "sends it to the topic of its event_type, with the workspace as key, by an idempotent producer\n"
                    "with acks=all. The first line that is no event ends the reading, unless --skip-invalid is set.\n"
                    "Prints what Kafka acknowledged; ends with 0 only when that is everything.\n\n"
                    "Examples:\n\n"
                    "  hookcast publish events.jsonl\n"
                    "  hookcast publish --example message.new --workspace ws_1 --count 10\n"
                    "  echo '{\"event_type\":\"a.b\",\"workspace_id\":7,\"payload\":{}}' | hookcast publish\n",
                .use = USE_KAFKA,
                .options = options,
                .option_count = OPTIONS,
            },
        .run = run,
    };
    return &command;
}
