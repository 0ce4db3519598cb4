/* How many rows fit, and where they lie. The time asked for is cut into pieces, each counted by what knows it best:
 *
 *   from                                                                        until
 *    │ log │ minutes │ hours │ days, month by month │ hours │ minutes │   log    │
 *          └ the next whole minute, hour, day              the last rolled up ┘
 *
 * Hours of a day and days of a month are not added up where there are running totals of them. */
#include "base/clock.h"
#include "base/memory.h"
#include "store/log_query_private.h"
#include <stdlib.h>
#include <time.h>

#define SECOND_US INT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US (60 * MINUTE_US)
#define DAY_US (24 * HOUR_US)
#define ARRAY_MAX_BYTES ((size_t)1024 * 1024)
#define FIRST_US INT64_C(0)

/* Of totals: of what they are. */
static const int64_t STEPS_US[] = {MINUTE_US, HOUR_US, DAY_US, HOUR_US, DAY_US};

struct segment {
    int level;
    int64_t from_us, until_us;
};

struct segments {
    struct segment *all;
    size_t count, capacity;
};

/* What is counted: until when by each level, and from when; and when the log begins. A day that is being taken off goes
 * from the log and from its counts one after the other. */
struct counted {
    int64_t until_us[LOG_ROLLUP_LEVELS], first_day_us, first_log_day_us;
};

static int64_t floor_to(int64_t us, int64_t step_us) {
    return us / step_us * step_us;
}

static int64_t ceil_to(int64_t us, int64_t step_us) {
    return (us + step_us - 1) / step_us * step_us;
}

static int64_t next_month(int64_t us) {
    time_t seconds = (time_t)(us / SECOND_US);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    tm = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon + 1, .tm_mday = 1};
    return (int64_t)timegm(&tm) * SECOND_US;
}

static void add_segment(struct segments *segments, int level, int64_t from_us, int64_t until_us) {
    if (from_us >= until_us)
        return;
    if (segments->count == segments->capacity) {
        segments->capacity = segments->capacity ? segments->capacity * 2 : 16;
        segments->all = mem_realloc(segments->all, segments->capacity * sizeof(*segments->all));
    }
    segments->all[segments->count++] = (struct segment){level, from_us, until_us};
}

/* Whole hours or days: day by day or month by month, as far as there are totals. */
static void add_whole(struct segments *segments, enum log_rollup_level level, int64_t from_us, int64_t until_us,
                      const struct counted *counted) {
    bool days = level == LOG_ROLLUP_DAY;
    enum log_rollup_level totals = days ? LOG_ROLLUP_DAY_TOTALS : LOG_ROLLUP_HOUR_TOTALS;
    int64_t total_until_us = counted->until_us[totals] < until_us ? counted->until_us[totals] : until_us;
    while (from_us < total_until_us) {
        int64_t next_us = days ? next_month(from_us) : floor_to(from_us, DAY_US) + DAY_US;
        int64_t end_us = next_us < total_until_us ? next_us : total_until_us;
        add_segment(segments, totals, from_us, end_us);
        from_us = end_us;
    }
    add_segment(segments, level, from_us, until_us);
}

static void add_known(struct segments *segments, enum log_rollup_level level, int64_t from_us, int64_t until_us,
                      const struct counted *counted) {
    if (level == LOG_ROLLUP_MINUTE)
        add_segment(segments, level, from_us, until_us);
    else
        add_whole(segments, level, from_us, until_us, counted);
}

/* [from, until), all of it known at `level`, by the coarsest levels that are complete there. */
static void cut(struct segments *segments, enum log_rollup_level level, int64_t from_us, int64_t until_us,
                const struct counted *counted) {
    if (level < LOG_ROLLUP_DAY) {
        int64_t step_us = STEPS_US[level + 1], known_us = counted->until_us[level + 1];
        int64_t end_us = until_us < known_us ? until_us : known_us;
        int64_t coarse_from_us = ceil_to(from_us, step_us), coarse_until_us = floor_to(end_us, step_us);
        if (coarse_from_us < coarse_until_us) {
            add_known(segments, level, from_us, coarse_from_us, counted);
            cut(segments, level + 1, coarse_from_us, coarse_until_us, counted);
            from_us = coarse_until_us;
        }
    }
    add_known(segments, level, from_us, until_us, counted);
}

