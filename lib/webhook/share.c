#include "webhook/share.h"

/* ---- how many divide ---- */

void crowd_saw(struct crowd *crowd, int32_t count, int64_t now_ms) {
    bool first = !crowd->seen || now_ms - crowd->seen_ms > SHARE_EXPIRY_MS;
    CHECK(count >= 1);
    crowd->seen = true;
    crowd->seen_ms = now_ms;
    if (first && count > 1) {
        crowd->divisor = 0;
        crowd->lower = count;
        crowd->lower_since_ms = now_ms;
    } else if (first || (crowd->divisor != 0 && count >= crowd->divisor)) {
        crowd->divisor = count;
        crowd->lower = 0;
    } else {
        if (crowd->lower == 0) {
            crowd->lower_since_ms = now_ms;
        }
        if (count > crowd->lower) {
            crowd->lower = count;
        }
        if (now_ms - crowd->lower_since_ms >= SHARE_EXPIRY_MS) {
            crowd->divisor = crowd->lower;
            crowd->lower = 0;
        }
    }
}

/* ---- an endpoint's share ---- */

static const bool MOVES[][6] = {
    /* to:            SHARED AWAY   WAITING TAKING WHOLE  LEAVING */
    [SHARE_SHARED] = {false, true, false, true, false, false},
    [SHARE_AWAY] = {true, false, true, false, false, false},
    [SHARE_WAITING] = {true, true, false, true, true, false},
    [SHARE_TAKING] = {true, true, false, false, true, false},
    [SHARE_WHOLE] = {true, true, false, false, false, true},
    [SHARE_LEAVING] = {true, true, false, false, true, false},
};

/* The only place that changes the state. */
static void move_to(struct share *share, enum share_state state, int64_t now_ms) {
    CHECK(MOVES[share->state][state]);
    share->state = state;
    share->since_ms = now_ms;
    share->wanted_ms = now_ms;
}

static bool is_held_here(const struct share *share) {
    return share->state != SHARE_SHARED && share->state != SHARE_AWAY;
}

void share_learn(struct share *share, enum share_holder holder, int64_t now_ms) {
    switch (holder) {
    case HOLDER_NONE:
        if (share->state != SHARE_SHARED) {
            move_to(share, SHARE_SHARED, now_ms);
        }
        break;
    case HOLDER_NOBODY:
        /* A lease of ours that ran out unnoticed may have been another's meanwhile. Only who had no more than its share
         * may go on with that. */
        if (share->state == SHARE_TAKING) {
            move_to(share, SHARE_SHARED, now_ms);
        } else if (is_held_here(share)) {
            move_to(share, SHARE_AWAY, now_ms);
        }
        break;
    case HOLDER_ANOTHER:
        if (share->state != SHARE_AWAY) {
            move_to(share, SHARE_AWAY, now_ms);
        }
        break;
    case HOLDER_THIS:
        if (!is_held_here(share)) {
            move_to(share, share->state == SHARE_AWAY ? SHARE_WAITING : SHARE_TAKING, now_ms);
        }
        break;
    }
}

void share_tick(struct share *share, bool alone, bool wanted, bool scarce, int64_t now_ms) {
    bool expired = now_ms - share->since_ms >= SHARE_EXPIRY_MS;
    if (wanted) {
        share->wanted_ms = now_ms;
    }
    switch (share->state) {
    case SHARE_SHARED:
    case SHARE_AWAY:
        break;
    case SHARE_WAITING:
        if (alone) {
            move_to(share, SHARE_TAKING, now_ms);
        } else if (expired) {
            move_to(share, SHARE_WHOLE, now_ms);
        }
        break;
    case SHARE_TAKING:
        /* Alone, a share is the whole. */
        if (expired && !alone) {
            move_to(share, SHARE_WHOLE, now_ms);
        }
        break;
    case SHARE_WHOLE:
        if (now_ms - share->wanted_ms >= (scarce ? SHARE_KEEP_MS : SHARE_EXPIRY_MS)) {
            move_to(share, SHARE_LEAVING, now_ms);
        }
        break;
    case SHARE_LEAVING:
        if (wanted) {
            move_to(share, SHARE_WHOLE, now_ms);
        }
        break;
    }
}

enum share_part share_part(const struct share *share) {
    switch (share->state) {
    case SHARE_AWAY:
    case SHARE_WAITING:
        return PART_NOTHING;
    case SHARE_WHOLE:
        return PART_WHOLE;
    case SHARE_SHARED:
    case SHARE_TAKING:
    case SHARE_LEAVING:
        break;
    }
    return PART_SHARE;
}

bool share_may_end(const struct share *share) {
    return share->state == SHARE_TAKING || share->state == SHARE_LEAVING;
}
