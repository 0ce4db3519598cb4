#include "store/log_bodies.h"

#define ARRAY_MAX_BYTES ((size_t)1024 * 1024)
#define FIRST_US INT64_C(0)

enum status log_bodies_versions(struct connection *connection, const int64_t *ids, size_t count,
                                struct result **ret_rows, struct error *error) {
    static const struct statement READ = {
        "SELECT id, payload_format, payload_template, signature_style, created_by, updated_by, workspace_name "
        "FROM render_versions WHERE id = ANY ($1)"};
    struct param_array array;
    struct params params;
    array_init(&array, PARAM_INT8, ARRAY_MAX_BYTES);
    for (size_t i = 0; i < count; i++)
        array_int8(&array, ids[i]);
    params_init(&params);
    params_array(&params, &array);
    enum status status = connection_run(connection, &READ, &params, ret_rows, error);
    params_deinit(&params);
    array_deinit(&array);
    return status;
}

void log_bodies_version(const struct result *rows, int row, struct log_version *ret_version) {
    *ret_version = (struct log_version){
        .id = result_int(rows, row, 0),
        .format = result_text(rows, row, 1),
        .template = result_text(rows, row, 2),
        .signature_style = result_text(rows, row, 3),
        .created_by = result_text(rows, row, 4),
        .updated_by = result_text(rows, row, 5),
        .workspace_name = result_text(rows, row, 6),
    };
}

enum status log_bodies_members(struct connection *connection, struct span workspace_id, const struct uuid *batch_id,
                               struct uuid *keys, size_t max, size_t *ret_count, struct error *error) {
    static const struct statement READ = {
        "SELECT u.key FROM (SELECT event_keys FROM batches WHERE workspace_id = $1 AND id = $2 LIMIT 1) b "
        "CROSS JOIN LATERAL unnest(b.event_keys) WITH ORDINALITY u(key, place) ORDER BY u.place"};
    struct result *rows = NULL;
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, batch_id);
    enum status status = connection_run(connection, &READ, &params, &rows, error);
    params_deinit(&params);
    if (status != STATUS_OK)
        return status;
    size_t count = (size_t)result_rows(rows);
    *ret_count = count <= max ? count : 0;
    for (size_t i = 0; i < *ret_count; i++)
        keys[i] = result_uuid(rows, (int)i, 0);
    result_free(&rows);
    return STATUS_OK;
}

#define COLUMNS                                                                                                        \
    "SELECT event_key, created_at, octet_length(body) <= $5::int4, topic, part, record_offset, record_time, "          \
    "record_key, headers, CASE WHEN octet_length(body) <= $5 THEN body END FROM events WHERE workspace_id = $1 "

static const struct statement FIND = {
    COLUMNS "AND event_key = ANY ($2::uuid[]) AND created_at >= $3::timestamptz AND created_at <= $4::timestamptz"};

static enum status find(struct connection *connection, struct span workspace_id, const struct uuid *keys, size_t count,
                        int64_t from_us, int64_t until_us, int small_bytes, struct result **ret_rows,
                        struct error *error) {
    struct param_array array;
    struct params params;
    CHECK(count <= LOG_BODIES_MAX_KEYS);
    array_init(&array, PARAM_UUID, ARRAY_MAX_BYTES);
    for (size_t i = 0; i < count; i++)
        array_uuid(&array, &keys[i]);
    params_init(&params);
    params_text(&params, workspace_id);
    params_array(&params, &array);
    params_timestamp_us(&params, from_us > FIRST_US ? from_us : FIRST_US);
    params_timestamp_us(&params, until_us);
    params_int4(&params, small_bytes);
    enum status status = connection_run(connection, &FIND, &params, ret_rows, error);
    params_deinit(&params);
    array_deinit(&array);
    return status;
}

enum status log_bodies_find(struct connection *connection, struct span workspace_id, const struct uuid *keys,
                            size_t count, int64_t from_us, int64_t until_us, struct result **ret_rows,
                            struct error *error) {
    return find(connection, workspace_id, keys, count, from_us, until_us, LOG_BODIES_SMALL_BYTES, ret_rows, error);
}

enum status log_bodies_record(struct connection *connection, struct span workspace_id, const struct log_event *event,
                              struct result **ret_rows, struct error *error) {
    return find(connection, workspace_id, &event->key, 1, event->created_at_us, event->created_at_us, INT32_MAX,
                ret_rows, error);
}

void log_bodies_event(const struct result *rows, int row, struct log_event *ret_event) {
    *ret_event = (struct log_event){
        .key = result_uuid(rows, row, 0),
        .created_at_us = result_timestamp_us(rows, row, 1),
        .small = result_bool(rows, row, 2),
        .record =
            {
                .topic = result_text(rows, row, 3),
                .partition = (int32_t)result_int(rows, row, 4),
                .offset = result_int(rows, row, 5),
                .timestamp_ms = result_timestamp(rows, row, 6),
                .key = result_text(rows, row, 7),
                .value = result_text(rows, row, 9),
            },
        .headers = result_text(rows, row, 8),
    };
}
