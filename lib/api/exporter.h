/* Makes the files of exports (store/exports.h), in a thread and over a connection of its own, and takes away those that
 * have expired. Every process that answers the API has one; each takes a turn at one export after the other, and
 * whoever comes next goes on where the last piece was written. While nothing waits it asks the database once a second.
 */
#ifndef API_EXPORTER_H
#define API_EXPORTER_H

#include "core/settings.h"

struct exporter;

/* settings are borrowed. */
struct exporter *exporter_new(const struct settings *settings);
void exporter_free(struct exporter **exporter); /* after exporter_stop, or never started */
void exporter_start(struct exporter *exporter);

/* Any thread: there is something to do. */
void exporter_wake(struct exporter *exporter);

/* It ends after the piece that it is at; another process goes on. */
void exporter_quiesce(struct exporter *exporter);
/* Waits for that for drain_ms, and cuts it off then. The thread has ended when it returns. */
void exporter_stop(struct exporter *exporter, int64_t drain_ms);

#endif
