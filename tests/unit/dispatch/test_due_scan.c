/* Looks at lines of due times that are kept here, in virtual time. */
#include "dispatch/due_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ROWS 100000

enum fate { WAITS, GONE, STUCK, CROWD };

/* The rows of one bucket, in the order of their times. */
static int64_t due[ROWS];
static enum fate fates[ROWS];
static int row_count;
static struct due_scan scan;
static int64_t clock_ms, wall_ms;
static int64_t walked_total;
static int taken_now;

static int setup(void **state) {
    (void)state;
    row_count = 0;
    walked_total = 0;
    clock_ms = 1000;
    wall_ms = 1000000;
    due_scan_init(&scan);
    due_scan_set_buckets(&scan, 1);
    return 0;
}

static int add(int64_t due_ms, enum fate fate) {
    int at = row_count++;
    assert_true(row_count <= ROWS);
    for (; at > 0 && due[at - 1] > due_ms; at--) {
        due[at] = due[at - 1];
        fates[at] = fates[at - 1];
    }
    due[at] = due_ms;
    fates[at] = fate;
    return at;
}

static struct due_found walk(const struct due_stretch *stretch) {
    struct due_found found = {.left_ms = DUE_SCAN_NEVER, .skipped_ms = DUE_SCAN_NEVER};
    for (int i = 0; i < row_count && found.walked < stretch->limit; i++) {
        if (due[i] < stretch->from_ms || due[i] >= stretch->to_ms || due[i] > wall_ms || fates[i] == GONE)
            continue;
        found.walked++;
        found.last_ms = due[i];
        if (fates[i] == STUCK) {
            if (due[i] < found.left_ms)
                found.left_ms = due[i];
        } else if (fates[i] == CROWD && stretch->pass) {
            if (due[i] < found.skipped_ms)
                found.skipped_ms = due[i];
        } else {
            found.held += fates[i] == CROWD;
            taken_now += fates[i] == WAITS;
            fates[i] = GONE;
        }
    }
    walked_total += found.walked;
    return found;
}

/* One round; returns how many of the rows that wait were taken. */
static int round_of(int rows) {
    struct due_stretch stretches[DUE_SCAN_STRETCHES];
    struct due_found found[DUE_SCAN_STRETCHES];
    taken_now = 0;
    size_t count = due_scan_plan(&scan, rows, clock_ms, stretches);
    for (size_t i = 0; i < count; i++)
        found[i] = walk(&stretches[i]);
    for (size_t i = count; i-- > 0;)
        due_scan_found(&scan, &stretches[i], &found[i], wall_ms, clock_ms);
    clock_ms += 10;
    wall_ms += 10;
    return taken_now;
}

static int waiting(enum fate fate) {
    int count = 0;
    for (int i = 0; i < row_count; i++)
        count += fates[i] == fate && due[i] <= wall_ms;
    return count;
}

/* Nothing whole for a while: what is told then is told of the ordinary looks. */
static void no_whole_looks(void) {
    due_scan_cost(&scan, 1000000, clock_ms);
}

static void test_what_becomes_due_is_found_in_the_next_round(void **state) {
    (void)state;
    for (int i = 0; i < 1000; i++)
        add(wall_ms + 10 * i, WAITS);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(round_of(4096), 1);
    assert_int_equal(waiting(WAITS), 0);
}

static void test_what_was_seen_gone_is_not_walked_again(void **state) {
    (void)state;
    struct due_stretch stretches[DUE_SCAN_STRETCHES];
    for (int i = 0; i < 20000; i++)
        add(wall_ms - 20000 + i, WAITS);
    no_whole_looks();
    int rounds = 0;
    while (waiting(WAITS) && rounds < 1000)
        rounds += round_of(1024) >= 0;
    assert_true(rounds <= 20000 / 512 + 2);
    assert_int_equal(walked_total, 20000);
    (void)round_of(1024);
    assert_int_equal(due_scan_plan(&scan, 1024, clock_ms, stretches), 1);
    assert_true(stretches[0].from_ms >= wall_ms - 20 - DUE_SCAN_SLACK_MS);
    assert_false(due_scan_has_backlog(&scan));
}

static void test_a_row_written_late_is_found(void **state) {
    (void)state;
    no_whole_looks();
    for (int i = 0; i < 50; i++)
        (void)round_of(1024);
    add(wall_ms - DUE_SCAN_SLACK_MS + 20, WAITS);
    assert_int_equal(round_of(1024), 1);
}

