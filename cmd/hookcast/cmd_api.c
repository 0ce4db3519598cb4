/* hookcast api: the REST API until it is told to stop. */
#include "api/api.h"
#include "command.h"
#include "health.h"
#include "run.h"
#include <stdio.h>

static void on_stop(void *ctx) {
    loop_stop(ctx);
}

/* Whether requests are answered is said by /readyz on the API's own port. */
static bool is_ready(void *ctx, struct error *why) {
    (void)ctx;
    (void)why;
    return true;
}

static int run(const struct settings *settings, struct settings_command *about, int argc, char **argv) {
    const char *metrics = about->options[0].value;
    if (argc > 0) {
        fprintf(stderr, "hookcast api: unexpected argument \"%.100s\": it takes none\n", argv[0]);
        return EXIT_USAGE;
    }
    run_raise_limits();
    struct error error;
    struct api *api = NULL;
    struct health *health = NULL;
    struct loop *loop = loop_new("main");
    run_on_stop(loop, on_stop, loop);
    enum status status = api_new(settings, &api, &error);
    if (status == STATUS_OK)
        status = api_start(api, &error);
    bool usage = false;
    if (status == STATUS_OK && metrics) {
        status = health_open(loop, metrics, is_ready, NULL, &health, &error);
        usage = status == STATUS_INVALID;
        if (status != STATUS_OK) {
            error_context(&error, "--metrics");
            api_stop(api, 0);
        }
    }
    if (status == STATUS_OK) {
        loop_run(loop);
        api_stop(api, settings->drain_timeout_ms);
    }
    if (health)
        health_close(&health);
    api_free(&api);
    loop_free(&loop);
    if (status == STATUS_OK)
        return EXIT_DONE;
    fprintf(stderr, "hookcast api: %s\n", error.text);
    return usage ? EXIT_USAGE : EXIT_FAILED;
}

struct command *cmd_api(void) {
    static struct settings_option options[] = {
        {"metrics", "ADDRESS", "Serves /metrics too, on a port of its own (host:port); without it, none.", NULL},
    };
    static struct command command = {
        .about =
            {
                .name = "api",
                .arguments = "",
                .summary = "answers the REST API",
                .text =
                    "Serves the REST API, /healthz and /readyz. Runs until SIGTERM or SIGINT, and then answers what\n"
                    "is under way. Any number of them may run beside each other.\n"
                    "Events that come over it go to Kafka; while Kafka is away only these are refused.\n"
                    "\"hookcast key create\" makes the keys that it wants; docs/api.md shows each request.\n",
                .use = USE_DATABASE | USE_KAFKA | USE_API | USE_WEBHOOK | USE_SECRETS | USE_MAIL,
                .options = options,
                .option_count = sizeof(options) / sizeof(options[0]),
            },
        .run = run,
    };
    return &command;
}
