#include "webhook/tracker.h"

#include "base/memory.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct uuid key_of(int64_t offset) {
    struct uuid key = {{0xAB}};
    memcpy(key.bytes + 8, &offset, sizeof(offset));
    return key;
}

static struct tracker *make(int64_t next_offset, struct span done) {
    struct uuid last_key = next_offset > 0 ? key_of(next_offset - 1) : UUID_NIL;
    struct tracker *tracker = NULL;
    struct error error;
    assert_int_equal(tracker_new(next_offset, &last_key, done, &tracker, &error), STATUS_OK);
    return tracker;
}

static enum tracker_take take(struct tracker *tracker, int64_t offset) {
    struct uuid key = key_of(offset);
    return tracker_take(tracker, offset, &key);
}

static void assert_at(const struct tracker *tracker, int64_t next_offset) {
    assert_int_equal(tracker_next_offset(tracker), next_offset);
    struct uuid expected = key_of(next_offset - 1), actual = tracker_last_key(tracker);
    assert_memory_equal(&actual, &expected, sizeof(expected));
}

static void assert_no_key(const struct tracker *tracker) {
    struct uuid actual = tracker_last_key(tracker);
    assert_memory_equal(&actual, &UUID_NIL, sizeof(actual));
}

static void assert_bits(const struct tracker *tracker, const char *bits) {
    struct buffer out;
    buffer_init(&out, TRACKER_WINDOW);
    tracker_encode(tracker, &out);
    size_t len = strlen(bits);
    assert_int_equal(out.len, (len + 7) / 8);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal((uint8_t)out.data[i / 8] >> (i % 8) & 1, bits[i] == '1');
    }
    buffer_deinit(&out);
}

static void begins_with_whatever_comes_first(void **state) {
    (void)state;
    struct tracker *tracker = make(-1, SPAN_NONE);
    assert_int_equal(tracker_next_offset(tracker), -1);
    assert_bits(tracker, "");
    assert_int_equal(tracker_span(tracker), 0);
    assert_int_equal(take(tracker, 1000000), TRACKER_TAKEN);
    assert_int_equal(tracker_next_offset(tracker), 1000000);
    assert_no_key(tracker);
    assert_true(tracker_settle(tracker, 1000000));
    assert_at(tracker, 1000001);
    tracker_free(&tracker);
    assert_null(tracker);
    tracker_free(&tracker);
}

static void the_prefix_waits_for_its_first(void **state) {
    (void)state;
    struct tracker *tracker = make(10, SPAN_NONE);
    for (int64_t offset = 10; offset < 15; offset++) {
        assert_int_equal(take(tracker, offset), TRACKER_TAKEN);
    }
    assert_int_equal(tracker_open(tracker), 5);
    assert_int_equal(tracker_span(tracker), 5);
    assert_false(tracker_settle(tracker, 11));
    assert_false(tracker_settle(tracker, 13));
    assert_at(tracker, 10);
    assert_bits(tracker, "0101");
    assert_true(tracker_settle(tracker, 10));
    assert_at(tracker, 12);
    assert_bits(tracker, "01");
    assert_int_equal(tracker_open(tracker), 2);
    assert_int_equal(tracker_span(tracker), 3);
    assert_true(tracker_settle(tracker, 12));
    assert_at(tracker, 14);
    assert_true(tracker_settle(tracker, 14));
    assert_at(tracker, 15);
    assert_bits(tracker, "");
    tracker_free(&tracker);
}

static void gaps_count_as_settled_but_hold_no_prefix(void **state) {
    (void)state;
    struct tracker *tracker = make(10, SPAN_NONE);
    take(tracker, 12);
    take(tracker, 15);
    assert_at(tracker, 10);
    assert_bits(tracker, "11011");
    assert_true(tracker_settle(tracker, 12));
    assert_at(tracker, 13); /* behind a record, though 13 and 14 are gaps */
    assert_bits(tracker, "11");
    assert_true(tracker_settle(tracker, 15));
    assert_at(tracker, 16);
    tracker_free(&tracker);
}

