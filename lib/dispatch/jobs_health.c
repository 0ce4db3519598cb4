#include "base/memory.h"
#include "dispatch/jobs_private.h"

void jobs_health_drop(struct jobs *jobs) {
    for (struct queue_node *node = jobs->health.first, *next; node; node = next) {
        next = node->next;
        struct health_message *message = (struct health_message *)MESSAGE_OF(node);
        subscription_unref(&message->subscription);
        mem_free(message);
    }
    jobs->health = (struct queue_batch){NULL, NULL};
    jobs->health_count = 0;
}

enum status jobs_health(struct jobs *jobs, bool *ret_more, struct error *error) {
    (void)ret_more, (void)error;
    jobs_health_drop(jobs);
    return STATUS_OK;
}
