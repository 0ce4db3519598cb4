#include "store/batches.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "schedule_fixture.h"
#include "webhook/batch.h"
#include <pthread.h>

static struct partition_bounds bounds;

static int batches_setup(void **state) {
    schedule_setup(state);
    MUST(partitions_ensure(recorder, &error));
    MUST(partitions_read_bounds(recorder, &bounds, &error));
    return 0;
}

#define BATCHES_TEST(test) cmocka_unit_test_setup_teardown(test, batches_setup, schedule_teardown)

/* Members of an endpoint, as a flush writes them. */
struct waiting {
    int endpoint;
    int64_t first_offset;
    int count;
    int64_t activation;
    size_t payload_bytes;
    int64_t age_ms, wait_ms;
    int max_events;
    int64_t max_bytes;
};

static enum status write_waiting(struct connection *connection, struct waiting waiting, struct error *why) {
    struct schedule_changes *changes = schedule_changes_new();
    struct buffer rows, scratch;
    int64_t arrived_at_ms = clock_wall_ms() - waiting.age_ms, bytes = 0;
    struct schedule_key endpoint = key_of(waiting.endpoint, 0);
    endpoint.row_key = UUID_NIL;
    buffer_init(&rows, 1 << 26);
    buffer_init(&scratch, 1 << 24);
    for (int i = 0; i < waiting.count; i++) {
        struct event *member = make_event(waiting.first_offset + i, waiting.payload_bytes);
        bytes += (int64_t)member->value.len;
        batches_member_row(&rows, &endpoint, member, waiting.activation ? waiting.activation : 1, arrived_at_ms,
                           &scratch);
        event_unref(&member);
    }
    schedule_changes_members(changes,
                             &(struct schedule_members){.endpoint = endpoint,
                                                        .activation = waiting.activation ? waiting.activation : 1,
                                                        .count = waiting.count,
                                                        .bytes = bytes,
                                                        .due_at_ms = arrived_at_ms + waiting.wait_ms,
                                                        .max_events = waiting.max_events ? waiting.max_events : 100,
                                                        .max_bytes = waiting.max_bytes ? waiting.max_bytes : 65536});
    int64_t first_seq = 0;
    enum status status = connection_exec(connection, "BEGIN", why);
    if (status == STATUS_OK)
        status = batches_next_seq(connection, &first_seq, why);
    schedule_changes_first_seq(changes, first_seq);
    if (status == STATUS_OK)
        status = batches_copy_members(connection, buffer_view(&rows), why);
    if (status == STATUS_OK)
        status = schedule_write(connection, changes, why);
    if (status == STATUS_OK)
        status = connection_exec(connection, "COMMIT", why);
    buffer_deinit(&rows);
    buffer_deinit(&scratch);
    schedule_changes_free(&changes);
    return status;
}

static void wait_for_batch(struct waiting waiting) {
    MUST(write_waiting(recorder, waiting, &error));
}

static struct batches_closing closing_of(int endpoint) {
    struct batches_closing closing = {key_of(endpoint, 0), 100, 65536, 5000, false};
    closing.endpoint.row_key = UUID_NIL;
    return closing;
}

struct closed {
    int made;
    bool more;
};

static struct closed close_all(const struct batches_closing *closings, size_t count) {
    struct closed closed = {0, false};
    MUST(batches_close(scheduler, closings, count, &bounds, &closed.made, &closed.more, &error));
    return closed;
}

static struct closed close_one(struct batches_closing closing) {
    return close_all(&closing, 1);
}

/* What the schedule has, closers first: kind, members, due. */
#define SCHEDULE                                                                                                       \
    "SELECT string_agg(CASE kind WHEN 2 THEN 'closer of ' || members || CASE WHEN due_at <= now() THEN ' due' ELSE "   \
    "'' "                                                                                                              \
    "END WHEN 1 THEN 'batch' || CASE WHEN due_at <= now() THEN ' due' ELSE '' END ELSE 'row' END, ', ' "               \
    "ORDER BY kind DESC, row_key) FROM schedule"

/* In each moment, for anybody who looks: members have a closer that counts them and begins with them or before, and a
 * closer has members. */
