/* The walk: group by group in the order asked for, within a group stretch by stretch in the order of time. Stretches
 * that are passed by as a whole cost nothing. What is left of the offset lies within one; it and those after it are
 * refined, totals to days or hours, days to hours, hours to minutes, as far as the rows of the next read reach. */
#include "base/memory.h"
#include "store/log_query_private.h"
#include <stdio.h>

#define TEXTS_MAX_BYTES (64 * 1024)
#define FEW_ROWS 300 /* are cheaper than one more question */
#define BLOCKS_AT_ONCE 256
#define BY_INDEX_MAX_ROWS 1000

static struct span keep(struct buffer *texts, struct span text) {
    if (!text.data)
        return SPAN_NONE;
    size_t at = texts->len;
    buffer_span(texts, text);
    buffer_char(texts, '\0');
    return (struct span){texts->data + at, text.len};
}

/* A batch's rows have its id as the event's. */
static struct span event_id_of(const struct log_filter *filter, char *room) {
    if (filter->event_id.data || !filter->batch_id)
        return filter->event_id;
    uuid_format(filter->batch_id, room);
    return (struct span){room, UUID_TEXT_LEN};
}

struct log_query *log_query_new(const struct log_query_settings *settings) {
    const struct log_filter *filter = &settings->filter;
    struct log_query *query = mem_calloc(1, sizeof(*query));
    char batch[UUID_TEXT_LEN + 1];
    struct span event_id = event_id_of(filter, batch);
    query->settings = *settings;
    query->filter = *filter;
    buffer_init(&query->texts, TEXTS_MAX_BYTES);
    /* The buffer must not move once something points into it. */
    CHECK(buffer_grow(&query->texts, filter->workspace_id.len + filter->event_type.len + filter->delivery_status.len +
                                         filter->error_code.len + event_id.len + 8));
    buffer_reset(&query->texts);
    query->filter.workspace_id = keep(&query->texts, filter->workspace_id);
    query->filter.event_type = keep(&query->texts, filter->event_type);
    query->filter.delivery_status = keep(&query->texts, filter->delivery_status);
    query->filter.error_code = keep(&query->texts, filter->error_code);
    query->filter.event_id = keep(&query->texts, event_id);
    CHECK(!query->texts.overflowed);
    if (filter->subscription_id) {
        query->subscription_id = *filter->subscription_id;
        query->filter.subscription_id = &query->subscription_id;
    }
    if (filter->batch_id) {
        query->batch_id = *filter->batch_id;
        query->filter.batch_id = &query->batch_id;
    }
    query->newest_first = settings->order != LOG_BY_TIME || settings->descending;
    query->skip = settings->offset;
    query->left = settings->limit ? settings->limit : INT64_MAX;
    return query;
}

void log_query_free(struct log_query **query_ptr) {
    struct log_query *query = *query_ptr;
    *query_ptr = NULL;
    if (!query)
        return;
    for (size_t i = 0; i < query->group_count; i++)
        mem_free(query->groups[i].blocks);
    mem_free(query->groups);
    buffer_deinit(&query->texts);
    mem_free(query);
}

/* A partition of a day that has begun has no statistics, and what is right here is known: an index, in its order. The
 * locks, taken before the snapshot, keep the days that it has: a day is not detached while somebody uses its table. */
enum status log_query_open(struct connection *connection, struct error *error) {
    return connection_exec(connection,
                           "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                           "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; "
                           "SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; "
                           "SET LOCAL enable_mergejoin = off; SET LOCAL max_parallel_workers_per_gather = 0; "
                           "LOCK TABLE ONLY delivery_logs, ONLY log_rollups IN ACCESS SHARE MODE",
                           error);
}

enum status log_query_plan_each(struct connection *connection, struct error *error) {
    return connection_exec(connection, "SET LOCAL plan_cache_mode = force_custom_plan", error);
}

enum status log_query_plan_once(struct connection *connection, struct error *error) {
    return connection_exec(connection, "SET LOCAL plan_cache_mode = force_generic_plan", error);
}

