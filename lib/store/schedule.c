/* What a flush does to the schedule: a statement of each kind, whatever the number of rows, in the order in which
 * everybody locks (rule P9): holds, closers, new rows, moves, ends. Keys are sorted here, by their bytes, and go to the
 * server in that order; the joins below are nested loops over them, so that the rows are locked in it too. */
#include "store/schedule.h"
#include "base/memory.h"
#include "store/schedule_private.h"
#include "webhook/batch.h"
#include <stdlib.h>

/* Rows of one statement with their bodies: a fan-out of a large event writes its body once a row. */
#define INSERT_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define INSERT_MAX_ROWS 8192
#define ARRAY_MAX_BYTES ((size_t)256 * 1024 * 1024)

enum move_kind { MOVE_RETRY, MOVE_HOLD, MOVE_FINISH, MOVE_SPLIT };

struct move {
    struct schedule_key key; /* first */
    enum move_kind kind;
    int32_t fence;
    int attempt;
    int64_t due_in_ms;
    size_t split;              /* MOVE_SPLIT: which one, */
    int32_t body_bytes;        /* and how long the row's body is */
    const struct event *batch; /* whose row has no body; NULL: it has one */
};

struct split {
    struct schedule_new halves[2];
    bool done; /* the row was there, with its fence */
};

struct schedule_changes {
    struct schedule_new *rows;
    size_t row_count, row_capacity;
    struct schedule_members *members;
    size_t member_count, member_capacity;
    struct move *moves; /* of all kinds */
    size_t move_count, move_capacity;
    struct split *splits;
    size_t split_count, split_capacity;
};

/* ---- keys ---- */

int schedule_key_compare(const struct schedule_key *a, const struct schedule_key *b) {
    int order = span_compare(a->workspace_id, b->workspace_id);
    if (order == 0)
        order = uuid_compare(&a->subscription_id, &b->subscription_id);
    return order ? order : uuid_compare(&a->row_key, &b->row_key);
}

/* Whatever begins with its key. */
static int by_key(const void *a, const void *b) {
    return schedule_key_compare(a, b);
}

void schedule_keys_sort(struct schedule_key *keys, size_t count) {
    qsort(keys, count, sizeof(*keys), by_key);
}

void key_arrays_init(struct key_arrays *arrays, size_t count) {
    array_init(&arrays->workspaces, PARAM_TEXT, (count + 1) * (SUBSCRIPTION_MAX_WORKSPACE_BYTES + 4));
    array_init(&arrays->subscriptions, PARAM_UUID, (count + 1) * 20);
    array_init(&arrays->rows, PARAM_UUID, (count + 1) * 20);
}

void key_arrays_deinit(struct key_arrays *arrays) {
    array_deinit(&arrays->workspaces);
    array_deinit(&arrays->subscriptions);
    array_deinit(&arrays->rows);
}

void key_arrays_reset(struct key_arrays *arrays) {
    array_reset(&arrays->workspaces);
    array_reset(&arrays->subscriptions);
    array_reset(&arrays->rows);
}

void key_arrays_add(struct key_arrays *arrays, const struct schedule_key *key) {
    array_text(&arrays->workspaces, key->workspace_id);
    array_uuid(&arrays->subscriptions, &key->subscription_id);
    array_uuid(&arrays->rows, &key->row_key);
}

void key_arrays_add_endpoints(struct key_arrays *arrays, const struct schedule_key *keys, size_t count) {
    struct schedule_key *sorted = mem_calloc(count + 1, sizeof(*sorted));
    for (size_t i = 0; i < count; i++) {
        sorted[i] = keys[i];
        sorted[i].row_key = UUID_NIL;
    }
    schedule_keys_sort(sorted, count);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || schedule_key_compare(&sorted[i - 1], &sorted[i]) != 0)
            key_arrays_add(arrays, &sorted[i]);
    mem_free(sorted);
}

void key_arrays_params(struct key_arrays *arrays, bool with_rows, struct params *params) {
    params_array(params, &arrays->workspaces);
    params_array(params, &arrays->subscriptions);
    if (with_rows)
        params_array(params, &arrays->rows);
}

/* ---- gathering ---- */

