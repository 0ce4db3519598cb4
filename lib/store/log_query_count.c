/* How many rows fit, and where they lie. The time asked for is cut into pieces, each counted by what knows it best:
 *
 *   from                                                                        until
 *    │ log │ minutes │ hours │        days        │ hours │ minutes │   log      │
 *          └ the next whole minute, hour, day            the last rolled up ┘
 */
#include "base/clock.h"
#include "base/memory.h"
#include "store/log_query_private.h"
#include <stdlib.h>

#define MINUTE_US INT64_C(60000000)
#define HOUR_US (60 * MINUTE_US)
#define DAY_US (24 * HOUR_US)
#define SEGMENTS_MAX 8
#define ARRAY_MAX_BYTES ((size_t)1024 * 1024)
#define FIRST_US INT64_C(0)

static const int64_t STEPS_US[] = {MINUTE_US, HOUR_US, DAY_US};

struct segment {
    int level;
    int64_t from_us, until_us;
};

static int64_t floor_to(int64_t us, int64_t step_us) {
    return us / step_us * step_us;
}

static int64_t ceil_to(int64_t us, int64_t step_us) {
    return (us + step_us - 1) / step_us * step_us;
}

static void add_segment(struct segment *segments, size_t *count, int level, int64_t from_us, int64_t until_us) {
    if (from_us >= until_us)
        return;
    CHECK(*count < SEGMENTS_MAX);
    segments[(*count)++] = (struct segment){level, from_us, until_us};
}

/* [from, until), all of it known at `level`, by the coarsest levels that are complete there. */
static void cut(struct segment *segments, size_t *count, int level, int64_t from_us, int64_t until_us,
                const int64_t *complete_us) {
    if (level < LOG_ROLLUP_DAY) {
        int64_t step_us = STEPS_US[level + 1];
        int64_t end_us = until_us < complete_us[level + 1] ? until_us : complete_us[level + 1];
        int64_t coarse_from_us = ceil_to(from_us, step_us), coarse_until_us = floor_to(end_us, step_us);
        if (coarse_from_us < coarse_until_us) {
            add_segment(segments, count, level, from_us, coarse_from_us);
            cut(segments, count, level + 1, coarse_from_us, coarse_until_us, complete_us);
            add_segment(segments, count, level, coarse_until_us, until_us);
            return;
        }
    }
    add_segment(segments, count, level, from_us, until_us);
}

static size_t cut_time(const struct log_filter *filter, const int64_t *complete_us, struct segment *segments) {
    size_t count = 0;
    int64_t from_us = filter->from_us > FIRST_US ? filter->from_us : FIRST_US;
    int64_t last_us = clock_wall_ms() * 1000 + DAY_US; /* nothing is later, and the days ahead need not be looked at */
    int64_t until_us = filter->until_us < last_us ? filter->until_us : last_us;
    int64_t end_us = until_us < complete_us[LOG_ROLLUP_MINUTE] ? until_us : complete_us[LOG_ROLLUP_MINUTE];
    int64_t whole_from_us = ceil_to(from_us, MINUTE_US), whole_until_us = floor_to(end_us, MINUTE_US);
    if (filter->event_id.data || filter->batch_id || whole_from_us >= whole_until_us) {
        add_segment(segments, &count, LOG_UNCOUNTED, from_us, until_us);
        return count;
    }
    add_segment(segments, &count, LOG_UNCOUNTED, from_us, whole_from_us);
    cut(segments, &count, LOG_ROLLUP_MINUTE, whole_from_us, whole_until_us, complete_us);
    add_segment(segments, &count, LOG_UNCOUNTED, whole_until_us, until_us);
    return count;
}

