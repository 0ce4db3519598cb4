/* hookcast api: the REST API until it is told to stop. */
#include "api/api.h"
#include "command.h"
#include "run.h"
#include <stdio.h>

static void on_stop(void *ctx) {
    loop_stop(ctx);
}

static int run(const struct settings *settings, struct settings_command *about, int argc, char **argv) {
    (void)about;
    if (argc > 0) {
        fprintf(stderr, "hookcast api: unexpected argument \"%.100s\": it takes none\n", argv[0]);
        return EXIT_USAGE;
    }
    run_raise_limits();
    struct error error;
    struct api *api = NULL;
    struct loop *loop = loop_new("main");
    run_on_stop(loop, on_stop, loop);
    enum status status = api_new(settings, &api, &error);
    if (status == STATUS_OK)
        status = api_start(api, &error);
    if (status == STATUS_OK) {
        loop_run(loop);
        api_stop(api, settings->drain_timeout_ms);
    }
    api_free(&api);
    loop_free(&loop);
    if (status == STATUS_OK)
        return EXIT_DONE;
    fprintf(stderr, "hookcast api: %s\n", error.text);
    return EXIT_FAILED;
}

struct command *cmd_api(void) {
    static struct command command = {
        .about =
            {
                .name = "api",
                .arguments = "",
                .summary = "answers the REST API",
                .text =
                    "Serves the REST API, /healthz and /readyz. Runs until SIGTERM or SIGINT, and then answers what\n"
                    "is under way. Any number of them may run beside each other.\n"
                    "\"hookcast key create\" makes the keys that it wants; docs/api.md shows each request.\n",
                .use = USE_DATABASE | USE_API | USE_SECRETS,
            },
        .run = run,
    };
    return &command;
}
