/* A kind of mail is a row of the table below, or of mail_text_export.c: a subject and a text with places in braces,
 * which are filled from what the mail speaks of. */
#include "dispatch/mail_text.h"
#include "base/clock.h"
#include "base/json_scan.h"
#include "dispatch/mail_text_private.h"

#define NAME_MAX_BYTES 120
#define URL_MAX_BYTES 400

#define ABOUT                                                                                                          \
    "Subscription: {name} ({id})\n"                                                                                    \
    "Workspace: {workspace}\n"                                                                                         \
    "Endpoint: {url}\n"
#define ENDING                                                                                                         \
    "\n"                                                                                                               \
    "The delivery log has every attempt and what was answered:\n"                                                      \
    "{api}/logs/{id}\n"                                                                                                \
    "\n"                                                                                                               \
    "You get this mail because your address is the subscription's notify_email.\n"

static const struct mail_kind KINDS[] = {
    {"subscription.failing", "Your webhook is failing: {name}",
     "Every attempt to deliver a webhook since {failing_since} has failed.\n"
     "If that goes on for as long again, the subscription is disabled.\n"
     "\n" ABOUT "Last success: {last_success}\n"
     "\n"
     "What to do: let the endpoint answer with a status from 200 to 299. What has\n"
     "failed is tried again as the retry schedule says.\n" ENDING},
    {"subscription.disabled", "Your webhook was disabled: {name}",
     "The subscription was disabled and gets no more webhooks.\n"
     "Reason: {reason}.\n"
     "\n" ABOUT "Last success: {last_success}\n"
     "\n"
     "What to do: once the endpoint works, switch the subscription on again with\n"
     "  PATCH {api}/subscription/{id}\n"
     "  {{\"is_enabled\": true, \"updated_by\": \"you\"}\n"
     "Events that matched in the meantime are kept for a while, and can be sent with\n"
     "  POST {api}/subscription/{id}/recover\n" ENDING},
    {"subscription.recovered", "Your webhook works again: {name}",
     "The endpoint answers again. Nothing needs to be done.\n"
     "\n" ABOUT ENDING},
};

static bool find(const struct mail_about *about, const char *name, enum json_type type, struct json_value *ret_value) {
    return json_find(about->about, span_of(name), ret_value) && ret_value->type == type;
}

/* Text of a subscriber, on one line and not too long. */
static void write_line(struct span string_text, size_t max_bytes, struct buffer *out) {
    struct buffer plain;
    buffer_init(&plain, string_text.len + 1);
    json_unescape(string_text, &plain);
    struct span line = buffer_view(&plain);
    bool cut = line.len > max_bytes;
    if (cut)
        line.len = max_bytes;
    line.len = utf8_valid_prefix(line);
    for (size_t i = 0; i < line.len; i++)
        buffer_char(out, (unsigned char)line.data[i] < ' ' || line.data[i] == 0x7f ? ' ' : line.data[i]);
    if (cut)
        buffer_text(out, "…");
    buffer_deinit(&plain);
}

static void write_string(const struct mail_about *about, const char *name, size_t max_bytes, struct buffer *out) {
    struct json_value value;
    if (find(about, name, JSON_STRING, &value))
        write_line(value.text, max_bytes, out);
    else
        buffer_text(out, "unknown");
}

static void write_url(const struct mail_about *about, struct buffer *out) {
    struct buffer url;
    buffer_init(&url, 4096);
    write_string(about, "webhook_url", URL_MAX_BYTES, &url);
    struct span shown = buffer_view(&url);
    for (size_t i = 0; i < shown.len; i++)
        if (shown.data[i] == '?' || shown.data[i] == '#')
            shown.len = i;
    buffer_span(out, shown);
    buffer_deinit(&url);
}

static void write_name(const struct mail_about *about, struct buffer *out) {
    struct json_value name;
    if (find(about, "name", JSON_STRING, &name) && name.text.len > 2)
        write_line(name.text, NAME_MAX_BYTES, out);
    else
        write_string(about, "subscription_id", NAME_MAX_BYTES, out);
}

