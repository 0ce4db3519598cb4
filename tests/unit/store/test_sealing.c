#include "store/sealing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* 32 bytes in base64, of no installation. */
#define KEY "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define OTHER_KEY "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="

static struct error error;

static struct keyring *ring_of(const char *keys, bool insecure_dev) {
    struct settings settings = {.secret_key = (char *)keys, .insecure_dev = insecure_dev};
    struct keyring *keyring = NULL;
    if (sealing_keyring(&settings, &keyring, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return keyring;
}

static void expect_opens(const struct keyring *keyring, const struct uuid *id, struct span sealed, bool wanted) {
    struct buffer out;
    buffer_init(&out, 1024);
    enum status status = sealing_open(keyring, id, sealed, &out, &error);
    assert_int_equal(status, wanted ? STATUS_OK : STATUS_INVALID);
    if (wanted)
        assert_true(span_is(buffer_view(&out), "a secret"));
    else
        assert_null(strstr(error.text, "a secret"));
    sealing_wipe(&out);
    assert_null(out.data);
}

static void test_only_the_row_and_a_key_of_the_ring_open_it(void **state) {
    (void)state;
    struct uuid id = {{1}}, other = {{2}};
    struct keyring *ring = ring_of(KEY, false), *rotated = ring_of(OTHER_KEY "," KEY, false),
                   *strange = ring_of(OTHER_KEY, false);
    struct buffer sealed;
    buffer_init(&sealed, 1024);
    sealing_seal(ring, &id, SPAN_LITERAL("a secret"), &sealed);
    assert_null(memmem(sealed.data, sealed.len, "secret", 6));
    expect_opens(ring, &id, buffer_view(&sealed), true);
    expect_opens(rotated, &id, buffer_view(&sealed), true);
    expect_opens(ring, &other, buffer_view(&sealed), false);
    expect_opens(strange, &id, buffer_view(&sealed), false);
    sealed.data[sealed.len - 1] ^= 1;
    expect_opens(ring, &id, buffer_view(&sealed), false);
    buffer_deinit(&sealed);
    keyring_free(&ring);
    keyring_free(&rotated);
    keyring_free(&strange);
}

static void test_without_a_key_there_is_one_for_development_alone(void **state) {
    (void)state;
    struct settings settings = {.secret_key = (char *)""};
    struct keyring *keyring = NULL;
    assert_int_equal(sealing_keyring(&settings, &keyring, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "HOOKCAST_SECRET_KEY"));
    assert_null(keyring);
    struct keyring *one = ring_of("", true), *two = ring_of("", true);
    struct uuid id = {{1}};
    struct buffer sealed;
    buffer_init(&sealed, 1024);
    sealing_seal(one, &id, SPAN_LITERAL("a secret"), &sealed);
    expect_opens(two, &id, buffer_view(&sealed), true); /* another process of the same installation */
    struct keyring *real = ring_of(KEY, true);          /* a key that is given counts */
    expect_opens(real, &id, buffer_view(&sealed), false);
    buffer_deinit(&sealed);
    keyring_free(&one);
    keyring_free(&two);
    keyring_free(&real);
}

static void test_a_key_that_is_none_is_not_repeated(void **state) {
    (void)state;
    struct settings settings = {.secret_key = (char *)"dG9vIHNob3J0"};
    struct keyring *keyring = NULL;
    assert_int_equal(sealing_keyring(&settings, &keyring, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "HOOKCAST_SECRET_KEY"));
    assert_null(strstr(error.text, "dG9vIHNob3J0"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_row_and_a_key_of_the_ring_open_it),
        cmocka_unit_test(test_without_a_key_there_is_one_for_development_alone),
        cmocka_unit_test(test_a_key_that_is_none_is_not_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
