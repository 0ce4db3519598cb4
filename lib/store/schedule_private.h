/* What the files of the schedule share: schedule.c (what a flush writes), schedule_claim.c (what is due), holds.c. */
#ifndef STORE_SCHEDULE_PRIVATE_H
#define STORE_SCHEDULE_PRIVATE_H

#include "store/schedule.h"

/* Keys as three parameters, in the order in which rows are locked (rule P9): workspaces by their bytes, then the uuids.
 * In SQL that order is SCHEDULE_KEY_ORDER. */
#define SCHEDULE_KEY_ORDER "s.workspace_id COLLATE \"C\", s.subscription_id, s.row_key"

int schedule_key_compare(const struct schedule_key *a, const struct schedule_key *b);
void schedule_keys_sort(struct schedule_key *keys, size_t count);

/* COMMIT after STATUS_OK, otherwise ROLLBACK and the status as it was. */
MUST_USE enum status schedule_end_transaction(struct connection *connection, enum status status, struct error *error);

struct key_arrays {
    struct param_array workspaces, subscriptions, rows;
};
void key_arrays_init(struct key_arrays *arrays, size_t count);
void key_arrays_deinit(struct key_arrays *arrays);
void key_arrays_reset(struct key_arrays *arrays);
void key_arrays_add(struct key_arrays *arrays, const struct schedule_key *key);
/* The endpoints of these keys, each once, sorted; added to empty arrays. */
void key_arrays_add_endpoints(struct key_arrays *arrays, const struct schedule_key *keys, size_t count);
/* With the row keys, or without. */
void key_arrays_params(struct key_arrays *arrays, bool with_rows, struct params *params);

/* The columns that schedule_row_read reads, of an UPDATE of `s` that gives a row to its claimer. */
#define SCHEDULE_ROW_COLUMNS                                                                                           \
    "s.workspace_id, s.subscription_id, s.row_key, s.event_key, s.fence, s.attempt, s.activation, s.due_at, "          \
    "(extract(epoch FROM clock_timestamp() - s.due_at) * 1000)::int8, s.topic, s.part, s.record_offset, "              \
    "s.record_time, s.record_key, s.headers, s.body, s.kind, s.replay"
#define SCHEDULE_ROW_COLUMN_COUNT 18

#endif
