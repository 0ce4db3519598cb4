#include "store/schedule.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "schedule_fixture.h"

#define ALL_BUCKETS 0xffff

static int due_count(uint16_t buckets, int64_t overdue_ms) {
    struct result *rows = NULL;
    int count = look(scheduler, buckets, 1000, overdue_ms, &rows);
    result_free(&rows);
    return count;
}

/* ---- what a flush writes ---- */

static void test_new_row_has_the_record(void **state) {
    (void)state;
    struct schedule_changes *batch = schedule_changes_new();
    assert_true(schedule_changes_is_empty(batch));
    struct schedule_new row = new_row(1, 1);
    schedule_changes_new_row(batch, &row);
    assert_false(schedule_changes_is_empty(batch));
    write_batch(batch);
    assert_true(schedule_changes_is_empty(batch));
    schedule_changes_free(&batch);

    struct schedule_due due = seen(1, 1);
    struct result *rows = NULL;
    struct schedule_row read;
    MUST(schedule_claim(scheduler, &due, 1, 60000, &rows, &error));
    assert_int_equal(result_rows(rows), 1);
    schedule_row_read(rows, 0, &read);
    assert_true(span_is(read.key.workspace_id, "acme"));
    assert_true(uuid_equal(&read.key.subscription_id, &row.key.subscription_id));
    assert_true(uuid_equal(&read.key.row_key, &row.key.row_key));
    assert_true(uuid_equal(&read.event_key, &event->key));
    assert_int_equal(read.fence, 1);
    assert_int_equal(read.attempt, 2);
    assert_int_equal(read.activation, 1);
    assert_in_range(read.lateness_ms, 0, 5000);
    assert_true(span_equal(read.record.topic, event->topic));
    assert_int_equal(read.record.partition, 3);
    assert_int_equal(read.record.offset, 41);
    assert_int_equal(read.record.timestamp_ms, 1700000000123);
    assert_true(span_equal(read.record.key, event->record_key));
    assert_true(span_equal(read.record.value, event->value));
    assert_true(span_equal(read.headers, event->headers));
    result_free(&rows);
    char wanted[8];
    snprintf(wanted, sizeof(wanted), "%d", subscription_bucket(row.key.workspace_id, &row.key.subscription_id));
    ASK_IS("SELECT bucket FROM schedule", wanted);
}

static void test_times_of_new_rows(void **state) {
    (void)state;
    struct schedule_changes *batch = schedule_changes_new();
    struct schedule_new in = new_row(1, 1), at = new_row(1, 2), past = new_row(1, 3), leased = new_row(1, 4);
    in.due_in_ms = 60000;
    at.due_at_ms = 4102444800000; /* 2100-01-01 */
    past.due_at_ms = 1;
    leased.lease_ms = 30000;
    schedule_changes_new_row(batch, &leased);
    schedule_changes_new_row(batch, &past);
    schedule_changes_new_row(batch, &at);
    schedule_changes_new_row(batch, &in);
    write_batch(batch);
    schedule_changes_free(&batch);
    ASK_IS("SELECT count(*) FROM schedule WHERE due_at BETWEEN now() + interval '50 s' AND now() + interval '60 s' "
           "AND fence = 0 AND lease_until IS NULL AND right(row_key::text, 1) = '1'",
           "1");
    ASK_IS("SELECT due_at = '2100-01-01Z' FROM schedule WHERE right(row_key::text, 1) = '2'", "t");
    ASK_IS("SELECT due_at BETWEEN now() - interval '10 s' AND now() FROM schedule WHERE right(row_key::text, 1) = '3'",
           "t");
    ASK_IS("SELECT fence = 1 AND NOT held AND lease_until BETWEEN now() + interval '20 s' AND now() + interval '30 s' "
           "FROM schedule WHERE right(row_key::text, 1) = '4'",
           "t");
    assert_int_equal(due_count(ALL_BUCKETS, 0), 1);
}

static void test_existing_row_stays(void **state) {
    (void)state;
    put_rows(1, 1, 1, false);
    assert_int_equal(claim_one(scheduler, 1, 1, 60000), 1);
    put_rows(1, 1, 2, true);
    ASK_IS("SELECT string_agg(fence::text || held::text, ',' ORDER BY row_key) FROM schedule", "1false,0true");
}

