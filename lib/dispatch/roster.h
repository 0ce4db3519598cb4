/* The subscription table that the threads share: matching under a read-write lock. Intake and the scheduler read, the
 * watcher writes. */
#ifndef DISPATCH_ROSTER_H
#define DISPATCH_ROSTER_H

#include "webhook/matching.h"

struct roster;
struct roster *roster_new(void);
void roster_free(struct roster **roster);

/* False until the first complete load (rule W2). */
bool roster_is_loaded(struct roster *roster);

/* The table, to be read until roster_end. Keep it short: a batch of records. Deliveries are pushed to their lanes
 * before roster_end, so that a lane hears of a new version after the last delivery of the old one. */
const struct matching *roster_begin(struct roster *roster);
void roster_end(struct roster *roster);

/* A reference, or NULL. */
struct subscription *roster_find(struct roster *roster, const struct uuid *id);

/* Watcher: a whole new table; or changed versions (references are taken), all at once. */
void roster_replace_take(struct roster *roster, struct matching *matching);
void roster_change_take(struct roster *roster, struct subscription **versions, size_t count);

#endif
