/* …/workspaces/{workspace_id}/subscription: SeaNotify's subscriptions, with what hookcast adds. */
#include "api/routes.h"
#include "api/subscription_fields.h"
#include "api/subscription_sealing.h"
#include "api/subscription_secrets.h"
#include "api/subscription_view.h"
#include "base/clock.h"
#include "store/subscriptions.h"
#include <jansson.h>

#define PAGE_ROWS 500

/* False: it names no subscription, and the call is answered. */
static bool subscription_id(struct call *call, struct uuid *ret_id) {
    struct error error;
    if (uuid_parse(call_param(call, "subscription_id"), ret_id) == STATUS_OK)
        return true;
    call_failed(call, error_set(&error, STATUS_NOT_FOUND, "not a uuid"), &error);
    return false;
}

static struct span tag_of(struct call *call, const struct subscription_row *row) {
    return span_of(arena_printf(call->arena, "\"%lld\"", (long long)row->version));
}

/* The view of the row is the answer; takes its reference. */
static void answer_view(struct call *call, int status, json_t *view, const struct subscription_row *row) {
    call_header(call, "ETag", tag_of(call, row));
    buffer_reset(&call->answer);
    subscription_view_write(view, row, &call->answer);
    json_decref(view);
    call_answer_text(call, status, "application/json");
}

static void answer_row(struct call *call, int status, const struct result *result) {
    struct subscription_row row;
    subscriptions_row_read(result, 0, &row);
    answer_view(call, status, subscription_view(call->keyring, &row), &row);
}

static void add_location(struct call *call, const struct uuid *id) {
    char text[UUID_TEXT_LEN + 1];
    uuid_format(id, text);
    call_header(call, "Location", span_of(arena_printf(call->arena, "%.*s/%s", SPAN_ARGS(call->path), text)));
}

static void answer_created(struct call *call, const struct result *rows, const struct json_t *secrets) {
    struct subscription_row row;
    subscriptions_row_read(rows, 0, &row);
    json_t *view = subscription_view(call->keyring, &row);
    const char *secret = subscription_secrets_newest(secrets);
    json_object_set_new(view, "secret", secret ? json_string(secret) : json_null());
    add_location(call, &row.id);
    answer_view(call, 201, view, &row);
}

static void create(struct call *call) {
    struct subscription_row row = {
        .id = uuid_new(clock_wall_ms()),
        .workspace_id = call->workspace_id,
        .type = SPAN_LITERAL("SEASALT"),
        .status = SPAN_LITERAL("active"),
        .signature_style = SPAN_LITERAL("standard"),
        .payload_format = SPAN_LITERAL("seanotify"),
        .delivery_mode = SPAN_LITERAL("immediate"),
        .retry_count = -1,
    };
    struct subscription_change change = {.create = true};
    struct result *rows = NULL;
    struct error error;
    json_t *secrets = NULL;
    enum status status = STATUS_OK;
    subscription_fields_read(call, &row, &change);
    row.updated_by = row.created_by;
    if (row.event_type_count)
        status = subscription_fields_check_types(call, &row, &error);
    if (status == STATUS_OK && !call->errors)
        status = subscription_seal_change(call, &row, &change, &secrets, &error);
    if (status == STATUS_OK && !call->errors)
        status = subscriptions_insert(call->connection, &row, &rows, &error);
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    else if (call->errors)
        call_refuse(call);
    else
        answer_created(call, rows, secrets);
    json_decref(secrets);
    result_free(&rows);
}

/* Of one row, to those of the chain that want it. */
static void answer_with_row(struct call *first, const struct uuid *ids, const struct result *rows, int r) {
    struct subscription_row row;
    subscriptions_row_read(rows, r, &row);
    for (struct call *call = first; call; call = call->with, ids++)
        if (!call->status && uuid_equal(ids, &row.id) && span_equal(call->workspace_id, row.workspace_id))
            answer_view(call, 200, subscription_view(call->keyring, &row), &row);
}