struct schedule_changes *schedule_changes_new(void) {
    return mem_calloc(1, sizeof(struct schedule_changes));
}

void schedule_changes_free(struct schedule_changes **changes) {
    struct schedule_changes *gone = *changes;
    *changes = NULL;
    if (!gone)
        return;
    mem_free(gone->rows);
    mem_free(gone->members);
    mem_free(gone->moves);
    mem_free(gone->splits);
    mem_free(gone);
}

void schedule_changes_reset(struct schedule_changes *changes) {
    changes->row_count = changes->member_count = changes->move_count = changes->split_count = 0;
}

bool schedule_changes_is_empty(const struct schedule_changes *changes) {
    return changes->row_count == 0 && changes->member_count == 0 && changes->move_count == 0;
}

/* Room for one more. */
static void *grown(void *list, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity)
        return list;
    *capacity = *capacity ? 2 * *capacity : 64;
    return mem_realloc(list, *capacity * size);
}

void schedule_changes_new_row(struct schedule_changes *changes, const struct schedule_new *row) {
    CHECK(!row->held || row->lease_ms == 0);
    CHECK(!row->bare || (row->event->members && row->lease_ms > 0));
    changes->rows = grown(changes->rows, changes->row_count, &changes->row_capacity, sizeof(*row));
    changes->rows[changes->row_count++] = *row;
}

void schedule_changes_members(struct schedule_changes *changes, const struct schedule_members *members) {
    CHECK(uuid_is_nil(&members->endpoint.row_key) && members->count > 0);
    changes->members = grown(changes->members, changes->member_count, &changes->member_capacity, sizeof(*members));
    changes->members[changes->member_count++] = *members;
}

void schedule_changes_first_seq(struct schedule_changes *changes, int64_t first_seq) {
    for (size_t i = 0; i < changes->member_count; i++)
        changes->members[i].first_seq = first_seq;
}

static void add_move(struct schedule_changes *changes, const struct move *move) {
    changes->moves = grown(changes->moves, changes->move_count, &changes->move_capacity, sizeof(*move));
    changes->moves[changes->move_count++] = *move;
}

void schedule_changes_retry(struct schedule_changes *changes, const struct schedule_key *key, int32_t fence,
                            int attempt, int64_t due_in_ms) {
    add_move(changes, &(struct move){*key, MOVE_RETRY, fence, attempt, due_in_ms, 0, 0, NULL});
}

void schedule_changes_hold(struct schedule_changes *changes, const struct schedule_key *key, int32_t fence) {
    add_move(changes, &(struct move){*key, MOVE_HOLD, fence, 0, 0, 0, 0, NULL});
}

void schedule_changes_finish(struct schedule_changes *changes, const struct schedule_key *key, int32_t fence) {
    add_move(changes, &(struct move){*key, MOVE_FINISH, fence, 0, 0, 0, 0, NULL});
}

void schedule_changes_body(struct schedule_changes *changes, const struct event *batch) {
    CHECK(changes->move_count > 0);
    changes->moves[changes->move_count - 1].batch = batch;
}

size_t schedule_changes_split(struct schedule_changes *changes, const struct schedule_key *key, int32_t fence,
                              size_t body_bytes, const struct schedule_new halves[2]) {
    size_t number = changes->split_count++;
    changes->splits = grown(changes->splits, number, &changes->split_capacity, sizeof(struct split));
    changes->splits[number] = (struct split){{halves[0], halves[1]}, false};
    add_move(changes, &(struct move){*key, MOVE_SPLIT, fence, 0, 0, number, (int32_t)body_bytes, NULL});
    return number;
}

bool schedule_changes_was_split(const struct schedule_changes *changes, size_t number) {
    CHECK(number < changes->split_count);
    return changes->splits[number].done;
}

/* ---- writing ---- */

