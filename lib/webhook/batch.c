/* The records' form is written down twice: here and in the database's batch_record, which makes batches of rows that
 * are there already. A test compares the two. */
#include "webhook/batch.h"
#include "base/memory.h"

/* What a record has besides its five texts. */
#define RECORD_FIXED_BYTES (4 + 4 + 8 + 8 + 4 + 4 + 4)
#define HEADERS_MAX_BYTES (1024 * 1024)

/* ---- writing ---- */

static void put_int(struct buffer *out, uint64_t value, int bytes) {
    char text[8];
    for (int i = 0; i < bytes; i++)
        text[i] = (char)(value >> 8 * (bytes - 1 - i));
    buffer_append(out, text, (size_t)bytes);
}

static void put_text(struct buffer *out, struct span text) {
    put_int(out, text.data ? (uint32_t)text.len : UINT32_MAX, 4);
    buffer_span(out, text);
}

void batch_add_record(const struct event *event, struct buffer *out) {
    put_text(out, event->topic);
    put_int(out, (uint32_t)event->partition, 4);
    put_int(out, (uint64_t)event->offset, 8);
    put_int(out, (uint64_t)event->timestamp_ms, 8);
    put_text(out, event->record_key);
    put_text(out, event->headers);
    put_text(out, event->value);
}

static size_t record_bytes(const struct event *event) {
    return RECORD_FIXED_BYTES + event->topic.len + event->record_key.len + event->headers.len + event->value.len;
}

void batch_add_body(const struct event *batch, struct buffer *out) {
    for (size_t i = 0; i < batch->member_count; i++)
        batch_add_record(batch->members[i], out);
}

size_t batch_body_bytes(const struct event *batch) {
    size_t bytes = 0;
    for (size_t i = 0; i < batch->member_count; i++)
        bytes += record_bytes(batch->members[i]);
    return bytes;
}

/* ---- making ---- */

static struct span common_type(struct event *const *members, size_t count) {
    for (size_t i = 1; i < count; i++)
        if (!span_equal(members[i]->event_type, members[0]->event_type))
            return SPAN_LITERAL("*");
    return members[0]->event_type;
}

/* Its members are taken over, the block that holds them included. */
static struct event *assemble(const struct uuid *id, struct event **members, size_t count) {
    CHECK(members && count > 0);
    const struct event *first = members[0];
    struct event *batch = mem_alloc(sizeof(*batch) + UUID_TEXT_LEN + 1);
    char *text = (char *)(batch + 1);
    uuid_format(id, text);
    *batch = (struct event){
        .key = *id,
        .topic = SPAN_LITERAL(""),
        .timestamp_ms = first->timestamp_ms,
        .value = SPAN_LITERAL(""),
        .headers = SPAN_LITERAL("{}"),
        .id = {text, UUID_TEXT_LEN},
        .webhook_id = {text, UUID_TEXT_LEN},
        .workspace_json = first->workspace_json,
        .workspace_id = first->workspace_id,
        .event_type = common_type(members, count),
        .occurred_at_ms = first->occurred_at_ms,
        .traceparent = count == 1 ? first->traceparent : SPAN_NONE,
        .tracestate = count == 1 ? first->tracestate : SPAN_NONE,
        .members = members,
        .member_count = count,
        .footprint_bytes = sizeof(*batch) + count * sizeof(members[0]),
    };
    atomic_init(&batch->refs, 1);
    for (size_t i = 0; i < count; i++)
        batch->footprint_bytes += members[i]->footprint_bytes;
    return batch;
}

struct event *batch_new(const struct uuid *id, struct event *const *members, size_t count) {
    CHECK(count > 0);
    struct event **kept = mem_calloc(count, sizeof(*kept));
    for (size_t i = 0; i < count; i++)
        kept[i] = event_ref(members[i]);
    return assemble(id, kept, count);
}

/* ---- reading ---- */

/* What is left to read; `broken` once something did not fit. */
struct reader {
    struct span rest;
    bool broken;
};

static uint64_t take_int(struct reader *reader, int bytes) {
    uint64_t value = 0;
    if (reader->broken || reader->rest.len < (size_t)bytes) {
        reader->broken = true;
        return 0;
    }
    for (int i = 0; i < bytes; i++)
        value = value << 8 | (uint8_t)reader->rest.data[i];
    reader->rest = (struct span){reader->rest.data + bytes, reader->rest.len - (size_t)bytes};
    return value;
}

static struct span take_text(struct reader *reader) {
    uint32_t len = (uint32_t)take_int(reader, 4);
    if (reader->broken || len == UINT32_MAX)
        return SPAN_NONE;
    if (reader->rest.len < len) {
        reader->broken = true;
        return SPAN_NONE;
    }
    struct span text = {reader->rest.data, len};
    reader->rest = (struct span){reader->rest.data + len, reader->rest.len - len};
    return text;
}

