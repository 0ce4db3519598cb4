/* How a look is asked for where a crowd is passed over, and what it found then. */
#include "dispatch/scheduler_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct throng throng;
static struct asked asked;

static int setup(void **state) {
    (void)state;
    throng.count = 0;
    return 0;
}

static struct uuid id_of(int first, int last) {
    struct uuid id = UUID_NIL;
    id.bytes[0] = (uint8_t)first;
    id.bytes[15] = (uint8_t)last;
    return id;
}

static struct uuid end_of_all(void) {
    struct uuid id;
    memset(id.bytes, 0xff, sizeof(id.bytes));
    return id;
}

static void rows_of(struct uuid id, int bucket, int rows) {
    for (int i = 0; i < rows; i++)
        throng_add(&throng, &id, bucket);
}

static struct due_stretch stretch_of(int bucket, bool pass) {
    return (struct due_stretch){bucket, pass, pass, 1000, DUE_SCAN_NEVER, 100};
}

static void check_part(size_t at, size_t of, bool probe, struct uuid first, struct uuid last) {
    const struct schedule_stretch *part = &asked.stretches[at];
    assert_true(at < asked.count);
    assert_int_equal(asked.of[at], of);
    assert_int_equal(asked.probe[at], probe);
    assert_int_equal(part->limit, probe ? 1 : 100);
    assert_int_equal(part->from_ms, 1000);
    assert_int_equal(part->to_ms, DUE_SCAN_NEVER);
    assert_memory_equal(&part->first_id, &first, sizeof(first));
    assert_memory_equal(&part->last_id, &last, sizeof(last));
}

static void test_without_a_crowd_a_stretch_is_one_part(void **state) {
    (void)state;
    struct due_stretch stretches[] = {stretch_of(0, true), stretch_of(1, false)};
    rows_of(id_of(5, 1), 1, 10); /* where nothing is passed over */
    throng_ask(&throng, stretches, 2, &asked);
    assert_int_equal(asked.count, 2);
    check_part(0, 0, false, UUID_NIL, UUID_NIL);
    check_part(1, 1, false, UUID_NIL, UUID_NIL);
}

static void test_the_crowd_lies_between_the_parts(void **state) {
    (void)state;
    struct due_stretch stretches[] = {stretch_of(0, false), stretch_of(3, true)};
    struct uuid below = id_of(4, 0xff), above = id_of(9, 1);
    memset(below.bytes + 1, 0xff, sizeof(below.bytes) - 1);
    rows_of(id_of(9, 0), 3, 10);
    rows_of(id_of(7, 0), 2, 99); /* of another bucket */
    rows_of(id_of(5, 0), 3, 20);
    throng_ask(&throng, stretches, 2, &asked);
    assert_int_equal(asked.count, 6);
    check_part(0, 0, false, UUID_NIL, UUID_NIL);
    check_part(1, 1, false, UUID_NIL, below);
    check_part(2, 1, true, id_of(5, 0), id_of(5, 0));
    below.bytes[0] = 8;
    check_part(3, 1, false, id_of(5, 1), below);
    check_part(4, 1, true, id_of(9, 0), id_of(9, 0));
    check_part(5, 1, false, above, UUID_NIL);
}

static void test_neighbours_and_the_ends_of_all_ids(void **state) {
    (void)state;
    struct due_stretch stretch = stretch_of(3, true);
    struct uuid before_last = end_of_all();
    before_last.bytes[15] = 0xfe;
    rows_of(end_of_all(), 3, 1);
    rows_of(id_of(0, 1), 3, 1);
    rows_of(id_of(0, 2), 3, 1);
    throng_ask(&throng, &stretch, 1, &asked);
    assert_int_equal(asked.count, 4);
    check_part(0, 0, true, id_of(0, 1), id_of(0, 1));
    check_part(1, 0, true, id_of(0, 2), id_of(0, 2));
    check_part(2, 0, false, id_of(0, 3), before_last);
    check_part(3, 0, true, end_of_all(), end_of_all());
}

