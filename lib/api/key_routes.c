/* …/workspaces/{workspace_id}/keys: a workspace's own keys. One that may change things may manage them. */
#include "api/query.h"
#include "api/routes.h"
#include "base/clock.h"
#include "core/settings.h"
#include "store/keys.h"
#include "store/sealing.h"
#include <jansson.h>
#include <math.h>

#define KEYS_MAX 1000
#define EXPIRES_MAX_MS (3650LL * 24 * 3600 * 1000)

static json_t *key_view(const struct key_row *row) {
    const char *state = row->revoked_at_ms ? "revoked" : row->expired ? "expired" : "valid";
    return json_pack("{s:o, s:o, s:b, s:s, s:o, s:o, s:o}", "id", query_id(&row->id), "name", query_text(row->name),
                     "read_only", row->read_only, "state", state, "created_at", query_moment(row->created_at_ms),
                     "expires_at", query_moment(row->expires_at_ms), "revoked_at", query_moment(row->revoked_at_ms));
}

static void list(struct call *call) {
    static const char *const QUERY[] = {NULL};
    struct result *rows = NULL;
    struct error error;
    call_check_query(call, QUERY);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    enum status status = keys_list(call->connection, call->workspace_id, &rows, &error);
    if (status == STATUS_OK) {
        json_t *keys = json_array();
        for (int i = 0; i < result_rows(rows); i++) {
            struct key_row row;
            keys_row_read(rows, i, &row);
            json_array_append_new(keys, key_view(&row));
        }
        call_answer_json(call, 200, json_pack("{s:o}", "keys", keys));
    } else {
        call_failed(call, status, &error);
    }
    result_free(&rows);
}

/* ---- making ---- */

static struct span text_of(const json_t *value) {
    return json_is_string(value) ? (struct span){json_string_value(value), json_string_length(value)} : SPAN_NONE;
}

static void read_name(struct call *call, const json_t *value, struct key_new *key) {
    key->name = text_of(value);
    bool right = key->name.data && key->name.len <= KEY_NAME_MAX_BYTES;
    for (size_t i = 0; right && i < key->name.len; i++)
        right = (unsigned char)key->name.data[i] >= ' ' && key->name.data[i] != 0x7f;
    if (!right)
        call_field_error(call, "name", "expected a text of at most %d bytes without control characters",
                         KEY_NAME_MAX_BYTES);
}

static void read_expires_in(struct call *call, const json_t *value, struct key_new *key) {
    int64_t ms = 0;
    double seconds = json_number_value(value);
    if (json_is_number(value) && seconds >= 1 && seconds * 1000 <= EXPIRES_MAX_MS)
        ms = llround(seconds * 1000);
    else if (json_is_string(value) && settings_parse_duration(text_of(value), &ms) != STATUS_OK)
        ms = 0;
    if (ms < 1000 || ms > EXPIRES_MAX_MS)
        call_field_error(call, "expires_in", "expected seconds, or a duration such as \"30d\", up to 3650 days");
    key->expires_in_ms = ms;
}

static void read_expires_at(struct call *call, const json_t *value, struct key_new *key) {
    struct span text = text_of(value);
    int64_t now_ms = clock_wall_ms();
    if (!text.data || clock_parse_iso(text, &key->expires_at_ms, NULL) != STATUS_OK)
        call_field_error(call, "expires_at", "expected a date and time (ISO 8601, UTC without a zone)");
    else if (key->expires_at_ms <= now_ms || key->expires_at_ms > now_ms + EXPIRES_MAX_MS)
        call_field_error(call, "expires_at", "does not lie between now and 3650 days from now");
}

