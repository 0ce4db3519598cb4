/* All that closing does happens in the server: the members' records go from their rows into the batch's without ever
 * travelling. Three statements, each with a snapshot of its own: locking, taking, settling what is left. */
#include "store/batches.h"
#include "base/clock.h"
#include "base/memory.h"
#include "store/schedule_private.h"
#include "webhook/batch.h"
#include <stdlib.h>

/* ---- for a flush ---- */

void batches_member_row(struct buffer *rows, const struct schedule_key *endpoint, const struct event *event,
                        int64_t activation, int64_t arrived_at_ms, struct buffer *scratch) {
    buffer_reset(scratch);
    batch_add_record(event, scratch);
    wire_copy_row(rows, 10);
    wire_text(rows, endpoint->workspace_id);
    wire_uuid(rows, &endpoint->subscription_id);
    wire_uuid(rows, &event->key);
    wire_int8(rows, activation);
    wire_timestamp(rows, arrived_at_ms);
    wire_text(rows, event->topic);
    wire_int4(rows, event->partition);
    wire_int8(rows, event->offset);
    wire_int4(rows, (int32_t)event->value.len);
    wire_text(rows, buffer_view(scratch));
}

void batches_row(struct buffer *rows, int64_t created_at_ms, const struct uuid *subscription_id,
                 const struct event *batch) {
    struct uuid *keys = mem_calloc(batch->member_count, sizeof(*keys));
    for (size_t i = 0; i < batch->member_count; i++)
        keys[i] = batch->members[i]->key;
    wire_copy_row(rows, 5);
    wire_timestamp(rows, created_at_ms);
    wire_uuid(rows, &batch->key);
    wire_text(rows, batch->workspace_id);
    wire_uuid(rows, subscription_id);
    wire_uuid_array(rows, keys, batch->member_count);
    mem_free(keys);
}

static enum status copy(struct connection *connection, const char *sql, struct span rows, struct error *error) {
    int64_t copied;
    return rows.len == 0 ? STATUS_OK : connection_copy(connection, sql, rows, &copied, error);
}

enum status batches_next_seq(struct connection *connection, int64_t *ret_seq, struct error *error) {
    static const struct statement NEXT = {"SELECT last_value + is_called::int FROM batch_members_seq_seq"};
    struct result *result = NULL;
    enum status status = connection_run(connection, &NEXT, NULL, &result, error);
    if (status == STATUS_OK)
        *ret_seq = result_int(result, 0, 0);
    result_free(&result);
    return status;
}

enum status batches_copy_members(struct connection *connection, struct span rows, struct error *error) {
    return copy(connection,
                "COPY batch_members (workspace_id, subscription_id, event_key, activation, arrived_at, topic, part, "
                "record_offset, bytes, record) FROM STDIN (FORMAT binary)",
                rows, error);
}

enum status batches_copy(struct connection *connection, struct span rows, struct error *error) {
    return copy(connection,
                "COPY batches (created_at, id, workspace_id, subscription_id, event_keys) FROM STDIN (FORMAT binary)",
                rows, error);
}

enum status batches_halve(struct connection *connection, struct span workspace_id, const struct uuid *subscription_id,
                          int64_t version, struct error *error) {
    static const struct statement HALVE = {
        "UPDATE subscriptions SET batch_max_bytes = greatest(coalesce(batch_max_bytes, $4::int4) / 2, $5::int4) "
        "WHERE workspace_id = $1 AND id = $2 AND version = $3::int8 "
        "AND coalesce(batch_max_bytes, $4::int4) > $5::int4"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, subscription_id);
    params_int8(&params, version);
    params_int4(&params, SUBSCRIPTION_BATCH_BYTES);
    params_int4(&params, SUBSCRIPTION_MIN_BATCH_BYTES);
    enum status status = connection_run(connection, &HALVE, &params, NULL, error);
    params_deinit(&params);
    return status;
}

/* ---- bare rows ---- */

/* An event and the batch that was made of it are written by one transaction, hence of one time: only one day is looked
 * through. An event that was erased has nothing any more. */
#define FILL                                                                                                           \
    "UPDATE schedule s SET body = coalesce((SELECT string_agg(batch_record(e.topic, e.part, e.record_offset, "         \
    "e.record_time, e.record_key, e.headers, e.body), ''::bytea ORDER BY u.n) FROM (SELECT created_at, event_keys "    \
    "FROM batches WHERE workspace_id = s.workspace_id AND id = s.event_key LIMIT 1) b "                                \
    "CROSS JOIN LATERAL unnest(b.event_keys) WITH ORDINALITY u(k, n) CROSS JOIN LATERAL (SELECT * FROM events v "      \
    "WHERE v.workspace_id = s.workspace_id AND v.event_key = u.k AND v.created_at = b.created_at "                     \
    "AND (octet_length(v.body) > 0 OR v.headers <> '{}') LIMIT 1) e), '\\x00') "