static void cut_time(struct segments *segments, const struct log_filter *filter, const struct counted *counted) {
    int64_t from_us = filter->from_us > counted->first_log_day_us ? filter->from_us : counted->first_log_day_us;
    /* Nothing is later, and the days ahead need not be looked at. */
    int64_t last_us = clock_wall_ms() * 1000 + DAY_US, known_us = counted->until_us[LOG_ROLLUP_MINUTE];
    int64_t until_us = filter->until_us < last_us ? filter->until_us : last_us;
    int64_t end_us = until_us < known_us ? until_us : known_us;
    int64_t whole_from_us = from_us > counted->first_day_us ? ceil_to(from_us, MINUTE_US) : counted->first_day_us;
    int64_t whole_until_us = floor_to(end_us, MINUTE_US);
    if (filter->event_id.data || filter->batch_id || whole_from_us >= whole_until_us) {
        add_segment(segments, LOG_UNCOUNTED, from_us, until_us);
        return;
    }
    add_segment(segments, LOG_UNCOUNTED, from_us, whole_from_us);
    cut(segments, LOG_ROLLUP_MINUTE, whole_from_us, whole_until_us, counted);
    add_segment(segments, LOG_UNCOUNTED, whole_until_us, until_us);
}

static enum status read_state(struct connection *connection, struct counted *ret_counted, struct error *error) {
    static const struct statement STATE = {"SELECT level, until, " LOG_ROLLUP_FIRST_DAY(
        "log_rollups") ", " LOG_ROLLUP_FIRST_DAY("delivery_logs") " FROM log_rollup_state"};
    struct result *rows = NULL;
    enum status status = connection_run(connection, &STATE, NULL, &rows, error);
    *ret_counted = (struct counted){.first_day_us = INT64_MAX, .first_log_day_us = FIRST_US};
    for (int i = 0; status == STATUS_OK && i < result_rows(rows); i++) {
        int64_t level = result_int(rows, i, 0);
        if (level >= 0 && level < LOG_ROLLUP_LEVELS)
            ret_counted->until_us[level] = result_timestamp_us(rows, i, 1);
        if (!result_is_null(rows, i, 2))
            ret_counted->first_day_us = result_timestamp_us(rows, i, 2);
        if (!result_is_null(rows, i, 3))
            ret_counted->first_log_day_us = result_timestamp_us(rows, i, 3);
    }
    result_free(&rows);
    return status;
}

/* ---- groups and blocks ---- */

static struct log_group *find_group(struct log_query *query, struct span value) {
    struct log_group *group;
    for (size_t i = query->group_count; i-- > 0;) {
        group = &query->groups[i];
        if (value.data ? !group->null && span_is(value, group->value) : group->null)
            return group;
    }
    if (query->group_count == query->group_capacity) {
        query->group_capacity = query->group_capacity ? query->group_capacity * 2 : 8;
        query->groups = mem_realloc(query->groups, query->group_capacity * sizeof(*query->groups));
    }
    group = &query->groups[query->group_count++];
    *group = (struct log_group){.null = !value.data};
    size_t len = value.len < LOG_VALUE_MAX_BYTES ? value.len : LOG_VALUE_MAX_BYTES;
    if (value.data)
        memcpy(group->value, value.data, len);
    for (size_t i = 0; query->settings.order == LOG_BY_STATUS_CODE && i < len; i++)
        group->number = group->number * 10 + (group->value[i] - '0');
    return group;
}

