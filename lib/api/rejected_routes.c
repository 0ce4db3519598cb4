/* …/rejected_events: records that could not be understood, and sending them to Kafka again. An admin key sees all of
 * them, those of nobody too, under /api/v1/rejected_events. */
#include "api/event_intake.h"
#include "api/query.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/json_scan.h"
#include "core/log.h"
#include "core/settings.h"
#include "store/rejected.h"
#include "webhook/record_headers.h"
#include <stdio.h>

#define LIST_DEFAULT 50
#define LIST_MAX 500
#define HEADERS_MAX_BYTES ((size_t)16 * 1024 * 1024) /* more than a row has */

/* ---- showing ---- */

static void write_text(struct buffer *out, const char *name, struct span text) {
    buffer_text(out, name);
    if (text.data)
        json_quote(text, out);
    else
        buffer_text(out, "null");
}

static void write_number(struct buffer *out, const char *name, int64_t number) {
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)number);
    buffer_text(out, name);
    buffer_text(out, text);
}

static void write_time(struct buffer *out, const char *name, int64_t wall_ms) {
    struct buffer text;
    buffer_init(&text, 64);
    if (wall_ms)
        clock_format_iso(wall_ms, &text);
    write_text(out, name, wall_ms ? buffer_view(&text) : SPAN_NONE);
    buffer_deinit(&text);
}

/* As text where it is that, else as base64. A value that was cut may end in the middle of a character. */
static void write_bytes(struct buffer *out, const char *name, struct span bytes, bool cut) {
    size_t valid = utf8_valid_prefix(bytes);
    bool text = valid == bytes.len || (cut && bytes.len - valid < 4);
    buffer_text(out, ",\"");
    buffer_text(out, name);
    if (!bytes.data || text) {
        write_text(out, "\":", bytes.data ? (struct span){bytes.data, valid} : SPAN_NONE);
        return;
    }
    buffer_text(out, "_base64\":\"");
    base64_encode(bytes, out);
    buffer_char(out, '"');
}

static void write_record(struct buffer *out, const struct rejected_record *record) {
    char id[UUID_TEXT_LEN + 1];
    uuid_format(&record->id, id);
    bool cut = record->value_bytes > (int64_t)record->value.len;
    write_text(out, "{\"id\":", span_of(id));
    write_time(out, ",\"created_at\":", record->created_at_us / 1000);
    write_text(out, ",\"workspace_id\":", record->workspace_id);
    write_text(out, ",\"code\":", record->code);
    write_text(out, ",\"reason\":", record->reason);
    write_text(out, ",\"topic\":", record->topic);
    write_number(out, ",\"partition\":", record->partition);
    write_number(out, ",\"offset\":", record->offset);
    write_time(out, ",\"record_time\":", record->record_time_ms);
    write_bytes(out, "record_key", record->record_key, false);
    buffer_text(out, ",\"headers\":");
    record_headers_show(record->headers, out);
    write_bytes(out, "value", record->value, cut);
    write_number(out, ",\"value_bytes\":", record->value_bytes);
    buffer_text(out, cut ? ",\"truncated\":true" : ",\"truncated\":false");
    write_time(out, ",\"republished_at\":", record->republished_at_ms);
    buffer_char(out, '}');
}

static void answer_page(struct call *call, const struct result *rows, int limit) {
    struct buffer *out = &call->answer;
    struct rejected_record record = {.created_at_us = 0};
    int count = result_rows(rows);
    buffer_reset(out);
    buffer_text(out, "{\"rejected_events\":[");
    for (int i = 0; i < count; i++) {
        rejected_record_read(rows, i, &record);
        buffer_text(out, i ? "," : "");
        write_record(out, &record);
    }
    buffer_text(out, "],\"next_cursor\":");
    if (count > 0 && count == limit) {
        char cursor[32 + UUID_TEXT_LEN], id[UUID_TEXT_LEN + 1];
        uuid_format(&record.id, id);
        snprintf(cursor, sizeof(cursor), "%lld-%s", (long long)record.created_at_us, id);
        json_quote(span_of(cursor), out);
    } else {
        buffer_text(out, "null");
    }
    buffer_char(out, '}');
    call_answer_text(call, 200, "application/json");
}

