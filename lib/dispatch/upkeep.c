#include "dispatch/upkeep.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "db/connection.h"
#include "store/batches.h"
#include "store/partitions.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVERY_MS (15 * 60 * 1000)
#define AGAIN_MS (20 * 1000)
#define PATIENCE_MS (60 * 60 * 1000) /* PostgreSQL may be away, or somebody read a day, for so long without a word */
#define TIMEOUT_MS (60 * 60 * 1000LL)

struct upkeep {
    const struct settings *settings;
    struct connection *connection;
    pthread_t thread;
    int wake_fd;
    _Atomic bool stopping;
    int64_t failing_since_ms; /* monotonic; 0: it works */
    bool told;                /* said so in the log */
};

struct upkeep *upkeep_new(const struct settings *settings) {
    struct upkeep *upkeep = mem_calloc(1, sizeof(*upkeep));
    upkeep->settings = settings;
    upkeep->connection = connection_new(settings->database_url, "hookcast upkeep");
    upkeep->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(upkeep->wake_fd >= 0);
    return upkeep;
}

static enum status keep_up(struct upkeep *upkeep, struct error *error) {
    connection_set_timeout(upkeep->connection, TIMEOUT_MS);
    enum status status = connection_open(upkeep->connection, 5000, error);
    if (status == STATUS_OK)
        status = batches_fill_forgotten(upkeep->connection, error);
    if (status == STATUS_OK)
        status = partitions_maintain(upkeep->connection, upkeep->settings->retention_ms,
                                     upkeep->settings->payload_retention_ms, error);
    bool dropped;
    if (status == STATUS_OK && upkeep->settings->database_max_size_bytes > 0)
        status = partitions_limit_size(upkeep->connection, upkeep->settings->database_max_size_bytes, &dropped, error);
    connection_close(upkeep->connection);
    return status;
}

/* Old days that stay fill the disk, so that is said; once, and once when it is over. */
static void note(struct upkeep *upkeep, enum status status, const struct error *error) {
    int64_t now_ms = clock_mono_ms();
    if (status == STATUS_OK) {
        if (upkeep->told)
            log_info("upkeep", "the days are looked after again");
        upkeep->failing_since_ms = 0;
        upkeep->told = false;
        return;
    }
    if (!upkeep->failing_since_ms)
        upkeep->failing_since_ms = now_ms;
    bool passing = status == STATUS_UNAVAILABLE || status == STATUS_CONFLICT;
    if (upkeep->told || (passing && now_ms - upkeep->failing_since_ms < PATIENCE_MS)) {
        log_debug("upkeep", "the days were not looked after; trying again", LOG_TEXT("error", error->text));
        return;
    }
    log_warn("upkeep", "the days can't be looked after: none goes, and the disk fills; trying again",
             LOG_TEXT("error", error->text));
    upkeep->told = true;
}

static void *run(void *ctx) {
    struct upkeep *upkeep = ctx;
    (void)pthread_setname_np(pthread_self(), "upkeep");
    while (!atomic_load(&upkeep->stopping)) {
        struct error error = {""};
        enum status status = keep_up(upkeep, &error);
        if (!atomic_load(&upkeep->stopping))
            note(upkeep, status, &error);
        struct pollfd wake = {.fd = upkeep->wake_fd, .events = POLLIN};
        (void)poll(&wake, 1, status == STATUS_OK ? EVERY_MS : AGAIN_MS);
    }
    return NULL;
}

void upkeep_start(struct upkeep *upkeep) {
    CHECK(pthread_create(&upkeep->thread, NULL, run, upkeep) == 0);
}

void upkeep_stop(struct upkeep *upkeep) {
    uint64_t one = 1;
    atomic_store(&upkeep->stopping, true);
    if (write(upkeep->wake_fd, &one, sizeof(one)) < 0) {
        /* The counter is full: it is awake already. */
    }
    connection_interrupt(upkeep->connection);
    CHECK(pthread_join(upkeep->thread, NULL) == 0);
}

void upkeep_free(struct upkeep **upkeep_ptr) {
    struct upkeep *upkeep = *upkeep_ptr;
    *upkeep_ptr = NULL;
    if (!upkeep)
        return;
    connection_free(&upkeep->connection);
    close(upkeep->wake_fd);
    mem_free(upkeep);
}
