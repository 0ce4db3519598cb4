#include "db/connection_private.h"

#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define DIAL_OPTIONS_MAX 96

/* What libpq is told: the caller's options, then ours. */
struct dial_options {
    const char *names[DIAL_OPTIONS_MAX + 1];
    const char *values[DIAL_OPTIONS_MAX + 1];
    size_t count;
    char user_timeout[24];
};

static void add(struct dial_options *options, const char *name, const char *value) {
    CHECK(options->count < DIAL_OPTIONS_MAX);
    options->names[options->count] = name;
    options->values[options->count++] = value;
}

static const char *given(const struct dial_options *options, const char *name) {
    for (size_t i = 0; i < options->count; i++)
        if (strcmp(options->names[i], name) == 0)
            return options->values[i];
    return NULL;
}

static void add_default(struct dial_options *options, const char *name, const char *value) {
    if (!given(options, name))
        add(options, name, value);
}

static size_t count_hosts(const char *list) {
    size_t count = list ? 1 : 0;
    for (; list && *list; list++)
        count += *list == ',';
    return count;
}

/* A peer that is gone without a word is noticed by keepalives when idle, by tcp_user_timeout while sending. The latter
 * also ends the dialling of a host that does not answer; with several hosts each gets its part of the time. */
static void add_network_defaults(struct dial_options *options, int64_t timeout_ms) {
    size_t hosts = count_hosts(given(options, "host"));
    size_t addresses = count_hosts(given(options, "hostaddr"));
    if (addresses > hosts)
        hosts = addresses;
    int64_t user_timeout_ms = 10000;
    if (hosts > 1 && timeout_ms / (int64_t)(hosts + 1) < user_timeout_ms)
        user_timeout_ms = timeout_ms / (int64_t)(hosts + 1);
    if (user_timeout_ms < 1000)
        user_timeout_ms = 1000;
    snprintf(options->user_timeout, sizeof(options->user_timeout), "%lld", (long long)user_timeout_ms);
    add_default(options, "tcp_user_timeout", options->user_timeout);
    add_default(options, "keepalives_idle", "10");
    add_default(options, "keepalives_interval", "5");
    add_default(options, "keepalives_count", "3");
}

static void on_notice(void *ctx, const PGresult *result) {
    (void)ctx;
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    log_debug("db", "notice of PostgreSQL", LOG_TEXT("notice", message ? message : ""));
}

/* libpq's own text about an unreadable connection string may repeat it, password and all. */
static enum status start(struct connection *connection, int64_t timeout_ms, struct error *error) {
    PQconninfoOption *parsed = PQconninfoParse(connection->conninfo, NULL);
    if (!parsed)
        return error_set(error, STATUS_INVALID,
                         "the database's connection string can't be read: expected postgresql://… or name=value pairs");
    struct dial_options options = {.count = 0};
    for (const PQconninfoOption *option = parsed; option->keyword; option++)
        if (option->val)
            add(&options, option->keyword, option->val);
    add_network_defaults(&options, timeout_ms);
    add_default(&options, "application_name", connection->application_name);
    const char *names[DIAL_OPTIONS_MAX + 2];
    const char *values[DIAL_OPTIONS_MAX + 2];
    size_t count = 0;
    for (; count < options.count; count++) {
        names[count] = options.names[count];
        values[count] = options.values[count];
    }
    names[count] = "client_encoding"; /* the last of a name counts */
    values[count++] = "UTF8";
    names[count] = values[count] = NULL;
    connection->pg = PQconnectStartParams(names, values, 0);
    PQconninfoFree(parsed);
    if (!connection->pg)
        abort(); /* out of memory */
    PQsetNoticeReceiver(connection->pg, on_notice, NULL);
    return STATUS_OK;
}

static enum status finish(struct connection *connection, int64_t deadline_ms, struct error *error) {
    if (PQstatus(connection->pg) == CONNECTION_BAD)
        return connection_lost(connection, NULL, error);
    PostgresPollingStatusType wants = PGRES_POLLING_WRITING;
    while (wants != PGRES_POLLING_OK) {
        if (wants == PGRES_POLLING_FAILED)
            return connection_lost(connection, NULL, error);
        short events = wants == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        enum status status = connection_wait(connection, events, deadline_ms, error);
        if (status != STATUS_OK)
            return status;
        wants = PQconnectPoll(connection->pg);
    }
    if (PQsetnonblocking(connection->pg, 1) != 0)
        return connection_lost(connection, NULL, error);
    return STATUS_OK;
}

/* The server gives up a little after we do, so that nothing runs on for a caller that has left. What an administrator
 * has set for the role or the database must not change what statements mean. Only a Linux server can look for a client
 * that is gone. synchronous_commit may be stricter than "on", never weaker. */
static enum status set_session(struct connection *connection, int64_t timeout_ms, struct error *error) {
    int64_t limit_ms = timeout_ms + 1000 + timeout_ms / 10;
    struct buffer sql;
    buffer_init(&sql, 2048);
    buffer_printf(&sql,
                  "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET jit = off; SET lock_timeout = 0;"
                  "SET default_transaction_isolation = 'read committed';"
                  "SET standard_conforming_strings = on;"
                  "SET statement_timeout = %lld; SET idle_in_transaction_session_timeout = %lld;"
                  "SELECT set_config('synchronous_commit', 'on', false)"
                  " WHERE current_setting('synchronous_commit') IN ('off', 'local');",
                  (long long)limit_ms, (long long)limit_ms);
    if (PQserverVersion(connection->pg) >= 140000)
        buffer_text(&sql, "SELECT set_config('client_connection_check_interval', '5s', false)"
                          " WHERE version() LIKE '%linux%'");
    CHECK(!sql.overflowed);
    enum status status = connection_exec(connection, sql.data, error);
    buffer_deinit(&sql);
    return status;
}

enum status connection_open(struct connection *connection, int64_t timeout_ms, struct error *error) {
    connection_close(connection);
    int64_t calls_ms = connection->timeout_ms;
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    enum status status = start(connection, timeout_ms, error);
    if (status == STATUS_OK)
        status = finish(connection, deadline_ms, error);
    if (status != STATUS_OK)
        return status;
    int64_t rest_ms = deadline_ms - clock_mono_ms();
    connection->timeout_ms = rest_ms > 0 ? rest_ms : 0;
    status = set_session(connection, calls_ms > timeout_ms ? calls_ms : timeout_ms, error);
    connection->timeout_ms = calls_ms;
    if (status != STATUS_OK && connection->pg)
        connection_close(connection);
    return status == STATUS_OK ? status : STATUS_UNAVAILABLE;
}
