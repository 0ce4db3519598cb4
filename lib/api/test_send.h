/* One webhook sent as a test, and its row in the log. In a worker. */
#ifndef API_TEST_SEND_H
#define API_TEST_SEND_H

#include "api/call.h"
#include "api/prober.h"
#include "api/test_webhook.h"
#include "store/catalogue.h"
#include "store/subscriptions.h"

struct test_send {
    /* Asked; borrowed. */
    const struct catalogue_entry *type;
    const struct subscription_row *row; /* to whom: a subscription, or one that might be (id nil) */
    const struct json_t *secrets;       /* of a row whose secrets are not sealed yet; NULL: the row's */
    int64_t max_timeout_ms;             /* 0: as the subscription says */

    /* Answered. */
    struct probe probe;
    struct test_webhook webhook;
    bool delivered;
    const char *failure; /* for people; NULL: delivered */
    int64_t sent_at_ms;  /* what the body carries */
};

void test_send_init(struct test_send *send);
void test_send_deinit(struct test_send *send);

/* Counts it, sends it, writes it down. False: it was not sent or could not be written down, and the call is answered
 * (429, 503 …). */
bool test_send_run(struct call *call, struct test_send *send);

/* The webhook alone, as it would be sent now. False: the call is answered. */
bool test_send_make(struct call *call, struct test_send *send);

#endif
