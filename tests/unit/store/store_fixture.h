/* A migrated database for each test of this room. Included after cmocka.h, once. */
#ifndef TEST_STORE_FIXTURE_H
#define TEST_STORE_FIXTURE_H

#include "../db/pg_fixture.h"
#include "db/migrate.h"

static char *database;
static struct connection *connection;
static struct error error;

static inline int store_open(void **state) {
    (void)state;
    database = pg_fixture_database();
    connection = pg_fixture_connect(database);
    if (migrate_run(connection, pg_fixture_sql(), NULL, NULL, NULL, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return 0;
}

static inline int store_close(void **state) {
    (void)state;
    connection_free(&connection);
    pg_fixture_drop(&database);
    return 0;
}

#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, store_open, store_close)

static inline void ok(enum status status) {
    if (status != STATUS_OK)
        fail_msg("%s", error.text);
}

static inline void exec_sql(const char *sql) {
    pg_fixture_exec(connection, sql);
}

static inline void expect_sql(const char *sql, const char *wanted) {
    const char *got = pg_fixture_ask(connection, sql);
    if (strcmp(got, wanted) != 0)
        fail_msg("%s: %s, expected %s", sql, got, wanted);
}

/* 00000000-0000-7000-8000-…, the number last in decimal digits of hex. */
static inline struct uuid numbered_uuid(int number) {
    struct uuid uuid = {{0}};
    uuid.bytes[6] = 0x70;
    uuid.bytes[8] = 0x80;
    uuid.bytes[15] = (uint8_t)number;
    return uuid;
}

#endif
