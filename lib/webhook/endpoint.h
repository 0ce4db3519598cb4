/* How many webhooks may be under way to one endpoint: an in-flight cap that adapts, from 0 (open circuit) to its
 * maximum. One state machine, embedded in what the lane keeps for a subscription; and, where the endpoint has one, the
 * rate at which webhooks may start. Pure: time comes in as monotonic ms. docs/endpoint-health.md tells it at length.
 *
 *             3 bad answers in a row at cap 1,          the probe starts
 *             or 5 network failures in a row            when it is due
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
#define ENDPOINT_BURST_MS 1000      /* bad answers to what was under way at a cut cut no more, for at most this long */
#define ENDPOINT_BAD_AT_ONE 3       /* slow-downs or network failures in a row at cap 1 that open the circuit */
#define ENDPOINT_NETWORK_FAILURES 5 /* in a row at any cap, likewise */

#define ENDPOINT_RATE_TOLERANCE_MS 8 /* a start may come so much before its time, so that late ones lose nothing */

enum endpoint_state { ENDPOINT_CLOSED, ENDPOINT_OPEN, ENDPOINT_HALF_OPEN };

struct endpoint {
    enum endpoint_state state;
    int32_t max_in_flight; /* at least 1 */
    int32_t cap;           /* CLOSED: 1 to max_in_flight; OPEN: 0; HALF_OPEN: 1 */
    int32_t in_flight;     /* may be above the cap after a cut */
    int32_t successes;     /* since the cap last grew */
    int32_t network_failures_in_row;
    int32_t bad_in_row_at_one;
    int32_t before_cut;  /* of those that were in flight at the last cut: not answered yet */
    bool slow_start;     /* the cap grows by one a success; after the first cut by one a capful */
    int64_t pause_ms;    /* of the next open period */
    int64_t probe_at_ms; /* OPEN: when a probe may start */
    int64_t last_cut_ms;
    bool barred;         /* nothing may start, whatever cap and rate say */
    int64_t interval_ns; /* from one start to the next; 0: no rate */
    int64_t next_ns;     /* monotonic: the time of the next start; in the past: it may come at once */
};

/* max_in_flight below 1: the default. */
void endpoint_init(struct endpoint *endpoint, int32_t max_in_flight);
/* Takes effect at once downwards; upwards the cap grows as ever. */
void endpoint_set_max(struct endpoint *endpoint, int32_t max_in_flight);

/* Starts are spaced evenly, per_second / processes of them in a second. per_second below 1: no rate. What was not used
 * is lost: an endpoint that was idle begins as any other does. Takes effect from the next start on. */
void endpoint_set_rate(struct endpoint *endpoint, int32_t per_second, int32_t processes);
/* While it is barred nothing starts; what is under way ends as ever. */
void endpoint_bar(struct endpoint *endpoint, bool barred);

/* How many may start now. */
int32_t endpoint_slots(const struct endpoint *endpoint, int64_t now_ms);
/* How many starts the rate has room for until ahead_ms from now; INT32_MAX: it has no rate. */
int32_t endpoint_rate_room(const struct endpoint *endpoint, int64_t now_ms, int64_t ahead_ms);
/* What waits now waits for the rate. */
bool endpoint_rate_is_spent(const struct endpoint *endpoint, int64_t now_ms);
/* When endpoint_slots may grow without an answer: the time of the probe, or of the rate's next start; -1: only by an
 * answer, or when it is no longer barred. */
int64_t endpoint_wake_ms(const struct endpoint *endpoint);

/* A webhook went on its way. CHECKed: there was a slot. */
void endpoint_started(struct endpoint *endpoint, int64_t now_ms);
/* It came to its end; SIGN_NONE: nothing is known of the endpoint. In HALF_OPEN whatever ends first decides, be it the
 * probe or one that was under way before: it is as new. In OPEN what ends only frees its slot. */
void endpoint_ended(struct endpoint *endpoint, enum endpoint_sign sign, int64_t now_ms);

#endif
