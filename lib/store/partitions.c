/* How a day comes and goes without an insert waiting:
 *
 * - CREATE TABLE … (LIKE …) touches no table in use, and ATTACH lets readers and writers of the parent pass. It needs
 * no scan because of a CHECK that says the same, which goes again, since each row would pay for it. (CREATE … PARTITION
 * OF locks the parent against all.)
 * - DETACH CONCURRENTLY marks the day as pending, waits for the transactions that use the parent, and then takes it
 * off. It runs without any timeout: one that is cut off stays pending, and then every later DETACH of its table is
 * refused until FINALIZE has completed it.
 * - DROP meets a table that nobody reaches any more. A comment says that it is ours to drop: a day that an operator has
 *   detached to keep it stays.
 *
 * The queries below write the commands, so that names are quoted where they are known. */
#include "store/partitions.h"

#include "base/clock.h"
#include "core/log.h"
#include "store/log_rollup.h"
#include <stdio.h>

#define DAY_MS (INT64_C(24) * 3600 * 1000)

/* "hookcast" in ASCII, as a number, and the next two: the first is that of migrations. */
#define LOCK_MAINTAIN "7525356009378902901"
#define LOCK_CREATE "7525356009378902902"

/* Comments: of a table, which retention it has; of a day, that it goes. */
#define BY_DAY_LOG "by day: log"
#define BY_DAY_PAYLOAD "by day: payload"
#define DROP_MARK "hookcast: to be dropped"

/* For what can be tried again: nothing waits longer in a lock's queue. */
#define LOCK_TIMEOUT "5s"

/* In the queries below a part is MATERIALIZED where the planner would compute something dear more than once, or begin
 * with reading all of pg_class. */

/* The tables by day. */
#define PARENTS                                                                                                        \
    "described AS MATERIALIZED ("                                                                                      \
    " SELECT partrelid AS oid, partattrs[0] AS key,"                                                                   \
    "  (SELECT description FROM pg_description WHERE objoid = partrelid AND classoid = 'pg_class'::regclass"           \
    "   AND objsubid = 0) AS description"                                                                              \
    " FROM pg_partitioned_table),"                                                                                     \
    "parents AS MATERIALIZED ("                                                                                        \
    " SELECT oid, description = '" BY_DAY_LOG "' AS is_log,"                                                           \
    "  (SELECT relname FROM pg_class c WHERE c.oid = d.oid) AS name,"                                                  \
    "  (SELECT relnamespace::regnamespace FROM pg_class c WHERE c.oid = d.oid) AS schema,"                             \
    "  (SELECT attname FROM pg_attribute WHERE attrelid = d.oid AND attnum = d.key) AS key"                            \
    " FROM described d"                                                                                                \
    " WHERE description IN ('" BY_DAY_LOG "', '" BY_DAY_PAYLOAD "') AND pg_table_is_visible(oid))"

/* Those of their partitions (i in pg_inherits, c in pg_class) that a condition selects. */
#define PARTS_WHERE(condition)                                                                                         \
    "picked AS MATERIALIZED ("                                                                                         \
    " SELECT p.oid AS parent, c.relnamespace::regnamespace AS schema, c.relname AS name, i.inhdetachpending AS "       \
    "pending,"                                                                                                         \
    "  c.oid, c.relpartbound"                                                                                          \
    " FROM parents p JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class c ON c.oid = i.inhrelid"                  \
    " WHERE " condition "),"                                                                                           \
    "texts AS MATERIALIZED (SELECT picked.*, pg_get_expr(relpartbound, oid) AS bound FROM picked),"                    \
    "parts AS MATERIALIZED ("                                                                                          \
    " SELECT parent, schema, name, pending,"                                                                           \
    "  CASE WHEN bound LIKE '%FROM (MINVALUE)%' THEN '0001-01-01 00:00:00+00'"                                         \
    "   ELSE split_part(bound, '''', 2)::timestamptz END AS lower,"                                                    \
    "  CASE WHEN bound LIKE '%TO (MAXVALUE)' THEN '9999-01-01 00:00:00+00'"                                            \
    "   ELSE split_part(bound, '''', -2)::timestamptz END AS upper"                                                    \
    " FROM texts WHERE bound LIKE 'FOR VALUES FROM%')"

