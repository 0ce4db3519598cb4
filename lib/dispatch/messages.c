/* The messages between intake and the recorder, made and freed. */
#include "base/memory.h"
#include "dispatch/recorder.h"

void adopt_message_free(struct adopt_message **message_ptr) {
    struct adopt_message *message = *message_ptr;
    *message_ptr = NULL;
    if (!message)
        return;
    for (size_t i = 0; i < message->count; i++) {
        mem_free(message->items[i].topic);
        partition_unref(&message->items[i].partition);
    }
    mem_free(message);
}

void revoke_message_free(struct revoke_message **message_ptr) {
    struct revoke_message *message = *message_ptr;
    *message_ptr = NULL;
    if (!message)
        return;
    for (size_t i = 0; i < message->count; i++)
        partition_unref(&message->partitions[i]);
    mem_free(message);
}

void reread_message_free(struct reread_message **message_ptr) {
    struct reread_message *message = *message_ptr;
    *message_ptr = NULL;
    if (!message)
        return;
    for (size_t i = 0; i < message->count; i++)
        event_unref(&message->items[i].event);
    mem_free(message);
}
