#include "store/catalogue.h"
#include "store/resend.h"
#include "store/schedule_private.h"

enum status catalogue_list(struct connection *connection, struct span workspace_id, struct span dialect,
                           struct result **ret_rows, struct error *error) {
    static const struct statement LIST = {
        "SELECT event_type, description, workspace_id <> '' FROM event_types "
        "WHERE (workspace_id = '' OR workspace_id = $1) AND dialect = $2 AND archived_at IS NULL "
        "ORDER BY workspace_id <> '', position, event_type"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_text(&params, dialect);
    enum status status = connection_run(connection, &LIST, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

void catalogue_row_read(const struct result *rows, int row, struct catalogue_row *ret_row) {
    *ret_row = (struct catalogue_row){
        .event_type = result_text(rows, row, 0),
        .description = result_text(rows, row, 1),
        .own = result_bool(rows, row, 2),
    };
}

enum status catalogue_dialect_known(struct connection *connection, struct span dialect, bool *ret_known,
                                    struct error *error) {
    static const struct statement KNOWN = {
        "SELECT 1 FROM event_types WHERE workspace_id = '' AND dialect = $1 LIMIT 1"};
    struct params params;
    params_init(&params);
    params_text(&params, dialect);
    struct result *result = NULL;
    enum status status = connection_run(connection, &KNOWN, &params, &result, error);
    if (status == STATUS_OK)
        *ret_known = result_rows(result) > 0;
    result_free(&result);
    params_deinit(&params);
    return status;
}

enum status catalogue_unknown(struct connection *connection, struct span workspace_id, const struct span *types,
                              size_t count, struct result **ret_rows, struct error *error) {
    static const struct statement UNKNOWN = {
        "SELECT given FROM unnest($2::text[]) WITH ORDINALITY AS g (given, at) WHERE NOT EXISTS (SELECT FROM "
        "event_types e "
        "WHERE e.workspace_id IN ('', $1) AND e.event_type = given AND e.archived_at IS NULL) ORDER BY at"};
    struct param_array array;
    array_init(&array, PARAM_TEXT, 64 * 1024);
    for (size_t i = 0; i < count; i++)
        array_text(&array, types[i]);
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_array(&params, &array);
    enum status status = connection_run(connection, &UNKNOWN, &params, ret_rows, error);
    params_deinit(&params);
    array_deinit(&array);
    return status;
}

enum status catalogue_names(struct connection *connection, struct span workspace_id, int limit,
                            struct result **ret_rows, struct error *error) {
    static const struct statement NAMES = {
        "SELECT event_type FROM event_types WHERE workspace_id IN ('', $1) AND archived_at IS NULL "
        "ORDER BY dialect <> '" CATALOGUE_DEFAULT_DIALECT
        "', workspace_id = '', dialect, position, event_type LIMIT $2"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_int8(&params, limit);
    enum status status = connection_run(connection, &NAMES, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

#define ENTRY                                                                                                          \
    "dialect, event_type, description, example::text, schema::text, sample, workspace_id <> '', created_at, "          \
    "archived_at, first_seen_at, last_seen_at, sample_event"

static int64_t time_or_0(const struct result *rows, int row, int column) {
    return result_is_null(rows, row, column) ? 0 : result_timestamp(rows, row, column);
}

void catalogue_entry_read(const struct result *rows, int row, struct catalogue_entry *ret_entry) {
    *ret_entry = (struct catalogue_entry){
        .dialect = result_text(rows, row, 0),
        .event_type = result_text(rows, row, 1),
        .description = result_text(rows, row, 2),
        .example = result_text(rows, row, 3),
        .schema = result_text(rows, row, 4),
        .sample = result_text(rows, row, 5),
        .own = result_bool(rows, row, 6),
        .created_at_ms = time_or_0(rows, row, 7),
        .archived_at_ms = time_or_0(rows, row, 8),
        .first_seen_at_ms = time_or_0(rows, row, 9),
        .last_seen_at_ms = time_or_0(rows, row, 10),
        .sample_event = result_is_null(rows, row, 11) ? UUID_NIL : result_uuid(rows, row, 11),
    };
}

enum status catalogue_find(struct connection *connection, struct span workspace_id, struct span event_type,
                           struct span dialect, struct result **ret_rows, struct catalogue_entry *ret_entry,
                           struct error *error) {
    static const struct statement FIND = {
        "SELECT " ENTRY " FROM event_types WHERE workspace_id IN ('', $1) AND event_type = $2 "
        "AND ($3::text IS NULL OR dialect = $3) AND archived_at IS NULL "
        "ORDER BY workspace_id = '', dialect <> '" CATALOGUE_DEFAULT_DIALECT "', dialect LIMIT 1"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_text(&params, event_type);
    params_text(&params, dialect);
    enum status status = connection_run(connection, &FIND, &params, ret_rows, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(*ret_rows) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "there is no such event type");
    else if (status == STATUS_OK)
        catalogue_entry_read(*ret_rows, 0, ret_entry);
    return status;
}

enum status catalogue_examples(struct connection *connection, struct result **ret_rows, struct error *error) {
    static const struct statement EXAMPLES = {"SELECT event_type, description, example::text FROM event_types WHERE "
                                              "workspace_id = '' AND archived_at IS NULL "
                                              "ORDER BY dialect <> '" CATALOGUE_DEFAULT_DIALECT
                                              "', dialect, position, event_type"};
    return connection_run(connection, &EXAMPLES, NULL, ret_rows, error);
}

#define OWN "workspace_id = $1 AND dialect = '" CATALOGUE_DEFAULT_DIALECT "' AND archived_at IS NULL"

enum status catalogue_list_own(struct connection *connection, struct span workspace_id, struct result **ret_rows,
                               struct error *error) {
    static const struct statement LIST = {"SELECT " ENTRY " FROM event_types WHERE " OWN " ORDER BY event_type"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    enum status status = connection_run(connection, &LIST, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

enum status catalogue_lock_own(struct connection *connection, struct span workspace_id, struct span event_type,
                               struct result **ret_rows, struct catalogue_entry *ret_entry, struct error *error) {
    static const struct statement LOCK = {"SELECT " ENTRY " FROM event_types WHERE " OWN
                                          " AND event_type = $2 FOR UPDATE"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_text(&params, event_type);
    enum status status = connection_run(connection, &LOCK, &params, ret_rows, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_rows(*ret_rows) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "there is no such event type");
    else if (status == STATUS_OK)
        catalogue_entry_read(*ret_rows, 0, ret_entry);
    return status;
}

static void json_param(struct params *params, struct span json) {
    if (json.data)
        params_jsonb(params, json);
    else
        params_null(params, PARAM_JSONB);
}

static enum status write_entry(struct connection *connection, const struct statement *statement,
                               struct span workspace_id, const struct catalogue_entry *entry, const bool *keeps_sample,
                               struct result **ret_rows, struct error *error) {
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_text(&params, entry->event_type);
    params_text(&params, entry->description);
    json_param(&params, entry->example);
    json_param(&params, entry->schema);
    if (keeps_sample)
        params_bool(&params, *keeps_sample);
    enum status status = connection_run(connection, statement, &params, ret_rows, error);
    params_deinit(&params);
    return status;
}

enum status catalogue_create(struct connection *connection, struct span workspace_id,
                             const struct catalogue_entry *entry, struct result **ret_rows, struct error *error) {
    static const struct statement CREATE = {
        "INSERT INTO event_types (workspace_id, event_type, description, example, schema) SELECT $1, $2, $3, $4, $5 "
        "WHERE NOT EXISTS (SELECT FROM event_types g WHERE g.workspace_id = '' AND g.event_type = $2 "
        "AND g.archived_at IS NULL) ON CONFLICT (workspace_id, dialect, event_type) DO UPDATE SET "
        "description = EXCLUDED.description, example = EXCLUDED.example, schema = EXCLUDED.schema, archived_at = NULL "
        "WHERE event_types.archived_at IS NOT NULL RETURNING " ENTRY};
    enum status status = write_entry(connection, &CREATE, workspace_id, entry, NULL, ret_rows, error);
    if (status == STATUS_OK && result_rows(*ret_rows) == 0)
        status = error_set(error, STATUS_CONFLICT, "the event type is there");
    return status;
}

static enum status erase_tests(struct connection *connection, struct span workspace_id, struct span event_type,
                               struct error *error) {
    static const struct statement ERASE = {"SELECT event_tests_erase(workspace_id, sample_event) FROM event_types "
                                           "WHERE " OWN " AND event_type = $2 AND sample IS NOT NULL "
                                           "AND sample_event IS NOT NULL"};
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_text(&params, event_type);
    enum status status = connection_run(connection, &ERASE, &params, NULL, error);
    params_deinit(&params);
    return status;
}

enum status catalogue_update(struct connection *connection, struct span workspace_id,
                             const struct catalogue_entry *entry, struct result **ret_rows, struct error *error) {
    static const struct statement UPDATE = {
        "UPDATE event_types SET description = $3, example = $4, schema = $5, "
        "sample = CASE WHEN $6 THEN sample END, sample_event = CASE WHEN $6 THEN sample_event END "
        "WHERE " OWN " AND event_type = $2 RETURNING " ENTRY};
    bool keeps_sample = entry->sample.data != NULL;
    enum status status = keeps_sample ? STATUS_OK : erase_tests(connection, workspace_id, entry->event_type, error);
    if (status == STATUS_OK)
        status = write_entry(connection, &UPDATE, workspace_id, entry, &keeps_sample, ret_rows, error);
    if (status == STATUS_OK && result_rows(*ret_rows) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "there is no such event type");
    return status;
}

enum status catalogue_archive(struct connection *connection, struct span workspace_id, struct span event_type,
                              struct error *error) {
    static const struct statement ARCHIVE = {"UPDATE event_types SET archived_at = now() WHERE " OWN
                                             " AND event_type = $2"};
    struct params params;
    struct result *result = NULL;
    params_init(&params);
    params_text(&params, workspace_id);
    params_text(&params, event_type);
    enum status status = connection_run(connection, &ARCHIVE, &params, &result, error);
    params_deinit(&params);
    if (status == STATUS_OK && result_affected(result) == 0)
        status = error_set(error, STATUS_NOT_FOUND, "there is no such event type");
    result_free(&result);
    return status;
}

enum status catalogue_schemas(struct connection *connection, struct span workspace_id, const struct span *types,
                              size_t count, struct result **ret_rows, struct error *error) {
    static const struct statement SCHEMAS = {"SELECT event_type, schema::text FROM event_types WHERE " OWN
                                             " AND event_type = ANY ($2::text[]) AND schema IS NOT NULL"};
    struct param_array array;
    array_init(&array, PARAM_TEXT, 1024 * 1024);
    for (size_t i = 0; i < count; i++)
        array_text(&array, types[i]);
    struct params params;
    params_init(&params);
    params_text(&params, workspace_id);
    params_array(&params, &array);
    enum status status = connection_run(connection, &SCHEMAS, &params, ret_rows, error);
    params_deinit(&params);
    array_deinit(&array);
    return status;
}

enum status catalogue_sighted(struct connection *connection, const struct catalogue_sighting *sightings, size_t count,
                              struct error *error) {
    static const struct statement SIGHTED = {
        "INSERT INTO event_types AS t (workspace_id, event_type, sample, sample_event, first_seen_at, last_seen_at) "
        "SELECT DISTINCT ON (g.workspace_id, g.event_type) g.workspace_id, g.event_type, "
        "CASE WHEN g.sample IS NULL OR EXISTS (SELECT FROM event_types o WHERE o.workspace_id = g.workspace_id "
        "AND o.event_type = g.event_type AND o.first_seen_at IS NOT NULL) THEN NULL "
        "WHEN (SELECT true FROM events e WHERE e.workspace_id = g.workspace_id AND e.event_key = g.event_key "
        "AND e.body = '' LIMIT 1) THEN NULL ELSE g.sample END, g.event_key, clock_timestamp(), clock_timestamp() "
        "FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) g (workspace_id, event_type, sample, event_key) "
        "WHERE g.event_type NOT LIKE 'hookcast.%' "
        "AND EXISTS (SELECT FROM workspaces w WHERE w.id = g.workspace_id AND w.erased_at IS NULL) "
        "AND NOT EXISTS (SELECT FROM event_types c WHERE c.workspace_id = '' AND c.event_type = g.event_type) "
        "AND (EXISTS (SELECT FROM event_types o WHERE o.workspace_id = g.workspace_id AND o.event_type = g.event_type) "
        "OR (SELECT count(*) FROM event_types o WHERE o.workspace_id = g.workspace_id) < $5) ORDER BY 1, 2 "
        "ON CONFLICT (workspace_id, dialect, event_type) DO UPDATE SET last_seen_at = EXCLUDED.last_seen_at, "
        "first_seen_at = coalesce(t.first_seen_at, EXCLUDED.first_seen_at), "
        "sample = CASE WHEN t.first_seen_at IS NULL THEN EXCLUDED.sample ELSE t.sample END, "
        "sample_event = CASE WHEN t.first_seen_at IS NULL THEN EXCLUDED.sample_event ELSE t.sample_event END"};
    struct param_array workspaces, types, samples, keys;
    array_init(&workspaces, PARAM_TEXT, 1024 * 1024);
    array_init(&types, PARAM_TEXT, 1024 * 1024);
    array_init(&samples, PARAM_TEXT, 32 * 1024 * 1024);
    array_init(&keys, PARAM_UUID, 64 * 1024);
    for (size_t i = 0; i < count; i++) {
        array_text(&workspaces, sightings[i].workspace_id);
        array_text(&types, sightings[i].event_type);
        array_text(&samples, sightings[i].sample);
        array_uuid(&keys, &sightings[i].event_key);
    }
    struct params params;
    params_init(&params);
    params_array(&params, &workspaces);
    params_array(&params, &types);
    params_array(&params, &samples);
    params_array(&params, &keys);
    params_int8(&params, CATALOGUE_MAX_SEEN);
    /* An event that is being erased is so before or after this. */
    enum status status = connection_exec(connection,
                                         "BEGIN; SET LOCAL enable_seqscan = off; "
                                         "SELECT pg_advisory_xact_lock_shared(" RESEND_LOCK ")",
                                         error);
    if (status == STATUS_OK)
        status = connection_run(connection, &SIGHTED, &params, NULL, error);
    status = schedule_end_transaction(connection, status, error);
    params_deinit(&params);
    array_deinit(&keys);
    array_deinit(&samples);
    array_deinit(&types);
    array_deinit(&workspaces);
    return status;
}

enum status catalogue_forget_samples(struct connection *connection, int64_t retention_ms, struct error *error) {
    static const struct statement FORGET = {
        "UPDATE event_types SET sample = NULL, sample_event = NULL WHERE sample IS NOT NULL "
        "AND first_seen_at < clock_timestamp() - $1::int8 * interval '1 millisecond'"};
    struct params params;
    params_init(&params);
    params_int8(&params, retention_ms);
    enum status status = connection_run(connection, &FORGET, &params, NULL, error);
    params_deinit(&params);
    return status;
}