static enum status write_holds(struct connection *connection, const struct schedule_changes *changes,
                               struct error *error) {
    static const struct statement HOLD = {
        "INSERT INTO holds (workspace_id, subscription_id) SELECT w, s FROM unnest($1::text[], $2::uuid[]) k(w, s) "
        "ON CONFLICT (workspace_id, subscription_id) DO UPDATE SET since = holds.since"};
    struct schedule_key *keys = mem_calloc(changes->row_count + changes->move_count + 1, sizeof(*keys));
    size_t count = 0;
    for (size_t i = 0; i < changes->row_count; i++)
        if (changes->rows[i].held)
            keys[count++] = changes->rows[i].key;
    for (size_t i = 0; i < changes->move_count; i++)
        if (changes->moves[i].kind == MOVE_HOLD)
            keys[count++] = changes->moves[i].key;
    enum status status = STATUS_OK;
    if (count) {
        struct key_arrays arrays;
        struct params params;
        key_arrays_init(&arrays, count);
        params_init(&params);
        key_arrays_add_endpoints(&arrays, keys, count);
        key_arrays_params(&arrays, false, &params);
        status = connection_run(connection, &HOLD, &params, NULL, error);
        params_deinit(&params);
        key_arrays_deinit(&arrays);
    }
    mem_free(keys);
    return status;
}

/* A closer keeps with how many members (attempt) and bytes (part) its batch is full, since what is inserted has no
 * other way to tell the row that it meets; and where its members begin (record_offset), so that nobody who looks for
 * them has to pass by those that are gone. */
static enum status upsert_closers(struct connection *connection, struct params *params, struct error *error) {
    static const struct statement CLOSER = {
        "INSERT INTO schedule AS s (workspace_id, subscription_id, row_key, kind, event_key, bucket, attempt, part, "
        "record_offset, activation, members, member_bytes, due_at, topic, record_time, headers, body) "
        "SELECT w, s, '00000000-0000-0000-0000-000000000000', 2, '00000000-0000-0000-0000-000000000000', bucket, "
        "max_events, max_bytes, first_seq, activation, members, bytes, "
        "CASE WHEN members >= max_events OR bytes >= max_bytes "
        "THEN least(due_at, clock_timestamp()) ELSE due_at END, '', clock_timestamp(), '{}', '' "
        "FROM unnest($1::text[], $2::uuid[], $3::int2[], $4::int8[], $5::int4[], $6::int8[], $7::int2[], $8::int4[], "
        "$9::timestamptz[], $10::int8[]) "
        "n(w, s, bucket, activation, members, bytes, max_events, max_bytes, due_at, first_seq) "
        "ON CONFLICT (workspace_id, subscription_id, row_key) DO UPDATE SET members = s.members + excluded.members, "
        "member_bytes = s.member_bytes + excluded.member_bytes, attempt = excluded.attempt, part = excluded.part, "
        "record_offset = least(s.record_offset, excluded.record_offset), "
        "activation = least(s.activation, excluded.activation), "
        "due_at = CASE WHEN s.members + excluded.members >= excluded.attempt "
        "OR s.member_bytes + excluded.member_bytes >= excluded.part "
        "THEN least(s.due_at, excluded.due_at, clock_timestamp()) ELSE least(s.due_at, excluded.due_at) END"};
    return connection_run(connection, &CLOSER, params, NULL, error);
}

static enum status write_closers(struct connection *connection, struct schedule_changes *changes, struct error *error) {
    static const enum param_type TYPES[] = {PARAM_INT2, PARAM_INT8, PARAM_INT4,      PARAM_INT8,
                                            PARAM_INT2, PARAM_INT4, PARAM_TIMESTAMP, PARAM_INT8};
    enum { COLUMNS = sizeof(TYPES) / sizeof(TYPES[0]) };
    struct param_array columns[COLUMNS];
    struct key_arrays keys;
    struct params params;
    if (changes->member_count == 0)
        return STATUS_OK;
    qsort(changes->members, changes->member_count, sizeof(struct schedule_members), by_key);
    key_arrays_init(&keys, changes->member_count);
    params_init(&params);
    for (size_t i = 0; i < COLUMNS; i++)
        array_init(&columns[i], TYPES[i], ARRAY_MAX_BYTES);
    for (size_t i = 0; i < changes->member_count; i++) {
        const struct schedule_members *members = &changes->members[i];
        const struct schedule_key *key = &members->endpoint;
        key_arrays_add(&keys, key);
        array_int2(&columns[0], (int16_t)subscription_bucket(key->workspace_id, &key->subscription_id));
        array_int8(&columns[1], members->activation);
        array_int4(&columns[2], members->count);
        array_int8(&columns[3], members->bytes);
        array_int2(&columns[4], (int16_t)(members->max_events < INT16_MAX ? members->max_events : INT16_MAX));
        array_int4(&columns[5], (int32_t)(members->max_bytes < INT32_MAX ? members->max_bytes : INT32_MAX));
        array_timestamp(&columns[6], members->due_at_ms);
        array_int8(&columns[7], members->first_seq);
    }
    key_arrays_params(&keys, false, &params);
    for (size_t i = 0; i < COLUMNS; i++)
        params_array(&params, &columns[i]);
    enum status status = upsert_closers(connection, &params, error);
    params_deinit(&params);
    for (size_t i = 0; i < COLUMNS; i++)
        array_deinit(&columns[i]);
    key_arrays_deinit(&keys);
    return status;
}