/* Reading one is what clients do again and again: those that wait share a round trip. */
static void get_together(struct call *first) {
    struct span workspace_ids[CALL_TOGETHER_MAX];
    struct uuid ids[CALL_TOGETHER_MAX];
    struct result *rows = NULL;
    struct error error;
    size_t count = 0;
    for (struct call *call = first; call; call = call->with, count++) {
        workspace_ids[count] = call->workspace_id;
        if (uuid_parse(call_param(call, "subscription_id"), &ids[count]) != STATUS_OK)
            ids[count] = UUID_NIL;
    }
    if (subscriptions_get_many(first->connection, workspace_ids, ids, count, &rows, &error) == STATUS_OK)
        for (int r = 0; r < result_rows(rows); r++)
            answer_with_row(first, ids, rows, r);
    result_free(&rows);
}

static void get(struct call *call) {
    struct uuid id;
    if (call->with) {
        get_together(call);
        return;
    }
    if (!subscription_id(call, &id))
        return;
    struct result *rows = NULL;
    struct error error;
    enum status status = subscriptions_get(call->connection, call->workspace_id, &id, &rows, &error);
    if (status == STATUS_OK)
        answer_row(call, 200, rows);
    else
        call_failed(call, status, &error);
    result_free(&rows);
}

/* "field:direction"; the direction may be left out. */
static bool read_order(struct span text, struct subscriptions_page *page) {
    static const char *const FIELDS[SUBSCRIPTIONS_ORDERS] = {
        [SUBSCRIPTIONS_BY_CREATED_AT] = "created_at",
        [SUBSCRIPTIONS_BY_UPDATED_AT] = "updated_at",
        [SUBSCRIPTIONS_BY_TYPE] = "type",
        [SUBSCRIPTIONS_BY_WEBHOOK_URL] = "webhook_url",
    };
    const char *colon = memchr(text.data, ':', text.len);
    struct span field = {text.data, colon ? (size_t)(colon - text.data) : text.len};
    struct span direction = colon ? (struct span){colon + 1, text.len - field.len - 1} : SPAN_LITERAL("asc");
    page->descending = span_is(direction, "desc");
    if (!page->descending && !span_is(direction, "asc"))
        return false;
    for (int i = 0; i < SUBSCRIPTIONS_ORDERS; i++) {
        page->order = (enum subscriptions_order)i;
        if (span_is(field, FIELDS[i]))
            return true;
    }
    return false;
}

static void read_page(struct call *call, struct subscriptions_page *page) {
    static const char *const QUERY[] = {"order_by", "type", NULL};
    struct span order = call_query(call, "order_by"), type = call_query(call, "type");
    call_check_query(call, QUERY);
    if (order.data && !read_order(order, page))
        call_field_error(call, "order_by",
                         "expected created_at, updated_at, type or webhook_url, with :asc or :desc behind it");
    if (type.data && !span_is(type, "SEASALT") && !span_is(type, "ZAPIER"))
        call_field_error(call, "type", "expected one of SEASALT, ZAPIER");
    page->type = type;
}

/* Written a page at a time: a workspace may have many, and the whole list is never in memory as objects. */
static enum status write_pages(struct call *call, struct subscriptions_page *page, struct error *error) {
    struct span after = SPAN_NONE;
    bool more = true, first = true;
    while (more && !call->answer.overflowed) {
        struct result *rows = NULL;
        page->after_key = after;
        enum status status = subscriptions_list(call->connection, page, &rows, error);
        if (status != STATUS_OK)
            return status;
        int count = result_rows(rows);
        for (int i = 0; i < count; i++) {
            struct subscription_row row;
            subscriptions_row_read(rows, i, &row);
            json_t *view = subscription_view(call->keyring, &row);
            buffer_text(&call->answer, first ? "" : ",");
            subscription_view_write(view, &row, &call->answer);
            json_decref(view);
            first = false;
            page->after_id = row.id;
        }
        more = count == page->limit;
        if (more)
            after = arena_span(call->arena, subscriptions_row_key(rows, count - 1));
        result_free(&rows);
    }
    return STATUS_OK;
}

static void list(struct call *call) {
    struct subscriptions_page page = {.workspace_id = call->workspace_id,
                                      .order = SUBSCRIPTIONS_BY_CREATED_AT,
                                      .descending = true,
                                      .limit = PAGE_ROWS};
    read_page(call, &page);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    struct error error;
    buffer_text(&call->answer, "{\"subscriptions\":[");
    enum status status = write_pages(call, &page, &error);
    buffer_text(&call->answer, "]}");
    if (status == STATUS_OK)
        call_answer_text(call, 200, "application/json");
    else
        call_failed(call, status, &error);
}

