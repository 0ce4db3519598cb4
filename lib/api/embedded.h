/* Files that the program carries in itself (cmake/embed.cmake). Any thread. */
#ifndef API_EMBEDDED_H
#define API_EMBEDDED_H

#include "base/span.h"

struct span embedded_openapi(void); /* lib/api/openapi.json */
struct span embedded_docs(void);    /* lib/api/docs.html */

#endif