#define WRONG                                                                                                          \
    "SELECT count(*) FROM (SELECT workspace_id, subscription_id, count(*) AS n, sum(bytes) AS b, min(seq) AS seq "     \
    "FROM batch_members GROUP BY 1, 2) m FULL JOIN (SELECT * FROM schedule WHERE kind = 2) s "                         \
    "USING (workspace_id, subscription_id) WHERE s.members IS DISTINCT FROM m.n OR s.member_bytes IS DISTINCT FROM "   \
    "m.b OR s.record_offset > m.seq"

static void test_the_database_makes_the_same_records(void **state) {
    (void)state;
    static const struct statement RECORD = {"SELECT batch_record($1, $2::int4, $3::int8, $4::timestamptz, $5, $6, $7)"};
    struct event_header header = {SPAN_LITERAL("tracestate"), SPAN_LITERAL("a=\"\xc3\xa9\"")};
    struct event_rules rules = {SPAN_LITERAL("events.")};
    const struct span keys[] = {SPAN_LITERAL("k\0y"), SPAN_LITERAL(""), SPAN_NONE};
    const int64_t times[] = {0, 1700000000123, 253402300799999};
    const int64_t offsets[] = {0, 4294967297, INT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct event_record record = {SPAN_LITERAL("events.order.made"),
                                      INT32_MAX - (int32_t)i,
                                      offsets[i],
                                      times[i],
                                      keys[i],
                                      SPAN_LITERAL("{\"workspace_id\":\"w\xc3\xa9\",\"payload\":\"\\u0000\"}"),
                                      &header,
                                      i > 0};
        struct event *made = NULL;
        struct event_rejection rejection;
        struct params params;
        struct result *result = NULL;
        struct buffer wanted;
        assert_int_equal(event_read(&record, &rules, &made, &rejection), EVENT_ACCEPTED);
        buffer_init(&wanted, 4096);
        batch_add_record(made, &wanted);
        params_init(&params);
        params_text(&params, made->topic);
        params_int4(&params, made->partition);
        params_int8(&params, made->offset);
        params_timestamp(&params, made->timestamp_ms);
        params_bytea(&params, made->record_key);
        params_text(&params, made->headers);
        params_bytea(&params, made->value);
        MUST(connection_run(recorder, &RECORD, &params, &result, &error));
        struct span got = result_text(result, 0, 0);
        assert_int_equal(got.len, wanted.len);
        assert_memory_equal(got.data, wanted.data, wanted.len);
        result_free(&result);
        params_deinit(&params);
        buffer_deinit(&wanted);
        event_unref(&made);
    }
}

static void test_a_batch_waits_until_its_first_member_has_waited_long_enough(void **state) {
    (void)state;
    wait_for_batch((struct waiting){.endpoint = 1, .first_offset = 10, .count = 2, .age_ms = 1000, .wait_ms = 60000});
    ASK_IS(SCHEDULE, "closer of 2");
    ASK_IS("SELECT abs(extract(epoch FROM due_at - clock_timestamp()) - 59) < 30 FROM schedule", "t");
    /* A later one changes nothing; who asks too early gets nothing. */
    wait_for_batch((struct waiting){.endpoint = 1, .first_offset = 20, .count = 1, .wait_ms = 60000});
    ASK_IS("SELECT abs(extract(epoch FROM due_at - clock_timestamp()) - 59) < 30 FROM schedule", "t");
    assert_int_equal(close_one(closing_of(1)).made, 0);
    ASK_IS(SCHEDULE, "closer of 3");
    /* One whose wait is shorter makes it due earlier. */
    wait_for_batch((struct waiting){.endpoint = 1, .first_offset = 30, .count = 1, .age_ms = 100, .wait_ms = 50});
    ASK_IS(SCHEDULE, "closer of 4 due");
    struct closed closed = close_one(closing_of(1));
    assert_int_equal(closed.made, 1);
    assert_false(closed.more);
    ASK_IS(SCHEDULE, "batch due");
    ASK_IS("SELECT count(*) FROM batch_members", "0");
    ASK_IS("SELECT attempt || ' ' || fence || ' ' || activation || ' ' || held || ' ' || (row_key = event_key) || ' ' "
           "|| (bucket = schedule_bucket(workspace_id, subscription_id)) FROM schedule",
           "1 0 1 false true true");
    ASK_IS("SELECT b.id = s.row_key AND b.subscription_id = s.subscription_id AND cardinality(b.event_keys) = 4 "
           "FROM batches b, schedule s",
           "t");
    assert_int_equal(close_one(closing_of(1)).made, 0);
}

