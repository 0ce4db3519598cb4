/* A change is seen in three ways, each enough by itself: NOTIFY wakes at once, a look every second finds what a lost
 * NOTIFY would have told, and a new connection begins with everything when it was away for longer than deleted rows are
 * kept. When very much has changed at once everything is read, since that is done in pages.
 *
 * What the snapshot of one look did not see, the next one looks for: a transaction that was still open then is among
 * it, so its rows are seen when it commits, however late. What is read twice is recognised by its version.
 *
 * The roster changes first and the lanes are told afterwards; those who match hand their deliveries on before they let
 * go of the roster. So a lane never gets an older version after a newer one. */
#include "dispatch/watcher.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "core/metrics.h"
#include "dispatch/lane.h"
#include "store/roster_rows.h"
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOK_EVERY_MS 1000
#define PAGE_ROWS 10000
#define CHANGES_MAX 20000
#define DEAF_LIMIT_MS (12 * 3600 * 1000LL) /* half of what deleted rows are kept for */

struct watcher {
    struct watcher_settings settings;
    struct connection *connection;
    pthread_t thread;
    int wake_fd;
    _Atomic bool stopping, reload;
    bool away; /* said so in the log */
    bool loaded;
    struct roster_snapshot seen;
    int64_t looked_at_ms; /* monotonic: the last look that worked */
    struct metric *count;
};

struct watcher *watcher_new(const struct watcher_settings *settings) {
    struct watcher *watcher = mem_calloc(1, sizeof(*watcher));
    watcher->settings = *settings;
    watcher->connection = connection_new(settings->settings->database_url, "hookcast watcher");
    watcher->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(watcher->wake_fd >= 0);
    roster_snapshot_init(&watcher->seen);
    watcher->count = metrics_gauge("hookcast_subscriptions", "Subscriptions in memory, active or not.", NULL);
    return watcher;
}

void watcher_free(struct watcher **watcher_ptr) {
    struct watcher *watcher = *watcher_ptr;
    *watcher_ptr = NULL;
    if (!watcher)
        return;
    connection_free(&watcher->connection);
    roster_snapshot_deinit(&watcher->seen);
    close(watcher->wake_fd);
    mem_free(watcher);
}

static void wake(struct watcher *watcher) {
    uint64_t one = 1;
    if (write(watcher->wake_fd, &one, sizeof(one)) < 0) {
        /* The counter is full: it is awake already. */
    }
}

void watcher_reload(struct watcher *watcher) {
    atomic_store(&watcher->reload, true);
    wake(watcher);
}

/* A version of one row, with the gate of the one that is there; NULL when that one is as new, or the row can't be used.
 */
static struct subscription *version_of(struct watcher *watcher, const struct result *rows, int row, bool all) {
    struct roster_row read;
    roster_row_read(rows, row, &read);
    struct subscription *known = roster_find(watcher->settings.roster, &read.spec.id), *version = NULL;
    bool news = all || (known ? known->version < read.spec.version : read.spec.status != SUBSCRIPTION_DELETED);
    struct error error;
    if (news && subscription_new(&read.spec, known ? known->gate : NULL, &version, &error) != STATUS_OK) {
        char id[UUID_TEXT_LEN + 1];
        uuid_format(&read.spec.id, id);
        log_error("watcher", "a subscription can't be used", LOG_TEXT("subscription", id),
                  LOG_TEXT("error", error.text));
    }
    subscription_unref(&known);
    return version;
}

static void tell_lane(struct watcher *watcher, struct subscription *version, bool whatever_version) {
    struct queue_batch batch = {NULL, NULL};
    struct message *message = subscription_message_new(MESSAGE_SUBSCRIPTION, version);
    ((struct subscription_message *)message)->whatever_version = whatever_version;
    queue_batch_add(&batch, &message->node);
    lane_push(watcher->settings.lanes[subscription_lane_hash(&version->id) % (uint32_t)watcher->settings.lane_count],
              &batch);
}

static void tell_lane_of(void *ctx, struct subscription *version) {
    tell_lane(ctx, version, true);
}

static enum status load_pages(struct watcher *watcher, struct matching *matching, struct error *error) {
    char *workspace = NULL;
    struct uuid id = UUID_NIL;
    size_t workspace_len = 0;
    enum status status = STATUS_OK;
    for (bool more = true; more && status == STATUS_OK;) {
        struct result *rows = NULL;
        struct span after = workspace ? (struct span){workspace, workspace_len} : SPAN_NONE;
        status = roster_rows_page(watcher->connection, after, &id, PAGE_ROWS, &rows, error);
        if (status != STATUS_OK)
            break;
        int count = result_rows(rows);
        for (int row = 0; row < count; row++) {
            struct subscription *version = version_of(watcher, rows, row, true);
            if (version)
                matching_put_take(matching, version);
        }
        more = count == PAGE_ROWS;
        if (count > 0) {
            struct span last = result_text(rows, count - 1, 0);
            id = result_uuid(rows, count - 1, 1);
            mem_free(workspace);
            workspace = mem_strndup(last.data, last.len);
            workspace_len = last.len;
        }
        result_free(&rows);
    }
    mem_free(workspace);
    return status;
}

/* The next look begins where this one ended. */
static void take_snapshot(struct watcher *watcher, struct roster_snapshot *snapshot) {
    struct roster_snapshot before = watcher->seen;
    watcher->seen = *snapshot;
    *snapshot = before;
}

