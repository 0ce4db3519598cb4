#include "base/arena.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void is_aligned_and_cleared(void **state) {
    (void)state;
    struct arena *arena = arena_new(256);
    for (int round = 0; round < 3; round++) {
        for (size_t size = 0; size < 600; size += 7) {
            unsigned char *bytes = arena_alloc(arena, size);
            assert_non_null(bytes);
            assert_int_equal((uintptr_t)bytes % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < size; i++) {
                assert_int_equal(bytes[i], 0);
            }
            memset(bytes, 0xAA, size);
        }
        arena_reset(arena);
    }
    arena_free(&arena);
    assert_null(arena);
    arena_free(&arena);
}

static void pieces_do_not_overlap(void **state) {
    (void)state;
    struct arena *arena = arena_new(100);
    unsigned char *pieces[200];
    size_t sizes[200];
    for (size_t i = 0; i < 200; i++) {
        sizes[i] = i * 13 % 150 + 1;
        pieces[i] = arena_alloc(arena, sizes[i]);
        memset(pieces[i], (int)i, sizes[i]);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < sizes[i]; j++) {
            assert_int_equal(pieces[i][j], i);
        }
    }
    arena_free(&arena);
}

static void a_large_piece_does_not_close_the_block(void **state) {
    (void)state;
    struct arena *arena = arena_new(1024);
    char *before = arena_alloc(arena, 16);
    char *large = arena_alloc(arena, 1 << 20);
    char *after = arena_alloc(arena, 16);
    assert_ptr_equal(after, before + 16);
    large[(1 << 20) - 1] = 1;
    arena_free(&arena);
}

static void reset_keeps_the_first_block(void **state) {
    (void)state;
    struct arena *arena = arena_new(64);
    void *first = arena_alloc(arena, 64);
    for (int i = 0; i < 10; i++) {
        arena_alloc(arena, 64);
    }
    assert_int_equal(arena_used_bytes(arena), 11 * 64);
    arena_reset(arena);
    assert_int_equal(arena_used_bytes(arena), 0);
    assert_ptr_equal(arena_alloc(arena, 64), first);
    arena_free(&arena);
}

static void copies_text(void **state) {
    (void)state;
    struct arena *arena = arena_new(64);
    struct span none = arena_span(arena, SPAN_NONE);
    assert_null(none.data);
    struct span empty = arena_span(arena, SPAN_LITERAL(""));
    assert_non_null(empty.data);
    assert_int_equal(empty.len, 0);
    char source[] = "a\0b";
    struct span copy = arena_span(arena, (struct span){source, 3});
    source[0] = 'x';
    assert_true(span_equal(copy, SPAN_LITERAL("a\0b")));
    assert_string_equal(arena_strdup(arena, SPAN_LITERAL("text")), "text");
    assert_string_equal(arena_strdup(arena, SPAN_NONE), "");
    arena_free(&arena);
}

static void prints_any_length(void **state) {
    (void)state;
    struct arena *arena = arena_new(64);
    assert_string_equal(arena_printf(arena, "%s-%d", "a", 7), "a-7");
    assert_int_equal(strlen(arena_printf(arena, "%0500d", 1)), 500);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_aligned_and_cleared),
        cmocka_unit_test(pieces_do_not_overlap),
        cmocka_unit_test(a_large_piece_does_not_close_the_block),
        cmocka_unit_test(reset_keeps_the_first_block),
        cmocka_unit_test(copies_text),
        cmocka_unit_test(prints_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