/* The columns of new rows, in the order of the statement's parameters. */
struct new_arrays {
    struct key_arrays keys;
    struct param_array kinds, replays, event_keys, buckets, attempts, activations, due_ins, due_ats, helds, leases,
        topics, parts, offsets, times, record_keys, headers, bodies;
};

static const struct {
    size_t at;
    enum param_type type;
} NEW_COLUMNS[] = {
    {offsetof(struct new_arrays, kinds), PARAM_INT2},        {offsetof(struct new_arrays, replays), PARAM_BOOL},
    {offsetof(struct new_arrays, event_keys), PARAM_UUID},   {offsetof(struct new_arrays, buckets), PARAM_INT2},
    {offsetof(struct new_arrays, attempts), PARAM_INT2},     {offsetof(struct new_arrays, activations), PARAM_INT8},
    {offsetof(struct new_arrays, due_ins), PARAM_INT8},      {offsetof(struct new_arrays, due_ats), PARAM_TIMESTAMP},
    {offsetof(struct new_arrays, helds), PARAM_BOOL},        {offsetof(struct new_arrays, leases), PARAM_INT8},
    {offsetof(struct new_arrays, topics), PARAM_TEXT},       {offsetof(struct new_arrays, parts), PARAM_INT4},
    {offsetof(struct new_arrays, offsets), PARAM_INT8},      {offsetof(struct new_arrays, times), PARAM_TIMESTAMP},
    {offsetof(struct new_arrays, record_keys), PARAM_BYTEA}, {offsetof(struct new_arrays, headers), PARAM_TEXT},
    {offsetof(struct new_arrays, bodies), PARAM_BYTEA},
};

#define NEW_COLUMN_COUNT (sizeof(NEW_COLUMNS) / sizeof(NEW_COLUMNS[0]))

static struct param_array *new_column(struct new_arrays *arrays, size_t i) {
    return (struct param_array *)((char *)arrays + NEW_COLUMNS[i].at);
}

/* A batch's body; `scratch` holds it until the next. */
static struct span body_of(const struct event *batch, struct buffer *scratch) {
    buffer_reset(scratch);
    batch_add_body(batch, scratch);
    return buffer_view(scratch);
}

static void add_new(struct new_arrays *arrays, const struct schedule_new *row, struct buffer *scratch) {
    const struct event *event = row->event;
    key_arrays_add(&arrays->keys, &row->key);
    array_int2(&arrays->kinds, event->members ? SCHEDULE_BATCH : SCHEDULE_EVENT);
    array_bool(&arrays->replays, row->replay);
    array_uuid(&arrays->event_keys, &event->key);
    array_int2(&arrays->buckets, (int16_t)subscription_bucket(row->key.workspace_id, &row->key.subscription_id));
    array_int2(&arrays->attempts, (int16_t)row->attempt);
    array_int8(&arrays->activations, row->activation);
    array_int8(&arrays->due_ins, row->held ? 0 : row->due_in_ms);
    if (row->due_at_ms && !row->held)
        array_timestamp(&arrays->due_ats, row->due_at_ms);
    else
        array_null(&arrays->due_ats);
    array_bool(&arrays->helds, row->held);
    array_int8(&arrays->leases, row->lease_ms);
    array_text(&arrays->topics, event->topic);
    array_int4(&arrays->parts, event->partition);
    array_int8(&arrays->offsets, event->offset);
    array_timestamp(&arrays->times, event->timestamp_ms);
    array_text(&arrays->record_keys, event->record_key);
    array_text(&arrays->headers, event->headers);
    array_text(&arrays->bodies, row->bare ? SPAN_LITERAL("") : event->members ? body_of(event, scratch) : event->value);
}