/* Whether If-Match, "*" or a list of tags, has this one. A weak tag (W/"…") never counts (RFC 9110, 13.1.1). */
static bool tags_have(struct span tags, struct span wanted) {
    const char *at = tags.data, *end = tags.data + tags.len;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct span tag = {at, (size_t)((comma ? comma : end) - at)};
        while (tag.len > 0 && (*tag.data == ' ' || *tag.data == '\t'))
            tag = (struct span){tag.data + 1, tag.len - 1};
        while (tag.len > 0 && (tag.data[tag.len - 1] == ' ' || tag.data[tag.len - 1] == '\t'))
            tag.len--;
        if (span_equal(tag, wanted) || span_is(tag, "*"))
            return true;
        at = comma ? comma + 1 : end;
    }
    return false;
}

/* STATUS_CONFLICT: the row is not as If-Match wants it, and the call is answered. */
static enum status check_match(struct call *call, const struct result *rows, struct error *error) {
    struct subscription_row row;
    subscriptions_row_read(rows, 0, &row);
    struct span tag = tag_of(call, &row);
    if (!call->if_match.data || tags_have(call->if_match, tag))
        return STATUS_OK;
    call_problem(call, 412, "precondition_failed", "The subscription has changed: its ETag is %.*s now.",
                 SPAN_ARGS(tag));
    return error_set(error, STATUS_CONFLICT, "If-Match names another version");
}

/* Rows that were read for a change: locked, in a transaction that `end_change` ends. */
static enum status begin_change(struct call *call, const struct uuid *id, struct result **ret_rows,
                                struct error *error) {
    enum status status = connection_exec(call->connection, "BEGIN", error);
    if (status == STATUS_OK && json_is_true(json_object_get(call->json, "is_enabled")))
        status = subscriptions_lock_health(call->connection, call->workspace_id, id, error);
    if (status == STATUS_OK)
        status = subscriptions_lock(call->connection, call->workspace_id, id, ret_rows, error);
    if (status == STATUS_OK)
        status = check_match(call, *ret_rows, error);
    return status;
}

/* COMMIT when status is STATUS_OK and keep; otherwise ROLLBACK. Returns what then stands. */
static enum status end_change(struct call *call, enum status status, bool keep, struct error *error) {
    struct error ignored;
    if (status == STATUS_OK && keep)
        return connection_exec(call->connection, "COMMIT", error);
    if (connection_is_open(call->connection) && connection_exec(call->connection, "ROLLBACK", &ignored) != STATUS_OK)
        connection_close(call->connection);
    return status;
}

/* A change that came to nothing; it may be answered already. */
static void answer_failed(struct call *call, enum status status, const struct error *error) {
    if (!call->status)
        call_failed(call, status, error);
}

/* What it says of its endpoint's health begins anew with the change that makes it active: it is read after that. */
static enum status write_change(struct call *call, const struct subscription_row *row, bool revived,
                                struct result **ret_rows, struct error *error) {
    enum status status = subscriptions_update(call->connection, row, ret_rows, error);
    if (status == STATUS_OK && revived) {
        result_free(ret_rows);
        status = subscriptions_get(call->connection, call->workspace_id, &row->id, ret_rows, error);
    }
    return status;
}

static void change(struct call *call) {
    struct uuid id;
    if (!subscription_id(call, &id))
        return;
    struct subscription_change wanted = {.create = false};
    struct subscription_row row;
    struct result *before = NULL, *after = NULL;
    struct error error;
    json_t *secrets = NULL;
    bool revived = false;
    enum status status = begin_change(call, &id, &before, &error);
    if (status == STATUS_OK) {
        subscriptions_row_read(before, 0, &row);
        bool active = span_is(row.status, "active");
        subscription_fields_read(call, &row, &wanted);
        revived = !active && span_is(row.status, "active");
        if (json_object_get(call->json, "event_types"))
            status = subscription_fields_check_types(call, &row, &error);
    }
    if (status == STATUS_OK && !call->errors)
        status = subscription_seal_change(call, &row, &wanted, &secrets, &error);
    if (status == STATUS_OK && !call->errors)
        status = write_change(call, &row, revived, &after, &error);
    status = end_change(call, status, !call->errors, &error);
    if (status != STATUS_OK)
        answer_failed(call, status, &error);
    else if (call->errors)
        call_refuse(call);
    else
        answer_row(call, 200, after);
    json_decref(secrets);
    result_free(&after);
    result_free(&before);
}

