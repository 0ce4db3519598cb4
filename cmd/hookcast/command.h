/* A subcommand of hookcast. cmd_NAME.c offers `struct command *cmd_NAME(void)`, which gives its static description, and
 * main.c has the table of those functions. */
#ifndef HOOKCAST_COMMAND_H
#define HOOKCAST_COMMAND_H

#include "core/settings.h"

/* What a command ends with; the process exits with it. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
    struct settings_command about;
    /* about is the command's own, with its options filled in; argv are the arguments that are no options. Returns one
     * of EXIT_…, after a line on standard error unless it is EXIT_DONE. */
    int (*run)(const struct settings *settings, struct settings_command *about, int argc, char **argv);
};

struct command *cmd_serve(void);
struct command *cmd_api(void);
struct command *cmd_dispatch(void);
struct command *cmd_migrate(void);
struct command *cmd_check(void);
struct command *cmd_publish(void);
struct command *cmd_listen(void);
struct command *cmd_verify(void);
struct command *cmd_key(void);
struct command *cmd_broker(void);

#endif
