/* What is applied is compared with what is there before anything is changed; then each missing file is one transaction
 * together with its line in schema_migrations. The advisory lock belongs to the session: a process that dies lets go.
 */
#include "db/migrate.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/memory.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FILES_MAX 1000
#define FILE_MAX_BYTES ((size_t)4 << 20)
#define HOUR_MS (INT64_C(3600) * 1000)
#define CHECKSUM_CHARS (SHA256_BYTES * 2)

/* "hookcast" in ASCII, as a number. */
#define LOCK_NUMBER "7525356009378902900"

/* A file that waits for a lock holds up everybody who comes after it, so it waits briefly and often. */
#define LOCK_TIMEOUT "2s"
#define LOCK_TRIES 30

struct migration {
    int64_t version;
    char *name;
    char *sql;
    char checksum[CHECKSUM_CHARS + 1];
    bool applied;
};

struct migrations {
    struct migration *list;
    size_t count;
};

static void migrations_free(struct migrations *migrations) {
    for (size_t i = 0; i < migrations->count; i++) {
        mem_free(migrations->list[i].name);
        mem_free(migrations->list[i].sql);
    }
    mem_free(migrations->list);
    *migrations = (struct migrations){0};
}

/* "0012_add_things.sql": 12; otherwise 0. */
static int64_t version_of(const char *name) {
    size_t len = strlen(name);
    int64_t version = 0;
    size_t digits = 0;
    for (; digits < len && isdigit((unsigned char)name[digits]); digits++)
        version = version * 10 + (name[digits] - '0');
    bool is_one = digits == 4 && name[digits] == '_' && len > 9 && strcmp(name + len - 4, ".sql") == 0;
    return is_one ? version : 0;
}

static enum status read_file(const char *directory, const char *name, struct buffer *out, struct error *error) {
    struct buffer path;
    buffer_init(&path, 4096);
    buffer_printf(&path, "%s/%s", directory, name);
    FILE *file = path.overflowed ? NULL : fopen(path.data, "re");
    buffer_deinit(&path);
    if (!file)
        return error_set(error, STATUS_INVALID, "%s can't be read: %s", name, strerror(errno));
    char piece[16384];
    size_t len;
    while ((len = fread(piece, 1, sizeof(piece), file)) > 0)
        buffer_append(out, piece, len);
    bool failed = ferror(file);
    fclose(file);
    if (failed || out->overflowed || out->len == 0 || memchr(out->data, 0, out->len))
        return error_set(error, STATUS_INVALID, "%s is no migration: it is unreadable, empty, too large or binary",
                         name);
    return STATUS_OK;
}

