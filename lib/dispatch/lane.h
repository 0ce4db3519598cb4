/* A sending thread: the endpoints of the subscriptions that live here, each with its queue, its cap and its health;
 * renders, signs, sends and judges. Nothing in it waits for a receiver or for PostgreSQL.
 *
 *   queue ─▶ endpoint (first attempts | due rows, a share each) ─▶ slots? ─▶ sending ─▶ judged ─▶ recorder
 */
#ifndef DISPATCH_LANE_H
#define DISPATCH_LANE_H

#include "base/crypto.h"
#include "core/settings.h"
#include "dispatch/budget.h"
#include "dispatch/delivery.h"
#include "dispatch/pulse.h"
#include "net/guard.h"

struct jobs;
struct lane;
struct recorder;

#define LANE_MAX_IN_FLIGHT 4096

struct lane_settings {
    const struct settings *settings;
    const struct guard *guard;
    const struct keyring *keyring;
    struct recorder *recorder;
    struct jobs *jobs; /* who is told of the endpoints' health; NULL: nobody */
    struct budget *budget;
    struct pulse *pulse;
    int number;
};

MUST_USE enum status lane_new(const struct lane_settings *settings, struct lane **ret_lane, struct error *error);
void lane_start(struct lane *lane);
/* Cuts off what is under way; what has a row is due again when its lease ends. */
void lane_stop(struct lane *lane);
void lane_free(struct lane **lane);

/* Any thread. Deliveries, new versions, parking. */
void lane_push(struct lane *lane, struct queue_batch *batch);

/* Deliveries here that have not been handed to the recorder. Any thread. */
int64_t lane_waiting(const struct lane *lane);

#endif
