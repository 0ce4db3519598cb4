/* The scheduler's thread against a real PostgreSQL: members become batches, and batches deliveries. */
#include "dispatch/scheduler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler_fixture.h"
#include "store/batches.h"
#include "store/events.h"
#include "webhook/batch.h"

/* A version of an endpoint whose batches have three. */
static struct gate *gathers(int endpoint, enum subscription_status status, enum delivery_mode mode, int64_t version) {
    struct span types[] = {SPAN_LITERAL("*")};
    struct subscription_spec spec = {.id = uuid_of(0xe0, endpoint),
                                     .workspace_id = WORKSPACE,
                                     .status = status,
                                     .version = version,
                                     .activation = 1,
                                     .event_types = types,
                                     .event_type_count = 1,
                                     .delivery_mode = mode,
                                     .batch_max_events = 3,
                                     .batch_max_wait_ms = 60000,
                                     .url = SPAN_LITERAL("https://example.com/"),
                                     .format = SPAN_LITERAL("standard")};
    struct subscription *known = roster_find(roster, &spec.id), *made = NULL;
    MUST(subscription_new(&spec, known ? known->gate : NULL, &made, &error));
    struct gate *gate = made->gate;
    if (!known)
        atomic_store(&gate->slots, 10);
    roster_change_take(roster, &made, 1);
    subscription_unref(&known);
    return gate;
}

/* Members, due in so long. */
static void put_members(int endpoint, int64_t first_offset, int count, int64_t due_in_ms) {
    struct schedule_changes *changes = schedule_changes_new();
    struct schedule_key key = key_of(endpoint, 0);
    struct buffer rows, scratch;
    int64_t now_ms = clock_wall_ms(), bytes = 0;
    key.row_key = UUID_NIL;
    buffer_init(&rows, 1 << 20);
    buffer_init(&scratch, 1 << 20);
    for (int i = 0; i < count; i++) {
        struct event *member = make_event(first_offset + i, 10);
        batches_member_row(&rows, &key, member, 1, now_ms, &scratch);
        bytes += (int64_t)member->value.len;
        event_unref(&member);
    }
    schedule_changes_members(changes, &(struct schedule_members){.endpoint = key,
                                                                 .activation = 1,
                                                                 .count = count,
                                                                 .bytes = bytes,
                                                                 .due_at_ms = now_ms + due_in_ms,
                                                                 .max_events = 3,
                                                                 .max_bytes = 65536});
    pg_fixture_exec(recorder, "BEGIN");
    MUST(batches_copy_members(recorder, buffer_view(&rows), &error));
    MUST(schedule_write(recorder, changes, &error));
    pg_fixture_exec(recorder, "COMMIT");
    buffer_deinit(&rows);
    buffer_deinit(&scratch);
    schedule_changes_free(&changes);
}