/* Runs of partitions without a gap; of each table the one around the clock, or else nearest to it; what they share. */
#define BOUNDS                                                                                                         \
    "marked AS ("                                                                                                      \
    " SELECT parent, lower, upper,"                                                                                    \
    "  lower IS DISTINCT FROM lag(upper) OVER (PARTITION BY parent ORDER BY lower) AS first"                           \
    " FROM parts WHERE NOT pending),"                                                                                  \
    "numbered AS ("                                                                                                    \
    " SELECT parent, lower, upper, count(*) FILTER (WHERE first) OVER (PARTITION BY parent ORDER BY lower) AS run"     \
    " FROM marked),"                                                                                                   \
    "runs AS ("                                                                                                        \
    " SELECT DISTINCT ON (parent) parent, min(lower) AS lower, max(upper) AS upper"                                    \
    " FROM numbered, clock GROUP BY parent, run, clock.now"                                                            \
    " ORDER BY parent, greatest(min(lower) - clock.now, clock.now - max(upper), '0')) "                                \
    "SELECT (SELECT now FROM clock), greatest(max(lower), " LOG_ROLLUP_COUNTED "), min(upper),"                        \
    " count(*) > 0 AND count(*) = (SELECT count(*) FROM parents) AND max(lower) < min(upper)"                          \
    " FROM runs"

#define CLOCK "clock AS MATERIALIZED (SELECT clock_timestamp() AS now)"

/* Yesterday, today and tomorrow, found by the names that partitions_ensure gives. */
#define NEAR                                                                                                           \
    "c.relnamespace = p.schema AND c.relname = ANY (ARRAY("                                                            \
    " SELECT (p.name || to_char(now + n * interval '1 day', '_YYYYMMDD'))::name"                                       \
    " FROM clock, generate_series(-1, 1) AS n))"

/* Each flush asks this, so it looks at no more than it needs. */
static const struct statement READ_NEAR_BOUNDS = {"WITH " CLOCK "," PARENTS "," PARTS_WHERE(NEAR) "," BOUNDS};

/* Whatever the partitions are called. */
static const struct statement READ_BOUNDS = {"WITH " CLOCK "," PARENTS "," PARTS_WHERE("true") "," BOUNDS};

static enum status read_bounds(struct connection *connection, const struct statement *statement,
                               struct partition_bounds *ret_bounds, struct error *error) {
    struct result *result;
    enum status status = connection_run(connection, statement, NULL, &result, error);
    if (status != STATUS_OK)
        return status;
    if (result_bool(result, 0, 3)) {
        ret_bounds->now_ms = result_timestamp(result, 0, 0);
        ret_bounds->lower_ms = result_timestamp(result, 0, 1);
        ret_bounds->upper_ms = result_timestamp(result, 0, 2);
    } else {
        status = error_set(error, STATUS_NOT_FOUND, "the tables by day have no partition in common around today");
    }
    result_free(&result);
    return status;
}

enum status partitions_read_bounds(struct connection *connection, struct partition_bounds *ret_bounds,
                                   struct error *error) {
    enum status status = read_bounds(connection, &READ_NEAR_BOUNDS, ret_bounds, error);
    if (status == STATUS_NOT_FOUND)
        status = read_bounds(connection, &READ_BOUNDS, ret_bounds, error);
    return status;
}

enum status partitions_bounds(struct connection *connection, int64_t *ret_lower_ms, int64_t *ret_upper_ms,
                              struct error *error) {
    struct partition_bounds bounds = {0};
    enum status status = read_bounds(connection, &READ_BOUNDS, &bounds, error);
    if (status == STATUS_OK) {
        *ret_lower_ms = bounds.lower_ms;
        *ret_upper_ms = bounds.upper_ms;
    }
    return status;
}

