/* How many webhooks may be under way to one endpoint: an in-flight cap that adapts, from 0 (open circuit) to its maximum.
 * One state machine, embedded in what the lane keeps for a subscription. Pure: time comes in as monotonic ms.
 *
 *             slow-down, at cap 1                       probe due
 *   CLOSED ───────────────────────▶ OPEN (cap 0) ───────────────────▶ HALF_OPEN (one probe)
 *     ▲  cap halves on slow-down      ▲    probe fails: longer pause         │
 *     │  and grows on success         └──────────────────────────────────────┤
 *     └────────────────────── probe succeeds: cap 1 ─────────────────────────┘
 */
#ifndef WEBHOOK_ENDPOINT_H
#define WEBHOOK_ENDPOINT_H

#include "webhook/retry_policy.h"

#define ENDPOINT_DEFAULT_MAX_IN_FLIGHT 64
#define ENDPOINT_START_CAP 8
#define ENDPOINT_FIRST_PAUSE_MS 1000
#define ENDPOINT_LONGEST_PAUSE_MS (60 * 1000)

enum endpoint_state { ENDPOINT_CLOSED, ENDPOINT_OPEN, ENDPOINT_HALF_OPEN };

struct endpoint {
    enum endpoint_state state;
    int32_t max_in_flight;
    int32_t cap;
    int32_t in_flight;
    int32_t successes;        /* since the cap last grew */
    int32_t failures_in_row;
    int64_t pause_ms;         /* of the next open period */
    int64_t probe_at_ms;      /* OPEN: when a probe may start */
    int64_t last_cut_ms;      /* the cap is halved once per burst of bad answers */
};

void endpoint_init(struct endpoint *endpoint, int32_t max_in_flight);
void endpoint_set_max(struct endpoint *endpoint, int32_t max_in_flight);

/* How many may start now. */
int32_t endpoint_slots(const struct endpoint *endpoint, int64_t now_ms);
/* When endpoint_slots may grow without an answer: the probe's time; -1: only by an answer. */
int64_t endpoint_wake_ms(const struct endpoint *endpoint);

void endpoint_started(struct endpoint *endpoint, int64_t now_ms);
void endpoint_ended(struct endpoint *endpoint, enum endpoint_sign sign, int64_t now_ms);

#endif
