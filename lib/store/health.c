#include "store/health.h"
#include "base/memory.h"
#include <stdlib.h>

#define ARRAY_MAX_BYTES ((size_t)16 * 1024 * 1024)

/* After this moment failures count, of an old row h and a new one. */
#define SINCE "coalesce(greatest(h.last_success_at, excluded.last_success_at, h.revived_at), '-infinity')"
#define LAST_FAILURE "greatest(h.last_failure_at, excluded.last_failure_at)"
#define HAS_FAILED_FOR(milliseconds) "h.last_failure_at - h.failing_since >= " milliseconds " * interval '1 ms'"
#define HAS_RECOVERED "h.failing_since IS NULL AND h.warned_at IS NOT NULL AND h.last_success_at > h.warned_at"

static int by_key(const void *a, const void *b) {
    const struct health_report *x = a, *y = b;
    size_t shorter = x->workspace_id.len < y->workspace_id.len ? x->workspace_id.len : y->workspace_id.len;
    int order = shorter ? memcmp(x->workspace_id.data, y->workspace_id.data, shorter) : 0;
    if (order == 0)
        order = (x->workspace_id.len > y->workspace_id.len) - (x->workspace_id.len < y->workspace_id.len);
    return order ? order : uuid_compare(&x->subscription_id, &y->subscription_id);
}

static void add_age(struct param_array *ages, int64_t age_ms) {
    if (age_ms == HEALTH_NONE)
        array_null(ages);
    else
        array_int8(ages, age_ms);
}

enum { WORKSPACES, IDS, SUCCESSES, FAILURES, FAILING, ARRAYS };

static void init_arrays(struct param_array *arrays, size_t count) {
    static const enum param_type TYPES[ARRAYS] = {PARAM_TEXT, PARAM_UUID, PARAM_INT8, PARAM_INT8, PARAM_INT8};
    for (size_t i = 0; i < count; i++)
        array_init(&arrays[i], TYPES[i], ARRAY_MAX_BYTES);
}

/* Runs the statement with the arrays first and the number, when it is one, behind them. */
static enum status run_with(struct connection *connection, const struct statement *statement,
                            struct param_array *arrays, size_t count, int64_t number, struct result **ret_result,
                            struct error *error) {
    struct params params;
    params_init(&params);
    for (size_t i = 0; i < count; i++)
        params_array(&params, &arrays[i]);
    if (number >= 0)
        params_int8(&params, number);
    enum status status = connection_run(connection, statement, &params, ret_result, error);
    params_deinit(&params);
    return status;
}

static enum status merge(struct connection *connection, struct health_report *reports, size_t count,
                         int64_t disable_after_ms, struct result **ret_due, struct error *error) {
    static const struct statement MERGE = {
        "WITH merged AS (INSERT INTO health AS h "
        "(workspace_id, subscription_id, last_success_at, last_failure_at, failing_since) "
        "SELECT w, i, now() - success * interval '1 ms', now() - failure * interval '1 ms', "
        "now() - failing * interval '1 ms' "
        "FROM unnest($1::text[], $2::uuid[], $3::int8[], $4::int8[], $5::int8[]) WITH ORDINALITY "
        "k(w, i, success, failure, failing, n) "
        "WHERE EXISTS (SELECT FROM subscriptions s WHERE s.workspace_id = w AND s.id = i AND s.status <> 'deleted') "
        "ORDER BY n "
        "ON CONFLICT (workspace_id, subscription_id) DO UPDATE SET "
        "last_success_at = greatest(h.last_success_at, excluded.last_success_at), "
        "last_failure_at = " LAST_FAILURE ", "
        "failing_since = coalesce(least(CASE WHEN h.failing_since > " SINCE " THEN h.failing_since END, "
        "CASE WHEN excluded.failing_since > " SINCE " THEN excluded.failing_since END), "
        "CASE WHEN " LAST_FAILURE " > " SINCE " THEN " LAST_FAILURE " END) "
        "RETURNING h.*) "
        "SELECT h.workspace_id, h.subscription_id FROM merged h WHERE " HAS_FAILED_FOR(
            "$6") " OR "
                  "(h.warned_at IS NULL AND " HAS_FAILED_FOR(
                      "$6 / 2") ") OR (" HAS_RECOVERED ") "
                                "ORDER BY h.workspace_id COLLATE \"C\", h.subscription_id"};
    struct param_array arrays[ARRAYS];
    init_arrays(arrays, ARRAYS);
    qsort(reports, count, sizeof(*reports), by_key);
    for (size_t i = 0; i < count; i++) {
        array_text(&arrays[WORKSPACES], reports[i].workspace_id);
        array_uuid(&arrays[IDS], &reports[i].subscription_id);
        add_age(&arrays[SUCCESSES], reports[i].success_age_ms);
        add_age(&arrays[FAILURES], reports[i].failure_age_ms);
        add_age(&arrays[FAILING], reports[i].failing_age_ms);
    }
    enum status status = run_with(connection, &MERGE, arrays, ARRAYS, disable_after_ms, ret_due, error);
    for (size_t i = 0; i < ARRAYS; i++)
        array_deinit(&arrays[i]);
    return status;
}

