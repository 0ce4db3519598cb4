#include "store/roster_rows.h"

#define ROSTER_COLUMNS                                                                                                 \
    "s.workspace_id, s.id, s.webhook_url, s.event_types, s.status, s.headers, s.secrets, s.signature_style, "          \
    "s.signature_header, s.payload_format, s.payload_template, s.timeout_ms, s.retry_schedule_ms, s.max_in_flight, "   \
    "s.rate_limit_per_second, s.created_by, s.updated_by, s.render_version, s.activation, s.version, "                 \
    "r.workspace_name, s.delivery_mode, s.delay_ms, s.batch_max_events, s.batch_max_bytes, s.batch_max_wait_ms, "      \
    "s.filter FROM subscriptions s LEFT JOIN render_versions r ON r.id = s.render_version "

#define SNAPSHOT_MAX_BYTES (4 * 1024 * 1024) /* 20 bytes a transaction under way */

void roster_snapshot_init(struct roster_snapshot *snapshot) {
    snapshot->xmin = snapshot->xmax = 0;
    buffer_init(&snapshot->text, SNAPSHOT_MAX_BYTES);
}

void roster_snapshot_deinit(struct roster_snapshot *snapshot) {
    buffer_deinit(&snapshot->text);
}

enum status roster_rows_snapshot(struct connection *connection, struct roster_snapshot *ret_snapshot,
                                 struct error *error) {
    static const struct statement SNAPSHOT = {"SELECT pg_snapshot_xmin(s), pg_snapshot_xmax(s), s::text "
                                              "FROM (SELECT pg_current_snapshot() AS s) x"};
    struct result *result = NULL;
    enum status status = connection_run(connection, &SNAPSHOT, NULL, &result, error);
    if (status == STATUS_OK) {
        ret_snapshot->xmin = result_int(result, 0, 0);
        ret_snapshot->xmax = result_int(result, 0, 1);
        buffer_reset(&ret_snapshot->text);
        buffer_span(&ret_snapshot->text, result_text(result, 0, 2));
        CHECK(!ret_snapshot->text.overflowed);
    }
    result_free(&result);
    return status;
}

