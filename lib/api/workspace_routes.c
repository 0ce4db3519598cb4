/* /api/v1/workspaces: whom there is. Making, naming and erasing take an admin key. */
#include "api/query.h"
#include "api/routes.h"
#include "base/utf8.h"
#include "store/workspaces.h"
#include <jansson.h>

#define LIST_DEFAULT 100
#define LIST_MAX 1000

static json_t *workspace_view(const struct workspace_row *row) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "id", query_text(row->id), "name", query_text(row->name),
                     "created_at", query_moment(row->created_at_ms), "updated_at", query_moment(row->updated_at_ms),
                     "erasing_since", query_moment(row->erased_at_ms));
}

static void list(struct call *call) {
    static const char *const QUERY[] = {"limit", "cursor", NULL};
    struct span after = call_query(call, "cursor"); /* the id of the page before's last one */
    struct result *rows = NULL;
    struct error error;
    call_check_query(call, QUERY);
    int limit = query_limit(call, LIST_DEFAULT, LIST_MAX);
    if (after.data && !workspace_id_valid(after))
        call_field_error(call, "cursor", "expected the next_cursor of an answer");
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status = workspaces_list(call->connection, after, limit, &rows, &error);
    if (status == STATUS_OK) {
        json_t *workspaces = json_array();
        struct workspace_row row = {.id = SPAN_NONE};
        int count = result_rows(rows);
        for (int i = 0; i < count; i++) {
            workspaces_row_read(rows, i, &row);
            json_array_append_new(workspaces, workspace_view(&row));
        }
        json_t *next = count == limit ? query_text(row.id) : json_null();
        call_answer_json(call, 200, json_pack("{s:o, s:o}", "workspaces", workspaces, "next_cursor", next));
    } else {
        call_failed(call, status, &error);
    }
    result_free(&rows);
}

static void answer(struct call *call, enum status status, int code, struct result *rows, const struct error *error) {
    if (status == STATUS_OK) {
        struct workspace_row row;
        workspaces_row_read(rows, 0, &row);
        call_answer_json(call, code ? code : row.made ? 201 : 200, workspace_view(&row));
    } else {
        call_failed(call, status, error);
    }
    result_free(&rows);
}

/* False: it can't be one, and so there is none; the call is answered. */
static bool can_be(struct call *call) {
    struct error error;
    if (workspace_id_valid(call->workspace_id))
        return true;
    call_failed(call, error_set(&error, STATUS_NOT_FOUND, "not a workspace's id"), &error);
    return false;
}

static void get(struct call *call) {
    struct result *rows = NULL;
    struct error error;
    if (can_be(call)) {
        struct workspace_row row = {.erased_at_ms = 0};
        enum status status = workspaces_get(call->connection, call->workspace_id, &rows, &error);
        if (status == STATUS_OK)
            workspaces_row_read(rows, 0, &row);
        if (row.erased_at_ms)
            status = error_set(&error, STATUS_NOT_FOUND, "it is being erased");
        answer(call, status, 200, rows, &error);
    }
}

/* SPAN_NONE: null. */
static struct span read_name(struct call *call) {
    const char *key;
    json_t *value;
    json_object_foreach(call->json, key, value) {
        if (strcmp(key, "name") != 0)
            call_field_error(call, key, "there is no such field; a workspace has a name");
    }
    value = json_object_get(call->json, "name");
    if (!value || json_is_null(value))
        return SPAN_NONE;
    struct span name = {json_string_value(value), json_string_length(value)};
    bool right = name.data && name.len <= WORKSPACE_NAME_MAX_BYTES;
    for (size_t i = 0; right && i < name.len; i++)
        right = (unsigned char)name.data[i] >= ' ' && name.data[i] != 0x7f;
    if (!right)
        call_field_error(call, "name", "expected a text of at most %d bytes without control characters, or null",
                         WORKSPACE_NAME_MAX_BYTES);
    return name;
}

static void put(struct call *call) {
    struct result *rows = NULL;
    struct error error;
    struct span name = read_name(call);
    if (!workspace_id_valid(call->workspace_id))
        call_field_error(call, "workspace_id", "expected 1 to %d bytes of UTF-8 without control characters",
                         WORKSPACE_ID_MAX_BYTES);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status = workspaces_put(call->connection, call->workspace_id, name, &rows, &error);
    if (status == STATUS_NOT_FOUND)
        call_problem(call, 409, "workspace_erasing", "The workspace is being erased. Try again when it is gone.");
    else
        answer(call, status, 0, rows, &error);
}

static void erase(struct call *call) {
    struct result *rows = NULL;
    struct error error;
    if (can_be(call)) {
        enum status status = workspaces_erase(call->connection, call->workspace_id, &rows, &error);
        answer(call, status, 202, rows, &error);
    }
}

#define ALL "/api/v1/workspaces"
#define ONE ALL "/{workspace_id}"

static const struct api_route ROUTES[] = {
    {"GET", ALL, list, CALL_ADMIN},
    {"GET", ONE, get, CALL_WORKSPACE_MAY_BE},
    {"PUT", ONE, put, CALL_ADMIN | CALL_WORKSPACE_MAY_BE | CALL_BODY},
    {"DELETE", ONE, erase, CALL_ADMIN | CALL_WORKSPACE_MAY_BE},
};

const struct api_route *workspace_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
