#include "webhook/matching.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct uuid id_of(uint32_t number) {
    struct uuid id = {{0}};
    memcpy(id.bytes + 12, &number, sizeof(number));
    return id;
}

/* types: separated by spaces. */
static struct subscription *make(uint32_t number, const char *workspace, const char *types, int64_t version,
                                 enum subscription_status status) {
    struct span list[SUBSCRIPTION_MAX_TYPES];
    size_t count = 0;
    for (const char *at = types; *at;) {
        size_t len = strcspn(at, " ");
        list[count++] = (struct span){at, len};
        at += len + (at[len] == ' ');
    }
    struct subscription_spec spec = {
        .id = id_of(number),
        .workspace_id = span_of(workspace),
        .status = status,
        .version = version,
        .event_types = list,
        .event_type_count = count,
        .url = SPAN_LITERAL("https://example.com/"),
        .format = SPAN_LITERAL("raw"),
    };
    struct subscription *subscription = NULL;
    struct error error = {""};
    assert_int_equal(subscription_new(&spec, NULL, &subscription, &error), STATUS_OK);
    return subscription;
}

static void put(struct matching *matching, uint32_t number, const char *workspace, const char *types) {
    matching_put_take(matching, make(number, workspace, types, 1, SUBSCRIPTION_ACTIVE));
}

#define MANY 4096
struct found {
    size_t count;
    uint32_t numbers[MANY];
};

