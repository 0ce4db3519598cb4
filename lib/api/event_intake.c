#include "api/event_intake.h"
#include "api/event_type_fields.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/memory.h"
#include "core/nearest.h"
#include "core/settings.h"
#include "store/catalogue.h"
#include "webhook/event.h"
#include <stdio.h>

#define NAMES_MAX 2000     /* of the catalogue, for the nearest one */
#define TYPES_AT_ONCE 100  /* asked for in one statement */
#define NAME_MAX_BYTES 120 /* of an unknown member, in the answer */
#define TRACE_MAX_BYTES 512
#define FIELD_BYTES 160
#define COMPLAINTS_MAX 100 /* an answer has fewer */

enum member { ID, WORKSPACE_ID, WORKSPACE_NAME, TYPE, SOURCE, TRIGGERED_BY, OCCURRED_AT, DELIVER_AT, PAYLOAD, MEMBERS };

static const char *const NAMES[MEMBERS] = {
    "id",          "workspace_id", "workspace_name", "event_type", "event_source", "event_triggered_by",
    "occurred_at", "deliver_at",   "payload",
};

struct reading {
    struct call *call;
    struct publication *publication;
    struct span *ids;
    struct event_rules rules;
    struct event_header headers[2];
    size_t header_count;
    int64_t now_ms;
    struct buffer record;

    /* Types that differ, and which event named each first. */
    struct span *types;
    size_t *type_items;
    size_t type_count;

    size_t complaints;

    /* The event that is being read. */
    bool array;
    size_t index;
    enum member order[MEMBERS];
    size_t count;
    struct json_value values[MEMBERS]; /* text SPAN_NONE: absent */
};

/* ---- what is wrong ---- */

static void complain(struct reading *reading, struct span field, const char *message) {
    char name[FIELD_BYTES];
    if (reading->array)
        snprintf(name, sizeof(name), "[%zu]%s%.*s", reading->index, field.len ? "." : "", SPAN_ARGS(field));
    else
        snprintf(name, sizeof(name), "%.*s", SPAN_ARGS(field));
    call_field_error(reading->call, name, "%s", message);
    reading->complaints++;
}

static void complain_unknown(struct reading *reading, struct span name) {
    char text[64];
    if (name.len > NAME_MAX_BYTES)
        name.len = NAME_MAX_BYTES;
    struct nearest nearest = nearest_to(name);
    for (size_t i = 0; i < MEMBERS; i++)
        nearest_offer(&nearest, NAMES[i]);
    snprintf(text, sizeof(text), nearest.best ? "there is no such field; did you mean %s?" : "there is no such field%s",
             nearest.best ? nearest.best : "");
    complain(reading, name, text);
}

/* A reason is "field: what is wrong". */
static void complain_rejected(struct reading *reading, const struct event_rejection *rejection) {
    const char *text = rejection->reason.text, *colon = strstr(text, ": ");
    struct span field = {text, colon ? (size_t)(colon - text) : 0};
    bool named = false;
    for (size_t i = 0; i < MEMBERS; i++)
        named |= span_is(field, NAMES[i]);
    complain(reading, named ? field : SPAN_LITERAL(""), named ? colon + 2 : text);
}

/* ---- one event ---- */

static bool on_member(void *ctx, const struct json_member *member) {
    struct reading *reading = ctx;
    struct span name = member->name;
    if (member->name_escaped) {
        struct buffer plain;
        buffer_init(&plain, name.len + 1);
        json_unescape(name, &plain);
        name = arena_span(reading->call->arena, buffer_view(&plain));
        buffer_deinit(&plain);
    }
    for (size_t i = 0; i < MEMBERS; i++) {
        if (!span_is(name, NAMES[i]))
            continue;
        if (reading->values[i].text.data) {
            complain(reading, name, "stands twice");
        } else {
            reading->values[i] = member->value;
            reading->order[reading->count++] = (enum member)i;
        }
        return true;
    }
    complain_unknown(reading, name);
    return reading->complaints < COMPLAINTS_MAX;
}

static bool is_given(const struct reading *reading, enum member member) {
    return reading->values[member].text.data && reading->values[member].type != JSON_NULL;
}

static bool is_type(struct span text) {
    static const char OTHERS[] = "_.-";
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || !strchr(OTHERS, c)))
            return false;
    }
    return text.len > 0 && text.len <= EVENT_TYPE_MAX;
}

/* SPAN_NONE: it is none, which was complained of. */
static struct span read_type(struct reading *reading) {
    const struct json_value *value = &reading->values[TYPE];
    struct span text = SPAN_NONE;
    if (!is_given(reading, TYPE)) {
        complain(reading, span_of(NAMES[TYPE]), "is required");
        return SPAN_NONE;
    }
    if (value->type == JSON_STRING) {
        struct buffer plain;
        buffer_init(&plain, value->text.len + 1);
        json_unescape(value->text, &plain);
        if (is_type(buffer_view(&plain)))
            text = arena_span(reading->call->arena, buffer_view(&plain));
        buffer_deinit(&plain);
    }
    if (!text.data)
        complain(reading, span_of(NAMES[TYPE]), "expected a string of 1 to 200 of A-Z a-z 0-9 _ . -");
    return text;
}

