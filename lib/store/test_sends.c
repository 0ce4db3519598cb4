#include "store/test_sends.h"
#include "store/partitions.h"

#define RECENT                                                                                                         \
    "(SELECT s FROM unnest(t.sent) s WHERE s > clock_timestamp() - interval '1 minute' "                               \
    "AND s <= clock_timestamp())"
#define ROW_MAX_BYTES (2 * 1024 * 1024)
#define IDS_MAX_BYTES ((size_t)64 * 1024)

enum status test_sends_take(struct connection *connection, struct span workspace_id, int *ret_wait_s,
                            struct error *error) {
    static const struct statement TAKE = {
        "INSERT INTO test_limits AS t (workspace_id, sent) VALUES ($1, ARRAY[clock_timestamp()]) "
        "ON CONFLICT (workspace_id) DO UPDATE SET sent = array_append(ARRAY" RECENT ", clock_timestamp()) "
        "WHERE (SELECT count(*) FROM " RECENT " r) < $2"};
    static const struct statement WAIT = {
        "SELECT greatest(1, ceil(extract(epoch FROM min(r.s) + interval '1 minute' - clock_timestamp())))::int8 "
        "FROM test_limits t CROSS JOIN LATERAL " RECENT " r WHERE t.workspace_id = $1"};
    struct params params;
    struct result *result = NULL;
    params_init(&params);
    params_text(&params, workspace_id);
    params_int8(&params, TEST_SENDS_A_MINUTE);
    enum status status = connection_run(connection, &TAKE, &params, &result, error);
    bool taken = status == STATUS_OK && result_affected(result) > 0;
    result_free(&result);
    if (status == STATUS_OK && !taken) {
        params_reset(&params);
        params_text(&params, workspace_id);
        status = connection_run(connection, &WAIT, &params, &result, error);
    }
    if (status == STATUS_OK)
        *ret_wait_s = taken ? 0 : result_is_null(result, 0, 0) ? 1 : (int)result_int(result, 0, 0);
    result_free(&result);
    params_deinit(&params);
    return status;
}

enum status test_sends_find(struct connection *connection, struct span workspace_id, struct span url,
                            struct span format, struct uuid *ret_id, struct error *error) {
    static const struct statement FIND = {
        "SELECT id FROM subscriptions WHERE workspace_id = $1 AND webhook_url = $2 AND status <> 'deleted' "
        "AND ($3::text IS NULL OR payload_format = $3) ORDER BY created_at DESC, id DESC LIMIT 1"};
    struct params params;
    struct result *result = NULL;
    params_init(&params);
    params_text(&params, workspace_id);
    params_text(&params, url);
    params_text(&params, format);
    enum status status = connection_run(connection, &FIND, &params, &result, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(result) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "no subscription has this URL");
    else if (status == STATUS_OK)
        *ret_id = result_uuid(result, 0, 0);
    result_free(&result);
    return status;
}

