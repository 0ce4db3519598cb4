#include "webhook/share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- how many divide ---- */

static int32_t divisor_after(struct crowd *crowd, int32_t count, int64_t now_ms) {
    crowd_saw(crowd, count, now_ms);
    return crowd->divisor;
}

static void one_alone_has_everything_at_once(void **state) {
    (void)state;
    struct crowd crowd = {0};
    assert_int_equal(crowd.divisor, 0);
    assert_int_equal(divisor_after(&crowd, 1, 50), 1);
}

static void a_newcomer_waits_and_the_others_make_room_at_once(void **state) {
    (void)state;
    struct crowd old = {0}, new = {0};
    crowd_saw(&old, 1, 0);
    assert_int_equal(divisor_after(&old, 2, 1000), 2);
    for (int64_t now_ms = 1000; now_ms < 1000 + SHARE_EXPIRY_MS; now_ms += 1000)
        assert_int_equal(divisor_after(&new, 2, now_ms), 0);
    assert_int_equal(divisor_after(&new, 2, 1000 + SHARE_EXPIRY_MS), 2);
}

static void a_newcomer_takes_the_most_that_it_saw(void **state) {
    (void)state;
    struct crowd crowd = {0};
    crowd_saw(&crowd, 2, 0);
    crowd_saw(&crowd, 4, 5000);
    assert_int_equal(divisor_after(&crowd, 3, SHARE_EXPIRY_MS), 4);
    /* And the fewer from when that has been so for long enough. */
    assert_int_equal(divisor_after(&crowd, 3, SHARE_EXPIRY_MS + 1000), 4);
    assert_int_equal(divisor_after(&crowd, 3, 2 * SHARE_EXPIRY_MS), 4);
    assert_int_equal(divisor_after(&crowd, 3, 2 * SHARE_EXPIRY_MS + 1000), 3);
}

static void who_leaves_leaves_a_share_after_a_while(void **state) {
    (void)state;
    struct crowd crowd = {0};
    crowd_saw(&crowd, 1, 0);
    crowd_saw(&crowd, 3, 1000);
    assert_int_equal(divisor_after(&crowd, 2, 2000), 3);
    assert_int_equal(divisor_after(&crowd, 2, 1999 + SHARE_EXPIRY_MS), 3);
    assert_int_equal(divisor_after(&crowd, 2, 2000 + SHARE_EXPIRY_MS), 2);
    /* One that comes back meanwhile makes the wait begin anew. */
    assert_int_equal(divisor_after(&crowd, 1, 15000), 2);
    assert_int_equal(divisor_after(&crowd, 2, 20000), 2);
    assert_int_equal(divisor_after(&crowd, 1, 24000), 2);
    assert_int_equal(divisor_after(&crowd, 1, 33000), 2);
    assert_int_equal(divisor_after(&crowd, 1, 34000), 1);
}

static void after_a_gap_it_is_a_newcomer_again(void **state) {
    (void)state;
    struct crowd crowd = {0};
    crowd_saw(&crowd, 1, 0);
    crowd_saw(&crowd, 2, 1000);
    int64_t now_ms = 1001 + SHARE_EXPIRY_MS;
    assert_int_equal(divisor_after(&crowd, 2, now_ms), 0);
    assert_int_equal(divisor_after(&crowd, 2, now_ms + SHARE_EXPIRY_MS), 2);
    assert_int_equal(divisor_after(&crowd, 1, now_ms + 3 * SHARE_EXPIRY_MS), 1);
}

/* ---- an endpoint's share ---- */

static struct share in_state(enum share_state wanted) {
    struct share share = {0};
    switch (wanted) {
    case SHARE_SHARED:
        break;
    case SHARE_AWAY:
        share_learn(&share, HOLDER_ANOTHER, 0);
        break;
    case SHARE_WAITING:
        share_learn(&share, HOLDER_ANOTHER, 0);
        share_learn(&share, HOLDER_THIS, 0);
        break;
    case SHARE_TAKING:
        share_learn(&share, HOLDER_THIS, 0);
        break;
    case SHARE_WHOLE:
        share_learn(&share, HOLDER_THIS, -SHARE_EXPIRY_MS);
        share_tick(&share, false, true, false, 0);
        break;
    case SHARE_LEAVING:
        share_learn(&share, HOLDER_THIS, -2 * SHARE_EXPIRY_MS);
        share_tick(&share, false, true, false, -SHARE_EXPIRY_MS);
        share_tick(&share, false, false, false, 0);
        break;
    }
    assert_int_equal(share.state, wanted);
    return share;
}

static void each_state_has_its_part(void **state) {
    (void)state;
    static const enum share_part PARTS[] = {PART_SHARE, PART_NOTHING, PART_NOTHING, PART_SHARE, PART_WHOLE, PART_SHARE};
    static const bool MAY_END[] = {false, false, false, true, false, true};
    for (int i = SHARE_SHARED; i <= SHARE_LEAVING; i++) {
        struct share share = in_state((enum share_state)i);
        assert_int_equal(share_part(&share), PARTS[i]);
        assert_int_equal(share_may_end(&share), MAY_END[i]);
    }
}

