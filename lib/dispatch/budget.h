/* What this process has taken and not yet durably settled, and how much of that is allowed. Intake adds, the recorder
 * subtracts, everybody may look. */
#ifndef DISPATCH_BUDGET_H
#define DISPATCH_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUDGET_MAX_BYTES (48 * 1024 * 1024)
#define BUDGET_MAX_DELIVERIES 16384
#define BUDGET_MIN_DELIVERIES 1024

struct budget {
    _Atomic int64_t deliveries; /* first attempts, and records without any */
    _Atomic int64_t bytes;
    _Atomic int64_t limit; /* of deliveries: what is settled in about 0.7 s, so that waiting in line never looks like a slow endpoint */
};

static inline bool budget_is_spent(struct budget *budget) {
    return atomic_load_explicit(&budget->deliveries, memory_order_relaxed) >=
               atomic_load_explicit(&budget->limit, memory_order_relaxed) ||
           atomic_load_explicit(&budget->bytes, memory_order_relaxed) >= BUDGET_MAX_BYTES;
}

#endif
