#include "dispatch/sending.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "webhook/batch.h"
#include "webhook/rendering.h"

static const char USER_AGENT[] = "user-agent: hookcast/" HOOKCAST_VERSION;

struct sending *sending_new(struct lane *lane) {
    struct sending *sending = mem_calloc(1, sizeof(*sending));
    sending->lane = lane;
    buffer_init(&sending->body, SENDING_MAX_BODY_BYTES);
    buffer_init(&sending->lines, 64 * 1024);
    return sending;
}

void sending_free(struct sending **sending_ptr) {
    struct sending *sending = *sending_ptr;
    *sending_ptr = NULL;
    buffer_deinit(&sending->body);
    buffer_deinit(&sending->lines);
    mem_free(sending);
}

static void render(struct sending *sending, const struct target *target, const struct event *event, int64_t wall_ms) {
    const struct subscription *subscription = target->subscription;
    struct rendering rendering = {
        .format = target->format,
        .signature_style = subscription->signature_style,
        .workspace_name = subscription_workspace_name(subscription),
        .created_by = subscription_created_by(subscription),
        .updated_by = subscription_updated_by(subscription),
    };
    buffer_reset(&sending->body);
    rendering_write(&rendering, event, wall_ms, &sending->body);
}

/* What could be sent in smaller pieces is not sent when it is longer than its receiver wants. */
static bool is_too_long(const struct sending *sending, const struct target *target, const struct event *event) {
    return event->member_count > 1 &&
           (sending->body.overflowed || sending->body.len > (size_t)target->subscription->batch_max_bytes);
}

static const char *content_type_of(const struct target *target, const struct event *event) {
    bool cloudevents = strcmp(target->content_type, "application/cloudevents+json") == 0;
    return event->members && cloudevents ? "application/cloudevents-batch+json" : target->content_type;
}

/* The lines lie one after the other, each with its NUL; their places are known once the buffer has stopped moving. */
struct line_starts {
    size_t at[SENDING_MAX_HEADERS + 1];
};

static void end_line(struct sending *sending, struct line_starts *starts) {
    buffer_char(&sending->lines, '\0');
    starts->at[++sending->header_count] = sending->lines.len;
}

static void passed_on(struct sending *sending, struct line_starts *starts, const char *name, struct span value) {
    if (!value.data)
        return;
    buffer_text(&sending->lines, name);
    buffer_span(&sending->lines, value);
    end_line(sending, starts);
}

static void sign(struct sending *sending, const struct target *target, int64_t timestamp_s,
                 struct line_starts *starts) {
    const struct subscription *subscription = target->subscription;
    struct span body = buffer_view(&sending->body);
    int style = subscription->signature_style;
    if (!target->signer)
        return;
    if (style == SIGNATURE_STANDARD || style == SIGNATURE_BOTH) {
        buffer_text(&sending->lines, "webhook-signature: ");
        signer_standard(target->signer, sending->delivery->event->webhook_id, timestamp_s, body, &sending->lines);
        end_line(sending, starts);
    }
    if (style == SIGNATURE_HEX || style == SIGNATURE_BOTH) {
        struct span name = subscription_signature_header(subscription);
        buffer_span(&sending->lines, name.data ? name : SPAN_LITERAL("x-hookcast-signature"));
        buffer_text(&sending->lines, ": ");
        signer_hex(target->signer, body, &sending->lines);
        end_line(sending, starts);
    }
}