static enum status read_state(struct connection *connection, int64_t *complete_us, struct error *error) {
    static const struct statement STATE = {"SELECT level, until FROM log_rollup_state"};
    struct result *rows = NULL;
    enum status status = connection_run(connection, &STATE, NULL, &rows, error);
    for (int i = 0; status == STATUS_OK && i < result_rows(rows); i++) {
        int64_t level = result_int(rows, i, 0);
        if (level >= 0 && level < LOG_ROLLUP_LEVELS)
            complete_us[level] = result_timestamp_us(rows, i, 1);
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

/* $11: what is ordered by. */
#define VALUE "CASE $11::int4 WHEN 1 THEN event_type WHEN 2 THEN delivery_status WHEN 3 THEN status_code::text END"

#define COUNT_IN_LOG(scope)                                                                                            \
    "SELECT " VALUE ", count(*), bool_or(delivery_status = 'success') FROM delivery_logs WHERE " scope "AND " LOG_FITS \
    "AND ($14::text IS NULL OR event_id = $14) AND ($15::uuid IS NULL OR batch_id = $15) "                             \
    "AND created_at >= $12::timestamptz AND created_at < $13::timestamptz GROUP BY 1"

static enum status count_in_log(struct log_query *query, struct connection *connection, const struct segment *segment,
                                struct error *error) {
    static const struct statement OF_WORKSPACE = {COUNT_IN_LOG(LOG_OF_WORKSPACE)};
    static const struct statement OF_SUBSCRIPTION = {COUNT_IN_LOG(LOG_OF_SUBSCRIPTION)};
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    log_query_fit_params(&params, &query->filter, false);
    params_int4(&params, (int)query->settings.order);
    params_timestamp_us(&params, segment->from_us);
    params_timestamp_us(&params, segment->until_us);
    params_text(&params, query->filter.event_id);
    if (query->filter.batch_id)
        params_uuid(&params, query->filter.batch_id);
    else
        params_null(&params, PARAM_UUID);
    enum status status = connection_run(connection, query->filter.subscription_id ? &OF_SUBSCRIPTION : &OF_WORKSPACE,
                                        &params, &rows, error);
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

/* $12 to $14: the segments. What fits in each stretch, and what there is besides; the order is that of time. OFFSET 0
 * keeps the segments outside, so that each looks up its own rows, whatever the planner thinks of how many there are. */
#define CODED                                                                                                          \
    "($4::text IS NULL OR error_code = $4) AND ($5::int4 IS NULL OR status_code >= $5) "                               \
    "AND ($6::int4 IS NULL OR status_code <= $6) AND ($7::bool IS NOT TRUE OR given_up) "                              \
    "AND ($3::text IS DISTINCT FROM 'cancelled' OR delivery_status = 'cancelled')"
#define COUNT_IN_ROLLUPS(scope)                                                                                        \
    "SELECT " VALUE ", level, begins, coalesce(sum(n) FILTER (WHERE " LOG_FITS "), 0)::int8, "                         \
    "coalesce(bool_or(delivery_status = 'success') FILTER (WHERE " LOG_FITS "), false), "                              \
    "(sum(sum(n)) OVER stretch)::int8, "                                                                               \
    "coalesce(sum(sum(n) FILTER (WHERE delivery_status <> 'success')) OVER stretch, 0)::int8, "                        \
    "coalesce(sum(sum(n) FILTER (WHERE " CODED ")) OVER stretch, 0)::int8, (sum(count(*)) OVER stretch)::int8 "        \
    "FROM unnest($12::int2[], $13::timestamptz[], $14::timestamptz[]) s(at_level, from_at, until_at) "                 \
    "CROSS JOIN LATERAL (SELECT * FROM log_rollups WHERE " scope "AND level = s.at_level AND begins >= s.from_at "     \
    "AND begins < s.until_at AND begins >= $15::timestamptz AND begins < $16::timestamptz OFFSET 0) r "                \
    "GROUP BY 1, 2, 3 WINDOW stretch AS (PARTITION BY level, begins) ORDER BY 3"

static struct log_block read_block(const struct result *rows, int row) {
    int level = (int)result_int(rows, row, 1);
    int64_t begins_us = result_timestamp_us(rows, row, 2);
    return (struct log_block){.level = level,
                              .begins_us = begins_us,
                              .ends_us = begins_us + STEPS_US[level],
                              .n = result_int(rows, row, 3),
                              .all = result_int(rows, row, 5),
                              .failures = result_int(rows, row, 6),
                              .coded = result_int(rows, row, 7),
                              .kinds = result_int(rows, row, 8)};
}

static enum status run_rollups(const struct log_query *query, struct connection *connection,
                               const struct log_filter *filter, bool status_null, int order,
                               const struct segment *segments, size_t count, struct result **ret_rows,
                               struct error *error) {
    static const struct statement OF_WORKSPACE = {COUNT_IN_ROLLUPS(LOG_ROLLUP_OF_WORKSPACE)};
    static const struct statement OF_SUBSCRIPTION = {COUNT_IN_ROLLUPS(LOG_OF_SUBSCRIPTION)};
    struct param_array levels, froms, untils;
    struct params params;
    int64_t first_us = INT64_MAX, last_us = INT64_MIN;
    array_init(&levels, PARAM_INT2, ARRAY_MAX_BYTES);
    array_init(&froms, PARAM_TIMESTAMP, ARRAY_MAX_BYTES);
    array_init(&untils, PARAM_TIMESTAMP, ARRAY_MAX_BYTES);
    for (size_t i = 0; i < count; i++) {
        array_int2(&levels, (int16_t)segments[i].level);
        array_timestamp_us(&froms, segments[i].from_us);
        array_timestamp_us(&untils, segments[i].until_us);
        first_us = segments[i].from_us < first_us ? segments[i].from_us : first_us;
        last_us = segments[i].until_us > last_us ? segments[i].until_us : last_us;
    }
    params_init(&params);
    log_query_fit_params(&params, filter, status_null);
    params_int4(&params, order);
    params_array(&params, &levels);
    params_array(&params, &froms);
    params_array(&params, &untils);
    params_timestamp_us(&params, first_us);
    params_timestamp_us(&params, last_us);
    enum status status = connection_run(connection, query->filter.subscription_id ? &OF_SUBSCRIPTION : &OF_WORKSPACE,
                                        &params, ret_rows, error);
    params_deinit(&params);
    array_deinit(&levels);
    array_deinit(&froms);
    array_deinit(&untils);
    return status;
}

static enum status count_in_rollups(struct log_query *query, struct connection *connection,
                                    const struct segment *segments, size_t count, struct error *error) {
    struct result *rows = NULL;
    enum status status = run_rollups(query, connection, &query->filter, false, (int)query->settings.order, segments,
                                     count, &rows, error);
    for (int i = 0; status == STATUS_OK && i < result_rows(rows); i++) {
        struct log_block block = read_block(rows, i);
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
    int64_t complete_us[LOG_ROLLUP_LEVELS] = {FIRST_US, FIRST_US, FIRST_US};
    struct segment segments[SEGMENTS_MAX], counted[SEGMENTS_MAX];
    size_t counted_count = 0;
    enum status status = read_state(connection, complete_us, error);
    size_t count = cut_time(&query->filter, complete_us, segments);
    if (status == STATUS_OK)
        status = log_query_plan_each(connection, error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        if (segments[i].level == LOG_UNCOUNTED)
            status = count_in_log(query, connection, &segments[i], error);
        else
            counted[counted_count++] = segments[i];
    }
    if (status == STATUS_OK)
        status = log_query_plan_once(connection, error);
    if (status == STATUS_OK && counted_count > 0)
        status = count_in_rollups(query, connection, counted, counted_count, error);
    if (query->group_count > 0)
        qsort(query->groups, query->group_count, sizeof(*query->groups),
              query->settings.descending ? by_value_down : by_value);
    for (size_t i = 0; i < query->group_count; i++)
        qsort(query->groups[i].blocks, query->groups[i].count, sizeof(struct log_block),
              query->newest_first ? by_time_down : by_time);
    return status;
}

enum status log_query_refine(struct log_query *query, struct connection *connection, struct log_group *group,
                             size_t first, size_t count, struct error *error) {
    struct segment *segments = mem_calloc(count, sizeof(*segments));
    struct log_group finer = {.null = false};
    struct result *rows = NULL;
    bool status_null = false;
    int level = group->blocks[first].level - 1;
    CHECK(level >= LOG_ROLLUP_MINUTE);
    for (size_t i = 0; i < count; i++)
        segments[i] = (struct segment){level, group->blocks[first + i].begins_us, group->blocks[first + i].ends_us};
    struct log_filter filter = log_query_group_filter(query, group, &status_null);
    enum status status =
        run_rollups(query, connection, &filter, status_null, LOG_BY_TIME, segments, count, &rows, error);
    mem_free(segments);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < first; i++)
        add_block(&finer, &group->blocks[i]);
    for (int i = 0, found = result_rows(rows); i < found; i++) {
        struct log_block block = read_block(rows, query->newest_first ? found - 1 - i : i);
        if (block.n > 0)
            add_block(&finer, &block);
    }
    for (size_t i = first + count; i < group->count; i++)
        add_block(&finer, &group->blocks[i]);
    result_free(&rows);
    mem_free(group->blocks);
    group->blocks = finer.blocks;
    group->count = finer.count;
    group->capacity = finer.capacity;
    return STATUS_OK;
}