static void add_block(struct log_group *group, const struct log_block *block) {
    if (group->count == group->capacity) {
        group->capacity = group->capacity ? group->capacity * 2 : 32;
        group->blocks = mem_realloc(group->blocks, group->capacity * sizeof(*group->blocks));
    }
    group->blocks[group->count++] = *block;
    group->n += block->n;
}

/* $11: what is ordered by, $12 and $13: from, until. */
#define COUNT_IN_LOG(condition)                                                                                        \
    "SELECT " LOG_VALUE("$11") ", count(*), bool_or(delivery_status = 'success') FROM delivery_logs WHERE " condition  \
                               "AND " LOG_FITS                                                                         \
                               "AND created_at >= $12::timestamptz AND created_at < $13::timestamptz GROUP BY 1"
#define OF_EVENT                                                                                                       \
    "event_id = $14::text AND ($15::uuid IS NULL OR batch_id = $15) AND ($10::uuid IS NULL OR subscription_id = $10) "

static enum status count_in_log(struct log_query *query, struct connection *connection, const struct segment *segment,
                                struct error *error) {
    static const struct statement WORKSPACE = {COUNT_IN_LOG(LOG_OF_WORKSPACE)};
    static const struct statement SUBSCRIPTION = {COUNT_IN_LOG(LOG_OF_SUBSCRIPTION)};
    static const struct statement EVENT = {COUNT_IN_LOG(LOG_OF_WORKSPACE "AND " OF_EVENT)};
    bool event = query->filter.event_id.data;
    const struct statement *statement = event ? &EVENT : query->filter.subscription_id ? &SUBSCRIPTION : &WORKSPACE;
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    log_query_fit_params(&params, &query->filter, false);
    params_int4(&params, (int)query->settings.order);
    params_timestamp_us(&params, segment->from_us);
    params_timestamp_us(&params, segment->until_us);
    if (event)
        params_text(&params, query->filter.event_id);
    if (event && query->filter.batch_id)
        params_uuid(&params, query->filter.batch_id);
    else if (event)
        params_null(&params, PARAM_UUID);
    enum status status = event ? STATUS_OK : log_query_plan_each(connection, error);
    if (status == STATUS_OK)
        status = connection_run(connection, statement, &params, &rows, error);
    if (status == STATUS_OK && !event)
        status = log_query_plan_once(connection, error);
    params_deinit(&params);
    for (int i = 0; status == STATUS_OK && i < result_rows(rows); i++) {
        if (result_int(rows, i, 1) == 0)
            continue; /* of no rows at all there is a count too, where no group is asked for */
        struct log_group *group = find_group(query, result_text(rows, i, 0));
        group->successes |= result_bool(rows, i, 2);
        add_block(group, &(struct log_block){.level = LOG_UNCOUNTED,
                                             .begins_us = segment->from_us,
                                             .ends_us = segment->until_us,
                                             .n = result_int(rows, i, 1)});
    }
    result_free(&rows);
    return status;
}

/* What of a row is asked more than once is told once. */
#define TOLD                                                                                                           \
    LOG_VALUE("$11")                                                                                                   \
    "AS value, delivery_status = 'success' AS succeeded, (" LOG_FITS ") AS fits, "                                     \
    "($4::text IS NULL OR error_code = $4) AND ($5::int4 IS NULL OR status_code >= $5) "                               \
    "AND ($6::int4 IS NULL OR status_code <= $6) AND ($7::bool IS NOT TRUE OR given_up) "                              \
    "AND ($3::text IS DISTINCT FROM 'cancelled' OR delivery_status = 'cancelled') AS coded "
