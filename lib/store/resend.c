/* Whether a delivery still waits is asked before whether the log has a later row of it (resend_read, then resend_make):
 * a flush that ends it between the two has written its log row when the second is asked. The other way round it could
 * be neither waiting nor logged, and would be sent once more.
 *
 * A day that has begun has no statistics yet, and in an empty table all indexes are equally good; a plan that goes by
 * the wrong one then reads the whole day for each key. So each look-up is written so that one index alone serves it: a
 * range instead of an equality, with an ORDER BY that only this index has (which an EXISTS would not heed); a
 * comparison that no index takes. And what looks through a table counts what it looks at, not what it finds. */
#include "store/resend.h"
#include "store/partitions.h"
#include <stdio.h>

#define ARRAY_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define DUE_LOOKED_AT 500000

enum source { SOURCE_LOG, SOURCE_SKIPPED };

/* A page that takes so long ends the connection; the next one is smaller. */
enum status resend_begin(struct connection *connection, struct error *error) {
    return connection_exec(connection,
                           "BEGIN; SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off; "
                           "SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; "
                           "SET LOCAL enable_mergejoin = off; SET LOCAL statement_timeout = '10s'; "
                           "SELECT pg_advisory_xact_lock_shared(" RESEND_LOCK ")",
                           error);
}

/* ---- reading ---- */

/* What a source looks through is `seen`, in the order of (at, id). The first of these that fit are `picked`, $7 at
 * most; a page ends after the last one of those, or of all that was seen. What of them is to be sent is `found`. The
 * first columns tell where the page ends. */
#define PICKED "picked AS MATERIALIZED (SELECT * FROM seen WHERE fits ORDER BY at, id LIMIT $7::int4), "

#define PAGE_OF(purpose)                                                                                               \
    "SELECT e.at::text, e.id, e.ended, f.event_key, f.subscription_id, f.event_id, f.at::text, f.id, f.batch, "        \
    "(SELECT true FROM schedule s WHERE s.workspace_id = $1 AND s.subscription_id = f.subscription_id "                \
    "AND s.row_key = resend_key('" purpose "', $8::uuid, f.event_key) LIMIT 1) IS NOT NULL, e.picked "                 \
    "FROM (SELECT l.at, l.id, n.picked, n.seen < $6::int4 AND n.picked < $7 AS ended "                                 \
    "FROM (SELECT (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM picked) AS picked) n "                    \
    "LEFT JOIN LATERAL (SELECT x.at, x.id FROM (SELECT at, id FROM seen WHERE n.picked < $7 "                          \
    "UNION ALL SELECT at, id FROM picked) x ORDER BY x.at DESC, x.id DESC LIMIT 1) l ON true) e "                      \
    "LEFT JOIN found f ON true ORDER BY f.at, f.id"
#define RECOVER_PAGE PICKED "found AS (SELECT * FROM picked) " PAGE_OF("recover")

/* Rows of the log after the position, within the job's time. */
#define LOG_RANGE                                                                                                      \
    "d.created_at >= greatest($2::timestamptz, $4::timestamptz) AND d.created_at < $3::timestamptz "                   \
    "AND (d.created_at, d.id) > ($4::timestamptz, $5::uuid) "

/* $1 workspace, $2 since, $3 until, $4 at, $5 id, $6 window, $7 max, $8 subscription, $9 failed, $10 missing */
static const struct statement READ_LOST = {
    "WITH seen AS MATERIALIZED (SELECT d.created_at AS at, d.id, d.event_key, d.event_id, d.subscription_id, "
    "d.batch_id IS NOT NULL AS batch, d.workspace_id = $1::text AND NOT d.test "
    "AND CASE WHEN d.given_up THEN $9::bool ELSE $10::bool END AS fits FROM delivery_logs d "
    "WHERE d.subscription_id::text = $8::uuid::text AND (d.given_up OR d.delivery_status = 'cancelled') "
    "AND " LOG_RANGE "ORDER BY d.created_at, d.id LIMIT $6::int4), " RECOVER_PAGE};

