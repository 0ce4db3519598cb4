/* Between mail_text.c, which fills places, and the texts that have files of their own. */
#ifndef DISPATCH_MAIL_TEXT_PRIVATE_H
#define DISPATCH_MAIL_TEXT_PRIVATE_H

#include "core/language.h"

/* Texts with places in braces, "{{" being a brace of its own. */
struct mail_kind {
    const char *name;
    const char *subject, *text;
};

/* What the mails on exports say in one language. */
struct mail_export_texts {
    struct mail_kind ready, failed;
    const char *period;                   /* the place {about}: lines on which export it is */
    const char *oldest, *newest, *absent; /* where the period has no start, no end; what is not known */
};

const struct mail_export_texts *mail_export_texts(enum language language);

#endif
