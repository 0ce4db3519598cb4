/* The catalogue of event types: those that every workspace knows, by the document that they come from (its dialect),
 * and each workspace's own. */
#ifndef STORE_CATALOGUE_H
#define STORE_CATALOGUE_H

#include "db/connection.h"

#define CATALOGUE_DEFAULT_DIALECT "seanotify"

/* The dialect's types in the order of its document, then the workspace's own of that dialect; none that is archived.
 * workspace_id SPAN_NONE: without own ones. */
struct catalogue_row {
    struct span event_type, description;
    bool own;
};
MUST_USE enum status catalogue_list(struct connection *connection, struct span workspace_id, struct span dialect,
                                    struct result **ret_rows, struct error *error);
void catalogue_row_read(const struct result *rows, int row, struct catalogue_row *ret_row);

MUST_USE enum status catalogue_dialect_known(struct connection *connection, struct span dialect, bool *ret_known,
                                             struct error *error);

/* Those of the types that neither the catalogue, in whatever dialect, nor the workspace knows: one text a row. */
MUST_USE enum status catalogue_unknown(struct connection *connection, struct span workspace_id,
                                       const struct span *types, size_t count, struct result **ret_rows,
                                       struct error *error);

/* Every name that is known there, SeaNotify's first, at most `limit`: one text a row. */
MUST_USE enum status catalogue_names(struct connection *connection, struct span workspace_id, int limit,
                                     struct result **ret_rows, struct error *error);

/* One type as the workspace knows it: its own before the catalogue's, SeaNotify's before other dialects'; none that is
 * archived. dialect SPAN_NONE: whichever. STATUS_NOT_FOUND: there is none. The spans lie in *ret_rows. */
struct catalogue_entry {
    struct span dialect, event_type, description;
    struct span example, schema; /* JSON; SPAN_NONE: none, here and below */
    struct span sample;          /* the payload of the first event of it that was seen, as it was written */
    struct uuid sample_event;    /* that event's key; nil: none */
    bool own;
    int64_t created_at_ms, archived_at_ms, first_seen_at_ms, last_seen_at_ms; /* 0: null */
};
MUST_USE enum status catalogue_find(struct connection *connection, struct span workspace_id, struct span event_type,
                                    struct span dialect, struct result **ret_rows, struct catalogue_entry *ret_entry,
                                    struct error *error);
void catalogue_entry_read(const struct result *rows, int row, struct catalogue_entry *ret_entry);

/* What every workspace knows, of all dialects, SeaNotify's first: name, description, example (JSON or null). */
MUST_USE enum status catalogue_examples(struct connection *connection, struct result **ret_rows, struct error *error);

/* ---- A workspace's own types. ---- */

/* All that are not archived, by name. */
MUST_USE enum status catalogue_list_own(struct connection *connection, struct span workspace_id,
                                        struct result **ret_rows, struct error *error);

/* One of them; in a transaction nobody else changes it until that ends. STATUS_NOT_FOUND: there is none, or it is
 * archived. */
MUST_USE enum status catalogue_lock_own(struct connection *connection, struct span workspace_id, struct span event_type,
                                        struct result **ret_rows, struct catalogue_entry *ret_entry,
                                        struct error *error);

/* Each gives the row as it then is. Made or brought back from the archive; STATUS_CONFLICT: it is there, or every
 * workspace has it. */
MUST_USE enum status catalogue_create(struct connection *connection, struct span workspace_id,
                                      const struct catalogue_entry *entry, struct result **ret_rows,
                                      struct error *error);
/* Description, example and schema; the sample stays unless it is SPAN_NONE, when the bodies of tests that were made of
 * it go too, and what was answered to them. After catalogue_lock_own, in its transaction. */
MUST_USE enum status catalogue_update(struct connection *connection, struct span workspace_id,
                                      const struct catalogue_entry *entry, struct result **ret_rows,
                                      struct error *error);
MUST_USE enum status catalogue_archive(struct connection *connection, struct span workspace_id, struct span event_type,
                                       struct error *error);

/* The schemas among the types: (event_type, schema) a row, for those that have one. */
MUST_USE enum status catalogue_schemas(struct connection *connection, struct span workspace_id,
                                       const struct span *types, size_t count, struct result **ret_rows,
                                       struct error *error);

/* ---- Types that come over Kafka. ---- */

/* A workspace's own have at most so many names that nobody has made. */
#define CATALOGUE_MAX_SEEN 2000

struct catalogue_sighting {
    struct span workspace_id, event_type;
    struct span sample; /* SPAN_NONE: none */
    struct uuid event_key;
};

/* At most 1,000, of workspaces that are there: those that neither hookcast's catalogue nor the workspace has are made,
 * with their samples, unless the event has been erased; of the workspace's own that they were seen now is noted. A
 * transaction of its own. STATUS_CONFLICT: an event is being erased; nothing was written. */
MUST_USE enum status catalogue_sighted(struct connection *connection, const struct catalogue_sighting *sightings,
                                       size_t count, struct error *error);

/* Samples that are older than retention_ms go. */
MUST_USE enum status catalogue_forget_samples(struct connection *connection, int64_t retention_ms, struct error *error);

#endif