/* The same parameters. An event that was skipped has no row of the log; its place is its own. */
static const struct statement READ_SKIPPED = {
    "WITH seen AS MATERIALIZED (SELECT d.created_at AS at, d.event_key AS id, d.event_key, d.event_id, "
    "$8::uuid AS subscription_id, false AS batch, $8::uuid = ANY (d.skipped) AND $10::bool AND ($9::bool OR true) "
    "AS fits FROM events d WHERE d.workspace_id = $1::text AND d.skipped IS NOT NULL "
    "AND d.created_at >= greatest($2::timestamptz, $4::timestamptz) AND d.created_at < $3::timestamptz "
    "AND (d.created_at, d.event_key) > ($4::timestamptz, $5::uuid) "
    "ORDER BY d.created_at, d.event_key LIMIT $6::int4), " RECOVER_PAGE};

/* $8 the job; $9 subscription and $10 event id, as the filter has them; $11 type, $12 status, $13 error code, $14 and
 * $15 status code, $16 batch, $17 log row, $18 given up. */
#define FITS(d)                                                                                                        \
    "NOT " d ".test AND " d ".workspace_id = $1 AND ($9::uuid IS NULL OR " d ".subscription_id = $9) "                 \
    "AND ($10::text IS NULL OR " d ".event_id = $10) AND ($11::text IS NULL OR " d ".event_type = $11) "               \
    "AND ($12::text IS NULL OR " d ".delivery_status = $12) AND ($13::text IS NULL OR " d ".error_code = $13) "        \
    "AND ($14::int4 IS NULL OR " d ".status_code BETWEEN $14 AND $15::int4) "                                          \
    "AND ($16::uuid IS NULL OR " d ".batch_id = $16) AND ($17::uuid IS NULL OR " d ".id = $17) "                       \
    "AND ($18::bool IS NULL OR " d ".given_up = $18) "
#define ROW_FITS FITS("d")
#define LATER_FITS "AND l.created_at < $3::timestamptz AND " FITS("l")

/* A row of the log, l, later than (at, id) of k, of the same delivery; null: there is none. */
#define LATER_ROW(k, more)                                                                                             \
    "(SELECT true FROM delivery_logs l WHERE l.workspace_id = $1::text AND l.event_id >= " k ".event_id "              \
    "AND l.event_id <= " k ".event_id AND l.event_key = " k ".event_key "                                              \
    "AND l.subscription_id IS NOT DISTINCT FROM " k ".subscription_id AND l.created_at >= " k ".at "                   \
    "AND (l.created_at, l.id) > (" k ".at, " k ".id) " more "ORDER BY l.event_id LIMIT 1) "
#define FITTING_LATER_ROW LATER_ROW("s", LATER_FITS)
#define REPLAY_PAGE PAGE_OF("replay")

#define READ_FILTERED_BY(index, order)                                                                                 \
    "WITH seen AS MATERIALIZED (SELECT d.created_at AS at, d.id, d.event_key, d.event_id, d.subscription_id, "         \
    "d.batch_id IS NOT NULL AS batch, " ROW_FITS "AS fits FROM delivery_logs d WHERE " index " AND " LOG_RANGE         \
    "ORDER BY " order "d.created_at, d.id LIMIT $6::int4), " PICKED                                                    \
    "found AS MATERIALIZED (SELECT s.* FROM picked s WHERE " FITTING_LATER_ROW "IS NULL) " REPLAY_PAGE

static const struct statement READ_FILTERED = {READ_FILTERED_BY("d.workspace_id = $1::text", "")};
static const struct statement READ_SUBSCRIPTION = {READ_FILTERED_BY("d.subscription_id = $9::uuid", "")};
static const struct statement READ_EVENT = {READ_FILTERED_BY(
    "d.workspace_id = $1::text AND d.event_id >= $10::text AND d.event_id <= $10::text", "d.event_id, ")};