/* The table of the diagram: what each answer of the table of holds makes of each state. */
static void what_is_learned_moves_as_drawn(void **state) {
    (void)state;
    static const enum share_state MOVES[][4] = {
        /* NONE         NOBODY        ANOTHER     THIS */
        [SHARE_SHARED] = {SHARE_SHARED, SHARE_SHARED, SHARE_AWAY, SHARE_TAKING},
        [SHARE_AWAY] = {SHARE_SHARED, SHARE_AWAY, SHARE_AWAY, SHARE_WAITING},
        [SHARE_WAITING] = {SHARE_SHARED, SHARE_AWAY, SHARE_AWAY, SHARE_WAITING},
        [SHARE_TAKING] = {SHARE_SHARED, SHARE_SHARED, SHARE_AWAY, SHARE_TAKING},
        [SHARE_WHOLE] = {SHARE_SHARED, SHARE_AWAY, SHARE_AWAY, SHARE_WHOLE},
        [SHARE_LEAVING] = {SHARE_SHARED, SHARE_AWAY, SHARE_AWAY, SHARE_LEAVING},
    };
    for (int from = SHARE_SHARED; from <= SHARE_LEAVING; from++)
        for (int holder = HOLDER_NONE; holder <= HOLDER_THIS; holder++) {
            struct share share = in_state((enum share_state)from);
            share_learn(&share, (enum share_holder)holder, 100);
            assert_int_equal(share.state, MOVES[from][holder]);
        }
}

static void the_whole_comes_after_an_expiry(void **state) {
    (void)state;
    const enum share_state waits[] = {SHARE_WAITING, SHARE_TAKING};
    for (int i = 0; i < 2; i++) {
        struct share share = in_state(waits[i]);
        for (int64_t now_ms = 0; now_ms < SHARE_EXPIRY_MS; now_ms += 100) {
            share_learn(&share, HOLDER_THIS, now_ms);
            share_tick(&share, false, true, false, now_ms);
            assert_int_equal(share.state, waits[i]);
        }
        share_tick(&share, false, true, false, SHARE_EXPIRY_MS);
        assert_int_equal(share.state, SHARE_WHOLE);
    }
}

static void alone_nobody_is_waited_for(void **state) {
    (void)state;
    struct share share = in_state(SHARE_WAITING);
    share_tick(&share, true, true, false, 1);
    assert_int_equal(share.state, SHARE_TAKING);
    share_tick(&share, true, true, false, 10 * SHARE_EXPIRY_MS);
    assert_int_equal(share.state, SHARE_TAKING); /* a share of one is the whole */
    share_tick(&share, false, true, false, 11 * SHARE_EXPIRY_MS);
    assert_int_equal(share.state, SHARE_WHOLE);
}

static void the_whole_is_kept_while_it_is_wanted(void **state) {
    (void)state;
    struct share share = in_state(SHARE_WHOLE);
    for (int64_t now_ms = 0; now_ms < 20 * SHARE_EXPIRY_MS; now_ms += SHARE_EXPIRY_MS - 1) {
        share_tick(&share, false, true, false, now_ms);
        share_tick(&share, false, false, false, now_ms + SHARE_EXPIRY_MS - 2);
        assert_int_equal(share.state, SHARE_WHOLE);
    }
}

static void who_gives_it_back_may_have_it_again_at_once(void **state) {
    (void)state;
    struct share share = in_state(SHARE_LEAVING);
    share_tick(&share, false, false, false, 1000000);
    assert_int_equal(share.state, SHARE_LEAVING);
    share_tick(&share, false, true, false, 1000001);
    assert_int_equal(share.state, SHARE_WHOLE);
    share_tick(&share, false, false, false, 1000001 + SHARE_EXPIRY_MS - 1);
    assert_int_equal(share.state, SHARE_WHOLE);
    share_tick(&share, false, false, false, 1000001 + SHARE_EXPIRY_MS);
    assert_int_equal(share.state, SHARE_LEAVING);
}

static void a_hold_for_want_of_shares_lasts(void **state) {
    (void)state;
    struct share share = in_state(SHARE_WHOLE);
    share_tick(&share, false, false, true, SHARE_KEEP_MS - 1);
    assert_int_equal(share.state, SHARE_WHOLE);
    share_tick(&share, false, false, true, SHARE_KEEP_MS);
    assert_int_equal(share.state, SHARE_LEAVING);
    assert_true(share_is_scarce(1, 0, 2));
    assert_true(share_is_scarce(0, 2, 3));
    assert_true(share_is_scarce(5, 2, 3));
    assert_false(share_is_scarce(2, 3, 2));
    assert_false(share_is_scarce(0, 0, 100));
}

/* ---- an installation ---- */

#define PROCESSES 4

struct process {
    bool alive;
    struct crowd crowd;
    struct share share;
    int64_t beat_ms, looked_ms;
    bool whole; /* what its lane uses: one look behind */
};

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