static void delete (struct call *call) {
    struct uuid id;
    if (!subscription_id(call, &id))
        return;
    struct result *before = NULL;
    struct error error;
    enum status status = begin_change(call, &id, &before, &error);
    if (status == STATUS_OK)
        status = subscriptions_delete(call->connection, call->workspace_id, &id, &error);
    status = end_change(call, status, true, &error);
    if (status == STATUS_OK)
        call_answer_empty(call, 204);
    else
        answer_failed(call, status, &error);
    result_free(&before);
}

static void answer_secrets(struct call *call, const json_t *secrets, const struct result *rows) {
    struct subscription_row row;
    subscriptions_row_read(rows, 0, &row);
    call_header(call, "ETag", tag_of(call, &row));
    call_answer_json(call, 200, subscription_secrets_json(secrets));
}

static void get_secret(struct call *call) {
    struct uuid id;
    if (!subscription_id(call, &id))
        return;
    struct result *rows = NULL;
    struct error error;
    json_t *secrets = NULL;
    enum status status = subscriptions_get(call->connection, call->workspace_id, &id, &rows, &error);
    if (status == STATUS_OK) {
        struct subscription_row row;
        subscriptions_row_read(rows, 0, &row);
        status = subscription_secrets_open(call->keyring, &id, row.sealed_secrets, clock_wall_ms(), &secrets, &error);
    }
    if (status == STATUS_OK)
        answer_secrets(call, secrets, rows);
    else
        call_failed(call, status, &error);
    json_decref(secrets);
    result_free(&rows);
}

/* {"secret": "…"} or nothing. */
static struct span rotation_body(struct call *call) {
    const char *name;
    json_t *value;
    json_object_foreach(call->json, name, value) {
        if (strcmp(name, "secret") != 0)
            call_field_error(call, name, "there is no such field; a rotation takes secret");
    }
    value = json_object_get(call->json, "secret");
    return value ? subscription_fields_read_secret(call, value) : SPAN_NONE;
}

static void rotate(struct call *call) {
    struct uuid id;
    if (!subscription_id(call, &id))
        return;
    struct subscription_row row;
    struct result *before = NULL, *after = NULL;
    struct error error;
    json_t *secrets = NULL;
    int64_t now_ms = clock_wall_ms();
    struct span secret = rotation_body(call);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status = begin_change(call, &id, &before, &error);
    if (status == STATUS_OK) {
        subscriptions_row_read(before, 0, &row);
        status = subscription_secrets_open(call->keyring, &id, row.sealed_secrets, now_ms, &secrets, &error);
    }
    if (status == STATUS_OK) {
        subscription_secrets_put(secrets, secret, now_ms, SECRETS_ROTATION_MS);
        row.sealed_secrets = subscription_secrets_seal(call->keyring, &id, secrets, call->arena);
        status = subscriptions_update(call->connection, &row, &after, &error);
    }
    status = end_change(call, status, true, &error);
    if (status == STATUS_OK)
        answer_secrets(call, secrets, after);
    else
        answer_failed(call, status, &error);
    json_decref(secrets);
    result_free(&after);
    result_free(&before);
}

#define ALL "/api/v1/workspaces/{workspace_id}/subscription"
#define ONE ALL "/{subscription_id}"

static const struct api_route ROUTES[] = {
    {"POST", ALL, create, CALL_BODY},
    {"GET", ALL, list, 0},
    {"GET", ONE, get, CALL_TOGETHER},
    {"PATCH", ONE, change, CALL_BODY},
    {"DELETE", ONE, delete, 0},
    {"GET", ONE "/secret", get_secret, CALL_SECRET_READ},
    {"POST", ONE "/secret/rotate", rotate, CALL_BODY_MAY},
};

const struct api_route *subscription_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
