/* The wake-up of a loop from other threads, for queue.c alone: everybody else sends messages through a queue. */
#ifndef CORE_LOOP_PRIVATE_H
#define CORE_LOOP_PRIVATE_H

#include "core/loop.h"

struct loop_wake;

/* New and free: in the loop's own thread, before it starts, or after loop_join. */
struct loop_wake *loop_wake_new(struct loop *loop, loop_fn *fn, void *ctx);
void loop_wake_free(struct loop_wake **wake);

/* Any thread. Calls fn in the loop, at least once after the last of several calls. */
void loop_wake_send(struct loop_wake *wake);

#endif
