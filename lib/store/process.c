#include "store/process.h"

#include "store/log_rollup.h"
#include <unistd.h>

enum status process_register(struct connection *connection, const struct uuid *id, struct span group,
                             struct error *error) {
    static const struct statement REGISTER = {
        "INSERT INTO processes (id, grp, host, pid, version) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (id) DO UPDATE SET heartbeat_at = now(), flush_no = 0"};
    char host[256] = "";
    (void)gethostname(host, sizeof(host) - 1);
    struct params params;
    params_init(&params);
    params_uuid(&params, id);
    params_text(&params, group);
    params_text(&params, span_of(host));
    params_int4(&params, getpid());
    params_text(&params, SPAN_LITERAL(HOOKCAST_VERSION));
    enum status status = connection_run(connection, &REGISTER, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status process_forget(struct connection *connection, const struct uuid *id, struct error *error) {
    static const struct statement FORGET = {"DELETE FROM processes WHERE id = $1"};
    struct params params;
    params_init(&params);
    params_uuid(&params, id);
    enum status status = connection_run(connection, &FORGET, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status process_rank(struct connection *connection, const struct uuid *id, int *ret_count, int *ret_rank,
                         struct error *error) {
    static const struct statement RANK = {
        "WITH gone AS (DELETE FROM processes WHERE id IN (SELECT id FROM processes "
        "WHERE heartbeat_at < now() - interval '1 hour' AND id <> $1 FOR UPDATE SKIP LOCKED)) "
        "SELECT count(*), count(*) FILTER (WHERE id < $1) FROM processes "
        "WHERE heartbeat_at > now() - interval '10 seconds' OR id = $1"};
    struct params params;
    params_init(&params);
    params_uuid(&params, id);
    struct result *result = NULL;
    enum status status = connection_run(connection, &RANK, &params, &result, error);
    if (status == STATUS_OK) {
        int count = (int)result_int(result, 0, 0);
        *ret_count = count > 0 ? count : 1;
        *ret_rank = (int)result_int(result, 0, 1);
    }
    result_free(&result);
    params_deinit(&params);
    return status;
}

enum status process_beat(struct connection *connection, const struct uuid *id, int64_t flush_no, int64_t *ret_now_ms,
                         int64_t *ret_created_at_ms, struct error *error) {
    static const struct statement BEAT = {"UPDATE processes SET flush_no = $2, heartbeat_at = clock_timestamp() "
                                          "WHERE id = $1 RETURNING heartbeat_at, "
                                          "greatest(heartbeat_at, " LOG_ROLLUP_COUNTED ")"};
    struct params params;
    params_init(&params);
    params_uuid(&params, id);
    params_int8(&params, flush_no);
    struct result *result = NULL;
    enum status status = connection_run(connection, &BEAT, &params, &result, error);
    if (status == STATUS_OK && result_rows(result) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "this process's row is gone from processes");
    if (status == STATUS_OK) {
        *ret_now_ms = result_timestamp(result, 0, 0);
        *ret_created_at_ms = result_timestamp(result, 0, 1);
    }
    result_free(&result);
    params_deinit(&params);
    return status;
}

enum status process_flush_no(struct connection *connection, const struct uuid *id, int64_t *ret_flush_no,
                             struct error *error) {
    static const struct statement FLUSH_NO = {"SELECT flush_no FROM processes WHERE id = $1 FOR UPDATE"};
    struct params params;
    params_init(&params);
    params_uuid(&params, id);
    struct result *result = NULL;
    enum status status = connection_run(connection, &FLUSH_NO, &params, &result, error);
    if (status == STATUS_OK && result_rows(result) == 0)
        status = STATUS_NOT_FOUND;
    if (status == STATUS_OK)
        *ret_flush_no = result_int(result, 0, 0);
    result_free(&result);
    params_deinit(&params);
    return status;
}
