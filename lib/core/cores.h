/* How many cores this process may use: the smaller of its CPU affinity and what its cgroup grants, rounded up, at least
 * 1. Any thread. */
#ifndef CORE_CORES_H
#define CORE_CORES_H

#include <stdint.h>

int64_t cores_granted(void);

/* The cgroup's part of it, read below root ("" in earnest): 0 when no quota is set. Version 2 (cpu.max of the process's
 * group and of each group above it) and version 1 (cpu.cfs_quota_us of the cpu controller). */
int64_t cores_of_cgroup(const char *root);

#endif