static void what_was_settled_is_left_after_a_restart(void **state) {
    (void)state;
    /* 100 open; 101, 102 settled; 103 open; 104 settled */
    struct tracker *tracker = make(100, (struct span){"\x16", 1});
    assert_bits(tracker, "01101");
    assert_int_equal(take(tracker, 100), TRACKER_TAKEN);
    assert_true(tracker_settle(tracker, 100));
    assert_at(tracker, 101); /* 101 was not read again: its key is not known */
    assert_bits(tracker, "1101");
    assert_int_equal(take(tracker, 101), TRACKER_SETTLED);
    assert_at(tracker, 102);
    assert_int_equal(take(tracker, 102), TRACKER_SETTLED);
    assert_at(tracker, 103);
    assert_int_equal(take(tracker, 103), TRACKER_TAKEN);
    assert_int_equal(take(tracker, 104), TRACKER_SETTLED);
    assert_at(tracker, 103);
    assert_int_equal(take(tracker, 105), TRACKER_TAKEN);
    assert_true(tracker_settle(tracker, 103));
    assert_at(tracker, 105);
    assert_bits(tracker, "");
    tracker_free(&tracker);
}

static void a_restored_bit_may_be_a_gap(void **state) {
    (void)state;
    struct tracker *tracker = make(100, (struct span){"\x0E", 1}); /* 101 to 103 */
    take(tracker, 100);
    tracker_settle(tracker, 100);
    assert_at(tracker, 101);
    assert_int_equal(take(tracker, 104), TRACKER_TAKEN); /* so 101 to 103 hold no record */
    assert_at(tracker, 101);
    assert_bits(tracker, "111");
    assert_true(tracker_settle(tracker, 104));
    assert_at(tracker, 105);
    tracker_free(&tracker);
}

static void the_window_bounds_what_is_taken(void **state) {
    (void)state;
    struct tracker *tracker = make(50, SPAN_NONE);
    for (int64_t offset = 50; offset < 50 + TRACKER_WINDOW; offset++) {
        assert_int_equal(take(tracker, offset), TRACKER_TAKEN);
    }
    assert_int_equal(tracker_span(tracker), TRACKER_WINDOW);
    assert_int_equal(take(tracker, 50 + TRACKER_WINDOW), TRACKER_FULL);
    assert_int_equal(take(tracker, 50 + TRACKER_WINDOW), TRACKER_FULL);
    assert_false(tracker_settle(tracker, 49 + TRACKER_WINDOW));
    struct buffer out;
    buffer_init(&out, TRACKER_WINDOW);
    tracker_encode(tracker, &out);
    assert_int_equal(out.len, TRACKER_WINDOW / 8);
    buffer_deinit(&out);
    assert_true(tracker_settle(tracker, 50));
    assert_int_equal(take(tracker, 50 + TRACKER_WINDOW), TRACKER_TAKEN);
    assert_int_equal(take(tracker, 51 + TRACKER_WINDOW), TRACKER_FULL);
    tracker_free(&tracker);
}

static void a_gap_wider_than_the_window_holds_nothing_up(void **state) {
    (void)state;
    struct tracker *tracker = make(100, (struct span){"\x06", 1});
    assert_int_equal(take(tracker, 100), TRACKER_TAKEN);
    assert_int_equal(take(tracker, 100000), TRACKER_FULL); /* 100 is open */
    assert_true(tracker_settle(tracker, 100));
    assert_int_equal(take(tracker, 100000), TRACKER_TAKEN);
    assert_int_equal(tracker_next_offset(tracker), 100000);
    assert_no_key(tracker);
    assert_bits(tracker, "");
    assert_true(tracker_settle(tracker, 100000));
    assert_at(tracker, 100001);
    tracker_free(&tracker);
}

static void a_record_below_the_prefix_is_settled(void **state) {
    (void)state;
    struct tracker *tracker = make(100, SPAN_NONE);
    assert_int_equal(take(tracker, 99), TRACKER_SETTLED);
    assert_at(tracker, 100);
    assert_int_equal(take(tracker, 100), TRACKER_TAKEN);
    tracker_free(&tracker);
}

static void what_can_not_be_progress_is_refused(void **state) {
    (void)state;
    static const char zeros[TRACKER_WINDOW / 8 + 1] = {0};
    char full[TRACKER_WINDOW / 8 + 1];
    memset(full, 0xFF, sizeof(full));
    const struct {
        int64_t next_offset;
        struct span done;
    } wrong[] = {
        {-2, SPAN_NONE}, {INT64_MAX, SPAN_NONE},    {-1, {"\x01", 1}},
        {5, {zeros, 1}}, {5, {full, sizeof(full)}}, {INT64_MIN, SPAN_NONE},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct tracker *tracker = NULL;
        struct error error = {""};
        assert_int_equal(tracker_new(wrong[i].next_offset, &UUID_NIL, wrong[i].done, &tracker, &error), STATUS_INVALID);
        assert_null(tracker);
        assert_non_null(strstr(error.text, "progress: "));
    }
    struct tracker *tracker = make(5, (struct span){full, TRACKER_WINDOW / 8});
    assert_int_equal(take(tracker, 4 + TRACKER_WINDOW), TRACKER_SETTLED);
    assert_at(tracker, 5 + TRACKER_WINDOW);
    tracker_free(&tracker);
}

