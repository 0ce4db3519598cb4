#include "dispatch/partition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatch_fixture.h"

static void test_it_lives_until_the_last_reference_goes(void **state) {
    (void)state;
    struct partition *partition = fixture_partition(), *other = partition_ref(partition);
    assert_ptr_equal(partition, other);
    assert_string_equal(other->topic, TOPIC);
    partition_unref(&partition);
    assert_null(partition);
    partition_unref(&partition);
    assert_int_equal(other->refs, 1);
    partition_unref(&other);
    assert_null(other);
}

static void test_what_the_adopted_bitmap_says(void **state) {
    (void)state;
    struct partition *partition = fixture_partition();
    partition->start_offset = 100;
    assert_true(partition_was_settled(partition, 99));
    assert_false(partition_was_settled(partition, 100));
    assert_false(partition_was_settled(partition, 100000));
    partition->done = mem_copy("\x05\x80", 2);
    partition->done_len = 2;
    for (int64_t offset = 100; offset < 120; offset++) {
        bool settled = offset == 100 || offset == 102 || offset == 115;
        assert_int_equal(partition_was_settled(partition, offset), settled);
    }
    partition_unref(&partition);
}

static void test_metadata_comes_back(void **state) {
    (void)state;
    const int64_t firsts[] = {0, 42, INT64_MAX};
    for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
        struct partition *partition = fixture_partition();
        partition->lineage = fixture_uuid(77);
        partition->first_offset = firsts[i];
        char text[PARTITION_METADATA_MAX];
        partition_metadata(partition, text);
        assert_true(strlen(text) < PARTITION_METADATA_MAX - 1); /* nothing was cut */
        struct uuid lineage = UUID_NIL;
        int64_t first = -1;
        assert_true(partition_metadata_parse(text, &lineage, &first));
        assert_true(uuid_equal(&lineage, &partition->lineage));
        assert_int_equal(first, firsts[i]);
        partition_unref(&partition);
    }
}

#define UUID_TEXT "018bcfe5-687b-7000-8000-00000000004d"

static void test_metadata_of_others_is_none(void **state) {
    (void)state;
    static const char *const OTHERS[] = {
        "",
        "hookcast 1",
        "hookcast 1 ",
        "hookcast 1 " UUID_TEXT,
        "hookcast 1 " UUID_TEXT " ",
        "hookcast 1 " UUID_TEXT " x",
        "hookcast 1 " UUID_TEXT " 5x",
        "hookcast 2 " UUID_TEXT " 5",
        "Hookcast 1 " UUID_TEXT " 5",
        "hookcast 1 018bcfe5-687b-7000-8000-0000000000zz 5",
        "hookcast 1 " UUID_TEXT "55",
        "hookcast 1 " UUID_TEXT " -5",
    };
    for (size_t i = 0; i < sizeof(OTHERS) / sizeof(OTHERS[0]); i++) {
        struct uuid lineage = fixture_uuid(1);
        int64_t first = 7;
        if (partition_metadata_parse(OTHERS[i], &lineage, &first))
            fail_msg("accepted: \"%s\"", OTHERS[i]);
        assert_int_equal(first, 7);
        assert_int_equal(lineage.bytes[15], 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_lives_until_the_last_reference_goes),
        cmocka_unit_test(test_what_the_adopted_bitmap_says),
        cmocka_unit_test(test_metadata_comes_back),
        cmocka_unit_test(test_metadata_of_others_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
