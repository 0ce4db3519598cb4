#include "db/connection.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "pg_fixture.h"

static char *database;
static struct connection *connection;
static struct error error;

static int group_setup(void **state) {
    (void)state;
    database = pg_fixture_database();
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    pg_fixture_drop(&database);
    return 0;
}

static int setup(void **state) {
    (void)state;
    connection = pg_fixture_connect(database);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    connection_free(&connection);
    return 0;
}

static struct result *run(const struct statement *statement, struct params *params) {
    struct result *result = NULL;
    if (connection_run(connection, statement, params, &result, &error) != STATUS_OK)
        fail_msg("%s: %s", statement->sql, error.text);
    return result;
}

static void test_session(void **state) {
    (void)state;
    assert_string_equal(pg_fixture_ask(connection, "SHOW timezone"), "UTC");
    assert_string_equal(pg_fixture_ask(connection, "SHOW jit"), "off");
    assert_string_equal(pg_fixture_ask(connection, "SHOW client_encoding"), "UTF8");
    assert_string_equal(pg_fixture_ask(connection, "SHOW application_name"), "hookcast test");
    assert_string_equal(pg_fixture_ask(connection, "SHOW statement_timeout"), "34s");
    assert_string_equal(pg_fixture_ask(connection, "SHOW idle_in_transaction_session_timeout"), "34s");
    assert_string_equal(pg_fixture_ask(connection, "SHOW client_connection_check_interval"), "5s");
}

static void test_the_servers_defaults_do_not_weaken_the_session(void **state) {
    (void)state;
    pg_fixture_exec(connection, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', "
                                "current_database()); EXECUTE format('ALTER DATABASE %I SET lock_timeout = 7', "
                                "current_database()); END $$");
    assert_int_equal(connection_open(connection, 5000, &error), STATUS_OK);
    assert_string_equal(pg_fixture_ask(connection, "SHOW synchronous_commit"), "on");
    assert_string_equal(pg_fixture_ask(connection, "SHOW lock_timeout"), "0");
}

static const struct statement ECHO = {
    "SELECT $1::bool, $2::int4, $3::int8, $4::text, $5::bytea, $6::uuid, $7::timestamptz, $8::jsonb, 2.5::float8,"
    " 1.25::float4, (-3)::int2"};

static void test_values_go_and_come(void **state) {
    (void)state;
    struct uuid uuid = uuid_new(INT64_C(1700000000123));
    struct span text = SPAN_LITERAL("grün 😀 \xe2\x80\xa8 'quoted' \\ end");
    struct params params;
    params_init(&params);
    for (int round = 0; round < 2; round++) { /* the second finds it prepared */
        params_reset(&params);
        params_bool(&params, true);
        params_int4(&params, INT32_MIN);
        params_int8(&params, INT64_MAX);
        params_text(&params, text);
        params_bytea(&params, SPAN_LITERAL("\0\xff\x80"));
        params_uuid(&params, &uuid);
        params_timestamp(&params, INT64_C(1700000000123));
        params_jsonb(&params, SPAN_LITERAL("{\"a\": [1, null]}"));
        struct result *result = run(&ECHO, &params);
        assert_int_equal(result_rows(result), 1);
        assert_true(result_bool(result, 0, 0));
        assert_int_equal(result_int(result, 0, 1), INT32_MIN);
        assert_int_equal(result_int(result, 0, 2), INT64_MAX);
        assert_true(span_equal(result_text(result, 0, 3), text));
        assert_true(span_equal(result_text(result, 0, 4), SPAN_LITERAL("\0\xff\x80")));
        struct uuid back = result_uuid(result, 0, 5);
        assert_true(uuid_equal(&back, &uuid));
        assert_int_equal(result_timestamp(result, 0, 6), INT64_C(1700000000123));
        assert_true(span_is(result_jsonb(result, 0, 7), "{\"a\": [1, null]}"));
        assert_true(fabs(result_double(result, 0, 8) - 2.5) < 1e-12);
        assert_true(fabs(result_double(result, 0, 9) - 1.25) < 1e-12);
        assert_int_equal(result_int(result, 0, 10), -3);
        result_free(&result);
        assert_null(result);
    }
    params_deinit(&params);
    assert_string_equal(pg_fixture_ask(connection, "SELECT count(*) FROM pg_prepared_statements"), "1");
}

