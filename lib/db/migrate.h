/* Brings a database to this version's schema: numbered SQL files, one transaction each, under an advisory lock,
 * recorded with a checksum in schema_migrations. Any number of machines may do it at once. Blocking; any thread. */
#ifndef DB_MIGRATE_H
#define DB_MIGRATE_H

#include "db/connection.h"

typedef void migrate_progress_fn(void *ctx, const char *file_name, int64_t took_ms);

/* Applies what is missing of directory/NNNN_name.sql in order. STATUS_INVALID: an applied file has changed or is gone,
 * two files have one number, or the directory is not there; the error says which and what to do. */
MUST_USE enum status migrate_run(struct connection *connection, const char *directory, migrate_progress_fn *progress,
                                 void *ctx, int *ret_applied, struct error *error);

/* The number of the newest applied migration; 0: none. */
MUST_USE enum status migrate_version(struct connection *connection, int64_t *ret_version, struct error *error);

#endif
