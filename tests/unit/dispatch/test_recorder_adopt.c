/* Taking partitions over and giving them up (rules P3, P4 and P7). */
#include "dispatch/recorder.h"
#include "kafka/consumer.h"
#include "webhook/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder_fixture.h"

static struct subscription *subscriptions[2];

static int open_all(void **state) {
    for (int i = 0; i < 2; i++)
        subscriptions[i] = fixture_subscription(i + 1, "http://127.0.0.1/");
    return desk_open(state);
}

static int close_all(void **state) {
    int result = desk_close(state);
    for (int i = 0; i < 2; i++)
        subscription_unref(&subscriptions[i]);
    return result;
}

/* ---- rule P4, as a table ---- */

enum stored { NO_ROW, OTHERS_ROW /* the group is known, this partition is not */, ROW };
enum commit {
    NO_COMMIT,
    PLAIN_COMMIT, /* an operator's */
    OUR_COMMIT,
    YOUNGER_COMMIT, /* of a lineage that began after the row's … */
    OLDER_COMMIT,   /* … and before it: the first commit of the row's did not get through */
};
/* The row: lineage 2 from 40, next 50, bit 2 beyond it, epoch 6. The log begins at 10, and had 100 when the process
 * began. The commit is 70, of a lineage that began at 60. */
static const struct {
    const char *what;
    enum stored stored;
    enum commit commit;
    bool broken;
    enum start_from from;
    int64_t start;
    bool kept; /* the row's lineage, with all that is settled */
    int64_t first;
    int64_t reread_before;
} DECISIONS[] = {
    {"a new group", NO_ROW, NO_COMMIT, false, START_FROM_EARLIEST, 10, false, 10, 0},
    {"a new group, from now on", NO_ROW, NO_COMMIT, false, START_FROM_LATEST, 100, false, 100, 0},
    {"a new partition of a known group", OTHERS_ROW, NO_COMMIT, false, START_FROM_LATEST, 10, false, 10, 0},
    {"Kafka forgot the offset", ROW, NO_COMMIT, false, START_FROM_LATEST, 50, true, 40, 0},
    {"all is well", ROW, OUR_COMMIT, false, START_FROM_EARLIEST, 50, true, 40, 0},
    {"an operator's reset", ROW, PLAIN_COMMIT, false, START_FROM_EARLIEST, 70, false, 70, 0},
    {"an operator's offset for a new group", NO_ROW, PLAIN_COMMIT, false, START_FROM_LATEST, 70, false, 70, 0},
    {"a lineage that the database does not know", ROW, YOUNGER_COMMIT, false, START_FROM_EARLIEST, 60, false, 60,
     70 + TRACKER_WINDOW},
    {"a database that knows nothing", NO_ROW, OUR_COMMIT, false, START_FROM_LATEST, 60, false, 60, 70 + TRACKER_WINDOW},
    {"a commit that never came", ROW, OLDER_COMMIT, false, START_FROM_LATEST, 50, true, 40, 0},
    {"a log made again", ROW, OUR_COMMIT, true, START_FROM_LATEST, 10, false, 10, 120},
    {"a log made again, no offset", ROW, NO_COMMIT, true, START_FROM_LATEST, 10, false, 10, 120},
};

static void store_row(const char *topic) {
    char sql[512];
    snprintf(
        sql, sizeof(sql),
        "INSERT INTO progress (grp, topic, part, lineage, first_offset, epoch, next_offset, last_key, done, updated_at)"
        " VALUES ('" GROUP "', '%s', 0, '00000000-0000-7000-8000-000000000002', 40, 6, 50,"
        " '00000000-0000-7000-8000-000000000009', '\\x04', '2024-01-02T03:04:05Z')",
        topic);
    exec_sql(sql);
}

static struct partition *decide(size_t i) {
    static const int LINEAGES[] = {[OUR_COMMIT] = 2, [YOUNGER_COMMIT] = 3, [OLDER_COMMIT] = 1};
    struct adopt_item item = {
        .committed = CONSUMER_OFFSET_NONE, .low = 10, .high = 120, .latest = 100, .broken = DECISIONS[i].broken};
    exec_sql("DELETE FROM progress");
    if (DECISIONS[i].stored != NO_ROW)
        store_row(DECISIONS[i].stored == ROW ? TOPIC : "events.other");
    desk.settings.start_from = DECISIONS[i].from;
    if (DECISIONS[i].commit != NO_COMMIT)
        item.committed = 70;
    if (DECISIONS[i].commit >= OUR_COMMIT) {
        item.has_lineage = true;
        item.lineage = fixture_uuid(LINEAGES[DECISIONS[i].commit]);
        item.lineage_first = 60;
    }
    return adopt(item);
}