static void test_retry_hold_and_finish_need_the_fence(void **state) {
    (void)state;
    put_rows(1, 1, 4, false);
    for (int row = 1; row <= 4; row++)
        assert_int_equal(claim_one(scheduler, 1, row, 60000), 1);
    struct schedule_changes *batch = schedule_changes_new();
    struct schedule_key key[5];
    for (int row = 1; row <= 4; row++)
        key[row] = key_of(1, row);
    schedule_changes_finish(batch, &key[3], 0);
    schedule_changes_hold(batch, &key[2], 2);
    schedule_changes_retry(batch, &key[1], 0, 9, 5000);
    write_batch(batch);
    ASK_IS("SELECT count(*) FROM schedule WHERE lease_until IS NOT NULL AND attempt = 2 AND NOT held", "4");

    schedule_changes_finish(batch, &key[4], -1);
    schedule_changes_finish(batch, &key[3], 1);
    schedule_changes_hold(batch, &key[2], 1);
    schedule_changes_retry(batch, &key[1], 1, 9, 5000);
    write_batch(batch);
    schedule_changes_free(&batch);
    ASK_IS("SELECT string_agg(right(row_key::text, 1) || attempt || held, ',' ORDER BY row_key) FROM schedule "
           "WHERE lease_until IS NULL AND fence = 1",
           "19false,22true");
    ASK_IS("SELECT due_at > now() + interval '3 s' FROM schedule WHERE attempt = 9", "t");
    ASK_IS("SELECT due_at <= now() FROM schedule WHERE held", "t");
    ASK_IS("SELECT count(*) FROM holds", "1");
}

/* The session of the recorder is as it was, whatever a flush did. */
static void test_settings_end_with_the_flush(void **state) {
    (void)state;
    struct schedule_changes *batch = schedule_changes_new();
    struct schedule_key key = key_of(1, 1);
    schedule_changes_finish(batch, &key, -1);
    write_batch(batch);
    schedule_changes_free(&batch);
    ASK_IS("SHOW enable_seqscan", "on");
}

static void test_thousands_of_rows_and_large_ones(void **state) {
    (void)state;
    struct event *large = make_event(42, 1000000);
    struct schedule_changes *batch = schedule_changes_new();
    for (int row = 0; row < 9000; row++) {
        struct schedule_new new = new_row(row % 7, row);
        if (row % 225 == 0)
            new.event = large;
        new.held = row % 2;
        schedule_changes_new_row(batch, &new);
    }
    write_batch(batch);
    ASK_IS("SELECT count(*) || ' ' || count(*) FILTER (WHERE length(body) > 1000000) FROM schedule", "9000 40");
    ASK_IS("SELECT count(*) FROM holds", "7");
    for (int row = 0; row < 9000; row++) {
        struct schedule_key key = key_of(row % 7, row);
        schedule_changes_finish(batch, &key, 0);
    }
    write_batch(batch);
    schedule_changes_free(&batch);
    event_unref(&large);
    ASK_IS("SELECT count(*) FROM schedule", "0");
}

static void test_text_outside_ascii_sorts_alike(void **state) {
    (void)state;
    static const char *const names[] = {"\xc3\xa9t\xc3\xa9", "Zoo", "a b", "\xf0\x9f\x98\x80", "z"};
    struct schedule_changes *batch = schedule_changes_new();
    for (int i = 0; i < 5; i++) {
        struct schedule_new row = new_row(1, i);
        row.key.workspace_id = span_of(names[i]);
        row.held = true;
        schedule_changes_new_row(batch, &row);
        schedule_changes_new_row(batch, &row);
    }
    write_batch(batch);
    schedule_changes_free(&batch);
    ASK_IS("SELECT string_agg(workspace_id, ',' ORDER BY ctid) = "
           "string_agg(workspace_id, ',' ORDER BY workspace_id COLLATE \"C\") FROM schedule",
           "t");
    ASK_IS("SELECT count(*) FROM holds", "5");
}

/* ---- claims ---- */

