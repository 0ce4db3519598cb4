/* The progress bar of `hookcast publish`: one line on standard error, when that is a terminal. One thread. */
#ifndef HOOKCAST_PUBLISH_PROGRESS_H
#define HOOKCAST_PUBLISH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct publish_progress {
    bool shown; /* false: standard error is no terminal */
    bool drawn;
    int64_t start_ms;
    int64_t next_ms;
};

struct publish_counts {
    int64_t published, failed, skipped;
    int64_t read_bytes, total_bytes; /* total 0: unknown */
};

void publish_progress_init(struct publish_progress *progress);
/* Draws, at most ten times a second. */
void publish_progress_show(struct publish_progress *progress, const struct publish_counts *counts);
/* Takes the line away, before something else is written. */
void publish_progress_clear(struct publish_progress *progress);

#endif
