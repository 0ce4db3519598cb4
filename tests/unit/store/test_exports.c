#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/memory.h"
#include "store/exports.h"
#include "store/jobs.h"
#include "store_fixture.h"

#define W1 SPAN_LITERAL("w1")
#define LEASE_MS 60000
#define TWO "00000000-0000-7000-8000-000000000002"
#define NOBODY "00000000-0000-7000-8000-000000000000"

static const struct uuid OWNER = {{1}}, OTHER = {{2}};

static enum export_made try_make(int number, const char *request) {
    struct export_new export = {.id = numbered_uuid(number),
                                .workspace_id = W1,
                                .since_us = INT64_MIN,
                                .until_us = INT64_MAX,
                                .request = span_of(request)};
    enum export_made made;
    ok(exports_create(connection, &export, &made, &error));
    return made;
}

static void make(int number) {
    assert_int_equal(try_make(number, "{\"email\":\"a@example.org\",\"format\":\"csv\",\"lang\":\"fr\",\"start_date\":"
                                      "\"2026-01-01\"}"),
                     EXPORT_MADE);
}

/* The job; its spans are gone. */
static struct export_job take(const struct uuid *owner) {
    struct export_job job;
    struct result *rows = NULL;
    ok(exports_take(connection, owner, LEASE_MS, &job, &rows, &error));
    assert_true(span_is(job.workspace_id, "w1"));
    result_free(&rows);
    job.workspace_id = W1;
    job.request = SPAN_NONE;
    return job;
}

static void expect_none(const struct uuid *owner) {
    struct export_job job;
    struct result *rows = NULL;
    assert_int_equal(exports_take(connection, owner, LEASE_MS, &job, &rows, &error), STATUS_NOT_FOUND);
}

static bool counted(const struct uuid *owner, struct export_job *job, int64_t total) {
    bool held;
    ok(exports_counted(connection, owner, &job->id, total, &held, &error));
    return held;
}

static bool write_piece(const struct uuid *owner, struct export_job *job, struct span bytes, int64_t rows, bool end) {
    struct export_piece piece = {.bytes = bytes,
                                 .rows = rows,
                                 .at_us = rows ? INT64_C(1760000000123456) + job->done : 0,
                                 .last_id = numbered_uuid(100 + (int)job->done),
                                 .end = end};
    bool held;
    ok(exports_write(connection, owner, LEASE_MS, job, &piece, &held, &error));
    return held;
}

static void test_the_whole_way(void **state) {
    (void)state;
    expect_none(&OWNER);
    make(1);
    struct export_job job = take(&OWNER);
    assert_true(!job.counted && !job.begun && !job.wrong && job.chunks == 0 && job.tries == 1 && job.since_us == 0);
    expect_sql("SELECT state FROM jobs", "counting");
    assert_true(counted(&OWNER, &job, 7));
    assert_true(write_piece(&OWNER, &job, SPAN_LITERAL("one"), 3, false));
    assert_true(job.chunks == 1 && job.done == 3 && job.size == 3 && job.tries == 0);
    expect_sql("SELECT concat_ws(' ', state, total, done, size, chunks, tries, expires_at IS NULL) FROM jobs",
               "running 7 3 3 1 0 t");
    expect_sql("SELECT count(*) FROM mails", "0");
    /* In another process. */
    exec_sql("UPDATE jobs SET lease_until = now() - interval '1 ms'");
    job = take(&OTHER);
    struct uuid last = numbered_uuid(100);
    assert_true(job.counted && job.begun && job.at_us == INT64_C(1760000000123456) && uuid_equal(&job.last_id, &last));
    assert_true(job.chunks == 1 && job.done == 3 && job.size == 3 && job.tries == 1);
    assert_true(write_piece(&OTHER, &job, SPAN_LITERAL("two"), 5, true));
    expect_sql("SELECT concat_ws(' ', state, total, done, size, chunks, position IS NULL, finished_at >= started_at) "
               "FROM jobs",
               "done 8 8 6 2 t t");
    expect_sql(
        "SELECT expires_at = date_trunc('second', expires_at) AND expires_at BETWEEN now() + interval '6 d 23 h' "
        "AND now() + interval '7 d 1 s' FROM jobs",
        "t");
    expect_sql("SELECT string_agg(convert_from(body, 'UTF8'), '' ORDER BY number) || min(number) || max(workspace_id) "
               "FROM export_chunks",
               "onetwo1w1");
    expect_sql("SELECT concat_ws(' ', workspace_id, recipient, kind, about - 'expires_at_ms' - 'job_id') FROM mails",
               "w1 a@example.org export.ready {\"end\": null, \"lang\": \"fr\", \"rows\": 8, \"size\": 6, \"error\": "
               "null, \"start\": \"2026-01-01\", \"format\": \"csv\"}");
    expect_sql("SELECT (about ->> 'expires_at_ms')::int8 = extract(epoch FROM expires_at) * 1000 AND about ->> "
               "'job_id' = jobs.id::text FROM mails, jobs",
               "t");
    expect_none(&OWNER);
}

