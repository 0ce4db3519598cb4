#include "webhook/rendering.h"
#include "webhook/js_json.h"
#include "webhook/subscription.h"

static void write_event(const struct rendering *rendering, const struct event *event, int64_t sent_at_ms,
                        struct buffer *body) {
    struct format_input input = {
        .event = event,
        .sent_at_ms = sent_at_ms,
        .workspace_name = rendering->workspace_name,
        .created_by = rendering->created_by,
        .updated_by = rendering->updated_by,
    };
    format_render(rendering->format, &input, body);
}

static void write_batch(const struct rendering *rendering, const struct event *batch, int64_t sent_at_ms,
                        struct buffer *body) {
    for (size_t i = 0; i < batch->member_count; i++) {
        buffer_char(body, i ? ',' : '[');
        write_event(rendering, batch->members[i], sent_at_ms, body);
    }
    buffer_char(body, ']');
}

void rendering_write(const struct rendering *rendering, const struct event *event, int64_t sent_at_ms,
                     struct buffer *body) {
    CHECK(body->len == 0);
    if (event->members)
        write_batch(rendering, event, sent_at_ms, body);
    else
        write_event(rendering, event, sent_at_ms, body);
    if (rendering->signature_style != SIGNATURE_HEX && rendering->signature_style != SIGNATURE_BOTH)
        return;
    if (body->overflowed)
        return; /* what was cut off is no JSON */
    struct buffer spelled;
    buffer_init(&spelled, body->max_bytes);
    js_json_write(buffer_view(body), &spelled);
    buffer_deinit(body);
    *body = spelled;
}