static enum status insert_rows(struct connection *connection, struct new_arrays *arrays, struct error *error) {
    static const struct statement INSERT = {
        "INSERT INTO schedule (workspace_id, subscription_id, row_key, kind, replay, event_key, bucket, attempt, "
        "activation, fence, "
        "held, due_at, lease_until, topic, part, record_offset, record_time, record_key, headers, body) "
        "SELECT w, s, k, kind, replay, e, bucket, attempt, activation, CASE WHEN lease > 0 THEN 1 ELSE 0 END, held, "
        "greatest(due_at, clock_timestamp() + due_in * interval '1 ms'), "
        "CASE WHEN lease > 0 THEN clock_timestamp() + lease * interval '1 ms' END, "
        "topic, part, record_offset, record_time, record_key, headers, body "
        "FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::int2[], $5::bool[], $6::uuid[], $7::int2[], $8::int2[], "
        "$9::int8[], $10::int8[], $11::timestamptz[], $12::bool[], $13::int8[], $14::text[], $15::int4[], $16::int8[], "
        "$17::timestamptz[], $18::bytea[], $19::text[], $20::bytea[]) n(w, s, k, kind, replay, e, bucket, attempt, "
        "activation, due_in, due_at, held, "
        "lease, topic, part, record_offset, record_time, record_key, headers, body) "
        "ON CONFLICT (workspace_id, subscription_id, row_key) DO NOTHING"};
    struct params params;
    params_init(&params);
    key_arrays_params(&arrays->keys, true, &params);
    for (size_t i = 0; i < NEW_COLUMN_COUNT; i++)
        params_array(&params, new_column(arrays, i));
    enum status status = connection_run(connection, &INSERT, &params, NULL, error);
    params_deinit(&params);
    key_arrays_reset(&arrays->keys);
    for (size_t i = 0; i < NEW_COLUMN_COUNT; i++)
        array_reset(new_column(arrays, i));
    return status;
}

static enum status write_new(struct connection *connection, struct schedule_new *rows, size_t count,
                             struct error *error) {
    if (count == 0)
        return STATUS_OK;
    qsort(rows, count, sizeof(struct schedule_new), by_key);
    struct new_arrays arrays;
    struct buffer scratch;
    buffer_init(&scratch, ARRAY_MAX_BYTES);
    key_arrays_init(&arrays.keys, INSERT_MAX_ROWS);
    for (size_t i = 0; i < NEW_COLUMN_COUNT; i++)
        array_init(new_column(&arrays, i), NEW_COLUMNS[i].type, ARRAY_MAX_BYTES);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        add_new(&arrays, &rows[i], &scratch);
        bool last = i + 1 == count;
        if (last || arrays.bodies.data.len + arrays.headers.data.len >= INSERT_MAX_BYTES ||
            arrays.bodies.count == INSERT_MAX_ROWS)
            status = insert_rows(connection, &arrays, error);
    }
    for (size_t i = 0; i < NEW_COLUMN_COUNT; i++)
        array_deinit(new_column(&arrays, i));
    key_arrays_deinit(&arrays.keys);
    buffer_deinit(&scratch);
    return status;
}

struct move_arrays {
    struct key_arrays keys;
    struct param_array fences, attempts, due_ins, helds, bodies, body_bytes;
};

/* A retry is never held and has a time; what goes back as held keeps its attempt and its time. A body only goes where
 * none is: one that somebody else has written may have lost what was erased. */
