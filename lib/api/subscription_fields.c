#include "api/subscription_fields.h"
#include "api/subscription_delivery.h"
#include "api/subscription_headers.h"
#include "api/subscription_template.h"
#include "core/nearest.h"
#include "core/settings.h"
#include "net/client.h"
#include "store/catalogue.h"
#include "store/sealing.h"
#include "webhook/signature.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#define RETRY_MIN_MS 100
#define RETRY_MAX_MS (30LL * 24 * 3600 * 1000)
#define NAMES_MAX 5000
#define TEXT_MAX_BYTES 1024

struct reading {
    struct call *call;
    struct subscription_row *row;
    struct subscription_change *change;
};

typedef void read_fn(struct reading *reading, const char *name, const json_t *value);

static struct span text_of(const json_t *value) {
    return (struct span){json_string_value(value), json_string_length(value)};
}

/* A text of at most max bytes without control characters, or null where that is allowed (ret SPAN_NONE). */
static bool read_text(struct reading *reading, const char *name, const json_t *value, size_t max, bool or_null,
                      struct span *ret_text) {
    if (json_is_null(value) && or_null) {
        *ret_text = SPAN_NONE;
        return true;
    }
    struct span text = json_is_string(value) ? text_of(value) : SPAN_NONE;
    bool control = false;
    for (size_t i = 0; i < text.len; i++)
        control |= (unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f;
    if (!text.data || text.len > max || control) {
        call_field_error(reading->call, name, "expected a text of at most %zu bytes without control characters%s", max,
                         or_null ? ", or null" : "");
        return false;
    }
    *ret_text = text;
    return true;
}

/* One of the words, which end with NULL. */
static void read_word(struct reading *reading, const char *name, const json_t *value, const char *const *words,
                      struct span *ret_text) {
    struct span text = json_is_string(value) ? text_of(value) : SPAN_NONE;
    char list[200] = "";
    for (size_t i = 0; words[i]; i++) {
        if (text.data && span_is(text, words[i])) {
            *ret_text = text;
            return;
        }
        size_t len = strlen(list);
        snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "", words[i]);
    }
    call_field_error(reading->call, name, "expected one of %s", list);
}

static void read_url(struct reading *reading, const char *name, const json_t *value) {
    struct error error;
    if (!json_is_string(value))
        call_field_error(reading->call, name, "expected a URL as text");
    else if (client_check_url(json_string_value(value), reading->call->settings->allow_http, &error) != STATUS_OK)
        call_field_error(reading->call, name, "%s", error.text);
    else
        reading->row->webhook_url = text_of(value);
}

static bool has_type(const struct subscription_row *row, struct span type) {
    for (size_t i = 0; i < row->event_type_count; i++)
        if (span_equal(row->event_types[i], type))
            return true;
    return false;
}

static void read_types(struct reading *reading, const char *name, const json_t *value) {
    struct subscription_row *row = reading->row;
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count == 0 || count > SUBSCRIPTION_MAX_TYPES) {
        call_field_error(reading->call, name, "expected an array of 1 to %d event types", SUBSCRIPTION_MAX_TYPES);
        return;
    }
    row->event_type_count = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(value, i);
        struct span type = json_is_string(one) ? text_of(one) : SPAN_NONE;
        char where[64];
        snprintf(where, sizeof(where), "%s[%zu]", name, i);
        if (!type.data || !subscription_pattern_valid(type))
            call_field_error(reading->call, where, "expected an event type ([A-Za-z0-9_.-]), \"prefix.*\" or \"*\"");
        else if (!has_type(row, type))
            row->event_types[row->event_type_count++] = type;
    }
}

static void read_created_by(struct reading *reading, const char *name, const json_t *value) {
    read_text(reading, name, value, TEXT_MAX_BYTES, true, &reading->row->created_by);
}

static void read_updated_by(struct reading *reading, const char *name, const json_t *value) {
    struct span text;
    if (read_text(reading, name, value, TEXT_MAX_BYTES, false, &text)) {
        if (text.len == 0)
            call_field_error(reading->call, name, "expected who makes the change");
        reading->row->updated_by = text;
    }
}

static void read_enabled(struct reading *reading, const char *name, const json_t *value) {
    if (!json_is_boolean(value)) {
        call_field_error(reading->call, name, "expected true or false");
        return;
    }
    reading->change->gave_enabled = true;
    reading->change->enabled = json_is_true(value);
}