static void expect_offsets(const struct delivery *delivery, int64_t first, size_t count) {
    assert_int_equal(delivery->event->member_count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(delivery->event->members[i]->offset, first + (int64_t)i);
}

static void test_a_full_batch_is_made_and_sent_and_the_rest_waits(void **state) {
    (void)state;
    struct gate *gate = gathers(1, SUBSCRIPTION_ACTIVE, DELIVERY_BATCHED, 1);
    put_members(1, 0, 8, 60000);
    start();
    WAIT_SENT(2);
    expect_offsets(sent.deliveries[0], 0, 3);
    expect_offsets(sent.deliveries[1], 3, 3);
    for (int i = 0; i < 2; i++) {
        const struct delivery *delivery = sent.deliveries[i];
        assert_true(delivery->has_row && delivery->fence == 1 && delivery->attempt == 1 && delivery->activation == 1);
        assert_true(uuid_equal(&delivery->row_key, &delivery->event->key));
    }
    assert_int_equal(atomic_load(&gate->slots), 8);
    ASK_IS("SELECT members || ' ' || (due_at > now() + interval '30 s') FROM schedule WHERE kind = 2", "2 true");
    put_members(1, 8, 1, 60000);
    WAIT_SENT(3);
    expect_offsets(sent.deliveries[2], 6, 3);
    pg_fixture_wait(recorder, "SELECT count(*) FROM schedule WHERE kind = 2", "0");
}

static void test_a_batch_leaves_when_its_time_has_come(void **state) {
    (void)state;
    gathers(1, SUBSCRIPTION_ACTIVE, DELIVERY_BATCHED, 1);
    start();
    int64_t began_ms = clock_mono_ms();
    put_members(1, 0, 2, 700);
    WAIT_SENT(1);
    assert_true(clock_mono_ms() - began_ms >= 650);
    expect_offsets(sent.deliveries[0], 0, 2);
}

static void test_an_endpoint_without_a_slot_has_its_batch_held(void **state) {
    (void)state;
    struct gate *gate = gathers(1, SUBSCRIPTION_ACTIVE, DELIVERY_BATCHED, 1);
    atomic_store(&gate->slots, 0);
    put_members(1, 0, 3, 0);
    start();
    WAIT_HELD(gate, true);
    pg_fixture_wait(recorder, "SELECT count(*) FROM schedule WHERE held AND kind = 1", "1");
    put_members(1, 3, 1, 60000);
    atomic_store(&gate->slots, 5);
    WAIT_SENT(1);
    expect_offsets(sent.deliveries[0], 0, 3);
    ASK_IS("SELECT held FROM schedule WHERE kind = 2", "f");
}

/* Rule C2. */
static void test_members_of_the_inactive_are_cancelled_as_batches_due_or_not(void **state) {
    (void)state;
    gathers(1, SUBSCRIPTION_PAUSED, DELIVERY_BATCHED, 1);
    put_members(1, 0, 4, 3600000);
    put_members(2, 10, 2, 3600000); /* nobody knows it, the database neither */
    put_members(3, 20, 2, 0);       /* nor this one, which is due */
    start();
    WAIT_CANCELLED(3);
    size_t members = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(cancelled.deliveries[i]->outcome, OUTCOME_CANCELLED);
        members += cancelled.deliveries[i]->event->member_count;
    }
    assert_int_equal(members, 8); /* the limits are those of nobody: the default ones */
    assert_int_equal(count_of(&sent), 0);
    ASK_IS("SELECT count(*) FROM schedule WHERE kind = 2", "0");
    ASK_IS("SELECT count(*) FROM batch_members", "0");
}

static void test_what_is_not_known_yet_is_left_alone(void **state) {
    (void)state;
    pg_fixture_exec(recorder, "INSERT INTO subscriptions (workspace_id, id, webhook_url, event_types) VALUES "
                              "('acme', 'e0000000-0000-0000-0000-000000000001', 'https://a', '{*}')");
    gathers(2, SUBSCRIPTION_ACTIVE, DELIVERY_BATCHED, 1);
    put_members(1, 0, 2, 0);
    put_members(2, 0, 3, 0);
    start();
    WAIT_SENT(1);
    ASK_IS("SELECT members FROM schedule WHERE kind = 2", "2");
    gathers(1, SUBSCRIPTION_ACTIVE, DELIVERY_BATCHED, 1);
    WAIT_SENT(2);
}

static void test_who_gathers_no_more_gets_what_waits_at_once(void **state) {
    (void)state;
    gathers(1, SUBSCRIPTION_ACTIVE, DELIVERY_BATCHED, 1);
    put_members(1, 0, 2, 3600000);
    put_members(2, 0, 2, 3600000);
    gathers(2, SUBSCRIPTION_ACTIVE, DELIVERY_BATCHED, 1);
    start();
    gathers(1, SUBSCRIPTION_ACTIVE, DELIVERY_IMMEDIATE, 2);
    WAIT_SENT(1);
    expect_offsets(sent.deliveries[0], 0, 2);
    ASK_IS("SELECT members FROM schedule WHERE kind = 2", "2");
}

