/* …/event_types: what a subscription may ask for; and a workspace's own types, which it makes and changes itself. */
#include "api/event_type_fields.h"
#include "api/routes.h"
#include "base/utf8.h"
#include "store/catalogue.h"
#include <jansson.h>

static struct json_t *type_json(const struct result *rows, int row) {
    struct catalogue_row type;
    catalogue_row_read(rows, row, &type);
    return json_pack("{s:s%, s:s%}", "event_type", type.event_type.data, type.event_type.len, "description",
                     type.description.data, type.description.len);
}

static void get_event_types(struct call *call) {
    static const char *const QUERY[] = {"dialect", NULL};
    struct span dialect = call_query(call, "dialect");
    bool known = true;
    struct error error;
    enum status status = STATUS_OK;
    call_check_query(call, QUERY);
    if (!dialect.data)
        dialect = SPAN_LITERAL(CATALOGUE_DEFAULT_DIALECT);
    else if (utf8_valid_prefix(dialect) < dialect.len || memchr(dialect.data, '\0', dialect.len))
        known = false;
    else
        status = catalogue_dialect_known(call->connection, dialect, &known, &error);
    if (!known)
        call_field_error(call, "dialect", "expected seanotify, seleqt, saleshandy, kakiyo, supersend or hookcast");
    struct result *rows = NULL;
    if (status == STATUS_OK && !call->errors)
        status = catalogue_list(call->connection, call->workspace_id, dialect, &rows, &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
    } else if (call->errors) {
        call_refuse(call);
    } else {
        json_t *types = json_array();
        for (int i = 0; i < result_rows(rows); i++)
            json_array_append_new(types, type_json(rows, i));
        call_answer_json(call, 200, types);
    }
    result_free(&rows);
}

/* ---- a workspace's own ---- */

static void answer_entry(struct call *call, int status, const struct result *rows) {
    struct catalogue_entry entry;
    catalogue_entry_read(rows, 0, &entry);
    buffer_reset(&call->answer);
    event_type_write(call, &entry);
    call_answer_text(call, status, "application/json");
}

static void list_own(struct call *call) {
    static const char *const QUERY[] = {NULL};
    struct result *rows = NULL;
    struct error error;
    call_check_query(call, QUERY);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status = catalogue_list_own(call->connection, call->workspace_id, &rows, &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
        return;
    }
    buffer_text(&call->answer, "{\"event_types\":[");
    for (int i = 0; i < result_rows(rows); i++) {
        struct catalogue_entry entry;
        catalogue_entry_read(rows, i, &entry);
        buffer_text(&call->answer, i ? "," : "");
        event_type_write(call, &entry);
    }
    buffer_text(&call->answer, "]}");
    result_free(&rows);
    call_answer_text(call, 200, "application/json");
}

/* SPAN_NONE: a name that no type can have. */
static struct span named_type(const struct call *call) {
    struct span name = call_param(call, "event_type");
    return event_type_name_valid(name) ? name : SPAN_LITERAL("");
}

static void get_own(struct call *call) {
    static const char *const QUERY[] = {NULL};
    struct catalogue_entry entry;
    struct result *rows = NULL;
    struct error error;
    call_check_query(call, QUERY);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status =
        catalogue_lock_own(call->connection, call->workspace_id, named_type(call), &rows, &entry, &error);
    if (status == STATUS_OK)
        answer_entry(call, 200, rows);
    else
        call_failed(call, status, &error);
    result_free(&rows);
}

/* The database keeps numbers that no double holds, but not every one: 1e-20000 has too many digits for it. */
static enum status blame_number(struct call *call, enum status status) {
    if (status != STATUS_FAILED || strcmp(connection_sqlstate(call->connection), "22003") != 0)
        return status;
    call_field_error(call, "", "the example or the schema has a number with too many digits");
    return STATUS_OK;
}

static void create_own(struct call *call) {
    struct catalogue_entry entry = {.description = SPAN_LITERAL("")};
    struct result *rows = NULL;
    struct error error;
    event_type_fields_read(call, true, &entry);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status =
        blame_number(call, catalogue_create(call->connection, call->workspace_id, &entry, &rows, &error));
    if (status == STATUS_CONFLICT && !connection_sqlstate(call->connection)[0]) {
        call_problem(call, 409, "event_type_exists", "The event type %.*s is there already.",
                     SPAN_ARGS(entry.event_type));
    } else if (status != STATUS_OK) {
        call_failed(call, status, &error);
    } else if (call->errors) {
        call_refuse(call);
    } else {
        call_header(
            call, "Location",
            span_of(arena_printf(call->arena, "%.*s/%.*s", SPAN_ARGS(call->path), SPAN_ARGS(entry.event_type))));
        answer_entry(call, 201, rows);
    }
    result_free(&rows);
}

static void change_own(struct call *call) {
    struct catalogue_entry entry;
    struct result *before = NULL, *after = NULL;
    struct error error, ignored;
    enum status status = connection_exec(call->connection, "BEGIN", &error);
    if (status == STATUS_OK)
        status = catalogue_lock_own(call->connection, call->workspace_id, named_type(call), &before, &entry, &error);
    if (status == STATUS_OK)
        event_type_fields_read(call, false, &entry);
    if (status == STATUS_OK && !call->errors)
        status = blame_number(call, catalogue_update(call->connection, call->workspace_id, &entry, &after, &error));
    if (status == STATUS_OK && !call->errors)
        status = connection_exec(call->connection, "COMMIT", &error);
    else if (connection_is_open(call->connection) &&
             connection_exec(call->connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(call->connection);
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    else if (call->errors)
        call_refuse(call);
    else
        answer_entry(call, 200, after);
    result_free(&after);
    result_free(&before);
}

static void archive_own(struct call *call) {
    struct error error;
    enum status status = catalogue_archive(call->connection, call->workspace_id, named_type(call), &error);
    if (status == STATUS_OK)
        call_answer_empty(call, 204);
    else
        call_failed(call, status, &error);
}

#define ALL "/api/v1/workspaces/{workspace_id}/event_types"
#define ONE ALL "/{event_type}"

static const struct api_route ROUTES[] = {
    {"GET", "/api/v1/event_types", get_event_types, 0},
    {"GET", ALL, list_own, 0},
    {"POST", ALL, create_own, CALL_BODY},
    {"GET", ONE, get_own, 0},
    {"PATCH", ONE, change_own, CALL_BODY},
    {"DELETE", ONE, archive_own, 0},
};

const struct api_route *event_type_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
