#include "store/events.h"
#include "base/memory.h"

static const char EVENTS_COPY[] =
    "COPY events (created_at, event_key, workspace_id, event_id, event_type, occurred_at, topic, part, record_offset, "
    "record_time, record_key, headers, body, skipped) FROM STDIN (FORMAT binary)";
static const char REJECTED_COPY[] =
    "COPY rejected_events (created_at, id, workspace_id, code, reason, topic, part, record_offset, record_time, "
    "record_key, headers, body) FROM STDIN (FORMAT binary)";

void events_row(struct buffer *rows, int64_t created_at_ms, const struct event *event, const struct uuid *skipped,
                size_t skipped_count) {
    wire_copy_row(rows, 14);
    wire_timestamp(rows, created_at_ms);
    wire_uuid(rows, &event->key);
    wire_text(rows, event->workspace_id);
    wire_text(rows, event->id);
    wire_text(rows, event->event_type);
    wire_timestamp(rows, event->occurred_at_ms);
    wire_text(rows, event->topic);
    wire_int4(rows, event->partition);
    wire_int8(rows, event->offset);
    wire_timestamp(rows, event->timestamp_ms);
    wire_text(rows, event->record_key);
    wire_text(rows, event->headers);
    wire_text(rows, event->value);
    wire_uuid_array(rows, skipped, skipped_count);
}

void events_rejected_row(struct buffer *rows, const struct rejected_row *row) {
    wire_copy_row(rows, 12);
    wire_timestamp(rows, row->created_at_ms);
    wire_uuid(rows, &row->id);
    wire_text(rows, row->workspace_id);
    wire_text(rows, row->code);
    wire_text(rows, row->reason);
    wire_text(rows, row->topic);
    wire_int4(rows, row->partition);
    wire_int8(rows, row->offset);
    wire_timestamp(rows, row->record_time_ms);
    wire_text(rows, row->record_key);
    wire_text(rows, row->headers);
    wire_text(rows, row->value);
}

static enum status copy(struct connection *connection, const char *sql, struct span rows, struct error *error) {
    int64_t copied;
    return rows.len == 0 ? STATUS_OK : connection_copy(connection, sql, rows, &copied, error);
}

enum status events_copy(struct connection *connection, struct span rows, struct error *error) {
    return copy(connection, EVENTS_COPY, rows, error);
}

enum status events_copy_rejected(struct connection *connection, struct span rows, struct error *error) {
    return copy(connection, REJECTED_COPY, rows, error);
}

enum status events_known(struct connection *connection, struct event *const *events, size_t count, bool *known,
                         struct error *error) {
    static const struct statement KNOWN = {
        "SELECT EXISTS (SELECT FROM events e WHERE e.workspace_id = u.workspace_id AND e.event_key = u.event_key) "
        "FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY u(workspace_id, event_key, n) ORDER BY n"};
    struct param_array workspaces, keys;
    array_init(&workspaces, PARAM_TEXT, 1024 * 1024);
    array_init(&keys, PARAM_UUID, 1024 * 1024);
    for (size_t i = 0; i < count; i++) {
        array_text(&workspaces, events[i]->workspace_id);
        array_uuid(&keys, &events[i]->key);
    }
    struct params params;
    params_init(&params);
    params_array(&params, &workspaces);
    params_array(&params, &keys);
    struct result *result = NULL;
    enum status status = connection_run(connection, &KNOWN, &params, &result, error);
    if (status == STATUS_OK)
        for (size_t i = 0; i < count; i++)
            known[i] = result_bool(result, (int)i, 0);
    result_free(&result);
    params_deinit(&params);
    array_deinit(&workspaces);
    array_deinit(&keys);
    return status;
}
