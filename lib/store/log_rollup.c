#include "store/log_rollup.h"

#define MARGIN "interval '2 seconds'"
#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

/* The first day of the log is where the counts begin. */
static const struct statement BEGIN_STATE = {
    "INSERT INTO log_rollup_state (level, until) SELECT level, coalesce((SELECT "
    "min(split_part(pg_get_expr(c.relpartbound, c.oid), '''', 2)::timestamptz) FROM pg_inherits i JOIN pg_class c "
    "ON c.oid = i.inhrelid WHERE i.inhparent = 'delivery_logs'::regclass "
    "AND pg_get_expr(c.relpartbound, c.oid) LIKE 'FOR VALUES FROM (''%'), date_trunc('day', now(), 'UTC')) "
    "FROM generate_series(0, 4) level ON CONFLICT DO NOTHING"};

/* Locks the level. How far it may come: for minutes what is closed, for the others what the level that they are made of
 * has come to ($3), which only grows. A transaction that has an id but whose beginning is not shown (another role's, or
 * with track_activities off) may have begun whenever. */
static const struct statement TAKE = {
    "SELECT s.until, least(CASE WHEN $1::int4 > 0 THEN (SELECT b.until FROM log_rollup_state b WHERE b.level = "
    "$3::int4) "
    "ELSE least(clock_timestamp() - " MARGIN ", $2::timestamptz - interval '1 minute', "
    "(SELECT min(coalesce(a.xact_start, 'epoch')) "
    "FROM pg_stat_activity a WHERE a.datname = current_database() AND a.backend_type = 'client backend' "
    "AND a.pid <> pg_backend_pid() AND (a.backend_xid IS NOT NULL "
    "OR a.xact_start > clock_timestamp() - interval '1 minute'))) END) "
    "FROM log_rollup_state s WHERE s.level = $1 FOR UPDATE OF s SKIP LOCKED"};

#define KEYS "workspace_id, subscription_id, event_type, delivery_status, status_code, error_code, given_up, test"
#define KEYS_OF_ALL                                                                                                    \
    "workspace_id, NULL::uuid AS subscription_id, event_type, delivery_status, status_code, error_code, given_up, "    \
    "test"
#define SUMS                                                                                                           \
    "sum(n)::bigint AS n, sum(first_time)::bigint AS first_time, sum(after_retry)::bigint AS after_retry, "            \
    "sum(duration_ms)::bigint AS duration_ms, sum(spread)::bigint AS spread"
#define INSERT_FROM(level, keys)                                                                                       \
    "SELECT " level "::int2, begins, " keys ", sum(n)::bigint, sum(first_time)::bigint, sum(after_retry)::bigint, "    \
    "sum(duration_ms)::bigint, array_agg(class << 40 | spread ORDER BY class) FILTER (WHERE class IS NOT NULL) "

#define COLUMNS "level, begins, " KEYS ", n, first_time, after_retry, duration_ms, latency"

/* Of the log's rows, first by class of duration, then all classes of one kind together. */
static const struct statement ROLL_MINUTES = {
    "WITH counted AS MATERIALIZED (SELECT date_trunc('minute', created_at) AS begins, " KEYS ", "
    "log_duration_class(duration_ms) AS class, count(*) AS n, "
    "count(*) FILTER (WHERE delivery_status = 'success' AND attempt <= 1) AS first_time, "
    "count(*) FILTER (WHERE delivery_status = 'success' AND attempt > 1) AS after_retry, "
    "coalesce(sum(duration_ms), 0) AS duration_ms, count(duration_ms) AS spread "
    "FROM delivery_logs WHERE created_at >= $1 AND created_at < $2 GROUP BY 1, " KEYS ", class), "
    "whole AS (SELECT begins, " KEYS_OF_ALL ", class, " SUMS " FROM counted "
    "GROUP BY begins, workspace_id, event_type, delivery_status, status_code, error_code, given_up, test, class) "
    "INSERT INTO log_rollups (" COLUMNS
    ") " INSERT_FROM("0", KEYS) "FROM counted GROUP BY begins, " KEYS
                                " UNION ALL " INSERT_FROM("0", KEYS) "FROM whole GROUP BY begins, " KEYS};

/* $3: the level. Each row counts once, with its first class. */
static const struct statement ROLL_UP = {
    "WITH spread AS (SELECT $1::timestamptz AS begins, " KEYS ", l.class, "
    "coalesce(sum(r.n) FILTER (WHERE l.place IS NULL OR l.place = 1), 0) AS n, "
    "coalesce(sum(r.first_time) FILTER (WHERE l.place IS NULL OR l.place = 1), 0) AS first_time, "
    "coalesce(sum(r.after_retry) FILTER (WHERE l.place IS NULL OR l.place = 1), 0) AS after_retry, "
    "coalesce(sum(r.duration_ms) FILTER (WHERE l.place IS NULL OR l.place = 1), 0) AS duration_ms, "
    "sum(l.n)::bigint AS spread "
    "FROM log_rollups r LEFT JOIN LATERAL (SELECT u.e >> 40 AS class, u.e & 1099511627775 AS n, u.place "
    "FROM unnest(r.latency) WITH ORDINALITY u(e, place)) l ON true "
    "WHERE r.level = $4::int4 AND r.begins >= $1::timestamptz AND r.begins < $2::timestamptz GROUP BY " KEYS
    ", l.class) INSERT INTO log_rollups (" COLUMNS
    ") " INSERT_FROM("$3::int4", KEYS) "FROM spread GROUP BY begins, " KEYS};