static enum status write_moves(struct connection *connection, struct move_arrays *arrays, struct error *error) {
    static const struct statement MOVE = {
        "UPDATE schedule s SET due_at = coalesce(clock_timestamp() + m.due_in * interval '1 ms', s.due_at), "
        "attempt = coalesce(m.attempt, s.attempt), held = m.held, lease_until = NULL, "
        "body = CASE WHEN m.body IS NOT NULL AND octet_length(s.body) = 0 THEN m.body ELSE s.body END "
        "FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::int4[], $5::int2[], $6::int8[], $7::bool[], $8::bytea[]) "
        "m(w, s, k, fence, attempt, due_in, held, body) "
        "WHERE s.workspace_id = m.w AND s.subscription_id = m.s AND s.row_key = m.k AND s.fence = m.fence"};
    struct params params;
    params_init(&params);
    key_arrays_params(&arrays->keys, true, &params);
    params_array(&params, &arrays->fences);
    params_array(&params, &arrays->attempts);
    params_array(&params, &arrays->due_ins);
    params_array(&params, &arrays->helds);
    params_array(&params, &arrays->bodies);
    enum status status = connection_run(connection, &MOVE, &params, NULL, error);
    params_deinit(&params);
    return status;
}

#define FINISH_SQL                                                                                                     \
    "DELETE FROM schedule s USING unnest($1::text[], $2::uuid[], $3::uuid[], $4::int4[], $5::int4[]) WITH "            \
    "ORDINALITY m(w, s, k, fence, body_bytes, n) WHERE s.workspace_id = m.w AND s.subscription_id = m.s "              \
    "AND s.row_key = m.k AND (s.fence = m.fence OR m.fence = -1) "                                                     \
    "AND (m.body_bytes IS NULL OR octet_length(s.body) IN (m.body_bytes, 0))"

/* ret_ended: the numbers, from 1, of those that were there; NULL: nobody asks. */
static enum status write_ends(struct connection *connection, struct move_arrays *arrays, struct result **ret_ended,
                              struct error *error) {
    static const struct statement FINISH = {FINISH_SQL}, FINISH_AND_TELL = {FINISH_SQL " RETURNING m.n"};
    struct params params;
    params_init(&params);
    key_arrays_params(&arrays->keys, true, &params);
    params_array(&params, &arrays->fences);
    params_array(&params, &arrays->body_bytes);
    enum status status = connection_run(connection, ret_ended ? &FINISH_AND_TELL : &FINISH, &params, ret_ended, error);
    params_deinit(&params);
    return status;
}

static void move_arrays_init(struct move_arrays *arrays, size_t count) {
    key_arrays_init(&arrays->keys, count);
    array_init(&arrays->fences, PARAM_INT4, ARRAY_MAX_BYTES);
    array_init(&arrays->attempts, PARAM_INT2, ARRAY_MAX_BYTES);
    array_init(&arrays->due_ins, PARAM_INT8, ARRAY_MAX_BYTES);
    array_init(&arrays->helds, PARAM_BOOL, ARRAY_MAX_BYTES);
    array_init(&arrays->bodies, PARAM_BYTEA, ARRAY_MAX_BYTES);
    array_init(&arrays->body_bytes, PARAM_INT4, ARRAY_MAX_BYTES);
}

static void move_arrays_deinit(struct move_arrays *arrays) {
    array_deinit(&arrays->body_bytes);
    array_deinit(&arrays->bodies);
    array_deinit(&arrays->helds);
    array_deinit(&arrays->due_ins);
    array_deinit(&arrays->attempts);
    array_deinit(&arrays->fences);
    key_arrays_deinit(&arrays->keys);
}

static void move_arrays_reset(struct move_arrays *arrays) {
    key_arrays_reset(&arrays->keys);
    array_reset(&arrays->fences);
    array_reset(&arrays->attempts);
    array_reset(&arrays->due_ins);
    array_reset(&arrays->helds);
    array_reset(&arrays->bodies);
    array_reset(&arrays->body_bytes);
}

static void add_to_arrays(struct move_arrays *arrays, const struct move *move) {
    key_arrays_add(&arrays->keys, &move->key);
    array_int4(&arrays->fences, move->fence);
    array_bool(&arrays->helds, move->kind == MOVE_HOLD);
    if (move->kind == MOVE_SPLIT)
        array_int4(&arrays->body_bytes, move->body_bytes);
    else
        array_null(&arrays->body_bytes);
    if (move->kind == MOVE_RETRY) {
        array_int2(&arrays->attempts, (int16_t)move->attempt);
        array_int8(&arrays->due_ins, move->due_in_ms);
    } else {
        array_null(&arrays->attempts);
        array_null(&arrays->due_ins);
    }
}

