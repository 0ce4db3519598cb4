#include "webhook/subscription.h"

#include "base/crypto.h"
#include "base/memory.h"
#include "webhook/endpoint.h"
#include "webhook/filter.h"

#include <stddef.h>

/* All texts but the last lie within what 16 bits can address, however long each of them is. */
_Static_assert(SUBSCRIPTION_MAX_URL_BYTES + 1 + SUBSCRIPTION_MAX_WORKSPACE_BYTES + 3 * SUBSCRIPTION_MAX_NAME_BYTES +
                       SUBSCRIPTION_MAX_TYPES * (SUBSCRIPTION_MAX_PATTERN_BYTES + 1) + SUBSCRIPTION_MAX_FORMAT_BYTES +
                       SUBSCRIPTION_MAX_HEADER_NAME_BYTES + SUBSCRIPTION_MAX_RETRIES * sizeof(int64_t) +
                       SUBSCRIPTION_MAX_SECRETS_BYTES + SUBSCRIPTION_MAX_HEADERS_BYTES <=
                   UINT16_MAX,
               "the packed texts need wider offsets");
_Static_assert(SUBSCRIPTION_TEXTS <= 16, "one bit of `present` for each text");
_Static_assert(SUBSCRIPTION_MAX_PATTERN_BYTES <= UINT8_MAX, "a pattern's length is kept in one byte");

/* No lane knows the endpoint yet; one that would start its deliveries begins with this many at once. */
static struct gate *gate_new(int32_t max_in_flight) {
    struct gate *gate = mem_calloc(1, sizeof(*gate));
    gate->refs = 1;
    gate->slots = max_in_flight && max_in_flight < ENDPOINT_START_CAP ? max_in_flight : ENDPOINT_START_CAP;
    return gate;
}

