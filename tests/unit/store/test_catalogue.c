#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"
#include "db/migrate.h"
#include "store/catalogue.h"
#include "store/partitions.h"
#include "store/resend.h"

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

/* ---- of one's own ---- */

static struct catalogue_entry entry_of(const char *type) {
    return (struct catalogue_entry){.event_type = span_of(type),
                                    .description = span_of("d"),
                                    .example = span_of("{\"n\": 1.50}"),
                                    .schema = span_of("true")};
}

static enum status create(const char *workspace, const char *type) {
    struct catalogue_entry entry = entry_of(type);
    struct result *rows = NULL;
    struct error error;
    enum status status = catalogue_create(connection, span_of(workspace), &entry, &rows, &error);
    if (status == STATUS_OK) {
        catalogue_entry_read(rows, 0, &entry);
        assert_true(span_is(entry.event_type, type) && span_is(entry.example, "{\"n\": 1.50}") && entry.own);
        assert_true(entry.created_at_ms > 0 && entry.archived_at_ms == 0 && !entry.sample.data);
    }
    result_free(&rows);
    return status;
}

static void test_one_of_its_own(void **state) {
    (void)state;
    struct catalogue_entry entry;
    struct result *rows = NULL;
    struct error error;
    assert_int_equal(create("acme", "order.new"), STATUS_OK);
    assert_int_equal(create("acme", "order.new"), STATUS_CONFLICT);
    assert_int_equal(create("acme", "conversation.new"), STATUS_CONFLICT);
    assert_int_equal(create("other", "order.new"), STATUS_OK);
    assert_int_equal(create("acme", "old.one"), STATUS_OK); /* out of the archive */
    assert_int_equal(
        catalogue_lock_own(connection, span_of("acme"), span_of("conversation.new"), &rows, &entry, &error),
        STATUS_NOT_FOUND);
    result_free(&rows);
    entry = entry_of("order.new");
    entry.example = entry.schema = SPAN_NONE;
    assert_int_equal(catalogue_update(connection, span_of("acme"), &entry, &rows, &error), STATUS_OK);
    catalogue_entry_read(rows, 0, &entry);
    assert_true(!entry.example.data && !entry.schema.data);
    result_free(&rows);
    struct span types[] = {SPAN_LITERAL("order.new"), SPAN_LITERAL("old.one"), SPAN_LITERAL("message.new")};
    assert_int_equal(catalogue_schemas(connection, span_of("acme"), types, 3, &rows, &error), STATUS_OK);
    assert_int_equal(result_rows(rows), 1);
    assert_true(span_is(result_text(rows, 0, 0), "old.one") && span_is(result_text(rows, 0, 1), "true"));
    result_free(&rows);
    assert_int_equal(catalogue_archive(connection, span_of("acme"), span_of("order.new"), &error), STATUS_OK);
    assert_int_equal(catalogue_archive(connection, span_of("acme"), span_of("order.new"), &error), STATUS_NOT_FOUND);
    entry = entry_of("order.new");
    assert_int_equal(catalogue_update(connection, span_of("acme"), &entry, &rows, &error), STATUS_NOT_FOUND);
    result_free(&rows);
    assert_int_equal(
        catalogue_find(connection, span_of("acme"), span_of("order.new"), SPAN_NONE, &rows, &entry, &error),
        STATUS_NOT_FOUND);
    result_free(&rows);
}

