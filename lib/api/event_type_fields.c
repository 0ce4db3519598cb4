#include "api/event_type_fields.h"
#include "api/json_member.h"
#include "api/schema.h"
#include "base/clock.h"
#include "base/memory.h"
#include "webhook/subscription.h"
#include <jansson.h>
#include <stdio.h>

#define DESCRIPTION_MAX_BYTES 1000
#define EXAMPLE_MAX_BYTES (64 * 1024)
#define RESERVED SPAN_LITERAL("hookcast.")

bool event_type_name_valid(struct span name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '_' && c != '.' && c != '-')
            return false;
    }
    return name.len > 0 && name.len <= SUBSCRIPTION_MAX_PATTERN_BYTES;
}

static void read_name(struct call *call, const json_t *value, struct catalogue_entry *entry) {
    struct span name = {json_string_value(value), json_string_length(value)};
    if (!json_is_string(value) || !event_type_name_valid(name))
        call_field_error(call, "event_type", "expected a text of 1 to 200 of A-Z a-z 0-9 _ . -");
    else if (span_has_prefix(name, RESERVED))
        call_field_error(call, "event_type", "names that begin with hookcast. are hookcast's own");
    else
        entry->event_type = name;
}

static void read_description(struct call *call, const json_t *value, struct catalogue_entry *entry) {
    struct span text = {json_string_value(value), json_string_length(value)};
    if (!json_is_string(value) || text.len > DESCRIPTION_MAX_BYTES)
        call_field_error(call, "description", "expected a text of at most %d bytes", DESCRIPTION_MAX_BYTES);
    else
        entry->description = text;
}

/* As it was written; null is nothing. */
static struct span written(const struct call *call, const char *name, const json_t *value) {
    return json_is_null(value) ? SPAN_NONE : json_member_text(call->body, name);
}

struct complaining {
    struct call *call;
    const char *field;
};

/* "example/contact/email: …" */
static void complain(void *ctx, const char *where, const char *message) {
    struct complaining *complaining = ctx;
    call_field_error(complaining->call, arena_printf(complaining->call->arena, "%s%s", complaining->field, where), "%s",
                     message);
}

static void ignore(void *ctx, const char *where, const char *message) {
    (void)ctx, (void)where, (void)message;
}

static void read_example(struct call *call, const json_t *value, struct catalogue_entry *entry) {
    entry->example = written(call, "example", value);
    if (entry->example.len > EXAMPLE_MAX_BYTES)
        call_field_error(call, "example", "is longer than %d bytes", EXAMPLE_MAX_BYTES);
}

static void read_schema(struct call *call, const json_t *value, struct catalogue_entry *entry) {
    struct complaining complaining = {call, "schema"};
    if (json_is_null(value) || schema_check_schema(value, complain, &complaining))
        entry->schema = written(call, "schema", value);
}

static void read_sample(struct call *call, const json_t *value, struct catalogue_entry *entry) {
    if (json_is_null(value))
        entry->sample = SPAN_NONE;
    else
        call_field_error(call, "sample", "can only be taken away, by null");
}

static void check_example(struct call *call, const struct catalogue_entry *entry) {
    struct complaining complaining = {call, "example"};
    long steps = SCHEMA_STEPS;
    if (!entry->schema.data || !entry->example.data)
        return;
    /* One that was written by SQL may be none. */
    json_t *schema = schema_load(entry->schema.data, entry->schema.len);
    if (schema && schema_check_schema(schema, ignore, NULL))
        schema_check_text(schema, entry->example.data, entry->example.len, &steps, complain, &complaining);
    else
        call_field_error(call, "schema", "can't be followed; change it too, or take it away");
    json_decref(schema);
}

void event_type_fields_read(struct call *call, bool create, struct catalogue_entry *entry) {
    const char *name;
    json_t *value;
    json_object_foreach(call->json, name, value) {
        if (strcmp(name, "event_type") == 0 && create)
            read_name(call, value, entry);
        else if (strcmp(name, "event_type") == 0)
            call_field_error(call, name, "can't be changed");
        else if (strcmp(name, "description") == 0)
            read_description(call, value, entry);
        else if (strcmp(name, "example") == 0)
            read_example(call, value, entry);
        else if (strcmp(name, "schema") == 0)
            read_schema(call, value, entry);
        else if (strcmp(name, "sample") == 0 && !create)
            read_sample(call, value, entry);
        else
            call_field_error(call, name, "there is no such field; expected event_type, description, example, schema");
    }
    if (create && !json_object_get(call->json, "event_type"))
        call_field_error(call, "event_type", "is required");
    if (!call->errors)
        check_example(call, entry);
}

