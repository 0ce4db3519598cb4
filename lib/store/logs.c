#include "store/logs.h"

static const char LOGS_COPY[] =
    "COPY delivery_logs (created_at, id, workspace_id, event_key, event_id, subscription_id, event_type, webhook_url, "
    "delivery_status, status_code, response_body, error, error_code, attempt, duration_ms, next_attempt_at, given_up, "
    "batch_id, render_version, sent_at, replay, test) FROM STDIN (FORMAT binary)";

void logs_row(struct buffer *rows, const struct log_row *row) {
    wire_copy_row(rows, 22);
    wire_timestamp(rows, row->created_at_ms);
    wire_uuid(rows, &row->id);
    wire_text(rows, row->workspace_id);
    wire_uuid(rows, &row->event_key);
    wire_text(rows, row->event_id);
    wire_uuid(rows, &row->subscription_id);
    wire_text(rows, row->event_type);
    wire_text(rows, row->webhook_url);
    wire_text(rows, span_of(row->delivery_status));
    if (row->status_code)
        wire_int2(rows, (int16_t)row->status_code);
    else
        wire_null(rows);
    wire_text(rows, row->response_body);
    wire_text(rows, row->error);
    wire_text(rows, row->error_code);
    wire_int2(rows, (int16_t)row->attempt);
    if (row->duration_ms >= 0)
        wire_int4(rows, (int32_t)row->duration_ms);
    else
        wire_null(rows);
    if (row->next_attempt_at_ms)
        wire_timestamp(rows, row->next_attempt_at_ms);
    else
        wire_null(rows);
    wire_bool(rows, row->given_up);
    if (uuid_is_nil(&row->batch_id))
        wire_null(rows);
    else
        wire_uuid(rows, &row->batch_id);
    if (row->render_version)
        wire_int8(rows, row->render_version);
    else
        wire_null(rows);
    if (row->sent_at_ms)
        wire_timestamp(rows, row->sent_at_ms);
    else
        wire_null(rows);
    wire_bool(rows, row->replay);
    wire_bool(rows, row->test);
}

enum status logs_copy(struct connection *connection, struct span rows, struct error *error) {
    int64_t copied;
    return rows.len == 0 ? STATUS_OK : connection_copy(connection, LOGS_COPY, rows, &copied, error);
}
