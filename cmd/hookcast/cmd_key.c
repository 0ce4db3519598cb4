/* hookcast key: makes, lists and revokes API keys. */
#include "base/clock.h"
#include "command.h"
#include "store/keys.h"
#include "store/sealing.h"
#include <stdio.h>

#define OPEN_TIMEOUT_MS 10000
#define EXPIRES_MAX_MS (3650LL * 24 * 3600 * 1000)

enum { OPTION_WORKSPACE, OPTION_WORKSPACE_NAME, OPTION_ADMIN, OPTION_NAME, OPTION_READ_ONLY, OPTION_EXPIRES, OPTIONS };

struct job {
    const struct settings_option *options;
    struct connection *connection;
    struct uuid id; /* revoke */
    int64_t expires_in_ms;
};

static int wrong(const char *text) {
    fprintf(stderr, "hookcast key: %s; \"hookcast key --help\" shows how\n", text);
    return EXIT_USAGE;
}

/* NULL: as it should be. */
static const char *check_create(struct job *job) {
    const char *workspace = job->options[OPTION_WORKSPACE].value, *name = job->options[OPTION_NAME].value;
    const char *workspace_name = job->options[OPTION_WORKSPACE_NAME].value;
    const char *expires = job->options[OPTION_EXPIRES].value;
    bool admin = job->options[OPTION_ADMIN].value;
    if (!workspace == !admin)
        return "create wants either --workspace ID or --admin";
    if (workspace && !workspace_id_valid(span_of(workspace)))
        return "--workspace: expected 1 to 200 bytes of text without control characters";
    if (workspace_name && !workspace)
        return "--workspace-name goes with --workspace";
    if (workspace_name && strlen(workspace_name) > WORKSPACE_NAME_MAX_BYTES)
        return "--workspace-name: expected at most 1024 bytes";
    if (name && strlen(name) > KEY_NAME_MAX_BYTES)
        return "--name: expected at most 200 bytes";
    if (expires && (settings_parse_duration(span_of(expires), &job->expires_in_ms) != STATUS_OK ||
                    job->expires_in_ms < 1000 || job->expires_in_ms > EXPIRES_MAX_MS))
        return "--expires: expected a duration from 1s to 3650d, such as 30d";
    return NULL;
}

/* Standard output has the key alone, so that a script can take it; the rest is for people. */
static enum status create(struct job *job, struct error *error) {
    const char *workspace = job->options[OPTION_WORKSPACE].value, *name = job->options[OPTION_NAME].value;
    bool read_only = job->options[OPTION_READ_ONLY].value;
    struct buffer key;
    buffer_init(&key, 2 * KEY_TEXT_BYTES);
    keys_generate(&key);
    struct key_new made = {
        .key = buffer_view(&key),
        .workspace_id = span_of(workspace),
        .name = span_of(name),
        .read_only = read_only,
        .expires_in_ms = job->expires_in_ms,
    };
    struct uuid id;
    enum status status = STATUS_OK;
    if (workspace)
        status = workspaces_ensure(job->connection, span_of(workspace),
                                   span_of(job->options[OPTION_WORKSPACE_NAME].value), error);
    if (status == STATUS_OK)
        status = keys_insert(job->connection, &made, &id, error);
    if (status == STATUS_OK) {
        char id_text[UUID_TEXT_LEN + 1];
        uuid_format(&id, id_text);
        fprintf(stderr, "%s%s %s%s, id %s. It is shown this once; hookcast keeps its hash alone.\n",
                read_only ? "read-only " : "", workspace ? "key of workspace" : "admin key",
                workspace ? workspace : "for every workspace", job->options[OPTION_EXPIRES].value ? ", expiring" : "",
                id_text);
        printf("%s\n", key.data);
    }
    sealing_wipe(&key);
    return status;
}

static void print_time(int64_t wall_ms, const char *none) {
    struct buffer text;
    buffer_init(&text, 64);
    if (wall_ms)
        clock_format_iso(wall_ms / 1000 * 1000, &text);
    else
        buffer_text(&text, none);
    printf("%-20s  ", text.data);
    buffer_deinit(&text);
}

static const char *state_of(const struct key_row *row) {
    if (row->revoked_at_ms)
        return "revoked";
    return row->expired ? "expired" : "valid";
}

