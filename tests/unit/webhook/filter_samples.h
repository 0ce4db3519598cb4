/* Events and filters for the tests of filters. Included after cmocka.h. */
#ifndef FILTER_SAMPLES_H
#define FILTER_SAMPLES_H

#include "base/memory.h"
#include "webhook/filter.h"

#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define OCCURRED 1462216307945LL /* 2016-05-02T19:11:47.945Z */

static inline struct event *event_of(const char *value) {
    struct event_record record = {.topic = SPAN_LITERAL("events.message.new"),
                                  .timestamp_ms = OCCURRED,
                                  .key = SPAN_LITERAL("ws"),
                                  .value = span_of(value)};
    struct event_rules rules = {.topic_prefix = SPAN_LITERAL("events.")};
    struct event *event = NULL;
    struct event_rejection rejection;
    if (event_read(&record, &rules, &event, &rejection) != EVENT_ACCEPTED) {
        fail_msg("%s: %s", value, rejection.reason.text);
    }
    return event;
}

/* An event with that payload. */
static inline struct event *event_with(const char *payload) {
    struct buffer value;
    buffer_init(&value, 4 << 20);
    buffer_printf(&value, "{\"payload\":%s}", payload);
    struct event *event = event_of(buffer_view(&value).data);
    buffer_deinit(&value);
    return event;
}

/* From a copy that is gone afterwards: a filter must own all that it needs. */
static inline struct filter *compile(const char *json) {
    struct filter *filter = NULL;
    struct error error = {""};
    size_t len = strlen(json);
    char *copy = mem_copy(json, len);
    enum status status = filter_compile((struct span){copy, len}, &filter, &error);
    memset(copy, '#', len);
    mem_free(copy);
    if (status != STATUS_OK) {
        fail_msg("%s: %s", json, error.text);
    }
    assert_non_null(filter);
    return filter;
}

#endif
