/* A call that hangs ends when its time is up, and one that ends before is left alone. */
#include "dispatch/cutoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"
#include "base/clock.h"

static char *database;
static struct connection *connection;

static int open_database(void **state) {
    (void)state;
    database = pg_fixture_database();
    connection = pg_fixture_connect(database);
    return 0;
}

static int close_database(void **state) {
    (void)state;
    connection_free(&connection);
    pg_fixture_drop(&database);
    return 0;
}

static void test_what_hangs_is_cut(void **state) {
    (void)state;
    struct error error;
    int64_t began_ms = clock_mono_ms();
    struct cutoff *cutoff = cutoff_start(connection, began_ms + 200);
    assert_int_equal(connection_exec(connection, "SELECT pg_sleep(20)", &error), STATUS_UNAVAILABLE);
    int64_t took_ms = clock_mono_ms() - began_ms;
    assert_true(took_ms >= 200 && took_ms < 5000);
    cutoff_end(&cutoff);
    assert_null(cutoff);
    cutoff_end(&cutoff);
}

static void test_what_ends_in_time_is_not(void **state) {
    (void)state;
    struct error error;
    for (int i = 0; i < 100; i++) {
        struct cutoff *cutoff = cutoff_start(connection, clock_mono_ms() + 20000);
        assert_int_equal(connection_exec(connection, "SELECT 1", &error), STATUS_OK);
        cutoff_end(&cutoff);
    }
    assert_int_equal(connection_exec(connection, "SELECT 1", &error), STATUS_OK);
}

/* A deadline that is over already. */
static void test_no_time_at_all(void **state) {
    (void)state;
    struct error error;
    struct cutoff *cutoff = cutoff_start(connection, clock_mono_ms() - 5);
    assert_int_equal(connection_exec(connection, "SELECT pg_sleep(20)", &error), STATUS_UNAVAILABLE);
    cutoff_end(&cutoff);
}

#define CUTOFF_TEST(test) cmocka_unit_test_setup_teardown(test, open_database, close_database)

int main(void) {
    const struct CMUnitTest tests[] = {
        CUTOFF_TEST(test_what_hangs_is_cut),
        CUTOFF_TEST(test_what_ends_in_time_is_not),
        CUTOFF_TEST(test_no_time_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
