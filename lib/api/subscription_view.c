#include "api/subscription_view.h"
#include "api/body_json.h"
#include "api/subscription_headers.h"
#include "api/subscription_secrets.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "core/log.h"
#include "store/sealing.h"
#include <jansson.h>

static json_t *text_or_null(struct span text) {
    return text.data ? json_stringn_nocheck(text.data, text.len) : json_null();
}

static json_t *time_json(int64_t wall_ms) {
    struct buffer text;
    buffer_init(&text, 64);
    clock_format_iso(wall_ms, &text);
    json_t *json = json_stringn(text.data, text.len);
    buffer_deinit(&text);
    return json;
}

static json_t *time_or_null(int64_t wall_ms) {
    return wall_ms ? time_json(wall_ms) : json_null();
}

static json_t *number_or_null(int64_t number) {
    return number ? json_integer(number) : json_null();
}

/* Whole seconds as an integer; 0 is null. */
static json_t *seconds_json(int64_t ms) {
    if (ms == 0)
        return json_null();
    return ms % 1000 == 0 ? json_integer(ms / 1000) : json_real((double)ms / 1000);
}

static json_t *types_json(const struct subscription_row *row) {
    json_t *types = json_array();
    for (size_t i = 0; i < row->event_type_count; i++)
        json_array_append_new(types, text_or_null(row->event_types[i]));
    return types;
}

static json_t *retries_json(const struct subscription_row *row) {
    if (row->retry_count < 0)
        return json_null();
    json_t *retries = json_array();
    for (int i = 0; i < row->retry_count; i++)
        json_array_append_new(retries, row->retry_ms[i] ? seconds_json(row->retry_ms[i]) : json_integer(0));
    return retries;
}

struct json_t *subscription_view_headers(const struct keyring *keyring, const struct subscription_row *row,
                                         bool *ret_wrong) {
    *ret_wrong = false;
    if (!row->sealed_headers.data)
        return NULL;
    struct buffer plain;
    struct error error;
    buffer_init(&plain, 2 * SUBSCRIPTION_MAX_HEADERS_BYTES);
    json_t *headers = NULL;
    if (sealing_open(keyring, &row->id, row->sealed_headers, &plain, &error) == STATUS_OK)
        headers = json_loadb(plain.data, plain.len, 0, NULL);
    sealing_wipe(&plain);
    if (!headers) {
        char id[UUID_TEXT_LEN + 1];
        uuid_format(&row->id, id);
        log_warn("api", "a subscription's headers can't be opened; was HOOKCAST_SECRET_KEY changed?",
                 LOG_TEXT("subscription", id));
        *ret_wrong = true;
    }
    return headers;
}

static json_t *headers_json(const struct keyring *keyring, const struct subscription_row *row) {
    bool wrong;
    json_t *headers = subscription_view_headers(keyring, row, &wrong);
    if (!headers)
        return json_null();
    json_t *masked = subscription_headers_masked(headers);
    json_decref(headers);
    return masked;
}

/* What the API did not write may be no JSON. */
static json_t *filter_json(struct span filter) {
    if (!filter.data)
        return json_null();
    json_t *json = NULL;
    struct error ignored;
    return body_json_read(filter, &json, &ignored) == STATUS_OK ? json : text_or_null(filter);
}

/* A batched subscription shows what counts, the defaults too. */
static void add_delivery(json_t *view, const struct subscription_row *row) {
    int64_t events = row->batch_max_events, bytes = row->batch_max_bytes, wait_ms = row->batch_max_wait_ms;
    if (span_is(row->delivery_mode, "batched")) {
        events = events ? events : SUBSCRIPTION_BATCH_EVENTS;
        bytes = bytes ? bytes : SUBSCRIPTION_BATCH_BYTES;
        wait_ms = wait_ms ? wait_ms : SUBSCRIPTION_BATCH_WAIT_MS;
    }
    json_object_set_new(view, "rate_limit_per_second", number_or_null(row->rate_per_second));
    json_object_set_new(view, "delivery_mode", text_or_null(row->delivery_mode));
    json_object_set_new(view, "delay_seconds", seconds_json(row->delay_ms));
    json_object_set_new(view, "batch_max_events", number_or_null(events));
    json_object_set_new(view, "batch_max_bytes", number_or_null(bytes));
    json_object_set_new(view, "batch_max_wait_seconds", seconds_json(wait_ms));
    json_object_set_new(view, "filter", filter_json(row->filter));
    json_object_set_new(view, "notify_email", text_or_null(row->notify_email));
}

