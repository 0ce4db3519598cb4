/* What a lane remembers of an endpoint's answers until it has told the jobs thread. Pure, in virtual time. */
#ifndef DISPATCH_HEALTH_NOTE_H
#define DISPATCH_HEALTH_NOTE_H

#include "dispatch/jobs.h"

/* Monotonic; 0: never. */
struct health_note {
    int64_t success_ms, failure_ms; /* the last ones */
    int64_t failing_since_ms;       /* the first failure after the last success; 0: it succeeded last */
    int64_t told_ms;
    bool new_success, new_failure; /* which were not told yet */
    bool turned;                   /* among what was not told: that it began to fail, or to succeed */
};

/* An attempt ended at now_ms, which never goes back. Attempts that were not made don't count. */
void health_note_attempt(struct health_note *note, bool failed, int64_t now_ms);

/* The subscription became active again: what failed before doesn't count. */
void health_note_revived(struct health_note *note);

/* How often news are told: HEALTH_EVERY_MS, or a twentieth of the time after which an endpoint is disabled. */
int64_t health_note_every_ms(int64_t disable_after_ms);

/* Whether it is time to tell: at once when it turned (an endpoint that turns all the time: every
 * HEALTH_TURNS_EVERY_MS), otherwise every_ms after the last time. */
#define HEALTH_TURNS_EVERY_MS 5000
bool health_note_is_due(const struct health_note *note, int64_t every_ms, int64_t now_ms);

static inline bool health_note_has_news(const struct health_note *note) {
    return note->new_success || note->new_failure;
}

/* The news as a message; they are told then. */
struct message *health_note_tell(struct health_note *note, struct subscription *subscription, int64_t now_ms);

#endif
