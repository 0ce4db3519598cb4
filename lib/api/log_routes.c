/* …/logs: the delivery log of a workspace, of a subscription, and one row of it. */
#include "api/log_listing.h"
#include "api/log_request.h"
#include "api/routes.h"
#include "store/subscriptions.h"

static void free_listing(void *state) {
    struct log_listing *listing = state;
    log_listing_free(&listing);
}

static void next_piece(struct call *call, void *state) {
    struct error error;
    bool end = false;
    if (log_listing_next(state, call->connection, &call->answer, &end, &error) != STATUS_OK)
        call_stream_fail(call, &error);
    else if (end)
        call_stream_end(call);
}

/* A short listing is one answer; a long one is sent as it is made. */
static void list(struct call *call, const struct uuid *subscription_id) {
    struct log_request request;
    struct log_query_settings query;
    struct error error;
    bool end = false;
    if (!log_request_read(call, &request, &query))
        return;
    query.filter.subscription_id = subscription_id;
    struct log_listing *listing = log_listing_new(&query, call->settings);
    enum status status = log_listing_next(listing, call->connection, &call->answer, &end, &error);
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    else
        call_answer_text(call, 200, "application/json");
    if (status == STATUS_OK && !end)
        call_stream(call, next_piece, free_listing, listing);
    else
        log_listing_free(&listing);
}

static void list_all(struct call *call) {
    list(call, NULL);
}

static enum status find_row(struct call *call, const struct uuid *id, struct error *error) {
    struct result *rows = NULL;
    enum status status = log_query_open(call->connection, error);
    if (status != STATUS_OK)
        return status;
    status = log_query_find(call->connection, call->workspace_id, id, &rows, error);
    if (status == STATUS_OK)
        status = log_listing_one(call->connection, call->settings, rows, &call->answer, error);
    result_free(&rows);
    return log_query_close(call->connection, status, error);
}

/* The path names either: a subscription that there is, or a row, or a subscription of which only its log is left. */
static void list_or_get(struct call *call) {
    struct uuid id;
    struct result *rows = NULL;
    struct error error;
    bool logged = false;
    if (uuid_parse(call_param(call, "subscription_id"), &id) != STATUS_OK) {
        call_failed(call, error_set(&error, STATUS_NOT_FOUND, "not a uuid"), &error);
        return;
    }
    enum status status = subscriptions_get(call->connection, call->workspace_id, &id, &rows, &error);
    result_free(&rows);
    if (status == STATUS_OK) {
        list(call, &id);
        return;
    }
    if (status == STATUS_NOT_FOUND)
        status = find_row(call, &id, &error);
    if (status == STATUS_OK) {
        call_answer_text(call, 200, "application/json");
        return;
    }
    if (status == STATUS_NOT_FOUND) {
        struct error unknown;
        status = log_query_has_subscription(call->connection, call->workspace_id, &id, &logged, &unknown);
        if (status == STATUS_OK && logged) {
            list(call, &id);
            return;
        }
        status = status == STATUS_OK ? STATUS_NOT_FOUND : status;
    }
    call_failed(call, status, &error);
}

#define ALL "/api/v1/workspaces/{workspace_id}/logs"

static const struct api_route ROUTES[] = {
    {"GET", ALL, list_all, 0},
    {"GET", ALL "/{subscription_id}", list_or_get, 0},
};

const struct api_route *log_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
