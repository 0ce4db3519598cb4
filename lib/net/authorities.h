/* Certificate authorities in a PEM file: whether webhooks over https:// could be judged by them. Any thread. */
#ifndef NET_AUTHORITIES_H
#define NET_AUTHORITIES_H

#include "base/buffer.h"

/* ca_file: as HOOKCAST_CA_FILE; "": the file that libcurl was built to use. Appends the file's name to out and counts
 * its certificates, without judging them. STATUS_INVALID: it can't be read, or has none; error names it. */
MUST_USE enum status authorities_count(const char *ca_file, struct buffer *out, int64_t *ret_count,
                                       struct error *error);

#endif
