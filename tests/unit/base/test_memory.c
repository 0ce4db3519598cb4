#include "base/memory.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) ||               \
    __has_feature(thread_sanitizer)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static void nothing_is_still_a_block(void **state) {
    (void)state;
    void *blocks[] = {mem_alloc(0), mem_calloc(0, 8), mem_calloc(8, 0), mem_realloc(NULL, 0), mem_copy(NULL, 0)};
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        assert_non_null(blocks[i]);
        mem_free(blocks[i]);
    }
    mem_free(NULL);
    mem_wipe_free(NULL, 10);
}

static void calloc_clears(void **state) {
    (void)state;
    unsigned char *block = mem_calloc(100, 10);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(block[i], 0);
    }
    mem_free(block);
}

static void realloc_keeps_the_bytes(void **state) {
    (void)state;
    char *block = mem_copy("0123456789", 10);
    block = mem_realloc(block, 100000);
    assert_memory_equal(block, "0123456789", 10);
    block = mem_realloc(block, 4);
    assert_memory_equal(block, "0123", 4);
    block = mem_realloc(block, 0);
    assert_non_null(block);
    mem_free(block);
}

static void copies_of_text_end_in_nul(void **state) {
    (void)state;
    char *whole = mem_strdup("text");
    char *part = mem_strndup("text", 2);
    char *none = mem_strndup(NULL, 0);
    char *with_nul = mem_strndup("a\0b", 3);
    assert_string_equal(whole, "text");
    assert_string_equal(part, "te");
    assert_string_equal(none, "");
    assert_memory_equal(with_nul, "a\0b", 4);
    mem_free(whole);
    mem_free(part);
    mem_free(none);
    mem_wipe_free(with_nul, 4);
}

enum ask { ASK_ALLOC, ASK_CALLOC, ASK_REALLOC, ASK_STRNDUP };

/* What the child did and wrote when it asked for more than there is. */
static int signal_of(enum ask ask, char *output, size_t size) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDERR_FILENO);
        volatile size_t much = SIZE_MAX / 4;
        void *volatile block = ask == ASK_ALLOC     ? mem_alloc(much)
                               : ask == ASK_CALLOC  ? mem_calloc(much, 8)
                               : ask == ASK_REALLOC ? mem_realloc(NULL, much)
                                                    : mem_strndup("", SIZE_MAX);
        _exit(block ? 1 : 2);
    }
    close(ends[1]);
    size_t len = 0;
    ssize_t got;
    while (len < size - 1 && (got = read(ends[0], output + len, size - 1 - len)) > 0) {
        len += (size_t)got;
    }
    output[len] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void out_of_memory_aborts_with_a_line(void **state) {
    (void)state;
#if SANITIZED
    skip(); /* the sanitizer ends the process before malloc can return NULL */
#endif
    for (enum ask ask = ASK_ALLOC; ask <= ASK_STRNDUP; ask++) {
        char output[256];
        assert_int_equal(signal_of(ask, output, sizeof(output)), SIGABRT);
        assert_string_equal(output, "hookcast: out of memory\n");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_still_a_block),         cmocka_unit_test(calloc_clears),
        cmocka_unit_test(realloc_keeps_the_bytes),          cmocka_unit_test(copies_of_text_end_in_nul),
        cmocka_unit_test(out_of_memory_aborts_with_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
