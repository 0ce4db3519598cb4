/* A webhook made by hand: what a receiver gets for an event of a type with a given payload, as dispatch would send it:
 * body, id, headers, signature. Pure. Any thread. */
#ifndef API_TEST_WEBHOOK_H
#define API_TEST_WEBHOOK_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/id.h"
#include "net/client.h"

#define TEST_WEBHOOK_MAX_HEADERS 48
#define TEST_WEBHOOK_MAX_SECRETS 5 /* and private keys */

/* What it is made from; borrowed. */
struct test_webhook_spec {
    struct span workspace_id, workspace_name; /* workspace_name SPAN_NONE: none */
    struct span event_type;
    struct span payload; /* JSON; SPAN_NONE: null */
    struct span topic_prefix;
    int64_t now_ms;
    struct span format, template; /* template SPAN_NONE: the built-in format of that name */
    struct span style;            /* standard, hex, both, none */
    struct span signature_header; /* SPAN_NONE: x-hookcast-signature */
    struct span created_by, updated_by;
    bool batched;                                  /* an array of one */
    struct span secrets[TEST_WEBHOOK_MAX_SECRETS]; /* newest first */
    size_t secret_count;
    struct span keys[TEST_WEBHOOK_MAX_SECRETS]; /* private keys of asymmetric signatures, newest first */
    size_t key_count;
    const struct span *own_headers; /* "name: value" */
    size_t own_header_count;
};

struct test_webhook {
    struct uuid key;
    struct span id; /* webhook-id, which is the event's id */
    struct span body;
    struct client_header headers[TEST_WEBHOOK_MAX_HEADERS];
    size_t header_count;
    size_t made_count; /* of them, from the first on, that are not the spec's own_headers */
};

/* Everything lies in the arena. STATUS_INVALID: it can't be made so; the error says why. */
MUST_USE enum status test_webhook_make(const struct test_webhook_spec *spec, struct arena *arena,
                                       struct test_webhook *ret_webhook, struct error *error);

#endif