static void list(struct call *call) {
    static const char *const QUERY[] = {"code", "since", "until", "limit", "cursor", NULL};
    struct result *rows = NULL;
    struct error error;
    call_check_query(call, QUERY);
    struct rejected_page page = {
        .workspace_id = call->workspace_id,
        .code = call_query(call, "code"),
        .since_ms = query_time(call, "since", false),
        .until_ms = query_time(call, "until", true),
        .limit = query_limit(call, LIST_DEFAULT, LIST_MAX),
    };
    if (page.code.data && !query_is_text(page.code))
        call_field_error(call, "code", "expected text");
    query_cursor_number(call, &page.before_us, &page.before_id);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status = rejected_list(call->connection, &page, &rows, &error);
    if (status == STATUS_OK)
        answer_page(call, rows, page.limit);
    else
        call_failed(call, status, &error);
    result_free(&rows);
}

/* False: there is none, and the call is answered. */
static bool find(struct call *call, struct result **ret_rows, struct rejected_record *ret_record) {
    struct uuid id;
    struct error error;
    enum status status = uuid_parse(call_param(call, "rejected_id"), &id);
    if (status == STATUS_OK)
        status = rejected_get(call->connection, call->workspace_id, &id, ret_rows, &error);
    else
        status = error_set(&error, STATUS_NOT_FOUND, "not a uuid");
    if (status == STATUS_OK)
        rejected_record_read(*ret_rows, 0, ret_record);
    else
        call_failed(call, status, &error);
    return status == STATUS_OK;
}

static void get(struct call *call) {
    struct result *rows = NULL;
    struct rejected_record record;
    if (find(call, &rows, &record)) {
        buffer_reset(&call->answer);
        write_record(&call->answer, &record);
        call_answer_text(call, 200, "application/json");
    }
    result_free(&rows);
}

/* ---- sending again ---- */

struct reading {
    struct call *call;
    struct span value; /* SPAN_NONE: not given */
};

/* A string stands for the text that it means, anything else for itself. */
static struct span value_of(struct call *call, const struct json_value *given) {
    struct buffer text;
    buffer_init(&text, given->text.len + 1);
    if (given->type == JSON_STRING)
        json_unescape(given->text, &text);
    else
        json_compact(given, &text);
    struct span value = arena_span(call->arena, text.len ? buffer_view(&text) : SPAN_LITERAL(""));
    buffer_deinit(&text);
    return value;
}

static bool on_member(void *ctx, const struct json_member *member) {
    struct reading *reading = ctx;
    char name[80];
    snprintf(name, sizeof(name), "%.*s", (int)(member->name.len < 60 ? member->name.len : 60), member->name.data);
    if (!span_is(member->name, "value"))
        call_field_error(reading->call, name, "there is no such field; a correction is a value");
    else if (reading->value.data)
        call_field_error(reading->call, name, "stands twice");
    else if (member->value.type == JSON_NULL)
        call_field_error(reading->call, name, "expected the record's value: a string, or JSON itself");
    else
        reading->value = value_of(reading->call, &member->value);
    return true;
}

/* {"value": …} or nothing. False: the call is answered. */
static bool read_correction(struct call *call, struct span *ret_value) {
    struct reading reading = {.call = call, .value = SPAN_NONE};
    struct json_value body;
    struct error error;
    if (call->body.len == 0)
        return true;
    if (json_scan(call->body, on_member, &reading, &body, &error) != STATUS_OK) {
        call_problem(call, 400, "bad_json", "The body is not JSON: %s.", error.text);
        return false;
    }
    if (body.type != JSON_OBJECT)
        call_field_error(call, "", "the body has to be a JSON object");
    if (call->errors)
        call_refuse(call);
    *ret_value = reading.value;
    return !call->status;
}

struct headers {
    struct event_header items[PUBLICATION_MAX_HEADERS];
    size_t count;
    struct buffer memory; /* of the items */
};

