#include "base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MANY 500

static void an_empty_heap_has_no_top(void **state) {
    (void)state;
    struct heap heap;
    heap_init(&heap);
    assert_null(heap_top(&heap));
    struct heap_entry entry = {0};
    heap_remove(&heap, &entry);
    assert_false(heap_has(&entry));
    heap_deinit(&heap);
}

static void the_smallest_is_on_top(void **state) {
    (void)state;
    struct heap heap;
    heap_init(&heap);
    struct heap_entry a = {0}, b = {0}, c = {0};
    heap_set(&heap, &a, 30);
    heap_set(&heap, &b, INT64_MIN);
    heap_set(&heap, &c, INT64_MAX);
    assert_ptr_equal(heap_top(&heap), &b);
    assert_int_equal(heap.count, 3);
    heap_set(&heap, &b, 31); /* moves, doesn't add */
    assert_int_equal(heap.count, 3);
    assert_ptr_equal(heap_top(&heap), &a);
    heap_set(&heap, &c, -1);
    assert_ptr_equal(heap_top(&heap), &c);
    heap_remove(&heap, &c);
    assert_false(heap_has(&c));
    heap_remove(&heap, &c);
    assert_ptr_equal(heap_top(&heap), &a);
    assert_int_equal(heap.count, 2);
    heap_deinit(&heap);
}

static void check_order(const struct heap *heap) {
    for (size_t at = 1; at <= heap->count; at++) {
        const struct heap_entry *entry = heap->entries[at - 1];
        assert_int_equal(entry->at, at);
        assert_true(at == 1 || heap->entries[at / 2 - 1]->due <= entry->due);
    }
}

/* Against the plainest model there is: look at all of them. */
static void random_changes_keep_the_order(void **state) {
    (void)state;
    static struct heap_entry entries[MANY];
    struct heap heap;
    heap_init(&heap);
    srandom(7);
    for (int step = 0; step < 20000; step++) {
        struct heap_entry *entry = &entries[random() % MANY];
        if (random() % 3 == 0) {
            heap_remove(&heap, entry);
        } else {
            heap_set(&heap, entry, random() % 1000);
        }
        if (step % 97 != 0) {
            continue;
        }
        check_order(&heap);
        size_t count = 0;
        int64_t smallest = INT64_MAX;
        for (size_t i = 0; i < MANY; i++) {
            if (heap_has(&entries[i])) {
                count++;
                smallest = entries[i].due < smallest ? entries[i].due : smallest;
            }
        }
        assert_int_equal(heap.count, count);
        assert_true(!count || heap_top(&heap)->due == smallest);
    }
    heap_deinit(&heap);
}

static void comes_out_sorted(void **state) {
    (void)state;
    static struct heap_entry entries[MANY];
    struct heap heap;
    heap_init(&heap);
    srandom(11);
    for (size_t i = 0; i < MANY; i++) {
        heap_set(&heap, &entries[i], random() % 100);
    }
    int64_t before = INT64_MIN;
    for (size_t i = 0; i < MANY; i++) {
        struct heap_entry *top = heap_top(&heap);
        assert_true(top->due >= before);
        before = top->due;
        heap_remove(&heap, top);
    }
    assert_null(heap_top(&heap));
    heap_deinit(&heap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_heap_has_no_top),
        cmocka_unit_test(the_smallest_is_on_top),
        cmocka_unit_test(random_changes_keep_the_order),
        cmocka_unit_test(comes_out_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
