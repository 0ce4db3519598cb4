/* A job as the API shows it, and the answer to a request that made one. Any thread. */
#ifndef API_JOB_VIEW_H
#define API_JOB_VIEW_H

#include "api/call.h"
#include "store/jobs.h"

/* A new object. For an export that is done it has the link, which the call's key may know: it may read the log. */
struct json_t *job_view(const struct call *call, const struct job_row *row);

/* Where a job is shown: /api/v1/… or /notify/api/v1/…, as the call came. */
struct span job_view_path(const struct call *call, const struct uuid *id);

/* 202 with the job of the first row, and where it is from now on. */
void job_view_accepted(struct call *call, const struct result *rows);

#endif