static void note(void *ctx, struct subscription *subscription) {
    struct found *found = ctx;
    assert_true(found->count < MANY);
    memcpy(&found->numbers[found->count++], subscription->id.bytes + 12, sizeof(uint32_t));
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The numbers of those that take the type, ascending, as "1 2 5". */
static void assert_takers(const struct matching *matching, const char *workspace, const char *type,
                          const char *expected) {
    static struct found found;
    found.count = 0;
    size_t count = matching_each(matching, span_of(workspace), span_of(type), note, &found);
    assert_int_equal(count, found.count);
    qsort(found.numbers, found.count, sizeof(uint32_t), by_number);
    char text[512] = "";
    size_t len = 0;
    for (size_t i = 0; i < found.count; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u", i ? " " : "", found.numbers[i]);
    }
    assert_string_equal(text, expected);
}

static void an_empty_one_finds_nothing(void **state) {
    (void)state;
    struct matching *matching = matching_new(0);
    struct uuid id = id_of(1);
    assert_null(matching_find(matching, &id));
    assert_takers(matching, "w", "a", "");
    assert_int_equal(matching_count(matching), 0);
    assert_true(matching_footprint_bytes(matching) < 1024);
    matching_free(&matching);
    assert_null(matching);
    matching_free(&matching);
}

static void workspace_and_pattern_decide(void **state) {
    (void)state;
    struct matching *matching = matching_new(10);
    put(matching, 1, "w1", "a.b");
    put(matching, 2, "w1", "a.*");
    put(matching, 3, "w1", "*");
    put(matching, 4, "w2", "a.b a.c");
    put(matching, 5, "w1", "a.b.*");
    put(matching, 6, "w1a", "b");
    put(matching, 7, "w1", "");
    assert_takers(matching, "w1", "a.b", "1 2 3");
    assert_takers(matching, "w1", "a.c", "2 3");
    assert_takers(matching, "w1", "a", "3");
    assert_takers(matching, "w1", "a.b.c", "2 3 5");
    assert_takers(matching, "w1", "a.b.c.d", "2 3 5");
    assert_takers(matching, "w1", "ab", "3");
    assert_takers(matching, "w2", "a.b", "4");
    assert_takers(matching, "w2", "a.c", "4");
    assert_takers(matching, "w", "1a.b", "");
    assert_takers(matching, "w1a", "b", "6");
    assert_takers(matching, "w3", "a.b", "");
    assert_int_equal(matching_count(matching), 7);
    matching_free(&matching);
}

static void each_is_named_once_however_many_patterns_take_it(void **state) {
    (void)state;
    struct matching *matching = matching_new(0);
    put(matching, 1, "w", "* a.b a.*");
    put(matching, 2, "w", "a.b.* a.b.c a.* x");
    put(matching, 3, "w", "a.b.c a.b.c a.b.c");
    put(matching, 4, "w", "a.b.* a.b.*");
    assert_takers(matching, "w", "a.b.c", "1 2 3 4");
    assert_takers(matching, "w", "a.b", "1 2");
    assert_takers(matching, "w", "x", "1 2");
    matching_free(&matching);
}

static void odd_dots_are_no_danger(void **state) {
    (void)state;
    struct matching *matching = matching_new(0);
    put(matching, 1, "w", "a..*");
    put(matching, 2, "w", "a.*");
    put(matching, 3, "w", ".a");
    put(matching, 4, "w", "a.");
    assert_takers(matching, "w", "a..b", "1 2");
    assert_takers(matching, "w", "a..", "2");
    assert_takers(matching, "w", "a.", "4");
    assert_takers(matching, "w", ".a", "3");
    assert_takers(matching, "w", ".", "");
    assert_takers(matching, "w", "..", "");
    matching_free(&matching);
}

static void the_newest_version_stays(void **state) {
    (void)state;
    struct matching *matching = matching_new(0);
    struct uuid id = id_of(1);
    matching_put_take(matching, make(1, "w", "a", 5, SUBSCRIPTION_ACTIVE));
    matching_put_take(matching, make(1, "w", "b", 4, SUBSCRIPTION_ACTIVE));
    assert_takers(matching, "w", "a", "1");
    assert_takers(matching, "w", "b", "");
    matching_put_take(matching, make(1, "w", "b", 6, SUBSCRIPTION_ACTIVE));
    assert_takers(matching, "w", "a", "");
    assert_takers(matching, "w", "b", "1");
    assert_int_equal(matching_find(matching, &id)->version, 6);
    assert_int_equal(matching_count(matching), 1);
    matching_free(&matching);
}

static void inactive_ones_are_reported_and_deleted_ones_leave(void **state) {
    (void)state;
    struct matching *matching = matching_new(0);
    struct uuid id = id_of(1);
    put(matching, 1, "w", "a");
    put(matching, 2, "w", "a");
    matching_put_take(matching, make(1, "w", "a", 2, SUBSCRIPTION_PAUSED));
    matching_put_take(matching, make(2, "w", "a", 2, SUBSCRIPTION_DISABLED));
    assert_takers(matching, "w", "a", "1 2");
    assert_int_equal(matching_find(matching, &id)->status, SUBSCRIPTION_PAUSED);
    matching_put_take(matching, make(1, "w", "a", 1, SUBSCRIPTION_DELETED)); /* older: dropped */
    assert_takers(matching, "w", "a", "1 2");
    matching_put_take(matching, make(1, "w", "a", 3, SUBSCRIPTION_DELETED));
    assert_takers(matching, "w", "a", "2");
    assert_null(matching_find(matching, &id));
    matching_put_take(matching, make(9, "w", "a", 3, SUBSCRIPTION_DELETED)); /* never known */
    assert_int_equal(matching_count(matching), 1);
    matching_free(&matching);
}

static void what_the_table_gave_lives_as_long_as_it_is_held(void **state) {
    (void)state;
    struct matching *matching = matching_new(0);
    struct uuid id = id_of(1);
    put(matching, 1, "w", "a");
    struct subscription *held = subscription_ref(matching_find(matching, &id));
    matching_put_take(matching, make(1, "w", "a", 2, SUBSCRIPTION_ACTIVE));
    assert_int_equal(held->refs, 1);
    assert_int_equal(held->version, 1);
    subscription_unref(&held);
    matching_free(&matching);
}

static void memory_comes_back(void **state) {
    (void)state;
    struct matching *matching = matching_new(0);
    size_t peak = 0;
    for (int round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < 1000; i++) {
            put(matching, i, "w", i % 2 ? "a.* b" : "a.b *");
        }
        size_t now = matching_footprint_bytes(matching);
        assert_true(round < 2 || now <= peak); /* the first removal makes room for remembering the free places */
        peak = now > peak ? now : peak;
        for (uint32_t i = 0; i < 1000; i++) {
            matching_put_take(matching, make(i, "w", "a", 1, SUBSCRIPTION_DELETED));
        }
        assert_takers(matching, "w", "a.b", "");
        assert_true(matching_footprint_bytes(matching) < now / 2);
    }
    matching_free(&matching);
}

/* ---- against a plain list ---- */

#define IDS 300
static const char *const WORKSPACES[] = {"1", "2", "w", "workspace-with-a-long-name"};
static const char *const PATTERNS[] = {"*",     "a",   "a.*", "a.b",     "a.b.*", "a.b.c",
                                       "a.b.d", "b.*", "b.c", "a.b.c.*", "c",     "a.b.c.d"};
static const char *const TYPES[] = {"a", "a.b", "a.b.c", "a.b.d", "a.b.c.d", "a.b.c.d.e", "b", "b.c", "c", "d", "a.x"};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct listed {
    bool there;
    int64_t version;
    size_t workspace;
    size_t patterns[6];
    size_t pattern_count;
};