static enum status list(struct job *job, struct error *error) {
    struct result *rows = NULL;
    enum status status = keys_list(job->connection, span_of(job->options[OPTION_WORKSPACE].value), &rows, error);
    if (status != STATUS_OK)
        return status;
    printf("%-36s  %-20s  %-20s  %-7s  %-10s  %-20s  %s\n", "ID", "CREATED", "EXPIRES", "STATE", "RIGHTS", "WORKSPACE",
           "NAME");
    for (int i = 0; i < result_rows(rows); i++) {
        struct key_row row;
        char id[UUID_TEXT_LEN + 1];
        keys_row_read(rows, i, &row);
        uuid_format(&row.id, id);
        printf("%-36s  ", id);
        print_time(row.created_at_ms, "");
        print_time(row.expires_at_ms, "never");
        struct span workspace = row.workspace_id.data ? row.workspace_id : SPAN_LITERAL("(admin)");
        printf("%-7s  %-10s  %-20.*s  %.*s\n", state_of(&row), row.read_only ? "read-only" : "read-write",
               SPAN_ARGS(workspace), SPAN_ARGS(row.name));
    }
    result_free(&rows);
    return STATUS_OK;
}

static enum status revoke(struct job *job, struct error *error) {
    enum status status = keys_revoke(job->connection, SPAN_NONE, &job->id, error);
    if (status == STATUS_OK)
        fprintf(stderr, "revoked; it is refused everywhere within a second\n");
    return status;
}

typedef enum status job_fn(struct job *job, struct error *error);

/* NULL: what was asked for is wrong, and complaint says how. */
static job_fn *choose(struct job *job, int argc, char **argv, const char **complaint) {
    const char *verb = argc > 0 ? argv[0] : "";
    bool is_revoke = strcmp(verb, "revoke") == 0;
    *complaint = NULL;
    if (argc > (is_revoke ? 2 : 1))
        *complaint = "too many arguments";
    else if (is_revoke && (argc != 2 || uuid_parse(span_of(argv[1]), &job->id) != STATUS_OK))
        *complaint = "revoke wants the id of a key, as \"hookcast key list\" shows it";
    else if (is_revoke)
        return revoke;
    else if (strcmp(verb, "list") == 0)
        return list;
    else if (strcmp(verb, "create") == 0)
        *complaint = check_create(job);
    else
        *complaint = "expected create, list or revoke";
    return *complaint ? NULL : create;
}

static int run(const struct settings *settings, struct settings_command *about, int argc, char **argv) {
    struct job job = {.options = about->options};
    const char *complaint;
    job_fn *fn = choose(&job, argc, argv, &complaint);
    if (!fn)
        return wrong(complaint);
    struct error error;
    job.connection = connection_new(settings->database_url, "hookcast key");
    enum status status = connection_open(job.connection, OPEN_TIMEOUT_MS, &error);
    if (status == STATUS_OK)
        status = fn(&job, &error);
    connection_free(&job.connection);
    if (status == STATUS_OK)
        return EXIT_DONE;
    fprintf(stderr, "hookcast key: %s\n", error.text);
    return EXIT_FAILED;
}

struct command *cmd_key(void) {
    static struct settings_option options[OPTIONS] = {
        [OPTION_WORKSPACE] = {"workspace", "ID", "the workspace that the key belongs to; list: whose keys", NULL},
        [OPTION_WORKSPACE_NAME] = {"workspace-name", "NAME", "create: names the workspace, as its webhooks show it",
                                   NULL},
        [OPTION_ADMIN] = {"admin", NULL, "create: a key for every workspace", NULL},
        [OPTION_NAME] = {"name", "NAME", "create: what the key is for", NULL},
        [OPTION_READ_ONLY] = {"read-only", NULL, "create: the key may look and change nothing", NULL},
        [OPTION_EXPIRES] = {"expires", "DURATION", "create: how long it is valid, such as 30d; for ever when not given",
                            NULL},
    };
    static struct command command = {
        .about =
            {
                .name = "key",
                .arguments = "create|list|revoke [ID]",
                .summary = "makes, lists and revokes API keys",
                .text = "create prints the new key, and nothing else, on standard output:\n"
                        "  KEY=$(hookcast key create --workspace acme)\n"
                        "It makes the workspace when there is none of that id. The key is shown this once: the\n"
                        "database has its SHA-256. list shows every key's id, state and rights; revoke ID ends one.\n",
                .use = USE_DATABASE,
                .options = options,
                .option_count = OPTIONS,
            },
        .run = run,
    };
    return &command;
}
