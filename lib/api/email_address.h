/* An e-mail address as RFC 5321 has it, without quoted local parts and address literals: whether somebody reads it is
 * for the mail server to say. Pure; any thread. */
#ifndef API_EMAIL_ADDRESS_H
#define API_EMAIL_ADDRESS_H

#include "base/span.h"

#define EMAIL_ADDRESS_MAX_BYTES 254

bool email_address_valid(struct span text);

#endif