static void test_a_lease_that_runs_out_is_found_by_a_look_at_the_whole(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++)
        (void)round_of(1024);
    add(wall_ms - 60000, WAITS);
    int rounds = 0;
    while (waiting(WAITS) && rounds < 100)
        rounds += round_of(1024) >= 0;
    assert_in_range(rounds, 1, 12); /* a tenth of a second, for one bucket */
}

static void test_whole_looks_are_as_seldom_as_they_are_dear(void **state) {
    (void)state;
    struct due_stretch stretches[DUE_SCAN_STRETCHES];
    due_scan_set_buckets(&scan, 0xffff);
    for (int i = 0; i < 10; i++)
        (void)round_of(1024);
    int64_t until_ms = clock_ms + 100000, spent_ms = 0;
    int wholes = 0;
    while (clock_ms < until_ms) {
        size_t count = due_scan_plan(&scan, 1024, clock_ms, stretches);
        bool whole = due_scan_is_whole(stretches, count);
        struct due_found nothing = {.left_ms = DUE_SCAN_NEVER, .skipped_ms = DUE_SCAN_NEVER};
        for (size_t i = count; i-- > 0;)
            due_scan_found(&scan, &stretches[i], &nothing, wall_ms, clock_ms);
        int64_t took_ms = whole ? 200 : 1;
        spent_ms += whole ? took_ms : 0;
        wholes += whole;
        clock_ms += took_ms;
        wall_ms += took_ms;
        if (whole)
            due_scan_cost(&scan, took_ms, clock_ms);
    }
    assert_true(wholes >= 16);
    assert_true(spent_ms <= 100000 / 19);
}

static void test_what_is_left_alone_hides_nothing(void **state) {
    (void)state;
    no_whole_looks();
    for (int i = 0; i < 5000; i++)
        add(wall_ms - 10000 + i, STUCK);
    add(wall_ms - 4000, WAITS);
    int rounds = 0;
    while (waiting(WAITS) && rounds < 1000)
        rounds += round_of(1024) >= 0;
    assert_true(rounds < 40);
    /* Nor in the time that follows; and it is looked at again and again, but not all the time. */
    for (int i = 0; i < 500; i++) {
        add(wall_ms, WAITS);
        assert_int_equal(round_of(1024), 1);
    }
    walked_total = 0;
    for (int i = 0; i < 1000; i++)
        (void)round_of(1024);
    assert_in_range(walked_total, 5000, 5000 * 10);
    for (int i = 0; i < row_count; i++)
        if (fates[i] == STUCK)
            fates[i] = WAITS;
    for (int i = 0; waiting(WAITS); i++) {
        assert_true(i < 400);
        (void)round_of(1024);
    }
}

static void test_more_left_alone_in_one_moment_than_a_look_takes(void **state) {
    (void)state;
    no_whole_looks();
    for (int i = 0; i < 3000; i++)
        add(wall_ms - 5000, STUCK);
    add(wall_ms - 4999, WAITS);
    int rounds = 0;
    while (waiting(WAITS) && rounds < 1000)
        rounds += round_of(256) >= 0;
    assert_true(rounds < 20);
}

static void test_the_newest_do_not_wait_for_a_backlog(void **state) {
    (void)state;
    no_whole_looks();
    for (int i = 0; i < 50000; i++)
        add(wall_ms - 60000 + i, WAITS);
    (void)round_of(1024);
    for (int i = 0; i < 50; i++) {
        int at = add(wall_ms, WAITS);
        (void)round_of(1024);
        assert_int_equal(fates[at], GONE);
    }
    assert_true(due_scan_has_backlog(&scan));
    assert_true(waiting(WAITS) > 0);
}

/* A crowd of one moment, a row of somebody else among it, and others that become due meanwhile. */
static void test_a_crowd_is_passed_over_first_and_marked_then(void **state) {
    (void)state;
    no_whole_looks();
    for (int i = 0; i < 60000; i++)
        add(wall_ms - 1000 + i / 60, CROWD);
    for (int i = 0; i < 100; i++)
        add(wall_ms - 1000 + 10 * i, WAITS);
    int rounds = 0, waited_most = 0;
    while (waiting(WAITS) && rounds < 1000)
        rounds += round_of(2048) >= 0;
    assert_true(rounds <= 60000 / 16384 + 4);
    assert_true(due_scan_is_jammed(&scan));
    assert_true(waiting(CROWD) > 50000);
    for (rounds = 0; waiting(CROWD) && rounds < 1000; rounds++) {
        int at = add(wall_ms, WAITS), waited = 1;
        for (; round_of(2048) == 0; waited++)
            assert_true(waited < 10);
        waited_most = waited > waited_most ? waited : waited_most;
        assert_int_equal(fates[at], GONE);
    }
    assert_int_equal(waiting(CROWD), 0);
    assert_int_equal(waited_most, 1);
    for (int i = 0; i < 100; i++)
        (void)round_of(2048);
    assert_false(due_scan_is_jammed(&scan));
    assert_false(due_scan_has_backlog(&scan));
}