static void write_time(const struct mail_about *about, const char *name, struct buffer *out) {
    struct json_value value;
    int64_t wall_ms;
    if (find(about, name, JSON_NUMBER, &value) && json_int64(value.text, &wall_ms) == STATUS_OK)
        clock_format_iso(wall_ms / 1000 * 1000, out);
    else
        buffer_text(out, "none that is known");
}

/* Percent-encoded, as one segment of a path. */
static void write_segment(struct span text, struct buffer *out) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool plain =
            (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c && strchr("-._~", c));
        if (plain)
            buffer_char(out, (char)c);
        else
            buffer_printf(out, "%%%02X", c);
    }
}

static void write_api(const struct mail_about *about, struct buffer *out) {
    struct span base = span_of(about->public_url);
    while (base.len && base.data[base.len - 1] == '/')
        base.len--;
    buffer_span(out, base);
    buffer_text(out, "/api/v1/workspaces/");
    write_segment(about->workspace_id, out);
}

/* "2026-11-28 17:35:00 UTC", or without the seconds. */
static void write_utc(int64_t wall_ms, bool seconds, struct buffer *out) {
    struct buffer iso;
    buffer_init(&iso, 64);
    clock_format_iso(wall_ms / 1000 * 1000, &iso);
    struct span text = buffer_view(&iso);
    if (text.len == sizeof("2026-11-28T17:35:00Z") - 1)
        buffer_printf(out, "%.10s %.*s UTC", text.data, seconds ? 8 : 5, text.data + 11);
    else
        buffer_span(out, text);
    buffer_deinit(&iso);
}

/* A number of milliseconds since 1970, or a text: a time, or a date, which stays as it is. */
static void write_moment(const struct mail_about *about, const char *name, bool seconds, const char *otherwise,
                         struct buffer *out) {
    struct json_value value;
    int64_t wall_ms;
    bool date;
    if (find(about, name, JSON_NUMBER, &value) && json_int64(value.text, &wall_ms) == STATUS_OK) {
        write_utc(wall_ms, seconds, out);
    } else if (find(about, name, JSON_STRING, &value)) {
        struct span text = {value.text.data + 1, value.text.len - 2};
        if (clock_parse_iso(text, &wall_ms, &date) == STATUS_OK && !date)
            write_utc(wall_ms, seconds, out);
        else
            write_line(value.text, NAME_MAX_BYTES, out);
    } else {
        buffer_text(out, otherwise);
    }
}

static void write_text_or(const struct mail_about *about, const char *name, const char *otherwise, struct buffer *out) {
    struct json_value value;
    if (find(about, name, JSON_STRING, &value))
        write_line(value.text, URL_MAX_BYTES, out);
    else
        buffer_text(out, otherwise);
}

static void write_number(const struct mail_about *about, const char *name, bool bytes, const char *otherwise,
                         struct buffer *out) {
    static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB"};
    struct json_value value;
    int64_t number;
    if (!find(about, name, JSON_NUMBER, &value) || json_int64(value.text, &number) != STATUS_OK || number < 0) {
        buffer_text(out, otherwise);
        return;
    }
    size_t unit = 0;
    for (; bytes && number >= 10240 && unit + 1 < sizeof(UNITS) / sizeof(UNITS[0]); unit++)
        number = number / 1024 + (number % 1024 != 0);
    buffer_int(out, number);
    if (bytes)
        buffer_printf(out, " %s", UNITS[unit]);
}

static void write_format(const struct mail_about *about, const char *otherwise, struct buffer *out) {
    struct json_value value;
    bool known = find(about, "format", JSON_STRING, &value);
    if (known && span_is(value.text, "\"csv\""))
        buffer_text(out, "CSV");
    else if (known && span_is(value.text, "\"ndjson\""))
        buffer_text(out, "NDJSON");
    else
        write_text_or(about, "format", otherwise, out);
}

