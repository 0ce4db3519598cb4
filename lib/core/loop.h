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
void loop_free(struct loop **loop);

/* Runs in a thread of its own until loop_stop; or in the calling thread. */
void loop_start(struct loop *loop);
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop); /* any thread, also from a signal watch; it ends after the current round */
void loop_join(struct loop *loop);

int64_t loop_now_ms(const struct loop *loop); /* monotonic, as of this round */

/* Runs fn once at the end of every round, after its I/O, timers and queues: the place to hand on in batches. */
void loop_each_round(struct loop *loop, loop_fn *fn, void *ctx);

/* One-shot timer; starting it again replaces the time. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *loop, loop_fn *fn, void *ctx);
void loop_timer_free(struct loop_timer **timer);
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_active(const struct loop_timer *timer);

/* A file descriptor, level-triggered. Setting the same events again costs nothing. */
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
