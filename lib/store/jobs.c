/* Turns go by next_at: whoever was looked at longest ago comes first, and a job that is to be left alone has one in the
 * future. A job that is taken stays locked until its piece is written, so that a cancellation, or another process that
 * finds the lease run out, waits for that or passes it by. */
#include "store/jobs.h"
#include <stdio.h>

#define OPEN "('waiting', 'counting', 'running')"
#define COLUMNS                                                                                                        \
    "id, kind, state, request, since, until, total, done, failed, error, created_at, started_at, finished_at, size, "  \
    "expires_at, coalesce(state = 'done' AND expires_at > clock_timestamp(), false)"

#define NEAR_MS 2000 /* around the time of a log row's id, where its very millisecond has no such row */

/* ---- for the API ---- */

static int64_t time_or_0(const struct result *rows, int row, int column) {
    return result_is_null(rows, row, column) ? 0 : result_timestamp(rows, row, column);
}

void jobs_row_read(const struct result *rows, int row, struct job_row *ret_row) {
    *ret_row = (struct job_row){
        .id = result_uuid(rows, row, 0),
        .kind = result_text(rows, row, 1),
        .state = result_text(rows, row, 2),
        .request = result_jsonb(rows, row, 3),
        .since_ms = result_timestamp(rows, row, 4),
        .until_ms = result_timestamp(rows, row, 5),
        .total = result_is_null(rows, row, 6) ? -1 : result_int(rows, row, 6),
        .done = result_int(rows, row, 7),
        .failed = result_int(rows, row, 8),
        .error = result_text(rows, row, 9),
        .created_at_ms = result_timestamp(rows, row, 10),
        .started_at_ms = time_or_0(rows, row, 11),
        .finished_at_ms = time_or_0(rows, row, 12),
        .size = result_is_null(rows, row, 13) ? -1 : result_int(rows, row, 13),
        .expires_at_ms = time_or_0(rows, row, 14),
        .has_file = result_bool(rows, row, 15),
    };
}

