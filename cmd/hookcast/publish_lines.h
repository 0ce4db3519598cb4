/* Lines of files or standard input, of bounded length. One thread. */
#ifndef HOOKCAST_PUBLISH_LINES_H
#define HOOKCAST_PUBLISH_LINES_H

#include "base/buffer.h"

#define PUBLISH_LINE_MAX (1024 * 1024)

struct publish_lines;

/* Called before each read. False: stop reading. */
typedef bool publish_wait_fn(void *ctx, int fd);

/* path "-": standard input. STATUS_NOT_FOUND: it can't be opened; error names it. */
MUST_USE enum status publish_lines_open(const char *path, publish_wait_fn *wait, void *ctx,
                                        struct publish_lines **ret_lines, struct error *error);
void publish_lines_close(struct publish_lines **lines);

enum publish_line {
    PUBLISH_LINE,          /* without its end; valid until the next call */
    PUBLISH_LINE_TOO_LONG, /* longer than PUBLISH_LINE_MAX; the next call goes on behind it */
    PUBLISH_LINES_END,     /* there are no more, or wait said stop */
    PUBLISH_LINES_FAILED,  /* reading failed; error says why */
};
enum publish_line publish_lines_next(struct publish_lines *lines, struct span *ret_line, struct error *error);

int64_t publish_lines_number(const struct publish_lines *lines);     /* of the line last given, from 1 */
int64_t publish_lines_read_bytes(const struct publish_lines *lines); /* so far */
#endif
