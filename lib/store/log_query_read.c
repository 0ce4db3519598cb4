/* Rows of a group out of a few stretches of time. Neighbouring stretches are read as one, in the order of an index;
 * scattered ones each by themselves. */
#include "base/memory.h"
#include "store/log_query_private.h"

#define ARRAY_MAX_BYTES ((size_t)1024 * 1024)
#define NEAR_MS INT64_C(60000)

#define COLUMNS                                                                                                        \
    "created_at, id, event_key, subscription_id, batch_id, workspace_id, event_id, event_type, webhook_url, "          \
    "delivery_status, status_code, response_body, error, error_code, attempt, duration_ms, next_attempt_at, "          \
    "render_version, sent_at, given_up, replay, test"

/* $11 and $12: from, until. $13 event id, $14 batch. $15 and $16: after which row. $17: failures only, which have an
 * index of their own. What is null or false is folded away before an index is chosen. */
#define AFTER(beyond) "($15::timestamptz IS NULL OR (created_at, id) " beyond " ($15, $16::uuid)) "
#define ROWS(scope, beyond)                                                                                            \
    scope "AND " LOG_FITS "AND created_at >= $11::timestamptz AND created_at < $12::timestamptz "                      \
          "AND ($13::text IS NULL OR event_id = $13) AND ($14::uuid IS NULL OR batch_id = $14) AND " AFTER(            \
              beyond) "AND (NOT $17::bool OR delivery_status <> 'success') "

/* $18: rows passed by, $19: rows wanted. */
#define READ_RUN(scope, beyond, way)                                                                                   \
    "SELECT " COLUMNS " FROM delivery_logs WHERE " ROWS(scope, beyond) "ORDER BY created_at " way ", id " way          \
                                                                       " OFFSET $18::int8 LIMIT $19::int4"

/* $20 and $21: the stretches. */
#define READ_RUNS(scope, beyond, way)                                                                                  \
    "SELECT l.* FROM unnest($20::timestamptz[], $21::timestamptz[]) s(from_at, until_at) CROSS JOIN LATERAL "          \
    "(SELECT " COLUMNS " FROM delivery_logs WHERE " ROWS(                                                              \
        scope, beyond) "AND created_at >= s.from_at AND created_at < s.until_at ORDER BY created_at " way ", id " way  \
                       " LIMIT $18::int8 + $19::int4) l ORDER BY l.created_at " way ", l.id " way                      \
                       " OFFSET $18 LIMIT $19"

/* $20: the groups' values, $21: the order. Rows after the key are those of later groups, and of the first one. */
#define PLACE "array_position($20::text[], coalesce(" LOG_VALUE("$21") ", '')) AS place "
#define READ_GROUPS(condition, beyond, way)                                                                            \
    "SELECT " COLUMNS " FROM (SELECT " COLUMNS ", " PLACE "FROM delivery_logs WHERE " LOG_OF_WORKSPACE                 \
    "AND created_at >= $11::timestamptz AND created_at < $12::timestamptz AND " condition " OFFSET 0) l "              \
    "WHERE place > 1 OR (place = 1 AND " AFTER(beyond) ") "                                                            \
                                                       "ORDER BY place, created_at " way ", id " way                   \
                                                       " OFFSET $18::int8 LIMIT $19::int4"

static const struct statement RUN[2][2] = {
    {{READ_RUN(LOG_OF_WORKSPACE, ">", "ASC")}, {READ_RUN(LOG_OF_WORKSPACE, "<", "DESC")}},
    {{READ_RUN(LOG_OF_SUBSCRIPTION, ">", "ASC")}, {READ_RUN(LOG_OF_SUBSCRIPTION, "<", "DESC")}},
};
static const struct statement RUNS[2][2] = {
    {{READ_RUNS(LOG_OF_WORKSPACE, ">", "ASC")}, {READ_RUNS(LOG_OF_WORKSPACE, "<", "DESC")}},
    {{READ_RUNS(LOG_OF_SUBSCRIPTION, ">", "ASC")}, {READ_RUNS(LOG_OF_SUBSCRIPTION, "<", "DESC")}},
};

/* Each names what its index is of, so that one plan for all its values uses it, and nothing else but what may be asked
 * with it: these plans are of every day of the log. */
#define OF_EVENT                                                                                                       \
    "event_id = $13::text AND ($10::uuid IS NULL OR subscription_id = $10) AND ($14::uuid IS NULL OR batch_id = $14) " \
    "AND " LOG_FITS
static const struct statement EVENT[2] = {{READ_GROUPS(OF_EVENT, ">", "ASC")}, {READ_GROUPS(OF_EVENT, "<", "DESC")}};
#define NEWEST_FIRST(condition)                                                                                        \
    { READ_GROUPS(condition, "<", "DESC") }
