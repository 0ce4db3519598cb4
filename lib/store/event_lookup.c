/* One statement after the other, each with what the ones before have found, in one transaction that sees one moment.
 * None looks through a table that grows with the installation without an index or a limit: a day's partitions by the
 * workspace and the event, the schedule by the keys that rows of this event can have. */
#include "store/event_lookup.h"
#include "base/utf8.h"

#define ARRAY_MAX_BYTES ((size_t)8 * 1024 * 1024)
#define REPLAYS 50                         /* of the newest replays, waiting rows are looked for */
#define BEFORE_MS (5 * 60 * 1000LL)        /* clocks of processes and the database differ by less */
#define LOG_BEFORE_MS (24 * 3600 * 1000LL) /* a log row may be there before its event's */

#define EVENT_COLUMNS                                                                                                  \
    "e.event_key, e.event_id, e.event_type, e.occurred_at, e.created_at, e.topic, e.part, e.record_offset, "           \
    "e.record_time, e.record_key, e.headers, e.body, e.skipped"

static const struct statement BY_KEY = {"SELECT " EVENT_COLUMNS " FROM events e WHERE e.workspace_id = $1 "
                                        "AND e.event_key = $2 ORDER BY e.created_at DESC LIMIT 1"};
static const struct statement BY_ID = {"SELECT " EVENT_COLUMNS " FROM events e WHERE e.workspace_id = $1 "
                                       "AND e.event_id = $2 ORDER BY e.created_at DESC, e.event_key DESC LIMIT 1"};

static enum status begin(struct connection *connection, struct error *error) {
    /* A day that has begun has no statistics yet. */
    return connection_exec(connection,
                           "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL plan_cache_mode = "
                           "force_custom_plan; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; "
                           "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off",
                           error);
}

static bool is_text(struct span text) {
    return text.len > 0 && utf8_valid_prefix(text) == text.len && !memchr(text.data, '\0', text.len);
}

