/* The one allocator. It never returns NULL: out of memory ends the process with a line on standard error. Any thread.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

void *mem_alloc(size_t size);                /* not cleared */
void *mem_calloc(size_t count, size_t size); /* cleared; the product is checked */
void *mem_realloc(void *block, size_t size);
void *mem_copy(const void *data, size_t size);
char *mem_strdup(const char *text);
char *mem_strndup(const char *data, size_t len); /* len bytes and a NUL */
void mem_free(void *block);                      /* NULL is fine */

/* Overwrites before freeing; for secrets. */
void mem_wipe_free(void *block, size_t size);

#endif