static void note_type(struct reading *reading, struct span type) {
    for (size_t i = 0; i < reading->type_count; i++)
        if (span_equal(reading->types[i], type))
            return;
    reading->types[reading->type_count] = type;
    reading->type_items[reading->type_count++] = reading->index;
}

/* The event as it was written, without white space, and with an id that the answer can name. */
static void write_record(struct reading *reading) {
    struct buffer *out = &reading->record;
    buffer_reset(out);
    buffer_char(out, '{');
    if (!is_given(reading, ID)) {
        struct uuid id = uuid_new(reading->now_ms);
        buffer_text(out, "\"id\":\"evt_");
        hex_encode((struct span){(const char *)id.bytes, sizeof(id.bytes)}, out);
        buffer_char(out, '"');
    }
    for (size_t i = 0; i < reading->count; i++) {
        enum member member = reading->order[i];
        if (member == ID && !is_given(reading, ID))
            continue;
        buffer_text(out, out->len > 1 ? ",\"" : "\"");
        buffer_text(out, NAMES[member]);
        buffer_text(out, "\":");
        json_compact(&reading->values[member], out);
    }
    buffer_char(out, '}');
}

/* False: the pipeline would not take it, or it is another workspace's. */
static bool judge(struct reading *reading, struct span topic) {
    struct call *call = reading->call;
    struct event *event = NULL;
    struct event_rejection rejection;
    struct event_record record = {.topic = topic,
                                  .timestamp_ms = reading->now_ms,
                                  .key = call->workspace_id,
                                  .value = buffer_view(&reading->record),
                                  .headers = reading->headers,
                                  .header_count = reading->header_count};
    if (reading->record.overflowed || reading->record.len > EVENT_INTAKE_MAX_BYTES) {
        complain(reading, SPAN_LITERAL(""), "is larger than 1,000,000 bytes");
        return false;
    }
    if (event_read(&record, &reading->rules, &event, &rejection) != EVENT_ACCEPTED) {
        complain_rejected(reading, &rejection);
        return false;
    }
    bool own = span_equal(event->workspace_id, call->workspace_id);
    if (!own)
        complain(reading, span_of(NAMES[WORKSPACE_ID]), "is not the workspace of the path");
    reading->ids[reading->index] = arena_span(call->arena, event->id_json);
    event_unref(&event);
    return own;
}

static bool read_event(void *ctx, const struct json_value *element) {
    struct reading *reading = ctx;
    reading->count = 0;
    memset(reading->values, 0, sizeof(reading->values));
    if (element->type != JSON_OBJECT) {
        complain(reading, SPAN_LITERAL(""), "expected a JSON object");
    } else {
        json_each_member(element->text, on_member, reading);
        struct span type = read_type(reading);
        if (type.data) {
            struct buffer topic;
            buffer_init(&topic, 1024);
            buffer_span(&topic, reading->rules.topic_prefix);
            buffer_span(&topic, type);
            write_record(reading);
            if (judge(reading, buffer_view(&topic)))
                publication_add(reading->publication, buffer_view(&topic), buffer_view(&reading->record));
            buffer_deinit(&topic);
            note_type(reading, type);
        }
    }
    reading->index++;
    return reading->complaints < COMPLAINTS_MAX;
}

/* ---- all of them ---- */

static bool count_element(void *ctx, const struct json_value *element) {
    (void)element;
    return ++*(size_t *)ctx <= EVENT_INTAKE_MAX;
}

static enum status read_names(struct reading *reading, struct span type, struct nearest *nearest, struct error *error) {
    struct result *names = NULL;
    struct call *call = reading->call;
    enum status status = catalogue_names(call->connection, call->workspace_id, NAMES_MAX, &names, error);
    *nearest = nearest_to(type);
    for (int i = 0; status == STATUS_OK && i < result_rows(names); i++)
        nearest_offer(nearest, arena_strdup(call->arena, result_text(names, i, 0)));
    result_free(&names);
    return status;
}

static enum status complain_type(struct reading *reading, struct span type, struct error *error) {
    char text[2 * EVENT_TYPE_MAX + 64];
    struct nearest nearest;
    enum status status = read_names(reading, type, &nearest, error);
    for (size_t i = 0; i < reading->type_count; i++)
        if (span_equal(reading->types[i], type))
            reading->index = reading->type_items[i];
    snprintf(text, sizeof(text), "there is no event type \"%.*s\"%s%s%s", SPAN_ARGS(type),
             nearest.best ? "; did you mean " : "", nearest.best ? nearest.best : "", nearest.best ? "?" : "");
    complain(reading, span_of(NAMES[TYPE]), text);
    return status;
}