static void read_asymmetric(struct reading *reading, const char *name, const json_t *value) {
    if (!json_is_boolean(value)) {
        call_field_error(reading->call, name, "expected true or false");
        return;
    }
    reading->change->gave_asymmetric = true;
    reading->change->asymmetric = json_is_true(value);
}

static void read_type(struct reading *reading, const char *name, const json_t *value) {
    static const char *const TYPES[] = {"SEASALT", "ZAPIER", NULL};
    read_word(reading, name, value, TYPES, &reading->row->type);
}

static void read_name(struct reading *reading, const char *name, const json_t *value) {
    read_text(reading, name, value, TEXT_MAX_BYTES, true, &reading->row->name);
}

static void read_headers(struct reading *reading, const char *name, const json_t *value) {
    if (subscription_headers_check(reading->call, name, value))
        reading->change->headers = value;
}

struct span subscription_fields_read_secret(struct call *call, const struct json_t *value) {
    struct error error;
    struct span secret = SPAN_NONE;
    struct buffer key;
    buffer_init(&key, 1024);
    if (!json_is_string(value))
        call_field_error(call, "secret", "expected a text; leave it out to have one made");
    else if (span_has_prefix(text_of(value), SPAN_LITERAL("whsk_")) ||
             span_has_prefix(text_of(value), SPAN_LITERAL("whpk_")))
        call_field_error(call, "secret",
                         "this is a key of asymmetric signatures, not a secret; asymmetric: true has a pair made");
    else if (signature_key(text_of(value), &key, &error) != STATUS_OK)
        call_field_error(call, "secret", "%s", error.text);
    else
        secret = text_of(value);
    sealing_wipe(&key);
    return secret;
}

static void read_secret(struct reading *reading, const char *name, const json_t *value) {
    (void)name;
    reading->change->secret = subscription_fields_read_secret(reading->call, value);
}

static void read_style(struct reading *reading, const char *name, const json_t *value) {
    static const char *const STYLES[] = {"standard", "hex", "both", "none", NULL};
    read_word(reading, name, value, STYLES, &reading->row->signature_style);
}

static void read_signature_header(struct reading *reading, const char *name, const json_t *value) {
    const char *wrong;
    if (json_is_null(value))
        reading->row->signature_header = SPAN_NONE;
    else if (!json_is_string(value))
        call_field_error(reading->call, name, "expected a header's name, or null");
    else if ((wrong = subscription_header_wrong(text_of(value))))
        call_field_error(reading->call, name, "%s", wrong);
    else
        reading->row->signature_header = text_of(value);
}

static void read_format(struct reading *reading, const char *name, const json_t *value) {
    static const char *const FORMATS[] = {"seanotify", "standard", "cloudevents", "seleqt", "supersend",
                                          "kakiyo",    "raw",      "custom",      NULL};
    reading->change->gave_format = true;
    read_word(reading, name, value, FORMATS, &reading->row->payload_format);
}

/* JSON, as JSON or as text that is JSON. The text of a text stays as it is, digits and order included. */
static void read_template(struct reading *reading, const char *name, const json_t *value) {
    struct call *call = reading->call;
    reading->change->gave_template = true;
    reading->row->payload_template = SPAN_NONE;
    if (json_is_null(value))
        return;
    struct span text = text_of(value);
    if (json_is_object(value) || json_is_array(value)) {
        size_t len = json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_REAL_PRECISION(15));
        char *dump = arena_alloc(call->arena, len);
        text = (struct span){dump, json_dumpb(value, dump, len, JSON_COMPACT | JSON_REAL_PRECISION(15))};
    } else if (!json_is_string(value)) {
        call_field_error(call, name, "expected a JSON object or array, or the text of one, or null");
        return;
    }
    struct error error;
    if (subscription_template_check(text, &error) != STATUS_OK)
        call_field_error(call, name, "%s", error.text);
    reading->row->payload_template = text;
}

static void read_timeout(struct reading *reading, const char *name, const json_t *value) {
    double seconds = json_number_value(value);
    if (json_is_null(value))
        reading->row->timeout_ms = 0;
    else if (!json_is_number(value) || !(seconds >= 1 && seconds <= 30))
        call_field_error(reading->call, name, "expected 1 to 30, or null");
    else
        reading->row->timeout_ms = (int32_t)llround(seconds * 1000);
}