static void settle_twice(void) {
    struct tracker *tracker = make(5, SPAN_NONE);
    take(tracker, 5);
    take(tracker, 6);
    tracker_settle(tracker, 6);
    tracker_settle(tracker, 6);
}

static void settle_what_was_not_taken(void) {
    struct tracker *tracker = make(5, SPAN_NONE);
    take(tracker, 5);
    take(tracker, 7);
    tracker_settle(tracker, 6);
}

static void settle_below(void) {
    struct tracker *tracker = make(5, SPAN_NONE);
    take(tracker, 5);
    tracker_settle(tracker, 5 - 64);
}

static void take_backwards(void) {
    struct tracker *tracker = make(5, SPAN_NONE);
    take(tracker, 7);
    take(tracker, 6);
}

static int signal_of(void (*function)(void)) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);
        function();
        _exit(0);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    return WIFSIGNALED(how) ? WTERMSIG(how) : 0;
}

static void misuse_stops_the_program(void **state) {
    (void)state;
    assert_int_equal(signal_of(settle_twice), SIGABRT);
    assert_int_equal(signal_of(settle_what_was_not_taken), SIGABRT);
    assert_int_equal(signal_of(settle_below), SIGABRT);
    assert_int_equal(signal_of(take_backwards), SIGABRT);
}

/* ---- a partition with gaps, a database, and a process that dies again and again ---- */

#define RECORDS 3000

struct world {
    uint32_t random;
    int64_t offsets[RECORDS]; /* ascending, with gaps */
    bool settled[RECORDS];    /* in this life */
    bool durable[RECORDS];    /* what the last flush wrote */
    bool taken[RECORDS];      /* in this life, and open */
    size_t next_read;
    size_t open;
    int64_t durable_next;
    struct uuid durable_key;
    struct buffer durable_done;
    struct tracker *tracker;
    size_t restarts, fulls, lefts, jumps;
};

static uint32_t roll(struct world *world, uint32_t sides) {
    world->random = world->random * 1664525U + 1013904223U;
    return (world->random >> 8) % sides;
}

static void lay_records(struct world *world) {
    int64_t offset = roll(world, 100);
    uint32_t gaps = roll(world, 50);
    for (size_t i = 0; i < RECORDS; i++) {
        world->offsets[i] = offset++;
        if (roll(world, 100) < gaps) {
            offset += roll(world, 10);
        }
        if (roll(world, 1000) == 0) {
            offset += roll(world, 3 * TRACKER_WINDOW);
        }
    }
}

/* What the process knows must be true, and where the prefix ends there must be a record with that key. */
static void assert_true_progress(const struct world *world) {
    int64_t next_offset = tracker_next_offset(world->tracker);
    struct uuid key = tracker_last_key(world->tracker);
    size_t i = 0;
    for (; i < RECORDS && world->offsets[i] < next_offset; i++) {
        assert_true(world->settled[i]);
    }
    if (i > 0 && !uuid_equal(&key, &UUID_NIL)) {
        assert_int_equal(world->offsets[i - 1], next_offset - 1);
        struct uuid expected = key_of(next_offset - 1);
        assert_memory_equal(&key, &expected, sizeof(key));
    }
    assert_int_equal(tracker_open(world->tracker), world->open);
    assert_in_range(tracker_span(world->tracker), 0, TRACKER_WINDOW);
}

static void read_one(struct world *world) {
    if (world->next_read == RECORDS) {
        return;
    }
    size_t i = world->next_read;
    int64_t before = tracker_next_offset(world->tracker);
    switch (take(world->tracker, world->offsets[i])) {
    case TRACKER_TAKEN:
        assert_false(world->settled[i]);
        world->taken[i] = true;
        world->open++;
        world->next_read++;
        world->jumps += before >= 0 && tracker_next_offset(world->tracker) > before;
        break;
    case TRACKER_SETTLED:
        assert_true(world->settled[i]);
        world->next_read++;
        world->lefts++;
        break;
    case TRACKER_FULL:
        assert_true(world->open > 0);
        assert_true(world->offsets[i] - tracker_next_offset(world->tracker) >= TRACKER_WINDOW);
        world->fulls++;
        break;
    }
}

