/* What the recorder does when its connection, or the database behind it, is not what it was (rules P5, P6 and P8). */
#include "dispatch/recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder_fixture.h"

#define LOGS "SELECT count(*) FROM delivery_logs"
#define NEXT "SELECT next_offset FROM progress"
#define RECORDER_WAITS                                                                                                 \
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hookcast recorder' AND state = 'active'"          \
    " AND datname = current_database() AND wait_event = "

static struct subscription *subscriptions[1];

static int open_all(void **state) {
    subscriptions[0] = fixture_subscription(1, "http://127.0.0.1/");
    return desk_open(state);
}

static int close_all(void **state) {
    int result = desk_close(state);
    subscription_unref(&subscriptions[0]);
    return result;
}

/* Records 0 to count - 1, each delivered. */
static void deliver_all(struct partition *partition, int64_t from, int64_t count) {
    for (int64_t offset = from; offset < from + count; offset++) {
        struct record record = take(partition, offset, 1, subscriptions);
        delivered(&record.deliveries[0]);
        done_with(&record);
    }
}

static void test_a_cut_between_flushes_costs_nothing(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    deliver_all(partition, 0, 3);
    pg_fixture_wait(desk.connection, NEXT, "3");
    cut_connection();
    deliver_all(partition, 3, 3);
    pg_fixture_wait(desk.connection, NEXT, "6");
    cut_connection();
    deliver_all(partition, 6, 1);
    pg_fixture_wait(desk.connection, NEXT, "7");
    expect_sql(LOGS, "7");
    expect_sql("SELECT count(*) FROM processes", "1");
    expect_nothing_outstanding(partition);
    assert_int_equal(desk.restored + desk.lost, 0);
    assert_false(partition->revoked);
    partition_unref(&partition);
}

/* Rule P5, first half: the COMMIT was under way and did not happen. */
static void test_a_commit_that_did_not_happen_is_made_again(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    exec_sql("CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS"
             " $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;"
             "CREATE CONSTRAINT TRIGGER hang AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED"
             " FOR EACH ROW EXECUTE FUNCTION hang()");
    deliver_all(partition, 0, 2);
    pg_fixture_wait(desk.connection, RECORDER_WAITS "'PgSleep' AND query = 'COMMIT'", "1");
    cut_connection();
    exec_sql("DROP TRIGGER hang ON events");
    pg_fixture_wait(desk.connection, NEXT, "2");
    expect_sql(LOGS, "2");
    expect_sql("SELECT count(*) FROM events", "2");
    expect_nothing_outstanding(partition);
    assert_int_equal(partition->settled_offset, 2);
    assert_int_equal(desk.restored + desk.lost, 0);
    partition_unref(&partition);
}

static void server_setting(const char *sql) {
    exec_sql(sql);
    exec_sql("SELECT pg_reload_conf()");
}

static bool asks(const char *sql) {
    return strcmp(pg_fixture_ask(desk.connection, sql), "t") == 0;
}

/* Cuts the connection while the COMMIT of record `offset` waits for a standby that does not exist: it has happened.
 * False: the setting came too late, and the COMMIT had its answer. */