static void test_nulls(void **state) {
    (void)state;
    static const enum param_type TYPES[] = {PARAM_BOOL,  PARAM_INT4, PARAM_INT8,      PARAM_TEXT,
                                            PARAM_BYTEA, PARAM_UUID, PARAM_TIMESTAMP, PARAM_JSONB};
    struct params params;
    params_init(&params);
    for (size_t i = 0; i < sizeof(TYPES) / sizeof(*TYPES); i++)
        params_null(&params, TYPES[i]);
    struct result *result = run(&ECHO, &params);
    for (int column = 0; column < 8; column++)
        assert_true(result_is_null(result, 0, column));
    assert_null(result_text(result, 0, 3).data);
    assert_null(result_jsonb(result, 0, 7).data);
    result_free(&result);
    params_deinit(&params);
}

static void test_timestamps_out_of_range_are_brought_in(void **state) {
    (void)state;
    static const struct statement IN_RANGE = {
        "SELECT $1::timestamptz < '4700-01-01 BC', $2::timestamptz > '290000-01-01'"};
    struct params params;
    params_init(&params);
    params_timestamp(&params, INT64_MIN);
    params_timestamp(&params, INT64_MAX);
    struct result *result = run(&IN_RANGE, &params);
    assert_true(result_bool(result, 0, 0));
    assert_true(result_bool(result, 0, 1));
    result_free(&result);
    params_deinit(&params);
}

static const struct statement UNNEST = {
    "SELECT count(*), count(t), string_agg(t, '|' ORDER BY i), sum(i), count(*) FILTER (WHERE b),"
    " count(DISTINCT u), min(w), count(j), array_agg(u ORDER BY i), array_agg(s ORDER BY i), array_agg(e)"
    "  FILTER (WHERE false)"
    " FROM unnest($1::text[], $2::int8[], $3::bool[], $4::uuid[], $5::timestamptz[], $6::jsonb[], $7::int2[], "
    "$8::int4[])"
    " AS r(t, i, b, u, w, j, s, e)"};

static void run_unnest(int rows, struct span *texts) {
    static const enum param_type TYPES[8] = {PARAM_TEXT,      PARAM_INT8,  PARAM_BOOL, PARAM_UUID,
                                             PARAM_TIMESTAMP, PARAM_JSONB, PARAM_INT2, PARAM_INT4};
    struct param_array arrays[8];
    struct params params;
    params_init(&params);
    for (int i = 0; i < 8; i++)
        array_init(&arrays[i], TYPES[i], 1 << 20);
    for (int row = 0; row < rows; row++) {
        array_text(&arrays[0], texts[row]);
        array_int8(&arrays[1], row + 1);
        array_bool(&arrays[2], row % 2 == 0);
        array_uuid(&arrays[3], &(struct uuid){{(uint8_t)row}});
        array_timestamp(&arrays[4], 1000 * row);
        array_text(&arrays[5], row == 0 ? SPAN_NONE : SPAN_LITERAL("[]"));
        array_int2(&arrays[6], (int16_t)(row * 10));
        array_null(&arrays[7]);
    }
    for (int i = 0; i < 8; i++)
        params_array(&params, &arrays[i]);
    struct result *result = run(&UNNEST, &params);
    assert_int_equal(result_int(result, 0, 0), rows);
    if (rows == 3) {
        struct span elements[3];
        assert_int_equal(result_int(result, 0, 1), 2);
        assert_true(span_is(result_text(result, 0, 2), "eins|dröi"));
        assert_int_equal(result_int(result, 0, 4), 2);
        assert_int_equal(result_int(result, 0, 5), 3);
        assert_int_equal(result_timestamp(result, 0, 6), 0);
        assert_int_equal(result_int(result, 0, 7), 2);
        assert_int_equal(result_array(result, 0, 8, elements, 3), 3);
        assert_int_equal(elements[2].len, 16);
        assert_int_equal(elements[2].data[0], 2);
        assert_int_equal(result_array(result, 0, 9, elements, 2), 3);
        assert_int_equal(elements[1].len, 2);
        assert_int_equal(elements[1].data[1], 10);
        assert_int_equal(result_array(result, 0, 10, elements, 3), 0);
    }
    result_free(&result);
    for (int i = 0; i < 8; i++)
        array_deinit(&arrays[i]);
    params_deinit(&params);
}

