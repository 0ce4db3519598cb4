#include "dispatch/jobs_private.h"

enum status jobs_resend(struct jobs *jobs, bool *ret_more, struct error *error) {
    (void)jobs, (void)ret_more, (void)error;
    return STATUS_OK;
}
