#include "publish_progress.h"

#include "base/clock.h"
#include <stdio.h>
#include <unistd.h>

#define BAR_WIDTH 24
#define INTERVAL_MS 100

void publish_progress_init(struct publish_progress *progress) {
    *progress = (struct publish_progress){.shown = isatty(STDERR_FILENO), .start_ms = clock_mono_ms()};
}

static void draw_share(const struct publish_counts *counts, int64_t elapsed_ms) {
    double share = (double)counts->read_bytes / (double)counts->total_bytes;
    int full = (int)(share * BAR_WIDTH);
    fputc('[', stderr);
    for (int i = 0; i < BAR_WIDTH; i++)
        fputc(i < full ? '#' : '.', stderr);
    fprintf(stderr, "] %3d %%  ", (int)(share * 100));
    if (share > 0.01 && share < 1) {
        int64_t left_s = (int64_t)((double)elapsed_ms * (1 - share) / share / 1000);
        fprintf(stderr, "%lld:%02lld left  ", (long long)(left_s / 60), (long long)(left_s % 60));
    }
}

void publish_progress_show(struct publish_progress *progress, const struct publish_counts *counts) {
    int64_t now_ms = clock_mono_ms();
    if (!progress->shown || now_ms < progress->next_ms)
        return;
    progress->next_ms = now_ms + INTERVAL_MS;
    progress->drawn = true;
    int64_t elapsed_ms = now_ms - progress->start_ms;
    fputc('\r', stderr);
    if (counts->total_bytes > 0)
        draw_share(counts, elapsed_ms);
    fprintf(stderr, "%lld published  %lld/s", (long long)counts->published,
            (long long)(elapsed_ms > 0 ? counts->published * 1000 / elapsed_ms : 0));
    if (counts->failed > 0)
        fprintf(stderr, "  %lld failed", (long long)counts->failed);
    if (counts->skipped > 0)
        fprintf(stderr, "  %lld skipped", (long long)counts->skipped);
    fputs("\033[K", stderr);
    fflush(stderr);
}

void publish_progress_clear(struct publish_progress *progress) {
    if (!progress->drawn)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->drawn = false;
    progress->next_ms = 0;
}
