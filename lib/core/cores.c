#include "core/cores.h"

#include "base/error.h"
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* False: there is no such file, or its path is too long to be one. */
static bool read_line(char *line, size_t size, const char *root, const char *folder, const char *group,
                      const char *name) {
    char path[PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s%s%s%s", root, folder, group, name);
    FILE *file = len < (int)sizeof(path) ? fopen(path, "re") : NULL;
    if (!file)
        return false;
    bool got = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return got;
}

static int64_t cores_of(long long quota_us, long long period_us) {
    return quota_us > 0 && period_us > 0 ? (quota_us + period_us - 1) / period_us : 0;
}

static int64_t cores_v2(const char *root, const char *group) {
    char line[128];
    long long quota = 0, period = 0;
    if (!read_line(line, sizeof(line), root, "/sys/fs/cgroup", group, "/cpu.max"))
        return 0;
    /* "max 100000": no quota. */
    return sscanf(line, "%lld %lld", &quota, &period) == 2 ? cores_of(quota, period) : 0;
}

static int64_t cores_v1(const char *root, const char *group) {
    char quota[64], period[64];
    if (!read_line(quota, sizeof(quota), root, "/sys/fs/cgroup/cpu", group, "/cpu.cfs_quota_us") ||
        !read_line(period, sizeof(period), root, "/sys/fs/cgroup/cpu", group, "/cpu.cfs_period_us"))
        return 0;
    return cores_of(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

static int64_t smaller(int64_t a, int64_t b) {
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The least quota of the group and of each one above it: inside a container the path in /proc may name groups that
 * are not to be seen there, and then the root's file counts. */
static int64_t cores_up(const char *root, char *group, int64_t (*read)(const char *root, const char *group)) {
    int64_t cores = 0;
    for (;;) {
        cores = smaller(cores, read(root, group));
        char *slash = strrchr(group, '/');
        if (!slash)
            return cores;
        *slash = '\0';
    }
}

static bool has_cpu_controller(char *controllers) {
    char *rest = controllers;
    for (char *name; (name = strsep(&rest, ","));)
        if (strcmp(name, "cpu") == 0)
            return true;
    return false;
}

int64_t cores_of_cgroup(const char *root) {
    char path[PATH_MAX], line[PATH_MAX];
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    int64_t cores = 0;
    /* Lines are "number:controllers:/group"; version 2 names no controllers. */
    while (fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        char *rest = line;
        strsep(&rest, ":");
        char *controllers = strsep(&rest, ":");
        if (!controllers || !rest || rest[0] != '/')
            continue;
        if (controllers[0] == '\0')
            cores = smaller(cores, cores_up(root, rest, cores_v2));
        else if (has_cpu_controller(controllers))
            cores = smaller(cores, cores_up(root, rest, cores_v1));
    }
    fclose(file);
    return cores;
}

int64_t cores_granted(void) {
    cpu_set_t set;
    int64_t cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    cores = smaller(cores, cores_of_cgroup(""));
    return cores < 1 ? 1 : cores;
}
