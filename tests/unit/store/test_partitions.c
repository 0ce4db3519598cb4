#include "store/partitions.h"

#include "db/migrate.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"

#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define MONTH_MS (30 * DAY_MS)

/* yesterday, today, seven ahead; of three tables */
#define DAYS "9"
#define ALL "27"

static char *database;
static struct connection *connection;
static struct error error;

static const char COUNT[] = "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
                            " WHERE c.relkind = 'r' AND NOT inhdetachpending";
static const char PENDING_COUNT[] = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending";

static int setup(void **state) {
    (void)state;
    database = pg_fixture_database();
    connection = pg_fixture_connect(database);
    if (migrate_run(connection, pg_fixture_sql(), NULL, NULL, NULL, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    /* Three tables are enough to see what is done with each. */
    pg_fixture_exec(connection, "DROP TABLE batches, log_rollups, test_bodies CASCADE");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    connection_free(&connection);
    pg_fixture_drop(&database);
    return 0;
}

static void ensure(void) {
    if (partitions_ensure(connection, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

static void maintain(void) {
    if (partitions_maintain(connection, MONTH_MS, MONTH_MS, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

/* A day of a table, `ago` days back. Waits for whoever uses the table. */
static void add_day(const char *table, int ago) {
    char sql[512];
    snprintf(sql, sizeof(sql),
             "DO $$ DECLARE d date := (now() AT TIME ZONE 'UTC')::date - %d; BEGIN EXECUTE format("
             "'CREATE TABLE %s_%%s PARTITION OF %s FOR VALUES FROM (%%L) TO (%%L)', to_char(d, 'YYYYMMDD'), d, d + 1);"
             " END $$",
             ago, table, table);
    pg_fixture_exec(connection, sql);
}

/* The name of the day `ago` days back; mem_free. */
static char *day_name(const char *table, int ago) {
    char sql[128];
    snprintf(sql, sizeof(sql), "SELECT '%s_' || to_char(now() - interval '%d days', 'YYYYMMDD')", table, ago);
    return mem_strdup(pg_fixture_ask(connection, sql));
}

static bool exists(const char *table) {
    char sql[128];
    snprintf(sql, sizeof(sql), "SELECT to_regclass('%s') IS NOT NULL", table);
    return strcmp(pg_fixture_ask(connection, sql), "t") == 0;
}

#define INSERT_REJECTED(when)                                                                                          \
    "INSERT INTO rejected_events (created_at, id, code, reason, topic, part, record_offset, record_time, headers)"     \
    " VALUES (" when ", gen_random_uuid(), 'c', 'r', 't', 0, 0, now(), '')"

static void test_days_ahead(void **state) {
    (void)state;
    ensure();
    assert_string_equal(pg_fixture_ask(connection, COUNT), ALL);
    assert_string_equal(pg_fixture_ask(connection, "SELECT count(*) FROM pg_constraint WHERE conname = 'day'"), "0");
    ensure();
    assert_string_equal(pg_fixture_ask(connection, COUNT), ALL);
    pg_fixture_exec(connection, INSERT_REJECTED("date_trunc('day', now()) - interval '1 day'"));
    pg_fixture_exec(connection, INSERT_REJECTED("date_trunc('day', now()) + interval '8 days' - interval '1 us'"));
    assert_int_equal(
        connection_exec(connection, INSERT_REJECTED("date_trunc('day', now()) + interval '8 days'"), &error),
        STATUS_FAILED);
    char *today = day_name("delivery_logs", 0);
    char sql[256];
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM pg_index WHERE indrelid = '%s'::regclass", today);
    assert_string_equal(
        pg_fixture_ask(connection, sql),
        pg_fixture_ask(connection, "SELECT count(*) FROM pg_index WHERE indrelid = 'delivery_logs'::regclass"));
    mem_free(today);
}

static void *ensure_beside(void *ctx) {
    struct connection *own = pg_fixture_connect(database);
    struct error own_error;
    *(enum status *)ctx = partitions_ensure(own, &own_error);
    connection_free(&own);
    return NULL;
}

static void test_several_processes_at_once(void **state) {
    (void)state;
    pthread_t threads[4];
    enum status statuses[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ensure_beside, &statuses[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(statuses[i], STATUS_OK);
    }
    assert_string_equal(pg_fixture_ask(connection, COUNT), ALL);
}

static void test_a_day_within_a_larger_partition_is_there(void **state) {
    (void)state;
    pg_fixture_exec(connection, "CREATE TABLE wide PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2200-01-01')");
    ensure();
    assert_string_equal(pg_fixture_ask(connection, COUNT), "19");
    struct partition_bounds bounds;
    assert_int_equal(partitions_read_bounds(connection, &bounds, &error), STATUS_OK);
    assert_in_range(bounds.now_ms, bounds.lower_ms, bounds.upper_ms - 1);
}

static void test_a_table_in_the_way_is_named(void **state) {
    (void)state;
    char *name = day_name("events", 0);
    char sql[128];
    snprintf(sql, sizeof(sql), "CREATE TABLE %s (x int)", name);
    pg_fixture_exec(connection, sql);
    assert_int_equal(partitions_ensure(connection, &error), STATUS_FAILED);
    assert_non_null(strstr(error.text, name));
    assert_string_equal(pg_fixture_ask(connection, COUNT), "26"); /* the others are there all the same */
    mem_free(name);
}

static void test_D2_bounds(void **state) {
    (void)state;
    struct partition_bounds bounds;
    int64_t lower_ms, upper_ms;
    assert_int_equal(partitions_read_bounds(connection, &bounds, &error), STATUS_NOT_FOUND);
    ensure();
    assert_int_equal(partitions_read_bounds(connection, &bounds, &error), STATUS_OK);
    int64_t today_ms = bounds.now_ms - bounds.now_ms % DAY_MS;
    assert_in_range(clock_wall_ms() - bounds.now_ms, 0, 60000);
    assert_int_equal(bounds.lower_ms, today_ms - DAY_MS);
    assert_int_equal(bounds.upper_ms, today_ms + 2 * DAY_MS);
    assert_int_equal(partitions_bounds(connection, &lower_ms, &upper_ms, &error), STATUS_OK);
    assert_int_equal(lower_ms, today_ms - DAY_MS);
    assert_int_equal(upper_ms, today_ms + 8 * DAY_MS);
    add_day("events", 2); /* of one table only */
    add_day("events", 20);
    assert_int_equal(partitions_bounds(connection, &lower_ms, &upper_ms, &error), STATUS_OK);
    assert_int_equal(lower_ms, today_ms - DAY_MS);
    add_day("delivery_logs", 2);
    add_day("rejected_events", 2);
    assert_int_equal(partitions_bounds(connection, &lower_ms, &upper_ms, &error), STATUS_OK);
    assert_int_equal(lower_ms, today_ms - 2 * DAY_MS);
    assert_int_equal(partitions_clamp(&bounds, bounds.upper_ms), bounds.upper_ms - 1);
    assert_int_equal(partitions_clamp(&bounds, bounds.lower_ms - 1), bounds.lower_ms);
    assert_int_equal(partitions_clamp(&bounds, bounds.now_ms), bounds.now_ms);
}

static void test_D2_days_far_away_are_found(void **state) {
    (void)state;
    struct partition_bounds bounds;
    add_day("events", 20);
    add_day("delivery_logs", 20);
    add_day("rejected_events", 20);
    assert_int_equal(partitions_read_bounds(connection, &bounds, &error), STATUS_OK);
    assert_int_equal(bounds.upper_ms - bounds.lower_ms, DAY_MS);
    assert_true(bounds.upper_ms < bounds.now_ms - 18 * DAY_MS);
    add_day("events", -5); /* nearer, but of one table only */
    assert_int_equal(partitions_read_bounds(connection, &bounds, &error), STATUS_NOT_FOUND);
}

static void test_days_past_their_retention_go(void **state) {
    (void)state;
    ensure();
    add_day("events", 10);
    add_day("events", 9);
    add_day("delivery_logs", 10);
    add_day("delivery_logs", 21);
    char *old_log = day_name("delivery_logs", 21), *kept_log = day_name("delivery_logs", 10);
    char *old_event = day_name("events", 10), *kept_event = day_name("events", 9);
    assert_int_equal(partitions_maintain(connection, 20 * DAY_MS, 9 * DAY_MS, &error), STATUS_OK);
    assert_false(exists(old_log));
    assert_true(exists(kept_log));
    assert_false(exists(old_event));
    assert_true(exists(kept_event));
    /* Never what may still be written. */
    assert_int_equal(partitions_maintain(connection, 0, 0, &error), STATUS_OK);
    assert_string_equal(pg_fixture_ask(connection, COUNT), ALL);
    assert_string_equal(pg_fixture_ask(connection, "SHOW statement_timeout"), "34s");
    assert_string_equal(pg_fixture_ask(connection, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
    mem_free(old_log), mem_free(kept_log), mem_free(old_event), mem_free(kept_event);
}

static void test_a_day_that_can_not_go_does_not_keep_the_others(void **state) {
    (void)state;
    ensure();
    add_day("delivery_logs", 60);
    add_day("events", 61);
    pg_fixture_exec(connection, "CREATE TABLE rest PARTITION OF events DEFAULT"); /* forbids DETACH CONCURRENTLY */
    char *stays = day_name("events", 61), *goes = day_name("delivery_logs", 60);
    assert_int_equal(partitions_maintain(connection, MONTH_MS, MONTH_MS, &error), STATUS_FAILED);
    assert_non_null(strstr(error.text, stays));
    assert_true(exists(stays));
    assert_false(exists(goes));
    mem_free(stays), mem_free(goes);
}

static void test_a_day_that_an_operator_detached_stays(void **state) {
    (void)state;
    ensure();
    add_day("events", 60);
    char *name = day_name("events", 60), sql[128];
    snprintf(sql, sizeof(sql), "ALTER TABLE events DETACH PARTITION %s", name);
    pg_fixture_exec(connection, sql);
    maintain();
    assert_true(exists(name));
    mem_free(name);
}

static void *maintain_beside(void *ctx) {
    struct connection *own = ctx;
    struct error own_error;
    if (partitions_maintain(own, MONTH_MS, MONTH_MS, &own_error) != STATUS_OK)
        connection_close(own);
    return NULL;
}

/* A connection in a transaction that has read the day, and one whose maintenance waits for it. */
struct held_day {
    struct connection *reader, *worker;
    pthread_t thread;
    char *name;
};

static void hold_day(struct held_day *held) {
    add_day("rejected_events", 60);
    held->name = day_name("rejected_events", 60);
    held->reader = pg_fixture_connect(database);
    held->worker = pg_fixture_connect(database);
    pg_fixture_exec(held->worker, "SET client_connection_check_interval = '100ms'");
    pg_fixture_exec(held->reader, "BEGIN; SELECT count(*) FROM rejected_events");
    assert_int_equal(pthread_create(&held->thread, NULL, maintain_beside, held->worker), 0);
    pg_fixture_wait(connection, PENDING_COUNT, "1");
}

static void held_day_deinit(struct held_day *held) {
    connection_free(&held->reader);
    connection_free(&held->worker);
    mem_free(held->name);
}

static void test_D1_inserts_go_on_while_a_reader_holds_up_a_detach(void **state) {
    (void)state;
    struct held_day held;
    ensure();
    hold_day(&held);
    connection_set_timeout(connection, 2000);
    for (int i = 0; i < 20; i++)
        pg_fixture_exec(connection, INSERT_REJECTED("now()"));
    /* Nor does anybody else wait: maintenance is being done, and the days are there. */
    maintain();
    ensure();
    struct partition_bounds bounds;
    assert_int_equal(partitions_read_bounds(connection, &bounds, &error), STATUS_OK);
    assert_true(exists(held.name));
    pg_fixture_exec(held.reader, "COMMIT");
    pthread_join(held.thread, NULL);
    assert_true(connection_is_open(held.worker));
    assert_false(exists(held.name));
    assert_string_equal(pg_fixture_ask(connection, "SELECT count(*) FROM rejected_events"), "20");
    held_day_deinit(&held);
}

static void *detach_beside(void *ctx) {
    struct held_day *held = ctx;
    struct error own_error;
    char sql[128];
    snprintf(sql, sizeof(sql), "ALTER TABLE rejected_events DETACH PARTITION %s CONCURRENTLY", held->name);
    if (connection_exec(held->worker, sql, &own_error) != STATUS_OK)
        connection_close(held->worker);
    return NULL;
}

static void test_D1_a_missing_day_is_made_while_a_detach_waits(void **state) {
    (void)state;
    struct held_day held = {.name = day_name("rejected_events", 60)};
    ensure();
    char *ahead = day_name("rejected_events", -7), sql[128];
    snprintf(sql, sizeof(sql), "DROP TABLE %s", ahead);
    pg_fixture_exec(connection, sql);
    add_day("rejected_events", 60);
    held.reader = pg_fixture_connect(database);
    held.worker = pg_fixture_connect(database);
    pg_fixture_exec(held.reader, "BEGIN; SELECT count(*) FROM rejected_events");
    assert_int_equal(pthread_create(&held.thread, NULL, detach_beside, &held), 0);
    pg_fixture_wait(connection, PENDING_COUNT, "1");
    ensure();
    assert_true(exists(ahead));
    assert_string_equal(pg_fixture_ask(connection, PENDING_COUNT), "1");
    pg_fixture_exec(held.reader, "COMMIT");
    pthread_join(held.thread, NULL);
    assert_true(connection_is_open(held.worker));
    mem_free(ahead);
    held_day_deinit(&held);
}

static void test_D1_a_pending_detach_is_completed_first(void **state) {
    (void)state;
    struct held_day held;
    ensure();
    add_day("rejected_events", 59);
    hold_day(&held);
    /* The process that detaches goes away, and its server process notices. */
    connection_interrupt(held.worker);
    pthread_join(held.thread, NULL);
    assert_false(connection_is_open(held.worker));
    pg_fixture_wait(connection, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0");
    assert_string_equal(pg_fixture_ask(connection, PENDING_COUNT), "1");
    assert_true(exists(held.name));
    char *next = day_name("rejected_events", 59);
    assert_true(exists(next));
    pg_fixture_exec(held.reader, "COMMIT");
    maintain();
    assert_string_equal(pg_fixture_ask(connection, PENDING_COUNT), "0");
    assert_false(exists(held.name));
    assert_false(exists(next));
    pg_fixture_exec(connection, INSERT_REJECTED("now()"));
    mem_free(next);
    held_day_deinit(&held);
}

static void test_a_dropping_that_was_cut_off_is_made_up_for(void **state) {
    (void)state;
    ensure();
    add_day("events", 60);
    char *name = day_name("events", 60);
    char sql[256];
    snprintf(sql, sizeof(sql),
             "COMMENT ON TABLE %s IS 'hookcast: to be dropped'; ALTER TABLE events DETACH PARTITION %s", name, name);
    pg_fixture_exec(connection, sql);
    maintain();
    assert_false(exists(name));
    mem_free(name);
}

static int64_t database_bytes(void) {
    return strtoll(pg_fixture_ask(connection, "SELECT pg_database_size(current_database())"), NULL, 10);
}

static bool limit(int64_t max_bytes) {
    bool dropped = false;
    if (partitions_limit_size(connection, max_bytes, &dropped, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return dropped;
}

static void test_past_the_limit_of_size_the_oldest_day_goes(void **state) {
    (void)state;
    ensure();
    add_day("events", 5);
    add_day("delivery_logs", 5);
    add_day("delivery_logs", 4);
    add_day("rejected_events", 2);
    char *names[] = {day_name("events", 5), day_name("delivery_logs", 5), day_name("delivery_logs", 4),
                     day_name("rejected_events", 2)};
    assert_false(limit(database_bytes() + 1));
    assert_string_equal(pg_fixture_ask(connection, COUNT), "31");
    /* A day at a time, logs and events together. */
    assert_true(limit(1));
    assert_false(exists(names[0]));
    assert_false(exists(names[1]));
    assert_true(exists(names[2]));
    assert_true(limit(1));
    assert_false(exists(names[2]));
    assert_true(exists(names[3]));
    assert_true(limit(1));
    assert_false(exists(names[3]));
    /* Never what may still be written. */
    assert_false(limit(1));
    assert_string_equal(pg_fixture_ask(connection, COUNT), ALL);
    assert_string_equal(pg_fixture_ask(connection, "SHOW statement_timeout"), "34s");
    assert_string_equal(pg_fixture_ask(connection, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
    for (int i = 0; i < 4; i++)
        mem_free(names[i]);
}

static void test_what_is_going_already_counts_as_gone(void **state) {
    (void)state;
    ensure();
    add_day("rejected_events", 61);
    add_day("rejected_events", 60);
    char *first = day_name("rejected_events", 61), *second = day_name("rejected_events", 60), sql[256];
    pg_fixture_exec(
        connection,
        "INSERT INTO rejected_events (created_at, id, code, reason, topic, part, record_offset, record_time, headers)"
        " SELECT date_trunc('day', now()) - n * interval '1 day', gen_random_uuid(), 'c', repeat('r', 500), 't', 0, 0,"
        " now(), '' FROM generate_series(60, 61) n, generate_series(1, 2000)");
    int64_t limit_bytes = database_bytes() - 100000;
    snprintf(sql, sizeof(sql),
             "COMMENT ON TABLE %s IS 'hookcast: to be dropped'; ALTER TABLE rejected_events DETACH PARTITION %s", first,
             first);
    pg_fixture_exec(connection, sql);
    assert_false(limit(limit_bytes));
    assert_true(exists(second));
    assert_true(limit(limit_bytes - 3000000));
    assert_false(exists(first));
    assert_false(exists(second));
    mem_free(first), mem_free(second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_days_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several_processes_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_day_within_a_larger_partition_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_table_in_the_way_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_D2_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_D2_days_far_away_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_days_past_their_retention_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_day_that_can_not_go_does_not_keep_the_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_day_that_an_operator_detached_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_D1_inserts_go_on_while_a_reader_holds_up_a_detach, setup, teardown),
        cmocka_unit_test_setup_teardown(test_D1_a_missing_day_is_made_while_a_detach_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_D1_a_pending_detach_is_completed_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_dropping_that_was_cut_off_is_made_up_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_past_the_limit_of_size_the_oldest_day_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_going_already_counts_as_gone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
