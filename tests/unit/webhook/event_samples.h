/* Records for the tests of reading events, and what every accepted one must hold. Included after cmocka.h. */
#ifndef EVENT_SAMPLES_H
#define EVENT_SAMPLES_H

#include "base/memory.h"
#include "webhook/event.h"

#define TOPIC "events.message.new"
#define TIMESTAMP 1700000000123LL

static const struct event_rules RULES = {.topic_prefix = {"events.", 7}};

/* A record whose bytes are gone once it was read: what the event holds must be its own. */
struct sample {
    const char *topic, *key, *value;
    size_t value_len; /* 0: strlen */
    struct event_header headers[8];
    int64_t timestamp_ms;
};

static inline struct span fresh(struct span span) {
    return span.data ? (struct span){mem_copy(span.data, span.len ? span.len : 1), span.len} : span;
}

static inline void forget(struct span span) {
    if (span.data) {
        memset((char *)span.data, '#', span.len);
        mem_free((char *)span.data);
    }
}

static inline enum event_verdict read_record(const struct event_record *record, struct event **ret_event,
                                             struct event_rejection *ret_rejection) {
    struct event_header headers[16];
    struct event_record copy = *record;
    copy.topic = fresh(record->topic);
    copy.key = fresh(record->key);
    copy.value = fresh(record->value);
    for (size_t i = 0; i < record->header_count; i++) {
        headers[i] = (struct event_header){fresh(record->headers[i].name), fresh(record->headers[i].value)};
    }
    copy.headers = headers;
    enum event_verdict verdict = event_read(&copy, &RULES, ret_event, ret_rejection);
    forget(copy.topic);
    forget(copy.key);
    forget(copy.value);
    for (size_t i = 0; i < record->header_count; i++) {
        forget(headers[i].name);
        forget(headers[i].value);
    }
    return verdict;
}

static inline struct event_record record_of(const struct sample *sample) {
    struct event_record record = {
        .topic = span_of(sample->topic ? sample->topic : TOPIC),
        .partition = 3,
        .offset = 77,
        .timestamp_ms = sample->timestamp_ms ? sample->timestamp_ms : TIMESTAMP,
        .key = span_of(sample->key),
        .value = {sample->value, sample->value_len ? sample->value_len
                                 : sample->value   ? strlen(sample->value)
                                                   : 0},
        .headers = sample->headers,
    };
    while (record.header_count < 8 && sample->headers[record.header_count].name.data) {
        record.header_count++;
    }
    return record;
}

static inline void assert_span(struct span actual, const char *expected) {
    if (!expected) {
        assert_null(actual.data);
        return;
    }
    if (!actual.data || !span_is(actual, expected)) {
        fail_msg("\"%.*s\" is not \"%s\"", SPAN_ARGS(actual), expected);
    }
}

static inline void assert_same_span(struct span a, struct span b) {
    assert_int_equal(a.data == NULL, b.data == NULL);
    if (!span_equal(a, b)) {
        fail_msg("\"%.*s\" is not \"%.*s\"", SPAN_ARGS(a), SPAN_ARGS(b));
    }
}

static inline void assert_same_event(const struct event *a, const struct event *b) {
    assert_true(uuid_equal(&a->key, &b->key));
    assert_same_span(a->topic, b->topic);
    assert_int_equal(a->partition, b->partition);
    assert_true(a->offset == b->offset && a->timestamp_ms == b->timestamp_ms);
    assert_same_span(a->record_key, b->record_key);
    assert_same_span(a->value, b->value);
    assert_same_span(a->headers, b->headers);
    assert_same_span(a->id_json, b->id_json);
    assert_same_span(a->id, b->id);
    assert_same_span(a->workspace_json, b->workspace_json);
    assert_same_span(a->workspace_id, b->workspace_id);
    assert_same_span(a->workspace_name_json, b->workspace_name_json);
    assert_same_span(a->event_type, b->event_type);
    assert_same_span(a->event_source_json, b->event_source_json);
    assert_same_span(a->triggered_by_json, b->triggered_by_json);
    assert_same_span(a->payload.text, b->payload.text);
    assert_int_equal(a->payload.type, b->payload.type);
    assert_true(a->occurred_at_ms == b->occurred_at_ms && a->deliver_at_ms == b->deliver_at_ms);
    assert_same_span(a->webhook_id, b->webhook_id);
    assert_same_span(a->traceparent, b->traceparent);
    assert_same_span(a->tracestate, b->tracestate);
}

/* What a schedule or an events row keeps, read again. */
static inline void assert_reads_again(const struct event *event) {
    struct event_header headers[EVENT_HEADERS_MAX];
    struct event_record record = {.topic = event->topic,
                                  .partition = event->partition,
                                  .offset = event->offset,
                                  .timestamp_ms = event->timestamp_ms,
                                  .key = event->record_key,
                                  .value = event->value,
                                  .headers = headers};
    struct buffer memory;
    buffer_init(&memory, 1 << 20);
    assert_int_equal(event_headers_parse(event->headers, headers, EVENT_HEADERS_MAX, &record.header_count, &memory),
                     STATUS_OK);
    struct event *again;
    struct event_rejection rejection;
    assert_int_equal(event_read(&record, &RULES, &again, &rejection), EVENT_ACCEPTED);
    buffer_deinit(&memory);
    assert_same_event(event, again);
    event_unref(&again);
}

static inline struct event *accepted(const struct sample *sample) {
    struct event_record record = record_of(sample);
    struct event *event = NULL;
    struct event_rejection rejection = {.code = ""};
    if (read_record(&record, &event, &rejection) != EVENT_ACCEPTED) {
        fail_msg("rejected: %s: %s", rejection.code, rejection.reason.text);
    }
    assert_reads_again(event);
    return event;
}

static inline void assert_rejected(const struct sample *sample, const char *code, const char *reason_part) {
    struct event_record record = record_of(sample);
    struct event *event = NULL;
    struct event_rejection rejection = {.code = ""};
    assert_int_equal(read_record(&record, &event, &rejection), EVENT_REJECTED);
    assert_null(event);
    assert_string_equal(rejection.code, code);
    if (!strstr(rejection.reason.text, reason_part)) {
        fail_msg("\"%s\" does not say \"%s\"", rejection.reason.text, reason_part);
    }
}

#define HEADER(name, value)                                                                                            \
    {                                                                                                                  \
        {(name), sizeof(name) - 1}, {                                                                                  \
            (value), sizeof(value) - 1                                                                                 \
        }                                                                                                              \
    }

#endif
