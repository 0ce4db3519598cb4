/* Signs of life that threads share.
 *
 * beat_ms: when the recorder last heard from PostgreSQL that this process is alive and owns what it thinks it owns.
 * While that is longer ago than PULSE_LIMIT_MS nothing is sent: PostgreSQL may be away, or this process may have been
 * frozen while others took over (rule P8). The recorder beats at least every PULSE_EVERY_MS.
 *
 * processes: what the limits of subscriptions are divided by (rule S6). It counts as long as the scheduler has read who
 * lives and who holds what within PULSE_LOOK_LIMIT_MS: less than it takes others to have more. */
#ifndef DISPATCH_PULSE_H
#define DISPATCH_PULSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PULSE_EVERY_MS 500
#define PULSE_LIMIT_MS 3000 /* a third of the session timeout, and less of a lease */
#define PULSE_LOOK_LIMIT_MS 5000

struct pulse {
    _Atomic int64_t beat_ms;   /* monotonic; 0: never yet. The recorder's. */
    _Atomic int64_t ahead_ms;  /* PostgreSQL's wall clock less our monotonic one; 0: not known yet. The recorder's. */
    _Atomic int32_t processes; /* 0: this one has no share yet. The scheduler's. */
    _Atomic int64_t looked_ms; /* monotonic: when the scheduler last read it, and the holds; 0: never yet */
};

static inline bool pulse_is_fresh(struct pulse *pulse, int64_t now_ms) {
    int64_t beat = atomic_load_explicit(&pulse->beat_ms, memory_order_acquire);
    return beat != 0 && now_ms - beat < PULSE_LIMIT_MS;
}

/* PostgreSQL's wall time, which decides what is due; known while the pulse beats. */
static inline int64_t pulse_database_ms(struct pulse *pulse, int64_t now_ms) {
    return now_ms + atomic_load_explicit(&pulse->ahead_ms, memory_order_relaxed);
}

/* What is known of the others is not too old. */
static inline bool pulse_knows_others(struct pulse *pulse, int64_t now_ms) {
    int64_t looked = atomic_load_explicit(&pulse->looked_ms, memory_order_acquire);
    return looked != 0 && now_ms - looked < PULSE_LOOK_LIMIT_MS;
}

/* What limits are divided by; 0: this process has no share of any. */
static inline int32_t pulse_processes(struct pulse *pulse, int64_t now_ms) {
    return pulse_knows_others(pulse, now_ms) ? atomic_load_explicit(&pulse->processes, memory_order_relaxed) : 0;
}

#endif
