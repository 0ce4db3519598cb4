#include "store/subscriptions.h"

/* What belongs to a subscription's row of `health`, if there is one. */
#define OF_HEALTH(column)                                                                                              \
    "(SELECT h." column " FROM health h WHERE h.workspace_id = subscriptions.workspace_id "                            \
    "AND h.subscription_id = subscriptions.id) AS " column
#define COLUMNS                                                                                                        \
    "id, workspace_id, webhook_url, event_types, type, name, status, disabled_reason, headers, secrets, "              \
    "signature_style, signature_header, payload_format, payload_template, timeout_ms, retry_schedule_ms, "             \
    "max_in_flight, created_by, updated_by, created_at, updated_at, version, rate_limit_per_second, delivery_mode, "   \
    "delay_ms, batch_max_events, batch_max_bytes, batch_max_wait_ms, filter, notify_email, " OF_HEALTH(                \
        "failing_since") ", " OF_HEALTH("last_success_at") ", disabled_at"
#define KEY_COLUMN 33

static int64_t big_endian(struct span bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.len; i++)
        value = value << 8 | (uint8_t)bytes.data[i];
    return (int64_t)value;
}

static int32_t int_or_0(const struct result *rows, int row, int column) {
    return result_is_null(rows, row, column) ? 0 : (int32_t)result_int(rows, row, column);
}

static int64_t long_or_0(const struct result *rows, int row, int column) {
    return result_is_null(rows, row, column) ? 0 : result_int(rows, row, column);
}

static int64_t time_or_0(const struct result *rows, int row, int column) {
    return result_is_null(rows, row, column) ? 0 : result_timestamp(rows, row, column);
}

void subscriptions_row_read(const struct result *rows, int row, struct subscription_row *ret_row) {
    *ret_row = (struct subscription_row){
        .id = result_uuid(rows, row, 0),
        .workspace_id = result_text(rows, row, 1),
        .webhook_url = result_text(rows, row, 2),
        .type = result_text(rows, row, 4),
        .name = result_text(rows, row, 5),
        .status = result_text(rows, row, 6),
        .disabled_reason = result_text(rows, row, 7),
        .sealed_headers = result_text(rows, row, 8),
        .sealed_secrets = result_text(rows, row, 9),
        .signature_style = result_text(rows, row, 10),
        .signature_header = result_text(rows, row, 11),
        .payload_format = result_text(rows, row, 12),
        .payload_template = result_text(rows, row, 13),
        .timeout_ms = int_or_0(rows, row, 14),
        .max_in_flight = int_or_0(rows, row, 16),
        .created_by = result_text(rows, row, 17),
        .updated_by = result_text(rows, row, 18),
        .created_at_ms = result_timestamp(rows, row, 19),
        .updated_at_ms = result_timestamp(rows, row, 20),
        .version = result_int(rows, row, 21),
        .rate_per_second = int_or_0(rows, row, 22),
        .delivery_mode = result_text(rows, row, 23),
        .delay_ms = long_or_0(rows, row, 24),
        .batch_max_events = int_or_0(rows, row, 25),
        .batch_max_bytes = int_or_0(rows, row, 26),
        .batch_max_wait_ms = long_or_0(rows, row, 27),
        .filter = result_text(rows, row, 28),
        .notify_email = result_text(rows, row, 29),
        .failing_since_ms = time_or_0(rows, row, 30),
        .last_success_at_ms = time_or_0(rows, row, 31),
        .disabled_at_ms = time_or_0(rows, row, 32),
    };
    ret_row->event_type_count = (size_t)result_array(rows, row, 3, ret_row->event_types, SUBSCRIPTION_MAX_TYPES);
    if (ret_row->event_type_count > SUBSCRIPTION_MAX_TYPES)
        ret_row->event_type_count = SUBSCRIPTION_MAX_TYPES;
    struct span retries[SUBSCRIPTION_MAX_RETRIES];
    ret_row->retry_count = -1;
    if (!result_is_null(rows, row, 15))
        ret_row->retry_count = result_array(rows, row, 15, retries, SUBSCRIPTION_MAX_RETRIES);
    if (ret_row->retry_count > SUBSCRIPTION_MAX_RETRIES)
        ret_row->retry_count = SUBSCRIPTION_MAX_RETRIES;
    for (int i = 0; i < ret_row->retry_count; i++)
        ret_row->retry_ms[i] = big_endian(retries[i]);
}

struct span subscriptions_row_key(const struct result *rows, int row) {
    return result_text(rows, row, KEY_COLUMN);
}

static void int_or_null(struct params *params, int32_t value) {
    if (value)
        params_int4(params, value);
    else
        params_null(params, PARAM_INT4);
}

static void long_or_null(struct params *params, int64_t value) {
    if (value)
        params_int8(params, value);
    else
        params_null(params, PARAM_INT8);
}