/* Offsets of the members of the only row, as they are read. */
static void expect_offsets(const char *wanted) {
    static const struct statement BODY = {"SELECT s.row_key, s.body, b.event_keys FROM schedule s "
                                          "JOIN batches b ON b.id = s.row_key WHERE s.kind = 1"};
    struct result *result = NULL;
    struct event *batch = NULL;
    struct span keys[64];
    char got[512] = "";
    MUST(connection_run(recorder, &BODY, NULL, &result, &error));
    assert_int_equal(result_rows(result), 1);
    struct uuid id = result_uuid(result, 0, 0);
    MUST(batch_read(&id, result_text(result, 0, 1), &(struct event_rules){SPAN_LITERAL("events.")}, &batch, &error));
    assert_int_equal(result_array(result, 0, 2, keys, 64), batch->member_count);
    for (size_t i = 0; i < batch->member_count; i++) {
        size_t len = strlen(got);
        snprintf(got + len, sizeof(got) - len, "%s%lld", i ? " " : "", (long long)batch->members[i]->offset);
        assert_memory_equal(keys[i].data, batch->members[i]->key.bytes, 16);
    }
    assert_string_equal(got, wanted);
    event_unref(&batch);
    result_free(&result);
}

static void test_the_order_inside_is_that_of_the_partition_whatever_the_order_of_writing(void **state) {
    (void)state;
    wait_for_batch((struct waiting){.endpoint = 1, .first_offset = 100, .count = 2});
    wait_for_batch((struct waiting){.endpoint = 1, .first_offset = 9, .count = 3});
    wait_for_batch((struct waiting){.endpoint = 1, .first_offset = 50, .count = 1});
    assert_int_equal(close_one(closing_of(1)).made, 1);
    expect_offsets("9 10 11 50 100 101");
}

static void test_a_batch_is_due_when_its_members_are_enough_and_takes_no_more(void **state) {
    (void)state;
    struct waiting some = {.endpoint = 1, .count = 3, .wait_ms = 60000, .max_events = 5};
    struct batches_closing closing = closing_of(1);
    closing.max_events = 5;
    wait_for_batch(some);
    ASK_IS(SCHEDULE, "closer of 3");
    some.first_offset = 10;
    wait_for_batch(some);
    ASK_IS(SCHEDULE, "closer of 6 due");
    struct closed closed = close_one(closing);
    assert_int_equal(closed.made, 1);
    assert_false(closed.more);
    expect_offsets("0 1 2 10 11");
    /* What is left waits from when the first of it came. */
    ASK_IS(SCHEDULE, "closer of 1, batch due");
    ASK_IS("SELECT s.due_at = m.arrived_at + interval '5 s' FROM schedule s, batch_members m WHERE s.kind = 2", "t");
    ASK_IS(WRONG, "0");
    /* Many more: batch after batch, until what is left does not fill one. */
    some.count = 11;
    some.first_offset = 20;
    wait_for_batch(some);
    closed = close_one(closing);
    assert_true(closed.made == 1 && closed.more);
    closed = close_one(closing);
    assert_true(closed.made == 1 && !closed.more);
    ASK_IS(SCHEDULE, "closer of 2, batch due, batch due, batch due");
    ASK_IS(WRONG, "0");
}

static void test_a_batch_is_due_when_its_bytes_are_enough(void **state) {
    (void)state;
    struct waiting some = {.endpoint = 1, .count = 2, .wait_ms = 60000, .payload_bytes = 1000, .max_bytes = 3500};
    struct batches_closing closing = closing_of(1);
    closing.max_bytes = 3500;
    wait_for_batch(some);
    ASK_IS(SCHEDULE, "closer of 2");
    some.first_offset = 10;
    wait_for_batch(some);
    ASK_IS(SCHEDULE, "closer of 4 due");
    assert_int_equal(close_one(closing).made, 1);
    expect_offsets("0 1 10");
    ASK_IS(SCHEDULE, "closer of 1, batch due");
    ASK_IS(WRONG, "0");
    /* One that is larger by itself is a batch of its own, and does not stay for ever. */
    pg_fixture_exec(recorder, "DELETE FROM schedule WHERE kind = 1");
    closing.max_bytes = 100;
    closing.at_once = true;
    assert_int_equal(close_one(closing).made, 1);
    expect_offsets("11");
    ASK_IS(SCHEDULE, "batch due");
}

