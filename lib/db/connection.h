/* One connection to PostgreSQL (libpq), used by one thread, in blocking style with a deadline on every step: nothing
 * here waits longer than its timeout, however the network behaves. A call that runs into its timeout, or whose
 * connection breaks, closes the connection and gives STATUS_UNAVAILABLE; after that every call gives STATUS_UNAVAILABLE
 * until connection_open succeeded again. An error that the server reports gives STATUS_FAILED (connection_sqlstate
 * tells which), or STATUS_CONFLICT for serialization failures, deadlocks, lock timeouts and unique violations, and the
 * connection stays; inside a transaction the caller says ROLLBACK then. Errors that mean that this server can't serve
 * us now count as a broken connection: shutting down, read-only (the old server of a fail-over), out of disk or memory,
 * and a statement that the server cancelled because it took too long.
 *
 * No error and no log line has the connection string, a password, or the values of a row. */
#ifndef DB_CONNECTION_H
#define DB_CONNECTION_H

#include "db/params.h"

struct connection;

/* application_name is shown by pg_stat_activity ("hookcast recorder"). Nothing is dialled yet. */
struct connection *connection_new(const char *conninfo, const char *application_name);
void connection_free(struct connection **connection);

/* Dials (again), within timeout_ms (the look-up of a host's name apart: that is the C library's). Sets the session:
 * UTF-8, UTC, jit off, read committed, synchronous_commit at least on, no lock_timeout; statement_timeout and
 * idle_in_transaction_session_timeout a little above the larger of timeout_ms and connection_set_timeout;
 * client_connection_check_interval where the server knows it. STATUS_INVALID: the connection string can't be read. */
MUST_USE enum status connection_open(struct connection *connection, int64_t timeout_ms, struct error *error);
bool connection_is_open(const struct connection *connection);
void connection_close(struct connection *connection);

/* Any thread: makes the call that is waiting in this connection, and all later ones, end with STATUS_UNAVAILABLE. */
void connection_interrupt(struct connection *connection);

const char *connection_sqlstate(const struct connection *connection); /* of the last STATUS_FAILED or _CONFLICT; "" */

/* How long each of the following calls may take. 30 s at first. The server's own limit follows at the next
 * connection_open; who wants more from an open connection also sets statement_timeout. */
void connection_set_timeout(struct connection *connection, int64_t timeout_ms);
int64_t connection_timeout(const struct connection *connection);

/* A statement, prepared on first use in each connection (by its address: declare it static const). sql has $1… */
struct statement {
    const char *sql;
};

/* Rows of a statement, in binary; the spans point into it. One at a time is usual. */
struct result;
void result_free(struct result **result);
int result_rows(const struct result *result);
int64_t result_affected(const struct result *result); /* of INSERT, UPDATE, DELETE */
bool result_is_null(const struct result *result, int row, int column);
bool result_bool(const struct result *result, int row, int column);
int64_t result_int(const struct result *result, int row, int column); /* int2, int4, int8, xid8 */
double result_double(const struct result *result, int row, int column);
struct span
result_text(const struct result *result, int row,
            int column); /* text, varchar, bytea, json; SPAN_NONE: null; jsonb without its version byte: result_jsonb */
struct span result_jsonb(const struct result *result, int row, int column);
struct uuid result_uuid(const struct result *result, int row, int column);
int64_t result_timestamp(const struct result *result, int row, int column);    /* ms since 1970 */
int64_t result_timestamp_us(const struct result *result, int row, int column); /* µs since 1970 */
/* An array: its length, and its elements as spans (at most max), those of several dimensions one after the other; an
 * element that is null is empty. Null: 0. */
int result_array(const struct result *result, int row, int column, struct span *elements, int max);

/* Runs a prepared statement. params may be NULL; ret_result may be NULL. */
MUST_USE enum status connection_run(struct connection *connection, const struct statement *statement,
                                    struct params *params, struct result **ret_result, struct error *error);

/* Runs SQL text without parameters, several commands allowed; results are thrown away. BEGIN, COMMIT, migrations. */
MUST_USE enum status connection_exec(struct connection *connection, const char *sql, struct error *error);

/* The text of the first column of the first row, as text; for one-off questions. STATUS_NOT_FOUND without a row. */
MUST_USE enum status connection_ask(struct connection *connection, const char *sql, struct buffer *out,
                                    struct error *error);

/* COPY … FROM STDIN (FORMAT binary): `rows` holds the rows (wire_copy_row and values); header and trailer are added
 * here. */
MUST_USE enum status connection_copy(struct connection *connection, const char *copy_sql, struct span rows,
                                     int64_t *ret_rows, struct error *error);

/* LISTEN, then waiting for a notification up to timeout_ms without blocking anything else: STATUS_OK with ret_notified.
 * An eventfd-like descriptor is not offered: whoever listens has a thread of its own. `wake_fd` (-1: none) ends the
 * wait early when readable. */
MUST_USE enum status connection_wait_notify(struct connection *connection, int wake_fd, int64_t timeout_ms,
                                            bool *ret_notified, struct error *error);

#endif
