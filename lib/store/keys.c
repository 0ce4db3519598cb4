#include "store/keys.h"
#include "base/clock.h"
#include <strings.h>

#define KEY_RANDOM_BYTES 32

void keys_generate(struct buffer *out) {
    char random[KEY_RANDOM_BYTES];
    crypto_random(random, sizeof(random));
    buffer_text(out, "hc_");
    hex_encode((struct span){random, sizeof(random)}, out);
    explicit_bzero(random, sizeof(random));
}

enum status keys_insert(struct connection *connection, const struct key_new *key, struct uuid *ret_id,
                        struct error *error) {
    static const struct statement INSERT = {
        "INSERT INTO api_keys (id, workspace_id, name, key_hash, read_only, expires_at) "
        "SELECT $1, $2, $3, $4, $5, coalesce($7, now() + nullif($6::int8, 0) * interval '1 ms') "
        "WHERE $8::int4 = 0 OR (SELECT count(*) FROM api_keys WHERE workspace_id = $2 AND revoked_at IS NULL "
        "AND (expires_at IS NULL OR expires_at > now())) < $8::int4"};
    struct result *result = NULL;
    struct uuid id = uuid_new(clock_wall_ms());
    uint8_t hash[SHA256_BYTES];
    crypto_sha256(key->key, hash);
    struct params params;
    params_init(&params);
    params_uuid(&params, &id);
    params_text(&params, key->workspace_id);
    params_text(&params, key->name.data ? key->name : SPAN_LITERAL(""));
    params_bytea(&params, (struct span){(const char *)hash, sizeof(hash)});
    params_bool(&params, key->read_only);
    params_int8(&params, key->expires_in_ms);
    if (key->expires_at_ms)
        params_timestamp(&params, key->expires_at_ms);
    else
        params_null(&params, PARAM_TIMESTAMP);
    params_int4(&params, key->max);
    enum status status = connection_run(connection, &INSERT, &params, &result, error);
    if (status == STATUS_OK && result_affected(result) == 0)
        status = error_set(error, STATUS_CONFLICT, "the workspace has %d keys already", key->max);
    result_free(&result);
    params_deinit(&params);
    if (status == STATUS_OK)
        *ret_id = id;
    return status;
}

enum status keys_list(struct connection *connection, struct span workspace_id, struct result **ret_rows,
                      struct error *error) {
    static const struct statement LIST = {
        "SELECT id, workspace_id, name, read_only, created_at, expires_at, revoked_at, coalesce(expires_at <= now(), "
        "false) "
        "FROM api_keys WHERE $1::text IS NULL OR workspace_id = $1 ORDER BY created_at, id"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    enum status status = connection_run(connection, &LIST, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

static int64_t time_or_0(const struct result *rows, int row, int column) {
    return result_is_null(rows, row, column) ? 0 : result_timestamp(rows, row, column);
}

void keys_row_read(const struct result *rows, int row, struct key_row *ret_row) {
    *ret_row = (struct key_row){
        .id = result_uuid(rows, row, 0),
        .workspace_id = result_text(rows, row, 1),
        .name = result_text(rows, row, 2),
        .read_only = result_bool(rows, row, 3),
        .created_at_ms = result_timestamp(rows, row, 4),
        .expires_at_ms = time_or_0(rows, row, 5),
        .revoked_at_ms = time_or_0(rows, row, 6),
        .expired = result_bool(rows, row, 7),
    };
}

enum status keys_revoke(struct connection *connection, struct span workspace_id, const struct uuid *id,
                        struct error *error) {
    static const struct statement REVOKE = {"UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) "
                                            "WHERE id = $1 AND ($2::text IS NULL OR workspace_id = $2) RETURNING 1"};
    struct params params;
    params_init(&params);
    params_uuid(&params, id);
    params_text(&params, workspace_id);
    struct result *result = NULL;
    enum status status = connection_run(connection, &REVOKE, &params, &result, error);
    if (status == STATUS_OK && result_rows(result) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "there is no such key");
    result_free(&result);
    params_deinit(&params);
    return status;
}

enum status keys_find(struct connection *connection, const uint8_t hash[SHA256_BYTES], struct key_grant *ret_grant,
                      struct error *error) {
    static const struct statement FIND = {
        "SELECT id, workspace_id, read_only FROM api_keys k "
        "WHERE key_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) "
        "AND NOT EXISTS (SELECT FROM workspaces w WHERE w.id = k.workspace_id AND w.erased_at IS NOT NULL)"};
    struct params params;
    params_init(&params);
    params_bytea(&params, (struct span){(const char *)hash, SHA256_BYTES});
    struct result *result = NULL;
    enum status status = connection_run(connection, &FIND, &params, &result, error);
    if (status == STATUS_OK && result_rows(result) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "there is no such key");
    if (status == STATUS_OK) {
        struct span workspace = result_text(result, 0, 1);
        *ret_grant = (struct key_grant){
            .id = result_uuid(result, 0, 0), .admin = !workspace.data, .read_only = result_bool(result, 0, 2)};
        if (workspace.len > WORKSPACE_ID_MAX_BYTES)
            status = error_set(error, STATUS_NOT_FOUND, "the key's workspace has an id that can't be");
        else if (workspace.data)
            memcpy(ret_grant->workspace_id, workspace.data, workspace.len);
    }
    result_free(&result);
    params_deinit(&params);
    return status;
}
