/* Compression into gzip files (RFC 1952), by zlib, whose header no other module includes. A file may have several
 * members one after the other; who unpacks it gets them as one text. One owner, one thread. */
#ifndef BASE_GZIP_H
#define BASE_GZIP_H

#include "base/buffer.h"

/* About 270 KiB; keep it for many members. */
struct gzip;
struct gzip *gzip_new(void);
void gzip_free(struct gzip **gzip);

/* Appends data as one whole member, without a name or a time: the same data gives the same bytes. */
void gzip_member(struct gzip *gzip, struct span data, struct buffer *out);

#endif