/* The health rows are locked already; LOCK takes the subscriptions in the order of their keys. */
static enum status act(struct connection *connection, struct param_array *keys, int64_t disable_after_ms,
                       struct result **ret_disabled, struct error *error) {
    static const struct statement LOCK = {
        "SELECT s.id FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY k(w, i, n) "
        "JOIN subscriptions s ON s.workspace_id = w AND s.id = i ORDER BY n FOR NO KEY UPDATE OF s"};
    static const struct statement DISABLE = {
        "UPDATE subscriptions s SET status = 'disabled', updated_at = now(), disabled_reason = 'every attempt since ' "
        "|| to_char(h.failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') || ' failed' "
        "FROM unnest($1::text[], $2::uuid[]) k(w, i) JOIN health h ON h.workspace_id = w AND h.subscription_id = i "
        "WHERE s.workspace_id = w AND s.id = i AND s.status = 'active' AND " HAS_FAILED_FOR(
            "$3") " RETURNING s.workspace_id, s.id, s.disabled_reason"};
    /* Those that were disabled just now count as told; they are not active any more. */
    static const struct statement WARN = {
        "WITH failing AS (UPDATE health h SET warned_at = now() FROM unnest($1::text[], $2::uuid[]) k(w, i) "
        "JOIN subscriptions s ON s.workspace_id = w AND s.id = i "
        "WHERE h.workspace_id = w AND h.subscription_id = i AND h.warned_at IS NULL AND " HAS_FAILED_FOR(
            "$3 / 2") " RETURNING s) "
                      "SELECT subscription_tell(s, 'failing') FROM failing WHERE (s).status = 'active'"};
    static const struct statement RECOVER = {
        "WITH recovered AS (UPDATE health h SET warned_at = NULL FROM unnest($1::text[], $2::uuid[]) k(w, i) "
        "JOIN subscriptions s ON s.workspace_id = w AND s.id = i "
        "WHERE h.workspace_id = w AND h.subscription_id = i AND " HAS_RECOVERED " RETURNING s) "
        "SELECT subscription_tell(s, 'recovered') FROM recovered WHERE (s).status = 'active'"};
    enum status status = run_with(connection, &LOCK, keys, 2, -1, NULL, error);
    if (status == STATUS_OK)
        status = run_with(connection, &DISABLE, keys, 2, disable_after_ms, ret_disabled, error);
    if (status == STATUS_OK)
        status = run_with(connection, &WARN, keys, 2, disable_after_ms, NULL, error);
    if (status == STATUS_OK)
        status = run_with(connection, &RECOVER, keys, 2, -1, NULL, error);
    return status;
}

static enum status act_on(struct connection *connection, const struct result *due, int64_t disable_after_ms,
                          struct result **ret_disabled, struct error *error) {
    struct param_array keys[2];
    init_arrays(keys, 2);
    for (int row = 0; row < result_rows(due); row++) {
        struct uuid id = result_uuid(due, row, 1);
        array_text(&keys[WORKSPACES], result_text(due, row, 0));
        array_uuid(&keys[IDS], &id);
    }
    enum status status = act(connection, keys, disable_after_ms, ret_disabled, error);
    for (size_t i = 0; i < 2; i++)
        array_deinit(&keys[i]);
    return status;
}

enum status health_write(struct connection *connection, struct health_report *reports, size_t count,
                         int64_t disable_after_ms, struct result **ret_disabled, struct error *error) {
    struct result *due = NULL, *disabled = NULL;
    enum status status = connection_exec(connection, "BEGIN", error);
    if (status == STATUS_OK)
        status = merge(connection, reports, count, disable_after_ms, &due, error);
    if (status == STATUS_OK && result_rows(due) > 0)
        status = act_on(connection, due, disable_after_ms, &disabled, error);
    result_free(&due);
    if (status == STATUS_OK) {
        status = connection_exec(connection, "COMMIT", error);
    } else if (status != STATUS_UNAVAILABLE) {
        struct error ignored;
        if (connection_exec(connection, "ROLLBACK", &ignored) != STATUS_OK)
            connection_close(connection);
    }
    if (status == STATUS_OK)
        *ret_disabled = disabled;
    else
        result_free(&disabled);
    return status;
}

enum status health_purge(struct connection *connection, struct error *error) {
    static const struct statement PURGE = {
        "DELETE FROM health h WHERE NOT EXISTS (SELECT FROM subscriptions s WHERE s.workspace_id = h.workspace_id "
        "AND s.id = h.subscription_id AND s.status <> 'deleted')"};
    return connection_run(connection, &PURGE, NULL, NULL, error);
}
