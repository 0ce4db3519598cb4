#include "store/seleqt.h"

enum status seleqt_lock(struct connection *connection, struct span workspace_id, struct uuid *ret_id,
                        struct error *error) {
    static const struct statement LOCK = {
        "INSERT INTO seleqt_webhooks AS s (workspace_id) VALUES ($1) "
        "ON CONFLICT (workspace_id) DO UPDATE SET subscription_id = s.subscription_id RETURNING subscription_id"};
    struct params params;
    struct result *result = NULL;
    params_init(&params);
    params_text(&params, workspace_id);
    enum status status = connection_run(connection, &LOCK, &params, &result, error);
    params_deinit(&params);
    if (status == STATUS_OK)
        *ret_id = result_is_null(result, 0, 0) ? UUID_NIL : result_uuid(result, 0, 0);
    result_free(&result);
    return status;
}

enum status seleqt_set(struct connection *connection, struct span workspace_id, const struct uuid *id,
                       struct error *error) {
    static const struct statement SET = {"UPDATE seleqt_webhooks SET subscription_id = $2 WHERE workspace_id = $1"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    if (uuid_is_nil(id))
        params_null(&params, PARAM_UUID);
    else
        params_uuid(&params, id);
    enum status status = connection_run(connection, &SET, &params, NULL, error);
    params_deinit(&params);
    return status;
}
