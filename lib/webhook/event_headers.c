#include "webhook/event_private.h"

#include <strings.h>

#define TRACE_MAX_BYTES 512 /* W3C Trace Context: receivers propagate at least 512 bytes of tracestate */

static const struct span NAMES[HEADER_KIND_COUNT] = {
    [HEADER_CONTENT_TYPE] = {"content-type", 12},
    [HEADER_SPECVERSION] = {"ce_specversion", 14},
    [HEADER_ID] = {"ce_id", 5},
    [HEADER_TYPE] = {"ce_type", 7},
    [HEADER_SOURCE] = {"ce_source", 9},
    [HEADER_TIME] = {"ce_time", 7},
    [HEADER_SUBJECT] = {"ce_subject", 10},
    [HEADER_WORKSPACE] = {"ce_workspaceid", 14},
    [HEADER_TRACEPARENT] = {"traceparent", 11},
    [HEADER_TRACESTATE] = {"tracestate", 10},
};

const char *event_header_name(enum event_header_kind kind) {
    return NAMES[kind].data;
}

/* A trace header travels on as an HTTP header: nothing but printable ASCII may. */
static bool trace_is_plain(struct span value) {
    if (value.len == 0 || value.len > TRACE_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < 0x20 || value.data[i] > 0x7E) {
            return false;
        }
    }
    return true;
}

void event_headers_find(struct event_draft *draft) {
    const struct event_record *record = draft->record;
    for (size_t i = 0; i < record->header_count; i++) {
        const struct event_header *header = &record->headers[i];
        if (!header->value.data) {
            continue;
        }
        for (int kind = 0; kind < HEADER_KIND_COUNT; kind++) {
            if (header->name.len == NAMES[kind].len &&
                strncasecmp(header->name.data, NAMES[kind].data, header->name.len) == 0) {
                draft->headers[kind] = header->value;
            }
        }
    }
    for (int kind = HEADER_TRACEPARENT; kind <= HEADER_TRACESTATE; kind++) {
        if (draft->headers[kind].data && !trace_is_plain(draft->headers[kind])) {
            draft->headers[kind] = SPAN_NONE;
        }
    }
    for (int kind = 0; kind < HEADER_KIND_COUNT; kind++) {
        draft->header_bytes += draft->headers[kind].len;
    }
}

/* Without NUL, which PostgreSQL's json types refuse even as an escape. */
static void write_value(struct span value, struct buffer *out) {
    if (utf8_valid_prefix(value) == value.len && !memchr(value.data, '\0', value.len)) {
        json_quote(value, out);
        return;
    }
    struct buffer clean;
    buffer_init(&clean, value.len * 3);
    utf8_clean(value, &clean);
    json_quote(buffer_view(&clean), out);
    buffer_deinit(&clean);
}

static struct span write_trace(struct event_draft *draft, enum event_header_kind kind) {
    if (!draft->headers[kind].data) {
        return SPAN_NONE;
    }
    struct buffer *scratch = event_scratch(draft);
    size_t start = scratch->len;
    buffer_span(scratch, draft->headers[kind]);
    return event_scratch_since(draft, start);
}

void event_headers_write(struct event_draft *draft) {
    draft->event.headers = SPAN_LITERAL("{}");
    bool any = false;
    for (int kind = 0; kind < HEADER_KIND_COUNT; kind++) {
        any = any || draft->headers[kind].data;
    }
    if (!any) {
        return;
    }
    draft->event.traceparent = write_trace(draft, HEADER_TRACEPARENT);
    draft->event.tracestate = write_trace(draft, HEADER_TRACESTATE);
    struct buffer *scratch = event_scratch(draft);
    size_t start = scratch->len;
    char before = '{';
    for (int kind = 0; kind < HEADER_KIND_COUNT; kind++) {
        if (draft->headers[kind].data) {
            buffer_char(scratch, before);
            json_quote(NAMES[kind], scratch);
            buffer_char(scratch, ':');
            write_value(draft->headers[kind], scratch);
            before = ',';
        }
    }
    buffer_char(scratch, '}');
    draft->event.headers = event_scratch_since(draft, start);
}

/* The buffer may move while it grows, so the spans hold lengths first and get their places at the end. */
struct headers_parse {
    struct event_header *headers;
    size_t max;
    size_t count;
    struct buffer *memory;
};

static bool parse_header(void *ctx, const struct json_member *member) {
    struct headers_parse *parse = ctx;
    if (parse->count == parse->max || (member->value.type != JSON_STRING && member->value.type != JSON_NULL)) {
        return false;
    }
    struct event_header *header = &parse->headers[parse->count++];
    size_t start = parse->memory->len;
    json_unescape(member->name, parse->memory);
    header->name = (struct span){"", parse->memory->len - start};
    start = parse->memory->len;
    if (member->value.type == JSON_NULL) {
        header->value = SPAN_NONE;
        return true;
    }
    json_unescape(member->value.text, parse->memory);
    header->value = (struct span){"", parse->memory->len - start};
    return true;
}

enum status event_headers_parse(struct span headers_json, struct event_header *headers, size_t max, size_t *ret_count,
                                struct buffer *memory) {
    struct headers_parse parse = {headers, max, 0, memory};
    size_t at = memory->len;
    struct json_value value;
    enum status status = json_scan(headers_json, parse_header, &parse, &value, NULL);
    if (status != STATUS_OK || value.type != JSON_OBJECT || memory->overflowed) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < parse.count; i++) {
        headers[i].name.data = buffer_view(memory).data + at;
        at += headers[i].name.len;
        if (headers[i].value.data) {
            headers[i].value.data = buffer_view(memory).data + at;
            at += headers[i].value.len;
        }
    }
    *ret_count = parse.count;
    return STATUS_OK;
}