static void test_members_of_two_activations_never_share_a_batch(void **state) {
    (void)state;
    wait_for_batch((struct waiting){.endpoint = 1, .first_offset = 0, .count = 2, .activation = 3});
    wait_for_batch((struct waiting){.endpoint = 1, .first_offset = 10, .count = 2, .activation = 4});
    wait_for_batch((struct waiting){.endpoint = 1, .first_offset = 20, .count = 1, .activation = 3});
    ASK_IS("SELECT activation FROM schedule", "3");
    assert_int_equal(close_one(closing_of(1)).made, 1);
    expect_offsets("0 1 20");
    ASK_IS("SELECT string_agg(kind || ':' || activation, ' ' ORDER BY kind) FROM schedule", "1:3 2:4");
    ASK_IS(WRONG, "0");
}

static void test_at_once_takes_what_is_not_due_and_leaves_the_rest_due(void **state) {
    (void)state;
    struct batches_closing closing = closing_of(1);
    closing.max_events = 2;
    closing.at_once = true;
    wait_for_batch((struct waiting){.endpoint = 1, .count = 3, .wait_ms = 60000});
    struct closed closed = close_one(closing);
    assert_true(closed.made == 1 && closed.more);
    ASK_IS(SCHEDULE, "closer of 1 due, batch due");
    closed = close_one(closing);
    assert_true(closed.made == 1 && !closed.more);
    ASK_IS(SCHEDULE, "batch due, batch due");
}

static void test_many_closers_at_once_each_with_its_own_limits(void **state) {
    (void)state;
    struct batches_closing closings[BATCHES_CLOSE_MAX];
    for (int i = 0; i < BATCHES_CLOSE_MAX; i++) {
        wait_for_batch((struct waiting){.endpoint = i, .first_offset = i, .count = 1 + i % 3});
        closings[BATCHES_CLOSE_MAX - 1 - i] = closing_of(i);
        closings[BATCHES_CLOSE_MAX - 1 - i].max_events = 2;
        closings[BATCHES_CLOSE_MAX - 1 - i].wait_ms = i % 2 ? 0 : 60000;
    }
    struct closed closed = close_all(closings, BATCHES_CLOSE_MAX);
    assert_int_equal(closed.made, BATCHES_CLOSE_MAX);
    assert_true(closed.more);
    ASK_IS(WRONG, "0");
    ASK_IS(
        "SELECT count(*) FROM schedule s JOIN batches b ON b.id = s.row_key AND b.subscription_id = s.subscription_id "
        "WHERE s.kind = 1 AND cardinality(b.event_keys) = 1 + least(get_byte(uuid_send(s.subscription_id), 15) % 3, 1)",
        "32");
    ASK_IS("SELECT bool_and((due_at <= now()) = (get_byte(uuid_send(subscription_id), 15) % 2 = 1)) AND count(*) = 10 "
           "FROM schedule WHERE kind = 2",
           "t");
}

static void test_who_comes_second_passes_by(void **state) {
    (void)state;
    struct closed closed = {0, false};
    wait_for_batch((struct waiting){.endpoint = 1, .count = 3});
    pg_fixture_exec(other, "BEGIN");
    pg_fixture_exec(other, "SELECT FROM schedule WHERE kind = 2 FOR UPDATE");
    assert_int_equal(close_one(closing_of(1)).made, 0);
    pg_fixture_exec(other, "ROLLBACK");
    closed = close_one(closing_of(1));
    assert_int_equal(closed.made, 1);
}

