#include "store/audit.h"

enum status audit_begin(struct connection *connection, const struct uuid *key, const char *request_id,
                        struct error *error) {
    static const struct statement BEGIN = {
        "SELECT set_config('hookcast.key', $1::uuid::text, false), set_config('hookcast.request', $2, false)"};
    struct params params;
    params_init(&params);
    params_uuid(&params, key);
    params_text(&params, span_of(request_id));
    enum status status = connection_run(connection, &BEGIN, &params, NULL, error);
    params_deinit(&params);
    return status;
}

static void time_or_null(struct params *params, int64_t wall_ms) {
    if (wall_ms)
        params_timestamp(params, wall_ms);
    else
        params_null(params, PARAM_TIMESTAMP);
}

enum status audit_list(struct connection *connection, const struct audit_page *page, struct result **ret_rows,
                       struct error *error) {
    static const struct statement LIST = {
        "SELECT id, created_at, workspace_id, key_id, request_id, action, target, before::text, after::text FROM audit "
        "WHERE ($1::text IS NULL OR workspace_id = $1) AND ($2::text IS NULL OR action = $2) "
        "AND ($3::text IS NULL OR target = $3) AND ($4::uuid IS NULL OR key_id = $4) "
        "AND ($5::timestamptz IS NULL OR created_at >= $5) AND ($6::timestamptz IS NULL OR created_at < $6) "
        "AND ($7::int8 = 0 OR id < $7) ORDER BY id DESC LIMIT $8::int4"};
    struct params params;
    params_init(&params);
    params_text(&params, page->workspace_id);
    params_text(&params, page->action);
    params_text(&params, page->target);
    if (page->key)
        params_uuid(&params, page->key);
    else
        params_null(&params, PARAM_UUID);
    time_or_null(&params, page->since_ms);
    time_or_null(&params, page->until_ms);
    params_int8(&params, page->before);
    params_int4(&params, page->limit);
    enum status status = connection_run(connection, &LIST, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

void audit_row_read(const struct result *rows, int row, struct audit_row *ret_row) {
    *ret_row = (struct audit_row){
        .id = result_int(rows, row, 0),
        .created_at_ms = result_timestamp(rows, row, 1),
        .workspace_id = result_text(rows, row, 2),
        .key = result_uuid(rows, row, 3),
        .request_id = result_text(rows, row, 4),
        .action = result_text(rows, row, 5),
        .target = result_text(rows, row, 6),
        .before = result_text(rows, row, 7),
        .after = result_text(rows, row, 8),
    };
}

enum status audit_purge(struct connection *connection, int max, struct error *error) {
    static const struct statement PURGE = {
        "DELETE FROM audit WHERE id = ANY (ARRAY(SELECT id FROM audit "
        "WHERE created_at < now() - make_interval(days => $1::int4) ORDER BY created_at LIMIT $2::int4))"};
    struct params params;
    params_init(&params);
    params_int4(&params, AUDIT_KEEP_DAYS);
    params_int4(&params, max);
    enum status status = connection_run(connection, &PURGE, &params, NULL, error);
    params_deinit(&params);
    return status;
}
