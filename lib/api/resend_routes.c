/* Deliveries sent again: …/subscription/{id}/recover, …/logs/{id}/replay, …/logs/replay. Each makes a job, which some
 * process that dispatches does. */
#include "api/job_view.h"
#include "api/log_request.h"
#include "api/routes.h"
#include "base/clock.h"
#include "store/subscriptions.h"
#include "webhook/subscription.h"
#include <jansson.h>

#define DAY_MS (24LL * 3600 * 1000)
#define TEXT_MAX_BYTES 1024
#define WORD_MAX_BYTES 64

/* What a body asks for, on its way to a job. */
struct asked {
    struct call *call;
    json_t *request; /* the job's */
    bool has_since, has_subscription;
    int64_t since_ms, until_ms; /* until 0: now */
    struct uuid subscription_id;
};

typedef void read_fn(struct asked *asked, const char *name, const json_t *value);

struct field {
    const char *name;
    read_fn *read;
};

static struct span text_of(const json_t *value) {
    return json_is_string(value) ? (struct span){json_string_value(value), json_string_length(value)} : SPAN_NONE;
}

static void keep(struct asked *asked, const char *name, const json_t *value) {
    json_object_set(asked->request, name, (json_t *)value);
}

/* ---- fields ---- */

static bool read_time(struct asked *asked, const char *name, const json_t *value, int64_t *ret_ms, bool *ret_date) {
    struct span text = text_of(value);
    if (text.data && clock_parse_iso(text, ret_ms, ret_date) == STATUS_OK)
        return true;
    call_field_error(asked->call, name, "expected a date and time (ISO 8601, UTC without a zone), or a date");
    return false;
}

static void read_since(struct asked *asked, const char *name, const json_t *value) {
    bool date;
    asked->has_since = true;
    if (read_time(asked, name, value, &asked->since_ms, &date) && asked->since_ms >= clock_wall_ms())
        call_field_error(asked->call, name, "lies in the future");
}

/* A bare date means the end of that day. */
static void read_until(struct asked *asked, const char *name, const json_t *value) {
    bool date = false;
    int64_t ms;
    if (read_time(asked, name, value, &ms, &date))
        asked->until_ms = date ? ms + DAY_MS : ms;
}

static void read_include(struct asked *asked, const char *name, const json_t *value) {
    json_t *one = json_is_string(value) ? json_pack("[O]", value) : json_incref((json_t *)value);
    bool failed = false, missing = false, right = json_is_array(one) && json_array_size(one) > 0;
    for (size_t i = 0; i < json_array_size(one); i++) {
        struct span word = text_of(json_array_get(one, i));
        failed |= span_is(word, "failed");
        missing |= span_is(word, "missing");
        right = right && (span_is(word, "failed") || span_is(word, "missing"));
    }
    json_decref(one);
    if (!right) {
        call_field_error(asked->call, name, "expected failed, missing, or an array of them");
        return;
    }
    json_t *include = json_array();
    if (failed)
        json_array_append_new(include, json_string("failed"));
    if (missing)
        json_array_append_new(include, json_string("missing"));
    json_object_set_new(asked->request, name, include);
}

static void read_uuid(struct asked *asked, const char *name, const json_t *value, struct uuid *ret_uuid) {
    struct span text = text_of(value);
    if (text.data && uuid_parse(text, ret_uuid) == STATUS_OK) {
        char plain[UUID_TEXT_LEN + 1];
        uuid_format(ret_uuid, plain);
        json_object_set_new(asked->request, name, json_string(plain));
    } else {
        call_field_error(asked->call, name, "expected a uuid");
    }
}

static void read_subscription(struct asked *asked, const char *name, const json_t *value) {
    asked->has_subscription = true;
    read_uuid(asked, name, value, &asked->subscription_id);
}

static void read_batch(struct asked *asked, const char *name, const json_t *value) {
    struct uuid batch;
    read_uuid(asked, name, value, &batch);
}

static void read_text(struct asked *asked, const char *name, const json_t *value, size_t max) {
    struct span text = text_of(value);
    if (text.data && text.len > 0 && text.len <= max)
        keep(asked, name, value);
    else
        call_field_error(asked->call, name, "expected a text of 1 to %zu bytes", max);
}

