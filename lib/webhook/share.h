/* How processes divide what an endpoint allows the installation (rule S6). Pure: time comes in as monotonic ms.
 *
 * While an endpoint is not held, each process has limit / processes. Once it is held, its holder sends alone, with the
 * whole limit. Processes learn of each other and of holds from tables that each reads now and then, so one that is to
 * have more begins SHARE_EXPIRY_MS after that was written; whoever is to have less has less at once.
 *
 *              another's                 ours                     10 s
 *   SHARED ───────────────▶ AWAY ──────────────────▶ WAITING ───────────────┐
 *   │ ▲ ▲                   │ ▲                       nothing               │
 *   │ │ └───────────────────┘ │ another's, from anywhere                    ▼
 *   │ │     the hold ends     │                                           WHOLE ◀──┐ more than its share is wanted
 *   │ │                                                                   ▲ │      │
 *   │ └──── the hold ends ─────────────────────────────────────┐          │ ▼ no more than its share was used
 *   └─────────────────────▶ TAKING ────────────────────────────┼──────────┘ LEAVING
 *             ours           share             10 s            └─────────────┘ share
 *
 * A hold ends only where its holder has no more than its share (TAKING, LEAVING): the others have theirs again as soon
 * as they see that it is gone. */
#ifndef WEBHOOK_SHARE_H
#define WEBHOOK_SHARE_H

#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

#define SHARE_EXPIRY_MS (10 * 1000)      /* after which a silent process counts as gone: store/process.h */
#define SHARE_KEEP_MS (10 * 60 * 1000LL) /* a hold for want of shares stays so long after it was last needed */

/* ---- How many divide ---- */

struct crowd {
    int32_t divisor; /* what limits are divided by; 0: this process has no share yet */
    int32_t lower;   /* the most seen since lower_since_ms, when that is less than the divisor; 0: it is not */
    int64_t lower_since_ms, seen_ms;
    bool seen;
};

/* A look at the heartbeat rows, while this process's own is known to be fresh, found so many alive. A process that has
 * others beside it at its first look, or at the first after a gap, has no share for SHARE_EXPIRY_MS. */
void crowd_saw(struct crowd *crowd, int32_t count, int64_t now_ms);

/* ---- An endpoint's share ---- */

enum share_state { SHARE_SHARED, SHARE_AWAY, SHARE_WAITING, SHARE_TAKING, SHARE_WHOLE, SHARE_LEAVING };

/* Whose the hold is. */
enum share_holder { HOLDER_NONE, HOLDER_NOBODY, HOLDER_ANOTHER, HOLDER_THIS };

/* What this process may use of a limit. */
enum share_part { PART_SHARE, PART_NOTHING, PART_WHOLE };

struct share {
    enum share_state state;
    int64_t since_ms;  /* when the state began */
    int64_t wanted_ms; /* WHOLE: when more than a share was last wanted */
};

/* All zero is SHARED. */

/* What the table of holds says now. */
void share_learn(struct share *share, enum share_holder holder, int64_t now_ms);

/* Time passes for a hold of this process's. alone: no other process has a share. wanted: the endpoint has more to do
 * than its share allows. scarce: there is less than one for each process, so that only a holder sends at all. */
void share_tick(struct share *share, bool alone, bool wanted, bool scarce, int64_t now_ms);

/* Limits of 0: none. Less than one for each of so many processes. */
static inline bool share_is_scarce(int32_t max_in_flight, int32_t rate_per_second, int32_t processes) {
    return (max_in_flight > 0 && max_in_flight < processes) || (rate_per_second > 0 && rate_per_second < processes);
}

enum share_part share_part(const struct share *share);
/* The hold may end, provided that no more than the share is in use. */
bool share_may_end(const struct share *share);

#endif
