/* hookcast migrate: brings the database to this version's schema, and makes the days ahead. */
#include "command.h"
#include "db/migrate.h"
#include "store/partitions.h"
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define OPEN_TIMEOUT_MS 10000

/* Beside the installed program, wherever its prefix was moved; else the source that it was built from; else where it
 * was to be installed. */
static void find_directory(char out[PATH_MAX]) {
    static const char *const FIXED[] = {HOOKCAST_SOURCE_SQL_DIR, HOOKCAST_SQL_DIR};
    char program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (len > 0) {
        program[len] = '\0';
        *strrchr(program, '/') = '\0';
        int wanted = snprintf(out, PATH_MAX, "%s/../share/hookcast/sql", program);
        if (wanted < PATH_MAX && access(out, R_OK | X_OK) == 0)
            return;
    }
    for (size_t i = 0; i < sizeof(FIXED) / sizeof(*FIXED); i++) {
        snprintf(out, PATH_MAX, "%s", FIXED[i]);
        if (access(out, R_OK | X_OK) == 0)
            return;
    }
}

static void on_file(void *ctx, const char *file_name, int64_t took_ms) {
    (void)ctx;
    printf("%s (%lld ms)\n", file_name, (long long)took_ms);
    fflush(stdout);
}

static enum status migrate(struct connection *connection, const char *directory, struct error *error) {
    int64_t version = 0;
    enum status status = connection_open(connection, OPEN_TIMEOUT_MS, error);
    if (status != STATUS_OK) {
        error_context(error, "the database of HOOKCAST_DATABASE_URL can't be reached");
        return status;
    }
    status = migrate_run(connection, directory, on_file, NULL, NULL, error);
    if (status == STATUS_OK)
        status = partitions_ensure(connection, error);
    if (status == STATUS_OK)
        status = migrate_version(connection, &version, error);
    if (status == STATUS_OK)
        printf("schema is at version %lld\n", (long long)version);
    return status;
}

static int run(const struct settings *settings, struct settings_command *about, int argc, char **argv) {
    if (argc > 0) {
        fprintf(stderr, "hookcast migrate: unexpected argument \"%.100s\": it takes none\n", argv[0]);
        return EXIT_USAGE;
    }
    char directory[PATH_MAX];
    if (about->options[0].value)
        snprintf(directory, sizeof(directory), "%s", about->options[0].value);
    else
        find_directory(directory);
    struct error error;
    struct connection *connection = connection_new(settings->database_url, "hookcast migrate");
    enum status status = migrate(connection, directory, &error);
    connection_free(&connection);
    if (status == STATUS_OK)
        return EXIT_DONE;
    fprintf(stderr, "hookcast migrate: %s\n", error.text);
    return EXIT_FAILED;
}

struct command *cmd_migrate(void) {
    static struct settings_option options[] = {
        {"sql-dir", "DIR", "the directory of migrations, when it is not the program's own", NULL},
    };
    static struct command command = {
        .about =
            {
                .name = "migrate",
                .arguments = "",
                .summary = "brings the database to this version's schema",
                .text = "Applies what is missing of the numbered SQL files, one transaction each, and makes the day\n"
                        "partitions of the days ahead. Safe to run twice, and from several machines at once; a file\n"
                        "that was applied and has changed since is an error. Order of an upgrade: migrate first, then\n"
                        "the programs. A program runs on a schema that is newer than itself.\n",
                .use = USE_DATABASE,
                .options = options,
                .option_count = 1,
            },
        .run = run,
    };
    return &command;
}
