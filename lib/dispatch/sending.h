/* One webhook under way: its body and headers while libcurl needs them, and what became of it. The lane's. */
#ifndef DISPATCH_SENDING_H
#define DISPATCH_SENDING_H

#include "core/settings.h"
#include "dispatch/target.h"

#define SENDING_MAX_HEADERS (TARGET_MAX_OWN_HEADERS + 10)
#define SENDING_MAX_BODY_BYTES (8 * 1024 * 1024)

struct lane;

struct sending {
    struct lane *lane;
    struct target *target;
    struct delivery *delivery;
    struct buffer body, lines;
    struct client_header headers[SENDING_MAX_HEADERS];
    size_t header_count;
    TAILQ_ENTRY(sending) link; /* in the lane's list of active or of spare ones */
};

struct sending *sending_new(struct lane *lane);
void sending_free(struct sending **sending);

/* Renders and signs. STATUS_INVALID: the body is too large. STATUS_CONFLICT: that of a batch is larger than the
 * subscription wants, and its halves are to be sent instead. */
MUST_USE enum status sending_make(struct sending *sending, struct target *target, struct delivery *delivery,
                                  int64_t wall_ms, struct error *error);

/* Writes into the delivery what the answer means: outcome, decision, what the log will show. random: for the jitter. */
void sending_judge(struct delivery *delivery, const struct client_response *response, const struct settings *settings,
                   uint32_t random);

#endif
