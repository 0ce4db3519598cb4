/* Seleqt's webhook: one URL a workspace. */
#include "api/dialect.h"
#include "api/routes.h"
#include "core/settings.h"
#include "net/client.h"
#include "store/seleqt.h"
#include <jansson.h>

static const struct dialect_field FIELDS[] = {{"webhook_url", "webhook_url", false}};
static const struct dialect SELEQT = {.name = SPAN_LITERAL("seleqt"), .fields = FIELDS, .field_count = 1};

static struct subscription_row seleqt_row(const struct call *call) {
    struct subscription_row row = dialect_row(call);
    row.name = SPAN_LITERAL("Seleqt webhook");
    row.event_types[0] = SPAN_LITERAL("incoming_message");
    row.event_type_count = 1;
    row.payload_format = SPAN_LITERAL("seleqt");
    row.signature_style = SPAN_LITERAL("none"); /* "No signature header is currently included" */
    return row;
}

static enum status point_anew(struct call *call, struct span url, struct error *error) {
    struct result *rows = NULL;
    struct subscription_row row = seleqt_row(call);
    row.webhook_url = url;
    enum status status = subscriptions_insert(call->connection, &row, &rows, error);
    result_free(&rows);
    return status == STATUS_OK ? seleqt_set(call->connection, call->workspace_id, &row.id, error) : status;
}

/* What was changed over the native API meanwhile stays; a URL that is set is also one that is sent to. */
static enum status point(struct call *call, const struct uuid *id, struct span url, struct error *error) {
    struct result *before = NULL, *after = NULL;
    struct subscription_row row;
    if (uuid_is_nil(id))
        return point_anew(call, url, error);
    enum status status = subscriptions_lock_health(call->connection, call->workspace_id, id, error);
    if (status == STATUS_OK)
        status = subscriptions_lock(call->connection, call->workspace_id, id, &before, error);
    if (status == STATUS_OK) {
        subscriptions_row_read(before, 0, &row);
        row.webhook_url = url;
        row.status = SPAN_LITERAL("active");
        row.disabled_reason = SPAN_NONE;
        status = subscriptions_update(call->connection, &row, &after, error);
    } else if (status == STATUS_NOT_FOUND) {
        status = point_anew(call, url, error); /* it was deleted over the native API */
    }
    result_free(&after);
    result_free(&before);
    return status;
}

static enum status clear(struct call *call, const struct uuid *id, struct error *error) {
    if (uuid_is_nil(id))
        return STATUS_OK;
    enum status status = subscriptions_delete(call->connection, call->workspace_id, id, error);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        status = seleqt_set(call->connection, call->workspace_id, &UUID_NIL, error);
    return status;
}

/* url SPAN_NONE: none any more. */
static enum status write_url(struct call *call, struct span url, struct error *error) {
    struct uuid id;
    enum status status = connection_exec(call->connection, "BEGIN", error);
    if (status != STATUS_OK)
        return status;
    status = seleqt_lock(call->connection, call->workspace_id, &id, error);
    if (status == STATUS_OK)
        status = url.data ? point(call, &id, url, error) : clear(call, &id, error);
    if (status == STATUS_OK)
        return connection_exec(call->connection, "COMMIT", error);
    struct error ignored;
    if (connection_is_open(call->connection) && connection_exec(call->connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(call->connection);
    return status;
}

static void put_webhook(struct call *call) {
    struct error error;
    struct span url = dialect_text(call, "webhook_url");
    if (!dialect_workspace(call))
        return;
    const json_t *given = json_object_get(call->json, "webhook_url");
    dialect_check_fields(call, &SELEQT);
    if (!given)
        call_field_error(call, "webhook_url", "is required; null or an empty text ends the webhook");
    else if (!json_is_null(given) && !url.data)
        call_field_error(call, "webhook_url", "expected a URL as text, or null");
    else if (url.len > 0 && client_check_url(url.data, call->settings->allow_http, &error) != STATUS_OK)
        call_field_error(call, "webhook_url", "%s", error.text);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status = write_url(call, url.len > 0 ? url : SPAN_NONE, &error);
    if (status == STATUS_OK)
        call_answer_json(call, 200,
                         json_pack("{s:b, s:s}", "success", 1, "message", "Webhook URL updated successfully"));
    else
        call_failed(call, status, &error);
}

/* The router takes a trailing slash for none. */
static const struct api_route ROUTES[] = {
    {"PUT", "/api/v1/user/webhook", put_webhook, CALL_BODY | CALL_MESSAGE | CALL_SUCCESS},
};

const struct api_route *seleqt_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