static void test_arrays(void **state) {
    (void)state;
    struct span texts[3] = {SPAN_LITERAL("eins"), SPAN_NONE, SPAN_LITERAL("dröi")};
    run_unnest(3, texts);
    run_unnest(0, texts);
}

static void test_affected_rows(void **state) {
    (void)state;
    static const struct statement UPDATE = {"UPDATE affected SET x = x + 1 WHERE x > $1"};
    pg_fixture_exec(connection, "CREATE TABLE affected AS SELECT * FROM generate_series(1, 10) AS g(x)");
    struct params params;
    params_init(&params);
    params_int4(&params, 4);
    struct result *result = run(&UPDATE, &params);
    assert_int_equal(result_affected(result), 6);
    assert_int_equal(result_rows(result), 0);
    result_free(&result);
    params_deinit(&params);
}

static void test_what_the_server_refuses_leaves_the_connection(void **state) {
    (void)state;
    static const struct statement WRONG = {"SELECT nothing FROM nowhere"};
    static const struct statement DIVIDE = {"SELECT 1 / $1::int4"};
    assert_int_equal(connection_run(connection, &WRONG, NULL, NULL, &error), STATUS_FAILED);
    assert_string_equal(connection_sqlstate(connection), "42P01");
    assert_non_null(strstr(error.text, "nowhere"));
    struct params params;
    params_init(&params);
    params_int4(&params, 0);
    assert_int_equal(connection_run(connection, &DIVIDE, &params, NULL, &error), STATUS_FAILED);
    params_deinit(&params);
    assert_string_equal(connection_sqlstate(connection), "22012");
    assert_true(connection_is_open(connection));
    assert_int_equal(connection_exec(connection, "SELECT 1; SELECT 1/0; SELECT 2", &error), STATUS_FAILED);
    assert_string_equal(pg_fixture_ask(connection, "SELECT 'fine'"), "fine");
    assert_string_equal(connection_sqlstate(connection), "");
}

static void test_conflicts(void **state) {
    (void)state;
    pg_fixture_exec(connection,
                    "CREATE TABLE conflicts (id int PRIMARY KEY, secret text); INSERT INTO conflicts VALUES (1)");
    assert_int_equal(connection_exec(connection, "INSERT INTO conflicts VALUES (1, 'hush')", &error), STATUS_CONFLICT);
    assert_string_equal(connection_sqlstate(connection), "23505");
    assert_int_equal(connection_exec(connection, "INSERT INTO conflicts VALUES (NULL, 'hush')", &error), STATUS_FAILED);
    assert_null(strstr(error.text, "hush"));
    struct connection *other = pg_fixture_connect(database);
    pg_fixture_exec(other, "BEGIN; LOCK TABLE conflicts");
    assert_int_equal(connection_exec(connection, "BEGIN; SET LOCAL lock_timeout = 10; LOCK TABLE conflicts", &error),
                     STATUS_CONFLICT);
    assert_string_equal(connection_sqlstate(connection), "55P03");
    pg_fixture_exec(connection, "ROLLBACK");
    connection_free(&other);
}