/* A lease that ran out is somebody else's job: what its former owner still writes does not count. */
static void test_nobody_writes_beside_another(void **state) {
    (void)state;
    bool held = true;
    make(1);
    struct export_job mine = take(&OWNER);
    expect_none(&OTHER);
    assert_true(counted(&OWNER, &mine, 9));
    exec_sql("UPDATE jobs SET lease_until = now() - interval '1 ms'");
    struct export_job theirs = take(&OTHER);
    assert_false(counted(&OWNER, &mine, 10));
    assert_false(write_piece(&OWNER, &mine, SPAN_LITERAL("mine"), 1, false));
    ok(exports_release(connection, &OWNER, &mine.id, 0, &held, &error));
    assert_false(held);
    ok(exports_fail(connection, &OWNER, &mine.id, "why", &held, &error));
    assert_false(held);
    assert_true(write_piece(&OTHER, &theirs, SPAN_LITERAL("theirs"), 2, false));
    /* Nor does a piece that was made before another one of the same owner. */
    struct export_job stale = theirs;
    stale.chunks = 0;
    assert_false(write_piece(&OTHER, &stale, SPAN_LITERAL("again"), 2, false));
    expect_sql("SELECT string_agg(convert_from(body, 'UTF8'), '') FROM export_chunks", "theirs");
    expect_sql("SELECT concat_ws(' ', total, done, size, chunks) FROM jobs", "9 2 6 1");
}

static void test_large_pieces_are_divided(void **state) {
    (void)state;
    size_t len = EXPORTS_CHUNK_MAX_BYTES * 2 + 1;
    char *bytes = mem_alloc(len);
    struct buffer out;
    make(1);
    struct export_job job = take(&OWNER);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 7 >> 3);
    assert_true(counted(&OWNER, &job, 1));
    assert_true(write_piece(&OWNER, &job, (struct span){bytes, len}, 1, false));
    assert_int_equal(job.chunks, 3);
    assert_true(write_piece(&OWNER, &job, SPAN_NONE, 0, true));
    assert_int_equal(job.chunks, 3);
    struct export_file file;
    exec_sql("INSERT INTO workspaces (id, erased_at) VALUES ('w1', now())");
    assert_int_equal(exports_file(connection, &job.id, &file, &error), STATUS_NOT_FOUND);
    exec_sql("UPDATE workspaces SET erased_at = NULL");
    ok(exports_file(connection, &job.id, &file, &error));
    assert_true(file.size == (int64_t)len && file.chunks == 3 && strcmp(file.format, "csv") == 0);
    buffer_init(&out, len);
    for (int i = 1; i <= 3; i++)
        ok(exports_read(connection, &job.id, i, &out, &error));
    assert_int_equal(out.len, len);
    assert_memory_equal(out.data, bytes, len);
    assert_int_equal(exports_read(connection, &job.id, 4, &out, &error), STATUS_NOT_FOUND);
    buffer_deinit(&out);
    mem_free(bytes);
}

