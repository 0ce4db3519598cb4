#include "core/process_stat.h"

#include "base/clock.h"
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(clockid_t clock) {
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* /proc/self/stat: the name may hold anything, so count the fields from its closing parenthesis. starttime is the 22nd.
 */
static double read_start(void) {
    char text[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file)
        return 0;
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (!at)
        return 0;
    double after_boot = (double)strtoull(at, NULL, 10) / (double)sysconf(_SC_CLK_TCK);
    return (double)clock_wall_ms() / 1000 - (seconds_of(CLOCK_BOOTTIME) - after_boot);
}

static double started_at;

static void keep_start(void) {
    started_at = read_start();
}

/* Read once: what is worked out from wall time and time since boot would waver, and jump when the clock is set. */
static double start_seconds(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, keep_start);
    return started_at;
}

static void read_memory(struct process_stat *stat) {
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return;
    long long total = 0, resident = 0;
    if (fscanf(file, "%lld %lld", &total, &resident) == 2) {
        stat->virtual_bytes = total * sysconf(_SC_PAGESIZE);
        stat->resident_bytes = resident * sysconf(_SC_PAGESIZE);
    }
    fclose(file);
}

static int64_t count_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    int64_t count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count - 1; /* the directory's own */
}

void process_stat_read(struct process_stat *stat) {
    *stat = (struct process_stat){0};
    stat->cpu_seconds = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    stat->start_seconds = start_seconds();
    read_memory(stat);
    stat->open_fds = count_fds();
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        stat->max_fds = limit.rlim_cur == RLIM_INFINITY ? 0 : (int64_t)limit.rlim_cur;
}
