#include "dispatch/health_note.h"
#include "base/memory.h"

void health_note_attempt(struct health_note *note, bool failed, int64_t now_ms) {
    if (!failed) {
        note->new_success = true;
        note->turned |= note->failing_since_ms != 0;
        note->success_ms = now_ms;
        note->failing_since_ms = 0;
        return;
    }
    /* A failure right after a success comes later than it, also by a clock of milliseconds. */
    if (now_ms <= note->success_ms)
        now_ms = note->success_ms + 1;
    note->new_failure = true;
    note->failure_ms = now_ms;
    if (note->failing_since_ms)
        return;
    note->failing_since_ms = now_ms;
    note->turned = true;
}

void health_note_revived(struct health_note *note) {
    note->failure_ms = note->failing_since_ms = 0;
    note->new_failure = note->turned = false;
}

int64_t health_note_every_ms(int64_t disable_after_ms) {
    return disable_after_ms / 20 < HEALTH_EVERY_MS ? disable_after_ms / 20 : HEALTH_EVERY_MS;
}

bool health_note_is_due(const struct health_note *note, int64_t every_ms, int64_t now_ms) {
    int64_t turns_ms = every_ms < HEALTH_TURNS_EVERY_MS ? every_ms : HEALTH_TURNS_EVERY_MS;
    int64_t since_ms = now_ms - note->told_ms;
    return health_note_has_news(note) &&
           (note->told_ms == 0 || since_ms >= every_ms || (note->turned && since_ms >= turns_ms));
}

struct message *health_note_tell(struct health_note *note, struct subscription *subscription, int64_t now_ms) {
    struct health_message *message = mem_calloc(1, sizeof(*message));
    message->message.type = MESSAGE_HEALTH;
    message->subscription = subscription_ref(subscription);
    message->success_ms = note->new_success ? note->success_ms : 0;
    message->failure_ms = note->new_failure ? note->failure_ms : 0;
    message->failing_since_ms = note->failing_since_ms;
    note->told_ms = now_ms;
    note->new_success = note->new_failure = note->turned = false;
    return &message->message;
}