static void test_only_those_with_the_most_rows_are_kept_apart(void **state) {
    (void)state;
    struct due_stretch stretches[DUE_SCAN_STRETCHES];
    for (int i = 1; i <= 20; i++)
        rows_of(id_of(i, 0), 3, (i * 7) % 20 + 1);
    stretches[0] = stretch_of(3, true);
    throng_ask(&throng, stretches, 1, &asked);
    assert_int_equal(asked.count, 2 * SCHEDULER_CROWD_APART + 1);
    for (size_t i = 0, wanted[] = {11, 14, 17}; i < 3; i++)
        check_part(2 * i + 1, 0, true, id_of((int)wanted[i], 0), id_of((int)wanted[i], 0));
    assert_int_equal(throng.count, 20);
    /* However many there are, there is room. */
    for (int i = 0; i < 400; i++)
        rows_of(id_of(100 + i / 256, i % 256), i % DUE_SCAN_BUCKETS, 3);
    assert_int_equal(throng.count, SCHEDULER_CROWD_MOST);
    for (int i = 0; i < DUE_SCAN_BUCKETS; i++) {
        stretches[i] = stretch_of(i, true);
        stretches[DUE_SCAN_BUCKETS + i] = stretch_of(i, false);
    }
    throng_ask(&throng, stretches, DUE_SCAN_STRETCHES, &asked);
    assert_true(asked.count <= SCHEDULER_ASKED_MOST);
}

static struct due_found found_of(const struct schedule_walked *walked, size_t parts) {
    struct due_stretch stretch = stretch_of(3, true);
    struct due_found found;
    setup(NULL);
    rows_of(id_of(5, 0), 3, 1);
    throng_ask(&throng, &stretch, 1, &asked);
    assert_int_equal(asked.count, parts);
    throng_found(&asked, walked, &stretch, 1, &found);
    assert_int_equal(found.held, 0);
    assert_int_equal(found.left_ms, DUE_SCAN_NEVER);
    return found;
}

static void test_what_the_parts_found_together(void **state) {
    (void)state;
    struct schedule_walked walked[] = {{30, 2000, 1500}, {1, 1200, 1200}, {40, 3000, INT64_MAX}};
    struct due_found found = found_of(walked, 3);
    assert_int_equal(found.walked, 70);
    assert_int_equal(found.last_ms, 3000);
    assert_int_equal(found.skipped_ms, 1200);
    /* A part that was cut counts, as far as it came; two of them: the one that came least far. */
    walked[0].rows = 100;
    found = found_of(walked, 3);
    assert_int_equal(found.walked, 100);
    assert_int_equal(found.last_ms, 2000);
    walked[2].rows = 100;
    found = found_of(walked, 3);
    assert_int_equal(found.last_ms, 2000);
    walked[0].last_ms = 4000;
    found = found_of(walked, 3);
    assert_int_equal(found.last_ms, 3000);
    walked[0].rows = 99;
    found = found_of(walked, 3);
    assert_int_equal(found.last_ms, 3000);
    /* More than the limit in all, and whole. */
    walked[2].rows = 99;
    found = found_of(walked, 3);
    assert_int_equal(found.walked, 99);
    assert_int_equal(found.last_ms, 4000);
    struct schedule_walked nothing[3] = {{0, 0, INT64_MAX}, {0, 0, INT64_MAX}, {0, 0, INT64_MAX}};
    found = found_of(nothing, 3);
    assert_int_equal(found.walked, 0);
    assert_int_equal(found.skipped_ms, DUE_SCAN_NEVER);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_without_a_crowd_a_stretch_is_one_part), TEST(test_the_crowd_lies_between_the_parts),
        TEST(test_neighbours_and_the_ends_of_all_ids),    TEST(test_only_those_with_the_most_rows_are_kept_apart),
        TEST(test_what_the_parts_found_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
