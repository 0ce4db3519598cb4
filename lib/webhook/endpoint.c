#include "webhook/endpoint.h"

/* The cap is found as TCP finds its window: it doubles by the round until the endpoint first asks to slow down, halves
 * then, and from there on grows by one a round. Bad answers come in bursts, since all that was under way when an
 * endpoint stumbled fails together: such a burst cuts once. */

static const bool MOVES[][3] = {
    /* to:                 CLOSED OPEN   HALF_OPEN */
    [ENDPOINT_CLOSED] = {false, true, false},
    [ENDPOINT_OPEN] = {false, false, true},
    [ENDPOINT_HALF_OPEN] = {true, true, false},
};

static void check_invariants(const struct endpoint *endpoint) {
    CHECK(endpoint->in_flight >= 0);
    CHECK(endpoint->before_cut >= 0 && endpoint->before_cut <= endpoint->in_flight);
    CHECK(endpoint->max_in_flight >= 1);
    switch (endpoint->state) {
    case ENDPOINT_CLOSED:
        CHECK(endpoint->cap >= 1 && endpoint->cap <= endpoint->max_in_flight);
        break;
    case ENDPOINT_OPEN:
        CHECK(endpoint->cap == 0);
        break;
    case ENDPOINT_HALF_OPEN:
        CHECK(endpoint->cap == 1);
        break;
    }
}

static void set_cap(struct endpoint *endpoint, int32_t cap) {
    endpoint->cap = cap;
    endpoint->successes = 0;
}

/* The only place that changes the state. */
static void move_to(struct endpoint *endpoint, enum endpoint_state state, int64_t now_ms) {
    CHECK(MOVES[endpoint->state][state]);
    endpoint->state = state;
    endpoint->network_failures_in_row = 0;
    endpoint->bad_in_row_at_one = 0;
    switch (state) {
    case ENDPOINT_CLOSED:
        set_cap(endpoint, 1);
        endpoint->slow_start = true;
        endpoint->before_cut = 0;
        endpoint->pause_ms = ENDPOINT_FIRST_PAUSE_MS;
        break;
    case ENDPOINT_OPEN:
        set_cap(endpoint, 0);
        endpoint->probe_at_ms = now_ms + endpoint->pause_ms;
        endpoint->pause_ms *= 2;
        if (endpoint->pause_ms > ENDPOINT_LONGEST_PAUSE_MS) {
            endpoint->pause_ms = ENDPOINT_LONGEST_PAUSE_MS;
        }
        break;
    case ENDPOINT_HALF_OPEN:
        set_cap(endpoint, 1);
        break;
    }
}

static int32_t valid_max(int32_t max_in_flight) {
    return max_in_flight < 1 ? ENDPOINT_DEFAULT_MAX_IN_FLIGHT : max_in_flight;
}

void endpoint_init(struct endpoint *endpoint, int32_t max_in_flight) {
    int32_t max = valid_max(max_in_flight);
    *endpoint = (struct endpoint){
        .state = ENDPOINT_CLOSED,
        .max_in_flight = max,
        .cap = max < ENDPOINT_START_CAP ? max : ENDPOINT_START_CAP,
        .slow_start = true,
        .pause_ms = ENDPOINT_FIRST_PAUSE_MS,
    };
}

void endpoint_set_max(struct endpoint *endpoint, int32_t max_in_flight) {
    endpoint->max_in_flight = valid_max(max_in_flight);
    if (endpoint->cap > endpoint->max_in_flight) {
        set_cap(endpoint, endpoint->max_in_flight);
    }
    check_invariants(endpoint);
}

int32_t endpoint_slots(const struct endpoint *endpoint, int64_t now_ms) {
    if (endpoint->state == ENDPOINT_OPEN) {
        /* What hangs from before must not put the probe off. */
        return now_ms >= endpoint->probe_at_ms ? 1 : 0;
    }
    return endpoint->cap > endpoint->in_flight ? endpoint->cap - endpoint->in_flight : 0;
}

int64_t endpoint_wake_ms(const struct endpoint *endpoint) {
    return endpoint->state == ENDPOINT_OPEN ? endpoint->probe_at_ms : -1;
}

void endpoint_started(struct endpoint *endpoint, int64_t now_ms) {
    CHECK(endpoint_slots(endpoint, now_ms) > 0);
    if (endpoint->state == ENDPOINT_OPEN) {
        move_to(endpoint, ENDPOINT_HALF_OPEN, now_ms);
    }
    endpoint->in_flight++;
    check_invariants(endpoint);
}

static void grow(struct endpoint *endpoint) {
    endpoint->network_failures_in_row = 0;
    endpoint->bad_in_row_at_one = 0;
    endpoint->successes++;
    int32_t round = endpoint->slow_start ? 1 : endpoint->cap;
    if (endpoint->successes >= round) {
        set_cap(endpoint, endpoint->cap < endpoint->max_in_flight ? endpoint->cap + 1 : endpoint->cap);
    }
}

static bool in_burst(const struct endpoint *endpoint, int64_t now_ms) {
    return endpoint->before_cut > 0 && now_ms - endpoint->last_cut_ms < ENDPOINT_BURST_MS;
}

static void cut(struct endpoint *endpoint, int64_t now_ms) {
    set_cap(endpoint, endpoint->cap / 2);
    endpoint->slow_start = false;
    endpoint->last_cut_ms = now_ms;
    endpoint->before_cut = endpoint->in_flight;
    endpoint->bad_in_row_at_one = 0;
}

static void closed_bad(struct endpoint *endpoint, enum endpoint_sign sign, bool burst, int64_t now_ms) {
    endpoint->network_failures_in_row = sign == SIGN_DOWN ? endpoint->network_failures_in_row + 1 : 0;
    if (endpoint->network_failures_in_row >= ENDPOINT_NETWORK_FAILURES) {
        move_to(endpoint, ENDPOINT_OPEN, now_ms);
    } else if (burst) {
        return;
    } else if (endpoint->cap > 1) {
        if (sign == SIGN_SLOW_DOWN) {
            cut(endpoint, now_ms);
        }
    } else if (++endpoint->bad_in_row_at_one >= ENDPOINT_BAD_AT_ONE) {
        move_to(endpoint, ENDPOINT_OPEN, now_ms);
    }
}

void endpoint_ended(struct endpoint *endpoint, enum endpoint_sign sign, int64_t now_ms) {
    CHECK(endpoint->in_flight > 0);
    bool burst = in_burst(endpoint, now_ms);
    endpoint->in_flight--;
    /* Answers come roughly in the order of their starts, so the first that end are those from before the cut. */
    if (endpoint->before_cut > 0) {
        endpoint->before_cut--;
    }
    if (sign != SIGN_NONE && endpoint->state == ENDPOINT_HALF_OPEN) {
        move_to(endpoint, sign == SIGN_GOOD ? ENDPOINT_CLOSED : ENDPOINT_OPEN, now_ms);
    } else if (sign == SIGN_GOOD && endpoint->state == ENDPOINT_CLOSED) {
        grow(endpoint);
    } else if (sign != SIGN_NONE && endpoint->state == ENDPOINT_CLOSED) {
        closed_bad(endpoint, sign, burst, now_ms);
    }
    check_invariants(endpoint);
}
