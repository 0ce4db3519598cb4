/* What is due, and whose it becomes. Looking and claiming are two steps, because only the process knows which endpoints
 * have room: the look locks nothing, and the claim judges each row again under its lock. */
#include "base/memory.h"
#include "store/schedule_private.h"
#include <stdlib.h>

#define PLACE_MAX_BYTES 24
#define END_OF_TIME_MS 253402300799000LL /* the year 9999 */

/* Of a look's result. */
enum { COLUMN_STRETCH = 0, COLUMN_PLACE = 4, COLUMN_BYTES = 6, COLUMN_DUE_AT = 8, COLUMN_PASSED = 9 };

static int by_key(const void *a, const void *b) {
    return schedule_key_compare(&(*(const struct schedule_due *const *)a)->key,
                                &(*(const struct schedule_due *const *)b)->key);
}

/* Rows that a look found, as the first four parameters of a statement, in the order in which rows are locked. The place
 * spares the server the way through the primary key; the key says whether another row lies there by now. */
struct found_arrays {
    struct param_array places, subscriptions, rows, numbers;
};

static void found_init(struct found_arrays *arrays, const struct schedule_due *found, size_t count,
                       struct params *params) {
    const struct schedule_due **sorted = mem_calloc(count + 1, sizeof(struct schedule_due *));
    for (size_t i = 0; i < count; i++)
        sorted[i] = &found[i];
    qsort(sorted, count, sizeof(struct schedule_due *), by_key);
    array_init(&arrays->places, PARAM_TEXT, (count + 1) * (PLACE_MAX_BYTES + 4));
    array_init(&arrays->subscriptions, PARAM_UUID, (count + 1) * 20);
    array_init(&arrays->rows, PARAM_UUID, (count + 1) * 20);
    array_init(&arrays->numbers, PARAM_INT4, (count + 1) * 8);
    for (size_t i = 0; i < count; i++) {
        array_text(&arrays->places, sorted[i]->place);
        array_uuid(&arrays->subscriptions, &sorted[i]->key.subscription_id);
        array_uuid(&arrays->rows, &sorted[i]->key.row_key);
        array_int4(&arrays->numbers, (int32_t)(sorted[i] - found));
    }
    mem_free(sorted);
    params_init(params);
    params_array(params, &arrays->places);
    params_array(params, &arrays->subscriptions);
    params_array(params, &arrays->rows);
    params_array(params, &arrays->numbers);
}

static void found_deinit(struct found_arrays *arrays) {
    array_deinit(&arrays->places);
    array_deinit(&arrays->subscriptions);
    array_deinit(&arrays->rows);
    array_deinit(&arrays->numbers);
}

#define FOUND_ROWS                                                                                                     \
    "unnest($1::text[]::tid[], $2::uuid[], $3::uuid[], $4::int4[]) k(place, s, k, n) JOIN schedule s "                 \
    "ON s.ctid = k.place AND s.subscription_id = k.s AND s.row_key = k.k WHERE NOT s.held AND s.kind <> 2 "            \
    "AND s.due_at <= now() AND (s.lease_until IS NULL OR s.lease_until < now()) FOR UPDATE OF s SKIP LOCKED"

enum status schedule_session(struct connection *connection, struct error *error) {
    /* A plan that was made while the table was empty, and kept, would go through all of it for each key; so plans are
     * made at each call. Reading all of the table is never right here, nor is sorting what an index has in order. */
    return connection_exec(connection,
                           "SET plan_cache_mode = force_custom_plan; SET enable_seqscan = off; SET enable_bitmapscan = "
                           "off; SET enable_hashjoin = off; "
                           "SET enable_mergejoin = off; SET enable_sort = off; SET lock_timeout = '1s'; "
                           "SET idle_in_transaction_session_timeout = '3s'",
                           error);
}

void schedule_row_read(const struct result *rows, int row, struct schedule_row *ret_row) {
    *ret_row = (struct schedule_row){
        .key = {result_text(rows, row, 0), result_uuid(rows, row, 1), result_uuid(rows, row, 2)},
        .event_key = result_uuid(rows, row, 3),
        .fence = (int32_t)result_int(rows, row, 4),
        .attempt = (int)result_int(rows, row, 5),
        .activation = result_int(rows, row, 6),
        .due_at_ms = result_timestamp(rows, row, 7),
        .lateness_ms = result_int(rows, row, 8),
        .record =
            {
                .topic = result_text(rows, row, 9),
                .partition = (int32_t)result_int(rows, row, 10),
                .offset = result_int(rows, row, 11),
                .timestamp_ms = result_timestamp(rows, row, 12),
                .key = result_text(rows, row, 13),
                .value = result_text(rows, row, 15),
            },
        .headers = result_text(rows, row, 14),
        .kind = (enum schedule_kind)result_int(rows, row, 16),
        .replay = result_bool(rows, row, 17),
    };
}