/* Of events. */
static const struct statement EVENTS_OF_MINUTES = {
    "INSERT INTO log_rollups (" COLUMNS ") SELECT " LOG_ROLLUP_EVENTS ", date_trunc('minute', created_at), "
    "workspace_id, NULL, event_type, '', NULL, NULL, false, false, count(*), 0, 0, 0, NULL "
    "FROM events WHERE created_at >= $1 AND created_at < $2 GROUP BY 2, workspace_id, event_type"};
static const struct statement EVENTS_UP = {
    "INSERT INTO log_rollups (" COLUMNS ") SELECT " LOG_ROLLUP_EVENTS
    " + $3::int4, $1::timestamptz, workspace_id, NULL, "
    "event_type, '', NULL, NULL, false, false, sum(n)::bigint, 0, 0, 0, NULL FROM log_rollups "
    "WHERE level = " LOG_ROLLUP_EVENTS " + $3::int4 - 1 AND begins >= $1::timestamptz AND begins < $2::timestamptz "
    "GROUP BY workspace_id, event_type"};

/* $3: the level, $4: what it is made of. From the scope's last hour or day before this one, in the same day or month.
 * What is counted anew replaces what was there. */
static const struct statement TOTALS_REPLACE = {"DELETE FROM log_totals WHERE level = $3::int4 "
                                                "AND begins >= $1::timestamptz AND begins < $2::timestamptz"};
static const struct statement TOTALS_FORGET = {
    "DELETE FROM log_totals WHERE level = $3::int4 AND begins < " LOG_ROLLUP_FIRST_DAY("log_rollups")};
static const struct statement TOTALS_UP = {
    "WITH counted AS MATERIALIZED (SELECT workspace_id, coalesce(subscription_id, " LOG_ROLLUP_WHOLE
    ") AS subscription_id, "
    "event_type, delivery_status, status_code, error_code, given_up, test, n FROM log_rollups "
    "WHERE level = $4::int4 AND begins >= $1::timestamptz AND begins < $2::timestamptz "
    "AND ($3::int4 = 4 OR subscription_id IS NULL)), "
    "scopes AS MATERIALIZED (SELECT DISTINCT workspace_id, subscription_id FROM counted) "
    "INSERT INTO log_totals (level, begins, " KEYS ", earlier, n) "
    "SELECT $3, $1, " KEYS ", sum(earlier)::int8, sum(n)::int8 FROM (SELECT " KEYS ", 0 AS earlier, n FROM counted "
    "UNION ALL SELECT t.* FROM scopes s CROSS JOIN LATERAL (SELECT max(l.begins) AS last FROM log_totals l "
    "WHERE l.workspace_id = s.workspace_id AND l.subscription_id = s.subscription_id AND l.level = $3 "
    "AND l.begins >= date_trunc(CASE $3 WHEN 4 THEN 'month' ELSE 'day' END, $1, 'UTC') AND l.begins < $1) l "
    "CROSS JOIN LATERAL (SELECT " KEYS ", earlier + n, 0 FROM log_totals t WHERE t.workspace_id = s.workspace_id "
    "AND t.subscription_id = s.subscription_id AND t.level = $3 AND t.begins = l.last OFFSET 0) t) all_kinds "
    "GROUP BY " KEYS " ORDER BY " KEYS};

static const struct statement ADD_DAY = {"SELECT log_rollups_add_day($1::timestamptz)"};
static const struct statement ADVANCE = {"UPDATE log_rollup_state SET until = $2 WHERE level = $1::int4"};

static int64_t floor_to(int64_t ms, int64_t step_ms) {
    int64_t rest = ms % step_ms;
    return ms - (rest < 0 ? rest + step_ms : rest);
}

/* The end of the next piece; `from_ms` when there is none. Never over midnight. */
static int64_t piece_end(enum log_rollup_level level, int minutes, int64_t from_ms, int64_t limit_ms) {
    bool hours = level == LOG_ROLLUP_HOUR || level == LOG_ROLLUP_HOUR_TOTALS;
    int64_t step_ms = level == LOG_ROLLUP_MINUTE ? MINUTE_MS : hours ? HOUR_MS : DAY_MS;
    int64_t to_ms = floor_to(limit_ms, step_ms), midnight_ms = floor_to(from_ms, DAY_MS) + DAY_MS;
    int64_t most_ms = from_ms + (level == LOG_ROLLUP_MINUTE ? minutes * MINUTE_MS : step_ms);
    to_ms = to_ms < most_ms ? to_ms : most_ms;
    to_ms = to_ms < midnight_ms ? to_ms : midnight_ms;
    return to_ms > from_ms ? to_ms : from_ms;
}