static bool delay_ms(const json_t *value, int64_t *ret_ms) {
    double seconds = json_number_value(value);
    if (json_is_number(value) && seconds * 1000 >= RETRY_MIN_MS && seconds * 1000 <= RETRY_MAX_MS)
        *ret_ms = llround(seconds * 1000);
    else if (!json_is_string(value) || settings_parse_duration(text_of(value), ret_ms) != STATUS_OK)
        return false;
    return *ret_ms >= RETRY_MIN_MS && *ret_ms <= RETRY_MAX_MS;
}

static void read_retries(struct reading *reading, const char *name, const json_t *value) {
    struct subscription_row *row = reading->row;
    size_t count = json_array_size(value);
    row->retry_count = -1;
    if (json_is_null(value))
        return;
    if (!json_is_array(value) || count > SUBSCRIPTION_MAX_RETRIES) {
        call_field_error(reading->call, name, "expected an array of at most %d waits, or null",
                         SUBSCRIPTION_MAX_RETRIES);
        return;
    }
    row->retry_count = (int)count;
    for (size_t i = 0; i < count; i++) {
        char where[64];
        snprintf(where, sizeof(where), "%s[%zu]", name, i);
        if (!delay_ms(json_array_get(value, i), &row->retry_ms[i]))
            call_field_error(reading->call, where, "expected seconds or a duration such as \"5m\", from 100ms to 30d");
    }
}

static void read_max_in_flight(struct reading *reading, const char *name, const json_t *value) {
    json_int_t number = json_integer_value(value);
    if (json_is_null(value))
        reading->row->max_in_flight = 0;
    else if (!json_is_integer(value) || number < 1 || number > 1000)
        call_field_error(reading->call, name, "expected an integer from 1 to 1000, or null");
    else
        reading->row->max_in_flight = (int32_t)number;
}

static void read_delivery(struct reading *reading, const char *name, const json_t *value) {
    CHECK(subscription_delivery_read(reading->call, reading->row, name, value));
}

enum { ON_CREATE = 1, ON_CHANGE = 2, REQUIRED_ON_CREATE = 4, REQUIRED_ON_CHANGE = 8 };

/* fn NULL: shown, never set. */
static const struct {
    const char *name;
    read_fn *fn;
    unsigned flags;
} FIELDS[] = {
    {"webhook_url", read_url, ON_CREATE | ON_CHANGE | REQUIRED_ON_CREATE},
    {"event_types", read_types, ON_CREATE | ON_CHANGE | REQUIRED_ON_CREATE},
    {"created_by", read_created_by, ON_CREATE},
    {"is_enabled", read_enabled, ON_CREATE | ON_CHANGE | REQUIRED_ON_CREATE},
    {"type", read_type, ON_CREATE | ON_CHANGE},
    {"updated_by", read_updated_by, ON_CHANGE | REQUIRED_ON_CHANGE},
    {"name", read_name, ON_CREATE | ON_CHANGE},
    {"headers", read_headers, ON_CREATE | ON_CHANGE},
    {"secret", read_secret, ON_CREATE | ON_CHANGE},
    {"asymmetric", read_asymmetric, ON_CREATE | ON_CHANGE},
    {"signature_style", read_style, ON_CREATE | ON_CHANGE},
    {"signature_header", read_signature_header, ON_CREATE | ON_CHANGE},
    {"payload_format", read_format, ON_CREATE | ON_CHANGE},
    {"payload_template", read_template, ON_CREATE | ON_CHANGE},
    {"timeout_seconds", read_timeout, ON_CREATE | ON_CHANGE},
    {"retry_schedule", read_retries, ON_CREATE | ON_CHANGE},
    {"max_in_flight", read_max_in_flight, ON_CREATE | ON_CHANGE},
    {"rate_limit_per_second", read_delivery, ON_CREATE | ON_CHANGE},
    {"delivery_mode", read_delivery, ON_CREATE | ON_CHANGE},
    {"delay_seconds", read_delivery, ON_CREATE | ON_CHANGE},
    {"batch_max_events", read_delivery, ON_CREATE | ON_CHANGE},
    {"batch_max_bytes", read_delivery, ON_CREATE | ON_CHANGE},
    {"batch_max_wait_seconds", read_delivery, ON_CREATE | ON_CHANGE},
    {"filter", read_delivery, ON_CREATE | ON_CHANGE},
    {"notify_email", read_delivery, ON_CREATE | ON_CHANGE},
    {"id", NULL, 0},
    {"created_at", NULL, 0},
    {"updated_at", NULL, 0},
    {"status", NULL, 0},
    {"disabled_reason", NULL, 0},
    {"disabled_at", NULL, 0},
    {"failing_since", NULL, 0},
    {"last_success_at", NULL, 0},
    {"public_key", NULL, 0},
};
#define FIELD_COUNT (sizeof(FIELDS) / sizeof(*FIELDS))