/* $1 … $28, the same for both statements. */
static enum status write_row(struct connection *connection, const struct statement *statement,
                             const struct subscription_row *row, struct result **ret_rows, struct error *error) {
    struct param_array types, retries;
    array_init(&types, PARAM_TEXT, 64 * 1024);
    array_init(&retries, PARAM_INT8, 4096);
    for (size_t i = 0; i < row->event_type_count; i++)
        array_text(&types, row->event_types[i]);
    for (int i = 0; i < row->retry_count; i++)
        array_int8(&retries, row->retry_ms[i]);
    struct params params;
    params_init(&params);
    params_text(&params, row->workspace_id);
    params_uuid(&params, &row->id);
    params_text(&params, row->webhook_url);
    params_array(&params, &types);
    params_text(&params, row->type);
    params_text(&params, row->name);
    params_text(&params, row->status);
    params_bytea(&params, row->sealed_headers);
    params_bytea(&params, row->sealed_secrets);
    params_text(&params, row->signature_style);
    params_text(&params, row->signature_header);
    params_text(&params, row->payload_format);
    params_text(&params, row->payload_template);
    int_or_null(&params, row->timeout_ms);
    params_array(&params, &retries);
    params_bool(&params, row->retry_count >= 0);
    int_or_null(&params, row->max_in_flight);
    params_text(&params, row->created_by);
    params_text(&params, row->updated_by);
    params_text(&params, row->disabled_reason);
    int_or_null(&params, row->rate_per_second);
    params_text(&params, row->delivery_mode);
    long_or_null(&params, row->delay_ms);
    int_or_null(&params, row->batch_max_events);
    int_or_null(&params, row->batch_max_bytes);
    long_or_null(&params, row->batch_max_wait_ms);
    params_text(&params, row->filter);
    params_text(&params, row->notify_email);
    struct result *rows = NULL;
    enum status status = connection_run(connection, statement, &params, &rows, error);
    if (status == STATUS_OK && result_rows(rows) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "there is no such subscription");
    if (status == STATUS_OK)
        *ret_rows = rows;
    else
        result_free(&rows);
    params_deinit(&params);
    array_deinit(&retries);
    array_deinit(&types);
    return status;
}

enum status subscriptions_insert(struct connection *connection, const struct subscription_row *row,
                                 struct result **ret_rows, struct error *error) {
    static const struct statement INSERT = {
        "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, type, name, status, headers, secrets, "
        "signature_style, signature_header, payload_format, payload_template, timeout_ms, retry_schedule_ms, "
        "max_in_flight, created_by, updated_by, disabled_reason, rate_limit_per_second, delivery_mode, delay_ms, "
        "batch_max_events, batch_max_bytes, batch_max_wait_ms, filter, notify_email) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, CASE WHEN $16 THEN $15 END, "
        "$17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28) RETURNING " COLUMNS};
    return write_row(connection, &INSERT, row, ret_rows, error);
}

enum status subscriptions_update(struct connection *connection, const struct subscription_row *row,
                                 struct result **ret_rows, struct error *error) {
    static const struct statement UPDATE = {
        "UPDATE subscriptions SET webhook_url = $3, event_types = $4, type = $5, name = $6, status = $7, headers = $8, "
        "secrets = $9, signature_style = $10, signature_header = $11, payload_format = $12, payload_template = $13, "
        "timeout_ms = $14, retry_schedule_ms = CASE WHEN $16 THEN $15 END, max_in_flight = $17, created_by = $18, "
        "updated_by = $19, disabled_reason = $20, rate_limit_per_second = $21, delivery_mode = $22, delay_ms = $23, "
        "batch_max_events = $24, batch_max_bytes = $25, batch_max_wait_ms = $26, filter = $27, notify_email = $28, "
        "updated_at = now() "
        "WHERE workspace_id = $1 AND id = $2 AND status <> 'deleted' RETURNING " COLUMNS};
    return write_row(connection, &UPDATE, row, ret_rows, error);
}

static enum status read_one(struct connection *connection, const struct statement *statement, struct span workspace_id,
                            const struct uuid *id, struct result **ret_rows, struct error *error) {
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, id);
    struct result *rows = NULL;
    enum status status = connection_run(connection, statement, &params, &rows, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(rows) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "there is no such subscription");
    if (status == STATUS_OK && ret_rows)
        *ret_rows = rows;
    else
        result_free(&rows);
    return status;
}

enum status subscriptions_get(struct connection *connection, struct span workspace_id, const struct uuid *id,
                              struct result **ret_rows, struct error *error) {
    static const struct statement GET = {"SELECT " COLUMNS " FROM subscriptions "
                                         "WHERE workspace_id = $1 AND id = $2 AND status <> 'deleted'"};
    return read_one(connection, &GET, workspace_id, id, ret_rows, error);
}

