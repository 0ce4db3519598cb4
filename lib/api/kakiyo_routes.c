/* Kakiyo's webhooks, and its three routes for testing them. */
#include "api/dialect.h"
#include "api/event_type_names.h"
#include "api/routes.h"
#include "api/subscription_sealing.h"
#include "api/subscription_secrets.h"
#include "api/test_send.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "core/settings.h"
#include "store/test_sends.h"
#include <jansson.h>

#define TIMEOUT_MS 30000 /* "Respond within 30 seconds" */
#define HEADER SPAN_LITERAL("x-kakiyo-signature")

static const struct dialect_field FIELDS[] = {
    {"name", "name", true},
    {"url", "webhook_url", true},
    {"events", "event_types", true},
    {"secret", "secret", false},
};
static const struct dialect KAKIYO = {
    .name = SPAN_LITERAL("kakiyo"), .fields = FIELDS, .field_count = sizeof(FIELDS) / sizeof(*FIELDS)};

static const struct dialect_field TEST_FIELDS[] = {
    {"url", NULL, false},
    {"webhookId", NULL, false},
    {"event", NULL, true},
    {"secret", NULL, false},
};
static const struct dialect KAKIYO_TEST = {
    .name = SPAN_LITERAL("kakiyo"), .fields = TEST_FIELDS, .field_count = sizeof(TEST_FIELDS) / sizeof(*TEST_FIELDS)};

/* The document's receiver takes the secret's characters for the key, whatever they are. */
static void check_secret(struct call *call) {
    struct span secret = dialect_text(call, "secret");
    if (secret.data && span_has_prefix(secret, SPAN_LITERAL("whsec_")))
        call_field_error(call, "secret", "a secret that begins with whsec_ would be taken for base64; choose another");
}

static struct subscription_row kakiyo_row(const struct call *call, bool has_secret) {
    struct subscription_row row = dialect_row(call);
    row.payload_format = SPAN_LITERAL("kakiyo");
    row.timeout_ms = TIMEOUT_MS;
    row.signature_style = has_secret ? SPAN_LITERAL("hex") : SPAN_LITERAL("none");
    row.signature_header = has_secret ? HEADER : SPAN_NONE;
    return row;
}

/* ---- creating ---- */

static void answer_created(struct call *call, const struct subscription_row *row) {
    json_t *answer =
        json_pack("{s:o, s:s%, s:s%, s:o, s:b, s:s}", "id", dialect_id_json(&row->id), "name", row->name.data,
                  row->name.len, "url", row->webhook_url.data, row->webhook_url.len, "events", dialect_types_json(row),
                  "active", 1, "message", "Webhook created successfully");
    CHECK(answer);
    call_answer_json(call, 201, answer);
}

static void create(struct call *call) {
    if (!dialect_workspace(call))
        return;
    const json_t *secret = json_object_get(call->json, "secret");
    struct subscription_row row = kakiyo_row(call, secret && !json_is_null(secret));
    struct subscription_change change = {.create = true};
    struct result *rows = NULL;
    struct error error;
    json_t *secrets = NULL;
    check_secret(call);
    enum status status = dialect_read(call, &KAKIYO, &row, &change, &error);
    if (status == STATUS_OK && !call->errors)
        status = subscription_seal_change(call, &row, &change, &secrets, &error);
    if (status == STATUS_OK && !call->errors)
        status = subscriptions_insert(call->connection, &row, &rows, &error);
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    else if (call->errors)
        call_refuse(call);
    else
        answer_created(call, &row);
    json_decref(secrets);
    result_free(&rows);
}

/* ---- testing ---- */

static void list_events(struct call *call) {
    static const char *const QUERY[] = {NULL};
    struct result *rows = NULL;
    struct error error;
    call_check_query(call, QUERY);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status = catalogue_list(call->connection, SPAN_NONE, KAKIYO.name, &rows, &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
        return;
    }
    json_t *events = json_array();
    for (int i = 0; i < result_rows(rows); i++) {
        struct catalogue_row type;
        catalogue_row_read(rows, i, &type);
        json_array_append_new(events, json_pack("{s:s%, s:s%}", "event", type.event_type.data, type.event_type.len,
                                                "description", type.description.data, type.description.len));
    }
    result_free(&rows);
    call_answer_json(call, 200, json_pack("{s:o}", "events", events));
}

static void get_example(struct call *call) {
    static const char *const QUERY[] = {NULL};
    struct catalogue_entry type;
    struct result *rows = NULL;
    struct error error;
    struct test_send send;
    call_check_query(call, QUERY);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    if (!dialect_workspace(call))
        return;
    struct subscription_row row = kakiyo_row(call, false);
    struct span name = call_param(call, "event");
    enum status status = STATUS_NOT_FOUND;
    if (utf8_valid_prefix(name) == name.len && !memchr(name.data, '\0', name.len))
        status = catalogue_find(call->connection, SPAN_LITERAL(""), name, KAKIYO.name, &rows, &type, &error);
    test_send_init(&send);
    send.type = &type;
    send.row = &row;
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
    } else if (test_send_make(call, &send)) {
        buffer_reset(&call->answer);
        buffer_span(&call->answer, send.webhook.body);
        call_answer_text(call, 200, "application/json");
    }
    test_send_deinit(&send);
    result_free(&rows);
}

/* Whom to: the webhook with that id; with a URL alone the newest Kakiyo webhook that has it; otherwise one that might
 * be. */
struct destination {
    struct subscription_row row;
    struct result *rows;
    json_t *secrets;
};

