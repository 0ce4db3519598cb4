#include "base/id.h"

#include <setjmp.h>

#include <cmocka.h>

#define KEY_TIME 1710084600000 /* 2024-03-10T15:30:00Z */

static int version_of(const struct uuid *uuid) {
    return uuid->bytes[6] >> 4;
}

static int variant_of(const struct uuid *uuid) {
    return uuid->bytes[8] >> 6;
}

static int64_t time_of(const struct uuid *uuid) {
    int64_t ms = 0;
    for (int i = 0; i < 6; i++) {
        ms = ms << 8 | uuid->bytes[i];
    }
    return ms;
}

static void a_new_uuid_is_version_7(void **state) {
    (void)state;
    struct uuid one = uuid_new(KEY_TIME);
    struct uuid other = uuid_new(KEY_TIME);
    assert_int_equal(version_of(&one), 7);
    assert_int_equal(variant_of(&one), 2);
    assert_int_equal(time_of(&one), KEY_TIME);
    assert_false(uuid_equal(&one, &other));
    struct uuid after = uuid_new(KEY_TIME + 1);
    assert_true(uuid_compare(&one, &after) < 0);
}

static void formats_and_parses(void **state) {
    (void)state;
    struct uuid uuid;
    char text[UUID_TEXT_LEN + 1];
    assert_int_equal(uuid_parse(SPAN_LITERAL("0123aBcD-4567-89ef-FEDC-ba9876543210"), &uuid), STATUS_OK);
    uuid_format(&uuid, text);
    assert_string_equal(text, "0123abcd-4567-89ef-fedc-ba9876543210");
    uuid_format(&UUID_NIL, text);
    assert_string_equal(text, "00000000-0000-0000-0000-000000000000");
}

static void refuses_what_is_no_uuid(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "0123abcd-4567-89ef-fedc-ba987654321",
        "0123abcd-4567-89ef-fedc-ba98765432100",
        "0123abcd456789effedcba9876543210",
        "{0123abcd-4567-89ef-fedc-ba98765432}",
        "0123abcg-4567-89ef-fedc-ba9876543210",
        "0123abcd-4567-89ef-fedc-ba987654321 ",
        "0123abcd_4567-89ef-fedc-ba9876543210",
        "0123abcd4-567-89ef-fedc-ba9876543210",
        "0123abcd-4567-89ef-fedc-ba987654321\x10",
        "0123abcd-4567-89ef-fedc-ba98765432\xc3\xa4",
        "0123abcd-4567-89ef-fedc-ba987654321@",
        "0123abcd-4567-89ef-fedc-ba987654321`",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct uuid uuid = {{7}};
        assert_int_equal(uuid_parse(span_of(texts[i]), &uuid), STATUS_INVALID);
        assert_int_equal(uuid.bytes[0], 7);
    }
    struct uuid uuid;
    assert_int_equal(uuid_parse(SPAN_NONE, &uuid), STATUS_INVALID);
}

/* These values are in databases: a change of the layout must not pass unseen. */
static void the_event_key_never_changes(void **state) {
    (void)state;
    char text[UUID_TEXT_LEN + 1];
    struct uuid key = id_event_key(SPAN_LITERAL("events.message.new"), 3, 123456789, KEY_TIME);
    uuid_format(&key, text);
    assert_string_equal(text, "018e28fc-30c0-87a6-805b-faa04157c25e");
    key = id_event_key(SPAN_NONE, 0, 0, 0);
    uuid_format(&key, text);
    assert_string_equal(text, "00000000-0000-8dbd-9984-b2b68f3d81ac");
}

static void the_event_key_is_version_8_and_ordered_in_time(void **state) {
    (void)state;
    struct uuid before = id_event_key(SPAN_LITERAL("t"), 0, 1, KEY_TIME);
    struct uuid after = id_event_key(SPAN_LITERAL("t"), 0, 0, KEY_TIME + 1);
    assert_int_equal(version_of(&before), 8);
    assert_int_equal(variant_of(&before), 2);
    assert_int_equal(time_of(&before), KEY_TIME);
    assert_true(uuid_compare(&before, &after) < 0);
}

static void every_part_counts(void **state) {
    (void)state;
    struct uuid keys[] = {
        id_event_key(SPAN_LITERAL("a"), 0, 0, -1),   id_event_key(SPAN_LITERAL("b"), 0, 0, -1),
        id_event_key(SPAN_LITERAL("a"), 1, 0, -1),   id_event_key(SPAN_LITERAL("a"), 0, 1, -1),
        id_event_key(SPAN_LITERAL("a"), 0, 0, -2),   id_event_key(SPAN_LITERAL("a\0"), 0, 0, -1),
        id_event_key(SPAN_LITERAL(""), 0, 0, -1),    id_event_key(SPAN_LITERAL("a"), -1, 0, -1),
        id_event_key(SPAN_LITERAL("a"), 0, 256, -1), id_event_key(SPAN_LITERAL("a"), 256, 0, -1),
    };
    size_t count = sizeof(keys) / sizeof(keys[0]);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(time_of(&keys[i]), 0); /* a negative timestamp */
        for (size_t j = 0; j < i; j++) {
            assert_false(uuid_equal(&keys[i], &keys[j]));
        }
    }
    struct uuid again = id_event_key(SPAN_LITERAL("a"), 0, 0, -1);
    assert_true(uuid_equal(&again, &keys[0]));
    struct uuid far = id_event_key(SPAN_LITERAL("a"), 0, 0, INT64_MAX);
    assert_int_equal(time_of(&far), 0xFFFFFFFFFFFF);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_uuid_is_version_7),
        cmocka_unit_test(formats_and_parses),
        cmocka_unit_test(refuses_what_is_no_uuid),
        cmocka_unit_test(the_event_key_never_changes),
        cmocka_unit_test(the_event_key_is_version_8_and_ordered_in_time),
        cmocka_unit_test(every_part_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
