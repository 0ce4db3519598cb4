/* The thread that reads Kafka: the process's only consumer. It reads each record once, finds the subscriptions that
 * take it, and gives each a delivery: now → the subscription's lane; later, or held → the recorder. It takes no record
 * before the roster is loaded, none beyond the budget, and none of a partition whose epoch is not written.
 *
 * Diagram of a partition's assignment:
 *
 *   assigned ─▶ ADOPT at the recorder ─▶ consumer_assign at next_offset − 1, commit with lineage
 *            ─▶ VERIFY the record before next_offset ─▶ RUNNING ─▶ revoked: REVOKE at the recorder ─▶ commit ─▶
 * unassign
 */
#ifndef DISPATCH_INTAKE_H
#define DISPATCH_INTAKE_H

#include "core/settings.h"
#include "dispatch/budget.h"
#include "dispatch/delivery.h"
#include "dispatch/pulse.h"
#include "dispatch/roster.h"
#include "dispatch/sightings.h"

struct intake;
struct lane;
struct recorder;

struct intake_settings {
    const struct settings *settings;
    struct roster *roster;
    struct recorder *recorder;
    struct lane **lanes;
    int lane_count;
    struct budget *budget;
    struct pulse *pulse;
    struct sightings *sightings; /* NULL: nobody wants to know */
};

MUST_USE enum status intake_new(const struct intake_settings *settings, struct intake **ret_intake,
                                struct error *error);
void intake_start(struct intake *intake);
/* Takes nothing more, gives its partitions up in order (rule P7) and leaves the group; returns when done, or at
 * deadline_ms (monotonic). */
void intake_stop(struct intake *intake, int64_t deadline_ms);
void intake_free(struct intake **intake);

/* Where the recorder's own messages for intake go. */
struct queue *intake_queue(struct intake *intake);

/* In a group with partitions adopted, or with none to have. Any thread. */
bool intake_is_ready(const struct intake *intake);

#endif
