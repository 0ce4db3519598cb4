/* Erasing an event: what it said goes, that it was there and what became of it stays.
 *
 * Its row keeps id, type, times and place, with an empty body, no record key and "{}" as headers; who would send it
 * again finds no payload. Its log rows lose what receivers answered, those of batches that hold it too. What waits for
 * it in the schedule or for a batch goes, with a log row `cancelled` each; a batch that waits loses its record, and
 * goes when it has no other. What a lane has in hand at this moment is sent; what is answered to that goes some minutes
 * later (event_erase_finish). A sample of an event type that it is goes, with the bodies of tests that were made of it
 * and what was answered to them, also when no subscription wanted it and it has no row. */
#ifndef STORE_EVENT_ERASE_H
#define STORE_EVENT_ERASE_H

#include "db/connection.h"

/* A transaction of its own. Again is fine. STATUS_NOT_FOUND: no such event in this workspace, or nothing is left of one
 * that no subscription wanted. STATUS_CONFLICT: somebody held what it needs for too long. */
MUST_USE enum status event_erase(struct connection *connection, struct span workspace_id, const struct uuid *event_key,
                                 struct error *error);

/* Answers to attempts that were under way go, of at most so many erasures that are 5 minutes old. */
MUST_USE enum status event_erase_finish(struct connection *connection, int most, struct error *error);

#endif
