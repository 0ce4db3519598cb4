/* What the operating system says about this process, for the metrics. Any thread. */
#ifndef CORE_PROCESS_STAT_H
#define CORE_PROCESS_STAT_H

#include <stdint.h>

struct process_stat {
    double cpu_seconds;   /* of all threads, since the start */
    double start_seconds; /* wall time since 1970 */
    int64_t resident_bytes;
    int64_t virtual_bytes;
    int64_t open_fds;
    int64_t max_fds;
};

/* What can't be read is 0. */
void process_stat_read(struct process_stat *stat);

#endif