static void read_event_id(struct asked *asked, const char *name, const json_t *value) {
    read_text(asked, name, value, TEXT_MAX_BYTES);
}

static void read_type(struct asked *asked, const char *name, const json_t *value) {
    read_text(asked, name, value, SUBSCRIPTION_MAX_PATTERN_BYTES);
}

static void read_error_code(struct asked *asked, const char *name, const json_t *value) {
    read_text(asked, name, value, WORD_MAX_BYTES);
}

static void read_delivery_status(struct asked *asked, const char *name, const json_t *value) {
    struct span text = text_of(value);
    if (span_is(text, "success") || span_is(text, "failed") || span_is(text, "cancelled"))
        keep(asked, name, value);
    else
        call_field_error(asked->call, name, "expected one of success, failed, cancelled");
}

/* 503, "503" or "5xx". */
static void read_status_code(struct asked *asked, const char *name, const json_t *value) {
    struct span text = text_of(value);
    int low, high;
    if (json_is_integer(value))
        text = span_of(arena_printf(asked->call->arena, "%lld", (long long)json_integer_value(value)));
    if (!text.data || !log_request_status(text, &low, &high))
        call_field_error(asked->call, name, "expected a status from 100 to 599, or one like \"5xx\"");
    else if (high > low)
        json_object_set_new(asked->request, name, json_sprintf("%dxx", low / 100));
    else
        keep(asked, name, value);
}

static void read_given_up(struct asked *asked, const char *name, const json_t *value) {
    if (json_is_boolean(value))
        keep(asked, name, value);
    else
        call_field_error(asked->call, name, "expected true or false");
}

/* null is as if it were not there. */
static void read_fields(struct asked *asked, const struct field *fields, size_t count) {
    const char *name;
    json_t *value;
    json_object_foreach(asked->call->json, name, value) {
        size_t i = 0;
        while (i < count && strcmp(fields[i].name, name) != 0)
            i++;
        if (i == count)
            call_field_error(asked->call, name, "there is no such field");
        else if (!json_is_null(value))
            fields[i].read(asked, name, value);
    }
    if (!asked->has_since)
        call_field_error(asked->call, "since", "is required");
    else if (!asked->call->errors && asked->until_ms && asked->until_ms <= asked->since_ms)
        call_field_error(asked->call, "until", "has to be later than since");
}

/* ---- jobs ---- */

static void make_job(struct asked *asked, const char *kind) {
    struct call *call = asked->call;
    size_t len = json_dumpb(asked->request, NULL, 0, JSON_COMPACT);
    char *request = arena_alloc(call->arena, len);
    json_dumpb(asked->request, request, len, JSON_COMPACT);
    struct job_new job = {.id = uuid_new(clock_wall_ms()),
                          .workspace_id = call->workspace_id,
                          .kind = span_of(kind),
                          .subscription_id = asked->has_subscription ? &asked->subscription_id : NULL,
                          .since_ms = asked->since_ms,
                          .until_ms = asked->until_ms,
                          .request = {request, len}};
    struct result *rows = NULL;
    struct job_row row;
    struct error error;
    enum job_made made;
    enum status status = jobs_create(call->connection, &job, &made, &rows, &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
    } else if (made == JOB_MADE) {
        job_view_accepted(call, rows);
    } else if (made == JOB_IN_THE_WAY) {
        char id[UUID_TEXT_LEN + 1];
        jobs_row_read(rows, 0, &row);
        uuid_format(&row.id, id);
        call_problem(call, 409, "already_recovering",
                     "The job %s recovers this subscription already. Wait for it, or cancel it.", id);
    } else {
        call_problem(call, 409, "too_many_jobs",
                     "The workspace has %d jobs that have not ended. Wait for some, or cancel them.", JOBS_MAX_OPEN);
    }
    result_free(&rows);
}

/* False: what waits for it would be cancelled, and the call is answered. */
static bool check_active(struct call *call, struct span status) {
    if (span_is(status, "active"))
        return true;
    if (!status.data)
        call_problem(call, 409, "subscription_gone", "The subscription has been deleted: there is nobody to send to.");
    else
        call_problem(call, 409, "subscription_not_active",
                     "The subscription is %.*s. Change it to is_enabled: true first.", SPAN_ARGS(status));
    return false;
}

