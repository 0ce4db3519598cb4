#include "store/render_versions.h"

#define DAY_MS (24 * 60 * 60 * 1000LL)

/* The log goes by whole days, and a process may send with a version for a moment after the next one was made: two days
 * more than the log is kept. When a version had a successor is known where both are looked at together, as those of a
 * subscription that changes often are; otherwise from the one that it has now. Of a subscription that is gone nothing
 * tells when it went, so its rows in the log are looked for. */
enum status render_versions_purge(struct connection *connection, int64_t retention_ms, int max, int64_t *after,
                                  struct error *error) {
    static const struct statement PURGE = {
        "WITH page AS MATERIALIZED (SELECT x.*, lead(created_at) OVER (PARTITION BY workspace_id, subscription_id "
        "ORDER BY id) AS next_at FROM (SELECT id, workspace_id, subscription_id, created_at FROM render_versions "
        "WHERE id > $1::int8 ORDER BY id LIMIT $2::int8) x), "
        "judged AS MATERIALIZED (SELECT p.id, CASE "
        "WHEN p.created_at >= now() - $3::int8 * interval '1 ms' OR s.render_version = p.id THEN false "
        "WHEN p.next_at < now() - $3::int8 * interval '1 ms' THEN true "
        "WHEN s.id IS NOT NULL THEN c.created_at < now() - $3::int8 * interval '1 ms' "
        "ELSE NOT EXISTS (SELECT FROM delivery_logs l WHERE l.subscription_id = p.subscription_id) END AS old "
        "FROM page p LEFT JOIN subscriptions s ON s.workspace_id = p.workspace_id AND s.id = p.subscription_id "
        "LEFT JOIN render_versions c ON c.id = s.render_version), "
        "gone AS (DELETE FROM render_versions r USING judged j WHERE r.id = j.id AND j.old) "
        "SELECT CASE WHEN count(*) = $2::int8 THEN max(id) ELSE 0 END FROM page"};
    struct params params;
    struct result *result = NULL;
    params_init(&params);
    params_int8(&params, *after);
    params_int8(&params, max);
    params_int8(&params, retention_ms + 2 * DAY_MS);
    enum status status = connection_run(connection, &PURGE, &params, &result, error);
    if (status == STATUS_OK)
        *after = result_int(result, 0, 0);
    result_free(&result);
    params_deinit(&params);
    return status;
}