static void test_turns_and_pauses(void **state) {
    (void)state;
    bool held;
    for (int i = 1; i <= 3; i++)
        make(i);
    for (int i = 0; i < 6; i++) {
        struct export_job job = take(&OWNER);
        assert_int_equal(job.id.bytes[15], 1 + i % 3);
        ok(exports_release(connection, &OWNER, &job.id, 0, &held, &error));
        assert_true(held);
    }
    expect_sql("SELECT max(tries) FROM jobs", "0");
    for (int i = 1; i <= 3; i++) {
        struct uuid id = take(&OWNER).id;
        ok(exports_release(connection, &OWNER, &id, 60000, &held, &error));
    }
    expect_none(&OWNER);
    expect_none(&OTHER);
    expect_sql("SELECT min(tries) FROM jobs", "1");
    exec_sql("UPDATE jobs SET lease_until = NULL");
    exec_sql("INSERT INTO workspaces (id, erased_at) VALUES ('w1', now())");
    expect_none(&OWNER);
}

static void test_failing_and_cancelling_take_the_file_away(void **state) {
    (void)state;
    bool held, ended, any;
    make(1);
    struct export_job job = take(&OWNER);
    assert_true(counted(&OWNER, &job, 1));
    assert_true(write_piece(&OWNER, &job, SPAN_LITERAL("x"), 1, false));
    ok(exports_fail(connection, &OWNER, &job.id, "a reason", &held, &error));
    assert_true(held);
    expect_sql("SELECT concat_ws(' ', state, error, expires_at <= now(), finished_at IS NOT NULL) FROM jobs",
               "failed a reason t t");
    expect_sql("SELECT kind || ' ' || (about ->> 'error') FROM mails", "export.failed a reason");
    ok(exports_clear(connection, 10, &any, &error));
    assert_true(any);
    expect_sql("SELECT count(*) FROM export_chunks", "0");
    make(2);
    job = take(&OWNER);
    assert_true(counted(&OWNER, &job, 1));
    assert_true(write_piece(&OWNER, &job, SPAN_LITERAL("x"), 1, false));
    ok(jobs_cancel(connection, W1, &job.id, &ended, &error));
    assert_false(ended);
    assert_false(write_piece(&OWNER, &job, SPAN_LITERAL("y"), 1, true));
    ok(exports_clear(connection, 10, &any, &error));
    assert_true(any);
    ok(exports_clear(connection, 10, &any, &error));
    assert_false(any);
    expect_sql("SELECT count(*) FROM export_chunks", "0");
    expect_sql("SELECT string_agg(state || chunks, ' ' ORDER BY id) FROM jobs", "failed0 cancelled0");
    exec_sql("INSERT INTO export_chunks VALUES ('" TWO "', 1, 'w1', '')");
    exec_sql("UPDATE jobs SET chunks = 1, expires_at = NULL WHERE id = '" TWO "'");
    ok(exports_clear(connection, 10, &any, &error));
    assert_true(any);
    expect_sql("SELECT count(*) FROM mails", "1");
}

