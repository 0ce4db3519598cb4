/* What a mail says: subject and text of what a row of `mails` speaks of. Pure; any thread.
 *
 * Mail on subscriptions is in plain English and speaks of {name, subscription_id, webhook_url, disabled_reason,
 * failing_since, last_success_at}. Mail on exports is in the language that `lang` asks for (core/language.h) and speaks
 * of {job_id, lang, format, rows, size, expires_at_ms, start, end, error}: size in bytes, start and end as milliseconds
 * since 1970 or as text, null where the period is open. Dates are in UTC. */
#ifndef DISPATCH_MAIL_TEXT_H
#define DISPATCH_MAIL_TEXT_H

#include "base/buffer.h"

struct mail_about {
    struct span kind; /* subscription.failing, .disabled, .recovered; export.ready, .failed */
    struct span workspace_id;
    struct span about; /* JSON that json_scan accepts; the text says so where a member is absent */
    const char *public_url;
    struct span link; /* of export.ready: where the file is; SPAN_NONE in any other */
};

/* Appends a subject (one line, at most a few hundred bytes) and a text. A webhook's address goes without its query,
 * which may hold a secret. STATUS_INVALID: there is no mail of this kind, or no link for it. */
MUST_USE enum status mail_text_write(const struct mail_about *about, struct buffer *subject, struct buffer *text,
                                     struct error *error);

#endif