static enum status find_by(struct connection *connection, struct span workspace_id, const struct uuid *key,
                           struct span id, struct result **ret_rows, struct error *error) {
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    if (key)
        params_uuid(&params, key);
    else
        params_text(&params, id);
    enum status status = connection_run(connection, key ? &BY_KEY : &BY_ID, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

static enum status find(struct connection *connection, struct span workspace_id, struct span id,
                        struct result **ret_rows, struct error *error) {
    struct uuid key;
    enum status status = STATUS_OK;
    if (!is_text(id))
        return error_set(error, STATUS_NOT_FOUND, "no event has this id");
    if (uuid_parse(id, &key) == STATUS_OK)
        status = find_by(connection, workspace_id, &key, id, ret_rows, error);
    if (status == STATUS_OK && (!*ret_rows || result_rows(*ret_rows) == 0)) {
        result_free(ret_rows);
        status = find_by(connection, workspace_id, NULL, id, ret_rows, error);
    }
    if (status == STATUS_OK && result_rows(*ret_rows) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "no event has this id");
    return status;
}

static enum status read_others(struct connection *connection, struct span workspace_id, struct event_trace *trace,
                               struct error *error) {
    static const struct statement OTHERS = {
        "SELECT event_key FROM events WHERE workspace_id = $1 AND event_id = $2 AND event_key <> $3 "
        "GROUP BY event_key ORDER BY max(created_at) DESC, event_key DESC LIMIT $4::int4"};
    struct trace_event event;
    struct params params;
    event_trace_event(trace, &event);
    params_init(&params);
    params_text(&params, workspace_id);
    params_text(&params, event.id);
    params_uuid(&params, &event.key);
    params_int4(&params, EVENT_LOOKUP_OTHERS);
    enum status status = connection_run(connection, &OTHERS, &params, &trace->others, error);
    params_deinit(&params);
    return status;
}

static struct uuid uuid_of(struct span bytes) {
    struct uuid uuid;
    CHECK(bytes.len == sizeof(uuid.bytes));
    memcpy(uuid.bytes, bytes.data, sizeof(uuid.bytes));
    return uuid;
}

#define SKIPPED_MAX 4096

static void add_skipped(const struct event_trace *trace, struct param_array *array) {
    struct span skipped[SKIPPED_MAX];
    int count = result_array(trace->event, 0, 12, skipped, SKIPPED_MAX);
    for (int i = 0; i < count && i < SKIPPED_MAX; i++) {
        struct uuid id = uuid_of(skipped[i]);
        array_uuid(array, &id);
    }
}

static enum status read_batches(struct connection *connection, struct span workspace_id, struct event_trace *trace,
                                struct error *error) {
    /* A batch's id has its time; that of an event that was skipped and recovered is the key of its row. */
    static const struct statement BATCHES = {
        "SELECT b.id, b.subscription_id FROM (SELECT id, subscription_id, event_keys FROM batches "
        "WHERE workspace_id = $1 AND created_at >= $3::timestamptz AND id >= $4::uuid ORDER BY id LIMIT $5::int4) b "
        "WHERE $2::uuid = ANY (b.event_keys) "
        "UNION SELECT b.id, b.subscription_id FROM unnest($6::uuid[]) s JOIN batches b ON b.workspace_id = $1 "
        "AND b.id = resend_key('recover', s, $2)"};
    struct trace_event event;
    struct param_array skipped;
    struct params params;
    struct uuid low = {{0}};
    event_trace_event(trace, &event);
    uint64_t from_ms = (uint64_t)(event.created_at_ms - BEFORE_MS);
    for (int i = 0; i < 6; i++)
        low.bytes[i] = (uint8_t)(from_ms >> (40 - 8 * i));
    array_init(&skipped, PARAM_UUID, ARRAY_MAX_BYTES);
    add_skipped(trace, &skipped);
    params_init(&params);
    params_text(&params, workspace_id);
    params_uuid(&params, &event.key);
    params_timestamp(&params, event.created_at_ms - BEFORE_MS);
    params_uuid(&params, &low);
    params_int4(&params, EVENT_LOOKUP_BATCHES);
    params_array(&params, &skipped);
    enum status status = connection_run(connection, &BATCHES, &params, &trace->batches, error);
    params_deinit(&params);
    array_deinit(&skipped);
    return status;
}

/* The event's key, and those of the batches that hold it: what log rows and rows of the schedule are about. */
static void add_keys(const struct event_trace *trace, struct param_array *array) {
    struct trace_event event;
    event_trace_event(trace, &event);
    array_uuid(array, &event.key);
    for (int i = 0; i < result_rows(trace->batches); i++) {
        struct uuid batch = result_uuid(trace->batches, i, 0);
        array_uuid(array, &batch);
    }
}

static enum status read_logs(struct connection *connection, struct span workspace_id, struct event_trace *trace,
                             struct error *error) {
    static const struct statement LOGS = {
        "SELECT l.subscription_id, l.id, l.created_at, l.delivery_status, l.webhook_url, l.status_code, l.error, "
        "l.error_code, l.attempt, l.duration_ms, l.next_attempt_at, l.given_up, l.replay, l.batch_id "
        "FROM unnest($2::uuid[]) k(key) CROSS JOIN LATERAL (SELECT * FROM delivery_logs d WHERE d.workspace_id = $1 "
        "AND d.event_id = CASE WHEN k.key = $3::uuid THEN $4::text ELSE k.key::text END AND d.event_key = k.key "
        "AND d.created_at >= $5::timestamptz AND NOT d.test LIMIT $6::int4) l "
        "ORDER BY l.subscription_id, l.created_at, l.attempt, l.id LIMIT $6"};
    struct trace_event event;
    struct param_array keys;
    struct params params;
    event_trace_event(trace, &event);
    array_init(&keys, PARAM_UUID, ARRAY_MAX_BYTES);
    add_keys(trace, &keys);
    params_init(&params);
    params_text(&params, workspace_id);
    params_array(&params, &keys);
    params_uuid(&params, &event.key);
    params_text(&params, event.id);
    params_timestamp(&params, event.created_at_ms - LOG_BEFORE_MS);
    params_int4(&params, EVENT_LOOKUP_LOGS);
    enum status status = connection_run(connection, &LOGS, &params, &trace->logs, error);
    params_deinit(&params);
    array_deinit(&keys);
    return status;
}

/* Each once, as they come sorted. */
static void add_logged(const struct event_trace *trace, struct param_array *array) {
    struct uuid last = UUID_NIL;
    for (int i = 0; i < result_rows(trace->logs); i++) {
        struct uuid id = result_uuid(trace->logs, i, 0);
        if (!uuid_equal(&id, &last))
            array_uuid(array, &id);
        last = id;
    }
}

static void add_evidence(const struct event_trace *trace, struct param_array *array) {
    add_logged(trace, array);
    add_skipped(trace, array);
    for (int i = 0; i < result_rows(trace->batches); i++) {
        struct uuid id = result_uuid(trace->batches, i, 1);
        array_uuid(array, &id);
    }
}

/* The patterns that take a type: "*", itself, and each prefix of it with a star. */
static void add_patterns(struct span type, struct param_array *array) {
    array_text(array, SPAN_LITERAL("*"));
    array_text(array, type);
    for (size_t i = 0; i + 1 < type.len; i++) {
        char pattern[512];
        if (type.data[i] != '.' || i + 2 >= sizeof(pattern))
            continue;
        memcpy(pattern, type.data, i + 1);
        pattern[i + 1] = '*';
        array_text(array, (struct span){pattern, i + 2});
    }
}

static enum status read_subscriptions(struct connection *connection, struct span workspace_id,
                                      struct event_trace *trace, struct error *error) {
    static const struct statement SUBSCRIPTIONS = {
        "SELECT k.id, s.name, s.webhook_url, s.status, s.filter, coalesce(s.event_types && $3::text[], false), "
        "s.created_at, s.updated_at FROM (SELECT unnest($2::uuid[]) AS id, true AS named UNION "
        "SELECT x.id, false FROM subscriptions x WHERE x.workspace_id = $1 AND x.status <> 'deleted' "
        "AND x.id <> ALL ($2)) k LEFT JOIN subscriptions s ON s.workspace_id = $1 AND s.id = k.id "
        "ORDER BY k.named DESC, 6 DESC, s.created_at, k.id LIMIT $4::int4"};
    struct trace_event event;
    struct param_array evidence, patterns;
    struct params params;
    event_trace_event(trace, &event);
    array_init(&evidence, PARAM_UUID, ARRAY_MAX_BYTES);
    array_init(&patterns, PARAM_TEXT, ARRAY_MAX_BYTES);
    add_evidence(trace, &evidence);
    add_patterns(event.event_type, &patterns);
    params_init(&params);
    params_text(&params, workspace_id);
    params_array(&params, &evidence);
    params_array(&params, &patterns);
    params_int4(&params, EVENT_LOOKUP_SUBSCRIPTIONS + 1);
    enum status status = connection_run(connection, &SUBSCRIPTIONS, &params, &trace->subscriptions, error);
    params_deinit(&params);
    array_deinit(&evidence);
    array_deinit(&patterns);
    return status;
}

static void add_subscriptions(const struct event_trace *trace, struct param_array *array) {
    for (int i = 0; i < result_rows(trace->subscriptions); i++) {
        struct uuid id = result_uuid(trace->subscriptions, i, 0);
        array_uuid(array, &id);
    }
}

static enum status read_waiting(struct connection *connection, struct span workspace_id, struct event_trace *trace,
                                struct error *error) {
    /* What is replayed has a row of the log. */
    static const struct statement WAITING = {
        "WITH k AS MATERIALIZED (SELECT unnest($2::uuid[]) AS key), s AS MATERIALIZED (SELECT unnest($3::uuid[]) AS "
        "id), "
        "r AS MATERIALIZED (SELECT s.id, k.key AS row_key FROM s CROSS JOIN k "
        "UNION SELECT s.id, resend_key('recover', s.id, k.key) FROM s CROSS JOIN k "
        "UNION SELECT l.id, resend_key('replay', j.id, k.key) FROM unnest($4::uuid[]) l(id) CROSS JOIN k CROSS JOIN "
        "(SELECT id FROM jobs WHERE workspace_id = $1 AND kind = 'replay' ORDER BY created_at DESC, id DESC "
        "LIMIT $5::int4) j) "
        "SELECT q.subscription_id, q.attempt, q.due_at, q.held, coalesce(q.lease_until > clock_timestamp(), false), "
        "q.replay, q.kind, q.event_key FROM r JOIN schedule q ON q.workspace_id = $1 AND q.subscription_id = r.id "
        "AND q.row_key = r.row_key ORDER BY q.subscription_id, q.due_at"};
    struct param_array keys, subscriptions, logged;
    struct params params;
    array_init(&keys, PARAM_UUID, ARRAY_MAX_BYTES);
    array_init(&subscriptions, PARAM_UUID, ARRAY_MAX_BYTES);
    array_init(&logged, PARAM_UUID, ARRAY_MAX_BYTES);
    add_keys(trace, &keys);
    add_subscriptions(trace, &subscriptions);
    add_logged(trace, &logged);
    params_init(&params);
    params_text(&params, workspace_id);
    params_array(&params, &keys);
    params_array(&params, &subscriptions);
    params_array(&params, &logged);
    params_int4(&params, REPLAYS);
    enum status status = connection_run(connection, &WAITING, &params, &trace->waiting, error);
    params_deinit(&params);
    array_deinit(&keys);
    array_deinit(&subscriptions);
    array_deinit(&logged);
    return status;
}

static enum status read_members(struct connection *connection, struct span workspace_id, struct event_trace *trace,
                                struct error *error) {
    static const struct statement MEMBERS = {
        "SELECT m.subscription_id, q.due_at FROM unnest($2::uuid[]) s(id) JOIN batch_members m "
        "ON m.workspace_id = $1 AND m.subscription_id = s.id AND m.event_key = $3 LEFT JOIN schedule q "
        "ON q.workspace_id = $1 AND q.subscription_id = s.id AND q.row_key = '00000000-0000-0000-0000-000000000000' "
        "ORDER BY m.subscription_id"};
    struct trace_event event;
    struct param_array subscriptions;
    struct params params;
    event_trace_event(trace, &event);
    array_init(&subscriptions, PARAM_UUID, ARRAY_MAX_BYTES);
    add_subscriptions(trace, &subscriptions);
    params_init(&params);
    params_text(&params, workspace_id);
    params_array(&params, &subscriptions);
    params_uuid(&params, &event.key);
    enum status status = connection_run(connection, &MEMBERS, &params, &trace->members, error);
    params_deinit(&params);
    array_deinit(&subscriptions);
    return status;
}

enum status event_lookup(struct connection *connection, struct span workspace_id, struct span id,
                         struct event_trace *ret_trace, struct error *error) {
    static enum status (*const READ[])(struct connection *, struct span, struct event_trace *, struct error *) = {
        read_others, read_batches, read_logs, read_subscriptions, read_waiting, read_members,
    };
    struct event_trace trace = {.event = NULL};
    struct error ignored;
    enum status status = begin(connection, error);
    if (status == STATUS_OK)
        status = find(connection, workspace_id, id, &trace.event, error);
    for (size_t i = 0; i < sizeof(READ) / sizeof(*READ) && status == STATUS_OK; i++)
        status = READ[i](connection, workspace_id, &trace, error);
    if (connection_is_open(connection) && connection_exec(connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(connection);
    if (status == STATUS_OK)
        *ret_trace = trace;
    else
        event_trace_deinit(&trace);
    return status;
}

void event_trace_deinit(struct event_trace *trace) {
    result_free(&trace->event);
    result_free(&trace->others);
    result_free(&trace->batches);
    result_free(&trace->logs);
    result_free(&trace->subscriptions);
    result_free(&trace->waiting);
    result_free(&trace->members);
}

enum status event_lookup_keys(struct connection *connection, struct span workspace_id, struct span id, bool *ret_key,
                              struct result **ret_keys, struct error *error) {
    static const struct statement KEYS = {
        "SELECT event_key FROM events WHERE workspace_id = $1 AND event_id = $2 "
        "GROUP BY event_key ORDER BY max(created_at) DESC, event_key DESC LIMIT $3::int4"};
    static const struct statement KEY = {
        "SELECT event_key FROM events WHERE workspace_id = $1 AND event_key = $2 LIMIT 1"};
    struct uuid key;
    struct params params;
    enum status status = STATUS_OK;
    *ret_key = is_text(id) && uuid_parse(id, &key) == STATUS_OK;
    if (!is_text(id))
        return error_set(error, STATUS_NOT_FOUND, "no event has this id");
    params_init(&params);
    if (*ret_key) {
        params_text(&params, workspace_id);
        params_uuid(&params, &key);
        status = connection_run(connection, &KEY, &params, ret_keys, error);
        params_reset(&params);
    }
    if (status == STATUS_OK && (!*ret_key || result_rows(*ret_keys) == 0)) {
        result_free(ret_keys);
        *ret_key = false;
        params_text(&params, workspace_id);
        params_text(&params, id);
        params_int4(&params, EVENT_LOOKUP_OTHERS);
        status = connection_run(connection, &KEYS, &params, ret_keys, error);
    }
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(*ret_keys) == 0) {
        result_free(ret_keys);
        status = error_set(error, STATUS_NOT_FOUND, "no event has this id");
    }
    return status;
}

/* ---- reading ---- */

void event_trace_event(const struct event_trace *trace, struct trace_event *ret_event) {
    const struct result *rows = trace->event;
    *ret_event = (struct trace_event){
        .key = result_uuid(rows, 0, 0),
        .id = result_text(rows, 0, 1),
        .event_type = result_text(rows, 0, 2),
        .occurred_at_ms = result_timestamp(rows, 0, 3),
        .created_at_ms = result_timestamp(rows, 0, 4),
        .topic = result_text(rows, 0, 5),
        .partition = (int32_t)result_int(rows, 0, 6),
        .offset = result_int(rows, 0, 7),
        .record_time_ms = result_timestamp(rows, 0, 8),
        .record_key = result_text(rows, 0, 9),
        .headers = result_text(rows, 0, 10),
        .body = result_text(rows, 0, 11),
    };
    /* A record that is no CloudEvent has a body. */
    ret_event->erased = ret_event->body.len == 0 && span_is(ret_event->headers, "{}");
}

bool event_trace_skipped(const struct event_trace *trace, const struct uuid *subscription_id) {
    struct span skipped[SKIPPED_MAX];
    int count = result_array(trace->event, 0, 12, skipped, SKIPPED_MAX);
    for (int i = 0; i < count && i < SKIPPED_MAX; i++)
        if (memcmp(skipped[i].data, subscription_id->bytes, sizeof(subscription_id->bytes)) == 0)
            return true;
    return false;
}

int event_trace_others(const struct event_trace *trace) {
    return result_rows(trace->others);
}

struct uuid event_trace_other(const struct event_trace *trace, int index) {
    return result_uuid(trace->others, index, 0);
}

int event_trace_subscriptions(const struct event_trace *trace, bool *ret_more) {
    int count = result_rows(trace->subscriptions);
    *ret_more = count > EVENT_LOOKUP_SUBSCRIPTIONS;
    return *ret_more ? EVENT_LOOKUP_SUBSCRIPTIONS : count;
}

static int64_t time_or_0(const struct result *rows, int row, int column) {
    return result_is_null(rows, row, column) ? 0 : result_timestamp(rows, row, column);
}

void event_trace_subscription(const struct event_trace *trace, int index, struct trace_subscription *ret_subscription) {
    const struct result *rows = trace->subscriptions;
    *ret_subscription = (struct trace_subscription){
        .id = result_uuid(rows, index, 0),
        .name = result_text(rows, index, 1),
        .webhook_url = result_text(rows, index, 2),
        .status = result_text(rows, index, 3),
        .filter = result_text(rows, index, 4),
        .takes_type = result_bool(rows, index, 5),
        .created_at_ms = time_or_0(rows, index, 6),
        .updated_at_ms = time_or_0(rows, index, 7),
    };
}

/* The first row whose subscription is not before this one. */
static int first_from(const struct result *rows, const struct uuid *subscription_id, bool after) {
    int low = 0, high = result_rows(rows);
    while (low < high) {
        int middle = low + (high - low) / 2;
        struct uuid id = result_uuid(rows, middle, 0);
        int order = uuid_compare(&id, subscription_id);
        if (order < 0 || (after && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct trace_range range_of(const struct result *rows, const struct uuid *subscription_id) {
    return (struct trace_range){first_from(rows, subscription_id, false), first_from(rows, subscription_id, true)};
}

struct trace_range event_trace_logs(const struct event_trace *trace, const struct uuid *subscription_id) {
    return range_of(trace->logs, subscription_id);
}

struct trace_range event_trace_waiting(const struct event_trace *trace, const struct uuid *subscription_id) {
    return range_of(trace->waiting, subscription_id);
}

struct trace_range event_trace_members(const struct event_trace *trace, const struct uuid *subscription_id) {
    return range_of(trace->members, subscription_id);
}

void event_trace_log(const struct event_trace *trace, int row, struct trace_log *ret_log) {
    const struct result *rows = trace->logs;
    *ret_log = (struct trace_log){
        .id = result_uuid(rows, row, 1),
        .created_at_ms = result_timestamp(rows, row, 2),
        .delivery_status = result_text(rows, row, 3),
        .webhook_url = result_text(rows, row, 4),
        .status_code = result_is_null(rows, row, 5) ? 0 : (int)result_int(rows, row, 5),
        .error = result_text(rows, row, 6),
        .error_code = result_text(rows, row, 7),
        .attempt = (int)result_int(rows, row, 8),
        .duration_ms = result_is_null(rows, row, 9) ? -1 : result_int(rows, row, 9),
        .next_attempt_at_ms = time_or_0(rows, row, 10),
        .given_up = result_bool(rows, row, 11),
        .replay = result_bool(rows, row, 12),
        .batch_id = result_is_null(rows, row, 13) ? UUID_NIL : result_uuid(rows, row, 13),
    };
}

void event_trace_waiting_row(const struct event_trace *trace, int row, struct trace_waiting *ret_waiting) {
    const struct result *rows = trace->waiting;
    *ret_waiting = (struct trace_waiting){
        .attempt = (int)result_int(rows, row, 1),
        .due_at_ms = result_timestamp(rows, row, 2),
        .held = result_bool(rows, row, 3),
        .sending = result_bool(rows, row, 4),
        .replay = result_bool(rows, row, 5),
        .batch_id = result_int(rows, row, 6) == 1 ? result_uuid(rows, row, 7) : UUID_NIL,
    };
}

int64_t event_trace_member_due_ms(const struct event_trace *trace, int row) {
    return time_or_0(trace->members, row, 1);
}
