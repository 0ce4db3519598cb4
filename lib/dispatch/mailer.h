/* The thread that sends mail: takes what is due in `mails`, one at a time, and hands it to the server of
 * HOOKCAST_SMTP_URL. It has a connection of its own, because a mail server may take half a minute to answer. */
#ifndef DISPATCH_MAILER_H
#define DISPATCH_MAILER_H

#include "base/crypto.h"
#include "core/settings.h"

struct mailer;

/* settings->smtp_url is not empty. The keyring, which links to exports are signed with, outlives it. */
struct mailer *mailer_new(const struct settings *settings, const struct keyring *keyring);
void mailer_start(struct mailer *mailer);
void mailer_stop(struct mailer *mailer);
void mailer_free(struct mailer **mailer);

#endif
