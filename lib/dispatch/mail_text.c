/* A kind of mail is a row of the table below: a subject and a text with places in braces, which are filled from what
 * the mail speaks of. */
#include "dispatch/mail_text.h"
#include "base/clock.h"
#include "base/json_scan.h"

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

static const struct kind {
    const char *name, *subject, *text;
} KINDS[] = {
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

/* "{{" is a brace of its own. */
static void fill(const struct mail_about *about, const char *pattern, struct buffer *out) {
    for (const char *c = pattern; *c; c++) {
        const char *end = *c == '{' && c[1] != '{' ? strchr(c, '}') : NULL;
        if (end) {
            write_place(about, (struct span){c + 1, (size_t)(end - c - 1)}, out);
            c = end;
            continue;
        }
        c += *c == '{';
        buffer_char(out, *c);
    }
}

enum status mail_text_write(const struct mail_about *about, struct buffer *subject, struct buffer *text,
                            struct error *error) {
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
        if (!span_is(about->kind, KINDS[i].name))
            continue;
        fill(about, KINDS[i].subject, subject);
        fill(about, KINDS[i].text, text);
        return STATUS_OK;
    }
    return error_set(error, STATUS_INVALID, "there is no mail of the kind \"%.*s\"", SPAN_ARGS(about->kind));
}
