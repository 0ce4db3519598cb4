#include "dispatch/recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder_fixture.h"

#define ROWS "SELECT count(*) FROM schedule WHERE kind = 1"
#define MEMBERS "SELECT count(*) FROM batch_members"
#define LOGS "SELECT count(*) FROM delivery_logs"
#define EVENTS "SELECT count(*) FROM events"

/* Batches of three; slots: as the lane would have published them. */
static struct subscription *gathering(int number, int slots) {
    struct subscription_spec spec = fixture_spec(number, "http://127.0.0.1/");
    spec.delivery_mode = DELIVERY_BATCHED;
    spec.batch_max_events = 3;
    spec.batch_max_wait_ms = 60000;
    struct subscription *subscription = fixture_subscription_of(&spec, NULL);
    subscription->gate->slots = slots;
    return subscription;
}

/* One flush of so many events, each for all of these subscriptions. */
static void gather(struct partition *partition, int64_t first, int count, struct subscription *const *subscriptions,
                   int subscription_count) {
    struct record records[16];
    for (int i = 0; i < count; i++)
        records[i] = make_record(partition, first + i, subscription_count, subscriptions);
    struct queue_batch batch = {NULL, NULL};
    for (int i = 0; i < count; i++)
        queue_batch_add(&batch, &records[i].taken->message.node);
    for (int i = 0; i < count; i++)
        for (int s = 0; s < subscription_count; s++) {
            records[i].deliveries[s]->outcome = OUTCOME_BATCHED;
            queue_batch_add(&batch, &records[i].deliveries[s]->message.node);
            records[i].deliveries[s] = NULL;
        }
    recorder_push(desk.recorder, &batch);
    for (int i = 0; i < count; i++)
        done_with(&records[i]);
}

