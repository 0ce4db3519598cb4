#include "net/authorities.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct error error;
static char path[] = "/tmp/hookcast-authorities-XXXXXX";

static int64_t count(const char *content, enum status expected) {
    struct buffer name;
    int64_t found = -1;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    buffer_init(&name, 4096);
    assert_int_equal(authorities_count(path, &name, &found, &error), expected);
    if (expected == STATUS_OK)
        assert_string_equal(name.data, path);
    else
        assert_non_null(strstr(error.text, path));
    buffer_deinit(&name);
    unlink(path);
    memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
    return found;
}

#define ONE "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

static void test_certificates_are_counted(void **state) {
    (void)state;
    assert_int_equal(count("# one\n" ONE "text\n" ONE, STATUS_OK), 2);
    assert_int_equal(count("-----BEGIN TRUSTED CERTIFICATE-----\n", STATUS_OK), 1);
    assert_int_equal(count("-----BEGIN PRIVATE KEY-----\n", STATUS_INVALID), -1);
    assert_int_equal(count("", STATUS_INVALID), -1);
}

static void test_files_that_can_not_be_read(void **state) {
    (void)state;
    struct buffer name;
    int64_t found;
    buffer_init(&name, 4096);
    assert_int_equal(authorities_count("/nowhere/ca.pem", &name, &found, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "/nowhere/ca.pem"));
    assert_int_equal(authorities_count("/tmp", &name, &found, &error), STATUS_INVALID);
    buffer_deinit(&name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificates_are_counted),
        cmocka_unit_test(test_files_that_can_not_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
