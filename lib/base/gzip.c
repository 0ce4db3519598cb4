#include "base/gzip.h"
#include "base/memory.h"
#include <limits.h>
#include <zlib.h>

#define WINDOW_BITS 15
#define GZIP_FORMAT 16 /* added to the window's bits */
#define MEMORY_LEVEL 8

struct gzip {
    z_stream stream;
};

static void *allocate(void *ctx, unsigned count, unsigned size) {
    (void)ctx;
    return mem_calloc(count, size);
}

static void release(void *ctx, void *block) {
    (void)ctx;
    mem_free(block);
}

struct gzip *gzip_new(void) {
    struct gzip *gzip = mem_calloc(1, sizeof(*gzip));
    gzip->stream.zalloc = allocate;
    gzip->stream.zfree = release;
    CHECK(deflateInit2(&gzip->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS + GZIP_FORMAT, MEMORY_LEVEL,
                       Z_DEFAULT_STRATEGY) == Z_OK);
    return gzip;
}

void gzip_free(struct gzip **gzip) {
    if (!*gzip)
        return;
    (void)deflateEnd(&(*gzip)->stream);
    mem_free(*gzip);
    *gzip = NULL;
}

void gzip_member(struct gzip *gzip, struct span data, struct buffer *out) {
    z_stream *stream = &gzip->stream;
    CHECK(data.len <= UINT_MAX / 2);
    size_t before = out->len, bound = deflateBound(stream, data.len);
    char *room = buffer_grow(out, bound);
    if (!room)
        return;
    stream->next_in = (Bytef *)(uintptr_t)data.data;
    stream->avail_in = (uInt)data.len;
    stream->next_out = (Bytef *)room;
    stream->avail_out = (uInt)bound;
    CHECK(deflate(stream, Z_FINISH) == Z_STREAM_END);
    out->len = before + bound - stream->avail_out;
    out->data[out->len] = '\0';
    CHECK(deflateReset(stream) == Z_OK);
}
