/* A migrated database with two connections of schedulers and one of a recorder, and rows to put into the schedule.
 * Include it after cmocka.h. */
#ifndef TEST_SCHEDULE_FIXTURE_H
#define TEST_SCHEDULE_FIXTURE_H

#include "../db/pg_fixture.h"
#include "db/migrate.h"
#include "store/schedule.h"

#define WORKSPACE SPAN_LITERAL("acme")

static char *database;
static struct connection *recorder, *scheduler, *other;
static struct error error;
static struct event *event;
static const struct uuid ME = {{1}}, YOU = {{2}};

static inline void must(enum status status, int line) {
    if (status != STATUS_OK)
        fail_msg("line %d: status %d: %s", line, status, error.text);
}
#define MUST(status) must((status), __LINE__)

static inline struct event *make_event(int64_t offset, size_t payload_bytes) {
    struct buffer body;
    struct event *made = NULL;
    struct event_rules rules = {SPAN_LITERAL("events.")};
    struct event_rejection rejection;
    struct event_header header = {SPAN_LITERAL("traceparent"), SPAN_LITERAL("00-1-2-01")};
    buffer_init(&body, payload_bytes + 1024);
    buffer_text(&body, "{\"id\":\"e1\",\"workspace_id\":\"acme\",\"payload\":\"");
    for (size_t i = 0; i < payload_bytes; i++)
        buffer_char(&body, (char)('a' + i * 7 % 26));
    buffer_text(&body, "\"}");
    struct event_record record = {.topic = SPAN_LITERAL("events.order.made"),
                                  .partition = 3,
                                  .offset = offset,
                                  .timestamp_ms = 1700000000123,
                                  .key = SPAN_LITERAL("k\0y"),
                                  .value = buffer_view(&body),
                                  .headers = &header,
                                  .header_count = 1};
    if (event_read(&record, &rules, &made, &rejection) != EVENT_ACCEPTED)
        fail_msg("the event: %s", rejection.reason.text);
    buffer_deinit(&body);
    return made;
}

static inline int schedule_setup(void **state) {
    (void)state;
    database = pg_fixture_database();
    recorder = pg_fixture_connect(database);
    scheduler = pg_fixture_connect(database);
    other = pg_fixture_connect(database);
    MUST(migrate_run(recorder, pg_fixture_sql(), NULL, NULL, NULL, &error));
    MUST(schedule_session(scheduler, &error));
    MUST(schedule_session(other, &error));
    event = make_event(41, 100);
    return 0;
}

static inline int schedule_teardown(void **state) {
    (void)state;
    event_unref(&event);
    connection_free(&recorder);
    connection_free(&scheduler);
    connection_free(&other);
    pg_fixture_drop(&database);
    return 0;
}

static inline struct uuid uuid_of(int kind, int number) {
    struct uuid uuid = {{0}};
    uuid.bytes[0] = (uint8_t)kind;
    uuid.bytes[14] = (uint8_t)(number >> 8);
    uuid.bytes[15] = (uint8_t)number;
    return uuid;
}

static inline struct schedule_key key_of(int endpoint, int row) {
    return (struct schedule_key){WORKSPACE, uuid_of(0xe0, endpoint), uuid_of(0xa0, row)};
}

static inline struct schedule_new new_row(int endpoint, int row) {
    return (struct schedule_new){.key = key_of(endpoint, row), .event = event, .attempt = 2, .activation = 1};
}

static inline void write_batch(struct schedule_changes *batch) {
    pg_fixture_exec(recorder, "BEGIN");
    MUST(schedule_write(recorder, batch, &error));
    pg_fixture_exec(recorder, "COMMIT");
    schedule_changes_reset(batch);
}

/* Rows first…last of an endpoint, due now, held or not. */
static inline void put_rows(int endpoint, int first, int last, bool held) {
    struct schedule_changes *batch = schedule_changes_new();
    for (int row = first; row <= last; row++) {
        struct schedule_new new = new_row(endpoint, row);
        new.held = held;
        schedule_changes_new_row(batch, &new);
    }
    write_batch(batch);
    schedule_changes_free(&batch);
}

static inline const char *ask(const char *sql) {
    return pg_fixture_ask(recorder, sql);
}
#define ASK_IS(sql, wanted) assert_string_equal(ask(sql), (wanted))

/* Looks at whole buckets (a set of bits). Gives how many rows there are for schedule_due_read. */
static inline int look(struct connection *connection, uint16_t buckets, int limit, int64_t overdue_ms,
                       struct result **ret_rows) {
    struct schedule_stretch stretches[16];
    struct schedule_walked walked[16];
    struct schedule_look wanted = {.stretches = stretches, .overdue_ms = overdue_ms};
    int64_t now_ms = 0;
    int count = -1;
    for (int bucket = 0; bucket < 16; bucket++)
        if (buckets & (1u << bucket))
            stretches[wanted.stretch_count++] =
                (struct schedule_stretch){bucket, false, 0, INT64_MAX, limit, {{0}}, {{0}}};
    MUST(schedule_look(connection, &wanted, walked, &now_ms, ret_rows, &count, &error));
    return count;
}

/* A row as a look would find it, due or not. */
static inline struct schedule_due seen(int endpoint, int row) {
    static char places[4096][24];
    static size_t used;
    struct schedule_due due = {.key = key_of(endpoint, row)};
    char subscription[UUID_TEXT_LEN + 1], key[UUID_TEXT_LEN + 1], sql[256], *place = places[used++ % 4096];
    uuid_format(&due.key.subscription_id, subscription);
    uuid_format(&due.key.row_key, key);
    snprintf(sql, sizeof(sql),
             "SELECT coalesce((SELECT ctid FROM schedule WHERE subscription_id = '%s' AND row_key = '%s'), '(0,0)')",
             subscription, key);
    snprintf(place, sizeof(places[0]), "%.23s", ask(sql));
    due.place = span_of(place);
    return due;
}

/* Claims one row, if it is due. */
static inline int32_t claim_one(struct connection *connection, int endpoint, int row, int64_t lease_ms) {
    struct schedule_due due = seen(endpoint, row);
    struct result *rows = NULL;
    struct schedule_row read = {.fence = -1};
    MUST(schedule_claim(connection, &due, 1, lease_ms, &rows, &error));
    if (result_rows(rows) == 1)
        schedule_row_read(rows, 0, &read);
    result_free(&rows);
    return read.fence;
}

static inline int drain(struct connection *connection, int endpoint, int slots, int64_t lease_ms) {
    struct schedule_key key = key_of(endpoint, 0);
    struct result *rows = NULL;
    MUST(holds_drain(connection, &key, &slots, &(int64_t){0}, 1, 1 << 24, lease_ms, &rows, &error));
    int count = result_rows(rows);
    result_free(&rows);
    return count;
}

static inline bool end_hold(struct connection *connection, const struct uuid *process, int endpoint) {
    struct schedule_key key = key_of(endpoint, 0);
    bool ended = false;
    MUST(holds_end(connection, process, &key, 1, &ended, &error));
    return ended;
}

#endif
