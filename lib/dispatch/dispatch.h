/* Puts the pipeline together: makes the threads, starts them from the bottom, drains them from the top. Belongs to the
 * main thread. */
#ifndef DISPATCH_DISPATCH_H
#define DISPATCH_DISPATCH_H

#include "core/settings.h"

struct dispatch;

/* STATUS_INVALID: a setting, or the schema is missing or older than this program; STATUS_UNAVAILABLE: PostgreSQL is not
 * there. Kafka, and from now on PostgreSQL, are waited for. settings outlive it. */
MUST_USE enum status dispatch_new(const struct settings *settings, struct dispatch **ret_dispatch, struct error *error);
void dispatch_start(struct dispatch *dispatch);
/* Within settings.drain_timeout_ms. */
void dispatch_stop(struct dispatch *dispatch);
void dispatch_free(struct dispatch **dispatch);

/* Subscriptions loaded, PostgreSQL and Kafka answering. why: what is missing. Any thread. */
bool dispatch_is_ready(struct dispatch *dispatch, struct error *why);

#endif