static void expect_decision(size_t i, const struct partition *partition) {
    struct uuid stored = fixture_uuid(2);
    bool kept = DECISIONS[i].kept;
    if (partition->start_offset != DECISIONS[i].start || partition->first_offset != DECISIONS[i].first ||
        uuid_equal(&partition->lineage, &stored) != kept)
        fail_msg("%s: at %lld of %lld", DECISIONS[i].what, (long long)partition->start_offset,
                 (long long)partition->first_offset);
    assert_true(kept || uuid_compare(&partition->lineage, &stored) > 0); /* a new one is the youngest */
    assert_int_equal(partition->epoch, DECISIONS[i].stored == ROW ? 7 : 1);
    assert_int_equal(partition->settled_offset, DECISIONS[i].start);
    assert_int_equal(partition->last_key.bytes[15], kept ? 9 : 0);
    assert_int_equal(partition->done_len, kept ? 1 : 0);
    if (kept)
        assert_true(partition_was_settled(partition, 52) && !partition_was_settled(partition, 51));
    assert_int_equal(partition->reread_before, DECISIONS[i].reread_before);
    assert_false(partition->revoked);
    assert_string_equal(partition->topic, TOPIC);
}

static void test_where_a_group_goes_on(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(DECISIONS) / sizeof(DECISIONS[0]); i++) {
        struct partition *partition = decide(i);
        char sql[256], lineage[UUID_TEXT_LEN + 1], wanted[64];
        expect_decision(i, partition);
        uuid_format(&partition->lineage, lineage);
        snprintf(sql, sizeof(sql),
                 "SELECT epoch || ' ' || next_offset || ' ' || first_offset || ' ' || (lineage = '%s') || ' ' ||"
                 " coalesce(right(last_key::text, 1), '-') FROM progress WHERE topic = '" TOPIC "'",
                 lineage);
        snprintf(wanted, sizeof(wanted), "%lld %lld %lld true %s", (long long)partition->epoch,
                 (long long)DECISIONS[i].start, (long long)DECISIONS[i].first, DECISIONS[i].kept ? "9" : "-");
        expect_sql(sql, wanted);
        give_up(partition);
        assert_true(revoked_within(PATIENCE_MS));
        partition_unref(&partition);
    }
}

/* A bitmap that is none costs looking again, and nothing else. */
static void test_a_bitmap_that_cannot_be_read_is_left_aside(void **state) {
    (void)state;
    store_row(TOPIC);
    exec_sql("UPDATE progress SET done = '\\x0400'");
    struct partition *partition = adopt((struct adopt_item){.committed = CONSUMER_OFFSET_NONE});
    assert_int_equal(partition->start_offset, 50);
    assert_false(partition_was_settled(partition, 52));
    struct record record = take(partition, 52, 1, subscriptions);
    delivered(&record.deliveries[0]);
    pg_fixture_wait(desk.connection, "SELECT next_offset FROM progress", "53");
    done_with(&record);
    partition_unref(&partition);
}

static void test_what_was_settled_beyond_the_prefix_is_not_written_again(void **state) {
    (void)state;
    store_row(TOPIC);
    struct partition *partition = adopt((struct adopt_item){.committed = CONSUMER_OFFSET_NONE});
    struct record fifty = take(partition, 50, 1, subscriptions), one = take(partition, 51, 1, subscriptions);
    struct record settled = make_record(partition, 52, 0, NULL);
    settled.taken->already_settled = true;
    announce(&settled);
    delivered(&fifty.deliveries[0]);
    delivered(&one.deliveries[0]);
    pg_fixture_wait(desk.connection, "SELECT next_offset FROM progress", "53");
    expect_sql("SELECT count(*) FROM events", "2");
    expect_nothing_outstanding(partition);
    done_with(&fifty);
    done_with(&one);
    done_with(&settled);
    partition_unref(&partition);
}

static void test_several_are_taken_over_at_once(void **state) {
    (void)state;
    enum { COUNT = 12 };
    struct adopt_message *message = mem_calloc(1, sizeof(*message) + COUNT * sizeof(message->items[0]));
    message->message.type = MESSAGE_ADOPT;
    message->reply = desk.answers;
    message->count = COUNT;
    for (int i = 0; i < COUNT; i++) {
        message->items[i] = (struct adopt_item){.committed = i, .number = (COUNT - 1 - i) / 2};
        message->items[i].topic = mem_strdup(i % 2 ? "events.a" : "events.b");
    }
    push_node(&message->message.node);
    assert_ptr_equal(answer_within(PATIENCE_MS), message);
    for (int i = 0; i < COUNT; i++) { /* each answer fits its question, wherever it stands now */
        struct adopt_item *item = &message->items[i];
        assert_string_equal(item->partition->topic, item->topic);
        assert_int_equal(item->partition->number, item->number);
        assert_int_equal(item->partition->start_offset, item->committed);
    }
    expect_sql("SELECT count(*) FROM progress", "12");
    adopt_message_free(&message);
}

