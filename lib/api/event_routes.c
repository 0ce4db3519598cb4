/* …/workspaces/{workspace_id}/events: events that come over HTTP on their way to Kafka; what happened to one. */
#include "api/event_intake.h"
#include "api/event_view.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "core/log.h"
#include "core/settings.h"
#include "store/event_erase.h"
#include "store/idempotency.h"

/* Longer than a request can take: Kafka's answer, and the database's on both sides of it. */
#define LEASE_MS 40000

/* ---- requests that may come twice ---- */

static bool key_is_valid(struct span key) {
    for (size_t i = 0; i < key.len; i++)
        if (key.data[i] < 0x21 || key.data[i] > 0x7E)
            return false;
    return key.len > 0 && key.len <= IDEMPOTENCY_KEY_MAX;
}

static void answer_again(struct call *call, const struct result *rows) {
    int status;
    buffer_reset(&call->answer);
    buffer_span(&call->answer, idempotency_answer(rows, &status));
    call_header(call, "Idempotent-Replayed", SPAN_LITERAL("true"));
    call_answer_text(call, status, "application/json");
}

/* False: the call is answered. */
static bool begin(struct call *call, struct idempotency *request) {
    struct result *rows = NULL;
    struct error error;
    enum idempotency_state state;
    *request = (struct idempotency){
        .workspace_id = call->workspace_id, .key = call->idempotency_key, .owner = uuid_new(clock_wall_ms())};
    crypto_sha256(call->body, request->body_hash);
    enum status status = idempotency_begin(call->connection, request, LEASE_MS, &state, &rows, &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
        return false;
    }
    switch (state) {
    case IDEMPOTENCY_MINE:
        break;
    case IDEMPOTENCY_UNDER_WAY:
        call_problem(call, 409, "idempotency_key_in_use", "A request with this Idempotency-Key is under way.");
        call_header(call, "Retry-After", SPAN_LITERAL("1"));
        break;
    case IDEMPOTENCY_OTHER_BODY:
        call_problem(call, 422, "idempotency_key_reused", "This Idempotency-Key came with another body before.");
        break;
    case IDEMPOTENCY_ANSWERED:
        answer_again(call, rows);
        break;
    }
    result_free(&rows);
    return state == IDEMPOTENCY_MINE;
}

/* What was refused or did not work has done nothing that an answer would have to be kept for. */
static void end(struct call *call, const struct idempotency *request) {
    struct error error;
    enum status status;
    if (call->status < 300)
        status = idempotency_finish(call->connection, request, call->status, buffer_view(&call->answer), &error);
    else
        status = idempotency_forget(call->connection, request, &error);
    if (status != STATUS_OK)
        log_warn("api", "an Idempotency-Key could not be settled", LOG_TEXT("error", error.text),
                 LOG_TEXT("request_id", call->id));
}

/* ---- taking events ---- */

static void answer_accepted(struct call *call, const struct event_intake *intake) {
    struct buffer *out = &call->answer;
    size_t count = publication_count(intake->publication);
    buffer_text(out, "{\"events\":[");
    for (size_t i = 0; i < count; i++) {
        buffer_text(out, i ? ",{\"id\":" : "{\"id\":");
        buffer_span(out, intake->ids[i]);
        buffer_char(out, '}');
    }
    buffer_text(out, "]}");
    call_answer_text(call, 202, "application/json");
}

/* The beginning of a problem that has `events` besides: the list is still open. */
static void begin_problem(struct call *call, int status, const char *title, const char *code, const char *detail) {
    struct buffer *out = &call->answer;
    buffer_reset(out);
    buffer_printf(out, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":", title, status);
    json_quote(span_of(detail), out);
    buffer_printf(out, ",\"code\":\"%s\",\"errors\":[],\"events\":[", code);
}

static void end_problem(struct call *call, int status) {
    buffer_text(&call->answer, "]}");
    call_answer_text(call, status, "application/problem+json");
}

static void answer_unavailable(struct call *call, const struct event_intake *intake, const struct error *why) {
    struct buffer *out = &call->answer;
    size_t count = publication_count(intake->publication);
    begin_problem(call, 503, "Service Unavailable", "kafka_unavailable", why->text);
    for (size_t i = 0; i < count; i++) {
        const char *failure = publication_failure(intake->publication, i);
        buffer_text(out, i ? ",{\"id\":" : "{\"id\":");
        buffer_span(out, intake->ids[i]);
        if (failure) {
            buffer_text(out, ",\"result\":\"failed\",\"why\":");
            json_quote(span_of(failure), out);
            buffer_char(out, '}');
        } else {
            buffer_text(out, ",\"result\":\"accepted\"}");
        }
    }
    end_problem(call, 503);
    call_header(call, "Retry-After", SPAN_LITERAL("2"));
}