/* Whether the pipeline would take it, for this workspace. False: the call is answered. */
static bool judge(struct call *call, const struct rejected_record *record, const struct headers *headers,
                  bool corrected) {
    struct event_rules rules = {span_of(call->settings->topic_prefix)};
    struct event_record read = {.topic = record->topic,
                                .timestamp_ms = clock_wall_ms(),
                                .key = record->record_key,
                                .value = record->value,
                                .headers = headers->items,
                                .header_count = headers->count};
    struct event *event = NULL;
    struct event_rejection rejection = {.code = "", .reason = {"there is no value"}};
    if (record->value.len > EVENT_INTAKE_MAX_BYTES)
        call_field_error(call, "value", "is larger than %d bytes", EVENT_INTAKE_MAX_BYTES);
    else if (event_read(&read, &rules, &event, &rejection) != EVENT_ACCEPTED)
        call_field_error(call, "value", "would be rejected again: %.400s", rejection.reason.text);
    else if (call->workspace_id.data && !span_equal(event->workspace_id, call->workspace_id))
        call_field_error(call, "value", "is an event of another workspace");
    if (event)
        event_unref(&event);
    if (call->errors && corrected)
        call_refuse(call);
    else if (call->errors)
        call_problem(call, 409, "still_rejected", "It would be rejected again: %.400s. Send a corrected value.",
                     rejection.reason.text);
    return !call->status;
}

static void publish(struct call *call, const struct rejected_record *record, const struct headers *headers,
                    bool corrected) {
    struct publication *publication = publication_new();
    struct error error;
    if (record->record_key.data)
        publication_set_key(publication, record->record_key);
    for (size_t i = 0; i < headers->count; i++)
        publication_add_header(publication, headers->items[i].name, headers->items[i].value);
    publication_add(publication, record->topic, record->value);
    enum status status = publisher_publish(call->publisher, publication, &error);
    publication_free(&publication);
    if (status != STATUS_OK) {
        call_problem(call, 503, "kafka_unavailable", "Kafka has not acknowledged it: %.400s.", error.text);
        call_header(call, "Retry-After", SPAN_LITERAL("2"));
        return;
    }
    /* It is in Kafka now, whatever becomes of the mark: who were told otherwise would send it twice. */
    if (rejected_mark(call->connection, &record->id, corrected, &error) != STATUS_OK)
        log_warn("api", "a rejected event was sent again, but could not be marked", LOG_TEXT("error", error.text),
                 LOG_TEXT("request_id", call->id));
    char id[UUID_TEXT_LEN + 1];
    uuid_format(&record->id, id);
    buffer_reset(&call->answer);
    write_text(&call->answer, "{\"id\":", span_of(id));
    write_text(&call->answer, ",\"topic\":", record->topic);
    buffer_char(&call->answer, '}');
    call_answer_text(call, 202, "application/json");
}

static void republish(struct call *call) {
    struct result *rows = NULL;
    struct rejected_record record;
    struct span value = SPAN_NONE;
    struct headers headers = {.count = 0};
    buffer_init(&headers.memory, HEADERS_MAX_BYTES);
    if (find(call, &rows, &record) && read_correction(call, &value)) {
        if (value.data)
            record.value = value;
        if (record_headers_read(record.headers, headers.items, PUBLICATION_MAX_HEADERS, &headers.count,
                                &headers.memory) != STATUS_OK)
            headers.count = 0;
        if (judge(call, &record, &headers, value.data != NULL))
            publish(call, &record, &headers, value.data != NULL);
    }
    buffer_deinit(&headers.memory);
    result_free(&rows);
}

#define OWN "/api/v1/workspaces/{workspace_id}/rejected_events"
#define ALL "/api/v1/rejected_events"

static const struct api_route ROUTES[] = {
    {"GET", OWN, list, 0},
    {"GET", OWN "/{rejected_id}", get, 0},
    {"POST", OWN "/{rejected_id}/republish", republish, CALL_BODY_UNREAD | CALL_BODY_MAY | CALL_KAFKA},
    {"GET", ALL, list, CALL_ADMIN},
    {"GET", ALL "/{rejected_id}", get, CALL_ADMIN},
    {"POST", ALL "/{rejected_id}/republish", republish, CALL_ADMIN | CALL_BODY_UNREAD | CALL_BODY_MAY | CALL_KAFKA},
};

const struct api_route *rejected_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
