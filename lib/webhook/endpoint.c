#include "webhook/endpoint.h"

/* The cap is found as TCP finds its window: it doubles by the round until the endpoint first asks to slow down, halves
 * then, and from there on grows by one a round. Bad answers come in bursts, since all that was under way when an
 * endpoint stumbled fails together: such a burst cuts once.
 *
 * The rate is a time, that of the next start, which each start moves on by one interval: from where it was, when the
 * start came late or a little early, and from now, when the endpoint has been idle. So nothing is saved up, and a lane
 * whose rounds come late by no more than the tolerance loses nothing. Nanoseconds, since the interval of a third of
 * 100,000/s is no whole number of microseconds. */

#define NS_PER_MS 1000000LL
#define NS_PER_S 1000000000LL
#define TOLERANCE_NS (ENDPOINT_RATE_TOLERANCE_MS * NS_PER_MS)

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

void endpoint_set_rate(struct endpoint *endpoint, int32_t per_second, int32_t processes) {
    CHECK(per_second < 1 || processes >= 1);
    int64_t interval_ns = per_second < 1 ? 0 : NS_PER_S * processes / per_second;
    /* Counted from the last start. */
    if (interval_ns != 0 && endpoint->interval_ns != 0) {
        endpoint->next_ns += interval_ns - endpoint->interval_ns;
    }
    endpoint->interval_ns = interval_ns;
}

void endpoint_bar(struct endpoint *endpoint, bool barred) {
    endpoint->barred = barred;
}

int32_t endpoint_rate_room(const struct endpoint *endpoint, int64_t now_ms, int64_t ahead_ms) {
    if (endpoint->interval_ns == 0) {
        return INT32_MAX;
    }
    int64_t now_ns = now_ms * NS_PER_MS;
    int64_t next_ns = endpoint->next_ns > now_ns ? endpoint->next_ns : now_ns;
    int64_t room_ns = now_ns + ahead_ms * NS_PER_MS + TOLERANCE_NS - next_ns;
    if (room_ns < 0) {
        return 0;
    }
    int64_t room = room_ns / endpoint->interval_ns + 1;
    return room < INT32_MAX ? (int32_t)room : INT32_MAX;
}

bool endpoint_rate_is_spent(const struct endpoint *endpoint, int64_t now_ms) {
    return endpoint->interval_ns != 0 && endpoint->next_ns > now_ms * NS_PER_MS;
}

static int32_t cap_room(const struct endpoint *endpoint, int64_t now_ms) {
    if (endpoint->state == ENDPOINT_OPEN) {
        /* What hangs from before must not put the probe off. */
        return now_ms >= endpoint->probe_at_ms ? 1 : 0;
    }
    return endpoint->cap > endpoint->in_flight ? endpoint->cap - endpoint->in_flight : 0;
}

int32_t endpoint_slots(const struct endpoint *endpoint, int64_t now_ms) {
    int32_t cap = cap_room(endpoint, now_ms), rate = endpoint_rate_room(endpoint, now_ms, 0);
    return endpoint->barred ? 0 : cap < rate ? cap : rate;
}

int64_t endpoint_wake_ms(const struct endpoint *endpoint) {
    bool open = endpoint->state == ENDPOINT_OPEN;
    bool rate = endpoint->interval_ns != 0 && (open || endpoint->cap > endpoint->in_flight);
    int64_t wake_ms = open ? endpoint->probe_at_ms : -1;
    int64_t start_ms = (endpoint->next_ns - TOLERANCE_NS + NS_PER_MS - 1) / NS_PER_MS;
    if (endpoint->barred) {
        return -1;
    }
    return rate && start_ms > wake_ms ? start_ms : wake_ms;
}

void endpoint_started(struct endpoint *endpoint, int64_t now_ms) {
    CHECK(endpoint_slots(endpoint, now_ms) > 0);
    if (endpoint->state == ENDPOINT_OPEN) {
        move_to(endpoint, ENDPOINT_HALF_OPEN, now_ms);
    }
    if (endpoint->interval_ns != 0) {
        int64_t now_ns = now_ms * NS_PER_MS;
        endpoint->next_ns = (endpoint->next_ns > now_ns ? endpoint->next_ns : now_ns) + endpoint->interval_ns;
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