static void test_a_closer_is_never_claimed_held_or_swept(void **state) {
    (void)state;
    struct schedule_key key = key_of(1, 0);
    struct result *rows = NULL;
    struct schedule_due due;
    int64_t marked = 0;
    key.row_key = UUID_NIL;
    wait_for_batch((struct waiting){.endpoint = 1, .count = 3});
    struct result *looked = NULL;
    assert_int_equal(look(scheduler, UINT16_MAX, 10, 0, &looked), 1);
    schedule_due_read(looked, 0, &due);
    assert_int_equal(due.kind, SCHEDULE_CLOSER);
    MUST(schedule_claim(scheduler, &due, 1, 60000, &rows, &error));
    assert_int_equal(result_rows(rows), 0);
    result_free(&rows);
    MUST(schedule_claim_endpoint(scheduler, &key, INT64_MAX, 100, 1 << 20, 60000, &rows, &error));
    assert_int_equal(result_rows(rows), 0);
    result_free(&rows);
    MUST(schedule_mark_held(scheduler, &ME, &due, 1, 10000, &marked, &rows, &error));
    assert_int_equal(marked, 0);
    result_free(&rows);
    result_free(&looked);
    MUST(schedule_endpoints(scheduler, &(struct schedule_key){SPAN_NONE, UUID_NIL, UUID_NIL}, 10, &rows, &error));
    assert_int_equal(result_rows(rows), 1);
    assert_true(schedule_endpoint_gathers(rows, 0));
    result_free(&rows);
    ASK_IS(SCHEDULE, "closer of 3 due");
}

static void test_a_batch_of_another_day_is_refused_and_nothing_has_changed(void **state) {
    (void)state;
    struct closed closed = {7, true};
    struct partition_bounds wrong = {.now_ms = 0, .lower_ms = 0, .upper_ms = 86400000};
    struct batches_closing closing = closing_of(1);
    wait_for_batch((struct waiting){.endpoint = 1, .count = 3});
    assert_int_equal(batches_close(scheduler, &closing, 1, &wrong, &closed.made, &closed.more, &error), STATUS_FAILED);
    assert_true(closed.made == 7 && closed.more);
    ASK_IS(SCHEDULE, "closer of 3 due");
    ASK_IS(WRONG, "0");
    assert_int_equal(close_one(closing).made, 1);
}

static void test_the_limit_is_halved_once_for_each_version_and_not_below_its_least(void **state) {
    (void)state;
    struct uuid id = uuid_of(0xe0, 1);
    pg_fixture_exec(recorder, "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, render_version) "
                              "VALUES ('acme', 'e0000000-0000-0000-0000-000000000001', 'http://x/', '{*}', 0)");
    ASK_IS("SELECT version || ' ' || coalesce(batch_max_bytes, 0) FROM subscriptions", "1 0");
    const char *render = mem_strdup(ask("SELECT render_version FROM subscriptions"));
    MUST(batches_halve(recorder, WORKSPACE, &id, 1, &error));
    MUST(batches_halve(recorder, WORKSPACE, &id, 1, &error));
    ASK_IS("SELECT version || ' ' || batch_max_bytes FROM subscriptions", "2 32768");
    for (int version = 2; version < 20; version++)
        MUST(batches_halve(recorder, WORKSPACE, &id, version, &error));
    ASK_IS("SELECT version || ' ' || batch_max_bytes FROM subscriptions", "7 1024");
    ASK_IS("SELECT render_version FROM subscriptions", render);
    mem_free((void *)render);
}

