#include "api/call.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "core/log.h"
#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#define ANSWER_MAX_BYTES (64 * 1024 * 1024)
#define ERRORS_MAX 50
#define DETAIL_MAX_BYTES 600

static void take_query(void *ctx, struct span name, struct span value) {
    struct call *call = ctx;
    if (call->query_count == CALL_MAX_QUERY) {
        call->query_full = true;
        return;
    }
    call->query_names[call->query_count] = arena_span(call->arena, name);
    call->query_values[call->query_count++] = arena_span(call->arena, value.data ? value : SPAN_LITERAL(""));
}

static struct span header_copy(struct call *call, const char *name) {
    struct span value = request_header(call->request, name);
    return value.data ? arena_span(call->arena, value) : SPAN_NONE;
}

/* `Authorization: Bearer KEY`; the scheme in whatever case. */
static struct span bearer(struct span value) {
    if (value.len < 7 || strncasecmp(value.data, "Bearer ", 7) != 0)
        return SPAN_NONE;
    struct span key = {value.data + 7, value.len - 7};
    while (key.len > 0 && key.data[0] == ' ')
        key = (struct span){key.data + 1, key.len - 1};
    return key;
}

struct call *call_new(struct request *request) {
    struct call *call = mem_calloc(1, sizeof(*call));
    call->began_us = clock_mono_us();
    call->request = request;
    call->arena = arena_new(4096);
    buffer_init(&call->answer, ANSWER_MAX_BYTES);
    call->method = arena_span(call->arena, span_of(request_method(request)));
    call->id = arena_strdup(call->arena, span_of(request_id(request)));
    call->path = request_path(request);
    call->body = request_body(request);
    call->content_type = header_copy(call, "content-type");
    call->idempotency_key = header_copy(call, "idempotency-key");
    call->traceparent = header_copy(call, "traceparent");
    call->tracestate = header_copy(call, "tracestate");
    call->if_match = header_copy(call, "if-match");
    call->workspace_header = header_copy(call, "x-workspace-id");
    call->key = header_copy(call, "x-api-key");
    if (!call->key.data)
        call->key = bearer(header_copy(call, "authorization"));
    request_each_query(request, take_query, call);
    return call;
}

void call_stream(struct call *call, call_piece_fn *next, call_piece_free_fn *free, void *state) {
    CHECK(call->status && !call->stream.next);
    call->stream.next = next;
    call->stream.free = free;
    call->stream.state = state;
}

void call_stream_end(struct call *call) {
    call->stream.next = NULL;
}

void call_stream_fail(struct call *call, const struct error *error) {
    log_warn("api", "an answer could not be finished", LOG_SPAN("method", call->method), LOG_SPAN("path", call->path),
             LOG_TEXT("error", error->text), LOG_TEXT("request_id", call->id));
    call->stream.failed = true;
}

void call_reset(struct call *call) {
    if (call->stream.state)
        call->stream.free(call->stream.state);
    call->stream.state = NULL;
    call->stream.next = NULL;
    if (call->json)
        json_decref(call->json);
    if (call->errors)
        json_decref(call->errors);
    call->json = call->errors = NULL;
    if (call->answer.data)
        explicit_bzero(call->answer.data, call->answer.len);
    buffer_reset(&call->answer);
    call->status = 0;
    call->type = NULL;
    call->header_count = 0;
}

void call_free(struct call **call_ptr) {
    struct call *call = *call_ptr;
    *call_ptr = NULL;
    call_reset(call);
    buffer_deinit(&call->answer);
    arena_free(&call->arena);
    mem_free(call);
}

struct span call_param(const struct call *call, const char *name) {
    for (size_t i = 0; i < call->params.count; i++)
        if (span_is(call->params.names[i], name))
            return call->params.values[i];
    return SPAN_NONE;
}

struct span call_query(const struct call *call, const char *name) {
    for (size_t i = 0; i < call->query_count; i++)
        if (span_is(call->query_names[i], name))
            return call->query_values[i];
    return SPAN_NONE;
}

static bool is_known(struct span name, const char *const *names) {
    for (; *names; names++)
        if (span_is(name, *names))
            return true;
    return false;
}

static bool stood_before(const struct call *call, size_t parameter) {
    for (size_t i = 0; i < parameter; i++)
        if (span_equal(call->query_names[i], call->query_names[parameter]))
            return true;
    return false;
}

void call_check_query(struct call *call, const char *const *names) {
    if (call->query_full)
        call_field_error(call, "", "more than %d query parameters", CALL_MAX_QUERY);
    for (size_t i = 0; i < call->query_count; i++) {
        struct span name = call->query_names[i];
        const char *wrong = !is_known(name, names)  ? "there is no such query parameter"
                            : stood_before(call, i) ? "stands twice"
                                                    : NULL;
        char shown[80];
        snprintf(shown, sizeof(shown), "%.*s", (int)(name.len < 60 ? name.len : 60), name.data);
        if (wrong)
            call_field_error(call, shown, "%s", wrong);
    }
}