/* ---- looking ---- */

#define LOOK_ARRAYS 8

static void look_params(const struct schedule_look *look, struct param_array arrays[LOOK_ARRAYS],
                        struct params *params) {
    static const enum param_type TYPES[LOOK_ARRAYS] = {PARAM_INT2, PARAM_BOOL, PARAM_TIMESTAMP, PARAM_TIMESTAMP,
                                                       PARAM_INT4, PARAM_UUID, PARAM_UUID,      PARAM_UUID};
    struct uuid last_of_all;
    memset(last_of_all.bytes, 0xff, sizeof(last_of_all.bytes));
    for (size_t i = 0; i < LOOK_ARRAYS; i++)
        array_init(&arrays[i], TYPES[i], (look->stretch_count + look->passed_count + 1) * 20);
    for (size_t i = 0; i < look->stretch_count; i++) {
        const struct schedule_stretch *stretch = &look->stretches[i];
        array_int2(&arrays[0], (int16_t)stretch->bucket);
        array_bool(&arrays[1], stretch->pass);
        array_timestamp(&arrays[2], stretch->from_ms);
        array_timestamp(&arrays[3], stretch->to_ms < END_OF_TIME_MS ? stretch->to_ms : END_OF_TIME_MS);
        array_int4(&arrays[4], stretch->limit);
        array_uuid(&arrays[5], &stretch->first_id);
        array_uuid(&arrays[6], uuid_is_nil(&stretch->last_id) ? &last_of_all : &stretch->last_id);
    }
    for (size_t i = 0; i < look->passed_count; i++)
        array_uuid(&arrays[7], &look->passed[i]);
    params_init(params);
    for (size_t i = 0; i < LOOK_ARRAYS; i++)
        params_array(params, &arrays[i]);
    params_int8(params, look->overdue_ms);
}

/* The rows come first, then one line for each stretch that has any, then one with the time. */
static int read_walked(const struct result *rows, struct schedule_walked *walked, int64_t *ret_now_ms) {
    int count = result_rows(rows) - 1;
    *ret_now_ms = result_timestamp(rows, count, COLUMN_DUE_AT);
    for (; count > 0 && result_is_null(rows, count - 1, COLUMN_PLACE); count--) {
        struct schedule_walked *of = &walked[result_int(rows, count - 1, COLUMN_STRETCH) - 1];
        of->rows = (int)result_int(rows, count - 1, COLUMN_BYTES);
        of->last_ms = result_timestamp(rows, count - 1, COLUMN_DUE_AT);
        if (!result_is_null(rows, count - 1, COLUMN_PASSED))
            of->passed_ms = result_timestamp(rows, count - 1, COLUMN_PASSED);
    }
    return count;
}

enum status schedule_look(struct connection *connection, const struct schedule_look *look,
                          struct schedule_walked *walked, int64_t *ret_now_ms, struct result **ret_rows, int *ret_count,
                          struct error *error) {
    /* A row is fetched once: what is told of it is read as it is walked over. */
    static const struct statement LOOK = {
        "WITH w AS MATERIALIZED (SELECT b.n, r.* "
        "FROM unnest($1::int2[], $2::bool[], $3::timestamptz[], $4::timestamptz[], $5::int4[], $6::uuid[], $7::uuid[]) "
        "WITH ORDINALITY b(bucket, pass, lower, upper, most, first_id, last_id, n) "
        "CROSS JOIN LATERAL (SELECT s.ctid AS place, s.due_at, b.pass AND s.subscription_id = ANY($8::uuid[]) AS "
        "passed, s.workspace_id, s.subscription_id, s.row_key, s.activation, octet_length(s.body) AS bytes, s.kind "
        "FROM schedule s WHERE s.bucket = b.bucket AND NOT s.held AND s.due_at >= b.lower AND s.due_at < b.upper "
        "AND s.subscription_id >= b.first_id AND s.subscription_id <= b.last_id "
        "AND s.due_at <= now() - $9::int8 * interval '1 ms' AND (s.lease_until IS NULL OR s.lease_until < now()) "
        "ORDER BY s.due_at LIMIT b.most) r) "
        "SELECT n, workspace_id, subscription_id, row_key, place::text, activation, bytes::int8, kind, due_at, "
        "NULL::timestamptz FROM w WHERE NOT passed "
        "UNION ALL SELECT n, NULL, NULL, NULL, NULL, NULL, count(*), NULL, max(due_at), "
        "min(due_at) FILTER (WHERE passed) FROM w GROUP BY n "
        "UNION ALL SELECT 0, NULL, NULL, NULL, NULL, NULL, 0, NULL, now(), NULL"};
    struct param_array arrays[LOOK_ARRAYS];
    struct params params;
    look_params(look, arrays, &params);
    enum status status = connection_run(connection, &LOOK, &params, ret_rows, error);
    params_deinit(&params);
    for (size_t i = 0; i < LOOK_ARRAYS; i++)
        array_deinit(&arrays[i]);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < look->stretch_count; i++)
        walked[i] = (struct schedule_walked){0, 0, INT64_MAX};
    *ret_count = read_walked(*ret_rows, walked, ret_now_ms);
    return STATUS_OK;
}

