/* hookcast serve: the REST API and the dispatcher in one process. They know nothing of each other and meet in the
 * database. */
#include "api/api.h"
#include "command.h"
#include "dispatch/dispatch.h"
#include "health.h"
#include "run.h"
#include <stdio.h>

#define API_DRAIN_MS 5000

struct serve {
    struct dispatch *dispatch;
    struct api *api;
    struct health *health;
};

static bool is_ready(void *ctx, struct error *why) {
    struct serve *serve = ctx;
    return dispatch_is_ready(serve->dispatch, why);
}

static void on_stop(void *ctx) {
    loop_stop(ctx);
}

static enum status open_all(struct serve *serve, const struct settings *settings, struct loop *loop,
                            struct error *error) {
    enum status status = dispatch_new(settings, &serve->dispatch, error);
    if (status == STATUS_OK)
        status = api_new(settings, &serve->api, error);
    if (status == STATUS_OK)
        status = health_open(loop, settings->metrics_listen, is_ready, serve, &serve->health, error);
    return status;
}

static int run(const struct settings *settings, struct settings_command *about, int argc, char **argv) {
    (void)about;
    if (argc > 0) {
        fprintf(stderr, "hookcast serve: takes no argument, got \"%.80s\"\n", argv[0]);
        return EXIT_USAGE;
    }
    struct error error = {""};
    struct serve serve = {NULL, NULL, NULL};
    run_raise_limits();
    struct loop *loop = loop_new("main");
    enum status status = open_all(&serve, settings, loop, &error);
    if (status == STATUS_OK)
        status = api_start(serve.api, &error);
    if (status == STATUS_OK) {
        run_on_stop(loop, on_stop, loop);
        dispatch_start(serve.dispatch);
        loop_run(loop);
        api_stop(serve.api, API_DRAIN_MS);
        dispatch_stop(serve.dispatch);
    } else {
        fprintf(stderr, "hookcast serve: %s\n", error.text);
    }
    if (serve.health)
        health_close(&serve.health);
    loop_free(&loop);
    if (serve.api)
        api_free(&serve.api);
    dispatch_free(&serve.dispatch);
    if (status == STATUS_INVALID)
        return EXIT_USAGE;
    return status == STATUS_OK ? EXIT_DONE : EXIT_FAILED;
}

struct command *cmd_serve(void) {
    static struct command command = {
        .about =
            {
                .name = "serve",
                .arguments = "",
                .summary = "runs the REST API and the dispatcher in one process",
                .text =
                    "The whole of hookcast in one process: \"hookcast api\" and \"hookcast dispatch\" together. Start\n"
                    "more of either, here or elsewhere, when one is not enough.\n\n"
                    "Example, for a look at it on one machine:\n\n"
                    "  HOOKCAST_INSECURE_DEV=1 hookcast serve --allow-http --allow-nets 127.0.0.0/8\n",
                .use = USE_DATABASE | USE_KAFKA | USE_DISPATCH | USE_API | USE_WEBHOOK | USE_SECRETS | USE_MAIL,
            },
        .run = run,
    };
    return &command;
}
