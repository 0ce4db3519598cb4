/* The event is a record that the pipeline could have read, and the body is written by what lanes write it with
 * (webhook/rendering.h); only the headers are put together here as well as in dispatch/sending.c. */
#include "api/test_webhook.h"
#include "webhook/rendering.h"
#include "webhook/signature.h"
#include "webhook/subscription.h"

#define BODY_MAX_BYTES (8 * 1024 * 1024)
#define LINE_MAX_BYTES (64 * 1024)

static int style_of(struct span style) {
    static const char *const STYLES[] = {[SIGNATURE_STANDARD] = "standard",
                                         [SIGNATURE_HEX] = "hex",
                                         [SIGNATURE_BOTH] = "both",
                                         [SIGNATURE_NONE] = "none"};
    for (int i = 0; i < (int)(sizeof(STYLES) / sizeof(*STYLES)); i++)
        if (span_is(style, STYLES[i]))
            return i;
    return SIGNATURE_STANDARD;
}

static void write_record(const struct test_webhook_spec *spec, const struct uuid *key, struct buffer *out) {
    buffer_text(out, "{\"id\":\"evt_");
    hex_encode((struct span){(const char *)key->bytes, sizeof(key->bytes)}, out);
    buffer_text(out, "\",\"workspace_id\":");
    json_quote(spec->workspace_id, out);
    buffer_text(out, ",\"event_type\":");
    json_quote(spec->event_type, out);
    buffer_text(out, ",\"event_source\":\"test\",\"occurred_at\":");
    buffer_int(out, spec->now_ms);
    buffer_text(out, ",\"payload\":");
    buffer_span(out, spec->payload.data ? spec->payload : SPAN_LITERAL("null"));
    buffer_char(out, '}');
}

static enum status make_event(const struct test_webhook_spec *spec, const struct uuid *key, struct event **ret_event,
                              struct error *error) {
    struct buffer topic, value;
    struct event_rejection rejection;
    struct event_rules rules = {spec->topic_prefix};
    buffer_init(&topic, 4096);
    buffer_init(&value, BODY_MAX_BYTES);
    buffer_span(&topic, spec->topic_prefix);
    buffer_span(&topic, spec->event_type);
    write_record(spec, key, &value);
    struct event_record record = {.topic = buffer_view(&topic),
                                  .timestamp_ms = spec->now_ms,
                                  .key = spec->workspace_id,
                                  .value = buffer_view(&value)};
    enum event_verdict verdict = event_read(&record, &rules, ret_event, &rejection);
    buffer_deinit(&value);
    buffer_deinit(&topic);
    return verdict == EVENT_ACCEPTED ? STATUS_OK : error_set(error, STATUS_INVALID, "%s", rejection.reason.text);
}

static enum status render(const struct test_webhook_spec *spec, struct event *event, struct arena *arena,
                          struct span *ret_body, struct error *error) {
    struct format *format = NULL;
    struct buffer body;
    struct event batch = {.members = &event, .member_count = 1};
    enum status status = STATUS_OK;
    if (spec->template.data)
        status = format_compile(spec->template, &format, error);
    else if (!(format = format_builtin(spec->format)))
        status = error_set(error, STATUS_INVALID, "there is no format \"%.*s\"", SPAN_ARGS(spec->format));
    if (status != STATUS_OK)
        return status;
    struct rendering rendering = {.format = format,
                                  .signature_style = style_of(spec->style),
                                  .workspace_name = spec->workspace_name,
                                  .created_by = spec->created_by,
                                  .updated_by = spec->updated_by};
    buffer_init(&body, BODY_MAX_BYTES);
    rendering_write(&rendering, spec->batched ? &batch : event, spec->now_ms, &body);
    if (body.overflowed)
        status = error_set(error, STATUS_INVALID, "the body would be longer than %d bytes", BODY_MAX_BYTES);
    else
        *ret_body = arena_span(arena, buffer_view(&body));
    buffer_deinit(&body);
    format_unref(&format);
    return status;
}

static void add_line(struct test_webhook *webhook, struct arena *arena, struct buffer *line) {
    if (webhook->header_count < TEST_WEBHOOK_MAX_HEADERS)
        webhook->headers[webhook->header_count++].line =
            span_of(arena_strdup(arena, buffer_view(line))); /* with its NUL */
    buffer_reset(line);
}

static enum status sign(const struct test_webhook_spec *spec, struct test_webhook *webhook, struct arena *arena,
                        struct buffer *line, struct error *error) {
    struct signer *signer;
    int style = style_of(spec->style);
    if (style == SIGNATURE_NONE || spec->secret_count == 0)
        return STATUS_OK;
    enum status status = signer_new(spec->secrets, spec->secret_count, &signer, error);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < spec->key_count && status == STATUS_OK; i++)
        status = signer_add_key(signer, spec->keys[i], error);
    if (status != STATUS_OK) {
        signer_free(&signer);
        return status;
    }
    if (style != SIGNATURE_HEX) {
        buffer_text(line, "webhook-signature: ");
        signer_standard(signer, webhook->id, spec->now_ms / 1000, webhook->body, line);
        add_line(webhook, arena, line);
    }
    if (style != SIGNATURE_STANDARD) {
        buffer_span(line, spec->signature_header.data ? spec->signature_header : SPAN_LITERAL("x-hookcast-signature"));
        buffer_text(line, ": ");
        signer_hex(signer, webhook->body, line);
        add_line(webhook, arena, line);
    }
    signer_free(&signer);
    return STATUS_OK;
}

static enum status add_headers(const struct test_webhook_spec *spec, struct test_webhook *webhook, struct arena *arena,
                               struct error *error) {
    struct buffer line;
    const char *type = format_content_type(spec->format);
    bool cloudevents = strcmp(type, "application/cloudevents+json") == 0;
    buffer_init(&line, LINE_MAX_BYTES);
    buffer_printf(&line, "webhook-id: %.*s", SPAN_ARGS(webhook->id));
    add_line(webhook, arena, &line);
    buffer_printf(&line, "webhook-timestamp: %lld", (long long)(spec->now_ms / 1000));
    add_line(webhook, arena, &line);
    enum status status = sign(spec, webhook, arena, &line, error);
    buffer_printf(&line, "content-type: %s",
                  spec->batched && cloudevents ? "application/cloudevents-batch+json" : type);
    add_line(webhook, arena, &line);
    if (spec->batched) {
        buffer_text(&line, "webhook-batch-size: 1");
        add_line(webhook, arena, &line);
    }
    buffer_text(&line, "user-agent: hookcast/" HOOKCAST_VERSION);
    add_line(webhook, arena, &line);
    webhook->made_count = webhook->header_count;
    for (size_t i = 0; i < spec->own_header_count; i++) {
        buffer_span(&line, spec->own_headers[i]);
        add_line(webhook, arena, &line);
    }
    buffer_deinit(&line);
    return status;
}

enum status test_webhook_make(const struct test_webhook_spec *spec, struct arena *arena,
                              struct test_webhook *ret_webhook, struct error *error) {
    struct test_webhook webhook = {.key = uuid_new(spec->now_ms)};
    struct event *event;
    enum status status = make_event(spec, &webhook.key, &event, error);
    if (status != STATUS_OK)
        return status;
    webhook.id = arena_span(arena, event->webhook_id);
    status = render(spec, event, arena, &webhook.body, error);
    event_unref(&event);
    if (status == STATUS_OK)
        status = add_headers(spec, &webhook, arena, error);
    if (status == STATUS_OK)
        *ret_webhook = webhook;
    return status;
}
