/* Turns go by lease_until: who was never leased comes first, then whose lease, or pause, ended first. */
#include "store/exports.h"

#define OPEN "('waiting', 'counting', 'running')"
#define HELD "id = $1 AND owner = $2 AND kind = 'export' AND state IN " OPEN

/* What a mail speaks of; see dispatch/mail_text.h. */
#define MAIL(what, from)                                                                                               \
    "INSERT INTO mails (workspace_id, recipient, kind, about) SELECT workspace_id, request ->> 'email', '" what "', "  \
    "jsonb_build_object('job_id', id, 'lang', request -> 'lang', 'format', request -> 'format', 'rows', done, "        \
    "'size', size, 'expires_at_ms', (extract(epoch FROM expires_at) * 1000)::int8, 'start', request -> 'start_date', " \
    "'end', request -> 'end_date', 'error', error) FROM " from " WHERE request ->> 'email' <> ''"

/* ---- for the API ---- */

static void moment_or_null(struct params *params, int64_t us, int64_t none) {
    if (us == none)
        params_null(params, PARAM_TIMESTAMP);
    else
        params_timestamp_us(params, us);
}

enum status exports_create(struct connection *connection, const struct export_new *export, enum export_made *ret_made,
                           struct error *error) {
    static const struct statement CREATE = {
        "WITH had AS (SELECT count(*) FILTER (WHERE state IN " OPEN ") AS open, "
        "coalesce(sum(size) FILTER (WHERE chunks > 0), 0) AS bytes FROM jobs "
        "WHERE workspace_id = $2 AND kind = 'export'), "
        "made AS (INSERT INTO jobs (id, workspace_id, kind, since, until, request, next_at, size) "
        "SELECT $1, $2, 'export', coalesce($3, to_timestamp(0)), least($4, clock_timestamp()), $5::jsonb, 'infinity', "
        "0 FROM had WHERE open < $6::int4 AND bytes < $7::int8 RETURNING id) "
        "SELECT open >= $6, EXISTS (SELECT FROM made) FROM had"};
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    params_uuid(&params, &export->id);
    params_text(&params, export->workspace_id);
    moment_or_null(&params, export->since_us, INT64_MIN);
    moment_or_null(&params, export->until_us, INT64_MAX);
    params_jsonb(&params, export->request);
    params_int4(&params, EXPORTS_MAX_OPEN);
    params_int8(&params, EXPORTS_WORKSPACE_MAX_BYTES);
    enum status status = connection_run(connection, &CREATE, &params, &rows, error);
    params_deinit(&params);
    if (status == STATUS_OK)
        *ret_made = result_bool(rows, 0, 1)   ? EXPORT_MADE
                    : result_bool(rows, 0, 0) ? EXPORT_TOO_MANY
                                              : EXPORT_TOO_LARGE;
    result_free(&rows);
    return status;
}

enum status exports_remove(struct connection *connection, struct span workspace_id, const struct uuid *id,
                           bool *ret_removed, struct error *error) {
    static const struct statement REMOVE = {
        "WITH gone AS (UPDATE jobs SET expires_at = clock_timestamp() WHERE workspace_id = $1 AND id = $2 "
        "AND kind = 'export' AND state = 'done' AND expires_at > clock_timestamp() RETURNING id), "
        "unsent AS (DELETE FROM mails WHERE workspace_id = $1 AND kind = 'export.ready' "
        "AND about ->> 'job_id' = (SELECT id::text FROM gone)) SELECT id FROM gone"};
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, id);
    enum status status = connection_run(connection, &REMOVE, &params, &rows, error);
    params_deinit(&params);
    if (status == STATUS_OK)
        *ret_removed = result_rows(rows) == 1;
    result_free(&rows);
    return status;
}

enum status exports_file(struct connection *connection, const struct uuid *id, struct export_file *ret_file,
                         struct error *error) {
    static const struct statement FILE_OF = {
        "SELECT j.size, j.chunks, j.request ->> 'format' FROM jobs j WHERE j.id = $1 AND j.kind = 'export' "
        "AND j.state = 'done' AND j.expires_at > clock_timestamp() AND j.size IS NOT NULL AND j.chunks > 0 "
        "AND NOT EXISTS (SELECT FROM workspaces w WHERE w.id = j.workspace_id AND w.erased_at IS NOT NULL)"};
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    params_uuid(&params, id);
    enum status status = connection_run(connection, &FILE_OF, &params, &rows, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(rows) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "there is no such file");
    if (status == STATUS_OK) {
        struct span format = result_text(rows, 0, 2);
        *ret_file = (struct export_file){.size = result_int(rows, 0, 0), .chunks = (int)result_int(rows, 0, 1)};
        if (format.len > 0 && format.len < sizeof(ret_file->format))
            memcpy(ret_file->format, format.data, format.len);
    }
    result_free(&rows);
    return status;
}