static void uuid_or_null(struct params *params, bool given, const struct uuid *uuid) {
    if (given)
        params_uuid(params, uuid);
    else
        params_null(params, PARAM_UUID);
}

static void place_params(struct params *params, const struct job *job, int window, int max) {
    params_text(params, job->workspace_id);
    params_text(params, job->since);
    params_text(params, job->until);
    params_text(params, job->position.at[0] ? span_of(job->position.at) : job->since);
    params_uuid(params, &job->position.id);
    params_int4(params, window);
    params_int4(params, max);
}

static void filter_params(struct params *params, const struct job *job) {
    const struct job_filter *filter = &job->filter;
    params_uuid(params, &job->id);
    uuid_or_null(params, job->one_subscription, &job->subscription_id);
    params_text(params, filter->event_id);
    params_text(params, filter->event_type);
    params_text(params, filter->delivery_status);
    params_text(params, filter->error_code);
    if (filter->status_low) {
        params_int4(params, filter->status_low);
        params_int4(params, filter->status_high);
    } else {
        params_null(params, PARAM_INT4);
        params_null(params, PARAM_INT4);
    }
    uuid_or_null(params, !uuid_is_nil(&filter->batch_id), &filter->batch_id);
    uuid_or_null(params, !uuid_is_nil(&filter->log_id), &filter->log_id);
    if (filter->given_up >= 0)
        params_bool(params, filter->given_up);
    else
        params_null(params, PARAM_BOOL);
}

/* By the index that has the fewest rows to look at. */
static const struct statement *reading(const struct job *job) {
    if (job->kind == JOB_RECOVER)
        return job->position.source == SOURCE_SKIPPED ? &READ_SKIPPED : &READ_LOST;
    if (job->filter.event_id.data)
        return &READ_EVENT;
    return job->one_subscription ? &READ_SUBSCRIPTION : &READ_FILTERED;
}

static void read_page(const struct job *job, struct result *rows, struct resend_page *page) {
    bool skipped_next = job->kind == JOB_RECOVER && job->missing && job->position.source == SOURCE_LOG;
    page->keys = rows;
    page->count = result_is_null(rows, 0, 3) ? 0 : result_rows(rows);
    page->picked = (int)result_int(rows, 0, 10);
    page->next = job->position;
    page->end = false;
    if (!result_bool(rows, 0, 2)) {
        struct span at = result_text(rows, 0, 0);
        CHECK(at.len < sizeof(page->next.at));
        (void)snprintf(page->next.at, sizeof(page->next.at), "%.*s", SPAN_ARGS(at));
        page->next.id = result_uuid(rows, 0, 1);
    } else if (skipped_next) {
        page->next = (struct job_position){.source = SOURCE_SKIPPED, .tally = job->position.tally};
    } else {
        page->end = true;
    }
}

enum status resend_read(struct connection *connection, const struct job *job, int window, int max,
                        struct resend_page *ret_page, struct error *error) {
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    place_params(&params, job, window, max);
    if (job->kind == JOB_RECOVER) {
        params_uuid(&params, &job->subscription_id);
        params_bool(&params, job->failed);
        params_bool(&params, job->missing);
    } else {
        filter_params(&params, job);
    }
    enum status status = connection_run(connection, reading(job), &params, &rows, error);
    params_deinit(&params);
    if (status == STATUS_OK)
        read_page(job, rows, ret_page);
    return status;
}

void resend_page_deinit(struct resend_page *page) {
    result_free(&page->keys);
    page->count = 0;
}

/* ---- making ---- */

/* The keys of a page as arrays. */
struct key_columns {
    struct param_array event_keys, subscriptions, event_ids, ats, ids, batches, waiting;
};

