/* The secrets that listen and verify take from their command line. */
#ifndef HOOKCAST_LISTEN_SECRETS_H
#define HOOKCAST_LISTEN_SECRETS_H

#include "webhook/signature.h"

/* list: secrets with commas. STATUS_INVALID: error says what is wrong, never the secret. */
MUST_USE enum status listen_signer_new(const char *list, struct signer **ret_signer, struct error *error);

#endif