/* The subscription that was asked for is the workspace's. */
static bool check_subscription(struct asked *asked, const char *field) {
    struct call *call = asked->call;
    struct result *rows = NULL;
    struct error error;
    enum status status =
        subscriptions_get(call->connection, call->workspace_id, &asked->subscription_id, &rows, &error);
    bool right = false;
    if (status == STATUS_OK) {
        struct subscription_row row;
        subscriptions_row_read(rows, 0, &row);
        right = check_active(call, row.status);
    } else if (status == STATUS_NOT_FOUND && field) {
        call_field_error(call, field, "there is no such subscription in this workspace");
        call_refuse(call);
    } else {
        call_failed(call, status, &error);
    }
    result_free(&rows);
    return right;
}

/* ---- routes ---- */

static void recover(struct call *call) {
    static const struct field FIELDS[] = {{"since", read_since}, {"until", read_until}, {"include", read_include}};
    struct asked asked = {.call = call, .has_subscription = true};
    struct error error;
    if (uuid_parse(call_param(call, "subscription_id"), &asked.subscription_id) != STATUS_OK) {
        call_failed(call, error_set(&error, STATUS_NOT_FOUND, "not a uuid"), &error);
        return;
    }
    if (!check_subscription(&asked, NULL))
        return;
    char id[UUID_TEXT_LEN + 1];
    uuid_format(&asked.subscription_id, id);
    asked.request = json_pack("{s:s, s:[s]}", "subscription_id", id, "include", "failed");
    read_fields(&asked, FIELDS, sizeof(FIELDS) / sizeof(*FIELDS));
    if (call->errors)
        call_refuse(call);
    else
        make_job(&asked, "recover");
    json_decref(asked.request);
}

static void replay_filtered(struct call *call) {
    static const struct field FIELDS[] = {
        {"since", read_since},
        {"until", read_until},
        {"event_id", read_event_id},
        {"event_type", read_type},
        {"batch_id", read_batch},
        {"subscription_id", read_subscription},
        {"status_code", read_status_code},
        {"delivery_status", read_delivery_status},
        {"error_code", read_error_code},
        {"given_up", read_given_up},
    };
    struct asked asked = {.call = call, .request = json_object()};
    read_fields(&asked, FIELDS, sizeof(FIELDS) / sizeof(*FIELDS));
    if (call->errors)
        call_refuse(call);
    else if (!asked.has_subscription || check_subscription(&asked, "subscription_id"))
        make_job(&asked, "replay");
    json_decref(asked.request);
}

static void replay_one(struct call *call) {
    struct uuid log_id;
    struct job_delivery delivery = {.test = false};
    struct result *rows = NULL;
    struct error error;
    enum status status = uuid_parse(call_param(call, "log_id"), &log_id);
    if (status == STATUS_OK)
        status = jobs_find_log(call->connection, call->workspace_id, &log_id, &delivery, &rows, &error);
    else
        status = error_set(&error, STATUS_NOT_FOUND, "not a uuid");
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
        return;
    }
    if (delivery.test) {
        call_problem(call, 409, "is_a_test", "A test is no delivery of an event: there is nothing to send again.");
    } else if (check_active(call, delivery.subscription_status)) {
        char id[UUID_TEXT_LEN + 1], subscription[UUID_TEXT_LEN + 1];
        uuid_format(&log_id, id);
        uuid_format(&delivery.subscription_id, subscription);
        struct asked asked = {.call = call,
                              .request = json_pack("{s:s, s:s}", "log_id", id, "subscription_id", subscription),
                              .has_subscription = true,
                              .since_ms = delivery.created_at_ms,
                              .until_ms = delivery.created_at_ms + 1,
                              .subscription_id = delivery.subscription_id};
        make_job(&asked, "replay");
        json_decref(asked.request);
    }
    result_free(&rows);
}

#define WORKSPACE "/api/v1/workspaces/{workspace_id}"

static const struct api_route ROUTES[] = {
    {"POST", WORKSPACE "/subscription/{subscription_id}/recover", recover, CALL_BODY},
    {"POST", WORKSPACE "/logs/{log_id}/replay", replay_one, 0},
    {"POST", WORKSPACE "/logs/replay", replay_filtered, CALL_BODY},
};

const struct api_route *resend_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
