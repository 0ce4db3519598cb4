/* All subscriptions of the installation, and which of them take an event: by (workspace, pattern) in hash tables, so
 * that a look-up costs the same with ten subscriptions and with a million.
 *
 * Not locked: many may read while nobody writes. The watcher builds a whole one before it is published, and later
 * changes it under its owner's write lock (dispatch/roster.h). */
#ifndef WEBHOOK_MATCHING_H
#define WEBHOOK_MATCHING_H

#include "webhook/subscription.h"

struct matching;
struct matching *matching_new(size_t expected);
void matching_free(struct matching **matching);

/* Takes the reference. Replaces an older version of the same id; an older version than the one there is dropped. A
 * deleted one removes the id. */
void matching_put_take(struct matching *matching, struct subscription *subscription);

/* Borrowed; NULL: unknown. */
struct subscription *matching_find(const struct matching *matching, const struct uuid *id);

/* Calls fn for each subscription of the workspace that takes the type, active or not, each once. Returns how many. */
typedef void matching_fn(void *ctx, struct subscription *subscription);
size_t matching_each(const struct matching *matching, struct span workspace_id, struct span event_type, matching_fn *fn,
                     void *ctx);

/* Every subscription there is. */
void matching_all(const struct matching *matching, matching_fn *fn, void *ctx);

size_t matching_count(const struct matching *matching);
size_t matching_footprint_bytes(const struct matching *matching);

#endif