/* What fits in a stretch, whether some of it succeeded, and what there is besides. */
#define COUNTS                                                                                                         \
    "coalesce(sum(n) FILTER (WHERE fits), 0)::int8, coalesce(sum(n) FILTER (WHERE fits AND succeeded), 0) > 0, "       \
    "(sum(sum(n)) OVER stretch)::int8, coalesce(sum(sum(n) FILTER (WHERE NOT succeeded)) OVER stretch, 0)::int8, "     \
    "coalesce(CASE WHEN $11 IN (2, 3) THEN sum(n) FILTER (WHERE coded) "                                               \
    "ELSE sum(sum(n) FILTER (WHERE coded)) OVER stretch END, 0)::int8, "                                               \
    "(sum(count(*) FILTER (WHERE n > 0)) OVER stretch)::int8 "

/* $12 to $14: the segments; the order is that of time. OFFSET 0 keeps the segments outside, so that each looks up its
 * own rows, whatever the planner thinks of how many there are. */
#define COUNT_IN_ROLLUPS(scope)                                                                                        \
    "SELECT value, level, begins, " COUNTS                                                                             \
    "FROM unnest($12::int2[], $13::timestamptz[], $14::timestamptz[]) s(at_level, from_at, until_at) "                 \
    "CROSS JOIN LATERAL (SELECT level, begins, n, " TOLD "FROM log_rollups WHERE " scope "AND level = s.at_level "     \
    "AND begins >= s.from_at AND begins < s.until_at "                                                                 \
    "AND begins >= $15::timestamptz AND begins < $16::timestamptz OFFSET 0) r "                                        \
    "GROUP BY 1, 2, 3 WINDOW stretch AS (PARTITION BY level, begins) ORDER BY 3"

/* Each within a day or a month: all up to its last hour or day, less what is earlier than its first. */
#define TOTALS_OF_SCOPE                                                                                                \
    "FROM log_totals WHERE workspace_id = $1::text AND subscription_id = coalesce($10::uuid, " LOG_ROLLUP_WHOLE ") "   \
    "AND level = at_level AND begins "
#define ONE_OF_STRETCH(which) "(SELECT " which "(begins) " TOTALS_OF_SCOPE ">= from_at AND begins < until_at)"
static const struct statement COUNT_IN_TOTALS = {
    "SELECT value, at_level, from_at, " COUNTS ", until_at "
    "FROM unnest($12::int2[], $13::timestamptz[], $14::timestamptz[]) s(at_level, from_at, until_at) "
    "CROSS JOIN LATERAL (SELECT earlier + n AS n, " TOLD TOTALS_OF_SCOPE
    "= " ONE_OF_STRETCH("max") " UNION ALL SELECT -earlier, " TOLD TOTALS_OF_SCOPE "= " ONE_OF_STRETCH(
        "min") " AND earlier > 0 OFFSET 0) r "
               "GROUP BY 1, 2, 3, until_at WINDOW stretch AS (PARTITION BY from_at) ORDER BY 3"};

static struct log_block read_block(const struct result *rows, int row) {
    int level = (int)result_int(rows, row, 1);
    int64_t begins_us = result_timestamp_us(rows, row, 2);
    bool totals = log_rollup_is_totals(level);
    return (struct log_block){.level = level,
                              .begins_us = begins_us,
                              .ends_us = totals ? result_timestamp_us(rows, row, 9) : begins_us + STEPS_US[level],
                              .n = result_int(rows, row, 3),
                              .all = result_int(rows, row, 5),
                              .failures = result_int(rows, row, 6),
                              .coded = result_int(rows, row, 7),
                              .kinds = result_int(rows, row, 8)};
}