enum status subscriptions_get_many(struct connection *connection, const struct span *workspace_ids,
                                   const struct uuid *ids, size_t count, struct result **ret_rows,
                                   struct error *error) {
    static const struct statement GET = {"SELECT " COLUMNS " FROM unnest($1::text[], $2::uuid[]) AS wanted (w, i) "
                                         "JOIN subscriptions ON workspace_id = w AND id = i AND status <> 'deleted'"};
    struct param_array workspaces, numbers;
    array_init(&workspaces, PARAM_TEXT, 64 * 1024);
    array_init(&numbers, PARAM_UUID, 64 * 1024);
    for (size_t i = 0; i < count; i++) {
        array_text(&workspaces, workspace_ids[i]);
        array_uuid(&numbers, &ids[i]);
    }
    struct params params;
    params_init(&params);
    params_array(&params, &workspaces);
    params_array(&params, &numbers);
    enum status status = connection_run(connection, &GET, &params, ret_rows, error);
    params_deinit(&params);
    array_deinit(&numbers);
    array_deinit(&workspaces);
    return status;
}

enum status subscriptions_lock(struct connection *connection, struct span workspace_id, const struct uuid *id,
                               struct result **ret_rows, struct error *error) {
    static const struct statement LOCK = {"SELECT " COLUMNS " FROM subscriptions "
                                          "WHERE workspace_id = $1 AND id = $2 AND status <> 'deleted' FOR UPDATE"};
    return read_one(connection, &LOCK, workspace_id, id, ret_rows, error);
}

enum status subscriptions_delete(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                 struct error *error) {
    static const struct statement DELETE = {
        "UPDATE subscriptions SET status = 'deleted', deleted_at = now(), updated_at = now() "
        "WHERE workspace_id = $1 AND id = $2 AND status <> 'deleted' RETURNING id"};
    return read_one(connection, &DELETE, workspace_id, id, NULL, error);
}

enum status subscriptions_lock_health(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                      struct error *error) {
    static const struct statement LOCK = {"SELECT FROM health WHERE workspace_id = $1 AND subscription_id = $2 "
                                          "FOR UPDATE"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, id);
    enum status status = connection_run(connection, &LOCK, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status subscriptions_purge(struct connection *connection, int max, struct error *error) {
    static const struct statement PURGE = {
        "DELETE FROM subscriptions s USING (SELECT workspace_id, id FROM subscriptions WHERE status = 'deleted' "
        "AND deleted_at < now() - interval '1 day' LIMIT $1::int4 FOR UPDATE SKIP LOCKED) d "
        "WHERE s.workspace_id = d.workspace_id AND s.id = d.id"};
    struct params params;
    params_init(&params);
    params_int4(&params, max);
    enum status status = connection_run(connection, &PURGE, &params, NULL, error);
    params_deinit(&params);
    return status;
}

/* The key of an order travels as text, which keeps a timestamp's microseconds. */
#define LIST(column, type, compare, direction)                                                                         \
    {                                                                                                                  \
        "SELECT " COLUMNS ", subscriptions." column "::text AS page_key FROM subscriptions "                           \
        "WHERE workspace_id = $1 AND status <> 'deleted' AND ($2::text IS NULL OR type = $2) "                         \
        "AND ($3::text IS NULL OR (" column ", id) " compare " ($3::text::" type ", $4)) "                             \
        "ORDER BY subscriptions." column " " direction ", id " direction " LIMIT $5"                                   \
    }
#define LISTS(column, type)                                                                                            \
    { LIST(column, type, ">", "ASC"), LIST(column, type, "<", "DESC") }

enum status subscriptions_list(struct connection *connection, const struct subscriptions_page *page,
                               struct result **ret_rows, struct error *error) {
    static const struct statement STATEMENTS[SUBSCRIPTIONS_ORDERS][2] = {
        [SUBSCRIPTIONS_BY_CREATED_AT] = LISTS("created_at", "timestamptz"),
        [SUBSCRIPTIONS_BY_UPDATED_AT] = LISTS("updated_at", "timestamptz"),
        [SUBSCRIPTIONS_BY_TYPE] = LISTS("type", "text"),
        [SUBSCRIPTIONS_BY_WEBHOOK_URL] = LISTS("webhook_url", "text"),
    };
    struct params params;
    params_init(&params);
    params_text(&params, page->workspace_id);
    params_text(&params, page->type);
    params_text(&params, page->after_key);
    params_uuid(&params, &page->after_id);
    params_int8(&params, page->limit);
    enum status status =
        connection_run(connection, &STATEMENTS[page->order][page->descending], &params, ret_rows, error);
    params_deinit(&params);
    return status;
}
