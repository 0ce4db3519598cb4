#include "dispatch/roster.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatch_fixture.h"

static void count(void *ctx, struct subscription *subscription) {
    (void)subscription;
    ++*(int *)ctx;
}

static int matches(struct roster *roster) {
    int found = 0;
    matching_each(roster_begin(roster), SPAN_LITERAL(WORKSPACE), SPAN_LITERAL("order.created"), count, &found);
    roster_end(roster);
    return found;
}

static void test_nothing_is_loaded_until_a_whole_table_came(void **state) {
    (void)state;
    struct roster *roster = roster_new();
    assert_false(roster_is_loaded(roster));
    assert_int_equal(matches(roster), 0);
    struct subscription *one = fixture_subscription(1, "http://127.0.0.1/");
    roster_change_take(roster, &one, 1);
    assert_false(roster_is_loaded(roster)); /* a change alone is not all there is */
    roster_replace_take(roster, matching_new(0));
    assert_true(roster_is_loaded(roster));
    assert_int_equal(matches(roster), 0);
    roster_free(&roster);
    assert_null(roster);
    roster_free(&roster);
}

static void test_a_found_one_outlives_the_table(void **state) {
    (void)state;
    struct roster *roster = roster_new();
    struct uuid id = fixture_uuid(1), unknown = fixture_uuid(2);
    struct subscription *one = fixture_subscription(1, "http://127.0.0.1/");
    roster_change_take(roster, &one, 1);
    assert_null(roster_find(roster, &unknown));
    struct subscription *found = roster_find(roster, &id);
    assert_ptr_equal(found, one);
    roster_replace_take(roster, matching_new(0));
    assert_null(roster_find(roster, &id));
    assert_string_equal(subscription_url(found), "http://127.0.0.1/");
    assert_int_equal(found->refs, 1);
    subscription_unref(&found);
    roster_free(&roster);
}

static void test_changes_come_all_at_once(void **state) {
    (void)state;
    struct roster *roster = roster_new();
    struct subscription *both[] = {fixture_subscription(1, "http://127.0.0.1/"),
                                   fixture_subscription(2, "http://127.0.0.1/")};
    struct subscription *paused[] = {fixture_next_version(both[0], SUBSCRIPTION_PAUSED),
                                     fixture_next_version(both[1], SUBSCRIPTION_DELETED)};
    roster_change_take(roster, both, 2);
    assert_int_equal(matches(roster), 2);
    roster_change_take(roster, paused, 2);
    assert_int_equal(matches(roster), 1);
    struct uuid id = fixture_uuid(1);
    struct subscription *found = roster_find(roster, &id);
    assert_int_equal(found->status, SUBSCRIPTION_PAUSED);
    assert_int_equal(found->version, 2);
    subscription_unref(&found);
    roster_free(&roster);
}

struct readers {
    struct roster *roster;
    _Atomic bool stop;
    _Atomic int rounds, bad;
};

/* Both or none: a reader never sees one half of a change. */
static void *read_on(void *ctx) {
    struct readers *readers = ctx;
    while (!readers->stop) {
        int found = matches(readers->roster);
        readers->bad += found != 0 && found != 2;
        readers->rounds++;
    }
    return NULL;
}

static void test_a_change_gets_its_turn_among_readers(void **state) {
    (void)state;
    struct readers readers = {.roster = roster_new()};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers), 0);
    for (int i = 0; i < 200; i++) {
        struct subscription_spec one = fixture_spec(1, "http://127.0.0.1/"), two = fixture_spec(2, "http://127.0.0.1/");
        one.version = two.version = i + 1;
        if (i % 2) {
            one.status = two.status = SUBSCRIPTION_DELETED;
        }
        struct subscription *both[] = {fixture_subscription_of(&one, NULL), fixture_subscription_of(&two, NULL)};
        roster_change_take(readers.roster, both, 2);
        if (i % 50 == 0)
            roster_replace_take(readers.roster, matching_new(0));
    }
    WAIT_FOR(readers.rounds > 100);
    readers.stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(readers.bad, 0);
    roster_free(&readers.roster);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_loaded_until_a_whole_table_came),
        cmocka_unit_test(test_a_found_one_outlives_the_table),
        cmocka_unit_test(test_changes_come_all_at_once),
        cmocka_unit_test(test_a_change_gets_its_turn_among_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
