#include "webhook/retry_policy.h"

/* An attempt that was not made says nothing about the receiver; its turn comes again soon. */
#define NOT_MADE_DELAY_MS 1000

/* ±20 %, so that what failed together does not come back together. */
static int64_t jittered(int64_t delay_ms, uint32_t random) {
    double part = 0.8 + 0.4 * ((double)random / (double)UINT32_MAX);
    return (int64_t)((double)delay_ms * part + 0.5);
}

static enum endpoint_sign sign_of(const struct attempt *attempt) {
    switch (attempt->end) {
    case ATTEMPT_TIMEOUT:
        return SIGN_SLOW_DOWN;
    case ATTEMPT_NETWORK:
        return SIGN_DOWN;
    case ATTEMPT_REFUSED:
    case ATTEMPT_NOT_MADE:
        return SIGN_NONE;
    case ATTEMPT_ANSWERED:
        break;
    }
    switch (attempt->status_code) {
    case 429:
    case 502:
    case 503:
    case 504:
        return SIGN_SLOW_DOWN;
    default:
        return SIGN_GOOD;
    }
}

static struct retry_decision failed(const struct attempt *attempt, const struct retry_schedule *schedule,
                                    uint32_t random) {
    struct retry_decision decision = {.action = RETRY_GIVE_UP, .sign = sign_of(attempt)};
    size_t done = (size_t)attempt->number - 1;
    if (done >= schedule->count) {
        return decision;
    }
    decision.action = RETRY_AGAIN;
    decision.delay_ms = jittered(schedule->delays_ms[done], random);
    if (attempt->end == ATTEMPT_ANSWERED && attempt->retry_after_ms > decision.delay_ms) {
        int64_t asked_ms = attempt->retry_after_ms;
        asked_ms = asked_ms > RETRY_AFTER_CEILING_MS ? RETRY_AFTER_CEILING_MS : asked_ms;
        decision.delay_ms = asked_ms > decision.delay_ms ? asked_ms : decision.delay_ms;
    }
    return decision;
}

struct retry_decision retry_policy_next(const struct attempt *attempt, const struct retry_schedule *schedule,
                                        uint32_t random) {
    CHECK(attempt->number >= 1);
    switch (attempt->end) {
    case ATTEMPT_REFUSED:
        return (struct retry_decision){.action = RETRY_GIVE_UP, .sign = SIGN_NONE};
    case ATTEMPT_NOT_MADE:
        return (struct retry_decision){
            .action = RETRY_AGAIN, .delay_ms = jittered(NOT_MADE_DELAY_MS, random), .sign = SIGN_NONE};
    case ATTEMPT_TIMEOUT:
    case ATTEMPT_NETWORK:
        return failed(attempt, schedule, random);
    case ATTEMPT_ANSWERED:
        break;
    }
    if (attempt->status_code >= 200 && attempt->status_code <= 299) {
        return (struct retry_decision){.action = RETRY_DONE, .sign = SIGN_GOOD};
    }
    if (attempt->status_code == 410) {
        return (struct retry_decision){.action = RETRY_DISABLE, .sign = SIGN_GOOD};
    }
    if (attempt->status_code == 413 && attempt->divisible) {
        return (struct retry_decision){.action = RETRY_SPLIT, .sign = SIGN_GOOD};
    }
    return failed(attempt, schedule, random);
}
