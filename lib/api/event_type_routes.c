/* …/event_types: what a subscription may ask for. */
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
        call_field_error(call, "dialect", "expected seanotify, seleqt, saleshandy, kakiyo or supersend");
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

static const struct api_route ROUTES[] = {
    {"GET", "/api/v1/event_types", get_event_types, 0},
};

const struct api_route *event_type_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
