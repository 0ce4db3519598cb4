#include "api/test_send.h"
#include "api/subscription_secrets.h"
#include "api/subscription_view.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "core/log.h"
#include "net/client.h"
#include "store/sealing.h"
#include "store/test_sends.h"
#include <jansson.h>

#define TEXT_MAX_BYTES (512 * 1024)

void test_send_init(struct test_send *send) {
    *send = (struct test_send){.type = NULL};
    probe_init(&send->probe);
}

void test_send_deinit(struct test_send *send) {
    probe_deinit(&send->probe);
}

static struct span clean(struct call *call, struct span text) {
    struct buffer out;
    buffer_init(&out, TEXT_MAX_BYTES);
    utf8_clean(text, &out);
    struct span copy = arena_span(call->arena, buffer_view(&out));
    buffer_deinit(&out);
    return copy;
}

static struct span text_in_arena(struct call *call, const json_t *value) {
    return arena_span(call->arena, (struct span){json_string_value(value), json_string_length(value)});
}

static enum status take_secrets(struct call *call, const struct test_send *send, struct test_webhook_spec *spec,
                                struct error *error) {
    json_t *opened = NULL;
    const json_t *secrets = send->secrets;
    if (!secrets) {
        enum status status = subscription_secrets_open(call->keyring, &send->row->id, send->row->sealed_secrets,
                                                       spec->now_ms, &opened, error);
        if (status != STATUS_OK)
            return status;
        secrets = opened;
    }
    while (spec->secret_count < json_array_size(secrets) && spec->secret_count < TEST_WEBHOOK_MAX_SECRETS) {
        const json_t *one = json_array_get(secrets, spec->secret_count);
        spec->secrets[spec->secret_count++] = text_in_arena(call, json_object_get(one, "secret"));
        if (json_is_string(json_object_get(one, "key")))
            spec->keys[spec->key_count++] = text_in_arena(call, json_object_get(one, "key"));
    }
    json_decref(opened);
    return STATUS_OK;
}

static enum status take_headers(struct call *call, const struct test_send *send, struct test_webhook_spec *spec,
                                struct error *error) {
    bool wrong;
    json_t *headers = subscription_view_headers(call->keyring, send->row, &wrong), *value;
    if (!headers && wrong)
        return error_set(error, STATUS_INVALID, "the sealed headers can't be read");
    struct span *lines = arena_alloc(call->arena, (json_object_size(headers) + 1) * sizeof(*lines));
    const char *name;
    struct buffer line;
    buffer_init(&line, 256 * 1024);
    json_object_foreach(headers, name, value) {
        client_header_line(span_of(name), span_of(json_string_value(value)), &line);
        lines[spec->own_header_count++] = arena_span(call->arena, buffer_view(&line));
        buffer_reset(&line);
    }
    sealing_wipe(&line);
    spec->own_headers = lines;
    json_decref(headers);
    return STATUS_OK;
}

/* The example, or else the sample: what an event said. */
static bool sends_sample(const struct catalogue_entry *type) {
    return !type->example.data && type->sample.data;
}

static struct span payload_of(const struct catalogue_entry *type) {
    if (sends_sample(type))
        return type->sample;
    return type->example.data ? type->example : SPAN_LITERAL("{}");
}

bool test_send_make(struct call *call, struct test_send *send) {
    const struct subscription_row *row = send->row;
    struct result *names = NULL;
    struct error error;
    struct test_webhook_spec spec = {
        .workspace_id = call->workspace_id,
        .event_type = send->type->event_type,
        .payload = payload_of(send->type),
        .topic_prefix = span_of(call->settings->topic_prefix),
        .now_ms = clock_wall_ms(),
        .format = row->payload_format,
        .template = row->payload_template,
        .style = row->signature_style,
        .signature_header = row->signature_header,
        .created_by = row->created_by,
        .updated_by = row->updated_by,
        .batched = span_is(row->delivery_mode, "batched"),
    };
    send->sent_at_ms = spec.now_ms;
    enum status status =
        test_sends_workspace_name(call->connection, call->workspace_id, &names, &spec.workspace_name, &error);
    if (status == STATUS_OK)
        status = take_secrets(call, send, &spec, &error);
    if (status == STATUS_OK)
        status = take_headers(call, send, &spec, &error);
    if (status == STATUS_OK)
        status = test_webhook_make(&spec, call->arena, &send->webhook, &error);
    for (size_t i = 0; i < spec.secret_count; i++)
        explicit_bzero((char *)spec.secrets[i].data, spec.secrets[i].len);
    for (size_t i = 0; i < spec.key_count; i++)
        explicit_bzero((char *)spec.keys[i].data, spec.keys[i].len);
    result_free(&names);
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    return status == STATUS_OK;
}