enum status log_query_close(struct connection *connection, enum status status, struct error *error) {
    if (status == STATUS_OK)
        return connection_exec(connection, "COMMIT", error);
    struct error ignored;
    if (connection_is_open(connection) && connection_exec(connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(connection);
    return status;
}

struct log_filter log_query_group_filter(const struct log_query *query, const struct log_group *group,
                                         bool *ret_status_null) {
    struct log_filter filter = query->filter;
    switch (query->settings.order) {
    case LOG_BY_EVENT_TYPE:
        filter.event_type = span_of(group->value);
        break;
    case LOG_BY_DELIVERY_STATUS:
        filter.delivery_status = span_of(group->value);
        break;
    case LOG_BY_STATUS_CODE:
        if (group->null)
            *ret_status_null = true;
        else
            filter.status_low = filter.status_high = (int)group->number;
        break;
    default:
        break;
    }
    return filter;
}

/* ---- from a place ---- */

/* Whether the group comes before the place's in the order. */
static bool is_before(const struct log_query *query, const struct log_group *group, const struct log_place *place) {
    if (query->settings.order == LOG_BY_TIME)
        return false;
    if (group->null || place->null)
        return !group->null && place->null;
    int compared = strcmp(group->value, place->value);
    if (query->settings.order == LOG_BY_STATUS_CODE) {
        int64_t number = 0;
        for (const char *digit = place->value; *digit; digit++)
            number = number * 10 + (*digit - '0');
        compared = (group->number > number) - (group->number < number);
    }
    return query->settings.descending ? compared > 0 : compared < 0;
}

static bool is_same(const struct log_query *query, const struct log_group *group, const struct log_place *place) {
    return query->settings.order == LOG_BY_TIME ||
           (group->null == place->null && (group->null || strcmp(group->value, place->value) == 0));
}

/* Stretches that lie before the key as a whole. */
static void pass_by_key(struct log_query *query, const struct log_group *group) {
    while (query->block < group->count) {
        const struct log_block *block = &group->blocks[query->block];
        bool passed = query->newest_first ? block->begins_us > query->key_at_us : block->ends_us <= query->key_at_us;
        if (!passed)
            return;
        query->block++;
    }
}

static void start_after(struct log_query *query, const struct log_place *place) {
    while (query->group < query->group_count && is_before(query, &query->groups[query->group], place))
        query->group++;
    if (query->group == query->group_count || !is_same(query, &query->groups[query->group], place))
        return;
    query->has_key = true;
    query->key_at_us = place->at_us;
    query->key_id = place->id;
    pass_by_key(query, &query->groups[query->group]);
}

static bool is_one_code(const struct log_filter *filter) {
    return filter->status_low && filter->status_low == filter->status_high;
}

/* Those of an event, or those that one thing alone is asked of, not ordered by time, by which stretches are as good;
 * but successes have no index of their codes. */
static enum log_index index_for(const struct log_query *query, int64_t total) {
    const struct log_filter *filter = &query->filter;
    enum log_index found = LOG_BY_STRETCH;
    int things = 0;
    if (total > BY_INDEX_MAX_ROWS || filter->event_id.data)
        return total > BY_INDEX_MAX_ROWS ? LOG_BY_STRETCH : LOG_OF_EVENT;
    const bool asked[LOG_INDEXES] = {
        [LOG_OF_CODE] = is_one_code(filter),    [LOG_OF_ERROR] = filter->error_code.data,
        [LOG_GIVEN_UP] = filter->given_up == 1, [LOG_CANCELLED] = span_is(filter->delivery_status, "cancelled"),
        [LOG_TESTS] = filter->test == 1,
    };
    for (int i = 0; i < LOG_INDEXES; i++) {
        found = asked[i] ? (enum log_index)i : found;
        things += asked[i];
    }
    bool more = query->settings.order == LOG_BY_TIME || filter->subscription_id || filter->event_type.data ||
                filter->test == 0 || filter->given_up == 0 || (filter->status_low && !asked[LOG_OF_CODE]) ||
                (filter->delivery_status.data && !asked[LOG_CANCELLED]);
    for (size_t i = 0; i < query->group_count; i++)
        more |= query->groups[i].successes && (found == LOG_OF_CODE || found == LOG_OF_ERROR);
    return things == 1 && !more ? found : LOG_BY_STRETCH;
}

enum status log_query_count(struct log_query *query, struct connection *connection, int64_t *ret_total,
                            struct error *error) {
    int64_t total = 0;
    CHECK(!query->groups);
    enum status status = log_query_survey(query, connection, error);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < query->group_count; i++)
        total += query->groups[i].n;
    if (query->settings.after)
        start_after(query, query->settings.after);
    query->settings.after = NULL; /* the caller's */
    query->index = index_for(query, total);
    *ret_total = total;
    return STATUS_OK;
}

/* ---- the walk ---- */

static void next_group(struct log_query *query) {
    struct log_group *group = &query->groups[query->group++];
    mem_free(group->blocks);
    group->blocks = NULL;
    group->count = group->capacity = 0;
    query->block = 0;
    query->has_key = false;
}

static void skip_blocks(struct log_query *query, const struct log_group *group) {
    while (query->skip > 0 && query->block < group->count && group->blocks[query->block].n <= query->skip)
        query->skip -= group->blocks[query->block++].n;
}

/* How many stretches hold the next `wanted` rows. */
static size_t covering(const struct log_query *query, const struct log_group *group, int64_t wanted) {
    size_t count = 0;
    int64_t held = 0;
    while (query->block + count < group->count && held < wanted && count < BLOCKS_AT_ONCE)
        held += group->blocks[query->block + count++].n;
    return count;
}

/* What the index that serves the group has of the stretch. */
static int64_t looked_at(const struct log_query *query, const struct log_group *group, const struct log_block *block) {
    bool status_null = false;
    struct log_filter filter = log_query_group_filter(query, group, &status_null);
    if (filter.test == 1)
        return block->n;
    if (group->successes || filter.subscription_id)
        return block->all;
    bool indexed = is_one_code(&filter) || filter.error_code.data || filter.given_up == 1 ||
                   span_is(filter.delivery_status, "cancelled");
    return indexed ? block->coded : block->failures;
}

/* How many counts a stretch has at the next finer level, going by those that were seen. */
static int64_t finer_counts(const struct log_query *query, const struct log_block *block) {
    int level = log_rollup_source(block->level);
    int64_t stretches = level == LOG_ROLLUP_HOUR ? 24 : 60, seen = query->stretches[level];
    int64_t counts = seen ? query->kinds[level] * stretches / seen : block->kinds * stretches;
    return counts < block->all ? counts : block->all;
}

/* How many hours or days of such a block have the wanted rows, if they lie evenly; and where they don't, soon all. */
static int64_t stretches_for(struct log_block *block, int64_t wanted) {
    double share = wanted < block->n ? (double)wanted / (double)block->n : 1;
    int64_t needed = (int64_t)((double)log_query_stretches(block) * share) + 1;
    needed = needed > block->at_once ? needed : block->at_once;
    block->at_once = needed * 2;
    return needed;
}

/* Whether it costs more to look through the stretch for the wanted rows than to find out where in it they lie. */
static bool is_too_coarse(const struct log_query *query, const struct log_group *group, const struct log_block *block,
                          int64_t wanted) {
    if (block->level <= LOG_ROLLUP_MINUTE)
        return false;
    int64_t passed = looked_at(query, group, block);
    if (log_rollup_is_totals(block->level)) /* a statement is planned for each day that it may touch */
        return passed > FEW_ROWS || block->level == LOG_ROLLUP_DAY_TOTALS;
    int64_t finer = finer_counts(query, block);
    if (block->n > wanted)
        passed = (int64_t)((double)passed * (double)wanted / (double)block->n);
    return passed > FEW_ROWS && passed > finer + finer / 2;
}

static enum status refine(struct log_query *query, struct connection *connection, struct log_group *group, size_t first,
                          size_t end, int64_t wanted, struct error *error) {
    struct log_block *block = &group->blocks[first];
    if (log_rollup_is_totals(block->level))
        return log_query_take(query, connection, group, first, stretches_for(block, wanted), error);
    size_t same = 1;
    while (first + same < end && block[same].level == block->level)
        same++;
    return log_query_refine(query, connection, group, first, same, error);
}

/* Refines until what the next read looks through is fine enough; ret_count: so many stretches it takes. */
static enum status prepare(struct log_query *query, struct connection *connection, struct log_group *group, int max,
                           size_t *ret_count, struct error *error) {
    for (;;) {
        if (query->has_key)
            pass_by_key(query, group);
        skip_blocks(query, group);
        *ret_count = covering(query, group, query->skip + max);
        size_t first = query->block, end = first + *ret_count;
        while (first < end && !is_too_coarse(query, group, &group->blocks[first], query->skip + max))
            first++;
        if (first == end)
            return STATUS_OK;
        enum status status = refine(query, connection, group, first, end, query->skip + max, error);
        if (status != STATUS_OK)
            return status;
    }
}

static void count_off(struct log_query *query, const struct result *rows) {
    query->skip = 0;
    query->left -= query->left == INT64_MAX ? 0 : result_rows(rows);
}

static void go_on_after(struct log_query *query, struct log_group *group, const struct result *rows) {
    struct log_query_row last;
    log_query_row_read(rows, result_rows(rows) - 1, &last);
    query->has_key = true;
    query->key_at_us = last.created_at_us;
    query->key_id = last.id;
    pass_by_key(query, group);
}

/* Out of the group's next stretches. *ret_rows NULL: it has no more. */
static enum status read_stretches(struct log_query *query, struct connection *connection, struct log_group *group,
                                  int wanted, struct result **ret_rows, struct error *error) {
    size_t count = 0;
    enum status status = prepare(query, connection, group, wanted, &count, error);
    if (status != STATUS_OK || count == 0)
        return status;
    status = log_query_plan_each(connection, error);
    if (status == STATUS_OK)
        status = log_query_read(query, connection, group, query->block, count, query->skip, wanted, ret_rows, error);
    if (status == STATUS_OK)
        status = log_query_plan_once(connection, error);
    if (status != STATUS_OK) {
        result_free(ret_rows);
        return status;
    }
    count_off(query, *ret_rows);
    if (result_rows(*ret_rows) < wanted)
        query->block += count;
    else
        go_on_after(query, group, *ret_rows);
    return STATUS_OK;
}

void log_query_place(const struct log_query *query, const struct log_query_row *row, struct log_place *ret_place) {
    struct span value = SPAN_LITERAL("");
    char number[16];
    *ret_place = (struct log_place){.at_us = row->created_at_us, .id = row->id};
    if (query->settings.order == LOG_BY_EVENT_TYPE) {
        value = row->event_type;
    } else if (query->settings.order == LOG_BY_DELIVERY_STATUS) {
        value = row->delivery_status;
    } else if (query->settings.order == LOG_BY_STATUS_CODE) {
        ret_place->null = row->status_code == 0;
        value = (struct span){number, (size_t)snprintf(number, sizeof(number), "%d", row->status_code)};
    }
    if (!ret_place->null)
        memcpy(ret_place->value, value.data, value.len < LOG_VALUE_MAX_BYTES ? value.len : LOG_VALUE_MAX_BYTES);
}

/* Out of whatever groups are left. *ret_rows NULL: there are no more. */
static enum status read_groups(struct log_query *query, struct connection *connection, int wanted,
                               struct result **ret_rows, struct error *error) {
    struct log_query_row last;
    struct log_place place;
    enum status status = log_query_read_groups(query, connection, query->skip, wanted, ret_rows, error);
    if (status != STATUS_OK)
        return status;
    int read = result_rows(*ret_rows);
    count_off(query, *ret_rows);
    if (read < wanted) {
        query->group = query->group_count;
        return STATUS_OK;
    }
    log_query_row_read(*ret_rows, read - 1, &last);
    log_query_place(query, &last, &place);
    while (query->group + 1 < query->group_count && !is_same(query, &query->groups[query->group], &place))
        next_group(query);
    go_on_after(query, &query->groups[query->group], *ret_rows);
    return STATUS_OK;
}

enum status log_query_next(struct log_query *query, struct connection *connection, int max, struct result **ret_rows,
                           struct error *error) {
    *ret_rows = NULL;
    while (query->group < query->group_count && query->left > 0) {
        struct log_group *group = &query->groups[query->group];
        int wanted = query->left < max ? (int)query->left : max;
        enum status status = query->index == LOG_BY_STRETCH
                                 ? read_stretches(query, connection, group, wanted, ret_rows, error)
                                 : read_groups(query, connection, wanted, ret_rows, error);
        if (status != STATUS_OK || (*ret_rows && result_rows(*ret_rows) > 0))
            return status;
        if (!*ret_rows)
            next_group(query);
        result_free(ret_rows);
    }
    return STATUS_OK;
}