enum status exports_read(struct connection *connection, const struct uuid *id, int number, struct buffer *out,
                         struct error *error) {
    static const struct statement READ = {"SELECT body FROM export_chunks WHERE job_id = $1 AND number = $2::int4"};
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    params_uuid(&params, id);
    params_int4(&params, number);
    enum status status = connection_run(connection, &READ, &params, &rows, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(rows) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "a piece of the file is gone");
    if (status == STATUS_OK)
        buffer_span(out, result_text(rows, 0, 0));
    result_free(&rows);
    return status;
}

/* ---- for the thread that makes them ---- */

/* Digits, with a minus before them or not. */
static bool read_number(struct span text, int64_t *ret_number) {
    bool minus = text.len > 0 && text.data[0] == '-';
    int64_t number = 0;
    if (text.len <= (size_t)minus || text.len > 18)
        return false;
    for (size_t i = minus; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (text.data[i] - '0');
    }
    *ret_number = minus ? -number : number;
    return true;
}

static void read_job(const struct result *rows, struct export_job *job) {
    *job = (struct export_job){
        .id = result_uuid(rows, 0, 0),
        .workspace_id = result_text(rows, 0, 1),
        .request = result_jsonb(rows, 0, 2),
        .since_us = result_timestamp_us(rows, 0, 3),
        .until_us = result_timestamp_us(rows, 0, 4),
        .counted = result_bool(rows, 0, 5),
        .done = result_int(rows, 0, 6),
        .size = result_int(rows, 0, 7),
        .chunks = (int)result_int(rows, 0, 8),
        .tries = (int)result_int(rows, 0, 9),
        .begun = !result_is_null(rows, 0, 10),
    };
    if (job->begun && (!read_number(result_text(rows, 0, 10), &job->at_us) ||
                       uuid_parse(result_text(rows, 0, 11), &job->last_id) != STATUS_OK))
        job->wrong = "how far it has come can't be read";
}

enum status exports_take(struct connection *connection, const struct uuid *owner, int64_t lease_ms,
                         struct export_job *ret_job, struct result **ret_rows, struct error *error) {
    static const struct statement TAKE = {
        "WITH next AS MATERIALIZED (SELECT j.id FROM jobs j WHERE j.kind = 'export' AND j.state IN " OPEN
        " AND (j.lease_until IS NULL OR j.lease_until < clock_timestamp() OR j.owner = $1) AND NOT EXISTS "
        "(SELECT FROM workspaces w WHERE w.id = j.workspace_id AND w.erased_at IS NOT NULL) "
        "ORDER BY j.lease_until NULLS FIRST, j.id LIMIT 1 FOR UPDATE OF j SKIP LOCKED) "
        "UPDATE jobs j SET owner = $1, lease_until = clock_timestamp() + $2::int8 * interval '1 ms', "
        "started_at = coalesce(started_at, clock_timestamp()), tries = least(tries + 1, 100), "
        "state = CASE WHEN total IS NULL THEN 'counting' ELSE 'running' END FROM next n WHERE j.id = n.id "
        "RETURNING j.id, j.workspace_id, j.request, j.since, j.until, j.total IS NOT NULL, j.done, coalesce(j.size, "
        "0), "
        "j.chunks, j.tries, position ->> 'at_us', position ->> 'id'"};
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    params_uuid(&params, owner);
    params_int8(&params, lease_ms);
    enum status status = connection_run(connection, &TAKE, &params, &rows, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(rows) == 0) {
        result_free(&rows);
        status = error_set(error, STATUS_NOT_FOUND, "no export waits");
    }
    if (status != STATUS_OK)
        return status;
    read_job(rows, ret_job);
    *ret_rows = rows;
    return STATUS_OK;
}

