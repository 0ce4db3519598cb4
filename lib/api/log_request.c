#include "api/log_request.h"
#include "api/log_cursor.h"
#include "base/clock.h"
#include "base/utf8.h"

#define DAY_US (INT64_C(24) * 3600 * 1000000)
#define TYPE_MAX_BYTES 200
#define EVENT_ID_MAX_BYTES 200
#define WORD_MAX_BYTES 64
#define TIME_MAX_BYTES 64
#define NUMBER_MAX INT64_C(1000000000000)

/* Where values come from. */
struct source {
    struct call *call;
    log_request_get_fn *get;
};

static struct span get(const struct source *source, const char *name) {
    return source->get(source->call, name);
}

/* ---- times ---- */

/* The three digits of a fraction of a second that milliseconds leave out. */
static int64_t finer_us(struct span text) {
    static const int64_t WORTH[] = {100, 10, 1};
    const char *point = memchr(text.data, '.', text.len);
    if (!point)
        point = memchr(text.data, ',', text.len);
    size_t at = point ? (size_t)(point - text.data) + 4 : text.len;
    int64_t us = 0;
    for (size_t i = 0; i < 3 && at + i < text.len; i++) {
        char c = text.data[at + i];
        if (c < '0' || c > '9')
            break;
        us += (c - '0') * WORTH[i];
    }
    return us;
}

bool log_request_time(struct span text, bool end, int64_t *ret_us) {
    char plain[TIME_MAX_BYTES];
    int64_t ms;
    bool date = false;
    if (text.len == 0 || text.len > sizeof(plain))
        return false;
    memcpy(plain, text.data, text.len);
    if (text.len > 16 && plain[text.len - 6] == ' ' && plain[text.len - 3] == ':')
        plain[text.len - 6] = '+';
    if (clock_parse_iso((struct span){plain, text.len}, &ms, &date) != STATUS_OK)
        return false;
    int64_t us = ms * 1000 + (date ? 0 : finer_us(text));
    *ret_us = !end ? us : date ? us + DAY_US : us + 1;
    return true;
}

static void read_time(const struct source *source, const char *name, bool end, int64_t *ret_us) {
    struct span text = get(source, name);
    if (text.data && !log_request_time(text, end, ret_us))
        call_field_error(source->call, name, "expected a date and time (ISO 8601, UTC without a zone), or a date");
}

/* ---- what rows ---- */

static void read_text(const struct source *source, const char *name, size_t max, struct span *ret_text) {
    struct span text = get(source, name);
    if (!text.data)
        return;
    if (text.len == 0 || text.len > max || utf8_valid_prefix(text) != text.len || memchr(text.data, '\0', text.len))
        call_field_error(source->call, name, "expected a text of 1 to %zu bytes", max);
    else
        *ret_text = text;
}

static void read_delivery_status(const struct source *source, struct span *ret_text) {
    struct span text = get(source, "delivery_status");
    if (!text.data)
        return;
    if (span_is(text, "success") || span_is(text, "failed") || span_is(text, "cancelled"))
        *ret_text = text;
    else
        call_field_error(source->call, "delivery_status", "expected one of success, failed, cancelled");
}

bool log_request_status(struct span text, int *ret_low, int *ret_high) {
    bool right = text.len == 3 && text.data[0] >= '1' && text.data[0] <= '5';
    bool all = right && (text.data[1] == 'x' || text.data[1] == 'X');
    for (size_t i = 1; i < 3 && right; i++)
        right = all ? text.data[i] == 'x' || text.data[i] == 'X' : text.data[i] >= '0' && text.data[i] <= '9';
    if (!right)
        return false;
    int low = (text.data[0] - '0') * 100;
    if (!all)
        low += (text.data[1] - '0') * 10 + (text.data[2] - '0');
    *ret_low = low;
    *ret_high = all ? low + 99 : low;
    return true;
}

static void read_status_code(const struct source *source, struct log_filter *filter) {
    struct span text = get(source, "status_code");
    if (text.data && !log_request_status(text, &filter->status_low, &filter->status_high))
        call_field_error(source->call, "status_code", "expected a status like 503, or a class like 5xx");
}

static void read_flag(const struct source *source, const char *name, int *ret_flag) {
    struct span text = get(source, name);
    if (span_is(text, "true"))
        *ret_flag = 1;
    else if (span_is(text, "false"))
        *ret_flag = 0;
    else if (text.data)
        call_field_error(source->call, name, "expected true or false");
}

