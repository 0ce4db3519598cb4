#include "base/gzip.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* What gzip itself, the program, makes of it. */
static struct buffer unpacked(struct span packed) {
    char name[] = "/tmp/test_gzip_XXXXXX", command[128];
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, packed.data, packed.len), packed.len);
    close(fd);
    snprintf(command, sizeof(command), "gzip -dc < %s", name);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    struct buffer out;
    buffer_init(&out, 64 << 20);
    char part[4096];
    size_t len;
    while ((len = fread(part, 1, sizeof(part), pipe)) > 0)
        buffer_append(&out, part, len);
    assert_int_equal(pclose(pipe), 0);
    unlink(name);
    return out;
}

static void expect_unpacked(const struct buffer *packed, struct span wanted) {
    struct buffer got = unpacked(buffer_view(packed));
    assert_int_equal(got.len, wanted.len);
    assert_memory_equal(buffer_view(&got).data, wanted.data, wanted.len);
    buffer_deinit(&got);
}

static void members_are_one_file(void **state) {
    (void)state;
    struct gzip *gzip = gzip_new();
    struct buffer packed;
    buffer_init(&packed, 1 << 20);
    gzip_member(gzip, SPAN_LITERAL("one\n"), &packed);
    gzip_member(gzip, SPAN_LITERAL(""), &packed);
    gzip_member(gzip, SPAN_LITERAL("two\n"), &packed);
    expect_unpacked(&packed, SPAN_LITERAL("one\ntwo\n"));
    gzip_free(&gzip);
    assert_null(gzip);
    gzip_free(&gzip);
    buffer_deinit(&packed);
}

static void nothing_is_a_file_too(void **state) {
    (void)state;
    struct gzip *gzip = gzip_new();
    struct buffer packed;
    buffer_init(&packed, 1024);
    gzip_member(gzip, SPAN_LITERAL(""), &packed);
    assert_in_range(packed.len, 18, 32);
    expect_unpacked(&packed, SPAN_LITERAL(""));
    gzip_free(&gzip);
    buffer_deinit(&packed);
}

static void what_does_not_shrink_fits_too(void **state) {
    (void)state;
    size_t len = 3 << 20;
    unsigned seed = 5;
    char *data = mem_alloc(len);
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(rand_r(&seed) >> 7);
    struct gzip *gzip = gzip_new();
    struct buffer packed, again;
    buffer_init(&packed, 8 << 20);
    buffer_init(&again, 8 << 20);
    gzip_member(gzip, (struct span){data, len}, &packed);
    gzip_member(gzip, (struct span){data, len}, &again);
    assert_false(packed.overflowed);
    assert_int_equal(packed.len, again.len);
    assert_memory_equal(packed.data, again.data, packed.len);
    expect_unpacked(&packed, (struct span){data, len});
    gzip_free(&gzip);
    buffer_deinit(&packed);
    buffer_deinit(&again);
    mem_free(data);
}

static void too_small_a_buffer_overflows(void **state) {
    (void)state;
    struct gzip *gzip = gzip_new();
    struct buffer packed;
    buffer_init(&packed, 10);
    gzip_member(gzip, SPAN_LITERAL("text"), &packed);
    assert_true(packed.overflowed);
    assert_int_equal(packed.len, 0);
    buffer_deinit(&packed);
    buffer_init(&packed, 1024);
    gzip_member(gzip, SPAN_LITERAL("text"), &packed);
    expect_unpacked(&packed, SPAN_LITERAL("text"));
    gzip_free(&gzip);
    buffer_deinit(&packed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_one_file),
        cmocka_unit_test(nothing_is_a_file_too),
        cmocka_unit_test(what_does_not_shrink_fits_too),
        cmocka_unit_test(too_small_a_buffer_overflows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