static void test_a_crowd_of_one_moment(void **state) {
    (void)state;
    no_whole_looks();
    for (int i = 0; i < 90000; i++)
        add(wall_ms - 500, CROWD);
    add(wall_ms - 499, WAITS);
    int rounds = 0;
    while (waiting(WAITS) && rounds < 1000)
        rounds += round_of(2048) >= 0;
    assert_true(rounds < 10);
    while (waiting(CROWD) && rounds < 1000)
        rounds += round_of(2048) >= 0;
    assert_int_equal(waiting(CROWD), 0);
}

static void test_a_clock_that_is_put_back(void **state) {
    (void)state;
    no_whole_looks();
    for (int i = 0; i < 50; i++)
        (void)round_of(1024);
    wall_ms -= 500 * 1000;
    add(wall_ms + 100, WAITS);
    for (int i = 0; i < 20 && waiting(WAITS) + (wall_ms < due[0]); i++)
        (void)round_of(1024);
    assert_int_equal(fates[0], GONE);
}

static void test_a_new_bucket_begins_from_nothing(void **state) {
    (void)state;
    struct due_stretch stretches[DUE_SCAN_STRETCHES];
    no_whole_looks();
    for (int i = 0; i < 5; i++)
        (void)round_of(1024);
    due_scan_set_buckets(&scan, 3);
    assert_int_equal(due_scan_plan(&scan, 1024, clock_ms, stretches), 2);
    assert_true(stretches[0].from_ms > 0);
    assert_int_equal(stretches[1].bucket, 1);
    assert_int_equal(stretches[1].from_ms, 0);
    due_scan_forget(&scan);
    (void)due_scan_plan(&scan, 1024, clock_ms, stretches);
    assert_int_equal(stretches[0].from_ms, 0);
}

/* Whatever happens, every row is found some time. */
static void test_nothing_is_ever_forgotten(void **state) {
    (void)state;
    uint32_t random = 1;
    for (int i = 0; i < 20000; i++) {
        random = random * 1664525 + 1013904223;
        uint32_t value = random >> 8;
        if (row_count < 60000)
            for (uint32_t n = value % 5 == 0 ? value % 400 : value % 3; n > 0 && row_count < 60000; n--)
                add(wall_ms - 500 + (int64_t)(value * n % 1000), (enum fate)(value % 7 == 0    ? CROWD
                                                                             : value % 11 == 0 ? STUCK
                                                                                               : WAITS));
        if (value % 13 == 0)
            for (int n = 0; n < row_count; n++)
                fates[n] = fates[n] == STUCK ? WAITS : fates[n];
        (void)round_of(value % 17 == 0 ? 64 : 1024);
        if (row_count >= 60000)
            break;
    }
    for (int n = 0; n < row_count; n++)
        fates[n] = fates[n] == STUCK ? WAITS : fates[n];
    for (int i = 0; i < 3000 && waiting(WAITS) + waiting(CROWD) > 0; i++)
        (void)round_of(1024);
    assert_int_equal(waiting(WAITS) + waiting(CROWD), 0);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_what_becomes_due_is_found_in_the_next_round),
        TEST(test_what_was_seen_gone_is_not_walked_again),
        TEST(test_a_row_written_late_is_found),
        TEST(test_a_lease_that_runs_out_is_found_by_a_look_at_the_whole),
        TEST(test_whole_looks_are_as_seldom_as_they_are_dear),
        TEST(test_what_is_left_alone_hides_nothing),
        TEST(test_more_left_alone_in_one_moment_than_a_look_takes),
        TEST(test_the_newest_do_not_wait_for_a_backlog),
        TEST(test_a_crowd_is_passed_over_first_and_marked_then),
        TEST(test_a_crowd_of_one_moment),
        TEST(test_a_clock_that_is_put_back),
        TEST(test_a_new_bucket_begins_from_nothing),
        TEST(test_nothing_is_ever_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