static void test_ask(void **state) {
    (void)state;
    struct buffer out;
    buffer_init(&out, 100);
    assert_int_equal(connection_ask(connection, "SELECT 42, 43", &out, &error), STATUS_OK);
    assert_string_equal(out.data, "42");
    assert_int_equal(connection_ask(connection, "SELECT 1 WHERE false", &out, &error), STATUS_NOT_FOUND);
    assert_int_equal(connection_ask(connection, "SELECT NULL", &out, &error), STATUS_NOT_FOUND);
    buffer_deinit(&out);
}

static void test_a_changed_table_is_prepared_anew(void **state) {
    (void)state;
    static const struct statement ALL = {"SELECT * FROM changing"};
    pg_fixture_exec(connection, "CREATE TABLE changing (a int); INSERT INTO changing VALUES (5)");
    struct result *result = run(&ALL, NULL);
    result_free(&result);
    pg_fixture_exec(connection, "ALTER TABLE changing ALTER a TYPE text");
    result = run(&ALL, NULL);
    assert_true(span_is(result_text(result, 0, 0), "5"));
    result_free(&result);
    pg_fixture_exec(connection, "DEALLOCATE ALL");
    result = run(&ALL, NULL);
    assert_int_equal(result_rows(result), 1);
    result_free(&result);
    /* In a transaction the caller has to begin again. */
    pg_fixture_exec(connection, "ALTER TABLE changing ALTER a TYPE varchar; BEGIN");
    assert_int_equal(connection_run(connection, &ALL, NULL, NULL, &error), STATUS_FAILED);
    pg_fixture_exec(connection, "ROLLBACK");
    result = run(&ALL, NULL);
    result_free(&result);
}

static void test_too_large_parameters_are_refused(void **state) {
    (void)state;
    static const struct statement LENGTH = {"SELECT length($1::text[]::text)"};
    struct params params;
    struct param_array array;
    params_init(&params);
    array_init(&array, PARAM_TEXT, 8);
    array_text(&array, SPAN_LITERAL("longer than eight"));
    params_array(&params, &array);
    assert_int_equal(connection_run(connection, &LENGTH, &params, NULL, &error), STATUS_INVALID);
    assert_true(connection_is_open(connection));
    array_deinit(&array);
    params_deinit(&params);
}

static void test_nothing_works_before_open(void **state) {
    (void)state;
    struct connection *closed = connection_new(database, "closed");
    assert_false(connection_is_open(closed));
    assert_int_equal(connection_exec(closed, "SELECT 1", &error), STATUS_UNAVAILABLE);
    connection_free(&closed);
}

static void test_errors_of_opening_keep_the_password(void **state) {
    (void)state;
    static const char *const STRINGS[] = {
        "postgresql://me:s3cret@127.0.0.1:1/x",
        "host=127.0.0.1 port=1 password=s3cret",
        "postgresql://me:s3cret@[::1/x",
        "host=/nowhere password=s3cret user=me",
        "password 's3cret",
        "postgresql://s3cret:s3cret@h:x:y/",
    };
    for (size_t i = 0; i < sizeof(STRINGS) / sizeof(*STRINGS); i++) {
        struct connection *bad = connection_new(STRINGS[i], "bad");
        enum status status = connection_open(bad, 3000, &error);
        assert_true(status == STATUS_UNAVAILABLE || status == STATUS_INVALID);
        assert_null(strstr(error.text, "s3cret"));
        assert_true(strlen(error.text) > 20);
        connection_free(&bad);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_session, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_servers_defaults_do_not_weaken_the_session, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_go_and_come, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nulls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timestamps_out_of_range_are_brought_in, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arrays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_affected_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_the_server_refuses_leaves_the_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conflicts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ask, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_changed_table_is_prepared_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_large_parameters_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_works_before_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors_of_opening_keep_the_password, setup, teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
