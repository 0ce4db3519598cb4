/* Webhooks that are sent as a test: how many a workspace may send, which subscription has a URL, and what is written
 * down of each. Blocking; the caller's connection. */
#ifndef STORE_TEST_SENDS_H
#define STORE_TEST_SENDS_H

#include "store/logs.h"

#define TEST_SENDS_A_MINUTE 10

/* Counts one more of the workspace, over all processes. *ret_wait_s 0: it may be sent; otherwise nothing was counted,
 * and so many seconds from now it may. */
MUST_USE enum status test_sends_take(struct connection *connection, struct span workspace_id, int *ret_wait_s,
                                     struct error *error);

/* The workspace's newest subscription with this URL, and with this format unless format is SPAN_NONE; whatever its
 * status. STATUS_NOT_FOUND: none. */
MUST_USE enum status test_sends_find(struct connection *connection, struct span workspace_id, struct span url,
                                     struct span format, struct uuid *ret_id, struct error *error);

/* SPAN_NONE: the workspace has none. The text lies in *ret_rows. */
MUST_USE enum status test_sends_workspace_name(struct connection *connection, struct span workspace_id,
                                               struct result **ret_rows, struct span *ret_name, struct error *error);

/* The log row, its created_at put between the bounds of the partitions, and the body that was sent, in one transaction.
 * Makes the partitions when there are none yet. source: the event that the type's sample, which was sent, is of; when
 * the type has that sample no more, neither the body nor the answer is kept. Nil: no sample was sent. */
MUST_USE enum status test_sends_write(struct connection *connection, const struct log_row *row, struct span body,
                                      const struct uuid *source, struct error *error);

/* The bodies of tests, by their log rows' ids: for each that is still there a row, with its body unless that is longer
 * than TEST_SENDS_SMALL_BYTES. */
#define TEST_SENDS_SMALL_BYTES 4096
MUST_USE enum status test_sends_bodies(struct connection *connection, struct span workspace_id, const struct uuid *ids,
                                       size_t count, struct result **ret_rows, struct error *error);
/* Whether there is one of this id. ret_body: SPAN_NONE when it is too long. */
bool test_sends_find_body(const struct result *rows, const struct uuid *id, struct span *ret_body);

/* One of any length, in *ret_rows; SPAN_NONE: it has gone. */
MUST_USE enum status test_sends_body(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                     struct result **ret_rows, struct span *ret_body, struct error *error);

#endif