static void test_those_that_are_seen(void **state) {
    (void)state;
    struct error error;
    const struct catalogue_sighting sightings[] = {
        {SPAN_LITERAL("acme"), SPAN_LITERAL("seen.two"), SPAN_NONE, {{2}}},
        {SPAN_LITERAL("acme"), SPAN_LITERAL("seen.one"), SPAN_LITERAL("{\"a\":1.50}"), {{1}}},
        {SPAN_LITERAL("acme"), SPAN_LITERAL("seen.one"), SPAN_LITERAL("{\"a\":1.50}"), {{1}}},
        {SPAN_LITERAL("acme"), SPAN_LITERAL("message.new"), SPAN_NONE, {{3}}},
        {SPAN_LITERAL("acme"), SPAN_LITERAL("hookcast.x"), SPAN_NONE, {{4}}},
        {SPAN_LITERAL("stranger"), SPAN_LITERAL("seen.one"), SPAN_NONE, {{5}}},
    };
    pg_fixture_exec(connection, "INSERT INTO workspaces (id) VALUES ('acme')");
    assert_int_equal(catalogue_sighted(connection, sightings, 6, &error), STATUS_OK);
    const char *all =
        "SELECT string_agg(event_type || coalesce(sample, '-'), ' ' ORDER BY event_type) FROM event_types "
        "WHERE first_seen_at IS NOT NULL";
    assert_string_equal(pg_fixture_ask(connection, all), "seen.one{\"a\":1.50} seen.two-");
    pg_fixture_exec(connection,
                    "UPDATE event_types SET sample = NULL, first_seen_at = first_seen_at - interval '1 day', "
                    "last_seen_at = last_seen_at - interval '1 day' WHERE event_type = 'seen.one'");
    assert_int_equal(catalogue_sighted(connection, sightings, 6, &error), STATUS_OK);
    assert_string_equal(pg_fixture_ask(connection, all), "seen.one- seen.two-");
    assert_string_equal(pg_fixture_ask(connection, "SELECT last_seen_at - first_seen_at > interval '23 hours' "
                                                   "FROM event_types WHERE event_type = 'seen.one'"),
                        "t");
    /* A crowd ends, those that are there are noted all the same. */
    pg_fixture_exec(connection, "INSERT INTO event_types (workspace_id, event_type) SELECT 'acme', 't' || n "
                                "FROM generate_series(1, 2000) n");
    const struct catalogue_sighting more[] = {
        {SPAN_LITERAL("acme"), SPAN_LITERAL("seen.three"), SPAN_NONE, {{6}}},
        {SPAN_LITERAL("acme"), SPAN_LITERAL("t7"), SPAN_LITERAL("7"), {{7}}},
    };
    assert_int_equal(catalogue_sighted(connection, more, 2, &error), STATUS_OK);
    assert_string_equal(pg_fixture_ask(connection, all), "seen.one- seen.two- t77");
    pg_fixture_exec(connection,
                    "UPDATE event_types SET first_seen_at = now() - interval '2 days' WHERE event_type = 't7'");
    assert_int_equal(catalogue_forget_samples(connection, 3 * 24 * 3600 * 1000LL, &error), STATUS_OK);
    assert_string_equal(pg_fixture_ask(connection, all), "seen.one- seen.two- t77");
    assert_int_equal(catalogue_forget_samples(connection, 24 * 3600 * 1000LL, &error), STATUS_OK);
    assert_string_equal(pg_fixture_ask(connection, all), "seen.one- seen.two- t7-");
}

static void test_an_erased_event_is_no_sample(void **state) {
    (void)state;
    struct error error;
    const struct catalogue_sighting sightings[] = {
        {SPAN_LITERAL("shop"), SPAN_LITERAL("gone"), SPAN_LITERAL("1"), {{1}}},
        {SPAN_LITERAL("shop"), SPAN_LITERAL("kept"), SPAN_LITERAL("2"), {{2}}},
        {SPAN_LITERAL("shop"), SPAN_LITERAL("unwanted"), SPAN_LITERAL("3"), {{3}}},
        {SPAN_LITERAL("shop"), SPAN_LITERAL("made"), SPAN_LITERAL("4"), {{4}}},
        {SPAN_LITERAL("shop"), SPAN_LITERAL("of.another"), SPAN_LITERAL("5"), {{5}}},
    };
    assert_int_equal(partitions_ensure(connection, &error), STATUS_OK);
    pg_fixture_exec(
        connection,
        "INSERT INTO workspaces (id) VALUES ('shop');"
        "INSERT INTO event_types (workspace_id, event_type) VALUES ('shop', 'made');"
        "INSERT INTO events (created_at, event_key, workspace_id, event_id, event_type, occurred_at, topic, part, "
        "record_offset, record_time, headers, body) SELECT now(), rpad(n::text, 32, '0')::uuid, w, 'e', 't', now(), "
        "'t', 0, 0, now(), '{}', convert_to(body, 'UTF8') FROM (VALUES ('01', 'shop', ''), ('02', 'shop', 'x'), "
        "('04', 'shop', ''), ('05', 'other', '')) v(n, w, body)");
    /* An erasure that is under way is waited for. */
    struct connection *other = pg_fixture_connect(conninfo);
    pg_fixture_exec(other, "BEGIN; SELECT pg_advisory_xact_lock(" RESEND_LOCK ")");
    pg_fixture_exec(connection, "SET lock_timeout = '100ms'");
    assert_int_equal(catalogue_sighted(connection, sightings, 5, &error), STATUS_CONFLICT);
    pg_fixture_exec(other, "COMMIT");
    connection_free(&other);
    assert_int_equal(catalogue_sighted(connection, sightings, 5, &error), STATUS_OK);
    assert_string_equal(
        pg_fixture_ask(connection, "SELECT string_agg(concat_ws(' ', event_type, sample), ', ' ORDER BY event_type) "
                                   "FROM event_types WHERE workspace_id = 'shop' AND first_seen_at IS NOT NULL"),
        "gone, kept 2, made, of.another 5, unwanted 3");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_in_the_documents_order), cmocka_unit_test(test_knows_its_dialects),
        cmocka_unit_test(test_tells_what_is_unknown),        cmocka_unit_test(test_one_of_its_own),
        cmocka_unit_test(test_those_that_are_seen),          cmocka_unit_test(test_an_erased_event_is_no_sample),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