/* params: $1 the job, $2 the owner, and what the statement has besides. One row, or none. */
static enum status run_held(struct connection *connection, const struct statement *statement, struct params *params,
                            bool *ret_held, struct error *error) {
    struct result *rows = NULL;
    enum status status = connection_run(connection, statement, params, &rows, error);
    if (status == STATUS_OK)
        *ret_held = result_rows(rows) == 1;
    result_free(&rows);
    return status;
}

static void held_params(struct params *params, const struct uuid *owner, const struct uuid *id) {
    params_init(params);
    params_uuid(params, id);
    params_uuid(params, owner);
}

enum status exports_counted(struct connection *connection, const struct uuid *owner, const struct uuid *id,
                            int64_t total, bool *ret_held, struct error *error) {
    static const struct statement COUNTED = {"UPDATE jobs SET total = $3::int8, state = 'running' WHERE " HELD
                                             " RETURNING id"};
    struct params params;
    held_params(&params, owner, id);
    params_int8(&params, total);
    enum status status = run_held(connection, &COUNTED, &params, ret_held, error);
    params_deinit(&params);
    return status;
}

enum status exports_release(struct connection *connection, const struct uuid *owner, const struct uuid *id,
                            int64_t pause_ms, bool *ret_held, struct error *error) {
    static const struct statement RELEASE = {
        "UPDATE jobs SET owner = NULL, lease_until = clock_timestamp() + $3::int8 * interval '1 ms', "
        "tries = CASE WHEN $3::int8 = 0 THEN 0 ELSE tries END WHERE " HELD " RETURNING id"};
    struct params params;
    held_params(&params, owner, id);
    params_int8(&params, pause_ms);
    enum status status = run_held(connection, &RELEASE, &params, ret_held, error);
    params_deinit(&params);
    return status;
}

enum status exports_fail(struct connection *connection, const struct uuid *owner, const struct uuid *id,
                         const char *why, bool *ret_held, struct error *error) {
    static const struct statement FAIL = {
        "WITH failed AS (UPDATE jobs SET state = 'failed', error = $3, finished_at = clock_timestamp(), "
        "expires_at = clock_timestamp() WHERE " HELD
        " RETURNING *), told AS (" MAIL("export.failed", "failed") ") "
                                                                   "SELECT id FROM failed"};
    struct params params;
    held_params(&params, owner, id);
    params_text(&params, span_of(why));
    enum status status = run_held(connection, &FAIL, &params, ret_held, error);
    params_deinit(&params);
    return status;
}

/* A position is a JSON number and an id; at the end there is none. */
static enum status advance(struct connection *connection, const struct uuid *owner, int64_t lease_ms,
                           const struct export_job *job, const struct export_piece *piece, int chunks, bool *ret_held,
                           struct error *error) {
    static const struct statement ADVANCE = {
        "UPDATE jobs SET tries = 0, done = done + $4::int8, size = coalesce(size, 0) + $5::int8, "
        "chunks = chunks + $6::int4, lease_until = clock_timestamp() + $9::int8 * interval '1 ms', "
        "position = CASE WHEN $4::int8 = 0 THEN position ELSE jsonb_build_object('at_us', $7::int8, 'id', $8::uuid) "
        "END "
        "WHERE " HELD " AND state = 'running' AND chunks = $3::int4 RETURNING id"};
    struct params params;
    held_params(&params, owner, &job->id);
    params_int4(&params, job->chunks);
    params_int8(&params, piece->rows);
    params_int8(&params, (int64_t)piece->bytes.len);
    params_int4(&params, chunks);
    params_int8(&params, piece->at_us);
    params_uuid(&params, &piece->last_id);
    params_int8(&params, lease_ms);
    enum status status = run_held(connection, &ADVANCE, &params, ret_held, error);
    params_deinit(&params);
    return status;
}

static enum status add_chunks(struct connection *connection, const struct export_job *job, struct span bytes,
                              int *ret_chunks, struct error *error) {
    static const struct statement ADD = {
        "INSERT INTO export_chunks (job_id, number, workspace_id, body) VALUES ($1, $2::int4, $3, $4)"};
    enum status status = STATUS_OK;
    int number = job->chunks;
    while (status == STATUS_OK && bytes.len > 0) {
        struct params params;
        struct span part = {bytes.data, bytes.len < EXPORTS_CHUNK_MAX_BYTES ? bytes.len : EXPORTS_CHUNK_MAX_BYTES};
        bytes = (struct span){bytes.data + part.len, bytes.len - part.len};
        params_init(&params);
        params_uuid(&params, &job->id);
        params_int4(&params, ++number);
        params_text(&params, job->workspace_id);
        params_bytea(&params, part);
        status = connection_run(connection, &ADD, &params, NULL, error);
        params_deinit(&params);
    }
    *ret_chunks = number - job->chunks;
    return status;
}

