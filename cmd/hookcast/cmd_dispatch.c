/* hookcast dispatch: Kafka to webhooks, the schedule included. */
#include "command.h"
#include "core/log.h"
#include "dispatch/dispatch.h"
#include "health.h"
#include "run.h"
#include <stdio.h>

static bool is_ready(void *ctx, struct error *why) {
    return dispatch_is_ready(ctx, why);
}

static void on_stop(void *ctx) {
    loop_stop(ctx);
}

static int fail(enum status status, const struct error *error) {
    fprintf(stderr, "hookcast dispatch: %s\n", error->text);
    return status == STATUS_INVALID ? EXIT_USAGE : EXIT_FAILED;
}

static int run(const struct settings *settings, struct settings_command *about, int argc, char **argv) {
    (void)about;
    if (argc > 0) {
        fprintf(stderr, "hookcast dispatch: takes no argument, got \"%.80s\"\n", argv[0]);
        return EXIT_USAGE;
    }
    struct error error = {""};
    struct dispatch *dispatch = NULL;
    struct health *health = NULL;
    run_raise_limits();
    enum status status = dispatch_new(settings, &dispatch, &error);
    if (status != STATUS_OK)
        return fail(status, &error);
    struct loop *loop = loop_new("main");
    run_on_stop(loop, on_stop, loop);
    status = health_open(loop, settings->metrics_listen, is_ready, dispatch, &health, &error);
    if (status == STATUS_OK) {
        dispatch_start(dispatch);
        loop_run(loop);
        dispatch_stop(dispatch);
        health_close(&health);
    }
    loop_free(&loop);
    dispatch_free(&dispatch);
    return status == STATUS_OK ? EXIT_DONE : fail(status, &error);
}

struct command *cmd_dispatch(void) {
    static struct command command = {
        .about =
            {
                .name = "dispatch",
                .arguments = "",
                .summary = "delivers Kafka's events as webhooks, and what the schedule holds",
                .text = "Joins the consumer group, reads the topics that match the prefix (and HOOKCAST_TOPICS), and\n"
                        "delivers each event to the subscriptions that take it. Start as many as you like, anywhere:\n"
                        "the group shares the partitions out, and the schedule is everybody's.\n\n"
                        "SIGTERM gives the partitions up, finishes what is under way, and ends.\n\n"
                        "Example, for a look at it on one machine:\n\n"
                        "  HOOKCAST_INSECURE_DEV=1 hookcast dispatch --allow-http --allow-nets 127.0.0.0/8\n",
                .use = USE_DATABASE | USE_KAFKA | USE_DISPATCH | USE_WEBHOOK | USE_SECRETS | USE_MAIL,
            },
        .run = run,
    };
    return &command;
}
