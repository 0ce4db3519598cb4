#include "store/log_stats.h"
#include <math.h>

#define MINUTE_MS INT64_C(60000)

int64_t log_stats_unit_ms(enum log_rollup_level unit) {
    return unit == LOG_ROLLUP_MINUTE ? MINUTE_MS : unit == LOG_ROLLUP_HOUR ? 60 * MINUTE_MS : 24 * 60 * MINUTE_MS;
}

#define SCOPE_ALL "workspace_id = $1::text AND $2::uuid IS NULL "
#define SCOPE_ALL_ROLLUPS SCOPE_ALL "AND subscription_id IS NULL "
#define SCOPE_ONE "workspace_id = $1::text AND subscription_id = $2::uuid "
#define ASKED "NOT test AND ($3::text IS NULL OR event_type = $3) "

/* $4 unit, $5 from, $6 until, $7 level. A row for each unit and class; class null: the sums. */
#define OF_ROLLUPS(scope)                                                                                              \
    "WITH rows AS (SELECT date_trunc($4::text, begins, 'UTC') AS unit, * FROM log_rollups WHERE " scope                \
    "AND level = $7::int4 AND begins >= $5::timestamptz AND begins < $6::timestamptz AND " ASKED ") "                  \
    "SELECT unit, NULL::int8, sum(first_time)::int8, sum(after_retry)::int8, "                                         \
    "coalesce(sum(n) FILTER (WHERE delivery_status = 'failed'), 0)::int8, "                                            \
    "coalesce(sum(n) FILTER (WHERE given_up), 0)::int8, "                                                              \
    "coalesce(sum(n) FILTER (WHERE delivery_status = 'cancelled'), 0)::int8, sum(duration_ms)::int8 "                  \
    "FROM rows GROUP BY unit UNION ALL SELECT unit, e >> 40, sum(e & 1099511627775)::int8, 0, 0, 0, 0, 0 "             \
    "FROM rows, unnest(latency) e GROUP BY unit, e >> 40"

#define OF_LOG(scope)                                                                                                  \
    "WITH rows AS (SELECT date_trunc($4::text, created_at, 'UTC') AS unit, * FROM delivery_logs WHERE " scope          \
    "AND $7::int4 < 0 AND created_at >= $5::timestamptz AND created_at < $6::timestamptz AND " ASKED ") "              \
    "SELECT unit, NULL::int8, count(*) FILTER (WHERE delivery_status = 'success' AND attempt <= 1), "                  \
    "count(*) FILTER (WHERE delivery_status = 'success' AND attempt > 1), "                                            \
    "count(*) FILTER (WHERE delivery_status = 'failed'), count(*) FILTER (WHERE given_up), "                           \
    "count(*) FILTER (WHERE delivery_status = 'cancelled'), coalesce(sum(duration_ms), 0)::int8 "                      \
    "FROM rows GROUP BY unit UNION ALL SELECT unit, log_duration_class(duration_ms), count(*), 0, 0, 0, 0, 0 "         \
    "FROM rows WHERE duration_ms IS NOT NULL GROUP BY 1, 2"

#define OF_TYPE "($2::text IS NULL OR event_type = $2) "
static const struct statement EVENTS_OF_ROLLUPS = {
    "SELECT date_trunc($3::text, begins, 'UTC'), sum(n)::int8 FROM log_rollups WHERE workspace_id = $1::text "
    "AND subscription_id IS NULL AND level = " LOG_ROLLUP_EVENTS " + $6::int4 AND begins >= $4::timestamptz "
    "AND begins < $5::timestamptz AND " OF_TYPE "GROUP BY 1"};
static const struct statement EVENTS_OF_EVENTS = {
    "SELECT date_trunc($3::text, created_at, 'UTC'), count(*) FROM events WHERE workspace_id = $1::text "
    "AND $6::int4 < 0 AND created_at >= $4::timestamptz AND created_at < $5::timestamptz AND " OF_TYPE "GROUP BY 1"};

static const char *const UNITS[] = {"minute", "hour", "day"};

static size_t unit_of(const struct log_stats_query *query, const struct result *rows, int row) {
    int64_t at = (result_timestamp(rows, row, 0) - query->from_ms) / log_stats_unit_ms(query->unit);
    CHECK(at >= 0 && (size_t)at < query->count);
    return (size_t)at;
}

static enum status add_events(struct connection *connection, const struct log_stats_query *query, int level,
                              int64_t from_ms, int64_t until_ms, struct log_stats *stats, struct error *error) {
    struct result *rows = NULL;
    struct params params;
    params_init(&params);
    params_text(&params, query->workspace_id);
    params_text(&params, query->event_type);
    params_text(&params, span_of(UNITS[query->unit]));
    params_timestamp(&params, from_ms);
    params_timestamp(&params, until_ms);
    params_int4(&params, level);
    enum status status =
        connection_run(connection, level < 0 ? &EVENTS_OF_EVENTS : &EVENTS_OF_ROLLUPS, &params, &rows, error);
    params_deinit(&params);
    for (int i = 0; status == STATUS_OK && i < result_rows(rows); i++)
        stats[unit_of(query, rows, i)].events += result_int(rows, i, 1);
    result_free(&rows);
    return status;
}

