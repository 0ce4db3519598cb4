#include "api/subscription_delivery.h"
#include "api/email_address.h"
#include "api/subscription_filter.h"
#include <jansson.h>
#include <math.h>

typedef void read_fn(struct call *call, struct subscription_row *row, const char *name, const json_t *value);

static struct span text_of(const json_t *value) {
    return json_is_string(value) ? (struct span){json_string_value(value), json_string_length(value)} : SPAN_NONE;
}

/* An integer of the range, or null (0). */
static int32_t read_integer(struct call *call, const char *name, const json_t *value, int min, int max) {
    json_int_t number = json_integer_value(value);
    if (json_is_null(value))
        return 0;
    if (json_is_integer(value) && number >= min && number <= max)
        return (int32_t)number;
    call_field_error(call, name, "expected an integer from %d to %d, or null", min, max);
    return 0;
}

/* Seconds, to the millisecond, from one second to max_ms, or null (0). */
static int64_t read_seconds(struct call *call, const char *name, const json_t *value, int64_t max_ms) {
    double seconds = json_number_value(value);
    if (json_is_null(value))
        return 0;
    if (json_is_number(value) && seconds * 1000 >= SUBSCRIPTION_MIN_WAIT_MS && seconds * 1000 <= (double)max_ms)
        return llround(seconds * 1000);
    call_field_error(call, name, "expected seconds from %d to %lld, or null", SUBSCRIPTION_MIN_WAIT_MS / 1000,
                     (long long)(max_ms / 1000));
    return 0;
}

static void read_mode(struct call *call, struct subscription_row *row, const char *name, const json_t *value) {
    struct span text = text_of(value);
    if (span_is(text, "immediate") || span_is(text, "delayed") || span_is(text, "batched"))
        row->delivery_mode = text;
    else
        call_field_error(call, name, "expected one of immediate, delayed, batched");
}

static void read_delay(struct call *call, struct subscription_row *row, const char *name, const json_t *value) {
    row->delay_ms = read_seconds(call, name, value, SUBSCRIPTION_MAX_DELAY_MS);
}

static void read_batch_events(struct call *call, struct subscription_row *row, const char *name, const json_t *value) {
    row->batch_max_events = read_integer(call, name, value, 1, SUBSCRIPTION_MAX_BATCH_EVENTS);
}

static void read_batch_bytes(struct call *call, struct subscription_row *row, const char *name, const json_t *value) {
    row->batch_max_bytes = read_integer(call, name, value, SUBSCRIPTION_MIN_BATCH_BYTES, SUBSCRIPTION_MAX_BATCH_BYTES);
}

static void read_batch_wait(struct call *call, struct subscription_row *row, const char *name, const json_t *value) {
    row->batch_max_wait_ms = read_seconds(call, name, value, SUBSCRIPTION_MAX_BATCH_WAIT_MS);
}

static void read_rate(struct call *call, struct subscription_row *row, const char *name, const json_t *value) {
    row->rate_per_second = read_integer(call, name, value, 1, SUBSCRIPTION_MAX_RATE_PER_SECOND);
}

/* The text is taken from the body: jansson's value has neither its digits nor its order of writing. */
static void read_filter(struct call *call, struct subscription_row *row, const char *name, const json_t *value) {
    struct error error;
    if (json_is_null(value))
        row->filter = SPAN_NONE;
    else if (!json_is_object(value))
        call_field_error(call, name, "expected a JSON object, or null");
    else if (subscription_filter_find(call->body, &row->filter, &error) != STATUS_OK)
        call_field_error(call, name, "%s", error.text);
}

static void read_email(struct call *call, struct subscription_row *row, const char *name, const json_t *value) {
    if (json_is_null(value))
        row->notify_email = SPAN_NONE;
    else if (email_address_valid(text_of(value)))
        row->notify_email = text_of(value);
    else
        call_field_error(call, name, "expected an e-mail address such as ops@example.com, or null");
}

bool subscription_delivery_read(struct call *call, struct subscription_row *row, const char *name,
                                const struct json_t *value) {
    static const struct {
        const char *name;
        read_fn *fn;
    } FIELDS[] = {
        {"delivery_mode", read_mode},
        {"delay_seconds", read_delay},
        {"batch_max_events", read_batch_events},
        {"batch_max_bytes", read_batch_bytes},
        {"batch_max_wait_seconds", read_batch_wait},
        {"rate_limit_per_second", read_rate},
        {"filter", read_filter},
        {"notify_email", read_email},
    };
    for (size_t i = 0; i < sizeof(FIELDS) / sizeof(*FIELDS); i++) {
        if (strcmp(FIELDS[i].name, name) == 0) {
            FIELDS[i].fn(call, row, name, value);
            return true;
        }
    }
    return false;
}

/* Complains of each of the names, which end with NULL, that this request gives a value. */
static void refuse_given(struct call *call, const char *const *names, const char *mode) {
    for (; *names; names++) {
        const json_t *value = json_object_get(call->json, *names);
        if (value && !json_is_null(value))
            call_field_error(call, *names, "goes with delivery_mode %s alone", mode);
    }
}

void subscription_delivery_settle(struct call *call, struct subscription_row *row) {
    static const char *const DELAY[] = {"delay_seconds", NULL};
    static const char *const BATCH[] = {"batch_max_events", "batch_max_bytes", "batch_max_wait_seconds", NULL};
    bool delayed = span_is(row->delivery_mode, "delayed"), batched = span_is(row->delivery_mode, "batched");
    if (!delayed) {
        refuse_given(call, DELAY, "delayed");
        row->delay_ms = 0;
    } else if (row->delay_ms == 0) {
        call_field_error(call, "delay_seconds", "the delivery_mode delayed wants it");
    }
    if (!batched) {
        refuse_given(call, BATCH, "batched");
        row->batch_max_events = row->batch_max_bytes = 0;
        row->batch_max_wait_ms = 0;
    }
}