void call_header(struct call *call, const char *name, struct span value) {
    CHECK(call->header_count < CALL_MAX_HEADERS);
    call->headers[call->header_count].name = name;
    call->headers[call->header_count++].value = arena_strdup(call->arena, value);
}

static int append(const char *data, size_t size, void *ctx) {
    buffer_append(ctx, data, size);
    return 0;
}

void call_write_json(struct call *call, const struct json_t *json) {
    json_dump_callback(json, append, &call->answer, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
}

void call_answer_text(struct call *call, int status, const char *type) {
    if (call->answer.overflowed) {
        call_problem(call, 422, "too_many_rows", "The answer is larger than %d MiB. Ask for less.",
                     ANSWER_MAX_BYTES >> 20);
        return;
    }
    call->status = status;
    call->type = type;
}

void call_answer_json(struct call *call, int status, struct json_t *json) {
    buffer_reset(&call->answer);
    call_write_json(call, json);
    json_decref(json);
    call_answer_text(call, status, "application/json");
}

void call_answer_empty(struct call *call, int status) {
    buffer_reset(&call->answer);
    call_answer_text(call, status, NULL);
}

static const char *title_of(int status) {
    static const struct {
        int status;
        const char *title;
    } TITLES[] = {
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < sizeof(TITLES) / sizeof(*TITLES); i++)
        if (TITLES[i].status == status)
            return TITLES[i].title;
    return "Internal Server Error";
}

/* Text of ours may quote input that was cut in the middle of a character. */
static json_t *clean_text(const char *text) {
    struct buffer clean;
    buffer_init(&clean, 4 * DETAIL_MAX_BYTES);
    utf8_clean(span_of(text), &clean);
    json_t *json = json_stringn(clean.data ? clean.data : "", clean.len);
    buffer_deinit(&clean);
    return json;
}

static void answer_problem(struct call *call, int status, const char *code, const char *detail) {
    json_t *errors = call->errors ? call->errors : json_array();
    call->errors = NULL;
    json_t *problem = json_pack("{s:s, s:s, s:i, s:o, s:s, s:o}", "type", "about:blank", "title", title_of(status),
                                "status", status, "detail", clean_text(detail), "code", code, "errors", errors);
    CHECK(problem);
    unsigned flags = call->route ? call->route->flags : 0;
    if (flags & CALL_SUCCESS)
        json_object_set_new(problem, "success", json_false());
    if (flags & CALL_MESSAGE)
        json_object_set_new(problem, "message", clean_text(detail));
    call_answer_json(call, status, problem);
    call->type = "application/problem+json";
}

void call_problem(struct call *call, int status, const char *code, const char *detail, ...) {
    char text[DETAIL_MAX_BYTES];
    va_list args;
    va_start(args, detail);
    vsnprintf(text, sizeof(text), detail, args);
    va_end(args);
    answer_problem(call, status, code, text);
}

void call_field_error(struct call *call, const char *field, const char *message, ...) {
    char text[DETAIL_MAX_BYTES];
    va_list args;
    va_start(args, message);
    vsnprintf(text, sizeof(text), message, args);
    va_end(args);
    if (!call->errors)
        call->errors = json_array();
    if (json_array_size(call->errors) < ERRORS_MAX)
        json_array_append_new(call->errors,
                              json_pack("{s:o, s:o}", "field", clean_text(field), "message", clean_text(text)));
}

/* The detail names the first, for those who read no further. */
void call_refuse(struct call *call) {
    const json_t *first = json_array_get(call->errors, 0);
    CHECK(first);
    char text[DETAIL_MAX_BYTES];
    const char *field = json_string_value(json_object_get(first, "field"));
    snprintf(text, sizeof(text), "%.200s%s%.380s", field, *field ? ": " : "",
             json_string_value(json_object_get(first, "message")));
    answer_problem(call, 422, "invalid_fields", text);
}

void call_failed(struct call *call, enum status status, const struct error *error) {
    if (status == STATUS_NOT_FOUND) {
        call_problem(call, 404, "not_found", "There is no such thing in this workspace.");
        return;
    }
    /* That the database is away is said once, by those who notice (workers.c). */
    log_write(status == STATUS_UNAVAILABLE ? LOG_DEBUG : LOG_WARN, "api", "a request failed",
              (const struct log_field[]){LOG_SPAN("method", call->method), LOG_SPAN("path", call->path),
                                         LOG_TEXT("error", error->text), LOG_TEXT("request_id", call->id)},
              4);
    if (status == STATUS_UNAVAILABLE || status == STATUS_CONFLICT) {
        if (status == STATUS_CONFLICT)
            call_problem(call, 503, "busy", "Something else is at work on the same thing now. Try again in a moment.");
        else
            call_problem(call, 503, "unavailable",
                         "The database can't be reached now, or takes too long. Try again in a moment.");
        call_header(call, "Retry-After", SPAN_LITERAL("2"));
    } else {
        call_problem(call, 500, "internal", "Something went wrong here. The log tells more under this request's id.");
    }
}
