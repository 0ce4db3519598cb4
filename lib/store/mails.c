#include "store/mails.h"

enum status mails_claim(struct connection *connection, int64_t lease_ms, struct result **ret_rows,
                        struct error *error) {
    static const struct statement CLAIM = {
        "UPDATE mails m SET lease_until = clock_timestamp() + $1 * interval '1 ms' WHERE m.id = "
        "(SELECT id FROM mails WHERE due_at <= clock_timestamp() "
        "AND (lease_until IS NULL OR lease_until <= clock_timestamp()) "
        "ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED) "
        "RETURNING m.id, m.attempt, m.created_at, (extract(epoch FROM clock_timestamp() - m.created_at) * 1000)::int8, "
        "m.workspace_id, m.recipient, m.kind, m.about::text"};
    struct params params;
    params_init(&params);
    params_int8(&params, lease_ms);
    enum status status = connection_run(connection, &CLAIM, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

void mails_row_read(const struct result *rows, int row, struct mails_row *ret_row) {
    *ret_row = (struct mails_row){
        .id = result_int(rows, row, 0),
        .attempt = (int)result_int(rows, row, 1),
        .created_at_ms = result_timestamp(rows, row, 2),
        .age_ms = result_int(rows, row, 3),
        .workspace_id = result_text(rows, row, 4),
        .recipient = result_text(rows, row, 5),
        .kind = result_text(rows, row, 6),
        .about = result_text(rows, row, 7),
    };
}

enum status mails_finish(struct connection *connection, const struct mails_row *mail, struct error *error) {
    static const struct statement FINISH = {"DELETE FROM mails WHERE id = $1 AND attempt = $2"};
    struct params params;
    params_init(&params);
    params_int8(&params, mail->id);
    params_int4(&params, mail->attempt);
    enum status status = connection_run(connection, &FINISH, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status mails_retry(struct connection *connection, const struct mails_row *mail, int64_t due_in_ms,
                        struct error *error) {
    static const struct statement RETRY = {
        "UPDATE mails SET attempt = attempt + 1, lease_until = NULL, "
        "due_at = clock_timestamp() + $3 * interval '1 ms' WHERE id = $1 AND attempt = $2"};
    struct params params;
    params_init(&params);
    params_int8(&params, mail->id);
    params_int4(&params, mail->attempt);
    params_int8(&params, due_in_ms);
    enum status status = connection_run(connection, &RETRY, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status mails_drop_old(struct connection *connection, int64_t *ret_dropped, struct error *error) {
    static const struct statement DROP = {"DELETE FROM mails WHERE created_at < now() - $1 * interval '1 ms' "
                                          "AND (lease_until IS NULL OR lease_until <= clock_timestamp())"};
    struct params params;
    params_init(&params);
    params_int8(&params, MAILS_MAX_AGE_MS);
    struct result *result = NULL;
    enum status status = connection_run(connection, &DROP, &params, &result, error);
    if (status == STATUS_OK)
        *ret_dropped = result_affected(result);
    result_free(&result);
    params_deinit(&params);
    return status;
}
