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
    static const struct statement EXISTS = {"SELECT 1 FROM workspaces WHERE id = $1"};
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