/* In halves of a per mille. */
static int64_t used(const struct process *process, int64_t now_ms) {
    if (!process->alive || process->crowd.divisor == 0 || now_ms - process->looked_ms >= 5000)
        return 0;
    if (process->whole)
        return 27720;
    return share_part(&process->share) == PART_NOTHING ? 0 : 27720 / process->crowd.divisor;
}

static int others_alive(const struct process *processes, const struct process *process, int64_t now_ms) {
    int count = 0;
    for (int i = 0; i < PROCESSES; i++)
        count += &processes[i] != process && now_ms - processes[i].beat_ms <= SHARE_EXPIRY_MS;
    return count;
}

/* What the scheduler and the lane of a process do at each of its looks. */
static void look(struct process *processes, struct process *process, int *holder, int64_t *lease_ms, int64_t now_ms,
                 uint32_t random) {
    int number = (int)(process - processes);
    process->beat_ms = now_ms;
    crowd_saw(&process->crowd, 1 + others_alive(processes, process, now_ms), now_ms);
    process->looked_ms = now_ms;
    bool expired = now_ms > *lease_ms;
    enum share_holder seen = *holder < 0         ? HOLDER_NONE
                             : expired           ? HOLDER_NOBODY
                             : *holder == number ? HOLDER_THIS
                                                 : HOLDER_ANOTHER;
    share_learn(&process->share, seen, now_ms);
    process->whole = share_part(&process->share) == PART_WHOLE;
    if (seen == HOLDER_NOBODY || (seen == HOLDER_NONE && random % 20 == 0)) {
        *holder = number;
        *lease_ms = now_ms + 10000;
        share_learn(&process->share, HOLDER_THIS, now_ms);
    } else if (seen == HOLDER_THIS) {
        *lease_ms = now_ms + 10000;
        share_tick(&process->share, process->crowd.divisor == 1, random % 50 == 0, false, now_ms);
        if (share_may_end(&process->share) && !process->whole && random % 3 == 0) {
            *holder = -1;
            share_learn(&process->share, HOLDER_NONE, now_ms);
        }
    }
    process->whole = share_part(&process->share) == PART_WHOLE;
}

/* Processes start, die, are frozen; holds begin, end and change hands: never is more in use than there is. */
static void together_they_never_use_more_than_the_whole(void **state) {
    (void)state;
    int64_t steps_whole = 0, steps_shared = 0;
    for (uint32_t seed = 1; seed <= 40; seed++) {
        struct process processes[PROCESSES] = {0};
        uint32_t random = seed;
        int holder = -1;
        int64_t lease_ms = 0, next_ms[PROCESSES] = {0};
        for (int i = 0; i < PROCESSES; i++)
            processes[i].beat_ms = -1000000;
        for (int64_t now_ms = 1000000; now_ms < 1600000; now_ms += 50) {
            for (int i = 0; i < PROCESSES; i++) {
                struct process *process = &processes[i];
                uint32_t chance = next_random(&random) % 2000;
                if (!process->alive && chance == 0) {
                    *process = (struct process){.alive = true, .beat_ms = now_ms};
                    next_ms[i] = now_ms;
                } else if (process->alive && chance == 1 && next_random(&random) % 3 == 0) {
                    process->alive = false; /* its heartbeat and its lease stay for a while */
                } else if (process->alive && chance == 2) {
                    next_ms[i] = now_ms + next_random(&random) % 40000;
                }
                if (process->alive && now_ms >= next_ms[i]) {
                    look(processes, process, &holder, &lease_ms, now_ms, next_random(&random));
                    next_ms[i] = now_ms + 200 + next_random(&random) % 800;
                }
            }
            int64_t sum = 0;
            int users = 0;
            for (int i = 0; i < PROCESSES; i++) {
                sum += used(&processes[i], now_ms);
                users += used(&processes[i], now_ms) > 0;
            }
            steps_whole += users == 1 && sum == 27720;
            steps_shared += users > 1;
            if (sum > 27720)
                fail_msg("seed %u, at %lld: %lld", seed, (long long)now_ms, (long long)sum);
        }
    }
    assert_true(steps_whole > 10000 && steps_shared > 10000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_alone_has_everything_at_once),
        cmocka_unit_test(a_newcomer_waits_and_the_others_make_room_at_once),
        cmocka_unit_test(a_newcomer_takes_the_most_that_it_saw),
        cmocka_unit_test(who_leaves_leaves_a_share_after_a_while),
        cmocka_unit_test(after_a_gap_it_is_a_newcomer_again),
        cmocka_unit_test(each_state_has_its_part),
        cmocka_unit_test(what_is_learned_moves_as_drawn),
        cmocka_unit_test(the_whole_comes_after_an_expiry),
        cmocka_unit_test(alone_nobody_is_waited_for),
        cmocka_unit_test(the_whole_is_kept_while_it_is_wanted),
        cmocka_unit_test(who_gives_it_back_may_have_it_again_at_once),
        cmocka_unit_test(a_hold_for_want_of_shares_lasts),
        cmocka_unit_test(together_they_never_use_more_than_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
