/* A PostgreSQL for unit tests: the server of HOOKCAST_TEST_DATABASE_URL when that is set, otherwise a cluster of its
 * own in /tmp on a unix socket, started on first use and gone with the test program. Each test makes a database of its
 * own. Include it after cmocka.h. */
#ifndef TEST_PG_FIXTURE_H
#define TEST_PG_FIXTURE_H

#include "base/clock.h"
#include "base/memory.h"
#include "db/connection.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PG_FIXTURE_START_MS 30000

static struct {
    pid_t owner; /* the process that stops the server: a fork must not */
    pid_t server;
    char directory[64];
    char base[512]; /* connection string of the server */
    int databases;
} pg_fixture;

/* The repository's directory of migrations, found from where this file was compiled. */
static inline const char *pg_fixture_sql(void) {
    static char path[512];
    static const char here[] = __FILE__;
    snprintf(path, sizeof(path), "%.*s/../../../sql", (int)(strrchr(here, '/') - here), here);
    return path;
}

static inline void pg_fixture_pause(void) {
    nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
}

/* In a child: becomes the user postgres, because PostgreSQL refuses to run as root, and runs the program. */
static inline NORETURN void pg_fixture_become(const char *program, char *const argv[]) {
    struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (user && (setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    char path[128];
    snprintf(path, sizeof(path), "%s/log", pg_fixture.directory);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (chdir(pg_fixture.directory) != 0 || log < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    execvp(program, argv);
    _exit(127);
}

/* The newest installed one; otherwise the one in PATH. */
static inline void pg_fixture_program(const char *name, char *out, size_t size) {
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "/usr/lib/postgresql/*/bin/%s", name);
    if (glob(pattern, 0, NULL, &found) == 0) {
        snprintf(out, size, "%s", found.gl_pathv[found.gl_pathc - 1]);
        globfree(&found);
    } else {
        snprintf(out, size, "%s", name);
    }
}

static inline int pg_fixture_remove(const char *path, const struct stat *info, int type, struct FTW *ftw) {
    (void)info, (void)type, (void)ftw;
    return remove(path);
}

static inline void pg_fixture_stop(void) {
    if (pg_fixture.owner != getpid() || !pg_fixture.directory[0])
        return;
    if (pg_fixture.server > 0) {
        kill(pg_fixture.server, SIGQUIT);
        waitpid(pg_fixture.server, NULL, 0);
    }
    nftw(pg_fixture.directory, pg_fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
    pg_fixture.directory[0] = '\0';
}

static inline void pg_fixture_init_cluster(void) {
    char program[256];
    pg_fixture_program("initdb", program, sizeof(program));
    char *argv[] = {program,     "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
                    "--no-sync", NULL};
    pid_t child = fork();
    if (child == 0)
        pg_fixture_become(program, argv);
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    if (result != 0)
        fail_msg("initdb failed: status %d; see %s/log", result, pg_fixture.directory);
}

static inline void pg_fixture_start_server(void) {
    char program[256], sockets[96];
    pg_fixture_program("postgres", program, sizeof(program));
    snprintf(sockets, sizeof(sockets), "unix_socket_directories=%s", pg_fixture.directory);
    char *argv[] = {program,
                    "-D",
                    "data",
                    "-c",
                    "listen_addresses=",
                    "-c",
                    sockets,
                    "-c",
                    "fsync=off",
                    "-c",
                    "full_page_writes=off",
                    "-c",
                    "shared_buffers=32MB",
                    "-c",
                    "max_connections=40",
                    "-c",
                    "autovacuum=off",
                    NULL};
    pg_fixture.server = fork();
    if (pg_fixture.server == 0)
        pg_fixture_become(program, argv);
    snprintf(pg_fixture.base, sizeof(pg_fixture.base), "host=%s user=postgres dbname=postgres", pg_fixture.directory);
    int64_t deadline_ms = clock_mono_ms() + PG_FIXTURE_START_MS;
    struct connection *connection = connection_new(pg_fixture.base, "hookcast fixture");
    struct error error;
    while (connection_open(connection, 1000, &error) != STATUS_OK) {
        if (clock_mono_ms() > deadline_ms || waitpid(pg_fixture.server, NULL, WNOHANG) != 0)
            fail_msg("PostgreSQL did not start: %s", error.text);
        pg_fixture_pause();
    }
    connection_free(&connection);
}

static inline void pg_fixture_start(void) {
    if (pg_fixture.base[0])
        return;
    const char *url = getenv("HOOKCAST_TEST_DATABASE_URL");
    if (url && *url) {
        snprintf(pg_fixture.base, sizeof(pg_fixture.base), "%s", url);
        return;
    }
    char directory[] = "/tmp/hookcast-unit-pg-XXXXXX";
    assert_non_null(mkdtemp(directory));
    memcpy(pg_fixture.directory, directory, sizeof(directory));
    pg_fixture.owner = getpid();
    atexit(pg_fixture_stop);
    struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (user)
        assert_int_equal(chown(directory, user->pw_uid, user->pw_gid), 0);
    pg_fixture_init_cluster();
    pg_fixture_start_server();
}

/* The last value of a name counts, in both forms of a connection string. */
static inline void pg_fixture_conninfo(const char *database, char *out, size_t size) {
    const char *base = pg_fixture.base;
    if (strstr(base, "://"))
        snprintf(out, size, "%s%sdbname=%s", base, strchr(base, '?') ? "&" : "?", database);
    else
        snprintf(out, size, "%s dbname=%s", base, database);
}

static inline void pg_fixture_exec(struct connection *connection, const char *sql) {
    struct error error;
    if (connection_exec(connection, sql, &error) != STATUS_OK)
        fail_msg("%s: %s", sql, error.text);
}

/* The connection string of a new, empty database; mem_free. */
static inline char *pg_fixture_database(void) {
    pg_fixture_start();
    char name[64], sql[128], conninfo[640];
    snprintf(name, sizeof(name), "hookcast_unit_%d_%d", (int)getpid(), ++pg_fixture.databases);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    struct error error;
    struct connection *connection = connection_new(pg_fixture.base, "hookcast fixture");
    if (connection_open(connection, PG_FIXTURE_START_MS, &error) != STATUS_OK)
        fail_msg("no connection to the test server: %s", error.text);
    pg_fixture_exec(connection, sql);
    connection_free(&connection);
    pg_fixture_conninfo(name, conninfo, sizeof(conninfo));
    return mem_strdup(conninfo);
}

/* Drops it again, whoever is connected, and frees the string. */
static inline void pg_fixture_drop(char **conninfo) {
    struct error error;
    struct connection *connection = connection_new(pg_fixture.base, "hookcast fixture");
    char sql[128];
    snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", strrchr(*conninfo, '=') + 1);
    if (connection_open(connection, PG_FIXTURE_START_MS, &error) == STATUS_OK)
        pg_fixture_exec(connection, sql);
    connection_free(&connection);
    mem_free(*conninfo);
    *conninfo = NULL;
}

static inline struct connection *pg_fixture_connect(const char *conninfo) {
    struct connection *connection = connection_new(conninfo, "hookcast test");
    struct error error;
    if (connection_open(connection, PG_FIXTURE_START_MS, &error) != STATUS_OK)
        fail_msg("no connection: %s", error.text);
    return connection;
}

/* The first value of a query as text; "" when there is none. Good until the next call. */
static inline const char *pg_fixture_ask(struct connection *connection, const char *sql) {
    static char text[4096];
    struct buffer out;
    struct error error;
    buffer_init(&out, sizeof(text) - 1);
    enum status status = connection_ask(connection, sql, &out, &error);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        fail_msg("%s: %s", sql, error.text);
    snprintf(text, sizeof(text), "%.*s", SPAN_ARGS(buffer_view(&out)));
    buffer_deinit(&out);
    return text;
}

/* Waits until a query's first value is `wanted`. */
static inline void pg_fixture_wait(struct connection *connection, const char *sql, const char *wanted) {
    int64_t deadline_ms = clock_mono_ms() + PG_FIXTURE_START_MS;
    while (strcmp(pg_fixture_ask(connection, sql), wanted) != 0) {
        if (clock_mono_ms() > deadline_ms)
            fail_msg("%s stays %s, not %s", sql, pg_fixture_ask(connection, sql), wanted);
        pg_fixture_pause();
    }
}

#endif
