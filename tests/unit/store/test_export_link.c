#include "base/memory.h"
#include "store/export_link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* 32 bytes in base64, of no installation. */
#define KEY "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define OTHER_KEY "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
#define EXPIRES INT64_C(1790000000)

static const struct uuid JOB = {{1, 2, 3, 4, 5, 6, 0x77, 8, 0x89, 10, 11, 12, 13, 14, 15, 16}};

static struct keyring *ring_of(const char *keys) {
    struct keyring *keyring = NULL;
    struct error error;
    if (keyring_new(span_of(keys), &keyring, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return keyring;
}

static struct buffer link_of(const char *keys, const char *public_url) {
    struct keyring *ring = ring_of(keys);
    struct buffer link;
    buffer_init(&link, 1024);
    export_link_write(ring, public_url, &JOB, EXPIRES, &link);
    keyring_free(&ring);
    return link;
}

static const char *signature_of(const struct buffer *link) {
    const char *name = strstr(link->data, "signature=");
    assert_non_null(name);
    return name + strlen("signature=");
}

static bool verifies(const char *keys, const struct uuid *job, const char *expires, struct span signature) {
    struct keyring *ring = ring_of(keys);
    int64_t read = -1;
    bool right = export_link_verify(ring, job, span_of(expires), signature, &read);
    keyring_free(&ring);
    assert_true(read == (right ? EXPIRES : -1));
    return right;
}

static void test_a_link_reads_as_it_is_documented(void **state) {
    (void)state;
    struct buffer link = link_of(KEY, "https://hooks.example.com/"), again = link_of(KEY, "https://hooks.example.com");
    const char *want = "https://hooks.example.com/api/v1/exports/01020304-0506-7708-890a-0b0c0d0e0f10"
                       "?expires=1790000000&signature=";
    assert_int_equal(strncmp(link.data, want, strlen(want)), 0);
    assert_int_equal(strlen(signature_of(&link)), 64);
    assert_string_equal(link.data, again.data);
    buffer_deinit(&link);
    buffer_deinit(&again);
}

static void test_what_was_changed_is_refused(void **state) {
    (void)state;
    struct buffer link = link_of(KEY, "http://h");
    char *signature = mem_strdup(signature_of(&link));
    struct uuid other = JOB;
    other.bytes[15] ^= 1;
    assert_true(verifies(KEY, &JOB, "1790000000", span_of(signature)));
    assert_false(verifies(KEY, &other, "1790000000", span_of(signature)));
    static const char *const EXPIRIES[] = {"1790000001", "01790000000", "+1790000000", " 1790000000", "1790000000 ",
                                           "",           "0",           "-1",          "1790000000x", "9999999999999"};
    for (size_t i = 0; i < sizeof(EXPIRIES) / sizeof(*EXPIRIES); i++)
        assert_false(verifies(KEY, &JOB, EXPIRIES[i], span_of(signature)));
    assert_false(verifies(KEY, &JOB, "1790000000", (struct span){signature, 63}));
    assert_false(verifies(KEY, &JOB, "1790000000", SPAN_NONE));
    for (size_t i = 0; i < 64; i++) {
        char was = signature[i];
        signature[i] = was == '0' ? '1' : '0';
        assert_false(verifies(KEY, &JOB, "1790000000", span_of(signature)));
        signature[i] = 'g';
        assert_false(verifies(KEY, &JOB, "1790000000", span_of(signature)));
        signature[i] = was;
    }
    mem_free(signature);
    buffer_deinit(&link);
}

static void test_every_key_of_the_ring_verifies_and_the_first_one_signs(void **state) {
    (void)state;
    struct buffer before = link_of(KEY, "http://h"), after = link_of(OTHER_KEY "," KEY, "http://h"),
                  other = link_of(OTHER_KEY, "http://h");
    assert_string_not_equal(before.data, after.data);
    assert_string_equal(after.data, other.data);
    assert_true(verifies(OTHER_KEY "," KEY, &JOB, "1790000000", span_of(signature_of(&before))));
    assert_true(verifies(OTHER_KEY "," KEY, &JOB, "1790000000", span_of(signature_of(&after))));
    assert_false(verifies(OTHER_KEY, &JOB, "1790000000", span_of(signature_of(&before))));
    assert_false(verifies(KEY, &JOB, "1790000000", span_of(signature_of(&after))));
    buffer_deinit(&before);
    buffer_deinit(&after);
    buffer_deinit(&other);
}

/* Anybody who can read a sealed value knows the key's id, which is a MAC under the same key: another purpose's MAC must
 * not be one for links. */
static void test_a_mac_is_of_its_purpose_alone(void **state) {
    (void)state;
    struct keyring *ring = ring_of(KEY);
    uint8_t one[SHA256_BYTES], two[SHA256_BYTES];
    keyring_mac(ring, SPAN_LITERAL("one"), SPAN_LITERAL("data"), one);
    keyring_mac(ring, SPAN_LITERAL("two"), SPAN_LITERAL("data"), two);
    assert_memory_not_equal(one, two, SHA256_BYTES);
    struct span mac = {(const char *)one, sizeof(one)};
    assert_true(keyring_mac_fits(ring, SPAN_LITERAL("one"), SPAN_LITERAL("data"), mac));
    assert_false(keyring_mac_fits(ring, SPAN_LITERAL("two"), SPAN_LITERAL("data"), mac));
    assert_false(keyring_mac_fits(ring, SPAN_LITERAL("one"), SPAN_LITERAL("Data"), mac));
    keyring_free(&ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_link_reads_as_it_is_documented),
        cmocka_unit_test(test_what_was_changed_is_refused),
        cmocka_unit_test(test_every_key_of_the_ring_verifies_and_the_first_one_signs),
        cmocka_unit_test(test_a_mac_is_of_its_purpose_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
