/* Any filter on any payload: compiled or refused with a reason that names a place; what is compiled says the same
 * wherever it stands in other filters. The reader finds what json_scan and json_find find. The input is a filter, a
 * line feed, and a payload; the filter's first line alone is also taken as a path. */
#include "base/json_reader.h"
#include "fuzz.h"
#include "webhook/filter.h"

#include <stdlib.h>

static struct event *event_of(struct span payload) {
    static const struct event_rules rules = {.topic_prefix = {"events.", 7}};
    struct buffer value;
    buffer_init(&value, payload.len + 100);
    buffer_text(&value, "{\"payload\":");
    buffer_span(&value, payload);
    buffer_text(&value, ",\"event_source\":\"s\\u0061\",\"id\":12}");
    struct event_record record = {
        .topic = SPAN_LITERAL("events.a.b"), .key = SPAN_LITERAL("w"), .value = buffer_view(&value)};
    struct event *event = NULL;
    struct event_rejection rejection;
    CHECK(event_read(&record, &rules, &event, &rejection) == EVENT_ACCEPTED);
    buffer_deinit(&value);
    return event;
}

/* Whether a filter made of `json` between two texts takes the event; `otherwise` where it is too large or too deep. */
static bool takes_within(const char *before, struct span json, const char *after, const struct event *event,
                         bool otherwise) {
    struct buffer text;
    buffer_init(&text, 2 * json.len + 100);
    buffer_text(&text, before);
    buffer_span(&text, json);
    buffer_text(&text, after);
    struct filter *filter = NULL;
    struct error error = {""};
    bool takes = otherwise;
    if (filter_compile(buffer_view(&text), &filter, &error) == STATUS_OK) {
        takes = filter_takes(filter, event);
        filter_unref(&filter);
    } else {
        CHECK(strstr(error.text, "nested") || strstr(error.text, "longer than"));
    }
    buffer_deinit(&text);
    return takes;
}

static void check_filter(struct span json, const struct event *event) {
    struct filter *filter = NULL;
    struct error error = {""};
    if (filter_compile(json, &filter, &error) != STATUS_OK) {
        CHECK(strncmp(error.text, "filter", 6) == 0 && strstr(error.text, ": "));
        CHECK(utf8_valid_prefix(span_of(error.text)) == strlen(error.text));
        return;
    }
    CHECK(filter_footprint_bytes(filter) > 0);
    bool takes = filter_takes(filter, event);
    CHECK(takes == filter_takes(filter, event));
    CHECK(takes_within("{\"not\":", json, "}", event, !takes) == !takes);
    CHECK(takes_within("{\"all\":[", json, "]}", event, takes) == takes);
    CHECK(takes_within("{\"any\":[{\"id\":13},", json, "],\"id\":12}", event, takes) == takes);
    CHECK(!takes_within("{\"event_source\":\"sb\",\"any\":[", json, "]}", event, false));
    CHECK(takes_within("{\"any\":[", json, ",{\"event_source\":\"sa\"}]}", event, true));
    filter_unref(&filter);
}

/* name: as it stands in a filter's text. */
static void check_path(struct span name, struct span payload, const struct event *event) {
    struct buffer json, path;
    buffer_init(&json, name.len + 100);
    buffer_init(&path, name.len + 100);
    buffer_text(&json, "{\"payload.");
    buffer_span(&json, name);
    buffer_text(&json, "\":{\"exists\":true}}");
    struct filter *filter = NULL;
    struct json_value whole, value;
    if (json_scan(buffer_view(&json), NULL, NULL, &whole, NULL) == STATUS_OK &&
        filter_compile(buffer_view(&json), &filter, NULL) == STATUS_OK && !memchr(name.data, '"', name.len)) {
        json_unescape(name, &path);
        CHECK(filter_takes(filter, event) == json_find(payload, buffer_view(&path), &value));
    }
    if (filter) {
        filter_unref(&filter);
    }
    buffer_deinit(&json);
    buffer_deinit(&path);
}

/* What the reader enters, written compactly. Recursion is bounded by JSON_MAX_DEPTH. */
static void write_read(struct json_reader *reader, struct buffer *out) {
    struct span name;
    bool escaped, first = true;
    switch (json_reader_type(reader)) {
    case JSON_OBJECT:
        for (buffer_char(out, '{'); json_reader_member(reader, &name, &escaped); first = false) {
            CHECK(escaped == (name.len && memchr(name.data, '\\', name.len)));
            buffer_text(out, first ? "\"" : ",\"");
            buffer_span(out, name);
            buffer_text(out, "\":");
            write_read(reader, out);
        }
        buffer_char(out, '}');
        break;
    case JSON_ARRAY:
        for (buffer_char(out, '['); json_reader_element(reader); first = false) {
            buffer_text(out, first ? "" : ",");
            write_read(reader, out);
        }
        buffer_char(out, ']');
        break;
    default:
        buffer_span(out, json_reader_value(reader).text);
    }
}

static void check_reader(const struct json_value *value) {
    struct json_reader reader;
    json_reader_init(&reader, value->text);
    struct json_value passed = json_reader_value(&reader);
    CHECK(passed.type == value->type && passed.escaped == value->escaped && span_equal(passed.text, value->text));
    struct buffer expected, actual;
    buffer_init(&expected, value->text.len + 1);
    buffer_init(&actual, value->text.len + 1);
    json_compact(value, &expected);
    json_reader_init(&reader, value->text);
    write_read(&reader, &actual);
    CHECK(reader.at == reader.end && span_equal(buffer_view(&expected), buffer_view(&actual)));
    buffer_deinit(&expected);
    buffer_deinit(&actual);
}

/* Text that nothing has accepted: the reader ends, and stays within. */
static void read_anything(struct span text) {
    struct json_reader reader;
    struct span name;
    bool escaped;
    json_reader_init(&reader, text);
    while (json_reader_member(&reader, &name, &escaped)) {
        (void)json_reader_value(&reader);
    }
    json_reader_init(&reader, text);
    while (json_reader_element(&reader)) {
        (void)json_reader_value(&reader);
    }
    json_reader_leave(&reader);
    CHECK(reader.at <= reader.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span text = {(const char *)data, size};
    const char *feed = size ? memchr(text.data, '\n', size) : NULL;
    struct span first = {text.data, feed ? (size_t)(feed - text.data) : size};
    struct span payload = feed ? (struct span){feed + 1, size - first.len - 1} : SPAN_LITERAL("{\"a\":[1,\"x\"]}");
    read_anything(payload);
    struct json_value value;
    /* Within the event the payload stands one deeper. */
    if (!payload.len || json_scan(payload, NULL, NULL, &value, NULL) != STATUS_OK) {
        payload = SPAN_LITERAL("{\"a\":[1,\"x\"]}");
        CHECK(json_scan(payload, NULL, NULL, &value, NULL) == STATUS_OK);
    }
    check_reader(&value);
    struct buffer deeper;
    buffer_init(&deeper, payload.len + 2);
    buffer_char(&deeper, '[');
    buffer_span(&deeper, payload);
    buffer_char(&deeper, ']');
    if (json_scan(buffer_view(&deeper), NULL, NULL, NULL, NULL) == STATUS_OK) {
        struct event *event = event_of(payload);
        check_filter(first, event);
        if (first.len) {
            check_path(first, event->payload.text, event);
        }
        event_unref(&event);
    }
    buffer_deinit(&deeper);
    return 0;
}
