#include "publish_check.h"

#include "base/clock.h"
#include "base/json_scan.h"
#include "base/json_text.h"
#include "webhook/event.h"

enum field { FIELD_ID, FIELD_WORKSPACE, FIELD_TYPE, FIELD_OCCURRED, FIELD_DELIVER, FIELD_PAYLOAD, FIELD_COUNT };

static const char *const NAMES[FIELD_COUNT] = {"id",          "workspace_id", "event_type",
                                               "occurred_at", "deliver_at",   "payload"};

struct fields {
    struct json_value values[FIELD_COUNT]; /* text SPAN_NONE: absent; the last of duplicates */
};

static bool collect(void *ctx, const struct json_member *member) {
    struct fields *fields = ctx;
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (span_is(member->name, NAMES[i]))
            fields->values[i] = member->value;
    return true;
}

static bool present(const struct json_value *value) {
    return value->text.data && value->type != JSON_NULL;
}

static bool is_integer(const struct json_value *value) {
    return value->type == JSON_NUMBER && strcspn(value->text.data, ".eE") >= value->text.len;
}

static bool is_string_or_integer(const struct json_value *value) {
    return value->type == JSON_STRING || is_integer(value);
}

static bool is_time(const struct json_value *value) {
    int64_t time_ms;
    if (value->type == JSON_NUMBER)
        return json_int64(value->text, &time_ms) == STATUS_OK;
    return value->type == JSON_STRING && !value->escaped &&
           clock_parse_iso((struct span){value->text.data + 1, value->text.len - 2}, &time_ms, NULL) == STATUS_OK;
}

static bool is_type_name(struct span name) {
    if (name.len < 1 || name.len > EVENT_TYPE_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
              c == '-'))
            return false;
    }
    return true;
}

static enum status expected(enum field field, const char *what, struct error *error) {
    return error_set(error, STATUS_INVALID, "%s: expected %s", NAMES[field], what);
}

static enum status check_fields(const struct fields *fields, struct error *error) {
    const struct json_value *values = fields->values;
    const struct json_value *type = &values[FIELD_TYPE];
    if (!present(type) || type->type != JSON_STRING || type->escaped ||
        !is_type_name((struct span){type->text.data + 1, type->text.len - 2}))
        return expected(FIELD_TYPE, "a string of 1 to 200 of A-Z a-z 0-9 . _ -", error);
    if (!present(&values[FIELD_WORKSPACE]) || !is_string_or_integer(&values[FIELD_WORKSPACE]) ||
        span_is(values[FIELD_WORKSPACE].text, "\"\""))
        return expected(FIELD_WORKSPACE, "a string or an integer", error);
    if (present(&values[FIELD_ID]) && !is_string_or_integer(&values[FIELD_ID]))
        return expected(FIELD_ID, "a string or an integer", error);
    if (present(&values[FIELD_OCCURRED]) && !is_time(&values[FIELD_OCCURRED]))
        return expected(FIELD_OCCURRED, "milliseconds since 1970 or an ISO 8601 time", error);
    if (present(&values[FIELD_DELIVER]) && !is_time(&values[FIELD_DELIVER]))
        return expected(FIELD_DELIVER, "milliseconds since 1970 or an ISO 8601 time", error);
    if (!values[FIELD_PAYLOAD].text.data)
        return expected(FIELD_PAYLOAD, "a JSON value, but it is not there", error);
    return STATUS_OK;
}

/* The dispatcher's own reading has the last word. */
static enum status check_as_record(struct span line, struct span prefix, const struct publish_target *target,
                                   struct error *error) {
    struct buffer topic;
    buffer_init(&topic, 1024);
    buffer_span(&topic, prefix);
    buffer_span(&topic, target->event_type);
    struct event_record record = {
        .topic = buffer_view(&topic), .key = buffer_view(&target->workspace), .value = line, .timestamp_ms = 0};
    struct event *event = NULL;
    struct event_rejection rejection;
    enum event_verdict verdict = event_read(&record, &(struct event_rules){prefix}, &event, &rejection);
    buffer_deinit(&topic);
    if (verdict == EVENT_ACCEPTED)
        event_unref(&event);
    if (verdict != EVENT_REJECTED)
        return STATUS_OK;
    return error_set(error, STATUS_INVALID, "%s", rejection.reason.text);
}

enum status publish_check(struct span line, struct span topic_prefix, struct publish_target *target,
                          struct error *error) {
    struct fields fields = {0};
    struct json_value value;
    enum status status = json_scan(line, collect, &fields, &value, error);
    if (status != STATUS_OK)
        return status;
    if (value.type != JSON_OBJECT)
        return error_set(error, STATUS_INVALID, "expected a JSON object");
    status = check_fields(&fields, error);
    if (status != STATUS_OK)
        return status;
    const struct json_value *type = &fields.values[FIELD_TYPE], *workspace = &fields.values[FIELD_WORKSPACE];
    target->event_type = (struct span){type->text.data + 1, type->text.len - 2};
    buffer_reset(&target->workspace);
    if (workspace->type == JSON_STRING)
        json_unescape(workspace->text, &target->workspace);
    else
        buffer_span(&target->workspace, workspace->text);
    if (target->workspace.overflowed)
        return expected(FIELD_WORKSPACE, "a shorter one", error);
    return check_as_record(line, topic_prefix, target, error);
}
