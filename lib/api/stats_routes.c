/* …/stats: what became of deliveries, per minute, hour or day. */
#include "api/log_request.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "store/log_stats.h"
#include <jansson.h>

#define UNITS_MAX 1500

static json_t *time_of(int64_t ms) {
    struct buffer text;
    buffer_init(&text, 64);
    clock_format_iso(ms, &text);
    json_t *value = json_stringn(text.data, text.len);
    buffer_deinit(&text);
    return value;
}

static json_t *quantile(const struct log_stats *stats, double wanted) {
    int64_t ms = log_stats_quantile(stats, wanted);
    return ms < 0 ? json_null() : json_integer(ms);
}

static json_t *view(const struct log_stats *stats) {
    int64_t timed = log_stats_timed(stats);
    int64_t attempts = stats->first_time + stats->after_retry + stats->failed;
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "events",
                     stats->events < 0 ? json_null() : json_integer(stats->events), "attempts", (json_int_t)attempts,
                     "delivered_first_time", (json_int_t)stats->first_time, "delivered_after_retry",
                     (json_int_t)stats->after_retry, "failed", (json_int_t)stats->failed, "given_up",
                     (json_int_t)stats->given_up, "cancelled", (json_int_t)stats->cancelled, "duration_ms_average",
                     timed ? json_integer((stats->duration_ms + timed / 2) / timed) : json_null(), "duration_ms_p50",
                     quantile(stats, 0.5), "duration_ms_p90", quantile(stats, 0.9), "duration_ms_p99",
                     quantile(stats, 0.99));
}

static void add_to(struct log_stats *sum, const struct log_stats *stats) {
    sum->events += stats->events;
    sum->first_time += stats->first_time;
    sum->after_retry += stats->after_retry;
    sum->failed += stats->failed;
    sum->given_up += stats->given_up;
    sum->cancelled += stats->cancelled;
    sum->duration_ms += stats->duration_ms;
    for (int i = 0; i < LOG_STATS_CLASSES; i++)
        sum->classes[i] += stats->classes[i];
}

/* ---- what is asked ---- */

static enum log_rollup_level read_unit(struct call *call) {
    struct span text = call_query(call, "unit");
    if (!text.data || span_is(text, "hour"))
        return LOG_ROLLUP_HOUR;
    if (!span_is(text, "minute") && !span_is(text, "day"))
        call_field_error(call, "unit", "expected one of minute, hour, day");
    return span_is(text, "minute") ? LOG_ROLLUP_MINUTE : LOG_ROLLUP_DAY;
}

/* Absent: `otherwise`. In ms. */
static int64_t read_moment(struct call *call, const char *name, bool end, int64_t otherwise_ms) {
    struct span text = call_query(call, name);
    int64_t us = 0;
    if (!text.data)
        return otherwise_ms;
    if (!log_request_time(text, end, &us) || us < 0 || us > INT64_C(4102444800000000)) {
        call_field_error(call, name, "expected a date and time (ISO 8601, UTC without a zone), or a date");
        return otherwise_ms;
    }
    return end ? (us + 999) / 1000 : us / 1000;
}

/* Whole units; without a start as many as make sense to look at. */
static void read_range(struct call *call, struct log_stats_query *query) {
    static const int64_t USUAL[] = {60, 24, 30};
    int64_t unit_ms = log_stats_unit_ms(query->unit);
    int64_t until_ms = read_moment(call, "end_date", true, clock_wall_ms() + 1);
    until_ms = (until_ms + unit_ms - 1) / unit_ms * unit_ms;
    int64_t usual_ms = until_ms - USUAL[query->unit] * unit_ms;
    int64_t from_ms = read_moment(call, "start_date", false, usual_ms > 0 ? usual_ms : 0) / unit_ms * unit_ms;
    int64_t count = until_ms > from_ms ? (until_ms - from_ms) / unit_ms : 0;
    if (count > UNITS_MAX)
        call_field_error(call, "start_date", "at most %d units at once", UNITS_MAX);
    query->from_ms = from_ms;
    query->count = (size_t)count;
}

static void read_type(struct call *call, struct span *ret_type) {
    struct span text = call_query(call, "event_type");
    if (text.data &&
        (text.len == 0 || text.len > 200 || utf8_valid_prefix(text) != text.len || memchr(text.data, 0, text.len)))
        call_field_error(call, "event_type", "expected a text of 1 to 200 bytes");
    else
        *ret_type = text;
}

static bool read_request(struct call *call, struct log_stats_query *query, struct uuid *subscription_id) {
    static const char *const QUERY[] = {"unit", "start_date", "end_date", "subscription_id", "event_type", NULL};
    struct span subscription = call_query(call, "subscription_id");
    call_check_query(call, QUERY);
    *query = (struct log_stats_query){.workspace_id = call->workspace_id};
    query->unit = read_unit(call);
    if (subscription.data && uuid_parse(subscription, subscription_id) != STATUS_OK)
        call_field_error(call, "subscription_id", "expected a uuid");
    else if (subscription.data)
        query->subscription_id = subscription_id;
    read_type(call, &query->event_type);
    read_range(call, query);
    if (call->errors)
        call_refuse(call);
    return !call->status;
}

/* ---- the answer ---- */

static void answer(struct call *call, const struct log_stats_query *query, const struct log_stats *stats) {
    static const char *const UNITS[] = {"minute", "hour", "day"};
    int64_t unit_ms = log_stats_unit_ms(query->unit);
    struct log_stats *sum = mem_calloc(1, sizeof(*sum));
    json_t *steps = json_array();
    sum->events = query->subscription_id ? -1 : 0;
    for (size_t i = 0; i < query->count; i++) {
        json_t *step = json_pack("{s:o}", "begins", time_of(query->from_ms + (int64_t)i * unit_ms));
        json_t *values = view(&stats[i]);
        json_object_update(step, values);
        json_decref(values);
        json_array_append_new(steps, step);
        add_to(sum, &stats[i]);
    }
    int64_t until_ms = query->from_ms + (int64_t)query->count * unit_ms;
    call_answer_json(call, 200,
                     json_pack("{s:s, s:o, s:o, s:o, s:o}", "unit", UNITS[query->unit], "start_date",
                               time_of(query->from_ms), "end_date", time_of(until_ms), "sum", view(sum), "data",
                               steps));
    mem_free(sum);
}

static void get(struct call *call) {
    struct log_stats_query query;
    struct uuid subscription_id;
    struct error error;
    if (!read_request(call, &query, &subscription_id))
        return;
    struct log_stats *stats = mem_calloc(query.count + 1, sizeof(*stats));
    enum status status = log_query_open(call->connection, &error);
    if (status == STATUS_OK)
        status = log_query_close(call->connection, log_stats_read(call->connection, &query, stats, &error), &error);
    if (status == STATUS_OK)
        answer(call, &query, stats);
    else
        call_failed(call, status, &error);
    mem_free(stats);
}

static const struct api_route ROUTES[] = {
    {"GET", "/api/v1/workspaces/{workspace_id}/stats", get, 0},
};

const struct api_route *stats_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
