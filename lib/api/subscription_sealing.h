/* What a creation or a change says of a subscription's headers and secrets, sealed into its row. In a worker. */
#ifndef API_SUBSCRIPTION_SEALING_H
#define API_SUBSCRIPTION_SEALING_H

#include "api/subscription_fields.h"

/* row: as it will be; what change does not name stays. Who signs gets a secret when there is none. ret_secrets: all
 * that are valid then (subscription_secrets.h), a new reference. Complains with call_field_error. */
MUST_USE enum status subscription_seal_change(struct call *call, struct subscription_row *row,
                                              const struct subscription_change *change, struct json_t **ret_secrets,
                                              struct error *error);

#endif
