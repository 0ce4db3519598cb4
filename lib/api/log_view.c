#include "api/log_view.h"
#include "base/clock.h"
#include "base/json_text.h"
#include <stdio.h>
#include <time.h>

static void text(struct buffer *out, const char *name, struct span value) {
    buffer_text(out, name);
    if (value.data)
        json_quote(value, out);
    else
        buffer_text(out, "null");
}

static void uuid(struct buffer *out, const char *name, const struct uuid *value) {
    char plain[UUID_TEXT_LEN + 1];
    uuid_format(value, plain);
    text(out, name, uuid_is_nil(value) ? SPAN_NONE : span_of(plain));
}

static void time_or_null(struct buffer *out, const char *name, int64_t ms) {
    buffer_text(out, name);
    if (!ms) {
        buffer_text(out, "null");
        return;
    }
    buffer_char(out, '"');
    clock_format_iso(ms, out);
    buffer_char(out, '"');
}

static void flag(struct buffer *out, const char *name, bool value) {
    buffer_text(out, name);
    buffer_text(out, value ? "true" : "false");
}

void log_view_begin(const struct log_query_row *row, struct buffer *out) {
    char code[16];
    int len = snprintf(code, sizeof(code), "%d", row->status_code);
    uuid(out, "{\"id\":", &row->id);
    text(out, ",\"workspace_id\":", row->workspace_id);
    text(out, ",\"event_id\":", row->event_id);
    uuid(out, ",\"subscription_id\":", &row->subscription_id);
    text(out, ",\"event_type\":", row->event_type);
    text(out, ",\"webhook_url\":", row->webhook_url);
    text(out, ",\"delivery_status\":", row->delivery_status);
    text(out, ",\"status_code\":", row->status_code ? (struct span){code, (size_t)len} : SPAN_NONE);
    text(out, ",\"response_body\":", row->response_body);
    buffer_text(out, ",\"delivered_event_obj\":");
}

/* As the document prints it: microseconds, and no zone, which is UTC. */
static void created_at(struct buffer *out, int64_t us) {
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    CHECK(gmtime_r(&s, &tm));
    buffer_printf(out, ",\"created_at\":\"%04d-%02d-%02dT%02d:%02d:%02d.%06d\"", tm.tm_year + 1900, tm.tm_mon + 1,
                  tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(us % 1000000));
}

void log_view_end(const struct log_query_row *row, struct buffer *out) {
    created_at(out, row->created_at_us);
    buffer_text(out, ",\"attempt\":");
    buffer_int(out, row->attempt);
    text(out, ",\"error\":", row->error);
    text(out, ",\"error_code\":", row->error_code);
    buffer_text(out, ",\"duration_ms\":");
    if (row->duration_ms >= 0)
        buffer_int(out, row->duration_ms);
    else
        buffer_text(out, "null");
    time_or_null(out, ",\"next_attempt_at\":", row->next_attempt_at_ms);
    flag(out, ",\"given_up\":", row->given_up);
    uuid(out, ",\"batch_id\":", &row->batch_id);
    flag(out, ",\"replay\":", row->replay);
    flag(out, ",\"test\":", row->test);
    time_or_null(out, ",\"sent_at\":", row->sent_at_ms);
    uuid(out, ",\"event_key\":", &row->event_key);
    buffer_char(out, '}');
}
