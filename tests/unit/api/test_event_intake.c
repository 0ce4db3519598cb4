/* Bodies as event_intake reads them: what it takes, byte for byte, and how it names what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"
#include "api/event_intake.h"
#include "call_fixture.h"
#include "core/settings.h"
#include "db/migrate.h"

static char *database;
static struct connection *connection;
static struct error error;
static char prefix[] = "events.";
static struct settings settings = {.topic_prefix = prefix};

static int setup(void **state) {
    (void)state;
    database = pg_fixture_database();
    connection = pg_fixture_connect(database);
    return migrate_run(connection, pg_fixture_sql(), NULL, NULL, NULL, &error) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    connection_free(&connection);
    pg_fixture_drop(&database);
    return 0;
}

static struct call *call_of(struct span body) {
    struct call *call = call_fixture(NULL);
    call->body = body;
    call->connection = connection;
    call->settings = &settings;
    call->workspace_id = SPAN_LITERAL("acme");
    return call;
}

/* The ids of a body that is taken. */
static void expect_taken(const char *body, const char *const *ids, size_t count) {
    struct call *call = call_of(span_of(body));
    struct event_intake intake;
    assert_int_equal(event_intake_read(call, &intake, &error), STATUS_OK);
    assert_null(call->errors);
    assert_int_equal(call->status, 0);
    assert_int_equal(publication_count(intake.publication), count);
    for (size_t i = 0; i < count; i++)
        assert_true(span_is(intake.ids[i], ids[i]));
    publication_free(&intake.publication);
    call_free(&call);
}

static void test_ids_as_they_were_written(void **state) {
    (void)state;
    expect_taken("{\"event_type\":\"message.new\",\"id\":\"a\"}", (const char *[]){"\"a\""}, 1);
    expect_taken(
        " [ {\"id\" : -0, \"event_type\":\"call.new\"} ,{\"event_type\":\"c\\u0061ll.new\",\"id\":\"\\u0061\\\"\"}]",
        (const char *[]){"-0", "\"\\u0061\\\"\""}, 2);
    struct call *call = call_of(SPAN_LITERAL("{\"event_type\":\"message.new\",\"id\":null}"));
    struct event_intake intake;
    assert_int_equal(event_intake_read(call, &intake, &error), STATUS_OK);
    assert_int_equal(intake.ids[0].len, 38);
    assert_memory_equal(intake.ids[0].data, "\"evt_", 5);
    publication_free(&intake.publication);
    call_free(&call);
}

/* The message about a field of a body that is refused. */
static void expect_refused(struct span body, const char *field, const char *says) {
    struct call *call = call_of(body);
    struct event_intake intake;
    assert_int_equal(event_intake_read(call, &intake, &error), STATUS_OK);
    assert_non_null(call->errors);
    const char *found = call_fixture_error(call, field);
    if (!*found || !strstr(found, says))
        fail_msg("%.*s: %s: %s", SPAN_ARGS(body), field, found);
    call_free(&call);
}

#define REFUSED(body, field, says) expect_refused(SPAN_LITERAL(body), field, says)

static void test_what_is_wrong_is_named(void **state) {
    (void)state;
    REFUSED("[]", "", "1 to 1000");
    REFUSED("1", "", "1 to 1000");
    REFUSED("[[]]", "[0]", "JSON object");
    REFUSED("{\"event_type\":\"message.ne\"}", "event_type", "did you mean message.new?");
    REFUSED("[{\"event_type\":\"call.new\"},{\"event_type\":\"call.new\",\"i\\u0064\":{}}]", "[1].id", "string");
    REFUSED("{\"event_type\":\"call.new\",\"payload\":1,\"payload\":2}", "payload", "twice");
    REFUSED("{\"event_type\":\"call.new\",\"workspace_id\":\"acmee\"}", "workspace_id", "path");
    REFUSED("{\"event_type\":\"call.new\",\"\":1}", "", "no such field");
    REFUSED("{\"event_type\":\"call.new\",\"a\\u0000b\":1}", "a", "no such field");
    REFUSED("{\"event_type\":\"call\\u0000new\"}", "event_type", "A-Z");
    REFUSED("{\"event_type\":\"call.new\",\"deliver_at\":99999999999999}", "deliver_at", "366 days");
}

static void test_long_names_are_cut(void **state) {
    (void)state;
    struct buffer body;
    buffer_init(&body, 1024 * 1024);
    buffer_text(&body, "{\"event_type\":\"call.new\",\"");
    for (int i = 0; i < 100000; i++)
        buffer_text(&body, "\xc3\xa9");
    buffer_text(&body, "\":1}");
    struct call *call = call_of(buffer_view(&body));
    struct event_intake intake;
    assert_int_equal(event_intake_read(call, &intake, &error), STATUS_OK);
    assert_int_equal(json_array_size(call->errors), 1);
    assert_true(json_string_length(json_object_get(json_array_get(call->errors, 0), "field")) <= 200);
    call_free(&call);
    buffer_deinit(&body);
}

static void test_what_is_no_json(void **state) {
    (void)state;
    static const char *const BODIES[] = {"", " ", "{", "[1,]", "{}x", "{\"a\":\"\xff\"}"};
    for (size_t i = 0; i < sizeof(BODIES) / sizeof(*BODIES); i++) {
        struct call *call = call_of(span_of(BODIES[i]));
        struct event_intake intake;
        assert_int_equal(event_intake_read(call, &intake, &error), STATUS_OK);
        assert_int_equal(call->status, 400);
        call_free(&call);
    }
}

/* Of a thousand distinct types, each is looked up. */
static void test_many_types(void **state) {
    (void)state;
    struct buffer body;
    buffer_init(&body, 4 * 1024 * 1024);
    pg_fixture_exec(connection, "INSERT INTO event_types (workspace_id, event_type) SELECT 'acme', "
                                "rpad('t' || n, 200, 'x') FROM generate_series(0, 998) n");
    for (int i = 0; i < 1000; i++) {
        char type[16];
        int len = snprintf(type, sizeof(type), "t%d", i);
        buffer_text(&body, i ? ",{\"event_type\":\"" : "[{\"event_type\":\"");
        buffer_text(&body, type);
        for (; len < 200; len++)
            buffer_char(&body, 'x');
        buffer_text(&body, "\"}");
    }
    buffer_char(&body, ']');
    struct call *call = call_of(buffer_view(&body));
    struct event_intake intake;
    assert_int_equal(event_intake_read(call, &intake, &error), STATUS_OK);
    assert_int_equal(json_array_size(call->errors), 1);
    assert_true(*call_fixture_error(call, "[999].event_type"));
    call_free(&call);
    buffer_deinit(&body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_as_they_were_written),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_long_names_are_cut),
        cmocka_unit_test(test_what_is_no_json),
        cmocka_unit_test(test_many_types),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
