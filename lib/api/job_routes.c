/* …/workspaces/{workspace_id}/jobs: what goes on behind the API. */
#include "api/job_view.h"
#include "api/query.h"
#include "api/routes.h"
#include "store/exports.h"
#include <jansson.h>

#define LIST_DEFAULT 50
#define LIST_MAX 500

/* False: it names no job, and the call is answered. */
static bool job_id(struct call *call, struct uuid *ret_id) {
    struct error error;
    if (uuid_parse(call_param(call, "job_id"), ret_id) == STATUS_OK)
        return true;
    call_failed(call, error_set(&error, STATUS_NOT_FOUND, "not a uuid"), &error);
    return false;
}

static void get(struct call *call) {
    struct uuid id;
    struct result *rows = NULL;
    struct error error;
    if (!job_id(call, &id))
        return;
    enum status status = jobs_get(call->connection, call->workspace_id, &id, &rows, &error);
    if (status == STATUS_OK) {
        struct job_row row;
        jobs_row_read(rows, 0, &row);
        call_answer_json(call, 200, job_view(call, &row));
    } else {
        call_failed(call, status, &error);
    }
    result_free(&rows);
}

static void list(struct call *call) {
    static const char *const QUERY[] = {"limit", "cursor", NULL};
    struct uuid before;
    struct result *rows = NULL;
    struct error error;
    call_check_query(call, QUERY);
    int limit = query_limit(call, LIST_DEFAULT, LIST_MAX);
    bool goes_on = query_uuid(call, "cursor", &before);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status =
        jobs_list(call->connection, call->workspace_id, goes_on ? &before : NULL, limit, &rows, &error);
    if (status == STATUS_OK) {
        json_t *jobs = json_array(), *next = NULL;
        for (int i = 0; i < result_rows(rows); i++) {
            struct job_row row;
            jobs_row_read(rows, i, &row);
            json_array_append_new(jobs, job_view(call, &row));
            if (i + 1 == limit)
                next = query_id(&row.id);
        }
        call_answer_json(call, 200, json_pack("{s:o, s:o}", "jobs", jobs, "next_cursor", next ? next : json_null()));
    } else {
        call_failed(call, status, &error);
    }
    result_free(&rows);
}

static void cancel(struct call *call) {
    struct uuid id;
    struct error error;
    if (!job_id(call, &id))
        return;
    bool ended, removed = false;
    enum status status = jobs_cancel(call->connection, call->workspace_id, &id, &ended, &error);
    if (status == STATUS_OK && ended)
        status = exports_remove(call->connection, call->workspace_id, &id, &removed, &error);
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    else if (ended && !removed)
        call_problem(call, 409, "job_ended", "The job has ended: there is nothing left to cancel.");
    else
        call_answer_empty(call, 204);
}

#define ALL "/api/v1/workspaces/{workspace_id}/jobs"
#define ONE ALL "/{job_id}"

static const struct api_route ROUTES[] = {
    {"GET", ALL, list, 0},
    {"GET", ONE, get, 0},
    {"DELETE", ONE, cancel, 0},
};

const struct api_route *job_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
