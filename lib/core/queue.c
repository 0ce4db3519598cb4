/* A chain behind a mutex. Only the push that finds the queue empty wakes the loop: whoever comes before the loop has
 * taken the chain is taken with it. queue_take may empty the queue first; then the wake-up finds nothing. */
#include "core/queue.h"

#include "base/memory.h"
#include "core/loop_private.h"
#include <pthread.h>

struct queue {
    pthread_mutex_t lock;
    struct queue_node *first, *last;
    struct loop_wake *wake;
    queue_fn *fn;
    void *ctx;
};

static void on_wake(void *ctx) {
    struct queue *queue = ctx;
    struct queue_node *first = queue_take(queue);
    if (first)
        queue->fn(queue->ctx, first);
}

struct queue *queue_new(struct loop *loop, queue_fn *fn, void *ctx) {
    struct queue *queue = mem_calloc(1, sizeof(*queue));
    CHECK(pthread_mutex_init(&queue->lock, NULL) == 0);
    queue->fn = fn;
    queue->ctx = ctx;
    queue->wake = loop_wake_new(loop, on_wake, queue);
    return queue;
}

void queue_free(struct queue **queue) {
    if (!*queue)
        return;
    loop_wake_free(&(*queue)->wake);
    pthread_mutex_destroy(&(*queue)->lock);
    mem_free(*queue);
    *queue = NULL;
}

void queue_push_chain(struct queue *queue, struct queue_node *first, struct queue_node *last) {
    last->next = NULL;
    pthread_mutex_lock(&queue->lock);
    bool was_empty = !queue->first;
    if (was_empty)
        queue->first = first;
    else
        queue->last->next = first;
    queue->last = last;
    pthread_mutex_unlock(&queue->lock);
    if (was_empty)
        loop_wake_send(queue->wake);
}

void queue_push(struct queue *queue, struct queue_node *node) {
    queue_push_chain(queue, node, node);
}

struct queue_node *queue_take(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    struct queue_node *first = queue->first;
    queue->first = queue->last = NULL;
    pthread_mutex_unlock(&queue->lock);
    return first;
}

void queue_batch_push(struct queue *queue, struct queue_batch *batch) {
    if (batch->first)
        queue_push_chain(queue, batch->first, batch->last);
    *batch = (struct queue_batch){NULL, NULL};
}
