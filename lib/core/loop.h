/* A thread with an event loop (libuv): file descriptors, timers, and queues from other threads.
 *
 * Everything is called in the loop's own thread, except loop_new, loop_start, loop_stop, loop_join and what queue.h
 * says. What was made on a loop is freed on it, or after loop_join. */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H

#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

typedef void loop_fn(void *ctx);

struct loop;

/* name: at most 15 characters, shown by ps and perf. */
struct loop *loop_new(const char *name);
/* After loop_join, and after everything that was made on it was freed (signals and round functions go with it). */
void loop_free(struct loop **loop);

/* Runs in a thread of its own until loop_stop; or in the calling thread. */
void loop_start(struct loop *loop);
void loop_run(struct loop *loop);  /* the thread keeps its own name; may be run again after it was stopped */
void loop_stop(struct loop *loop); /* any thread, also from a signal watch; it ends after the current round */
void loop_join(struct loop *loop);

int64_t loop_now_ms(const struct loop *loop); /* monotonic, as of this round */

/* Runs fn at the end of every round, after its I/O, timers and queues: the place to hand on in batches. Several run in
 * the order of these calls. They run once before the loop first waits, and once more when it stops. */
void loop_each_round(struct loop *loop, loop_fn *fn, void *ctx);

/* One-shot timer; starting it again replaces the time, which counts from loop_now_ms. Without a delay (0 or less) it
 * runs in the next round, after whatever I/O is ready. It may be freed in its own function. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *loop, loop_fn *fn, void *ctx);
void loop_timer_free(struct loop_timer **timer);
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_active(const struct loop_timer *timer);

/* A file descriptor, level-triggered; it becomes non-blocking, and only one watch may have it. Setting the same events
 * again costs nothing. LOOP_ERROR comes alone and turns the watch off (its events are 0): what is wrong shows when the
 * descriptor is read or written. */
enum { LOOP_READABLE = 1, LOOP_WRITABLE = 2, LOOP_ERROR = 4 };
typedef void loop_watch_fn(void *ctx, int events);
struct loop_watch;
struct loop_watch *loop_watch_new(struct loop *loop, int fd, loop_watch_fn *fn, void *ctx);
void loop_watch_free(struct loop_watch **watch);           /* before the descriptor is closed */
void loop_watch_set(struct loop_watch *watch, int events); /* 0: none */
int loop_watch_events(const struct loop_watch *watch);

/* Calls fn in the loop when the process receives the signal. */
void loop_on_signal(struct loop *loop, int signal_number, loop_fn *fn, void *ctx);

#endif
