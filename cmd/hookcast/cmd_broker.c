/* hookcast broker: an in-memory Kafka for trying things out. */
#include "base/memory.h"
#include "command.h"
#include "kafka/dev_broker.h"
#include "run.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS_MAX 1000

enum { OPTION_PARTITIONS, OPTION_TOPIC_LIST, OPTION_ADDRESS_FILE, OPTIONS };

static int fail(const char *text) {
    fprintf(stderr, "hookcast broker: %s\n", text);
    return EXIT_FAILED;
}

static bool parse_partitions(const char *text, int *ret_partitions) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < 1 || value > PARTITIONS_MAX)
        return false;
    *ret_partitions = (int)value;
    return true;
}

static enum status make_topics(struct dev_broker *broker, const char *list, struct error *error) {
    for (const char *at = list; *at;) {
        size_t len = strcspn(at, ",");
        char *topic = mem_strndup(at, len);
        enum status status = len > 0 ? dev_broker_topic(broker, topic, error) : STATUS_OK;
        mem_free(topic);
        if (status != STATUS_OK && status != STATUS_CONFLICT)
            return status;
        at += len + (at[len] != '\0');
    }
    return STATUS_OK;
}

/* Whole or not at all, for those that wait for the file. */
static enum status write_address(const char *path, const char *address, struct error *error) {
    struct buffer draft;
    buffer_init(&draft, 8192);
    buffer_printf(&draft, "%s.new", path);
    FILE *file = draft.overflowed ? NULL : fopen(draft.data, "we");
    bool written = file && fprintf(file, "%s\n", address) > 0;
    if (file)
        written = fclose(file) == 0 && written && rename(draft.data, path) == 0;
    enum status status =
        written ? STATUS_OK : error_set(error, STATUS_FAILED, "--address-file %s: %s", path, strerror(errno));
    buffer_deinit(&draft);
    return status;
}

static void on_stop(void *ctx) {
    loop_stop(ctx);
}

static enum status serve(struct dev_broker *broker, const struct settings_option *options, struct error *error) {
    const char *topics = options[OPTION_TOPIC_LIST].value, *path = options[OPTION_ADDRESS_FILE].value;
    enum status status = topics ? make_topics(broker, topics, error) : STATUS_OK;
    if (status != STATUS_OK)
        return status;
    struct loop *loop = loop_new("broker");
    run_on_stop(loop, on_stop, loop);
    puts("An in-memory Kafka for trying things out. It keeps only the last 5 MiB (or 100,000 batches) of each "
         "partition,\n"
         "drops what is older without a word, and forgets everything when it ends: topics, events, offsets.");
    printf("listening on %s\n", dev_broker_address(broker));
    fflush(stdout);
    if (path)
        status = write_address(path, dev_broker_address(broker), error);
    if (status == STATUS_OK)
        loop_run(loop);
    loop_free(&loop);
    if (path && status == STATUS_OK)
        remove(path);
    return status;
}

static int run(const struct settings *settings, struct settings_command *about, int argc, char **argv) {
    (void)settings;
    if (argc > 0) {
        fprintf(stderr, "hookcast broker: takes no argument, got \"%.80s\"\n", argv[0]);
        return EXIT_USAGE;
    }
    int partitions = DEV_BROKER_PARTITIONS;
    const char *wanted = about->options[OPTION_PARTITIONS].value;
    if (wanted && !parse_partitions(wanted, &partitions)) {
        fail("--partitions: expected 1 to 1000");
        return EXIT_USAGE;
    }
    struct dev_broker *broker = NULL;
    struct error error;
    if (dev_broker_open(1, partitions, &broker, &error) != STATUS_OK)
        return fail(error.text);
    enum status status = serve(broker, about->options, &error);
    dev_broker_close(&broker);
    return status == STATUS_OK ? EXIT_DONE : fail(error.text);
}

struct command *cmd_broker(void) {
    static struct settings_option options[OPTIONS] = {
        [OPTION_PARTITIONS] = {"partitions", "N", "partitions of the topics that --topic-list makes (default 4)", NULL},
        [OPTION_TOPIC_LIST] = {"topic-list", "LIST", "topics to make at start, with commas", NULL},
        [OPTION_ADDRESS_FILE] = {"address-file", "PATH", "write the address there once it answers; removed at the end",
                                 NULL},
    };
    static struct command command = {
        .about =
            {
                .name = "broker",
                .arguments = "",
                .summary = "an in-memory Kafka for trying things out",
                .text =
                    "Speaks enough of Kafka's protocol for hookcast and for other clients on this machine: topics,\n"
                    "groups, offsets, idempotent producers. It keeps only the last 5 MiB (or 100,000 batches) of each\n"
                    "partition and nothing after its end. A topic comes about by its first use, with 4 partitions.\n"
                    "A new group waits 3 s, and one that changes its session timeout less a second: with it, start\n"
                    "hookcast with --kafka-conf session.timeout.ms=3500.\n\n"
                    "Example:\n\n"
                    "  hookcast broker --address-file /tmp/kafka &\n"
                    "  hookcast publish --kafka-brokers \"$(cat /tmp/kafka)\" events.jsonl\n",
                .options = options,
                .option_count = OPTIONS,
            },
        .run = run,
    };
    return &command;
}
