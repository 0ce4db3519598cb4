#include "store/progress.h"
#include "base/memory.h"

enum status progress_database_identity(struct connection *connection, struct buffer *out, struct error *error) {
    return connection_ask(connection,
                          "SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || "
                          "(SELECT timeline_id FROM pg_control_checkpoint())",
                          out, error);
}

static void progress_key_params(struct params *params, struct span group, struct span topic, int32_t partition) {
    params_init(params);
    params_text(params, group);
    params_text(params, topic);
    params_int4(params, partition);
}

enum status progress_lock(struct connection *connection, struct span group, struct span topic, int32_t partition,
                          struct progress_stored *ret_row, struct error *error) {
    static const struct statement LOCK = {
        "SELECT lineage, first_offset, epoch, next_offset, last_key, done, updated_at, reread_before "
        "FROM progress "
        "WHERE grp = $1 AND topic = $2 AND part = $3 FOR UPDATE"};
    struct params params;
    progress_key_params(&params, group, topic, partition);
    struct result *result = NULL;
    enum status status = connection_run(connection, &LOCK, &params, &result, error);
    if (status == STATUS_OK && result_rows(result) == 0)
        status = STATUS_NOT_FOUND;
    if (status == STATUS_OK) {
        struct span done = result_text(result, 0, 5);
        *ret_row = (struct progress_stored){
            .lineage = result_uuid(result, 0, 0),
            .first_offset = result_int(result, 0, 1),
            .epoch = result_int(result, 0, 2),
            .next_offset = result_int(result, 0, 3),
            .last_key = result_is_null(result, 0, 4) ? UUID_NIL : result_uuid(result, 0, 4),
            .done = mem_copy(done.data, done.len),
            .done_len = done.len,
            .updated_at_ms = result_timestamp(result, 0, 6),
            .reread_before = result_is_null(result, 0, 7) ? 0 : result_int(result, 0, 7),
        };
    }
    result_free(&result);
    params_deinit(&params);
    return status;
}

void progress_stored_deinit(struct progress_stored *row) {
    mem_free(row->done);
    row->done = NULL;
}

enum status progress_group_known(struct connection *connection, struct span group, bool *ret_known,
                                 struct error *error) {
    static const struct statement KNOWN = {"SELECT EXISTS (SELECT FROM progress WHERE grp = $1)"};
    struct params params;
    params_init(&params);
    params_text(&params, group);
    struct result *result = NULL;
    enum status status = connection_run(connection, &KNOWN, &params, &result, error);
    if (status == STATUS_OK)
        *ret_known = result_bool(result, 0, 0);
    result_free(&result);
    params_deinit(&params);
    return status;
}