/* headers: where those of one record lie until the next. */
static enum status read_member(struct reader *reader, const struct event_rules *rules, struct buffer *headers,
                               struct event **ret_event, struct error *error) {
    struct event_header list[EVENT_HEADERS_MAX];
    struct event_record record = {.headers = list};
    record.topic = take_text(reader);
    record.partition = (int32_t)take_int(reader, 4);
    record.offset = (int64_t)take_int(reader, 8);
    record.timestamp_ms = (int64_t)take_int(reader, 8);
    record.key = take_text(reader);
    struct span headers_json = take_text(reader);
    record.value = take_text(reader);
    if (reader->broken || !record.topic.data || !headers_json.data || !record.value.data)
        return error_set(error, STATUS_INVALID, "the record ends too early");
    buffer_reset(headers);
    if (event_headers_parse(headers_json, list, EVENT_HEADERS_MAX, &record.header_count, headers) != STATUS_OK)
        return error_set(error, STATUS_INVALID, "its headers can't be read");
    struct event_rejection rejection = {.code = "tombstone"};
    if (event_read(&record, rules, ret_event, &rejection) == EVENT_ACCEPTED)
        return STATUS_OK;
    return error_set(error, STATUS_INVALID, "%s: %s", rejection.code, rejection.reason.text);
}

struct list {
    struct event **members;
    size_t count, capacity;
};

static void list_add_take(struct list *list, struct event *event) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->members = mem_realloc(list->members, list->capacity * sizeof(struct event *));
    }
    list->members[list->count++] = event;
}

static enum status read_members(struct span records, const struct event_rules *rules, struct list *list,
                                struct error *error) {
    struct reader reader = {records, false};
    struct buffer headers;
    enum status status = STATUS_OK;
    buffer_init(&headers, HEADERS_MAX_BYTES);
    while (status == STATUS_OK && reader.rest.len > 0) {
        struct event *event = NULL;
        status = read_member(&reader, rules, &headers, &event, error);
        if (status != STATUS_OK) {
            error_context(error, "member %zu", list->count + 1);
            break;
        }
        CHECK(event);
        list_add_take(list, event);
        if (!span_equal(event->workspace_id, list->members[0]->workspace_id))
            status = error_set(error, STATUS_INVALID, "member %zu: of another workspace", list->count);
    }
    if (status == STATUS_OK && list->count == 0)
        status = error_set(error, STATUS_INVALID, "the batch has no member");
    buffer_deinit(&headers);
    return status;
}

enum status batch_read(const struct uuid *id, struct span records, const struct event_rules *rules,
                       struct event **ret_batch, struct error *error) {
    struct list list = {NULL, 0, 0};
    enum status status = read_members(records, rules, &list, error);
    if (status == STATUS_OK) {
        *ret_batch = assemble(id, list.members, list.count);
        return STATUS_OK;
    }
    for (size_t i = 0; i < list.count; i++)
        event_unref(&list.members[i]);
    mem_free(list.members);
    return status;
}

/* ---- filling ---- */

#define GROWTH_SLACK 20   /* thousandths: events differ */
#define GROWTH_FORGETS 16 /* what was longer once is forgotten by so much a batch */

struct batch_limits batch_limits_of(const struct subscription *subscription) {
    int64_t growth = atomic_load_explicit(&subscription->gate->batch_growth, memory_order_relaxed);
    struct batch_limits limits = {subscription->batch_max_events, subscription->batch_max_bytes};
    if (growth > 1000)
        limits.max_bytes = limits.max_bytes * 1000 / (growth + GROWTH_SLACK);
    return limits;
}

void batch_note_body(struct gate *gate, const struct event *batch, size_t body_bytes) {
    int64_t bytes = 0, known = atomic_load_explicit(&gate->batch_growth, memory_order_relaxed);
    for (size_t i = 0; i < batch->member_count; i++)
        bytes += (int64_t)batch->members[i]->value.len;
    int64_t growth = (int64_t)body_bytes * 1000 / (bytes ? bytes : 1);
    if (growth > INT32_MAX / 2)
        growth = INT32_MAX / 2;
    if (growth < known)
        growth = known - (known - growth + GROWTH_FORGETS - 1) / GROWTH_FORGETS;
    atomic_store_explicit(&gate->batch_growth, (int32_t)growth, memory_order_relaxed);
}

size_t batch_next(struct event *const *events, size_t count, const struct batch_limits *limits, bool *ret_full) {
    CHECK(count > 0);
    size_t taken = 1;
    int64_t bytes = (int64_t)events[0]->value.len;
    while (taken < count && taken < (size_t)limits->max_events &&
           bytes + (int64_t)events[taken]->value.len <= limits->max_bytes)
        bytes += (int64_t)events[taken++]->value.len;
    *ret_full = taken < count || taken >= (size_t)limits->max_events || bytes >= limits->max_bytes;
    return taken;
}

int batch_order(const void *a, const void *b) {
    const struct event *x = *(struct event *const *)a, *y = *(struct event *const *)b;
    size_t shorter = x->topic.len < y->topic.len ? x->topic.len : y->topic.len;
    int order = memcmp(x->topic.data, y->topic.data, shorter);
    if (order == 0)
        order = (x->topic.len > y->topic.len) - (x->topic.len < y->topic.len);
    if (order == 0)
        order = (x->partition > y->partition) - (x->partition < y->partition);
    return order ? order : (x->offset > y->offset) - (x->offset < y->offset);
}