static void read_key(struct call *call, struct key_new *key) {
    const char *name;
    json_t *value;
    json_object_foreach(call->json, name, value) {
        if (strcmp(name, "name") == 0)
            read_name(call, value, key);
        else if (strcmp(name, "read_only") == 0 && json_is_boolean(value))
            key->read_only = json_is_true(value);
        else if (strcmp(name, "read_only") == 0)
            call_field_error(call, name, "expected true or false");
        else if (strcmp(name, "expires_in") == 0)
            read_expires_in(call, value, key);
        else if (strcmp(name, "expires_at") == 0)
            read_expires_at(call, value, key);
        else
            call_field_error(call, name, "there is no such field; a key has name, read_only, expires_in or expires_at");
    }
    if (json_object_get(call->json, "expires_in") && json_object_get(call->json, "expires_at"))
        call_field_error(call, "expires_at", "expected either expires_in or expires_at");
}

/* The key itself stands in this answer and nowhere else. */
static void answer_created(struct call *call, const struct uuid *id, struct span text) {
    struct result *rows = NULL;
    struct error error;
    enum status status = keys_list(call->connection, call->workspace_id, &rows, &error);
    struct key_row row;
    bool found = false;
    for (int i = 0; status == STATUS_OK && i < result_rows(rows) && !found; i++) {
        keys_row_read(rows, i, &row);
        found = uuid_equal(&row.id, id);
    }
    if (found) {
        json_t *view = key_view(&row);
        json_object_set_new(view, "key", json_stringn(text.data, text.len));
        call_answer_json(call, 201, view);
    } else {
        call_failed(call, status == STATUS_OK ? error_set(&error, STATUS_NOT_FOUND, "the key has gone") : status,
                    &error);
    }
    result_free(&rows);
}

/* A key that was revoked a moment ago may still be remembered (auth.h); it must not live on in another one. False: the
 * call is answered. */
static bool check_own_key(struct call *call) {
    uint8_t hash[SHA256_BYTES];
    struct key_grant grant;
    struct error error;
    crypto_sha256(call->key, hash);
    enum status status = keys_find(call->connection, hash, &grant, &error);
    if (status == STATUS_NOT_FOUND) {
        call_problem(call, 401, "unauthorized", "The API key is not valid: revoked or expired.");
        call_header(call, "WWW-Authenticate", SPAN_LITERAL("Bearer realm=\"hookcast\""));
    } else if (status != STATUS_OK) {
        call_failed(call, status, &error);
    }
    return status == STATUS_OK;
}

static void create(struct call *call) {
    struct key_new key = {.workspace_id = call->workspace_id, .name = SPAN_LITERAL(""), .max = KEYS_MAX};
    struct uuid id;
    struct error error;
    read_key(call, &key);
    if (call->errors) {
        call_refuse(call);
        return;
    }
    if (!check_own_key(call))
        return;
    struct buffer text;
    buffer_init(&text, 2 * KEY_TEXT_BYTES);
    keys_generate(&text);
    key.key = buffer_view(&text);
    enum status status = keys_insert(call->connection, &key, &id, &error);
    if (status == STATUS_OK)
        answer_created(call, &id, key.key);
    else if (status == STATUS_CONFLICT && !connection_sqlstate(call->connection)[0])
        call_problem(call, 409, "too_many_keys", "The workspace has %d valid keys. Revoke some.", KEYS_MAX);
    else
        call_failed(call, status, &error);
    sealing_wipe(&text);
}

static void revoke(struct call *call) {
    struct uuid id;
    struct error error;
    enum status status = uuid_parse(call_param(call, "key_id"), &id);
    if (status == STATUS_OK)
        status = keys_revoke(call->connection, call->workspace_id, &id, &error);
    else
        status = error_set(&error, STATUS_NOT_FOUND, "not a uuid");
    if (status == STATUS_OK)
        call_answer_empty(call, 204);
    else
        call_failed(call, status, &error);
}

#define ALL "/api/v1/workspaces/{workspace_id}/keys"
#define ONE ALL "/{key_id}"

static const struct api_route ROUTES[] = {
    {"GET", ALL, list, 0},
    {"POST", ALL, create, CALL_BODY_MAY},
    {"DELETE", ONE, revoke, 0},
};

const struct api_route *key_routes(size_t *ret_count) {
    *ret_count = sizeof(ROUTES) / sizeof(*ROUTES);
    return ROUTES;
}
