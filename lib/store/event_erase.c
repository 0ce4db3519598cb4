/* Locks are taken as a flush takes them (rule P9): closers first, then rows of the schedule, each by key. Whoever has a
 * closer's lock sees exactly the members that it counts (store/batches.h), so these go under it. */
#include "store/event_erase.h"
#include "store/batches.h"
#include "store/logs.h"
#include "store/partitions.h"
#include "store/resend.h"
#include "store/schedule.h"
#include "store/schedule_private.h"

#define LOGS_MAX_BYTES ((size_t)64 * 1024 * 1024)
/* A workspace's batches since the event, and all that waits in its part of the schedule, are looked through. */
#define STATEMENT_TIMEOUT_MS 60000

#define NIL "'00000000-0000-0000-0000-000000000000'"

struct erasing {
    struct connection *connection;
    struct span workspace_id;
    struct uuid key;
    struct partition_bounds days;
    struct result *event; /* its id and type */
    struct buffer logs;
};

static void put_event(struct params *params, const struct erasing *erasing) {
    params_init(params);
    params_text(params, erasing->workspace_id);
    params_uuid(params, &erasing->key);
}

/* A statement on the event alone. */
static enum status run(const struct erasing *erasing, const struct statement *statement, struct result **ret_rows,
                       struct error *error) {
    struct params params;
    put_event(&params, erasing);
    enum status status = connection_run(erasing->connection, statement, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

static enum status find(struct erasing *erasing, struct error *error) {
    static const struct statement FIND = {
        "SELECT event_id, event_type FROM events WHERE workspace_id = $1 AND event_key = $2 LIMIT 1"};
    enum status status = run(erasing, &FIND, &erasing->event, error);
    if (status == STATUS_OK && result_rows(erasing->event) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "no such event");
    return status;
}

/* A row of what was waiting: subscription, attempt, replay, url, batch. */
static void log_cancelled(struct erasing *erasing, const struct result *rows, int row) {
    char key[UUID_TEXT_LEN + 1];
    struct uuid batch = result_is_null(rows, row, 4) ? UUID_NIL : result_uuid(rows, row, 4);
    bool whole = !uuid_is_nil(&batch);
    int64_t now_ms = partitions_clamp(&erasing->days, erasing->days.now_ms);
    uuid_format(&batch, key);
    struct log_row log = {
        .created_at_ms = now_ms,
        .id = uuid_new(now_ms),
        .workspace_id = erasing->workspace_id,
        .event_key = whole ? batch : erasing->key,
        .event_id = whole ? span_of(key) : result_text(erasing->event, 0, 0),
        .subscription_id = result_uuid(rows, row, 0),
        .event_type = result_text(erasing->event, 0, 1),
        .webhook_url = result_text(rows, row, 3),
        .delivery_status = "cancelled",
        .error = SPAN_LITERAL("the event was erased"),
        .error_code = SPAN_LITERAL("cancelled"),
        .attempt = (int)result_int(rows, row, 1),
        .duration_ms = -1,
        .batch_id = batch,
        .replay = result_bool(rows, row, 2),
    };
    logs_row(&erasing->logs, &log);
}

static void log_all(struct erasing *erasing, const struct result *rows) {
    for (int i = 0; i < result_rows(rows); i++)
        log_cancelled(erasing, rows, i);
}

/* ---- what waits for a batch ---- */

static enum status erase_members(struct erasing *erasing, struct error *error) {
    static const struct statement LOCK = {
        "SELECT 1 FROM schedule WHERE workspace_id = $1 AND row_key = " NIL " AND kind = 2 AND subscription_id IN "
        "(SELECT subscription_id FROM batch_members WHERE workspace_id = $1 AND event_key = $2) "
        "ORDER BY subscription_id FOR UPDATE"};
    static const struct statement TAKE = {
        "WITH gone AS (DELETE FROM batch_members WHERE workspace_id = $1 AND event_key = $2 "
        "RETURNING subscription_id, bytes, seq), "
        "sums AS MATERIALIZED (SELECT subscription_id, count(*) AS n, sum(bytes)::int8 AS bytes, "
        "EXISTS (SELECT FROM batch_members m WHERE m.workspace_id = $1 AND m.subscription_id = g.subscription_id "
        "AND m.event_key <> $2) AS more FROM gone g GROUP BY subscription_id), "
        "counted AS (UPDATE schedule q SET members = greatest(q.members - s.n, 1), "
        "member_bytes = greatest(q.member_bytes - s.bytes, 0) FROM sums s WHERE q.workspace_id = $1 "
        "AND q.subscription_id = s.subscription_id AND q.row_key = " NIL " AND q.kind = 2 AND s.more), "
        "closed AS (DELETE FROM schedule q USING sums s WHERE q.workspace_id = $1 "
        "AND q.subscription_id = s.subscription_id AND q.row_key = " NIL " AND q.kind = 2 AND NOT s.more) "
        "SELECT s.subscription_id, 1::int4, false, coalesce(x.webhook_url, ''), NULL::uuid FROM sums s "
        "LEFT JOIN subscriptions x ON x.workspace_id = $1 AND x.id = s.subscription_id"};
    struct result *rows = NULL;
    enum status status = run(erasing, &LOCK, NULL, error);
    if (status == STATUS_OK)
        status = run(erasing, &TAKE, &rows, error);
    if (status == STATUS_OK)
        log_all(erasing, rows);
    result_free(&rows);
    return status;
}

/* ---- what waits in the schedule ---- */

/* Rows of the event go. A batch's loses the event's record where its bytes are found; one that is nothing else goes. An
 * event that was erased before has left its batches then. */
static enum status erase_schedule(struct erasing *erasing, struct error *error) {
    static const struct statement LOCK = {
        "SELECT 1 FROM schedule q WHERE q.workspace_id = $1 AND (q.kind = 0 AND q.event_key = $2 OR q.kind = 1 "
        "AND EXISTS (SELECT FROM batches b WHERE b.workspace_id = $1 AND b.id = q.event_key "
        "AND $2 = ANY (b.event_keys))) ORDER BY q.subscription_id, q.row_key FOR UPDATE"};
    static const struct statement STRIP = {
        "WITH r AS MATERIALIZED (SELECT batch_record(topic, part, record_offset, record_time, record_key, headers, "
        "body) AS record FROM events WHERE workspace_id = $1 AND event_key = $2 AND octet_length(body) > 0 LIMIT 1) "
        "UPDATE schedule q SET body = overlay(q.body PLACING ''::bytea FROM position(r.record IN q.body) "
        "FOR octet_length(r.record)) FROM r WHERE q.workspace_id = $1 AND q.kind = 1 "
        "AND EXISTS (SELECT FROM batches b WHERE b.workspace_id = $1 AND b.id = q.event_key "
        "AND $2 = ANY (b.event_keys)) AND position(r.record IN q.body) > 0"};
    static const struct statement DROP = {
        "DELETE FROM schedule q WHERE q.workspace_id = $1 AND (q.kind = 0 AND q.event_key = $2 OR q.kind = 1 "
        "AND octet_length(q.body) = 0 AND EXISTS (SELECT FROM batches b WHERE b.workspace_id = $1 "
        "AND b.id = q.event_key AND $2 = ANY (b.event_keys))) RETURNING q.subscription_id, q.attempt, q.replay, "
        "coalesce((SELECT x.webhook_url FROM subscriptions x WHERE x.workspace_id = $1 AND x.id = q.subscription_id), "
        "''), CASE WHEN q.kind = 1 THEN q.event_key END"};
    struct result *rows = NULL;
    enum status status = run(erasing, &LOCK, NULL, error);
    if (status == STATUS_OK)
        status = batches_fill_event(erasing->connection, erasing->workspace_id, &erasing->key, error);
    if (status == STATUS_OK)
        status = run(erasing, &STRIP, NULL, error);
    if (status == STATUS_OK)
        status = run(erasing, &DROP, &rows, error);
    if (status == STATUS_OK)
        log_all(erasing, rows);
    result_free(&rows);
    return status;
}

/* ---- what is kept ---- */

static enum status erase_kept(struct erasing *erasing, struct error *error) {
    static const struct statement LOGS = {
        "UPDATE delivery_logs SET response_body = NULL WHERE workspace_id = $1 AND event_key = $2 "
        "AND event_id = (SELECT event_id FROM events WHERE workspace_id = $1 AND event_key = $2 LIMIT 1) "
        "AND response_body IS NOT NULL"};
    static const struct statement BATCHES = {
        "WITH held AS MATERIALIZED (SELECT b.id FROM batches b WHERE b.workspace_id = $1 "
        "AND b.created_at >= (SELECT min(created_at) FROM events WHERE workspace_id = $1 AND event_key = $2) "
        "- interval '5 minutes' AND $2 = ANY (b.event_keys)), "
        "noted AS (INSERT INTO erasures (workspace_id, event_key, event_id) SELECT $1::text, id, id::text FROM held "
        "UNION ALL (SELECT workspace_id, event_key, event_id FROM events WHERE workspace_id = $1 AND event_key = $2 "
        "LIMIT 1)) "
        "UPDATE delivery_logs d SET response_body = NULL FROM held b WHERE d.workspace_id = $1 "
        "AND d.event_id = b.id::text AND d.event_key = b.id AND d.response_body IS NOT NULL"};
    static const struct statement EVENT = {
        "WITH gone AS (UPDATE events SET body = '', headers = '{}', record_key = NULL WHERE workspace_id = $1 "
        "AND event_key = $2 AND (octet_length(body) > 0 OR headers <> '{}' OR record_key IS NOT NULL) "
        "RETURNING workspace_id, event_key, event_id, event_type) "
        "SELECT audit_note(workspace_id, 'event.erased', event_key::text, "
        "jsonb_build_object('event_id', event_id, 'event_type', event_type), NULL) FROM gone"};
    enum status status = run(erasing, &LOGS, NULL, error);
    if (status == STATUS_OK)
        status = run(erasing, &BATCHES, NULL, error);
    if (status == STATUS_OK)
        status = run(erasing, &EVENT, NULL, error);
    return status;
}

static enum status erase_found(struct erasing *erasing, struct error *error) {
    enum status status = partitions_read_bounds(erasing->connection, &erasing->days, error);
    if (status == STATUS_OK)
        status = erase_members(erasing, error);
    if (status == STATUS_OK)
        status = erase_schedule(erasing, error);
    if (status == STATUS_OK)
        status = erase_kept(erasing, error);
    if (status == STATUS_OK)
        status = logs_copy(erasing->connection, buffer_view(&erasing->logs), error);
    return status;
}

/* Of an event that has no row, there may be a sample, and tests that were made of it. */
static enum status erase_copies(const struct erasing *erasing, struct error *error) {
    static const struct statement COPIES = {"SELECT audit_note($1, 'event.erased', $2::uuid::text, NULL, NULL) "
                                            "FROM event_copies_erase($1, $2) AS gone WHERE gone > 0"};
    struct result *rows = NULL;
    enum status status = run(erasing, &COPIES, &rows, error);
    if (status == STATUS_OK && result_rows(rows) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "no such event");
    result_free(&rows);
    return status;
}

enum status event_erase_finish(struct connection *connection, int most, struct error *error) {
    static const struct statement FINISH = {"SELECT erasures_finish($1::int4)"};
    struct params params;
    params_init(&params);
    params_int4(&params, most);
    enum status status = connection_run(connection, &FINISH, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status event_erase(struct connection *connection, struct span workspace_id, const struct uuid *event_key,
                        struct error *error) {
    struct erasing erasing = {.connection = connection, .workspace_id = workspace_id, .key = *event_key};
    int64_t timeout_ms = connection_timeout(connection);
    buffer_init(&erasing.logs, LOGS_MAX_BYTES);
    connection_set_timeout(connection, STATEMENT_TIMEOUT_MS);
    enum status status = connection_exec(
        connection,
        "BEGIN; SET LOCAL plan_cache_mode = force_custom_plan; "
        "SET LOCAL enable_seqscan = off; SET LOCAL lock_timeout = '3s'; SET LOCAL statement_timeout = '58s'; "
        "SELECT pg_advisory_xact_lock(" RESEND_LOCK "), pg_current_xact_id()", /* before the clock: log_rollup.h */
        error);
    if (status == STATUS_OK)
        status = find(&erasing, error);
    if (status == STATUS_OK)
        status = erase_found(&erasing, error);
    else if (status == STATUS_NOT_FOUND)
        status = erase_copies(&erasing, error);
    status = schedule_end_transaction(connection, status, error);
    connection_set_timeout(connection, timeout_ms);
    buffer_deinit(&erasing.logs);
    result_free(&erasing.event);
    return status;
}
