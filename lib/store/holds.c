/* Endpoints that are held: each has one row, leased to the process that drains it. Whoever makes a row held upserts
 * this row first, in the same transaction; who ends the hold locks it first and looks for waiting rows afterwards, with
 * a snapshot that is younger than the lock. So a hold never ends under a row that waits for it. */
#include "base/memory.h"
#include "store/schedule_private.h"
#include <stdlib.h>

enum status holds_list(struct connection *connection, const struct uuid *process, struct result **ret_rows,
                       struct error *error) {
    static const struct statement LIST = {
        "SELECT workspace_id, subscription_id, coalesce(owner = $1::uuid AND lease_until >= now(), false), "
        "coalesce(lease_until < now(), true) FROM holds"};
    struct params params;
    params_init(&params);
    params_uuid(&params, process);
    enum status status = connection_run(connection, &LIST, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

void holds_row_read(const struct result *rows, int row, struct holds_row *ret_row) {
    *ret_row = (struct holds_row){
        .workspace_id = result_text(rows, row, 0),
        .subscription_id = result_uuid(rows, row, 1),
        .mine = result_bool(rows, row, 2),
        .expired = result_bool(rows, row, 3),
    };
}

enum status holds_take(struct connection *connection, const struct uuid *process, int max, int64_t lease_ms,
                       struct error *error) {
    static const struct statement TAKE = {
        "WITH own AS MATERIALIZED (SELECT workspace_id, subscription_id FROM holds WHERE owner = $1::uuid "
        "AND lease_until < now() + $3::int8 / 2 * interval '1 ms' AND lease_until >= now() FOR UPDATE SKIP LOCKED), "
        "free AS MATERIALIZED (SELECT workspace_id, subscription_id FROM holds "
        "WHERE lease_until IS NULL OR lease_until < now() LIMIT $2::int4 FOR UPDATE SKIP LOCKED), "
        "taken AS (SELECT * FROM own UNION ALL SELECT * FROM free) "
        "UPDATE holds h SET owner = $1::uuid, lease_until = clock_timestamp() + $3::int8 * interval '1 ms' FROM taken "
        "t "
        "WHERE h.workspace_id = t.workspace_id AND h.subscription_id = t.subscription_id"};
    struct params params;
    params_init(&params);
    params_uuid(&params, process);
    params_int4(&params, max);
    params_int8(&params, lease_ms);
    enum status status = connection_run(connection, &TAKE, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status holds_release_all(struct connection *connection, const struct uuid *process, struct error *error) {
    static const struct statement RELEASE = {
        "WITH mine AS MATERIALIZED (SELECT workspace_id, subscription_id FROM holds WHERE owner = $1::uuid "
        "FOR UPDATE SKIP LOCKED) UPDATE holds h SET owner = NULL, lease_until = NULL FROM mine m "
        "WHERE h.workspace_id = m.workspace_id AND h.subscription_id = m.subscription_id"};
    struct params params;
    params_init(&params);
    params_uuid(&params, process);
    enum status status = connection_run(connection, &RELEASE, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status holds_drain(struct connection *connection, const struct schedule_key *endpoints, const int *slots,
                        const int64_t *from_ms, size_t count, int64_t max_bytes, int64_t lease_ms,
                        struct result **ret_rows, struct error *error) {
    static const struct statement DRAIN = {
        "WITH free AS MATERIALIZED (SELECT r.* FROM unnest($1::text[], $2::uuid[], $3::int4[], $4::timestamptz[]) "
        "a(w, s, slots, lower) CROSS JOIN LATERAL (SELECT s.ctid AS place, s.row_key, s.due_at, "
        "octet_length(s.body) AS bytes "
        "FROM schedule s WHERE s.workspace_id = a.w AND s.subscription_id = a.s AND s.held AND s.due_at >= a.lower "
        "AND (s.lease_until IS NULL OR s.lease_until < now()) ORDER BY s.due_at LIMIT a.slots "
        "FOR UPDATE SKIP LOCKED) r), "
        "mine AS (SELECT *, sum(bytes) OVER (ORDER BY due_at, row_key) AS total FROM free) "
        "UPDATE schedule s SET lease_until = clock_timestamp() + $6::int8 * interval '1 ms', fence = s.fence + 1 "
        "FROM mine m WHERE s.ctid = m.place AND m.total - m.bytes < $5::int8 RETURNING " SCHEDULE_ROW_COLUMNS};
    struct key_arrays arrays;
    struct param_array numbers, times;
    struct params params;
    key_arrays_init(&arrays, count);
    array_init(&numbers, PARAM_INT4, (count + 1) * 8);
    array_init(&times, PARAM_TIMESTAMP, (count + 1) * 12);
    params_init(&params);
    for (size_t i = 0; i < count; i++) {
        key_arrays_add(&arrays, &endpoints[i]);
        array_int4(&numbers, slots[i]);
        array_timestamp(&times, from_ms[i]);
    }
    key_arrays_params(&arrays, false, &params);
    params_array(&params, &numbers);
    params_array(&params, &times);
    params_int8(&params, max_bytes);
    params_int8(&params, lease_ms);
    enum status status = connection_run(connection, &DRAIN, &params, ret_rows, error);
    params_deinit(&params);
    array_deinit(&times);
    array_deinit(&numbers);
    key_arrays_deinit(&arrays);
    return status;
}

/* ---- ending ---- */

/* Locks what of these is ours; what somebody else has locked is about to get another row. places: the index of each
 * locked one. */
static enum status lock_mine(struct connection *connection, const struct uuid *process,
                             const struct schedule_key *endpoints, size_t count, size_t *places, size_t *ret_locked,
                             struct error *error) {
    static const struct statement LOCK = {
        "SELECT k.n FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY k(w, s, n) JOIN holds h "
        "ON h.workspace_id = k.w AND h.subscription_id = k.s WHERE h.owner = $3::uuid AND h.lease_until >= now() "
        "FOR UPDATE OF h SKIP LOCKED"};
    struct key_arrays arrays;
    struct params params;
    struct result *result = NULL;
    key_arrays_init(&arrays, count);
    params_init(&params);
    for (size_t i = 0; i < count; i++)
        key_arrays_add(&arrays, &endpoints[i]);
    key_arrays_params(&arrays, false, &params);
    params_uuid(&params, process);
    enum status status = connection_run(connection, &LOCK, &params, &result, error);
    if (status == STATUS_OK) {
        *ret_locked = (size_t)result_rows(result);
        for (size_t i = 0; i < *ret_locked; i++)
            places[i] = (size_t)result_int(result, (int)i, 0) - 1;
    }
    result_free(&result);
    params_deinit(&params);
    key_arrays_deinit(&arrays);
    return status;
}

static enum status end_locked(struct connection *connection, const struct schedule_key *endpoints, const size_t *places,
                              size_t locked, bool *ended, struct error *error) {
    /* Sorting by due_at makes the index of held rows the only one that fits, whatever the planner knows of the table.
     */
    static const struct statement END = {
        "WITH free AS MATERIALIZED (SELECT k.w, k.s, k.n FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY k(w, s, "
        "n) "
        "LEFT JOIN LATERAL (SELECT true AS waits FROM schedule s WHERE s.workspace_id = k.w AND s.subscription_id = "
        "k.s "
        "AND s.held AND (s.lease_until IS NULL OR s.lease_until < now()) ORDER BY s.due_at LIMIT 1) x ON true "
        "WHERE x.waits IS NULL), "
        "under_way AS MATERIALIZED (SELECT u.* FROM free f CROSS JOIN LATERAL "
        "(SELECT s.workspace_id, s.subscription_id, s.row_key FROM schedule s WHERE s.workspace_id = f.w "
        "AND s.subscription_id = f.s AND s.held ORDER BY s.due_at) u), "
        "leased AS MATERIALIZED (SELECT s.workspace_id, s.subscription_id, s.row_key FROM under_way u JOIN schedule s "
        "ON s.workspace_id = u.workspace_id AND s.subscription_id = u.subscription_id AND s.row_key = u.row_key "
        "ORDER BY " SCHEDULE_KEY_ORDER " FOR UPDATE OF s), "
        "let_go AS (UPDATE schedule s SET held = false FROM leased l WHERE s.workspace_id = l.workspace_id "
        "AND s.subscription_id = l.subscription_id AND s.row_key = l.row_key) "
        "DELETE FROM holds h USING free f WHERE h.workspace_id = f.w AND h.subscription_id = f.s RETURNING f.n"};
    struct key_arrays arrays;
    struct params params;
    struct result *result = NULL;
    key_arrays_init(&arrays, locked);
    params_init(&params);
    for (size_t i = 0; i < locked; i++)
        key_arrays_add(&arrays, &endpoints[places[i]]);
    key_arrays_params(&arrays, false, &params);
    enum status status = connection_run(connection, &END, &params, &result, error);
    for (int row = 0; status == STATUS_OK && row < result_rows(result); row++)
        ended[places[result_int(result, row, 0) - 1]] = true;
    result_free(&result);
    params_deinit(&params);
    key_arrays_deinit(&arrays);
    return status;
}

enum status holds_end(struct connection *connection, const struct uuid *process, const struct schedule_key *endpoints,
                      size_t count, bool *ended, struct error *error) {
    size_t *places = mem_calloc(count + 1, sizeof(*places)), locked = 0;
    bool *over = mem_calloc(count + 1, sizeof(*over));
    enum status status = connection_exec(connection, "BEGIN", error);
    if (status == STATUS_OK)
        status = lock_mine(connection, process, endpoints, count, places, &locked, error);
    if (status == STATUS_OK && locked)
        status = end_locked(connection, endpoints, places, locked, over, error);
    status = schedule_end_transaction(connection, status, error);
    if (status == STATUS_OK)
        memcpy(ended, over, count * sizeof(*over));
    mem_free(over);
    mem_free(places);
    return status;
}
