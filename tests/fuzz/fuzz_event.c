/* Any record: read or rejected with a reason; what is read keeps its promises, reads again from its columns, and
 * renders into valid JSON in every format. The input is one byte that chooses the record's form, one that is the length
 * of a text for key and headers, that text, and the value. */
#include "base/utf8.h"
#include "fuzz.h"
#include "webhook/format.h"
#include "webhook/js_json.h"

static const struct event_rules RULES = {.topic_prefix = {"events.", 7}};

enum form {
    FORM_OWN_TOPIC = 1 << 0,
    FORM_KEY = 1 << 1,
    FORM_BINARY = 1 << 2,
    FORM_SUBJECT = 1 << 3,
    FORM_TIME = 1 << 4,
    FORM_CONTENT_TYPE = 1 << 5,
    FORM_STRUCTURED = 1 << 6,
    FORM_TRACE = 1 << 7
};

static struct event_record record_of(unsigned form, struct span text, struct span value,
                                     struct event_header headers[EVENT_HEADERS_MAX]) {
    size_t count = 0;
    if (form & FORM_BINARY) {
        headers[count++] = (struct event_header){SPAN_LITERAL("ce_specversion"), SPAN_LITERAL("1.0")};
        headers[count++] = (struct event_header){SPAN_LITERAL("ce_id"), text};
        headers[count++] = (struct event_header){SPAN_LITERAL("ce_type"), SPAN_LITERAL("a.b")};
        headers[count++] = (struct event_header){SPAN_LITERAL("CE_SOURCE"), text};
    }
    if (form & FORM_SUBJECT) {
        headers[count++] = (struct event_header){SPAN_LITERAL("ce_subject"), text};
    }
    if (form & FORM_TIME) {
        headers[count++] = (struct event_header){SPAN_LITERAL("ce_time"), text};
    }
    if (form & FORM_CONTENT_TYPE) {
        headers[count++] = (struct event_header){SPAN_LITERAL("content-type"), text};
    }
    if (form & FORM_STRUCTURED) {
        headers[count++] = (struct event_header){SPAN_LITERAL("Content-Type"),
                                                 SPAN_LITERAL("application/cloudevents+json; charset=UTF-8")};
    }
    if (form & FORM_TRACE) {
        headers[count++] = (struct event_header){SPAN_LITERAL("traceparent"), text};
        headers[count++] = (struct event_header){text, SPAN_NONE};
    }
    return (struct event_record){.topic = form & FORM_OWN_TOPIC ? SPAN_LITERAL("many") : SPAN_LITERAL("events.a.b"),
                                 .partition = 1,
                                 .offset = (int64_t)value.len,
                                 .timestamp_ms = 1700000000000,
                                 .key = form & FORM_KEY ? text : SPAN_NONE,
                                 .value = value,
                                 .headers = headers,
                                 .header_count = count};
}

static bool is_text(struct span span, size_t max) {
    return span.len > 0 && span.len <= max && utf8_valid_prefix(span) == span.len && !memchr(span.data, '\0', span.len);
}

static void check_json(struct span json) {
    struct json_value value;
    CHECK(!json.data || json_scan(json, NULL, NULL, &value, NULL) == STATUS_OK);
}

static void check_promises(const struct event *event) {
    CHECK(is_text(event->id, 200) && is_text(event->workspace_id, 200) && is_text(event->event_type, 200));
    CHECK(is_text(event->webhook_id, 64) && is_text(event->headers, SIZE_MAX));
    check_json(event->headers);
    check_json(event->id_json);
    check_json(event->workspace_json);
    check_json(event->workspace_name_json);
    check_json(event->event_source_json);
    check_json(event->triggered_by_json);
    check_json(event->payload.text);
    CHECK(event->deliver_at_ms >= 0 && event->footprint_bytes > sizeof(*event) + event->value.len);
}

