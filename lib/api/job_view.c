#include "api/job_view.h"
#include "base/clock.h"
#include "store/export_link.h"
#include "store/sealing.h"
#include <jansson.h>

static json_t *text_or_null(struct span text) {
    return text.data ? json_stringn(text.data, text.len) : json_null();
}

static json_t *time_json(int64_t ms) {
    struct buffer text;
    buffer_init(&text, 64);
    clock_format_iso(ms, &text);
    json_t *value = json_stringn(text.data, text.len);
    buffer_deinit(&text);
    return value;
}

static json_t *time_or_null(int64_t ms) {
    return ms == 0 ? json_null() : time_json(ms);
}

/* What was asked for, with the times as they were understood. */
static json_t *request_view(const struct job_row *row) {
    json_t *request = json_loadb(row->request.data, row->request.len, 0, NULL);
    if (!request)
        return json_null();
    if (!json_object_get(request, "log_id")) {
        bool open = span_is(row->kind, "export") && row->since_ms == 0;
        json_object_set_new(request, "since", open ? json_null() : time_json(row->since_ms));
        json_object_set_new(request, "until", time_json(row->until_ms));
    }
    return request;
}

static json_t *link_or_null(const struct call *call, const struct job_row *row) {
    struct buffer link;
    if (!row->has_file)
        return json_null();
    buffer_init(&link, 4096);
    export_link_write(call->keyring, call->settings->public_url, &row->id, row->expires_at_ms / 1000, &link);
    json_t *value = json_stringn(link.data, link.len);
    sealing_wipe(&link);
    return value;
}

struct json_t *job_view(const struct call *call, const struct job_row *row) {
    char id[UUID_TEXT_LEN + 1];
    uuid_format(&row->id, id);
    json_t *view =
        json_pack("{s:s, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "id", id, "kind", text_or_null(row->kind),
                  "state", text_or_null(row->state), "total", row->total < 0 ? json_null() : json_integer(row->total),
                  "done", (json_int_t)row->done, "failed", (json_int_t)row->failed, "error", text_or_null(row->error),
                  "created_at", time_or_null(row->created_at_ms), "started_at", time_or_null(row->started_at_ms),
                  "finished_at", time_or_null(row->finished_at_ms), "request", request_view(row));
    if (span_is(row->kind, "export")) {
        json_object_set_new(view, "url", link_or_null(call, row));
        json_object_set_new(view, "expires_at", time_or_null(row->expires_at_ms));
        json_object_set_new(view, "size", json_integer(row->size));
    }
    return view;
}

struct span job_view_path(const struct call *call, const struct uuid *id) {
    char text[UUID_TEXT_LEN + 1];
    uuid_format(id, text);
    bool prefixed = span_has_prefix(call->path, SPAN_LITERAL("/notify/"));
    return span_of(arena_printf(call->arena, "%s/api/v1/workspaces/%.*s/jobs/%s", prefixed ? "/notify" : "",
                                SPAN_ARGS(call->workspace_id), text));
}

void job_view_accepted(struct call *call, const struct result *rows) {
    struct job_row row;
    jobs_row_read(rows, 0, &row);
    call_header(call, "Location", job_view_path(call, &row.id));
    call_answer_json(call, 202, job_view(call, &row));
}