static bool take_turn(struct call *call) {
    struct error error;
    int wait_s;
    enum status status = test_sends_take(call->connection, call->workspace_id, &wait_s, &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
        return false;
    }
    if (wait_s > 0) {
        call_problem(call, 429, "too_many_tests", "A workspace may send %d tests a minute.", TEST_SENDS_A_MINUTE);
        call_header(call, "Retry-After", span_of(arena_printf(call->arena, "%d", wait_s)));
    }
    return wait_s == 0;
}

/* A place in the prober, which is asked for before the test is counted. */
static bool take_place(struct call *call, struct test_send *send) {
    struct error error;
    send->probe.workspace_id = call->workspace_id;
    enum status status = prober_enter(call->prober, &send->probe, &error);
    if (status == STATUS_CONFLICT) {
        call_problem(call, 429, "too_many_tests", "%s. Try again when they have ended.", error.text);
        call_header(call, "Retry-After", SPAN_LITERAL("5"));
    } else if (status != STATUS_OK) {
        call_problem(call, 503, "shutting_down", "hookcast is stopping. Try again in a moment.");
        call_header(call, "Retry-After", SPAN_LITERAL("2"));
    }
    return status == STATUS_OK;
}

static bool send_it(struct call *call, struct test_send *send) {
    if (!take_place(call, send))
        return false;
    bool may = take_turn(call);
    int64_t timeout_ms = send->row->timeout_ms ? send->row->timeout_ms : call->settings->timeout_ms;
    if (send->max_timeout_ms && timeout_ms > send->max_timeout_ms)
        timeout_ms = send->max_timeout_ms;
    send->probe.request = (struct client_request){
        .url = arena_strdup(call->arena, send->row->webhook_url),
        .headers = send->webhook.headers,
        .header_count = send->webhook.header_count,
        .body = send->webhook.body,
        .timeout_ms = timeout_ms,
    };
    if (may)
        prober_send(call->prober, &send->probe);
    prober_leave(call->prober, &send->probe);
    return may;
}

static bool keeps_body(const struct call *call, const struct test_send *send) {
    enum body_keep keep = call->settings->response_body_keep;
    return send->probe.body.len > 0 && (keep == BODY_KEEP_ALL || (keep == BODY_KEEP_FAILED && !send->delivered));
}

static bool write_down(struct call *call, const struct test_send *send) {
    const struct probe *probe = &send->probe;
    const struct uuid *source = sends_sample(send->type) ? &send->type->sample_event : &UUID_NIL;
    struct error error;
    bool answered = probe->result == CLIENT_ANSWERED;
    struct log_row row = {
        .id = uuid_new(clock_wall_ms()),
        .workspace_id = call->workspace_id,
        .event_key = send->webhook.key,
        .event_id = send->webhook.id,
        .subscription_id = send->row->id,
        .event_type = send->type->event_type,
        .webhook_url = send->row->webhook_url,
        .delivery_status = send->delivered ? "success" : "failed",
        .status_code = probe->status_code,
        .response_body = keeps_body(call, send) ? clean(call, buffer_view(&probe->body)) : SPAN_NONE,
        .error = span_of(send->failure),
        .attempt = 1,
        .duration_ms = probe->duration_ms,
        .sent_at_ms = send->sent_at_ms,
        .test = true,
    };
    if (!send->delivered)
        row.error_code = answered ? SPAN_LITERAL("http_status") : span_of(client_result_name(probe->result));
    enum status status = test_sends_write(call->connection, &row, send->webhook.body, source, &error);
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    return status == STATUS_OK;
}

bool test_send_run(struct call *call, struct test_send *send) {
    if (!test_send_make(call, send) || !send_it(call, send))
        return false;
    const struct probe *probe = &send->probe;
    send->delivered = probe->result == CLIENT_ANSWERED && probe->status_code >= 200 && probe->status_code < 300;
    if (send->delivered)
        send->failure = NULL;
    else if (probe->result == CLIENT_ANSWERED)
        send->failure = arena_printf(call->arena, "the endpoint answered %d", probe->status_code);
    else
        send->failure = arena_strdup(
            call->arena, clean(call, span_of(probe->detail[0] ? probe->detail : client_result_name(probe->result))));
    return write_down(call, send);
}
