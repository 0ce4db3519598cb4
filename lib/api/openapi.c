#include "api/openapi.h"
#include "api/embedded.h"
#include "api/routes.h"
#include "base/json_text.h"
#include <jansson.h>
#include <pthread.h>

static char *head;
static pthread_once_t made = PTHREAD_ONCE_INIT;

static json_t *reference(const char *kind, struct span name) {
    return json_pack("{s:o}", "$ref", json_sprintf("#/components/%s/%.*s", kind, SPAN_ARGS(name)));
}

/* What stands in the path, before what the operation names itself. */
static bool add_path_parameters(const struct api_route *route, json_t *parameters) {
    size_t at = 0;
    bool of_workspace = false;
    for (const char *open = strchr(route->path, '{'); open; open = strchr(open + 1, '{')) {
        struct span name = {open + 1, strcspn(open + 1, "}")};
        json_array_insert_new(parameters, at++, reference("parameters", name));
        of_workspace |= span_is(name, "workspace_id");
    }
    return of_workspace;
}

static void add_response(json_t *responses, const char *status) {
    if (!json_object_get(responses, status))
        json_object_set_new(responses, status, reference("responses", span_of(status)));
}

static void add_errors(const struct api_route *route, json_t *responses) {
    bool body = route->flags & (CALL_BODY | CALL_BODY_MAY | CALL_BODY_UNREAD);
    bool reads = strcmp(route->method, "GET") == 0 && !(route->flags & (CALL_SECRET_READ | CALL_ADMIN));
    /* The server's own, for any request. */
    add_response(responses, "400");
    add_response(responses, "413");
    add_response(responses, "503");
    if (route->flags & CALL_AT_ONCE)
        return;
    add_response(responses, "500");
    if (route->flags & CALL_PUBLIC)
        return;
    add_response(responses, "401");
    if (!reads)
        add_response(responses, "403");
    add_response(responses, "404");
    if (body)
        add_response(responses, "415");
    add_response(responses, "422");
}

static void describe(void *ctx, const struct api_route *route) {
    char method[8];
    size_t len = strlen(route->method);
    CHECK(len < sizeof(method));
    for (size_t i = 0; i <= len; i++)
        method[i] = route->method[i] >= 'A' && route->method[i] <= 'Z' ? (char)(route->method[i] + ('a' - 'A'))
                                                                       : route->method[i];
    json_t *operation = json_object_get(json_object_get(json_object_get(ctx, "paths"), route->path), method);
    if (!operation)
        return;
    json_t *parameters = json_object_get(operation, "parameters");
    if (!parameters) {
        parameters = json_array();
        json_object_set_new(operation, "parameters", parameters);
    }
    bool of_workspace = add_path_parameters(route, parameters);
    if (route->flags & CALL_PUBLIC)
        json_object_set_new(operation, "security", json_array());
    else if (!of_workspace)
        json_array_append_new(parameters, reference("parameters", SPAN_LITERAL("X-Workspace-ID")));
    add_errors(route, json_object_get(operation, "responses"));
}

static void make(void) {
    json_error_t error;
    struct span text = embedded_openapi();
    json_t *document = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    CHECK(document);
    routes_each(describe, document);
    head = json_dumps(document, JSON_COMPACT | JSON_REAL_PRECISION(15));
    CHECK(head);
    json_decref(document);
}

struct span openapi_head(void) {
    CHECK(pthread_once(&made, make) == 0);
    return (struct span){head, strlen(head) - 1};
}

void openapi_webhook(struct span event_type, struct span description, struct span payload, struct buffer *out) {
    json_quote(event_type, out);
    buffer_text(out, ":{\"post\":{\"summary\":");
    json_quote(description, out);
    buffer_text(out,
                ",\"security\":[],\"requestBody\":{\"required\":true,\"content\":{\"application/json\":{\"schema\":"
                "{\"$ref\":\"#/components/schemas/Webhook\"},\"example\":{\"id\":\"evt_4711\",\"workspace_id\":"
                "\"acme\",\"workspace_name\":\"Acme\",\"value\":{\"event_type\":");
    json_quote(event_type, out);
    buffer_text(out, ",\"event_source\":null,\"event_triggered_by\":null,\"payload\":");
    buffer_span(out, payload.data ? payload : SPAN_LITERAL("null"));
    buffer_text(out, ",\"occurred_at\":1772371800000,\"sent_at\":1772371800120,\"subscription_created_by\":"
                     "\"user_12345\",\"subscription_updated_by\":\"user_12345\"}}}}},"
                     "\"responses\":{\"2XX\":{\"description\":\"Delivered\"}}}}");
}
