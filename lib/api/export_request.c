#include "api/export_request.h"
#include "api/email_address.h"
#include "api/log_request.h"
#include "core/language.h"
#include "store/subscriptions.h"
#include <jansson.h>
#include <stdio.h>

#define NUMBER_MAX_BYTES 24

void export_request_deinit(struct export_request *request) {
    json_decref(request->json);
    request->json = NULL;
}

static struct span text_of(const json_t *value) {
    return json_is_string(value) ? (struct span){json_string_value(value), json_string_length(value)} : SPAN_NONE;
}

/* ---- from a body ---- */

enum takes { TEXT, TEXT_OR_NUMBER, FLAG };

/* Everything that a body may have. */
static const struct field {
    const char *name;
    enum takes takes;
} FIELDS[] = {
    {"email", TEXT},      {"start_date", TEXT},
    {"end_date", TEXT},   {"lang", TEXT},
    {"format", TEXT},     {"subscription_id", TEXT},
    {"event_type", TEXT}, {"delivery_status", TEXT},
    {"error_code", TEXT}, {"event_id", TEXT},
    {"batch_id", TEXT},   {"status_code", TEXT_OR_NUMBER},
    {"given_up", FLAG},   {"test", FLAG},
};
#define FIELD_COUNT (sizeof(FIELDS) / sizeof(*FIELDS))

static const struct field *find_field(const char *name) {
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (strcmp(FIELDS[i].name, name) == 0)
            return &FIELDS[i];
    return NULL;
}

static void check_type(struct call *call, const struct field *field, const json_t *value) {
    if (field->takes == FLAG && !json_is_boolean(value))
        call_field_error(call, field->name, "expected true or false");
    else if (field->takes == TEXT && !json_is_string(value))
        call_field_error(call, field->name, "expected a text");
    else if (field->takes == TEXT_OR_NUMBER && !json_is_string(value) && !json_is_integer(value))
        call_field_error(call, field->name, "expected a status like 503, or a class like \"5xx\"");
}

/* As a query would have it; null is as if it were not there. */
static struct span body_value(struct call *call, const char *name) {
    const json_t *value = json_object_get(call->json, name);
    if (json_is_boolean(value))
        return json_is_true(value) ? SPAN_LITERAL("true") : SPAN_LITERAL("false");
    if (json_is_integer(value))
        return span_of(arena_printf(call->arena, "%" JSON_INTEGER_FORMAT, json_integer_value(value)));
    return text_of(value);
}

static void check_fields(struct call *call) {
    const char *name;
    json_t *value;
    json_object_foreach(call->json, name, value) {
        const struct field *field = find_field(name);
        if (!field)
            call_field_error(call, name, "there is no such field");
        else if (!json_is_null(value))
            check_type(call, field, value);
    }
}

static void read_email(struct call *call) {
    struct span email = body_value(call, "email");
    if (!email.data)
        call_field_error(call, "email", "is required: the address that is told where the file is");
    else if (!email_address_valid(email))
        call_field_error(call, "email", "expected an e-mail address such as ops@example.com");
}

static void read_lang(struct call *call) {
    enum language ignored;
    struct error error;
    struct span lang = body_value(call, "lang");
    if (lang.data && language_parse(lang, &ignored, &error) != STATUS_OK)
        call_field_error(call, "lang", "%s", error.text);
}

static void read_format(struct call *call, enum export_format *ret_format) {
    struct span format = body_value(call, "format");
    *ret_format = EXPORT_CSV;
    if (format.data && !export_format_find(format, ret_format))
        call_field_error(call, "format", "expected csv or ndjson");
}

/* Also one that is gone, while its log is there. */
static void check_subscription(struct call *call, const struct uuid *id) {
    struct result *rows = NULL;
    struct error error;
    bool known = true;
    enum status status = subscriptions_get(call->connection, call->workspace_id, id, &rows, &error);
    result_free(&rows);
    if (status == STATUS_NOT_FOUND)
        status = log_query_has_subscription(call->connection, call->workspace_id, id, &known, &error);
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    else if (!known)
        call_field_error(call, "subscription_id", "there is no such subscription in this workspace");
}