void schedule_due_read(const struct result *rows, int row, struct schedule_due *ret_due) {
    *ret_due = (struct schedule_due){
        .stretch = (size_t)result_int(rows, row, COLUMN_STRETCH) - 1,
        .key = {result_text(rows, row, 1), result_uuid(rows, row, 2), result_uuid(rows, row, 3)},
        .place = result_text(rows, row, COLUMN_PLACE),
        .activation = result_int(rows, row, 5),
        .body_bytes = result_int(rows, row, COLUMN_BYTES),
        .kind = (enum schedule_kind)result_int(rows, row, 7),
        .due_at_ms = result_timestamp(rows, row, COLUMN_DUE_AT),
    };
}

/* ---- claiming ---- */

enum status schedule_claim(struct connection *connection, const struct schedule_due *chosen, size_t count,
                           int64_t lease_ms, struct result **ret_rows, struct error *error) {
    static const struct statement CLAIM = {
        "WITH mine AS MATERIALIZED (SELECT s.ctid AS place, k.n FROM " FOUND_ROWS ") "
        "UPDATE schedule s SET lease_until = clock_timestamp() + $5::int8 * interval '1 ms', fence = s.fence + 1 "
        "FROM mine m WHERE s.ctid = m.place RETURNING " SCHEDULE_ROW_COLUMNS ", m.n"};
    struct found_arrays arrays;
    struct params params;
    found_init(&arrays, chosen, count, &params);
    params_int8(&params, lease_ms);
    enum status status = connection_run(connection, &CLAIM, &params, ret_rows, error);
    params_deinit(&params);
    found_deinit(&arrays);
    return status;
}

size_t schedule_claimed_number(const struct result *rows, int row) {
    return (size_t)result_int(rows, row, SCHEDULE_ROW_COLUMN_COUNT);
}

