/* What this process has taken and not yet durably settled, and how much of that is allowed. Intake adds, the recorder
 * subtracts, the lanes count what is under way; everybody may look. */
#ifndef DISPATCH_BUDGET_H
#define DISPATCH_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUDGET_MAX_BYTES (32 * 1024 * 1024)
#define BUDGET_MAX_DELIVERIES 32768 /* under way included */
#define BUDGET_MAX_WAITING                                                                                             \
    4096 /* not under way: what a lane sends in well under a second, so that waiting for it never makes an             \
          * endpoint look slow (lane.c, BEHIND_WAIT_MS) */

struct budget {
    _Atomic int64_t deliveries; /* first attempts, and records without any */
    _Atomic int64_t in_flight;  /* first attempts that wait for a receiver, not for us */
    _Atomic int64_t bytes;
    _Atomic int64_t cancelled; /* rows that the scheduler gave the recorder as cancelled, until they are written;
                                * bounded by the scheduler, and no concern of budget_is_spent */
};

static inline bool budget_is_spent(struct budget *budget) {
    int64_t deliveries = atomic_load_explicit(&budget->deliveries, memory_order_relaxed);
    int64_t waiting = deliveries - atomic_load_explicit(&budget->in_flight, memory_order_relaxed);
    return deliveries >= BUDGET_MAX_DELIVERIES || waiting >= BUDGET_MAX_WAITING ||
           atomic_load_explicit(&budget->bytes, memory_order_relaxed) >= BUDGET_MAX_BYTES;
}

#endif