enum status progress_adopt(struct connection *connection, struct span group, const struct progress_row *row,
                           struct error *error) {
    static const struct statement ADOPT = {
        "INSERT INTO progress (grp, topic, part, lineage, first_offset, epoch, next_offset, last_key, done, "
        "reread_before) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (grp, topic, part) DO UPDATE SET "
        "lineage = excluded.lineage, first_offset = excluded.first_offset, epoch = excluded.epoch, "
        "next_offset = excluded.next_offset, last_key = excluded.last_key, done = excluded.done, "
        "reread_before = excluded.reread_before"};
    struct params params;
    progress_key_params(&params, group, row->topic, row->partition);
    params_uuid(&params, &row->lineage);
    params_int8(&params, row->first_offset);
    params_int8(&params, row->epoch);
    params_int8(&params, row->next_offset);
    if (uuid_equal(&row->last_key, &UUID_NIL))
        params_null(&params, PARAM_UUID);
    else
        params_uuid(&params, &row->last_key);
    params_bytea(&params, row->done);
    if (row->reread_before)
        params_int8(&params, row->reread_before);
    else
        params_null(&params, PARAM_INT8);
    enum status status = connection_run(connection, &ADOPT, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status progress_advance(struct connection *connection, struct span group, const struct progress_row *rows,
                             size_t count, bool *owned, struct error *error) {
    static const struct statement ADVANCE = {
        "WITH given AS (SELECT * FROM unnest($2::text[], $3::int4[], $4::int8[], $5::int8[], $6::uuid[], $7::bytea[]) "
        "WITH ORDINALITY g(topic, part, epoch, next_offset, last_key, done, n)), "
        "locked AS MATERIALIZED (SELECT p.grp, p.topic, p.part, g.next_offset, g.last_key, g.done, g.n "
        "FROM progress p JOIN given g ON p.topic = g.topic AND p.part = g.part AND p.epoch = g.epoch "
        "WHERE p.grp = $1 ORDER BY p.topic, p.part FOR UPDATE OF p) "
        "UPDATE progress p SET next_offset = l.next_offset, last_key = l.last_key, done = l.done, "
        "updated_at = clock_timestamp() FROM locked l "
        "WHERE p.grp = l.grp AND p.topic = l.topic AND p.part = l.part RETURNING l.n"};
    struct param_array topics, parts, epochs, nexts, keys, dones;
    array_init(&topics, PARAM_TEXT, 4 * 1024 * 1024);
    array_init(&parts, PARAM_INT4, 1024 * 1024);
    array_init(&epochs, PARAM_INT8, 1024 * 1024);
    array_init(&nexts, PARAM_INT8, 1024 * 1024);
    array_init(&keys, PARAM_UUID, 1024 * 1024);
    array_init(&dones, PARAM_BYTEA, 16 * 1024 * 1024);
    for (size_t i = 0; i < count; i++) {
        array_text(&topics, rows[i].topic);
        array_int4(&parts, rows[i].partition);
        array_int8(&epochs, rows[i].epoch);
        array_int8(&nexts, rows[i].next_offset);
        if (uuid_equal(&rows[i].last_key, &UUID_NIL))
            array_null(&keys);
        else
            array_uuid(&keys, &rows[i].last_key);
        array_text(&dones, rows[i].done);
        owned[i] = false;
    }
    struct params params;
    params_init(&params);
    params_text(&params, group);
    struct param_array *arrays[] = {&topics, &parts, &epochs, &nexts, &keys, &dones};
    for (size_t i = 0; i < 6; i++)
        params_array(&params, arrays[i]);
    struct result *result = NULL;
    enum status status = connection_run(connection, &ADVANCE, &params, &result, error);
    for (int row = 0; status == STATUS_OK && row < result_rows(result); row++)
        owned[result_int(result, row, 0) - 1] = true;
    result_free(&result);
    params_deinit(&params);
    for (size_t i = 0; i < 6; i++)
        array_deinit(arrays[i]);
    return status;
}

enum status progress_end_stale(struct connection *connection, struct error *error) {
    return connection_exec(connection,
                           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE application_name = 'hookcast recorder' AND datname = current_database() "
                           "AND usename = current_user AND pid <> pg_backend_pid() "
                           "AND xact_start < clock_timestamp() - interval '2 seconds'",
                           error);
}

enum status progress_peek(struct connection *connection, struct span group, struct span topic, int32_t partition,
                          int64_t *ret_epoch, int64_t *ret_next_offset, struct error *error) {
    static const struct statement PEEK = {
        "SELECT epoch, next_offset FROM progress WHERE grp = $1 AND topic = $2 AND part = $3"};
    struct params params;
    progress_key_params(&params, group, topic, partition);
    struct result *result = NULL;
    enum status status = connection_run(connection, &PEEK, &params, &result, error);
    if (status == STATUS_OK && result_rows(result) == 0)
        status = STATUS_NOT_FOUND;
    if (status == STATUS_OK) {
        *ret_epoch = result_int(result, 0, 0);
        *ret_next_offset = result_int(result, 0, 1);
    }
    result_free(&result);
    params_deinit(&params);
    return status;
}