static enum status check_types(struct reading *reading, struct error *error) {
    struct call *call = reading->call;
    enum status status = STATUS_OK;
    for (size_t at = 0; at < reading->type_count && status == STATUS_OK; at += TYPES_AT_ONCE) {
        size_t left = reading->type_count - at, count = left < TYPES_AT_ONCE ? left : TYPES_AT_ONCE;
        struct result *unknown = NULL;
        status = catalogue_unknown(call->connection, call->workspace_id, reading->types + at, count, &unknown, error);
        /* Past a few the answer holds no more of them. */
        for (int i = 0; status == STATUS_OK && i < result_rows(unknown) && i < 10; i++)
            status = complain_type(reading, result_text(unknown, i, 0), error);
        result_free(&unknown);
    }
    return status;
}

struct schema_check {
    struct reading *reading;
    struct event_type_schemas *schemas;
    size_t index;
};

static bool check_payload(void *ctx, const struct json_value *element) {
    struct schema_check *check = ctx;
    struct reading *reading = check->reading;
    struct json_value type, payload = {.text = SPAN_NONE};
    struct buffer plain;
    char field[FIELD_BYTES] = "payload";
    CHECK(json_find(element->text, span_of(NAMES[TYPE]), &type));
    if (!json_find(element->text, span_of(NAMES[PAYLOAD]), &payload))
        payload.text = SPAN_NONE;
    buffer_init(&plain, type.text.len + 1);
    json_unescape(type.text, &plain);
    if (reading->array)
        snprintf(field, sizeof(field), "[%zu].payload", check->index);
    event_type_schemas_check(check->schemas, reading->call, field, buffer_view(&plain), payload.text);
    buffer_deinit(&plain);
    check->index++;
    return true;
}

/* The events are read again only where one of their types has a schema. */
static enum status check_schemas(struct reading *reading, const struct json_value *body, struct error *error) {
    struct schema_check check = {.reading = reading};
    struct event_type_schemas *schemas = NULL;
    enum status status = event_type_schemas_load(reading->call, reading->types, reading->type_count, &schemas, error);
    if (status != STATUS_OK)
        return status;
    check.schemas = schemas;
    if (event_type_schemas_any(schemas) && reading->array)
        json_each_element(body->text, check_payload, &check);
    else if (event_type_schemas_any(schemas))
        check_payload(&check, body);
    event_type_schemas_free(&schemas);
    return STATUS_OK;
}

static bool is_plain(struct span value) {
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] < 0x20 || value.data[i] > 0x7E)
            return false;
    return value.len > 0 && value.len <= TRACE_MAX_BYTES;
}

/* The trace travels with each of them; a state without its parent means nothing. */
static void take_headers(struct reading *reading) {
    const struct call *call = reading->call;
    if (!call->traceparent.data || !is_plain(call->traceparent))
        return;
    reading->headers[reading->header_count++] = (struct event_header){SPAN_LITERAL("traceparent"), call->traceparent};
    if (call->tracestate.data && is_plain(call->tracestate))
        reading->headers[reading->header_count++] = (struct event_header){SPAN_LITERAL("tracestate"), call->tracestate};
    for (size_t i = 0; i < reading->header_count; i++)
        publication_add_header(reading->publication, reading->headers[i].name, reading->headers[i].value);
}

static enum status read_all(struct reading *reading, const struct json_value *body, size_t count, struct error *error) {
    struct call *call = reading->call;
    reading->ids = arena_alloc(call->arena, count * sizeof(*reading->ids));
    reading->types = arena_alloc(call->arena, count * sizeof(*reading->types));
    reading->type_items = arena_alloc(call->arena, count * sizeof(*reading->type_items));
    publication_set_key(reading->publication, call->workspace_id);
    take_headers(reading);
    buffer_init(&reading->record, call->body.len + 256);
    if (reading->array)
        json_each_element(body->text, read_event, reading);
    else
        read_event(reading, body);
    buffer_deinit(&reading->record);
    enum status status = call->errors ? STATUS_OK : check_types(reading, error);
    if (status == STATUS_OK && !call->errors)
        status = check_schemas(reading, body, error);
    return status;
}

enum status event_intake_read(struct call *call, struct event_intake *ret_intake, struct error *error) {
    struct json_value body;
    struct error why;
    size_t count = 0;
    if (json_scan(call->body.data ? call->body : SPAN_LITERAL(""), NULL, NULL, &body, &why) != STATUS_OK) {
        call_problem(call, 400, "bad_json", "The body is not JSON: %s.", why.text);
        return STATUS_OK;
    }
    if (body.type == JSON_ARRAY)
        json_each_element(body.text, count_element, &count);
    else
        count = body.type == JSON_OBJECT;
    if (count == 0 || count > EVENT_INTAKE_MAX) {
        call_field_error(call, "", "expected an event, or an array of 1 to %d", EVENT_INTAKE_MAX);
        return STATUS_OK;
    }
    struct reading reading = {.call = call,
                              .publication = publication_new(),
                              .rules = {span_of(call->settings->topic_prefix)},
                              .now_ms = clock_wall_ms(),
                              .array = body.type == JSON_ARRAY};
    enum status status = read_all(&reading, &body, count, error);
    if (status != STATUS_OK || call->errors) {
        publication_free(&reading.publication);
        return status;
    }
    *ret_intake = (struct event_intake){reading.publication, reading.ids};
    return STATUS_OK;
}
