/* libpq in its nonblocking mode under calls that look blocking: whatever has to be waited for is waited for in
 * connection_wait.c, where the deadline and the interrupt end it. A command is always read to its end, so that the
 * connection is either ready for the next one or closed. */
#include "db/connection.h"

#include "base/clock.h"
#include "base/memory.h"
#include "db/connection_private.h"
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uthash.h>

#define COPY_PIECE_BYTES ((size_t)128 << 10)
#define COPY_SMALL_BYTES ((size_t)8 << 10)
#define BINARY 1
#define NAME_BYTES 16

struct prepared {
    const struct statement *statement;
    char name[NAME_BYTES];
    int param_count;
    unsigned types[PARAMS_MAX];
    UT_hash_handle hh;
};

struct connection *connection_new(const char *conninfo, const char *application_name) {
    struct connection *connection = mem_calloc(1, sizeof(*connection));
    connection->conninfo = mem_strdup(conninfo);
    connection->application_name = mem_strdup(application_name);
    connection->timeout_ms = 30000;
    connection->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(connection->interrupt_fd >= 0);
    return connection;
}

void connection_free(struct connection **connection_pointer) {
    struct connection *connection = *connection_pointer;
    if (!connection)
        return;
    connection_close(connection);
    close(connection->interrupt_fd);
    mem_wipe_free(connection->conninfo, strlen(connection->conninfo));
    mem_free(connection->application_name);
    mem_free(connection);
    *connection_pointer = NULL;
}

void connection_forget_prepared(struct connection *connection) {
    struct prepared *prepared, *next;
    HASH_ITER (hh, connection->prepared, prepared, next) {
        HASH_DEL(connection->prepared, prepared);
        mem_free(prepared);
    }
}

void connection_close(struct connection *connection) {
    connection_forget_prepared(connection);
    connection->sqlstate[0] = '\0';
    if (connection->pg)
        PQfinish(connection->pg);
    connection->pg = NULL;
}

bool connection_is_open(const struct connection *connection) {
    return connection->pg != NULL;
}

void connection_interrupt(struct connection *connection) {
    uint64_t one = 1;
    ssize_t written = write(connection->interrupt_fd, &one, sizeof(one));
    CHECK(written == sizeof(one));
}

const char *connection_sqlstate(const struct connection *connection) {
    return connection->sqlstate;
}

void connection_set_timeout(struct connection *connection, int64_t timeout_ms) {
    connection->timeout_ms = timeout_ms;
}

int64_t connection_timeout(const struct connection *connection) {
    return connection->timeout_ms;
}

/* At the start of each call. */
static enum status begin(struct connection *connection, int64_t *ret_deadline_ms, struct error *error) {
    connection->sqlstate[0] = '\0';
    *ret_deadline_ms = clock_mono_ms() + connection->timeout_ms;
    if (!connection->pg)
        return error_set(error, STATUS_UNAVAILABLE, "PostgreSQL: not connected");
    return STATUS_OK;
}

/* An error of libpq's own while sending: only a broken connection can be the reason. */
static enum status sent(struct connection *connection, int accepted, int64_t deadline_ms, struct error *error) {
    if (!accepted)
        return connection_lost(connection, NULL, error);
    return connection_flush(connection, deadline_ms, error);
}

/* Reads a command to its end. Of several results the first that failed decides, otherwise the last counts. */
static enum status collect(struct connection *connection, int64_t deadline_ms, PGresult **ret_result,
                           struct error *error) {
    PGresult *last = NULL;
    enum status failure = STATUS_OK;
    for (;;) {
        PGresult *result;
        enum status status = connection_next(connection, deadline_ms, &result, error);
        if (status != STATUS_OK) {
            PQclear(last);
            return status;
        }
        if (!result)
            break;
        switch (PQresultStatus(result)) {
        case PGRES_COPY_IN:
        case PGRES_COPY_OUT:
        case PGRES_COPY_BOTH:
            PQclear(result);
            PQclear(last);
            return connection_lost(connection, "COPY is not to be run as a statement", error);
        case PGRES_FATAL_ERROR:
        case PGRES_BAD_RESPONSE:
            if (failure == STATUS_OK)
                failure = connection_judge(connection, result, error);
            PQclear(result);
            if (!connection->pg) {
                PQclear(last);
                return failure;
            }
            break;
        default:
            PQclear(last);
            last = result;
        }
    }
    if (failure != STATUS_OK) {
        PQclear(last);
        return failure;
    }
    *ret_result = last;
    return STATUS_OK;
}

static enum status simple(struct connection *connection, const char *sql, PGresult **ret_result, struct error *error) {
    int64_t deadline_ms;
    enum status status = begin(connection, &deadline_ms, error);
    if (status == STATUS_OK)
        status = sent(connection, PQsendQuery(connection->pg, sql), deadline_ms, error);
    if (status == STATUS_OK)
        status = collect(connection, deadline_ms, ret_result, error);
    return status;
}

