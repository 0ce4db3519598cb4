#include "db/connection_private.h"

#include "base/clock.h"
#include <errno.h>
#include <libpq-fe.h>
#include <limits.h>
#include <poll.h>

/* libpq's messages end in a newline and may have several lines; the first says what happened. */
static struct span first_line(const char *text) {
    return (struct span){text, strcspn(text, "\n")};
}

enum status connection_lost(struct connection *connection, const char *why, struct error *error) {
    const char *text = why ? why : connection->pg ? PQerrorMessage(connection->pg) : "";
    if (!*text)
        text = "the connection was lost";
    struct span line = first_line(text);
    error_set(error, STATUS_UNAVAILABLE, "PostgreSQL: %.*s", SPAN_ARGS(line));
    connection_close(connection);
    return STATUS_UNAVAILABLE;
}

static bool is_class(const char *sqlstate, const char *class) {
    return strncmp(sqlstate, class, 2) == 0;
}

static bool is_one_of(const char *sqlstate, const char *const *list) {
    for (; *list; list++)
        if (strcmp(sqlstate, *list) == 0)
            return true;
    return false;
}

/* What this server can't do now although nothing is wrong with the statement. A statement that ran into
 * statement_timeout is the server's view of our own timeout; a read-only server is the old one of a fail-over; of a
 * lack of resources (class 53: disk full, memory) and of its system (58) one recovers by trying again. */
static bool is_away(const char *sqlstate) {
    static const char *const AWAY[] = {"57014", "57P01", "57P02", "57P03", "57P05", "25006", "25P03", NULL};
    return is_class(sqlstate, "08") || is_class(sqlstate, "53") || is_class(sqlstate, "58") ||
           is_one_of(sqlstate, AWAY);
}

static bool is_conflict(const char *sqlstate) {
    static const char *const CONFLICT[] = {"40001", "40P01", "55P03", "23505", NULL};
    return is_one_of(sqlstate, CONFLICT);
}

/* The detail of a wrong value or a violated constraint repeats the row, and rows hold what must not be in a log. */
static bool detail_is_safe(const char *sqlstate) {
    return !is_class(sqlstate, "22") && !is_class(sqlstate, "23");
}

enum status connection_judge(struct connection *connection, const struct pg_result *result, struct error *error) {
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (!sqlstate || !message) /* libpq's own, not the server's */
        return connection_lost(connection, NULL, error);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *detail = detail_is_safe(sqlstate) ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
    error_set(error, STATUS_FAILED, "PostgreSQL: %s%s%s (%s)", message, detail ? ": " : "", detail ? detail : "",
              sqlstate);
    bool fatal = severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
    if (fatal || is_away(sqlstate) || PQstatus(connection->pg) != CONNECTION_OK) {
        connection_close(connection);
        return STATUS_UNAVAILABLE;
    }
    memcpy(connection->sqlstate, sqlstate, 5);
    return is_conflict(sqlstate) ? STATUS_CONFLICT : STATUS_FAILED;
}

enum status connection_poll(struct connection *connection, short events, int wake_fd, int64_t deadline_ms,
                            short *ret_events, struct error *error) {
    struct pollfd fds[3] = {
        {.fd = PQsocket(connection->pg), .events = events},
        {.fd = connection->interrupt_fd, .events = POLLIN},
        {.fd = wake_fd, .events = POLLIN}, /* poll skips what is below 0 */
    };
    if (fds[0].fd < 0)
        return connection_lost(connection, NULL, error);
    int ready;
    do {
        int64_t rest = deadline_ms - clock_mono_ms();
        ready = poll(fds, 3, rest <= 0 ? 0 : rest > INT_MAX ? INT_MAX : (int)rest);
    } while (ready < 0 && errno == EINTR);
    CHECK(ready >= 0);
    if (fds[1].revents)
        return connection_lost(connection, "interrupted by this process", error);
    *ret_events = fds[0].revents;
    return STATUS_OK;
}

enum status connection_wait(struct connection *connection, short events, int64_t deadline_ms, struct error *error) {
    short ready;
    enum status status = connection_poll(connection, events, -1, deadline_ms, &ready, error);
    if (status == STATUS_OK && !ready)
        return connection_lost(connection, "no answer in time", error);
    return status;
}

enum status connection_flush(struct connection *connection, int64_t deadline_ms, struct error *error) {
    for (;;) {
        int left = PQflush(connection->pg);
        if (left < 0)
            return connection_lost(connection, NULL, error);
        if (left == 0)
            return STATUS_OK;
        short ready;
        enum status status = connection_poll(connection, POLLIN | POLLOUT, -1, deadline_ms, &ready, error);
        if (status != STATUS_OK)
            return status;
        if (!ready)
            return connection_lost(connection, "no answer in time", error);
        if ((ready & ~POLLOUT) && !PQconsumeInput(connection->pg))
            return connection_lost(connection, NULL, error);
    }
}

enum status connection_next(struct connection *connection, int64_t deadline_ms, struct pg_result **ret_result,
                            struct error *error) {
    while (PQisBusy(connection->pg)) {
        enum status status = connection_wait(connection, POLLIN, deadline_ms, error);
        if (status != STATUS_OK)
            return status;
        if (!PQconsumeInput(connection->pg))
            return connection_lost(connection, NULL, error);
    }
    *ret_result = PQgetResult(connection->pg);
    return STATUS_OK;
}