enum status schedule_claim_endpoint(struct connection *connection, const struct schedule_key *endpoint,
                                    int64_t activation, int max, int64_t max_bytes, int64_t lease_ms,
                                    struct result **ret_rows, struct error *error) {
    static const struct statement CLAIM = {
        "WITH free AS MATERIALIZED (SELECT ctid AS place, row_key, octet_length(body) AS bytes "
        "FROM schedule WHERE workspace_id = $1 AND subscription_id = $2 AND row_key >= $7::uuid "
        "AND activation <= $6::int8 "
        "AND kind <> 2 AND NOT (kind = 1 AND octet_length(body) = 0) "
        "AND (lease_until IS NULL OR lease_until < now()) ORDER BY row_key LIMIT $3::int4 FOR UPDATE "
        "SKIP LOCKED), "
        "mine AS (SELECT *, sum(bytes) OVER (ORDER BY row_key) AS total FROM free) "
        "UPDATE schedule s SET lease_until = clock_timestamp() + $5::int8 * interval '1 ms', fence = s.fence + 1 "
        "FROM mine m WHERE s.ctid = m.place AND m.total - m.bytes < $4::int8 RETURNING " SCHEDULE_ROW_COLUMNS};
    struct params params;
    params_init(&params);
    params_text(&params, endpoint->workspace_id);
    params_uuid(&params, &endpoint->subscription_id);
    params_int4(&params, max);
    params_int8(&params, max_bytes);
    params_int8(&params, lease_ms);
    params_int8(&params, activation);
    params_uuid(&params, &endpoint->row_key);
    enum status status = connection_run(connection, &CLAIM, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

/* ---- marking held ---- */

static enum status upsert_holds(struct connection *connection, const struct uuid *process,
                                const struct schedule_due *rows, size_t count, int64_t lease_ms,
                                struct result **ret_holds, struct error *error) {
    static const struct statement HOLD = {
        "INSERT INTO holds AS h (workspace_id, subscription_id, owner, lease_until) "
        "SELECT w, s, $3::uuid, clock_timestamp() + $4::int8 * interval '1 ms' "
        "FROM unnest($1::text[], $2::uuid[]) k(w, s) ON CONFLICT (workspace_id, subscription_id) DO UPDATE SET "
        "owner = CASE WHEN h.lease_until >= now() THEN h.owner ELSE excluded.owner END, "
        "lease_until = CASE WHEN h.lease_until >= now() THEN h.lease_until ELSE excluded.lease_until END "
        "RETURNING workspace_id, subscription_id, owner = $3::uuid, false"};
    struct key_arrays arrays;
    struct params params;
    struct schedule_key *keys = mem_calloc(count + 1, sizeof(*keys));
    for (size_t i = 0; i < count; i++)
        keys[i] = rows[i].key;
    key_arrays_init(&arrays, count);
    params_init(&params);
    key_arrays_add_endpoints(&arrays, keys, count);
    mem_free(keys);
    key_arrays_params(&arrays, false, &params);
    params_uuid(&params, process);
    params_int8(&params, lease_ms);
    enum status status = connection_run(connection, &HOLD, &params, ret_holds, error);
    params_deinit(&params);
    key_arrays_deinit(&arrays);
    return status;
}

static enum status mark(struct connection *connection, const struct schedule_due *rows, size_t count,
                        int64_t *ret_marked, struct error *error) {
    static const struct statement MARK = {
        "WITH free AS MATERIALIZED (SELECT s.ctid AS place FROM " FOUND_ROWS ") "
        "UPDATE schedule s SET held = true, lease_until = NULL FROM free f WHERE s.ctid = f.place"};
    struct found_arrays arrays;
    struct params params;
    struct result *result = NULL;
    found_init(&arrays, rows, count, &params);
    enum status status = connection_run(connection, &MARK, &params, &result, error);
    if (status == STATUS_OK)
        *ret_marked = result_affected(result);
    result_free(&result);
    params_deinit(&params);
    found_deinit(&arrays);
    return status;
}

enum status schedule_mark_held(struct connection *connection, const struct uuid *process,
                               const struct schedule_due *rows, size_t count, int64_t lease_ms, int64_t *ret_marked,
                               struct result **ret_holds, struct error *error) {
    struct result *holds = NULL;
    int64_t marked = 0;
    enum status status = connection_exec(connection, "BEGIN", error);
    if (status == STATUS_OK)
        status = upsert_holds(connection, process, rows, count, lease_ms, &holds, error);
    if (status == STATUS_OK)
        status = mark(connection, rows, count, &marked, error);
    status = schedule_end_transaction(connection, status, error);
    if (status != STATUS_OK) {
        result_free(&holds);
        return status;
    }
    *ret_marked = marked;
    *ret_holds = holds;
    return STATUS_OK;
}

enum status schedule_end_transaction(struct connection *connection, enum status status, struct error *error) {
    if (status == STATUS_OK)
        return connection_exec(connection, "COMMIT", error);
    struct error ignored;
    if (status != STATUS_UNAVAILABLE && connection_exec(connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(connection);
    return status;
}

/* ---- whose rows ---- */

enum status schedule_endpoints(struct connection *connection, const struct schedule_key *after, int limit,
                               struct result **ret_endpoints, struct error *error) {
    /* From one endpoint to the next by the primary key: what it costs grows with the endpoints, not with the rows. */
    static const struct statement ENDPOINTS = {
        "WITH RECURSIVE e AS ((SELECT workspace_id, subscription_id, row_key FROM schedule "
        "WHERE (workspace_id, subscription_id) > ($1::text, $2::uuid) "
        "ORDER BY workspace_id, subscription_id, row_key LIMIT 1) "
        "UNION ALL SELECT n.workspace_id, n.subscription_id, n.row_key FROM e CROSS JOIN LATERAL "
        "(SELECT s.workspace_id, s.subscription_id, s.row_key FROM schedule s "
        "WHERE (s.workspace_id, s.subscription_id) > (e.workspace_id, e.subscription_id) "
        "ORDER BY s.workspace_id, s.subscription_id, s.row_key LIMIT 1) n) SELECT * FROM e LIMIT $3::int4"};
    struct params params;
    params_init(&params);
    params_text(&params, after->workspace_id.data ? after->workspace_id : SPAN_LITERAL(""));
    params_uuid(&params, after->workspace_id.data ? &after->subscription_id : &UUID_NIL);
    params_int4(&params, limit);
    enum status status = connection_run(connection, &ENDPOINTS, &params, ret_endpoints, error);
    params_deinit(&params);
    return status;
}

void schedule_endpoint_read(const struct result *endpoints, int row, struct schedule_key *ret_endpoint) {
    *ret_endpoint = (struct schedule_key){result_text(endpoints, row, 0), result_uuid(endpoints, row, 1), UUID_NIL};
}

bool schedule_endpoint_gathers(const struct result *endpoints, int row) {
    struct uuid first_key = result_uuid(endpoints, row, 2); /* a closer's is nil, which comes before all others */
    return uuid_is_nil(&first_key);
}

enum status schedule_gone(struct connection *connection, const struct schedule_key *endpoints, size_t count, bool *gone,
                          struct error *error) {
    static const struct statement GONE = {
        "SELECT k.n FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY k(w, s, n) WHERE NOT EXISTS "
        "(SELECT FROM subscriptions x WHERE x.workspace_id = k.w AND x.id = k.s AND x.status <> 'deleted')"};
    struct key_arrays arrays;
    struct params params;
    struct result *result = NULL;
    key_arrays_init(&arrays, count);
    params_init(&params);
    for (size_t i = 0; i < count; i++)
        key_arrays_add(&arrays, &endpoints[i]);
    key_arrays_params(&arrays, false, &params);
    enum status status = connection_run(connection, &GONE, &params, &result, error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        gone[i] = false;
    for (int row = 0; status == STATUS_OK && row < result_rows(result); row++)
        gone[result_int(result, row, 0) - 1] = true;
    result_free(&result);
    params_deinit(&params);
    key_arrays_deinit(&arrays);
    return status;
}

/* ---- metrics ---- */

enum status schedule_stats(struct connection *connection, struct schedule_stats *ret_stats, struct error *error) {
    static const struct statement STATS = {
        "SELECT (SELECT count(*) FROM (SELECT FROM schedule LIMIT $1::int8 + 1) x), "
        "(SELECT count(*) FROM (SELECT FROM schedule WHERE held LIMIT $1::int8 + 1) x), "
        "(SELECT (reltuples * greatest(pg_relation_size(oid) / current_setting('block_size')::int8, 1) "
        "/ greatest(relpages, 1))::int8 FROM pg_class WHERE oid = 'schedule'::regclass), "
        "(SELECT reltuples::int8 FROM pg_class WHERE oid = 'schedule_held'::regclass), "
        "(SELECT coalesce((extract(epoch FROM now() - min(o.due_at)) * 1000)::int8, 0) "
        "FROM generate_series(0, 15) b CROSS JOIN LATERAL (SELECT s.due_at FROM schedule s WHERE s.bucket = b::int2 "
        "AND NOT s.held AND s.due_at <= now() AND (s.lease_until IS NULL OR s.lease_until < now()) "
        "ORDER BY s.due_at LIMIT 1) o)"};
    struct params params;
    struct result *result = NULL;
    params_init(&params);
    params_int8(&params, SCHEDULE_COUNT_MAX);
    enum status status = connection_run(connection, &STATS, &params, &result, error);
    if (status == STATUS_OK) {
        int64_t rows = result_int(result, 0, 0), held = result_int(result, 0, 1);
        int64_t rows_estimate = result_int(result, 0, 2), held_estimate = result_int(result, 0, 3);
        bool many = rows > SCHEDULE_COUNT_MAX, many_held = held > SCHEDULE_COUNT_MAX;
        *ret_stats = (struct schedule_stats){
            .rows = many && rows_estimate > rows ? rows_estimate : rows,
            .held = many_held && held_estimate > held ? held_estimate : held,
            .oldest_due_ms = result_int(result, 0, 4),
        };
    }
    result_free(&result);
    params_deinit(&params);
    return status;
}
