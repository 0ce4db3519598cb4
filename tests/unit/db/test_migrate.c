#include "db/migrate.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg_fixture.h"

static char *database;
static struct connection *connection;
static struct error error;
static char directory[] = "/tmp/hookcast-migrate-XXXXXX";
static int progress_calls;

static int setup(void **state) {
    (void)state;
    database = pg_fixture_database();
    connection = pg_fixture_connect(database);
    memcpy(directory + sizeof(directory) - 7, "XXXXXX", 6);
    progress_calls = 0;
    return mkdtemp(directory) == NULL;
}

static int teardown(void **state) {
    (void)state;
    connection_free(&connection);
    pg_fixture_drop(&database);
    return nftw(directory, pg_fixture_remove, 4, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name, const char *sql) {
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(sql, file);
    fclose(file);
}

static void take_away(const char *name) {
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    assert_int_equal(remove(path), 0);
}

static void on_progress(void *ctx, const char *file_name, int64_t took_ms) {
    assert_ptr_equal(ctx, directory);
    assert_non_null(strstr(file_name, ".sql"));
    assert_in_range(took_ms, 0, 60000);
    progress_calls++;
}

static int migrate(void) {
    int applied = -1;
    if (migrate_run(connection, directory, on_progress, directory, &applied, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return applied;
}

static int64_t version(void) {
    int64_t version = -1;
    assert_int_equal(migrate_version(connection, &version, &error), STATUS_OK);
    return version;
}

static void assert_invalid(const char *name, const char *what) {
    assert_int_equal(migrate_run(connection, directory, NULL, NULL, NULL, &error), STATUS_INVALID);
    if (!strstr(error.text, name) || !strstr(error.text, what))
        fail_msg("\"%s\" does not say %s, %s", error.text, name, what);
}

static void test_files_are_applied_once_and_in_order(void **state) {
    (void)state;
    put("0002_second.sql",
        "INSERT INTO a VALUES (2); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$;");
    put("0001_first.sql", "CREATE TABLE a (x int); -- one; two\nINSERT INTO a VALUES (1);\n");
    put("README", "no migration");
    put("1_no.sql", "nonsense");
    assert_int_equal(version(), 0);
    assert_int_equal(migrate(), 2);
    assert_int_equal(progress_calls, 2);
    assert_int_equal(version(), 2);
    assert_int_equal(migrate(), 0);
    assert_string_equal(pg_fixture_ask(connection, "SELECT count(*) FROM a"), "2");
    assert_string_equal(pg_fixture_ask(connection,
                                       "SELECT checksum = encode(sha256(convert_to("
                                       "E'CREATE TABLE a (x int); -- one; two\\nINSERT INTO a VALUES (1);\\n',"
                                       "'UTF8')), 'hex') FROM schema_migrations WHERE version = 1"),
                        "t");
    put("0003_third.sql", "INSERT INTO a VALUES (3)");
    assert_int_equal(migrate(), 1);
    assert_int_equal(version(), 3);
    assert_string_equal(pg_fixture_ask(connection, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
}

static void test_a_wrong_file_changes_nothing(void **state) {
    (void)state;
    put("0001_first.sql", "CREATE TABLE a (x int)");
    put("0002_wrong.sql", "CREATE TABLE b (x int); INSERT INTO nowhere VALUES (1)");
    assert_int_equal(migrate_run(connection, directory, NULL, NULL, NULL, &error), STATUS_FAILED);
    assert_non_null(strstr(error.text, "0002_wrong.sql: "));
    assert_int_equal(version(), 1);
    assert_string_equal(pg_fixture_ask(connection, "SELECT to_regclass('b')"), "");
    put("0002_wrong.sql", "CREATE TABLE b (x int)");
    assert_int_equal(migrate(), 1);
}

static void test_what_was_applied_must_stay_as_it_is(void **state) {
    (void)state;
    put("0001_first.sql", "CREATE TABLE a (x int)");
    put("0002_second.sql", "CREATE TABLE b (x int)");
    put("0003_third.sql", "CREATE TABLE c (x int)");
    assert_int_equal(migrate(), 3);
    put("0002_second.sql", "CREATE TABLE b (x bigint)");
    put("0004_fourth.sql", "CREATE TABLE d (x int)");
    assert_invalid("0002_second.sql", "changed");
    assert_string_equal(pg_fixture_ask(connection, "SELECT to_regclass('d')"), "");
    take_away("0002_second.sql");
    assert_invalid("0002_second.sql", "gone");
    put("0002_second.sql", "CREATE TABLE b (x int)");
    put("0002_another.sql", "CREATE TABLE e (x int)");
    assert_invalid("0002_another.sql", "one number");
}

static void test_an_older_program_leaves_a_newer_schema_alone(void **state) {
    (void)state;
    put("0001_first.sql", "CREATE TABLE a (x int)");
    put("0002_second.sql", "CREATE TABLE b (x int)");
    assert_int_equal(migrate(), 2);
    take_away("0002_second.sql");
    assert_int_equal(migrate(), 0);
    assert_int_equal(version(), 2);
    assert_int_equal(migrate_check(connection, 1, &error), STATUS_OK);
    assert_int_equal(migrate_check(connection, 2, &error), STATUS_OK);
    assert_int_equal(migrate_check(connection, 3, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "hookcast migrate"));
}

static void test_check_of_an_empty_database(void **state) {
    (void)state;
    assert_int_equal(migrate_check(connection, 1, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "hookcast migrate"));
}

static void test_directories_that_are_none(void **state) {
    (void)state;
    assert_invalid(directory, "no file");
    assert_int_equal(migrate_run(connection, "/nowhere/at/all", NULL, NULL, NULL, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "/nowhere/at/all"));
    put("0001_empty.sql", "");
    assert_invalid("0001_empty.sql", "empty");
}

static void *migrate_beside(void *ctx) {
    struct connection *own = pg_fixture_connect(database);
    struct error own_error;
    if (migrate_run(own, directory, NULL, NULL, ctx, &own_error) != STATUS_OK)
        *(int *)ctx = -1;
    connection_free(&own);
    return NULL;
}

static void test_several_at_once(void **state) {
    (void)state;
    put("0001_first.sql", "CREATE TABLE a (x int); SELECT pg_sleep(0.1)");
    put("0002_second.sql", "INSERT INTO a VALUES (1)");
    pthread_t threads[4];
    int applied[4], sum = 0;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, migrate_beside, &applied[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_not_equal(applied[i], -1);
        sum += applied[i];
    }
    assert_int_equal(sum, 2);
    assert_string_equal(pg_fixture_ask(connection, "SELECT count(*) FROM a"), "1");
}

static void test_a_table_in_use_is_waited_for(void **state) {
    (void)state;
    put("0001_first.sql", "CREATE TABLE a (x int)");
    assert_int_equal(migrate(), 1);
    put("0002_second.sql", "ALTER TABLE a ADD y int");
    struct connection *reader = pg_fixture_connect(database);
    pg_fixture_exec(reader, "BEGIN; SELECT * FROM a");
    int applied = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, migrate_beside, &applied), 0);
    /* It has given up the lock once, so that others get their turn, and tries again. */
    pg_fixture_wait(connection, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(1)'", "1");
    pg_fixture_exec(reader, "COMMIT");
    pthread_join(thread, NULL);
    assert_int_equal(applied, 1);
    connection_free(&reader);
}

static void test_the_schema_of_this_version(void **state) {
    (void)state;
    int applied;
    if (migrate_run(connection, pg_fixture_sql(), NULL, NULL, &applied, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    assert_int_equal(applied, MIGRATE_SCHEMA_VERSION);
    assert_int_equal(version(), MIGRATE_SCHEMA_VERSION);
    assert_string_equal(pg_fixture_ask(connection, "SELECT count(*) > 0 FROM delivery_logs"), "f");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_are_applied_once_and_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_wrong_file_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_applied_must_stay_as_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_older_program_leaves_a_newer_schema_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check_of_an_empty_database, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directories_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_table_in_use_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_schema_of_this_version, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