static void check_same(const struct event *a, const struct event *b) {
    CHECK(uuid_equal(&a->key, &b->key) && a->occurred_at_ms == b->occurred_at_ms);
    CHECK(a->deliver_at_ms == b->deliver_at_ms && a->footprint_bytes == b->footprint_bytes);
    CHECK(span_equal(a->headers, b->headers) && span_equal(a->id_json, b->id_json) && span_equal(a->id, b->id));
    CHECK(span_equal(a->workspace_json, b->workspace_json) && span_equal(a->workspace_id, b->workspace_id));
    CHECK(span_equal(a->workspace_name_json, b->workspace_name_json) && span_equal(a->event_type, b->event_type));
    CHECK(span_equal(a->event_source_json, b->event_source_json) && span_equal(a->webhook_id, b->webhook_id));
    CHECK(span_equal(a->payload.text, b->payload.text) && span_equal(a->traceparent, b->traceparent));
}

static void check_reads_again(const struct event *event) {
    struct event_header headers[EVENT_HEADERS_MAX];
    struct event_record record = {.topic = event->topic,
                                  .partition = event->partition,
                                  .offset = event->offset,
                                  .timestamp_ms = event->timestamp_ms,
                                  .key = event->record_key,
                                  .value = event->value,
                                  .headers = headers};
    struct buffer memory;
    buffer_init(&memory, event->headers.len);
    CHECK(event_headers_parse(event->headers, headers, EVENT_HEADERS_MAX, &record.header_count, &memory) == STATUS_OK);
    struct event *again;
    struct event_rejection rejection;
    CHECK(event_read(&record, &RULES, &again, &rejection) == EVENT_ACCEPTED);
    buffer_deinit(&memory);
    check_same(event, again);
    event_unref(&again);
}

static void check_body(struct format *format, const struct event *event) {
    struct format_input input = {.event = event, .sent_at_ms = 1700000000000, .created_by = event->workspace_id};
    struct buffer body, script, again;
    size_t max = 64 * event->footprint_bytes;
    buffer_init(&body, max);
    buffer_init(&script, max);
    buffer_init(&again, max);
    format_render(format, &input, &body);
    struct json_value value;
    struct error error;
    bool valid = json_scan(buffer_view(&body), NULL, NULL, &value, &error) == STATUS_OK;
    CHECK(!body.overflowed && (valid || strstr(error.text, "nested too deep")));
    if (valid) {
        CHECK(value.compact);
        js_json_write(value.text, &script);
        CHECK(json_scan(buffer_view(&script), NULL, NULL, &value, NULL) == STATUS_OK && value.compact);
        js_json_write(value.text, &again);
        CHECK(span_equal(buffer_view(&script), buffer_view(&again)));
    }
    buffer_deinit(&body);
    buffer_deinit(&script);
    buffer_deinit(&again);
    format_unref(&format);
}

static void check_bodies(const struct event *event) {
    static const char *const names[] = {"seanotify", "cloudevents", "supersend", "raw"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        check_body(format_builtin(span_of(names[i])), event);
    }
    struct format *format = NULL;
    struct span text =
        SPAN_LITERAL("\"{{id}} {{workspace_name}} {{payload}} {{payload.a.0}} {{subscription_created_by}}\"");
    CHECK(format_compile(text, &format, NULL) == STATUS_OK);
    check_body(format, event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size - 2 < data[1]) {
        return 0;
    }
    const char *bytes = (const char *)data;
    struct span text = {bytes + 2, data[1]};
    struct span value = {bytes + 2 + text.len, size - 2 - text.len};
    struct event_header headers[EVENT_HEADERS_MAX];
    struct event_record record = record_of(data[0], text, value, headers);
    struct event *event = NULL;
    struct event_rejection rejection = {.code = NULL};
    if (event_read(&record, &RULES, &event, &rejection) == EVENT_ACCEPTED) {
        check_promises(event);
        check_reads_again(event);
        check_bodies(event);
        event_unref(&event);
    } else {
        CHECK(!event && rejection.code && rejection.reason.text[0]);
        CHECK(utf8_valid_prefix(span_of(rejection.reason.text)) == strlen(rejection.reason.text));
    }
    struct format *format = NULL;
    struct error error = {""};
    if (format_compile(value, &format, &error) == STATUS_OK) {
        format_unref(&format);
    } else {
        CHECK(error.text[0] && utf8_valid_prefix(span_of(error.text)) == strlen(error.text));
    }
    return 0;
}