enum status connection_exec(struct connection *connection, const char *sql, struct error *error) {
    PGresult *result = NULL;
    enum status status = simple(connection, sql, &result, error);
    PQclear(result);
    return status;
}

enum status connection_ask(struct connection *connection, const char *sql, struct buffer *out, struct error *error) {
    PGresult *result = NULL;
    enum status status = simple(connection, sql, &result, error);
    if (status == STATUS_OK && (PQntuples(result) == 0 || PQgetisnull(result, 0, 0)))
        status = error_set(error, STATUS_NOT_FOUND, "PostgreSQL: no row");
    if (status == STATUS_OK)
        buffer_append(out, PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0));
    PQclear(result);
    return status;
}

static void forget(struct connection *connection, struct prepared *prepared) {
    HASH_DEL(connection->prepared, prepared);
    mem_free(prepared);
}

/* The statement's entry, prepared now if this connection has not seen it. A statement has the same types each time. */
static enum status prepare(struct connection *connection, const struct statement *statement,
                           const struct params *params, int64_t deadline_ms, struct prepared **ret_prepared,
                           struct error *error) {
    int count = params ? params->count : 0;
    struct prepared *prepared;
    HASH_FIND_PTR(connection->prepared, &statement, prepared);
    if (prepared) {
        CHECK(prepared->param_count == count);
        CHECK(count == 0 || memcmp(prepared->types, params->types, (size_t)count * sizeof(unsigned)) == 0);
        *ret_prepared = prepared;
        return STATUS_OK;
    }
    char name[NAME_BYTES];
    snprintf(name, sizeof(name), "s%u", ++connection->next_name);
    PGresult *result = NULL;
    int accepted = PQsendPrepare(connection->pg, name, statement->sql, count, params ? params->types : NULL);
    enum status status = sent(connection, accepted, deadline_ms, error);
    if (status == STATUS_OK)
        status = collect(connection, deadline_ms, &result, error);
    PQclear(result);
    if (status != STATUS_OK)
        return status;
    prepared = mem_calloc(1, sizeof(*prepared));
    prepared->statement = statement;
    prepared->param_count = count;
    memcpy(prepared->name, name, sizeof(name));
    if (count)
        memcpy(prepared->types, params->types, (size_t)count * sizeof(unsigned));
    HASH_ADD_PTR(connection->prepared, statement, prepared);
    *ret_prepared = prepared;
    return STATUS_OK;
}

static int send_prepared(struct connection *connection, const struct prepared *prepared, const struct params *params) {
    const char *values[PARAMS_MAX];
    int formats[PARAMS_MAX];
    int count = params ? params->count : 0;
    for (int i = 0; i < count; i++) {
        formats[i] = BINARY;
        values[i] = params->lengths[i] < 0 ? NULL
                    : params->values[i]    ? params->values[i]
                                           : params->data.data + params->offsets[i];
    }
    return PQsendQueryPrepared(connection->pg, prepared->name, count, values, params ? params->lengths : NULL, formats,
                               BINARY);
}

/* The server no longer knows the statement (something between us and it changed servers), or a migration changed what
 * its rows look like. Outside a transaction nothing has happened, so it may be prepared anew. */
static bool is_stale(const struct connection *connection) {
    return connection->pg && PQtransactionStatus(connection->pg) == PQTRANS_IDLE &&
           (strcmp(connection->sqlstate, "26000") == 0 || strcmp(connection->sqlstate, "0A000") == 0);
}

static enum status run_once(struct connection *connection, const struct statement *statement,
                            const struct params *params, int64_t deadline_ms, PGresult **ret_result,
                            struct error *error) {
    struct prepared *prepared;
    enum status status = prepare(connection, statement, params, deadline_ms, &prepared, error);
    if (status != STATUS_OK)
        return status;
    status = sent(connection, send_prepared(connection, prepared, params), deadline_ms, error);
    if (status == STATUS_OK)
        status = collect(connection, deadline_ms, ret_result, error);
    if (status == STATUS_FAILED && is_stale(connection))
        forget(connection, prepared);
    return status;
}

enum status connection_run(struct connection *connection, const struct statement *statement, struct params *params,
                           struct result **ret_result, struct error *error) {
    int64_t deadline_ms;
    enum status status = begin(connection, &deadline_ms, error);
    if (status != STATUS_OK)
        return status;
    if (params && params->data.overflowed)
        return error_set(error, STATUS_INVALID, "the parameters of a statement are too large");
    PGresult *result = NULL;
    status = run_once(connection, statement, params, deadline_ms, &result, error);
    if (status == STATUS_FAILED && is_stale(connection)) {
        connection->sqlstate[0] = '\0';
        status = run_once(connection, statement, params, deadline_ms, &result, error);
    }
    if (status != STATUS_OK)
        return status;
    if (ret_result)
        *ret_result = result_new(result);
    else
        PQclear(result);
    return STATUS_OK;
}

