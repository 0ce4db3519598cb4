/* In virtual time: what a lane tells of an endpoint; and against a real PostgreSQL, what becomes of it when two
 * processes tell what each of them sees. */
#include "dispatch/health_note.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"
#include "db/migrate.h"
#include "dispatch_fixture.h"
#include "store/health.h"

#define EVERY_MS 60000

static struct subscription *subscription;
static struct health_note note;
static struct health_message *told;

static int open_note(void **state) {
    (void)state;
    subscription = fixture_subscription(1, "http://127.0.0.1/");
    note = (struct health_note){0};
    told = NULL;
    return 0;
}

static void forget(void) {
    if (told)
        subscription_unref(&told->subscription);
    mem_free(told);
    told = NULL;
}

static int close_note(void **state) {
    (void)state;
    forget();
    subscription_unref(&subscription);
    return 0;
}

/* An attempt, and what is told right after it, if it is time. */
static bool tells(bool failed, int64_t now_ms) {
    forget();
    health_note_attempt(&note, failed, now_ms);
    if (!health_note_is_due(&note, EVERY_MS, now_ms))
        return false;
    told = (struct health_message *)health_note_tell(&note, subscription, now_ms);
    return true;
}

static void expect_told(int64_t success_ms, int64_t failure_ms, int64_t failing_since_ms) {
    assert_non_null(told);
    assert_ptr_equal(told->subscription, subscription);
    assert_int_equal(told->message.type, MESSAGE_HEALTH);
    assert_int_equal(told->success_ms, success_ms);
    assert_int_equal(told->failure_ms, failure_ms);
    assert_int_equal(told->failing_since_ms, failing_since_ms);
}

static void test_told_once_a_minute(void **state) {
    (void)state;
    assert_true(tells(false, 1000));
    expect_told(1000, 0, 0);
    int count = 0;
    for (int64_t now_ms = 1010; now_ms < 1000 + 10 * EVERY_MS; now_ms += 10)
        count += tells(false, now_ms);
    assert_int_equal(count, 9);
}

static void test_nothing_new_is_not_told(void **state) {
    (void)state;
    assert_false(health_note_is_due(&note, EVERY_MS, 1000000));
    assert_true(tells(true, 1000));
    assert_false(health_note_is_due(&note, EVERY_MS, 1000000));
}

static void test_a_turn_is_told_at_once(void **state) {
    (void)state;
    assert_true(tells(false, 1000));
    assert_true(tells(true, 10000));
    expect_told(0, 10000, 10000);
    assert_false(tells(true, 20000));
    assert_true(tells(false, 30000));
    expect_told(30000, 20000, 0);
    /* It turns all the time. */
    int count = 0;
    for (int64_t now_ms = 30010; now_ms < 30000 + EVERY_MS; now_ms += 10)
        count += tells(now_ms / 10 % 2, now_ms);
    assert_in_range(count, 10, 12);
}

static void test_a_failure_in_the_same_millisecond_comes_after(void **state) {
    (void)state;
    health_note_attempt(&note, false, 5000);
    assert_true(tells(true, 5000));
    expect_told(5000, 5001, 5001);
}

static void test_failing_since_stays(void **state) {
    (void)state;
    assert_true(tells(true, 1000));
    assert_true(tells(true, 1000 + EVERY_MS));
    expect_told(0, 1000 + EVERY_MS, 1000);
    health_note_revived(&note);
    assert_true(tells(true, 1000 + 2 * EVERY_MS));
    expect_told(0, 1000 + 2 * EVERY_MS, 1000 + 2 * EVERY_MS);
}

static void test_short_limits_are_told_more_often(void **state) {
    (void)state;
    assert_int_equal(health_note_every_ms(5 * 24 * 3600 * 1000LL), EVERY_MS);
    assert_int_equal(health_note_every_ms(10000), 500);
}

/* ---- merged ---- */

#define PROCESSES 2
#define STEPS 40
#define ROUNDS 60
#define STEP_MS 10000 /* virtual; far more than the test takes */

static char *database;
static struct connection *connection;
static struct error error;
static int64_t origin_ms; /* of virtual time, on the monotonic clock */

