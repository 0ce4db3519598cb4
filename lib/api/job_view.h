/* A job as the API shows it, and the answer to a request that made one. Any thread. */
#ifndef API_JOB_VIEW_H
#define API_JOB_VIEW_H

#include "api/call.h"
#include "store/jobs.h"

/* A new object. */
struct json_t *job_view(const struct job_row *row);

/* 202 with the job of the first row, and where it is from now on. */
void job_view_accepted(struct call *call, const struct result *rows);

#endif