static void test_due_looks_by_bucket_and_time(void **state) {
    (void)state;
    put_rows(1, 1, 3, false);
    put_rows(2, 1, 2, true);
    uint16_t mine = (uint16_t)(1u << subscription_bucket(WORKSPACE, &(struct uuid){{0xe0, [15] = 1}}));
    assert_int_equal(due_count(mine, 0), 3);
    assert_int_equal(due_count((uint16_t)~mine, 0), 0);
    assert_int_equal(due_count(mine, 10000), 0);
    pg_fixture_exec(recorder, "UPDATE schedule SET due_at = now() - interval '11 s', activation = 5 "
                              "WHERE right(row_key::text, 1) = '2'");
    assert_int_equal(due_count(mine, 10000), 1);

    struct result *rows = NULL;
    struct schedule_due due;
    assert_int_equal(look(scheduler, mine, 1, 0, &rows), 1);
    schedule_due_read(rows, 0, &due);
    struct uuid oldest = uuid_of(0xa0, 2);
    assert_true(uuid_equal(&due.key.row_key, &oldest));
    assert_int_equal(due.activation, 5);
    assert_int_equal(due.body_bytes, event->value.len);
    assert_int_equal(due.kind, SCHEDULE_EVENT);
    result_free(&rows);
}

static void test_expired_lease_is_due_again_with_a_higher_fence(void **state) {
    (void)state;
    put_rows(1, 1, 1, false);
    assert_int_equal(claim_one(scheduler, 1, 1, 60000), 1);
    assert_int_equal(claim_one(other, 1, 1, 60000), -1);
    assert_int_equal(due_count(ALL_BUCKETS, 0), 0);
    pg_fixture_exec(recorder, "UPDATE schedule SET lease_until = now() - interval '1 ms'");
    assert_int_equal(due_count(ALL_BUCKETS, 0), 1);
    assert_int_equal(claim_one(other, 1, 1, 60000), 2);

    /* The first one's success comes late and must not end what the second one sends. */
    struct schedule_changes *batch = schedule_changes_new();
    struct schedule_key key = key_of(1, 1);
    schedule_changes_finish(batch, &key, 1);
    write_batch(batch);
    ASK_IS("SELECT fence FROM schedule", "2");
    schedule_changes_finish(batch, &key, 2);
    write_batch(batch);
    schedule_changes_free(&batch);
    ASK_IS("SELECT count(*) FROM schedule", "0");
}

static void test_retry_between_look_and_claim(void **state) {
    (void)state;
    put_rows(1, 1, 1, false);
    pg_fixture_exec(recorder, "UPDATE schedule SET due_at = now() + interval '1 min'");
    assert_int_equal(claim_one(scheduler, 1, 1, 60000), -1);
}

static void test_a_locked_row_is_not_waited_for(void **state) {
    (void)state;
    put_rows(1, 1, 2, false);
    pg_fixture_exec(recorder, "BEGIN; SELECT FROM schedule WHERE right(row_key::text, 1) = '1' FOR UPDATE");
    struct schedule_due both[] = {seen(1, 1), seen(1, 2)};
    struct result *rows = NULL;
    int64_t began_ms = clock_mono_ms();
    MUST(schedule_claim(scheduler, both, 2, 60000, &rows, &error));
    assert_int_equal(result_rows(rows), 1);
    assert_int_equal(schedule_claimed_number(rows, 0), 1);
    assert_true(clock_mono_ms() - began_ms < 900);
    result_free(&rows);
    pg_fixture_exec(recorder, "ROLLBACK");
}

#define RACE_ROWS 2000

struct racer {
    struct connection *connection;
    int claimed[RACE_ROWS];
    int count;
};