/* ---- shown ---- */

static void write_text(struct call *call, const char *name, struct span text) {
    json_t *value = json_stringn(text.data, text.len);
    buffer_printf(&call->answer, "\"%s\":", name);
    call_write_json(call, value);
    json_decref(value);
}

static void write_json(struct call *call, const char *name, struct span json) {
    buffer_printf(&call->answer, ",\"%s\":", name);
    buffer_span(&call->answer, json.data ? json : SPAN_LITERAL("null"));
}

static void write_time(struct call *call, const char *name, int64_t wall_ms) {
    struct buffer text;
    buffer_init(&text, 64);
    if (wall_ms)
        clock_format_iso(wall_ms, &text);
    buffer_printf(&call->answer, wall_ms ? ",\"%s\":\"%s\"" : ",\"%s\":null", name, wall_ms ? text.data : "");
    buffer_deinit(&text);
}

void event_type_write(struct call *call, const struct catalogue_entry *entry) {
    buffer_char(&call->answer, '{');
    write_text(call, "event_type", entry->event_type);
    buffer_char(&call->answer, ',');
    write_text(call, "description", entry->description);
    write_json(call, "example", entry->example);
    write_json(call, "schema", entry->schema);
    write_json(call, "sample", entry->sample);
    write_time(call, "first_seen_at", entry->first_seen_at_ms);
    write_time(call, "last_seen_at", entry->last_seen_at_ms);
    write_time(call, "created_at", entry->created_at_ms);
    buffer_char(&call->answer, '}');
}

/* ---- what events have to be like ---- */

struct event_type_schemas {
    struct result *rows;
    json_t **schemas; /* NULL: SQL wrote it, and it is none */
    long steps;       /* left for all events of the call */
};

enum status event_type_schemas_load(struct call *call, const struct span *types, size_t count,
                                    struct event_type_schemas **ret_schemas, struct error *error) {
    struct result *rows = NULL;
    enum status status = catalogue_schemas(call->connection, call->workspace_id, types, count, &rows, error);
    if (status != STATUS_OK)
        return status;
    struct event_type_schemas *schemas = mem_calloc(1, sizeof(*schemas));
    schemas->rows = rows;
    schemas->steps = SCHEMA_STEPS;
    schemas->schemas = mem_calloc((size_t)result_rows(rows) + 1, sizeof(json_t *));
    for (int i = 0; i < result_rows(rows); i++) {
        struct span text = result_text(rows, i, 1);
        json_t *schema = schema_load(text.data, text.len);
        if (schema && schema_check_schema(schema, ignore, NULL))
            schemas->schemas[i] = json_incref(schema);
        json_decref(schema);
    }
    *ret_schemas = schemas;
    return STATUS_OK;
}

bool event_type_schemas_any(const struct event_type_schemas *schemas) {
    return result_rows(schemas->rows) > 0;
}

void event_type_schemas_free(struct event_type_schemas **schemas_ptr) {
    struct event_type_schemas *schemas = *schemas_ptr;
    *schemas_ptr = NULL;
    if (!schemas)
        return;
    for (int i = 0; i < result_rows(schemas->rows); i++)
        json_decref(schemas->schemas[i]);
    mem_free(schemas->schemas);
    result_free(&schemas->rows);
    mem_free(schemas);
}

void event_type_schemas_check(struct event_type_schemas *schemas, struct call *call, const char *field,
                              struct span type, struct span payload) {
    struct complaining complaining = {call, field};
    if (!payload.data)
        payload = SPAN_LITERAL("null");
    for (int i = 0; i < result_rows(schemas->rows); i++) {
        if (!span_equal(result_text(schemas->rows, i, 0), type))
            continue;
        if (!schemas->schemas[i])
            call_field_error(call, field, "the schema of its event type can't be followed");
        else
            schema_check_text(schemas->schemas[i], payload.data, payload.len, &schemas->steps, complain, &complaining);
    }
}
