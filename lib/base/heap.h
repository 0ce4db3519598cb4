/* A binary min-heap of things that fall due: the smallest `due` is on top. The entries are the owner's, embedded in
 * what they time. One owner, one thread. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_entry {
    int64_t due;
    size_t at; /* 1-based place in the heap; 0: not in it */
};

struct heap {
    struct heap_entry **entries;
    size_t count;
    size_t capacity;
};

void heap_init(struct heap *heap);
void heap_deinit(struct heap *heap); /* the entries are left alone */
/* Puts an entry in, or moves it when it is in already. */
void heap_set(struct heap *heap, struct heap_entry *entry, int64_t due);
void heap_remove(struct heap *heap, struct heap_entry *entry); /* fine when not in */
struct heap_entry *heap_top(const struct heap *heap);          /* NULL: empty */

static inline bool heap_has(const struct heap_entry *entry) {
    return entry->at != 0;
}

#endif