/* Segments of totals, or of the other levels. */
static enum status run_counts(const struct log_query *query, struct connection *connection,
                              const struct log_filter *filter, bool status_null, int order,
                              const struct segments *segments, bool totals, struct result **ret_rows,
                              struct error *error) {
    static const struct statement OF_WORKSPACE = {COUNT_IN_ROLLUPS(LOG_ROLLUP_OF_WORKSPACE)};
    static const struct statement OF_SUBSCRIPTION = {COUNT_IN_ROLLUPS(LOG_OF_SUBSCRIPTION)};
    const struct statement *in_rollups = query->filter.subscription_id ? &OF_SUBSCRIPTION : &OF_WORKSPACE;
    struct param_array levels, froms, untils;
    struct params params;
    int64_t first_us = INT64_MAX, last_us = INT64_MIN;
    array_init(&levels, PARAM_INT2, ARRAY_MAX_BYTES);
    array_init(&froms, PARAM_TIMESTAMP, ARRAY_MAX_BYTES);
    array_init(&untils, PARAM_TIMESTAMP, ARRAY_MAX_BYTES);
    for (size_t i = 0; i < segments->count; i++) {
        const struct segment *segment = &segments->all[i];
        if (segment->level == LOG_UNCOUNTED || log_rollup_is_totals(segment->level) != totals)
            continue;
        array_int2(&levels, (int16_t)segment->level);
        array_timestamp_us(&froms, segment->from_us);
        array_timestamp_us(&untils, segment->until_us);
        first_us = segment->from_us < first_us ? segment->from_us : first_us;
        last_us = segment->until_us > last_us ? segment->until_us : last_us;
    }
    enum status status = STATUS_OK;
    *ret_rows = NULL;
    params_init(&params);
    log_query_fit_params(&params, filter, status_null);
    params_int4(&params, order);
    params_array(&params, &levels);
    params_array(&params, &froms);
    params_array(&params, &untils);
    params_timestamp_us(&params, first_us);
    params_timestamp_us(&params, last_us);
    if (first_us < last_us)
        status = connection_run(connection, totals ? &COUNT_IN_TOTALS : in_rollups, &params, ret_rows, error);
    params_deinit(&params);
    array_deinit(&levels);
    array_deinit(&froms);
    array_deinit(&untils);
    return status;
}

static void see_kinds(struct log_query *query, const struct log_block *block) {
    query->kinds[block->level] += block->kinds;
    query->stretches[block->level]++;
}

static enum status count_in_advance(struct log_query *query, struct connection *connection,
                                    const struct segments *segments, bool totals, struct error *error) {
    struct result *rows = NULL;
    enum status status = run_counts(query, connection, &query->filter, false, (int)query->settings.order, segments,
                                    totals, &rows, error);
    for (int i = 0; status == STATUS_OK && rows && i < result_rows(rows); i++) {
        struct log_block block = read_block(rows, i);
        if (i == 0 || block.begins_us != result_timestamp_us(rows, i - 1, 2))
            see_kinds(query, &block);
        if (block.n == 0)
            continue;
        struct log_group *group = find_group(query, result_text(rows, i, 0));
        group->successes |= result_bool(rows, i, 4);
        add_block(group, &block);
    }
    result_free(&rows);
    return status;
}

static int by_time(const void *a, const void *b) {
    const struct log_block *one = a, *other = b;
    return (one->begins_us > other->begins_us) - (one->begins_us < other->begins_us);
}

static int by_time_down(const void *a, const void *b) {
    return by_time(b, a);
}

static int by_value(const void *a, const void *b) {
    const struct log_group *one = a, *other = b;
    if (one->null != other->null)
        return one->null - other->null;
    if (one->number != other->number)
        return one->number < other->number ? -1 : 1;
    return strcmp(one->value, other->value);
}

/* Null stays last. */
static int by_value_down(const void *a, const void *b) {
    const struct log_group *one = a, *other = b;
    return one->null != other->null ? one->null - other->null : by_value(b, a);
}

