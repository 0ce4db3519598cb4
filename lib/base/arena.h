/* Memory that is freed all at once: one arena for a request or a flush. One owner, one thread. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/error.h"
#include "base/span.h"

struct arena;

struct arena *arena_new(size_t block_bytes);
void arena_free(struct arena **arena);
void arena_reset(struct arena *arena); /* keeps the first block */

void *arena_alloc(struct arena *arena, size_t size); /* aligned for any type, cleared */
struct span arena_span(struct arena *arena, struct span span);
char *arena_strdup(struct arena *arena, struct span span); /* NUL-terminated */
char *arena_printf(struct arena *arena, const char *format, ...) PRINTF(2, 3);
size_t arena_used_bytes(const struct arena *arena);

#endif
