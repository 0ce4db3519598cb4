/* Sends single webhooks for those who ask over the API: a client (net/client.h) on a loop and thread of its own, with
 * the addresses judged as for every webhook. A worker hands it a probe and waits for the answer, at most as long as the
 * probe's timeout says.
 *
 *   worker ── probe ──▶ prober (loop) ── client ──▶ receiver
 *      ▲                    │
 *      └── what it said ────┘ */
#ifndef API_PROBER_H
#define API_PROBER_H

#include "core/queue.h"
#include "core/settings.h"
#include "net/client.h"

struct prober;

/* What one workspace may have under way here, so that a receiver which hangs keeps no other workspace waiting. */
#define PROBER_WORKSPACE_MAX 2

struct probe {
    /* The prober's. */
    struct queue_node node; /* first */
    struct prober *prober;
    struct exchange *exchange;
    struct probe *next;
    bool answered;

    /* Asked. Borrowed until prober_send returns. */
    struct client_request request;
    struct span workspace_id;

    /* Answered. */
    enum client_result result;
    int status_code;    /* 0: none */
    struct buffer body; /* what was kept of the answer's */
    int64_t duration_ms;
    char detail[256]; /* for people */
};

void probe_init(struct probe *probe);
void probe_deinit(struct probe *probe);

/* settings are borrowed. STATUS_INVALID: HOOKCAST_ALLOW_NETS or HOOKCAST_CA_FILE is wrong. */
MUST_USE enum status prober_new(const struct settings *settings, struct prober **ret_prober, struct error *error);
void prober_free(struct prober **prober); /* after prober_stop, or never started */
void prober_start(struct prober *prober);
/* What is under way is cut off in drain_ms, nothing new is let in after that. */
void prober_quiesce(struct prober *prober, int64_t drain_ms);
/* Nobody waits any more; the thread has ended. */
void prober_stop(struct prober *prober);

/* Any thread but the loop's. A probe enters, is sent at most once, and leaves. */

/* STATUS_CONFLICT: the workspace has too much under way. STATUS_UNAVAILABLE: the program stops. Needs workspace_id. */
MUST_USE enum status prober_enter(struct prober *prober, struct probe *probe, struct error *error);
/* Waits; then the probe says what came of it. */
void prober_send(struct prober *prober, struct probe *probe);
void prober_leave(struct prober *prober, struct probe *probe);

#endif
