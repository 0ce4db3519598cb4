/* What a mail says: subject and text, in plain English, of what a row of `mails` speaks of. Pure; any thread. */
#ifndef DISPATCH_MAIL_TEXT_H
#define DISPATCH_MAIL_TEXT_H

#include "base/buffer.h"

struct mail_about {
    struct span kind; /* subscription.failing, subscription.disabled, subscription.recovered */
    struct span workspace_id;
    struct span about; /* JSON that json_scan accepts; members that are absent are left out of the text */
    const char *public_url;
};

/* Appends a subject (one line, at most a few hundred bytes) and a text. A webhook's address goes without its query,
 * which may hold a secret. STATUS_INVALID: there is no mail of this kind. */
MUST_USE enum status mail_text_write(const struct mail_about *about, struct buffer *subject, struct buffer *text,
                                     struct error *error);

#endif
