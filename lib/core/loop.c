/* One libuv loop. What libuv leaves open is settled here:
 *
 * - The end of a round is libuv's prepare phase: it comes after the I/O and the wake-ups of the round, and after the
 * timers that fell due meanwhile, in every version of libuv, and right before the loop may block. When the loop stops,
 * libuv leaves before that phase; so the round's functions run once more.
 * - A timer without delay does not go into libuv's timer heap, where one that starts itself again would keep the timer
 * phase from ever ending. It waits in a list that the idle phase empties once a round, so I/O always gets its turn.
 * - A handle's memory belongs to libuv until its close callback. Hence the objects are freed there, and loop_free turns
 * the loop until all callbacks have run.
 */
#include "core/loop.h"

#include "base/memory.h"
#include "core/loop_private.h"
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>
#include <uv.h>

struct round_fn {
    loop_fn *fn;
    void *ctx;
};

struct signal_watch {
    uv_signal_t handle;
    loop_fn *fn;
    void *ctx;
    struct signal_watch *next;
};

struct loop_timer {
    uv_timer_t handle;
    struct loop *loop;
    loop_fn *fn;
    void *ctx;
    bool immediate;      /* in the loop's list of timers without delay */
    uint64_t started_at; /* the turn of that list in which it was put there */
    TAILQ_ENTRY(loop_timer) entry;
};
TAILQ_HEAD(timer_list, loop_timer);

struct loop_watch {
    uv_poll_t handle;
    loop_watch_fn *fn;
    void *ctx;
    int events;
};

struct loop_wake {
    uv_async_t handle;
    loop_fn *fn;
    void *ctx;
};

struct loop {
    uv_loop_t uv;
    uv_async_t stop;
    uv_prepare_t prepare;
    uv_idle_t idle;
    struct timer_list immediate;
    uint64_t immediate_turn;
    struct round_fn *round;
    size_t round_count;
    struct signal_watch *signals;
    pthread_t thread;
    bool started;
    char name[16];
};

/* libuv says no only where this program made a mistake (a closed descriptor, a handle used twice). */
static void must(int result) {
    CHECK(result == 0);
}

static void on_stop(uv_async_t *handle) {
    uv_stop(handle->loop);
}

static void run_round(struct loop *loop) {
    for (size_t i = 0; i < loop->round_count; i++)
        loop->round[i].fn(loop->round[i].ctx);
}

static void on_prepare(uv_prepare_t *handle) {
    run_round(handle->data);
}

static void immediate_remove(struct loop_timer *timer) {
    if (!timer->immediate)
        return;
    TAILQ_REMOVE(&timer->loop->immediate, timer, entry);
    timer->immediate = false;
    if (TAILQ_EMPTY(&timer->loop->immediate))
        must(uv_idle_stop(&timer->loop->idle));
}

/* Timers that start again while this runs are at the list's end, with this turn's number: they wait for the next. */
static void on_idle(uv_idle_t *handle) {
    struct loop *loop = handle->data;
    uint64_t turn = loop->immediate_turn++;
    struct loop_timer *timer;
    while ((timer = TAILQ_FIRST(&loop->immediate)) && timer->started_at <= turn) {
        immediate_remove(timer);
        timer->fn(timer->ctx);
    }
}

struct loop *loop_new(const char *name) {
    struct loop *loop = mem_calloc(1, sizeof(*loop));
    CHECK(strlen(name) < sizeof(loop->name));
    memcpy(loop->name, name, strlen(name) + 1);
    TAILQ_INIT(&loop->immediate);
    must(uv_loop_init(&loop->uv));
    must(uv_async_init(&loop->uv, &loop->stop, on_stop));
    must(uv_prepare_init(&loop->uv, &loop->prepare));
    loop->prepare.data = loop;
    must(uv_prepare_start(&loop->prepare, on_prepare));
    must(uv_idle_init(&loop->uv, &loop->idle));
    loop->idle.data = loop;
    return loop;
}

static void on_signal_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

void loop_free(struct loop **loop_pointer) {
    struct loop *loop = *loop_pointer;
    if (!loop)
        return;
    CHECK(!loop->started);
    *loop_pointer = NULL;
    uv_close((uv_handle_t *)&loop->stop, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    for (struct signal_watch *watch = loop->signals, *next; watch; watch = next) {
        next = watch->next;
        uv_close((uv_handle_t *)&watch->handle, on_signal_closed);
    }
    /* Runs the close callbacks, also those of what was freed after the loop had ended. */
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    /* Fails when a timer, a watch or a queue was left on the loop. */
    must(uv_loop_close(&loop->uv));
    mem_free(loop->round);
    mem_free(loop);
}

void loop_run(struct loop *loop) {
    uv_update_time(&loop->uv);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    run_round(loop);
}

static void *thread_main(void *ctx) {
    struct loop *loop = ctx;
    pthread_setname_np(pthread_self(), loop->name);
    loop_run(loop);
    return NULL;
}

void loop_start(struct loop *loop) {
    CHECK(!loop->started);
    loop->started = true;
    must(pthread_create(&loop->thread, NULL, thread_main, loop));
}

void loop_stop(struct loop *loop) {
    must(uv_async_send(&loop->stop));
}

void loop_join(struct loop *loop) {
    if (!loop->started)
        return;
    must(pthread_join(loop->thread, NULL));
    loop->started = false;
}

int64_t loop_now_ms(const struct loop *loop) {
    return (int64_t)uv_now(&loop->uv);
}

void loop_each_round(struct loop *loop, loop_fn *fn, void *ctx) {
    loop->round = mem_realloc(loop->round, (loop->round_count + 1) * sizeof(*loop->round));
    loop->round[loop->round_count++] = (struct round_fn){fn, ctx};
}

static void on_timer(uv_timer_t *handle) {
    struct loop_timer *timer = handle->data;
    timer->fn(timer->ctx);
}

static void on_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn *fn, void *ctx) {
    struct loop_timer *timer = mem_calloc(1, sizeof(*timer));
    timer->loop = loop;
    timer->fn = fn;
    timer->ctx = ctx;
    must(uv_timer_init(&loop->uv, &timer->handle));
    timer->handle.data = timer;
    return timer;
}