static bool cut_after_commit(struct connection *locker, struct partition *partition, int64_t offset) {
    char written[96];
    snprintf(written, sizeof(written), "SELECT count(*) > %lld FROM delivery_logs", (long long)offset);
    pg_fixture_exec(locker, "BEGIN; LOCK events IN EXCLUSIVE MODE");
    deliver_all(partition, offset, 1);
    pg_fixture_wait(desk.connection, RECORDER_WAITS "'relation'", "1");
    server_setting("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    pg_fixture_exec(locker, "COMMIT");
    bool waits = false;
    WAIT_FOR(
        (waits = strcmp(pg_fixture_ask(desk.connection, RECORDER_WAITS "'SyncRep' AND query = 'COMMIT'"), "1") == 0) ||
        asks(written));
    waits = waits && !asks(written);
    if (waits)
        cut_connection();
    server_setting("ALTER SYSTEM RESET synchronous_standby_names");
    return waits;
}

/* Rule P5, second half: the COMMIT is durable, and nobody heard of it. */
static void test_a_commit_that_happened_is_not_made_again(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct connection *locker = pg_fixture_connect(desk.database);
    int64_t count = 1, deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (!cut_after_commit(locker, partition, count - 1)) {
        assert_true(clock_mono_ms() < deadline_ms);
        WAIT_FOR(partition->settled_offset == count);
        count++;
    }
    WAIT_FOR(partition->settled_offset == count);
    deliver_all(partition, count++, 1);
    WAIT_FOR(partition->settled_offset == count);
    expect_nothing_outstanding(partition);
    expect_sql("SELECT count(*) - count(DISTINCT record_offset) FROM events", "0");
    expect_sql("SELECT count(*) - count(DISTINCT event_id) FROM delivery_logs", "0");
    char sql[64];
    snprintf(sql, sizeof(sql), "SELECT count(*) = %lld FROM delivery_logs", (long long)count);
    expect_sql(sql, "t");
    assert_int_equal(desk.restored + desk.lost, 0);
    connection_free(&locker);
    partition_unref(&partition);
}

static void let_in(bool allowed) {
    char sql[256];
    const char *name = strrchr(desk.database, '=') + 1;
    struct connection *connection = pg_fixture_connect(pg_fixture.base);
    snprintf(sql, sizeof(sql), "ALTER DATABASE %s ALLOW_CONNECTIONS %s", name, allowed ? "true" : "false");
    pg_fixture_exec(connection, sql);
    connection_free(&connection);
}

static void test_while_the_database_is_away_everything_is_kept(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    let_in(false);
    cut_connection();
    int64_t beat_ms = desk.pulse.beat_ms;
    deliver_all(partition, 0, 5);
    struct reread_message *reread = mem_calloc(1, sizeof(*reread));
    reread->message.type = MESSAGE_REREAD;
    reread->reply = desk.answers;
    bool failed = false;
    for (int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS; !failed && clock_mono_ms() < deadline_ms;) {
        reread->failed = false; /* the recorder may not have noticed yet */
        push_node(&reread->message.node);
        assert_ptr_equal(answer_within(PATIENCE_MS), reread);
        failed = reread->failed;
    }
    assert_true(failed);
    reread_message_free(&reread);
    WAIT_FOR(recorder_waiting(desk.recorder) == 5);
    assert_int_equal(desk.budget.deliveries, 5);
    assert_int_equal(desk.pulse.beat_ms, beat_ms); /* so that nothing more starts */
    let_in(true);
    pg_fixture_wait(desk.connection, NEXT, "5");
    expect_sql(LOGS, "5");
    expect_nothing_outstanding(partition);
    assert_true(desk.pulse.beat_ms > beat_ms);
    assert_int_equal(desk.restored + desk.lost, 0);
    partition_unref(&partition);
}

/* Rule P6. */
static void test_a_database_that_went_back_is_noticed(void **state) {
    (void)state;
    static const char *const CHANGES[] = {
        "UPDATE progress SET next_offset = 1",
        "UPDATE progress SET epoch = epoch - 1",
        "DELETE FROM progress",
        "UPDATE processes SET flush_no = flush_no - 1",
        "UPDATE processes SET flush_no = flush_no + 5",
        "DELETE FROM processes",
    };
    for (size_t i = 0; i < sizeof(CHANGES) / sizeof(CHANGES[0]); i++) {
        struct partition *partition = adopt((struct adopt_item){.committed = -1001, .number = (int32_t)i});
        deliver_all(partition, 0, 2);
        WAIT_FOR(partition->settled_offset == 2);
        /* By one transaction, so that no flush comes in between. */
        char sql[512];
        snprintf(sql, sizeof(sql),
                 "BEGIN; LOCK processes, progress; %s; SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE application_name = 'hookcast recorder'; COMMIT",
                 CHANGES[i]);
        exec_sql(sql);
        nudge();
        int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
        while (desk.restored != (int)i + 1) {
            if (clock_mono_ms() > deadline_ms)
                fail_msg("not noticed: %s", CHANGES[i]);
            fixture_pause();
        }
        assert_true(partition->revoked);
        deliver_all(partition, 2, 1); /* it was under way: its log row is all that may be written */
        expect_nothing_outstanding(partition);
        expect_sql("SELECT count(*) FROM events WHERE record_offset = 2", "0");
        exec_sql("DELETE FROM progress");
        partition_unref(&partition);
    }
    assert_int_equal(desk.lost, 0);
}

/* The other owner came while the connection was away. */
static void test_a_higher_epoch_after_a_cut_is_another_owner(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    deliver_all(partition, 0, 1);
    WAIT_FOR(partition->settled_offset == 1);
    exec_sql("UPDATE progress SET epoch = epoch + 1, next_offset = 7");
    cut_connection();
    nudge();
    WAIT_FOR(desk.lost == 1);
    assert_true(partition->revoked);
    assert_int_equal(desk.restored, 0);
    deliver_all(partition, 1, 1);
    expect_nothing_outstanding(partition);
    expect_sql("SELECT next_offset || ' ' || (SELECT count(*) FROM events) FROM progress", "7 1");
    partition_unref(&partition);
}

/* Rule P8: after a gap of the process itself every epoch is looked at before the pulse beats again. */
static void test_after_a_gap_a_lost_partition_is_noticed_without_traffic(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    wait_for_flushes();
    assert_int_equal(desk.lost, 0);
    exec_sql("UPDATE progress SET epoch = epoch + 1");
    wait_for_flushes();
    assert_int_equal(desk.lost, 0); /* nothing was written, so nobody looked */
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (desk.lost == 0 && clock_mono_ms() < deadline_ms) {
        atomic_store(&desk.pulse.beat_ms, clock_mono_ms() - 10 * PULSE_LIMIT_MS);
        fixture_pause();
    }
    assert_int_equal(desk.lost, 1);
    assert_true(partition->revoked);
    partition_unref(&partition);
}

/* What stopped has written what it had, and is no process any more. */
static void test_stopping_writes_what_is_there(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    wait_for_flushes();
    deliver_all(partition, 0, 200);
    recorder_stop(desk.recorder, clock_mono_ms() + 5000);
    expect_sql(LOGS, "200");
    expect_sql(NEXT, "200");
    expect_sql("SELECT count(*) FROM processes", "0");
    assert_int_equal(desk.budget.deliveries, 0);
    recorder_free(&desk.recorder);
    assert_null(desk.recorder);
    queue_free(&desk.answers);
    loop_free(&desk.loop);
    partition_unref(&partition);
    recorder_open(); /* for the teardown; and one that never got anything stops as well */
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_cut_between_flushes_costs_nothing),
        TEST(test_a_commit_that_did_not_happen_is_made_again),
        TEST(test_a_commit_that_happened_is_not_made_again),
        TEST(test_while_the_database_is_away_everything_is_kept),
        TEST(test_a_database_that_went_back_is_noticed),
        TEST(test_a_higher_epoch_after_a_cut_is_another_owner),
        TEST(test_after_a_gap_a_lost_partition_is_noticed_without_traffic),
        TEST(test_stopping_writes_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
