/* The thread that keeps the roster current: one whole load, then what changed, by transaction id, so that a change that
 * commits late is not missed (rule W1). NOTIFY only wakes it. */
#ifndef DISPATCH_WATCHER_H
#define DISPATCH_WATCHER_H

#include "core/settings.h"
#include "dispatch/delivery.h"
#include "dispatch/roster.h"

struct watcher;
struct lane;

struct watcher_settings {
    const struct settings *settings;
    struct roster *roster;
    struct lane **lanes;
    int lane_count;
};

struct watcher *watcher_new(const struct watcher_settings *settings);
void watcher_start(struct watcher *watcher);
void watcher_stop(struct watcher *watcher);
void watcher_free(struct watcher **watcher);

/* Any thread: load everything again (the database was restored or failed over). */
void watcher_reload(struct watcher *watcher);

#endif