static bool is_end(const struct move *move) {
    return move->kind == MOVE_FINISH || move->kind == MOVE_SPLIT;
}

/* ended: row numbers among the moves that are ends, in their order. */
static void note_splits(struct schedule_changes *changes, const struct result *ended) {
    struct move **ends = mem_calloc(changes->move_count + 1, sizeof(struct move *));
    size_t count = 0;
    for (size_t i = 0; i < changes->move_count; i++)
        if (is_end(&changes->moves[i]))
            ends[count++] = &changes->moves[i];
    for (int row = 0; row < result_rows(ended); row++) {
        const struct move *move = ends[result_int(ended, row, 0) - 1];
        if (move->kind == MOVE_SPLIT)
            changes->splits[move->split].done = true;
    }
    mem_free(ends);
}

static enum status end_rows(struct connection *connection, struct schedule_changes *changes, struct move_arrays *arrays,
                            struct error *error) {
    if (changes->split_count == 0)
        return write_ends(connection, arrays, NULL, error);
    struct result *ended = NULL;
    enum status status = write_ends(connection, arrays, &ended, error);
    if (status == STATUS_OK)
        note_splits(changes, ended);
    result_free(&ended);
    return status;
}

/* In pieces where there are bodies: nothing bounds how many batches fail at a time. */
static enum status move_rows(struct connection *connection, const struct schedule_changes *changes,
                             struct move_arrays *arrays, struct error *error) {
    struct buffer scratch;
    enum status status = STATUS_OK;
    buffer_init(&scratch, ARRAY_MAX_BYTES);
    for (size_t i = 0; i < changes->move_count && status == STATUS_OK; i++) {
        const struct move *move = &changes->moves[i];
        if (is_end(move))
            continue;
        add_to_arrays(arrays, move);
        array_text(&arrays->bodies, move->batch ? body_of(move->batch, &scratch) : SPAN_NONE);
        if (arrays->bodies.data.len < INSERT_MAX_BYTES)
            continue;
        status = write_moves(connection, arrays, error);
        move_arrays_reset(arrays);
    }
    buffer_deinit(&scratch);
    return status == STATUS_OK && arrays->fences.count ? write_moves(connection, arrays, error) : status;
}

static enum status write_existing(struct connection *connection, struct schedule_changes *changes,
                                  struct error *error) {
    struct move_arrays arrays;
    move_arrays_init(&arrays, changes->move_count);
    enum status status = move_rows(connection, changes, &arrays, error);
    move_arrays_reset(&arrays);
    for (size_t i = 0; i < changes->move_count; i++)
        if (is_end(&changes->moves[i]))
            add_to_arrays(&arrays, &changes->moves[i]);
    if (status == STATUS_OK && arrays.fences.count)
        status = end_rows(connection, changes, &arrays, error);
    move_arrays_deinit(&arrays);
    return status;
}

static enum status write_halves(struct connection *connection, const struct schedule_changes *changes,
                                struct error *error) {
    struct schedule_new *rows = mem_calloc(2 * changes->split_count + 1, sizeof(*rows));
    size_t count = 0;
    for (size_t i = 0; i < changes->split_count; i++)
        for (size_t half = 0; changes->splits[i].done && half < 2; half++)
            rows[count++] = changes->splits[i].halves[half];
    enum status status = write_new(connection, rows, count, error);
    mem_free(rows);
    return status;
}

enum status schedule_write(struct connection *connection, struct schedule_changes *changes, struct error *error) {
    /* A plan that was made while the table was empty, and kept, would go through all of it for each key; so plans are
     * made at each call. And only a nested loop over the keys locks in their order. */
    static const char PLANS[] = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off; "
                                "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";
    enum status status = write_holds(connection, changes, error);
    if (status == STATUS_OK)
        status = write_closers(connection, changes, error);
    if (status == STATUS_OK)
        status = write_new(connection, changes->rows, changes->row_count, error);
    if (status != STATUS_OK || changes->move_count == 0)
        return status;
    qsort(changes->moves, changes->move_count, sizeof(struct move), by_key);
    status = connection_exec(connection, PLANS, error);
    if (status == STATUS_OK)
        status = write_existing(connection, changes, error);
    return status == STATUS_OK ? write_halves(connection, changes, error) : status;
}
