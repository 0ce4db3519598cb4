/* Workspaces that are being erased go piece by piece; answers that came in after their event was erased; and what the
 * audit has kept for long enough. */
#include "base/clock.h"
#include "dispatch/jobs_private.h"
#include "store/audit.h"
#include "store/event_erase.h"
#include "store/workspaces.h"

#define PIECE_ROWS 2000
#define LOOK_EVERY_MS 2000 /* while there is nothing to take away */
#define FINISH_MAX 500
#define PURGE_EVERY_MS (10 * 60 * 1000)
#define PURGE_MAX 20000

enum status jobs_erase(struct jobs *jobs, bool *ret_more, struct error *error) {
    int64_t now_ms = clock_mono_ms();
    if (jobs->erase.looked_at_ms && now_ms - jobs->erase.looked_at_ms < LOOK_EVERY_MS)
        return STATUS_OK;
    bool any = false;
    int64_t gone = 0;
    enum status status = workspaces_erase_step(jobs->connection, PIECE_ROWS, &any, &gone, error);
    if (status == STATUS_OK && gone == 0)
        jobs->erase.looked_at_ms = now_ms;
    *ret_more |= status == STATUS_OK && gone > 0;
    if (status == STATUS_OK)
        status = event_erase_finish(jobs->connection, FINISH_MAX, error);
    if (status == STATUS_OK && (!jobs->erase.purged_at_ms || now_ms - jobs->erase.purged_at_ms >= PURGE_EVERY_MS)) {
        jobs->erase.purged_at_ms = now_ms;
        status = audit_purge(jobs->connection, PURGE_MAX, error);
    }
    return status;
}