static void columns_init(struct key_columns *columns, const struct resend_page *page) {
    array_init(&columns->event_keys, PARAM_UUID, ARRAY_MAX_BYTES);
    array_init(&columns->subscriptions, PARAM_UUID, ARRAY_MAX_BYTES);
    array_init(&columns->event_ids, PARAM_TEXT, ARRAY_MAX_BYTES);
    array_init(&columns->ats, PARAM_TEXT, ARRAY_MAX_BYTES);
    array_init(&columns->ids, PARAM_UUID, ARRAY_MAX_BYTES);
    array_init(&columns->batches, PARAM_BOOL, ARRAY_MAX_BYTES);
    array_init(&columns->waiting, PARAM_BOOL, ARRAY_MAX_BYTES);
    for (int i = 0; i < page->count; i++) {
        struct uuid event_key = result_uuid(page->keys, i, 3), subscription = result_uuid(page->keys, i, 4);
        struct uuid id = result_uuid(page->keys, i, 7);
        array_uuid(&columns->event_keys, &event_key);
        array_uuid(&columns->subscriptions, &subscription);
        array_text(&columns->event_ids, result_text(page->keys, i, 5));
        array_text(&columns->ats, result_text(page->keys, i, 6));
        array_uuid(&columns->ids, &id);
        array_bool(&columns->batches, result_bool(page->keys, i, 8));
        array_bool(&columns->waiting, result_bool(page->keys, i, 9));
    }
}

static void columns_deinit(struct key_columns *columns) {
    array_deinit(&columns->event_keys);
    array_deinit(&columns->subscriptions);
    array_deinit(&columns->event_ids);
    array_deinit(&columns->ats);
    array_deinit(&columns->ids);
    array_deinit(&columns->batches);
    array_deinit(&columns->waiting);
}

/* $1 workspace, $2 purpose and $3 scope of the row keys, $4 the log must have no later row, $5 these events were
 * skipped; $6 … $12 the keys. A skipped event may have been sent as a batch of one, whose rows have the row key. */
#define KEY_LATER_ROW LATER_ROW("k", "")
#define ONE_LATER_ROW LATER_ROW("o", "")
#define LIVE                                                                                                           \
    "WITH k AS MATERIALIZED (SELECT u.*, resend_key($2::text, $3::uuid, u.event_key) AS row_key "                      \
    "FROM (SELECT event_key, subscription_id, event_id, at::timestamptz AS at, CASE WHEN $5::bool "                    \
    "THEN '00000000-0000-0000-0000-000000000000' ELSE id END AS id, batch, waiting "                                   \
    "FROM unnest($6::uuid[], $7::uuid[], $8::text[], $9::text[], $10::uuid[], $11::bool[], $12::bool[]) "              \
    "x(event_key, subscription_id, event_id, at, id, batch, waiting)) u), "                                            \
    "live AS MATERIALIZED (SELECT k.* FROM k WHERE (NOT $4::bool OR " KEY_LATER_ROW "IS NULL) "                        \
    "AND (NOT $5::bool OR (SELECT " ONE_LATER_ROW "FROM (SELECT k.row_key::text AS event_id, k.row_key AS "            \
    "event_key, k.subscription_id, k.at, k.id) o) IS NULL))"

static void live_params(struct params *params, const struct job *job, struct key_columns *columns) {
    bool recover = job->kind == JOB_RECOVER;
    params_text(params, job->workspace_id);
    params_text(params, recover ? SPAN_LITERAL("recover") : SPAN_LITERAL("replay"));
    params_uuid(params, recover ? &job->subscription_id : &job->id);
    params_bool(params, recover);
    params_bool(params, job->position.source == SOURCE_SKIPPED);
    params_array(params, &columns->event_keys);
    params_array(params, &columns->subscriptions);
    params_array(params, &columns->event_ids);
    params_array(params, &columns->ats);
    params_array(params, &columns->ids);
    params_array(params, &columns->batches);
    params_array(params, &columns->waiting);
}

