/* Brings a database to this version's schema: numbered SQL files, one transaction each, under an advisory lock,
 * recorded with a checksum in schema_migrations. Any number of machines may do it at once. Blocking; any thread. */
#ifndef DB_MIGRATE_H
#define DB_MIGRATE_H

#include "db/connection.h"

/* The number of the newest file in sql/: what this program needs. */
#define MIGRATE_SCHEMA_VERSION 16

typedef void migrate_progress_fn(void *ctx, const char *file_name, int64_t took_ms);

/* Applies what is missing of directory/NNNN_name.sql in order. STATUS_INVALID: an applied file has changed or is gone,
 * two files have one number, or the directory is not there; the error says which and what to do. */
MUST_USE enum status migrate_run(struct connection *connection, const char *directory, migrate_progress_fn *progress,
                                 void *ctx, int *ret_applied, struct error *error);

/* The number of the newest applied migration; 0: none. */
MUST_USE enum status migrate_version(struct connection *connection, int64_t *ret_version, struct error *error);

/* What a program asks before it works. STATUS_INVALID: the schema is older than expected_version; the error says what
 * to do. A newer one is fine: migrations only add to what the version before relies on. */
MUST_USE enum status migrate_check(struct connection *connection, int64_t expected_version, struct error *error);

#endif