enum status roster_rows_page(struct connection *connection, struct span after_workspace, const struct uuid *after_id,
                             int limit, struct result **ret_rows, struct error *error) {
    static const struct statement FIRST = {"SELECT " ROSTER_COLUMNS "WHERE s.status <> 'deleted' "
                                           "ORDER BY s.workspace_id, s.id LIMIT $1"};
    static const struct statement NEXT = {"SELECT " ROSTER_COLUMNS "WHERE s.status <> 'deleted' "
                                          "AND (s.workspace_id, s.id) > ($2, $3) "
                                          "ORDER BY s.workspace_id, s.id LIMIT $1"};
    struct params params;
    params_init(&params);
    params_int8(&params, limit);
    if (after_workspace.data) {
        params_text(&params, after_workspace);
        params_uuid(&params, after_id);
    }
    enum status status = connection_run(connection, after_workspace.data ? &NEXT : &FIRST, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

static void params_xid(struct params *params, int64_t xid) {
    struct buffer number;
    buffer_init(&number, 64);
    buffer_int(&number, xid);
    params_text(params, buffer_view(&number));
    buffer_deinit(&number);
}

/* The bounds are for the index. What the last snapshot saw need not come again, however long somebody else's
 * transaction holds xmin back. */
enum status roster_rows_changed(struct connection *connection, const struct roster_snapshot *seen, int limit,
                                struct roster_snapshot *ret_snapshot, struct result **ret_rows, struct error *error) {
    /* One statement, hence one snapshot: what it can't see yet, the one before it did not see either. */
    static const struct statement CHANGED = {
        "SELECT " ROSTER_COLUMNS "WHERE s.xid >= $1::text::xid8 AND s.xid < $2::text::xid8 "
        "AND NOT pg_visible_in_snapshot(s.xid, $3::text::pg_snapshot) LIMIT $4::int8"};
    enum status status = roster_rows_snapshot(connection, ret_snapshot, error);
    if (status != STATUS_OK || ret_snapshot->xmax <= seen->xmin)
        return status;
    struct params params;
    params_init(&params);
    params_xid(&params, seen->xmin);
    params_xid(&params, ret_snapshot->xmax);
    params_text(&params, buffer_view(&seen->text));
    params_int8(&params, limit);
    status = connection_run(connection, &CHANGED, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

static enum subscription_status status_of(struct span text) {
    if (span_is(text, "active"))
        return SUBSCRIPTION_ACTIVE;
    if (span_is(text, "paused"))
        return SUBSCRIPTION_PAUSED;
    return span_is(text, "disabled") ? SUBSCRIPTION_DISABLED : SUBSCRIPTION_DELETED;
}

static enum signature_style style_of(struct span text) {
    if (span_is(text, "standard"))
        return SIGNATURE_STANDARD;
    if (span_is(text, "hex"))
        return SIGNATURE_HEX;
    return span_is(text, "both") ? SIGNATURE_BOTH : SIGNATURE_NONE;
}

static enum delivery_mode mode_of(struct span text) {
    if (span_is(text, "delayed"))
        return DELIVERY_DELAYED;
    return span_is(text, "batched") ? DELIVERY_BATCHED : DELIVERY_IMMEDIATE;
}

static int64_t int_or_0(const struct result *rows, int row, int column) {
    return result_is_null(rows, row, column) ? 0 : result_int(rows, row, column);
}

static int64_t big_endian_int8(struct span bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.len && i < 8; i++)
        value = value << 8 | (uint8_t)bytes.data[i];
    return (int64_t)value;
}

void roster_row_read(const struct result *rows, int row, struct roster_row *ret_row) {
    struct span retries[SUBSCRIPTION_MAX_RETRIES];
    int types = result_array(rows, row, 3, ret_row->types, SUBSCRIPTION_MAX_TYPES);
    int retry_count = result_array(rows, row, 12, retries, SUBSCRIPTION_MAX_RETRIES);
    for (int i = 0; i < retry_count && i < SUBSCRIPTION_MAX_RETRIES; i++)
        ret_row->retries[i] = retries[i].len ? big_endian_int8(retries[i]) : -1; /* null: as bad as a negative one */
    ret_row->spec = (struct subscription_spec){
        .workspace_id = result_text(rows, row, 0),
        .id = result_uuid(rows, row, 1),
        .url = result_text(rows, row, 2),
        .event_types = ret_row->types,
        .event_type_count = (size_t)types,
        .status = status_of(result_text(rows, row, 4)),
        .sealed_headers = result_text(rows, row, 5),
        .sealed_secrets = result_text(rows, row, 6),
        .signature_style = style_of(result_text(rows, row, 7)),
        .signature_header = result_text(rows, row, 8),
        .format = result_text(rows, row, 9),
        .format_template = result_text(rows, row, 10),
        .timeout_ms = (int32_t)int_or_0(rows, row, 11),
        .retry_schedule_ms = result_is_null(rows, row, 12) ? NULL : ret_row->retries,
        .retry_count = (size_t)retry_count,
        .max_in_flight = (int32_t)int_or_0(rows, row, 13),
        .rate_per_second = (int32_t)int_or_0(rows, row, 14),
        .created_by = result_text(rows, row, 15),
        .updated_by = result_text(rows, row, 16),
        .render_version = result_int(rows, row, 17),
        .activation = result_int(rows, row, 18),
        .version = result_int(rows, row, 19),
        .workspace_name = result_text(rows, row, 20),
        .delivery_mode = mode_of(result_text(rows, row, 21)),
        .delay_ms = int_or_0(rows, row, 22),
        .batch_max_events = (int32_t)int_or_0(rows, row, 23),
        .batch_max_bytes = (int32_t)int_or_0(rows, row, 24),
        .batch_max_wait_ms = int_or_0(rows, row, 25),
        .filter = result_text(rows, row, 26),
    };
}

enum status roster_disable(struct connection *connection, struct span workspace_id, const struct uuid *id,
                           int64_t activation, struct span reason, struct error *error) {
    static const struct statement DISABLE = {
        "UPDATE subscriptions SET status = 'disabled', disabled_reason = $4, updated_at = now() "
        "WHERE workspace_id = $1 AND id = $2 AND activation = $3 AND status = 'active'"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, id);
    params_int8(&params, activation);
    params_text(&params, reason);
    enum status status = connection_run(connection, &DISABLE, &params, NULL, error);
    params_deinit(&params);
    return status;
}
