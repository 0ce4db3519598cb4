#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "dispatch/sightings.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void note(struct sightings *sightings, const char *workspace, const char *type, const char *payload,
                 int64_t now_ms) {
    struct event event = {.workspace_id = span_of(workspace), .event_type = span_of(type)};
    struct error error;
    if (payload && json_scan(span_of(payload), NULL, NULL, &event.payload, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    event.key.bytes[0] = (uint8_t)now_ms;
    sightings_note(sightings, &event, now_ms);
}

static int taken(struct sightings *sightings) {
    struct sighting *chain = sightings_take(sightings);
    int count = 0;
    for (const struct sighting *one = chain; one; one = one->next)
        count++;
    sightings_drop(&chain);
    return count;
}

static void test_each_is_told_once_in_a_while(void **state) {
    (void)state;
    struct sightings *sightings = sightings_new();
    for (int i = 0; i < 1000; i++)
        note(sightings, "w1", "a.b", "1", 1000 + i);
    note(sightings, "w2", "a.b", "1", 1000);
    note(sightings, "w1", "a.c", "1", 1000);
    /* What stands together is told apart. */
    note(sightings, "w1a", ".b", "1", 1000);
    assert_int_equal(taken(sightings), 4);
    note(sightings, "w1", "a.b", "1", 1000 + SIGHTINGS_EVERY_MS - 1);
    assert_int_equal(taken(sightings), 0);
    note(sightings, "w1", "a.b", "1", 1000 + SIGHTINGS_EVERY_MS);
    assert_int_equal(taken(sightings), 1);
    sightings_free(&sightings);
}

static void test_what_is_told(void **state) {
    (void)state;
    struct sightings *sightings = sightings_new();
    note(sightings, "w1", "a.b", " {\"a\" : [1.50, \"x y\"]} ", 7);
    struct sighting *one = sightings_take(sightings);
    assert_non_null(one);
    assert_null(one->next);
    assert_true(span_is(one->workspace_id, "w1") && span_is(one->event_type, "a.b"));
    assert_true(span_is(one->sample, "{\"a\":[1.50,\"x y\"]}"));
    assert_int_equal(one->event_key.bytes[0], 7);
    sightings_drop(&one);
    note(sightings, "w1", "none", NULL, 7);
    one = sightings_take(sightings);
    assert_null(one->sample.data);
    sightings_drop(&one);
    char *large = mem_alloc(SIGHTINGS_SAMPLE_MAX_BYTES + 3);
    memset(large, 'x', SIGHTINGS_SAMPLE_MAX_BYTES + 2);
    large[0] = large[SIGHTINGS_SAMPLE_MAX_BYTES + 1] = '"';
    large[SIGHTINGS_SAMPLE_MAX_BYTES + 2] = '\0';
    note(sightings, "w1", "large", large, 7);
    one = sightings_take(sightings);
    assert_null(one->sample.data);
    sightings_drop(&one);
    mem_free(large);
    sightings_free(&sightings);
}

/* A crowd costs no more memory than the bound, and nothing of it is lost for ever. */
static void test_a_crowd(void **state) {
    (void)state;
    struct sightings *sightings = sightings_new();
    char type[32];
    int told = 0;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 3000; i++) {
            (void)snprintf(type, sizeof(type), "type.%d", i);
            note(sightings, "w1", type, "1", 1000);
        }
        int now = taken(sightings);
        assert_true(now <= SIGHTINGS_MAX);
        told += now;
    }
    assert_true(told >= 3000);
    note(sightings, "w1", "left", "1", 1000); /* freed with them */
    sightings_free(&sightings);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_told_once_in_a_while),
        cmocka_unit_test(test_what_is_told),
        cmocka_unit_test(test_a_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
