#include "publish_lines.h"

#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A whole line fits with its end, and one read behind it. */
#define READ_BYTES (256 * 1024)
#define ROOM_BYTES (PUBLISH_LINE_MAX + 1 + READ_BYTES)

struct publish_lines {
    int fd;
    publish_wait_fn *wait;
    void *ctx;
    char *data;
    size_t start, end, searched; /* what is read and not yet given; no line end before searched */
    bool at_end;
    bool skipping; /* inside a line that is too long */
    int64_t number;
    int64_t read_bytes;
};

enum status publish_lines_open(const char *path, publish_wait_fn *wait, void *ctx, struct publish_lines **ret_lines,
                               struct error *error) {
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(error, STATUS_NOT_FOUND, "%s: %s", path, strerror(errno));
    struct publish_lines *lines = mem_calloc(1, sizeof(*lines));
    lines->fd = fd;
    lines->wait = wait;
    lines->ctx = ctx;
    lines->data = mem_alloc(ROOM_BYTES);
    *ret_lines = lines;
    return STATUS_OK;
}

void publish_lines_close(struct publish_lines **lines_at) {
    struct publish_lines *lines = *lines_at;
    if (!lines)
        return;
    *lines_at = NULL;
    if (lines->fd != STDIN_FILENO)
        close(lines->fd);
    mem_free(lines->data);
    mem_free(lines);
}

/* Reads some more. PUBLISH_LINE: there may be more now. */
static enum publish_line more(struct publish_lines *lines, struct error *error) {
    if (!lines->wait(lines->ctx, lines->fd))
        return PUBLISH_LINES_END;
    if (lines->start > 0) {
        memmove(lines->data, lines->data + lines->start, lines->end - lines->start);
        lines->end -= lines->start;
        lines->searched -= lines->start;
        lines->start = 0;
    }
    size_t room = ROOM_BYTES - lines->end;
    ssize_t got = read(lines->fd, lines->data + lines->end, room < READ_BYTES ? room : READ_BYTES);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return PUBLISH_LINE;
    if (got < 0) {
        (void)error_set(error, STATUS_FAILED, "reading failed: %s", strerror(errno));
        return PUBLISH_LINES_FAILED;
    }
    lines->at_end = got == 0;
    lines->end += (size_t)got;
    lines->read_bytes += got;
    return PUBLISH_LINE;
}

static struct span take(struct publish_lines *lines, size_t line_end, size_t next) {
    struct span line = {lines->data + lines->start, line_end - lines->start};
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    lines->start = lines->searched = next;
    lines->number++;
    return line;
}

enum publish_line publish_lines_next(struct publish_lines *lines, struct span *ret_line, struct error *error) {
    for (;;) {
        char *newline = memchr(lines->data + lines->searched, '\n', lines->end - lines->searched);
        if (newline || (lines->at_end && lines->start < lines->end)) {
            size_t line_end = newline ? (size_t)(newline - lines->data) : lines->end;
            struct span line = take(lines, line_end, line_end + (newline != NULL));
            bool too_long = lines->skipping || line.len > PUBLISH_LINE_MAX;
            lines->skipping = false;
            if (too_long)
                return PUBLISH_LINE_TOO_LONG;
            *ret_line = line;
            return PUBLISH_LINE;
        }
        if (lines->at_end && !lines->skipping)
            return PUBLISH_LINES_END;
        if (lines->at_end) {
            lines->skipping = false;
            lines->number++;
            return PUBLISH_LINE_TOO_LONG;
        }
        lines->searched = lines->end;
        if (lines->end - lines->start > PUBLISH_LINE_MAX + 1) {
            lines->skipping = true;
            lines->start = lines->searched = lines->end = 0;
        }
        enum publish_line result = more(lines, error);
        if (result != PUBLISH_LINE)
            return result;
    }
}

int64_t publish_lines_number(const struct publish_lines *lines) {
    return lines->number;
}

int64_t publish_lines_read_bytes(const struct publish_lines *lines) {
    return lines->read_bytes;
}