static void read_batch(const struct source *source, struct log_request *request, struct log_filter *filter) {
    struct span text = get(source, "batch_id");
    if (!text.data)
        return;
    if (uuid_parse(text, &request->batch_id) == STATUS_OK)
        filter->batch_id = &request->batch_id;
    else
        call_field_error(source->call, "batch_id", "expected a uuid");
}

void log_request_filter(struct call *call, log_request_get_fn *from, struct log_request *request,
                        struct log_filter *ret_filter) {
    const struct source source = {call, from};
    struct log_filter *filter = ret_filter;
    *filter = (struct log_filter){
        .workspace_id = call->workspace_id, .given_up = -1, .test = -1, .from_us = INT64_MIN, .until_us = INT64_MAX};
    read_text(&source, "event_type", TYPE_MAX_BYTES, &filter->event_type);
    read_delivery_status(&source, &filter->delivery_status);
    read_text(&source, "error_code", WORD_MAX_BYTES, &filter->error_code);
    read_text(&source, "event_id", EVENT_ID_MAX_BYTES, &filter->event_id);
    read_status_code(&source, filter);
    read_flag(&source, "given_up", &filter->given_up);
    read_flag(&source, "test", &filter->test);
    read_batch(&source, request, filter);
    read_time(&source, "start_date", false, &filter->from_us);
    read_time(&source, "end_date", true, &filter->until_us);
}

/* ---- which of them, in what order ---- */

static void read_order(struct call *call, struct log_query_settings *query) {
    static const char *const FIELDS[] = {"created_at", "event_type", "delivery_status", "status_code"};
    struct span text = call_query(call, "order_by");
    query->order = LOG_BY_TIME;
    query->descending = true;
    if (!text.data)
        return;
    for (size_t i = 0; i < sizeof(FIELDS) / sizeof(*FIELDS); i++) {
        struct span field = span_of(FIELDS[i]);
        struct span way = {text.data + field.len, text.len - field.len};
        if (!span_has_prefix(text, field) || (!span_is(way, ":asc") && !span_is(way, ":desc")))
            continue;
        query->order = (enum log_order)i;
        query->descending = span_is(way, ":desc");
        return;
    }
    call_field_error(call, "order_by",
                     "expected created_at, event_type, delivery_status or status_code, with :asc or :desc behind it");
}

static void read_number(struct call *call, const char *name, int64_t *ret_number) {
    struct span text = call_query(call, name);
    int64_t number = 0;
    bool right = text.len > 0;
    for (size_t i = 0; i < text.len && right; i++) {
        right = text.data[i] >= '0' && text.data[i] <= '9' && number < NUMBER_MAX;
        number = number * 10 + (text.data[i] - '0');
    }
    if (text.data && (!right || number > NUMBER_MAX))
        call_field_error(call, name, "expected a number that is not negative");
    else
        *ret_number = number;
}

static void read_cursor(struct call *call, struct log_request *request, struct log_query_settings *query) {
    struct span text = call_query(call, "cursor");
    if (!text.data)
        return;
    if (query->offset)
        call_field_error(call, "cursor", "goes without an offset");
    else if (log_cursor_read(text, query, &request->after) != STATUS_OK)
        call_field_error(call, "cursor", "expected the next_cursor of an answer in the same order");
    else
        query->after = &request->after;
}

static struct span call_query_of(struct call *call, const char *name) {
    return call_query(call, name);
}

bool log_request_read(struct call *call, struct log_request *request, struct log_query_settings *ret_query) {
    static const char *const QUERY[] = {"event_type", "delivery_status", "start_date", "end_date",    "order_by",
                                        "limit",      "offset",          "event_id",   "status_code", "error_code",
                                        "batch_id",   "given_up",        "test",       "cursor",      NULL};
    struct log_query_settings query = {.offset = 0};
    call_check_query(call, QUERY);
    log_request_filter(call, call_query_of, request, &query.filter);
    read_order(call, &query);
    read_number(call, "limit", &query.limit);
    read_number(call, "offset", &query.offset);
    read_cursor(call, request, &query);
    if (call->errors) {
        call_refuse(call);
        return false;
    }
    *ret_query = query;
    return true;
}
