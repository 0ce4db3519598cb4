/* …/logs/export makes an export of the log; /api/v1/exports/{job_id} gives its file to whoever has the link. */
#include "api/export_request.h"
#include "api/exporter.h"
#include "api/job_view.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "store/export_link.h"
#include "store/exports.h"
#include <jansson.h>

/* ---- asking for one ---- */

/* Where mail is not set up, the job is the only place that has the link. */
static json_t *message(const struct call *call, struct span job_path) {
    if (*call->settings->smtp_url)
        return json_string("Log export job started. You will receive an email once the file is ready.");
    return json_sprintf("Log export job started. No mail server is set (HOOKCAST_SMTP_URL): GET %.*s has the link once "
                        "the file is ready.",
                        SPAN_ARGS(job_path));
}

static void answer_accepted(struct call *call, const struct uuid *id) {
    char text[UUID_TEXT_LEN + 1];
    uuid_format(id, text);
    struct span path = job_view_path(call, id);
    call_header(call, "Location", path);
    call_answer_json(call, 202, json_pack("{s:s, s:o}", "job_id", text, "message", message(call, path)));
}

static void create(struct call *call, const struct export_request *request) {
    size_t len = json_dumpb(request->json, NULL, 0, JSON_COMPACT);
    char *text = arena_alloc(call->arena, len);
    json_dumpb(request->json, text, len, JSON_COMPACT);
    struct export_new export = {
        .id = uuid_new(clock_wall_ms()),
        .workspace_id = call->workspace_id,
        .since_us = request->filter.from_us,
        .until_us = request->filter.until_us,
        .request = {text, len},
    };
    struct error error;
    enum export_made made;
    enum status status = exports_create(call->connection, &export, &made, &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
    } else if (made == EXPORT_MADE) {
        exporter_wake(call->exporter);
        answer_accepted(call, &export.id);
    } else if (made == EXPORT_TOO_MANY) {
        call_problem(call, 429, "too_many_exports",
                     "The workspace has %d exports that have not ended. Wait for some, or cancel them.",
                     EXPORTS_MAX_OPEN);
        call_header(call, "Retry-After", SPAN_LITERAL("10"));
    } else {
        call_problem(call, 429, "exports_too_large",
                     "The files of the workspace's exports take more than %d GiB. Delete some of these jobs, or wait "
                     "until they expire.",
                     (int)(EXPORTS_WORKSPACE_MAX_BYTES >> 30));
        call_header(call, "Retry-After", SPAN_LITERAL("3600"));
    }
}

static void post(struct call *call) {
    struct export_request request;
    if (!export_request_read(call, &request))
        return;
    create(call, &request);
    export_request_deinit(&request);
}

/* ---- fetching it ---- */

/* A file on its way to a client. */
struct download {
    struct uuid id;
    int next, chunks; /* numbers: 1 to chunks */
};

static void free_download(void *state) {
    mem_free(state);
}

static enum status read_chunk(struct call *call, struct download *download, struct error *error) {
    return exports_read(call->connection, &download->id, download->next++, &call->answer, error);
}

static void next_piece(struct call *call, void *state) {
    struct download *download = state;
    struct error error;
    if (read_chunk(call, download, &error) != STATUS_OK)
        call_stream_fail(call, &error);
    else if (download->next > download->chunks)
        call_stream_end(call);
}

static void answer_file(struct call *call, const struct uuid *id, const struct export_file *file) {
    char text[UUID_TEXT_LEN + 1];
    struct error error;
    struct download *download = mem_calloc(1, sizeof(*download));
    *download = (struct download){.id = *id, .next = 1, .chunks = file->chunks};
    enum status status = read_chunk(call, download, &error);
    if (status != STATUS_OK) {
        mem_free(download);
        call_failed(call, status, &error);
        return;
    }
    uuid_format(id, text);
    call_header(call, "Content-Disposition",
                span_of(arena_printf(call->arena, "attachment; filename=\"logs-%s.%s.gz\"", text, file->format)));
    call_header(call, "Cache-Control", SPAN_LITERAL("private, no-store"));
    call_header(call, "X-Content-Type-Options", SPAN_LITERAL("nosniff"));
    call_answer_text(call, 200, "application/gzip");
    call->stream.length = file->size;
    call_stream(call, next_piece, free_download, download);
    if (download->next > download->chunks)
        call_stream_end(call);
    log_info("api", "an export is fetched", LOG_TEXT("job", text), LOG_TEXT("request_id", call->id));
}

static void refuse_link(struct call *call) {
    call_problem(call, 404, "not_found", "There is no such file.");
}

static void refuse_expired(struct call *call) {
    call_problem(call, 410, "expired", "The file is no longer there.");
}

/* Without the right signature nobody learns whether there is such an export. */
static void fetch(struct call *call) {
    struct uuid id;
    struct export_file file;
    struct error error;
    int64_t expires_at_s;
    if (uuid_parse(call_param(call, "job_id"), &id) != STATUS_OK ||
        !export_link_verify(call->keyring, &id, call_query(call, "expires"), call_query(call, "signature"),
                            &expires_at_s)) {
        refuse_link(call);
        return;
    }
    if (expires_at_s <= clock_wall_ms() / 1000) {
        refuse_expired(call);
        return;
    }
    enum status status = exports_file(call->connection, &id, &file, &error);
    if (status == STATUS_NOT_FOUND)
        refuse_expired(call);
    else if (status != STATUS_OK)
        call_failed(call, status, &error);
    else
        answer_file(call, &id, &file);
}

static const struct api_route ROUTES[] = {
    {"POST", "/api/v1/workspaces/{workspace_id}/logs/export", post, CALL_BODY},
    {"GET", "/api/v1/exports/{job_id}", fetch, CALL_PUBLIC},
};

const struct api_route *export_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
