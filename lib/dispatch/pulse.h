/* Signs of life that threads share.
 *
 * beat_ms: when the recorder last heard from PostgreSQL that this process is alive and owns what it thinks it owns.
 * While that is longer ago than PULSE_LIMIT_MS nothing is sent: PostgreSQL may be away, or this process may have been
 * frozen while others took over (rule P8). The recorder beats at least every PULSE_EVERY_MS. */
#ifndef DISPATCH_PULSE_H
#define DISPATCH_PULSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PULSE_EVERY_MS 500
#define PULSE_LIMIT_MS 3000 /* a third of the session timeout, and less of a lease */

struct pulse {
    _Atomic int64_t beat_ms;   /* monotonic; 0: never yet. The recorder's. */
    _Atomic int32_t processes; /* live ones of the installation, at least 1. The scheduler's. */
};

static inline bool pulse_is_fresh(struct pulse *pulse, int64_t now_ms) {
    int64_t beat = atomic_load_explicit(&pulse->beat_ms, memory_order_acquire);
    return beat != 0 && now_ms - beat < PULSE_LIMIT_MS;
}

#endif
