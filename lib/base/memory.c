#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void out_of_memory(void) {
    static const char line[] = "hookcast: out of memory\n";
    ssize_t written = write(STDERR_FILENO, line, sizeof(line) - 1);
    (void)written;
    abort();
}

void *mem_alloc(size_t size) {
    void *block = malloc(size ? size : 1);
    if (!block) {
        out_of_memory();
    }
    return block;
}

void *mem_calloc(size_t count, size_t size) {
    void *block = calloc(count ? count : 1, size ? size : 1);
    if (!block) {
        out_of_memory();
    }
    return block;
}

void *mem_realloc(void *block, size_t size) {
    void *moved = realloc(block, size ? size : 1);
    if (!moved) {
        out_of_memory();
    }
    return moved;
}

void *mem_copy(const void *data, size_t size) {
    void *block = mem_alloc(size);
    if (size) {
        memcpy(block, data, size);
    }
    return block;
}

char *mem_strdup(const char *text) {
    return mem_copy(text, strlen(text) + 1);
}

char *mem_strndup(const char *data, size_t len) {
    if (len == SIZE_MAX) {
        out_of_memory();
    }
    char *text = mem_alloc(len + 1);
    if (len) {
        memcpy(text, data, len);
    }
    text[len] = '\0';
    return text;
}

void mem_free(void *block) {
    free(block);
}

void mem_wipe_free(void *block, size_t size) {
    if (block) {
        explicit_bzero(block, size);
        free(block);
    }
}