static void gate_unref(struct gate *gate) {
    if (atomic_fetch_sub_explicit(&gate->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(gate);
    }
}

static enum status check_length(struct error *error, const char *field, struct span text, size_t max_bytes) {
    if (text.len > max_bytes) {
        return error_set(error, STATUS_INVALID, "%s: %zu bytes, at most %zu are allowed", field, text.len, max_bytes);
    }
    return STATUS_OK;
}

static enum status check_texts(const struct subscription_spec *spec, struct error *error) {
    const struct {
        const char *field;
        struct span text;
        size_t max_bytes;
    } texts[] = {
        {"workspace_id", spec->workspace_id, SUBSCRIPTION_MAX_WORKSPACE_BYTES},
        {"workspace_name", spec->workspace_name, SUBSCRIPTION_MAX_NAME_BYTES},
        {"webhook_url", spec->url, SUBSCRIPTION_MAX_URL_BYTES},
        {"payload_format", spec->format, SUBSCRIPTION_MAX_FORMAT_BYTES},
        {"payload_template", spec->format_template, SUBSCRIPTION_MAX_TEMPLATE_BYTES},
        {"signature_header", spec->signature_header, SUBSCRIPTION_MAX_HEADER_NAME_BYTES},
        {"secret", spec->sealed_secrets, SUBSCRIPTION_MAX_SECRETS_BYTES},
        {"headers", spec->sealed_headers, SUBSCRIPTION_MAX_HEADERS_BYTES},
        {"created_by", spec->created_by, SUBSCRIPTION_MAX_NAME_BYTES},
        {"updated_by", spec->updated_by, SUBSCRIPTION_MAX_NAME_BYTES},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        enum status status = check_length(error, texts[i].field, texts[i].text, texts[i].max_bytes);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (spec->workspace_id.len == 0) {
        return error_set(error, STATUS_INVALID, "workspace_id: is empty");
    }
    if (spec->url.len && memchr(spec->url.data, '\0', spec->url.len)) {
        return error_set(error, STATUS_INVALID, "webhook_url: holds a NUL");
    }
    return STATUS_OK;
}

static enum status check_spec(const struct subscription_spec *spec, struct error *error) {
    enum status status = check_texts(spec, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (spec->event_type_count > SUBSCRIPTION_MAX_TYPES) {
        return error_set(error, STATUS_INVALID, "event_types: %zu of them, at most %d are allowed",
                         spec->event_type_count, SUBSCRIPTION_MAX_TYPES);
    }
    for (size_t i = 0; i < spec->event_type_count; i++) {
        if (!subscription_pattern_valid(spec->event_types[i])) {
            return error_set(error, STATUS_INVALID, "event_types: item %zu is no event type, \"prefix.*\" or \"*\"",
                             i + 1);
        }
    }
    if (spec->retry_schedule_ms && spec->retry_count > SUBSCRIPTION_MAX_RETRIES) {
        return error_set(error, STATUS_INVALID, "retry_schedule: %zu retries, at most %d are allowed",
                         spec->retry_count, SUBSCRIPTION_MAX_RETRIES);
    }
    for (size_t i = 0; spec->retry_schedule_ms && i < spec->retry_count; i++) {
        if (spec->retry_schedule_ms[i] < 0) {
            return error_set(error, STATUS_INVALID, "retry_schedule: item %zu is negative", i + 1);
        }
    }
    if (spec->timeout_ms < 0) {
        return error_set(error, STATUS_INVALID, "timeout_seconds: is negative");
    }
    if (spec->max_in_flight < 0) {
        return error_set(error, STATUS_INVALID, "max_in_flight: is negative");
    }
    if (spec->rate_per_second < 0) {
        return error_set(error, STATUS_INVALID, "rate_limit_per_second: is negative");
    }
    if (spec->delay_ms < 0 || spec->delay_ms > SUBSCRIPTION_MAX_DELAY_MS) {
        return error_set(error, STATUS_INVALID, "delay_seconds: is not between 1 second and 30 days");
    }
    if (spec->batch_max_events < 0 || spec->batch_max_events > SUBSCRIPTION_MAX_BATCH_EVENTS) {
        return error_set(error, STATUS_INVALID, "batch_max_events: is not between 1 and %d",
                         SUBSCRIPTION_MAX_BATCH_EVENTS);
    }
    if (spec->batch_max_bytes < 0 || spec->batch_max_bytes > SUBSCRIPTION_MAX_BATCH_BYTES) {
        return error_set(error, STATUS_INVALID, "batch_max_bytes: is more than %d", SUBSCRIPTION_MAX_BATCH_BYTES);
    }
    if (spec->batch_max_wait_ms < 0 || spec->batch_max_wait_ms > SUBSCRIPTION_MAX_BATCH_WAIT_MS) {
        return error_set(error, STATUS_INVALID, "batch_max_wait_seconds: is not between 1 second and 1 day");
    }
    return STATUS_OK;
}

static size_t types_bytes(const struct subscription_spec *spec) {
    size_t bytes = 0;
    for (size_t i = 0; i < spec->event_type_count; i++) {
        bytes += 1 + spec->event_types[i].len;
    }
    return bytes;
}

static bool same_author(const struct subscription_spec *spec) {
    return spec->created_by.data && spec->updated_by.data && span_equal(spec->created_by, spec->updated_by);
}

/* The texts that are copied as they are; those with a form of their own are absent here. */
static void plain_texts(const struct subscription_spec *spec, struct span texts[SUBSCRIPTION_TEXTS]) {
    for (size_t i = 0; i < SUBSCRIPTION_TEXTS; i++) {
        texts[i] = SPAN_NONE;
    }
    texts[SUBSCRIPTION_WORKSPACE_ID] = spec->workspace_id;
    texts[SUBSCRIPTION_WORKSPACE_NAME] = spec->workspace_name;
    texts[SUBSCRIPTION_FORMAT] = spec->format;
    texts[SUBSCRIPTION_SIGNATURE_HEADER] = spec->signature_header;
    texts[SUBSCRIPTION_CREATED_BY] = spec->created_by;
    texts[SUBSCRIPTION_UPDATED_BY] = same_author(spec) ? SPAN_NONE : spec->updated_by;
    texts[SUBSCRIPTION_SECRETS] = spec->sealed_secrets;
    texts[SUBSCRIPTION_HEADERS] = spec->sealed_headers;
    texts[SUBSCRIPTION_TEMPLATE] = spec->format_template;
}

static size_t retries_bytes(const struct subscription_spec *spec) {
    return spec->retry_schedule_ms ? spec->retry_count * sizeof(int64_t) : 0;
}

static size_t write_bytes(char *at, const void *data, size_t len) {
    if (len) {
        memcpy(at, data, len);
    }
    return len;
}

static void pack(struct subscription *subscription, const struct subscription_spec *spec,
                 const struct span texts[SUBSCRIPTION_TEXTS]) {
    char *at = subscription->packed;
    for (size_t i = 0; i < SUBSCRIPTION_TEXTS; i++) {
        switch (i) {
        case SUBSCRIPTION_URL:
            at += write_bytes(at, spec->url.data, spec->url.len);
            *at++ = '\0';
            break;
        case SUBSCRIPTION_TYPES:
            for (size_t k = 0; k < spec->event_type_count; k++) {
                *at++ = (char)(uint8_t)spec->event_types[k].len;
                at += write_bytes(at, spec->event_types[k].data, spec->event_types[k].len);
            }
            break;
        case SUBSCRIPTION_RETRIES:
            at += write_bytes(at, spec->retry_schedule_ms, retries_bytes(spec));
            break;
        default:
            at += write_bytes(at, texts[i].data, texts[i].len);
            subscription->present |= (uint16_t)(texts[i].data ? 1U << i : 0);
        }
        if (i < SUBSCRIPTION_TEXTS - 1) {
            subscription->ends[i] = (uint16_t)(at - subscription->packed);
        }
    }
    CHECK(at == subscription->packed + subscription->packed_bytes);
}

static int64_t wait_of(const struct subscription_spec *spec) {
    if (spec->delivery_mode == DELIVERY_DELAYED) {
        return spec->delay_ms;
    }
    return spec->batch_max_wait_ms ? spec->batch_max_wait_ms : SUBSCRIPTION_BATCH_WAIT_MS;
}

enum status subscription_new(const struct subscription_spec *spec, struct gate *gate,
                             struct subscription **ret_subscription, struct error *error) {
    enum status status = check_spec(spec, error);
    struct filter *filter = NULL;
    if (status == STATUS_OK && spec->filter.data) {
        status = filter_compile(spec->filter, &filter, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct span texts[SUBSCRIPTION_TEXTS];
    plain_texts(spec, texts);
    size_t packed_bytes = spec->url.len + 1 + types_bytes(spec) + retries_bytes(spec);
    for (size_t i = 0; i < SUBSCRIPTION_TEXTS; i++) {
        packed_bytes += texts[i].len;
    }
    size_t bytes = offsetof(struct subscription, packed) + packed_bytes;
    struct subscription *subscription = mem_alloc(bytes < sizeof(*subscription) ? sizeof(*subscription) : bytes);
    subscription->refs = 1;
    subscription->packed_bytes = (uint32_t)packed_bytes;
    subscription->id = spec->id;
    subscription->version = spec->version;
    subscription->activation = spec->activation;
    subscription->render_version = spec->render_version;
    subscription->timeout_ms = spec->timeout_ms;
    subscription->max_in_flight = spec->max_in_flight;
    subscription->rate_per_second = spec->rate_per_second;
    subscription->delivery_mode = (uint8_t)spec->delivery_mode;
    subscription->batch_max_events = spec->batch_max_events ? spec->batch_max_events : SUBSCRIPTION_BATCH_EVENTS;
    subscription->batch_max_bytes = spec->batch_max_bytes ? spec->batch_max_bytes : SUBSCRIPTION_BATCH_BYTES;
    subscription->wait_ms = wait_of(spec);
    subscription->filter = filter;
    subscription->status = (uint8_t)spec->status;
    subscription->signature_style = (uint8_t)spec->signature_style;
    subscription->event_type_count = (uint8_t)spec->event_type_count;
    subscription->own_retry_schedule = spec->retry_schedule_ms != NULL;
    subscription->retry_count = spec->retry_schedule_ms ? (uint8_t)spec->retry_count : 0;
    subscription->same_author = same_author(spec);
    subscription->present = 0;
    pack(subscription, spec, texts);
    if (gate) {
        atomic_fetch_add_explicit(&gate->refs, 1, memory_order_relaxed);
    }
    subscription->gate = gate ? gate : gate_new(spec->max_in_flight);
    *ret_subscription = subscription;
    return STATUS_OK;
}

struct subscription *subscription_ref(struct subscription *subscription) {
    atomic_fetch_add_explicit(&subscription->refs, 1, memory_order_relaxed);
    return subscription;
}

void subscription_unref(struct subscription **subscription) {
    struct subscription *gone = *subscription;
    *subscription = NULL;
    if (gone && atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) == 1) {
        gate_unref(gone->gate);
        filter_unref(&gone->filter);
        mem_free(gone);
    }
}

size_t subscription_footprint_bytes(const struct subscription *subscription) {
    return offsetof(struct subscription, packed) + subscription->packed_bytes + sizeof(struct gate) +
           (subscription->filter ? filter_footprint_bytes(subscription->filter) : 0);
}

/* Its bytes, absent or not. */
static struct span packed_text(const struct subscription *subscription, enum subscription_text text) {
    size_t start = text ? subscription->ends[text - 1] : 0;
    size_t end = text < SUBSCRIPTION_TEXTS - 1 ? subscription->ends[text] : subscription->packed_bytes;
    return (struct span){subscription->packed + start, end - start};
}

static struct span optional_text(const struct subscription *subscription, enum subscription_text text) {
    return subscription->present >> text & 1 ? packed_text(subscription, text) : SPAN_NONE;
}

struct span subscription_workspace_id(const struct subscription *subscription) {
    return packed_text(subscription, SUBSCRIPTION_WORKSPACE_ID);
}

struct span subscription_workspace_name(const struct subscription *subscription) {
    return optional_text(subscription, SUBSCRIPTION_WORKSPACE_NAME);
}

const char *subscription_url(const struct subscription *subscription) {
    return subscription->packed;
}

/* The pattern whose length byte is at *at; moves *at behind it. */
static struct span next_type(const char **at) {
    struct span type = {*at + 1, (uint8_t) * *at};
    *at = type.data + type.len;
    return type;
}

struct span subscription_event_type(const struct subscription *subscription, size_t index) {
    CHECK(index < subscription->event_type_count);
    const char *at = packed_text(subscription, SUBSCRIPTION_TYPES).data;
    struct span type = next_type(&at);
    while (index--) {
        type = next_type(&at);
    }
    return type;
}

void subscription_event_types(const struct subscription *subscription, struct span *out) {
    const char *at = packed_text(subscription, SUBSCRIPTION_TYPES).data;
    for (size_t i = 0; i < subscription->event_type_count; i++) {
        out[i] = next_type(&at);
    }
}

struct span subscription_packed_types(const struct subscription *subscription) {
    return packed_text(subscription, SUBSCRIPTION_TYPES);
}

struct span subscription_format(const struct subscription *subscription) {
    return optional_text(subscription, SUBSCRIPTION_FORMAT);
}

struct span subscription_template(const struct subscription *subscription) {
    return optional_text(subscription, SUBSCRIPTION_TEMPLATE);
}

struct span subscription_signature_header(const struct subscription *subscription) {
    return optional_text(subscription, SUBSCRIPTION_SIGNATURE_HEADER);
}

struct span subscription_sealed_secrets(const struct subscription *subscription) {
    return optional_text(subscription, SUBSCRIPTION_SECRETS);
}

struct span subscription_sealed_headers(const struct subscription *subscription) {
    return optional_text(subscription, SUBSCRIPTION_HEADERS);
}

struct span subscription_created_by(const struct subscription *subscription) {
    return optional_text(subscription, SUBSCRIPTION_CREATED_BY);
}

struct span subscription_updated_by(const struct subscription *subscription) {
    return optional_text(subscription, subscription->same_author ? SUBSCRIPTION_CREATED_BY : SUBSCRIPTION_UPDATED_BY);
}

size_t subscription_retry_schedule(const struct subscription *subscription, int64_t *out, size_t max) {
    size_t count = subscription->retry_count < max ? subscription->retry_count : max;
    if (count) {
        memcpy(out, packed_text(subscription, SUBSCRIPTION_RETRIES).data, count * sizeof(*out));
    }
    return count;
}

bool subscription_takes(const struct subscription *subscription, struct span event_type) {
    const char *at = packed_text(subscription, SUBSCRIPTION_TYPES).data;
    for (size_t i = 0; i < subscription->event_type_count; i++) {
        if (subscription_pattern_takes(next_type(&at), event_type)) {
            return true;
        }
    }
    return false;
}

int subscription_bucket(struct span workspace_id, const struct uuid *id) {
    CHECK(workspace_id.len <= SUBSCRIPTION_MAX_WORKSPACE_BYTES);
    char text[SUBSCRIPTION_MAX_WORKSPACE_BYTES + 1 + UUID_TEXT_LEN + 1];
    write_bytes(text, workspace_id.data, workspace_id.len);
    text[workspace_id.len] = '\0';
    uuid_format(id, text + workspace_id.len + 1);
    uint8_t digest[SHA256_BYTES];
    crypto_sha256((struct span){text, workspace_id.len + 1 + UUID_TEXT_LEN}, digest);
    return digest[0] % 16;
}

uint32_t subscription_lane_hash(const struct uuid *id) {
    uint64_t halves[2];
    memcpy(halves, id->bytes, sizeof(halves));
    uint64_t hash = halves[0] ^ (halves[1] << 32 | halves[1] >> 32);
    /* Two rounds of multiply and fold spread every bit of the id over the upper half. */
    hash = (hash ^ hash >> 32) * 0x9E3779B97F4A7C15U;
    hash = (hash ^ hash >> 32) * 0xD6E8FEB86659FD93U;
    return (uint32_t)(hash >> 32);
}

static bool is_type_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
}

static bool is_prefix_pattern(struct span pattern) {
    return pattern.len >= 2 && pattern.data[pattern.len - 1] == '*' && pattern.data[pattern.len - 2] == '.';
}

bool subscription_pattern_valid(struct span pattern) {
    if (pattern.len == 0 || pattern.len > SUBSCRIPTION_MAX_PATTERN_BYTES) {
        return false;
    }
    if (span_is(pattern, "*")) {
        return true;
    }
    size_t plain = pattern.len;
    if (is_prefix_pattern(pattern)) {
        plain = pattern.len - 2;
    }
    for (size_t i = 0; i < plain; i++) {
        if (!is_type_char(pattern.data[i])) {
            return false;
        }
    }
    return plain > 0;
}

bool subscription_pattern_takes(struct span pattern, struct span event_type) {
    if (span_is(pattern, "*")) {
        return true;
    }
    if (is_prefix_pattern(pattern)) {
        struct span prefix = {pattern.data, pattern.len - 1};
        return event_type.len > prefix.len && span_has_prefix(event_type, prefix);
    }
    return span_equal(pattern, event_type);
}
