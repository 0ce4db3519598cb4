#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"
#include "db/migrate.h"
#include "store/catalogue.h"

static char *conninfo;
static struct connection *connection;

static int setup(void **state) {
    (void)state;
    struct error error;
    int applied;
    conninfo = pg_fixture_database();
    connection = pg_fixture_connect(conninfo);
    if (migrate_run(connection, pg_fixture_sql(), NULL, NULL, &applied, &error) != STATUS_OK)
        return -1;
    pg_fixture_exec(connection,
                    "INSERT INTO event_types (workspace_id, dialect, event_type, position, archived_at) VALUES "
                    "('acme', 'seanotify', 'order.paid', 0, NULL), ('acme', 'seanotify', 'a.first', 0, NULL), "
                    "('acme', 'seanotify', 'old.one', 0, now()), ('acme', 'kakiyo', 'own.kakiyo', 0, NULL), "
                    "('other', 'seanotify', 'not.yours', 0, NULL)");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    connection_free(&connection);
    pg_fixture_drop(&conninfo);
    return 0;
}

/* The types of a list, with spaces between. */
static const char *listed(const char *workspace, const char *dialect) {
    static char text[2000];
    struct error error;
    struct result *rows = NULL;
    assert_int_equal(catalogue_list(connection, span_of(workspace), span_of(dialect), &rows, &error), STATUS_OK);
    text[0] = '\0';
    for (int i = 0; i < result_rows(rows); i++) {
        struct catalogue_row row;
        catalogue_row_read(rows, i, &row);
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%s%.*s%s", i ? " " : "", SPAN_ARGS(row.event_type),
                 row.own ? "*" : "");
        assert_true(row.own || row.description.len > 0);
    }
    result_free(&rows);
    return text;
}

static void test_lists_in_the_documents_order(void **state) {
    (void)state;
    static const char SEANOTIFY[] =
        "conversation.new conversation.updated message.new conversation.ended "
        "conversation.label.added conversation.label.deleted call.new call.ended call.updated "
        "call.missed contact.new contact.updated contact.deleted contact.label.added "
        "contact.label.deleted";
    assert_string_equal(listed(NULL, "seanotify"), SEANOTIFY);
    const char *own = listed("acme", "seanotify");
    assert_memory_equal(own, SEANOTIFY, sizeof(SEANOTIFY) - 1);
    assert_string_equal(own + sizeof(SEANOTIFY) - 1, " a.first* order.paid*");
    assert_string_equal(listed("acme", "seleqt"), "incoming_message");
    assert_string_equal(listed("acme", "supersend"), "open click reply bounce interest appointment");
    assert_string_equal(listed("acme", "none"), "");
}

static void test_knows_its_dialects(void **state) {
    (void)state;
    static const char *const KNOWN[] = {"seanotify", "seleqt", "saleshandy", "kakiyo", "supersend"};
    struct error error;
    bool known;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(catalogue_dialect_known(connection, span_of(KNOWN[i]), &known, &error), STATUS_OK);
        assert_true(known);
    }
    assert_int_equal(catalogue_dialect_known(connection, span_of("acme"), &known, &error), STATUS_OK);
    assert_false(known);
}

static void test_tells_what_is_unknown(void **state) {
    (void)state;
    struct span types[] = {span_of("nothing"),      span_of("message.new"), span_of("order.paid"), span_of("not.yours"),
                           span_of("email-opened"), span_of("old.one"),     span_of("own.kakiyo")};
    struct error error;
    struct result *rows = NULL;
    assert_int_equal(catalogue_unknown(connection, span_of("acme"), types, 7, &rows, &error), STATUS_OK);
    assert_int_equal(result_rows(rows), 3);
    assert_true(span_is(result_text(rows, 0, 0), "nothing") && span_is(result_text(rows, 1, 0), "not.yours") &&
                span_is(result_text(rows, 2, 0), "old.one"));
    result_free(&rows);
    assert_int_equal(catalogue_names(connection, span_of("acme"), 4, &rows, &error), STATUS_OK);
    assert_int_equal(result_rows(rows), 4);
    assert_true(span_is(result_text(rows, 0, 0), "a.first") && span_is(result_text(rows, 2, 0), "conversation.new"));
    result_free(&rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_in_the_documents_order),
        cmocka_unit_test(test_knows_its_dialects),
        cmocka_unit_test(test_tells_what_is_unknown),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