enum status resend_count(struct connection *connection, const struct job *job, const struct resend_page *page,
                         int64_t *ret_count, struct error *error) {
    static const struct statement COUNT = {LIVE " SELECT count(*) FROM live"};
    if (page->count == 0) {
        *ret_count = 0;
        return STATUS_OK;
    }
    struct key_columns columns;
    struct params params;
    struct result *rows = NULL;
    columns_init(&columns, page);
    params_init(&params);
    live_params(&params, job, &columns);
    enum status status = connection_run(connection, &COUNT, &params, &rows, error);
    if (status == STATUS_OK)
        *ret_count = result_int(rows, 0, 0);
    result_free(&rows);
    params_deinit(&params);
    columns_deinit(&columns);
    return status;
}

enum status resend_is_full(struct connection *connection, const struct job *job, const struct resend_page *page,
                           bool *ret_full, struct error *error) {
    static const struct statement FULL = {
        "SELECT coalesce(bool_or(x.n >= $3::int8 OR x.bytes >= $4::int8), false) "
        "FROM (SELECT DISTINCT s FROM unnest($2::uuid[]) u(s)) k CROSS JOIN LATERAL (SELECT count(*) AS n, "
        "coalesce(sum(r.bytes), 0) AS bytes FROM (SELECT s.due_at, octet_length(s.body) AS bytes FROM schedule s "
        "WHERE s.workspace_id = $1::text AND s.subscription_id = k.s LIMIT $5::int4) r WHERE r.due_at <= now()) x"};
    if (page->count == 0) {
        *ret_full = false;
        return STATUS_OK;
    }
    struct key_columns columns;
    struct params params;
    struct result *rows = NULL;
    columns_init(&columns, page);
    params_init(&params);
    params_text(&params, job->workspace_id);
    params_array(&params, &columns.subscriptions);
    params_int8(&params, RESEND_DUE_ROWS);
    params_int8(&params, RESEND_DUE_BYTES);
    params_int4(&params, DUE_LOOKED_AT);
    enum status status = connection_run(connection, &FULL, &params, &rows, error);
    if (status == STATUS_OK)
        *ret_full = result_bool(rows, 0, 0);
    result_free(&rows);
    params_deinit(&params);
    columns_deinit(&columns);
    return status;
}

/* An event, by its key, as long as its payload is kept. */
#define EVENT_OF(key)                                                                                                  \
    "CROSS JOIN LATERAL (SELECT * FROM events v WHERE v.workspace_id = $1 AND v.event_key >= " key                     \
    " AND v.event_key <= " key " AND octet_length(v.body) > 0 ORDER BY v.event_key LIMIT 1) e "
#define EVENT_OF_KEY EVENT_OF("l.event_key")
#define EVENT_OF_MEMBER EVENT_OF("u.k")

#define RECORD_OF_EVENT "batch_record(e.topic, e.part, e.record_offset, e.record_time, e.record_key, e.headers, e.body)"

#define LIVE_AND_ACTIVE                                                                                                \
    "FROM live l CROSS JOIN LATERAL (SELECT * FROM subscriptions x WHERE x.workspace_id = $1 "                         \
    "AND x.id = l.subscription_id AND x.status = 'active' LIMIT 1) a "

/* A batch's own row says nothing of Kafka: its members do. */
#define EVENTS                                                                                                         \
    "SELECT l.subscription_id, l.row_key, CASE WHEN o.one THEN l.row_key ELSE l.event_key END AS event_key, "          \
    "CASE WHEN o.one THEN 1 ELSE 0 END AS kind, a.activation, CASE WHEN o.one THEN ARRAY[l.event_key] END AS "         \
    "members, CASE WHEN o.one THEN '' ELSE e.topic END AS topic, CASE WHEN o.one THEN 0 ELSE e.part END AS part, "     \
    "CASE WHEN o.one THEN 0 ELSE e.record_offset END AS record_offset, e.record_time, "                                \
    "CASE WHEN NOT o.one THEN e.record_key END AS record_key, CASE WHEN o.one THEN '{}' ELSE e.headers END AS "        \
    "headers, CASE WHEN o.one THEN " RECORD_OF_EVENT " ELSE e.body END AS body " LIVE_AND_ACTIVE                       \
    "CROSS JOIN LATERAL (SELECT $5 AND a.delivery_mode = 'batched' AS one) o " EVENT_OF_KEY                            \
    "WHERE NOT l.batch AND NOT l.waiting"

