/* Work behind the API: a row of `jobs` for each request to send deliveries again, and for each export of the log
 * (store/exports.h). The API makes, shows and cancels them; the jobs thread of some process takes one after the other,
 * does a bounded piece of each, and writes down in the same transaction how far it has come. What the pieces do:
 * store/resend.h. Exports are made by the processes that answer the API; here they are only shown and cancelled.
 *
 *   waiting ──▶ counting ──▶ running ──▶ done
 *      └───────────┴────────────┴──────▶ failed, cancelled
 */
#ifndef STORE_JOBS_H
#define STORE_JOBS_H

#include "db/connection.h"

/* As many that are not finished may a workspace have. */
#define JOBS_MAX_OPEN 1000

/* ---- For the API ---- */

/* As it is shown. The spans point into the result. */
struct job_row {
    struct uuid id;
    struct span kind;    /* recover, replay, export */
    struct span state;   /* waiting, counting, running, done, failed, cancelled */
    struct span request; /* JSON */
    int64_t since_ms, until_ms;
    int64_t total;        /* -1: not counted yet */
    int64_t done, failed; /* deliveries */
    struct span error;    /* SPAN_NONE: none */
    int64_t created_at_ms;
    int64_t started_at_ms;  /* 0: not yet */
    int64_t finished_at_ms; /* 0: not yet */
    int64_t size;           /* an export's file, in bytes; -1: of another kind */
    int64_t expires_at_ms;  /* an export's file is there until then; 0: not yet */
    bool has_file;          /* it is done and not expired, by the database's clock */
};
void jobs_row_read(const struct result *rows, int row, struct job_row *ret_row);

struct job_new {
    struct uuid id;
    struct span workspace_id;
    struct span kind;
    const struct uuid *subscription_id; /* NULL: whichever the log names */
    int64_t since_ms, until_ms;         /* until is not included; 0: the database's now */
    struct span request;                /* a JSON object: what is asked besides, as jobs_take reads it */
};
enum job_made {
    JOB_MADE,       /* one row of ret_rows: the job */
    JOB_IN_THE_WAY, /* one row: a recover of this subscription that is not finished */
    JOB_TOO_MANY,   /* no rows: JOBS_MAX_OPEN */
};
MUST_USE enum status jobs_create(struct connection *connection, const struct job_new *job, enum job_made *ret_made,
                                 struct result **ret_rows, struct error *error);
/* STATUS_NOT_FOUND: there is none in this workspace. */
MUST_USE enum status jobs_get(struct connection *connection, struct span workspace_id, const struct uuid *id,
                              struct result **ret_rows, struct error *error);
/* The newest first; before: only those behind it in that order, NULL: all. */
MUST_USE enum status jobs_list(struct connection *connection, struct span workspace_id, const struct uuid *before,
                               int limit, struct result **ret_rows, struct error *error);
/* What is done stays done; the file of an export goes. ret_ended: it is done or failed, and stays that. */
MUST_USE enum status jobs_cancel(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                 bool *ret_ended, struct error *error);

/* The delivery that a row of the log is about. There is no index on its id alone: the id has the time at which it was
 * made, which is the row's created_at, so that only the rows of that moment are looked at. */
struct job_delivery {
    struct uuid subscription_id;
    int64_t created_at_ms; /* of the log row, rounded down */
    bool test;
    struct span subscription_status; /* SPAN_NONE: it is gone; points into the result */
};
MUST_USE enum status jobs_find_log(struct connection *connection, struct span workspace_id, const struct uuid *log_id,
                                   struct job_delivery *ret_delivery, struct result **ret_rows, struct error *error);

/* ---- For the thread that does them: each in a transaction that the caller begins and ends ---- */

enum job_kind { JOB_RECOVER, JOB_REPLAY };
enum job_state { JOB_COUNTING, JOB_RUNNING };

/* Where the next piece begins: after (at, id) of one of the sources, in their order. */
struct job_position {
    int source;
    char at[40]; /* a timestamp of PostgreSQL's own with all its digits; "": the source's beginning */
    struct uuid id;
    int64_t tally; /* counting: counted so far; running: made since it was last asked whether there is room */
};

/* What a replay asks of a row of the log. SPAN_NONE, nil: whichever. */
struct job_filter {
    struct span event_type, delivery_status, error_code, event_id;
    int status_low, status_high; /* 0: whichever */
    struct uuid batch_id, log_id;
    int given_up; /* -1: whichever; 0, 1 */
};

/* A job whose turn it is; it stays locked until the transaction ends. The spans point into the result. */
struct job {
    const char *wrong; /* what can't be read of it, which only SQL can have written: it has to fail; NULL: nothing */
    struct uuid id;
    struct span workspace_id;
    enum job_kind kind;
    enum job_state state;
    bool one_subscription;
    struct uuid subscription_id;
    struct span subscription_status; /* SPAN_NONE: it is gone */
    struct span since, until;        /* timestamps of PostgreSQL's own */
    bool failed, missing;            /* recover: what is included */
    struct job_filter filter;        /* replay */
    struct job_position position;
};

/* Takes the job, a recovery or a replay, that has waited longest among those that this owner has, that nobody has, and
 * whose lease has run out; leases it for lease_ms. STATUS_NOT_FOUND: there is none. */
MUST_USE enum status jobs_take(struct connection *connection, const struct uuid *owner, int64_t lease_ms,
                               struct job *ret_job, struct result **ret_rows, struct error *error);

/* What a piece came to: it goes on from position; it is counted, and position's tally is the total; it is done. */
enum job_next { JOB_NEXT_GOES_ON, JOB_NEXT_COUNTED, JOB_NEXT_DONE };
MUST_USE enum status jobs_advance(struct connection *connection, const struct job *job,
                                  const struct job_position *position, enum job_next next, int64_t done, int64_t failed,
                                  struct error *error);
/* It is left alone for so long. */
MUST_USE enum status jobs_pause(struct connection *connection, const struct uuid *id, int64_t pause_ms,
                                struct error *error);
/* It has failed, and why. */
MUST_USE enum status jobs_fail(struct connection *connection, const struct uuid *id, const char *why,
                               struct error *error);
/* The database refused its last piece: it is tried again after a growing while, and fails after JOBS_MAX_TRIES. */
#define JOBS_MAX_TRIES 6
MUST_USE enum status jobs_refused(struct connection *connection, const struct uuid *id, const char *why,
                                  struct error *error);

/* Forgets up to `max` jobs that ended more than age_ms ago and have no file any more. */
MUST_USE enum status jobs_purge(struct connection *connection, int64_t age_ms, int max, struct error *error);

#endif
