#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../db/pg_fixture.h"
#include "db/migrate.h"
#include "store/keys.h"
#include "store/sealing.h"

static char *conninfo;
static struct connection *connection;

static int setup(void **state) {
    (void)state;
    struct error error;
    int applied;
    conninfo = pg_fixture_database();
    connection = pg_fixture_connect(conninfo);
    return migrate_run(connection, pg_fixture_sql(), NULL, NULL, &applied, &error) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    connection_free(&connection);
    pg_fixture_drop(&conninfo);
    return 0;
}

static int clear(void **state) {
    (void)state;
    pg_fixture_exec(connection, "TRUNCATE api_keys, workspaces");
    return 0;
}

/* A key that was inserted; the text lies in a static buffer. */
static struct uuid insert(const char *workspace, bool read_only, int64_t expires_in_ms, char key[KEY_TEXT_BYTES + 1]) {
    struct buffer text;
    struct error error;
    struct uuid id = UUID_NIL;
    buffer_init(&text, 256);
    keys_generate(&text);
    assert_int_equal(text.len, KEY_TEXT_BYTES);
    memcpy(key, text.data, KEY_TEXT_BYTES + 1);
    struct key_new made = {.key = buffer_view(&text),
                           .workspace_id = span_of(workspace),
                           .name = span_of("a name"),
                           .read_only = read_only,
                           .expires_in_ms = expires_in_ms};
    assert_int_equal(keys_insert(connection, &made, &id, &error), STATUS_OK);
    buffer_deinit(&text);
    return id;
}

static enum status find(const char *key, struct key_grant *grant) {
    uint8_t hash[SHA256_BYTES];
    struct error error;
    crypto_sha256(span_of(key), hash);
    return keys_find(connection, hash, grant, &error);
}

static void test_keys_are_new_each_time(void **state) {
    (void)state;
    struct buffer one, other;
    buffer_init(&one, 256);
    buffer_init(&other, 256);
    keys_generate(&one);
    keys_generate(&other);
    assert_memory_equal(one.data, "hc_", 3);
    assert_int_equal(strspn(one.data + 3, "0123456789abcdef"), 64);
    assert_string_not_equal(one.data, other.data);
    buffer_deinit(&one);
    buffer_deinit(&other);
}

static void test_a_key_is_found_by_its_hash(void **state) {
    (void)state;
    char key[KEY_TEXT_BYTES + 1], admin_key[KEY_TEXT_BYTES + 1];
    struct key_grant grant;
    struct uuid id = insert("acme", true, 0, key);
    insert(NULL, false, 60000, admin_key);
    assert_int_equal(find(key, &grant), STATUS_OK);
    assert_true(uuid_equal(&grant.id, &id));
    assert_string_equal(grant.workspace_id, "acme");
    assert_true(grant.read_only && !grant.admin);
    assert_int_equal(find(admin_key, &grant), STATUS_OK);
    assert_string_equal(grant.workspace_id, "");
    assert_true(grant.admin && !grant.read_only);
    key[10] = key[10] == '0' ? '1' : '0';
    assert_int_equal(find(key, &grant), STATUS_NOT_FOUND);
    assert_string_equal(pg_fixture_ask(connection, "SELECT count(*) FROM api_keys WHERE length(key_hash) = 32"), "2");
}

static void test_a_key_ends_by_time_and_by_hand(void **state) {
    (void)state;
    char first[KEY_TEXT_BYTES + 1], second[KEY_TEXT_BYTES + 1];
    struct key_grant grant;
    struct error error;
    insert("acme", false, 60000, first);
    struct uuid id = insert("acme", false, 0, second);
    pg_fixture_exec(connection,
                    "UPDATE api_keys SET expires_at = now() WHERE expires_at < now() + interval '1 min 1 s'");
    assert_int_equal(find(first, &grant), STATUS_NOT_FOUND);
    assert_int_equal(find(second, &grant), STATUS_OK);
    assert_int_equal(keys_revoke(connection, SPAN_NONE, &id, &error), STATUS_OK);
    assert_int_equal(find(second, &grant), STATUS_NOT_FOUND);
    assert_int_equal(keys_revoke(connection, SPAN_NONE, &id, &error), STATUS_OK);
    struct uuid nobody = uuid_new(1);
    assert_int_equal(keys_revoke(connection, SPAN_NONE, &nobody, &error), STATUS_NOT_FOUND);
}