/* STATUS_OK: the server waits for rows. */
static enum status copy_start(struct connection *connection, const char *copy_sql, int64_t deadline_ms,
                              struct error *error) {
    enum status status = sent(connection, PQsendQuery(connection->pg, copy_sql), deadline_ms, error);
    PGresult *result = NULL;
    if (status == STATUS_OK)
        status = connection_next(connection, deadline_ms, &result, error);
    if (status != STATUS_OK)
        return status;
    ExecStatusType said = PQresultStatus(result);
    if (said == PGRES_COPY_IN) {
        PQclear(result);
        return STATUS_OK;
    }
    if (said == PGRES_FATAL_ERROR)
        status = connection_judge(connection, result, error);
    else
        status = connection_lost(connection, "the statement is no COPY … FROM STDIN", error);
    PQclear(result);
    PGresult *rest = NULL;
    struct error ignored;
    if (connection->pg && collect(connection, deadline_ms, &rest, &ignored) == STATUS_UNAVAILABLE)
        status = STATUS_UNAVAILABLE;
    PQclear(rest);
    return status;
}

/* libpq takes what is handed to it into its own buffer, so each piece is sent before the next goes in. After an error
 * the server reads the remaining pieces and throws them away. */
static enum status copy_send(struct connection *connection, struct span bytes, int64_t deadline_ms,
                             struct error *error) {
    while (bytes.len > 0) {
        size_t piece = bytes.len < COPY_PIECE_BYTES ? bytes.len : COPY_PIECE_BYTES;
        int taken = PQputCopyData(connection->pg, bytes.data, (int)piece);
        if (taken < 0)
            return connection_lost(connection, NULL, error);
        if (taken > 0)
            bytes = (struct span){bytes.data + piece, bytes.len - piece};
        if (taken > 0 && piece < COPY_SMALL_BYTES)
            continue; /* goes out with what follows */
        enum status status = connection_flush(connection, deadline_ms, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status copy_end(struct connection *connection, int64_t deadline_ms, struct error *error) {
    int taken;
    while ((taken = PQputCopyEnd(connection->pg, NULL)) == 0) {
        enum status status = connection_flush(connection, deadline_ms, error);
        if (status != STATUS_OK)
            return status;
    }
    return sent(connection, taken > 0, deadline_ms, error);
}

enum status connection_copy(struct connection *connection, const char *copy_sql, struct span rows, int64_t *ret_rows,
                            struct error *error) {
    int64_t deadline_ms;
    enum status status = begin(connection, &deadline_ms, error);
    if (status == STATUS_OK)
        status = copy_start(connection, copy_sql, deadline_ms, error);
    if (status != STATUS_OK)
        return status;
    struct buffer frame;
    buffer_init(&frame, 64);
    wire_copy_header(&frame);
    status = copy_send(connection, buffer_view(&frame), deadline_ms, error);
    if (status == STATUS_OK)
        status = copy_send(connection, rows, deadline_ms, error);
    buffer_reset(&frame);
    wire_copy_trailer(&frame);
    if (status == STATUS_OK)
        status = copy_send(connection, buffer_view(&frame), deadline_ms, error);
    buffer_deinit(&frame);
    if (status == STATUS_OK)
        status = copy_end(connection, deadline_ms, error);
    PGresult *result = NULL;
    if (status == STATUS_OK)
        status = collect(connection, deadline_ms, &result, error);
    if (status == STATUS_OK && ret_rows)
        *ret_rows = strtoll(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return status;
}

/* All that have come: they say the same thing. */
static bool take_notifications(struct connection *connection) {
    bool any = false;
    PGnotify *notify;
    while ((notify = PQnotifies(connection->pg))) {
        any = true;
        PQfreemem(notify);
    }
    return any;
}

enum status connection_wait_notify(struct connection *connection, int wake_fd, int64_t timeout_ms, bool *ret_notified,
                                   struct error *error) {
    int64_t deadline_ms;
    enum status status = begin(connection, &deadline_ms, error);
    if (status != STATUS_OK)
        return status;
    deadline_ms = clock_mono_ms() + timeout_ms;
    bool notified = take_notifications(connection);
    while (!notified) {
        short ready;
        status = connection_poll(connection, POLLIN, wake_fd, deadline_ms, &ready, error);
        if (status != STATUS_OK)
            return status;
        if (!ready) /* woken, or the time is over */
            break;
        if (!PQconsumeInput(connection->pg))
            return connection_lost(connection, NULL, error);
        notified = take_notifications(connection);
    }
    *ret_notified = notified;
    return STATUS_OK;
}
