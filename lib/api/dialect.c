#include "api/dialect.h"
#include "api/event_type_names.h"
#include "base/clock.h"
#include "store/catalogue.h"
#include <jansson.h>
#include <stdio.h>

bool dialect_workspace(struct call *call) {
    if (call->workspace_id.data)
        return true;
    call_field_error(call, "X-Workspace-ID", "is required with an admin key");
    call_refuse(call);
    return false;
}

struct span dialect_text(const struct call *call, const char *name) {
    const json_t *value = json_object_get(call->json, name);
    return json_is_string(value) ? (struct span){json_string_value(value), json_string_length(value)} : SPAN_NONE;
}

void dialect_check_fields(struct call *call, const struct dialect *dialect) {
    const char *name;
    json_t *value;
    json_object_foreach(call->json, name, value) {
        bool known = false;
        for (size_t i = 0; i < dialect->field_count; i++)
            known |= strcmp(dialect->fields[i].name, name) == 0;
        if (!known)
            call_field_error(call, name, "there is no such field");
    }
    for (size_t i = 0; i < dialect->field_count; i++) {
        const struct dialect_field *field = &dialect->fields[i];
        value = json_object_get(call->json, field->name);
        if (field->required && (!value || json_is_null(value)))
            call_field_error(call, field->name, "is required");
    }
}

struct subscription_row dialect_row(const struct call *call) {
    return (struct subscription_row){
        .id = uuid_new(clock_wall_ms()),
        .workspace_id = call->workspace_id,
        .type = SPAN_LITERAL("SEASALT"),
        .status = SPAN_LITERAL("active"),
        .signature_style = SPAN_LITERAL("standard"),
        .payload_format = SPAN_LITERAL("standard"),
        .delivery_mode = SPAN_LITERAL("immediate"),
        .retry_count = -1,
    };
}

/* "event_types[2]" is "webhookEvent[2]" to who wrote that. */
static void rename_errors(struct call *call, const struct dialect *dialect) {
    size_t at;
    json_t *one;
    json_array_foreach(call->errors, at, one) {
        const char *field = json_string_value(json_object_get(one, "field"));
        for (size_t i = 0; i < dialect->field_count; i++) {
            const char *native = dialect->fields[i].native;
            size_t len = native ? strlen(native) : 0;
            if (len == 0 || strncmp(field, native, len) != 0 || (field[len] && !strchr(".[", field[len])))
                continue;
            json_object_set_new(one, "field", json_sprintf("%s%s", dialect->fields[i].name, field + len));
            break;
        }
    }
}

static const char *name_of(const struct dialect *dialect, const char *native) {
    for (size_t i = 0; i < dialect->field_count; i++)
        if (dialect->fields[i].native && strcmp(dialect->fields[i].native, native) == 0)
            return dialect->fields[i].name;
    return native;
}

static enum status check_types(struct call *call, const struct dialect *dialect, const struct subscription_row *row,
                               struct error *error) {
    struct result *known = NULL;
    struct catalogue_row type;
    enum status status = catalogue_list(call->connection, SPAN_NONE, dialect->name, &known, error);
    for (size_t i = 0; i < row->event_type_count && status == STATUS_OK; i++) {
        bool found = false;
        for (int n = 0; n < result_rows(known) && !found; n++) {
            catalogue_row_read(known, n, &type);
            found = span_equal(type.event_type, row->event_types[i]);
        }
        if (!found)
            status =
                event_type_unknown(call, name_of(dialect, "event_types"), row->event_types[i], dialect->name, error);
    }
    result_free(&known);
    return status;
}

/* The native object takes the body's place: what row refers to lies in it. */
static void translate(struct call *call, const struct dialect *dialect) {
    json_t *native = json_pack("{s:b}", "is_enabled", 1);
    for (size_t i = 0; i < dialect->field_count; i++) {
        json_t *value = json_object_get(call->json, dialect->fields[i].name);
        if (dialect->fields[i].native && value && !json_is_null(value))
            json_object_set(native, dialect->fields[i].native, value);
    }
    json_decref(call->json);
    call->json = native;
}

enum status dialect_read(struct call *call, const struct dialect *dialect, struct subscription_row *row,
                         struct subscription_change *change, struct error *error) {
    change->create = true;
    dialect_check_fields(call, dialect);
    if (call->errors)
        return STATUS_OK;
    translate(call, dialect);
    subscription_fields_read(call, row, change);
    rename_errors(call, dialect);
    return check_types(call, dialect, row, error);
}

struct json_t *dialect_types_json(const struct subscription_row *row) {
    json_t *types = json_array();
    for (size_t i = 0; i < row->event_type_count; i++)
        json_array_append_new(types, json_stringn(row->event_types[i].data, row->event_types[i].len));
    return types;
}

struct json_t *dialect_id_json(const struct uuid *id) {
    char text[UUID_TEXT_LEN + 1];
    uuid_format(id, text);
    return json_string(text);
}
