/* …/workspaces/{workspace_id}/test: an example of an event type, sent to a URL as its webhook would be. */
#include "api/event_type_names.h"
#include "api/routes.h"
#include "api/subscription_secrets.h"
#include "api/test_send.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "core/settings.h"
#include "net/client.h"
#include "store/test_sends.h"
#include <jansson.h>

static struct span read_text(struct call *call, const char *field) {
    const json_t *value = json_object_get(call->json, field);
    if (!value)
        call_field_error(call, field, "is required");
    else if (!json_is_string(value))
        call_field_error(call, field, "expected a text");
    else
        return (struct span){json_string_value(value), json_string_length(value)};
    return SPAN_NONE;
}

static void check_fields(struct call *call) {
    const char *name;
    json_t *value;
    json_object_foreach(call->json, name, value) {
        if (strcmp(name, "event_type") != 0 && strcmp(name, "webhook_url") != 0)
            call_field_error(call, name, "there is no such field; a test takes event_type and webhook_url");
    }
}

static void read_url(struct call *call, struct span *ret_url) {
    struct error error;
    struct span url = read_text(call, "webhook_url");
    if (url.data && client_check_url(url.data, call->settings->allow_http, &error) != STATUS_OK)
        call_field_error(call, "webhook_url", "%s", error.text);
    *ret_url = url;
}

/* The subscription with this URL; without one what a subscription is by default, with a secret of its own. */
static enum status find_row(struct call *call, struct span url, struct subscription_row *ret_row,
                            struct json_t **ret_secrets, struct result **ret_rows, struct error *error) {
    struct uuid id;
    enum status status = test_sends_find(call->connection, call->workspace_id, url, SPAN_NONE, &id, error);
    if (status == STATUS_OK)
        status = subscriptions_get(call->connection, call->workspace_id, &id, ret_rows, error);
    if (status == STATUS_OK)
        subscriptions_row_read(*ret_rows, 0, ret_row);
    if (status != STATUS_NOT_FOUND)
        return status;
    *ret_row = (struct subscription_row){
        .id = UUID_NIL,
        .workspace_id = call->workspace_id,
        .webhook_url = url,
        .signature_style = SPAN_LITERAL("standard"),
        .payload_format = SPAN_LITERAL("seanotify"),
        .delivery_mode = SPAN_LITERAL("immediate"),
    };
    *ret_secrets = json_array();
    subscription_secrets_put(*ret_secrets, SPAN_NONE, clock_wall_ms(), 0);
    return STATUS_OK;
}

static json_t *status_code_json(const struct probe *probe) {
    return probe->status_code ? json_integer(probe->status_code) : json_null();
}

/* The object is the body's own bytes. */
static void write_answer(struct call *call, const struct test_send *send, const struct json_t *secrets) {
    const struct probe *probe = &send->probe;
    struct span answer = buffer_view(&probe->body);
    json_t *body = probe->result == CLIENT_ANSWERED ? json_stringn(answer.data, answer.len) : json_null();
    if (!body) { /* it is not UTF-8 */
        struct buffer clean;
        buffer_init(&clean, 4 * answer.len + 1);
        utf8_clean(answer, &clean);
        body = json_stringn(clean.data, clean.len);
        buffer_deinit(&clean);
    }
    json_t *headers = json_object();
    for (size_t i = 0; i < send->webhook.made_count; i++) {
        const char *line = send->webhook.headers[i].line.data, *colon = strchr(line, ':');
        json_object_set_new(headers, arena_strdup(call->arena, (struct span){line, (size_t)(colon - line)}),
                            json_string(colon + 2));
    }
    json_t *rest = json_pack("{s:b, s:o, s:o, s:I, s:s?, s:s%, s:o}", "delivered", send->delivered, "status_code",
                             status_code_json(probe), "response_body", body, "duration_ms",
                             (json_int_t)probe->duration_ms, "error", send->failure, "webhook_id",
                             send->webhook.id.data, send->webhook.id.len, "headers", headers);
    CHECK(rest);
    if (secrets)
        json_object_set_new(rest, "secret", json_string(subscription_secrets_newest(secrets)));
    buffer_reset(&call->answer);
    call_write_json(call, rest);
    json_decref(rest);
    call->answer.len--; /* its brace */
    buffer_text(&call->answer, ",\"delivered_event_obj\":");
    buffer_span(&call->answer, send->webhook.body);
    buffer_char(&call->answer, '}');
    call_answer_text(call, 200, "application/json");
}

static void run_test(struct call *call, const struct catalogue_entry *type, struct span url) {
    struct subscription_row row;
    struct result *rows = NULL;
    struct error error;
    json_t *secrets = NULL;
    struct test_send send;
    enum status status = find_row(call, url, &row, &secrets, &rows, &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
    } else {
        test_send_init(&send);
        send.type = type;
        send.row = &row;
        send.secrets = secrets;
        if (test_send_run(call, &send))
            write_answer(call, &send, secrets);
        test_send_deinit(&send);
    }
    json_decref(secrets);
    result_free(&rows);
}

static void test(struct call *call) {
    struct catalogue_entry type = {.own = false};
    struct result *rows = NULL;
    struct error error;
    struct span url, name = read_text(call, "event_type");
    enum status status = STATUS_OK;
    check_fields(call);
    read_url(call, &url);
    if (name.data) {
        status = catalogue_find(call->connection, call->workspace_id, name, SPAN_NONE, &rows, &type, &error);
        if (status == STATUS_NOT_FOUND)
            status = event_type_unknown(call, "event_type", name, SPAN_NONE, &error);
    }
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    else if (call->errors)
        call_refuse(call);
    else
        run_test(call, &type, url);
    result_free(&rows);
}

static const struct api_route ROUTES[] = {
    {"POST", "/api/v1/workspaces/{workspace_id}/test", test, CALL_BODY | CALL_SLOW},
};

const struct api_route *test_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