static void settle_one(struct world *world) {
    if (world->open == 0) {
        return;
    }
    size_t wanted = roll(world, (uint32_t)world->open);
    size_t i = 0;
    for (;; i++) {
        if (world->taken[i] && wanted-- == 0) {
            break;
        }
    }
    int64_t before = tracker_next_offset(world->tracker);
    bool grew = tracker_settle(world->tracker, world->offsets[i]);
    assert_int_equal(grew, tracker_next_offset(world->tracker) > before);
    world->taken[i] = false;
    world->settled[i] = true;
    world->open--;
}

static void flush(struct world *world) {
    world->durable_next = tracker_next_offset(world->tracker);
    world->durable_key = tracker_last_key(world->tracker);
    buffer_reset(&world->durable_done);
    tracker_encode(world->tracker, &world->durable_done);
    assert_false(world->durable_done.overflowed);
    memcpy(world->durable, world->settled, sizeof(world->durable));
}

static void restart(struct world *world) {
    tracker_free(&world->tracker);
    struct error error;
    assert_int_equal(tracker_new(world->durable_next, &world->durable_key, buffer_view(&world->durable_done),
                                 &world->tracker, &error),
                     STATUS_OK);
    struct buffer again;
    buffer_init(&again, TRACKER_WINDOW / 8);
    tracker_encode(world->tracker, &again);
    assert_true(span_equal(buffer_view(&again), buffer_view(&world->durable_done)));
    buffer_deinit(&again);
    memcpy(world->settled, world->durable, sizeof(world->settled));
    memset(world->taken, 0, sizeof(world->taken));
    world->open = 0;
    world->next_read = 0;
    while (world->next_read < RECORDS && world->offsets[world->next_read] < world->durable_next) {
        world->next_read++;
    }
    world->restarts++;
}

static void run_to_the_end(struct world *world) {
    lay_records(world);
    world->durable_next = -1;
    world->tracker = make(-1, SPAN_NONE);
    uint32_t eager = 1 + roll(world, 100);
    for (int step = 0; step < 20000 && (world->open || world->next_read < RECORDS); step++) {
        uint32_t what = roll(world, 1000);
        if (what < 4) {
            restart(world);
        } else if (what < 14) {
            flush(world);
        } else if (what < 14 + 9 * eager) {
            read_one(world);
        } else {
            settle_one(world);
        }
        if (step % 64 == 0) {
            assert_true_progress(world);
        }
    }
    while (world->open || world->next_read < RECORDS) {
        read_one(world);
        settle_one(world);
    }
    for (size_t i = 0; i < RECORDS; i++) {
        assert_true(world->settled[i]);
    }
    assert_at(world->tracker, world->offsets[RECORDS - 1] + 1);
    assert_bits(world->tracker, "");
    tracker_free(&world->tracker);
}

static void nothing_is_lost_or_settled_twice_over_restarts(void **state) {
    (void)state;
    struct world *world = mem_alloc(sizeof(*world));
    size_t restarts = 0, fulls = 0, lefts = 0, jumps = 0;
    for (uint32_t seed = 1; seed <= 40; seed++) {
        memset(world, 0, sizeof(*world));
        world->random = seed;
        buffer_init(&world->durable_done, TRACKER_WINDOW / 8);
        run_to_the_end(world);
        buffer_deinit(&world->durable_done);
        restarts += world->restarts;
        fulls += world->fulls;
        lefts += world->lefts;
        jumps += world->jumps;
    }
    mem_free(world);
    /* The walk came by all that it is there for. */
    assert_true(restarts > 500 && fulls > 100 && lefts > 1000 && jumps > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_with_whatever_comes_first),
        cmocka_unit_test(the_prefix_waits_for_its_first),
        cmocka_unit_test(gaps_count_as_settled_but_hold_no_prefix),
        cmocka_unit_test(what_was_settled_is_left_after_a_restart),
        cmocka_unit_test(a_restored_bit_may_be_a_gap),
        cmocka_unit_test(the_window_bounds_what_is_taken),
        cmocka_unit_test(a_gap_wider_than_the_window_holds_nothing_up),
        cmocka_unit_test(a_record_below_the_prefix_is_settled),
        cmocka_unit_test(what_can_not_be_progress_is_refused),
        cmocka_unit_test(misuse_stops_the_program),
        cmocka_unit_test(nothing_is_lost_or_settled_twice_over_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