static void test_files_go_in_bites_when_their_time_is_up(void **state) {
    (void)state;
    bool any = true, removed;
    struct export_file file;
    make(1);
    struct export_job job = take(&OWNER);
    assert_true(counted(&OWNER, &job, 5));
    for (int i = 0; i < 5; i++)
        assert_true(write_piece(&OWNER, &job, SPAN_LITERAL("piece"), 1, i == 4));
    ok(exports_clear(connection, 2, &any, &error));
    assert_false(any);
    ok(jobs_purge(connection, 0, 10, &error));
    expect_sql("SELECT count(*) FROM jobs", "1");
    ok(exports_remove(connection, SPAN_LITERAL("w2"), &job.id, &removed, &error));
    assert_false(removed);
    ok(exports_remove(connection, W1, &job.id, &removed, &error));
    assert_true(removed);
    expect_sql("SELECT count(*) FROM mails", "0");
    ok(exports_remove(connection, W1, &job.id, &removed, &error));
    assert_false(removed);
    assert_int_equal(exports_file(connection, &job.id, &file, &error), STATUS_NOT_FOUND);
    static const char *const LEFT[] = {"3 3", "1 1", "0 0"};
    for (size_t i = 0; i < sizeof(LEFT) / sizeof(*LEFT); i++) {
        ok(exports_clear(connection, 2, &any, &error));
        assert_true(any);
        expect_sql("SELECT concat_ws(' ', (SELECT count(*) FROM export_chunks), chunks) FROM jobs", LEFT[i]);
    }
    ok(exports_clear(connection, 2, &any, &error));
    assert_false(any);
    ok(jobs_purge(connection, 0, 10, &error));
    expect_sql("SELECT count(*) FROM jobs", "0");
}

static void test_a_workspace_is_bounded(void **state) {
    (void)state;
    for (int i = 1; i <= EXPORTS_MAX_OPEN; i++)
        make(i);
    assert_int_equal(try_make(50, "{}"), EXPORT_TOO_MANY);
    exec_sql("UPDATE jobs SET state = 'done', size = 1 + 4 * (1024 * 1024 * 1024::bigint) / 10, chunks = 1");
    assert_int_equal(try_make(50, "{}"), EXPORT_TOO_LARGE);
    exec_sql("UPDATE jobs SET chunks = 0 WHERE id = (SELECT min(id::text)::uuid FROM jobs)");
    assert_int_equal(try_make(50, "{}"), EXPORT_MADE);
}

static void test_nobody_is_told_where_nobody_was_named(void **state) {
    (void)state;
    assert_int_equal(try_make(1, "{\"format\":\"csv\"}"), EXPORT_MADE);
    struct export_job job = take(&OWNER);
    assert_true(counted(&OWNER, &job, 0));
    assert_true(write_piece(&OWNER, &job, SPAN_LITERAL("x"), 0, true));
    expect_sql("SELECT (SELECT count(*) FROM mails) || state FROM jobs", "0done");
}

static void test_a_position_that_only_sql_can_have_written_is_wrong(void **state) {
    (void)state;
    static const char *const POSITIONS[] = {"{\"at_us\":1}", "{\"at_us\":\"x\",\"id\":\"" NOBODY "\"}",
                                            "{\"at_us\":1,\"id\":\"x\"}", "{\"at_us\":1.5,\"id\":\"" NOBODY "\"}"};
    make(1);
    for (size_t i = 0; i < sizeof(POSITIONS) / sizeof(*POSITIONS); i++) {
        char sql[200];
        snprintf(sql, sizeof(sql), "UPDATE jobs SET position = '%s'", POSITIONS[i]);
        exec_sql(sql);
        assert_non_null(take(&OWNER).wrong);
    }
    exec_sql("UPDATE jobs SET position = '{\"at_us\":-5,\"id\":\"" NOBODY "\"}'");
    struct export_job job = take(&OWNER);
    assert_true(!job.wrong && job.at_us == -5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_the_whole_way),
        STORE_TEST(test_nobody_writes_beside_another),
        STORE_TEST(test_large_pieces_are_divided),
        STORE_TEST(test_turns_and_pauses),
        STORE_TEST(test_failing_and_cancelling_take_the_file_away),
        STORE_TEST(test_files_go_in_bites_when_their_time_is_up),
        STORE_TEST(test_a_workspace_is_bounded),
        STORE_TEST(test_nobody_is_told_where_nobody_was_named),
        STORE_TEST(test_a_position_that_only_sql_can_have_written_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
