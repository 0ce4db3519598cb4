/* …/audit: who changed what. An admin key sees all of it under /api/v1/audit. */
#include "api/query.h"
#include "api/routes.h"
#include "base/json_text.h"
#include "store/audit.h"
#include <jansson.h>

#define LIST_DEFAULT 50
#define LIST_MAX 500

static void write_member(struct call *call, const char *name, json_t *value) {
    buffer_text(&call->answer, name);
    call_write_json(call, value);
    json_decref(value);
}

/* What stood before and after is written as the database has it, digit for digit. */
static void write_row(struct call *call, const struct audit_row *row) {
    struct buffer *out = &call->answer;
    write_member(call, "{\"id\":", json_integer(row->id));
    write_member(call, ",\"created_at\":", query_moment(row->created_at_ms));
    write_member(call, ",\"workspace_id\":", query_text(row->workspace_id));
    write_member(call, ",\"key_id\":", query_id(&row->key));
    write_member(call, ",\"request_id\":", query_text(row->request_id));
    write_member(call, ",\"action\":", query_text(row->action));
    write_member(call, ",\"target\":", query_text(row->target));
    buffer_text(out, ",\"before\":");
    buffer_span(out, row->before.data ? row->before : SPAN_LITERAL("null"));
    buffer_text(out, ",\"after\":");
    buffer_span(out, row->after.data ? row->after : SPAN_LITERAL("null"));
    buffer_char(out, '}');
}

static void answer_page(struct call *call, const struct result *rows, int limit) {
    struct audit_row row = {.id = 0};
    int count = result_rows(rows);
    buffer_reset(&call->answer);
    buffer_text(&call->answer, "{\"audit\":[");
    for (int i = 0; i < count; i++) {
        audit_row_read(rows, i, &row);
        buffer_text(&call->answer, i ? "," : "");
        write_row(call, &row);
    }
    write_member(call, "],\"next_cursor\":", count == limit ? query_cursor_of_number(row.id) : json_null());
    buffer_char(&call->answer, '}');
    call_answer_text(call, 200, "application/json");
}

static struct span text_query(struct call *call, const char *name) {
    struct span text = call_query(call, name);
    if (text.data && !query_is_text(text))
        call_field_error(call, name, "expected text");
    return text;
}

static void list(struct call *call) {
    static const char *const QUERY[] = {"action", "target", "key_id", "since", "until", "limit", "cursor", NULL};
    struct uuid key;
    struct result *rows = NULL;
    struct error error;
    call_check_query(call, QUERY);
    struct audit_page page = {
        .workspace_id = call->workspace_id,
        .action = text_query(call, "action"),
        .target = text_query(call, "target"),
        .since_ms = query_time(call, "since", false),
        .until_ms = query_time(call, "until", true),
        .limit = query_limit(call, LIST_DEFAULT, LIST_MAX),
    };
    if (query_uuid(call, "key_id", &key))
        page.key = &key;
    query_cursor_number(call, &page.before, NULL);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status = audit_list(call->connection, &page, &rows, &error);
    if (status == STATUS_OK)
        answer_page(call, rows, page.limit);
    else
        call_failed(call, status, &error);
    result_free(&rows);
}

static const struct api_route ROUTES[] = {
    {"GET", "/api/v1/workspaces/{workspace_id}/audit", list, 0},
    {"GET", "/api/v1/audit", list, CALL_ADMIN},
};

const struct api_route *audit_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
