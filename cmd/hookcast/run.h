/* What every command needs that runs until it is told to stop. */
#ifndef HOOKCAST_RUN_H
#define HOOKCAST_RUN_H

#include "core/loop.h"

/* Raises the limit of open files to what the system allows. */
void run_raise_limits(void);

/* The first SIGINT or SIGTERM calls fn in the loop, once; the next ends the process at once with status 1. The loop's
 * own thread, or before it runs; once a process. */
void run_on_stop(struct loop *loop, loop_fn *fn, void *ctx);

#endif
