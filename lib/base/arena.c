#include "base/arena.h"
#include "base/memory.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>

/* Blocks are chained with the newest in front. What is larger than a block gets one of its own size, put behind the
 * front one, so that the rest of the front block is not wasted. */
struct block {
    struct block *next;
    size_t size; /* of bytes */
    size_t used;
    alignas(max_align_t) char bytes[];
};

struct arena {
    struct block *front;
    struct block *first;
    size_t block_bytes;
    size_t used_bytes;
};

static struct block *block_new(size_t size) {
    CHECK(size <= SIZE_MAX - sizeof(struct block));
    struct block *block = mem_alloc(sizeof(*block) + size);
    block->next = NULL;
    block->size = size;
    block->used = 0;
    return block;
}

struct arena *arena_new(size_t block_bytes) {
    CHECK(block_bytes > 0);
    struct arena *arena = mem_calloc(1, sizeof(*arena));
    arena->block_bytes = block_bytes;
    arena->first = arena->front = block_new(block_bytes);
    return arena;
}

static void free_all_but_first(struct arena *arena) {
    struct block *next;
    for (struct block *block = arena->front; block; block = next) {
        next = block->next;
        if (block != arena->first) {
            mem_free(block);
        }
    }
}

void arena_free(struct arena **arena) {
    if (*arena) {
        free_all_but_first(*arena);
        mem_free((*arena)->first);
        mem_free(*arena);
        *arena = NULL;
    }
}

void arena_reset(struct arena *arena) {
    free_all_but_first(arena);
    arena->front = arena->first;
    arena->first->next = NULL;
    arena->first->used = 0;
    arena->used_bytes = 0;
}

/* The block that has room for size bytes. */
static struct block *block_for(struct arena *arena, size_t size) {
    struct block *front = arena->front;
    if (size <= front->size - front->used) {
        return front;
    }
    if (size > arena->block_bytes) {
        struct block *large = block_new(size);
        large->next = front->next;
        front->next = large;
        return large;
    }
    struct block *block = block_new(arena->block_bytes);
    block->next = front;
    arena->front = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size) {
    const size_t alignment = alignof(max_align_t);
    CHECK(size < SIZE_MAX - alignment);
    struct block *block = block_for(arena, size);
    char *room = block->bytes + block->used;
    memset(room, 0, size);
    size_t rounded = (size + alignment - 1) / alignment * alignment;
    size_t left = block->size - block->used;
    block->used += rounded < left ? rounded : left;
    arena->used_bytes += size;
    return room;
}

struct span arena_span(struct arena *arena, struct span span) {
    if (!span.data) {
        return SPAN_NONE;
    }
    return (struct span){arena_strdup(arena, span), span.len};
}

char *arena_strdup(struct arena *arena, struct span span) {
    CHECK(span.len < SIZE_MAX);
    char *text = arena_alloc(arena, span.len + 1);
    if (span.len) {
        memcpy(text, span.data, span.len);
    }
    return text;
}

char *arena_printf(struct arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(len >= 0);
    char *text = arena_alloc(arena, (size_t)len + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

size_t arena_used_bytes(const struct arena *arena) {
    return arena->used_bytes;
}
