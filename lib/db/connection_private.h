/* What the files of the connection share: connection.c (statements), connection_dial.c (opening), connection_wait.c
 * (the one place that waits, and the one that judges errors) and connection_result.c (rows). */
#ifndef DB_CONNECTION_PRIVATE_H
#define DB_CONNECTION_PRIVATE_H

#include "db/connection.h"

/* libpq's own names of its types. */
struct pg_conn;
struct pg_result;

struct prepared; /* a statement that the server knows by a name */

struct connection {
    char *conninfo;
    char *application_name;
    struct pg_conn *pg; /* NULL: closed */
    struct prepared *prepared;
    unsigned next_name;
    int64_t timeout_ms;
    int interrupt_fd; /* an eventfd; readable for ever once interrupted */
    char sqlstate[6];
};

struct result {
    struct pg_result *pg;
};

/* Waits until the socket is ready for one of `events` (of poll), `wake_fd` (-1: none) is readable, or the deadline of
 * the monotonic clock has passed. ret_events: what of the socket is ready, 0: nothing. STATUS_UNAVAILABLE: interrupted,
 * or there is no socket; the connection is closed then. */
MUST_USE enum status connection_poll(struct connection *connection, short events, int wake_fd, int64_t deadline_ms,
                                     short *ret_events, struct error *error);

/* The same for one who can't go on without: running into the deadline closes the connection. */
MUST_USE enum status connection_wait(struct connection *connection, short events, int64_t deadline_ms,
                                     struct error *error);

/* Sends all that libpq holds, reading meanwhile, so that neither side waits for the other. */
MUST_USE enum status connection_flush(struct connection *connection, int64_t deadline_ms, struct error *error);

/* The next result of the running command; NULL when there are no more. */
MUST_USE enum status connection_next(struct connection *connection, int64_t deadline_ms, struct pg_result **ret_result,
                                     struct error *error);

/* Closes the connection because of what libpq says about it, or of `why`. Always STATUS_UNAVAILABLE. */
enum status connection_lost(struct connection *connection, const char *why, struct error *error);

/* Translates the server's error. Those that mean that this server can't serve us now close the connection. */
enum status connection_judge(struct connection *connection, const struct pg_result *result, struct error *error);

void connection_forget_prepared(struct connection *connection);

struct result *result_new(struct pg_result *pg); /* takes it */

#endif
