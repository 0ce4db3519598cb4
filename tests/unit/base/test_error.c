#include "base/error.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void returns_the_status_and_sets_the_text(void **state) {
    (void)state;
    struct error error;
    assert_int_equal(error_set(&error, STATUS_CONFLICT, "row %d of %s", 7, "events"), STATUS_CONFLICT);
    assert_string_equal(error.text, "row 7 of events");
}

static void works_without_an_error(void **state) {
    (void)state;
    assert_int_equal(error_set(NULL, STATUS_FAILED, "%s", "unseen"), STATUS_FAILED);
    error_context(NULL, "unseen");
}

static void is_one_line(void **state) {
    (void)state;
    struct error error;
    (void)error_set(&error, STATUS_FAILED, "FATAL: no\r\nsuch\tdatabase \x1b[31m\x7f\n\n");
    assert_string_equal(error.text, "FATAL: no  such database  [31m");
    (void)error_set(&error, STATUS_FAILED, "\n\n");
    assert_string_equal(error.text, "");
}

static void context_goes_in_front(void **state) {
    (void)state;
    struct error error;
    (void)error_set(&error, STATUS_FAILED, "refused");
    error_context(&error, "row %d", 3);
    error_context(&error, "events\n");
    assert_string_equal(error.text, "events : row 3: refused");
}

static void the_old_text_may_be_an_argument(void **state) {
    (void)state;
    struct error error;
    (void)error_set(&error, STATUS_FAILED, "inner");
    (void)error_set(&error, STATUS_FAILED, "outer (%s)", error.text);
    assert_string_equal(error.text, "outer (inner)");
    error_context(&error, "again %s", error.text);
    assert_string_equal(error.text, "again outer (inner): outer (inner)");
}

static void what_does_not_fit_is_cut(void **state) {
    (void)state;
    struct error error;
    char text[2000];
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    (void)error_set(&error, STATUS_FAILED, "%s", text);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    error_context(&error, "front");
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    assert_memory_equal(error.text, "front: aaa", 10);
    error_context(&error, "%s", text);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
}

/* Whatever the offset of the cut, no part of a character is left. */
static void a_cut_never_splits_a_character(void **state) {
    (void)state;
    static const char *const characters[] = {"\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(characters[i]);
        for (size_t shift = 0; shift < 4; shift++) {
            char text[2000];
            memset(text, 'x', shift);
            for (size_t at = shift; at + len < sizeof(text); at += len) {
                memcpy(text + at, characters[i], len);
                text[at + len] = '\0';
            }
            struct error error;
            (void)error_set(&error, STATUS_FAILED, "%s", text);
            size_t kept = strlen(error.text);
            assert_true(kept > sizeof(error.text) - 1 - len);
            assert_int_equal((kept - shift) % len, 0);
        }
    }
}

static int signal_of_check(int value, char *output, size_t size) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        CHECK(value == 1);
        _exit(0);
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

static void check_stops_the_process(void **state) {
    (void)state;
    char output[512];
    assert_int_equal(signal_of_check(1, output, sizeof(output)), 0);
    assert_string_equal(output, "");
    assert_int_equal(signal_of_check(2, output, sizeof(output)), SIGABRT);
    assert_non_null(strstr(output, "test_error.c"));
    assert_non_null(strstr(output, "value == 1"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(returns_the_status_and_sets_the_text),
        cmocka_unit_test(works_without_an_error),
        cmocka_unit_test(is_one_line),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(the_old_text_may_be_an_argument),
        cmocka_unit_test(what_does_not_fit_is_cut),
        cmocka_unit_test(a_cut_never_splits_a_character),
        cmocka_unit_test(check_stops_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