static const struct statement GROUPS[LOG_INDEXES] = {
    [LOG_OF_CODE] = NEWEST_FIRST("status_code = $5 AND delivery_status <> 'success'"),
    [LOG_OF_ERROR] = NEWEST_FIRST("error_code = $4 AND delivery_status <> 'success'"),
    [LOG_GIVEN_UP] = NEWEST_FIRST("given_up"),
    [LOG_CANCELLED] = NEWEST_FIRST("delivery_status = 'cancelled'"),
    [LOG_TESTS] = NEWEST_FIRST("test"),
};

void log_query_fit_params(struct params *params, const struct log_filter *filter, bool status_null) {
    params_text(params, filter->workspace_id);
    params_text(params, filter->event_type);
    params_text(params, filter->delivery_status);
    params_text(params, filter->error_code);
    if (filter->status_low) {
        params_int4(params, filter->status_low);
        params_int4(params, filter->status_high);
    } else {
        params_null(params, PARAM_INT4);
        params_null(params, PARAM_INT4);
    }
    if (filter->given_up >= 0)
        params_bool(params, filter->given_up);
    else
        params_null(params, PARAM_BOOL);
    if (filter->test >= 0)
        params_bool(params, filter->test);
    else
        params_null(params, PARAM_BOOL);
    params_bool(params, status_null);
    if (filter->subscription_id)
        params_uuid(params, filter->subscription_id);
    else
        params_null(params, PARAM_UUID);
    CHECK(params->count == LOG_FIT_PARAMS);
}

/* Joins neighbours; the first and the last moment of all. */
struct runs {
    struct param_array froms, untils;
    size_t count;
    int64_t from_us, until_us;
};

static void end_run(struct runs *runs, int64_t from_us, int64_t until_us) {
    array_timestamp_us(&runs->froms, from_us);
    array_timestamp_us(&runs->untils, until_us);
    runs->count++;
    runs->from_us = from_us < runs->from_us ? from_us : runs->from_us;
    runs->until_us = until_us > runs->until_us ? until_us : runs->until_us;
}

static void make_runs(struct runs *runs, const struct log_block *blocks, size_t count) {
    int64_t from_us = blocks[0].begins_us, until_us = blocks[0].ends_us;
    for (size_t i = 1; i < count; i++) {
        if (blocks[i].begins_us == until_us) {
            until_us = blocks[i].ends_us;
        } else if (blocks[i].ends_us == from_us) {
            from_us = blocks[i].begins_us;
        } else {
            end_run(runs, from_us, until_us);
            from_us = blocks[i].begins_us;
            until_us = blocks[i].ends_us;
        }
    }
    end_run(runs, from_us, until_us);
}

static void row_params(struct params *params, const struct log_query *query, const struct log_filter *filter,
                       bool status_null, bool successes, const struct runs *runs) {
    log_query_fit_params(params, filter, status_null);
    params_timestamp_us(params, runs->from_us);
    params_timestamp_us(params, runs->until_us);
    params_text(params, filter->event_id);
    if (filter->batch_id)
        params_uuid(params, filter->batch_id);
    else
        params_null(params, PARAM_UUID);
    if (query->has_key) {
        params_timestamp_us(params, query->key_at_us);
        params_uuid(params, &query->key_id);
    } else {
        params_null(params, PARAM_TIMESTAMP);
        params_null(params, PARAM_UUID);
    }
    params_bool(params, !successes);
}

enum status log_query_read(const struct log_query *query, struct connection *connection, const struct log_group *group,
                           size_t first, size_t count, int64_t skip, int max, struct result **ret_rows,
                           struct error *error) {
    struct params params;
    struct runs runs = {.from_us = INT64_MAX, .until_us = INT64_MIN};
    bool scope = query->filter.subscription_id != NULL, way = query->newest_first, status_null = false;
    struct log_filter filter = log_query_group_filter(query, group, &status_null);
    array_init(&runs.froms, PARAM_TIMESTAMP, ARRAY_MAX_BYTES);
    array_init(&runs.untils, PARAM_TIMESTAMP, ARRAY_MAX_BYTES);
    make_runs(&runs, group->blocks + first, count);
    params_init(&params);
    row_params(&params, query, &filter, status_null, group->successes, &runs);
    params_int8(&params, skip);
    params_int4(&params, max);
    if (runs.count > 1) {
        params_array(&params, &runs.froms);
        params_array(&params, &runs.untils);
    }
    enum status status =
        connection_run(connection, runs.count > 1 ? &RUNS[scope][way] : &RUN[scope][way], &params, ret_rows, error);
    params_deinit(&params);
    array_deinit(&runs.froms);
    array_deinit(&runs.untils);
    return status;
}