static void read_subscription(struct call *call, struct export_request *request) {
    struct span text = body_value(call, "subscription_id");
    if (!text.data)
        return;
    request->filter.subscription_id = &request->subscription_id;
    if (uuid_parse(text, &request->subscription_id) != STATUS_OK)
        call_field_error(call, "subscription_id", "expected a uuid");
    else
        check_subscription(call, &request->subscription_id);
}

/* What is not asked for is not kept, but for the format. */
static json_t *to_keep(const struct call *call, enum export_format format) {
    json_t *kept = json_object();
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        json_t *value = json_object_get(call->json, FIELDS[i].name);
        if (value && !json_is_null(value))
            json_object_set(kept, FIELDS[i].name, value);
    }
    json_object_set_new(kept, "format", json_string(export_format_name(format)));
    return kept;
}

bool export_request_read(struct call *call, struct export_request *ret_request) {
    struct log_request filter_request;
    *ret_request = (struct export_request){.json = NULL};
    check_fields(call);
    if (call->errors) {
        call_refuse(call);
        return false;
    }
    read_email(call);
    read_lang(call);
    read_format(call, &ret_request->format);
    log_request_filter(call, body_value, &filter_request, &ret_request->filter);
    if (ret_request->filter.batch_id) {
        ret_request->batch_id = filter_request.batch_id;
        ret_request->filter.batch_id = &ret_request->batch_id;
    }
    if (ret_request->filter.from_us >= ret_request->filter.until_us)
        call_field_error(call, "end_date", "lies before start_date");
    read_subscription(call, ret_request);
    if (call->errors && !call->status)
        call_refuse(call);
    if (call->status)
        return false;
    ret_request->json = to_keep(call, ret_request->format);
    return true;
}

/* ---- from `jobs` ---- */

static bool load_uuid(const json_t *json, const char *name, struct uuid *id, const struct uuid **ret_id) {
    struct span text = text_of(json_object_get(json, name));
    if (!text.data)
        return true;
    *ret_id = id;
    return uuid_parse(text, id) == STATUS_OK;
}

static bool load_status(const json_t *json, struct log_filter *filter) {
    const json_t *value = json_object_get(json, "status_code");
    char number[NUMBER_MAX_BYTES];
    struct span text = text_of(value);
    if (json_is_integer(value))
        text = (struct span){
            number, (size_t)snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value))};
    return !value || log_request_status(text, &filter->status_low, &filter->status_high);
}

static int load_flag(const json_t *json, const char *name) {
    const json_t *value = json_object_get(json, name);
    return json_is_boolean(value) ? json_is_true(value) : -1;
}

enum status export_request_load(struct span json, struct export_request *ret_request, struct error *error) {
    *ret_request = (struct export_request){.json = json_loadb(json.data, json.len, 0, NULL)};
    struct log_filter *filter = &ret_request->filter;
    const json_t *kept = ret_request->json;
    const char *wrong = NULL;
    if (!export_format_find(text_of(json_object_get(kept, "format")), &ret_request->format))
        wrong = "format";
    filter->event_type = text_of(json_object_get(kept, "event_type"));
    filter->delivery_status = text_of(json_object_get(kept, "delivery_status"));
    filter->error_code = text_of(json_object_get(kept, "error_code"));
    filter->event_id = text_of(json_object_get(kept, "event_id"));
    filter->given_up = load_flag(kept, "given_up");
    filter->test = load_flag(kept, "test");
    if (!load_uuid(kept, "subscription_id", &ret_request->subscription_id, &filter->subscription_id))
        wrong = "subscription_id";
    if (!load_uuid(kept, "batch_id", &ret_request->batch_id, &filter->batch_id))
        wrong = "batch_id";
    if (!load_status(kept, filter))
        wrong = "status_code";
    if (!wrong)
        return STATUS_OK;
    export_request_deinit(ret_request);
    return error_set(error, STATUS_INVALID, "the %s that was asked for can't be read", wrong);
}