static uint32_t roll(uint32_t *random, size_t sides) {
    *random = *random * 1664525U + 1013904223U;
    return (*random >> 8) % (uint32_t)sides;
}

static void change_one(struct matching *matching, struct listed *list, uint32_t *random) {
    uint32_t number = roll(random, IDS);
    struct listed next = {true, roll(random, 50), roll(random, COUNT(WORKSPACES)), {0}, roll(random, 7)};
    char types[256] = "";
    size_t len = 0;
    for (size_t i = 0; i < next.pattern_count; i++) {
        next.patterns[i] = roll(random, COUNT(PATTERNS));
        const char *pattern = PATTERNS[next.patterns[i]];
        len += (size_t)snprintf(types + len, sizeof(types) - len, "%s%s", i ? " " : "", pattern);
    }
    enum subscription_status status = roll(random, 4);
    next.there = status != SUBSCRIPTION_DELETED;
    matching_put_take(matching, make(number, WORKSPACES[next.workspace], types, next.version, status));
    if (!list[number].there || next.version >= list[number].version) {
        list[number] = next;
    }
}

static void compare(const struct matching *matching, const struct listed *list) {
    static struct found found;
    for (size_t w = 0; w < COUNT(WORKSPACES); w++) {
        for (size_t t = 0; t < COUNT(TYPES); t++) {
            found.count = 0;
            matching_each(matching, span_of(WORKSPACES[w]), span_of(TYPES[t]), note, &found);
            qsort(found.numbers, found.count, sizeof(uint32_t), by_number);
            size_t at = 0;
            for (uint32_t i = 0; i < IDS; i++) {
                bool takes = false;
                for (size_t p = 0; p < list[i].pattern_count; p++) {
                    takes |= subscription_pattern_takes(span_of(PATTERNS[list[i].patterns[p]]), span_of(TYPES[t]));
                }
                if (list[i].there && list[i].workspace == w && takes) {
                    assert_true(at < found.count);
                    assert_int_equal(found.numbers[at++], i);
                }
            }
            assert_int_equal(at, found.count);
        }
    }
    size_t there = 0;
    for (uint32_t i = 0; i < IDS; i++) {
        struct uuid id = id_of(i);
        const struct subscription *subscription = matching_find(matching, &id);
        assert_int_equal(subscription != NULL, list[i].there);
        assert_true(!subscription || subscription->version == list[i].version);
        there += list[i].there;
    }
    assert_int_equal(matching_count(matching), there);
    found.count = 0;
    matching_all(matching, note, &found);
    assert_int_equal(found.count, there);
}

static void behaves_as_a_plain_list(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        uint32_t random = seed;
        struct listed list[IDS] = {{0}};
        struct matching *matching = matching_new(seed % 2 ? 0 : IDS / 2);
        for (int step = 0; step < 3000; step++) {
            change_one(matching, list, &random);
            if (step % 300 == 299) {
                compare(matching, list);
            }
        }
        matching_free(&matching);
    }
}

static void many_in_many_workspaces(void **state) {
    (void)state;
    struct matching *matching = matching_new(0);
    for (uint32_t i = 0; i < 20000; i++) {
        char workspace[32];
        snprintf(workspace, sizeof(workspace), "%u", i / 2);
        put(matching, i, workspace, i % 2 ? "message.new lead.*" : "message.*");
    }
    for (uint32_t i = 0; i < 10000; i++) {
        char workspace[32], expected[64];
        snprintf(workspace, sizeof(workspace), "%u", i);
        snprintf(expected, sizeof(expected), "%u %u", 2 * i, 2 * i + 1);
        assert_takers(matching, workspace, "message.new", expected);
        snprintf(expected, sizeof(expected), "%u", 2 * i + 1);
        assert_takers(matching, workspace, "lead.lost", expected);
        assert_takers(matching, workspace, "lead", "");
    }
    matching_free(&matching);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_one_finds_nothing),
        cmocka_unit_test(workspace_and_pattern_decide),
        cmocka_unit_test(each_is_named_once_however_many_patterns_take_it),
        cmocka_unit_test(odd_dots_are_no_danger),
        cmocka_unit_test(the_newest_version_stays),
        cmocka_unit_test(inactive_ones_are_reported_and_deleted_ones_leave),
        cmocka_unit_test(what_the_table_gave_lives_as_long_as_it_is_held),
        cmocka_unit_test(memory_comes_back),
        cmocka_unit_test(behaves_as_a_plain_list),
        cmocka_unit_test(many_in_many_workspaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
