/* The thread that sends what is due: claims rows of the schedule for free slots of their endpoints, marks as held what
 * has none, and drains the held endpoints that this process leases (rules S3, S4). PostgreSQL's clock decides what is
 * due. */
#ifndef DISPATCH_SCHEDULER_H
#define DISPATCH_SCHEDULER_H

#include "core/settings.h"
#include "dispatch/budget.h"
#include "dispatch/delivery.h"
#include "dispatch/pulse.h"
#include "dispatch/roster.h"

struct scheduler;
struct lane;
struct recorder;

struct scheduler_settings {
    const struct settings *settings;
    struct roster *roster;
    struct recorder *recorder; /* for what is cancelled */
    struct lane **lanes;
    int lane_count;
    struct pulse *pulse;
    struct uuid process_id;
    struct budget *budget;
};

struct scheduler *scheduler_new(const struct scheduler_settings *settings);
void scheduler_start(struct scheduler *scheduler);
/* Claims nothing more, gives its holds back, ends. */
void scheduler_stop(struct scheduler *scheduler);
void scheduler_free(struct scheduler **scheduler);

#endif
