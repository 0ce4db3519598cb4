/* Saleshandy's webhooks: one route, which tests the first event before it answers. */
#include "api/dialect.h"
#include "api/routes.h"
#include "api/subscription_headers.h"
#include "api/subscription_sealing.h"
#include "api/test_send.h"
#include <jansson.h>

#define TEST_TIMEOUT_MS 10000

static const struct dialect_field FIELDS[] = {
    {"name", "name", true},
    {"webhookUrl", "webhook_url", true},
    {"webhookEvent", "event_types", true},
    {"headers", "headers", true},
};
static const struct dialect SALESHANDY = {
    .name = SPAN_LITERAL("saleshandy"), .fields = FIELDS, .field_count = sizeof(FIELDS) / sizeof(*FIELDS)};

/* False: the call is answered. */
static bool test_first(struct call *call, const struct subscription_row *row, const struct json_t *secrets,
                       bool *ret_delivered) {
    struct catalogue_entry type;
    struct result *rows = NULL;
    struct error error;
    struct test_send send;
    enum status status = catalogue_find(call->connection, call->workspace_id, row->event_types[0], SALESHANDY.name,
                                        &rows, &type, &error);
    test_send_init(&send);
    send.type = &type;
    send.row = row;
    send.secrets = secrets;
    send.max_timeout_ms = TEST_TIMEOUT_MS;
    bool ran = false;
    if (status == STATUS_OK)
        ran = test_send_run(call, &send);
    else
        call_failed(call, status, &error);
    *ret_delivered = send.delivered;
    test_send_deinit(&send);
    result_free(&rows);
    return ran;
}

static void answer_created(struct call *call, const struct subscription_row *row,
                           const struct subscription_change *change, bool delivered) {
    json_t *payload =
        json_pack("{s:o, s:s%, s:s%, s:o, s:o, s:s%, s:{s:s}}", "id", dialect_id_json(&row->id), "name", row->name.data,
                  row->name.len, "webhookUrl", row->webhook_url.data, row->webhook_url.len, "webhookEvent",
                  dialect_types_json(row), "headers", subscription_headers_masked(change->headers), "status",
                  row->status.data, row->status.len, "testDelivery", "status", delivered ? "success" : "failed");
    CHECK(payload);
    call_answer_json(call, 201, json_pack("{s:s, s:o}", "message", "Webhook created successfully", "payload", payload));
}

/* What is checked has its place in the table only when its test is over: the answer and the row say the same. */
static void finish(struct call *call, struct subscription_row *row, const struct subscription_change *change,
                   const struct json_t *secrets) {
    struct result *rows = NULL;
    struct error error;
    bool delivered;
    if (!test_first(call, row, secrets, &delivered))
        return;
    row->status = delivered ? SPAN_LITERAL("active") : SPAN_LITERAL("paused");
    enum status status = subscriptions_insert(call->connection, row, &rows, &error);
    if (status == STATUS_OK)
        answer_created(call, row, change, delivered);
    else
        call_failed(call, status, &error);
    result_free(&rows);
}

static void create(struct call *call) {
    if (!dialect_workspace(call))
        return;
    struct subscription_row row = dialect_row(call);
    struct subscription_change change = {.create = true};
    struct error error;
    json_t *secrets = NULL;
    enum status status = dialect_read(call, &SALESHANDY, &row, &change, &error);
    if (status == STATUS_OK && !call->errors)
        status = subscription_seal_change(call, &row, &change, &secrets, &error);
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    else if (call->errors)
        call_refuse(call);
    else
        finish(call, &row, &change, secrets);
    json_decref(secrets);
}

static const struct api_route ROUTES[] = {
    {"POST", "/v1/webhook/create", create, CALL_BODY | CALL_SLOW | CALL_MESSAGE},
};

const struct api_route *saleshandy_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
