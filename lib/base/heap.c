#include "base/heap.h"
#include "base/error.h"
#include "base/memory.h"

#define FIRST_CAPACITY 16

/* Places are counted from 1: the children of i are 2i and 2i+1, and 0 is free to mean "not in it". */
static struct heap_entry **place(const struct heap *heap, size_t at) {
    return &heap->entries[at - 1];
}

static void put(const struct heap *heap, size_t at, struct heap_entry *entry) {
    *place(heap, at) = entry;
    entry->at = at;
}

static void sift_up(const struct heap *heap, struct heap_entry *entry) {
    size_t at = entry->at;
    while (at > 1 && (*place(heap, at / 2))->due > entry->due) {
        put(heap, at, *place(heap, at / 2));
        at /= 2;
    }
    put(heap, at, entry);
}

static void sift_down(const struct heap *heap, struct heap_entry *entry) {
    size_t at = entry->at;
    for (;;) {
        size_t child = at * 2;
        if (child > heap->count) {
            break;
        }
        if (child < heap->count && (*place(heap, child + 1))->due < (*place(heap, child))->due) {
            child++;
        }
        if ((*place(heap, child))->due >= entry->due) {
            break;
        }
        put(heap, at, *place(heap, child));
        at = child;
    }
    put(heap, at, entry);
}

void heap_init(struct heap *heap) {
    *heap = (struct heap){0};
}

void heap_deinit(struct heap *heap) {
    mem_free(heap->entries);
    *heap = (struct heap){0};
}

void heap_set(struct heap *heap, struct heap_entry *entry, int64_t due) {
    if (!entry->at) {
        if (heap->count == heap->capacity) {
            heap->capacity = heap->capacity ? heap->capacity * 2 : FIRST_CAPACITY;
            heap->entries = mem_realloc(heap->entries, heap->capacity * sizeof(struct heap_entry *));
        }
        heap->count++;
        put(heap, heap->count, entry);
    }
    CHECK(entry->at <= heap->count && *place(heap, entry->at) == entry);
    entry->due = due;
    sift_up(heap, entry);
    sift_down(heap, entry);
}

void heap_remove(struct heap *heap, struct heap_entry *entry) {
    if (!entry->at) {
        return;
    }
    CHECK(entry->at <= heap->count && *place(heap, entry->at) == entry);
    struct heap_entry *last = *place(heap, heap->count);
    heap->count--;
    if (last != entry) {
        put(heap, entry->at, last);
        sift_up(heap, last);
        sift_down(heap, last);
    }
    entry->at = 0;
}

struct heap_entry *heap_top(const struct heap *heap) {
    return heap->count ? *place(heap, 1) : NULL;
}