static void expect_offsets(const struct delivery *delivery, int64_t first, size_t count) {
    assert_int_equal(delivery->event->member_count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(delivery->event->members[i]->offset, first + (int64_t)i);
}

static void wait_next(int64_t offset) {
    char wanted[32];
    snprintf(wanted, sizeof(wanted), "%lld", (long long)offset);
    pg_fixture_wait(desk.connection, "SELECT next_offset FROM progress", wanted);
}

/* What the closer says; null: there is none. */
#define CLOSER                                                                                                         \
    "SELECT coalesce(max(members || ' of ' || attempt || CASE WHEN due_at <= now() THEN ' due' ELSE '' END), 'none') " \
    "FROM schedule WHERE kind = 2"

static void test_full_batches_leave_at_once_and_the_rest_waits(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *subscription = gathering(1, 10);
    gather(partition, 0, 8, &subscription, 1);
    wait_next(8);
    WAIT_FOR(lane_count() == 2);
    assert_int_equal(subscription->gate->slots, 8);
    expect_sql(EVENTS, "8");
    expect_sql(ROWS, "2");
    expect_sql(MEMBERS, "2");
    expect_sql(CLOSER, "2 of 3");
    expect_sql("SELECT extract(epoch FROM due_at - clock_timestamp()) BETWEEN 40 AND 60 FROM schedule WHERE kind = 2",
               "t");
    /* All of it by one transaction; the batches are leased to this process. */
    expect_sql(
        "SELECT count(DISTINCT x) FROM (SELECT xmin::text AS x FROM events UNION ALL SELECT xmin::text FROM batches"
        " UNION ALL SELECT xmin::text FROM schedule UNION ALL SELECT xmin::text FROM batch_members) t",
        "1");
    expect_sql(
        "SELECT bool_and(fence = 1 AND lease_until - now() BETWEEN '50 s' AND '61 s' AND attempt = 1 AND NOT held"
        " AND row_key = event_key) FROM schedule WHERE kind = 1",
        "t");
    expect_sql(
        "SELECT count(*) FROM batches b JOIN schedule s ON s.row_key = b.id JOIN LATERAL unnest(b.event_keys) k(k)"
        " ON true JOIN events e ON e.event_key = k.k WHERE s.kind = 1",
        "6");
    for (int i = 0; i < 2; i++) {
        struct delivery *delivery = lane_take();
        expect_offsets(delivery, 3 * i, 3);
        assert_true(delivery->has_row && delivery->fence == 1 && delivery->attempt == 1);
        assert_true(delivery->lease_deadline_ms - clock_mono_ms() > 20000);
        assert_true(delivery->lease_deadline_ms - clock_mono_ms() <= 40000);
        delivered(&delivery);
    }
    pg_fixture_wait(desk.connection, ROWS, "0");
    expect_sql("SELECT count(*) FROM delivery_logs WHERE delivery_status = 'success' AND batch_id = event_key"
               " AND event_id = batch_id::text AND event_type = 'order.created' AND workspace_id = 'w1'",
               "2");
    expect_sql("SELECT string_agg(member_position || ':' || record_offset, ' ' ORDER BY record_offset)"
               " FROM delivery_log_details",
               "1:0 2:1 3:2 1:3 2:4 3:5");
    /* Two more: the closer's batch is full. */
    gather(partition, 8, 1, &subscription, 1);
    pg_fixture_wait(desk.connection, CLOSER, "3 of 3 due");
    expect_nothing_outstanding(partition);
    subscription_unref(&subscription);
    partition_unref(&partition);
}

#define BODIES(row)                                                                                                    \
    "SELECT s.body = (SELECT string_agg(batch_record(e.topic, e.part, e.record_offset, e.record_time, e.record_key, "  \
    "e.headers, e.body), '' ORDER BY e.record_offset) FROM batches b, unnest(b.event_keys) k JOIN events e "           \
    "ON e.event_key = k WHERE b.id = s.row_key) FROM schedule s WHERE " row

/* The body of what leaves from memory is in `events`, and is written again only when its row stays. */
static void test_a_row_has_its_body_once_the_first_attempt_was_not_enough(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *subscription = gathering(1, 10);
    gather(partition, 0, 9, &subscription, 1);
    wait_next(9);
    WAIT_FOR(lane_count() == 3);
    expect_sql("SELECT count(*) FROM schedule WHERE body = ''", "3");
    struct delivery *failed = lane_take(), *parked = lane_take(), *never = lane_take();
    answered(failed, RETRY_AGAIN, 60000);
    hand_over(&failed, OUTCOME_ATTEMPTED);
    hand_over(&parked, OUTCOME_PARKED);
    hand_over(&never, OUTCOME_DROPPED);
    pg_fixture_wait(desk.connection, "SELECT count(*) FROM schedule WHERE attempt = 2", "1");
    pg_fixture_wait(desk.connection, "SELECT count(*) FROM schedule WHERE held", "1");
    expect_sql(BODIES("s.attempt = 2"), "t");
    expect_sql(BODIES("s.held"), "t");
    expect_sql("SELECT count(*) FROM schedule WHERE body = '' AND lease_until > now() AND fence = 1", "1");
    subscription_unref(&subscription);
    partition_unref(&partition);
}

static void test_a_batch_without_a_slot_is_the_schedulers(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *all[] = {gathering(1, 1), gathering(2, 5)};
    atomic_store(&all[1]->gate->held, true);
    gather(partition, 0, 6, all, 2);
    wait_next(6);
    WAIT_FOR(lane_count() == 1);
    /* The first has one slot: its second batch is due now. The other is held. */
    expect_sql(
        "SELECT string_agg(right(subscription_id::text, 1) || CASE WHEN held THEN ' held' WHEN lease_until IS NOT "
        "NULL THEN ' leased' WHEN due_at <= now() THEN ' due' END, ', ' ORDER BY subscription_id, fence) FROM schedule",
        "1 due, 1 leased, 2 held, 2 held");
    expect_sql("SELECT bool_and((body = '') = (lease_until IS NOT NULL)) FROM schedule", "t");
    expect_sql(BODIES("s.lease_until IS NULL AND NOT s.held"), "t");
    expect_sql("SELECT count(*) FROM holds WHERE right(subscription_id::text, 1) = '2'", "1");
    expect_sql(MEMBERS, "0");
    lane_forget();
    /* Nor does it go to a lane that has too much to do. */
    atomic_store(&all[1]->gate->held, false);
    lane.waiting = 100000;
    gather(partition, 6, 3, &all[1], 1);
    wait_next(9);
    assert_int_equal(lane_count(), 0);
    assert_int_equal(all[1]->gate->slots, 5);
    for (int i = 0; i < 2; i++)
        subscription_unref(&all[i]);
    partition_unref(&partition);
}

/* Rule P5: the flush is made again, and nothing of the first try counts. */
static void test_a_flush_that_has_to_be_made_again_sends_each_batch_once(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *subscription = gathering(1, 10);
    exec_sql("ALTER TABLE batches RENAME TO away");
    gather(partition, 0, 7, &subscription, 1);
    WAIT_FOR(subscription->gate->slots == 8); /* taken by the first try */
    pg_fixture_pause();
    assert_int_equal(lane_count(), 0);
    exec_sql("ALTER TABLE away RENAME TO batches");
    wait_next(7);
    WAIT_FOR(lane_count() == 2);
    assert_int_equal(subscription->gate->slots, 8);
    expect_sql(ROWS, "2");
    expect_sql(MEMBERS, "1");
    for (int i = 0; i < 2; i++) {
        char sql[160], id[UUID_TEXT_LEN + 1];
        struct delivery *delivery = lane_take();
        uuid_format(&delivery->row_key, id);
        snprintf(sql, sizeof(sql),
                 "SELECT count(*) FROM schedule s JOIN batches b ON b.id = s.row_key WHERE b.id = '%s'", id);
        expect_sql(sql, "1");
        delivery_free(&delivery);
    }
    subscription_unref(&subscription);
    partition_unref(&partition);
}

#define RECORDER_WAITS                                                                                                 \
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hookcast recorder' AND state = 'active' AND "     \
    "datname = current_database() AND wait_event = "

/* Rule P5: the COMMIT was under way and did not happen. */
static void test_what_was_not_committed_does_not_leave(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *subscription = gathering(1, 10);
    exec_sql("CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS"
             " $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;"
             "CREATE CONSTRAINT TRIGGER hang AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED"
             " FOR EACH ROW EXECUTE FUNCTION hang()");
    gather(partition, 0, 4, &subscription, 1);
    pg_fixture_wait(desk.connection, RECORDER_WAITS "'PgSleep' AND query = 'COMMIT'", "1");
    assert_int_equal(lane_count(), 0);
    cut_connection();
    exec_sql("DROP TRIGGER hang ON events");
    wait_next(4);
    WAIT_FOR(lane_count() == 1);
    expect_sql(ROWS, "1");
    expect_sql(MEMBERS, "1");
    struct delivery *delivery = lane_take();
    expect_offsets(delivery, 0, 3);
    delivered(&delivery);
    pg_fixture_wait(desk.connection, ROWS, "0"); /* the row is that of the delivery */
    subscription_unref(&subscription);
    partition_unref(&partition);
}

static void server_setting(const char *sql) {
    exec_sql(sql);
    exec_sql("SELECT pg_reload_conf()");
}

/* Rule P5: the COMMIT worked, and nobody heard of it, because it waits for a standby that does not exist. */
static void test_what_was_committed_leaves_though_nobody_heard_of_it(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *subscription = gathering(1, 100);
    struct connection *locker = pg_fixture_connect(desk.database);
    int64_t next = 0, deadline_ms = clock_mono_ms() + PATIENCE_MS;
    for (bool cut = false; !cut; next += 3) {
        assert_true(clock_mono_ms() < deadline_ms);
        pg_fixture_exec(locker, "BEGIN; LOCK events IN EXCLUSIVE MODE");
        gather(partition, next, 3, &subscription, 1);
        pg_fixture_wait(desk.connection, RECORDER_WAITS "'relation'", "1");
        server_setting("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        pg_fixture_exec(locker, "COMMIT");
        WAIT_FOR((cut = strcmp(pg_fixture_ask(desk.connection, RECORDER_WAITS "'SyncRep' AND query = 'COMMIT'"), "1") ==
                        0) ||
                 partition->settled_offset == next + 3);
        cut = cut && lane_count() == next / 3;
        if (cut)
            cut_connection();
        server_setting("ALTER SYSTEM RESET synchronous_standby_names");
        WAIT_FOR(partition->settled_offset == next + 3);
    }
    WAIT_FOR(lane_count() == next / 3);
    for (int64_t first = 0; first < next; first += 3) {
        struct delivery *delivery = lane_take();
        expect_offsets(delivery, first, 3);
        delivered(&delivery);
    }
    pg_fixture_wait(desk.connection, ROWS, "0");
    expect_sql("SELECT count(*) - count(DISTINCT k) FROM batches, unnest(event_keys) k", "0");
    assert_int_equal(desk.restored + desk.lost, 0);
    connection_free(&locker);
    subscription_unref(&subscription);
    partition_unref(&partition);
}

/* Rule P3. */
static void test_another_owners_epoch_leaves_no_member_and_no_batch(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *subscription = gathering(1, 10);
    exec_sql("UPDATE progress SET epoch = epoch + 1");
    gather(partition, 0, 4, &subscription, 1);
    WAIT_FOR(desk.lost == 1);
    WAIT_FOR(desk.budget.deliveries == 0);
    expect_sql("SELECT count(*) FROM schedule", "0");
    expect_sql(MEMBERS, "0");
    expect_sql("SELECT count(*) FROM batches", "0");
    assert_int_equal(lane_count(), 0);
    assert_int_equal(subscription->gate->slots, 10);
    subscription_unref(&subscription);
    partition_unref(&partition);
}

static void test_activations_and_endpoints_stay_apart(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *first = gathering(1, 10), *other = gathering(2, 10);
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.delivery_mode = DELIVERY_BATCHED;
    spec.version = 3;
    spec.activation = 2;
    spec.batch_max_events = 2;
    struct subscription *again = fixture_subscription_of(&spec, first->gate);
    struct record records[6];
    struct subscription *const turns[] = {first, again, other, first, again, first};
    struct queue_batch batch = {NULL, NULL};
    for (int i = 0; i < 6; i++) {
        records[i] = make_record(partition, i, 1, &turns[i]);
        queue_batch_add(&batch, &records[i].taken->message.node);
    }
    for (int i = 0; i < 6; i++) {
        records[i].deliveries[0]->outcome = OUTCOME_BATCHED;
        queue_batch_add(&batch, &records[i].deliveries[0]->message.node);
        records[i].deliveries[0] = NULL;
    }
    recorder_push(desk.recorder, &batch);
    for (int i = 0; i < 6; i++)
        done_with(&records[i]);
    wait_next(6);
    WAIT_FOR(lane_count() == 2);
    struct delivery *delivery = lane_take();
    assert_int_equal(delivery->activation, 1);
    assert_int_equal(delivery->event->members[1]->offset, 3);
    delivery_free(&delivery);
    delivery = lane_take();
    assert_int_equal(delivery->activation, 2);
    assert_int_equal(delivery->event->members[0]->offset, 1);
    assert_int_equal(delivery->event->members[1]->offset, 4);
    delivery_free(&delivery);
    expect_sql("SELECT string_agg(record_offset || ':' || activation, ' ' ORDER BY record_offset) FROM batch_members",
               "2:1 5:1");
    expect_sql("SELECT string_agg(right(subscription_id::text, 1) || ':' || members || ':' || attempt, ' ' ORDER BY 1) "
               "FROM schedule WHERE kind = 2",
               "1:1:2 2:1:3");
    subscription_unref(&first);
    subscription_unref(&again);
    subscription_unref(&other);
    partition_unref(&partition);
}

static void test_what_is_to_come_later_is_a_batch_of_one(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *subscription = gathering(1, 10);
    struct record record = take(partition, 0, 1, &subscription);
    record.deliveries[0]->due_at_ms = clock_wall_ms() + 100000;
    hand_over(&record.deliveries[0], OUTCOME_DELAYED);
    wait_next(1);
    expect_sql("SELECT kind || ' ' || (row_key = event_key) || ' ' || (due_at > now() + interval '50 s') FROM schedule",
               "1 true true");
    expect_sql("SELECT b.event_keys = ARRAY[e.event_key] AND b.id = s.row_key FROM batches b, events e, schedule s",
               "t");
    assert_int_equal(lane_count(), 0);
    done_with(&record);
    subscription_unref(&subscription);
    partition_unref(&partition);
}

static void insert_subscription(void) {
    exec_sql("INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types, render_version, batch_max_bytes) "
             "VALUES ('w1', '00000000-0000-7000-8000-000000000001', 'http://x/', '{*}', 0, 40000)");
}

static void test_a_413_leaves_a_log_row_and_two_halves_and_halves_the_limit(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *subscription = gathering(1, 10);
    insert_subscription();
    gather(partition, 0, 6, &subscription, 1);
    WAIT_FOR(lane_count() == 2);
    for (int i = 0; i < 2; i++) {
        struct delivery *delivery = lane_take();
        answered(delivery, RETRY_SPLIT, 0);
        delivery->status_code = 413;
        hand_over(&delivery, OUTCOME_ATTEMPTED);
    }
    pg_fixture_wait(desk.connection, LOGS, "2");
    expect_sql(
        "SELECT bool_and(delivery_status = 'failed' AND status_code = 413 AND NOT given_up AND batch_id = event_key"
        " AND next_attempt_at = created_at AND error_code = 'http_status') FROM delivery_logs",
        "t");
    expect_sql(ROWS, "4");
    expect_sql("SELECT bool_and(attempt = 1 AND fence = 0 AND lease_until IS NULL AND due_at <= now()) FROM schedule",
               "t");
    expect_sql("SELECT string_agg(n::text, ' ' ORDER BY n) FROM (SELECT cardinality(b.event_keys) AS n FROM batches b"
               " JOIN schedule s ON s.row_key = b.id) x",
               "1 1 2 2");
    expect_sql("SELECT count(DISTINCT k) FROM schedule s JOIN batches b ON b.id = s.row_key, unnest(b.event_keys) k",
               "6");
    /* Once, though both were of that version. */
    expect_sql("SELECT batch_max_bytes || ' ' || version FROM subscriptions", "20000 2");
    subscription_unref(&subscription);
    partition_unref(&partition);
}

static void test_what_is_too_long_is_split_without_a_log_row_and_only_by_its_owner(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *subscription = gathering(1, 10);
    insert_subscription();
    gather(partition, 0, 6, &subscription, 1);
    WAIT_FOR(lane_count() == 2);
    struct delivery *mine = lane_take(), *lost = lane_take();
    lost->fence = 7; /* another process has it by now */
    hand_over(&mine, OUTCOME_SPLIT);
    hand_over(&lost, OUTCOME_SPLIT);
    pg_fixture_wait(desk.connection, ROWS, "3");
    expect_sql("SELECT count(*) FROM batches", "4");
    expect_sql("SELECT count(*) FROM schedule WHERE fence = 1 AND lease_until > now()", "1");
    expect_sql(LOGS, "0");
    expect_sql("SELECT batch_max_bytes || ' ' || version FROM subscriptions", "40000 1");
    subscription_unref(&subscription);
    partition_unref(&partition);
}

static void *commit_soon(void *locker) {
    nanosleep(&(struct timespec){.tv_nsec = 200 * 1000 * 1000}, NULL); /* the recorder is being stopped by then */
    pg_fixture_exec(locker, "COMMIT");
    return NULL;
}

/* At its end the recorder gives nothing to lanes that have stopped. */
static void test_the_last_flush_leaves_its_batches_to_the_others(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct subscription *subscription = gathering(1, 10);
    struct connection *locker = pg_fixture_connect(desk.database);
    pg_fixture_exec(locker, "BEGIN; LOCK events IN EXCLUSIVE MODE");
    gather(partition, 0, 3, &subscription, 1);
    pg_fixture_wait(desk.connection, RECORDER_WAITS "'relation'", "1");
    gather(partition, 3, 3, &subscription, 1); /* waits for the flush that waits */
    pthread_t opener;
    assert_int_equal(pthread_create(&opener, NULL, commit_soon, locker), 0);
    recorder_stop(desk.recorder, clock_mono_ms() + PATIENCE_MS);
    assert_int_equal(pthread_join(opener, NULL), 0);
    expect_sql(
        "SELECT string_agg(CASE WHEN lease_until IS NULL THEN 'due' ELSE 'leased' END, ' ' ORDER BY row_key) FROM "
        "schedule",
        "leased due");
    assert_int_equal(lane_count(), 1);
    connection_free(&locker);
    recorder_free(&desk.recorder);
    lane_forget();
    queue_free(&desk.answers);
    loop_free(&desk.loop);
    recorder_open();
    subscription_unref(&subscription);
    partition_unref(&partition);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        DESK_TEST(test_full_batches_leave_at_once_and_the_rest_waits),
        DESK_TEST(test_a_row_has_its_body_once_the_first_attempt_was_not_enough),
        DESK_TEST(test_a_batch_without_a_slot_is_the_schedulers),
        DESK_TEST(test_a_flush_that_has_to_be_made_again_sends_each_batch_once),
        DESK_TEST(test_what_was_not_committed_does_not_leave),
        DESK_TEST(test_what_was_committed_leaves_though_nobody_heard_of_it),
        DESK_TEST(test_another_owners_epoch_leaves_no_member_and_no_batch),
        DESK_TEST(test_activations_and_endpoints_stay_apart),
        DESK_TEST(test_what_is_to_come_later_is_a_batch_of_one),
        DESK_TEST(test_a_413_leaves_a_log_row_and_two_halves_and_halves_the_limit),
        DESK_TEST(test_what_is_too_long_is_split_without_a_log_row_and_only_by_its_owner),
        DESK_TEST(test_the_last_flush_leaves_its_batches_to_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