static void test_a_batch_that_cant_be_read_leaves_a_log_row(void **state) {
    (void)state;
    gathers(1, SUBSCRIPTION_ACTIVE, DELIVERY_BATCHED, 1);
    put_members(1, 0, 3, 60000);
    pg_fixture_exec(recorder, "UPDATE batch_members SET record = record || '\\xff'");
    start();
    pg_fixture_wait(recorder, "SELECT count(*) FROM delivery_logs", "1");
    ASK_IS(
        "SELECT delivery_status || ' ' || error_code || ' ' || (batch_id = event_key) || ' ' || event_type || ' ' || "
        "webhook_url FROM delivery_logs",
        "cancelled unreadable true * https://example.com/");
    ASK_IS("SELECT count(*) FROM delivery_log_details", "3");
    ASK_IS("SELECT count(*) FROM schedule", "0");
    assert_int_equal(count_of(&sent), 0);
}

/* What a process that died leaves behind: rows whose leases have run out, their bodies in `events`. */
static void test_rows_without_a_body_are_filled_first_whatever_becomes_of_them(void **state) {
    (void)state;
    struct gate *full = gathers(2, SUBSCRIPTION_ACTIVE, DELIVERY_BATCHED, 1);
    gathers(3, SUBSCRIPTION_PAUSED, DELIVERY_BATCHED, 1);
    gathers(1, SUBSCRIPTION_ACTIVE, DELIVERY_BATCHED, 1);
    atomic_store(&full->slots, 0);
    MUST(partitions_ensure(recorder, &error));
    for (int endpoint = 1; endpoint <= 3; endpoint++) {
        struct schedule_new row = new_row(endpoint, endpoint);
        struct event *member = make_event(10 * endpoint, 30);
        struct buffer events, noted;
        struct schedule_changes *changes = schedule_changes_new();
        buffer_init(&events, 1 << 20);
        buffer_init(&noted, 1 << 20);
        struct event *batch = batch_new(&row.key.row_key, &member, 1);
        int64_t now_ms = clock_wall_ms();
        events_row(&events, now_ms, member, NULL, 0);
        batches_row(&noted, now_ms, &row.key.subscription_id, batch);
        row.event = batch;
        row.attempt = 1;
        row.lease_ms = 1;
        row.bare = true;
        schedule_changes_new_row(changes, &row);
        MUST(events_copy(recorder, buffer_view(&events), &error));
        MUST(batches_copy(recorder, buffer_view(&noted), &error));
        write_batch(changes);
        schedule_changes_free(&changes);
        event_unref(&batch);
        event_unref(&member);
        buffer_deinit(&events);
        buffer_deinit(&noted);
    }
    ASK_IS("SELECT count(*) FROM schedule WHERE body = ''", "3");
    start();
    WAIT_SENT(1);
    expect_offsets(sent.deliveries[0], 10, 1);
    WAIT_CANCELLED(1);
    expect_offsets(cancelled.deliveries[0], 30, 1);
    pg_fixture_wait(recorder, "SELECT count(*) FROM schedule WHERE held AND body <> ''", "1");
    atomic_store(&full->slots, 5);
    WAIT_SENT(2);
    expect_offsets(sent.deliveries[1], 20, 1);
}

/* A hundred endpoints at the same moment. */
static void test_many_are_closed_at_once(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) {
        gathers(i, SUBSCRIPTION_ACTIVE, DELIVERY_BATCHED, 1);
        put_members(i, i, 1, 0);
    }
    start();
    WAIT_SENT(100);
    ASK_IS("SELECT count(*) || ' ' || count(DISTINCT subscription_id) FROM batches", "100 100");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_full_batch_is_made_and_sent_and_the_rest_waits),
        TEST(test_rows_without_a_body_are_filled_first_whatever_becomes_of_them),
        TEST(test_a_batch_leaves_when_its_time_has_come),
        TEST(test_an_endpoint_without_a_slot_has_its_batch_held),
        TEST(test_members_of_the_inactive_are_cancelled_as_batches_due_or_not),
        TEST(test_what_is_not_known_yet_is_left_alone),
        TEST(test_who_gathers_no_more_gets_what_waits_at_once),
        TEST(test_a_batch_that_cant_be_read_leaves_a_log_row),
        TEST(test_many_are_closed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