static enum status find_by_id(struct call *call, struct destination *to, struct error *error) {
    struct uuid id;
    enum status status = uuid_parse(dialect_text(call, "webhookId"), &id);
    if (status == STATUS_OK)
        status = subscriptions_get(call->connection, call->workspace_id, &id, &to->rows, error);
    if (status == STATUS_OK)
        subscriptions_row_read(to->rows, 0, &to->row);
    else if (status == STATUS_NOT_FOUND || status == STATUS_INVALID)
        status = error_set(error, STATUS_NOT_FOUND, "there is no such webhook");
    return status;
}

static enum status find_by_url(struct call *call, struct destination *to, struct error *error) {
    struct uuid id;
    struct span url = dialect_text(call, "url"), secret = dialect_text(call, "secret");
    enum status status = STATUS_NOT_FOUND;
    if (!secret.data)
        status = test_sends_find(call->connection, call->workspace_id, url, KAKIYO.name, &id, error);
    if (status == STATUS_OK) {
        status = subscriptions_get(call->connection, call->workspace_id, &id, &to->rows, error);
        if (status == STATUS_OK)
            subscriptions_row_read(to->rows, 0, &to->row);
    }
    if (status != STATUS_NOT_FOUND)
        return status;
    to->row = kakiyo_row(call, secret.data != NULL);
    to->row.id = UUID_NIL;
    to->row.webhook_url = url;
    to->secrets = json_array();
    if (secret.data)
        subscription_secrets_put(to->secrets, secret, clock_wall_ms(), 0);
    return STATUS_OK;
}

static bool is_given(struct call *call, const char *name) {
    const json_t *value = json_object_get(call->json, name);
    if (!value || json_is_null(value))
        return false;
    if (!json_is_string(value))
        call_field_error(call, name, "expected a text");
    return true;
}

static void check_test(struct call *call) {
    struct error error;
    struct span url = dialect_text(call, "url"), id = dialect_text(call, "webhookId");
    const json_t *secret = json_object_get(call->json, "secret");
    dialect_check_fields(call, &KAKIYO_TEST);
    if (is_given(call, "url") == is_given(call, "webhookId"))
        call_field_error(call, "url", "expected either url or webhookId");
    else if (url.data && client_check_url(url.data, call->settings->allow_http, &error) != STATUS_OK)
        call_field_error(call, "url", "%s", error.text);
    if (secret && id.data)
        call_field_error(call, "secret", "goes with url alone; a webhook has its own");
    else if (secret)
        subscription_fields_read_secret(call, secret);
    check_secret(call);
    if (!call->errors && !dialect_text(call, "event").data)
        call_field_error(call, "event", "expected a text");
}

static void answer_test(struct call *call, const struct test_send *send) {
    const struct probe *probe = &send->probe;
    struct buffer body;
    buffer_init(&body, 4 * probe->body.len + 1);
    utf8_clean(buffer_view(&probe->body), &body);
    struct span text = buffer_view(&body), url = send->row->webhook_url, event = send->type->event_type;
    json_t *answer =
        json_pack("{s:b, s:s, s:s%, s:s%, s:o, s:o, s:I, s:s?}", "success", send->delivered, "message",
                  send->delivered ? "Test event delivered successfully" : "Test event could not be delivered", "event",
                  event.data, event.len, "url", url.data, url.len, "statusCode",
                  probe->status_code ? json_integer(probe->status_code) : json_null(), "responseBody",
                  probe->result == CLIENT_ANSWERED ? json_stringn(text.data, text.len) : json_null(), "durationMs",
                  (json_int_t)probe->duration_ms, "error", send->failure);
    CHECK(answer);
    buffer_deinit(&body);
    call_answer_json(call, 200, answer);
}

static void run_test(struct call *call, const struct catalogue_entry *type) {
    struct destination to = {.rows = NULL};
    struct error error;
    struct test_send send;
    enum status status =
        dialect_text(call, "url").data ? find_by_url(call, &to, &error) : find_by_id(call, &to, &error);
    test_send_init(&send);
    send.type = type;
    send.row = &to.row;
    send.secrets = to.secrets;
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    else if (test_send_run(call, &send))
        answer_test(call, &send);
    test_send_deinit(&send);
    json_decref(to.secrets);
    result_free(&to.rows);
}

static void test(struct call *call) {
    struct catalogue_entry type;
    struct result *rows = NULL;
    struct error error;
    enum status status = STATUS_OK;
    if (!dialect_workspace(call))
        return;
    check_test(call);
    if (!call->errors) {
        struct span name = dialect_text(call, "event");
        status = catalogue_find(call->connection, SPAN_LITERAL(""), name, KAKIYO.name, &rows, &type, &error);
        if (status == STATUS_NOT_FOUND)
            status = event_type_unknown(call, "event", name, KAKIYO.name, &error);
    }
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    else if (call->errors)
        call_refuse(call);
    else
        run_test(call, &type);
    result_free(&rows);
}

static const struct api_route ROUTES[] = {
    {"POST", "/v1/webhooks", create, CALL_BODY | CALL_MESSAGE},
    {"GET", "/v1/webhooks/test/events", list_events, CALL_MESSAGE},
    {"GET", "/v1/webhooks/test/example/{event}", get_example, CALL_MESSAGE},
    {"POST", "/v1/webhooks/test", test, CALL_BODY | CALL_SLOW | CALL_MESSAGE},
    {"POST", "/webhooks", create, CALL_BODY | CALL_MESSAGE},
    {"GET", "/webhooks/test/events", list_events, CALL_MESSAGE},
    {"GET", "/webhooks/test/example/{event}", get_example, CALL_MESSAGE},
    {"POST", "/webhooks/test", test, CALL_BODY | CALL_SLOW | CALL_MESSAGE},
};

const struct api_route *kakiyo_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
