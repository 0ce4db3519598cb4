/* The only place that decides what becomes of a delivery after an attempt: done, tried again and when, or given up; and
 * what the answer says of its endpoint. Pure. */
#ifndef WEBHOOK_RETRY_POLICY_H
#define WEBHOOK_RETRY_POLICY_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RETRY_AFTER_CEILING_MS (24 * 3600 * 1000LL)

/* How an attempt ended, in the terms of the policy. */
enum attempt_end {
    ATTEMPT_ANSWERED,
    ATTEMPT_TIMEOUT,
    ATTEMPT_NETWORK,  /* look-up, connect, TLS, reset, nonsense */
    ATTEMPT_REFUSED,  /* our own guard: address or URL not allowed; trying again gives the same */
    ATTEMPT_NOT_MADE, /* no attempt: too many look-ups, cancelled by us; does not count */
};

struct attempt {
    enum attempt_end end;
    int status_code;        /* ATTEMPT_ANSWERED */
    int64_t retry_after_ms; /* -1: none */
    int number;             /* 1: the first */
    bool divisible;         /* a batch of more than one */
};

struct retry_schedule {
    const int64_t *delays_ms; /* after the first attempt, after the second … */
    size_t count;
};

enum retry_action {
    RETRY_DONE,
    RETRY_AGAIN,
    RETRY_GIVE_UP,
    RETRY_DISABLE, /* 410: give up, and disable the subscription */
    RETRY_SPLIT,   /* 413 to what is divisible: its halves take its place, at once (rule B3) */
};

/* What the attempt says of the endpoint. */
enum endpoint_sign {
    SIGN_GOOD /* it answers */,
    SIGN_SLOW_DOWN /* 429, 502, 503, 504, timeout */,
    SIGN_DOWN /* network */,
    SIGN_NONE
};

struct retry_decision {
    enum retry_action action;
    int64_t delay_ms; /* RETRY_AGAIN */
    enum endpoint_sign sign;
};

/* random: any 32 random bits, for the jitter of ±20 %. */
struct retry_decision retry_policy_next(const struct attempt *attempt, const struct retry_schedule *schedule,
                                        uint32_t random);

#endif