static void *race(void *ctx) {
    struct racer *racer = ctx;
    struct error mine;
    for (bool more = true; more;) {
        struct schedule_stretch all[16];
        struct schedule_walked walked[16];
        struct schedule_look wanted = {.stretches = all, .stretch_count = 16};
        struct result *found = NULL, *rows = NULL;
        int64_t now_ms;
        int count = 0;
        for (int bucket = 0; bucket < 16; bucket++)
            all[bucket] = (struct schedule_stretch){bucket, false, 0, INT64_MAX, 50, {{0}}, {{0}}};
        if (schedule_look(racer->connection, &wanted, walked, &now_ms, &found, &count, &mine) != STATUS_OK)
            return NULL;
        struct schedule_due chosen[16 * 50];
        more = count > 0;
        for (int i = 0; i < count; i++)
            schedule_due_read(found, i, &chosen[i]);
        if (more && schedule_claim(racer->connection, chosen, (size_t)count, 60000, &rows, &mine) != STATUS_OK)
            return NULL;
        for (int i = 0; more && i < result_rows(rows); i++) {
            struct uuid key = result_uuid(rows, i, 2);
            racer->claimed[key.bytes[14] << 8 | key.bytes[15]]++;
            racer->count++;
        }
        result_free(&rows);
        result_free(&found);
    }
    return racer;
}

static void test_two_claimers_never_get_the_same_row(void **state) {
    (void)state;
    put_rows(1, 0, RACE_ROWS - 1, false);
    static struct racer racers[2];
    memset(racers, 0, sizeof(racers));
    racers[0].connection = scheduler;
    racers[1].connection = other;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    for (int i = 0; i < 2; i++) {
        void *end = NULL;
        assert_int_equal(pthread_join(threads[i], &end), 0);
        assert_non_null(end);
    }
    for (int row = 0; row < RACE_ROWS; row++)
        assert_int_equal(racers[0].claimed[row] + racers[1].claimed[row], 1);
    ASK_IS("SELECT min(fence) || ' ' || max(fence) FROM schedule", "1 1");
}

static void test_claims_are_hot(void **state) {
    (void)state;
    put_rows(1, 0, 999, false);
    static struct schedule_due half[500];
    for (int i = 0; i < 500; i++)
        half[i] = seen(1, 2 * i);
    struct result *rows = NULL;
    MUST(schedule_claim(scheduler, half, 500, 60000, &rows, &error));
    assert_int_equal(result_rows(rows), 500);
    result_free(&rows);
    pg_fixture_exec(scheduler, "SELECT pg_stat_force_next_flush()");
    pg_fixture_wait(recorder, "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'schedule'", "500");
    ASK_IS("SELECT n_tup_hot_upd >= 490 FROM pg_stat_user_tables WHERE relname = 'schedule'", "t");
}

static const char *scans(const char *what, const char *view, const char *name, const char *value) {
    char sql[256];
    snprintf(sql, sizeof(sql), "SELECT %s FROM %s WHERE %s = '%s'", what, view, name, value);
    return ask(sql);
}

/* Plans are made while the table is empty, and have to be right when it is not. */
static void test_nothing_reads_the_whole_table(void **state) {
    (void)state;
    struct schedule_changes *batch = schedule_changes_new();
    pg_fixture_exec(recorder, "VACUUM ANALYZE schedule"); /* now it is known to be empty */
    for (int round = 0; round < 8; round++) {
        struct schedule_key key = key_of(1, round), endpoint = key_of(2, 0);
        struct result *rows = NULL;
        (void)due_count(ALL_BUCKETS, 0);
        MUST(schedule_endpoints(scheduler, &endpoint, 10, &rows, &error));
        result_free(&rows);
        MUST(schedule_claim_endpoint(scheduler, &endpoint, 1, 1, 1 << 20, 60000, &rows, &error));
        result_free(&rows);
        (void)drain(scheduler, 2, 1, 60000);
        MUST(holds_take(scheduler, &ME, 10, 60000, &error));
        (void)end_hold(scheduler, &ME, 2);
        int32_t fence = claim_one(scheduler, 1, round, 60000);
        schedule_changes_retry(batch, &key, fence, 3, 1000);
        schedule_changes_finish(batch, &endpoint, -1);
        write_batch(batch);
        if (round == 5) {
            put_rows(1, 0, 1999, false);
            put_rows(2, 0, 1999, true);
        }
    }
    schedule_changes_free(&batch);
    pg_fixture_exec(scheduler, "SELECT pg_stat_force_next_flush()");
    pg_fixture_exec(recorder, "SELECT pg_stat_force_next_flush()");
    pg_fixture_wait(recorder, "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'schedule'", "4000");
    assert_string_equal(scans("seq_tup_read", "pg_stat_user_tables", "relname", "schedule"), "0");
    assert_string_equal(scans("idx_scan >= 8 * 16", "pg_stat_user_indexes", "indexrelname", "schedule_due"), "t");
    assert_string_equal(scans("idx_tup_read BETWEEN 8 AND 99", "pg_stat_user_indexes", "indexrelname", "schedule_held"),
                        "t");
    assert_string_equal(scans("idx_tup_read < 100", "pg_stat_user_indexes", "indexrelname", "schedule_pkey"), "t");
}