static void unknown_field(struct call *call, const char *name) {
    struct nearest nearest = nearest_to(span_of(name));
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (FIELDS[i].fn)
            nearest_offer(&nearest, FIELDS[i].name);
    if (nearest.best)
        call_field_error(call, name, "there is no such field; did you mean %s?", nearest.best);
    else
        call_field_error(call, name, "there is no such field");
}

static void read_field(struct reading *reading, const char *name, const json_t *value) {
    unsigned wanted = reading->change->create ? ON_CREATE : ON_CHANGE;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(FIELDS[i].name, name) != 0)
            continue;
        if (!FIELDS[i].fn)
            call_field_error(reading->call, name, "can't be set");
        else if (!(FIELDS[i].flags & wanted))
            call_field_error(reading->call, name, "can't be set by this request");
        else
            FIELDS[i].fn(reading, name, value);
        return;
    }
    unknown_field(reading->call, name);
}

/* A template makes the format custom, another format ends the template. */
static void settle_format(struct reading *reading) {
    struct subscription_row *row = reading->row;
    struct subscription_change *change = reading->change;
    bool custom = span_is(row->payload_format, "custom");
    if (change->gave_template && row->payload_template.data && !change->gave_format)
        row->payload_format = SPAN_LITERAL("custom");
    else if (custom && !row->payload_template.data)
        call_field_error(reading->call, "payload_template", "the format custom wants a template");
    else if (!custom && row->payload_template.data && change->gave_template)
        call_field_error(reading->call, "payload_template", "goes with the format custom alone");
    else if (!custom)
        row->payload_template = SPAN_NONE;
}

static void settle_status(struct reading *reading) {
    if (!reading->change->gave_enabled)
        return;
    reading->row->status = reading->change->enabled ? SPAN_LITERAL("active") : SPAN_LITERAL("paused");
    reading->row->disabled_reason = SPAN_NONE;
}

void subscription_fields_read(struct call *call, struct subscription_row *row, struct subscription_change *change) {
    struct reading reading = {.call = call, .row = row, .change = change};
    unsigned required = change->create ? REQUIRED_ON_CREATE : REQUIRED_ON_CHANGE;
    const char *name;
    json_t *value;
    json_object_foreach(call->json, name, value) {
        read_field(&reading, name, value);
    }
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (FIELDS[i].flags & required && !json_object_get(call->json, FIELDS[i].name))
            call_field_error(call, FIELDS[i].name, "is required");
    if (call->errors)
        return;
    settle_format(&reading);
    subscription_delivery_settle(call, row);
    settle_status(&reading);
}

/* The names are read only when one is wrong. */
static enum status complain(struct call *call, const struct result *unknown, struct error *error) {
    struct result *names = NULL;
    enum status status = catalogue_names(call->connection, call->workspace_id, NAMES_MAX, &names, error);
    if (status != STATUS_OK)
        return status;
    for (int i = 0; i < result_rows(unknown); i++) {
        struct span type = result_text(unknown, i, 0);
        struct nearest nearest = nearest_to(type);
        for (int n = 0; n < result_rows(names); n++)
            nearest_offer(&nearest, arena_strdup(call->arena, result_text(names, n, 0)));
        if (nearest.best)
            call_field_error(call, "event_types", "there is no event type \"%.*s\"; did you mean %s?", SPAN_ARGS(type),
                             nearest.best);
        else
            call_field_error(call, "event_types", "there is no event type \"%.*s\"", SPAN_ARGS(type));
    }
    result_free(&names);
    return STATUS_OK;
}

enum status subscription_fields_check_types(struct call *call, const struct subscription_row *row,
                                            struct error *error) {
    struct span types[SUBSCRIPTION_MAX_TYPES];
    size_t count = 0;
    for (size_t i = 0; i < row->event_type_count; i++)
        if (row->event_types[i].data[row->event_types[i].len - 1] != '*')
            types[count++] = row->event_types[i];
    if (count == 0)
        return STATUS_OK;
    struct result *unknown = NULL;
    enum status status = catalogue_unknown(call->connection, call->workspace_id, types, count, &unknown, error);
    if (status == STATUS_OK && result_rows(unknown) > 0)
        status = complain(call, unknown, error);
    result_free(&unknown);
    return status;
}