void loop_timer_free(struct loop_timer **timer) {
    if (!*timer)
        return;
    immediate_remove(*timer);
    uv_close((uv_handle_t *)&(*timer)->handle, on_closed);
    *timer = NULL;
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms) {
    struct loop *loop = timer->loop;
    if (delay_ms > 0) {
        immediate_remove(timer);
        must(uv_timer_start(&timer->handle, on_timer, (uint64_t)delay_ms, 0));
        return;
    }
    if (timer->immediate)
        return;
    must(uv_timer_stop(&timer->handle));
    if (TAILQ_EMPTY(&loop->immediate))
        must(uv_idle_start(&loop->idle, on_idle));
    timer->immediate = true;
    timer->started_at = loop->immediate_turn;
    TAILQ_INSERT_TAIL(&loop->immediate, timer, entry);
}

void loop_timer_stop(struct loop_timer *timer) {
    immediate_remove(timer);
    must(uv_timer_stop(&timer->handle));
}

bool loop_timer_active(const struct loop_timer *timer) {
    return timer->immediate || uv_is_active((const uv_handle_t *)&timer->handle);
}

static void on_poll(uv_poll_t *handle, int status, int events) {
    struct loop_watch *watch = handle->data;
    if (status < 0) {
        /* libuv has stopped the handle. */
        watch->events = 0;
        watch->fn(watch->ctx, LOOP_ERROR);
        return;
    }
    watch->fn(watch->ctx, (events & UV_READABLE ? LOOP_READABLE : 0) | (events & UV_WRITABLE ? LOOP_WRITABLE : 0));
}

struct loop_watch *loop_watch_new(struct loop *loop, int fd, loop_watch_fn *fn, void *ctx) {
    struct loop_watch *watch = mem_calloc(1, sizeof(*watch));
    watch->fn = fn;
    watch->ctx = ctx;
    must(uv_poll_init(&loop->uv, &watch->handle, fd));
    watch->handle.data = watch;
    return watch;
}

void loop_watch_free(struct loop_watch **watch) {
    if (!*watch)
        return;
    uv_close((uv_handle_t *)&(*watch)->handle, on_closed);
    *watch = NULL;
}

/* libuv would take the descriptor out of epoll and put it in again even when nothing changes. */
void loop_watch_set(struct loop_watch *watch, int events) {
    if (events == watch->events)
        return;
    CHECK((events & ~(LOOP_READABLE | LOOP_WRITABLE)) == 0);
    watch->events = events;
    if (events == 0)
        must(uv_poll_stop(&watch->handle));
    else
        must(uv_poll_start(&watch->handle,
                           (events & LOOP_READABLE ? UV_READABLE : 0) | (events & LOOP_WRITABLE ? UV_WRITABLE : 0),
                           on_poll));
}

int loop_watch_events(const struct loop_watch *watch) {
    return watch->events;
}

static void on_signal(uv_signal_t *handle, int signal_number) {
    (void)signal_number;
    struct signal_watch *watch = handle->data;
    watch->fn(watch->ctx);
}

void loop_on_signal(struct loop *loop, int signal_number, loop_fn *fn, void *ctx) {
    struct signal_watch *watch = mem_calloc(1, sizeof(*watch));
    watch->fn = fn;
    watch->ctx = ctx;
    must(uv_signal_init(&loop->uv, &watch->handle));
    watch->handle.data = watch;
    must(uv_signal_start(&watch->handle, on_signal, signal_number));
    watch->next = loop->signals;
    loop->signals = watch;
}

static void on_wake(uv_async_t *handle) {
    struct loop_wake *wake = handle->data;
    wake->fn(wake->ctx);
}

struct loop_wake *loop_wake_new(struct loop *loop, loop_fn *fn, void *ctx) {
    struct loop_wake *wake = mem_calloc(1, sizeof(*wake));
    wake->fn = fn;
    wake->ctx = ctx;
    must(uv_async_init(&loop->uv, &wake->handle, on_wake));
    wake->handle.data = wake;
    return wake;
}

void loop_wake_free(struct loop_wake **wake) {
    if (!*wake)
        return;
    uv_close((uv_handle_t *)&(*wake)->handle, on_closed);
    *wake = NULL;
}

void loop_wake_send(struct loop_wake *wake) {
    must(uv_async_send(&wake->handle));
}
