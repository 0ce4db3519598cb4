#include "publish_example.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/json_text.h"

/* The text between the braces of a payload; %N stands for the number of the event. */
static const struct family {
    const char *prefix;
    const char *source;
    const char *payload;
} FAMILIES[] = {
    {"message.", "webchat",
     "\"message_id\":\"msg_%N\",\"conversation_id\":\"conv_%N\",\"direction\":\"inbound\",\"channel\":\"webchat\","
     "\"text\":\"Hello, is the blue one in stock?\",\"sender\":{\"contact_id\":\"contact_%N\",\"name\":\"Ada Miller\"},"
     "\"attachments\":[]"},
    {"conversation.label.", "webchat",
     "\"conversation_id\":\"conv_%N\",\"channel\":\"webchat\",\"label\":{\"id\":12,\"name\":\"VIP\"},"
     "\"contact\":{\"id\":\"contact_%N\",\"name\":\"Ada Miller\"}"},
    {"conversation.", "webchat",
     "\"conversation_id\":\"conv_%N\",\"channel\":\"webchat\",\"status\":\"open\",\"assignee\":\"agent_7\","
     "\"contact\":{\"id\":\"contact_%N\",\"name\":\"Ada Miller\"},\"labels\":[\"VIP\"]"},
    {"call.", "phone",
     "\"call_id\":\"call_%N\",\"direction\":\"inbound\",\"from\":\"+15550100\",\"to\":\"+15550199\","
     "\"duration_seconds\":42,\"summary\":\"Asked for the opening hours.\","
     "\"contact\":{\"id\":\"contact_%N\",\"name\":\"Ada Miller\"}"},
    {"contact.label.", "crm",
     "\"contact_id\":\"contact_%N\",\"name\":\"Ada Miller\",\"label\":{\"id\":12,\"name\":\"VIP\"}"},
    {"contact.", "crm",
     "\"contact_id\":\"contact_%N\",\"name\":\"Ada Miller\",\"phone\":\"+15550100\",\"email\":\"ada@example.com\","
     "\"labels\":[\"VIP\"]"},
    {"", "example", "\"number\":%N,\"text\":\"An example event\""},
};

static const struct family *family_of(const char *event_type) {
    const struct family *family = FAMILIES;
    while (!span_has_prefix(span_of(event_type), span_of(family->prefix)))
        family++;
    return family;
}

static void put_payload(const char *payload, int64_t number, struct buffer *out) {
    for (const char *mark; (mark = strstr(payload, "%N")); payload = mark + 2) {
        buffer_append(out, payload, (size_t)(mark - payload));
        buffer_int(out, number);
    }
    buffer_text(out, payload);
}

void publish_example(const char *event_type, const char *workspace_id, int64_t number, struct buffer *out) {
    const struct family *family = family_of(event_type);
    int64_t now_ms = clock_wall_ms();
    struct uuid uuid = uuid_new(now_ms);
    char id[UUID_TEXT_LEN + 1];
    uuid_format(&uuid, id);
    buffer_printf(out, "{\"id\":\"evt_%s\",\"workspace_id\":", id);
    json_quote(span_of(workspace_id), out);
    buffer_text(out, ",\"event_type\":");
    json_quote(span_of(event_type), out);
    buffer_printf(out, ",\"event_source\":\"%s\",\"event_triggered_by\":\"example\",\"occurred_at\":", family->source);
    buffer_int(out, now_ms);
    buffer_text(out, ",\"payload\":{");
    put_payload(family->payload, number, out);
    buffer_text(out, "}}");
}
