#include "store/idempotency.h"

#define TRIES 3 /* a key may go between being met and being looked at */

static void put_key(struct params *params, const struct idempotency *request) {
    params_init(params);
    params_text(params, request->workspace_id);
    params_text(params, request->key);
    params_uuid(params, &request->owner);
}

static struct span hash_of(const struct idempotency *request) {
    return (struct span){(const char *)request->body_hash, sizeof(request->body_hash)};
}

/* Whether the key is this request's now. */
static enum status take(struct connection *connection, const struct idempotency *request, int64_t lease_ms,
                        bool *ret_mine, struct error *error) {
    static const struct statement TAKE = {
        "WITH old AS (DELETE FROM idempotency_keys o USING (SELECT workspace_id, key FROM idempotency_keys "
        "WHERE created_at < clock_timestamp() - interval '1 day' AND (workspace_id, key) <> ($1::text, $2::text) "
        "ORDER BY created_at LIMIT 5 FOR UPDATE SKIP LOCKED) x "
        "WHERE o.workspace_id = x.workspace_id AND o.key = x.key) "
        "INSERT INTO idempotency_keys AS k (workspace_id, key, owner, body_hash, lease_until) "
        "VALUES ($1, $2, $3, $4, clock_timestamp() + $5::int8 * interval '1 ms') "
        "ON CONFLICT (workspace_id, key) DO UPDATE SET owner = excluded.owner, body_hash = excluded.body_hash, "
        "lease_until = excluded.lease_until, status = NULL, answer = NULL, created_at = clock_timestamp() "
        "WHERE k.created_at < clock_timestamp() - interval '1 day' "
        "OR (k.status IS NULL AND k.lease_until < clock_timestamp())"};
    struct params params;
    struct result *result = NULL;
    put_key(&params, request);
    params_bytea(&params, hash_of(request));
    params_int8(&params, lease_ms);
    enum status status = connection_run(connection, &TAKE, &params, &result, error);
    if (status == STATUS_OK)
        *ret_mine = result_affected(result) > 0;
    result_free(&result);
    params_deinit(&params);
    return status;
}

/* STATUS_NOT_FOUND: it has gone. */
static enum status look(struct connection *connection, const struct idempotency *request,
                        enum idempotency_state *ret_state, struct result **ret_answer, struct error *error) {
    static const struct statement LOOK = {
        "SELECT status, answer, body_hash = $3 FROM idempotency_keys WHERE workspace_id = $1 AND key = $2"};
    struct params params;
    struct result *result = NULL;
    params_init(&params);
    params_text(&params, request->workspace_id);
    params_text(&params, request->key);
    params_bytea(&params, hash_of(request));
    enum status status = connection_run(connection, &LOOK, &params, &result, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(result) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "no such key");
    if (status == STATUS_OK && !result_bool(result, 0, 2)) {
        *ret_state = IDEMPOTENCY_OTHER_BODY;
    } else if (status == STATUS_OK && result_is_null(result, 0, 0)) {
        *ret_state = IDEMPOTENCY_UNDER_WAY;
    } else if (status == STATUS_OK) {
        *ret_state = IDEMPOTENCY_ANSWERED;
        *ret_answer = result;
        return STATUS_OK;
    }
    result_free(&result);
    return status;
}

enum status idempotency_begin(struct connection *connection, const struct idempotency *request, int64_t lease_ms,
                              enum idempotency_state *ret_state, struct result **ret_answer, struct error *error) {
    for (int i = 0; i < TRIES; i++) {
        bool mine = false;
        enum status status = take(connection, request, lease_ms, &mine, error);
        if (status != STATUS_OK)
            return status;
        if (mine) {
            *ret_state = IDEMPOTENCY_MINE;
            return STATUS_OK;
        }
        status = look(connection, request, ret_state, ret_answer, error);
        if (status != STATUS_NOT_FOUND)
            return status;
    }
    *ret_state = IDEMPOTENCY_UNDER_WAY;
    return STATUS_OK;
}

struct span idempotency_answer(const struct result *answer, int *ret_status) {
    *ret_status = (int)result_int(answer, 0, 0);
    return result_text(answer, 0, 1);
}

enum status idempotency_finish(struct connection *connection, const struct idempotency *request, int status_code,
                               struct span answer, struct error *error) {
    static const struct statement FINISH = {
        "UPDATE idempotency_keys SET status = $4::int4, answer = $5 WHERE workspace_id = $1 AND key = $2 "
        "AND owner = $3 AND status IS NULL"};
    struct params params;
    struct result *result = NULL;
    put_key(&params, request);
    params_int4(&params, status_code);
    params_text(&params, answer);
    enum status status = connection_run(connection, &FINISH, &params, &result, error);
    if (status == STATUS_OK && result_affected(result) == 0)
        status = error_set(error, STATUS_CONFLICT, "the key's lease had run out");
    result_free(&result);
    params_deinit(&params);
    return status;
}

enum status idempotency_forget(struct connection *connection, const struct idempotency *request, struct error *error) {
    static const struct statement FORGET = {
        "DELETE FROM idempotency_keys WHERE workspace_id = $1 AND key = $2 AND owner = $3 AND status IS NULL"};
    struct params params;
    put_key(&params, request);
    enum status status = connection_run(connection, &FORGET, &params, NULL, error);
    params_deinit(&params);
    return status;
}
