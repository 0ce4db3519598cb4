#include "core/cores.h"

#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A root of the file system of its own for each test. */
static char root[] = "/tmp/hookcast-cores-XXXXXX";

static int make_root(void **state) {
    (void)state;
    memcpy(root + sizeof(root) - 7, "XXXXXX", 6);
    return mkdtemp(root) == NULL;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw) {
    (void)stat, (void)type, (void)ftw;
    return remove(path);
}

static int remove_root(void **state) {
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text) {
    char full[512];
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_without_cgroups(void **state) {
    (void)state;
    assert_int_equal(cores_of_cgroup(root), 0);
    put("/proc/self/cgroup", "nonsense\n\n0:\n1::\n");
    assert_int_equal(cores_of_cgroup(root), 0);
}

static void test_version_2(void **state) {
    (void)state;
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    assert_int_equal(cores_of_cgroup(root), 0);
    put("/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
    assert_int_equal(cores_of_cgroup(root), 4);
    /* Rounded up; and a group above may grant less. */
    put("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    assert_int_equal(cores_of_cgroup(root), 2);
    put("/sys/fs/cgroup/a/b/cpu.max", "1000 100000\n");
    assert_int_equal(cores_of_cgroup(root), 1);
}

static void test_version_2_in_a_container(void **state) {
    (void)state;
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
    assert_int_equal(cores_of_cgroup(root), 3);
    put("/proc/self/cgroup", "0::/not/to/be/seen/here\n");
    assert_int_equal(cores_of_cgroup(root), 3);
}

static void test_version_1(void **state) {
    (void)state;
    put("/proc/self/cgroup", "5:memory:/m\n3:cpuset:/s\n4:cpu,cpuacct:/c\n1:name=systemd:/\n");
    put("/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cores_of_cgroup(root), 0);
    put("/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "250000\n");
    assert_int_equal(cores_of_cgroup(root), 3);
    put("/sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "0\n");
    assert_int_equal(cores_of_cgroup(root), 0);
}

static void test_affinity_counts(void **state) {
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    int64_t granted = cores_granted();
    assert_in_range(granted, 1, CPU_COUNT(&before));
    int first = 0;
    while (!CPU_ISSET(first, &before))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    granted = cores_granted();
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    assert_int_equal(granted, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_without_cgroups, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_version_2, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_version_2_in_a_container, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_version_1, make_root, remove_root),
        cmocka_unit_test(test_affinity_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
