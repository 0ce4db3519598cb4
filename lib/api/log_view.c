#include "api/log_view.h"
#include "base/clock.h"
#include "base/json_text.h"
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

/* Who gets the fields. */
struct sink {
    log_view_fn *fn;
    void *ctx;
};

static void text(const struct sink *sink, const char *name, struct span value) {
    sink->fn(sink->ctx, name, value, true);
}

static void uuid(const struct sink *sink, const char *name, const struct uuid *value) {
    char plain[UUID_TEXT_LEN + 1];
    uuid_format(value, plain);
    text(sink, name, uuid_is_nil(value) ? SPAN_NONE : (struct span){plain, UUID_TEXT_LEN});
}

static void time_or_null(const struct sink *sink, const char *name, int64_t ms) {
    struct buffer plain;
    buffer_init(&plain, 64);
    if (ms)
        clock_format_iso(ms, &plain);
    text(sink, name, ms ? buffer_view(&plain) : SPAN_NONE);
    buffer_deinit(&plain);
}

static void flag(const struct sink *sink, const char *name, bool value) {
    sink->fn(sink->ctx, name, value ? SPAN_LITERAL("true") : SPAN_LITERAL("false"), false);
}

static void number(const struct sink *sink, const char *name, bool null, int64_t value, bool as_text) {
    char plain[24];
    int len = snprintf(plain, sizeof(plain), "%" PRId64, value);
    sink->fn(sink->ctx, name, null ? SPAN_NONE : (struct span){plain, (size_t)len}, as_text);
}

void log_view_before(const struct log_query_row *row, log_view_fn *fn, void *ctx) {
    const struct sink sink = {fn, ctx};
    uuid(&sink, "id", &row->id);
    text(&sink, "workspace_id", row->workspace_id);
    text(&sink, "event_id", row->event_id);
    uuid(&sink, "subscription_id", &row->subscription_id);
    text(&sink, "event_type", row->event_type);
    text(&sink, "webhook_url", row->webhook_url);
    text(&sink, "delivery_status", row->delivery_status);
    number(&sink, "status_code", row->status_code == 0, row->status_code, true);
    text(&sink, "response_body", row->response_body);
}

/* As the document prints it: microseconds, and no zone, which is UTC. */
static void created_at(const struct sink *sink, int64_t us) {
    char plain[64];
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    CHECK(gmtime_r(&s, &tm));
    int len = snprintf(plain, sizeof(plain), "%04d-%02d-%02dT%02d:%02d:%02d.%06d", tm.tm_year + 1900, tm.tm_mon + 1,
                       tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(us % 1000000));
    text(sink, "created_at", (struct span){plain, (size_t)len});
}

void log_view_after(const struct log_query_row *row, log_view_fn *fn, void *ctx) {
    const struct sink sink = {fn, ctx};
    created_at(&sink, row->created_at_us);
    number(&sink, "attempt", false, row->attempt, false);
    text(&sink, "error", row->error);
    text(&sink, "error_code", row->error_code);
    number(&sink, "duration_ms", row->duration_ms < 0, row->duration_ms, false);
    time_or_null(&sink, "next_attempt_at", row->next_attempt_at_ms);
    flag(&sink, "given_up", row->given_up);
    uuid(&sink, "batch_id", &row->batch_id);
    flag(&sink, "replay", row->replay);
    flag(&sink, "test", row->test);
    time_or_null(&sink, "sent_at", row->sent_at_ms);
    uuid(&sink, "event_key", &row->event_key);
}

/* ---- as JSON ---- */

static void name_json(struct buffer *out, const char *name) {
    buffer_text(out, "\"");
    buffer_text(out, name);
    buffer_text(out, "\":");
}

static void value_json(struct buffer *out, struct span value, bool quoted) {
    if (!value.data)
        buffer_text(out, "null");
    else if (quoted)
        json_quote(value, out);
    else
        buffer_span(out, value);
}

/* A comma behind each: the body follows. */
static void field_before(void *ctx, const char *name, struct span value, bool quoted) {
    name_json(ctx, name);
    value_json(ctx, value, quoted);
    buffer_char(ctx, ',');
}

static void field_after(void *ctx, const char *name, struct span value, bool quoted) {
    buffer_char(ctx, ',');
    name_json(ctx, name);
    value_json(ctx, value, quoted);
}

void log_view_begin(const struct log_query_row *row, struct buffer *out) {
    buffer_char(out, '{');
    log_view_before(row, field_before, out);
    name_json(out, LOG_VIEW_BODY);
}

void log_view_end(const struct log_query_row *row, struct buffer *out) {
    log_view_after(row, field_after, out);
    buffer_char(out, '}');
}