/* Runs the command that a row's column has. */
static enum status run_column(struct connection *connection, const struct result *result, int row, int column,
                              struct error *error) {
    struct buffer sql;
    buffer_init(&sql, 8192);
    buffer_span(&sql, result_text(result, row, column));
    CHECK(!sql.overflowed && sql.len > 0);
    enum status status = connection_exec(connection, sql.data, error);
    buffer_deinit(&sql);
    return status;
}

static enum status roll_back(struct connection *connection, enum status status) {
    struct error ignored;
    if (connection_is_open(connection) && connection_exec(connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(connection);
    return status;
}

/* Name and command of each day that is missing. A day is missing unless one partition has all of it. */
static const struct statement MISSING = {"WITH " PARENTS "," PARTS_WHERE(
    "true") ","
            "today AS (SELECT date_trunc('day', clock_timestamp()) AS start),"
            "wanted AS ("
            " SELECT p.oid AS parent, p.schema, p.name, p.key, p.name || to_char(day, "
            "'_YYYYMMDD') AS part, day AS "
            "lower,"
            "  day + interval '1 day' AS upper"
            " FROM parents p, today, generate_series(start - interval '1 day', start + $1 * interval '1 day', '1 day') "
            "AS day) "
            "SELECT w.part, format('"
            "CREATE TABLE %1$s.%2$I (LIKE %1$s.%3$I INCLUDING ALL, CONSTRAINT day CHECK (%4$I >= %5$L AND %4$I < "
            "%6$L));"
            "ALTER TABLE %1$s.%3$I ATTACH PARTITION %1$s.%2$I FOR VALUES FROM (%5$L) TO (%6$L);"
            "ALTER TABLE %1$s.%2$I DROP CONSTRAINT day', w.schema, w.part, w.name, w.key, w.lower, w.upper)"
            " FROM wanted w WHERE NOT EXISTS ("
            "  SELECT FROM parts q WHERE q.parent = w.parent AND NOT q.pending AND q.lower <= w.lower AND q.upper >= "
            "w.upper)"
            " ORDER BY w.lower, w.part"};

static enum status list_missing(struct connection *connection, struct result **ret_result, struct error *error) {
    struct params params;
    params_init(&params);
    params_int4(&params, PARTITIONS_DAYS_AHEAD);
    enum status status = connection_run(connection, &MISSING, &params, ret_result, error);
    params_deinit(&params);
    return status;
}

/* The lock makes one of several creators wait for the other, which then finds the table there. */
static enum status create_day(struct connection *connection, const struct result *missing, int row,
                              struct error *error) {
    enum status status = connection_exec(connection,
                                         "BEGIN; SET LOCAL lock_timeout = '" LOCK_TIMEOUT "';"
                                         "SELECT pg_advisory_xact_lock(" LOCK_CREATE ")",
                                         error);
    if (status == STATUS_OK)
        status = run_column(connection, missing, row, 1, error);
    if (status == STATUS_OK)
        return connection_exec(connection, "COMMIT", error);
    error_context(error, "the partition %.*s", SPAN_ARGS(result_text(missing, row, 0)));
    return roll_back(connection, status);
}

/* A day that could not be made may have been made by somebody else: what counts is what is still missing afterwards. */
enum status partitions_ensure(struct connection *connection, struct error *error) {
    struct result *missing;
    struct error first = {""};
    enum status failure = STATUS_OK;
    enum status status = list_missing(connection, &missing, error);
    if (status != STATUS_OK)
        return status;
    int count = result_rows(missing);
    for (int row = 0; status != STATUS_UNAVAILABLE && row < count; row++) {
        status = create_day(connection, missing, row, error);
        if (status != STATUS_OK && failure == STATUS_OK) {
            failure = status;
            first = *error;
        }
    }
    result_free(&missing);
    if (status == STATUS_UNAVAILABLE || failure == STATUS_OK)
        return status;
    status = list_missing(connection, &missing, error);
    if (status != STATUS_OK)
        return status;
    if (result_rows(missing) > 0)
        status = error_set(error, failure, "%s", first.text);
    result_free(&missing);
    return status;
}

/* Name and command. */
static const struct statement PENDING = {"WITH " PARENTS "," PARTS_WHERE(
    "i.inhdetachpending") " "
                          "SELECT q.name, format('ALTER TABLE %s.%I DETACH PARTITION %s.%I FINALIZE', p.schema, "
                          "p.name, q.schema, q.name)"
                          " FROM parts q JOIN parents p ON p.oid = q.parent ORDER BY q.name"};

/* A FINALIZE that gives up does no harm: the day stays as it was. */
static enum status finalize(struct connection *connection, const char *lock_timeout, struct error *error) {
    struct result *pending;
    enum status status = connection_run(connection, &PENDING, NULL, &pending, error);
    if (status != STATUS_OK)
        return status;
    char set[64];
    snprintf(set, sizeof(set), "SET lock_timeout = '%s'", lock_timeout);
    status = connection_exec(connection, set, error);
    for (int row = 0; status == STATUS_OK && row < result_rows(pending); row++) {
        status = run_column(connection, pending, row, 1, error);
        if (status == STATUS_OK)
            log_info("partitions", "completed the detaching of a day", LOG_SPAN("table", result_text(pending, row, 0)));
        else if (status == STATUS_CONFLICT)
            status = STATUS_OK;
    }
    result_free(&pending);
    return status;
}

/* Name, and the commands that mark and detach, of days (q) before yesterday. Nothing of a table (p) that still has a
 * pending one, because that is refused. */
#define GOING(columns, condition)                                                                                      \
    "WITH " PARENTS                                                                                                    \
    "," PARTS_WHERE("true") ","                                                                                        \
                            "ended AS ("                                                                               \
                            " SELECT q.* FROM parts q WHERE q.upper < date_trunc('day', clock_timestamp())"            \
                            " AND NOT EXISTS (SELECT FROM parts o WHERE o.parent = q.parent AND o.pending)) "          \
                            "SELECT q.name, format('COMMENT ON TABLE %s.%I IS %L', q.schema, q.name, '" DROP_MARK      \
                            "'),"                                                                                      \
                            " format('ALTER TABLE %s.%I DETACH PARTITION %s.%I CONCURRENTLY', p.schema, p.name, "      \
                            "q.schema, q.name)" columns                                                                \
                            " FROM ended q JOIN parents p ON p.oid = q.parent WHERE " condition                        \
                            " ORDER BY q.upper, q.name"

/* Each one past its time. */
static const struct statement EXPIRED = {
    GOING("", "q.upper <= clock_timestamp() - CASE WHEN p.is_log THEN $1 ELSE $2 END * interval '1 millisecond'")};

/* The oldest of all, and its size. */
static const struct statement OLDEST = {GOING(", pg_total_relation_size(format('%s.%I', q.schema, q.name)::regclass)",
                                              "q.upper = (SELECT min(upper) FROM ended)")};

/* The mark, then the detaching; only the latter must not be cut off. */
static enum status detach(struct connection *connection, const struct result *expired, int row, struct error *error) {
    enum status status = connection_exec(connection, "SET lock_timeout = '" LOCK_TIMEOUT "'", error);
    if (status == STATUS_OK)
        status = run_column(connection, expired, row, 1, error);
    if (status == STATUS_OK)
        status = connection_exec(connection, "SET lock_timeout = 0", error);
    if (status == STATUS_OK)
        status = run_column(connection, expired, row, 2, error);
    if (status != STATUS_OK)
        error_context(error, "the partition %.*s", SPAN_ARGS(result_text(expired, row, 0)));
    return status;
}

/* One that can't go does not keep the others; the last error is told. */
static enum status detach_expired(struct connection *connection, int64_t retention_ms, int64_t payload_retention_ms,
                                  struct error *error) {
    struct params params;
    struct result *expired;
    params_init(&params);
    params_int8(&params, retention_ms);
    params_int8(&params, payload_retention_ms);
    enum status status = connection_run(connection, &EXPIRED, &params, &expired, error);
    params_deinit(&params);
    if (status != STATUS_OK)
        return status;
    for (int row = 0; row < result_rows(expired) && connection_is_open(connection); row++) {
        enum status one = detach(connection, expired, row, error);
        if (one != STATUS_OK)
            status = one;
    }
    result_free(&expired);
    return status;
}

/* Name and command of each table that was detached to be dropped, now or by one who did not come to it. */
static const struct statement DETACHED = {
    "SELECT c.relname, format('DROP TABLE %I.%I', n.nspname, c.relname)"
    " FROM pg_description d JOIN pg_class c ON c.oid = d.objoid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE d.classoid = 'pg_class'::regclass AND d.objsubid = 0 AND d.description = '" DROP_MARK "'"
    " AND c.relkind = 'r' AND NOT c.relispartition AND pg_table_is_visible(c.oid) ORDER BY c.relname"};

static enum status drop_detached(struct connection *connection, struct error *error) {
    struct result *detached;
    enum status status = connection_run(connection, &DETACHED, NULL, &detached, error);
    if (status != STATUS_OK)
        return status;
    status = connection_exec(connection, "SET lock_timeout = '" LOCK_TIMEOUT "'", error);
    for (int row = 0; status == STATUS_OK && row < result_rows(detached); row++) {
        struct span name = result_text(detached, row, 0);
        status = run_column(connection, detached, row, 1, error);
        if (status == STATUS_OK)
            log_info("partitions", "dropped a day", LOG_SPAN("table", name));
        else if (status == STATUS_CONFLICT) /* somebody reads it by its own name: the next maintenance drops it */
            status = STATUS_OK;
    }
    result_free(&detached);
    return status;
}

/* What lets inserts go on comes before what frees disk. */
static enum status maintain(struct connection *connection, int64_t retention_ms, int64_t payload_retention_ms,
                            struct error *error) {
    enum status status = finalize(connection, LOCK_TIMEOUT, error);
    if (status == STATUS_OK)
        status = partitions_ensure(connection, error);
    if (status == STATUS_OK)
        status = finalize(connection, "10min", error);
    if (status != STATUS_OK)
        return status;
    status = detach_expired(connection, retention_ms, payload_retention_ms, error);
    if (!connection_is_open(connection))
        return status;
    struct error own;
    enum status dropped = drop_detached(connection, &own);
    if (status == STATUS_OK && dropped != STATUS_OK)
        status = error_set(error, dropped, "%s", own.text);
    return status;
}

/* The size without what is on its way out. */
static const struct statement SIZE = {
    "SELECT pg_database_size(current_database()) - coalesce(sum(pg_total_relation_size(objoid)), 0)::int8"
    " FROM pg_description WHERE classoid = 'pg_class'::regclass AND objsubid = 0 AND description = '" DROP_MARK "'"};

static enum status read_size(struct connection *connection, int64_t *ret_bytes, struct error *error) {
    struct result *result;
    enum status status = connection_run(connection, &SIZE, NULL, &result, error);
    if (status != STATUS_OK)
        return status;
    *ret_bytes = result_int(result, 0, 0);
    result_free(&result);
    return STATUS_OK;
}

static enum status detach_oldest(struct connection *connection, int64_t size_bytes, int64_t max_bytes,
                                 bool *ret_detached, struct error *error) {
    struct result *oldest;
    enum status status = connection_run(connection, &OLDEST, NULL, &oldest, error);
    if (status != STATUS_OK)
        return status;
    if (result_rows(oldest) == 0)
        log_warn("partitions", "the database is larger than its limit, and no day before yesterday is left to drop",
                 LOG_INT("database_bytes", size_bytes), LOG_INT("limit_bytes", max_bytes));
    for (int row = 0; row < result_rows(oldest) && connection_is_open(connection); row++) {
        enum status one = detach(connection, oldest, row, error);
        if (one != STATUS_OK) {
            status = one;
            continue;
        }
        *ret_detached = true;
        log_warn("partitions", "the database is larger than its limit: its oldest day goes early",
                 LOG_SPAN("table", result_text(oldest, row, 0)), LOG_INT("table_bytes", result_int(oldest, row, 3)),
                 LOG_INT("database_bytes", size_bytes), LOG_INT("limit_bytes", max_bytes));
    }
    result_free(&oldest);
    return status;
}

/* What one of all processes does at a time, and what it is given. */
struct task {
    enum status (*run)(struct connection *connection, struct task *task, struct error *error);
    int64_t retention_ms;
    int64_t payload_retention_ms;
    int64_t max_bytes;
    bool detached;
};

static enum status run_maintain(struct connection *connection, struct task *task, struct error *error) {
    return maintain(connection, task->retention_ms, task->payload_retention_ms, error);
}

static enum status run_limit(struct connection *connection, struct task *task, struct error *error) {
    int64_t size_bytes = 0;
    enum status status = read_size(connection, &size_bytes, error);
    if (status != STATUS_OK || size_bytes <= task->max_bytes)
        return status;
    status = detach_oldest(connection, size_bytes, task->max_bytes, &task->detached, error);
    if (!connection_is_open(connection) || !task->detached)
        return status;
    struct error own;
    enum status dropped = drop_detached(connection, &own);
    if (status == STATUS_OK && dropped != STATUS_OK)
        status = error_set(error, dropped, "%s", own.text);
    return status;
}

/* Only one waits; what it has done is done for all. */
static enum status run_alone(struct connection *connection, struct task *task, struct error *error) {
    static const struct statement LOCK = {"SELECT pg_try_advisory_lock(" LOCK_MAINTAIN ")"};
    struct result *result;
    enum status status = connection_run(connection, &LOCK, NULL, &result, error);
    if (status != STATUS_OK)
        return status;
    bool ours = result_bool(result, 0, 0);
    result_free(&result);
    if (!ours)
        return STATUS_OK;
    status = task->run(connection, task, error);
    struct error ignored;
    if (connection_is_open(connection) &&
        connection_exec(connection, "SELECT pg_advisory_unlock(" LOCK_MAINTAIN "); SET lock_timeout = 0", &ignored) !=
            STATUS_OK)
        connection_close(connection);
    return status;
}

/* A detaching that is cut off stays pending, so the session's own limits are put aside meanwhile. */
static enum status run_unhurried(struct connection *connection, struct task *task, struct error *error) {
    struct buffer restore;
    buffer_init(&restore, 128);
    buffer_text(&restore, "SET statement_timeout = '");
    enum status status = connection_ask(connection, "SHOW statement_timeout", &restore, error);
    buffer_text(&restore, "'");
    if (status == STATUS_OK)
        status = connection_exec(connection, "SET statement_timeout = 0", error);
    if (status == STATUS_OK) {
        int64_t timeout_ms = connection_timeout(connection);
        connection_set_timeout(connection, DAY_MS);
        status = run_alone(connection, task, error);
        connection_set_timeout(connection, timeout_ms);
        struct error ignored;
        if (connection_is_open(connection) && connection_exec(connection, restore.data, &ignored) != STATUS_OK)
            connection_close(connection);
    }
    buffer_deinit(&restore);
    return status;
}

enum status partitions_maintain(struct connection *connection, int64_t retention_ms, int64_t payload_retention_ms,
                                struct error *error) {
    struct task task = {
        .run = run_maintain, .retention_ms = retention_ms, .payload_retention_ms = payload_retention_ms};
    return run_unhurried(connection, &task, error);
}

enum status partitions_limit_size(struct connection *connection, int64_t max_bytes, bool *ret_dropped,
                                  struct error *error) {
    struct task task = {.run = run_limit, .max_bytes = max_bytes};
    enum status status = run_unhurried(connection, &task, error);
    if (status == STATUS_OK)
        *ret_dropped = task.detached;
    return status;
}
