/* hookcast: finds the subcommand, reads its settings, and runs it. */
#include "command.h"
#include "core/nearest.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct command *command_fn(void);

/* In the order of the help. */
static command_fn *const COMMANDS[] = {
    cmd_serve,  cmd_api,    cmd_dispatch, cmd_migrate, cmd_check, cmd_publish,
    cmd_listen, cmd_verify, cmd_key,      cmd_broker,  NULL,
};

static struct command *find(const char *name) {
    for (size_t i = 0; COMMANDS[i]; i++)
        if (strcmp(COMMANDS[i]()->about.name, name) == 0)
            return COMMANDS[i]();
    return NULL;
}

static int unknown_command(const char *name) {
    struct nearest nearest = nearest_to(span_of(name));
    for (size_t i = 0; COMMANDS[i]; i++)
        nearest_offer(&nearest, COMMANDS[i]()->about.name);
    if (nearest.best)
        fprintf(stderr, "hookcast: no command \"%.40s\"; did you mean \"%s\"?\n", name, nearest.best);
    else
        fprintf(stderr, "hookcast: no command \"%.40s\"; \"hookcast --help\" lists them\n", name);
    return EXIT_USAGE;
}

static int overview(FILE *out) {
    fputs("Usage: hookcast COMMAND [OPTION…] [ARGUMENT…]\n\n"
          "Takes events from Kafka and delivers each one, signed, to every webhook that subscribed to it,\n"
          "and keeps in PostgreSQL what every receiver answered.\n\n"
          "Commands:\n",
          out);
    for (size_t i = 0; COMMANDS[i]; i++)
        fprintf(out, "  %-10s %s\n", COMMANDS[i]()->about.name, COMMANDS[i]()->about.summary);
    fputs("\n\"hookcast COMMAND --help\" explains a command, with every option and setting it takes.\n"
          "\"hookcast --version\" prints the version.\n\n"
          "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
          out);
    return out == stdout ? EXIT_DONE : EXIT_USAGE;
}

static int help(int argc, char **argv) {
    if (argc == 0)
        return overview(stdout);
    struct command *command = find(argv[0]);
    if (!command)
        return unknown_command(argv[0]);
    settings_help(&command->about);
    return EXIT_DONE;
}

static int run(struct command *command, int argc, char **argv) {
    if (settings_wants_help(argc, argv)) {
        settings_help(&command->about);
        return EXIT_DONE;
    }
    struct settings settings;
    struct error error;
    int first;
    if (settings_load(&settings, &command->about, argc, argv, &first, &error) != STATUS_OK) {
        fprintf(stderr, "hookcast %s: %s\n", command->about.name, error.text);
        return EXIT_USAGE;
    }
    int result = command->run(&settings, &command->about, argc - first, argv + first);
    settings_deinit(&settings);
    return result;
}

int main(int argc, char **argv) {
    /* A peer that is gone is an error of the write that finds out. */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2)
        return overview(stderr);
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return overview(stdout);
    if (strcmp(name, "help") == 0)
        return help(argc - 2, argv + 2);
    if (strcmp(name, "--version") == 0) {
        puts("hookcast " HOOKCAST_VERSION);
        return EXIT_DONE;
    }
    struct command *command = find(name);
    return command ? run(command, argc - 2, argv + 2) : unknown_command(name);
}
