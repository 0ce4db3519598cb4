#include "store/rejected.h"

#define COLUMNS                                                                                                        \
    "(extract(epoch FROM created_at) * 1000000)::int8, id, workspace_id, code, reason, topic, part, record_offset, "   \
    "record_time, record_key, headers, octet_length(body)::int8, republished_at"

static void time_or_null(struct params *params, int64_t wall_ms) {
    if (wall_ms)
        params_timestamp(params, wall_ms);
    else
        params_null(params, PARAM_TIMESTAMP);
}

enum status rejected_list(struct connection *connection, const struct rejected_page *page, struct result **ret_rows,
                          struct error *error) {
    static const struct statement LIST = {
        "SELECT " COLUMNS ", substring(body FROM 1 FOR $8::int4) FROM rejected_events "
        "WHERE ($1::text IS NULL OR workspace_id = $1) AND ($2::text IS NULL OR code = $2) "
        "AND ($3::timestamptz IS NULL OR created_at >= $3) AND ($4::timestamptz IS NULL OR created_at < $4) "
        "AND ($5::int8 = 0 OR (created_at, id) < ('epoch'::timestamptz + $5::int8 * interval '1 microsecond', $6)) "
        "ORDER BY created_at DESC, id DESC LIMIT $7::int4"};
    struct params params;
    params_init(&params);
    params_text(&params, page->workspace_id);
    params_text(&params, page->code);
    time_or_null(&params, page->since_ms);
    time_or_null(&params, page->until_ms);
    params_int8(&params, page->before_us);
    params_uuid(&params, &page->before_id);
    params_int4(&params, page->limit);
    params_int4(&params, REJECTED_LIST_BYTES);
    enum status status = connection_run(connection, &LIST, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

enum status rejected_get(struct connection *connection, struct span workspace_id, const struct uuid *id,
                         struct result **ret_rows, struct error *error) {
    static const struct statement GET = {"SELECT " COLUMNS ", body FROM rejected_events "
                                         "WHERE id = $2 AND ($1::text IS NULL OR workspace_id = $1) LIMIT 1"};
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, id);
    enum status status = connection_run(connection, &GET, &params, &rows, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(rows) == 0) {
        result_free(&rows);
        status = error_set(error, STATUS_NOT_FOUND, "there is no such record");
    }
    if (status == STATUS_OK)
        *ret_rows = rows;
    return status;
}

void rejected_record_read(const struct result *rows, int row, struct rejected_record *ret_record) {
    *ret_record = (struct rejected_record){
        .created_at_us = result_int(rows, row, 0),
        .id = result_uuid(rows, row, 1),
        .workspace_id = result_text(rows, row, 2),
        .code = result_text(rows, row, 3),
        .reason = result_text(rows, row, 4),
        .topic = result_text(rows, row, 5),
        .partition = (int32_t)result_int(rows, row, 6),
        .offset = result_int(rows, row, 7),
        .record_time_ms = result_timestamp(rows, row, 8),
        .record_key = result_text(rows, row, 9),
        .headers = result_text(rows, row, 10),
        .value_bytes = result_is_null(rows, row, 11) ? 0 : result_int(rows, row, 11),
        .republished_at_ms = result_is_null(rows, row, 12) ? 0 : result_timestamp(rows, row, 12),
        .value = result_text(rows, row, 13),
    };
}

enum status rejected_mark(struct connection *connection, const struct uuid *id, bool corrected, struct error *error) {
    static const struct statement MARK = {
        "WITH marked AS (UPDATE rejected_events SET republished_at = clock_timestamp() WHERE id = $1 "
        "RETURNING workspace_id, id, republished_at) "
        "SELECT audit_note(workspace_id, 'rejected_event.republished', id::text, NULL, "
        "jsonb_build_object('corrected', $2::bool, 'republished_at', republished_at)) FROM marked"};
    struct params params;
    params_init(&params);
    params_uuid(&params, id);
    params_bool(&params, corrected);
    enum status status = connection_run(connection, &MARK, &params, NULL, error);
    params_deinit(&params);
    return status;
}