enum status test_sends_workspace_name(struct connection *connection, struct span workspace_id, struct result **ret_rows,
                                      struct span *ret_name, struct error *error) {
    static const struct statement NAME = {"SELECT name FROM workspaces WHERE id = $1"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    enum status status = connection_run(connection, &NAME, &params, ret_rows, error);
    params_deinit(&params);
    if (status == STATUS_OK)
        *ret_name = result_rows(*ret_rows) ? result_text(*ret_rows, 0, 0) : SPAN_NONE;
    return status;
}

/* Whether the sample is still there. Who takes it away then waits for this transaction, and sees what it wrote. */
static enum status hold_sample(struct connection *connection, const struct log_row *row, const struct uuid *source,
                               bool *ret_there, struct error *error) {
    static const struct statement HOLD = {"SELECT 1 FROM event_types WHERE workspace_id = $1 AND event_type = $2 "
                                          "AND sample_event = $3 FOR SHARE"};
    struct params params;
    struct result *result = NULL;
    params_init(&params);
    params_text(&params, row->workspace_id);
    params_text(&params, row->event_type);
    params_uuid(&params, source);
    enum status status = connection_run(connection, &HOLD, &params, &result, error);
    params_deinit(&params);
    *ret_there = status == STATUS_OK && result_rows(result) > 0;
    result_free(&result);
    return status;
}

static enum status copy_body(struct connection *connection, const struct log_row *row, struct span body,
                             const struct uuid *source, struct error *error) {
    static const struct statement INSERT = {
        "INSERT INTO test_bodies (created_at, id, workspace_id, body, source_event) VALUES ($1, $2, $3, $4, $5)"};
    struct params params;
    params_init(&params);
    params_timestamp(&params, row->created_at_ms);
    params_uuid(&params, &row->id);
    params_text(&params, row->workspace_id);
    params_bytea(&params, body);
    if (uuid_is_nil(source))
        params_null(&params, PARAM_UUID);
    else
        params_uuid(&params, source);
    enum status status = connection_run(connection, &INSERT, &params, NULL, error);
    params_deinit(&params);
    return status;
}

static enum status write_once(struct connection *connection, const struct log_row *asked, struct span body,
                              const struct uuid *source, struct error *error) {
    struct partition_bounds bounds;
    struct buffer rows;
    struct log_row row = *asked;
    bool keeps = true;
    enum status status = connection_exec(connection, "BEGIN", error);
    if (status != STATUS_OK)
        return status;
    buffer_init(&rows, ROW_MAX_BYTES);
    status = partitions_read_bounds(connection, &bounds, error);
    if (status == STATUS_OK && !uuid_is_nil(source))
        status = hold_sample(connection, &row, source, &keeps, error);
    if (!keeps)
        row.response_body = SPAN_NONE;
    if (status == STATUS_OK) {
        row.created_at_ms = partitions_clamp(&bounds, bounds.now_ms);
        logs_row(&rows, &row);
        status = logs_copy(connection, buffer_view(&rows), error);
    }
    if (status == STATUS_OK && keeps)
        status = copy_body(connection, &row, body, source, error);
    if (status == STATUS_OK)
        status = connection_exec(connection, "COMMIT", error);
    struct error ignored;
    if (status != STATUS_OK && connection_is_open(connection) &&
        connection_exec(connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(connection);
    buffer_deinit(&rows);
    return status;
}

enum status test_sends_write(struct connection *connection, const struct log_row *row, struct span body,
                             const struct uuid *source, struct error *error) {
    enum status status = write_once(connection, row, body, source, error);
    if (status != STATUS_NOT_FOUND)
        return status;
    status = partitions_ensure(connection, error);
    return status == STATUS_OK ? write_once(connection, row, body, source, error) : status;
}

enum status test_sends_bodies(struct connection *connection, struct span workspace_id, const struct uuid *ids,
                              size_t count, struct result **ret_rows, struct error *error) {
    static const struct statement BODIES = {"SELECT id, CASE WHEN octet_length(body) <= $3::int4 THEN body END "
                                            "FROM test_bodies WHERE workspace_id = $1 AND id = ANY ($2::uuid[])"};
    struct param_array array;
    struct params params;
    array_init(&array, PARAM_UUID, IDS_MAX_BYTES);
    for (size_t i = 0; i < count; i++)
        array_uuid(&array, &ids[i]);
    params_init(&params);
    params_text(&params, workspace_id);
    params_array(&params, &array);
    params_int4(&params, TEST_SENDS_SMALL_BYTES);
    enum status status = connection_run(connection, &BODIES, &params, ret_rows, error);
    params_deinit(&params);
    array_deinit(&array);
    return status;
}

bool test_sends_find_body(const struct result *rows, const struct uuid *id, struct span *ret_body) {
    for (int i = 0, count = rows ? result_rows(rows) : 0; i < count; i++) {
        struct uuid found = result_uuid(rows, i, 0);
        if (uuid_compare(&found, id) != 0)
            continue;
        *ret_body = result_is_null(rows, i, 1) ? SPAN_NONE : result_text(rows, i, 1);
        return true;
    }
    return false;
}

enum status test_sends_body(struct connection *connection, struct span workspace_id, const struct uuid *id,
                            struct result **ret_rows, struct span *ret_body, struct error *error) {
    static const struct statement BODY = {"SELECT body FROM test_bodies WHERE workspace_id = $1 AND id = $2"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, id);
    enum status status = connection_run(connection, &BODY, &params, ret_rows, error);
    params_deinit(&params);
    if (status == STATUS_OK)
        *ret_body = result_rows(*ret_rows) ? result_text(*ret_rows, 0, 0) : SPAN_NONE;
    return status;
}