enum status log_query_survey(struct log_query *query, struct connection *connection, struct error *error) {
    struct counted counted;
    struct segments segments = {.count = 0};
    enum status status = read_state(connection, &counted, error);
    if (query->filter.subscription_id)
        counted.until_us[LOG_ROLLUP_HOUR_TOTALS] = FIRST_US; /* which only whole workspaces have */
    if (status == STATUS_OK)
        cut_time(&segments, &query->filter, &counted);
    for (size_t i = 0; i < segments.count && status == STATUS_OK; i++)
        if (segments.all[i].level == LOG_UNCOUNTED)
            status = count_in_log(query, connection, &segments.all[i], error);
    if (status == STATUS_OK)
        status = count_in_advance(query, connection, &segments, false, error);
    if (status == STATUS_OK)
        status = count_in_advance(query, connection, &segments, true, error);
    mem_free(segments.all);
    if (query->group_count > 0)
        qsort(query->groups, query->group_count, sizeof(*query->groups),
              query->settings.descending ? by_value_down : by_value);
    for (size_t i = 0; i < query->group_count; i++)
        qsort(query->groups[i].blocks, query->groups[i].count, sizeof(struct log_block),
              query->newest_first ? by_time_down : by_time);
    return status;
}

/* The finer ones of these segments come before `rest`, unless that has no rows, in the place of blocks [first, first +
 * count). */
static enum status replace(struct log_query *query, struct connection *connection, struct log_group *group,
                           size_t first, size_t count, const struct segments *segments, struct log_block rest,
                           struct error *error) {
    struct log_group finer = {.null = false};
    struct result *rows = NULL;
    bool status_null = false;
    struct log_filter filter = log_query_group_filter(query, group, &status_null);
    enum status status =
        run_counts(query, connection, &filter, status_null, LOG_BY_TIME, segments, false, &rows, error);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < first; i++)
        add_block(&finer, &group->blocks[i]);
    for (int i = 0, found = result_rows(rows); i < found; i++) {
        struct log_block block = read_block(rows, query->newest_first ? found - 1 - i : i);
        see_kinds(query, &block);
        if (block.n > 0)
            add_block(&finer, &block);
        rest.n -= block.n;
        rest.all -= block.all;
        rest.failures -= block.failures;
        rest.coded -= block.coded;
    }
    if (rest.n > 0)
        add_block(&finer, &rest);
    for (size_t i = first + count; i < group->count; i++)
        add_block(&finer, &group->blocks[i]);
    result_free(&rows);
    mem_free(group->blocks);
    group->blocks = finer.blocks;
    group->count = finer.count;
    group->capacity = finer.capacity;
    return STATUS_OK;
}

enum status log_query_refine(struct log_query *query, struct connection *connection, struct log_group *group,
                             size_t first, size_t count, struct error *error) {
    struct segments segments = {.count = 0};
    int level = log_rollup_source(group->blocks[first].level);
    CHECK(level >= LOG_ROLLUP_MINUTE && level < LOG_ROLLUP_DAY);
    for (size_t i = first; i < first + count; i++)
        add_segment(&segments, level, group->blocks[i].begins_us, group->blocks[i].ends_us);
    enum status status = replace(query, connection, group, first, count, &segments, (struct log_block){.n = 0}, error);
    mem_free(segments.all);
    return status;
}

enum status log_query_take(struct log_query *query, struct connection *connection, struct log_group *group,
                           size_t block, int64_t stretches, struct error *error) {
    struct log_block rest = group->blocks[block];
    int64_t from_us = rest.begins_us, until_us = rest.ends_us, taken_us = stretches * STEPS_US[rest.level];
    CHECK(log_rollup_is_totals(rest.level) && stretches > 0);
    if (taken_us >= until_us - from_us)
        rest.n = 0; /* also when a day has gone since it was counted */
    else if (query->newest_first)
        from_us = rest.ends_us = until_us - taken_us;
    else
        until_us = rest.begins_us = from_us + taken_us;
    struct segment segment = {log_rollup_source(rest.level), from_us, until_us};
    return replace(query, connection, group, block, 1, &(struct segments){.all = &segment, .count = 1}, rest, error);
}

int64_t log_query_stretches(const struct log_block *block) {
    return (block->ends_us - block->begins_us) / STEPS_US[block->level];
}