static int open_database(void **state) {
    database = pg_fixture_database();
    connection = pg_fixture_connect(database);
    if (migrate_run(connection, pg_fixture_sql(), NULL, NULL, NULL, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return open_note(state);
}

static int close_database(void **state) {
    connection_free(&connection);
    pg_fixture_drop(&database);
    return close_note(state);
}

static int64_t age_of(int64_t at_ms) {
    return at_ms ? clock_mono_ms() - (origin_ms + at_ms) : HEALTH_NONE;
}

static void write_told(struct health_note *from, int64_t now_ms, const struct uuid *id) {
    struct health_message *message = (struct health_message *)health_note_tell(from, subscription, now_ms);
    struct health_report report = {
        .workspace_id = SPAN_LITERAL("w1"),
        .subscription_id = *id,
        .success_age_ms = age_of(message->success_ms),
        .failure_age_ms = age_of(message->failure_ms),
        .failing_age_ms = age_of(message->failing_since_ms),
    };
    struct result *disabled = NULL;
    assert_int_equal(health_write(connection, &report, 1, 1LL << 40, &disabled, &error), STATUS_OK);
    subscription_unref(&message->subscription);
    mem_free(message);
}

struct seen {
    int64_t success_ms, failure_ms, failing_since_ms;
};

/* In steps; -1: never. */
static int64_t steps_of(const char *column, const char *id) {
    char sql[256];
    snprintf(sql, sizeof(sql),
             "SELECT coalesce(extract(epoch FROM clock_timestamp() - %s) * 1000, -1)::int8 FROM health "
             "WHERE subscription_id = '%s'",
             column, id);
    int64_t age_ms = strtoll(pg_fixture_ask(connection, sql), NULL, 10);
    return age_ms < 0 ? -1 : (clock_mono_ms() - age_ms - origin_ms + STEP_MS / 2) / STEP_MS;
}

/* One endpoint's life, seen by two processes, each of which tells every `every_ms` and when it turns. */
static void live(int number, int64_t every_ms, unsigned *random) {
    struct health_note notes[PROCESSES] = {{0}};
    struct uuid id = {{0}};
    char text[UUID_TEXT_LEN + 1], sql[512];
    id.bytes[14] = (uint8_t)(number >> 8);
    id.bytes[15] = (uint8_t)number;
    uuid_format(&id, text);
    snprintf(sql, sizeof(sql),
             "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, render_version, "
             "xid) VALUES ('w1', '%s', 'https://example.com', '{*}', 0, '1')",
             text);
    pg_fixture_exec(connection, sql);
    origin_ms = clock_mono_ms() - (int64_t)(STEPS + 2) * STEP_MS;
    struct seen truth = {-1, -1, -1};
    int percent = rand_r(random) % 100;
    for (int64_t step = 1; step <= STEPS; step++) {
        bool failed = rand_r(random) % 100 < percent;
        struct health_note *at = &notes[rand_r(random) % PROCESSES];
        health_note_attempt(at, failed, step * STEP_MS);
        if (failed) {
            truth.failure_ms = step;
            truth.failing_since_ms = truth.failing_since_ms < 0 ? step : truth.failing_since_ms;
        } else {
            truth.success_ms = step;
            truth.failing_since_ms = -1;
        }
        if (every_ms == 0 || health_note_is_due(at, every_ms, step * STEP_MS))
            write_told(at, step * STEP_MS, &id);
    }
    for (int i = 0; i < PROCESSES; i++)
        if (notes[i].new_success || notes[i].new_failure)
            write_told(&notes[i], (STEPS + 1) * STEP_MS, &id);
    int64_t since = steps_of("failing_since", text);
    assert_int_equal(steps_of("last_success_at", text), truth.success_ms);
    assert_int_equal(steps_of("last_failure_at", text), truth.failure_ms);
    assert_int_equal(since < 0, truth.failing_since_ms < 0);
    if (every_ms == 0) {
        assert_int_equal(since, truth.failing_since_ms); /* told as it happens: nothing is lost */
    } else if (since >= 0) {
        /* Never too early; too late at most by what was not told in between. */
        assert_in_range(since, truth.failing_since_ms, truth.failure_ms);
        assert_true(since - truth.failing_since_ms <= 2 * every_ms / STEP_MS + 1);
    }
}

static void test_two_processes_see_what_one_would(void **state) {
    (void)state;
    static const int64_t EVERY[] = {0, 3 * STEP_MS, 8 * STEP_MS};
    unsigned random = 7;
    for (int round = 0; round < ROUNDS; round++)
        live(round + 1, EVERY[round % 3], &random);
}

#define NOTE_TEST(test) cmocka_unit_test_setup_teardown(test, open_note, close_note)

int main(void) {
    const struct CMUnitTest tests[] = {
        NOTE_TEST(test_told_once_a_minute),
        NOTE_TEST(test_nothing_new_is_not_told),
        NOTE_TEST(test_a_turn_is_told_at_once),
        NOTE_TEST(test_a_failure_in_the_same_millisecond_comes_after),
        NOTE_TEST(test_failing_since_stays),
        NOTE_TEST(test_short_limits_are_told_more_often),
        cmocka_unit_test_setup_teardown(test_two_processes_see_what_one_would, open_database, close_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