#define BARE "s.kind = 1 AND octet_length(s.body) = 0"

enum status batches_fill(struct connection *connection, const struct schedule_due *rows, size_t count,
                         struct error *error) {
    static const struct statement FILL_ROWS = {
        FILL "FROM unnest($1::text[], $2::uuid[], $3::uuid[]) k(w, s, k) WHERE s.workspace_id = k.w "
             "AND s.subscription_id = k.s AND s.row_key = k.k AND " BARE};
    struct schedule_key *keys = mem_calloc(count + 1, sizeof(*keys));
    struct key_arrays arrays;
    struct params params;
    for (size_t i = 0; i < count; i++)
        keys[i] = rows[i].key;
    schedule_keys_sort(keys, count);
    key_arrays_init(&arrays, count);
    for (size_t i = 0; i < count; i++)
        key_arrays_add(&arrays, &keys[i]);
    params_init(&params);
    key_arrays_params(&arrays, true, &params);
    enum status status = connection_run(connection, &FILL_ROWS, &params, NULL, error);
    params_deinit(&params);
    key_arrays_deinit(&arrays);
    mem_free(keys);
    return status;
}

enum status batches_fill_event(struct connection *connection, struct span workspace_id, const struct uuid *event_key,
                               struct error *error) {
    static const struct statement FILL_EVENT = {FILL "WHERE s.workspace_id = $1 AND " BARE
                                                     " AND EXISTS (SELECT FROM batches b WHERE b.workspace_id = $1 "
                                                     "AND b.id = s.event_key AND $2 = ANY (b.event_keys))"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, event_key);
    enum status status = connection_run(connection, &FILL_EVENT, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status batches_fill_forgotten(struct connection *connection, struct error *error) {
    static const struct statement FILL_FORGOTTEN = {
        FILL "FROM generate_series(0, 15) b CROSS JOIN LATERAL (SELECT ctid AS place FROM schedule s "
             "WHERE s.bucket = b::int2 AND NOT s.held AND s.due_at < now() - interval '10 minutes' AND " BARE ") f "
             "WHERE s.ctid = f.place AND " BARE};
    return connection_run(connection, &FILL_FORGOTTEN, NULL, NULL, error);
}

/* ---- closing ---- */

/* What the server is told and tells of each closer; sorted by key. */
struct closing {
    struct batches_closing wanted; /* its key first */
    struct uuid batch;
    int64_t first_seq; /* its members have no smaller one */
    int64_t taken, taken_bytes;
};

#define CLOSING_NUMBERS 7

/* The columns that the three statements need, each as an array. */
struct closing_arrays {
    struct key_arrays keys;
    struct param_array numbers[CLOSING_NUMBERS];
    struct param_array batches, at_once;
};

static void arrays_open(struct closing_arrays *arrays, const struct closing *closings, size_t count) {
    static const enum param_type TYPES[] = {PARAM_INT2, PARAM_INT4, PARAM_INT8, PARAM_INT8,
                                            PARAM_INT8, PARAM_INT8, PARAM_INT8};
    key_arrays_init(&arrays->keys, count);
    for (size_t i = 0; i < CLOSING_NUMBERS; i++)
        array_init(&arrays->numbers[i], TYPES[i], 12 * (count + 2));
    array_init(&arrays->batches, PARAM_UUID, 20 * (count + 2));
    array_init(&arrays->at_once, PARAM_BOOL, 12 * (count + 2));
    for (size_t i = 0; i < count; i++) {
        const struct schedule_key *key = &closings[i].wanted.endpoint;
        key_arrays_add(&arrays->keys, key);
        array_int2(&arrays->numbers[0], (int16_t)subscription_bucket(key->workspace_id, &key->subscription_id));
        array_int4(&arrays->numbers[1], closings[i].wanted.max_events);
        array_int8(&arrays->numbers[2], closings[i].wanted.max_bytes);
        array_int8(&arrays->numbers[3], closings[i].first_seq);
        array_int8(&arrays->numbers[4], closings[i].wanted.wait_ms);
        array_int8(&arrays->numbers[5], closings[i].taken);
        array_int8(&arrays->numbers[6], closings[i].taken_bytes);
        array_uuid(&arrays->batches, &closings[i].batch);
        array_bool(&arrays->at_once, closings[i].wanted.at_once);
    }
}

static void arrays_close(struct closing_arrays *arrays) {
    key_arrays_deinit(&arrays->keys);
    for (size_t i = 0; i < CLOSING_NUMBERS; i++)
        array_deinit(&arrays->numbers[i]);
    array_deinit(&arrays->batches);
    array_deinit(&arrays->at_once);
}

#define NIL "'00000000-0000-0000-0000-000000000000'"

/* Keeps those of the closings, in their order, whose closers are locked now. */
static enum status lock(struct connection *connection, struct closing *closings, size_t *count, struct error *error) {
    static const struct statement LOCK = {
        "SELECT k.n, s.record_offset FROM unnest($1::text[], $2::uuid[], $3::bool[]) "
        "WITH ORDINALITY k(w, s, at_once, n) JOIN schedule s ON s.workspace_id = k.w AND s.subscription_id = k.s AND "
        "s.row_key = " NIL
        " WHERE s.kind = 2 AND (k.at_once OR s.due_at <= clock_timestamp()) FOR UPDATE OF s SKIP LOCKED"};
    struct closing_arrays arrays;
    struct params params;
    struct result *result = NULL;
    bool locked[BATCHES_CLOSE_MAX] = {false};
    arrays_open(&arrays, closings, *count);
    params_init(&params);
    key_arrays_params(&arrays.keys, false, &params);
    params_array(&params, &arrays.at_once);
    enum status status = connection_run(connection, &LOCK, &params, &result, error);
    if (status == STATUS_OK) {
        size_t kept = 0;
        for (int row = 0; row < result_rows(result); row++) {
            size_t place = (size_t)result_int(result, row, 0) - 1;
            locked[place] = true;
            closings[place].first_seq = result_int(result, row, 1);
        }
        for (size_t i = 0; i < *count; i++)
            if (locked[i])
                closings[kept++] = closings[i];
        *count = kept;
    }
    result_free(&result);
    params_deinit(&params);
    arrays_close(&arrays);
    return status;
}

/* Moves the first members into one row each, as many as are within the limits, and one in any case. */
static enum status take(struct connection *connection, struct closing *closings, size_t count,
                        const struct partition_bounds *bounds, int *ret_made, struct error *error) {
    static const struct statement TAKE = {
        "WITH c AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::uuid[], $3::int2[], $4::int4[], $5::int8[], "
        "$6::int8[], $7::uuid[]) WITH ORDINALITY c(w, s, bucket, max_events, max_bytes, first_seq, batch, n)), "
        "first AS MATERIALIZED (SELECT c.w, c.s, c.n, p.seq FROM c CROSS JOIN LATERAL (SELECT x.seq, "
        "row_number() OVER (ORDER BY x.seq) AS place, sum(x.bytes) OVER (ORDER BY x.seq) AS total "
        "FROM (SELECT m.seq, m.bytes FROM batch_members m WHERE m.workspace_id = c.w AND m.subscription_id = c.s "
        "AND m.seq >= c.first_seq AND m.activation = (SELECT o.activation FROM batch_members o "
        "WHERE o.workspace_id = c.w AND o.subscription_id = c.s AND o.seq >= c.first_seq ORDER BY o.seq LIMIT 1) "
        "ORDER BY m.seq LIMIT c.max_events) x) p "
        "WHERE p.place = 1 OR p.total <= c.max_bytes), "
        "taken AS (DELETE FROM batch_members m USING first f WHERE m.workspace_id = f.w AND m.subscription_id = f.s "
        "AND m.seq = f.seq RETURNING f.n, m.*), "
        "made AS MATERIALIZED (SELECT t.n, count(*) AS members, sum(t.bytes)::int8 AS bytes, "
        "min(t.activation) AS activation, "
        "string_agg(t.record, ''::bytea ORDER BY t.topic COLLATE \"C\", t.part, t.record_offset) AS body, "
        "array_agg(t.event_key ORDER BY t.topic COLLATE \"C\", t.part, t.record_offset) AS keys "
        "FROM taken t GROUP BY t.n), "
        "rows AS (INSERT INTO schedule (workspace_id, subscription_id, row_key, kind, event_key, bucket, attempt, "
        "activation, due_at, topic, part, record_offset, record_time, headers, body) SELECT c.w, c.s, c.batch, 1, "
        "c.batch, c.bucket, 1, m.activation, clock_timestamp(), '', 0, 0, clock_timestamp(), '{}', m.body "
        "FROM made m JOIN c ON c.n = m.n), "
        "noted AS (INSERT INTO batches (created_at, id, workspace_id, subscription_id, event_keys) "
        "SELECT greatest($8::timestamptz, least(clock_timestamp(), $9::timestamptz)), c.batch, c.w, c.s, m.keys "
        "FROM made m JOIN c ON c.n = m.n) SELECT n, members, bytes FROM made"};
    struct closing_arrays arrays;
    struct params params;
    struct result *result = NULL;
    arrays_open(&arrays, closings, count);
    params_init(&params);
    key_arrays_params(&arrays.keys, false, &params);
    for (size_t i = 0; i < 4; i++)
        params_array(&params, &arrays.numbers[i]);
    params_array(&params, &arrays.batches);
    params_timestamp(&params, bounds->lower_ms);
    params_timestamp(&params, bounds->upper_ms - 1);
    enum status status = connection_run(connection, &TAKE, &params, &result, error);
    if (status == STATUS_OK)
        *ret_made = result_rows(result);
    for (int row = 0; status == STATUS_OK && row < result_rows(result); row++) {
        struct closing *closing = &closings[result_int(result, row, 0) - 1];
        closing->taken = result_int(result, row, 1);
        closing->taken_bytes = result_int(result, row, 2);
    }
    result_free(&result);
    params_deinit(&params);
    arrays_close(&arrays);
    return status;
}

/* A closer without members goes. Another one is due when the oldest of the members that come next has waited long
 * enough, or now, when they fill a batch; of these no more than a batch's have to be looked at. */
static enum status settle(struct connection *connection, const struct closing *closings, size_t count, bool *ret_more,
                          struct error *error) {
    static const struct statement SETTLE = {
        "WITH c AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::uuid[], $3::int4[], $4::int8[], $5::int8[], "
        "$6::int8[], $7::int8[], $8::int8[], $9::bool[]) "
        "c(w, s, max_events, max_bytes, first_seq, wait, members, bytes, at_once)), "
        "rest AS MATERIALIZED (SELECT c.*, o.oldest, o.activation, o.seq FROM c CROSS JOIN LATERAL "
        "(SELECT min(x.arrived_at) AS oldest, min(x.activation) AS activation, min(x.seq) AS seq "
        "FROM (SELECT m.arrived_at, m.activation, m.seq FROM batch_members m WHERE m.workspace_id = c.w "
        "AND m.subscription_id = c.s AND m.seq >= c.first_seq ORDER BY m.seq LIMIT c.max_events) x) o), "
        "gone AS (DELETE FROM schedule s USING rest r WHERE s.workspace_id = r.w AND s.subscription_id = r.s "
        "AND s.row_key = " NIL " AND r.oldest IS NULL) "
        "UPDATE schedule s SET members = greatest(s.members - r.members, 1), "
        "member_bytes = greatest(s.member_bytes - r.bytes, 0), activation = r.activation, record_offset = r.seq, "
        "attempt = least(r.max_events, 32767), part = least(r.max_bytes, 2147483647), due_at = CASE WHEN r.at_once OR "
        "s.members - r.members >= r.max_events "
        "OR s.member_bytes - r.bytes >= r.max_bytes THEN clock_timestamp() "
        "ELSE r.oldest + r.wait * interval '1 ms' END FROM rest r WHERE s.workspace_id = r.w "
        "AND s.subscription_id = r.s AND s.row_key = " NIL " AND r.oldest IS NOT NULL "
        "RETURNING s.due_at <= clock_timestamp()"};
    struct closing_arrays arrays;
    struct params params;
    struct result *result = NULL;
    arrays_open(&arrays, closings, count);
    params_init(&params);
    key_arrays_params(&arrays.keys, false, &params);
    for (size_t i = 1; i < CLOSING_NUMBERS; i++)
        params_array(&params, &arrays.numbers[i]);
    params_array(&params, &arrays.at_once);
    enum status status = connection_run(connection, &SETTLE, &params, &result, error);
    for (int row = 0; status == STATUS_OK && row < result_rows(result); row++)
        *ret_more = *ret_more || result_bool(result, row, 0);
    result_free(&result);
    params_deinit(&params);
    arrays_close(&arrays);
    return status;
}

static int by_key(const void *a, const void *b) {
    return schedule_key_compare(a, b);
}

enum status batches_close(struct connection *connection, const struct batches_closing *closings, size_t count,
                          const struct partition_bounds *bounds, int *ret_made, bool *ret_more, struct error *error) {
    struct closing kept[BATCHES_CLOSE_MAX];
    int made = 0;
    bool more = false;
    CHECK(count <= BATCHES_CLOSE_MAX);
    for (size_t i = 0; i < count; i++)
        kept[i] = (struct closing){.wanted = closings[i], .batch = uuid_new(clock_wall_ms())};
    qsort(kept, count, sizeof(kept[0]), by_key);
    /* Flushes wait for what is locked here: a process that is frozen in between must not keep it for long. */
    enum status status =
        connection_exec(connection, "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '3s'", error);
    if (status == STATUS_OK)
        status = lock(connection, kept, &count, error);
    if (status == STATUS_OK && count)
        status = take(connection, kept, count, bounds, &made, error);
    if (status == STATUS_OK && count)
        status = settle(connection, kept, count, &more, error);
    status = schedule_end_transaction(connection, status, error);
    if (status == STATUS_OK) {
        *ret_made = made;
        *ret_more = more;
    }
    return status;
}