/* How many entries of an index were walked since the last call. */
static int64_t walked_since(const char *index) {
    static int64_t before;
    pg_fixture_exec(scheduler, "SELECT pg_stat_force_next_flush()");
    pg_fixture_exec(scheduler, "SELECT 1");
    int64_t now = strtoll(scans("idx_tup_read", "pg_stat_user_indexes", "indexrelname", index), NULL, 10);
    int64_t walked = now - before;
    before = now;
    return walked;
}

static int64_t look_from(int64_t from_ms, int limit) {
    struct schedule_stretch all[16];
    struct schedule_walked walked[16];
    struct schedule_look wanted = {.stretches = all, .stretch_count = 16};
    struct result *rows = NULL;
    int64_t now_ms = 0;
    int count = 0;
    for (int bucket = 0; bucket < 16; bucket++)
        all[bucket] = (struct schedule_stretch){bucket, false, from_ms, INT64_MAX, limit, {{0}}, {{0}}};
    MUST(schedule_look(scheduler, &wanted, walked, &now_ms, &rows, &count, &error));
    result_free(&rows);
    return now_ms;
}

/* What was sent stays in the indexes while somebody keeps an old snapshot; who goes on where it ended does not meet it.
 */
static void test_an_old_snapshot_costs_nothing_where_the_last_look_ended(void **state) {
    (void)state;
    struct schedule_changes *batch = schedule_changes_new();
    struct result *rows = NULL;
    struct schedule_key from = key_of(1, 1500);
    put_rows(1, 0, 1499, false);
    put_rows(1, 1500, 2999, true);
    int64_t now_ms = look_from(0, 1);
    pg_fixture_exec(other, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM schedule LIMIT 1");
    for (int row = 0; row < 3000; row++) {
        struct schedule_key key = key_of(1, row);
        schedule_changes_finish(batch, &key, -1);
    }
    write_batch(batch);
    (void)walked_since("schedule_due");
    (void)look_from(0, 100);
    assert_in_range(walked_since("schedule_due"), 1500, 3000);
    (void)look_from(now_ms + 1, 100);
    assert_in_range(walked_since("schedule_due"), 0, 50);

    (void)walked_since("schedule_held");
    assert_int_equal(drain(scheduler, 1, 10, 60000), 0);
    assert_in_range(walked_since("schedule_held"), 1500, 3000);
    MUST(holds_drain(scheduler, &from, &(int){10}, &(int64_t){now_ms + 1}, 1, 1 << 20, 60000, &rows, &error));
    assert_int_equal(result_rows(rows), 0);
    result_free(&rows);
    assert_in_range(walked_since("schedule_held"), 0, 50);

    (void)walked_since("schedule_pkey");
    from.row_key = uuid_of(0xa0, 2999);
    MUST(schedule_claim_endpoint(scheduler, &from, 1, 10, 1 << 20, 60000, &rows, &error));
    result_free(&rows);
    assert_in_range(walked_since("schedule_pkey"), 0, 50);
    pg_fixture_exec(other, "ROLLBACK");
    schedule_changes_free(&batch);
}

/* Of a subscription whose rows are passed over only their number and their times are told. */
static void test_a_look_passes_over_a_crowd(void **state) {
    (void)state;
    struct uuid one = uuid_of(0xe0, 1);
    int bucket = subscription_bucket(WORKSPACE, &one), endpoint = 2;
    for (struct uuid id = uuid_of(0xe0, 2); subscription_bucket(WORKSPACE, &id) != bucket; id = uuid_of(0xe0, endpoint))
        endpoint++;
    put_rows(1, 1, 50, false);
    put_rows(endpoint, 1, 1, false);
    put_rows(1, 51, 60, false);
    struct uuid before = uuid_of(0xdf, 0xffff), after = uuid_of(0xe0, 2);
    memset(before.bytes + 1, 0xff, sizeof(before.bytes) - 1);
    struct schedule_stretch stretches[] = {{bucket, true, 0, INT64_MAX, 1000, UUID_NIL, UUID_NIL},
                                           {bucket, true, 0, INT64_MAX, 10, UUID_NIL, UUID_NIL},
                                           {bucket, false, 0, INT64_MAX, 5, UUID_NIL, UUID_NIL},
                                           {(bucket + 1) % 16, true, 0, INT64_MAX, 5, UUID_NIL, UUID_NIL},
                                           {bucket, true, 0, INT64_MAX, 10, UUID_NIL, before},
                                           {bucket, true, 0, INT64_MAX, 1, one, one},
                                           {bucket, true, 0, INT64_MAX, 10, after, UUID_NIL}};
    struct schedule_walked walked[7];
    struct schedule_look wanted = {stretches, 7, &one, 1, 0};
    struct result *rows = NULL;
    struct schedule_due due;
    int64_t now_ms = 0;
    int count = 0;
    MUST(schedule_look(scheduler, &wanted, walked, &now_ms, &rows, &count, &error));
    assert_int_equal(count, 1 + 5 + 1);
    for (int i = 0, crowd = 0, others = 0; i < count; i++) {
        schedule_due_read(rows, i, &due);
        crowd += uuid_equal(&due.key.subscription_id, &one);
        if (uuid_equal(&due.key.subscription_id, &one))
            assert_int_equal(due.stretch, 2);
        else
            assert_int_equal(due.stretch, others++ == 0 ? 0 : 6);
        assert_in_range(due.due_at_ms, now_ms - 20000, now_ms);
        assert_true(crowd <= 5);
    }
    assert_int_equal(walked[0].rows, 61);
    assert_int_equal(walked[1].rows, 10);
    assert_int_equal(walked[2].rows, 5);
    assert_int_equal(walked[3].rows, 0);
    assert_in_range(walked[0].passed_ms, now_ms - 20000, walked[0].last_ms);
    assert_true(walked[1].last_ms <= walked[0].last_ms);
    assert_int_equal(walked[2].passed_ms, INT64_MAX);
    assert_int_equal(walked[3].passed_ms, INT64_MAX);
    assert_int_equal(walked[4].rows, 0);
    assert_int_equal(walked[5].rows, 1);
    assert_int_equal(walked[5].passed_ms, walked[0].passed_ms);
    assert_int_equal(walked[6].rows, 1);
    assert_int_equal(walked[6].passed_ms, INT64_MAX);
    result_free(&rows);
}

static void test_claim_of_an_endpoint(void **state) {
    (void)state;
    put_rows(1, 1, 6, false);
    put_rows(1, 7, 8, true);
    put_rows(2, 1, 1, false);
    pg_fixture_exec(recorder, "UPDATE schedule SET due_at = now() + interval '1 h' WHERE NOT held");
    pg_fixture_exec(recorder, "UPDATE schedule SET activation = 2 WHERE right(row_key::text, 1) = '1'");
    pg_fixture_exec(recorder, "UPDATE schedule SET lease_until = now() + interval '1 h' "
                              "WHERE right(row_key::text, 1) = '2'");
    struct schedule_key endpoint = key_of(1, 0);
    struct result *rows = NULL;
    MUST(schedule_claim_endpoint(scheduler, &endpoint, 1, 100, (int64_t)event->value.len * 3, 60000, &rows, &error));
    assert_int_equal(result_rows(rows), 3); /* what the bytes allow */
    result_free(&rows);
    MUST(schedule_claim_endpoint(scheduler, &endpoint, 1, 2, 1 << 20, 60000, &rows, &error));
    assert_int_equal(result_rows(rows), 2);
    result_free(&rows);
    MUST(schedule_claim_endpoint(scheduler, &endpoint, INT64_MAX, 100, 1 << 20, 60000, &rows, &error));
    assert_int_equal(result_rows(rows), 2);
    result_free(&rows);
    ASK_IS("SELECT count(*) FROM schedule WHERE lease_until IS NULL", "1");
}

/* ---- whose rows, and measures ---- */

static void test_endpoints_page_by_page(void **state) {
    (void)state;
    for (int endpoint = 1; endpoint <= 5; endpoint++)
        put_rows(endpoint, 1, 20, endpoint % 2);
    struct schedule_key after = {SPAN_NONE, UUID_NIL, UUID_NIL};
    struct result *page = NULL, *before = NULL;
    for (int endpoint = 1; endpoint <= 5; endpoint += 2) {
        MUST(schedule_endpoints(scheduler, &after, 2, &page, &error));
        assert_int_equal(result_rows(page), endpoint < 5 ? 2 : 1);
        schedule_endpoint_read(page, 0, &after);
        struct uuid wanted = uuid_of(0xe0, endpoint);
        assert_true(uuid_equal(&after.subscription_id, &wanted));
        if (endpoint < 5)
            schedule_endpoint_read(page, 1, &after);
        result_free(&before);
        before = page;
    }
    MUST(schedule_endpoints(scheduler, &after, 2, &page, &error));
    assert_int_equal(result_rows(page), 0);
    result_free(&page);
    result_free(&before);
}

static void test_gone_subscriptions(void **state) {
    (void)state;
    pg_fixture_exec(recorder, "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, status) VALUES "
                              "('acme', 'e0000000-0000-0000-0000-000000000001', 'https://a', '{*}', 'paused'), "
                              "('acme', 'e0000000-0000-0000-0000-000000000002', 'https://a', '{*}', 'deleted'), "
                              "('acme', 'e0000000-0000-0000-0000-000000000003', 'https://a', '{*}', 'active')");
    struct schedule_key keys[] = {key_of(4, 0), key_of(3, 0), key_of(2, 0), key_of(1, 0)};
    bool gone[4];
    MUST(schedule_gone(scheduler, keys, 4, gone, &error));
    assert_true(gone[0] && !gone[1] && gone[2] && !gone[3]);
}

static void test_stats(void **state) {
    (void)state;
    struct schedule_stats stats;
    MUST(schedule_stats(scheduler, &stats, &error));
    assert_int_equal(stats.rows + stats.held + stats.oldest_due_ms, 0);
    put_rows(1, 1, 10, false);
    put_rows(2, 1, 3, true);
    pg_fixture_exec(recorder, "UPDATE schedule SET due_at = now() - interval '90 s' WHERE NOT held");
    assert_int_equal(claim_one(scheduler, 1, 1, 60000), 1);
    MUST(schedule_stats(scheduler, &stats, &error));
    assert_int_equal(stats.rows, 13);
    assert_int_equal(stats.held, 3);
    assert_in_range(stats.oldest_due_ms, 90000, 100000);
    pg_fixture_exec(recorder, "UPDATE schedule SET lease_until = now() + interval '1 h'");
    MUST(schedule_stats(scheduler, &stats, &error));
    assert_int_equal(stats.oldest_due_ms, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, schedule_setup, schedule_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_new_row_has_the_record),
        TEST(test_times_of_new_rows),
        TEST(test_existing_row_stays),
        TEST(test_retry_hold_and_finish_need_the_fence),
        TEST(test_settings_end_with_the_flush),
        TEST(test_thousands_of_rows_and_large_ones),
        TEST(test_text_outside_ascii_sorts_alike),
        TEST(test_due_looks_by_bucket_and_time),
        TEST(test_expired_lease_is_due_again_with_a_higher_fence),
        TEST(test_retry_between_look_and_claim),
        TEST(test_a_locked_row_is_not_waited_for),
        TEST(test_two_claimers_never_get_the_same_row),
        TEST(test_claims_are_hot),
        TEST(test_nothing_reads_the_whole_table),
        TEST(test_an_old_snapshot_costs_nothing_where_the_last_look_ended),
        TEST(test_a_look_passes_over_a_crowd),
        TEST(test_claim_of_an_endpoint),
        TEST(test_endpoints_page_by_page),
        TEST(test_gone_subscriptions),
        TEST(test_stats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
