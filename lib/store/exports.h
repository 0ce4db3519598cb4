/* Exports of the log: jobs (store/jobs.h) of the kind `export`, whose files lie in `export_chunks` until they expire.
 * A thread of some process that answers the API makes them: it takes one, counts its rows, and writes the file piece
 * by piece. A piece's rows, and that they are written, are one transaction, which holds only while the taker is the
 * job's owner: so a crash anywhere neither repeats nor loses a row, and nobody writes beside another.
 *
 *   exports_create ─▶ waiting ─▶ counting ─▶ running ─▶ done ─▶ (expired: the file goes)
 *                       └───────────┴───────────┴─────▶ failed, cancelled
 *
 * Blocking; the caller's connection, outside of a transaction. */
#ifndef STORE_EXPORTS_H
#define STORE_EXPORTS_H

#include "db/connection.h"

#define EXPORTS_MAX_OPEN 10                             /* of a workspace that have not ended */
#define EXPORTS_WORKSPACE_MAX_BYTES (INT64_C(4) << 30)  /* of its files; past it nothing new is begun */
#define EXPORTS_FILE_MAX_BYTES (INT64_C(1) << 30)       /* a file that grows past it fails */
#define EXPORTS_KEPT_MS (INT64_C(7) * 24 * 3600 * 1000) /* how long a link and its file live */
#define EXPORTS_CHUNK_MAX_BYTES ((size_t)256 * 1024)    /* of a row of export_chunks */
#define EXPORTS_MAX_TRIES 6                             /* to do a piece; then the job fails */

/* ---- For the API ---- */

struct export_new {
    struct uuid id;
    struct span workspace_id;
    int64_t since_us, until_us; /* INT64_MIN: from the oldest; INT64_MAX, and what is yet to come: until now */
    struct span request;        /* JSON: email, lang, format, start_date, end_date, and filters */
};
enum export_made { EXPORT_MADE, EXPORT_TOO_MANY, EXPORT_TOO_LARGE };
MUST_USE enum status exports_create(struct connection *connection, const struct export_new *export,
                                    enum export_made *ret_made, struct error *error);

/* Takes away the file of one that is done, and mail about it that was not sent. ret_removed false: it had none. */
MUST_USE enum status exports_remove(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                    bool *ret_removed, struct error *error);

/* A file for whoever has the link. STATUS_NOT_FOUND: it has expired, its workspace is being erased, or there never was
 * one. */
struct export_file {
    int64_t size;
    int chunks;
    char format[16];
};
MUST_USE enum status exports_file(struct connection *connection, const struct uuid *id, struct export_file *ret_file,
                                  struct error *error);
/* Appends a piece of the file. number: from 1 on. STATUS_NOT_FOUND: it has gone. */
MUST_USE enum status exports_read(struct connection *connection, const struct uuid *id, int number, struct buffer *out,
                                  struct error *error);

/* ---- For the thread that makes them ---- */

/* A job that was taken. The spans point into the result. */
struct export_job {
    struct uuid id;
    struct span workspace_id, request;
    int64_t since_us, until_us; /* until is not included */
    bool counted;
    int64_t done, size;
    int chunks, tries; /* tries: takes since a piece was last written, this one included */
    const char *wrong; /* what can't be read of it; NULL: nothing */
    bool begun;        /* the next piece begins after the row at at_us with this id */
    int64_t at_us;
    struct uuid last_id;
};

/* Takes the export whose turn it is: one of this owner, of nobody, or whose lease has run out; leases it for lease_ms.
 * STATUS_NOT_FOUND: there is none. */
MUST_USE enum status exports_take(struct connection *connection, const struct uuid *owner, int64_t lease_ms,
                                  struct export_job *ret_job, struct result **ret_rows, struct error *error);

/* The next four hold only while owner has the job and it was not cancelled; ret_held false: it is no longer so, and
 * nothing was changed. */
MUST_USE enum status exports_counted(struct connection *connection, const struct uuid *owner, const struct uuid *id,
                                     int64_t total, bool *ret_held, struct error *error);

struct export_piece {
    struct span bytes; /* what the file grows by; none is fine */
    int64_t rows;
    int64_t at_us; /* of the last row */
    struct uuid last_id;
    bool end; /* it is the last piece: the file is done, a mail is written, and EXPORTS_KEPT_MS begin */
};
/* Writes a piece behind the `chunks` that there are, moves the job's fields on and leases it anew. */
MUST_USE enum status exports_write(struct connection *connection, const struct uuid *owner, int64_t lease_ms,
                                   struct export_job *job, const struct export_piece *piece, bool *ret_held,
                                   struct error *error);
/* Somebody else's turn; whoever takes it goes on, after pause_ms. 0: as it should be; what was tried in vain before is
 * forgotten. */
MUST_USE enum status exports_release(struct connection *connection, const struct uuid *owner, const struct uuid *id,
                                     int64_t pause_ms, bool *ret_held, struct error *error);
/* It has failed, and why, for whoever asked for it; a mail is written. */
MUST_USE enum status exports_fail(struct connection *connection, const struct uuid *owner, const struct uuid *id,
                                  const char *why, bool *ret_held, struct error *error);

/* Takes away up to max pieces of one file that has expired or was cancelled. ret_any: there was one. */
MUST_USE enum status exports_clear(struct connection *connection, int max, bool *ret_any, struct error *error);

#endif