static void test_halves_take_a_rows_place_only_where_it_is_as_it_was_claimed(void **state) {
    (void)state;
    struct schedule_changes *changes = schedule_changes_new();
    put_rows(1, 1, 5, false);
    struct schedule_key keys[] = {key_of(1, 1), key_of(1, 2), key_of(1, 9), key_of(1, 5)};
    int32_t fences[] = {claim_one(scheduler, 1, 1, 60000), claim_one(scheduler, 1, 2, 60000) - 1, 0,
                        claim_one(scheduler, 1, 5, 60000)};
    /* A part of the last one is erased while it is under way. */
    pg_fixture_exec(recorder, "UPDATE schedule SET body = substr(body, 2) WHERE get_byte(uuid_send(row_key), 15) = 5");
    schedule_changes_finish(changes, &(struct schedule_key){WORKSPACE, keys[0].subscription_id, uuid_of(0xa0, 4)}, 0);
    for (int i = 0; i < 4; i++) {
        struct schedule_new halves[] = {new_row(1, 20 + 2 * i), new_row(1, 21 + 2 * i)};
        halves[0].attempt = halves[1].attempt = 1;
        assert_int_equal(schedule_changes_split(changes, &keys[i], fences[i], event->value.len, halves), i);
    }
    pg_fixture_exec(recorder, "BEGIN");
    MUST(schedule_write(recorder, changes, &error));
    pg_fixture_exec(recorder, "COMMIT");
    assert_true(schedule_changes_was_split(changes, 0));
    assert_false(schedule_changes_was_split(changes, 1));
    assert_false(schedule_changes_was_split(changes, 2));
    assert_false(schedule_changes_was_split(changes, 3));
    ASK_IS(
        "SELECT string_agg(get_byte(uuid_send(row_key), 15) || ':' || attempt || ':' || fence, ' ' ORDER BY row_key) "
        "FROM schedule",
        "2:2:1 3:2:0 5:2:1 20:1:0 21:1:0");
    schedule_changes_free(&changes);
}

/* How many pages of the table of members and its index the last closing read. */
static int64_t pages_read(void) {
    pg_fixture_exec(scheduler, "SELECT pg_stat_force_next_flush()");
    return strtoll(ask("SELECT sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read) FROM "
                       "pg_statio_all_tables WHERE relname = 'batch_members'"),
                   NULL, 10);
}