/* ---- rule P7 ---- */

static void test_what_is_settled_is_given_up_at_once(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct record record = take(partition, 0, 1, subscriptions);
    delivered(&record.deliveries[0]);
    expect_nothing_outstanding(partition);
    int64_t began_ms = clock_mono_ms();
    give_up(partition);
    assert_true(revoked_within(PATIENCE_MS));
    assert_true(clock_mono_ms() - began_ms < 290); /* nobody's answer was waited for */
    assert_false(partition->revoked);
    assert_int_equal(lane.releases, 0);
    /* Whoever is the next begins behind it. */
    struct partition *next = adopt((struct adopt_item){.committed = CONSUMER_OFFSET_NONE});
    assert_int_equal(next->start_offset, 1);
    assert_int_equal(next->epoch, 2);
    done_with(&record);
    partition_unref(&next);
    partition_unref(&partition);
}

static void test_answers_in_time_need_no_parking(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct record record = take(partition, 0, 1, subscriptions);
    give_up(partition);
    assert_false(revoked_within(50));
    delivered(&record.deliveries[0]);
    assert_true(revoked_within(PATIENCE_MS));
    assert_int_equal(lane.releases, 0);
    expect_sql("SELECT next_offset || ' ' || (SELECT count(*) FROM delivery_logs) FROM progress", "1 1");
    done_with(&record);
    partition_unref(&partition);
}

static void test_the_rest_is_parked_after_300_ms(void **state) {
    (void)state;
    struct partition *partition = adopt_new(), *other = adopt((struct adopt_item){.committed = -1001, .number = 1});
    struct record record = take(partition, 0, 2, subscriptions), others = take(other, 0, 1, subscriptions);
    int64_t began_ms = clock_mono_ms();
    give_up(partition);
    WAIT_FOR(lane.releases == 1);
    assert_true(clock_mono_ms() - began_ms >= 290);
    assert_true(partition->revoked);
    assert_false(other->revoked);
    assert_false(revoked_within(20)); /* nothing is let go before it is written */
    hand_over(&record.deliveries[0], OUTCOME_PARKED);
    lease(record.deliveries[1]);
    assert_true(revoked_within(PATIENCE_MS));
    expect_sql("SELECT next_offset FROM progress WHERE part = 0", "1");
    expect_sql("SELECT count(*) FILTER (WHERE held) || ' ' || count(lease_until) FROM schedule", "1 1");
    assert_int_equal(lane.releases, 1);
    delivered(&others.deliveries[0]);
    expect_nothing_outstanding(partition);
    /* What was under way answers later, as the row's. */
    delivered(&record.deliveries[1]);
    pg_fixture_wait(desk.connection, "SELECT count(*) FROM schedule", "1");
    done_with(&record);
    done_with(&others);
    partition_unref(&partition);
    partition_unref(&other);
}

/* ---- a log that may have been read before ---- */

static void test_which_events_are_known(void **state) {
    (void)state;
    struct partition *partition = adopt_new();
    struct record record = take(partition, 0, 1, subscriptions);
    delivered(&record.deliveries[0]);
    expect_nothing_outstanding(partition);
    struct reread_message *message = mem_calloc(1, sizeof(*message) + 2 * sizeof(message->items[0]));
    message->message.type = MESSAGE_REREAD;
    message->reply = desk.answers;
    message->count = 2;
    message->items[0].event = fixture_event(1);
    message->items[1].event = fixture_event(0);
    push_node(&message->message.node);
    assert_ptr_equal(answer_within(PATIENCE_MS), message);
    assert_false(message->failed);
    assert_false(message->items[0].known);
    assert_true(message->items[1].known);
    reread_message_free(&message);
    done_with(&record);
    partition_unref(&partition);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_where_a_group_goes_on),
        TEST(test_a_bitmap_that_cannot_be_read_is_left_aside),
        TEST(test_what_was_settled_beyond_the_prefix_is_not_written_again),
        TEST(test_several_are_taken_over_at_once),
        TEST(test_what_is_settled_is_given_up_at_once),
        TEST(test_answers_in_time_need_no_parking),
        TEST(test_the_rest_is_parked_after_300_ms),
        TEST(test_which_events_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