enum status sending_make(struct sending *sending, struct target *target, struct delivery *delivery, int64_t wall_ms,
                         struct error *error) {
    sending->target = target;
    sending->delivery = delivery;
    render(sending, target, delivery->event, wall_ms);
    if (delivery->event->members)
        batch_note_body(target->subscription->gate, delivery->event, sending->body.len);
    if (is_too_long(sending, target, delivery->event))
        return error_set(error, STATUS_CONFLICT, "the body would be longer than %d bytes",
                         (int)target->subscription->batch_max_bytes);
    if (sending->body.overflowed)
        return error_set(error, STATUS_INVALID, "the body would be longer than %d bytes", SENDING_MAX_BODY_BYTES);

    struct line_starts starts = {{0}};
    const struct event *event = delivery->event;
    buffer_reset(&sending->lines);
    sending->header_count = 0;
    passed_on(sending, &starts, "webhook-id: ", event->webhook_id);
    buffer_text(&sending->lines, "webhook-timestamp: ");
    buffer_int(&sending->lines, wall_ms / 1000);
    end_line(sending, &starts);
    sign(sending, target, wall_ms / 1000, &starts);
    passed_on(sending, &starts, "content-type: ", span_of(content_type_of(target, event)));
    if (event->members) {
        buffer_text(&sending->lines, "webhook-batch-size: ");
        buffer_int(&sending->lines, (int64_t)event->member_count);
        end_line(sending, &starts);
    }
    passed_on(sending, &starts, "", (struct span){USER_AGENT, sizeof(USER_AGENT) - 1});
    passed_on(sending, &starts, "traceparent: ", event->traceparent);
    passed_on(sending, &starts, "tracestate: ", event->tracestate);
    for (size_t i = 0; i < sending->header_count; i++)
        sending->headers[i].line =
            (struct span){sending->lines.data + starts.at[i], starts.at[i + 1] - starts.at[i] - 1};
    for (size_t i = 0; i < target->own_header_count; i++)
        sending->headers[sending->header_count++] = target->own_headers[i];
    return STATUS_OK;
}

static enum attempt_end end_of(enum client_result result) {
    switch (result) {
    case CLIENT_ANSWERED:
        return ATTEMPT_ANSWERED;
    case CLIENT_TIMEOUT:
        return ATTEMPT_TIMEOUT;
    case CLIENT_ADDRESS_REFUSED:
    case CLIENT_BAD_URL:
        return ATTEMPT_REFUSED;
    case CLIENT_TOO_MANY_LOOKUPS:
    case CLIENT_CANCELLED:
        return ATTEMPT_NOT_MADE;
    default:
        return ATTEMPT_NETWORK;
    }
}

static void keep_body(struct delivery *delivery, const struct client_response *response, enum body_keep keep) {
    bool failed = delivery->decision.action != RETRY_DONE;
    if (response->body.len == 0 || keep == BODY_KEEP_NONE || (keep == BODY_KEEP_FAILED && !failed))
        return;
    delivery->response_body = utf8_clean_dup(response->body, &delivery->response_body_len);
}

void sending_judge(struct delivery *delivery, const struct client_response *response, const struct settings *settings,
                   uint32_t random) {
    struct attempt attempt = {
        .end = end_of(response->result),
        .status_code = response->status_code,
        .retry_after_ms = response->retry_after_ms,
        .number = delivery->attempt,
        .divisible = delivery->event->member_count > 1,
    };
    int64_t own[SUBSCRIPTION_MAX_RETRIES];
    struct retry_schedule schedule = {settings->retry_schedule_ms, (size_t)settings->retry_count};
    if (delivery->subscription->own_retry_schedule) {
        schedule.delays_ms = own;
        schedule.count = subscription_retry_schedule(delivery->subscription, own, SUBSCRIPTION_MAX_RETRIES);
    }
    delivery->outcome = OUTCOME_ATTEMPTED;
    delivery->result = response->result;
    delivery->decision = retry_policy_next(&attempt, &schedule, random);
    delivery->status_code = response->status_code;
    delivery->duration_ms = (int32_t)(response->duration_us / 1000);
    keep_body(delivery, response, settings->response_body_keep);
    size_t len;
    if (delivery->decision.action != RETRY_DONE && response->detail[0])
        delivery->error = utf8_clean_dup(span_of(response->detail), &len);
}