/* Somebody's old snapshot keeps everything that is gone: closing costs no more than before. */
static void test_members_that_are_gone_cost_nothing(void **state) {
    (void)state;
    struct waiting some = {.endpoint = 1, .count = 50};
    struct batches_closing closing = closing_of(1);
    int64_t first = 0, last = 0;
    pg_fixture_exec(other, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM batch_members");
    for (int round = 0; round < 60; round++) {
        some.first_offset = 50 * round;
        wait_for_batch(some);
        ASK_IS("SELECT s.record_offset = min(m.seq) FROM schedule s, batch_members m WHERE s.kind = 2 GROUP BY "
               "s.record_offset",
               "t");
        int64_t before = pages_read();
        assert_int_equal(close_one(closing).made, 1);
        last = pages_read() - before;
        first = first ? first : last;
    }
    pg_fixture_exec(other, "ROLLBACK");
    assert_true(first > 0);
    if (last > 2 * first)
        fail_msg("%lld pages at first, %lld in the end", (long long)first, (long long)last);
}

/* ---- many at once ---- */

#define ENDPOINTS 3
#define ROUNDS 150

struct racer {
    pthread_t thread;
    struct connection *connection;
    int number;
    unsigned random;
    int written, made, conflicts;
    struct error error;
    bool failed;
    _Atomic bool *stop;
};

static unsigned next_random(struct racer *racer) {
    racer->random = racer->random * 1103515245u + 12345u;
    return racer->random >> 16;
}

/* Members of two endpoints in one transaction, in either order of keys: what a flush does. */
static void *write_on(void *ctx) {
    struct racer *racer = ctx;
    for (int round = 0; round < ROUNDS && !racer->failed; round++) {
        int count = 1 + (int)(next_random(racer) % 7);
        struct waiting waiting = {.endpoint = (int)(next_random(racer) % ENDPOINTS),
                                  .first_offset = racer->number * 1000000 + racer->written,
                                  .count = count,
                                  .wait_ms = next_random(racer) % 3 ? 60000 : 0,
                                  .max_events = 5};
        racer->failed = write_waiting(racer->connection, waiting, &racer->error) != STATUS_OK;
        racer->written += count;
    }
    return NULL;
}

static void *close_on(void *ctx) {
    struct racer *racer = ctx;
    while (!*racer->stop && !racer->failed) {
        struct batches_closing closings[ENDPOINTS];
        int made = 0;
        bool more = false;
        for (int i = 0; i < ENDPOINTS; i++) {
            closings[i] = closing_of(i);
            closings[i].max_events = 5;
            closings[i].at_once = next_random(racer) % 4 == 0;
        }
        enum status status =
            batches_close(racer->connection, closings, ENDPOINTS, &bounds, &made, &more, &racer->error);
        racer->made += made;
        racer->conflicts += status == STATUS_CONFLICT;
        racer->failed = status != STATUS_OK && status != STATUS_CONFLICT;
    }
    return NULL;
}

static void open_racer(struct racer *racer, int number, bool closes, _Atomic bool *stop) {
    *racer = (struct racer){.number = number, .random = (unsigned)number * 77777u, .stop = stop};
    racer->connection = pg_fixture_connect(database);
    if (closes)
        MUST(schedule_session(racer->connection, &error));
}

static void test_two_write_and_two_close_and_no_member_is_ever_without_its_closer(void **state) {
    (void)state;
    _Atomic bool stop = false;
    struct racer racers[4];
    int looks = 0, written = 0;
    for (int i = 0; i < 4; i++) {
        open_racer(&racers[i], i + 1, i >= 2, &stop);
        assert_int_equal(pthread_create(&racers[i].thread, NULL, i < 2 ? write_on : close_on, &racers[i]), 0);
    }
    for (bool running = true; running; looks++) {
        running = pthread_tryjoin_np(racers[0].thread, NULL) != 0;
        ASK_IS(WRONG, "0");
    }
    assert_int_equal(pthread_join(racers[1].thread, NULL), 0);
    stop = true;
    for (int i = 2; i < 4; i++)
        assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
    ASK_IS(WRONG, "0");
    for (int i = 0; i < 4; i++) {
        if (racers[i].failed)
            fail_msg("racer %d: %s", i, racers[i].error.text);
        written += racers[i].written;
        connection_free(&racers[i].connection);
    }
    assert_true(looks > 5 && racers[2].made + racers[3].made > 0);
    struct batches_closing last[ENDPOINTS];
    for (int i = 0; i < ENDPOINTS; i++) {
        last[i] = closing_of(i);
        last[i].max_events = 5;
        last[i].at_once = true;
    }
    while (close_all(last, ENDPOINTS).more)
        continue;
    ASK_IS("SELECT count(*) FROM schedule WHERE kind = 2", "0");
    ASK_IS("SELECT count(*) FROM batch_members", "0");
    /* Each once, in a batch of its endpoint that is not too large, and in the log's table as in the row. */
    char sql[256], wanted[64];
    snprintf(wanted, sizeof(wanted), "%d %d", written, written);
    snprintf(sql, sizeof(sql), "SELECT count(*) || ' ' || count(DISTINCT k) FROM batches, unnest(event_keys) k");
    ASK_IS(sql, wanted);
    ASK_IS("SELECT max(cardinality(event_keys)) FROM batches WHERE id IN (SELECT row_key FROM schedule)", "5");
    ASK_IS("SELECT count(*) FROM batches b FULL JOIN schedule s ON s.row_key = b.id AND s.subscription_id = "
           "b.subscription_id WHERE b.id IS NULL OR s.row_key IS NULL",
           "0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BATCHES_TEST(test_the_database_makes_the_same_records),
        BATCHES_TEST(test_a_batch_waits_until_its_first_member_has_waited_long_enough),
        BATCHES_TEST(test_the_order_inside_is_that_of_the_partition_whatever_the_order_of_writing),
        BATCHES_TEST(test_a_batch_is_due_when_its_members_are_enough_and_takes_no_more),
        BATCHES_TEST(test_a_batch_is_due_when_its_bytes_are_enough),
        BATCHES_TEST(test_members_of_two_activations_never_share_a_batch),
        BATCHES_TEST(test_at_once_takes_what_is_not_due_and_leaves_the_rest_due),
        BATCHES_TEST(test_many_closers_at_once_each_with_its_own_limits),
        BATCHES_TEST(test_who_comes_second_passes_by),
        BATCHES_TEST(test_a_closer_is_never_claimed_held_or_swept),
        BATCHES_TEST(test_a_batch_of_another_day_is_refused_and_nothing_has_changed),
        BATCHES_TEST(test_the_limit_is_halved_once_for_each_version_and_not_below_its_least),
        BATCHES_TEST(test_halves_take_a_rows_place_only_where_it_is_as_it_was_claimed),
        BATCHES_TEST(test_members_that_are_gone_cost_nothing),
        BATCHES_TEST(test_two_write_and_two_close_and_no_member_is_ever_without_its_closer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