static enum status insert_job(struct connection *connection, const struct job_new *job, struct result **ret_rows,
                              struct error *error) {
    static const struct statement INSERT = {
        "INSERT INTO jobs (id, workspace_id, kind, subscription_id, since, until, request) "
        "SELECT $1, $2, $3, $4, $5, coalesce($6, now()), $7::jsonb "
        "WHERE (SELECT count(*) FROM jobs WHERE workspace_id = $2 AND state IN " OPEN ") < $8::int4 "
        "ON CONFLICT (workspace_id, subscription_id) WHERE kind = 'recover' AND state IN " OPEN " DO NOTHING "
        "RETURNING " COLUMNS};
    struct params params;
    params_init(&params);
    params_uuid(&params, &job->id);
    params_text(&params, job->workspace_id);
    params_text(&params, job->kind);
    if (job->subscription_id)
        params_uuid(&params, job->subscription_id);
    else
        params_null(&params, PARAM_UUID);
    params_timestamp(&params, job->since_ms);
    if (job->until_ms)
        params_timestamp(&params, job->until_ms);
    else
        params_null(&params, PARAM_TIMESTAMP);
    params_jsonb(&params, job->request);
    params_int4(&params, JOBS_MAX_OPEN);
    enum status status = connection_run(connection, &INSERT, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

static enum status open_recover(struct connection *connection, const struct job_new *job, struct result **ret_rows,
                                struct error *error) {
    static const struct statement FIND = {"SELECT " COLUMNS " FROM jobs WHERE workspace_id = $1 "
                                          "AND subscription_id = $2 AND kind = 'recover' AND state IN " OPEN};
    struct params params;
    params_init(&params);
    params_text(&params, job->workspace_id);
    params_uuid(&params, job->subscription_id);
    enum status status = connection_run(connection, &FIND, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

enum status jobs_create(struct connection *connection, const struct job_new *job, enum job_made *ret_made,
                        struct result **ret_rows, struct error *error) {
    bool recover = span_is(job->kind, "recover");
    /* The one that is in the way may end between the two statements. */
    for (int i = 0; i < 2; i++) {
        struct result *rows = NULL;
        *ret_made = JOB_MADE;
        enum status status = insert_job(connection, job, &rows, error);
        if (status == STATUS_OK && result_rows(rows) == 0 && recover) {
            result_free(&rows);
            *ret_made = JOB_IN_THE_WAY;
            status = open_recover(connection, job, &rows, error);
        }
        if (status != STATUS_OK)
            return status;
        if (result_rows(rows) > 0) {
            *ret_rows = rows;
            return STATUS_OK;
        }
        result_free(&rows);
    }
    *ret_made = JOB_TOO_MANY;
    return STATUS_OK;
}

enum status jobs_get(struct connection *connection, struct span workspace_id, const struct uuid *id,
                     struct result **ret_rows, struct error *error) {
    static const struct statement GET = {"SELECT " COLUMNS " FROM jobs WHERE workspace_id = $1 AND id = $2"};
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, id);
    enum status status = connection_run(connection, &GET, &params, &rows, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(rows) == 0) {
        result_free(&rows);
        status = error_set(error, STATUS_NOT_FOUND, "there is no such job");
    }
    if (status == STATUS_OK)
        *ret_rows = rows;
    return status;
}

enum status jobs_list(struct connection *connection, struct span workspace_id, const struct uuid *before, int limit,
                      struct result **ret_rows, struct error *error) {
    static const struct statement LIST = {
        "SELECT " COLUMNS " FROM jobs WHERE workspace_id = $1 AND ($3::uuid IS NULL OR (created_at, id) < "
        "(SELECT b.created_at, b.id FROM jobs b WHERE b.workspace_id = $1 AND b.id = $3)) "
        "ORDER BY created_at DESC, id DESC LIMIT $2::int4"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_int4(&params, limit);
    if (before)
        params_uuid(&params, before);
    else
        params_null(&params, PARAM_UUID);
    enum status status = connection_run(connection, &LIST, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

enum status jobs_cancel(struct connection *connection, struct span workspace_id, const struct uuid *id, bool *ret_ended,
                        struct error *error) {
    static const struct statement CANCEL = {
        "UPDATE jobs SET state = 'cancelled', finished_at = coalesce(finished_at, clock_timestamp()), "
        "expires_at = CASE WHEN kind = 'export' THEN coalesce(expires_at, clock_timestamp()) END "
        "WHERE workspace_id = $1 AND id = $2 AND state IN ('waiting', 'counting', 'running', 'cancelled')"};
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, id);
    enum status status = connection_run(connection, &CANCEL, &params, &rows, error);
    bool cancelled = status == STATUS_OK && result_affected(rows) == 1;
    result_free(&rows);
    params_deinit(&params);
    if (status == STATUS_OK && !cancelled) {
        status = jobs_get(connection, workspace_id, id, &rows, error);
        result_free(&rows);
    }
    if (status == STATUS_OK)
        *ret_ended = !cancelled;
    return status;
}

static enum status find_log_between(struct connection *connection, struct span workspace_id, const struct uuid *log_id,
                                    int64_t from_ms, int64_t to_ms, struct result **ret_rows, struct error *error) {
    static const struct statement FIND = {
        "SELECT d.subscription_id, d.created_at, d.test, s.status FROM delivery_logs d LEFT JOIN subscriptions s "
        "ON s.workspace_id = d.workspace_id AND s.id = d.subscription_id AND s.status <> 'deleted' "
        "WHERE d.workspace_id = $1 AND d.created_at >= $3 AND d.created_at < $4 AND d.id = $2 ORDER BY d.created_at "
        "LIMIT 1"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, log_id);
    params_timestamp(&params, from_ms);
    params_timestamp(&params, to_ms);
    enum status status = connection_run(connection, &FIND, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

static int64_t time_of_uuid(const struct uuid *uuid) {
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | uuid->bytes[i];
    return ms;
}

enum status jobs_find_log(struct connection *connection, struct span workspace_id, const struct uuid *log_id,
                          struct job_delivery *ret_delivery, struct result **ret_rows, struct error *error) {
    struct result *rows = NULL;
    enum status status = STATUS_OK;
    int64_t ms = time_of_uuid(log_id);
    if (log_id->bytes[6] >> 4 != 7)
        return error_set(error, STATUS_NOT_FOUND, "no row of the log has such an id");
    status = find_log_between(connection, workspace_id, log_id, ms, ms + 1, &rows, error);
    if (status == STATUS_OK && result_rows(rows) == 0) {
        result_free(&rows);
        status = find_log_between(connection, workspace_id, log_id, ms - NEAR_MS, ms + NEAR_MS, &rows, error);
    }
    if (status == STATUS_OK && result_rows(rows) == 0) {
        result_free(&rows);
        status = error_set(error, STATUS_NOT_FOUND, "there is no such row in the log");
    }
    if (status != STATUS_OK)
        return status;
    *ret_delivery = (struct job_delivery){
        .subscription_id = result_uuid(rows, 0, 0),
        .created_at_ms = result_timestamp(rows, 0, 1),
        .test = result_bool(rows, 0, 2),
        .subscription_status = result_text(rows, 0, 3),
    };
    *ret_rows = rows;
    return STATUS_OK;
}

/* ---- for the thread that does them ---- */

/* What is stored as JSON is read here and not by the database: where it is wrong, that is one job's failure and not
 * the statement's, which every job shares. */

/* "503", or "5xx" for all of them. */
static bool read_status(struct span text, struct job_filter *filter) {
    if (!text.data)
        return true;
    bool class = text.len == 3 && text.data[1] == 'x' && text.data[2] == 'x';
    for (size_t i = 0; i < text.len; i++)
        if ((i == 0 || !class) && (text.data[i] < '0' || text.data[i] > '9'))
            return false;
    if (text.len != 3)
        return false;
    int hundreds = (text.data[0] - '0') * 100;
    int rest = class ? 0 : (text.data[1] - '0') * 10 + (text.data[2] - '0');
    filter->status_low = hundreds + rest;
    filter->status_high = class ? hundreds + 99 : filter->status_low;
    return true;
}

static bool read_uuid(struct span text, struct uuid *ret_uuid) {
    *ret_uuid = UUID_NIL;
    return !text.data || uuid_parse(text, ret_uuid) == STATUS_OK;
}

static bool read_flag(struct span text, int *ret_flag) {
    *ret_flag = span_is(text, "true") ? 1 : span_is(text, "false") ? 0 : -1;
    return !text.data || *ret_flag >= 0;
}

static bool read_number(struct span text, int64_t max, int64_t *ret_number) {
    int64_t number = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || number > (INT64_MAX - 9) / 10)
            return false;
        number = number * 10 + (text.data[i] - '0');
    }
    *ret_number = number;
    return number <= max;
}

static bool read_position(const struct result *rows, struct job_position *position) {
    int64_t source;
    struct span at = result_text(rows, 0, 19);
    if (!read_number(result_text(rows, 0, 18), 1, &source) || !read_uuid(result_text(rows, 0, 20), &position->id) ||
        !read_number(result_text(rows, 0, 21), INT64_MAX, &position->tally) || at.len >= sizeof(position->at))
        return false;
    position->source = (int)source;
    memcpy(position->at, at.data, at.len);
    position->at[at.len] = '\0';
    return true;
}

static void read_job(const struct result *rows, struct job *job) {
    *job = (struct job){
        .id = result_uuid(rows, 0, 0),
        .workspace_id = result_text(rows, 0, 1),
        .kind = span_is(result_text(rows, 0, 2), "recover") ? JOB_RECOVER : JOB_REPLAY,
        .state = span_is(result_text(rows, 0, 3), "running") ? JOB_RUNNING : JOB_COUNTING,
        .one_subscription = !result_is_null(rows, 0, 4),
        .subscription_id = result_is_null(rows, 0, 4) ? UUID_NIL : result_uuid(rows, 0, 4),
        .subscription_status = result_text(rows, 0, 5),
        .since = result_text(rows, 0, 6),
        .until = result_text(rows, 0, 7),
        .failed = result_bool(rows, 0, 8),
        .missing = result_bool(rows, 0, 9),
        .filter =
            {
                .event_type = result_text(rows, 0, 10),
                .delivery_status = result_text(rows, 0, 11),
                .error_code = result_text(rows, 0, 12),
                .event_id = result_text(rows, 0, 13),
            },
    };
    if (!read_status(result_text(rows, 0, 14), &job->filter))
        job->wrong = "its status_code can't be read";
    else if (!read_uuid(result_text(rows, 0, 15), &job->filter.batch_id))
        job->wrong = "its batch_id can't be read";
    else if (!read_uuid(result_text(rows, 0, 16), &job->filter.log_id))
        job->wrong = "its log_id can't be read";
    else if (!read_flag(result_text(rows, 0, 17), &job->filter.given_up))
        job->wrong = "its given_up can't be read";
    else if (!read_position(rows, &job->position))
        job->wrong = "how far it has come can't be read";
}

enum status jobs_take(struct connection *connection, const struct uuid *owner, int64_t lease_ms, struct job *ret_job,
                      struct result **ret_rows, struct error *error) {
    static const struct statement TAKE = {
        "WITH next AS MATERIALIZED (SELECT id FROM jobs WHERE kind <> 'export' AND state IN " OPEN
        " AND next_at <= now() AND (owner = $1 OR lease_until IS NULL OR lease_until < now()) ORDER BY next_at LIMIT 1 "
        "FOR UPDATE SKIP LOCKED) "
        "UPDATE jobs j SET owner = $1, lease_until = clock_timestamp() + $2::int8 * interval '1 ms', "
        "started_at = coalesce(started_at, clock_timestamp()), "
        "state = CASE state WHEN 'waiting' THEN 'counting' ELSE state END FROM next n WHERE j.id = n.id "
        "RETURNING j.id, j.workspace_id, j.kind, j.state, j.subscription_id, (SELECT s.status FROM subscriptions s "
        "WHERE s.workspace_id = j.workspace_id AND s.id = j.subscription_id AND s.status <> 'deleted'), "
        "j.since::text, j.until::text, coalesce(request -> 'include' ? 'failed', false), "
        "coalesce(request -> 'include' ? 'missing', false), request ->> 'event_type', request ->> 'delivery_status', "
        "request ->> 'error_code', request ->> 'event_id', request ->> 'status_code', request ->> 'batch_id', "
        "request ->> 'log_id', request ->> 'given_up', position ->> 'source', coalesce(position ->> 'at', ''), "
        "position ->> 'id', position ->> 'tally'"};
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    params_uuid(&params, owner);
    params_int8(&params, lease_ms);
    enum status status = connection_run(connection, &TAKE, &params, &rows, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(rows) == 0) {
        result_free(&rows);
        status = error_set(error, STATUS_NOT_FOUND, "no job waits");
    }
    if (status != STATUS_OK)
        return status;
    read_job(rows, ret_job);
    *ret_rows = rows;
    return STATUS_OK;
}

enum status jobs_advance(struct connection *connection, const struct job *job, const struct job_position *position,
                         enum job_next next, int64_t done, int64_t failed, struct error *error) {
    static const struct statement ADVANCE = {
        "UPDATE jobs SET next_at = clock_timestamp(), tries = 0, done = done + $2::int8, failed = failed + $3::int8, "
        "state = CASE $4::int4 WHEN 1 THEN 'running' WHEN 2 THEN 'done' ELSE state END, "
        "total = CASE $4::int4 WHEN 1 THEN $5::int8 ELSE total END, "
        "position = CASE WHEN $4::int4 = 0 THEN jsonb_build_object('source', $6::int4, 'at', $7::text, 'id', $8::uuid, "
        "'tally', $5::int8) END, "
        "finished_at = CASE WHEN $4::int4 = 2 THEN clock_timestamp() END, "
        "error = CASE WHEN $4::int4 = 2 AND failed + $3::int8 > 0 THEN 'what failed could not be sent again: its "
        "payload is no longer kept, or its subscription is not active' END WHERE id = $1"};
    struct params params;
    params_init(&params);
    params_uuid(&params, &job->id);
    params_int8(&params, done);
    params_int8(&params, failed);
    params_int4(&params, (int32_t)next);
    params_int8(&params, position->tally);
    params_int4(&params, position->source);
    params_text(&params, span_of(position->at));
    params_uuid(&params, &position->id);
    enum status status = connection_run(connection, &ADVANCE, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status jobs_pause(struct connection *connection, const struct uuid *id, int64_t pause_ms, struct error *error) {
    static const struct statement PAUSE = {
        "UPDATE jobs SET next_at = clock_timestamp() + $2::int8 * interval '1 ms' WHERE id = $1"};
    struct params params;
    params_init(&params);
    params_uuid(&params, id);
    params_int8(&params, pause_ms);
    enum status status = connection_run(connection, &PAUSE, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status jobs_fail(struct connection *connection, const struct uuid *id, const char *why, struct error *error) {
    static const struct statement FAIL = {"UPDATE jobs SET state = 'failed', error = $2, finished_at = "
                                          "clock_timestamp() WHERE id = $1 AND state IN " OPEN};
    struct params params;
    params_init(&params);
    params_uuid(&params, id);
    params_text(&params, span_of(why));
    enum status status = connection_run(connection, &FAIL, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status jobs_refused(struct connection *connection, const struct uuid *id, const char *why, struct error *error) {
    static const struct statement REFUSED = {
        "UPDATE jobs SET tries = tries + 1, next_at = clock_timestamp() + (1 << tries) * interval '1 s', "
        "state = CASE WHEN tries + 1 >= $3::int4 THEN 'failed' ELSE state END, "
        "error = CASE WHEN tries + 1 >= $3::int4 THEN $2 END, "
        "finished_at = CASE WHEN tries + 1 >= $3::int4 THEN clock_timestamp() END WHERE id = $1 AND state IN " OPEN};
    struct params params;
    params_init(&params);
    params_uuid(&params, id);
    params_text(&params, span_of(why));
    params_int4(&params, JOBS_MAX_TRIES);
    enum status status = connection_run(connection, &REFUSED, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status jobs_purge(struct connection *connection, int64_t age_ms, int max, struct error *error) {
    static const struct statement PURGE = {
        "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE finished_at < now() - $1::int8 * interval '1 ms' "
        "AND chunks = 0 LIMIT $2::int4)"};
    struct params params;
    params_init(&params);
    params_int8(&params, age_ms);
    params_int4(&params, max);
    enum status status = connection_run(connection, &PURGE, &params, NULL, error);
    params_deinit(&params);
    return status;
}
