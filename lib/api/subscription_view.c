#include "api/subscription_view.h"
#include "api/subscription_headers.h"
#include "base/clock.h"
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

/* Whole seconds as an integer. */
static json_t *seconds_json(int64_t ms) {
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
        json_array_append_new(retries, seconds_json(row->retry_ms[i]));
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
    json_object_set_new(view, "headers", headers_json(keyring, row));
    json_object_set_new(view, "signature_style", text_or_null(row->signature_style));
    json_object_set_new(view, "signature_header", text_or_null(row->signature_header));
    json_object_set_new(view, "payload_format", text_or_null(row->payload_format));
    json_object_set_new(view, "payload_template", text_or_null(row->payload_template));
    json_object_set_new(view, "timeout_seconds", row->timeout_ms ? seconds_json(row->timeout_ms) : json_null());
    json_object_set_new(view, "retry_schedule", retries_json(row));
    json_object_set_new(view, "max_in_flight", row->max_in_flight ? json_integer(row->max_in_flight) : json_null());
    return view;
}
