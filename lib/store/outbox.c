#include "store/outbox.h"

enum status outbox_has_rows(struct connection *connection, bool *ret_has, struct error *error) {
    static const struct statement HAS = {"SELECT EXISTS (SELECT FROM outbox)"};
    struct result *result = NULL;
    enum status status = connection_run(connection, &HAS, NULL, &result, error);
    if (status == STATUS_OK)
        *ret_has = result_bool(result, 0, 0);
    result_free(&result);
    return status;
}

enum status outbox_take(struct connection *connection, int max, struct result **ret_rows, struct error *error) {
    static const struct statement TAKE = {"SELECT id, created_at, workspace_id, event_type, payload::text FROM outbox "
                                          "ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED"};
    struct params params;
    params_init(&params);
    params_int8(&params, max);
    enum status status = connection_run(connection, &TAKE, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

void outbox_row_read(const struct result *rows, int row, struct outbox_row *ret_row) {
    *ret_row = (struct outbox_row){
        .id = result_int(rows, row, 0),
        .created_at_ms = result_timestamp(rows, row, 1),
        .workspace_id = result_text(rows, row, 2),
        .event_type = result_text(rows, row, 3),
        .payload = result_text(rows, row, 4),
    };
}

enum status outbox_delete(struct connection *connection, const struct result *taken, int count, struct error *error) {
    static const struct statement DELETE = {"DELETE FROM outbox WHERE id = ANY ($1::int8[])"};
    struct param_array ids;
    struct params params;
    array_init(&ids, PARAM_INT8, (size_t)(count + 2) * 12);
    params_init(&params);
    for (int row = 0; row < count; row++)
        array_int8(&ids, result_int(taken, row, 0));
    params_array(&params, &ids);
    enum status status = connection_run(connection, &DELETE, &params, NULL, error);
    params_deinit(&params);
    array_deinit(&ids);
    return status;
}