/* A batch of which a member is gone is not sent: its id stands for all of them. */
#define BATCHES                                                                                                        \
    "SELECT l.subscription_id, l.row_key, l.event_key, 1, a.activation, NULL, '', 0, 0, now(), NULL, '{}', "           \
    "m.body " LIVE_AND_ACTIVE                                                                                          \
    "CROSS JOIN LATERAL (SELECT b.event_keys FROM batches b WHERE b.workspace_id = $1 AND b.id = l.event_key "         \
    "LIMIT 1) b CROSS JOIN LATERAL (SELECT count(*) AS n, string_agg(" RECORD_OF_EVENT ", '' ORDER BY u.n) AS body "   \
    "FROM unnest(b.event_keys) WITH ORDINALITY u(k, n) " EVENT_OF_MEMBER ") m "                                        \
    "WHERE l.batch AND NOT l.waiting AND m.n = cardinality(b.event_keys)"

/* Sorted by key, as everybody locks (rule P9). */
#define MAKE_ROWS                                                                                                      \
    "INSERT INTO schedule (workspace_id, subscription_id, row_key, event_key, bucket, kind, replay, attempt, "         \
    "activation, due_at, topic, part, record_offset, record_time, record_key, headers, body) "                         \
    "SELECT $1, s.subscription_id, s.row_key, s.event_key, schedule_bucket($1, s.subscription_id), s.kind, true, 1, "  \
    "s.activation, clock_timestamp(), s.topic, s.part, s.record_offset, s.record_time, s.record_key, s.headers, "      \
    "s.body FROM source s ORDER BY s.subscription_id, s.row_key "                                                      \
    "ON CONFLICT (workspace_id, subscription_id, row_key) DO NOTHING RETURNING subscription_id, row_key"

/* $13: created_at. */
#define MAKE_BATCHES                                                                                                   \
    "INSERT INTO batches (created_at, id, workspace_id, subscription_id, event_keys) "                                 \
    "SELECT $13::timestamptz, s.row_key, $1, s.subscription_id, s.members "                                            \
    "FROM source s JOIN made m USING (subscription_id, row_key) WHERE s.members IS NOT NULL"

static const struct statement MAKE = {
    LIVE ", source AS MATERIALIZED (" EVENTS " UNION ALL " BATCHES "), made AS (" MAKE_ROWS "), ones AS (" MAKE_BATCHES
         ") SELECT (SELECT count(*) FROM live), "
         "(SELECT count(*) FROM live WHERE NOT waiting) - (SELECT count(*) FROM source), (SELECT count(*) FROM made)"};

enum status resend_make(struct connection *connection, const struct job *job, const struct resend_page *page,
                        struct resend_made *ret_made, struct error *error) {
    struct partition_bounds days = {0};
    enum status status = STATUS_OK;
    if (page->count == 0) {
        *ret_made = (struct resend_made){0};
        return STATUS_OK;
    }
    if (job->position.source == SOURCE_SKIPPED)
        status = partitions_read_bounds(connection, &days, error);
    if (status != STATUS_OK)
        return status;
    struct key_columns columns;
    struct params params;
    struct result *rows = NULL;
    columns_init(&columns, page);
    params_init(&params);
    live_params(&params, job, &columns);
    params_timestamp(&params, partitions_clamp(&days, days.now_ms));
    status = connection_run(connection, &MAKE, &params, &rows, error);
    if (status == STATUS_OK) {
        int64_t failed = result_int(rows, 0, 1);
        *ret_made = (struct resend_made){result_int(rows, 0, 0) - failed, failed, result_int(rows, 0, 2)};
    }
    result_free(&rows);
    params_deinit(&params);
    columns_deinit(&columns);
    return status;
}