static void write_export_place(const struct mail_about *about, const struct mail_export_texts *texts, struct span place,
                               struct buffer *out) {
    if (span_is(place, "workspace"))
        buffer_span(out, about->workspace_id);
    else if (span_is(place, "link"))
        buffer_span(out, about->link);
    else if (span_is(place, "until"))
        write_moment(about, "expires_at_ms", false, texts->absent, out);
    else if (span_is(place, "start"))
        write_moment(about, "start", true, texts->oldest, out);
    else if (span_is(place, "end"))
        write_moment(about, "end", true, texts->newest, out);
    else if (span_is(place, "rows"))
        write_number(about, "rows", false, texts->absent, out);
    else if (span_is(place, "size"))
        write_number(about, "size", true, texts->absent, out);
    else if (span_is(place, "format"))
        write_format(about, texts->absent, out);
    else if (span_is(place, "job"))
        write_text_or(about, "job_id", texts->absent, out);
    else
        write_text_or(about, "error", texts->absent, out);
}

static void write_place(const struct mail_about *about, struct span place, struct buffer *out) {
    if (span_is(place, "name"))
        write_name(about, out);
    else if (span_is(place, "id"))
        write_string(about, "subscription_id", NAME_MAX_BYTES, out);
    else if (span_is(place, "workspace"))
        buffer_span(out, about->workspace_id);
    else if (span_is(place, "url"))
        write_url(about, out);
    else if (span_is(place, "reason"))
        write_string(about, "disabled_reason", URL_MAX_BYTES, out);
    else if (span_is(place, "failing_since"))
        write_time(about, "failing_since", out);
    else if (span_is(place, "last_success"))
        write_time(about, "last_success_at", out);
    else
        write_api(about, out);
}

/* texts: of a mail on an export; NULL: of a subscription. */
static void fill(const struct mail_about *about, const struct mail_export_texts *texts, const char *pattern,
                 struct buffer *out) {
    for (const char *c = pattern; *c; c++) {
        const char *end = *c == '{' && c[1] != '{' ? strchr(c, '}') : NULL;
        struct span place = {c + 1, end ? (size_t)(end - c - 1) : 0};
        if (!end) {
            c += *c == '{';
            buffer_char(out, *c);
            continue;
        }
        if (texts && span_is(place, "about"))
            fill(about, texts, texts->period, out);
        else if (texts)
            write_export_place(about, texts, place, out);
        else
            write_place(about, place, out);
        c = end;
    }
}

/* What only SQL can have written wrongly is English. */
static enum language language_of(const struct mail_about *about) {
    struct json_value tag;
    enum language language;
    if (!find(about, "lang", JSON_STRING, &tag) || tag.text.len < 2)
        return LANGUAGE_EN;
    struct span text = {tag.text.data + 1, tag.text.len - 2};
    return language_parse(text, &language, NULL) == STATUS_OK ? language : LANGUAGE_EN;
}

enum status mail_text_write(const struct mail_about *about, struct buffer *subject, struct buffer *text,
                            struct error *error) {
    const struct mail_export_texts *texts = mail_export_texts(language_of(about));
    const struct mail_kind *kind = NULL;
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]) && !kind; i++)
        kind = span_is(about->kind, KINDS[i].name) ? &KINDS[i] : NULL;
    if (kind)
        texts = NULL;
    else if (span_is(about->kind, texts->ready.name))
        kind = &texts->ready;
    else if (span_is(about->kind, texts->failed.name))
        kind = &texts->failed;
    else
        return error_set(error, STATUS_INVALID, "there is no mail of the kind \"%.*s\"", SPAN_ARGS(about->kind));
    if (texts && kind == &texts->ready && !about->link.data)
        return error_set(error, STATUS_INVALID, "there is no link for it");
    fill(about, texts, kind->subject, subject);
    fill(about, texts, kind->text, text);
    return STATUS_OK;
}