/* The link speaks of whole seconds. */
static enum status finish(struct connection *connection, const struct export_job *job, struct error *error) {
    static const struct statement FINISH = {
        "WITH done AS (UPDATE jobs SET state = 'done', total = done, position = NULL, finished_at = clock_timestamp(), "
        "expires_at = date_trunc('second', clock_timestamp() + $2::int8 * interval '1 ms') WHERE id = $1 RETURNING "
        "*) " MAIL("export.ready", "done")};
    struct params params;
    params_init(&params);
    params_uuid(&params, &job->id);
    params_int8(&params, EXPORTS_KEPT_MS);
    enum status status = connection_run(connection, &FINISH, &params, NULL, error);
    params_deinit(&params);
    return status;
}

static enum status write_piece(struct connection *connection, const struct uuid *owner, int64_t lease_ms,
                               const struct export_job *job, const struct export_piece *piece, int *ret_chunks,
                               bool *ret_held, struct error *error) {
    int chunks = (int)((piece->bytes.len + EXPORTS_CHUNK_MAX_BYTES - 1) / EXPORTS_CHUNK_MAX_BYTES);
    enum status status = advance(connection, owner, lease_ms, job, piece, chunks, ret_held, error);
    if (status == STATUS_OK && *ret_held)
        status = add_chunks(connection, job, piece->bytes, ret_chunks, error);
    if (status == STATUS_OK && *ret_held && piece->end)
        status = finish(connection, job, error);
    return status;
}

enum status exports_write(struct connection *connection, const struct uuid *owner, int64_t lease_ms,
                          struct export_job *job, const struct export_piece *piece, bool *ret_held,
                          struct error *error) {
    int chunks = 0;
    bool held = false;
    struct error ignored;
    enum status status = connection_exec(connection, "BEGIN", error);
    if (status == STATUS_OK)
        status = write_piece(connection, owner, lease_ms, job, piece, &chunks, &held, error);
    if (status == STATUS_OK)
        status = connection_exec(connection, held ? "COMMIT" : "ROLLBACK", error);
    else if (connection_is_open(connection) && connection_exec(connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(connection);
    if (status != STATUS_OK)
        return status;
    *ret_held = held;
    if (!held)
        return STATUS_OK;
    job->chunks += chunks;
    job->done += piece->rows;
    job->size += (int64_t)piece->bytes.len;
    job->tries = 0;
    if (piece->rows > 0) {
        job->begun = true;
        job->at_us = piece->at_us;
        job->last_id = piece->last_id;
    }
    return STATUS_OK;
}

/* From the end: what is left can't be taken for a whole file. Once nothing is, the job says so. A program that does not
 * know exports cancels one without a time at which its file goes. */
enum status exports_clear(struct connection *connection, int max, bool *ret_any, struct error *error) {
    static const struct statement CLEAR = {
        "WITH old AS MATERIALIZED (SELECT id FROM jobs WHERE chunks > 0 AND (expires_at <= clock_timestamp() "
        "OR state = 'cancelled') ORDER BY expires_at LIMIT 1 FOR UPDATE SKIP LOCKED), "
        "gone AS (DELETE FROM export_chunks c USING (SELECT e.job_id, e.number FROM export_chunks e "
        "JOIN old ON old.id = e.job_id ORDER BY e.number DESC LIMIT $1::int4) x "
        "WHERE c.job_id = x.job_id AND c.number = x.number RETURNING c.number), "
        "tally AS (SELECT count(*) AS n FROM gone) "
        "UPDATE jobs j SET chunks = CASE WHEN n < $1::int4 THEN 0 ELSE (SELECT min(number) - 1 FROM gone) END "
        "FROM old, tally WHERE j.id = old.id RETURNING j.id"};
    struct params params;
    params_init(&params);
    params_int4(&params, max);
    bool any = false;
    enum status status = run_held(connection, &CLEAR, &params, &any, error);
    params_deinit(&params);
    if (status == STATUS_OK)
        *ret_any = any;
    return status;
}