/* False in ret_taken: somebody else has it. */
static enum status take(struct connection *connection, enum log_rollup_level level, int64_t ceiling_ms, bool *ret_taken,
                        int64_t *ret_until_ms, int64_t *ret_limit_ms, struct error *error) {
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    params_int4(&params, level);
    params_timestamp(&params, ceiling_ms);
    params_int4(&params, log_rollup_source(level));
    enum status status = connection_run(connection, &TAKE, &params, &rows, error);
    params_deinit(&params);
    if (status != STATUS_OK)
        return status;
    *ret_taken = result_rows(rows) > 0;
    if (*ret_taken) {
        *ret_until_ms = result_timestamp(rows, 0, 0);
        *ret_limit_ms = result_timestamp(rows, 0, 1);
    }
    result_free(&rows);
    return STATUS_OK;
}

static enum status roll(struct connection *connection, enum log_rollup_level level, int64_t from_ms, int64_t to_ms,
                        struct error *error) {
    static const struct statement *const STEPS[LOG_ROLLUP_LEVELS][3] = {
        [LOG_ROLLUP_MINUTE] = {&ADD_DAY, &ROLL_MINUTES, &EVENTS_OF_MINUTES},
        [LOG_ROLLUP_HOUR] = {&ADD_DAY, &ROLL_UP, &EVENTS_UP},
        [LOG_ROLLUP_DAY] = {&ADD_DAY, &ROLL_UP, &EVENTS_UP},
        [LOG_ROLLUP_HOUR_TOTALS] = {&TOTALS_REPLACE, &TOTALS_FORGET, &TOTALS_UP},
        [LOG_ROLLUP_DAY_TOTALS] = {&TOTALS_REPLACE, &TOTALS_FORGET, &TOTALS_UP},
    };
    enum status status = STATUS_OK;
    struct params params;
    params_init(&params);
    params_timestamp(&params, from_ms);
    params_timestamp(&params, to_ms);
    params_int4(&params, level);
    params_int4(&params, log_rollup_source(level));
    for (size_t i = 0; i < 3 && status == STATUS_OK; i++)
        status = connection_run(connection, STEPS[level][i], &params, NULL, error);
    params_reset(&params);
    params_int4(&params, level);
    params_timestamp(&params, to_ms);
    if (status == STATUS_OK)
        status = connection_run(connection, &ADVANCE, &params, NULL, error);
    params_deinit(&params);
    return status;
}

/* A partition of a day that has begun has no statistics yet: the planner is told that an index is right. What is closed
 * is looked up before the rows are, so that their snapshot is the younger one. */
static enum status step_level(struct connection *connection, enum log_rollup_level level, int minutes,
                              int64_t ceiling_ms, bool *ret_did, struct error *error) {
    bool taken = false;
    int64_t until_ms = 0, limit_ms = 0;
    enum status status = connection_exec(connection,
                                         "BEGIN; SET LOCAL plan_cache_mode = force_custom_plan; "
                                         "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexonlyscan = off",
                                         error);
    if (status == STATUS_OK)
        status = take(connection, level, ceiling_ms, &taken, &until_ms, &limit_ms, error);
    if (status == STATUS_OK && taken) {
        int64_t to_ms = piece_end(level, minutes, until_ms, limit_ms);
        if (to_ms > until_ms) {
            status = roll(connection, level, until_ms, to_ms, error);
            *ret_did = status == STATUS_OK;
        }
    }
    if (status == STATUS_OK)
        return connection_exec(connection, "COMMIT", error);
    struct error ignored;
    *ret_did = false;
    if (connection_is_open(connection) && connection_exec(connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(connection);
    return status;
}

static enum status begin_state(struct connection *connection, struct error *error) {
    static const struct statement COUNT = {"SELECT count(*) FROM log_rollup_state"};
    struct result *rows = NULL;
    enum status status = connection_run(connection, &COUNT, NULL, &rows, error);
    bool there = status == STATUS_OK && result_int(rows, 0, 0) == LOG_ROLLUP_LEVELS;
    result_free(&rows);
    return status != STATUS_OK || there ? status : connection_run(connection, &BEGIN_STATE, NULL, NULL, error);
}

enum status log_rollup_step(struct connection *connection, int minutes, int64_t ceiling_ms, bool *ret_did,
                            struct error *error) {
    *ret_did = false;
    enum status status = begin_state(connection, error);
    /* A day is the most in one statement: should it be too much, minutes and hours are counted all the same. */
    static const enum log_rollup_level ORDER[LOG_ROLLUP_LEVELS] = {LOG_ROLLUP_HOUR, LOG_ROLLUP_MINUTE, LOG_ROLLUP_DAY,
                                                                   LOG_ROLLUP_DAY_TOTALS, LOG_ROLLUP_HOUR_TOTALS};
    for (int i = 0; i < LOG_ROLLUP_LEVELS && status == STATUS_OK && !*ret_did; i++)
        status = step_level(connection, ORDER[i], minutes, ceiling_ms, ret_did, error);
    return status;
}