static enum status load_all(struct watcher *watcher, struct roster_snapshot *snapshot, struct error *error) {
    int64_t began_ms = clock_mono_ms();
    enum status status = connection_exec(watcher->connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", error);
    if (status == STATUS_OK)
        status = roster_rows_snapshot(watcher->connection, snapshot, error);
    struct matching *matching = matching_new(0);
    if (status == STATUS_OK)
        status = load_pages(watcher, matching, error);
    if (status == STATUS_OK)
        status = connection_exec(watcher->connection, "COMMIT", error);
    if (status != STATUS_OK) {
        matching_free(&matching);
        return status;
    }
    size_t count = matching_count(matching);
    bool again = watcher->loaded;
    roster_replace_take(watcher->settings.roster, matching);
    if (again) {
        const struct matching *now = roster_begin(watcher->settings.roster);
        matching_all(now, tell_lane_of, watcher);
        roster_end(watcher->settings.roster);
    }
    watcher->loaded = true;
    take_snapshot(watcher, snapshot);
    metric_set(watcher->count, (double)count);
    log_info("watcher", "subscriptions loaded", LOG_INT("count", (int64_t)count),
             LOG_INT("ms", clock_mono_ms() - began_ms));
    return STATUS_OK;
}

static void change(struct watcher *watcher, const struct result *rows) {
    int count = rows ? result_rows(rows) : 0;
    struct subscription **versions = mem_calloc((size_t)count + 1, sizeof(struct subscription *));
    size_t changed = 0;
    for (int row = 0; row < count; row++)
        if ((versions[changed] = version_of(watcher, rows, row, false)))
            changed++;
    if (changed) {
        for (size_t i = 0; i < changed; i++)
            subscription_ref(versions[i]);
        roster_change_take(watcher->settings.roster, versions, changed);
        for (size_t i = 0; i < changed; i++) {
            tell_lane(watcher, versions[i], false);
            subscription_unref(&versions[i]);
        }
        const struct matching *matching = roster_begin(watcher->settings.roster);
        metric_set(watcher->count, (double)matching_count(matching));
        roster_end(watcher->settings.roster);
    }
    mem_free(versions);
}

static enum status load_changes(struct watcher *watcher, struct roster_snapshot *snapshot, struct error *error) {
    struct result *rows = NULL;
    enum status status =
        roster_rows_changed(watcher->connection, &watcher->seen, CHANGES_MAX + 1, snapshot, &rows, error);
    bool many = status == STATUS_OK && rows && result_rows(rows) > CHANGES_MAX;
    if (status == STATUS_OK && !many) {
        change(watcher, rows);
        take_snapshot(watcher, snapshot);
    }
    result_free(&rows);
    return many ? load_all(watcher, snapshot, error) : status;
}

static enum status open_connection(struct watcher *watcher, struct error *error) {
    if (connection_is_open(watcher->connection))
        return STATUS_OK;
    enum status status = connection_open(watcher->connection, 5000, error);
    return status == STATUS_OK ? connection_exec(watcher->connection, "LISTEN hookcast_subscriptions", error) : status;
}

static enum status look(struct watcher *watcher, struct error *error) {
    enum status status = open_connection(watcher, error);
    if (status != STATUS_OK)
        return status;
    struct roster_snapshot snapshot;
    roster_snapshot_init(&snapshot);
    bool deaf = clock_mono_ms() - watcher->looked_at_ms > DEAF_LIMIT_MS;
    if (atomic_exchange(&watcher->reload, false) || !watcher->loaded || deaf) {
        status = load_all(watcher, &snapshot, error);
        if (status != STATUS_OK)
            atomic_store(&watcher->reload, true);
    } else {
        status = load_changes(watcher, &snapshot, error);
    }
    roster_snapshot_deinit(&snapshot);
    if (status == STATUS_OK)
        watcher->looked_at_ms = clock_mono_ms();
    return status;
}

/* Waits until something may have changed. While PostgreSQL is away the look is tried again every second. */
static void wait_for_news(struct watcher *watcher) {
    struct error error;
    bool notified;
    if (connection_is_open(watcher->connection)) {
        if (connection_wait_notify(watcher->connection, watcher->wake_fd, LOOK_EVERY_MS, &notified, &error) !=
            STATUS_OK)
            connection_close(watcher->connection);
    } else {
        struct timespec pause = {LOOK_EVERY_MS / 1000, 0};
        (void)nanosleep(&pause, NULL);
    }
    uint64_t woken;
    if (read(watcher->wake_fd, &woken, sizeof(woken)) < 0) {
        /* Nobody woke it. */
    }
}

static void *run(void *ctx) {
    struct watcher *watcher = ctx;
    (void)pthread_setname_np(pthread_self(), "watcher");
    while (!atomic_load(&watcher->stopping)) {
        struct error error = {""};
        enum status status = look(watcher, &error);
        if (status != STATUS_OK) {
            if (!watcher->away && !atomic_load(&watcher->stopping))
                log_warn("watcher", "subscriptions can't be read; trying again", LOG_TEXT("error", error.text));
            connection_close(watcher->connection);
        } else if (watcher->away) {
            log_info("watcher", "subscriptions are read again");
        }
        watcher->away = status != STATUS_OK;
        wait_for_news(watcher);
    }
    return NULL;
}

void watcher_start(struct watcher *watcher) {
    CHECK(pthread_create(&watcher->thread, NULL, run, watcher) == 0);
}

void watcher_stop(struct watcher *watcher) {
    atomic_store(&watcher->stopping, true);
    wake(watcher);
    connection_interrupt(watcher->connection);
    CHECK(pthread_join(watcher->thread, NULL) == 0);
}
