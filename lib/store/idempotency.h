/* Requests that may come twice: what was answered to a key of the client's own, kept for a day, so that the second
 * request is answered as the first one was and does nothing. A key belongs to its workspace.
 *
 *   (nothing) ── begin ──▶ under way ── finish ──▶ answered ── a day ──▶ (nothing)
 *       ▲                     │  │
 *       └────── forget ───────┘  └── the lease runs out: the next begin takes it over */
#ifndef STORE_IDEMPOTENCY_H
#define STORE_IDEMPOTENCY_H

#include "base/crypto.h"
#include "db/connection.h"

#define IDEMPOTENCY_KEY_MAX 255

struct idempotency {
    struct span workspace_id;
    struct span key;                 /* 1 to IDEMPOTENCY_KEY_MAX of visible ASCII */
    uint8_t body_hash[SHA256_BYTES]; /* of the request's body */
    struct uuid owner;               /* of this request alone */
};

enum idempotency_state {
    IDEMPOTENCY_MINE,       /* this request is the first: it has to end with finish or forget */
    IDEMPOTENCY_UNDER_WAY,  /* another one is on it */
    IDEMPOTENCY_ANSWERED,   /* the answer is known */
    IDEMPOTENCY_OTHER_BODY, /* the key came with another body before */
};

/* Outside a transaction. ret_answer: what was answered, in one row (idempotency_answer); set for IDEMPOTENCY_ANSWERED
 * alone. Also forgets a few keys of anybody's that are older than a day. */
MUST_USE enum status idempotency_begin(struct connection *connection, const struct idempotency *request,
                                       int64_t lease_ms, enum idempotency_state *ret_state, struct result **ret_answer,
                                       struct error *error);
struct span idempotency_answer(const struct result *answer, int *ret_status);

/* Keeps the answer. STATUS_CONFLICT: the lease had run out, and somebody else has taken the key over. */
MUST_USE enum status idempotency_finish(struct connection *connection, const struct idempotency *request, int status,
                                        struct span answer, struct error *error);
/* As if it had never come. */
MUST_USE enum status idempotency_forget(struct connection *connection, const struct idempotency *request,
                                        struct error *error);

#endif