static void test_keys_are_listed(void **state) {
    (void)state;
    char key[KEY_TEXT_BYTES + 1];
    struct error error;
    struct result *rows = NULL;
    struct key_row row;
    struct uuid first = insert("acme", true, 0, key);
    insert("other", false, 0, key);
    insert(NULL, false, 1, key);
    pg_fixture_wait(connection, "SELECT count(*) FROM api_keys WHERE expires_at <= now()", "1");
    assert_int_equal(keys_revoke(connection, SPAN_NONE, &first, &error), STATUS_OK);
    assert_int_equal(keys_list(connection, SPAN_NONE, &rows, &error), STATUS_OK);
    assert_int_equal(result_rows(rows), 3);
    keys_row_read(rows, 0, &row);
    assert_true(uuid_equal(&row.id, &first) && row.read_only && row.revoked_at_ms > 0 && row.expires_at_ms == 0);
    assert_true(span_is(row.workspace_id, "acme") && span_is(row.name, "a name") && !row.expired);
    keys_row_read(rows, 2, &row);
    assert_true(!row.workspace_id.data && row.expired && row.expires_at_ms > row.created_at_ms && !row.revoked_at_ms);
    result_free(&rows);
    assert_int_equal(keys_list(connection, span_of("other"), &rows, &error), STATUS_OK);
    assert_int_equal(result_rows(rows), 1);
    result_free(&rows);
}

static void test_workspaces(void **state) {
    (void)state;
    struct error error;
    bool exists = true;
    assert_int_equal(workspaces_exists(connection, span_of("acme"), &exists, &error), STATUS_OK);
    assert_false(exists);
    assert_int_equal(workspaces_ensure(connection, span_of("acme"), SPAN_NONE, &error), STATUS_OK);
    assert_int_equal(workspaces_ensure(connection, span_of("acme"), span_of("Acme Ltd"), &error), STATUS_OK);
    assert_int_equal(workspaces_ensure(connection, span_of("acme"), SPAN_NONE, &error), STATUS_OK);
    assert_int_equal(workspaces_exists(connection, span_of("acme"), &exists, &error), STATUS_OK);
    assert_true(exists);
    assert_string_equal(pg_fixture_ask(connection, "SELECT name FROM workspaces WHERE id = 'acme'"), "Acme Ltd");
}

static void test_ids_of_workspaces(void **state) {
    (void)state;
    char longest[WORKSPACE_ID_MAX_BYTES + 2];
    memset(longest, 'x', sizeof(longest));
    assert_true(workspace_id_valid((struct span){longest, WORKSPACE_ID_MAX_BYTES}));
    assert_false(workspace_id_valid((struct span){longest, WORKSPACE_ID_MAX_BYTES + 1}));
    assert_true(workspace_id_valid(span_of("1246965")) && workspace_id_valid(span_of("Zürich / 2")));
    assert_false(workspace_id_valid(SPAN_LITERAL("")) || workspace_id_valid(SPAN_LITERAL("a\nb")) ||
                 workspace_id_valid(SPAN_LITERAL("a\0b")) || workspace_id_valid(SPAN_LITERAL("\xff")));
}

static void test_the_installations_keyring(void **state) {
    (void)state;
    struct error error;
    struct keyring *keyring = NULL, *other = NULL;
    struct settings settings = {.secret_key = ""};
    assert_int_equal(sealing_keyring(&settings, &keyring, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "HOOKCAST_SECRET_KEY"));
    settings.insecure_dev = true;
    assert_int_equal(sealing_keyring(&settings, &keyring, &error), STATUS_OK);
    settings.secret_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_int_equal(sealing_keyring(&settings, &other, &error), STATUS_OK);
    struct uuid id = uuid_new(1), elsewhere = uuid_new(2);
    struct buffer sealed, plain;
    buffer_init(&sealed, 1000);
    buffer_init(&plain, 1000);
    sealing_seal(keyring, &id, span_of("hidden"), &sealed);
    assert_null(memmem(sealed.data, sealed.len, "hidden", 6));
    assert_int_equal(sealing_open(keyring, &elsewhere, buffer_view(&sealed), &plain, &error), STATUS_INVALID);
    assert_int_equal(sealing_open(other, &id, buffer_view(&sealed), &plain, &error), STATUS_INVALID);
    assert_int_equal(sealing_open(keyring, &id, buffer_view(&sealed), &plain, &error), STATUS_OK);
    assert_string_equal(plain.data, "hidden");
    sealing_wipe(&plain);
    buffer_deinit(&sealed);
    keyring_free(&other);
    keyring_free(&keyring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_new_each_time),
        cmocka_unit_test_setup(test_a_key_is_found_by_its_hash, clear),
        cmocka_unit_test_setup(test_a_key_ends_by_time_and_by_hand, clear),
        cmocka_unit_test_setup(test_keys_are_listed, clear),
        cmocka_unit_test_setup(test_workspaces, clear),
        cmocka_unit_test(test_ids_of_workspaces),
        cmocka_unit_test(test_the_installations_keyring),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