struct json_t *subscription_view(const struct keyring *keyring, const struct subscription_row *row) {
    char id[UUID_TEXT_LEN + 1];
    uuid_format(&row->id, id);
    json_t *view = json_object();
    json_object_set_new(view, "webhook_url", text_or_null(row->webhook_url));
    json_object_set_new(view, "event_types", types_json(row));
    json_object_set_new(view, "created_by", text_or_null(row->created_by));
    json_object_set_new(view, "is_enabled", json_boolean(span_is(row->status, "active")));
    json_object_set_new(view, "type", text_or_null(row->type));
    json_object_set_new(view, "id", json_string(id));
    json_object_set_new(view, "created_at", time_json(row->created_at_ms));
    json_object_set_new(view, "updated_at", time_json(row->updated_at_ms));
    json_object_set_new(view, "updated_by", text_or_null(row->updated_by));
    json_object_set_new(view, "name", text_or_null(row->name));
    json_object_set_new(view, "status", text_or_null(row->status));
    json_object_set_new(view, "disabled_reason", text_or_null(row->disabled_reason));
    json_object_set_new(view, "disabled_at", time_or_null(row->disabled_at_ms));
    json_object_set_new(view, "failing_since", time_or_null(row->failing_since_ms));
    json_object_set_new(view, "last_success_at", time_or_null(row->last_success_at_ms));
    json_object_set_new(view, "headers", headers_json(keyring, row));
    json_t *public_key = subscription_secrets_sealed_public_key(keyring, &row->id, row->sealed_secrets);
    json_object_set_new(view, "asymmetric", json_boolean(json_is_string(public_key)));
    json_object_set_new(view, "public_key", public_key);
    json_object_set_new(view, "signature_style", text_or_null(row->signature_style));
    json_object_set_new(view, "signature_header", text_or_null(row->signature_header));
    json_object_set_new(view, "payload_format", text_or_null(row->payload_format));
    json_object_set_new(view, "payload_template", text_or_null(row->payload_template));
    json_object_set_new(view, "timeout_seconds", seconds_json(row->timeout_ms));
    json_object_set_new(view, "retry_schedule", retries_json(row));
    json_object_set_new(view, "max_in_flight", number_or_null(row->max_in_flight));
    add_delivery(view, row);
    return view;
}

static int append(const char *data, size_t size, void *ctx) {
    buffer_append(ctx, data, size);
    return 0;
}

/* jansson's own way takes a table of what it has seen for each value; most here are plain. */
static void write_value(const json_t *value, struct buffer *out) {
    switch (json_typeof(value)) {
    case JSON_STRING:
        json_quote((struct span){json_string_value(value), json_string_length(value)}, out);
        break;
    case JSON_INTEGER:
        buffer_int(out, json_integer_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        buffer_text(out, json_is_true(value) ? "true" : "false");
        break;
    case JSON_NULL:
        buffer_text(out, "null");
        break;
    default:
        /* 15 digits say every number of milliseconds here, and 0.1 is not 0.10000000000000001. */
        json_dump_callback(value, append, out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    }
}

void subscription_view_write(const struct json_t *view, const struct subscription_row *row, struct buffer *out) {
    const char *name, *before = "{\"";
    json_t *value;
    json_object_foreach((json_t *)view, name, value) {
        buffer_text(out, before);
        buffer_text(out, name);
        buffer_text(out, "\":");
        if (strcmp(name, "filter") == 0 && json_is_object(value))
            buffer_append(out, row->filter.data, row->filter.len);
        else
            write_value(value, out);
        before = ",\"";
    }
    buffer_char(out, '}');
}