enum status log_query_read_groups(const struct log_query *query, struct connection *connection, int64_t skip, int max,
                                  struct result **ret_rows, struct error *error) {
    struct runs runs = {.from_us = INT64_MAX, .until_us = INT64_MIN};
    struct param_array values;
    struct params params;
    array_init(&values, PARAM_TEXT, ARRAY_MAX_BYTES);
    for (size_t i = query->group; i < query->group_count; i++) {
        const struct log_group *group = &query->groups[i];
        array_text(&values, group->null ? SPAN_LITERAL("") : span_of(group->value));
        for (size_t b = 0; b < group->count; b++) {
            const struct log_block *block = &group->blocks[b];
            runs.from_us = block->begins_us < runs.from_us ? block->begins_us : runs.from_us;
            runs.until_us = block->ends_us > runs.until_us ? block->ends_us : runs.until_us;
        }
    }
    params_init(&params);
    row_params(&params, query, &query->filter, false, true, &runs);
    params_int8(&params, skip);
    params_int4(&params, max);
    params_array(&params, &values);
    params_int4(&params, (int)query->settings.order);
    const struct statement *statement =
        query->index == LOG_OF_EVENT ? &EVENT[query->newest_first] : &GROUPS[query->index];
    enum status status = connection_run(connection, statement, &params, ret_rows, error);
    params_deinit(&params);
    array_deinit(&values);
    return status;
}

static struct span text_at(const struct result *rows, int row, int column) {
    return result_is_null(rows, row, column) ? SPAN_NONE : result_text(rows, row, column);
}

static int64_t int_at(const struct result *rows, int row, int column, int64_t otherwise) {
    return result_is_null(rows, row, column) ? otherwise : result_int(rows, row, column);
}

static int64_t time_at(const struct result *rows, int row, int column) {
    return result_is_null(rows, row, column) ? 0 : result_timestamp(rows, row, column);
}

void log_query_row_read(const struct result *rows, int row, struct log_query_row *ret_row) {
    *ret_row = (struct log_query_row){
        .created_at_us = result_timestamp_us(rows, row, 0),
        .id = result_uuid(rows, row, 1),
        .event_key = result_uuid(rows, row, 2),
        .subscription_id = result_uuid(rows, row, 3),
        .batch_id = result_is_null(rows, row, 4) ? UUID_NIL : result_uuid(rows, row, 4),
        .workspace_id = result_text(rows, row, 5),
        .event_id = result_text(rows, row, 6),
        .event_type = result_text(rows, row, 7),
        .webhook_url = result_text(rows, row, 8),
        .delivery_status = result_text(rows, row, 9),
        .status_code = (int)int_at(rows, row, 10, 0),
        .response_body = text_at(rows, row, 11),
        .error = text_at(rows, row, 12),
        .error_code = text_at(rows, row, 13),
        .attempt = (int)result_int(rows, row, 14),
        .duration_ms = int_at(rows, row, 15, -1),
        .next_attempt_at_ms = time_at(rows, row, 16),
        .render_version = int_at(rows, row, 17, 0),
        .sent_at_ms = time_at(rows, row, 18),
        .given_up = result_bool(rows, row, 19),
        .replay = result_bool(rows, row, 20),
        .test = result_bool(rows, row, 21),
    };
}

/* ---- one row ---- */

static enum status find_between(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                int64_t from_ms, int64_t until_ms, struct result **ret_rows, struct error *error) {
    static const struct statement FIND = {
        "SELECT " COLUMNS " FROM delivery_logs WHERE workspace_id = $1 AND created_at >= $2 AND created_at < $3 "
        "AND id = $4 LIMIT 1"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_timestamp(&params, from_ms);
    params_timestamp(&params, until_ms);
    params_uuid(&params, id);
    enum status status = connection_run(connection, &FIND, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

/* There is no index on the id alone, but it has the time at which it was made, which is the row's. */
enum status log_query_find(struct connection *connection, struct span workspace_id, const struct uuid *id,
                           struct result **ret_rows, struct error *error) {
    struct result *rows = NULL;
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id->bytes[i];
    if (id->bytes[6] >> 4 != 7)
        return error_set(error, STATUS_NOT_FOUND, "no row of the log has such an id");
    enum status status = find_between(connection, workspace_id, id, ms, ms + 1, &rows, error);
    if (status == STATUS_OK && result_rows(rows) == 0) {
        result_free(&rows);
        status = find_between(connection, workspace_id, id, ms - NEAR_MS, ms + NEAR_MS, &rows, error);
    }
    if (status != STATUS_OK)
        return status;
    if (result_rows(rows) == 0) {
        result_free(&rows);
        return error_set(error, STATUS_NOT_FOUND, "there is no such row in the log");
    }
    *ret_rows = rows;
    return STATUS_OK;
}

enum status log_query_has_subscription(struct connection *connection, struct span workspace_id,
                                       const struct uuid *subscription_id, bool *ret_has, struct error *error) {
    static const struct statement HAS = {
        "SELECT EXISTS (SELECT FROM delivery_logs WHERE subscription_id = $2 AND workspace_id = $1)"};
    struct params params;
    struct result *rows = NULL;
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, subscription_id);
    enum status status = connection_run(connection, &HAS, &params, &rows, error);
    params_deinit(&params);
    if (status == STATUS_OK)
        *ret_has = result_bool(rows, 0, 0);
    result_free(&rows);
    return status;
}