static void add_row(const struct log_stats_query *query, const struct result *rows, int row, struct log_stats *stats) {
    struct log_stats *unit = &stats[unit_of(query, rows, row)];
    if (!result_is_null(rows, row, 1)) {
        int64_t class = result_int(rows, row, 1);
        class = class < LOG_STATS_CLASSES ? class : LOG_STATS_CLASSES - 1;
        unit->classes[class] += result_int(rows, row, 2);
        return;
    }
    unit->first_time += result_int(rows, row, 2);
    unit->after_retry += result_int(rows, row, 3);
    unit->failed += result_int(rows, row, 4);
    unit->given_up += result_int(rows, row, 5);
    unit->cancelled += result_int(rows, row, 6);
    unit->duration_ms += result_int(rows, row, 7);
}

/* Level -1: the log. */
static enum status add(struct connection *connection, const struct log_stats_query *query, int level, int64_t from_ms,
                       int64_t until_ms, struct log_stats *stats, struct error *error) {
    static const struct statement ROLLUPS[] = {{OF_ROLLUPS(SCOPE_ALL_ROLLUPS)}, {OF_ROLLUPS(SCOPE_ONE)}};
    static const struct statement LOG[] = {{OF_LOG(SCOPE_ALL)}, {OF_LOG(SCOPE_ONE)}};
    bool one = query->subscription_id != NULL;
    struct result *rows = NULL;
    struct params params;
    if (from_ms >= until_ms)
        return STATUS_OK;
    params_init(&params);
    params_text(&params, query->workspace_id);
    if (one)
        params_uuid(&params, query->subscription_id);
    else
        params_null(&params, PARAM_UUID);
    params_text(&params, query->event_type);
    params_text(&params, span_of(UNITS[query->unit]));
    params_timestamp(&params, from_ms);
    params_timestamp(&params, until_ms);
    params_int4(&params, level);
    enum status status = connection_run(connection, level < 0 ? &LOG[one] : &ROLLUPS[one], &params, &rows, error);
    params_deinit(&params);
    for (int i = 0; status == STATUS_OK && i < result_rows(rows); i++)
        add_row(query, rows, i, stats);
    result_free(&rows);
    return status == STATUS_OK && !one ? add_events(connection, query, level, from_ms, until_ms, stats, error) : status;
}

/* By the unit's own counts as far as they reach, then by finer ones, then by the log. */
enum status log_stats_read(struct connection *connection, const struct log_stats_query *query,
                           struct log_stats *ret_stats, struct error *error) {
    static const struct statement STATE = {"SELECT level, until FROM log_rollup_state"};
    int64_t complete_ms[LOG_ROLLUP_LEVELS] = {0};
    int64_t from_ms = query->from_ms;
    int64_t until_ms = from_ms + (int64_t)query->count * log_stats_unit_ms(query->unit);
    struct result *rows = NULL;
    memset(ret_stats, 0, query->count * sizeof(*ret_stats));
    for (size_t i = 0; query->subscription_id && i < query->count; i++)
        ret_stats[i].events = -1;
    enum status status = connection_run(connection, &STATE, NULL, &rows, error);
    for (int i = 0; status == STATUS_OK && i < result_rows(rows); i++) {
        int64_t level = result_int(rows, i, 0);
        if (level >= 0 && level < LOG_ROLLUP_LEVELS)
            complete_ms[level] = result_timestamp(rows, i, 1);
    }
    result_free(&rows);
    for (int level = (int)query->unit; level >= 0 && status == STATUS_OK; level--) {
        int64_t end_ms = complete_ms[level] < until_ms ? complete_ms[level] : until_ms;
        status = add(connection, query, level, from_ms, end_ms, ret_stats, error);
        from_ms = end_ms > from_ms ? end_ms : from_ms;
    }
    return status == STATUS_OK ? add(connection, query, -1, from_ms, until_ms, ret_stats, error) : status;
}

int64_t log_stats_timed(const struct log_stats *stats) {
    int64_t timed = 0;
    for (int i = 0; i < LOG_STATS_CLASSES; i++)
        timed += stats->classes[i];
    return timed;
}

int64_t log_stats_quantile(const struct log_stats *stats, double quantile) {
    int64_t timed = log_stats_timed(stats), below = 0;
    int64_t wanted = (int64_t)ceil((double)timed * quantile);
    if (timed == 0)
        return -1;
    wanted = wanted < 1 ? 1 : wanted;
    for (int i = 0; i < LOG_STATS_CLASSES; i++) {
        below += stats->classes[i];
        if (below >= wanted)
            /* The largest whole number below the class's end. */
            return (int64_t)ceil(exp2((i + 1) / 4.0) - 1 - 1e-6) - 1;
    }
    return -1;
}
