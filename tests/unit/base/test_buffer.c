#include "base/buffer.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void begins_empty(void **state) {
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 10);
    assert_int_equal(buffer.len, 0);
    assert_false(buffer.overflowed);
    struct span view = buffer_view(&buffer);
    assert_non_null(view.data);
    assert_int_equal(view.len, 0);
    buffer_deinit(&buffer);
}

static void appends_of_every_kind(void **state) {
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 1000);
    buffer_append(&buffer, "ab", 2);
    buffer_append(&buffer, NULL, 0);
    buffer_span(&buffer, SPAN_LITERAL("cd"));
    buffer_span(&buffer, SPAN_NONE);
    buffer_text(&buffer, "ef");
    buffer_char(&buffer, '\0');
    buffer_int(&buffer, -42);
    buffer_printf(&buffer, "<%s %d>", "x", 7);
    char *room = buffer_grow(&buffer, 3);
    memcpy(room, "end", 3);
    assert_int_equal(buffer.len, 6 + 1 + 3 + 5 + 3);
    assert_memory_equal(buffer.data, "abcdef\0-42<x 7>end", buffer.len + 1);
    buffer_deinit(&buffer);
    assert_null(buffer.data);
}

static void integers_are_decimal(void **state) {
    (void)state;
    static const int64_t values[] = {0, 1, -1, 9, 10, 1234567890123, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct buffer buffer;
        buffer_init(&buffer, 20);
        buffer_int(&buffer, values[i]);
        char expected[32];
        snprintf(expected, sizeof(expected), "%lld", (long long)values[i]);
        assert_string_equal(buffer.data, expected);
        buffer_deinit(&buffer);
    }
}

static void the_maximum_is_exact(void **state) {
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 5);
    buffer_text(&buffer, "abcde");
    assert_false(buffer.overflowed);
    assert_true(buffer.capacity <= 6);
    buffer_char(&buffer, 'f');
    assert_true(buffer.overflowed);
    assert_string_equal(buffer.data, "abcde");
    buffer_deinit(&buffer);
}

static void nothing_is_appended_after_an_overflow(void **state) {
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 5);
    buffer_text(&buffer, "abc");
    buffer_text(&buffer, "def");
    assert_true(buffer.overflowed);
    buffer_char(&buffer, 'g');
    buffer_printf(&buffer, "%d", 1);
    assert_null(buffer_grow(&buffer, 1));
    assert_string_equal(buffer.data, "abc");
    buffer_reset(&buffer);
    assert_false(buffer.overflowed);
    assert_string_equal(buffer.data, "");
    buffer_text(&buffer, "def");
    assert_string_equal(buffer.data, "def");
    buffer_deinit(&buffer);
}

static void a_maximum_of_nothing(void **state) {
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 0);
    buffer_text(&buffer, "");
    assert_false(buffer.overflowed);
    assert_string_equal(buffer.data, "");
    buffer_char(&buffer, 'a');
    assert_true(buffer.overflowed);
    buffer_deinit(&buffer);
}

static void a_length_that_would_wrap_overflows(void **state) {
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, SIZE_MAX - 1);
    buffer_char(&buffer, 'a');
    assert_null(buffer_grow(&buffer, SIZE_MAX));
    assert_true(buffer.overflowed);
    buffer_deinit(&buffer);
}

static void grows_to_the_maximum_byte_by_byte(void **state) {
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 10000);
    for (int i = 0; i < 10000; i++) {
        buffer_char(&buffer, (char)('a' + i % 26));
    }
    assert_false(buffer.overflowed);
    assert_true(buffer.capacity <= 10001);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(buffer.data[i], 'a' + i % 26);
    }
    assert_int_equal(buffer.data[10000], '\0');
    buffer_deinit(&buffer);
}

static void printf_of_any_length(void **state) {
    (void)state;
    char text[1001];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (int len = 250; len <= 260; len++) {
        struct buffer buffer;
        buffer_init(&buffer, 2000);
        buffer_printf(&buffer, "%.*s", len, text);
        assert_int_equal(buffer.len, len);
        assert_int_equal(strlen(buffer.data), (size_t)len);
        buffer_printf(&buffer, "[%s]", text);
        assert_int_equal(buffer.len, len + 1002);
        assert_int_equal(buffer.data[buffer.len - 1], ']');
        buffer_printf(&buffer, "[%s]", text);
        assert_true(buffer.overflowed);
        buffer_deinit(&buffer);
    }
}

static void take_hands_the_bytes_over(void **state) {
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 5);
    buffer_text(&buffer, "abc");
    buffer_text(&buffer, "too long");
    size_t len;
    char *data = buffer_take(&buffer, &len);
    assert_int_equal(len, 3);
    assert_string_equal(data, "abc");
    assert_null(buffer.data);
    assert_false(buffer.overflowed);
    mem_free(data);
    data = buffer_take(&buffer, NULL);
    assert_string_equal(data, "");
    mem_free(data);
    buffer_text(&buffer, "again");
    assert_string_equal(buffer.data, "again");
    buffer_deinit(&buffer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_empty),
        cmocka_unit_test(appends_of_every_kind),
        cmocka_unit_test(integers_are_decimal),
        cmocka_unit_test(the_maximum_is_exact),
        cmocka_unit_test(nothing_is_appended_after_an_overflow),
        cmocka_unit_test(a_maximum_of_nothing),
        cmocka_unit_test(a_length_that_would_wrap_overflows),
        cmocka_unit_test(grows_to_the_maximum_byte_by_byte),
        cmocka_unit_test(printf_of_any_length),
        cmocka_unit_test(take_hands_the_bytes_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
