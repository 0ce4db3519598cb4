#include "dispatch/cutoff.h"

#include "base/memory.h"
#include <pthread.h>
#include <time.h>

struct cutoff {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct connection *connection;
    struct timespec deadline;
    bool over;
};

static void *watch(void *ctx) {
    struct cutoff *cutoff = ctx;
    pthread_setname_np(pthread_self(), "cutoff");
    int code = 0;
    pthread_mutex_lock(&cutoff->mutex);
    while (!cutoff->over && code == 0)
        code = pthread_cond_timedwait(&cutoff->changed, &cutoff->mutex, &cutoff->deadline);
    if (!cutoff->over)
        connection_interrupt(cutoff->connection);
    pthread_mutex_unlock(&cutoff->mutex);
    return NULL;
}

struct cutoff *cutoff_start(struct connection *connection, int64_t deadline_ms) {
    struct cutoff *cutoff = mem_calloc(1, sizeof(*cutoff));
    cutoff->connection = connection;
    cutoff->deadline = (struct timespec){.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    pthread_condattr_t monotonic;
    CHECK(pthread_condattr_init(&monotonic) == 0 && pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_mutex_init(&cutoff->mutex, NULL) == 0 && pthread_cond_init(&cutoff->changed, &monotonic) == 0);
    pthread_condattr_destroy(&monotonic);
    CHECK(pthread_create(&cutoff->thread, NULL, watch, cutoff) == 0);
    return cutoff;
}

void cutoff_end(struct cutoff **cutoff_ptr) {
    struct cutoff *cutoff = *cutoff_ptr;
    *cutoff_ptr = NULL;
    if (!cutoff)
        return;
    pthread_mutex_lock(&cutoff->mutex);
    cutoff->over = true;
    pthread_cond_signal(&cutoff->changed);
    pthread_mutex_unlock(&cutoff->mutex);
    pthread_join(cutoff->thread, NULL);
    pthread_cond_destroy(&cutoff->changed);
    pthread_mutex_destroy(&cutoff->mutex);
    mem_free(cutoff);
}