static void take(struct call *call) {
    struct event_intake intake;
    struct error error;
    enum status status = event_intake_read(call, &intake, &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
    } else if (call->errors) {
        call_refuse(call);
    } else if (!call->status) {
        if (publisher_publish(call->publisher, intake.publication, &error) == STATUS_OK) {
            answer_accepted(call, &intake);
        } else {
            log_warn("api", "events were not taken", LOG_TEXT("error", error.text), LOG_TEXT("request_id", call->id));
            answer_unavailable(call, &intake, &error);
        }
        publication_free(&intake.publication);
    }
}

static void create(struct call *call) {
    static const char *const QUERY[] = {NULL};
    struct idempotency request;
    bool keyed = call->idempotency_key.data != NULL;
    call_check_query(call, QUERY);
    if (keyed && !key_is_valid(call->idempotency_key))
        call_field_error(call, "Idempotency-Key", "expected 1 to %d visible ASCII characters", IDEMPOTENCY_KEY_MAX);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    if (keyed && !begin(call, &request))
        return;
    take(call);
    if (keyed)
        end(call, &request);
}

/* ---- what happened to one ---- */

static void refuse_unknown(struct call *call) {
    int64_t hours = call->settings->payload_retention_ms / (3600 * 1000);
    call_problem(call, 404, "not_found",
                 "No event of this workspace has this key or id. Events are kept for %lld %s, and only those that a "
                 "subscription wanted; one that has just come may not be written down yet.",
                 (long long)(hours % 24 ? hours : hours / 24), hours % 24 ? "hours" : "days");
}

static void get(struct call *call) {
    static const char *const QUERY[] = {NULL};
    struct event_trace trace;
    struct error error;
    call_check_query(call, QUERY);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status =
        event_lookup(call->connection, call->workspace_id, call_param(call, "event_id"), &trace, &error);
    if (status == STATUS_NOT_FOUND) {
        refuse_unknown(call);
    } else if (status != STATUS_OK) {
        call_failed(call, status, &error);
    } else {
        event_view_write(&trace, call->workspace_id, span_of(call->settings->topic_prefix), &call->answer);
        event_trace_deinit(&trace);
        call_answer_text(call, 200, "application/json");
    }
}

/* ---- erasing one ---- */

static void answer_ambiguous(struct call *call, const struct result *keys) {
    begin_problem(call, 409, "Conflict", "ambiguous_id", "Several events have this id. Name one by its event_key.");
    for (int i = 0; i < result_rows(keys); i++) {
        char text[UUID_TEXT_LEN + 1];
        struct uuid key = result_uuid(keys, i, 0);
        uuid_format(&key, text);
        buffer_printf(&call->answer, "%s{\"event_key\":\"%s\"}", i ? "," : "", text);
    }
    end_problem(call, 409);
}

static void erase(struct call *call) {
    struct result *keys = NULL;
    struct error error;
    bool is_key;
    enum status status =
        event_lookup_keys(call->connection, call->workspace_id, call_param(call, "event_id"), &is_key, &keys, &error);
    bool ambiguous = status == STATUS_OK && result_rows(keys) > 1;
    struct uuid key;
    if (status == STATUS_OK && !ambiguous) {
        key = result_uuid(keys, 0, 0);
        status = event_erase(call->connection, call->workspace_id, &key, &error);
    } else if (status == STATUS_NOT_FOUND && uuid_parse(call_param(call, "event_id"), &key) == STATUS_OK) {
        status = event_erase(call->connection, call->workspace_id, &key, &error); /* a sample, perhaps */
    }
    if (ambiguous)
        answer_ambiguous(call, keys);
    else if (status == STATUS_NOT_FOUND)
        refuse_unknown(call);
    else if (status != STATUS_OK)
        call_failed(call, status, &error);
    else
        call_answer_empty(call, 204);
    result_free(&keys);
}

#define ALL "/api/v1/workspaces/{workspace_id}/events"
#define ONE ALL "/{event_id}"

static const struct api_route ROUTES[] = {
    {"POST", ALL, create, CALL_BODY_UNREAD | CALL_KAFKA},
    {"GET", ONE, get, 0},
    {"DELETE", ONE, erase, CALL_SLOW},
};

const struct api_route *event_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
