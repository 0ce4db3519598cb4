#include "store/workspaces.h"
#include "base/utf8.h"

bool workspace_id_valid(struct span id) {
    if (id.len == 0 || id.len > WORKSPACE_ID_MAX_BYTES || utf8_valid_prefix(id) < id.len)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if ((unsigned char)id.data[i] < ' ' || id.data[i] == 0x7f)
            return false;
    return true;
}

enum status workspaces_ensure(struct connection *connection, struct span id, struct span name, struct error *error) {
    static const struct statement ENSURE = {
        "INSERT INTO workspaces (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE "
        "SET name = excluded.name, updated_at = now() "
        "WHERE excluded.name IS NOT NULL AND workspaces.name IS DISTINCT FROM excluded.name"};
    struct params params;
    params_init(&params);
    params_text(&params, id);
    params_text(&params, name);
    enum status status = connection_run(connection, &ENSURE, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status workspaces_exists(struct connection *connection, struct span id, bool *ret_exists, struct error *error) {
    static const struct statement EXISTS = {"SELECT 1 FROM workspaces WHERE id = $1 AND erased_at IS NULL"};
    struct params params;
    params_init(&params);
    params_text(&params, id);
    struct result *result = NULL;
    enum status status = connection_run(connection, &EXISTS, &params, &result, error);
    if (status == STATUS_OK)
        *ret_exists = result_rows(result) > 0;
    result_free(&result);
    params_deinit(&params);
    return status;
}

#define COLUMNS "id, name, created_at, updated_at, erased_at"

void workspaces_row_read(const struct result *rows, int row, struct workspace_row *ret_row) {
    *ret_row = (struct workspace_row){
        .id = result_text(rows, row, 0),
        .name = result_text(rows, row, 1),
        .created_at_ms = result_timestamp(rows, row, 2),
        .updated_at_ms = result_timestamp(rows, row, 3),
        .erased_at_ms = result_is_null(rows, row, 4) ? 0 : result_timestamp(rows, row, 4),
        .made = result_bool(rows, row, 5),
    };
}

enum status workspaces_list(struct connection *connection, struct span after, int limit, struct result **ret_rows,
                            struct error *error) {
    static const struct statement LIST = {"SELECT " COLUMNS ", false FROM workspaces "
                                          "WHERE $1::text IS NULL OR id > $1 ORDER BY id LIMIT $2::int4"};
    struct params params;
    params_init(&params);
    params_text(&params, after);
    params_int4(&params, limit);
    enum status status = connection_run(connection, &LIST, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

static enum status run_one(struct connection *connection, const struct statement *statement, struct params *params,
                           struct result **ret_rows, struct error *error) {
    struct result *rows = NULL;
    enum status status = connection_run(connection, statement, params, &rows, error);
    params_deinit(params);
    if (status == STATUS_OK && result_rows(rows) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "there is no such workspace");
    if (status == STATUS_OK)
        *ret_rows = rows;
    else
        result_free(&rows);
    return status;
}

enum status workspaces_get(struct connection *connection, struct span id, struct result **ret_rows,
                           struct error *error) {
    static const struct statement GET = {"SELECT " COLUMNS ", false FROM workspaces WHERE id = $1"};
    struct params params;
    params_init(&params);
    params_text(&params, id);
    return run_one(connection, &GET, &params, ret_rows, error);
}

/* A name that stays is not written: each of the workspace's subscriptions would be. */
enum status workspaces_put(struct connection *connection, struct span id, struct span name, struct result **ret_rows,
                           struct error *error) {
    static const struct statement PUT = {
        "WITH written AS (INSERT INTO workspaces AS w (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE "
        "SET name = excluded.name, updated_at = now() "
        "WHERE w.name IS DISTINCT FROM excluded.name AND w.erased_at IS NULL RETURNING w.*, w.xmax = 0 AS made) "
        "SELECT " COLUMNS ", made FROM written UNION ALL SELECT " COLUMNS ", false FROM workspaces "
        "WHERE id = $1 AND erased_at IS NULL AND NOT EXISTS (SELECT FROM written)"};
    struct params params;
    params_init(&params);
    params_text(&params, id);
    params_text(&params, name);
    return run_one(connection, &PUT, &params, ret_rows, error);
}

enum status workspaces_erase(struct connection *connection, struct span id, struct result **ret_rows,
                             struct error *error) {
    static const struct statement ERASE = {
        "WITH gone AS (UPDATE workspaces SET erased_at = now() WHERE id = $1 AND erased_at IS NULL "
        "RETURNING " COLUMNS "), keys AS (UPDATE api_keys SET revoked_at = now() "
        "WHERE workspace_id = $1 AND revoked_at IS NULL AND EXISTS (SELECT FROM gone)) "
        "SELECT " COLUMNS ", false FROM gone UNION ALL SELECT " COLUMNS ", false FROM workspaces "
        "WHERE id = $1 AND erased_at IS NOT NULL"};
    struct params params;
    params_init(&params);
    params_text(&params, id);
    return run_one(connection, &ERASE, &params, ret_rows, error);
}

/* ---- erasing ---- */

/* Turns go by updated_at. Whoever is at one keeps others off it. */
static enum status take_erased(struct connection *connection, struct result **ret_rows, struct error *error) {
    static const struct statement TAKE = {
        "UPDATE workspaces SET updated_at = clock_timestamp() WHERE id = (SELECT id FROM workspaces "
        "WHERE erased_at IS NOT NULL ORDER BY updated_at LIMIT 1 FOR UPDATE SKIP LOCKED) "
        "RETURNING id, erased_at < clock_timestamp() - interval '1 minute'"};
    return connection_run(connection, &TAKE, NULL, ret_rows, error);
}

static enum status erase_piece(struct connection *connection, struct span id, bool waited, int most, int64_t *ret_gone,
                               struct error *error) {
    static const struct statement PIECE = {"SELECT workspace_erase($1, $2::int4)"};
    static const struct statement END = {"DELETE FROM workspaces WHERE id = $1"};
    struct result *rows = NULL;
    struct params params;
    params_init(&params);
    params_text(&params, id);
    params_int4(&params, most);
    enum status status = connection_run(connection, &PIECE, &params, &rows, error);
    if (status == STATUS_OK)
        *ret_gone = result_int(rows, 0, 0);
    result_free(&rows);
    params_reset(&params);
    params_text(&params, id);
    if (status == STATUS_OK && *ret_gone == 0 && waited)
        status = connection_run(connection, &END, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status workspaces_erase_step(struct connection *connection, int most, bool *ret_any, int64_t *ret_gone,
                                  struct error *error) {
    struct result *rows = NULL;
    int64_t gone = 0;
    bool any = false;
    enum status status = connection_exec(connection, "BEGIN", error);
    if (status == STATUS_OK)
        status = take_erased(connection, &rows, error);
    if (status == STATUS_OK && result_rows(rows) > 0) {
        any = true;
        status = erase_piece(connection, result_text(rows, 0, 0), result_bool(rows, 0, 1), most, &gone, error);
    }
    result_free(&rows);
    if (status == STATUS_OK)
        status = connection_exec(connection, "COMMIT", error);
    struct error ignored;
    if (status != STATUS_OK && connection_is_open(connection) &&
        connection_exec(connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(connection);
    if (status == STATUS_OK) {
        *ret_any = any;
        *ret_gone = gone;
    }
    return status;
}
