/* Messages from any thread to one loop. Pushing takes a lock for a few nanoseconds and wakes the loop only when the
 * queue was empty; the loop takes everything at once. A message belongs to the queue from push until it is handed over.
 * How much can be in a queue is bounded by those who push: every message here stands for something that was
 * counted against a limit when it was taken in (see dispatch/delivery.h). */
#ifndef CORE_QUEUE_H
#define CORE_QUEUE_H

#include "core/loop.h"
#include <stddef.h>

struct queue_node {
    struct queue_node *next;
};

/* Called in the loop with the whole chain, oldest first, NULL-terminated; its nodes are the callee's now. */
typedef void queue_fn(void *ctx, struct queue_node *first);

struct queue;
struct queue *queue_new(struct loop *loop, queue_fn *fn, void *ctx);
void queue_free(struct queue **queue); /* must be empty, or its messages leak */

void queue_push(struct queue *queue, struct queue_node *node);
/* A chain of `first` to `last`, as queue_batch gathers it. */
void queue_push_chain(struct queue *queue, struct queue_node *first, struct queue_node *last);

/* Takes what is there without waiting for the loop's round; for a thread that blocks elsewhere. NULL: nothing. */
struct queue_node *queue_take(struct queue *queue);

/* A chain in the making, to be pushed at the end of a round. */
struct queue_batch {
    struct queue_node *first, *last;
};
static inline void queue_batch_add(struct queue_batch *batch, struct queue_node *node) {
    node->next = NULL;
    if (batch->last)
        batch->last->next = node;
    else
        batch->first = node;
    batch->last = node;
}
void queue_batch_push(struct queue *queue, struct queue_batch *batch); /* fine when empty; leaves it empty */

#endif