static enum status load_file(const char *directory, const char *name, struct migration *migration,
                             struct error *error) {
    struct buffer text;
    buffer_init(&text, FILE_MAX_BYTES);
    enum status status = read_file(directory, name, &text, error);
    if (status == STATUS_OK) {
        uint8_t digest[SHA256_BYTES];
        struct buffer hex;
        buffer_init(&hex, CHECKSUM_CHARS);
        crypto_sha256(buffer_view(&text), digest);
        hex_encode((struct span){(const char *)digest, sizeof(digest)}, &hex);
        memcpy(migration->checksum, hex.data, CHECKSUM_CHARS + 1);
        buffer_deinit(&hex);
        migration->version = version_of(name);
        migration->name = mem_strdup(name);
        migration->sql = buffer_take(&text, NULL);
    }
    buffer_deinit(&text);
    return status;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_migration(const struct dirent *entry) {
    return version_of(entry->d_name) > 0;
}

static enum status load(const char *directory, struct migrations *ret_migrations, struct error *error) {
    struct dirent **entries;
    int found = scandir(directory, &entries, is_migration, by_name);
    if (found < 0)
        return error_set(error, STATUS_INVALID, "the directory of migrations %s can't be read: %s", directory,
                         strerror(errno));
    enum status status = STATUS_OK;
    if (found == 0 || found > FILES_MAX)
        status = error_set(error, STATUS_INVALID, "%s has %s of the form 0001_name.sql", directory,
                           found ? "too many files" : "no file");
    struct migrations migrations = {.list = mem_calloc((size_t)found + 1, sizeof(struct migration))};
    for (int i = 0; status == STATUS_OK && i < found; i++) {
        struct migration *migration = &migrations.list[migrations.count];
        status = load_file(directory, entries[i]->d_name, migration, error);
        if (status != STATUS_OK)
            break;
        migrations.count++;
        if (i > 0 && migration[-1].version == migration->version)
            status =
                error_set(error, STATUS_INVALID, "%s and %s have one number: rename the one that is not applied yet",
                          migration[-1].name, migration->name);
    }
    for (int i = 0; i < found; i++)
        free(entries[i]); /* scandir's own */
    free(entries);
    if (status == STATUS_OK)
        *ret_migrations = migrations;
    else
        migrations_free(&migrations);
    return status;
}

static struct migration *find(struct migrations *migrations, int64_t version) {
    for (size_t i = 0; i < migrations->count; i++)
        if (migrations->list[i].version == version)
            return &migrations->list[i];
    return NULL;
}

/* What is newer than all our files was applied by a newer program, which is fine. */
static enum status compare(struct connection *connection, struct migrations *migrations, struct error *error) {
    static const struct statement APPLIED = {"SELECT version, name, checksum FROM schema_migrations ORDER BY version"};
    struct result *result;
    enum status status = connection_run(connection, &APPLIED, NULL, &result, error);
    if (status != STATUS_OK)
        return status;
    CHECK(migrations->list && migrations->count > 0);
    int64_t newest = migrations->list[migrations->count - 1].version;
    for (int row = 0; status == STATUS_OK && row < result_rows(result); row++) {
        int64_t version = result_int(result, row, 0);
        struct span name = result_text(result, row, 1);
        struct migration *migration = find(migrations, version);
        if (!migration && version < newest)
            status =
                error_set(error, STATUS_INVALID,
                          "%.*s was applied to this database and is gone from the directory of migrations: put it back",
                          SPAN_ARGS(name));
        else if (migration && !span_is(result_text(result, row, 2), migration->checksum))
            status =
                error_set(error, STATUS_INVALID,
                          "%s has changed since it was applied to this database: restore it, and put the change into "
                          "a new file",
                          migration->name);
        else if (migration)
            migration->applied = true;
    }
    result_free(&result);
    return status;
}

static enum status record(struct connection *connection, const struct migration *migration, struct error *error) {
    static const struct statement INSERT = {
        "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)"};
    struct params params;
    params_init(&params);
    params_int4(&params, (int32_t)migration->version);
    params_text(&params, span_of(migration->name));
    params_text(&params, span_of(migration->checksum));
    enum status status = connection_run(connection, &INSERT, &params, NULL, error);
    params_deinit(&params);
    return status;
}

static enum status apply_once(struct connection *connection, const struct migration *migration, struct error *error) {
    enum status status = connection_exec(connection,
                                         "BEGIN; SET LOCAL lock_timeout = '" LOCK_TIMEOUT "';"
                                         "SET LOCAL statement_timeout = 0;"
                                         "SET LOCAL idle_in_transaction_session_timeout = 0",
                                         error);
    if (status == STATUS_OK)
        status = connection_exec(connection, migration->sql, error);
    if (status == STATUS_OK)
        status = record(connection, migration, error);
    if (status == STATUS_OK)
        return connection_exec(connection, "COMMIT", error);
    bool locked = status == STATUS_CONFLICT && strcmp(connection_sqlstate(connection), "55P03") == 0;
    struct error ignored;
    if (connection_is_open(connection) && connection_exec(connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(connection);
    return status == STATUS_CONFLICT && !locked ? STATUS_FAILED : status;
}

static enum status apply(struct connection *connection, const struct migration *migration, struct error *error) {
    enum status status = apply_once(connection, migration, error);
    for (int i = 1; status == STATUS_CONFLICT && i < LOCK_TRIES; i++) {
        struct error ignored;
        if (connection_exec(connection, "SELECT pg_sleep(1)", &ignored) != STATUS_OK)
            break;
        status = apply_once(connection, migration, error);
    }
    if (status != STATUS_OK)
        error_context(error, "%s", migration->name);
    return status;
}

static enum status apply_all(struct connection *connection, const struct migrations *migrations,
                             migrate_progress_fn *progress, void *ctx, int *ret_applied, struct error *error) {
    int applied = 0;
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < migrations->count; i++) {
        const struct migration *migration = &migrations->list[i];
        if (migration->applied)
            continue;
        int64_t started_ms = clock_mono_ms();
        status = apply(connection, migration, error);
        if (status != STATUS_OK)
            break;
        applied++;
        if (progress)
            progress(ctx, migration->name, clock_mono_ms() - started_ms);
    }
    if (ret_applied)
        *ret_applied = applied;
    return status;
}

/* The lock outlives the transaction in which it is taken. */
static enum status lock(struct connection *connection, struct error *error) {
    enum status status = connection_exec(connection,
                                         "BEGIN; SET LOCAL statement_timeout = 0;"
                                         "SELECT pg_advisory_lock(" LOCK_NUMBER "); COMMIT",
                                         error);
    if (status == STATUS_OK)
        status = connection_exec(connection,
                                 "CREATE TABLE IF NOT EXISTS schema_migrations ("
                                 " version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
                                 " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())",
                                 error);
    return status;
}

static void unlock(struct connection *connection) {
    struct error ignored;
    if (connection_is_open(connection) &&
        connection_exec(connection, "SELECT pg_advisory_unlock(" LOCK_NUMBER ")", &ignored) != STATUS_OK)
        connection_close(connection);
}

enum status migrate_run(struct connection *connection, const char *directory, migrate_progress_fn *progress, void *ctx,
                        int *ret_applied, struct error *error) {
    struct migrations migrations = {0};
    enum status status = load(directory, &migrations, error);
    if (status != STATUS_OK)
        return status;
    int64_t timeout_ms = connection_timeout(connection);
    connection_set_timeout(connection, HOUR_MS);
    status = lock(connection, error);
    if (status == STATUS_OK)
        status = compare(connection, &migrations, error);
    if (status == STATUS_OK)
        status = apply_all(connection, &migrations, progress, ctx, ret_applied, error);
    unlock(connection);
    connection_set_timeout(connection, timeout_ms);
    migrations_free(&migrations);
    return status;
}

enum status migrate_version(struct connection *connection, int64_t *ret_version, struct error *error) {
    struct buffer answer;
    buffer_init(&answer, 32);
    int64_t version = 0;
    enum status status = connection_ask(connection, "SELECT to_regclass('schema_migrations')", &answer, error);
    buffer_reset(&answer);
    if (status == STATUS_OK)
        status = connection_ask(connection, "SELECT max(version) FROM schema_migrations", &answer, error);
    if (status == STATUS_OK)
        version = strtoll(answer.data, NULL, 10);
    buffer_deinit(&answer);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    *ret_version = version;
    return STATUS_OK;
}

enum status migrate_check(struct connection *connection, int64_t expected_version, struct error *error) {
    int64_t version;
    enum status status = migrate_version(connection, &version, error);
    if (status != STATUS_OK)
        return status;
    if (version == 0)
        return error_set(error, STATUS_INVALID, "the database has no hookcast schema: run \"hookcast migrate\"");
    if (version < expected_version)
        return error_set(
            error, STATUS_INVALID,
            "the database's schema is at version %lld and this program needs %lld: run \"hookcast migrate\"",
            (long long)version, (long long)expected_version);
    return STATUS_OK;
}
